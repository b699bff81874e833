"""Networks over a whole series as Estimators: `tcn_s1`, `birnn`, `cnp` are its configurations.

Each step of a training withholds NDVI anew; the loss is its likelihood.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax import estimators
from s1jax.batching import chunk_size, refuse_forked
from s1jax.compositing import interpolate
from s1jax.extrapolation import Level, days_beyond, level_of, relax, remaining, spread
from s1jax.features import without_implausible
from s1jax.masking import sample_training_mask, with_ndvi_masked
from s1jax.networks.config import CnpConfig, SequenceConfig
from s1jax.networks.inputs import (
    SPAN,
    WITHOUT,
    NetworkInput,
    check_series,
    match_looks,
    moments,
    network_input,
    scaled,
    standardise,
    take_pixels,
)
from s1jax.networks.model import (
    LabelMixture,
    SequenceParams,
    adapt,
    apply_network,
    cumulative,
    has_ndvi,
    has_radar,
    init,
    log_density,
    log_truth,
    map_mixtures,
    noise,
    physical,
    quantile,
)
from s1jax.networks.pretrained import pretrained
from s1jax.quality import flags
from s1jax.train import Data, Loss, State, Variables, fit
from s1jax.types import Days, Estimate, Estimator, Key, Series

_ENDS = (0.05, 0.95)
SHARED_LOOK = 0.3
"""How often all looks of a pixel are made the same one, as in data of one pixel per field."""
DROP_ORBIT = (0.70, 0.14, 0.14, 0.02)
"""How often both orbits stay, the first or the second is lost, or both."""
SWAP = 0.5
"""How often the orbits change places."""
_CONTEXT = 0.1
"""Weight of a label that the network may see, beside 1 of a withheld one."""
_DRAWS = 4
"""Masks of a validation pixel."""


def sequence(config: SequenceConfig) -> Estimator:
    """Estimator of NDVI from a pixel's whole radar series, and from its own NDVI of other dates.

    A network sees every date at three speckle levels, with flags of what is missing, and predicts
    the latent NDVI of each date as a Gaussian. In training it predicts NDVI that is withheld from
    it, at random, in blocks and altogether, so one network serves all tasks; without any NDVI of a
    pixel it uses radar alone. Withheld labels of the validation pixels scale the bands.

    Its `fit` raises ValueError without a training or validation label, or for channels other than
    VV and VH of one or two orbits.
    """

    def fit(key: Key, training: Series, validation: Series) -> SequenceParams:
        key_start, key_train = jax.random.split(key)
        if config.pretrained:
            start = pretrained(config)
        else:
            dtype = jnp.asarray(training.radar).dtype
            start = SequenceParams(config, init(key_start, config, dtype))
        return fine_tune(key_train, start, training, validation)

    return Estimator(fit, predict)


def pretrained_estimator(config: SequenceConfig = CnpConfig()) -> Estimator:
    """Estimator of the shipped weights as they are: `fit` adapts them to the levels of the training
    pixels' radar (`adapt`) and learns from no label.

    They have seen simulated rice alone: on other crops and in other climates they are no better
    than a straight line between the clear dates, or worse (temperate Europe: R2 below 0).
    """

    def fit(key: Key, training: Series, validation: Series) -> SequenceParams:
        return adapt(pretrained(config), training)

    return Estimator(fit, predict)


def fine_tune(
    key: Key, params: SequenceParams, training: Series, validation: Series
) -> SequenceParams:
    """`params` trained further on a region's labels, from `pretrained`, say.

    The weights of `pretrained` have seen simulated rice alone; this is how they learn of another
    region. Moments and calibration become those of the region. The validation pixels decide when to
    stop, and how wide the band must be. `adapt` needs no label.

    Raises:
      ValueError: no label among the training or the validation pixels, days that are not finite or
        do not ascend, or channels other than VV and VH of one or two orbits.
    """
    config = params.config
    for series in (training, validation):
        check_series(series)
    (training, _), (validation, _) = map(without_implausible, (training, validation))
    inputs = network_input(training)
    by = moments(inputs)
    near, deciding = match_looks(by, validation)
    parts = standardise(inputs, by), standardise(network_input(deciding), near)
    start = jax.tree.map(lambda weight: weight.astype(by.mean.dtype), params.variables)
    state = train(key, config, *parts, start)
    tuned = SequenceParams(config, state.best, near, history=state.history)
    mixtures = [
        map_mixtures(lambda mixture: mixture, tuned, with_ndvi_masked(deciding, hidden))
        for hidden in estimators.validation_masks(validation)
    ]
    none = np.zeros(len(validation.ndvi), np.float32)
    estimates = [Estimate(*physical(mixture), none) for mixture in mixtures]
    calibration = estimators.calibration_of(estimates, validation, inflation=config.inflation)
    factor = config.inflation * mixture_factor(mixtures, noise(state.best), validation)
    cast = partial(jnp.asarray, dtype=by.mean.dtype)
    return replace(
        tuned,
        moments=by,
        calibration=jax.tree.map(cast, calibration),
        mixture=cast(factor),
        level=level_of(training, params.level),
    )


def predict(params: SequenceParams, series: Series, days: Days) -> Estimate:
    """NDVI of every pixel on `days`: linear in time between the dates of the series.

    Before the first and after the last date, and more than 30 days from both dates of a gap, the
    estimate relaxes to the mean and std of the region's NDVI (`params.level`), by the equation of
    `extrapolation.relax`. Implausible values are left out; `quality` of the estimate marks their
    pixels, and they change no other pixel.

    Of `pretrained` weights an estimate is worth what simulated rice has in common with the region:
    elsewhere, as in temperate Europe (R2 below 0), a straight line between the clear dates may be
    the better estimate.

    Raises:
      ValueError: moments are missing: `adapt` has not been called; days that are not finite, or of
        the series do not ascend; channels other than VV and VH of one or two orbits.
      RuntimeError: in a process that was forked after its parent used JAX.
    """
    refuse_forked()
    params, by, series, implausible = _matched(params, series, days)
    day, days = jnp.asarray(series.day), jnp.asarray(days, series.day.dtype)
    mean, std = map_mixtures(lambda mixture: _at_days(day, days, mixture), params, series)
    estimate = Estimate(mean, std, np.zeros(len(mean), mean.dtype))
    seen = has_ndvi(series, params.config)
    estimate = estimators.apply(params.calibration, estimate, seen)
    estimate = relax(estimate, days_beyond(np.asarray(day), days), params.level)
    data = seen | has_radar(series, by) if params.config.radar else seen
    return estimate._replace(quality=flags(data, implausible, estimate.mean))


def _matched(params, series, days):
    """Parameters, their moments and series with the same looks, and the implausible pixels."""
    check_series(series, days)
    by, series = match_looks(params.moments, series)
    return replace(params, moments=by), by, *without_implausible(series)


@jax.jit
def _at_days(day, days, mixture):
    between = _between_dates(day, days)
    return tuple(between(curve) for curve in physical(mixture))


def _between_dates(day, days):
    """The curves of pixels on `days`, linear between the dates."""
    return jax.vmap(lambda curve: interpolate(day, curve, days))


def quantiles(
    params: SequenceParams, series: Series, days: Days, levels: tuple[float, ...]
) -> Float[np.ndarray, "pixel query level"]:
    """NDVI below which a label lies with each probability of `levels`.

    They are those of the mixture that the network predicts for every date, std and noise of its
    Gaussians times `params.mixture` (1.25 of the shipped weights): residual cloud makes the lower
    tail the longer one, which the symmetric band of an Estimate cannot express. Linear in time
    between the dates; far from them they are of the mixture whose Gaussian of the latent NDVI has
    relaxed as that of `predict` does. Implausible values are left out.

    Raises:
      ValueError: no level, or one outside (0, 1), or what `predict` raises.
    """
    if not levels or not all(0.0 < level < 1.0 for level in levels):
        raise ValueError(f"levels: got {levels}, expected probabilities between 0 and 1")
    params, _, series, _ = _matched(params, series, days)
    day, days = jnp.asarray(series.day), jnp.asarray(days, series.day.dtype)
    seen = has_ndvi(series, params.config)
    factor = np.where(seen, params.mixture[1], params.mixture[0]).astype(days.dtype)
    clean = noise(params.variables)

    def _map(function, *more):
        return map_mixtures(
            lambda mixture, factor: function(day, *more, mixture, clean, factor, levels=levels),
            params,
            series,
            factor,
        )

    values = _map(_quantiles_near, days)
    away = days_beyond(np.asarray(day), days)
    some = away > 0.0
    if some.any():
        level = Level(*(jnp.asarray(leaf, days.dtype) for leaf in params.level))
        values[:, some] = _map(_quantiles_far, days[some], jnp.asarray(away[some]), level)
    return values


@partial(jax.jit, static_argnames="levels")
def _quantiles_near(day, days, mixture, clean, factor, *, levels):
    mixture, clean = _wider(mixture, factor[:, None]), (clean * factor)[:, None]
    between = _between_dates(day, days)
    return jnp.stack([between(quantile(mixture, clean, level)) for level in levels], axis=-1)


@partial(jax.jit, static_argnames="levels")
def _quantiles_far(day, days, away, level, mixture, clean, factor, *, levels):
    """Of the mixture on the days themselves, its latent Gaussian relaxed."""
    mixture = _wider(mixture, factor[:, None])
    between = _between_dates(day, days)
    mixture = LabelMixture(*(between(curve) for curve in mixture))
    middle, rest = scaled(level.mean), remaining(away)[None]
    mixture = mixture._replace(
        mean=middle + rest * (mixture.mean - middle),
        std=spread(mixture.std, away[None], level.std / SPAN),
    )
    clean = (clean * factor)[:, None]
    return jnp.stack([quantile(mixture, clean, one) for one in levels], axis=-1)


def mixture_factor(
    mixtures: Sequence[LabelMixture], clean: Float[Array, ""], validation: Series
) -> Float[np.ndarray, "2"]:
    """Least factors of std and noise with which nine in ten labels withheld from validation pixels
    lie between the quantiles .05 and .95: without any NDVI of the pixel, and with some.

    `mixtures` are those of `estimators.validation_masks`; `clean` is the noise of a clean label.
    """
    field = estimators.fields(validation)
    label = scaled(jnp.asarray(validation.ndvi))
    factors = []
    for mixture, hidden in zip(mixtures, estimators.validation_masks(validation), strict=True):

        def _inside(factor, mixture=mixture):
            return np.asarray(_between(mixture, clean, label, jnp.asarray(factor, label.dtype)))

        factors.append(estimators.least_factor(_inside, hidden, field))
    return np.array(factors)


@jax.jit
def _between(mixture, clean, label, factor):
    below = cumulative(_wider(mixture, factor), clean * factor, label)
    return (below >= _ENDS[0]) & (below <= _ENDS[1])


def _wider(mixture: LabelMixture, factor) -> LabelMixture:
    return mixture._replace(std=mixture.std * factor)


def train(
    key: Key,
    config: SequenceConfig,
    training: NetworkInput,
    validation: NetworkInput,
    start: Variables,
) -> State:
    """`train.fit` of a network, from `start`; radar is standardised.

    Raises:
      ValueError: no label among the training or the validation pixels.
    """
    data = []
    for name, inputs, draws in (("training", training, 1), ("validation", validation, _DRAWS)):
        label = np.asarray(inputs.label)
        if not label.any():
            raise ValueError(
                f"{name} NDVI: got no valid label in {len(label)} pixels, expected some; {WITHOUT}"
            )
        pixel = np.flatnonzero(label.any(1)).astype(np.int32)
        data.append(Data(_padded(inputs), jnp.asarray(np.repeat(pixel, draws))))
    return fit(key, sequence_loss(config), start, *data, config=config.train)


def _padded(inputs):
    """Pixels up to a rounded number, the last repeated: a program is compiled for few sizes."""
    n = len(inputs.ndvi)
    return take_pixels(inputs, np.minimum(np.arange(chunk_size(n, most=1 << 40)), n - 1))


@cache
def sequence_loss(config: SequenceConfig) -> Loss:
    """-log p of the withheld labels and 0.1 of the visible ones, over the weights of a pixel; of
    the truth too where there is one."""

    def loss(key, variables, data):
        inputs = take_pixels(data.store, data.rows)
        # without a key it is validation: the mask is always the same
        key_mask, key_augment = jax.random.split(jax.random.key(0) if key is None else key)
        visible = inputs.label & ~sample_training_mask(key_mask, *inputs.label.shape)
        if key is not None:
            inputs = augment(
                key_augment, inputs, gain=config.gain_jitter, offset=config.offset_jitter
            )
        mixture = apply_network(config, variables, inputs, visible)
        each, weight, _ = label_loss(mixture, noise(variables), inputs, visible & config.ndvi)
        total = each.sum(0) / jnp.maximum(weight.sum(0), 1.0)
        if inputs.truth is not None:
            true = jnp.isfinite(inputs.truth.T)
            log_p = log_truth(mixture, scaled(jnp.where(true, inputs.truth.T, 0.0)))
            total = total - jnp.where(true, log_p, 0.0).mean(0)
        return total, variables.batch_stats

    return loss


def label_loss(
    mixture: LabelMixture,
    clean: Float[Array, ""],
    inputs: NetworkInput,
    visible: Bool[Array, "pixel time"],
) -> tuple[Float[Array, "time pixel"], Float[Array, "time pixel"], Bool[Array, "time pixel"]]:
    """-log p of each label times its weight, the weights (1 withheld, 0.1 visible, 0 where there is
    no label), and which labels were withheld; `clean` is the noise of a clean label, scaled."""
    label = inputs.label.T
    shown = label & visible.T
    weight = jnp.where(label & ~shown, 1.0, 0.0) + jnp.where(shown, _CONTEXT, 0.0)
    weight = weight.astype(inputs.ndvi.dtype)
    density = log_density(mixture, clean, scaled(inputs.ndvi.T))
    return -jnp.where(label, density, 0.0) * weight, weight, label & ~shown


def augment(key: Key, inputs: NetworkInput, *, gain: float, offset: float) -> NetworkInput:
    """Pixels with standardised radar times 1 + gain n1 plus offset n2, n1 and n2 normal for each
    pixel and channel (all looks alike); sometimes one look for all, an orbit lost, orbits swapped:
    so a network does not rely on one sensor's levels."""
    z, (n, dtype) = inputs.radar, (len(inputs.radar), inputs.radar.dtype)
    key_level, key_event = jax.random.split(key)
    # two draws for all: each is a program part of its own, and takes long to compile
    level = jax.random.normal(key_level, (2, n, 1, 1, 4), dtype)
    share, which, drop, change = jax.random.uniform(key_event, (4, n), dtype)
    z = z * (1.0 + gain * level[0]) + offset * level[1]
    looks = z.shape[2]
    chosen = jnp.minimum(jnp.floor(which * looks), looks - 1).astype(jnp.int32)
    alike = jnp.take_along_axis(z, chosen[:, None, None, None], axis=2)
    one_look = (share < SHARED_LOOK)[:, None, None, None]
    z = jnp.where(one_look, jnp.broadcast_to(alike, z.shape), z)
    lost = jnp.searchsorted(jnp.asarray(np.cumsum(DROP_ORBIT[:-1]), dtype), drop)
    both = inputs.seen.any(1).all(-1)
    # of a single orbit nothing is lost but all, seldom
    kept = jnp.stack([lost != 1, lost != 2], -1) | ~both[:, None]
    seen = inputs.seen & (kept & (lost != 3)[:, None])[:, None]
    swap = (change < SWAP) & both
    seen = jnp.where(swap[:, None, None], seen[..., ::-1], seen)
    z = jnp.where(swap[:, None, None, None], jnp.roll(z, 2, axis=-1), z)
    here = jnp.repeat(seen, 2, axis=-1)[:, :, None]
    return inputs._replace(radar=jnp.where(here, z, 0.0), seen=seen)
