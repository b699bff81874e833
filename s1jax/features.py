"""What a method sees: which values can be, a date and its neighbours, indices from linear power.

Every function is written for one pixel or row; what has `*n` in its shape takes many.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax.indices import from_db, rvi, to_db
from s1jax.types import NDVI, Days, Series

_Array = Array | np.ndarray
RADAR_DB = (-80.0, 40.0)
"""Backscatter outside is no measurement, dB."""
NDVI_RANGE = (-1.5, 1.5)
"""NDVI outside is no measurement, 1; noise may carry a true one past 1."""
_PIXELS = 4096
"""Pixels looked at together."""

DOCUMENT_3 = ("vv", "vh", "rvi")
"""Features of the single-date baseline."""

DOCUMENT_10 = (
    *DOCUMENT_3,
    "vv_previous",
    "vh_previous",
    "vv_backward_difference",
    "vh_backward_difference",
    "vv_over_vh",
    "vh_over_vv",
    "vv_times_vh",
)
"""The ten features: the date and the one before it; four numbers in ten columns."""

BOTH_NEIGHBOURS = (
    *DOCUMENT_10,
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
    names: tuple[str, ...], vv_db: Temporal, vh_db: Temporal, *, of_db: bool = False
) -> Float[Array, "*n feature"]:
    """The features `names` as columns, in their order.

    Backscatter, its neighbours and differences are in dB. `rvi`, `vv_over_vh`, `vh_over_vv` and
    `vv_times_vh` are computed from linear power.

    Args:
      names: `DOCUMENT_3`, `DOCUMENT_10`, `BOTH_NEIGHBOURS`, or any other choice of their names.
      vv_db: VV backscatter, dB.
      vh_db: VH backscatter, dB.
      of_db: compute the four indices on dB values, as if they were powers. It has no physical
        meaning and is kept to reproduce published baselines.

    Raises:
      ValueError: an unknown name.
    """
    if of_db:
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


def plausible(
    value: Float[_Array, "*pixel time channel"],
) -> Bool[_Array, "*pixel time channel"]:
    """True where backscatter (all channels but the last) and NDVI are numbers that can be."""
    shape = (1,) * (value.ndim - 1) + value.shape[-1:]
    low, high = (np.full(shape, bound, value.dtype) for bound in RADAR_DB)
    low[..., NDVI], high[..., NDVI] = NDVI_RANGE
    # NaN compares False
    return (value >= low) & (value <= high)


def without_implausible(series: Series) -> tuple[Series, Bool[np.ndarray, "pixel"]]:
    """The series where a value that is not `plausible` is not valid, and the pixels that have such.

    A radar value is valid where its filtered ones, if the series has them, are plausible too. The
    series is copied only where something is left out of it.
    """
    value, valid = np.asarray(series.value), np.asarray(series.valid)
    looks = [np.asarray(look) for look in (series.smooth, series.wide) if look is not None]
    kept, some = valid, np.zeros(len(value), bool)
    for start in range(0, len(value), _PIXELS):
        part = slice(start, start + _PIXELS)
        sound = plausible(value[part])
        for look in looks:
            low, high = (look.dtype.type(bound) for bound in RADAR_DB)
            sound[..., :NDVI] &= (look[part] >= low) & (look[part] <= high)
        lost = valid[part] & ~sound
        if lost.any():
            kept = valid.copy() if kept is valid else kept
            kept[part] &= sound
            some[part] = lost.any(axis=(1, 2))
    return (series if kept is valid else series._replace(valid=kept)), some


def check_days(series: Series, days: Days | None = None, *, repeats: bool = False) -> None:
    """Refuse a series whose days are not its dates in order, and days that are no numbers.

    Args:
      series: of a method.
      days: where it is to predict.
      repeats: whether one day may be there several times (a process takes both as observations).

    Raises:
      ValueError: value and valid that are not (pixel, date, channel) both, no date, another number
        of days than dates, a day that is not finite or not later than the one before (with
        `repeats`, before it); one of `days` that is not finite.
    """
    day, shape = np.asarray(series.day), series.value.shape
    if len(shape) != 3 or series.valid.shape != shape:
        got = f"shapes {shape} and {series.valid.shape}"
        raise ValueError(f"series.value, series.valid: got {got}, expected (pixel, date, channel)")
    dates = shape[1]
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
        got = f"{after:.10g} after {one:.10g} at place {back[0] + 1}"
        raise ValueError(f"series.day: got {got}, expected {order}")
    if days is not None:
        _check_finite("days", np.asarray(days))


def _check_finite(name, day):
    wrong = np.flatnonzero(~np.isfinite(day))
    if wrong.size:
        got = f"{day[wrong[0]]} at place {wrong[0]}"
        raise ValueError(f"{name}: got {got}, expected finite numbers, days since 1970-01-01")


def single_orbit(
    series: Series,
) -> tuple[Float[Array, "*pixel time 2"], Bool[Array, "*pixel time"]]:
    """VV and VH in dB averaged over the orbits in linear power, and where any orbit has both.

    10 log10(mean of 10^(x / 10) over the valid orbits); 0 dB where no orbit is valid.
    """
    *lead, channels = series.value.shape
    if channels % 2 == 0:
        raise ValueError(f"channels: got {channels}, expected VV and VH per orbit and NDVI last")
    orbits = (channels - 1) // 2
    value = jnp.reshape(series.value[..., :-1], (*lead, orbits, 2))
    valid = jnp.reshape(series.valid[..., :-1], (*lead, orbits, 2)).all(-1)
    count = valid.sum(-1)[..., None].astype(value.dtype)
    power = jnp.where(valid[..., None], from_db(value), 0.0).sum(-2) / jnp.maximum(count, 1.0)
    seen = valid.any(-1)
    return to_db(jnp.where(seen[..., None], power, 1.0)), seen


def fill(
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


def at_days(
    day: Float[Array, "time"], curve: Float[Array, "time"], days: Float[Array, "query"]
) -> Float[Array, "query"]:
    """A curve known on `day`, linear in time on `days`, constant beyond its ends."""
    return jnp.interp(days, day, curve)
