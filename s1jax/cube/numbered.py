"""Dates of planes: their own, in text or as numbers, or those of numbered periods."""

import datetime
import re

import numpy as np
import pandas as pd
import xarray as xr

from s1jax.align import LONGEST
from s1jax.cube.notes import ASKED, NAMED

DAY = np.timedelta64(86_400_000_000_000, "ns")
"""One day on the time axis of a cube."""

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
"""Names of units and their lengths."""
_ISO = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d(:?\d\d(:?\d\d([.,]\d+)?)?)?( ?[Zz]| ?[+-]\d\d(:?\d\d)?)?)?"
)
_PLAIN = re.compile(r"\d{8}([T ]\d{4,6}([.]\d+)?Z?)?|\d{4}-\d\d")
"""What else dates of planes may be spelt as: 20231107, and 2023-11 for a month."""
_GREGORIAN = ("standard", "gregorian", "proleptic_gregorian")
_NANOSECONDS = np.array(["1678-01-01", "2262-01-01"], "datetime64[s]")
"""Dates that datetime64[ns] can hold, roughly."""


def instant(name: str, given: object) -> np.datetime64:
    """datetime64[ns] of one date: ISO 8601 text YYYY-MM-DD, with a time or without, or a date.

    Text in any other order, a year alone and numbers are no dates: 01-11-2023 is one day here and
    another there. Times with a zone are put into UTC.

    Args:
      name: of the option, for messages.
      given: text, datetime64, Timestamp, datetime or date.

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


def checked_step(step: float | int | None, name: str = "step") -> None:
    """Nothing, where a length in days is None or one that periods can have.

    Raises:
      ValueError: it is not above 0, not finite, or more than 100 years.
    """
    if step is not None and not 0 < step <= LONGEST:
        expected = f"days > 0 and at most {LONGEST:,} (100 years)"
        raise ValueError(f"{name}: got {step}, expected {expected}")


def is_relative(ds: xr.Dataset) -> bool:
    """Whether `t` of the cube counts days from a beginning that differs from pixel to pixel.

    So it is where attrs["time_axis"] of the cube or of its `t` is "relative" (`open_cube` puts it
    there), in any case of letters: gaps between the dates mean what they say, the calendar says
    nothing.

    Raises:
      ValueError: the attribute is something else.
    """
    declared = [of["time_axis"] for of in (ds.attrs, _attrs(ds)) if of.get("time_axis") is not None]
    words = [str(one).strip().lower() for one in declared]
    for given, word in zip(declared, words, strict=True):
        if word not in ("", RELATIVE):
            raise ValueError(f"time_axis: got {given!r}, expected {RELATIVE!r}")
    return RELATIVE in words


def undated(ds: xr.Dataset) -> list[str]:
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
) -> tuple[xr.Dataset, list[str], bool]:
    """The cube with datetime64[ns] on `t`, what was said, and whether its planes were numbered.

    Dates in text (ISO 8601) or as numbers like 20231107 are read as dates. Other whole numbers from
    1 up, ascending, are numbers of periods, and numbers left out are put in as missing. Planes
    without a coordinate, or with their position from 0, are numbered by position. Numbered planes
    get the centre of period p, start + step (p - 1/2).

    An axis is relative, and attrs["time_axis"] says so, where the file declares it (`is_relative`),
    where a variable `start_date` gives pixels beginnings of their own, or where `t` comes as
    lengths of time, which are put behind 2000-01-01. So are the numbers of an axis that is declared
    relative and is not dated by `start`, days unless its `units` say hours, minutes or seconds;
    `units` as days since planting are of such an axis alone.

    Args:
      ds: cube with the dimension `t`.
      start: beginning of period 1; needed where there are no dates.
      step: length of a period, days; as `start`.
      where: name of the input, for messages.

    Raises:
      ValueError: no dates and no `start` and `step`, text that is no date, another calendar,
        numbers that are neither periods nor positions, or of which more than half are left out.
    """
    ds, said = _relative(_since(ds, where))
    t = ds["t"].values if "t" in ds.coords else np.arange(1, ds.sizes["t"] + 1)
    numbers = "t" in ds.coords and t.dtype.kind in "iuf" and not _spelt(t)
    if start is None and numbers and is_relative(ds):
        kept = {k: v for k, v in _attrs(ds).items() if k not in ("units", "calendar")}
        read = f"{NAMED}t ({t.dtype}) read as days of a relative axis, put behind 2000-01-01"
        since = _ORIGIN + _lengths(ds, where)
        return ds.assign_coords(t=("t", since, kept)), [*said, read], False
    if np.issubdtype(t.dtype, np.datetime64):
        return ds.assign_coords(t=("t", _nanoseconds(t, where), _attrs(ds))), said, False
    if t.dtype.kind in "USOT" or _spelt(t):
        read = f"{NAMED}t ({t.dtype}) read as dates"
        return ds.assign_coords(t=dates_of(t, f"{where}: t")), [*said, read], False
    number, how = np.arange(1, t.size + 1), "its planes are periods by position"
    if t.dtype.kind in "iu" and t.min(initial=1) >= 1 and (np.diff(t) > 0).all():
        (number, absent), how = all_periods(t, f"{where}: t"), "its planes are numbered periods"
        if absent.size:
            listed = ", ".join(map(str, absent))
            said.append(f"periods {listed} left out of the file are missing on their dates")
            ds = with_all(ds, number)
    elif "t" in ds.coords and not any(np.array_equal(t, number - k) for k in (0, 1)):
        got = f"{', '.join(map(str, t[:6]))}{', ...' if t.size > 6 else ''} ({t.dtype})"
        raise ValueError(f"{where}: t: got {got}, expected dates, or periods ascending from 1")
    centre = centres(number, start, step, where)
    said.append(f"{ASKED}no dates in the file: {how}, dated by start and step")
    return ds.assign_coords(t=centre), said, True


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


def spelt_out(found: re.Match, where: str) -> np.datetime64:
    """datetime64[ns] of a match of `DATE`.

    Raises:
      ValueError: the date is not in the calendar.
    """
    try:
        date = pd.Timestamp(int(found["year"]), int(found["month"]), int(found["day"]))
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


def centres(
    number: np.ndarray, start: np.datetime64 | None, step: float | int | None, where: str
) -> np.ndarray:
    """datetime64[ns] of the centre of period p, start + step (p - 1/2).

    Raises:
      ValueError: `start` or `step` is None.
    """
    if start is None or step is None:
        got = f"start={start}, step={step}"
        raise ValueError(f"{where}: no date in the files; got {got}, expected a date and days")
    last = float(number.max(initial=1)) * float(step)
    if last > LONGEST:
        got = f"{int(number.max())} periods of {step:g} days"
        raise ValueError(f"{where}: t: got {got}, expected at most {LONGEST:,} days (100 years)")
    offset = (number.astype(float) - 0.5) * float(step) * DAY.astype(float)
    return start.astype("datetime64[ns]") + np.round(offset).astype("timedelta64[ns]")


def with_all(ds: xr.Dataset, expected: np.ndarray | pd.Index) -> xr.Dataset:
    """The cube on `expected` dates or numbers, missing where it has none; s1_track is 0 there."""
    whole = {n: ds[n].dtype for n in ("s1_track",) if n in ds.variables}
    fill = {
        name: np.array("", variable.dtype) if variable.dtype.kind in "US" else np.nan
        for name, variable in ds.variables.items()
        if "t" in variable.dims and variable.dtype.kind not in "mM"
    }
    ds = ds.reindex(t=expected, fill_value={**fill, **dict.fromkeys(whole, 0)})
    return ds.assign_coords({name: ds[name].astype(dtype) for name, dtype in whole.items()})


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
        # values are decoded when they are asked for
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
    """The cube with attrs["time_axis"] where its axis is relative, and what was said."""
    if "t" not in ds.coords:
        return ds, []
    why = "so the input declares" if is_relative(ds) else ""
    if ds["t"].dtype.kind == "m":
        ds = ds.assign_coords(t=("t", _ORIGIN + ds["t"].values.astype("timedelta64[ns]")))
        why = "it came as lengths of time, put behind 2000-01-01"
    elif "start_date" in ds.variables:
        start = ds["start_date"]
        own = start.dtype.kind == "M" and start.ndim > 0 and set(start.dims) <= {"y", "x"}
        if own and np.unique(start.values[~np.isnat(start.values)]).size > 1:
            why = "start_date differs from pixel to pixel"
    if not why or ds.attrs.get("time_axis") == RELATIVE:
        return ds, []
    line = f"{NAMED}t is a relative axis, of which no calendar is read: {why}"
    return ds.assign_attrs(time_axis=RELATIVE), [line]


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


def _spelt(t):
    """Whether whole numbers are dates spelt yyyymmdd."""
    return t.dtype.kind in "iu" and t.size > 0 and t.min() >= 19_500_101 and t.max() <= 21_001_231
