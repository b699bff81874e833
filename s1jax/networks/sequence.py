"""Networks over a whole series as Estimators: `tcn_s1`, `birnn`, `cnp` are its configurations."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from s1jax import features
from s1jax.chunks import map_pixels
from s1jax.gp import over_pixels
from s1jax.networks.bands import PLAIN, Bands, bands
from s1jax.networks.config import CnpConfig, SequenceConfig
from s1jax.networks.dates import CENTRE, SPAN, dates, moments, standardise
from s1jax.networks.learning import learn
from s1jax.networks.likelihood import quantile
from s1jax.networks.model import SequenceParams, adapt, initial, noise, tell
from s1jax.networks.pretrained import pretrained
from s1jax.types import Days, Estimate, Estimator, Key, Series

LANES = 32
"""Pixels computed together on a CPU: what a layer makes of all their dates stays in the cache."""


def sequence(config: SequenceConfig, *, label: str = "network") -> Estimator:
    """Estimator of NDVI from a pixel's whole radar series, and from its own NDVI of other dates.

    A network sees every date at three speckle levels, with flags of what is missing, and tells each
    date's latent NDVI as a Gaussian. It learns to tell NDVI that is hidden from it, at random, in
    blocks and altogether, so one network answers all tasks. Where no NDVI of a pixel is known it is
    radar alone. Bands are scaled by hidden labels of the validation pixels.

    Args:
      config: inputs, architecture, training.
      label: what progress bars say.

    Returns:
      An Estimator whose `fit` raises ValueError without a training or validation label, or for
      other channels than VV and VH of one or two orbits and NDVI.
    """

    def fit(key: Key, training: Series, validation: Series) -> SequenceParams:
        key_start, key_train = jax.random.split(key)
        if config.pretrained:
            start = pretrained(config)
        else:
            start = SequenceParams(initial(key_start, config), None, PLAIN)
        return fine_tune(key_train, start, training, validation, config=config, label=label)

    def predict(params: SequenceParams, series: Series, days: Days) -> Estimate:
        return fill(params, series, days, config=config, label=label)

    return Estimator(fit, predict)


def shipped(config: SequenceConfig = CnpConfig(), *, label: str = "network") -> Estimator:  # noqa: B008 (frozen)
    """Estimator of the shipped weights as they are: `fit` tells them the levels of the training
    pixels' radar (`adapt`) and looks at no label."""

    def fit(key: Key, training: Series, validation: Series) -> SequenceParams:
        return adapt(pretrained(config), training)

    return Estimator(fit, sequence(config, label=label).predict)


def fine_tune(
    key: Key,
    params: SequenceParams,
    training: Series,
    validation: Series,
    *,
    config: SequenceConfig = CnpConfig(),  # noqa: B008 (frozen)
    label: str = "network",
) -> SequenceParams:
    """What a network learns from a region's labels, going on from `params` (`pretrained`, say).

    Args:
      key: consumed.
      params: where to start; moments and bands are those of the new region.
      training: pixels to learn from.
      validation: pixels that decide when to stop, and how wide the band must be.
      config: of the network and its training.
      label: what the progress bar says.

    Raises:
      ValueError: no label among the training or the validation pixels, or channels other than VV
        and VH of one or two orbits and NDVI.
    """
    seen, decide = dates(training), dates(validation)
    by = moments(seen)
    parts = (standardise(part, by) for part in (seen, decide))
    state = learn(key, config, *parts, params.variables, label=label)
    found = SequenceParams(state.best, by, PLAIN, state.history)

    def _predict(series, days):
        return fill(found, series, days, config=config, label=label)

    hold = bands(_predict, validation, elsewhere=config.elsewhere)
    return found._replace(bands=Bands(*(jnp.asarray(part, by.mean.dtype) for part in hold)))


def fill(
    params: SequenceParams,
    series: Series,
    days: Days,
    *,
    config: SequenceConfig = CnpConfig(),  # noqa: B008 (frozen)
    label: str = "network",
) -> Estimate:
    """NDVI of every pixel on `days`: linear in time between the dates of the series.

    Args:
      params: `fine_tune`, or `adapt(pretrained(), series)`, which no label has gone into.
      series: many pixels.
      days: any days.
      config: of the network.
      label: what the progress bar says.

    Raises:
      ValueError: moments are missing: `adapt` has not been called.
    """
    day, days, arrays = _arrays(params, series, days)
    found = map_pixels(
        lambda part: _many(params, day, days, part, config=config),
        arrays,
        chunk=config.chunk,
        label=label,
    )
    return Estimate(*found)


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
    Gaussians times the factor of std in `params.bands` (1 of the shipped weights): residual cloud
    makes the lower tail the longer one, which the symmetric band of an Estimate cannot say. Its
    noise, which holds that tail as well, is not used here. Linear in time between the dates.

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
    day, days, arrays = _arrays(params, series, days)
    return map_pixels(
        lambda part: _levels(params, day, days, part, config=config, levels=levels),
        arrays,
        chunk=config.chunk,
        label=label,
    )


def _arrays(params, series, days):
    if params.moments is None:
        raise ValueError("moments of the radar: got none, expected those that `adapt` tells")
    day = jnp.asarray(series.day)
    return day, jnp.asarray(days, day.dtype), (*series[1:3], series.smooth, series.wide)


def _told(params, day, pixel, config):
    """What the network says of one pixel, and the factor of its std and its noise."""
    value, valid, smooth, wide = jax.tree.map(lambda leaf: leaf[None], pixel)
    found = dates(Series(day, value, valid, None, smooth, wide))
    found = standardise(found, params.moments)
    told = tell(config, params.variables, found, found.label)
    some = found.label.any() if config.ndvi else jnp.zeros((), bool)
    factor, noise = (jnp.where(some, part[1], part[0]) for part in params.bands)
    return told, factor.astype(told.std.dtype), noise.astype(told.std.dtype)


@partial(jax.jit, static_argnames="config")
def _many(params, day, days, part, *, config):
    def _one(pixel):
        told, factor, noise = _told(params, day, pixel, config)
        mean = jnp.clip(told.mean[:, 0] * SPAN + CENTRE, -1.0, 1.0)
        std = told.std[:, 0] * SPAN * factor
        return *(features.at_days(day, curve, days) for curve in (mean, std)), noise

    return over_pixels(_one, part, lanes=lanes_of(part))


@partial(jax.jit, static_argnames=("config", "levels"))
def _levels(params, day, days, part, *, config, levels):
    def _one(pixel):
        told, factor, _ = _told(params, day, pixel, config)
        told = told._replace(std=told.std * factor)
        clean = noise(params.variables) * factor
        found = (quantile(told, clean, level)[:, 0] for level in levels)
        return jnp.stack([features.at_days(day, curve, days) for curve in found], axis=-1)

    return over_pixels(_one, part, lanes=lanes_of(part))


def lanes_of(part):
    """Pixels of a batch of `gp.over_pixels`; a GPU takes the whole chunk at once."""
    chunk = len(part[0])
    return min(LANES, chunk) if jax.default_backend() == "cpu" else chunk
