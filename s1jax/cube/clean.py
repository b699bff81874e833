"""Values as they should be: fills and dead planes missing, backscatter in dB, NDVI in [-1, 1]."""

import numpy as np
import xarray as xr

from s1jax.cube.facts import (
    BRIGHT,
    FAINT,
    Facts,
    decibels,
    declared_fills,
    facts_of,
    of_both,
    signed,
    undeclared_integer,
    valid_range,
    without_fills,
    without_range,
)
from s1jax.cube.names import ALONE, LOOKS, present, sentinel1
from s1jax.cube.notes import DECLARED, NAMED, fill_line

DB = frozenset({"db", "decibel", "decibels"})
LINEAR = frozenset({"linear", "1", "power", "linear power", "m2/m2", "m2 m-2", "m^2/m^2"})
"""What backscatter in dB, and in linear power, may be declared as, in any case of letters."""
NONE = frozenset({"1", "ndvi", "unitless", "dimensionless", "none", "-", "index", "ratio"})
PERCENT = frozenset({"%", "percent"})
"""What NDVI, which has no unit, and NDVI times 100, may be declared as."""
_OTHER = {"dB": "linear power", "linear": "dB"}
_RANGE = {"dB": (-60.0, 60.0), "linear": (-np.inf, 1 / FAINT)}
"""No backscatter is beyond: thermal noise is near -40 dB, ships and cities below +45 dB."""
LEAST = 8
"""Values of a date from which on its unit is told apart; those of poorer dates are put together."""
_WHOLE = {"S2ndvi": (-9999.0, -32768.0)}
"""Fills of whole numbers without scale: as NDVI they would be -1 and less."""


def clean(ds: xr.Dataset, *, alone: bool = True) -> tuple[xr.Dataset, list[str]]:
    """The cube with NaN where missing, VV and VH in dB, S2ndvi in [-1, 1]; and what was said.

    Missing become: +-inf; values of a declared nodata; a plane (one variable on one date) that is
    one constant over all its pixels; pixels exactly 0 in all bands at once, where there are two
    bands or more, or in VV and VH of one orbit; values outside of a declared valid range; and
    powers not above 0, of which 1 % may be. NDVI in whole numbers without a scale is divided by
    10,000, NDVI declared in percent by 100. S2ndvi may be missing everywhere. An orbit (VV, VH; or
    VV_2, VH_2, ...) that lacks all values of either is left out where another has some.

    A cube in chunks stays so: one pass over it collects counts and extremes of every date, and the
    repairs are made when a chunk is asked for.

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
    fills = {name: declared_fills(ds[name]) for name in names}
    whole = {name for name in names if undeclared_integer(ds[name])}
    assumed = {name: _WHOLE.get(name, ()) if name in whole else () for name in names}
    values, facts = facts_of(ds, {name: fills[name] + assumed[name] for name in names})
    empty, left = _empty_orbits(ds, facts)
    if empty and (len(empty) < len(sentinel1(ds)) or not alone):
        # what is missing in all bands is counted anew, without them
        looks = [f"{name}_{look}" for name in empty for look in LOOKS]
        rest = ds.drop_vars([*empty, *({*looks} & {*ds.variables})])
        rest, said = clean(rest, alone=alone) if present(rest) else (rest, [])
        return rest, [*left, *said]
    said = _said_fills(ds, facts, fills)
    for name in names:
        of = facts[name]
        if not of.count.any() and (name != "S2ndvi" or of.constant.any()):
            raise ValueError(f"{name}: got no value (all NaN, fill or constant), expected some")
    if "S2ndvi" in names and not facts["S2ndvi"].count.any():
        said.append(f"{ALONE} S2ndvi is missing everywhere")
    _truth(ds)
    units, changed = _units(ds, facts, said), {}
    for name in names:
        value = values.pop(name)
        constant = xr.DataArray(facts[name].constant, dims="t")
        if facts[name].constant.any():
            value = value.where(~constant)
        if name == "S2ndvi":
            value, unit = _ndvi(ds[name], value, facts[name], name in whole, said), "1"
        else:
            value, unit = value if units[name] == "dB" else _decibels(value), "dB"
        changed[name] = ds[name].copy(data=value.transpose(*ds[name].dims).data)
        changed[name].attrs = without_range(without_fills(ds[name].attrs)) | {"units": unit}
        changed[name].encoding = {}
    return ds.assign(changed), said


def _empty_orbits(ds, facts):
    """VV and VH of orbits that lack all values of either, and a line about each.

    It tells of a repair where values go with them: those of one polarisation, or constant planes.
    """
    names, said = [], []
    radar = sentinel1(ds)
    pairs = [(name, name.replace("VV", "VH")) for name in radar if name.startswith("VV")]
    for pair in pairs:
        if pair[1] not in radar:
            continue  # in another input
        without = [name for name in pair if not facts[name].count.any()]
        if not without:
            continue
        names += pair
        lost = len(without) == 1 or any(
            facts[name].constant.any() or facts[name].infinite or facts[name].dark.any()
            for name in pair
        )
        why = f"{' and '.join(without)} got no value (all NaN, fill or constant)"
        said.append(f"{'' if lost else NAMED}{', '.join(pair)}: left out, since {why}")
    return names, said


def _truth(ds):
    """Nothing, where the true NDVI that a cube brings along, if any, can be one."""
    if "truth" not in ds.data_vars:
        return
    ends = xr.Dataset({"low": ds["truth"].min(), "high": ds["truth"].max()}).compute()
    low, high = float(ends["low"]), float(ends["high"])
    if low < -1 - 1e-5 or high > 1 + 1e-5:
        raise ValueError(f"truth: got [{low:g}, {high:g}], expected true NDVI in [-1, 1]")


def _said_fills(ds, facts, fills):
    said, t = [], ds["t"].values
    for name, of in facts.items():
        if of.infinite:
            said.append(f"{name}: {of.infinite:,} values of +-inf are missing")
        for fill, count in of.filled.items():
            if count:
                said.append(fill_line(name, count, fill, declared=fill in fills[name]))
        if of.outside:
            low, high = valid_range(ds[name])
            out = f"{of.outside:,} values outside of the valid range [{low:.3g}, {high:.3g}]"
            said.append(f"{DECLARED}{name}: {out} are missing")
        if of.constant.any():
            days = ", ".join(np.datetime_as_string(t[of.constant], unit="D"))
            said.append(f"{name}: {of.constant.sum()} constant plane(s) are missing: {days}")
    # where every band is a constant plane, that has been said
    constant = np.logical_and.reduce([of.constant for of in facts.values()])
    dead = next(iter(facts.values())).dead[~constant].sum()
    if dead:
        said.append(f"{dead:,} pixels x days are exactly 0 in all bands: missing")
    for name in sentinel1(ds)[::2]:
        if dark := facts[name].dark.sum():
            pair = f"{name}, {name.replace('VV', 'VH')}"
            said.append(f"{pair}: {dark:,} pixels x days are exactly 0 in both: missing")
    return said


def _units(ds, facts, said):
    """dB or linear of VV, VH: what is declared, else the sign of most values.

    Of power up to 1 % may be negative, where a noise was taken off.
    """
    names = sentinel1(ds)
    unit = {name: _declared(ds[name]) for name in names}
    unknown = [name for name in names if unit[name] is None]
    part = {name: facts[name].negative.sum() / facts[name].count.sum() for name in names}
    guess = {name: "dB" if part[name] > 0.5 else "linear" for name in unknown}
    if len(set(guess.values())) > 1:
        raise ValueError(
            f"units: got none, values look like {guess}, expected the attribute `units`, or bands "
            "in their order where they were taken by position"
        )
    for name in names:
        of = facts[name]
        found = f"values in [{of.low:g}, {of.high:g}]"
        if name in guess and undeclared_integer(ds[name]):
            raise ValueError(f"{name}: got whole numbers, {found}, expected scale_factor or units")
        if unit[name] == "dB" and of.positive.sum() > 0.5 * of.count.sum():
            raise ValueError(f"{name}: got {found}, expected dB as declared")
        negative = part[name]
        # most being negative, an undeclared unit is dB
        most = 1.0 if unit[name] == "linear" else 0.5
        if unit[name] != "dB" and 0.01 < negative <= most:
            got, declared = f"{found}, {negative:.1%} negative", unit[name] or "none declared"
            raise ValueError(f"{name}: got {got}, expected linear power >= 0 (units: {declared})")
    for name in names:
        _one_unit(name, facts[name], unit[name] or guess[name], ds["t"].values)
    for name, guessed in guess.items():
        said.append(f"{name}: no units declared; by its median it is {guessed}")
    for name in names:
        if (unit[name] or guess[name]) == "linear":
            if lost := (facts[name].count - facts[name].positive).sum():
                said.append(f"{name}: {lost:,} powers not above 0 are missing")
            if lost := (facts[name].positive - facts[name].power).sum():
                said.append(f"{name}: {lost:,} powers not above {FAINT:g} (-60 dB) are missing")
            how = "" if name in guess else DECLARED
            said.append(f"{how}{name}: linear power converted to dB")
    return {name: unit[name] or guess[name] for name in names}


def _one_unit(name, of, unit, t):
    """Nothing, where all dates are in the unit of the variable (`signed`, `of_both`) and in its
    range.

    Raises:
      ValueError: some are not.
    """
    t, count, negative, deep, small, bright = _enough(of, t)
    both = of_both(negative, small, count)
    in_power = ~signed(negative, count) if unit == "dB" else ~decibels(negative, deep, count)
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
    if unit == "linear" and (2 * bright > count).any():
        expected = f"linear power, medians below {BRIGHT:g}: digital numbers are not calibrated"
        raise ValueError(f"{name}: got {got}, expected {expected}")
    low, high = _RANGE[unit]
    if of.low < low or of.high > high:
        expected = f"{unit} in [{low:g}, {high:g}]: is it an undeclared nodata value?"
        raise ValueError(f"{name}: got {got}, expected {expected}")


def _enough(of, t):
    """Dates, counts and parts of them, of dates with enough values; those of the others as one."""
    rich = of.count >= LEAST
    parts = (of.count, of.negative, of.deep, of.small, of.bright)
    if of.count[~rich].sum() < LEAST:
        return t[rich], *(part[rich] for part in parts)
    return np.append(t[rich], t[~rich][0]), *(np.append(p[rich], p[~rich].sum()) for p in parts)


def _declared(variable):
    units = variable.attrs.get("units")
    if units is None or not str(units).strip():
        return None
    if str(units).strip().lower() in DB:
        return "dB"
    if str(units).strip().lower() in LINEAR:
        return "linear"
    raise ValueError(f"{variable.name}: units: got {units!r}, expected dB or linear (1, m2/m2)")


def _decibels(power):
    positive = power > np.float32(FAINT)
    return (10 * np.log10(power.where(positive, np.float32(1)))).where(positive)


def _ndvi(variable, value: xr.DataArray, of: Facts, whole: bool, said: list[str]):
    low, high = of.low, of.high
    units = str(variable.attrs.get("units") or "").strip()
    if units and units.lower() not in NONE | PERCENT:
        raise ValueError(f"S2ndvi: units: got {units!r}, expected '1', or 'percent'")
    if units.lower() in PERCENT and of.count.any():
        if max(-low, high) <= 2 or max(-low, high) > 100:
            got = f"[{low:g}, {high:g}] declared as {units!r}"
            raise ValueError(f"S2ndvi: got {got}, expected NDVI x 100, in [-100, 100]")
        said.append(f"{DECLARED}S2ndvi: percent divided by 100")
        return value / np.float32(100)
    if whole and high > 2:
        if high <= 1000 or max(-low, high) > 10_000:
            got = f"whole numbers in [{low:g}, {high:g}]"
            expected = "scale_factor, or a maximum from 1,001 to 10,000 (NDVI x 10,000)"
            raise ValueError(f"S2ndvi: got {got}, expected {expected}")
        said.append("S2ndvi: whole numbers without a scale: divided by 10,000")
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
