"""Dates of planes: their own, in text or as numbers, or those of numbered periods."""

import re

import numpy as np
import pandas as pd
import xarray as xr

from s1jax.cube.notes import ASKED, NAMED

DAY = np.timedelta64(86_400_000_000_000, "ns")
"""One day on the time axis of a cube."""

DATE = r"(?P<year>(?:19|20)\d\d)[-_.]?(?P<month>\d\d)[-_.]?(?P<day>\d\d)"
"""A date in the name of a band or file: 2023-11-07, 20231107 or with other marks between."""


def with_dates(
    ds: xr.Dataset, start: np.datetime64 | None, step: float | int | None, where: str
) -> tuple[xr.Dataset, list[str], bool]:
    """The cube with datetime64[ns] on `t`, what was said, and whether its planes were numbered.

    Dates in text (ISO 8601) or as numbers like 20231107 are read as dates. Other whole numbers from
    1 up, ascending, are numbers of periods, and numbers left out are put in as missing. Planes
    without a coordinate, or with their position from 0, are numbered by position. Numbered planes
    get the centre of period p, start + step (p - 1/2).

    Args:
      ds: cube with the dimension `t`.
      start: beginning of period 1; needed where there are no dates.
      step: length of a period, days; as `start`.
      where: name of the input, for messages.

    Raises:
      ValueError: no dates and no `start` and `step`, text that is no date, numbers that are
        neither periods nor positions, or of which more than half are left out.
    """
    t = ds["t"].values if "t" in ds.coords else np.arange(1, ds.sizes["t"] + 1)
    if np.issubdtype(t.dtype, np.datetime64):
        return ds.assign_coords(t=("t", t.astype("datetime64[ns]"), _attrs(ds))), [], False
    if t.dtype.kind in "USOT" or _spelt(t):
        return (
            ds.assign_coords(t=dates_of(t, f"{where}: t")),
            [f"{NAMED}t ({t.dtype}) read as dates"],
            False,
        )
    number, said, how = np.arange(1, t.size + 1), [], "its planes are periods by position"
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
    text = pd.Index(t).astype(str)
    try:
        dates = pd.to_datetime(text, format="ISO8601")
    except ValueError as error:
        bad = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True).isna()
        got = f"{str((t[bad] if bad.any() else t)[0])!r} ({t.dtype})"
        raise ValueError(f"{name}: got {got}, expected dates as 2023-11-07") from error
    dates = dates if dates.tz is None else dates.tz_convert(None)
    return dates.to_numpy().astype("datetime64[ns]")


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


def _attrs(ds):
    return ds["t"].attrs if "t" in ds.coords else {}


def _spelt(t):
    """Whether whole numbers are dates spelt yyyymmdd."""
    return t.dtype.kind in "iu" and t.size > 0 and t.min() >= 19_500_101 and t.max() <= 21_001_231
