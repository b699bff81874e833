"""Errors in days: start and peak of the seasons of an estimate, against a simulation's truth."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from s1jax import phenology
from s1jax.batching import map_chunks

_CHUNK = 512
"""Pixels at once."""


def season_errors(
    day: Float[np.ndarray, "time"],
    truth: Float[np.ndarray, "pixel time"],
    mean: Float[np.ndarray, "pixel time"],
) -> dict[str, float]:
    """Scores of the seasons of `mean` against those of `truth`, over all pixels together.

    `phenology.seasons` reads both curves and `phenology.mismatch` matches them, each with its
    defaults. A true season counts where it is whole: one cut off by an end of the series has no
    true start.

    Args:
      day: days since 1970-01-01, ascending.
      truth: true NDVI; a pixel where it is not finite on every day is left out.
      mean: estimated NDVI; where it is not finite the pixel's seasons are missed.

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
    finite = np.isfinite(truth).all(axis=1)
    if not finite.any():
        raise ValueError("truth: got no pixel that is finite on every day, expected one or more")
    sums = partial(_sums, jnp.asarray(day))
    sums = map_chunks(sums, (truth[finite], mean[finite]), chunk=_CHUNK, label="seasons")
    total = {name: np.float64(np.sum(values, dtype=np.float64)) for name, values in sums.items()}
    errors = {"n": float(total["n"])}
    for name, of in _RATIOS.items():
        errors[name] = float(total[name] / total[of]) if total[of] else float("nan")
    return errors


_RATIOS = {
    **dict.fromkeys(("peak_mae", "peak_bias", "start_mae", "start_bias"), "matched"),
    **{"missed": "n", "extra": "estimated"},
}
"""Each error and the count of seasons that it is a mean or a share of."""


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
            "peak_bias": _sum(error.peak),
            "peak_mae": _sum(jnp.abs(error.peak)),
            "start_bias": _sum(error.start),
            "start_mae": _sum(jnp.abs(error.start)),
            "matched": jnp.sum(matched),
            "missed": jnp.sum(error.missed & true.whole),
            "n": jnp.sum(true.whole),
            "extra": jnp.sum(error.extra),
            "estimated": jnp.sum(estimate.valid),
        }

    return jax.vmap(_one)(*curves)
