"""The mean of a network, corrected by the pixel's own NDVI: exact conditioning of a residual."""

from typing import NamedTuple

import jax
import numpy as np

from s1jax.features import check_days, without_implausible
from s1jax.hybrid.config import HybridConfig
from s1jax.mogpr import WithMean, mogpr
from s1jax.networks import PRIOR, Bands, Level, applied, bands, flagged, level_of, sequence, widened
from s1jax.types import NDVI, Days, Estimate, Estimator, Key, Params, Series


class HybridParams(NamedTuple):
    """What is learnt of a network's residual, and the band of both together."""

    process: WithMean
    bands: Bands
    level: Level = PRIOR
    """Of the training labels: the std grows to its, far from all dates."""


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
    and its std says how far; before the first and after the last date the std grows to that of the
    training labels (`networks.widened`). Values that cannot be are left out. Process and band
    (`networks.bands`) are fitted on validation pixels: a network's residual on the pixels that it
    was trained on is too small.

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
        training, validation = _sound(training, validation)
        keys = jax.random.split(key)
        return SwitchParams(
            process.fit(keys[0], training, validation), network.fit(keys[1], training, validation)
        )

    def predict(params: SwitchParams, series: Series, days: Days) -> Estimate:
        check_days(series, days)
        series, left_out = without_implausible(series)
        clear = np.asarray(series.valid)[..., NDVI].mean(axis=1) >= share
        told = process.predict(params.process, series, days)
        other = network.predict(params.network, series, days)
        mean, std = (
            np.where(clear[:, None], *pair)
            for pair in ((told.mean, other.mean), (told.std, other.std))
        )
        estimate = Estimate(mean, std, np.where(clear, told.noise, other.noise))
        return flagged(estimate, series, left_out)

    return Estimator(fit, predict)


def _banded(method: Estimator, elsewhere: float) -> Estimator:
    """The method with a band that holds: the process takes for noise what the network misses."""

    def fit(key: Key, training: Series, validation: Series) -> HybridParams:
        training, validation = _sound(training, validation)
        learnt = method.fit(key, training, validation)

        def _told(series, days):
            return method.predict(learnt, series, days)

        hold = bands(_told, validation, elsewhere=elsewhere)
        return HybridParams(learnt, hold, level_of(training))

    def predict(params: HybridParams, series: Series, days: Days) -> Estimate:
        check_days(series, days)
        series, left_out = without_implausible(series)
        known = np.asarray(series.valid)[..., NDVI].any(axis=1)
        told = applied(method.predict(params.process, series, days), known, params.bands)
        return flagged(widened(told, series, days, params.level), series, left_out)

    return Estimator(fit, predict)


def _sound(*parts: Series) -> list[Series]:
    """Series to learn from, without values that cannot be; their days are in order."""
    for part in parts:
        check_days(part)
    return [without_implausible(part)[0] for part in parts]
