"""Counts and extremes of every date of a cube: all that its repair needs to know of the whole."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

_PLANE = ("y", "x")
_Count = Int[np.ndarray, "time"]
FILLS = ("nodata", "nodatavals", "missing_value", "_FillValue")
"""Attributes that declare a fill."""
_VALID = ("valid_range", "valid_min", "valid_max")
_NOTHING = frozenset({"", "nan", "none", "null", "na", "n/a"})
"""Text that stands for no fill at all, in any case of letters."""
BRIGHT, FAINT = 10.0, 1e-6
"""Powers: the median of a date is below the first (10 dB), a value above the second (-60 dB)."""


class Facts(NamedTuple):
    """Of one variable; from `count` on without its fills, dead pixels and constant planes.

    A pixel is dead on a date where it is exactly 0 in all bands, of two or more, or in VV and VH of
    one orbit; constant planes: see `constant_planes`.
    """

    infinite: int
    """Values of +-inf."""
    filled: dict[float, int]
    """Values of each declared fill."""
    outside: int
    """Values that the declared valid range leaves out."""
    constant: Bool[np.ndarray, "time"]
    dead: Int[np.ndarray, "time"]
    """Pixels dead in all bands, the same of all variables ..."""
    dark: Int[np.ndarray, "time"]
    """... and those dead in VV and VH alone, of the orbit of the variable; 0 of NDVI."""
    count: Int[np.ndarray, "time"]
    """Values."""
    low: float
    high: float
    negative: Int[np.ndarray, "time"]
    """Values below 0, ..."""
    deep: Int[np.ndarray, "time"]
    """... of them those below -1, ..."""
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

    Raises:
      ValueError: a valid range is none.
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
        low, high = valid_range(ds[name])
        outside = ((value < low) | (value > high)) & ~missing
        lazy[f"{name} outside"] = outside.sum()
        missing = missing | outside
        # missing first: a fill may be too large for float32
        values[name] = value.where(~missing).astype(np.float32)
        lazy |= _extremes(values[name], f"{name} with dead")
        lazy[f"{name} seen"] = values[name].notnull().any("t").sum()
    zero = {name: value == 0 for name, value in values.items()}
    dead = _all([*zero.values()])
    lazy["dead"] = xr.zeros_like(ds["t"], dtype=int) if dead is None else dead.sum(_PLANE)
    for name in fills:
        dark = _all([zero[other] for other in _orbit(name) if other in zero])
        nothing = dead if dark is None else dark
        if nothing is not None:
            values[name] = values[name].where(~nothing)
        alone = None if dark is None else dark if dead is None else dark & ~dead
        lazy[f"{name} dark"] = xr.zeros_like(lazy["dead"]) if alone is None else alone.sum(_PLANE)
        lazy |= _extremes(values[name], name)
        value = values[name]
        lazy[f"{name} negative"] = (value < 0).sum(_PLANE)
        lazy[f"{name} deep"] = (value < -1).sum(_PLANE)
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


def decibels(negative: _Count, deep: _Count, count: _Count) -> Bool[np.ndarray, "time"]:
    """Dates that are `signed` by values most of which are below -1, as dB are: the few powers below
    0 that a subtracted noise leaves are hardly below it.
    """
    return signed(negative, count) & (2 * deep >= negative)


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
    """Finite fills among the attributes of a variable, as stored, each once; text is read as the
    number it spells.

    Raises:
      ValueError: an attribute is no number.
    """
    fills = [_fill(variable, key, fill) for key in FILLS for fill in _listed(variable, key)]
    return tuple(dict.fromkeys(fill for fill in fills if np.isfinite(fill)))


def valid_range(variable: xr.DataArray) -> tuple[float, float]:
    """Least and greatest value that a variable may have, by its attributes valid_range, valid_min
    and valid_max (CF 2.5.1), infinite where they do not say.

    They are of the values as stored: of packed ones they are unpacked here, and half a step wider,
    unless they come as floats while whole numbers are stored.

    Raises:
      ValueError: an attribute is not of one number, or two, or the least is above the greatest.
    """
    keys = [key for key in _VALID if variable.attrs.get(key) is not None]
    ranges = [_range(variable, key) for key in keys]
    low = max((low for low, _ in ranges), default=-np.inf)
    high = min((high for _, high in ranges), default=np.inf)
    if low > high:
        got = ", ".join(f"{key} {variable.attrs[key]!r}" for key in keys)
        raise ValueError(
            f"{variable.name}: got {got}, expected the least value before the greatest"
        )
    return low, high


def equal(variable: xr.DataArray, fill: float) -> xr.DataArray:
    """Where a variable is a fill, which is rounded as its values are; of values that were unpacked
    the fill is too."""
    scale, offset = _packing(variable)
    if (scale, offset) != (1.0, 0.0):
        return np.abs(variable - (fill * scale + offset)) < abs(scale) / 2
    return variable == (np.asarray(fill, variable.dtype) if variable.dtype.kind == "f" else fill)


def without_fills(attrs: Mapping) -> dict:
    """Attributes but those that declare a fill."""
    return {key: value for key, value in attrs.items() if key not in FILLS}


def without_range(attrs: Mapping) -> dict:
    """Attributes but those that declare a valid range."""
    return {key: value for key, value in attrs.items() if key not in _VALID}


def undeclared_integer(variable: xr.DataArray) -> bool:
    """Whether values are stored as whole numbers of two bytes or more without a scale."""
    packed = variable.encoding
    scaled = packed.get("scale_factor", 1) != 1 or packed.get("add_offset", 0) != 0
    dtype = np.dtype(variable.encoding.get("dtype", variable.dtype))
    whole = variable.dtype if variable.dtype.kind in "iu" else dtype
    return whole.kind in "iu" and whole.itemsize >= 2 and not scaled


def _listed(variable, key):
    """Entries of an attribute."""
    of = variable.attrs.get(key)
    return [of] if isinstance(of, str | bytes) or np.ndim(of) == 0 else [*np.ravel(of)]


def _fill(variable, key, fill):
    """The number that an entry of an attribute stands for, NaN where it is none."""
    text = fill.decode(errors="replace") if isinstance(fill, bytes) else fill
    if fill is None or (isinstance(text, str) and text.strip().lower() in _NOTHING):
        return np.nan
    numeric = isinstance(text, str | int | float | np.number) and not isinstance(text, bool)
    try:
        if numeric and not np.iscomplexobj(text):
            return float(text)
    except (ValueError, OverflowError):
        pass
    got = variable.attrs[key]
    raise ValueError(f"{variable.name}: {key}: got {got!r}, expected a number, or none")


def _range(variable, key):
    """(least, greatest) that an attribute lets values be as they are now."""
    got, size = variable.attrs[key], 2 if key == "valid_range" else 1
    ends = _ends(got)
    if ends.size != size or ends.dtype.kind not in "iuf" or np.isnan(ends.astype(float)).any():
        expected = "two numbers" if size == 2 else "one number"
        raise ValueError(f"{variable.name}: {key}: got {got!r}, expected {expected}")
    stored = np.dtype(variable.encoding.get("dtype", variable.dtype))
    if ends.dtype.kind == "i" and str(variable.encoding.get("_Unsigned", "")).lower() == "true":
        ends = ends.view(ends.dtype.str.replace("i", "u"))
    low = -np.inf if key == "valid_max" else float(ends[0])
    high = np.inf if key == "valid_min" else float(ends[-1])
    scale, offset = _packing(variable)
    if (scale, offset) == (1.0, 0.0) or (stored.kind in "iu" and ends.dtype.kind == "f"):
        exact = variable.dtype.type if variable.dtype.kind == "f" else float
        return float(exact(low)), float(exact(high))
    if low > high:
        return low, high
    low, high = sorted((low * scale + offset, high * scale + offset))
    return low - abs(scale) / 2, high + abs(scale) / 2


def _ends(declared):
    """The numbers of an attribute; of text (GDAL writes "0, 250") those that it spells, whole ones
    as whole; anything else as it is."""
    text = declared.decode(errors="replace") if isinstance(declared, bytes) else declared
    if not isinstance(text, str):
        return np.ravel(text)
    words = re.split(r"[,;\s]+", text.strip(" ()[]{}\n\t"))
    for number in (int, float):
        try:
            return np.array([number(word) for word in words])
        except (ValueError, OverflowError):
            continue
    return np.ravel(text)


def _packing(variable):
    """What values were unpacked by: scale and offset; 1 and 0 where they were not."""
    if "scale_factor" in variable.attrs or "add_offset" in variable.attrs:
        return 1.0, 0.0
    packed = variable.encoding
    return float(packed.get("scale_factor", 1)), float(packed.get("add_offset", 0))


def _orbit(name):
    """VV and VH of the orbit that a radar variable is of."""
    head, _, orbit = name.partition("_")
    return [f"{p}_{orbit}" if orbit else p for p in ("VV", "VH")] if head in ("VV", "VH") else []


def _all(masks):
    """Where all of two masks or more are true; None where there are fewer."""
    if len(masks) < 2:
        return None
    both = masks[0]
    for mask in masks[1:]:
        both = both & mask
    return both


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
        outside=int(found[f"{name} outside"]),
        dead=found["dead"],
        dark=found[f"{name} dark"],
        count=count,
        low=float(found[f"{name} low"][kept].min(initial=np.inf)),
        high=float(found[f"{name} high"][kept].max(initial=-np.inf)),
        **{
            key: np.where(kept, found[f"{name} {key}"], 0)
            for key in ("negative", "deep", "small", "bright", "positive", "power")
        },
    )
