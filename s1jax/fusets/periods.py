"""The dates of a prediction: from the first to the last, a period apart."""

import re
from datetime import timedelta

import numpy as np
import pandas as pd

Period = str | timedelta | np.timedelta64 | pd.DateOffset
"""What a period may be given as."""

MOST = 20_000
"""Dates of a prediction: more is a slip of the period."""
_ISO = re.compile(
    r"P(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?",
    re.IGNORECASE,
)
_CALENDAR = re.compile(r"(?P<count>\d+) ?(?:(?P<months>M|mo|months?)|(?P<years>[Yy]|years?))")
_PART = r"(?P<{0}>\d+(?:\.\d+)?) ?(?:{1})"
_FIXED = re.compile(
    (5 * "(?: ?{})?" + r"(?:,? ?(?P<clock>\d\d?:\d\d:\d\d(?:\.\d+)?))?").format(
        _PART.format("weeks", "[Ww]|weeks?"),
        _PART.format("days", "[Dd]|days?"),
        _PART.format("hours", "[Hh]|hrs?|hours?"),
        _PART.format("minutes", "m|min|minutes?"),
        _PART.format("seconds", "[Ss]|sec|seconds?"),
    )
)
"""Weeks, days, hours, minutes and seconds as pandas and str(timedelta) write them."""
_ACCEPTED = (
    "a period of a day or more: ISO-8601 as P5D (days), P1W (weeks), P1M (calendar months), P1Y, "
    "PT36H (hours); short as 5D, 5d, 5 days, 120h, 1.5D, 1M, 1Y; a timedelta, numpy.timedelta64 or "
    "pandas.DateOffset"
)


def parse(period: Period) -> pd.DateOffset | pd.Timedelta:
    """The period as what is added to a date; months and years are calendar ones (P1M is no minute).

    Args:
      period: ISO-8601, as P5D, P1W, P1M, P1Y, PT36H or P1M15D; as pandas has it, 5D, 5d, 5 days,
        120h, 1.5D, 1 days 12:00:00 (m is a minute, M a month); or an object of datetime, NumPy or
        pandas.

    Raises:
      ValueError: anything else, and periods below one day or beyond what a date can hold.
    """
    first = pd.Timestamp("2001-01-01")
    try:
        offset = _of_text(period.strip()) if isinstance(period, str) else _of_object(period)
    except (OverflowError, ValueError):  # beyond what pandas holds
        offset = None
    second = None if offset is None else _later(first, 1, offset)
    if second is None or second < first + pd.Timedelta(days=1):
        raise ValueError(f"prediction_period: got {period!r}, expected {_ACCEPTED}")
    return offset


def _of_text(text: str) -> pd.DateOffset | pd.Timedelta | None:
    """The period that the text writes; None where it writes none."""
    if parts := _numbers(_ISO.fullmatch(text)):
        return pd.DateOffset(**{name: int(number) for name, number in parts.items()})
    if calendar := _CALENDAR.fullmatch(text):
        unit = "months" if calendar["months"] else "years"
        return pd.DateOffset(**{unit: int(calendar["count"])})
    parts = _numbers(_FIXED.fullmatch(text))
    if not parts:
        return None
    clock = pd.Timedelta(parts.pop("clock", "00:00:00"))
    return clock + pd.Timedelta(**({"days": 0.0} | {k: float(v) for k, v in parts.items()}))


def _numbers(match: re.Match | None) -> dict[str, str]:
    """The parts of a period by their unit; none where all are 0 or there is no match."""
    parts = {k: v for k, v in match.groupdict().items() if v} if match else {}
    return parts if any(digit in "123456789" for digit in "".join(parts.values())) else {}


def _of_object(period) -> pd.DateOffset | pd.Timedelta | None:
    if isinstance(period, np.timedelta64):
        unit, step = np.datetime_data(period)
        if np.isnat(period) or unit == "generic":
            return None
        # pandas reads five of two days as five days
        count = int(period.astype(np.int64)) * step
        if unit in ("Y", "M"):
            return pd.DateOffset(**{"years" if unit == "Y" else "months": count})
        return pd.Timedelta(np.timedelta64(count, unit))
    if isinstance(period, timedelta):
        return None if pd.isna(period) else pd.Timedelta(period)
    return period if isinstance(period, pd.DateOffset) else None


def dates(start: np.datetime64, end: np.datetime64, period: Period) -> np.ndarray:
    """start, start + period, ... up to end, datetime64[ns].

    Each is counted from the start: months after 31 January are 28 February, 31 March, ...

    Raises:
      ValueError: a period that is none, or more than 20,000 dates.
    """
    offset, start, end = parse(period), pd.Timestamp(start), pd.Timestamp(end)
    found = [start]
    while (date := _later(start, len(found), offset)) is not None and date <= end:
        if len(found) == MOST:
            got = f"{period!r} from {start.date()} to {end.date()}"
            raise ValueError(f"prediction_period: got {got}, expected {MOST} dates or fewer")
        found.append(date)
    return np.array([date.to_datetime64() for date in found], "datetime64[ns]")


def _later(
    start: pd.Timestamp, count: int, offset: pd.DateOffset | pd.Timedelta
) -> pd.Timestamp | None:
    """start + count * offset; None beyond the last date there is."""
    try:
        return start + count * offset
    except (OverflowError, ValueError):  # as the parts of an offset put it, and pandas
        return None
