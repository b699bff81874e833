"""Findings about a cube: of a reader, which may repair it, and of the doctor."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

Kind = Literal["named", "declared", "requested", "repair", "fault", "warning", "note"]
"""The first four are a reader's, the last three the doctor's: results are wrong; they may be, or
lose accuracy; good to know."""
_PREFIX = {"named": "named: ", "declared": "as declared: ", "requested": "as asked: "}
UNDATED = -1e6
"""Stands for plane 0 where there is no date: plane p is day UNDATED + p, and `dates` says so."""


class Finding(NamedTuple):
    """One thing that a reader did, that is wrong with an input, or that is good to know of it."""

    name: str
    """Short and stable: what a program looks for."""
    kind: Kind
    what: str
    """In one sentence; of a reader all there is."""
    where: str = ""
    """Variables, dates, pixels."""
    evidence: str = ""
    """The numbers that it rests on."""
    remedy: str = ""
    repaired: bool = False
    """Whether `open_cube(repair=True)` repairs it."""

    @property
    def text(self) -> str:
        """A line of attrs["s1jax_repairs"]."""
        return _PREFIX.get(self.kind, "") + self.what


def named(what: str, name: str = "named") -> Finding:
    """About names of variables, dimensions and files: no value changes."""
    return Finding(name, "named", what)


def declared(what: str, name: str = "declared") -> Finding:
    """About what the input itself declares of its values: fills, scale, units."""
    return Finding(name, "declared", what)


def requested(what: str, name: str = "requested") -> Finding:
    """About what the caller requested: mask, periods, reprojection, joining of files."""
    return Finding(name, "requested", what)


def repair(what: str, name: str = "repair") -> Finding:
    """A value or a date was changed, lost or guessed, neither declared nor requested."""
    return Finding(name, "repair", what)


def fill_finding(name: str, count: int, fill: float, *, is_declared: bool = True) -> Finding:
    """About the values of a variable that equal a fill."""
    what = f"{name}: {count:,} values of nodata {fill:g} are missing"
    if is_declared:
        return declared(what, "fill-declared")
    return repair(f"{what}, though not declared", "fill-undeclared")


def is_repair(line: str) -> bool:
    """Whether a line of attrs["s1jax_repairs"] is about a repair."""
    return not line.startswith(tuple(_PREFIX.values()))


def with_findings(ds: xr.Dataset, findings: Iterable[Finding]) -> xr.Dataset:
    """The cube with the findings as lines behind those in attrs["s1jax_repairs"]."""
    lines = [*filter(None, [ds.attrs.get("s1jax_repairs")]), *(one.text for one in findings)]
    return ds.assign_attrs(s1jax_repairs="\n".join(lines))


def dates(day: Float[np.ndarray, "some"], *, most: int = 6) -> str:
    """Days since 1970-01-01 as dates, of many the first few and how many more."""
    first = day[:most]
    if first.size and first[0] < UNDATED / 2:
        shown = "planes " + ", ".join(f"{plane:.0f}" for plane in first - UNDATED)
    else:
        second = np.round(first * 86_400).astype("int64").astype("datetime64[s]")
        shown = ", ".join(np.datetime_as_string(second, unit="D"))
    return f"{shown} and {day.size - most} more" if day.size > most else shown


def share(part: float | np.floating, *, digits: int = 1) -> str:
    """A share as percent."""
    return f"{100 * float(part):.{digits}f} %"
