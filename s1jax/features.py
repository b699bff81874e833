"""What a method sees: which values can be, a date and its neighbours, indices from linear power.

Every function is written for one pixel or row; what has `*n` in its shape takes many.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax.indices import from_db, rvi, to_db
from s1jax.types import Days, Series

_Array = Array | np.ndarray
RADAR_DB = (-80.0, 40.0)
"""Backscatter outside is no measurement, dB."""
NDVI_RANGE = (-1.5, 1.5)
"""NDVI outside is no measurement; noise may carry a true one past 1."""
_PIXELS = 4096
"""Pixels compared together."""

SINGLE_DATE = ("vv", "vh", "rvi")
"""Features of the single-date baseline."""

WITH_PREVIOUS = (
    *SINGLE_DATE,
    "vv_previous",
    "vh_previous",
    "vv_backward_difference",
    "vh_backward_difference",
    "vv_over_vh",
    "vh_over_vv",
    "vv_times_vh",
)
"""The ten features: the date and the one before it; four numbers in ten columns."""

WITH_NEIGHBOURS = (
    *WITH_PREVIOUS,
    "vv_next",
    "vh_next",
    "vv_forward_difference",
    "vh_forward_difference",
    "vv_average",
    "vh_average",
)
"""The ten, and what they leave out: the date after."""


class Temporal(NamedTuple):
    """A quantity on a date and its two neighbours on the time axis."""

    current: Float[Array, "*n"]
    previous: Float[Array, "*n"]
    next: Float[Array, "*n"]
    backward_difference: Float[Array, "*n"]
    forward_difference: Float[Array, "*n"]
    average: Float[Array, "*n"]


def neighbourhood(
    previous: Float[Array, "*n"], current: Float[Array, "*n"], next: Float[Array, "*n"]
) -> Temporal:
    """Differences c - p and n - c and the average (p + c + n) / 3 of a date and its neighbours."""
    return Temporal(
        current=current,
        previous=previous,
        next=next,
        backward_difference=current - previous,
        forward_difference=next - current,
        average=(previous + current + next) / 3.0,
    )


def temporal(values: Float[Array, "time"], *, pad_mode: str = "edge") -> Temporal:
    """Every date of a series with its neighbours.

    Args:
      values: one quantity of one pixel, on successive dates.
      pad_mode: what stands before the first and after the last date, a mode of `jnp.pad`; "edge"
        repeats the end, so that differences there are 0.
    """
    padded = jnp.pad(values, 1, mode=pad_mode)
    return neighbourhood(padded[:-2], values, padded[2:])


def table(
    names: tuple[str, ...], vv_db: Temporal, vh_db: Temporal, *, indices_from_db: bool = False
) -> Float[Array, "*n feature"]:
    """The features `names` as columns, in their order.

    Backscatter, its neighbours and differences are in dB. `rvi`, `vv_over_vh`, `vh_over_vv` and
    `vv_times_vh` are computed from linear power.

    Args:
      names: `SINGLE_DATE`, `WITH_PREVIOUS`, `WITH_NEIGHBOURS`, or any other choice of their names.
      vv_db: VV backscatter, dB.
      vh_db: VH backscatter, dB.
      indices_from_db: compute the four indices on dB values, as if they were powers. It has no
        physical meaning and is kept to reproduce published baselines.

    Raises:
      ValueError: an unknown name.
    """
    if indices_from_db:
        vv, vh = vv_db.current, vh_db.current
    else:
        vv, vh = from_db(vv_db.current), from_db(vh_db.current)
    columns = {
        "vv": vv_db.current,
        "vh": vh_db.current,
        "rvi": rvi(vv, vh),
        "vv_over_vh": vv / vh,
        "vh_over_vv": vh / vv,
        "vv_times_vh": vv * vh,
    }
    for field in Temporal._fields[1:]:
        columns |= {f"vv_{field}": getattr(vv_db, field), f"vh_{field}": getattr(vh_db, field)}
    unknown = [name for name in names if name not in columns]
    if unknown:
        raise ValueError(f"features: got unknown {unknown}, expected names among {sorted(columns)}")
    return jnp.stack([columns[name] for name in names], axis=-1)


def plausible_radar(radar_db: Float[_Array, "*n"]) -> Bool[_Array, "*n"]:
    """True where backscatter (dB) lies in `RADAR_DB`; a NaN does not."""
    return _within(radar_db, RADAR_DB)


def plausible_ndvi(ndvi: Float[_Array, "*n"]) -> Bool[_Array, "*n"]:
    """True where NDVI lies in `NDVI_RANGE`; a NaN does not."""
    return _within(ndvi, NDVI_RANGE)


def _within(value, bounds):
    low, high = (np.full((1,) * value.ndim, bound, value.dtype) for bound in bounds)
    return (value >= low) & (value <= high)


def without_implausible(series: Series) -> tuple[Series, Bool[np.ndarray, "pixel"]]:
    """The series where an implausible value is not valid, and the pixels that have such values.

    A radar value counts as plausible where all its looks are. The masks are copied only where
    something changes.
    """
    radar, radar_valid = np.asarray(series.radar), np.asarray(series.radar_valid)
    ndvi, ndvi_valid = np.asarray(series.ndvi), np.asarray(series.ndvi_valid)
    affected = np.zeros(len(ndvi), bool)
    masks = [radar_valid, ndvi_valid]
    for start in range(0, len(ndvi), _PIXELS):
        part = slice(start, start + _PIXELS)
        plausible = plausible_radar(radar[part]).all(axis=-2), plausible_ndvi(ndvi[part])
        for k, (mask, keep) in enumerate(zip((radar_valid, ndvi_valid), plausible, strict=True)):
            lost = mask[part] & ~keep
            if lost.any():
                if masks[k] is mask:
                    masks[k] = mask.copy()
                masks[k][part] &= keep
                affected[part] |= lost.reshape(len(lost), -1).any(axis=1)
    if masks[0] is radar_valid and masks[1] is ndvi_valid:
        return series, affected
    return series._replace(radar_valid=masks[0], ndvi_valid=masks[1]), affected


def check_days(series: Series, days: Days | None = None, *, repeats: bool = False) -> None:
    """Refuse a series whose days are not its dates in order, and days that are no numbers.

    Args:
      series: of a method.
      days: where it is to predict.
      repeats: whether one day may be there several times (a process takes both as observations).

    Raises:
      ValueError: arrays whose shapes do not belong together, no date, another number of days than
        dates, a day that is not finite or not later than the one before (with `repeats`, before
        it); one of `days` that is not finite.
    """
    check_shapes(series)
    day, dates = np.asarray(series.day), series.ndvi.shape[1]
    if day.shape != (dates,) or dates == 0:
        raise ValueError(
            f"series.day: got shape {day.shape}, expected one day for each of {dates} dates, 1+"
        )
    _check_finite("series.day", day)
    gap = np.diff(day)
    back = np.flatnonzero(gap < 0 if repeats else gap <= 0)
    if back.size:
        one, after = (float(day[back[0] + k]) for k in (0, 1))
        order = (
            "none earlier than the one before" if repeats else "each day later than the one before"
        )
        got = f"{after:.10g} after {one:.10g} at index {back[0] + 1}"
        raise ValueError(f"series.day: got {got}, expected {order}")
    if days is not None:
        _check_finite("days", np.asarray(days))


def check_shapes(series: Series) -> None:
    """Refuse arrays of many pixels whose shapes do not belong together (ValueError)."""
    if series.ndvi.ndim != 2:
        raise ValueError(f"series.ndvi: got shape {series.ndvi.shape}, expected (pixel, date)")
    pixel = series.ndvi.shape
    channel = series.radar_valid.shape[-1:]
    looks = series.radar.shape[2:3]
    expected = {
        "ndvi_valid": pixel,
        "radar_valid": (*pixel, *channel),
        "radar": (*pixel, *looks, *channel),
    }
    for name, shape in expected.items():
        got = getattr(series, name).shape
        if got != shape or len(got) != len(shape):
            raise ValueError(f"series.{name}: got shape {got}, expected {shape}")
    if series.radar.ndim != 4:
        got = series.radar.shape
        raise ValueError(f"series.radar: got shape {got}, expected (pixel, date, look, channel)")


def check_ascending(name: str, days: Days) -> None:
    """Refuse days that are not finite or do not ascend (ValueError)."""
    at = np.asarray(days, np.float64)
    if not np.isfinite(at).all():
        raise ValueError(f"{name}: got {at[~np.isfinite(at)][0]}, expected finite numbers")
    if (np.diff(at) <= 0).any():
        k = int(np.argmax(np.diff(at) <= 0))
        raise ValueError(f"{name}: got {at[k + 1]:g} after {at[k]:g}, expected them to ascend")


def _check_finite(name, day):
    wrong = np.flatnonzero(~np.isfinite(day))
    if wrong.size:
        got = f"{day[wrong[0]]} at index {wrong[0]}"
        raise ValueError(f"{name}: got {got}, expected finite numbers, days since 1970-01-01")


def orbit_mean(
    series: Series,
) -> tuple[Float[Array, "*pixel time 2"], Bool[Array, "*pixel time"]]:
    """VV and VH in dB as observed, averaged over the orbits in linear power; where any has both.

    10 log10(mean of 10^(x / 10) over the valid orbits); 0 dB where no orbit is valid.

    Raises:
      ValueError: channels that are not VV and VH of each orbit.
    """
    *lead, channels = series.radar_valid.shape
    if channels % 2 or not channels:
        raise ValueError(f"channels: got {channels}, expected VV and VH of each orbit")
    shape = (*lead, channels // 2, 2)
    radar = jnp.reshape(jnp.asarray(series.radar)[..., 0, :], shape)
    valid = jnp.reshape(jnp.asarray(series.radar_valid), shape).all(-1)
    count = valid.sum(-1)[..., None].astype(radar.dtype)
    power = jnp.where(valid[..., None], from_db(radar), 0.0).sum(-2) / jnp.maximum(count, 1.0)
    seen = valid.any(-1)
    return to_db(jnp.where(seen[..., None], power, 1.0)), seen
