"""Dates spelt out in names and attributes, against the time axis: is it a year off?"""

import calendar
import re
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from s1jax.doctor.finding import Finding, dates, finding

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
_LAST = re.compile(r"(?<![a-z])(end|stop|last)", re.IGNORECASE)
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
    return [(span[0], words) for span, words in _stated(texts, _FIRST)]


def _stated(texts, name):
    """((first, last) day, words) of the dates in attributes of such a name."""
    found = []
    for where, text in texts.items():
        match = _SINGLE.search(text) if name.search(where) else None
        span = _day(match.groupdict(), "a") if match else None
        if span is not None:
            found.append((span, f"{where}: {match.group()}"))
    return found


def year_off(day: Float[np.ndarray, "time"], texts: Mapping[str, str]) -> Finding | None:
    """The time axis is a year or more off from what name or attributes say.

    So it is where whole years bring both ends to within 45 days of what is stated. Where only a
    beginning is, and whole years bring the first date to within 20 days of it, it is a warning: a
    later part of a longer series keeps its attributes.

    `texts` are searched, each named by where it stands.
    """
    for where, text in texts.items():
        for first, last, words in stated_spans(text):
            years = round((day[0] - first) / _YEAR)
            moved = day[[0, -1]] - years * _YEAR
            if years and abs(moved[0] - first) <= 45 and abs(moved[1] - last) <= 45:
                return _finding(day, years, f"{where} says {words}", sure=True)
    ends = [(span[1], words) for span, words in _stated(texts, _LAST)]
    for first, words in stated_starts(texts):
        years = round((day[0] - first) / _YEAR)
        if not years or abs(day[0] - years * _YEAR - first) > 20:
            continue
        fit = [said for last, said in ends if abs(day[-1] - years * _YEAR - last) <= 45]
        # an end that the dates keep: the later part of a longer series
        if fit or not any(abs(day[-1] - last) <= 45 for last, _ in ends):
            return _finding(day, years, "; ".join([words, *fit[:1]]), sure=bool(fit))
    return None


def _finding(day, years, words, *, sure):
    late = "late" if years > 0 else "early"
    return finding(
        "fault" if sure else "warning",
        "year-off",
        f"The dates {'are' if sure else 'may be'} {abs(years)} year(s) too {late}.",
        f"t, {dates(day[:1])} to {dates(day[-1:])}",
        words,
        ("" if sure else "if this is no part of a longer series: ") + "open with the right start; "
        "the season of every label is right, its year is not, and no other data fit to it",
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
