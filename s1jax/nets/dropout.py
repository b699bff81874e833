"""Dropout at a quarter of the random numbers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from s1jax.types import Key

_STEPS = 256


def kept(rate: float) -> int:
    """How many of 256 equally likely bytes keep a unit.

    Raises:
      ValueError: a rate that is not in [0, 1) once rounded to 1/256.
    """
    steps = _STEPS - round(rate * _STEPS)
    if not 0 < steps <= _STEPS:
        raise ValueError(
            f"dropout: got {rate}, expected a share of at least 0 and below 255.5 / 256"
        )
    return steps


def dropout(key: Key, rate: float, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`x` with units at zero with probability `rate`, the others over the share that is kept.

    The rate is rounded to 1/256 and the scale with it, so that the mean stays that of `x`. Four
    units share a random word: random numbers are what dropout costs (Srivastava et al. 2014,
    section 4, with the scale at training time).

    Raises:
      ValueError: what `kept` raises.
    """
    steps = kept(rate)
    words = jax.random.bits(key, (-(-x.size // 4),), jnp.uint32)
    bytes_ = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)[: x.size]
    keep = bytes_.reshape(x.shape) <= jnp.uint8(steps - 1)
    return jnp.where(keep, x * (_STEPS / steps), jnp.zeros((), x.dtype))
