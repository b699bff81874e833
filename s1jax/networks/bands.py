"""Bands that hold: the factor of an estimate's std by what validation labels show."""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from s1jax import hiding
from s1jax.features import without_implausible
from s1jax.metrics import HALF_BAND
from s1jax.types import NDVI, Days, Estimate, Series

log = logging.getLogger("s1jax")

FEWEST = 20
"""Hidden labels below which no band is made of them."""
SURE = 0.9
"""Probability that the band holds as often as it should, over draws of validation pixels."""
FIELD = 100.0
"""Side of the cells whose pixels err together, as those of one field do, m."""
FLOOR, NOISE = 0.04, 0.03
"""What a network is not aware of in its estimate and in a label, standard deviations, 1: set on
blocks of the simulated scene, where nine in ten values of the truth and of the labels are to lie in
their bands, whether few or all of a pixel's NDVI are hidden (`python -m experiments.bands`)."""
ELSEWHERE = 1.25
"""Factor by which bands grow where another district or year is predicted than the one learnt from,
1: labels of another simulated region need 1.11 to 1.33, as the same command tells."""
_DRAWS, _STEPS, _MOST, _WIDEST = 500, 30, 10.0, 1.0


class Bands(NamedTuple):
    """Of a pixel without any NDVI of its own, and of one with some."""

    factor: Float[Array | np.ndarray, "2"]
    """Of the standard deviation of the latent NDVI, 1."""
    floor: Float[Array | np.ndarray, "2"]
    """Standard deviation that the latent NDVI has beside what a method tells, 1."""
    noise: Float[Array | np.ndarray, "2"]
    """Standard deviation of a label about the latent NDVI, 1."""


PLAIN = Bands(np.ones(2, np.float32), *np.zeros((2, 2), np.float32))
"""What leaves an estimate as it is."""


def bands(
    predict: Callable[[Series, Days], Estimate], validation: Series, *, elsewhere: float = 1.0
) -> Bands:
    """Bands that hold 90 % of the labels hidden from validation pixels.

    With std s of a method, the latent NDVI has std f hypot(s, 0.04) and a label the noise 0.03 f
    about it. f is the least with which mean +- 1.645 f hypot(s, 0.04, 0.03) holds 90 % of the
    labels. Labels of a field err together and few fields tell little, so that 90 % must hold in
    nine of ten bootstrap draws of the fields, cells of 100 m; of the pixels where the series tells
    no place. Below 20 hidden labels f is 1.

    Args:
      predict: the method; its own noise is left aside.
      validation: pixels whose NDVI is hidden, once all of it, once a random share and 60 days.
      elsewhere: factor of std and noise where another district or year is to be predicted, of
        which validation pixels tell nothing, 1.
    """
    validation, _ = without_implausible(validation)
    day = np.asarray(validation.day)
    told = [predict(hiding.without(validation, asked), day) for asked in ways(validation)]
    return bands_of(told, validation, elsewhere=elsewhere)


def bands_of(estimates: Sequence[Estimate], validation: Series, *, elsewhere: float = 1.0) -> Bands:
    """`bands` of what was told already, on the days of the series, for each of `ways`."""
    field = fields(validation)
    found, before = [], []
    for told, asked in zip(estimates, ways(validation), strict=True):
        error = np.abs(np.asarray(told.mean) - np.asarray(validation.value)[..., NDVI])
        std = np.asarray(told.std)
        wide = HALF_BAND * np.sqrt(std**2 + FLOOR**2 + NOISE**2)
        found.append(least_factor(lambda f, e=error, w=wide: e <= f * w, asked, field))
        before.append((error <= HALF_BAND * std)[asked].sum() / max(asked.sum(), 1))
    log.info(
        "labels inside std alone, without and with NDVI: %.2f, %.2f; widened %.2f, %.2f",
        *(*before, *found),
    )
    factor = elsewhere * np.array(found)
    return Bands(factor, np.full(2, FLOOR), NOISE * factor)


def applied(told: Estimate, known: Bool[np.ndarray, "pixel"], by: Bands) -> Estimate:
    """The estimate with its band; `known`: pixels with some NDVI of their own."""
    factor, floor, noise = (np.where(known, part[1], part[0]).astype(told.std.dtype) for part in by)
    return Estimate(told.mean, factor[:, None] * np.hypot(told.std, floor[:, None]), noise)


def ways(validation: Series) -> tuple[Bool[np.ndarray, "pixel time"], ...]:
    """Labels to hide from validation pixels: once all, once a random share and 60 days."""
    label = np.asarray(validation.valid)[..., NDVI]
    return label, np.asarray(hiding.hide(jax.random.key(0), validation)[1]) & label


def fields(series: Series) -> Int[np.ndarray, "pixel"]:
    """Number of the field that each pixel lies in: of cells of 100 m, or each its own without
    places."""
    if series.place is None:
        return np.arange(len(series.value))
    place = np.asarray(series.place, np.float64)
    cell = np.floor((place - place.min(0)) / FIELD).astype(np.int64)
    return np.unique(cell, axis=0, return_inverse=True)[1].reshape(-1)


def least_factor(
    inside: Callable[[float], Bool[np.ndarray, "pixel time"]],
    asked: Bool[np.ndarray, "pixel time"],
    field: Int[np.ndarray, "pixel"],
) -> float:
    """Least factor with which nine in ten labels are inside, in nine of ten draws of the fields.

    Args:
      inside: which labels lie in a band of this factor.
      asked: labels that count; below 20 the factor is 1.
      field: of each pixel.
    """
    if asked.sum() < FEWEST:
        return 1.0
    holds = _holding(asked, field)
    if not holds(inside(_MOST)):
        log.warning("a band %g times as wide does not hold 90 %% of the labels; it stays so", _MOST)
    return _least(lambda f: holds(inside(f)), _MOST)


def labelling(
    error: Float[np.ndarray, "pixel time"],
    std: Float[np.ndarray, "pixel time"],
    asked: Bool[np.ndarray, "pixel time"],
) -> float:
    """Least noise with which the band holds errors of labels, where std is known to be right, 1."""
    holds = _holding(asked, np.arange(len(asked)))
    return _least(lambda noise: holds(error <= HALF_BAND * np.hypot(std, noise)), _WIDEST)


def _holding(asked, field):
    """Whether 90 % of those asked for are inside, in nine of ten draws of the fields."""
    some = np.bincount(field, asked.sum(1)) > 0
    count = int(some.sum())
    rng = np.random.default_rng(0)
    weight = rng.multinomial(count, np.full(count, 1.0 / count), _DRAWS).astype(np.float64)

    def _of_fields(here):
        return np.bincount(field, here.sum(1))[some]

    total = weight @ _of_fields(asked)
    return lambda inside: np.quantile(weight @ _of_fields(asked & inside) / total, 1 - SURE) >= 0.9


def _least(holds, high: float) -> float:
    """The least number up to `high` from which on it holds, by bisection."""
    low = 0.0
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
