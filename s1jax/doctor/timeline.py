"""The time axis: undated, in the future, twice, incomplete, first days for centres, a year off."""

import calendar
import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from s1jax.cube import from_days, is_relative, to_days
from s1jax.cube.dates import periods as cube_periods
from s1jax.cube.findings import Finding, dates
from s1jax.doctor.catalogue import finding
from s1jax.doctor.read import RawCube, Sample

_Days = Float[np.ndarray, "time"]
_MONTHS = [month.lower() for month in calendar.month_abbr[1:]]
_YEAR = 365.25
_ISO = r"(?P<y{0}>(?:19|20)\d\d)-?(?P<m{0}>0[1-9]|1[0-2])(?:-?(?P<d{0}>0[1-9]|[12]\d|3[01]))?"
_WORD = r"(?P<n{0}>" + "|".join(_MONTHS) + r")[a-z]*[-_ ]?(?P<w{0}>(?:19|20)\d\d)"
_JOIN = r"\s*(?:_|-|/|\.\.\.?|to|until|–)+\s*"
_NOT_DIGIT = r"(?<![0-9a-z]){}(?![0-9])"
_SPANS = tuple(
    re.compile(_NOT_DIGIT.format(one.format("a") + _JOIN + one.format("b")), re.IGNORECASE)
    for one in (_ISO, _WORD)
)
_SINGLE = re.compile(_NOT_DIGIT.format(_ISO.format("a")), re.IGNORECASE)
_FIRST = re.compile(r"(start|begin|first)", re.IGNORECASE)
_LAST = re.compile(r"(?<![a-z])(end|stop|last)", re.IGNORECASE)


def timeline(
    raw: RawCube,
    sample: Sample,
    today: float,
    begin: np.datetime64 | None,
    step: float | int | None,
) -> list[Finding | None]:
    """Findings about the time axis; days after `today` (since 1970-01-01) are in the future, and
    `begin` and `step` are start and length in days of the periods, if given."""
    if not raw.dated:
        return [finding("undated", "t", f"{raw.day.size} numbered planes")]
    relative = is_relative(raw.ds)
    future = np.inf if relative else today
    findings: list[Finding | None] = [*axis_findings(raw.day, raw.track, future)]
    day = np.unique(sample.day)
    if day.size == 0:
        return findings
    if relative:
        evidence = "attribute time_axis, a start_date of each pixel, or lengths of time"
        findings.append(finding("relative-axis", "t", evidence))
    else:
        findings.append(year_off(day, raw.texts))
    if raw.track is not None and raw.ds["s1_track"].dtype.kind not in "iuf":
        findings.append(finding("track-words", "s1_track", f"{np.unique(raw.track).size} names"))
    if raw.bounds is not None and np.isfinite(raw.bounds).all():
        findings.append(lost_days(raw.bounds))
    if not is_composite(sample):
        return findings
    by_period = period_findings(day, calendar=not relative)
    if raw.s1_day is None or raw.s2_day is None:
        evidence = "absent; mind that Earth Engine's filterDate(start, end) leaves the end day out"
        findings.append(finding("acquisition-days-unknown", "s1_day, s2_day (t)", evidence))
    # numbered planes that are absent were put in on their dates by the reader
    findings += by_period
    labelled = any(f and f.name in ("period-starts", "period-ends") for f in by_period)
    if not raw.numbered and not relative and not labelled:
        findings.append(_first_days(raw, day, begin, step))
    return findings


def is_composite(sample: Sample) -> bool:
    """Whether the dates are periods and not acquisitions; see `composites`."""
    day, first = np.unique(sample.day, return_index=True)
    s1 = np.isfinite(sample.radar_db[:, :, 0]).any(axis=0)[first]
    return composites(day, s1, np.isfinite(sample.ndvi).any(axis=0)[first])


def composites(day: _Days, s1: Bool[np.ndarray, "time"], s2: Bool[np.ndarray, "time"]) -> bool:
    """Whether the dates are periods and not acquisitions: on a grid (`_steps`) of 5 days or more,
    of which some may be left out and the last may be short, and most dates with NDVI have radar.
    """
    gap = np.diff(day)
    if gap.size < 2:
        return True
    inner = gap[:-1] if gap.size > 2 and gap[-1] < np.median(gap) else gap
    steps = _steps(inner)
    on_grid = inner.min() >= 5 and (steps > 0).all() and (steps == 1).mean() >= 0.5
    # where one sensor is nowhere the grid alone decides
    together = not (s1.any() and s2.any()) or (s1 & s2).sum() > 0.5 * s2.sum()
    return bool(on_grid and together)


def axis_findings(day: _Days, track: Int[np.ndarray, "time"] | None, today: float) -> list[Finding]:
    """Findings about the dates one by one: missing, in the future, not ascending, twice."""
    findings = []
    missing = np.isnan(day)
    if missing.any():
        findings.append(
            finding("dates-missing", "t", f"{missing.sum()} of {day.size} dates are NaT")
        )
    there = day[~missing]
    future = there > today
    if future.any():
        evidence = f"{future.sum()} of {day.size} dates are after {dates(np.array([today]))}"
        findings.append(finding("future-dates", f"t, {dates(there[future])}", evidence))
    back = int((np.diff(there) < 0).sum())
    if back:
        findings.append(finding("unsorted-dates", "t", f"{back} steps back in time"))
    track = np.zeros(day.size, int) if track is None else track
    twice = pd.DataFrame({"day": there, "track": track[~missing]}).duplicated().to_numpy()
    if twice.any():
        where = f"t, {dates(np.unique(there[twice]))}"
        findings.append(finding("duplicate-dates", where, f"{twice.sum()} planes too many"))
    return findings


def period_findings(day: _Days, *, calendar: bool = True) -> list[Finding | None]:
    """Findings about composites' dates: left out, shorter at the end, first or last days for
    centres; of months and dekads only with a `calendar`."""
    dated = pd.DatetimeIndex(from_days(day))
    of = cube_periods(dated, calendar=calendar)
    expected = to_days(of.expected.to_numpy())
    if of.label:
        kind = f"{of.label}s of {of.kind}"
        absent = _absent(to_days(dated.floor("D").to_numpy()), expected)
        if of.label == "middle day":
            return [absent]
        name = "period-ends" if of.label == "last day" else "period-starts"
        evidence = f"{day.size} dates, all on {kind}, {dates(day, most=3)}"
        return [finding(name, f"t, {kind}", evidence), absent]
    gap = np.diff(day)
    if of.kind == "periods" or gap.size < 3:
        return [_absent(day, expected)]
    short, step = None, float(gap[:-1].min())
    if cube_periods(dated[:-1], calendar=calendar).kind == "periods" and gap[-1] < step:
        last = 2 * (float(gap[-1]) - step / 2)
        evidence = f"it follows after {gap[-1]:g} days, the others after {step:g}; "
        evidence += f"if both are centres it is {last:g} days long"
        short = finding("short-last-period", dates(day[-1:]), evidence)
        day, gap = day[:-1], gap[:-1]
    # near a grid (months by their middles), or on one but for the last: open_cube completes neither
    between = [day[i] + gap[i] * np.arange(1, n) / n for i, n in enumerate(_steps(gap))]
    absent = _absent(day, np.union1d(day, np.concatenate(between)))
    return [short, absent and absent._replace(repaired=False)]


def first_days(day: _Days, start: float, step: float | int) -> Finding | None:
    """Dates of a file that are first days of periods of `step` days from the day `start` on."""
    away = (day - start) % step
    if day.size < 3 or not np.isclose(np.minimum(away, step - away), 0, atol=0.01).all():
        return None
    evidence = f"{day.size} dates, {dates(day, most=3)}"
    return finding("period-starts", f"t, first days of periods of {step:g} days", evidence)


def lost_days(bounds: Float[np.ndarray, "time 2"]) -> Finding | None:
    """Days that are in no period: each ends a day or more before the next begins.

    Earth Engine's filterDate leaves the end out, so that a period written as "1 to 12 November" and
    filtered by these two dates has no scene of the 12th.
    """
    begin, end = bounds[np.argsort(bounds[:, 0])].T
    length, hole = np.diff(begin), begin[1:] - end[:-1]
    # a hole as long as a period is a period left out
    lost = (hole >= 0.99) & (hole < 0.5 * np.median(length)) if length.size else np.zeros(0, bool)
    if not lost.any():
        return None
    ends = f"end {np.median(hole[lost]):g} day(s) before the next begins"
    evidence = f"{lost.sum()} of {hole.size} periods {ends}"
    return finding("end-day-lost", f"after {dates(end[:-1][lost])}", evidence)


def stated_spans(text: str) -> list[tuple[float, float, str]]:
    """(first day, last day, words) of each span of dates spelt out in a text.

    It reads 2023-11-01_2025-10-31, 202201-202212, 20231101_20251031 and Nov2023_Oct2025, joined by
    any of `_ - / .. to`. A single year or date is none: it may be of a publication.
    """
    spans = []
    for pattern in _SPANS:
        for match in pattern.finditer(text.replace("_", " _ ")):
            first, last = (_token(match.groupdict(), side) for side in "ab")
            if first is not None and last is not None and first[0] < last[1]:
                spans.append((first[0], last[1], " ".join(match.group().split())))
    return spans


def year_off(day: _Days, texts: Mapping[str, str]) -> Finding | None:
    """The time axis is a year or more off from what a name or attributes say.

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
                return _year_off(day, years, f"{where} says {words}", sure=True)
    ends = [(span[1], words) for span, words in _stated(texts, _LAST)]
    for (first, _), words in _stated(texts, _FIRST):
        years = round((day[0] - first) / _YEAR)
        if not years or abs(day[0] - years * _YEAR - first) > 20:
            continue
        fit = [end for last, end in ends if abs(day[-1] - years * _YEAR - last) <= 45]
        # an end that the dates keep: the later part of a longer series
        if fit or not any(abs(day[-1] - last) <= 45 for last, _ in ends):
            return _year_off(day, years, "; ".join([words, *fit[:1]]), sure=bool(fit))
    return None


def _year_off(day, years, words, *, sure):
    return finding(
        "year-off",
        f"t, {dates(day[:1])} to {dates(day[-1:])}",
        words,
        kind="fault" if sure else "warning",
        are="are" if sure else "may be",
        years=str(abs(years)),
        late="late" if years > 0 else "early",
        if_whole="" if sure else "if this is no part of a longer series: ",
    )


def _first_days(raw, day, begin, step):
    """First days of periods, by `start` and `step`, else by a beginning that a name spells out."""
    if begin is not None:
        return first_days(day, float(begin.astype("M8[D]").astype(float)), step)
    starts = [first for text in raw.texts.values() for first, _, _ in stated_spans(text)]
    starts += [first for (first, _), _ in _stated(raw.texts, _FIRST)]
    gap = np.diff(day)
    if day[0] not in starts or gap.size < 2:
        return None
    starts_given = first_days(day, float(day[0]), float(np.median(gap)))
    # no month or dekad: open_cube moves them where it knows the periods
    remedy = "open with start and step, which moves each date to the centre of its period"
    return starts_given and starts_given._replace(repaired=False, remedy=remedy)


def _steps(gap):
    """How many steps each gap is long, a step being their median, give or take a fifth (months,
    dekads); 0 where it is no whole number of them."""
    steps = np.round(gap / np.median(gap))
    return np.where(np.abs(gap / np.median(gap) - steps) <= 0.2, steps, 0)


def _absent(day, expected):
    left_out = expected[~np.isclose(expected[:, None], day[None], atol=0.01).any(axis=1)]
    if left_out.size == 0:
        return None
    evidence = f"{left_out.size} of {expected.size} periods"
    return finding("missing-periods", f"t, {dates(left_out)}", evidence)


def _stated(texts, name):
    """((first, last) day, words) of the dates in attributes of such a name."""
    stated = []
    for where, text in texts.items():
        match = _SINGLE.search(text) if name.search(where) else None
        if match and (span := _token(match.groupdict(), "a")) is not None:
            stated.append((span, f"{where}: {match.group()}"))
    return stated


def _token(groups, side):
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
