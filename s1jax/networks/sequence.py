"""Networks over a whole series as Estimators: `tcn_s1`, `birnn`, `cnp` are its configurations."""

from functools import partial

import jax
import jax.numpy as jnp

from s1jax import features
from s1jax.chunks import map_pixels
from s1jax.gp import over_pixels
from s1jax.networks.bands import PLAIN, Bands, bands
from s1jax.networks.config import CnpConfig, SequenceConfig
from s1jax.networks.dates import CENTRE, SPAN, dates, moments, standardise
from s1jax.networks.learning import learn
from s1jax.networks.levels import mixture_factor
from s1jax.networks.model import SequenceParams, adapt, initial
from s1jax.networks.pixel import lanes_of, pixels_of, told_of
from s1jax.networks.pretrained import pretrained
from s1jax.types import Days, Estimate, Estimator, Key, Series


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
    tails = mixture_factor(found, validation, config=config, label=label)
    return found._replace(
        bands=Bands(*(jnp.asarray(part, by.mean.dtype) for part in hold)),
        mixture=jnp.asarray(config.elsewhere * tails, by.mean.dtype),
    )


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
    day, days, arrays = pixels_of(params, series, days)
    found = map_pixels(
        lambda part: _many(params, day, days, part, config=config),
        arrays,
        chunk=config.chunk,
        label=label,
    )
    return Estimate(*found)


@partial(jax.jit, static_argnames="config")
def _many(params, day, days, part, *, config):
    def _one(pixel):
        told, some = told_of(params, day, pixel, config)
        factor, floor, noise = (jnp.where(some, part[1], part[0]) for part in params.bands)
        mean = jnp.clip(told.mean[:, 0] * SPAN + CENTRE, -1.0, 1.0)
        std = (factor * jnp.hypot(told.std[:, 0] * SPAN, floor)).astype(mean.dtype)
        return *(features.at_days(day, curve, days) for curve in (mean, std)), noise.astype(
            mean.dtype
        )

    return over_pixels(_one, part, lanes=lanes_of(part))
