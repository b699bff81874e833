"""What a reader says it did, and which of it nobody declared or asked for: a repair."""

from collections.abc import Iterable

NAMED = "named: "
"""Begins a line about names of variables, dimensions and files: no value changes."""

DECLARED = "as declared: "
"""Begins a line about what the input itself says of its values: fills, scale, units."""

ASKED = "as asked: "
"""Begins a line about what the caller wanted: mask, periods, reprojection, joining of files."""


def repairs(said: Iterable[str]) -> list[str]:
    """Lines that tell of a repair: a value or a date was changed, lost or guessed unasked."""
    return [line for line in said if not line.startswith((NAMED, DECLARED, ASKED))]
