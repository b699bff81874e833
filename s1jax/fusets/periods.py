"""The dates of a prediction: from the first to the last, an ISO-8601 period apart."""

import re

import numpy as np
import pandas as pd

_ISO = re.compile(
    r"P(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?"
)
_SHORT = re.compile(r"(\d+)([DWMY])")
_ACCEPTED = (
    "an ISO-8601 period of a day or more: P5D (days), P1W (weeks), P1M (calendar months), P1Y, "
    "PT36H (hours), or short 5D"
)


def parse(period: str) -> pd.DateOffset:
    """The period as an offset of dates; months and years are calendar ones (P1M is no minute).

    Args:
      period: ISO-8601, as P5D, P1W, P1M, P1Y, PT36H or P1M15D; or short, 5D, as openEO has it.

    Raises:
      ValueError: anything else, and periods below one day.
    """
    short = _SHORT.fullmatch(period)
    found = _ISO.fullmatch(f"P{period}" if short else period)
    parts = {k: int(v) for k, v in found.groupdict().items() if v} if found else {}
    offset = pd.DateOffset(**parts) if any(parts.values()) else None
    first = pd.Timestamp("2001-01-01")
    if offset is None or first + offset < first + pd.Timedelta(days=1):
        raise ValueError(f"prediction_period: got {period!r}, expected {_ACCEPTED}")
    return offset


def dates(start: np.datetime64, end: np.datetime64, period: str) -> np.ndarray:
    """start, start + period, ... up to end, datetime64[ns].

    Each is counted from the start: months after 31 January are 28 February, 31 March, ...
    """
    offset, start, end = parse(period), pd.Timestamp(start), pd.Timestamp(end)
    found = [start]
    while (date := start + len(found) * offset) <= end:
        found.append(date)
    return np.array([date.to_datetime64() for date in found], "datetime64[ns]")
