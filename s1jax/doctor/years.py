"""Dates spelt out in names and attributes, against the time axis: is it a year off?"""

import calendar
import re
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from s1jax.doctor.finding import Finding, dates, fault

_MONTHS = [month.lower() for month in calendar.month_abbr[1:]]
_YEAR = 365.25
_ISO = r"(?P<y{0}>(?:19|20)\d\d)-?(?P<m{0}>0[1-9]|1[0-2])(?:-?(?P<d{0}>0[1-9]|[12]\d|3[01]))?"
_WORD = r"(?P<n{0}>" + "|".join(_MONTHS) + r")[a-z]*[-_ ]?(?P<w{0}>(?:19|20)\d\d)"
_JOIN = r"\s*(?:_|-|/|\.\.\.?|to|until|–)+\s*"
_NOT_DIGIT = r"(?<![0-9a-z]){}(?![0-9])"


def _pattern(one):
    return re.compile(_NOT_DIGIT.format(one.format("a") + _JOIN + one.format("b")), re.IGNORECASE)


_SPANS = tuple(_pattern(one) for one in (_ISO, _WORD))
_FIRST = re.compile(r"(start|begin|first)", re.IGNORECASE)
_SINGLE = re.compile(_NOT_DIGIT.format(_ISO.format("a")), re.IGNORECASE)


def stated_spans(text: str) -> list[tuple[float, float, str]]:
    """(first day, last day, words) of each span of dates spelt out in a text.

    Known are 2023-11-01_2025-10-31, 202201-202212, 20231101_20251031 and Nov2023_Oct2025, joined by
    any of `_ - / .. to`. A single year or date is none: it may be of a publication.
    """
    found = []
    for pattern in _SPANS:
        for match in pattern.finditer(text.replace("_", " _ ")):
            first, last = (_day(match.groupdict(), side) for side in "ab")
            if first is not None and last is not None and first[0] < last[1]:
                found.append((first[0], last[1], " ".join(match.group().split())))
    return found


def stated_starts(texts: Mapping[str, str]) -> list[tuple[float, str]]:
    """(day, words) of the dates in attributes whose name says that they begin something."""
    found = []
    for where, text in texts.items():
        match = _SINGLE.search(text) if _FIRST.search(where) else None
        first = _day(match.groupdict(), "a") if match else None
        if first is not None:
            found.append((first[0], f"{where}: {match.group()}"))
    return found


def year_off(day: Float[np.ndarray, "time"], texts: Mapping[str, str]) -> Finding | None:
    """The time axis is a year or more off from what name or attributes say.

    So it is where the first date lies 0.8 years or more from the stated beginning, and whole years
    bring both ends, or the beginning where only that is stated, to within 45 days of it.

    Args:
      day: ascending.
      texts: what is searched, by where it stands.
    """
    for where, text in texts.items():
        for first, last, words in stated_spans(text):
            years = round((day[0] - first) / _YEAR)
            moved = day[[0, -1]] - years * _YEAR
            if years and abs(moved[0] - first) <= 45 and abs(moved[1] - last) <= 45:
                return _finding(day, years, f"{where} says {words}")
    for first, words in stated_starts(texts):
        years = round((day[0] - first) / _YEAR)
        if years and abs(day[0] - years * _YEAR - first) <= 20:
            return _finding(day, years, words)
    return None


def _finding(day, years, words):
    late = "late" if years > 0 else "early"
    return fault(
        "year-off",
        f"The dates are {abs(years)} year(s) too {late}.",
        f"t, {dates(day[:1])} to {dates(day[-1:])}",
        f"{words}",
        "open with the right start; the season of every label is right, its year is not, and no "
        "other data fit to it",
    )


def _day(groups, side):
    """(first, last) day of a token; None where it is no date."""
    year, month = groups.get(f"y{side}"), groups.get(f"m{side}")
    if year is None:
        year, word = groups.get(f"w{side}"), groups.get(f"n{side}")
        month = None if word is None else _MONTHS.index(word[:3].lower()) + 1
    if year is None or month is None:
        return None
    start = np.datetime64(f"{year}-{int(month):02d}")
    if groups.get(f"d{side}"):
        day = start.astype("datetime64[D]") + int(groups[f"d{side}"]) - 1
        return float(day.astype(float)), float(day.astype(float))
    ends = start.astype("datetime64[D]"), (start + 1).astype("datetime64[D]") - 1
    return tuple(float(end.astype(float)) for end in ends)
