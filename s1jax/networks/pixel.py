"""What a sequence network says of one pixel, written for one and mapped over many."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from s1jax.networks.config import SequenceConfig
from s1jax.networks.dates import dates, standardise
from s1jax.networks.likelihood import Beliefs
from s1jax.networks.model import SequenceParams, tell
from s1jax.types import Days, Series

LANES = 32
"""Pixels computed together on a CPU: what a layer makes of all their dates stays in the cache."""


def pixels_of(params: SequenceParams, series: Series, days: Days):
    """Days of the series, days asked for, and what `map_pixels` cuts into chunks.

    Raises:
      ValueError: moments are missing: `adapt` has not been called.
    """
    if params.moments is None:
        raise ValueError("moments of the radar: got none, expected those that `adapt` tells")
    day = jnp.asarray(series.day)
    return day, jnp.asarray(days, day.dtype), (*series[1:3], series.smooth, series.wide)


def told_of(
    params: SequenceParams, day, pixel, config: SequenceConfig
) -> tuple[Beliefs, Bool[Array, ""]]:
    """Beliefs of one pixel, (time, 1), and whether the network has seen any NDVI of it."""
    value, valid, smooth, wide = jax.tree.map(lambda leaf: leaf[None], pixel)
    found = dates(Series(day, value, valid, None, smooth, wide))
    found = standardise(found, params.moments)
    told = tell(config, params.variables, found, found.label)
    return told, found.label.any() if config.ndvi else jnp.zeros((), bool)


def lanes_of(part) -> int:
    """Pixels of a batch of `gp.over_pixels`; a GPU takes the whole chunk at once."""
    chunk = len(part[0])
    return min(LANES, chunk) if jax.default_backend() == "cpu" else chunk
