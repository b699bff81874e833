"""z-scores of the outputs of a pixel."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from s1jax.types import Series

FEWEST = 5
"""Observations from which on an output's own mean and standard deviation are used."""
LEAST_STD = 0.01
"""Standard deviation below which a series counts as constant and has no scale: of NDVI or dB, or of
what a caller has scaled before."""


def standardise(
    series: Series,
    region_mean: Float[Array, "channel"],
    region_std: Float[Array, "channel"],
    *,
    own: bool = True,
) -> tuple[Series, Float[Array, "channel"], Float[Array, "channel"], Bool[Array, "channel"]]:
    """z = (value - mean) / std of each output of one pixel, with the mean, std and flag used.

    Mean and population standard deviation are of the output's own valid values where there are
    five or more of them with std > 0.01; else they are the region's, and the flag of that output is
    True. z is 0 where not valid. With `own=False` all pixels are z-scored by the region's mean and
    std; the flag says the same.

    Args:
      series: one pixel (time, channel), physical units.
      region_mean: mean of each output over the training pixels, physical units.
      region_std: its standard deviation, physical units.
      own: use the pixel's own mean and std where they can be told.
    """
    valid = series.valid
    value = jnp.where(valid, series.value, 0.0)
    count = jnp.sum(valid, axis=0).astype(value.dtype)
    some = jnp.maximum(count, 1.0)
    own_mean = jnp.sum(value, axis=0) / some
    deviation = jnp.where(valid, value - own_mean[None, :], 0.0)
    own_std = jnp.sqrt(jnp.sum(jnp.square(deviation), axis=0) / some)
    flag = (count < FEWEST) | (own_std <= LEAST_STD)
    wide = flag | (not own)
    mean = jnp.where(wide, region_mean, own_mean)
    std = jnp.where(wide, region_std, own_std)
    z = jnp.where(valid, (value - mean[None, :]) / std[None, :], 0.0)
    return series._replace(value=z), mean, std, flag
