"""What a reader says it did, and which of it nobody declared or asked for: a repair."""

from collections.abc import Iterable

import xarray as xr

NAMED = "named: "
"""Begins a line about names of variables, dimensions and files: no value changes."""

DECLARED = "as declared: "
"""Begins a line about what the input itself says of its values: fills, scale, units."""

ASKED = "as asked: "
"""Begins a line about what the caller wanted: mask, periods, reprojection, joining of files."""


def repairs(said: Iterable[str]) -> list[str]:
    """Lines that tell of a repair: a value or a date was changed, lost or guessed unasked."""
    return [line for line in said if not line.startswith((NAMED, DECLARED, ASKED))]


def fill_line(name: str, count: int, fill: float, *, declared: bool = True) -> str:
    """Line about the values of a variable that equal a fill."""
    line = f"{name}: {count:,} values of nodata {fill:g} are missing"
    return DECLARED + line if declared else f"{line}, though not declared"


def with_notes(ds: xr.Dataset, said: Iterable[str]) -> xr.Dataset:
    """The cube with lines put behind those in attrs["s1jax_repairs"]."""
    lines = [*filter(None, [ds.attrs.get("s1jax_repairs")]), *said]
    return ds.assign_attrs(s1jax_repairs="\n".join(lines))
