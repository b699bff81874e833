"""Along time: periods and windows, their composites, and a curve on other days."""

from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax.batching import map_chunks
from s1jax.features import from_db, to_db
from s1jax.types import Series

_Array = Array | np.ndarray
Statistic = Literal["mean", "median", "max", "mean_db"]
"""What a composite is of its values; "mean_db": the mean of powers given and returned in dB."""

YEAR = 365.25
"""Mean length of the Julian year, days."""
LONGEST = 36_525
"""Days that a grid of periods may span: 100 years; a start or a step is wrong where it is more."""
_MOST = 20_000
"""Periods that a grid may have."""
_REGULAR = 1.4
"""Longest over shortest gap still called regular: dekads (11 / 8 days) pass, a missed one not."""


def period_edges(
    day: Float[np.ndarray, "time"], *, start: float | int | None = None, step: float | int = 12.0
) -> Float[np.ndarray, "edge"]:
    """Edges of the fewest periods of `step` days from `start` on that hold the last day.

    Period p is [edge_p, edge_p + step); days before `start` are in none. `start` None: the
    beginning of the first day. All are days since 1970-01-01; `day` is in any order.

    Raises:
      ValueError: `step` is not positive, there is no day, or none from `start` on; the periods span
        more than 100 years (`LONGEST`), or are more than 20,000.
    """
    if not 0 < step <= LONGEST:
        raise ValueError(f"step: got {step} days, expected > 0 and at most {LONGEST:,} (100 years)")
    if day.size == 0:
        raise ValueError("day: got no day, expected at least one")
    begin, last = float(np.floor(day.min())) if start is None else float(start), float(day.max())
    if last < begin:
        raise ValueError(f"day: got none after start ({last} < {begin}), expected at least one")
    # checked before memory is allocated
    length, count = last - begin, np.floor((last - begin) / step) + 1
    if not (length <= LONGEST and count <= _MOST):
        got = f"{count:,.0f} periods of {step:g} days over {length:,.0f} days"
        expected = f"at most {_MOST:,} periods over {LONGEST:,} days (100 years)"
        raise ValueError(f"start, step: got {got}, expected {expected}")
    return begin + step * np.arange(int(count) + 1, dtype=day.dtype)


def is_regular(day: Float[np.ndarray, "time"]) -> bool:
    """Whether ascending days are a grid of periods: longest gap at most 1.4 of the shortest.

    Months (28 to 31 days) and dekads (8 to 11 days) are; acquisitions 1 to 9 days apart are not.
    """
    gap = np.diff(day)
    return bool(gap.size == 0 or (gap.min() > 0 and gap.max() <= _REGULAR * gap.min()))


def composite(
    day: Float[Array, "time"],
    value: Float[Array, "time"],
    valid: Bool[Array, "time"],
    edges: Float[Array, "edge"],
    *,
    statistic: str = "mean",
) -> tuple[Float[Array, "period"], Bool[Array, "period"], Float[Array, "period"]]:
    """One value per period of one channel of one pixel: (value, valid, mean day).

    The mean over the valid days inside [edge_p, edge_p+1), their median or highest, or for
    "mean_db" the mean of linear powers given and returned in dB, 10 log10 mean 10^(value / 10).
    Days are in any order, edges ascend (`period_edges`); a value may be anything where not valid.

    Returns:
      The value (0 where no day was valid), whether any was, and the mean of the days it was made of
      (the centre of the period where none).

    Raises:
      ValueError: there is no such statistic.
    """
    _check_statistic(statistic)
    # a sum over a (period, time) table, not a scatter: the same to the last bit on every device
    period = jnp.searchsorted(edges, day, side="right") - 1
    every = jnp.arange(edges.shape[0] - 1, dtype=period.dtype)
    member = (period[None, :] == every[:, None]) & valid[None, :]
    count = member.sum(axis=-1)
    some = count > 0
    clear = jnp.where(valid, value, 0.0)
    if statistic == "median":
        made = _median(clear, jnp.where(member.any(axis=0), period, every.size), count)
    else:
        made = _made(member, clear, statistic)
    within = day - edges[:-1][jnp.clip(period, 0, every.size - 1)]
    mean_day = edges[:-1] + jnp.where(some, _mean(member, within[None]), jnp.diff(edges) / 2)
    return jnp.where(some, made, 0.0), some, mean_day


def composite_windows(
    day: Float[Array, "time"],
    value: Float[Array, "time"],
    valid: Bool[Array, "time"],
    centre: Float[Array, "window"],
    within: Float[Array, ""],
    *,
    statistic: str = "mean",
) -> tuple[Float[Array, "window"], Bool[Array, "window"], Float[Array, "window"]]:
    """As `composite`, of the valid days no farther than `within` (included) from each centre.

    Windows may overlap, as those around the days of another sensor do. The mean day is the centre
    where no day was valid.
    """
    _check_statistic(statistic)
    away = day[None, :] - centre[:, None]
    member = (jnp.abs(away) <= within) & valid[None, :]
    some = member.any(axis=-1)
    clear = jnp.where(valid, value, 0.0)
    if statistic == "median":
        ordered = jnp.sort(jnp.where(member, clear[None, :], jnp.inf), axis=-1)
        count = member.sum(axis=-1)
        ends = jnp.stack([(count - 1) // 2, count // 2], axis=-1)
        made = jnp.take_along_axis(ordered, jnp.maximum(ends, 0), axis=-1).mean(axis=-1)
    else:
        made = _made(member, clear, statistic)
    return jnp.where(some, made, 0.0), some, centre + _mean(member, away)


def _check_statistic(statistic):
    if statistic not in get_args(Statistic):
        raise ValueError(f"statistic: got {statistic!r}, expected one of {get_args(Statistic)}")


def _mean(member, x):
    """Mean of the members of each row; 0 without any."""
    total = jnp.where(member, x, 0.0).sum(axis=-1)
    return total / jnp.maximum(member.sum(axis=-1), 1).astype(x.dtype)


def _made(member, value, statistic):
    """A statistic, no median, of the members of each row."""
    if statistic == "max":
        return jnp.where(member, value[None, :], -jnp.inf).max(axis=-1)
    if statistic == "mean_db":
        power = _mean(member, from_db(value)[None, :])
        return to_db(jnp.where(member.any(axis=-1), power, 1.0))
    return _mean(member, value[None, :])


def _median(value, group, count):
    """Median of each group: sorted by group then value, the middle one or the mean of the two."""
    ordered = value[jnp.lexsort((value, group))]
    first = jnp.cumsum(count) - count
    last = value.shape[0] - 1
    low = ordered[jnp.clip(first + (count - 1) // 2, 0, last)]
    high = ordered[jnp.clip(first + count // 2, 0, last)]
    return (low + high) / 2


def fold_to_season(
    days: Float[np.ndarray, "query"], first: float, last: float
) -> Float[np.ndarray, "query"]:
    """`days` moved by whole years of 365.25 days to where they are nearest to [first, last].

    A day inside the span stays. Where the span covers the season of a day outside, the day falls
    inside; where it does not (a span shorter than a year), the day stays at most half a year
    outside, and the curve is held constant there.
    """
    farthest = np.max(np.maximum(first - days, days - last), initial=0.0)
    step = np.arange(1, int(np.ceil(farthest / YEAR)) + 1)
    # fewest years first: argmin takes the first of equals
    years = np.concatenate([[0.0], np.stack([-step, step], axis=1).ravel()])
    moved = days[:, None] + YEAR * years
    outside = np.maximum(np.maximum(first - moved, moved - last), 0.0)
    return np.take_along_axis(moved, outside.argmin(axis=1)[:, None], axis=1)[:, 0]


def interpolate_gaps(
    day: Float[Array, "time"], values: Float[Array, "time"], valid: Bool[Array, "time"]
) -> Float[Array, "time"]:
    """Values where valid, else linear in time between the valid dates around, constant at the ends.

    A series without any valid date is 0 throughout.
    """
    n = day.shape[0]
    index = jnp.arange(n)
    before = jax.lax.cummax(jnp.where(valid, index, -1))
    after = jax.lax.cummin(jnp.where(valid, index, n), reverse=True)
    left = jnp.where(before < 0, after, before)
    right = jnp.where(after >= n, before, after)
    left, right = jnp.clip(left, 0, n - 1), jnp.clip(right, 0, n - 1)
    span = day[right] - day[left]
    weight = jnp.where(span > 0, (day - day[left]) / jnp.where(span > 0, span, 1.0), 0.0)
    kept = jnp.where(valid, values, 0.0)
    return (1.0 - weight) * kept[left] + weight * kept[right]


def interpolate(
    day: Float[Array, "time"], curve: Float[Array, "time"], days: Float[Array, "query"]
) -> Float[Array, "query"]:
    """Curve of `day` on other days: linear in time, constant beyond its ends."""
    return jnp.interp(days, day, curve)


def interpolate_pixels(
    day: Float[_Array, "time"], curve: Float[_Array, "pixel time"], days: Float[_Array, "query"]
) -> Float[np.ndarray, "pixel query"]:
    """`interpolate` of every pixel, on the host, whatever the precision of the arrays."""
    day, curve, days = (jnp.asarray(np.asarray(array, np.float64)) for array in (day, curve, days))
    return np.asarray(jax.vmap(interpolate, (None, 0, None))(day, curve, days))


def composite_series(
    series: Series, step: float, *, statistic: Statistic = "mean_db"
) -> tuple[Series, Float[np.ndarray, "pixel period"]]:
    """Composites of the valid values in periods of `step` days, on the centres of the periods.

    As `cube.align_cube` of a cube: `statistic` of radar, all looks alike, and the median of NDVI.
    Also the mean day of the NDVI in each period (its centre where there is none).
    """
    edges = period_edges(np.asarray(series.day), step=step)
    day, bounds = jnp.asarray(series.day), jnp.asarray(edges)

    def _chunk(part):
        return _in_periods(day, bounds, *part, statistic=statistic)

    arrays = (series.radar, series.radar_valid, series.ndvi, series.ndvi_valid)
    *blocks, mean_day = map_chunks(_chunk, arrays, chunk=256, label="composites")
    dtype = np.asarray(series.day).dtype
    centre, span = ((edges[:-1] + edges[1:]) / 2).astype(dtype), np.diff(edges).astype(dtype)
    made = Series(centre, *blocks, position=series.position, span=span, orbits=series.orbits)
    return made, mean_day


@partial(jax.jit, static_argnames="statistic")
def _in_periods(day, edges, radar, radar_valid, ndvi, ndvi_valid, *, statistic):
    def _channel(values, valid, kind):
        return composite(day, values, valid, edges, statistic=kind)

    def _pixel(radar, radar_valid, ndvi, ndvi_valid):
        channel = jax.vmap(partial(_channel, kind=statistic), (-1, -1), (-1, -1, -1))
        made, valid, _ = jax.vmap(channel, (1, None), (1, 1, 1))(radar, radar_valid)
        return made, valid[:, 0], *_channel(ndvi, ndvi_valid, "median")

    return jax.vmap(_pixel)(radar, radar_valid, ndvi, ndvi_valid)
