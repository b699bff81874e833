"""The time axis: undated, future, twice, left out, first days for centres, ends that are lost."""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from s1jax.cube import from_days, to_days
from s1jax.cube.dates import periods as cube_periods
from s1jax.doctor.finding import Finding, dates, fault, note, warning

_Days = Float[np.ndarray, "time"]


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
    # where one sensor is nowhere the grid alone tells
    together = not (s1.any() and s2.any()) or (s1 & s2).sum() > 0.5 * s2.sum()
    return bool(on_grid and together)


def _steps(gap):
    """How many steps each gap is long, a step being their median, give or take a fifth (months,
    dekads); 0 where it is no whole number of them."""
    steps = np.round(gap / np.median(gap))
    return np.where(np.abs(gap / np.median(gap) - steps) <= 0.2, steps, 0)


def axis(day: _Days, track: Int[np.ndarray, "time"] | None, today: float) -> list[Finding]:
    """Findings about the dates one by one: missing, in the future, not ascending, twice."""
    found = []
    gone = np.isnan(day)
    if gone.any():
        found.append(
            fault(
                "dates-missing",
                "Some planes have no date.",
                "t",
                f"{gone.sum()} of {day.size} dates are NaT",
                "date them from their files' names, or leave them out",
            )
        )
    known = day[~gone]
    future = known > today
    if future.any():
        found.append(
            fault(
                "future-dates",
                "Dates lie in the future: the start of the series is wrong, often by a year.",
                f"t, {dates(known[future])}",
                f"{future.sum()} of {day.size} dates are after {dates(np.array([today]))}",
                "check the first date against the name of the export; open with the right start",
            )
        )
    if (np.diff(known) < 0).any():
        found.append(
            warning(
                "unsorted-dates",
                "Dates do not ascend.",
                "t",
                f"{(np.diff(known) < 0).sum()} steps back in time",
                "ds.sortby('t')",
            )
        )
    labels = np.zeros(day.size, int) if track is None else track
    pairs = pd.DataFrame({"day": known, "track": labels[~gone]})
    twice = pairs.duplicated().to_numpy()
    if twice.any():
        found.append(
            warning(
                "duplicate-dates",
                "Dates occur more than once.",
                f"t, {dates(np.unique(known[twice]))}",
                f"{twice.sum()} planes too many",
                "average them: radar in linear power, NDVI as it is",
            )
        )
    return found


def periods(day: _Days, *, calendar: bool = True) -> list[Finding | None]:
    """Findings about composites' dates: left out, shorter at the end, first or last days for
    centres; of months and dekads only with a `calendar`."""
    dated = pd.DatetimeIndex(from_days(day))
    of = cube_periods(dated, calendar=calendar)
    if of.label:
        kind = f"{of.label}s of {of.kind}"
        whole = to_days(dated.floor("D").to_numpy())
        absent = _absent(whole, to_days(of.expected.to_numpy()))
        if of.label == "middle day":
            return [absent]
        name = "period-ends" if of.label == "last day" else "period-starts"
        return [_starts(kind, f"{day.size} dates, all on {kind}", day, name), absent]
    absent = _absent(day, to_days(of.expected.to_numpy()))
    gap = np.diff(day)
    if of.kind == "periods" or gap.size < 3:
        return [absent]
    found, step = None, float(gap[:-1].min())
    inner = cube_periods(dated[:-1], calendar=calendar).kind
    if inner == "periods" and gap[-1] < step:
        last = 2 * (float(gap[-1]) - step / 2)
        found = warning(
            "short-last-period",
            "The last period is shorter than the others.",
            dates(day[-1:]),
            f"it follows after {gap[-1]:g} days, the others after {step:g}; "
            f"if both are centres it is {last:g} days long",
            "leave it out, or keep its own centre as its date: a composite of fewer scenes",
        )
        day, gap = day[:-1], gap[:-1]
    # near a grid (months by their middles), or on one but for the last: open_cube completes neither
    between = [day[i] + gap[i] * np.arange(1, n) / n for i, n in enumerate(_steps(gap))]
    absent = _absent(day, np.union1d(day, np.concatenate(between)))
    return [found, absent and absent._replace(mended=False)]


def on_edges(day: _Days, start: float, step: float | int) -> Finding | None:
    """Dates of a file that are first days of periods of `step` days from the day `start` on."""
    apart = (day - start) % step
    if day.size < 3 or not np.isclose(np.minimum(apart, step - apart), 0, atol=0.01).all():
        return None
    return _starts(f"first days of periods of {step:g} days", f"{day.size} dates", day)


def lost_days(bounds: Float[np.ndarray, "time 2"]) -> Finding | None:
    """Days that are in no period: each ends a day or more before the next begins.

    Earth Engine's filterDate leaves the end out, so that a period written as "1 to 12 November" and
    filtered by these two dates has no scene of the 12th.
    """
    order = np.argsort(bounds[:, 0])
    begin, end = bounds[order].T
    length = np.diff(begin)
    hole = begin[1:] - end[:-1]
    # a hole as long as a period is a period left out
    lost = (hole >= 0.99) & (hole < 0.5 * np.median(length)) if length.size else np.zeros(0, bool)
    if not lost.any():
        return None
    return warning(
        "end-day-lost",
        "The periods may leave days out between them: ends that were excluded.",
        f"after {dates(end[:-1][lost])}",
        f"{lost.sum()} of {hole.size} periods end {np.median(hole[lost]):g} day(s) before the next "
        "begins",
        "if these ends were given to filterDate: filter to the first day of the next period; if "
        "they are the last days inside (CF: the next first day), nothing is lost",
    )


def relative() -> Finding:
    """An axis that counts from a beginning of each pixel: nothing of it is read as a calendar."""
    return note(
        "relative-axis",
        "Dates count from a beginning that differs from pixel to pixel: no calendar is read into "
        "them, and dates below only name planes.",
        "t",
        "attribute time_axis, a start_date of each pixel, or lengths of time",
    )


def unknown_days() -> Finding:
    """Composites that do not say on which days they were acquired."""
    return note(
        "acquisition-days-unknown",
        "Composites without the days of their scenes: radar and NDVI of one period may be days "
        "apart, and nothing tells.",
        "coordinates s1_day, s2_day (t)",
        "absent; mind too that Earth Engine's filterDate(start, end) leaves the end day out",
        "export the mean day of each sensor beside the bands, or the acquisitions themselves",
    )


def _starts(kind, evidence, day, name="period-starts"):
    which = "last" if name == "period-ends" else "first"
    return warning(
        name,
        f"Dates of composites are the {which} days of their periods, not their centres.",
        f"t, {kind}",
        f"{evidence}, {dates(day, most=3)}",
        "move each date to the centre: half a period of lag between radar and truth else",
    )


def _absent(day, expected):
    left = expected[~np.isclose(expected[:, None], day[None], atol=0.01).any(axis=1)]
    if left.size == 0:
        return None
    return warning(
        "missing-periods",
        "Periods were left out of the file: what counts planes gives all later ones wrong dates.",
        f"t, {dates(left)}",
        f"{left.size} of {expected.size} periods",
        "put them in as missing, on their own dates",
    )
