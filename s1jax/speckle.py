"""Speckle averaged away: means of backscatter over neighbours, in linear power.

dB in, dB out; what is not valid has no weight and stays missing. The multi-temporal filter of
Quegan and Yu (2001) is not here: in dB it is this mean plus one number a pixel.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from s1jax.indices import from_db, to_db


def mean(
    db: Float[Array, "time y x"], valid: Bool[Array, "time y x"], *, size: int = 3
) -> Float[Array, "time y x"]:
    """Mean power of the valid pixels in size x size around each pixel, 10 log10 mean 10^(db / 10).

    NaN where the pixel itself is not valid; beyond the edge nothing is valid.

    Args:
      db: backscatter, dB; anything where not valid.
      valid: True where observed and wanted (inside the mask).
      size: odd side of the square, pixels; 1 changes nothing.

    Raises:
      ValueError: `size` is even or below 1.
    """
    power = _power(db, valid)
    return _to_db(_local_mean(power, valid, size), valid)


def _power(db, valid):
    """Linear power where valid, else 0."""
    return jnp.where(valid, from_db(jnp.where(valid, db, 0.0)), 0.0)


def _to_db(power, valid):
    return jnp.where(valid, to_db(jnp.where(valid, power, 1.0)), jnp.nan)


def _local_mean(power, valid, size):
    """Mean over the valid neighbours; 1 where there is none."""
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size: got {size}, expected an odd number of pixels, 1 or more")
    count = _box(valid.astype(power.dtype), size)
    return jnp.where(count > 0, _box(power, size) / jnp.maximum(count, 1.0), 1.0)


def _box(x, size):
    """Sum over size x size around each pixel, zero beyond the edge: along y, then along x."""
    half = size // 2
    _, height, width = x.shape
    padded = jnp.pad(x, ((0, 0), (half, half), (half, half)))
    rows = sum(padded[:, lag : lag + height] for lag in range(size))
    return sum(rows[:, :, lag : lag + width] for lag in range(size))
