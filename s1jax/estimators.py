"""An Estimator made of Estimators, and bands that hold: calibration on validation labels.

hybrid = calibrated(residual(networks.sequence(TcnS1Config()), mogpr(MogprConfig(inputs="none"))))
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from s1jax import masking
from s1jax.compositing import Statistic, composite_series
from s1jax.extrapolation import PRIOR, Level, level_of, widen
from s1jax.features import check_days, plausible_ndvi, without_implausible
from s1jax.metrics import HALF_BAND
from s1jax.quality import flagged
from s1jax.types import Days, Estimate, Estimator, Key, Params, Series

log = logging.getLogger("s1jax")

_FEWEST = 20
"""Withheld labels below which nothing is calibrated on them."""
SURE = 0.9
"""Probability that the band holds as often as it should, over draws of validation pixels."""
FIELD = 100.0
"""Side of the cells whose pixels err together, as those of one field do, m."""
FLOOR, NOISE = 0.04, 0.03
"""Errors of the estimate and of a label that a method cannot see, standard deviations: set on
blocks of the simulated scene so that nine in ten values of the truth and of the labels lie in their
bands, whether few or all of a pixel's NDVI are withheld (`experiments.studies.bands`)."""
TRANSFER_INFLATION = 1.25
"""Factor of the bands where a method predicts another district or year than it was fitted on:
labels of another simulated region need 1.11 to 1.33 (same command)."""
_DRAWS, _STEPS, _MOST, _WIDEST = 500, 30, 10.0, 1.0


def fitted(method: Estimator, params: Params) -> Estimator:
    """The method with these parameters: its `fit` returns them."""
    return Estimator(lambda key, training, validation: params, method.predict)


class CalibratedParams(NamedTuple):
    """Parameters of a method, and of its band."""

    params: Params
    calibration: "Calibration"
    level: Level = PRIOR
    """Of the training labels: far from all dates the std grows to its std."""


def calibrated(method: Estimator, *, inflation: float = 1.0) -> Estimator:
    """The method with a band that holds 90 % of withheld validation labels (`calibrate`).

    Implausible values are left out. Before the first and after the last date, and more than 30 days
    from both dates of a gap, the std grows to that of the training labels (`extrapolation.widen`).

    The method's noise is not used; `inflation` is the factor of the band where another district or
    year is predicted.
    """

    def fit(key: Key, training: Series, validation: Series) -> CalibratedParams:
        training, validation = _plausible(training), _plausible(validation)
        params = method.fit(key, training, validation)
        calibration = calibrate(partial(method.predict, params), validation, inflation=inflation)
        return CalibratedParams(params, calibration, level_of(training))

    def predict(params: CalibratedParams, series: Series, days: Days) -> Estimate:
        check_days(series, days)
        series, implausible = without_implausible(series)
        has_ndvi = np.any(np.asarray(series.ndvi_valid), axis=1)
        estimate = method.predict(params.params, series, days)
        estimate = widen(apply(params.calibration, estimate, has_ndvi), series, days, params.level)
        return flagged(estimate, series, implausible)

    return Estimator(fit, predict)


class ResidualParams(NamedTuple):
    """Parameters of the two methods of `residual`."""

    mean: Params
    process: Params


def residual(mean: Estimator, process: Estimator) -> Estimator:
    """m + process of (NDVI - m), where m is the mean of another method without the pixel's NDVI.

    With a Gaussian process the second part conditions exactly on the pixel's own NDVI: near a label
    it corrects m, far from all it fades, and its std grows accordingly. `mean` is fitted first;
    `process` is fitted to the residuals of validation pixels, since those of training pixels are
    too small. The prior mean of `process` should be zero.
    """

    def _blind(params: Params, series: Series, days: Days) -> np.ndarray:
        bare = masking.with_ndvi_masked(series, np.asarray(series.ndvi_valid))
        return np.asarray(mean.predict(params, bare, days).mean)

    def _less(series: Series, params: Params) -> Series:
        # plausible before the subtraction: the residual says no more whether it was
        valid = np.asarray(series.ndvi_valid) & plausible_ndvi(np.asarray(series.ndvi))
        ndvi = np.asarray(series.ndvi) - _blind(params, series, series.day)
        return series._replace(ndvi=ndvi, ndvi_valid=valid)

    def fit(key: Key, training: Series, validation: Series) -> ResidualParams:
        key_mean, key_process = jax.random.split(key)
        params = mean.fit(key_mean, training, validation)
        rest = _less(validation, params)
        return ResidualParams(params, process.fit(key_process, rest, rest))

    def predict(params: ResidualParams, series: Series, days: Days) -> Estimate:
        estimate = process.predict(params.process, _less(series, params.mean), days)
        middle = np.asarray(estimate.mean) + _blind(params.mean, series, np.asarray(days))
        return estimate._replace(mean=np.clip(middle, -1.0, 1.0))

    return Estimator(fit, predict)


def ensemble(*members: Estimator) -> Estimator:
    """The precision-weighted mean of the members.

    mean = sum_i w_i m_i, w_i = s_i^-2 / sum_j s_j^-2, and
    variance = sum_i w_i (s_i^2 + (m_i - mean)^2), that of a mixture: members see the same data, so
    their agreement makes nothing surer. s_i is a member's std of the latent NDVI.

    Raises:
      ValueError: no member.
    """
    if not members:
        raise ValueError("members: got none, expected one estimator or more")

    def fit(key: Key, training: Series, validation: Series) -> tuple[Params, ...]:
        pairs = zip(jax.random.split(key, len(members)), members, strict=True)
        return tuple(member.fit(key, training, validation) for key, member in pairs)

    def predict(params: tuple[Params, ...], series: Series, days: Days) -> Estimate:
        pairs = zip(members, params, strict=True)
        estimates = [member.predict(of, series, days) for member, of in pairs]
        mean = np.stack([np.asarray(estimate.mean) for estimate in estimates])
        std = np.stack([np.asarray(estimate.std) for estimate in estimates])
        weight = std**-2.0
        weight = weight / weight.sum(axis=0)
        middle = (weight * mean).sum(axis=0)
        variance = (weight * (std**2 + (mean - middle) ** 2)).sum(axis=0)
        return Estimate(middle, np.sqrt(variance), np.zeros(len(middle), middle.dtype))

    return Estimator(fit, predict)


class SwitchedParams(NamedTuple):
    """Parameters of the two methods of `switched`."""

    dense: Params
    sparse: Params


def switched(dense: Estimator, sparse: Estimator, *, share: float) -> Estimator:
    """`dense` for pixels with NDVI on at least this share of the dates, `sparse` for the others.

    Neighbours that fall on either side show a seam.
    """

    def fit(key: Key, training: Series, validation: Series) -> SwitchedParams:
        training, validation = _plausible(training), _plausible(validation)
        keys = jax.random.split(key)
        both = (m.fit(k, training, validation) for k, m in zip(keys, (dense, sparse), strict=True))
        return SwitchedParams(*both)

    def predict(params: SwitchedParams, series: Series, days: Days) -> Estimate:
        check_days(series, days)
        series, implausible = without_implausible(series)
        many = np.asarray(series.ndvi_valid).mean(axis=1) >= share
        one = dense.predict(params.dense, series, days)
        other = sparse.predict(params.sparse, series, days)
        mean, std = (
            np.where(many[:, None], np.asarray(a), np.asarray(b))
            for a, b in zip(one[:2], other[:2], strict=True)
        )
        noise = np.where(many, np.asarray(one.noise), np.asarray(other.noise))
        return flagged(Estimate(mean, std, noise), series, implausible)

    return Estimator(fit, predict)


def composited(
    method: Estimator, *, step: float = 12.0, statistic: Statistic = "mean_db"
) -> Estimator:
    """The method on composites of the acquisitions (`compositing.composite_series`).

    Only valid NDVI enters a composite, so a withheld label is in none. `step` is the length of a
    period, days; `statistic` that of VV and VH.
    """

    def _of(series: Series) -> Series:
        return composite_series(series, step, statistic=statistic)[0]

    return Estimator(
        lambda key, training, validation: method.fit(key, _of(training), _of(validation)),
        lambda params, series, days: method.predict(params, _of(series), days),
    )


def _plausible(series: Series) -> Series:
    check_days(series)
    return without_implausible(series)[0]


class Calibration(NamedTuple):
    """Band of a pixel without NDVI (index 0) and of one with some (index 1)."""

    factor: Float[Array | np.ndarray, "2"]
    """Of the standard deviation of the latent NDVI."""
    floor: Float[Array | np.ndarray, "2"]
    """Standard deviation of the latent NDVI beside that of the method."""
    noise: Float[Array | np.ndarray, "2"]
    """Standard deviation of a label about the latent NDVI."""


IDENTITY = Calibration(np.ones(2, np.float32), *np.zeros((2, 2), np.float32))
"""Leaves an estimate as it is."""


def calibrate(
    predict: Callable[[Series, Days], Estimate], validation: Series, *, inflation: float = 1.0
) -> Calibration:
    """The band that holds 90 % of the labels withheld from validation pixels.

    With the std s of a method, the latent NDVI has std f hypot(s, 0.04) and a label the noise
    0.03 f about it. f is the least factor with which mean +- 1.645 f hypot(s, 0.04, 0.03) holds
    90 % of the labels. Labels of a field err together and few fields inform little, so 90 % must
    hold in nine of ten bootstrap draws of the fields: cells of 100 m, or pixels where the series
    has no position. Below 20 withheld labels f is 1.

    Args:
      predict: the method; its own noise is not used.
      validation: pixels whose NDVI is withheld, once all of it, once a random share and 60 days.
      inflation: factor of std and noise where another district or year will be predicted, of which
        validation pixels know nothing.
    """
    validation, _ = without_implausible(validation)
    day = np.asarray(validation.day)
    estimates = [
        predict(masking.with_ndvi_masked(validation, hidden), day)
        for hidden in validation_masks(validation)
    ]
    return calibration_of(estimates, validation, inflation=inflation)


def calibration_of(
    estimates: Sequence[Estimate], validation: Series, *, inflation: float = 1.0
) -> Calibration:
    """`calibrate` of estimates on the days of the series, one for each of `validation_masks`."""
    field = fields(validation)
    factors, inside = [], []
    for estimate, hidden in zip(estimates, validation_masks(validation), strict=True):
        error = np.abs(np.asarray(estimate.mean) - np.asarray(validation.ndvi))
        std = np.asarray(estimate.std)
        wide = HALF_BAND * np.sqrt(std**2 + FLOOR**2 + NOISE**2)
        factors.append(least_factor(lambda f, e=error, w=wide: e <= f * w, hidden, field))
        inside.append((error <= HALF_BAND * std)[hidden].sum() / max(hidden.sum(), 1))
    log.info(
        "labels inside the band, without and with NDVI: %.2f, %.2f; factors %.2f, %.2f",
        *(*inside, *factors),
    )
    factor = inflation * np.array(factors)
    return Calibration(factor, np.full(2, FLOOR), NOISE * factor)


def apply(
    calibration: Calibration, estimate: Estimate, has_ndvi: Bool[np.ndarray, "pixel"]
) -> Estimate:
    """The estimate with its calibrated band; `has_ndvi`: pixels with some NDVI of their own."""
    factor, floor, noise = (
        np.where(has_ndvi, part[1], part[0]).astype(estimate.std.dtype) for part in calibration
    )
    std = factor[:, None] * np.hypot(np.asarray(estimate.std), floor[:, None])
    return Estimate(estimate.mean, std, noise)


def validation_masks(validation: Series) -> tuple[Bool[np.ndarray, "pixel time"], ...]:
    """Labels withheld from validation pixels: once all, once a random share and 60 days."""
    label = np.asarray(validation.ndvi_valid)
    return label, np.asarray(masking.withhold(jax.random.key(0), validation)[1]) & label


def fields(series: Series) -> Int[np.ndarray, "pixel"]:
    """Number of the field of each pixel: a cell of 100 m, or the pixel itself without position."""
    if series.position is None:
        return np.arange(len(series.ndvi))
    position = np.asarray(series.position, np.float64)
    cell = np.floor((position - position.min(0)) / FIELD).astype(np.int64)
    return np.unique(cell, axis=0, return_inverse=True)[1].reshape(-1)


def least_factor(
    inside: Callable[[float], Bool[np.ndarray, "pixel time"]],
    hidden: Bool[np.ndarray, "pixel time"],
    field: Int[np.ndarray, "pixel"],
) -> float:
    """Least factor with which nine in ten labels are inside, in nine of ten draws of the fields.

    `hidden` are the labels that count; below 20 of them the factor is 1.
    """
    if hidden.sum() < _FEWEST:
        return 1.0
    holds = _holding(hidden, field)
    if not holds(inside(_MOST)):
        log.warning(
            "a band %g times as wide does not hold 90 %% of the labels; that is the widest", _MOST
        )
    return _least(lambda f: holds(inside(f)), _MOST)


def label_noise(
    error: Float[np.ndarray, "pixel time"],
    std: Float[np.ndarray, "pixel time"],
    hidden: Bool[np.ndarray, "pixel time"],
) -> float:
    """Least noise with which the band holds errors of labels, where std is right."""
    holds = _holding(hidden, np.arange(len(hidden)))
    return _least(lambda noise: holds(error <= HALF_BAND * np.hypot(std, noise)), _WIDEST)


def _holding(hidden, field):
    """Whether 90 % of the hidden labels are inside, in nine of ten draws of the fields."""
    some = np.bincount(field, hidden.sum(1)) > 0
    count = int(some.sum())
    rng = np.random.default_rng(0)
    weight = rng.multinomial(count, np.full(count, 1.0 / count), _DRAWS).astype(np.float64)

    def _of_fields(here):
        return np.bincount(field, here.sum(1))[some]

    total = weight @ _of_fields(hidden)
    return lambda inside: np.quantile(weight @ _of_fields(hidden & inside) / total, 1 - SURE) >= 0.9


def _least(holds, high: float) -> float:
    """The least number up to `high` from which on it holds, by bisection."""
    low = 0.0
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
