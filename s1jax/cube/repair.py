"""Values repaired or refused: missing as NaN, backscatter in dB, NDVI in [-1, 1]."""

import numpy as np
import xarray as xr

from s1jax.cube.findings import Finding, declared, named, repair
from s1jax.cube.names import LOOKS, RADAR_ALONE, present, sentinel1
from s1jax.cube.values import (
    BRIGHT,
    DB,
    FAINT,
    LEAST,
    LINEAR,
    PERCENT,
    VALID,
    both_units,
    decibels,
    measure,
    signed,
    undeclared_integer,
    value_findings,
    without_fills,
)

NO_UNIT = frozenset({"1", "ndvi", "unitless", "dimensionless", "none", "-", "index", "ratio"})
"""Declarations of NDVI, which has no unit."""
_RANGE = {"dB": (-60.0, 60.0), "linear": (-np.inf, 1 / FAINT)}
"""No backscatter is beyond: thermal noise is near -40 dB, ships and cities below +45 dB."""
_OTHER = {"dB": "linear power", "linear": "dB"}
_NDVI_FILLS = (-9999.0, -32768.0)
"""Fills of NDVI in whole numbers without scale, of which all NDVI is above."""


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
    findings = value_findings(
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
    """Nothing, where the true NDVI that a cube brings along, if any, can be one."""
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
    """Nothing, where all dates are in the unit of the variable and in its range.

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
