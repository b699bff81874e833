"""Quantiles of the mixture that a network tells of a label, and the factor with which they hold."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from s1jax import features, hiding
from s1jax.chunks import map_pixels
from s1jax.gp import over_pixels
from s1jax.networks.bands import fields, least_factor, ways
from s1jax.networks.config import CnpConfig, SequenceConfig
from s1jax.networks.dates import scaled
from s1jax.networks.likelihood import Beliefs, cumulative, quantile
from s1jax.networks.model import SequenceParams, noise
from s1jax.networks.pixel import lanes_of, pixels_of, told_of
from s1jax.types import NDVI, Days, Series

_ENDS = (0.05, 0.95)


def quantiles(
    params: SequenceParams,
    series: Series,
    days: Days,
    levels: tuple[float, ...],
    *,
    config: SequenceConfig = CnpConfig(),  # noqa: B008 (frozen)
    label: str = "network",
) -> Float[np.ndarray, "pixel query level"]:
    """NDVI below which a label lies with each probability of `levels`, 1.

    They are those of the mixture that the network tells of every date, std and noise of its
    Gaussians times `params.mixture` (1 of the shipped weights): residual cloud makes the lower tail
    the longer one, which the symmetric band of an Estimate cannot say. Linear in time between the
    dates.

    Args:
      params: as for `fill`.
      series: many pixels.
      days: any days.
      levels: probabilities, in (0, 1).
      config: of the network.
      label: what the progress bar says.

    Raises:
      ValueError: a level outside (0, 1), or moments are missing.
    """
    if not all(0.0 < level < 1.0 for level in levels):
        raise ValueError(f"levels: got {levels}, expected probabilities between 0 and 1")
    day, days, arrays = pixels_of(params, series, days)
    return map_pixels(
        lambda part: _levels(params, day, days, part, config=config, levels=levels),
        arrays,
        chunk=config.chunk,
        label=label,
    )


def mixture_factor(
    params: SequenceParams, validation: Series, *, config: SequenceConfig, label: str = "network"
) -> Float[np.ndarray, "2"]:
    """Least factors of std and noise with which nine in ten labels hidden from validation pixels
    lie between the quantiles .05 and .95: without any NDVI of the pixel, and with some; found as
    those of `bands`.

    Args:
      params: of the network, told the radar's moments.
      validation: pixels whose NDVI is hidden.
      config: of the network.
      label: what the progress bar says.
    """
    field, clean = fields(validation), noise(params.variables)
    ndvi = scaled(jnp.asarray(validation.value)[..., NDVI]).T
    found = []
    for asked in ways(validation):
        day, _, arrays = pixels_of(params, hiding.without(validation, asked), validation.day)
        told = map_pixels(
            lambda part, day=day: _beliefs(params, day, part, config=config),
            arrays,
            chunk=config.chunk,
            label=label,
        )
        told = Beliefs(*(jnp.asarray(leaf).T for leaf in told))

        def _inside(factor, told=told):
            return np.asarray(_between(told, clean, ndvi, jnp.asarray(factor, ndvi.dtype))).T

        found.append(least_factor(_inside, asked, field))
    return np.array(found)


@jax.jit
def _between(told, clean, label, factor):
    below = cumulative(_wider(told, factor), clean * factor, label)
    return (below >= _ENDS[0]) & (below <= _ENDS[1])


def _wider(told: Beliefs, factor) -> Beliefs:
    return told._replace(std=told.std * factor)


@partial(jax.jit, static_argnames="config")
def _beliefs(params, day, part, *, config):
    def _one(pixel):
        told, _ = told_of(params, day, pixel, config)
        return tuple(leaf[:, 0] for leaf in told)

    return over_pixels(_one, part, lanes=lanes_of(part))


@partial(jax.jit, static_argnames=("config", "levels"))
def _levels(params, day, days, part, *, config, levels):
    def _one(pixel):
        told, some = told_of(params, day, pixel, config)
        factor = jnp.where(some, params.mixture[1], params.mixture[0]).astype(told.std.dtype)
        clean = noise(params.variables) * factor
        found = (quantile(_wider(told, factor), clean, level)[:, 0] for level in levels)
        return jnp.stack([features.at_days(day, curve, days) for curve in found], axis=-1)

    return over_pixels(_one, part, lanes=lanes_of(part))
