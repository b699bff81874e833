"""Several methods as one: their means weighted by how sure each is."""

from typing import NamedTuple

import jax
import numpy as np

from s1jax.features import check_days, without_implausible
from s1jax.networks import PRIOR, Bands, Level, applied, bands, flagged, level_of, widened
from s1jax.types import NDVI, Days, Estimate, Estimator, Key, Params, Series


class EnsembleParams(NamedTuple):
    """What the members have learnt, and the band of their mean."""

    members: tuple[Params, ...]
    bands: Bands
    level: Level = PRIOR
    """Of the training labels: the std grows to its, far from all dates."""


def ensemble(*members: Estimator, elsewhere: float = 1.0) -> Estimator:
    """Estimator with the precision-weighted mean of `members`.

    mean = sum_i w_i m_i, w_i = s_i^-2 / sum_j s_j^-2, and
    variance = sum_i w_i (s_i^2 + (m_i - mean)^2), that of a mixture: members see the same data, so
    agreement makes nothing surer. s_i is a member's std of the latent NDVI. The band is that of
    `networks.bands`; before the first and after the last date the std grows to that of the training
    labels (`networks.widened`). Values that cannot be are left out.

    Args:
      members: the methods.
      elsewhere: factor of the band where another district or year is predicted, 1.

    Raises:
      ValueError: no member.
    """
    if not members:
        raise ValueError("members: got none, expected one estimator or more")

    def fit(key: Key, training: Series, validation: Series) -> EnsembleParams:
        for part in (training, validation):
            check_days(part)
        (training, _), (validation, _) = map(without_implausible, (training, validation))
        keys = jax.random.split(key, len(members))
        learnt = tuple(
            member.fit(k, training, validation) for k, member in zip(keys, members, strict=True)
        )
        hold = bands(
            lambda series, days: _mean(members, learnt, series, days),
            validation,
            elsewhere=elsewhere,
        )
        return EnsembleParams(learnt, hold, level_of(training))

    def predict(params: EnsembleParams, series: Series, days: Days) -> Estimate:
        check_days(series, days)
        series, left_out = without_implausible(series)
        told = _mean(members, params.members, series, days)
        known = np.asarray(series.valid)[..., NDVI].any(axis=1)
        told = widened(applied(told, known, params.bands), series, days, params.level)
        return flagged(told, series, left_out)

    return Estimator(fit, predict)


def _mean(members, learnt, series: Series, days: Days) -> Estimate:
    told = [
        member.predict(params, series, days) for member, params in zip(members, learnt, strict=True)
    ]
    mean, std = (np.stack([np.asarray(getattr(t, k)) for t in told]) for k in ("mean", "std"))
    weight = std**-2.0
    weight = weight / weight.sum(axis=0)
    middle = (weight * mean).sum(axis=0)
    variance = (weight * (std**2 + (mean - middle) ** 2)).sum(axis=0)
    return Estimate(middle, np.sqrt(variance), np.zeros((), middle.dtype))
