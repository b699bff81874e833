"""Bands that hold: the factor of an estimate's std by what validation labels show."""

import logging
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from s1jax import hiding
from s1jax.metrics import HALF_BAND
from s1jax.types import NDVI, Days, Estimate, Series

log = logging.getLogger("s1jax")

FEWEST = 20
"""Hidden labels below which no band is made of them."""
SURE = 0.9
"""Probability that the band holds as often as it should, over draws of validation pixels."""
FIELD = 100.0
"""Side of the cells whose pixels err together, as those of one field do, m."""
ELSEWHERE = 1.25
"""Factor by which bands grow where another district or year is predicted than the one learnt from,
1; `python -m experiments.bands` tells what each data set would need."""
_DRAWS, _STEPS, _MOST, _WIDEST = 500, 30, 10.0, 1.0


class Bands(NamedTuple):
    """Of a pixel without any NDVI of its own, and of one with some."""

    std: Float[Array | np.ndarray, "2"]
    """Factor of the standard deviation of the latent NDVI, 1."""
    noise: Float[Array | np.ndarray, "2"]
    """Standard deviation of a label about it, 1."""


PLAIN = Bands(np.ones(2, np.float32), np.zeros(2, np.float32))
"""What leaves an estimate as it is."""


def bands(
    predict: Callable[[Series, Days], Estimate], validation: Series, *, elsewhere: float = 1.0
) -> Bands:
    """Bands that hold 90 % of the labels hidden from validation pixels.

    The factor f is the least with which mean +- 1.645 f std holds 90 % of them; noise is 0. Labels
    alone cannot tell the error of the latent NDVI from their own, so that the std of the one holds
    both: against the truth the band is rather too wide. Labels of a field err together and few
    fields tell little, so that 90 % must hold in nine of ten bootstrap draws of the fields, cells
    of 100 m; of the pixels where the series tells no place. Below 20 hidden labels f is 1.

    Args:
      predict: the method; its own noise is left aside.
      validation: pixels whose NDVI is hidden, once all of it, once a random share and 60 days.
      elsewhere: factor of std where another district or year is to be predicted, of which
        validation pixels tell nothing, 1.
    """
    label = np.asarray(validation.valid)[..., NDVI]
    field = _fields(validation)
    found, before = [], []
    for hidden in (label, np.asarray(hiding.hide(jax.random.key(0), validation)[1])):
        asked = hidden & label
        told = predict(hiding.without(validation, asked), np.asarray(validation.day))
        error = np.abs(np.asarray(told.mean) - np.asarray(validation.value)[..., NDVI])
        found.append(_factor(error, np.asarray(told.std), asked, field))
        before.append(
            (error <= HALF_BAND * np.asarray(told.std))[asked].sum() / max(asked.sum(), 1)
        )
    log.info(
        "labels inside the band, without and with NDVI: %.2f, %.2f; widened %.2f, %.2f",
        *(*before, *found),
    )
    return Bands(elsewhere * np.array(found), np.zeros(2))


def applied(told: Estimate, known: Bool[np.ndarray, "pixel"], by: Bands) -> Estimate:
    """The estimate with its band; `known`: pixels with some NDVI of their own."""
    std, noise = (np.where(known, part[1], part[0]).astype(told.std.dtype) for part in by)
    return Estimate(told.mean, told.std * std[:, None], noise)


def labelling(
    error: Float[np.ndarray, "pixel time"],
    std: Float[np.ndarray, "pixel time"],
    asked: Bool[np.ndarray, "pixel time"],
) -> float:
    """Least noise with which the band holds errors of labels, where std is known to be right, 1."""
    holds = _holding(error, asked, np.arange(len(asked)))
    return _least(lambda noise: holds(np.hypot(std, noise)), _WIDEST)


def _fields(series: Series) -> Int[np.ndarray, "pixel"]:
    """Number of the field that each pixel lies in."""
    if series.place is None:
        return np.arange(len(series.value))
    place = np.asarray(series.place, np.float64)
    cell = np.floor((place - place.min(0)) / FIELD).astype(np.int64)
    return np.unique(cell, axis=0, return_inverse=True)[1].reshape(-1)


def _factor(error, std, asked, field) -> float:
    if asked.sum() < FEWEST:
        return 1.0
    holds = _holding(error, asked, field)
    if not holds(_MOST * std):
        log.warning("a band %g times as wide does not hold 90 %% of the labels; it stays so", _MOST)
    return _least(lambda f: holds(f * std), _MOST)


def _holding(error, asked, field):
    """Whether a width holds 90 % of the errors, in nine of ten draws of the fields."""

    some = np.bincount(field, asked.sum(1)) > 0
    fields = int(some.sum())

    def _of_fields(here):
        return np.bincount(field, here.sum(1))[some]

    rng = np.random.default_rng(0)
    weight = rng.multinomial(fields, np.full(fields, 1.0 / fields), _DRAWS).astype(np.float64)
    count = weight @ _of_fields(asked)

    def _holds(wide):
        inside = weight @ _of_fields(asked & (error <= HALF_BAND * wide))
        return np.quantile(inside / count, 1.0 - SURE) >= 0.9

    return _holds


def _least(holds, high: float) -> float:
    """The least number up to `high` from which on it holds, by bisection."""
    low = 0.0
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
