"""NDVI withheld on purpose, as clouds withhold it: at random, through a window of days, wholly.

The masks are True where a label is withheld.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax.types import Key, Series

MASK_PROBABILITIES = (0.40, 0.25, 0.20, 0.15)
"""Of a training mask: a random share, one block, two blocks, all of it."""
MASK_SHARE = (0.1, 0.9)
"""Least and most of its random share."""
MASK_BLOCK = (3, 15)
"""Least and most dates of its blocks."""


def random_share(key: Key, valid: Bool[Array, "time"], share: float) -> Bool[Array, "time"]:
    """Labels to hide, each valid one independently with probability `share`.

    Args:
      key: consumed.
      valid: True where the pixel has a label.
      share: probability of hiding a label, 1.
    """
    return valid & jax.random.bernoulli(key, share, valid.shape)


def window(
    key: Key, day: Float[Array, "time"], valid: Bool[Array, "time"], days: float
) -> Bool[Array, "time"]:
    """Labels to hide, the valid ones in start <= day < start + days.

    The start is uniform over those with which the window lies inside the series,
    [day_0, day_end - days]; a series shorter than the window is hidden from its first day on.

    Args:
      key: consumed.
      day: days since 1970-01-01, ascending.
      valid: True where the pixel has a label.
      days: length of the window, days.
    """
    room = jnp.maximum(day[-1] - day[0] - days, 0.0)
    start = day[0] + room * jax.random.uniform(key, (), day.dtype)
    return valid & (day >= start) & (day < start + days)


def sample_task_mask(
    key: Key, series: Series, *, share: float = 0.2, windows: Sequence[float] = (60.0, 132.0)
) -> Bool[Array, "pixel time"]:
    """Labels to hide: each pixel draws a random share or one of the windows, equally often.

    Args:
      key: consumed.
      series: many pixels.
      share: probability of hiding a label where the random share is drawn, 1.
      windows: lengths of the windows, days.
    """
    return _mixture(key, *_labels(series), share=share, windows=tuple(windows))


def withhold(
    key: Key, series: Series, *, share: float = 0.2, days: float = 60.0
) -> tuple[Series, Bool[Array, "pixel time"]]:
    """`series` without a random share of its labels and without those of one window, and which.

    This is how a method without a likelihood measures its error on validation pixels: both ways of
    hiding act on every pixel.

    Args:
      key: consumed.
      series: many pixels.
      share: probability of hiding a label, 1.
      days: length of the window, days.

    Returns:
      The series as the method may see it, and True where a label was hidden.
    """
    hidden = _both(key, *_labels(series), share=share, days=days)
    return with_ndvi_masked(series, hidden), hidden


def sample_training_mask(key: Key, pixels: int, dates: int) -> Bool[Array, "pixel time"]:
    """Dates whose NDVI a network does not see in a training step, one of `MASK_PROBABILITIES` for
    each pixel: a random share, uniform in `MASK_SHARE`; one or two blocks, their lengths uniform in
    `MASK_BLOCK` and their starts wherever they lie inside the series; or all of them.

    Args:
      key: consumed.
      pixels: number of pixels.
      dates: number of dates.
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


def _labels(series):
    return jnp.asarray(series.day), jnp.asarray(series.ndvi_valid)


# compiled whole: one operation after the other, each would take its own compilation
@jax.jit
def _masked(ndvi, valid, hidden):
    return jnp.where(hidden, 0.0, ndvi), valid & ~hidden


@partial(jax.jit, static_argnames=("share", "windows"))
def _mixture(key, day, valid, *, share, windows):
    def _one(key, valid):
        key_way, key_share, key_window = jax.random.split(key, 3)
        ways = [random_share(key_share, valid, share)]
        ways += [window(key_window, day, valid, days) for days in windows]
        return jnp.stack(ways)[jax.random.randint(key_way, (), 0, len(ways))]

    return jax.vmap(_one)(jax.random.split(key, valid.shape[0]), valid)


@partial(jax.jit, static_argnames=("share", "days"))
def _both(key, day, valid, *, share, days):
    def _one(key, valid):
        key_share, key_window = jax.random.split(key)
        return random_share(key_share, valid, share) | window(key_window, day, valid, days)

    return jax.vmap(_one)(jax.random.split(key, valid.shape[0]), valid)
