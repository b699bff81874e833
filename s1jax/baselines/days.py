"""Along time: a curve on other days, days of another year, and the nearest labels of each date."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from s1jax.features import at_days

_Array = Array | np.ndarray

YEAR = 365.25
"""Mean length of the Julian year, days."""


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


def fold(days: Float[np.ndarray, "query"], first: float, last: float) -> Float[np.ndarray, "query"]:
    """`days` moved by whole years of 365.25 days to where they are nearest to [first, last].

    A day inside the span stays. Where the span covers the season of a day that lies outside, the
    day falls inside; where it does not (a span shorter than a year), the day stays at most half a
    year outside, and the curve is held constant there.

    Args:
      days: days since 1970-01-01.
      first: first day of the span.
      last: last day of the span.
    """
    farthest = np.max(np.maximum(first - days, days - last), initial=0.0)
    step = np.arange(1, int(np.ceil(farthest / YEAR)) + 1)
    # fewest years first: argmin takes the first of equals
    years = np.concatenate([[0.0], np.stack([-step, step], axis=1).ravel()])
    moved = days[:, None] + YEAR * years
    outside = np.maximum(np.maximum(first - moved, moved - last), 0.0)
    return np.take_along_axis(moved, outside.argmin(axis=1)[:, None], axis=1)[:, 0]


def last_valid(valid: Bool[np.ndarray, "pixel time"]) -> Int[np.ndarray, "pixel time"]:
    """Index of the last valid date up to and with each date; -1 where there is none."""
    place = np.where(valid, np.arange(valid.shape[1]), -1)
    return np.maximum.accumulate(place, axis=1)


def next_valid(valid: Bool[np.ndarray, "pixel time"]) -> Int[np.ndarray, "pixel time"]:
    """Index of the first valid date from and with each date; the number of dates where none is."""
    dates = valid.shape[1]
    return dates - 1 - last_valid(valid[:, ::-1])[:, ::-1]
