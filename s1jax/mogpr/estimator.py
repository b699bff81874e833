"""MOGPR as an Estimator: the choice of its variant, and the parameters of a region."""

import functools
import itertools
import logging
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from s1jax import gp, masking
from s1jax.batching import refuse_forked
from s1jax.features import plausible_ndvi
from s1jax.gp.fit import NOISE
from s1jax.metrics import HALF_BAND
from s1jax.mogpr.config import SCALES, Curve, MogprConfig, MogprParams
from s1jax.mogpr.inputs import (
    NDVI,
    available,
    channels_of,
    check_labels,
    on_days,
    outputs_of,
    regional_curve,
    standardise_pixels,
)
from s1jax.mogpr.posterior import posterior
from s1jax.types import Days, Estimate, Estimator, Key, Series, concatenate

log = logging.getLogger("s1jax")

_FEWEST = 50
"""Withheld labels below which they decide nothing and scale no band."""
_ENOUGH = 2000
"""Withheld labels that suffice."""
_DRAWS = 8
"""Most draws of withheld labels."""
_CELL = 1000.0
"""Side of the cells over which the sample is spread, metres."""
_LEAP = (5.0**0.5 - 1.0) / 2.0
"""Golden ratio: the first n of its multiples, less whole numbers, are spread evenly for every n."""


def mogpr(config: MogprConfig = MogprConfig(), *, hyper: gp.Hyper | None = None) -> Estimator:
    """Estimator of NDVI by a Gaussian process over all channels: mean and std of its posterior.

    Withheld labels of the validation pixels decide what `config` leaves open (`select_variant`) and
    scale the band until it holds 90 % of them. A pixel without any data gets the prior. `hyper` are
    hyperparameters on z-scored outputs, to use instead of a fit.
    Source of the model: Pipia et al. (2019), Fusing optical and SAR time series for LAI gap filling
    with multioutput Gaussian processes, Remote Sensing of Environment 235.

    Raises:
      ValueError: a solver other than "kalman" beside inducing days, or a stride below 1.
    """
    if config.inducing is not None and config.solver != "kalman":
        raise ValueError(f"solver: got {config.solver!r}, expected 'kalman' beside inducing days")

    if config.stride < 1:
        raise ValueError(f"stride: got {config.stride}, expected 1 or more")
    dates = slice(None, None, config.stride)

    def fit(key: Key, training: Series, validation: Series) -> MogprParams:
        training = training.take(slice(None), dates)
        return select_variant(key, training, validation.take(slice(None), dates), config, hyper)[0]

    def predict(params: MogprParams, series: Series, days: Days) -> Estimate:
        return posterior(params, series.take(slice(None), dates), days, chunk=config.chunk)

    return Estimator(fit, predict)


class Candidate(NamedTuple):
    """A variant and its error on validation pixels."""

    inputs: str
    mean: str
    hyper: str
    rmse: float
    """Of withheld validation labels (dimensionless); NaN where they are too few."""


def select_variant(
    key: Key,
    training: Series,
    validation: Series,
    config: MogprConfig,
    hyper: gp.Hyper | None = None,
) -> tuple[MogprParams, list[Candidate]]:
    """Parameters of the best variant, its band scaled to hold, and all candidates.

    Labels of validation pixels are withheld as the tasks do (a random share, 60 or 132 days) and
    estimated. They choose the inputs first, with the region's hyperparameters and no curve, then
    mean and hyperparameters together. The simplest variant stays unless another has a smaller sum
    of squared errors by more than the standard error, over pixels, of the difference.

    Args:
      key: consumed by the withholding.
      training: training pixels.
      validation: pixels of the same region.
      config: only what is "auto" varies.
      hyper: hyperparameters to use instead of a fit, of each pixel too unless `config` says
        "pixel".

    Raises:
      ValueError: no training pixel has a label; and as `fit_region`.
      RuntimeError: in a process that was forked after its parent used JAX.
    """
    refuse_forked()
    check_labels(training)
    pixels, dates = validation.ndvi_valid.shape
    copies, hidden = _withheld(key, validation)
    visible = masking.with_ndvi_masked(copies, hidden)
    label = np.asarray(copies.ndvi)
    # a label that several draws withhold is one label
    enough = hidden.reshape(-1, pixels, dates).any(axis=0).sum() >= _FEWEST
    means = ("zero", "regional") if config.mean == "auto" else (config.mean,)
    hypers = ("region", "pixel") if config.hyper == "auto" else (config.hyper,)
    if hyper is not None and config.hyper == "auto":
        hypers = ("region",)
    kinds = _inputs_for(training, hyper) if config.inputs == "auto" else (config.inputs,)
    candidates = []

    @functools.cache
    def _region(kind, mean):
        # where both means are candidates, the zero one is fitted anyway
        zero_mean = _region(kind, "zero")[0] if (mean, means[0]) == ("regional", "zero") else None
        options = replace(config, inputs=kind, mean=mean)
        return fit_region(training, options, hyper=hyper, zero_mean=zero_mean)

    @functools.cache
    def _variant(kind, mean, hyper_of):
        params, sample = _region(kind, mean)
        if hyper_of == "pixel":
            params = replace(params, prior=gp.prior(*sample))
        estimate = posterior(params, visible, validation.day, chunk=config.chunk)
        square = np.where(hidden, estimate.mean - label, 0.0) ** 2
        rmse = float(np.sqrt(square.sum() / hidden.sum())) if enough else np.nan
        candidates.append(Candidate(kind, mean, hyper_of, rmse))
        log.info("mogpr: %s, %s mean, hyper of the %s: RMSE %.4f", *candidates[-1])
        # the draws of a pixel are no pixels of their own
        return square.reshape(-1, pixels, dates).sum(axis=(0, 2)), params, estimate

    def _best(variants):
        best, *others = variants
        for other in others if enough else ():
            gain = _variant(*best)[0] - _variant(*other)[0]
            if gain.sum() > np.sqrt(gain.size) * gain.std():
                best = other
        return best

    kind = kinds[0]
    if len(kinds) > 1:
        kind, _, _ = _best((kind, means[0], "region") for kind in kinds)
    names = _best(itertools.product((kind,), means, hypers))
    _, params, estimate = _variant(*names)
    if enough:
        factor = _std_factor(estimate, label, hidden)
        params = replace(params, std_factor=params.std_factor * factor)
        log.info("mogpr: chosen %s, %s mean, hyper of the %s; band x %.2f", *names, factor)
    return params, candidates


def _inputs_for(training: Series, hyper: gp.Hyper | None) -> tuple[str, ...]:
    """The available inputs, as many of them as given hyperparameters have outputs."""
    kinds = available(training)
    if hyper is None:
        return kinds
    inputs = hyper.noise.shape[0] - 1
    fitting = tuple(kind for kind in kinds if len(channels_of(training, kind)) == inputs)
    return fitting or kinds[:1]


def _withheld(key: Key, validation: Series) -> tuple[Series, np.ndarray]:
    """Copies of the validation pixels and the labels withheld of each, until they suffice."""
    sound = plausible_ndvi(np.asarray(validation.ndvi))
    keys = jax.random.split(key, _DRAWS)
    hidden = [np.asarray(masking.sample_task_mask(keys[0], validation)) & sound]
    copies = int(np.clip(np.ceil(_ENOUGH / max(hidden[0].sum(), 1)), 1, _DRAWS))
    hidden += [np.asarray(masking.sample_task_mask(k, validation)) & sound for k in keys[1:copies]]
    return concatenate([validation] * copies), np.concatenate(hidden)


def _std_factor(estimate: Estimate, label: np.ndarray, hidden: np.ndarray) -> float:
    """w of equation (27) of docs/concepts/gp.md."""
    total = np.hypot(estimate.std, estimate.noise[:, None])[hidden]
    error = np.abs(estimate.mean - label)[hidden]
    return float(np.quantile(error / total, 0.9) / HALF_BAND)


class FitSample(NamedTuple):
    """The pixels that a region's hyperparameters were fitted on: the arguments of `gp.prior`."""

    observations: gp.Observations
    """z-scored."""
    hyper: gp.Hyper
    """Of maximum likelihood. Under misspecification the best predictors, which are those of the
    region, are not these, and a pixel's own likelihood leads away from them."""


def fit_region(
    series: Series,
    config: MogprConfig,
    *,
    hyper: gp.Hyper | None = None,
    zero_mean: MogprParams | None = None,
) -> tuple[MogprParams, FitSample]:
    """Parameters of the region, all pixels with one set of hyperparameters, and the sample of them.

    The hyperparameters are those of equation (22) of docs/concepts/gp.md, from those of maximum
    likelihood. The sample is spread evenly over cells of 1 km where the series has positions, else
    over its pixels; it and what is withheld of it are the same in every call.

    Args:
      series: training pixels.
      config: options; `inputs` and `mean` are not "auto".
      hyper: hyperparameters to use instead of a fit.
      zero_mean: parameters of a fit with zero mean, which complete a regional curve on dates
        without any NDVI; fitted here where None.

    Raises:
      ValueError: no pixel has a label, an output has no two values that differ, no such option, or
        `hyper` is of another number of outputs.
      RuntimeError: in a process that was forked after its parent used JAX.
    """
    refuse_forked()
    for name, choices in (("mean", ("zero", "regional")), ("scale", SCALES)):
        if (got := getattr(config, name)) not in choices:
            raise ValueError(f"{name}: got {got!r}, expected one of {choices}")
    inputs = channels_of(series, config.inputs)
    if hyper is not None and hyper.noise.shape[0] != len(inputs) + 1:
        raise ValueError(
            f"hyper: got {hyper.noise.shape[0]} outputs, expected {len(inputs) + 1} (the radar "
            "channels used and NDVI)"
        )
    check_labels(series)
    observations, _ = outputs_of(series, inputs)
    curve = None
    if config.mean == "regional":
        curve = regional_curve(observations)
        blank = ~observations.valid[..., NDVI].any(axis=0)
        if blank.any():
            if zero_mean is None:
                zero_mean, _ = fit_region(series, replace(config, mean="zero"), hyper=hyper)
            curve = _completed(curve, blank, zero_mean)
        off = on_days(curve, observations.day).astype(observations.value.dtype)
        observations = observations._replace(value=observations.value - off)
    region_mean, region_std = _moments(observations)
    dtype = region_mean.dtype
    some = _spread(observations.valid, series.position, config.sample)
    z = standardise_pixels(
        observations.value[some].astype(dtype), observations.valid[some], region_mean, region_std,
        by_pixel=config.scale == "pixel",
    )  # fmt: skip
    day = jnp.asarray(observations.day, dtype)
    sample = gp.Observations(day, np.asarray(z.value), np.asarray(z.valid))
    if hyper is None:
        start = gp.initial(config.latents, len(inputs) + 1)
        likeliest = hyper = gp.fit(sample, start, iterations=config.iterations)
        tasks, hidden = _tasks(sample)
        if hidden.any():
            hyper = gp.fit(tasks, hyper, hidden=hidden, iterations=config.iterations)
    else:
        likeliest = hyper = gp.Hyper(*(jnp.asarray(leaf, dtype) for leaf in hyper))
    params = MogprParams(
        hyper,
        region_mean,
        region_std,
        inputs,
        std_factor=jnp.ones((), dtype),
        curve=curve,
        scale_by_pixel=config.scale == "pixel",
        solver=config.solver,
        inducing=config.inducing,
    )
    return params, FitSample(sample, likeliest)


def _completed(curve: Curve, blank: Bool[np.ndarray, "node"], zero_mean: MogprParams) -> Curve:
    """The curve with NDVI estimated from its radar, as a pixel's would be, where no pixel has any.

    A straight line over such dates would be the same error for every pixel of the region.
    """
    mean, std = np.asarray(zero_mean.region_mean), np.asarray(zero_mean.region_std)
    valid = np.ones(curve.value.shape, bool)
    valid[blank, NDVI] = False
    dtype = zero_mean.hyper.noise.dtype
    # the mean of many pixels has hardly any noise
    hyper = zero_mean.hyper._replace(
        noise=jnp.full_like(zero_mean.hyper.noise, NOISE[np.dtype(dtype)])
    )
    z = ((curve.value - mean) / std).astype(dtype)
    ndvi, _ = _on_dates(hyper, gp.Observations(curve.day.astype(dtype), z, valid))
    value = curve.value.copy()
    value[blank, NDVI] = (np.asarray(ndvi, np.float64) * std[NDVI] + mean[NDVI])[blank]
    return Curve(curve.day, value)


@jax.jit
def _on_dates(hyper: gp.Hyper, observations: gp.Observations):
    return gp.condition(hyper, observations, None, output=NDVI)


def _tasks(
    sample: gp.Observations,
) -> tuple[gp.Observations, Bool[np.ndarray, "pixel time output"]]:
    """Four copies of the sample, and the NDVI withheld: three draws as the tasks do, then all."""
    value, valid = np.asarray(sample.value), np.asarray(sample.valid)
    radar, ndvi = (value[..., None, :NDVI], valid[..., :NDVI]), (value[..., NDVI], valid[..., NDVI])
    series = Series(sample.day, *radar, *ndvi)
    keys = jax.random.split(jax.random.key(0), 3)
    draws = [np.asarray(masking.sample_task_mask(key, series)) for key in keys]
    hidden = np.zeros((4 * len(valid), *valid.shape[1:]), bool)
    hidden[..., NDVI] = np.concatenate([*draws, valid[..., NDVI]])
    value, valid = (np.concatenate([leaf] * 4) for leaf in (value, valid))
    return gp.Observations(sample.day, value, valid), hidden & valid


def _spread(
    valid: Bool[np.ndarray, "pixel time output"],
    position: Float[Array | np.ndarray, "pixel 2"] | None,
    sample: int,
) -> Int[np.ndarray, "sample"]:
    """Pixels with data, as many from every cell as can be."""
    some = np.flatnonzero(valid.any(axis=(1, 2)))
    if position is None:
        return some[evenly(some.size, sample)]
    cells = np.floor(np.asarray(position, np.float64)[some] / _CELL).astype(np.int64)
    _, cell = np.unique(cells, axis=0, return_inverse=True)
    # neighbours belong to one field: the order of a cell's pixels leaps over it
    leap = np.arange(some.size) * _LEAP % 1.0
    order = np.lexsort((leap, cell))
    first = np.searchsorted(cell[order], cell[order])
    rank = np.empty(some.size, np.int64)
    rank[order] = np.arange(some.size) - first
    # whole rounds over the cells until there are enough, thinned evenly to `sample`
    rounds = np.sort(rank)[min(sample, some.size) - 1] if some.size else 0
    kept = order[rank[order] <= rounds]
    return np.sort(some[kept[evenly(kept.size, sample)]])


def evenly(n: int, count: int) -> Int[np.ndarray, "count"]:
    """At most `count` of the indices 0 ... n - 1, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(count, n)).round().astype(np.int64))


def _moments(
    observations: gp.Observations,
) -> tuple[Float[Array, "output"], Float[Array, "output"]]:
    """Mean and standard deviation of each output over all valid values."""
    dtype = jax.dtypes.canonicalize_dtype(observations.value.dtype)
    value, valid = np.asarray(observations.value), np.asarray(observations.valid)
    outputs = value.shape[-1]
    mean, std = np.empty(outputs), np.empty(outputs)
    for output in range(outputs):
        seen = value[..., output][valid[..., output]].astype(np.float64)
        if seen.size < 2 or seen.std() == 0.0:
            raise ValueError(
                f"training values of output {output} (of {outputs}, NDVI last): got {seen.size} "
                "valid values that do not vary, expected two or more that do"
            )
        mean[output], std[output] = seen.mean(), seen.std()
    return jnp.asarray(mean, dtype), jnp.asarray(std, dtype)
