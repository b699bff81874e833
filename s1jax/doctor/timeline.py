"""All that is asked of the time axis of a cube, in the order in which it is asked."""

import numpy as np

from s1jax.doctor import dates
from s1jax.doctor.finding import Finding, fault, warning
from s1jax.doctor.sheet import Sheet
from s1jax.doctor.view import View
from s1jax.doctor.years import stated_spans, stated_starts, year_off


def is_composite(made: View) -> bool:
    """Whether the dates are periods and not acquisitions; see `dates.composites`."""
    day, first = np.unique(made.day, return_index=True)
    s1 = np.isfinite(made.radar_db[:, :, 0]).any(axis=0)[first]
    return dates.composites(day, s1, np.isfinite(made.ndvi).any(axis=0)[first])


def timeline(
    page: Sheet,
    made: View,
    today: float,
    begin: np.datetime64 | None,
    step: float | int | None,
) -> list[Finding | None]:
    """Findings about the time axis; days after `today` (since 1970-01-01) are in the future, and
    `begin` and `step` are start and length in days of the periods, if told."""
    if not page.dated:
        told = "tell start (first day of period 1) and step (days): the rest is examined then"
        planes = f"{page.day.size} numbered planes"
        return [fault("undated", "The files hold no dates.", "t", planes, told)]
    found = dates.axis(page.day, page.track, np.inf if page.relative else today)
    day = np.unique(made.day)
    if day.size == 0:
        return found
    if page.relative:
        found.append(dates.relative())
    else:
        found.append(year_off(day, page.texts))
    if page.worded:
        words = "Tracks are named by words, which only this examination reads."
        told = "number them, 0 where there is no Sentinel-1"
        names = f"{np.unique(page.track).size} names"
        found.append(warning("track-words", words, "s1_track", names, told))
    if page.bounds is not None and np.isfinite(page.bounds).all():
        found.append(dates.lost_days(page.bounds))
    if not is_composite(made):
        return found
    by_period = dates.periods(day, calendar=not page.relative)
    if page.s1_day is None or page.s2_day is None:
        found.append(dates.unknown_days())
    # numbered planes that are absent were put in on their dates by the reader
    found += by_period
    labelled = any(f and f.name in ("period-starts", "period-ends") for f in by_period)
    if not page.numbered and not page.relative and not labelled:
        found.append(_on_edges(page, day, begin, step))
    return found


def _on_edges(page, day, begin, step):
    """First days of periods, by `start` and `step`, else by a beginning that a name spells out."""
    if begin is not None:
        return dates.on_edges(day, float(begin.astype("M8[D]").astype(float)), step)
    starts = [first for text in page.texts.values() for first, _, _ in stated_spans(text)]
    starts += [first for first, _ in stated_starts(page.texts)]
    steps = np.diff(day)
    if day[0] not in starts or steps.size < 2:
        return None
    found = dates.on_edges(day, float(day[0]), float(np.median(steps)))
    # no month or dekad: open_cube moves them where it is told of the periods
    told = "open with start and step, which moves each date to the centre of its period"
    return None if found is None else found._replace(mended=False, remedy=told)
