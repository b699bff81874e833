"""Seasons of an NDVI curve: when they start, peak and end, several a year, across New Year.

Written for one pixel and for fixed shapes: vmap over pixels, jit at the entry point. After
P. Jönsson, L. Eklundh, TIMESAT - a program for analyzing time-series of satellite sensor data,
Computers & Geosciences 30, 2004; here the curve is taken as it is, no function is fitted to it.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, Num

from s1jax.features import check_ascending

_SHARE = 0.2
"""Share of the way from a minimum to the peak at which a season starts and ends."""
LEAST_AMPLITUDE = 0.2
"""Least rise of a season from both its minima, NDVI."""
WITHIN_DAYS = 45.0
"""Peaks farther apart are not of the same season, days."""


class Seasons(NamedTuple):
    """Seasons in the order of time, the first slots; the slots left over are zero and not valid."""

    start: Float[Array, "*pixel season"]
    """Days since 1970-01-01: risen to `_SHARE` of the way from the left minimum to the peak."""
    peak: Float[Array, "*pixel season"]
    """Days since 1970-01-01."""
    end: Float[Array, "*pixel season"]
    """Days since 1970-01-01: fallen to `_SHARE` of the way above the right minimum."""
    amplitude: Float[Array, "*pixel season"]
    """Peak minus the mean of the two minima, NDVI, 1."""
    length: Float[Array, "*pixel season"]
    """end - start, days."""
    valid: Bool[Array, "*pixel season"]
    """True where there is a season."""
    whole: Bool[Array, "*pixel season"]
    """True where both minima were observed; else `start` or `end` is of the observed part."""


class Mismatch(NamedTuple):
    """Errors of an estimate's seasons, estimate - truth, 0 where the estimate misses one."""

    peak: Float[Array, "*pixel season"]  # error of the peak, days
    start: Float[Array, "*pixel season"]  # error of the start, days
    matched: Bool[Array, "*pixel season"]  # true seasons that the estimate has
    missed: Bool[Array, "*pixel season"]  # true seasons that it has not
    extra: Bool[Array, "*pixel other"]  # seasons of the estimate that are no true season's


def seasons(
    day: Num[Array | np.ndarray, "time"],
    ndvi: Num[Array | np.ndarray, "time"],
    *,
    most: int = 8,
) -> Seasons:
    """Seasons of one curve.

    A season is a peak of prominence >= `LEAST_AMPLITUDE`: on both sides the curve falls by as much
    before it rises as high again, so a wiggle does not split a season. Its minima are the lowest
    dates between it and the seasons beside it, or the ends of the series. With low_left the left
    minimum, the start is the last day before the peak on which the curve, linear between dates,
    passes low_left + _SHARE (peak - low_left); the end likewise on the falling side. The
    peak day is the vertex of the parabola through the three dates about the highest, or the middle
    of a plateau.

    A season cut off by an end of the series is valid where the observed part rises and falls
    by `LEAST_AMPLITUDE`. It is `whole` where both minima are observed: inside the series, or at its
    end with the curve level there, so that half of the time from the end of the series to the start
    passes within the lowest quarter of the rise to the start (a straight line spends a quarter). A
    curve with a value that is not finite has no season; nor has one on
    traced days that turn out not finite or not ascending.

    Days since 1970-01-01 ascend and need not be regular; the precision is that of the curve. There
    are `most` slots, of more seasons the first are kept; (time - 1) // 2 slots always suffice.

    Raises:
      ValueError: fewer than three dates, days that are not finite or do not ascend, another number
        of values than of days, or no slot.
    """
    _check_days(day, ndvi)
    if most < 1:
        raise ValueError(f"most: got {most}, expected 1 or more")
    last = day.shape[0] - 1
    ndvi = jnp.asarray(ndvi)
    # half precision does not resolve the days of a year
    ndvi = ndvi if ndvi.dtype in (jnp.float32, jnp.float64) else ndvi.astype(jnp.float32)
    day = jnp.asarray(day, ndvi.dtype)
    sound = jnp.isfinite(ndvi).all() & jnp.isfinite(day).all() & (jnp.diff(day) > 0.0).all()
    curve = jnp.where(sound, ndvi, 0.0)
    at_season = _prominence(curve) >= LEAST_AMPLITUDE
    (slot,) = jnp.nonzero(at_season, size=most, fill_value=last)

    # the falling side is the rising side, read backwards
    sides = (jnp.stack([array, array[::-1]]) for array in (day, curve, at_season))
    rise = partial(jax.vmap(_rise), *sides)

    def _one(i):
        low, (start, end), seen = rise(jnp.stack([i, last - i]))
        return Seasons(
            start=start,
            peak=_top(day, curve, i),
            end=end,
            amplitude=curve[i] - low.mean(),
            length=end - start,
            valid=at_season[i],
            whole=seen.all(),
        )

    made = jax.vmap(_one)(slot)
    return jax.tree.map(lambda leaf: jnp.where(made.valid, leaf, jnp.zeros_like(leaf)), made)


def mismatch(truth: Seasons, estimate: Seasons) -> Mismatch:
    """Errors of one pixel's seasons, each true one beside the estimated one of nearest peak.

    Two seasons match where each is the other's nearest and their peaks are at most `WITHIN_DAYS`
    apart, so no estimated season matches two.
    """
    apart = jnp.abs(truth.peak[:, None] - estimate.peak[None, :])
    apart = jnp.where(truth.valid[:, None] & estimate.valid[None, :], apart, jnp.inf)
    nearest, nearest_true = jnp.argmin(apart, axis=1), jnp.argmin(apart, axis=0)
    pair = apart <= WITHIN_DAYS
    pair &= jnp.arange(estimate.peak.shape[0])[None, :] == nearest[:, None]
    pair &= jnp.arange(truth.peak.shape[0])[:, None] == nearest_true[None, :]
    matched = pair.any(axis=1)
    return Mismatch(
        peak=jnp.where(matched, estimate.peak[nearest] - truth.peak, 0.0),
        start=jnp.where(matched, estimate.start[nearest] - truth.start, 0.0),
        matched=matched,
        missed=truth.valid & ~matched,
        extra=estimate.valid & ~pair.any(axis=0),
    )


def _check_days(day, ndvi) -> None:
    """Refuse days on which no curve has seasons; of traced days only their number is checked."""
    if np.ndim(day) != 1 or np.shape(day) != np.shape(ndvi):
        got = f"shapes {np.shape(day)} and {np.shape(ndvi)}"
        raise ValueError(f"day and ndvi: got {got}, expected one value a day")
    if np.shape(day)[0] < 3:
        raise ValueError(f"day: got {np.shape(day)[0]} dates, expected 3 or more")
    if isinstance(day, Tracer):
        return
    if not jnp.issubdtype(day.dtype, jnp.number):
        raise ValueError(f"day: got {day.dtype}, expected numbers, days since 1970-01-01")
    check_ascending("day", np.asarray(day, np.float64))


def _prominence(ndvi: Float[Array, "time"]) -> Float[Array, "time"]:
    """How far the curve falls on both sides before it is as high again; 0 where it is no peak.

    Of two peaks of one height the earlier is the higher, so a plateau counts at its first date.
    """
    at = jnp.arange(ndvi.shape[0])

    def _one(i, top):
        before = jnp.max(jnp.where((at < i) & (ndvi >= top), at, -1))
        after = jnp.min(jnp.where((at > i) & (ndvi > top), at, at.size))
        left = jnp.min(jnp.where((at > before) & (at <= i), ndvi, jnp.inf))
        right = jnp.min(jnp.where((at < after) & (at >= i), ndvi, jnp.inf))
        return top - jnp.maximum(left, right)

    return jax.vmap(_one)(at, ndvi)


def _rise(
    day: Float[Array, "time"],
    ndvi: Float[Array, "time"],
    at_season: Bool[Array, "time"],
    i: Int[Array, ""],
) -> tuple[Float[Array, ""], Float[Array, ""], Bool[Array, ""]]:
    """Minimum before the peak i, the day of the start, and whether the minimum is observed."""
    at = jnp.arange(ndvi.shape[0])
    before = (at < i) & (at >= jnp.max(jnp.where(at_season & (at < i), at, 0)))
    low = jnp.min(jnp.where(before, ndvi, jnp.inf))
    # of equal minima the one nearest the peak
    inside = jnp.max(jnp.where(before & (ndvi == low), at, 0)) > 0

    def _passes(part):
        level = low + part * (ndvi[i] - low)
        under = jnp.max(jnp.where(before & (ndvi <= level), at, 0))
        way = (level - ndvi[under]) / (ndvi[under + 1] - ndvi[under])
        return day[under] + way * (day[under + 1] - day[under])

    start, bottom = _passes(_SHARE), _passes(0.25 * _SHARE)
    level_there = jnp.abs(bottom - day[0]) >= 0.5 * jnp.abs(start - day[0])
    return low, start, inside | level_there


def _top(
    day: Float[Array, "time"], ndvi: Float[Array, "time"], i: Int[Array, ""]
) -> Float[Array, ""]:
    """Day of the peak that is highest on date i, or highest from date i on.

    The parabola a t^2 + b t through (t0, d0), (0, 0), (t2, d2) has its vertex at -b / 2a =
    (d0 t2^2 - d2 t0^2) / (2 (d0 t2 - d2 t0)), t in days from date i, d in NDVI from its top.
    """
    at = jnp.arange(ndvi.shape[0])
    end = jnp.min(jnp.where((at > i) & (ndvi != ndvi[i]), at, at.size)) - 1
    t0, t2 = day[i - 1] - day[i], day[i + 1] - day[i]
    d0, d2 = ndvi[i - 1] - ndvi[i], ndvi[i + 1] - ndvi[i]
    vertex = (d0 * t2**2 - d2 * t0**2) / (2.0 * (d0 * t2 - d2 * t0))
    return day[i] + jnp.where(end > i, 0.5 * (day[end] - day[i]), vertex)
