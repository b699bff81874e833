"""What a finding is, how bad it may be, and which ones `open_cube` mends."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from s1jax.cube import from_days

Level = Literal["fault", "warning", "note"]
LEVELS = ("fault", "warning", "note")
"""Worst first: makes results wrong; may do so, or costs accuracy; good to know."""

MENDED = frozenset(
    {
        "infinite",
        "fill-declared",
        "dead-period",
        "constant-plane",
        "zero-pixels",
        "units-undeclared",
        "unsorted-dates",
        "duplicate-dates",
        "missing-periods",
        "period-starts",
    }
)
"""Findings that are gone from a cube which `open_cube(repair=True)` returned."""


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


def fault(name: str, what: str, where: str, evidence: str, remedy: str) -> Finding:
    """Finding of something that makes results wrong."""
    return Finding(name, "fault", what, where, evidence, remedy, name in MENDED)


def warning(name: str, what: str, where: str, evidence: str, remedy: str) -> Finding:
    """Finding of something that may make results wrong, or costs accuracy."""
    return Finding(name, "warning", what, where, evidence, remedy, name in MENDED)


def note(name: str, what: str, where: str, evidence: str, remedy: str = "none needed") -> Finding:
    """Finding of something good to know."""
    return Finding(name, "note", what, where, evidence, remedy, name in MENDED)


def worst_first(findings: Iterable[Finding | None]) -> tuple[Finding, ...]:
    """What there is of `findings`, by level; inside a level in the order given: what to mend first
    stands first, since later findings rest on what earlier ones say."""
    there = [finding for finding in findings if finding is not None]
    return tuple(sorted(there, key=lambda finding: LEVELS.index(finding.level)))


def dates(day: Float[np.ndarray, "some"], *, most: int = 6) -> str:
    """Days since 1970-01-01 as dates, of many the first few and how many more."""
    shown = ", ".join(np.datetime_as_string(from_days(day[:most]), unit="D"))
    return f"{shown} and {day.size - most} more" if day.size > most else shown


def share(part: float | np.floating, *, digits: int = 1) -> str:
    """A share as percent."""
    return f"{100 * float(part):.{digits}f} %"
