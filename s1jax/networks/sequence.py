"""Networks over a whole series as Estimators: `tcn_s1`, `birnn`, `cnp` are its configurations."""

import jax
import jax.numpy as jnp
import numpy as np

from s1jax import features, hiding
from s1jax.forked import refuse_forked
from s1jax.networks.bands import PLAIN, Bands, applied, bands_of, ways
from s1jax.networks.config import CnpConfig, SequenceConfig
from s1jax.networks.dates import dates, moments, standardise, suited
from s1jax.networks.learning import learn
from s1jax.networks.levels import mixture_factor
from s1jax.networks.likelihood import physical
from s1jax.networks.model import SequenceParams, adapt, initial, noise
from s1jax.networks.pixel import over_series, seen
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
            dtype = jnp.asarray(training.value).dtype
            start = SequenceParams(initial(key_start, config, dtype), None, PLAIN)
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
    found = dates(training)
    by = moments(found)
    near, decide = suited(by, validation)
    parts = standardise(found, by), standardise(dates(decide), near)
    start = jax.tree.map(lambda weight: weight.astype(by.mean.dtype), params.variables)
    state = learn(key, config, *parts, start, label=label)
    found = SequenceParams(state.best, near, PLAIN, state.history)
    told = [
        over_series(
            lambda told: told,
            found,
            hiding.without(decide, asked),
            config=config,
            label=label,
        )
        for asked in ways(validation)
    ]
    estimates = [Estimate(*physical(one), jnp.zeros(())) for one in told]
    hold = bands_of(estimates, validation, elsewhere=config.elsewhere)
    tails = mixture_factor(told, noise(found.variables), validation)
    return found._replace(
        moments=by,
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
      RuntimeError: in a process that was forked after its parent used JAX.
    """
    refuse_forked()
    by, series = suited(params.moments, series)
    day, days = jnp.asarray(series.day), jnp.asarray(days, series.day.dtype)
    mean, std = over_series(
        lambda told: _at_days(day, days, told),
        params._replace(moments=by),
        series,
        config=config,
        label=label,
    )
    told = Estimate(mean, std, np.zeros((), mean.dtype))
    return applied(told, seen(series, config), params.bands)


@jax.jit
def _at_days(day, days, told):
    between = jax.vmap(lambda curve: features.at_days(day, curve, days))
    return tuple(between(curve) for curve in physical(told))
