"""Radar disturbed in training, so that a network does not rely on one sensor's levels."""

import jax
import jax.numpy as jnp
import numpy as np

from s1jax.networks.dates import Dates
from s1jax.types import Key

ONE_LOOK = 0.3
"""How often all looks of a pixel are made the same one, as in data of one pixel per field."""
LESS = (0.70, 0.14, 0.14, 0.02)
"""How often both orbits stay, the first or the second is lost, or both."""
SWAP = 0.5
"""How often the orbits change places."""


def disturbed(key: Key, part: Dates, *, gain: float, bias: float) -> Dates:
    """Pixels with radar times 1 + gain n1 plus bias n2, n1 and n2 normal for each pixel and channel
    (all looks alike); sometimes one look for all, an orbit lost, orbits in each other's place.

    Args:
      key: consumed.
      part: pixels, their radar standardised.
      gain: spread of the factors, 1.
      bias: spread of the offsets, standard deviations.
    """
    z, (n, dtype) = part.radar, (len(part.radar), part.radar.dtype)
    k_level, k_event = jax.random.split(key)
    # two draws for all: each is a program part of its own, and takes long to compile
    level = jax.random.normal(k_level, (2, n, 1, 1, 4), dtype)
    look, which, less, change = jax.random.uniform(k_event, (4, n), dtype)
    z = z * (1.0 + gain * level[0]) + bias * level[1]
    looks = z.shape[2]
    chosen = jnp.minimum(jnp.floor(which * looks), looks - 1).astype(jnp.int32)
    alike = jnp.take_along_axis(z, chosen[:, None, None, None], axis=2)
    one_look = (look < ONE_LOOK)[:, None, None, None]
    z = jnp.where(one_look, jnp.broadcast_to(alike, z.shape), z)
    lost = jnp.searchsorted(jnp.asarray(np.cumsum(LESS[:-1]), dtype), less)
    both = part.seen.any(1).all(-1)
    # of a single orbit nothing is lost but all, seldom
    kept = jnp.stack([lost != 1, lost != 2], -1) | ~both[:, None]
    seen = part.seen & (kept & (lost != 3)[:, None])[:, None]
    swap = (change < SWAP) & both
    seen = jnp.where(swap[:, None, None], seen[..., ::-1], seen)
    z = jnp.where(swap[:, None, None, None], jnp.roll(z, 2, axis=-1), z)
    here = jnp.repeat(seen, 2, axis=-1)[:, :, None]
    return part._replace(radar=jnp.where(here, z, 0.0), seen=seen)
