"""What to mind of an estimate, pixel by pixel."""

import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from s1jax.types import NDVI, Estimate, Series

NO_DATA, IMPLAUSIBLE, CLIPPED = 2, 8, 32
"""Quality flags, summed, those of `mogpr.Posterior`: the method had no data at all of the pixel;
values that cannot be (`features.plausible`) were left out; the estimate left [-1, 1] and is
clipped. 0 is good."""


def flags(
    data: Bool[np.ndarray, "pixel"],
    left_out: Bool[np.ndarray, "pixel"],
    mean: Float[Array | np.ndarray, "pixel query"],
) -> UInt8[np.ndarray, "pixel"]:
    """Sum of the flags of each pixel.

    Args:
      data: pixels of which the method saw any radar or NDVI.
      left_out: pixels with values that were left out.
      mean: estimate, clipped to [-1, 1].
    """
    clipped = (np.abs(np.asarray(mean)) >= 1.0).any(axis=1)
    each = ((NO_DATA, ~data), (IMPLAUSIBLE, left_out), (CLIPPED, clipped))
    return sum(np.where(where, flag, 0) for flag, where in each).astype(np.uint8)


def flagged(estimate: Estimate, series: Series, left_out: Bool[np.ndarray, "pixel"]) -> Estimate:
    """The estimate with the flags of a method that sees all radar and NDVI of a series."""
    valid = np.asarray(series.valid)
    radar = valid[..., :NDVI].reshape(*valid.shape[:2], -1, 2).all(axis=-1).any(axis=(1, 2))
    data = radar | valid[..., NDVI].any(axis=1)
    return estimate._replace(quality=flags(data, left_out, estimate.mean))
