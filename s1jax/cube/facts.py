"""Counts and extremes of every date of a cube: all that its repair needs to know of the whole."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

_PLANE = ("y", "x")
_Count = Int[np.ndarray, "time"]
_NODATA = ("nodata", "nodatavals", "missing_value", "_FillValue")
BRIGHT, FAINT = 10.0, 1e-6
"""Powers: the median of a date is below the first (10 dB), a value above the second (-60 dB)."""


class Facts(NamedTuple):
    """Of one variable; from `count` on without its fills, dead pixels and constant planes.

    A pixel is dead on a date where it is exactly 0 in all bands, of two or more; constant planes:
    see `constant_planes`.
    """

    infinite: int
    """Values of +-inf."""
    filled: dict[float, int]
    """Values of each declared fill."""
    constant: Bool[np.ndarray, "time"]
    dead: Int[np.ndarray, "time"]
    """Dead pixels, the same of all variables."""
    count: Int[np.ndarray, "time"]
    """Values."""
    low: float
    high: float
    negative: Int[np.ndarray, "time"]
    """Values below 0, ..."""
    small: Int[np.ndarray, "time"]
    """... from 0 to below 1, ..."""
    bright: Int[np.ndarray, "time"]
    """... from BRIGHT on, ..."""
    positive: Int[np.ndarray, "time"]
    """... above 0, ..."""
    power: Int[np.ndarray, "time"]
    """... and above FAINT."""


def facts_of(
    ds: xr.Dataset, fills: Mapping[str, tuple[float, ...]]
) -> tuple[dict[str, xr.DataArray], dict[str, Facts]]:
    """Each variable of `fills`, float32, NaN where missing or dead; and its facts.

    Constant planes are still among the values. Of a cube in chunks the values stay in chunks, and
    the facts of all variables are computed in one pass.

    Args:
      ds: cube (t, y, x).
      fills: values that are missing, of each variable.
    """
    values, lazy = {}, {}
    for name, of in fills.items():
        value = ds[name].drop_vars([c for c in ds[name].coords if c != "t"])
        missing = np.isinf(value)
        lazy[f"{name} infinite"] = missing.sum()
        for fill in of:
            hit = equal(value, fill)
            lazy[f"{name} fill {fill!r}"] = hit.sum()
            missing = missing | hit
        # missing first: a fill may be too large for float32
        values[name] = value.where(~missing).astype(np.float32)
        lazy |= _extremes(values[name], f"{name} with dead")
        lazy[f"{name} seen"] = values[name].notnull().any("t").sum()
    dead = _dead([*values.values()])
    lazy["dead"] = xr.zeros_like(ds["t"], dtype=int) if dead is None else dead.sum(_PLANE)
    for name in fills:
        if dead is not None:
            values[name] = values[name].where(~dead)
        lazy |= _extremes(values[name], name)
        value = values[name]
        lazy[f"{name} negative"] = (value < 0).sum(_PLANE)
        lazy[f"{name} small"] = ((value >= 0) & (value < 1)).sum(_PLANE)
        lazy[f"{name} bright"] = (value >= BRIGHT).sum(_PLANE)
        lazy[f"{name} positive"] = (value > 0).sum(_PLANE)
        lazy[f"{name} power"] = (value > np.float32(FAINT)).sum(_PLANE)
    computed = xr.Dataset({key: v.drop_vars(list(v.coords)) for key, v in lazy.items()}).compute()
    found = {key: np.asarray(value.values) for key, value in computed.items()}
    return values, {name: _facts(found, name, of) for name, of in fills.items()}


def signed(negative: _Count, count: _Count) -> Bool[np.ndarray, "time"]:
    """Dates of dB, 5 % of whose values or more are negative; all others are of linear power."""
    return (count > 0) & (negative >= 0.05 * count)


def of_both(negative: _Count, small: _Count, count: _Count) -> Bool[np.ndarray, "time"]:
    """Dates that hold dB and linear power: `signed`, and 5 % of the values and more, 5 at least,
    are from 0 to below 1, four times as many as above; of dB over a city as many are above.
    """
    above = count - negative - small
    return signed(negative, count) & (small >= np.maximum(5, 0.05 * count)) & (4 * above <= small)


def constant_planes(
    *,
    count: Int[np.ndarray, "time"],
    low: Float[np.ndarray, "time"],
    high: Float[np.ndarray, "time"],
    seen: int,
) -> Bool[np.ndarray, "time"]:
    """Dates on which all values are one: at least 2, and half of the pixels that ever have any.

    Args:
      count: values of each date.
      low: least of them.
      high: greatest of them.
      seen: pixels that have a value on any date.
    """
    return (count >= max(2, seen / 2)) & (low == high)


def declared_fills(variable: xr.DataArray) -> tuple[float, ...]:
    """Finite fills among the attributes of a variable, each once."""
    fills = (np.atleast_1d(variable.attrs.get(key, np.nan)) for key in _NODATA)
    known = [float(fill) for of in fills for fill in of if fill is not None and np.isfinite(fill)]
    return tuple(dict.fromkeys(known))


def equal(variable: xr.DataArray, fill: float) -> xr.DataArray:
    """Where a variable is a fill, which is rounded as its values are."""
    return variable == (np.asarray(fill, variable.dtype) if variable.dtype.kind == "f" else fill)


def without_fills(attrs: Mapping) -> dict:
    """Attributes but those that declare a fill."""
    return {key: value for key, value in attrs.items() if key not in _NODATA}


def undeclared_integer(variable: xr.DataArray) -> bool:
    """Whether values are stored as whole numbers of two bytes or more without a scale."""
    packed = variable.encoding
    scaled = packed.get("scale_factor", 1) != 1 or packed.get("add_offset", 0) != 0
    dtype = np.dtype(variable.encoding.get("dtype", variable.dtype))
    whole = variable.dtype if variable.dtype.kind in "iu" else dtype
    return whole.kind in "iu" and whole.itemsize >= 2 and not scaled


def _dead(values):
    """Where all bands are exactly 0; None where that says nothing."""
    if len(values) < 2:
        return None
    dead = values[0] == 0
    for value in values[1:]:
        dead = dead & (value == 0)
    return dead


def _extremes(value, key):
    there = value.notnull()
    return {
        f"{key} count": there.sum(_PLANE),
        f"{key} low": value.where(there, np.float32(np.inf)).min(_PLANE, skipna=False),
        f"{key} high": value.where(there, np.float32(-np.inf)).max(_PLANE, skipna=False),
    }


def _facts(found, name, fills):
    plane = {key: found[f"{name} with dead {key}"] for key in ("count", "low", "high")}
    constant = constant_planes(**plane, seen=int(found[f"{name} seen"]))
    kept = ~constant
    count = np.where(kept, found[f"{name} count"], 0)
    return Facts(
        infinite=int(found[f"{name} infinite"]),
        filled={fill: int(found[f"{name} fill {fill!r}"]) for fill in fills},
        constant=constant,
        dead=found["dead"],
        count=count,
        low=float(found[f"{name} low"][kept].min(initial=np.inf)),
        high=float(found[f"{name} high"][kept].max(initial=-np.inf)),
        **{
            key: np.where(kept, found[f"{name} {key}"], 0)
            for key in ("negative", "small", "bright", "positive", "power")
        },
    )
