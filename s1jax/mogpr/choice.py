"""Which variant of MOGPR suits a region: its validation pixels decide."""

import functools
import itertools
import logging
from typing import NamedTuple

import numpy as np

from s1jax import gp, hiding
from s1jax.metrics import HALF_BAND
from s1jax.mogpr.config import MogprConfig, MogprParams
from s1jax.mogpr.inputs import available, channels
from s1jax.mogpr.posterior import Posterior, posterior
from s1jax.mogpr.region import learn
from s1jax.types import NDVI, Key, Series

log = logging.getLogger("s1jax")

_FEWEST = 50
"""Hidden labels below which nothing is chosen by them and no band widened."""


class Tried(NamedTuple):
    """A variant and what it is worth on validation pixels."""

    inputs: str
    mean: str
    hyper: str
    rmse: float
    """Of hidden validation labels, 1; NaN where there are too few to tell."""


def choose(
    key: Key, train: Series, val: Series, config: MogprConfig, given: gp.Hyper | None = None
) -> tuple[MogprParams, list[Tried]]:
    """What the best variant learns, its band widened to hold, and all variants with their error.

    Labels of validation pixels are hidden as the tasks do (a random share, 60 or 132 days) and
    estimated; the least root mean square error wins. First the inputs are chosen, with the region's
    hyperparameters and no curve; then mean and hyperparameters together.

    Args:
      key: consumed by the hiding.
      train: training pixels.
      val: validation pixels, of the same region.
      config: what is not `auto` is not varied.
      given: hyperparameters to use instead of a fit.
    """
    hidden = np.asarray(hiding.mixture(key, val))
    shown = hiding.without(val, hidden)
    enough = hidden.sum() >= _FEWEST
    means = ("zero", "regional") if config.mean == "auto" else (config.mean,)
    hypers = ("region", "pixel") if config.hyper == "auto" else (config.hyper,)
    kinds = available(train) if config.inputs == "auto" else (config.inputs,)

    @functools.cache
    def _learnt(kind, mean):
        return learn(
            train,
            channels(train, kind),
            latents=config.latents,
            mean=mean,
            sample=config.sample,
            iterations=config.iterations,
            given=given,
        )

    @functools.cache
    def _variant(kind, mean, hyper):
        params, sample = _learnt(kind, mean)
        if hyper == "pixel":
            params = params._replace(prior=gp.prior(sample, params.hyper))
        found = posterior(params, shown, val.day, solver=config.solver, chunk=config.chunk)
        error = float(np.sqrt(np.mean(_errors(found, val, hidden) ** 2))) if enough else 0.0
        tried.append(Tried(kind, mean, hyper, error if enough else np.nan))
        log.info("mogpr: %s, %s mean, hyper of the %s: RMSE %.4f", *tried[-1])
        return error, params, found

    def _best(variants):
        # the first of equals; of variants that cannot be told apart, the first
        variants = list(variants) if enough else list(variants)[:1]
        return min(variants, key=lambda variant: _variant(*variant)[0])

    tried = []
    kind = kinds[0]
    if len(kinds) > 1:
        kind = _best((kind, means[0], "region") for kind in kinds)[0]
    names = _best(itertools.product((kind,), means, hypers))
    _, params, found = _variant(*names)
    if enough:
        wide = _widen(found, val, hidden)
        params = params._replace(widen=params.widen * wide)
        log.info("mogpr: chosen %s, %s mean, hyper of the %s; band x %.2f", *names, wide)
    return params, tried


def _errors(found: Posterior, val: Series, hidden: np.ndarray) -> np.ndarray:
    return (found.mean - np.asarray(val.value)[..., NDVI])[hidden]


def _widen(found: Posterior, val: Series, hidden: np.ndarray) -> float:
    """What makes 90 % of the hidden labels lie in the band."""
    total = np.hypot(found.std, found.noise[:, None])[hidden]
    return float(np.quantile(np.abs(_errors(found, val, hidden)) / total, 0.9) / HALF_BAND)
