"""Networks over a whole series as Estimators: `tcn_s1`, `birnn`, `cnp` are its configurations."""

import jax
import jax.numpy as jnp
import numpy as np

from s1jax import features, hiding
from s1jax.features import without_implausible
from s1jax.forked import refuse_forked
from s1jax.networks.bands import PLAIN, Bands, applied, bands_of, ways
from s1jax.networks.beyond import beyond, level_of, relaxed
from s1jax.networks.config import CnpConfig, SequenceConfig
from s1jax.networks.dates import check_series, dates, moments, standardise, suited
from s1jax.networks.learning import learn
from s1jax.networks.levels import mixture_factor
from s1jax.networks.likelihood import physical
from s1jax.networks.model import SequenceParams, adapt, initial, noise
from s1jax.networks.pixel import has_data, over_series, seen
from s1jax.networks.pretrained import pretrained
from s1jax.networks.quality import flags
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
    pixels' radar (`adapt`) and learns from no label.

    They have seen simulated rice alone: on other crops and in other climates they are no better
    than a straight line between the clear dates, or worse (temperate Europe: R2 below 0).
    """

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

    The weights of `pretrained` have seen simulated rice alone; this is how they learn of another
    region. Without labels there is nothing to go on with: `adapt` needs none.

    Args:
      key: consumed.
      params: where to start; moments and bands are those of the new region.
      training: pixels to learn from.
      validation: pixels that decide when to stop, and how wide the band must be.
      config: of the network and its training.
      label: what the progress bar says.

    Raises:
      ValueError: no label among the training or the validation pixels, days that are not finite or
        do not ascend, or channels other than VV and VH of one or two orbits and NDVI.
    """
    for part in (training, validation):
        check_series(part)
    (training, _), (validation, _) = map(without_implausible, (training, validation))
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
        level=level_of(training, params.level),
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

    Before the first and after the last date, and more than 30 days from both dates of a gap, the
    estimate relaxes to the mean and std of the region's NDVI (`params.level`), by the equation of
    `beyond.relaxed`. Values that cannot be (`features.plausible`) are left out, and `quality` of
    the estimate says of which pixels; they change no other pixel.

    Of `pretrained` weights an estimate is worth what simulated rice has in common with the region:
    elsewhere, as in temperate Europe (R2 below 0), a straight line between the clear dates may be
    the better estimate.

    Args:
      params: `fine_tune`, or `adapt(pretrained(), series)`, which no label has gone into.
      series: many pixels.
      days: any days.
      config: of the network.
      label: what the progress bar says.

    Raises:
      ValueError: moments are missing: `adapt` has not been called; days that are not finite, or of
        the series do not ascend; channels other than VV and VH of one or two orbits and NDVI.
      RuntimeError: in a process that was forked after its parent used JAX.
    """
    refuse_forked()
    check_series(series, days)
    by, series = suited(params.moments, series)
    series, left_out = without_implausible(series)
    day, days = jnp.asarray(series.day), jnp.asarray(days, series.day.dtype)
    mean, std = over_series(
        lambda told: _at_days(day, days, told),
        params._replace(moments=by),
        series,
        config=config,
        label=label,
    )
    told = Estimate(mean, std, np.zeros((), mean.dtype))
    told = applied(told, seen(series, config), params.bands)
    told = relaxed(told, beyond(np.asarray(day), days), params.level)
    return told._replace(quality=flags(has_data(series, by, config), left_out, told.mean))


@jax.jit
def _at_days(day, days, told):
    between = jax.vmap(lambda curve: features.at_days(day, curve, days))
    return tuple(between(curve) for curve in physical(told))
