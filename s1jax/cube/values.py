"""What values are, by date, and their repair or refusal: missing as NaN, backscatter in dB,
NDVI in [-1, 1]."""

import re
from collections.abc import Callable, Mapping
from functools import reduce
from operator import and_, or_
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from s1jax.cube.findings import Finding, declared, fill_finding, named, repair, share
from s1jax.cube.names import LOOKS, RADAR_ALONE, present, sentinel1

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
NO_UNIT = frozenset({"1", "ndvi", "unitless", "dimensionless", "none", "-", "index", "ratio"})
"""Declarations of NDVI, which has no unit."""
_RANGE = {"dB": (-60.0, 60.0), "linear": (-np.inf, 1 / FAINT)}
"""No backscatter is beyond: thermal noise is near -40 dB, ships and cities below +45 dB."""
_OTHER = {"dB": "linear power", "linear": "dB"}
_NDVI_FILLS = (-9999.0, -32768.0)
"""Fills of NDVI in whole numbers without scale, of which all NDVI is above."""


class VariableFacts(NamedTuple):
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
    """Values."""
    negative: _Count
    """Of these, below 0."""
    deep: _Count
    """Below -1."""
    small: _Count
    """From 0 to below 1."""
    bright: _Count
    """`BRIGHT` or more."""
    positive: _Count
    """Above 0."""
    power: _Count
    """Above `FAINT`."""
    low: float
    """Least value, in the unit as stored."""
    high: float
    """Greatest value."""

    @property
    def finite(self) -> _Count:
        """Finite values as stored, fills among them."""
        return self.stored + self.outside + sum(self.filled.values())


def measure(
    ds: xr.Dataset, assumed: Mapping[str, tuple[float, ...]] | None = None
) -> tuple[dict[str, xr.DataArray], dict[str, VariableFacts]]:
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


def missing_findings(
    facts: Mapping[str, VariableFacts], show: Callable[[Bool[np.ndarray, "time"]], str]
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


def decibels(of: VariableFacts) -> Bool[np.ndarray, "time"]:
    """Dates that are `signed` by values at least half of which are below -1: powers that a
    subtracted noise leaves below 0 are hardly below it."""
    return signed(of.negative, of.count) & (2 * of.deep >= of.negative)


def both_units(of: VariableFacts) -> Bool[np.ndarray, "time"]:
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
    return VariableFacts(
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


def repair_values(ds: xr.Dataset, *, alone: bool = True) -> tuple[xr.Dataset, list[Finding]]:
    """The cube with NaN where missing, VV and VH in dB, S2ndvi in [-1, 1]; and findings.

    Missing become: +-inf; values of a declared nodata; a plane (one variable on one date) that is
    one constant over all its pixels; pixels exactly 0 in all bands at once, where there are two
    bands or more, or in VV and VH of one orbit; values outside of a declared valid range; and
    powers not above 0, of which 1 % may be. NDVI in whole numbers without a scale is divided by
    10,000, NDVI declared in percent by 100. S2ndvi may be missing everywhere. An orbit (VV, VH; or
    VV_2, VH_2, ...) that lacks all values of either is left out where another has some. A cube in
    chunks stays so: repairs are made when a chunk is computed.

    Args:
      ds: cube (t, y, x), with all variables or with those of one input.
      alone: whether no other input has radar; else all orbits of this one may be left out.

    Raises:
      ValueError: units contradict the values or differ between dates, values that are neither dB
        within +-60 nor linear power, NDVI or truth outside [-1, 1], whole numbers of unknown scale,
        a unit that NDVI cannot have, a declared fill or valid range that is none, radar without
        values, or NDVI without values but constant ones.
    """
    names = present(ds)
    whole = "S2ndvi" in names and undeclared_integer(ds["S2ndvi"])
    values, facts = measure(ds, {"S2ndvi": _NDVI_FILLS} if whole else {})
    empty, left_out = _empty_orbits(ds, facts)
    if empty and (len(empty) < len(sentinel1(ds)) or not alone):
        # what is missing in all bands is counted anew, without them
        looks = [f"{name}_{look}" for name in empty for look in LOOKS]
        rest = ds.drop_vars([*empty, *({*looks} & {*ds.variables})])
        rest, findings = repair_values(rest, alone=alone) if present(rest) else (rest, [])
        return rest, [*left_out, *findings]
    t = ds["t"].values
    findings = missing_findings(
        facts, lambda some: ", ".join(np.datetime_as_string(t[some], unit="D"))
    )
    for name, of in facts.items():
        if not of.count.any() and (name != "S2ndvi" or np.isfinite(of.constant).any()):
            raise ValueError(f"{name}: got no value (all NaN, fill or constant), expected some")
    if "S2ndvi" in names and not facts["S2ndvi"].count.any():
        findings.append(named(f"{RADAR_ALONE}: S2ndvi is missing everywhere", "radar-alone"))
    _check_truth(ds)
    units, changed = _units(ds, facts, findings), {}
    for name, value in values.items():
        constant = np.isfinite(facts[name].constant)
        if constant.any():
            value = value.where(~xr.DataArray(constant, dims="t"))
        if name == "S2ndvi":
            value, unit = _ndvi(ds[name], value, facts[name], whole, findings), "1"
        else:
            value, unit = value if units[name] == "dB" else _decibels(value), "dB"
        changed[name] = ds[name].copy(data=value.transpose(*ds[name].dims).data)
        kept = {k: v for k, v in without_fills(ds[name].attrs).items() if k not in VALID}
        changed[name].attrs = kept | {"units": unit}
        changed[name].encoding = {}
    return ds.assign(changed), findings


def _empty_orbits(ds, facts):
    """VV and VH of orbits that lack all values of either, and a finding about each: a repair where
    values go with them, those of one polarisation or constant planes."""
    names, findings = [], []
    for vv in (name for name in facts if name.startswith("VV")):
        pair = (vv, vv.replace("VV", "VH"))
        if pair[1] not in facts:
            continue  # in another input
        without = [name for name in pair if not facts[name].count.any()]
        if not without:
            continue
        names += pair
        lost = len(without) == 1 or any(
            np.isfinite(of.constant).any() or of.infinite.any() or of.dark.any()
            for of in (facts[name] for name in pair)
        )
        why = f"{' and '.join(without)} got no value (all NaN, fill or constant)"
        findings.append((repair if lost else named)(f"{', '.join(pair)}: left out, since {why}"))
    return names, findings


def _check_truth(ds):
    """Refuse a `truth` outside [-1, 1]."""
    if "truth" not in ds.data_vars:
        return
    ends = xr.Dataset({"low": ds["truth"].min(), "high": ds["truth"].max()}).compute()
    low, high = float(ends["low"]), float(ends["high"])
    if low < -1 - 1e-5 or high > 1 + 1e-5:
        raise ValueError(f"truth: got [{low:g}, {high:g}], expected true NDVI in [-1, 1]")


def _units(ds, facts, findings):
    """dB or linear of VV, VH, ...: as declared, else by the sign of most values.

    Of power up to 1 % may be negative, where a noise was subtracted.
    """
    names = sentinel1(ds)
    unit = {name: _declared(ds[name]) for name in names}
    negative = {name: facts[name].negative.sum() / facts[name].count.sum() for name in names}
    guess = {n: "dB" if negative[n] > 0.5 else "linear" for n in names if unit[n] is None}
    if len(set(guess.values())) > 1:
        raise ValueError(
            f"units: got none, values look like {guess}, expected the attribute `units`, or bands "
            "in their order where they were taken by position"
        )
    for name in names:
        of = facts[name]
        values = f"values in [{of.low:g}, {of.high:g}]"
        if name in guess and undeclared_integer(ds[name]):
            raise ValueError(f"{name}: got whole numbers, {values}, expected scale_factor or units")
        if unit[name] == "dB" and of.positive.sum() > 0.5 * of.count.sum():
            raise ValueError(f"{name}: got {values}, expected dB as declared")
        # most being negative, an undeclared unit is dB
        most = 1.0 if unit[name] == "linear" else 0.5
        if unit[name] != "dB" and 0.01 < negative[name] <= most:
            got, given = f"{values}, {negative[name]:.1%} negative", unit[name] or "none declared"
            raise ValueError(f"{name}: got {got}, expected linear power >= 0 (units: {given})")
    unit |= guess
    for name in names:
        _one_unit(name, facts[name], unit[name], ds["t"].values)
    for name, guessed in guess.items():
        what = f"{name}: no units declared; by its median it is {guessed}"
        findings.append(repair(what, "units-undeclared"))
    for name, of in facts.items():
        if unit.get(name) != "linear":
            continue
        if lost := (of.count - of.positive).sum():
            findings.append(repair(f"{name}: {lost:,} powers not above 0 are missing"))
        if lost := (of.positive - of.power).sum():
            what = f"{name}: {lost:,} powers not above {FAINT:g} (-60 dB) are missing"
            findings.append(repair(what))
        how = repair if name in guess else declared
        findings.append(how(f"{name}: linear power converted to dB"))
    return unit


def _one_unit(name, of, unit, t):
    """Refuse dates in another unit than the variable's, or out of its range.

    Raises:
      ValueError: some are not.
    """
    of, t = _rich_dates(of, t)
    both = both_units(of)
    in_power = ~signed(of.negative, of.count) if unit == "dB" else ~decibels(of)
    if unit == "linear":
        # a subtracted noise leaves values hardly below 0 among powers below 1
        both &= ~in_power
    other = ~both & (in_power if unit == "dB" else ~in_power)
    for odd, what in ((both, "dB and values in [0, 1)"), (other, _OTHER[unit])):
        if odd.any():
            days = ", ".join(np.datetime_as_string(t[odd][:6], unit="D"))
            got = f"{odd.sum()} of {odd.size} dates that look like {what} ({days})"
            raise ValueError(f"{name}: got {got}, expected {unit} on all, and fills declared")
    got = f"values in [{of.low:g}, {of.high:g}]"
    if unit == "linear" and (2 * of.bright > of.count).any():
        expected = f"linear power, medians below {BRIGHT:g}: digital numbers are not calibrated"
        raise ValueError(f"{name}: got {got}, expected {expected}")
    low, high = _RANGE[unit]
    if of.low < low or of.high > high:
        expected = f"{unit} in [{low:g}, {high:g}]: is it an undeclared nodata value?"
        raise ValueError(f"{name}: got {got}, expected {expected}")


def _rich_dates(of, t):
    """Facts of dates with enough values, and the dates; poorer ones are put together as one."""
    rich, keys = of.count >= LEAST, ("count", "negative", "deep", "small", "bright")
    parts = {key: getattr(of, key)[rich] for key in keys}
    if of.count[~rich].sum() < LEAST:
        return of._replace(**parts), t[rich]
    poor = {key: getattr(of, key)[~rich].sum() for key in keys}
    parts = {key: np.append(part, poor[key]) for key, part in parts.items()}
    return of._replace(**parts), np.append(t[rich], t[~rich][0])


def _declared(variable):
    units = str(variable.attrs.get("units") or "").strip()
    if not units:
        return None
    if units.lower() in DB | LINEAR:
        return "dB" if units.lower() in DB else "linear"
    got = variable.attrs["units"]
    raise ValueError(f"{variable.name}: units: got {got!r}, expected dB or linear (1, m2/m2)")


def _decibels(power):
    positive = power > np.float32(FAINT)
    return (10 * np.log10(power.where(positive, np.float32(1)))).where(positive)


def _ndvi(variable, value, of, whole, findings):
    low, high = of.low, of.high
    units = str(variable.attrs.get("units") or "").strip()
    if units and units.lower() not in NO_UNIT | PERCENT:
        raise ValueError(f"S2ndvi: units: got {units!r}, expected '1', or 'percent'")
    if units.lower() in PERCENT and of.count.any():
        if max(-low, high) <= 2 or max(-low, high) > 100:
            got = f"[{low:g}, {high:g}] declared as {units!r}"
            raise ValueError(f"S2ndvi: got {got}, expected NDVI x 100, in [-100, 100]")
        findings.append(declared("S2ndvi: percent divided by 100"))
        return value / np.float32(100)
    if whole and high > 2:
        if high <= 1000 or max(-low, high) > 10_000:
            got = f"whole numbers in [{low:g}, {high:g}]"
            expected = "scale_factor, or a maximum from 1,001 to 10,000 (NDVI x 10,000)"
            raise ValueError(f"S2ndvi: got {got}, expected {expected}")
        what = "S2ndvi: whole numbers without a scale: divided by 10,000"
        findings.append(repair(what, "ndvi-scale"))
        return value / np.float32(10_000)
    if variable.dtype.kind in "iu" and of.count.any():
        got = f"whole numbers in [{low:g}, {high:g}]"
        raise ValueError(f"S2ndvi: got {got}, expected NDVI in [-1, 1], or scale_factor")
    if low < -1 - 1e-5 or high > 1 + 1e-5:
        raise ValueError(f"S2ndvi: got [{low:g}, {high:g}], expected [-1, 1]{_hint(low, high)}")
    return value


def _hint(low, high):
    """What values that are no NDVI may be."""
    if -99 < low < -2 and high < 30:
        return "; it looks like dB: are bands taken by position in another order?"
    if 2 < high <= 100:
        return "; is it in percent (set units = 'percent')?"
    if 100 < high <= 255:
        return "; is it in bytes (set scale_factor, and add_offset)?"
    if high > 255:
        return "; is it scaled by 1e4 (set scale_factor)?"
    return "; is the lowest an undeclared nodata value?" if low <= -99 else ""
