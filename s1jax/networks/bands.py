"""Bands that hold: the noise of a label beside an estimate's std, by what validation shows."""

import logging
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax import hiding
from s1jax.metrics import HALF_BAND
from s1jax.types import NDVI, Days, Estimate, Series

log = logging.getLogger("s1jax")

FEWEST = 20
"""Hidden labels below which no band is made of them."""
SURE = 0.9
"""Probability that the band holds as often as it should, over draws of validation pixels."""
NOISE = 0.03
"""Standard deviation of a label about the latent NDVI beside which std is scaled, 1."""
ELSEWHERE = 1.25
"""Factor by which bands grow where another region is predicted than the one learnt from, 1: what a
network of one Belgian map needs on other fields of Flanders (1.0 to 1.3). Six simulated regions,
which differ less, held 90 % on average without it."""
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

    The factor f is the least with which mean +- 1.645 f hypot(std, 0.03) holds 90 % of them: std
    becomes f std, noise 0.03 f. Labels alone cannot tell the error of the latent NDVI from their
    own; 0.03 is what parts them so that the truth of simulated regions lies in its band too.
    Labels of a pixel err together and few pixels tell little, so that 90 % must hold in nine of ten
    bootstrap draws of the pixels; pixels of one field are counted as if they told apart. Below
    20 hidden labels f is 1.

    Args:
      predict: the method; its own noise is left aside.
      validation: pixels whose NDVI is hidden, once all of it, once a random share and 60 days.
      elsewhere: factor of both std and noise where another district or year is to be predicted, of
        which validation pixels tell nothing, 1.
    """
    label = np.asarray(validation.valid)[..., NDVI]
    found, before = [], []
    for hidden in (label, np.asarray(hiding.hide(jax.random.key(0), validation)[1])):
        asked = hidden & label
        told = predict(hiding.without(validation, asked), np.asarray(validation.day))
        error = np.abs(np.asarray(told.mean) - np.asarray(validation.value)[..., NDVI])
        found.append(_band(error, np.asarray(told.std), asked))
        before.append(
            (error <= HALF_BAND * np.asarray(told.std))[asked].sum() / max(asked.sum(), 1)
        )
    told = *before, *(factor for factor, _ in found)
    log.info(
        "labels inside std alone, without and with NDVI: %.2f, %.2f; widened %.2f, %.2f", *told
    )
    std, noise = (elsewhere * np.array(part) for part in zip(*found, strict=True))
    return Bands(std, noise)


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
    holds = _holding(error, asked)
    return _least(lambda noise: holds(np.hypot(std, noise)), _WIDEST)


def _band(error, std, asked) -> tuple[float, float]:
    """Factor of std, and noise."""
    if asked.sum() < FEWEST:
        return 1.0, NOISE
    holds, wide = _holding(error, asked), np.hypot(std, NOISE)
    factor = _least(lambda f: holds(f * wide), _MOST)
    if not holds(_MOST * wide):
        log.warning("a band %g times as wide does not hold 90 %% of the labels; it stays so", _MOST)
    return factor, NOISE * factor


def _holding(error, asked):
    """Whether a width holds 90 % of the errors, in nine of ten draws of the pixels."""
    some = asked.any(1)
    error, asked = error[some], asked[some]
    pixels = len(asked)
    rng = np.random.default_rng(0)
    weight = rng.multinomial(pixels, np.full(pixels, 1.0 / pixels), _DRAWS).astype(np.float64)
    count = weight @ asked.sum(1)

    def _holds(wide):
        inside = weight @ (asked & (error <= HALF_BAND * wide[some])).sum(1)
        return np.quantile(inside / count, 1.0 - SURE) >= 0.9

    return _holds


def _least(holds, high: float) -> float:
    """The least number up to `high` from which on it holds, by bisection."""
    low = 0.0
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
