"""What the yardsticks share: labels on the host, and the residual on validation pixels as std."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax.chunks import map_pixels
from s1jax.features import check_days, without_implausible
from s1jax.types import NDVI, Days, Estimate, Estimator, Key, Params, Series

_SMALLEST = 1e-3
"""Smallest std a yardstick states, 1: NDVI from 12-bit reflectances is no finer."""


def of_sound(
    fit: Callable[[Key, Series, Series], Params],
    predict: Callable[[Params, Series, Days], Estimate],
) -> Estimator:
    """The Estimator of two functions, which see no value that cannot be (`features.plausible`).

    Both raise ValueError for days that are not finite or, of a series, not in order.
    """

    def _sound(series, days=None):
        check_days(series, days)
        return without_implausible(series)[0]

    return Estimator(
        lambda key, train, val: fit(key, _sound(train), _sound(val)),
        lambda params, series, days: predict(params, _sound(series, days), days),
    )


def labels(series: Series) -> Float[np.ndarray, "pixel time"]:
    """NDVI of each pixel and date, NaN where it is hidden or was not observed.

    Raises:
      ValueError: `series` is not a flat list of pixels.
    """
    value, valid = np.asarray(series.value), np.asarray(series.valid)
    if value.ndim != 3 or valid.shape != value.shape:
        raise ValueError(
            f"value, valid: got {value.shape}, {valid.shape}, expected (pixel, time, channel)"
        )
    return np.where(valid[..., NDVI], value[..., NDVI], np.nan).astype(np.float64)


def training_labels(series: Series) -> Float[np.ndarray, "pixel time"]:
    """`labels`, of which there is one at least.

    Raises:
      ValueError: `series` has no label.
    """
    ndvi = labels(series)
    if not np.isfinite(ndvi).any():
        raise ValueError(
            f"training NDVI: got no valid label in {ndvi.shape[0]} pixels, expected 1+"
        )
    return ndvi


def rms(
    mean: Float[Array | np.ndarray, "pixel time"],
    ndvi: Float[np.ndarray, "pixel time"],
    scored: Bool[Array | np.ndarray, "pixel time"],
) -> float:
    """Root mean square residual where `scored`, at least 1e-3: sqrt(mean((mean - ndvi)^2)).

    Args:
      mean: estimate, 1.
      ndvi: labels, 1.
      scored: True where a label was hidden from the estimate.

    Raises:
      ValueError: nothing to score.
    """
    scored = np.asarray(scored)
    if not scored.any():
        raise ValueError(
            f"validation NDVI: got no hidden label in {scored.shape[0]} pixels, expected 1+"
        )
    residual = np.asarray(mean, np.float64)[scored] - ndvi[scored]
    return max(float(np.sqrt(np.mean(residual**2))), _SMALLEST)


def estimate(
    curve: Callable[[Series], Float[np.ndarray, "pixel query"]],
    series: Series,
    std: float | Float[np.ndarray, "pixel"],
    *,
    chunk: int = 65536,
    label: str,
) -> Estimate:
    """Estimate with mean `curve(series)`, clipped to [-1, 1], `std` for every day, and no noise.

    Args:
      curve: mean of the NDVI of some pixels, 1; called on `chunk` pixels at a time.
      series: all pixels.
      std: one for all pixels or one for each, 1; it was measured against labels, so the noise of an
        observation is inside it.
      chunk: pixels per call, at most.
      label: what the progress bar says.

    Returns:
      NumPy arrays of the dtype of `series.value`.
    """
    dtype = series.value.dtype
    parts = {name: leaf for name, leaf in series._asdict().items() if name != "day"}
    mean = map_pixels(
        lambda part: np.clip(curve(Series(day=series.day, **part)), -1.0, 1.0).astype(dtype),
        parts,
        # nothing is compiled for a shape here, so a short scene needs no filling up
        chunk=min(chunk, len(series.value)),
        label=label,
    )
    wide = np.broadcast_to(np.reshape(np.asarray(std, dtype), (-1, 1)), mean.shape)
    return Estimate(mean=mean, std=wide.copy(), noise=np.zeros((), dtype))
