"""Several methods as one: their means weighted by how sure each is."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from s1jax.networks import factors
from s1jax.types import NDVI, Days, Estimate, Estimator, Key, Params, Series


class EnsembleParams(NamedTuple):
    """What the members have learnt, and how wide their band must be."""

    members: tuple[Params, ...]
    widen: Float[np.ndarray, "2"]
    """Of pixels without any NDVI of their own, and of those with some."""


def ensemble(*members: Estimator) -> Estimator:
    """Estimator with the precision-weighted mean of `members`.

    mean = sum_i w_i m_i, w_i = s_i^-2 / sum_j s_j^-2, and
    variance = sum_i w_i (s_i^2 + (m_i - mean)^2), that of a mixture: members see the same data, so
    agreement makes nothing surer. s_i is a member's std of the latent NDVI; noise is the mean of
    theirs. Both are scaled by hidden labels of the validation pixels.

    Raises:
      ValueError: no member.
    """
    if not members:
        raise ValueError("members: got none, expected one estimator or more")

    def fit(key: Key, training: Series, validation: Series) -> EnsembleParams:
        keys = jax.random.split(key, len(members))
        learnt = tuple(
            member.fit(k, training, validation) for k, member in zip(keys, members, strict=True)
        )
        wide = factors(lambda series, days: _mean(members, learnt, series, days), validation)
        return EnsembleParams(learnt, wide)

    def predict(params: EnsembleParams, series: Series, days: Days) -> Estimate:
        told = _mean(members, params.members, series, days)
        known = np.asarray(series.valid)[..., NDVI].any(axis=1)
        widen = np.where(known, params.widen[1], params.widen[0]).astype(told.mean.dtype)
        return Estimate(told.mean, told.std * widen[:, None], told.noise * widen)

    return Estimator(fit, predict)


def _mean(members, learnt, series: Series, days: Days) -> Estimate:
    told = [
        member.predict(params, series, days) for member, params in zip(members, learnt, strict=True)
    ]
    mean, std = (np.stack([np.asarray(getattr(t, k)) for t in told]) for k in ("mean", "std"))
    noise = np.stack([np.broadcast_to(np.asarray(t.noise), len(t.mean)) for t in told])
    weight = std**-2.0
    weight = weight / weight.sum(axis=0)
    middle = (weight * mean).sum(axis=0)
    variance = (weight * (std**2 + (mean - middle) ** 2)).sum(axis=0)
    return Estimate(middle, np.sqrt(variance), noise.mean(axis=0))
