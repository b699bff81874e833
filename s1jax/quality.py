"""Quality of an estimate, pixel by pixel: a sum of flags; 0 is good."""

import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from s1jax.types import Estimate, Series

REGION_SCALE = 1
"""Fewer than five NDVI values, or constant ones: the region's mean and std are used."""
NO_DATA = 2
"""The method saw no data of the pixel: the estimate is the prior."""
REGION_HYPER = 4
"""The pixel's own fit failed: the region's hyperparameters stand in."""
IMPLAUSIBLE = 8
"""Implausible values were left out (`features.without_implausible`; radar far off the region's)."""
EMPTY = 16
"""Some variable of `s1jax.fusets` has no observation here."""
CLIPPED = 32
"""The estimate left [-1, 1] and is clipped."""
IMPRECISE = 64
"""Double precision cannot resolve the std on some day; it is NaN there."""
NOT_ESTIMATED = 128
"""A map has no estimate here."""


def flags(
    data: Bool[np.ndarray, "pixel"],
    implausible: Bool[np.ndarray, "pixel"],
    mean: Float[Array | np.ndarray, "pixel query"],
) -> UInt8[np.ndarray, "pixel"]:
    """Sum of NO_DATA (where there is no `data`), IMPLAUSIBLE and CLIPPED of each pixel."""
    clipped = (np.abs(np.asarray(mean)) >= 1.0).any(axis=1)
    each = ((NO_DATA, ~data), (IMPLAUSIBLE, implausible), (CLIPPED, clipped))
    return np.sum([np.where(where, flag, 0) for flag, where in each], axis=0).astype(np.uint8)


def flagged(estimate: Estimate, series: Series, implausible: Bool[np.ndarray, "pixel"]) -> Estimate:
    """The estimate with the flags of a method that sees all radar and NDVI of a series."""
    valid = np.asarray(series.radar_valid)
    orbits = valid.reshape(*valid.shape[:2], -1, 2).all(axis=-1)
    data = np.any(orbits, axis=(1, 2)) | np.any(np.asarray(series.ndvi_valid), axis=1)
    return estimate._replace(quality=flags(data, implausible, estimate.mean))
