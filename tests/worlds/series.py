"""A Series from stacked arrays, as a test plants them."""

import numpy as np

from s1jax.types import Series


def stacked(day, value, valid, position=None, *, looks=()):
    """Series of (pixel, time, channel) arrays whose last channel is NDVI.

    Args:
      day: days since 1970-01-01.
      value: VV, VH of each orbit and NDVI.
      valid: of the same shape.
      position: metres east and north, or None.
      looks: radar of further looks, (pixel, time, channel) each.
    """
    return Series(
        day=day,
        radar=np.stack([value[..., :-1], *looks], axis=-2),
        radar_valid=np.array(valid[..., :-1]),
        ndvi=np.array(value[..., -1]),
        ndvi_valid=np.array(valid[..., -1]),
        position=position,
    )
