"""The three types: what is observed, what is estimated, and what a method is.

Strings, dates and coordinates stay outside, in xarray (`s1jax.cube`); here are arrays only.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, UInt8
from jaxtyping import Key as _TypedKey

VV, VH, NDVI = 0, 1, -1
"""Places on the channel axis: VV, VH in dB of the first orbit, then further orbits; NDVI last."""

Key = _TypedKey[Array, ""]
Days = Float[Array | np.ndarray, "query"]
Params = Any


class Series(NamedTuple):
    """Observations of one pixel, or of many when `value` and `valid` have leading pixel axes.

    The days are shared by all pixels and need not be regular; what is missing is told by `valid`.
    """

    day: Float[Array, "time"]
    """Days since 1970-01-01, ascending; the centre of a composite's period."""
    value: Float[Array, "*pixel time channel"]
    """VV, VH in dB (a second orbit is two more channels), NDVI last; anything where not valid."""
    valid: Bool[Array, "*pixel time channel"]
    """True where `value` was observed."""
    place: Float[Array, "*pixel 2"] | None = None
    """Metres east and north."""
    smooth: Float[Array, "*pixel time radar"] | None = None
    """The radar channels, speckle-filtered, dB; valid where theirs are; None where not made."""
    wide: Float[Array, "*pixel time radar"] | None = None
    """The same over a wider neighbourhood."""


class Estimate(NamedTuple):
    """Gaussian estimate of the latent NDVI on the days asked for."""

    mean: Float[Array, "*pixel query"]
    """Mean of the NDVI, 1."""
    std: Float[Array, "*pixel query"]
    """Standard deviation of the latent NDVI, 1; positive; never a variance."""
    noise: Float[Array, "#pixel"] | Float[Array, ""]
    """Standard deviation of an observation about the latent NDVI, 1; one for all or one a pixel."""
    quality: UInt8[Array | np.ndarray, "#pixel"] | None = None
    """Sum of flags of each pixel, as `mogpr.Posterior.quality`; None of a method without flags."""


class Estimator(NamedTuple):
    """A method: two pure functions.

    `fit(key, training, validation)` consumes the key and sees training and validation pixels only;
    `predict(params, series, days)` is deterministic, and NDVI that is not `valid` in `series` stays
    hidden from it.
    """

    fit: Callable[[Key, Series, Series], Params]
    predict: Callable[[Params, Series, Days], Estimate]


def knowing(estimator: Estimator, params: Params) -> Estimator:
    """The method that has learnt `params` already: its `fit` returns them."""
    return Estimator(lambda key, training, validation: params, estimator.predict)
