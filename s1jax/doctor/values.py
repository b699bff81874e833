"""Values that are none, units of backscatter, and the range of NDVI."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from s1jax.cube.findings import Finding, dates, share
from s1jax.cube.values import DB, LEAST, LINEAR, Facts, both_units, decibels, measure
from s1jax.cube.values import value_findings as cube_findings
from s1jax.doctor.catalogue import finding

FILLS = (-9999, -32768, 32767, 65535, -999, 9999, -99, 1e20, 9.96921e36, -3.4028235e38)
"""Numbers that stand for "nothing" in common exports and formats."""
NONE, DECIBEL, POWER, BOTH, OTHER = range(5)
"""What a plane looks like: too few values to tell, dB, linear power, a part of each, neither."""
WORDS = ("too few values", "dB", "linear power", "dB and linear power", "neither dB nor power")
_DECLARED = {DECIBEL: DB, POWER: LINEAR}
_PILE = 0.002
"""Share of all values on one end of the range that is called a pile."""
_NEGATIVE = 0.95
"""Share of values below 0 that no vegetation has."""
_Days = Float[np.ndarray, "time"]
_Values = Float[np.ndarray, "..."]


def value_findings(
    ds: xr.Dataset, day: _Days
) -> tuple[list[Finding], dict[str, Float[np.ndarray, "time y x"]], dict[str, Facts]]:
    """Findings about values that are none, the values without them, and the facts of the rest.

    `open_cube` repairs the same, but for undeclared fills and zeros of one variable alone.
    """
    values, facts = measure(ds)
    fills = {name: undeclared_fills(value.values) for name, value in values.items()}
    if any(fills.values()):
        values, facts = measure(ds, fills)
    constant = np.stack([of.constant for of in facts.values()])
    empty = np.stack([of.stored == 0 for of in facts.values()])
    dead = ((constant == 0) | empty).all(axis=0) & (constant == 0).any(axis=0)
    findings = []
    if dead.any():
        exported = "an image masked everywhere is exported as 0"
        evidence = f"{dead.sum()} of {dead.size} dates; {exported}"
        findings.append(finding("dead-period", dates(day[dead]), evidence))
    # a pixel of a constant plane is no finding of its own
    constant = np.isfinite(constant).any(axis=0)
    rest = {
        name: of._replace(
            constant=np.where(dead, np.nan, of.constant),
            dead=np.where(constant, 0, of.dead),
            dark=np.where(dead | np.isfinite(of.constant), 0, of.dark),
        )
        for name, of in facts.items()
    }
    lines = cube_findings(rest, lambda some: dates(day[some]))
    findings += [finding(line.name, line.where, line.what) for line in lines]
    arrays = {}
    for name, of in facts.items():
        array = values[name].transpose("t", "y", "x").values
        array = np.where(np.isfinite(of.constant)[:, None, None], np.float32(np.nan), array)
        zero = of.count - of.negative - of.positive
        if zero.sum() > 0.01 * max(of.count.sum(), 1):
            part = share(zero.sum() / of.count.sum())
            where = f"{name}, {(zero > 0).sum()} dates"
            evidence = f"{zero.sum():,} values ({part}) are exactly 0"
            findings.append(finding("zeros", where, evidence, variable=name))
            array = np.where(array == 0, np.float32(np.nan), array)
            facts[name] = of._replace(count=of.count - zero, small=of.small - zero)
        arrays[name] = array
    return findings, arrays, facts


def undeclared_fills(value: _Values) -> tuple[float, ...]:
    """Fills of `FILLS` that occur 3 times or more and stand alone: beyond what else is there.

    A number counts only outside twice the span of the 1 and 99 % quantiles, so that NDVI stored
    times 10,000 keeps its values. `value` is NaN where missing.
    """
    seen = value[np.isfinite(value)]
    counts = {float(np.float32(fill)): int((seen == np.float32(fill)).sum()) for fill in FILLS}
    candidates = [fill for fill, count in counts.items() if count >= 3]
    rest = seen[~np.isin(seen, np.asarray(candidates, seen.dtype))]
    if not candidates or rest.size == 0:
        return ()
    low, high = np.quantile(rest[:: max(1, rest.size // 200_000)], (0.01, 0.99))
    wide = max(float(high - low), 1.0)
    return tuple(fill for fill in candidates if not low - wide < fill < high + wide)


def units_of_planes(of: Facts) -> Int[np.ndarray, "time"]:
    """What each plane looks like, by the signs and sizes of its values, as `open_cube` has it;
    OTHER where it is not dB and its median is from 10 up (digital numbers)."""
    signs = decibels(of)
    unit = np.where(signs, DECIBEL, np.where(2 * of.bright > of.count, OTHER, POWER))
    unit[signs & both_units(of)] = BOTH
    return np.where(of.count >= LEAST, unit, NONE)


def in_db(value: np.ndarray, unit: Int[np.ndarray, "time"]) -> np.ndarray:
    """Backscatter, (time, ...), in dB, by the unit of each plane; NaN where it is unknown."""
    unit = unit.reshape(-1, *([1] * (value.ndim - 1)))
    power = (unit == POWER) | ((unit == BOTH) & (value >= 0) & (value < 1))
    positive = power & (value > 0)
    db = 10 * np.log10(np.where(positive, value, value.dtype.type(1)))
    nothing = value.dtype.type(np.nan)
    db = np.where(power, np.where(positive, db, nothing), value)
    return np.where(unit == OTHER, nothing, db)


def unit_findings(
    unit: Mapping[str, Int[np.ndarray, "time"]], declared: Mapping[str, str], day: _Days
) -> list[Finding]:
    """Findings about the units of all radar variables: of each plane (`units_of_planes`), and as
    declared, "" where not."""
    usual = {name: _commonest(of) for name, of in unit.items()}
    agree = all(declared[n].lower() in _DECLARED.get(u, ()) for n, u in usual.items())
    findings = [_mixed(unit, usual, day, agree)]
    for name, of in unit.items():
        judged = max((of != NONE).sum(), 1)
        if usual[name] == OTHER:
            evidence = f"{(of == OTHER).sum()} of {judged} planes, declared: "
            evidence += declared[name] or "nothing"
            findings.append(finding("units-unknown", name, evidence, variable=name))
        elif usual[name] in _DECLARED and declared[name]:
            kinds = [k for k, words in _DECLARED.items() if declared[name].lower() in words]
            if usual[name] in kinds:
                continue
            looks = f"{share((of == usual[name]).sum() / judged)} of the planes look like"
            stated, word = WORDS[kinds[0]] if kinds else "an unknown unit", WORDS[usual[name]]
            evidence = f"units: {declared[name]!r}; {looks} {word}"
            words = {"declared": stated, "variable": name, "unit": word}
            findings.append(finding("units-contradict", name, evidence, kind=None, **words))
    bare = [name for name in unit if not declared[name] and usual[name] in _DECLARED]
    if bare:
        looks = ", ".join(f"{name} {WORDS[usual[name]]}" for name in bare)
        evidence = f"by sign and size: {looks}"
        findings.append(finding("units-undeclared", ", ".join(bare), evidence, variable=bare[0]))
    return [one for one in findings if one is not None]


def _commonest(unit):
    """The commonest unit of planes; NONE where no plane has enough values."""
    count = np.bincount(unit, minlength=len(WORDS))
    count[NONE] = 0
    return int(count.argmax()) if count.any() else NONE


def _mixed(unit, usual, day, agree):
    """dB and power in one cube: inside planes, between dates, or between variables."""
    where, evidence = [], []
    for name, of in unit.items():
        inside = of == BOTH
        if inside.any():
            where.append(f"{name} within {dates(day[inside])}")
            evidence.append(f"{name}: {inside.sum()} planes hold both dB and linear power")
        db, power = (of == DECIBEL).sum(), (of == POWER).sum()
        if db and power:
            odd = of == (DECIBEL if db < power else POWER)
            where.append(f"{name} on {dates(day[odd])}")
            evidence.append(f"{name}: {db} dates in dB, {power} in linear power")
    clear = {name: u for name, u in usual.items() if u in _DECLARED}
    if len(set(clear.values())) > 1:
        where.append("between variables")
        evidence.append(", ".join(f"{name} in {WORDS[u]}" for name, u in clear.items()))
    if not where:
        return None
    mixed = finding("units-mixed", "; ".join(where), "; ".join(evidence))
    return mixed._replace(repaired=agree and where == ["between variables"])


def ndvi_scale(ndvi: _Values) -> float:
    """What NDVI was multiplied by: 1, 100, 255 or 10,000; by its 99 % quantile of absolute values.

    255 stands for bytes, of which 0 and 255 may be any NDVI.
    """
    seen = np.abs(ndvi[np.isfinite(ndvi)])
    top = float(np.quantile(seen, 0.99)) if seen.size else 0.0
    if is_radar(ndvi) or top <= 2.0:
        return 1.0
    return 100.0 if top <= 120.0 else 255.0 if top <= 255.0 else 10_000.0


def is_radar(ndvi: _Values) -> bool:
    """Whether "NDVI" looks like backscatter in dB: median below -2, nothing beyond +-70."""
    seen = ndvi[np.isfinite(ndvi)]
    return seen.size > 0 and bool(np.median(seen) < -2.0 and np.abs(seen).max() < 70.0)


def in_range(ndvi: _Values) -> _Values:
    """NDVI unscaled, NaN where it is out of [-1, 1], exactly on an end, or no NDVI at all."""
    if is_radar(ndvi):
        return np.full_like(ndvi, np.nan)
    value = ndvi / ndvi.dtype.type(ndvi_scale(ndvi))
    return np.where(np.abs(value) < 1.0, value, ndvi.dtype.type(np.nan))


def ndvi_findings(ndvi: _Values) -> list[Finding]:
    """Findings about scale, range and clamped values; `ndvi` as stored, NaN where missing."""
    seen = ndvi[np.isfinite(ndvi)]
    if seen.size == 0:
        return []
    low, high, factor = float(seen.min()), float(seen.max()), ndvi_scale(ndvi)
    values = f"values in [{low:g}, {high:g}]"
    if is_radar(ndvi):
        remedy = "bands were taken by position in another order: name them VV, VH, NDVI"
        why, evidence = "it looks like backscatter in dB", f"{values}, median {np.median(seen):.1f}"
        return [finding("ndvi-range", "S2ndvi", evidence, why=why, remedy=remedy)]
    findings = []
    if factor != 1.0:
        findings.append(finding("ndvi-scale", "S2ndvi", values, factor=f"{factor:,.0f}"))
    value = seen / factor
    outside = np.abs(value) > 1.0 + 1e-5
    if outside.any():
        part = share(outside.mean(), digits=3)
        ends = f"[{value[outside].min():g}, {value[outside].max():g}]"
        why = "reflectances were negative, or a fill is undeclared"
        remedy = "mask reflectances not above 0 before the ratio, never clamp after it"
        evidence = f"{outside.sum():,} values ({part}) in {ends}"
        findings.append(finding("ndvi-range", "S2ndvi", evidence, why=why, remedy=remedy))
    negative = float((value < 0).mean())
    if negative > _NEGATIVE:
        evidence = f"{share(negative)} of {value.size:,} values are below 0"
        findings.append(finding("ndvi-negative", "S2ndvi", evidence))
    return [*findings, *_clamped(value[~outside])]


def _clamped(value):
    """Exact +-1, or a pile of equal values at an end of the range."""
    if value.size == 0:
        return []
    ends = float(value.min()), float(value.max())
    count = [int((value == end).sum()) for end in ends]
    exact = [n for n, end in zip(count, ends, strict=True) if abs(end) > 1.0 - 1e-5 and n]
    # NDVI stored as integers repeats values by chance: an end must hold more than what lies there
    piled = [n > max(20.0, _PILE * value.size) for n in count]
    if sum(exact) < max(3.0, 1e-5 * value.size) and not any(piled):
        return []
    shown = [f"{n:,} values are exactly {e:g}" for n, e in zip(count, ends, strict=True) if n > 1]
    return [finding("ndvi-clamped", "S2ndvi", "; ".join(shown))]


def swapped(vv_db: _Values, vh_db: _Values) -> Finding | None:
    """VH above VV on most pixels and days: no natural surface does that; the bands are swapped."""
    both = np.isfinite(vv_db) & np.isfinite(vh_db)
    above = (vh_db[both] > vv_db[both]).mean() if both.any() else 0.0
    if above <= 0.5:
        return None
    evidence = f"VH above VV in {share(above)} of {both.sum():,} values; no natural surface is so"
    return finding("polarisations-swapped", "VV, VH", evidence)
