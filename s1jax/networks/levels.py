"""Quantiles of the mixture that a network tells of a label, and the factor with which they hold."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from s1jax import features
from s1jax.features import without_implausible
from s1jax.networks.bands import fields, least_factor, ways
from s1jax.networks.beyond import Level, beyond, left, spread
from s1jax.networks.config import CnpConfig, SequenceConfig
from s1jax.networks.dates import SPAN, check_series, scaled, suited
from s1jax.networks.likelihood import Beliefs, cumulative, quantile
from s1jax.networks.model import SequenceParams, noise
from s1jax.networks.pixel import over_series, seen
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
    Gaussians times `params.mixture` (1.25 of the shipped weights): residual cloud makes the lower
    tail the longer one, which the symmetric band of an Estimate cannot say. Linear in time between
    the dates; far from them they are of the mixture whose Gaussian of the latent NDVI has relaxed
    as that of `fill` does. Values that cannot be are left out.

    Args:
      params: as for `fill`.
      series: many pixels.
      days: any days.
      levels: probabilities, in (0, 1).
      config: of the network.
      label: what the progress bar says.

    Raises:
      ValueError: no level, or one outside (0, 1), moments are missing, or days that are not finite
        or, of the series, do not ascend.
    """
    check_series(series, days)
    if not levels or not all(0.0 < level < 1.0 for level in levels):
        raise ValueError(f"levels: got {levels}, expected probabilities between 0 and 1")
    by, series = suited(params.moments, series)
    series, _ = without_implausible(series)
    day, days = jnp.asarray(series.day), jnp.asarray(days, series.day.dtype)
    factor = np.where(seen(series, config), params.mixture[1], params.mixture[0])
    clean = noise(params.variables)

    def _over(function, *more):
        return over_series(
            lambda told, factor: function(day, *more, told, clean, factor, levels=levels),
            params._replace(moments=by),
            series,
            factor.astype(days.dtype),
            config=config,
            label=label,
        )

    estimates = _over(_levels, days)
    away = beyond(np.asarray(day), days)
    some = away > 0.0
    if some.any():
        level = Level(*(jnp.asarray(leaf, days.dtype) for leaf in params.level))
        far = days[some], jnp.asarray(away[some])
        estimates[:, some] = _over(_far_levels, *far, level)
    return estimates


def mixture_factor(
    told: Sequence[Beliefs], clean: Float[Array, ""], validation: Series
) -> Float[np.ndarray, "2"]:
    """Least factors of std and noise with which nine in ten labels hidden from validation pixels
    lie between the quantiles .05 and .95: without any NDVI of the pixel, and with some; found as
    those of `bands`.

    Args:
      told: of the validation pixels, (pixel, time), for each of `bands.ways`.
      clean: noise of a clean label, scaled.
      validation: pixels whose NDVI was hidden.
    """
    field = fields(validation)
    label = scaled(jnp.asarray(validation.value)[..., NDVI])
    found = []
    for one, asked in zip(told, ways(validation), strict=True):

        def _inside(factor, one=one):
            return np.asarray(_between(one, clean, label, jnp.asarray(factor, label.dtype)))

        found.append(least_factor(_inside, asked, field))
    return np.array(found)


@jax.jit
def _between(told, clean, label, factor):
    below = cumulative(_wider(told, factor), clean * factor, label)
    return (below >= _ENDS[0]) & (below <= _ENDS[1])


@partial(jax.jit, static_argnames="levels")
def _levels(day, days, told, clean, factor, *, levels):
    told, clean = _wider(told, factor[:, None]), (clean * factor)[:, None]
    between = jax.vmap(lambda curve: features.at_days(day, curve, days))
    return jnp.stack([between(quantile(told, clean, level)) for level in levels], axis=-1)


@partial(jax.jit, static_argnames="levels")
def _far_levels(day, days, away, level, told, clean, factor, *, levels):
    """Of the mixture on the days themselves, its latent Gaussian relaxed."""
    told = _wider(told, factor[:, None])
    told = Beliefs(*(jax.vmap(lambda curve: features.at_days(day, curve, days))(x) for x in told))
    middle, rest = scaled(level.mean), left(away)[None]
    told = told._replace(
        mean=middle + rest * (told.mean - middle),
        std=spread(told.std, away[None], level.std / SPAN),
    )
    clean = (clean * factor)[:, None]
    return jnp.stack([quantile(told, clean, one) for one in levels], axis=-1)


def _wider(told: Beliefs, factor) -> Beliefs:
    return told._replace(std=told.std * factor)
