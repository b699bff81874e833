"""What a sequence network says of many pixels: one program, of which all that it tells is made."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, PyTree

from s1jax.chunks import map_pixels
from s1jax.gp import over_pixels
from s1jax.networks.config import SequenceConfig
from s1jax.networks.dates import Moments, dates, orbits, standardise
from s1jax.networks.likelihood import Beliefs
from s1jax.networks.model import SequenceParams, tell
from s1jax.types import NDVI, Series

LANES = 32
"""Pixels computed together on a CPU: what a layer makes of all their dates stays in the cache."""


def over_series(
    function: Callable[..., PyTree],
    params: SequenceParams,
    series: Series,
    *more: PyTree,
    config: SequenceConfig,
    label: str,
) -> PyTree:
    """`function(beliefs, *more)`, chunk by chunk, gathered on the host.

    Args:
      function: of the beliefs of some pixels on the dates of the series, (pixel, time).
      params: of the network, their moments and the series `suited` to each other.
      series: many pixels.
      more: arrays with the pixels on the first axis.
      config: of the network.
      label: what the progress bar says.
    """
    learnt, day = (params.variables, params.moments), jnp.asarray(series.day)
    return map_pixels(
        lambda part: function(beliefs(*learnt, day, part[0], config=config), *part[1:]),
        ((*series[1:3], series.smooth, series.wide), *more),
        chunk=config.chunk,
        label=label,
    )


@partial(jax.jit, static_argnames="config")
def beliefs(variables, moments, day, part, *, config: SequenceConfig) -> Beliefs:
    """Beliefs of the pixels of a chunk, (pixel, time)."""

    def _one(pixel):
        value, valid, smooth, wide = jax.tree.map(lambda leaf: leaf[None], pixel)
        found = standardise(dates(Series(day, value, valid, None, smooth, wide)), moments)
        told = tell(config, variables, found, found.label)
        return Beliefs(*(leaf[:, 0] for leaf in told))

    return over_pixels(_one, part, lanes=lanes_of(part))


def has_data(series: Series, by: Moments, config: SequenceConfig) -> Bool[np.ndarray, "pixel"]:
    """Pixels of which the network sees any radar, of an orbit with moments, or NDVI."""
    valid = np.asarray(series.valid)
    radar = np.zeros(len(valid), bool)
    if config.radar:
        for orbit in np.flatnonzero(np.asarray(orbits(by.std[0]))[: valid.shape[-1] // 2]):
            radar |= valid[..., 2 * orbit : 2 * orbit + 2].all(axis=-1).any(axis=1)
    return radar | seen(series, config)


def seen(series: Series, config: SequenceConfig) -> Bool[np.ndarray, "pixel"]:
    """Pixels of which the network sees some NDVI."""
    return np.asarray(series.valid)[..., NDVI].any(axis=1) & config.ndvi


def lanes_of(part) -> int:
    """Pixels of a batch of `gp.over_pixels`; a GPU takes the whole chunk at once."""
    chunk = len(part[0])
    return min(LANES, chunk) if jax.default_backend() == "cpu" else chunk
