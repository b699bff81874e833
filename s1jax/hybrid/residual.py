"""The mean of a network, corrected by the pixel's own NDVI: exact conditioning of a residual."""

from typing import NamedTuple

import jax
import numpy as np

from s1jax.hybrid.config import HybridConfig
from s1jax.mogpr import WithMean, mogpr
from s1jax.networks import Bands, applied, bands, sequence
from s1jax.types import NDVI, Days, Estimate, Estimator, Key, Params, Series


class HybridParams(NamedTuple):
    """What is learnt of a network's residual, and the band of both together."""

    process: WithMean
    bands: Bands


class SwitchParams(NamedTuple):
    """What the two methods of a switch have learnt."""

    process: Params
    network: Params


def hybrid(
    config: HybridConfig = HybridConfig(),  # noqa: B008 (frozen)
    *,
    network: Estimator | None = None,
    process: Estimator | None = None,
) -> Estimator:
    """Estimator with mean m(S1) + GP of (NDVI - m(S1)): a network of Sentinel-1 alone, and a
    Gaussian process over what it leaves over.

    Where the pixel has NDVI nearby the process corrects the network, far from any it fades into it,
    and its std says how far. Process and band (`networks.bands`) are fitted on validation pixels: a
    network's residual on the pixels that it was trained on is too small.

    With `threshold` it is the switch by the share of clear dates instead, MOGPR or network, with
    seams where neighbours fall on either side.

    Args:
      config: options.
      network: instead of the one of `config`.
      process: of a switch, instead of the one of `config`.
    """
    network = network or sequence(config.network, label="hybrid's network")
    if config.threshold is None:
        return _banded(mogpr(config.process, mean=network), config.elsewhere)
    share, process = config.threshold, process or mogpr(config.switched)

    def fit(key: Key, training: Series, validation: Series) -> SwitchParams:
        keys = jax.random.split(key)
        return SwitchParams(
            process.fit(keys[0], training, validation), network.fit(keys[1], training, validation)
        )

    def predict(params: SwitchParams, series: Series, days: Days) -> Estimate:
        clear = np.asarray(series.valid)[..., NDVI].mean(axis=1) >= share
        told = process.predict(params.process, series, days)
        other = network.predict(params.network, series, days)
        mean, std = (
            np.where(clear[:, None], *pair)
            for pair in ((told.mean, other.mean), (told.std, other.std))
        )
        return Estimate(mean, std, np.where(clear, told.noise, other.noise))

    return Estimator(fit, predict)


def _banded(method: Estimator, elsewhere: float) -> Estimator:
    """The method with a band that holds: the process takes for noise what the network misses."""

    def fit(key: Key, training: Series, validation: Series) -> HybridParams:
        learnt = method.fit(key, training, validation)

        def _told(series, days):
            return method.predict(learnt, series, days)

        return HybridParams(learnt, bands(_told, validation, elsewhere=elsewhere))

    def predict(params: HybridParams, series: Series, days: Days) -> Estimate:
        known = np.asarray(series.valid)[..., NDVI].any(axis=1)
        return applied(method.predict(params.process, series, days), known, params.bands)

    return Estimator(fit, predict)
