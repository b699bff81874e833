"""Bands that hold: the noise of a label beside an estimate's std, by what validation shows."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax import hiding
from s1jax.metrics import HALF_BAND
from s1jax.types import NDVI, Days, Estimate, Series

FEWEST = 50
"""Hidden labels below which no band is made of them."""
SURE = 0.9
"""Probability that the band holds as often as it should, over draws of validation pixels."""
_DRAWS, _STEPS, _WIDEST = 500, 30, 1.0


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

    The noise b is the least with which mean +- 1.645 hypot(std, b) holds 90 % of them; where it
    holds more without any, std is multiplied by the least factor instead. Labels of a pixel err
    together and few pixels tell little, so that 90 % must hold in nine of ten bootstrap draws of
    the pixels (a split-conformal band with training-conditional validity). Below 50 hidden labels
    bands stay as they are.

    Args:
      predict: the method; its own noise is left aside.
      validation: pixels whose NDVI is hidden, once all of it, once a random share and 60 days.
      elsewhere: factor of both std and noise where another district or year is to be predicted, of
        which validation pixels tell nothing, 1.
    """
    label = np.asarray(validation.valid)[..., NDVI]
    found = []
    for hidden in (label, np.asarray(hiding.hide(jax.random.key(0), validation)[1])):
        asked = hidden & label
        told = predict(hiding.without(validation, asked), np.asarray(validation.day))
        error = np.abs(np.asarray(told.mean) - np.asarray(validation.value)[..., NDVI])
        found.append(_band(error, np.asarray(told.std), asked))
    std, noise = (elsewhere * np.array(part) for part in zip(*found, strict=True))
    return Bands(std, noise)


def applied(told: Estimate, known: Bool[np.ndarray, "pixel"], by: Bands) -> Estimate:
    """The estimate with its band; `known`: pixels with some NDVI of their own."""
    std, noise = (np.where(known, part[1], part[0]).astype(told.std.dtype) for part in by)
    return Estimate(told.mean, told.std * std[:, None], noise)


def _band(error, std, asked) -> tuple[float, float]:
    """Factor of std, and noise."""
    if asked.sum() < FEWEST:
        return 1.0, 0.0
    some = asked.any(1)
    error, std, asked = error[some], std[some], asked[some]
    pixels = len(asked)
    rng = np.random.default_rng(0)
    weight = rng.multinomial(pixels, np.full(pixels, 1.0 / pixels), _DRAWS).astype(np.float64)
    count = weight @ asked.sum(1)

    def _holds(wide):
        inside = weight @ (asked & (error <= HALF_BAND * wide)).sum(1)
        return np.quantile(inside / count, 1.0 - SURE) >= 0.9

    if _holds(std):
        return _least(lambda factor: _holds(factor * std), 1.0), 0.0
    return 1.0, _least(lambda noise: _holds(np.hypot(std, noise)), _WIDEST)


def _least(holds, high: float) -> float:
    """The least number up to `high` from which on it holds, by bisection."""
    low = 0.0
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
