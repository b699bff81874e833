"""What the yardsticks share: labels on the host, the nearest labels, the residual as std."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from s1jax.batching import map_chunks
from s1jax.features import check_days, without_implausible
from s1jax.quality import flagged
from s1jax.types import Days, Estimate, Estimator, Key, Params, Series

_SMALLEST = 1e-3
"""Smallest std of a yardstick: NDVI from 12-bit reflectances is no finer."""


def estimator(
    fit: Callable[[Key, Series, Series], Params],
    predict: Callable[[Params, Series, Days], Estimate],
) -> Estimator:
    """The Estimator of two functions that see plausible values only (`without_implausible`).

    Both raise ValueError for days that are not finite or, of a series, not in order.
    """

    def _fit(key: Key, training: Series, validation: Series) -> Params:
        for part in (training, validation):
            check_days(part)
        return fit(key, without_implausible(training)[0], without_implausible(validation)[0])

    def _predict(params: Params, series: Series, days: Days) -> Estimate:
        check_days(series, days)
        series, implausible = without_implausible(series)
        return flagged(predict(params, series, days), series, implausible)

    return Estimator(_fit, _predict)


def labels(series: Series) -> Float[np.ndarray, "pixel time"]:
    """NDVI of each pixel and date, NaN where it is withheld or was not observed."""
    ndvi = np.asarray(series.ndvi, np.float64)
    return np.where(np.asarray(series.ndvi_valid), ndvi, np.nan)


def training_labels(series: Series) -> Float[np.ndarray, "pixel time"]:
    """`labels`, of which there is one at least, else ValueError."""
    ndvi = labels(series)
    if not np.isfinite(ndvi).any():
        raise ValueError(f"training NDVI: got no valid label in {len(ndvi)} pixels, expected 1+")
    return ndvi


def rms(
    mean: Float[Array | np.ndarray, "pixel time"],
    ndvi: Float[np.ndarray, "pixel time"],
    scored: Bool[Array | np.ndarray, "pixel time"],
) -> float:
    """Root mean square, .001 or more, of mean - ndvi at labels that the estimate did not see.

    Raises:
      ValueError: nothing to score.
    """
    scored = np.asarray(scored)
    if not scored.any():
        pixels = len(scored)
        raise ValueError(f"validation NDVI: got no hidden label in {pixels} pixels, expected 1+")
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
      curve: mean NDVI of some pixels; called on `chunk` pixels at a time.
      series: all pixels.
      std: of all pixels or of each; measured against labels, whose noise it contains.
      chunk: pixels per call, at most.
      label: text of the progress bar.

    Returns:
      NumPy arrays of the dtype of `series.ndvi`.
    """
    dtype = series.ndvi.dtype
    pixels = len(series.ndvi)

    def _chunk(index):
        return np.clip(curve(series.take(np.asarray(index))), -1.0, 1.0).astype(dtype)

    # nothing is compiled for a shape here, so a short scene needs no filling up
    mean = map_chunks(_chunk, np.arange(pixels), chunk=min(chunk, pixels), label=label)
    std = np.broadcast_to(np.reshape(np.asarray(std, dtype), (-1, 1)), mean.shape).copy()
    return Estimate(mean, std, noise=np.zeros(pixels, dtype))


def last_valid(valid: Bool[np.ndarray, "pixel time"]) -> Int[np.ndarray, "pixel time"]:
    """Index of the last valid date up to and including each date; -1 where there is none."""
    index = np.where(valid, np.arange(valid.shape[1]), -1)
    return np.maximum.accumulate(index, axis=1)


def next_valid(valid: Bool[np.ndarray, "pixel time"]) -> Int[np.ndarray, "pixel time"]:
    """Index of the first valid date from each date on; the number of dates where none is."""
    dates = valid.shape[1]
    return dates - 1 - last_valid(valid[:, ::-1])[:, ::-1]
