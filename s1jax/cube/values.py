"""What the values of a cube are: counts and extremes of every date, and what attributes declare."""

import re
from collections.abc import Callable, Mapping
from functools import reduce
from operator import and_, or_
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from s1jax.cube.findings import Finding, declared, fill_finding, repair, share
from s1jax.cube.names import channels, present, sentinel1

DB = frozenset({"db", "decibel", "decibels"})
LINEAR = frozenset({"linear", "1", "power", "linear power", "m2/m2", "m2 m-2", "m^2/m^2"})
"""Declarations of backscatter in dB, and in linear power, in any case of letters."""
PERCENT = frozenset({"%", "percent"})
"""Declarations of NDVI times 100."""
BRIGHT, FAINT = 10.0, 1e-6
"""Powers: the median of a date is below the first (10 dB), a value above the second (-60 dB)."""
LEAST = 8
"""Values from which on a date has a unit of its own; poorer dates are judged together."""
FILLS = ("nodata", "nodatavals", "missing_value", "_FillValue")
"""Attributes that declare a fill."""
VALID = ("valid_range", "valid_min", "valid_max")
_NO_FILL = frozenset({"", "nan", "none", "null", "na", "n/a"})
_PLANE = ("y", "x")
_Count = Int[np.ndarray, "time"]


class Facts(NamedTuple):
    """Of one variable, by date; from `count` on without fills, dead pixels and constant planes."""

    declared: tuple[float, ...]
    """Fills that it declares."""
    valid: tuple[float, float]
    """Range that it declares."""
    size: int
    """Pixels of a plane."""
    infinite: _Count
    filled: dict[float, _Count]
    """Values of each fill."""
    outside: _Count
    """Values outside of the valid range."""
    stored: _Count
    """Values of any other kind."""
    constant: Float[np.ndarray, "time"]
    """The one value of a plane that has at least 2, and on half of the pixels that ever have any;
    NaN of other planes."""
    dead: _Count
    """Pixels exactly 0 in all bands, of two bands or more; the same of all variables."""
    dark: _Count
    """Other pixels exactly 0 in both VV and VH of the orbit of the variable; none of NDVI."""
    count: _Count
    """Values, of them ..."""
    negative: _Count
    deep: _Count
    """... below -1, ..."""
    small: _Count
    """... from 0 to below 1, ..."""
    bright: _Count
    """... from BRIGHT on, ..."""
    positive: _Count
    power: _Count
    """... and above FAINT."""
    low: float
    high: float

    @property
    def finite(self) -> _Count:
        """Finite values as stored, fills among them."""
        return self.stored + self.outside + sum(self.filled.values())


def measure(
    ds: xr.Dataset, assumed: Mapping[str, tuple[float, ...]] | None = None
) -> tuple[dict[str, xr.DataArray], dict[str, Facts]]:
    """Each variable, float32, NaN where missing or dead but not in constant planes; and its facts.

    Of a cube in chunks the values stay in chunks, and one pass computes the facts of all variables.

    Args:
      ds: cube (t, y, x).
      assumed: fills of variables beside those that they declare.

    Raises:
      ValueError: a declared fill or valid range is none.
    """
    names, lazy, values = present(ds), {}, {}
    fills = {name: declared_fills(ds[name]) for name in names}
    valid = {name: valid_range(ds[name]) for name in names}
    every = {name: dict.fromkeys(fills[name] + (assumed or {}).get(name, ())) for name in names}
    for name in names:
        value = ds[name].drop_vars([c for c in ds[name].coords if c != "t"])
        hits: dict[str, xr.DataArray] = {"infinite": xr.ufuncs.isinf(value)}
        hits |= {f"fill {fill!r}": equal(value, fill) for fill in every[name]}
        missing = reduce(or_, hits.values())
        low, high = valid[name]
        hits["outside"] = ((value < low) | (value > high)) & ~missing
        lazy |= {f"{name} {key}": hit.sum(_PLANE) for key, hit in hits.items()}
        # missing first: a fill may be too large for float32
        value = values[name] = value.where(~(missing | hits["outside"])).astype(np.float32)
        lazy |= {f"{name} stored {key}": of for key, of in _extremes(value).items()}
        lazy[f"{name} seen"] = value.notnull().any("t").sum()
    zero = {name: value == 0 for name, value in values.items()}
    nowhere = xr.zeros_like(next(iter(zero.values())))
    dead = reduce(and_, zero.values()) if len(zero) > 1 else nowhere
    for name in names:
        pair = [zero[other] for other in _orbit(name) if other in zero]
        dark = reduce(and_, pair) if len(pair) > 1 else nowhere
        value = values[name] = values[name].where(~(dead | dark))
        counts = {
            "dead": dead,
            "dark": dark & ~dead,
            "negative": value < 0,
            "deep": value < -1,
            "small": (value >= 0) & (value < 1),
            "bright": value >= BRIGHT,
            "positive": value > 0,
            "power": value > np.float32(FAINT),
        }
        lazy |= {f"{name} {key}": where.sum(_PLANE) for key, where in counts.items()}
        lazy |= {f"{name} {key}": of for key, of in _extremes(value).items()}
    computed = xr.Dataset({key: v.drop_vars(list(v.coords)) for key, v in lazy.items()}).compute()
    size = ds.sizes["y"] * ds.sizes["x"]
    facts = {}
    for name in names:
        of = {
            key.removeprefix(f"{name} "): np.asarray(computed[key].values)
            for key in lazy
            if key.startswith(f"{name} ")
        }
        filled = {fill: of[f"fill {fill!r}"] for fill in every[name]}
        facts[name] = _facts(of, fills[name], valid[name], size, filled)
    return values, facts


def value_findings(
    facts: Mapping[str, Facts], show: Callable[[Bool[np.ndarray, "time"]], str]
) -> list[Finding]:
    """Findings about values that are missing; `show` writes the dates where a mask is True."""
    findings = []
    for name, of in facts.items():
        if of.infinite.any():
            planes = of.infinite == of.size
            whole = f"; whole planes: {planes.sum()} ({show(planes)})" if planes.any() else ""
            line = repair(f"{name}: {of.infinite.sum():,} values of +-inf are missing", "infinite")
            findings.append(line._replace(where=_extent(name, of.infinite, of.size) + whole))
        for fill, count in of.filled.items():
            if total := int(count.sum()):
                line = fill_finding(name, total, fill, is_declared=fill in of.declared)
                findings.append(line._replace(where=_extent(name, count, of.size)))
        if of.outside.any():
            low, high = of.valid
            out = f"values outside of the valid range [{low:.3g}, {high:.3g}] are missing"
            line = declared(f"{name}: {of.outside.sum():,} {out}", "outside-range")
            findings.append(line._replace(where=f"{name}, {show(of.outside > 0)}"))
        planes = np.isfinite(of.constant)
        if planes.any():
            what = f"{name}: {planes.sum()} constant plane(s) are missing: {show(planes)}"
            numbers = ", ".join(f"{v:g}" for v in np.unique(of.constant[planes])[:4])
            where = f"{name}: {show(planes)}, all {numbers}"
            findings.append(repair(what, "constant-plane")._replace(where=where))
    # dead pixels in planes that are constant in every band are no finding of their own
    constant = np.logical_and.reduce([np.isfinite(of.constant) for of in facts.values()])
    first = next(iter(facts.values()))
    zeros = [("zero-pixels", "all", "all bands", np.where(constant, 0, first.dead))]
    for name in (name for name in facts if name.startswith("VV")):
        pair = f"{name}, {name.replace('VV', 'VH')}"
        zeros.append(("zero-pair", pair, "both", facts[name].dark))
    for name, bands, of_them, count in zeros:
        if count.any():
            what = f"{count.sum():,} pixels x days are exactly 0 in {of_them}: missing"
            what = what if name == "zero-pixels" else f"{bands}: {what}"
            where = _extent(bands, count, first.size)
            findings.append(repair(what, name)._replace(where=where))
    return findings


def signed(negative: _Count, count: _Count) -> Bool[np.ndarray, "time"]:
    """Dates of dB, 5 % of whose values or more are negative; all others are of linear power."""
    return (count > 0) & (negative >= 0.05 * count)


def decibels(of: Facts) -> Bool[np.ndarray, "time"]:
    """Dates that are `signed` by values at least half of which are below -1: powers that a
    subtracted noise leaves below 0 are hardly below it."""
    return signed(of.negative, of.count) & (2 * of.deep >= of.negative)


def both_units(of: Facts) -> Bool[np.ndarray, "time"]:
    """Dates that hold dB and linear power: `signed`, and 5 % of the values and more, 5 at least,
    are from 0 to below 1, four times as many as above; over a city as many dB are above."""
    above = of.count - of.negative - of.small
    few = of.small < np.maximum(5, 0.05 * of.count)
    return signed(of.negative, of.count) & ~few & (4 * above <= of.small)


def declared_fills(variable: xr.DataArray) -> tuple[float, ...]:
    """Finite fills among the attributes of a variable, as stored, each once; text is read as the
    number it spells.

    Raises:
      ValueError: an attribute is no number.
    """
    fills = {}
    for key in [key for key in FILLS if key in variable.attrs]:
        given = variable.attrs[key]
        single = isinstance(given, str | bytes) or np.ndim(given) == 0
        for one in [given] if single else np.ravel(given):
            if _text(one) is None or str(_text(one)).strip().lower() in _NO_FILL:
                continue
            numbers = _numbers(one)
            if numbers is None or numbers.size != 1:
                expected = "a number, or none"
                raise ValueError(f"{variable.name}: {key}: got {given!r}, expected {expected}")
            fills[float(numbers[0])] = None
    return tuple(fill for fill in fills if np.isfinite(fill))


def valid_range(variable: xr.DataArray) -> tuple[float, float]:
    """Least and greatest value that a variable may have, by its attributes valid_range, valid_min
    and valid_max (CF 2.5.1), infinite where they do not say.

    They are of the values as stored: of packed ones they are unpacked here, and half a step wider,
    unless they come as floats while whole numbers are stored.

    Raises:
      ValueError: an attribute is not of one number, or two, or the least is above the greatest.
    """
    keys = [key for key in VALID if variable.attrs.get(key) is not None]
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
        return abs(variable - (fill * scale + offset)) < abs(scale) / 2
    return variable == (np.asarray(fill, variable.dtype) if variable.dtype.kind == "f" else fill)


def without_fills(attrs: Mapping) -> dict:
    """Attributes but those that declare a fill."""
    return {key: value for key, value in attrs.items() if key not in FILLS}


def undeclared_integer(variable: xr.DataArray) -> bool:
    """Whether values are stored as whole numbers of two bytes or more without a scale."""
    packed = variable.encoding
    scaled = packed.get("scale_factor", 1) != 1 or packed.get("add_offset", 0) != 0
    dtype = np.dtype(packed.get("dtype", variable.dtype))
    whole = variable.dtype if variable.dtype.kind in "iu" else dtype
    return whole.kind in "iu" and whole.itemsize >= 2 and not scaled


def count_valid(ds: xr.Dataset) -> str:
    """Counts of pixels, days and values: total, in mask, with S1, with NDVI, with both; and losses.

    A value is one pixel on one day; S1 means VV and VH of at least one orbit. Counts after the
    first are inside the mask.
    """
    wanted = np.ones((ds.sizes["y"], ds.sizes["x"]), bool)
    if "mask" in ds.variables:
        wanted = ds["mask"].transpose("y", "x").values
    inside = xr.DataArray(wanted, dims=_PLANE)
    bare = ds[channels(ds)]
    valid = bare.drop_vars([*bare.coords]).notnull()
    radar = sentinel1(ds)
    pairs = [valid[vv] & valid[vh] for vv, vh in zip(radar[::2], radar[1::2], strict=True)]
    seen = {"S1": reduce(or_, pairs) & inside, "NDVI": valid["S2ndvi"] & inside}
    seen["both"] = seen["S1"] & seen["NDVI"]
    lazy = {}
    for name, where in seen.items():
        lazy[f"{name} pixels"] = where.any("t").sum()
        lazy[f"{name} days"] = where.any(_PLANE).sum()
        lazy[f"{name} values"] = where.sum()
    # of a cube in chunks, all in one pass
    count = {key: int(value) for key, value in xr.Dataset(lazy).compute().items()}
    dates, size, pixels = ds.sizes["t"], inside.size, int(wanted.sum())
    totals = {
        "pixels": (size, pixels),
        "days": (dates,),
        "values": (size * dates, pixels * dates),
    }
    lines = []
    for what, of in totals.items():
        parts = [f"{n:,} {name}" for n, name in zip(of, ("total", "in mask"), strict=False)]
        for name in seen:
            n = count[f"{name} {what}"]
            parts.append(f"{n:,} with {name} ({n / max(of[-1], 1):.1%})")
        lines.append(f"{what}: " + ", ".join(parts))
    lines.append(f"gone: {size - pixels:,} pixels outside the mask")
    for name in ("S1", "NDVI"):
        days, some = count[f"{name} days"], count[f"{name} pixels"]
        part = 0.0 if days * some == 0 else 1 - count[f"{name} values"] / (days * some)
        lines.append(
            f"gone: {name}: {dates - days} day(s) without any, {pixels - some:,} pixel(s) "
            f"without any, {part:.1%} of the rest (cloud, edge of a scene)"
        )
    return "\n".join(lines)


def _range(variable, key):
    """(least, greatest) that an attribute lets values be as they are now."""
    got, size = variable.attrs[key], 2 if key == "valid_range" else 1
    ends = _numbers(got)
    if ends is None or ends.size != size or np.isnan(ends.astype(float)).any():
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


def _text(given):
    return given.decode(errors="replace") if isinstance(given, bytes) else given


def _numbers(given):
    """The numbers of an attribute; of text (GDAL writes "0, 250") those that it spells, whole ones
    as whole; None where it is anything else."""
    text = _text(given)
    if not isinstance(text, str):
        numbers = np.ravel(text)
        return numbers if numbers.dtype.kind in "iuf" else None
    words = re.split(r"[,;\s]+", text.strip(" ()[]{}\n\t"))
    for number in (int, float):
        try:
            numbers = np.array([number(word) for word in words])
        except (ValueError, OverflowError):
            continue
        if numbers.dtype.kind in "iuf":
            return numbers
    return None


def _packing(variable):
    """Scale and offset that values were unpacked by; 1 and 0 where they were not packed."""
    if "scale_factor" in variable.attrs or "add_offset" in variable.attrs:
        return 1.0, 0.0
    packed = variable.encoding
    return float(packed.get("scale_factor", 1)), float(packed.get("add_offset", 0))


def _orbit(name):
    """VV and VH of the orbit that a radar variable is of; none of NDVI."""
    head, _, orbit = name.partition("_")
    return [f"{p}_{orbit}" if orbit else p for p in ("VV", "VH")] if head in ("VV", "VH") else []


def _extremes(value):
    there = value.notnull()
    return {
        "count": there.sum(_PLANE),
        "low": value.where(there, np.float32(np.inf)).min(_PLANE, skipna=False),
        "high": value.where(there, np.float32(-np.inf)).max(_PLANE, skipna=False),
    }


def _facts(of, fills, valid, size, filled):
    seen, low = of["seen"], of["stored low"].astype(float)
    constant = (of["stored count"] >= max(2, seen / 2)) & (low == of["stored high"])
    kept = ~constant
    counts = ("count", "negative", "deep", "small", "bright", "positive", "power")
    return Facts(
        declared=fills,
        valid=valid,
        size=size,
        filled=filled,
        stored=of["stored count"],
        constant=np.where(constant, low, np.nan),
        low=float(of["low"][kept].min(initial=np.inf)),
        high=float(of["high"][kept].max(initial=-np.inf)),
        **{key: of[key] for key in ("infinite", "outside", "dead", "dark")},
        **{key: np.where(kept, of[key], 0) for key in counts},
    )


def _extent(name, count, size):
    part = count.sum() / max(count.size * size, 1)
    return f"{name}, {(count > 0).sum()} of {count.size} dates ({share(part)} of the values)"
