"""Labels hidden on purpose, as the clouds hide them: at random, or through a window of days.

Written for one pixel; `hide` and `mixture` map over the pixels of a Series.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax.types import NDVI, Key, Series


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

    The start is uniform over the places where the window lies inside the series,
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


def mixture(
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


def hide(
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
    return without(series, hidden), hidden


def without(series: Series, hidden: Bool[Array | np.ndarray, "*pixel time"]) -> Series:
    """`series` with the NDVI of `hidden` no longer valid, and its value zero."""
    value, valid = _without(series.value, series.valid, hidden)
    return series._replace(value=value, valid=valid)


def _labels(series):
    return jnp.asarray(series.day), jnp.asarray(series.valid)[..., NDVI]


# compiled whole: run one operation after the other, the compiling of each would take seconds
@jax.jit
def _without(value, valid, hidden):
    value = value.at[..., NDVI].set(jnp.where(hidden, 0.0, value[..., NDVI]))
    return value, valid.at[..., NDVI].set(valid[..., NDVI] & ~hidden)


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
