"""MOGPR: the multi-output Gaussian process per pixel, as an Estimator."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from s1jax import gp, hiding
from s1jax.mogpr.choice import choose
from s1jax.mogpr.config import MogprConfig, MogprParams
from s1jax.mogpr.inputs import plausible
from s1jax.mogpr.posterior import posterior
from s1jax.types import NDVI, Days, Estimate, Estimator, Key, Series


class WithMean(NamedTuple):
    """What is learnt where another method gives the prior mean."""

    mogpr: MogprParams
    mean: Any
    """What that method learnt."""


def mogpr(
    config: MogprConfig = MogprConfig(),  # noqa: B008 (frozen)
    *,
    hyper: gp.Hyper | None = None,
    mean: Estimator | None = None,
) -> Estimator:
    """Estimator of NDVI by a Gaussian process over all channels: mean and std of its posterior.

    Each channel of a pixel, less the prior mean, is z-scored by the region's mean and std; with
    `scale="pixel"` by the pixel's own where it has five values or more, as FuseTS does. What
    `config` leaves open (inputs, prior mean, hyperparameters of the region or of each pixel) is
    chosen by hidden labels of the validation pixels, which also widen or narrow the band until
    90 % of them lie in it. A pixel without any data gets the prior.
    `Estimate.noise` is one number a pixel.
    Source of the model: Pipia et al. (2019), Fusing optical and SAR time series for LAI gap filling
    with multioutput Gaussian processes, Remote Sensing of Environment 235.

    Args:
      config: options.
      hyper: hyperparameters on z-scored outputs, to use instead of a fit.
      mean: another method, whose mean is the prior mean of the NDVI. It is asked without the NDVI
        of the pixel itself, and the process, of zero mean, is fitted to what it leaves over of the
        validation pixels.

    Raises:
      ValueError: inducing days together with a solver.
    """

    if config.inducing is not None and config.solver != "kalman":
        raise ValueError(f"solver: got {config.solver!r}, expected none beside inducing days")

    def _fit(key: Key, train: Series, val: Series) -> MogprParams | WithMean:
        train, val = thinned(train, config.stride), thinned(val, config.stride)
        if mean is None:
            return choose(key, train, val, config, hyper)[0]
        key_mean, key_choice = jax.random.split(key)
        learnt = mean.fit(key_mean, train, val)
        # what a method leaves of the pixels it was trained on is too little
        left = _less(val, _blind(mean, learnt, val))
        zero = replace(config, mean="zero")
        return WithMean(choose(key_choice, left, left, zero, hyper)[0], learnt)

    def _predict(params: MogprParams | WithMean, series: Series, days: Days) -> Estimate:
        series = thinned(series, config.stride)
        base = None
        if mean is not None:
            known, asked = (
                _blind(mean, params.mean, series, on) for on in (series.day, np.asarray(days))
            )
            base, params = (known, asked), params.mogpr
        found = posterior(
            params,
            series,
            days,
            base=base,
            solver=config.solver,
            inducing=config.inducing,
            chunk=config.chunk,
        )
        return Estimate(found.mean, found.std, found.noise)

    return Estimator(_fit, _predict)


def thinned(series: Series, stride: int) -> Series:
    """Every `stride`-th date of a series.

    Raises:
      ValueError: `stride` is below 1.
    """
    if stride < 1:
        raise ValueError(f"stride: got {stride}, expected 1 or more")
    if stride == 1:
        return series
    every = slice(None, None, stride)
    return series._replace(
        day=series.day[every],
        value=series.value[..., every, :],
        valid=series.valid[..., every, :],
        smooth=None if series.smooth is None else series.smooth[..., every, :],
        wide=None if series.wide is None else series.wide[..., every, :],
    )


def _blind(mean: Estimator, learnt, series: Series, days: Days | None = None) -> np.ndarray:
    """The method's mean without the pixel's own NDVI."""
    seen = np.asarray(series.valid)[..., NDVI]
    days = series.day if days is None else days
    return np.asarray(mean.predict(learnt, hiding.without(series, seen), days).mean)


def _less(series: Series, base: np.ndarray) -> Series:
    value = np.array(series.value)
    # told before: what is left over says no more whether it can be
    valid = np.asarray(series.valid) & plausible(value)
    value[..., NDVI] -= base
    return series._replace(value=value, valid=valid)
