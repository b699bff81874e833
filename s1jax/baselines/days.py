"""Along time: a curve on other days, and the nearest labels of each date."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from s1jax.features import at_days

_Array = Array | np.ndarray


def on_days(
    day: Float[_Array, "time"], curve: Float[_Array, "pixel time"], days: Float[_Array, "query"]
) -> Float[np.ndarray, "pixel query"]:
    """`features.at_days` of every pixel, on the host.

    Args:
      day: days of the curves, ascending.
      curve: finite values.
      days: days asked for, in any order.
    """
    # one dtype for all three, whatever mix of host and device arrays came in
    day, curve, days = (jnp.asarray(np.asarray(array, np.float64)) for array in (day, curve, days))
    return np.asarray(jax.vmap(at_days, (None, 0, None))(day, curve, days))


def last_valid(valid: Bool[np.ndarray, "pixel time"]) -> Int[np.ndarray, "pixel time"]:
    """Index of the last valid date up to and with each date; -1 where there is none."""
    place = np.where(valid, np.arange(valid.shape[1]), -1)
    return np.maximum.accumulate(place, axis=1)


def next_valid(valid: Bool[np.ndarray, "pixel time"]) -> Int[np.ndarray, "pixel time"]:
    """Index of the first valid date from and with each date; the number of dates where none is."""
    dates = valid.shape[1]
    return dates - 1 - last_valid(valid[:, ::-1])[:, ::-1]
