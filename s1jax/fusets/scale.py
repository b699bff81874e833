"""The scale of each variable: the region's, in double precision, then the pixel's own."""

from functools import partial

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax import gp
from s1jax.mogpr import MogprParams
from s1jax.types import Series

UNKNOWN = 1.0
"""The scale of a variable that does not vary over the sample, or has no data."""


def moments(
    value: Float[np.ndarray, "pixel time output"],
) -> tuple[Float[np.ndarray, "output"], Float[np.ndarray, "output"]]:
    """Mean and standard deviation of each variable without far outliers; 0 and 1 without data.

    Left out is what lies further from the middle 90 % than three times their width: one absurd
    number must not set the scale of all pixels. A variable that does not vary has scale `UNKNOWN`.
    """
    outputs = value.shape[-1]
    mean, std = np.zeros(outputs), np.full(outputs, UNKNOWN)
    for output in range(outputs):
        seen = value[..., output]
        seen = seen[np.isfinite(seen)]
        if seen.size == 0:
            continue
        low, high = np.quantile(seen, (0.05, 0.95))
        reach = 3.0 * (high - low)
        kept = seen[(seen >= low - reach) & (seen <= high + reach)]
        mean[output] = kept.mean()
        std[output] = kept.std() if high > low else UNKNOWN
    return mean, std


def within(
    params: MogprParams,
    value: Float[np.ndarray, "pixel time output"],
    flag: Bool[np.ndarray, "pixel output"],
    mean: Float[np.ndarray, "pixel query output"],
) -> Float[np.ndarray, "pixel query output"]:
    """The estimates, within the values seen where the scale of a variable is `UNKNOWN`.

    What the other variables do in a gap cannot be told in its units then.

    Args:
      params: of the region.
      value: NaN where missing.
      flag: True where the pixel is in the scale of the region.
      mean: estimates in the units of `value`.
    """
    seen = np.isfinite(value)
    low = np.where(seen, value, np.inf).min(axis=1)
    high = np.where(seen, value, -np.inf).max(axis=1)
    unknown = flag & seen.any(axis=1) & (np.asarray(params.region_std) == UNKNOWN)
    return np.where(unknown[:, None], np.clip(mean, low[:, None], high[:, None]), mean)


def relative(
    params: MogprParams, value: Float[np.ndarray, "pixel time output"]
) -> Float[np.ndarray, "pixel time output"]:
    """(value - mean) / std of the region, 0 where missing, in JAX's default precision.

    Taken off in double precision, so that an offset far larger than what varies costs nothing.
    """
    shifted = (value - np.asarray(params.region_mean, float)) / np.asarray(params.region_std, float)
    return np.where(np.isfinite(value), shifted, 0.0).astype(jnp.zeros(0).dtype)


@partial(gp.compiled, static_argnames=("own", "lanes"))
def scored(
    value: Float[Array, "pixel time output"],
    valid: Bool[Array, "pixel time output"],
    *,
    own: bool,
    lanes: int,
) -> tuple[Array, Array, Array, Array]:
    """z, and mean, std and flag (pixel, output) of `gp.standardise`, in the region's units.

    Args:
      value: what `relative` returned.
      valid: True where observed.
      own: by the pixel's own mean and std where they can be told; else by the region's, 0 and 1.
      lanes: pixels of a batch, `gp.over_pixels`.
    """

    def _one(value, valid):
        count, outputs = value.shape
        series = Series(jnp.zeros(count), value, valid)
        z, *rest = gp.standardise(series, jnp.zeros(outputs), jnp.ones(outputs), own=own)
        return z.value, *rest

    return gp.over_pixels(_one, value, valid, lanes=lanes)
