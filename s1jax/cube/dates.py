"""The time axis: dates read from text, numbers or periods, then ascending, each once, complete."""

import datetime
import re
from collections.abc import Hashable
from itertools import pairwise
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from s1jax.compositing import LONGEST
from s1jax.cube.findings import Finding, named, repair, requested
from s1jax.cube.names import sentinel1
from s1jax.features import from_db, to_db

DAY = np.timedelta64(86_400_000_000_000, "ns")
LAUNCH, LANDSAT = np.datetime64("2014-04-03", "ns"), np.datetime64("1972-07-23", "ns")
"""First launches: no Sentinel-1, and no NDVI from space of any kind, is older."""
DATE = r"(?P<year>(?:19|20)\d\d)[-_.]?(?P<month>\d\d)[-_.]?(?P<day>\d\d)"
"""A date in the name of a band or file: 2023-11-07, 20231107 or with other marks between."""
RELATIVE = "relative"
"""attrs["time_axis"] of a cube whose `t` counts from a beginning that differs between pixels."""

_ORIGIN = np.datetime64("2000-01-01", "ns")
"""Day 0 of a relative axis that comes as lengths of time, or as numbers of days."""
_SINCE = " since "
_UNITS = {
    ("days", "day", "d"): DAY,
    ("hours", "hour", "hrs", "hr", "h"): DAY // 24,
    ("minutes", "minute", "min"): DAY // 1440,
    ("seconds", "second", "sec", "s"): DAY // 86_400,
}
_ISO = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d(:?\d\d(:?\d\d([.,]\d+)?)?)?( ?[Zz]| ?[+-]\d\d(:?\d\d)?)?)?"
)
_PLAIN = re.compile(r"\d{8}([T ]\d{4,6}([.]\d+)?Z?)?|\d{4}-\d\d")
"""Other spellings of dates of planes: 20231107, and 2023-11 for a month."""
_GREGORIAN = ("standard", "gregorian", "proleptic_gregorian")
_NANOSECONDS = np.array(["1678-01-01", "2262-01-01"], "datetime64[s]")
"""Dates that datetime64[ns] can hold, roughly."""
_CALENDAR = {
    "months": ((1,), (14, 15)),
    "dekads": ((1, 11, 21), (4, 5)),
    "half-months": ((1, 16), ()),
}
"""Days of a month on which its parts begin, and days from there to a date in their middle."""


class Periods(NamedTuple):
    """What the dates of a cube are dates of."""

    expected: pd.DatetimeIndex
    """Dates of all periods from the first to the last, labelled as those that are there."""
    centre: pd.DatetimeIndex | None
    """Middle of each, where `t` is another day of it; else None."""
    kind: str
    """"months", "half-months", "dekads" (`_CALENDAR`); "periods", of one step of 5 days or more,
    some of which may be left out; "dates", anything else, with none expected but themselves."""
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


def instant(name: str, given: object) -> np.datetime64:
    """datetime64[ns] of the option `name`: ISO 8601 text YYYY-MM-DD, with a time or without, a
    datetime64, Timestamp, datetime or date; in UTC where it has a zone.

    Text in any other order, a year alone and numbers are no dates: 01-11-2023 is one day here and
    another there.

    Raises:
      ValueError: it is none of these, or not in the calendar.
    """
    wrong = f"{name}: got {given!r}, expected a date as 2023-11-01 (YYYY-MM-DD)"
    dated = isinstance(given, np.datetime64 | datetime.date)
    if not dated and not (isinstance(given, str) and _ISO.fullmatch(given.strip())):
        raise ValueError(wrong)
    try:
        date = pd.Timestamp(given)
    except ValueError as error:
        raise ValueError(f"{wrong} ({error})") from error
    if date is pd.NaT:
        raise ValueError(wrong)
    date = date if date.tz is None else date.tz_convert(None)
    return date.to_datetime64().astype("datetime64[ns]")


def check_step(step: float | int | None, name: str = "step") -> None:
    """Nothing, where a length in days is None or one that periods can have.

    Raises:
      ValueError: it is not above 0, not finite, or more than 100 years.
    """
    if step is not None and not 0 < step <= LONGEST:
        expected = f"days > 0 and at most {LONGEST:,} (100 years)"
        raise ValueError(f"{name}: got {step}, expected {expected}")


def is_relative(ds: xr.Dataset) -> bool:
    """Whether `t` counts days from a beginning that differs from pixel to pixel: attrs["time_axis"]
    of the cube or of its `t` is "relative". Gaps between dates mean what they say, the calendar
    nothing.

    Raises:
      ValueError: the attribute is something else.
    """
    given = [attrs.get("time_axis") for attrs in (ds.attrs, _attrs(ds))]
    words = {str(one).strip().lower(): one for one in given if one is not None}
    if other := words.keys() - {"", RELATIVE}:
        raise ValueError(f"time_axis: got {words[other.pop()]!r}, expected {RELATIVE!r}")
    return RELATIVE in words


def undated(ds: xr.Dataset) -> list[Hashable]:
    """Variables in numbers whose `units`, as days since planting, or `calendar` xarray cannot read
    as dates; the cube is as it is stored, and only the variables that `units` make times are read.
    """
    return [
        name
        for name, variable in ds.variables.items()
        if _SINCE in str(variable.attrs.get("units", "")) and _dates_in(ds, name) is None
    ]


def with_dates(
    ds: xr.Dataset, start: np.datetime64 | None, step: float | int | None, where: str
) -> tuple[xr.Dataset, list[Finding], bool]:
    """The cube with datetime64[ns] on `t`, findings, and whether its planes were numbered.

    Dates in text (ISO 8601) or as numbers like 20231107 are read as dates. Other whole numbers from
    1 up, ascending, are numbers of periods, and numbers left out are put in as missing. Planes
    without a coordinate, or with their position from 0, are numbered by position. Numbered planes
    get the centre of period p, start + step (p - 1/2).

    An axis is relative (`is_relative`) where the file declares it, where a variable `start_date`
    gives pixels beginnings of their own, or where `t` comes as lengths of time, which are put
    behind 2000-01-01; so are the numbers of a declared one without `start`, in days unless `units`
    say hours, minutes or seconds. `units` as days since planting are of such an axis alone.

    Args:
      ds: cube with the dimension `t`.
      start: beginning of period 1; needed where there are no dates.
      step: length of a period, days; as `start`.
      where: name of the input, for messages.

    Raises:
      ValueError: no dates and no `start` and `step`, text that is no date, another calendar,
        numbers that are neither periods nor positions, or of which more than half are left out.
    """
    ds, findings = _relative(_since(ds, where))
    t = ds["t"].values if "t" in ds.coords else np.arange(1, ds.sizes["t"] + 1)
    numbers = "t" in ds.coords and t.dtype.kind in "iuf" and not _is_yyyymmdd(t)
    if start is None and numbers and is_relative(ds):
        kept = {k: v for k, v in _attrs(ds).items() if k not in ("units", "calendar")}
        what = f"t ({t.dtype}) read as days of a relative axis, put behind 2000-01-01"
        since = _ORIGIN + _lengths(ds, where)
        return ds.assign_coords(t=("t", since, kept)), [*findings, named(what)], False
    if np.issubdtype(t.dtype, np.datetime64):
        t = _nanoseconds(t, where)
        return ds.assign_coords(t=("t", t, _attrs(ds))), findings, False
    if t.dtype.kind in "USOT" or _is_yyyymmdd(t):
        findings.append(named(f"t ({t.dtype}) read as dates"))
        return ds.assign_coords(t=dates_of(t, f"{where}: t")), findings, False
    number, how = np.arange(1, t.size + 1), "its planes are periods by position"
    if t.dtype.kind in "iu" and t.min(initial=1) >= 1 and (np.diff(t) > 0).all():
        (number, absent), how = all_periods(t, f"{where}: t"), "its planes are numbered periods"
        if absent.size:
            what = f"periods {', '.join(map(str, absent))} left out of the file are missing"
            findings.append(repair(f"{what} on their dates", "missing-periods"))
            ds = reindex_dates(ds, number)
    elif "t" in ds.coords and not any(np.array_equal(t, number - k) for k in (0, 1)):
        got = f"{', '.join(map(str, t[:6]))}{', ...' if t.size > 6 else ''} ({t.dtype})"
        raise ValueError(f"{where}: t: got {got}, expected dates, or periods ascending from 1")
    centre = _period_centres(number, start, step, where)
    findings.append(requested(f"no dates in the file: {how}, dated by start and step"))
    return ds.assign_coords(t=centre), findings, True


def all_periods(number: np.ndarray | list[int], where: str) -> tuple[np.ndarray, np.ndarray]:
    """Every period from 1 to the last of some numbers, and those of them that are left out.

    Raises:
      ValueError: more than half are left out.
    """
    number = np.unique(number)
    # counted before they are listed: a date taken for a number would be 20 million periods
    if int(number[-1]) > 2 * number.size:
        got = f"{number.size} numbers from {number[0]} to {number[-1]}"
        raise ValueError(f"{where}: got {got}, expected dates, or at least half of all periods")
    every = np.arange(1, int(number[-1]) + 1)
    return every, np.setdiff1d(every, number)


def parse_date(match: re.Match, where: str) -> np.datetime64:
    """datetime64[ns] of a match of `DATE`.

    Raises:
      ValueError: the date is not in the calendar.
    """
    try:
        date = pd.Timestamp(int(match["year"]), int(match["month"]), int(match["day"]))
    except ValueError as error:
        raise ValueError(f"{where}: got no date ({error}), expected one") from error
    return date.to_datetime64().astype("datetime64[ns]")


def dates_of(t: np.ndarray, name: str) -> np.ndarray:
    """datetime64[ns] of dates in text (ISO 8601) or spelt 20231107; in UTC where they have a zone.

    Args:
      t: of any dtype; NaT where it is missing.
      name: of the axis or column, for messages.

    Raises:
      ValueError: text that is no date.
    """
    t = np.char.decode(t) if t.dtype.kind == "S" else t
    other = {str(of) for date in t if (of := getattr(date, "calendar", None)) is not None}
    if other - {*_GREGORIAN}:
        got = f"dates of the calendar {', '.join(sorted(other))}"
        raise ValueError(
            f"{name}: got {got}, expected a Gregorian one: ds.convert_calendar('standard')"
        )
    text = pd.Index(t).astype(str)
    dates = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True)
    spelt = [bool(_ISO.fullmatch(one) or _PLAIN.fullmatch(one)) for one in text]
    bad = (dates.isna() & ~pd.isna(t)) | (~np.array(spelt, bool) & ~dates.isna())
    if bad.any():
        got = f"{str(t[bad][0])!r} ({t.dtype})"
        raise ValueError(f"{name}: got {got}, expected dates as 2023-11-07")
    return _nanoseconds(dates.tz_convert(None).to_numpy(), name)


def _period_centres(number, start, step, where):
    """datetime64[ns] of the centre of period p, start + step (p - 1/2)."""
    if start is None or step is None:
        got = f"start={start}, step={step}"
        raise ValueError(f"{where}: no date in the files; got {got}, expected a date and days")
    last = float(number.max(initial=1)) * float(step)
    if last > LONGEST:
        got = f"{int(number.max())} periods of {step:g} days"
        raise ValueError(f"{where}: t: got {got}, expected at most {LONGEST:,} days (100 years)")
    offset = (number.astype(float) - 0.5) * float(step) * DAY.astype(float)
    return start.astype("datetime64[ns]") + np.round(offset).astype("timedelta64[ns]")


def reindex_dates(ds: xr.Dataset, expected: np.ndarray | pd.Index) -> xr.Dataset:
    """The cube on `expected` dates or numbers, missing where it has none; s1_track is 0 there."""
    whole = {n: ds[n].dtype for n in ("s1_track",) if n in ds.variables}
    fill = {
        name: np.array("", variable.dtype) if variable.dtype.kind in "US" else np.nan
        for name, variable in ds.variables.items()
        if "t" in variable.dims and variable.dtype.kind not in "mM"
    }
    ds = ds.reindex(t=expected, fill_value={**fill, **dict.fromkeys(whole, 0)})
    return ds.assign_coords({name: ds[name].astype(dtype) for name, dtype in whole.items()})


def tidy_dates(ds: xr.Dataset, *, complete: bool = True) -> tuple[xr.Dataset, list[Finding]]:
    """The cube on ascending dates, each once, with no period left out, and findings.

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
    findings = []
    if np.isnat(ds["t"].values).any():
        raise ValueError(f"t: got {int(np.isnat(ds['t'].values).sum())} NaT, expected dates")
    if (np.diff(ds["t"].values) < np.timedelta64(0)).any():
        ds = ds.sortby("t")
        findings.append(repair("dates were not ascending: sorted", "unsorted-dates"))
    ds, averaged = _average_duplicates(ds)
    of = periods(pd.DatetimeIndex(ds["t"].values), calendar=not is_relative(ds))
    if of.label:
        # a time of day says nothing of a composite
        ds = ds.assign_coords(t=ds.indexes["t"].floor("D"))
    absent = of.expected.difference(ds.indexes["t"])
    if len(absent) and (complete or of.centre is not None):
        days = ", ".join(absent.strftime("%Y-%m-%d"))
        what = f"{len(absent)} {of.kind} left out of the file are missing on their dates: {days}"
        findings.append(repair(what, "missing-periods"))
        ds = reindex_dates(ds, of.expected)
    if of.centre is not None:
        moved = of.centre.to_numpy().astype("datetime64[ns]")
        if (moved != ds["t"].values).any():
            what = f"t was the {of.label} of {of.kind}: moved to their centres"
            findings.append(repair(what, "period-starts"))
        ds = ds.assign_coords(t=moved)
    return ds, findings + averaged


def check_dates(ds: xr.Dataset) -> None:
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
    """What dates are dates of; without `calendar` no months and parts of them.

    Months and their parts (`_CALENDAR`) need 3 dates or more of one time of day that are all the
    first day of one, all the last, or all one day in the middle, where no more are left out than
    there are. The last and middle days of dekads need two months, since days 10 apart may be so by
    chance in one; half-months need each half twice.
    """
    day = t.floor("D")
    if calendar and len(t) >= 3 and day.is_unique and len(set(t - day)) == 1:
        for kind, label, start in _labels(day):
            first = _starts(start[0], start[-1], _CALENDAR[kind][0])
            if len(first) > 2 * len(t):
                continue
            end = _next(first, _CALENDAR[kind][0])
            expected = {"first day": first, "last day": end - pd.Timedelta(days=1)}
            middle = first + pd.Timedelta(days=int((day[0] - start[0]).days))
            return Periods(expected.get(label, middle), first + (end - first) / 2, kind, label)
    if len(t) >= 3 and t.is_unique:
        gap = np.diff(t.to_numpy())
        step = gap.min()
        whole = (gap % step == np.timedelta64(0)).all()
        few = (t[-1] - t[0]) / step < 2 * len(t)
        if step >= 5 * DAY and whole and few and (gap == step).mean() >= 0.5:
            every = pd.date_range(t[0], t[-1], freq=pd.Timedelta(step))
            return Periods(every, None, "periods", "")
    return Periods(t, None, "dates", "")


def _since(ds, where):
    """The cube with numbers that its own attribute `units` calls days since a date as dates; those
    of a relative axis stay numbers where there is no such date."""
    if "t" not in ds.coords or ds["t"].dtype.kind not in "iuf":
        return ds
    units = str(_attrs(ds).get("units", ""))
    if _SINCE not in units:
        return ds
    dates = _dates_in(ds, "t")
    if dates is not None:
        return ds.assign_coords(t=dates)
    if is_relative(ds):
        return ds
    calendar = _attrs(ds).get("calendar")
    got = f"units {units!r}" + (f" of the calendar {calendar}" if calendar else "")
    expected = "'days since DATE' in the standard calendar, or time_axis='relative'"
    raise ValueError(f"{where}: t: got {got}, expected {expected}")


def _dates_in(ds, name):
    """A variable of numbers as dates, None where they are of no calendar that xarray reads."""
    try:
        dates = xr.decode_cf(ds[[name]])[name].variable
        # values are decoded when they are read
        return dates if dates.values.dtype.kind == "M" else None
    except (ValueError, ImportError, OverflowError):
        return None


def _lengths(ds, where):
    """timedelta64[ns] of the numbers of a relative axis.

    Raises:
      ValueError: a unit that is no length of time, or a number that is none.
    """
    units, t = str(_attrs(ds).get("units", "") or "days"), ds["t"].values
    word = units.partition(_SINCE)[0].strip().lower()
    one = next((size for names, size in _UNITS.items() if word in names), None)
    if one is None:
        raise ValueError(f"{where}: t: got units {units!r}, expected days of a relative axis")
    if not np.isfinite(t).all() or (np.abs(t.astype(float)) * (one / DAY) > LONGEST).any():
        got = t[~np.isfinite(t)] if not np.isfinite(t).all() else t[[np.abs(t).argmax()]]
        raise ValueError(f"{where}: t: got {got[0]} {word}, expected at most {LONGEST:,} days")
    return np.round(t.astype(float) * one.astype(float)).astype("timedelta64[ns]")


def _relative(ds):
    """The cube with attrs["time_axis"] where its axis is relative; and findings."""
    if "t" not in ds.coords:
        return ds, []
    why = "so the input declares" if is_relative(ds) else ""
    if ds["t"].dtype.kind == "m":
        ds = ds.assign_coords(t=("t", _ORIGIN + ds["t"].values.astype("timedelta64[ns]")))
        why = "it came as lengths of time, put behind 2000-01-01"
    elif "start_date" in ds.variables:
        start = ds["start_date"]
        by_pixel = start.dtype.kind == "M" and start.ndim > 0 and set(start.dims) <= {"y", "x"}
        if by_pixel and np.unique(start.values[~np.isnat(start.values)]).size > 1:
            why = "start_date differs from pixel to pixel"
    if not why or ds.attrs.get("time_axis") == RELATIVE:
        return ds, []
    what = f"t is a relative axis, of which no calendar is read: {why}"
    return ds.assign_attrs(time_axis=RELATIVE), [named(what)]


def _nanoseconds(t, where):
    """datetime64[ns] of datetimes.

    Raises:
      ValueError: a date is beyond what 64 bits hold, and would become another.
    """
    second = t.astype("datetime64[s]")
    beyond = ~np.isnat(t) & ((second < _NANOSECONDS[0]) | (second >= _NANOSECONDS[1]))
    if beyond.any():
        got = f"{t[beyond][0]} ({beyond.sum()} such dates)"
        raise ValueError(f"{where}: t: got {got}, expected dates from 1678 to 2261")
    return t.astype("datetime64[ns]")


def _attrs(ds):
    return ds["t"].attrs if "t" in ds.coords else {}


def _is_yyyymmdd(t):
    """Whether whole numbers are dates spelt yyyymmdd."""
    return t.dtype.kind in "iu" and t.size > 0 and t.min() >= 19_500_101 and t.max() <= 21_001_231


def _labels(day):
    """(kind, label, first day of the period of each date) that all dates have in common."""
    one_day, one_month = len(set(day.day)) < 2, len(set(day.to_period("M"))) < 2
    for kind, (starts, middles) in _CALENDAR.items():
        number = np.searchsorted(starts, day.day, side="right") - 1
        first = day - pd.to_timedelta(day.day - np.array(starts)[number], "D")
        is_last = (_next(first, starts) - pd.Timedelta(days=1) == day).all()
        after = set((day - first).days)
        labels = {
            "first day": after == {0},
            "last day": is_last and not (kind == "dekads" and day.is_month_end.all()),
            "middle day": len(after) == 1 and after <= {*middles},
        }
        twice = min(np.bincount(number, minlength=2)[:2]) > 1 and not one_month
        for label in (label for label, holds in labels.items() if holds):
            by_chance = one_day or (one_month and label != "first day")
            if kind == "months" or (twice if kind == "half-months" else not by_chance):
                yield kind, label, first


def _starts(first, last, starts):
    """All first days of periods from `first` to `last`."""
    month = pd.date_range(first.replace(day=1), last, freq="MS")
    every = month[:0].append([month + pd.Timedelta(days=day - 1) for day in starts]).sort_values()
    return every[(every >= first) & (every <= last)]


def _next(first, starts):
    """First day of the period after each."""
    length = dict(pairwise(starts))
    days = [length.get(day, day) - day for day in first.day]
    return (first + pd.to_timedelta(days, "D")).where(
        first.day != starts[-1], first + pd.offsets.MonthBegin(1)
    )


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
    findings = []
    if len(rows) < len(t):
        what = f"{len(t) - len(rows)} duplicate dates averaged"
        findings.append(repair(what, "duplicate-dates"))
    if both := len(rows) - len(np.unique(t)):
        findings.append(repair(f"{both} dates have two Sentinel-1 tracks: kept apart"))
    return merged, findings


def _one_each(variable, rows, *, power):
    """One plane for each group of rows; chunks stay chunks."""
    first, pieces, done = [r[0] for r in rows], [], 0
    for k, r in enumerate(rows):
        if len(r) > 1:
            several = variable.isel(t=r)
            mean = xr.apply_ufunc(
                mean_valid,
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


def mean_valid(value: np.ndarray, *, power: bool) -> np.ndarray:
    """Mean over the last axis of what is finite, NaN where nothing is; with `power` dB, averaged in
    linear power."""
    there = np.isfinite(value)
    count = there.sum(axis=-1)
    valid = np.where(there, value, value.dtype.type(0))
    valid = np.where(there, np.asarray(from_db(jnp.asarray(valid))), 0) if power else valid
    mean = valid.sum(axis=-1) / np.maximum(count, 1)
    mean = np.asarray(to_db(jnp.asarray(np.where(count > 0, mean, 1)))) if power else mean
    return np.where(count > 0, mean, np.nan).astype(value.dtype)
