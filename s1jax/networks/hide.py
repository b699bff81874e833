"""NDVI hidden from a network in training, as the tasks and the monsoon hide it."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax.types import Key

WAYS = (0.40, 0.25, 0.20, 0.15)
"""How often: a random share, one block, two blocks, all of it."""
SHARE = (0.1, 0.9)
"""Least and most of a random share, 1."""
BLOCK = (3, 15)
"""Least and most dates of a block."""


def hidden(key: Key, pixels: int, dates: int) -> Bool[Array, "pixel time"]:
    """Dates whose NDVI is hidden from each pixel: at random, one block, two, or all of them.

    One of `WAYS` for each pixel; the share is uniform in `SHARE`, the length of a block in `BLOCK`
    and its start wherever it lies inside the series.
    """
    # one draw for all: each is a program part of its own, and takes long to compile
    drawn = jax.random.uniform(key, (pixels, dates + 6))
    return jax.vmap(_hidden)(drawn)


def _hidden(u: Float[Array, "draw"]) -> Bool[Array, "time"]:
    (way, share, *ends), random = u[:6], u[6:]
    dates = random.shape[0]
    low, high = SHARE
    at_random = random < low + (high - low) * share
    one, two = (_block(*pair, dates) for pair in (ends[:2], ends[2:]))
    which = jnp.searchsorted(jnp.asarray(np.cumsum(WAYS[:-1]), u.dtype), way)
    return jnp.stack([at_random, one, one | two, jnp.ones(dates, bool)])[which]


def _block(length, start, dates):
    """A run of dates inside the series, by two numbers in [0, 1)."""
    shortest, longest = (min(bound, dates) for bound in BLOCK)
    size = shortest + jnp.floor(length * (longest - shortest + 1))
    first = jnp.floor(start * (dates - size + 1))
    index = jnp.arange(dates, dtype=size.dtype)
    return (index >= first) & (index < first + size)
