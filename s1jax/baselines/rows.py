"""What the trees see of a date: a window of radar, and the nearest labels before and after it."""

import numpy as np
from jaxtyping import Float, Int

from s1jax.baselines.days import last_valid, next_valid
from s1jax.baselines.residual import labels
from s1jax.types import NDVI, Series


def radar(series: Series) -> Float[np.ndarray, "pixel time channel"]:
    """Every radar channel in dB, then VH - VV of each orbit in dB; NaN where missing, float32."""
    seen = np.where(np.asarray(series.valid), np.asarray(series.value), np.nan)
    channels = seen[..., :NDVI].astype(np.float32)
    return np.concatenate([channels, channels[..., 1::2] - channels[..., 0::2]], axis=-1)


def window_rows(
    series: Series,
    pixel: Int[np.ndarray, "row"],
    date: Int[np.ndarray, "row"],
    window: int,
) -> Float[np.ndarray, "row feature"]:
    """Radar from `window` dates before to `window` dates after each date; NaN beyond the series.

    Args:
      series: many pixels.
      pixel: index of each row's pixel.
      date: index of each row's date on the grid of the series.
      window: dates to either side, count.
    """
    padded = np.pad(
        radar(series), ((0, 0), (window, window), (0, 0)), constant_values=np.float32(np.nan)
    )
    around = date[:, None] + np.arange(2 * window + 1)
    return padded[pixel[:, None], around].reshape(pixel.size, -1)


def conditional_rows(
    series: Series,
    pixel: Int[np.ndarray, "row"],
    date: Int[np.ndarray, "row"],
    window: int,
) -> Float[np.ndarray, "row feature"]:
    """`window_rows`, and for the nearest label strictly before and strictly after each date:
    its NDVI, the days to it, and the change of each radar channel from it to the date, in dB.

    NaN where there is no such label. Args as in `window_rows`.
    """
    day, ndvi, power = np.asarray(series.day, np.float64), labels(series), radar(series)
    valid = np.isfinite(ndvi)
    dates = day.size
    nowhere = np.full((valid.shape[0], 1), -1)
    before = np.concatenate([nowhere, last_valid(valid)[:, :-1]], axis=1)[pixel, date]
    after = np.concatenate([next_valid(valid)[:, 1:], nowhere], axis=1)[pixel, date]
    columns = [window_rows(series, pixel, date, window)]
    for label, there in ((before, before >= 0), (after, (after >= 0) & (after < dates))):
        at = np.where(there, label, 0)
        seen = np.column_stack(
            [ndvi[pixel, at], np.abs(day[date] - day[at]), power[pixel, date] - power[pixel, at]]
        )
        columns.append(np.where(there[:, None], seen, np.nan).astype(np.float32))
    return np.concatenate(columns, axis=1)
