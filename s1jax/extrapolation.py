"""Days far from all dates of a series: the estimate relaxes to the region's mean and std."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax.types import Days, Estimate, Series

_Array = Array | np.ndarray
LENGTH = 40.0
"""Days in which what is left of an estimate falls to 1/e: the autocorrelation of the NDVI of
simulated regions is 0.80 after 12 days and 0.40 after 24."""
REACH = 30.0
"""Days up to which a date informs the days around it: half of the longest step between dates that
networks distinguish."""
_FEWEST = 20
"""Labels below which mean and std of a region stay at `PRIOR`."""


class Level(NamedTuple):
    """Mean and standard deviation of a region's NDVI, over pixels and dates."""

    mean: Float[_Array, ""]
    std: Float[_Array, ""]
    """Positive."""


PRIOR = Level(np.asarray(0.5, np.float32), np.asarray(0.25, np.float32))
"""Of a region without labels; simulated regions have means of 0.50 to 0.52 and a std of 0.25."""


def level_of(series: Series, other: Level = PRIOR) -> Level:
    """Mean and std of all valid NDVI of a series, in its precision; `other` below 20 values."""
    sums = np.zeros(3)
    for start in range(0, len(series.ndvi), 4096):
        part = slice(start, start + 4096)
        label = np.asarray(series.ndvi_valid)[part]
        ndvi = np.where(label, np.asarray(series.ndvi)[part], 0.0).astype(np.float64)
        # one date after the other: what is missing adds an exact zero to each sum
        sums += [label.sum(), ndvi.sum(0).sum(), (ndvi**2).sum(0).sum()]
    count, total, square = sums
    if count < _FEWEST:
        return other
    mean = total / count
    std = np.sqrt(max(square / count - mean**2, 1e-6))
    return Level(*(np.asarray(x, series.ndvi.dtype) for x in (mean, std)))


def days_beyond(
    day: Float[_Array, "time"], days: Days, data: Bool[_Array, "time"] | None = None
) -> Float[_Array, "query"]:
    """Distance of each of `days` from what the dates of a series inform, days.

    Before the first and after the last date this is the distance from it. Between two dates it is
    the distance of the nearer one beyond 30 days, so 0 wherever dates are 60 days apart or less.

    `data` marks the dates with data, all where None; the distance is infinite where there are none.
    """
    module = _module(day)
    days = module.asarray(days, day.dtype)
    seen = module.ones(day.shape, bool) if data is None else data
    never = module.full(1, np.inf, day.dtype)
    before, after = module.where(seen, day, -never), module.where(seen, day, never)
    # the last before and the first after each date; NumPy compiles nothing
    if module is np:
        before, after = np.maximum.accumulate(before), np.minimum.accumulate(after[::-1])[::-1]
    else:
        before = jax.lax.cummax(jnp.asarray(before))
        after = jax.lax.cummin(jnp.asarray(after), reverse=True)
    before = module.concatenate([-never, before])[module.searchsorted(day, days, side="right")]
    after = module.concatenate([after, never])[module.searchsorted(day, days)]
    nearest = module.minimum(days - before, after - days)
    outside = module.maximum(day[0] - days, days - day[-1])
    return module.maximum(module.maximum(nearest - REACH, outside), 0.0)


def remaining(away: Float[_Array, "*n"]) -> Float[_Array, "*n"]:
    """Share of an estimate that remains so many days away: exp(-away / 40 days)."""
    return _module(away).exp(-away / LENGTH)


def spread(
    std: Float[_Array, "*#n"], away: Float[_Array, "*#n"], of_region: Float[_Array, ""]
) -> Float[_Array, "*n"]:
    """Standard deviation `away` days from a date whose estimate has `std`: see `relax`."""
    module = _module(std)
    more = module.maximum(module.asarray(of_region, std.dtype) ** 2 - std**2, 0.0)
    return module.sqrt(std**2 + (1.0 - remaining(away) ** 2) * more)


def _module(array):
    """NumPy for arrays of the host, which may be of a precision that JAX has not."""
    return jnp if isinstance(array, jax.Array) else np


def relax(
    estimate: Estimate, away: Float[_Array, "query"], level: Level, *, mean: bool = True
) -> Estimate:
    """The estimate; where `away` > 0, of a stationary process observed at the nearest date alone.

    With r = exp(-away / 40 days), the mean m and std S of the region's NDVI, and mu, s of the
    nearest date (of a long gap: of the line between its dates),

      mean = m + r (mu - m),  std^2 = s^2 + (1 - r^2) max(S^2 - s^2, 0),

    an Ornstein-Uhlenbeck process whose std never falls below that of the date. A year away this is
    m and S. Where `away` is 0 nothing changes.

    `away` are `days_beyond`; without `mean` the std alone relaxes.
    """
    some = np.asarray(away) > 0.0
    if not some.any():
        return estimate
    means, stds = (np.array(leaf) for leaf in estimate[:2])
    off = np.asarray(away)[None, some].astype(means.dtype)
    if mean:
        middle = np.asarray(level.mean, means.dtype)
        means[:, some] = middle + remaining(off) * (means[:, some] - middle)
    stds[:, some] = spread(stds[:, some], off, level.std)
    return estimate._replace(mean=means, std=stds)


def widen(estimate: Estimate, series: Series, days: Days, level: Level) -> Estimate:
    """The estimate with a std that grows as that of `relax` far from the dates of the series; the
    mean stays (the parts of a combined method relax their own)."""
    return relax(estimate, days_beyond(np.asarray(series.day), days), level, mean=False)
