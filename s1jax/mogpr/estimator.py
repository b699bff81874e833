"""MOGPR, the multi-output Gaussian process per pixel, as an Estimator; choice of its variant."""

import functools
import itertools
import logging
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np

from s1jax import gp, masking
from s1jax.features import plausible_ndvi
from s1jax.forked import refuse_forked
from s1jax.metrics import HALF_BAND
from s1jax.mogpr.config import MogprConfig, MogprParams
from s1jax.mogpr.inputs import available, channels_of, check_labels
from s1jax.mogpr.posterior import posterior
from s1jax.mogpr.region import fit_region
from s1jax.types import Days, Estimate, Estimator, Key, Series, concatenate

log = logging.getLogger("s1jax")

_FEWEST = 50
"""Withheld labels below which they decide nothing and scale no band."""
_ENOUGH = 2000
"""Withheld labels that suffice."""
_DRAWS = 8
"""Most draws of withheld labels."""


def mogpr(config: MogprConfig = MogprConfig(), *, hyper: gp.Hyper | None = None) -> Estimator:
    """Estimator of NDVI by a Gaussian process over all channels: mean and std of its posterior.

    Each channel of a pixel, less the prior mean, is z-scored by the region's mean and std; with
    `scale="pixel"` by the pixel's own where it has five values or more, as FuseTS does. Withheld
    labels of the validation pixels decide what `config` leaves open (`select_variant`) and scale
    the band until it holds 90 % of them. A pixel without any data gets the prior.
    Source of the model: Pipia et al. (2019), Fusing optical and SAR time series for LAI gap filling
    with multioutput Gaussian processes, Remote Sensing of Environment 235.

    Args:
      config: options.
      hyper: hyperparameters on z-scored outputs, to use instead of a fit.

    Raises:
      ValueError: inducing days together with a solver, or a stride below 1.
    """
    if config.inducing is not None and config.solver != "kalman":
        raise ValueError(f"solver: got {config.solver!r}, expected none beside inducing days")

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
    truth = np.asarray(copies.ndvi)
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
        level = _region(kind, "zero")[0] if (mean, means[0]) == ("regional", "zero") else None
        options = replace(config, inputs=kind, mean=mean)
        return fit_region(training, options, hyper=hyper, level=level)

    @functools.cache
    def _variant(kind, mean, hyper_of):
        params, sample = _region(kind, mean)
        if hyper_of == "pixel":
            params = replace(params, prior=gp.prior(*sample))
        estimate = posterior(params, visible, validation.day, chunk=config.chunk)
        square = np.where(hidden, estimate.mean - truth, 0.0) ** 2
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
        factor = _std_factor(estimate, truth, hidden)
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


def _std_factor(estimate: Estimate, truth: np.ndarray, hidden: np.ndarray) -> float:
    """The factor of the std by which 90 % of the withheld labels lie in the band."""
    total = np.hypot(estimate.std, estimate.noise[:, None])[hidden]
    error = np.abs(estimate.mean - truth)[hidden]
    return float(np.quantile(error / total, 0.9) / HALF_BAND)
