"""What a finding is, how bad it may be, and which ones `open_cube` mends."""

from collections.abc import Iterable
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from s1jax.cube import from_days

Level = Literal["fault", "warning", "note"]
LEVELS = ("fault", "warning", "note")
"""Worst first: makes results wrong; may do so, or costs accuracy; good to know."""

MENDED = (
    *("infinite", "fill-declared", "dead-period", "constant-plane", "zero-pixels", "zero-pair"),
    *("units-undeclared", "unsorted-dates", "duplicate-dates", "missing-periods", "period-starts"),
    *("period-ends", "outside-range"),
)
"""Findings that are gone from a cube which `open_cube(repair=True)` returned."""

_COSTLIEST = (
    *("no-labels", "cloud-unmasked", "offset-kept", "toa-labels", "ndvi-scale", "ndvi-range"),
    *("ndvi-clamped", "ndvi-negative", "fill-undeclared", "zero-pixels", "zero-pair", "zeros"),
    *("undated", "dates-missing", "future-dates", "year-off", "missing-periods", "period-starts"),
    *("period-ends", "end-day-lost", "short-last-period"),
    *("no-radar", "units-unknown", "units-mixed", "units-contradict", "polarisations-swapped"),
    *(
        "refused",
        "radar-level",
        "never-together",
        "radar-outliers",
        "s1-s2-offset",
        "orbits-mixed",
        "track-words",
    ),
    *("split-leaks", "split-near"),
)
UNDATED = -1e6
"""Stands for plane 0 where no date is known: plane p is day UNDATED + p, and `dates` says so."""


class Finding(NamedTuple):
    """One thing that is wrong with an input, or good to know about it."""

    name: str
    """Short and stable: what a program looks for."""
    level: Level
    what: str
    where: str
    """Variables, dates, pixels."""
    evidence: str
    """The numbers it rests on."""
    remedy: str
    mended: bool = False
    """Whether `open_cube(repair=True)` mends it."""


def finding(
    level: Level, name: str, what: str, where: str, evidence: str, remedy: str = "none needed"
) -> Finding:
    """A finding; whether `open_cube` mends it goes by its name."""
    return Finding(name, level, what, where, evidence, remedy, name in MENDED)


fault, warning, note = (partial(finding, level) for level in LEVELS)
"""`finding` of that level."""


def costliest(findings: Iterable[Finding]) -> list[Finding]:
    """What is wrong by what it costs (docs/why.md): labels, dates, radar, alignment, the split."""
    place = {name: number for number, name in enumerate(_COSTLIEST)}
    return sorted(findings, key=lambda found: place.get(found.name, len(place)))


def worst_first(findings: Iterable[Finding | None]) -> tuple[Finding, ...]:
    """What there is of `findings`, by level; inside a level what `open_cube` does not mend first,
    by what it costs. Notes keep their order."""
    there = [found for found in findings if found is not None]
    wrong = costliest(found for found in there if found.level != "note")
    wrong.sort(key=lambda found: (LEVELS.index(found.level), found.mended))
    return (*wrong, *(found for found in there if found.level == "note"))


def dates(day: Float[np.ndarray, "some"], *, most: int = 6) -> str:
    """Days since 1970-01-01 as dates, of many the first few and how many more."""
    first = day[:most]
    if first.size and first[0] < UNDATED / 2:
        shown = "planes " + ", ".join(f"{plane:.0f}" for plane in first - UNDATED)
    else:
        shown = ", ".join(np.datetime_as_string(from_days(first), unit="D"))
    return f"{shown} and {day.size - most} more" if day.size > most else shown


def share(part: float | np.floating, *, digits: int = 1) -> str:
    """A share as percent."""
    return f"{100 * float(part):.{digits}f} %"
