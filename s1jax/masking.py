"""NDVI withheld on purpose, as clouds withhold it: at random, through a window of days, wholly.

The masks are True where a label is withheld.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax.types import Key, Series

SHARE = 0.2
"""Probability with which a task withholds each label of a random share."""
WINDOWS = (60.0, 132.0)
"""Lengths of the windows through which a task withholds labels, days."""
MASK_PROBABILITIES = (0.40, 0.25, 0.20, 0.15)
"""Of a training mask: a random share, one block, two blocks, all of it."""
MASK_SHARE = (0.1, 0.9)
"""Least and most of its random share."""
MASK_BLOCK = (3, 15)
"""Least and most dates of its blocks."""


def random_share(key: Key, valid: Bool[Array, "time"], share: float) -> Bool[Array, "time"]:
    """Labels to withhold, each valid one independently with probability `share`."""
    return valid & jax.random.bernoulli(key, share, valid.shape)


def window(
    key: Key, day: Float[Array, "time"], valid: Bool[Array, "time"], days: float
) -> Bool[Array, "time"]:
    """Labels to withhold, the valid ones in start <= day < start + days.

    The start is uniform over those with which the window lies inside the series,
    [day_0, day_end - days]; a series shorter than the window is withheld from its first day on.
    """
    room = jnp.maximum(day[-1] - day[0] - days, 0.0)
    start = day[0] + room * jax.random.uniform(key, (), day.dtype)
    return valid & (day >= start) & (day < start + days)


def sample_task_mask(key: Key, series: Series) -> Bool[Array, "pixel time"]:
    """Labels to withhold: each pixel draws `SHARE` or one of the `WINDOWS`, equally often."""
    return _one_way(key, jnp.asarray(series.day), jnp.asarray(series.ndvi_valid))


def withhold(key: Key, series: Series) -> tuple[Series, Bool[Array, "pixel time"]]:
    """`series` without `SHARE` of its labels and those of the first window, and where these are.

    A method without a likelihood measures its error on validation pixels with it: both ways of
    withholding act on every pixel.
    """
    hidden = _both_ways(key, jnp.asarray(series.day), jnp.asarray(series.ndvi_valid))
    return with_ndvi_masked(series, hidden), hidden


def sample_training_mask(key: Key, pixels: int, dates: int) -> Bool[Array, "pixel time"]:
    """Dates whose NDVI a network does not see in a training step, one of `MASK_PROBABILITIES` for
    each pixel: a random share, uniform in `MASK_SHARE`; one or two blocks, their lengths uniform in
    `MASK_BLOCK` and their starts wherever they lie inside the series; or all of them.
    """
    # one draw for all: each is a program part of its own, and takes long to compile
    drawn = jax.random.uniform(key, (pixels, dates + 6))
    return jax.vmap(_training_mask)(drawn)


def _training_mask(u):
    way, share, random = u[0], u[1], u[6:]
    dates = random.shape[0]
    low, high = MASK_SHARE
    at_random = random < low + (high - low) * share
    one, two = _block(u[2], u[3], dates), _block(u[4], u[5], dates)
    which = jnp.searchsorted(jnp.asarray(np.cumsum(MASK_PROBABILITIES[:-1]), u.dtype), way)
    return jnp.stack([at_random, one, one | two, jnp.ones(dates, bool)])[which]


def _block(length, start, dates):
    """A run of dates inside the series, by two numbers in [0, 1)."""
    shortest, longest = (min(bound, dates) for bound in MASK_BLOCK)
    size = shortest + jnp.floor(length * (longest - shortest + 1))
    first = jnp.floor(start * (dates - size + 1))
    index = jnp.arange(dates, dtype=size.dtype)
    return (index >= first) & (index < first + size)


def with_ndvi_masked(series: Series, hidden: Bool[Array | np.ndarray, "*pixel time"]) -> Series:
    """`series` with the NDVI of `hidden` no longer valid, and its value zero."""
    ndvi, valid = _masked(series.ndvi, series.ndvi_valid, hidden)
    return series._replace(ndvi=ndvi, ndvi_valid=valid)


# compiled whole: one operation after the other, each would take its own compilation
@jax.jit
def _masked(ndvi, valid, hidden):
    return jnp.where(hidden, 0.0, ndvi), valid & ~hidden


@jax.jit
def _one_way(key, day, valid):
    def _one(key, valid):
        key_way, key_share, key_window = jax.random.split(key, 3)
        ways = [random_share(key_share, valid, SHARE)]
        ways += [window(key_window, day, valid, days) for days in WINDOWS]
        return jnp.stack(ways)[jax.random.randint(key_way, (), 0, len(ways))]

    return jax.vmap(_one)(jax.random.split(key, valid.shape[0]), valid)


@jax.jit
def _both_ways(key, day, valid):
    def _one(key, valid):
        key_share, key_window = jax.random.split(key)
        at_random = random_share(key_share, valid, SHARE)
        return at_random | window(key_window, day, valid, WINDOWS[0])

    return jax.vmap(_one)(jax.random.split(key, valid.shape[0]), valid)
