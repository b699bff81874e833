"""Errors in days: start and peak of the seasons of an estimate, against a simulation's truth."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from s1jax import phenology
from s1jax.chunks import map_pixels

_CHUNK = 512
"""Pixels at once."""


def season_errors(
    day: Float[np.ndarray, "time"],
    truth: Float[np.ndarray, "pixel time"],
    mean: Float[np.ndarray, "pixel time"],
) -> dict[str, float]:
    """Scores of the seasons of `mean` against those of `truth`, over all pixels together.

    Both curves are read by `phenology.seasons` and matched by `phenology.mismatch`, each with its
    defaults. A true season counts where it is whole: one cut off by an end of the series has no
    true start.

    Args:
      day: days since 1970-01-01, ascending.
      truth: true NDVI, 1; a pixel where it is not finite on every day is left out.
      mean: estimated NDVI, 1; where it is not finite the pixel's seasons are missed.

    Returns:
      peak_mae, peak_bias, start_mae, start_bias: days, bias estimate - truth; NaN where no season
      is matched. missed: share of true seasons without a match; NaN where there is none.
      extra: share of estimated seasons without a true one; NaN where there is none. n: true
      seasons.

    Raises:
      ValueError: shapes that disagree, days that do not ascend, no pixel with a finite truth.
    """
    day, truth, mean = (np.asarray(array, np.float32) for array in (day, truth, mean))
    if truth.shape != mean.shape or truth.shape[1:] != day.shape:
        raise ValueError(
            f"truth and mean: got {truth.shape} and {mean.shape}, expected (pixel, {day.size})"
        )
    if not np.all(np.diff(day) > 0.0):
        raise ValueError("day: got days that do not ascend, expected ascending days")
    told = np.isfinite(truth).all(axis=1)
    if not told.any():
        raise ValueError("truth: got no pixel that is finite on every day, expected one or more")
    sums = map_pixels(
        partial(_sums, jnp.asarray(day)), (truth[told], mean[told]), chunk=_CHUNK, label="seasons"
    )
    total = {name: float(np.sum(values, dtype=np.float64)) for name, values in sums.items()}
    matched = total["matched"]
    return {
        "peak_mae": _ratio(total["peak_absolute"], matched),
        "peak_bias": _ratio(total["peak"], matched),
        "start_mae": _ratio(total["start_absolute"], matched),
        "start_bias": _ratio(total["start"], matched),
        "missed": _ratio(total["missed"], total["n"]),
        "extra": _ratio(total["extra"], total["estimated"]),
        "n": total["n"],
    }


@jax.jit
def _sums(day, curves):
    """Sums over the seasons of each pixel."""

    def _one(truth, mean):
        most = (day.size - 1) // 2
        true, estimate = (phenology.seasons(day, curve, most=most) for curve in (truth, mean))
        error = phenology.mismatch(true, estimate)
        matched = error.matched & true.whole

        def _sum(value):
            return jnp.sum(jnp.where(matched, value, 0.0))

        return {
            "peak": _sum(error.peak),
            "peak_absolute": _sum(jnp.abs(error.peak)),
            "start": _sum(error.start),
            "start_absolute": _sum(jnp.abs(error.start)),
            "matched": jnp.sum(matched),
            "missed": jnp.sum(error.missed & true.whole),
            "n": jnp.sum(true.whole),
            "extra": jnp.sum(error.extra),
            "estimated": jnp.sum(estimate.valid),
        }

    return jax.vmap(_one)(*curves)


def _ratio(total, n):
    return total / n if n else float("nan")
