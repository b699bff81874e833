"""The time axis as it should be: ascending, each day once, periods at centres, none left out."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from s1jax.align import LONGEST
from s1jax.cube.names import sentinel1
from s1jax.cube.numbered import DAY, is_relative, with_all
from s1jax.indices import from_db, to_db

LAUNCH, LANDSAT = np.datetime64("2014-04-03", "ns"), np.datetime64("1972-07-23", "ns")
"""From when on there is Sentinel-1, and NDVI from space of any kind: both their first launch."""


_PARTS = {"dekads": (10, 20), "half-months": (15,)}
"""Days of a month behind which its parts begin, beside the first."""


class Periods(NamedTuple):
    """What the dates of a cube are dates of."""

    expected: pd.DatetimeIndex
    """Dates of all periods from the first to the last, labelled as those that are there."""
    centre: pd.DatetimeIndex | None
    """Middle of each, where `t` is another day of it; else None."""
    kind: str
    """"months", "half-months" (to the 15th, and from the 16th on) or "dekads" (the thirds of a
    month); "periods", of one step of 5 days or more, some of which may be left out; "dates",
    anything else, with none expected but themselves."""
    label: str
    """"first day", "last day" or "middle day" of (parts of) months, "" of the others."""


def to_days(t: np.ndarray | xr.DataArray) -> Float[np.ndarray, "time"]:
    """Days since 1970-01-01 of datetimes, float64."""
    since = np.asarray(t).astype("datetime64[ns]") - np.datetime64(0, "ns")
    return since / DAY


def from_days(day: Float[np.ndarray, "time"]) -> np.ndarray:
    """datetime64[ns] of days since 1970-01-01, to the second."""
    second = np.round(np.asarray(day, np.float64) * 86_400).astype("int64")
    return second.astype("datetime64[s]").astype("datetime64[ns]")


def span(ds: xr.Dataset) -> str:
    """First and last date of a cube, how many there are, and the days between them, in one line.

    "2023-01-03 to 2023-12-29, 31 dates, 12 days apart"; of dates that are not regular the least,
    the median and the greatest gap; of a relative axis days from its first date instead of dates.
    """
    t = np.sort(ds["t"].values.astype("datetime64[ns]"))
    t = t[~np.isnat(t)]
    if t.size == 0:
        return "no date"
    if is_relative(ds):
        ends = f"relative days 0 to {(t[-1] - t[0]) / DAY:g}"
    else:
        ends = " to ".join(np.datetime_as_string(t[[0, -1]], unit="D"))
    gap = np.round(np.diff(t) / DAY, 3)
    if gap.size == 0:
        return f"{ends}, 1 date"
    low, middle, high = gap.min(), np.median(gap), gap.max()
    apart = f"{low:g}" if low == high else f"{low:g} to {high:g} (median {middle:g})"
    return f"{ends}, {t.size} dates, {apart} days apart"


def tidy_dates(ds: xr.Dataset, *, complete: bool = True) -> tuple[xr.Dataset, list[str]]:
    """The cube on ascending dates, each once, with no period left out, and what was said.

    Planes of one date (and one Sentinel-1 track) are averaged, backscatter in linear power. Where
    all dates are the first, the last or the middle day of months, half-months or dekads
    (`periods`) they are of composites: `t` is moved to their centres, but on a relative axis.
    Where most gaps are one step of at least 5 days and all are multiples of it, the dates left out
    are put in as missing, unless they are more than those there. A cube in chunks stays so.

    Args:
      ds: cube whose `t` is datetime64[ns].
      complete: whether such steps of days are completed; months and dekads always are.

    Raises:
      ValueError: a date is missing (NaT).
    """
    said = []
    if np.isnat(ds["t"].values).any():
        raise ValueError(f"t: got {int(np.isnat(ds['t'].values).sum())} NaT, expected dates")
    if (np.diff(ds["t"].values) < np.timedelta64(0)).any():
        ds = ds.sortby("t")
        said.append("dates were not ascending: sorted")
    ds, averaged = _average_duplicates(ds)
    of = periods(pd.DatetimeIndex(ds["t"].values), calendar=not is_relative(ds))
    absent = of.expected.difference(ds.indexes["t"].floor("D") if of.label else ds.indexes["t"])
    if of.label:
        # a time of day says nothing of a composite
        ds = ds.assign_coords(t=ds.indexes["t"].floor("D"))
    if len(absent) and (complete or of.centre is not None):
        days = ", ".join(absent.strftime("%Y-%m-%d"))
        left = f"{len(absent)} {of.kind} left out of the file"
        said.append(f"{left} are missing on their dates: {days}")
        ds = with_all(ds, of.expected)
    if of.centre is not None:
        moved = of.centre.to_numpy().astype("datetime64[ns]")
        if (moved != ds["t"].values).any():
            said.append(f"t was the {of.label} of {of.kind}: moved to their centres")
        ds = ds.assign_coords(t=moved)
    return ds, said + averaged


def checked_dates(ds: xr.Dataset) -> None:
    """Nothing, where the dates of a cube can be those of a series of Sentinel-1 and NDVI.

    Of a relative axis only its length is looked at.

    Raises:
      ValueError: they span more than 100 years, three or more are of less than a day, VV or VH are
        of a date before Sentinel-1 was launched, or any date is before there was NDVI from space.
    """
    t = ds["t"].values
    ds, t = ds.isel(t=~np.isnat(t)), t[~np.isnat(t)]
    if t.size == 0:
        return
    length = (t.max() - t.min()) / DAY
    ends = " to ".join(np.datetime_as_string(np.array([t.min(), t.max()])))
    if length > LONGEST:
        raise ValueError(f"t: got {ends}, expected at most {LONGEST:,} days (100 years)")
    if t.size > 2 and length < 1:
        raise ValueError(f"t: got {t.size} dates from {ends}, expected a series of days")
    if is_relative(ds) or t.min() >= LAUNCH:
        return
    early = t < LANDSAT
    if not early.any():
        there = [ds[name].notnull().any(("y", "x")).values for name in sentinel1(ds)]
        early = (t < LAUNCH) & np.logical_or.reduce(there)
    if early.any():
        days = ", ".join(np.datetime_as_string(t[early][:6], unit="D"))
        got = f"{early.sum()} of {t.size} dates before there was Sentinel-1 ({days})"
        expected = "2014-04-03 or later, or time_axis = 'relative' among the attributes"
        raise ValueError(f"t: got {got}, expected {expected}")


def periods(t: pd.DatetimeIndex, *, calendar: bool = True) -> Periods:
    """What dates are dates of; without `calendar` no months and parts of them are told.

    Months and dekads are told by 3 dates or more that are all the first day of one (1; 1, 11, 21),
    all the last (28 to 31; 10, 20, 28 to 31), or all one day in the middle (15 or 16; 5, 15, 25 or
    6, 16, 26), where no more of them are left out than there are. Dates with different times of day
    are of acquisitions; the last and middle days of dekads are told in two months and more, since
    days 10 apart may be so by chance in one. Half-months are told by their first days (1, 16) or
    their last (15, 28 to 31), each at least twice.
    """
    day = t.floor("D")
    if calendar and len(t) >= 3 and day.is_unique and len(set(t - day)) == 1:
        for kind, label, start in _labels(day):
            first = pd.date_range(start[0].replace(day=1), start[-1], freq="MS")
            if kind in _PARTS:
                later = [first + pd.Timedelta(days=days) for days in _PARTS[kind]]
                first = first.append(later).sort_values()
                first = first[(first >= start[0]) & (first <= start[-1])]
            if len(first) > 2 * len(t):
                continue
            end = _next(first, kind)
            centre = first + (end - first) / 2
            expected = {"first day": first, "last day": end - pd.Timedelta(days=1)}
            middle = first + pd.Timedelta(days=int((day[0] - start[0]).days))
            return Periods(expected.get(label, middle), centre, kind, label)
    if len(t) >= 3 and t.is_unique:
        gap = np.diff(t.to_numpy())
        step = gap.min()
        whole = (gap % step == np.timedelta64(0)).all()
        few = (t[-1] - t[0]) / step < 2 * len(t)
        if step >= 5 * DAY and whole and few and (gap == step).mean() >= 0.5:
            every = pd.date_range(t[0], t[-1], freq=pd.Timedelta(step))
            return Periods(every, None, "periods", "")
    return Periods(t, None, "dates", "")


def _labels(day):
    """(kind, label, first day of the period of each date) that all dates have in common."""
    month = day.to_period("M").to_timestamp()
    of_month, last = set(day.day), bool(day.is_month_end.all())
    if of_month == {1}:
        yield "months", "first day", day
    if last:
        yield "months", "last day", month
    if len(of_month) == 1 and of_month <= {15, 16}:
        yield "months", "middle day", month
    if len(of_month) < 2:
        return
    several = len(set(month)) > 1
    ten = month + pd.to_timedelta(10 * np.minimum((day.day - 1) // 10, 2), "D")
    if of_month <= {1, 11, 21}:
        yield "dekads", "first day", day
    if several and (day.is_month_end | day.day.isin([10, 20])).all() and not last:
        yield "dekads", "last day", ten
    if several and (of_month <= {5, 15, 25} or of_month <= {6, 16, 26}):
        yield "dekads", "middle day", ten
    halves = month + pd.to_timedelta(15 * (day.day > 15), "D")
    twice = several and min((halves == month).sum(), (halves != month).sum()) > 1
    if twice and of_month == {1, 16}:
        yield "half-months", "first day", day
    if twice and (day.is_month_end | (day.day == 15)).all():
        yield "half-months", "last day", halves


def _next(first, kind):
    """First day of the period after each."""
    if kind == "months":
        return first + pd.offsets.MonthBegin(1)
    later = _PARTS[kind]
    after = first + pd.Timedelta(days=later[0])
    return after.where(first.day != 1 + later[-1], first + pd.offsets.MonthBegin(1))


def _average_duplicates(ds):
    """One plane for each date and track; a plane of no track joins the first track of its date."""
    t = ds["t"].values
    if len(np.unique(t)) == len(t):
        return ds, []
    track = np.array(ds["s1_track"].values) if "s1_track" in ds.variables else np.zeros(len(t), int)
    for i in np.flatnonzero(track == 0):
        others = track[(t == t[i]) & (track != 0)]
        track[i] = others[0] if others.size else 0
    keys, group = np.unique(np.stack([t.astype("int64"), track]), axis=1, return_inverse=True)
    rows = [np.flatnonzero(group.ravel() == g) for g in range(keys.shape[1])]
    merged = ds.isel(t=[r[0] for r in rows])
    if "s1_track" in ds.variables:
        merged = merged.assign_coords(s1_track=("t", keys[1].astype(ds["s1_track"].dtype)))
    radar = sentinel1(ds)
    for name, variable in ds.data_vars.items():
        if variable.dims[:1] != ("t",) or variable.dtype.kind != "f":
            continue
        value = _one_each(variable.drop_vars([*variable.coords]), rows, power=name in radar)
        merged = merged.assign({name: merged[name].copy(data=value.data)})
    said = [f"{len(t) - len(rows)} duplicate dates averaged"] if len(rows) < len(t) else []
    both = len(rows) - len(np.unique(t))
    return merged, said + ([f"{both} dates have two Sentinel-1 tracks: kept apart"] if both else [])


def _one_each(variable, rows, *, power):
    """One plane for each group of rows; chunks stay chunks."""
    first, pieces, done = [r[0] for r in rows], [], 0
    for k, r in enumerate(rows):
        if len(r) > 1:
            several = variable.isel(t=r)
            mean = xr.apply_ufunc(
                _mean,
                several if several.chunks is None else several.chunk(t=-1),
                kwargs={"power": power},
                input_core_dims=[["t"]],
                dask="parallelized",
                output_dtypes=[variable.dtype],
            )
            pieces += [variable.isel(t=first[done:k]), mean.expand_dims("t")]
            done = k + 1
    pieces.append(variable.isel(t=first[done:]))
    return xr.concat([piece for piece in pieces if piece.sizes["t"]], "t")


def _mean(value, *, power):
    """Mean over the last axis of what is there, in linear power where `power`."""
    there = np.isfinite(value)
    count = there.sum(axis=-1)
    known = np.where(there, value, value.dtype.type(0))
    known = np.where(there, np.asarray(from_db(jnp.asarray(known))), 0) if power else known
    mean = known.sum(axis=-1) / np.maximum(count, 1)
    mean = np.asarray(to_db(jnp.asarray(np.where(count > 0, mean, 1)))) if power else mean
    return np.where(count > 0, mean, np.nan).astype(value.dtype)
