"""Which variant of MOGPR suits a region: its validation pixels decide."""

import functools
import itertools
import logging
from typing import NamedTuple

import jax
import numpy as np

from s1jax import gp, hiding
from s1jax.forked import refuse_forked
from s1jax.metrics import HALF_BAND
from s1jax.mogpr.config import MogprConfig, MogprParams
from s1jax.mogpr.inputs import available, channels, check_labels, plausible
from s1jax.mogpr.posterior import Posterior, posterior
from s1jax.mogpr.region import learn
from s1jax.types import NDVI, Key, Series

log = logging.getLogger("s1jax")

_FEWEST = 50
"""Hidden labels below which nothing is chosen by them and no band widened."""
_ENOUGH = 2000
"""Hidden labels that are asked for."""
_DRAWS = 8
"""Most draws of what is hidden."""


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
    estimated. First the inputs are chosen, with the region's hyperparameters and no curve; then
    mean and hyperparameters together. The simplest variant stays unless another has a smaller sum
    of squared errors by more than the standard error, over pixels, of the difference.

    Args:
      key: consumed by the hiding.
      train: training pixels.
      val: validation pixels, of the same region.
      config: what is not `auto` is not varied.
      given: hyperparameters to use instead of a fit; of pixels too, but where `config` asks for
        `pixel`.

    Raises:
      ValueError: no training pixel has a label; and as `learn`.
      RuntimeError: in a process that was forked after its parent used JAX.
    """
    refuse_forked()
    check_labels(train)
    pixels, dates = val.valid.shape[:2]
    val, hidden = _asked(key, val)
    shown = hiding.without(val, hidden)
    # a label that several draws hide is one label
    enough = hidden.reshape(-1, pixels, dates).any(axis=0).sum() >= _FEWEST
    means = ("zero", "regional") if config.mean == "auto" else (config.mean,)
    hypers = ("region", "pixel") if config.hyper == "auto" else (config.hyper,)
    if given is not None and config.hyper == "auto":
        hypers = ("region",)
    kinds = _fitting(train, given) if config.inputs == "auto" else (config.inputs,)

    @functools.cache
    def _learnt(kind, mean):
        return learn(
            train,
            channels(train, kind),
            latents=config.latents,
            mean=mean,
            scale=config.scale,
            sample=config.sample,
            iterations=config.iterations,
            given=given,
            # fitted anyhow where both are tried
            level=_learnt(kind, "zero")[0] if (mean, "zero") == ("regional", means[0]) else None,
        )

    @functools.cache
    def _variant(kind, mean, hyper):
        params, sample = _learnt(kind, mean)
        if hyper == "pixel":
            params = params._replace(prior=gp.prior(*sample))
        found = posterior(
            params, shown, val.day,
            solver=config.solver, inducing=config.inducing, chunk=config.chunk,
        )  # fmt: skip
        square = np.where(hidden, found.mean - np.asarray(val.value)[..., NDVI], 0.0) ** 2
        rmse = float(np.sqrt(square.sum() / hidden.sum())) if enough else np.nan
        tried.append(Tried(kind, mean, hyper, rmse))
        log.info("mogpr: %s, %s mean, hyper of the %s: RMSE %.4f", *tried[-1])
        # the draws of a pixel are no pixels of their own
        return square.reshape(-1, pixels, dates).sum(axis=(0, 2)), params, found

    def _best(variants):
        first, *others = variants
        for other in others if enough else ():
            gain = _variant(*first)[0] - _variant(*other)[0]
            if gain.sum() > np.sqrt(gain.size) * gain.std():
                first = other
        return first

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


def _fitting(train: Series, given: gp.Hyper | None) -> tuple[str, ...]:
    """Inputs that there are, as many of them as given hyperparameters have outputs."""
    kinds = available(train)
    if given is None:
        return kinds
    count = given.noise.shape[0]
    return tuple(kind for kind in kinds if channels(train, kind).size == count) or kinds[:1]


def _asked(key: Key, val: Series) -> tuple[Series, np.ndarray]:
    """Copies of the validation pixels and what is hidden of each, until it is many labels."""
    sound = plausible(np.asarray(val.value))[..., NDVI]
    keys = jax.random.split(key, _DRAWS)
    hidden = [np.asarray(hiding.mixture(keys[0], val)) & sound]
    copies = int(np.clip(np.ceil(_ENOUGH / max(hidden[0].sum(), 1)), 1, _DRAWS))
    hidden += [np.asarray(hiding.mixture(k, val)) & sound for k in keys[1:copies]]
    many = Series(
        val.day,
        *(
            None if leaf is None else np.concatenate([np.asarray(leaf)] * copies)
            for leaf in val[1:]
        ),
    )
    return many, np.concatenate(hidden)


def _widen(found: Posterior, val: Series, hidden: np.ndarray) -> float:
    """What makes 90 % of the hidden labels lie in the band."""
    total = np.hypot(found.std, found.noise[:, None])[hidden]
    error = np.abs(found.mean - np.asarray(val.value)[..., NDVI])[hidden]
    return float(np.quantile(error / total, 0.9) / HALF_BAND)
