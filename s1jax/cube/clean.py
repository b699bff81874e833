"""Values as they should be: fills and dead planes missing, backscatter in dB, NDVI in [-1, 1]."""

import numpy as np
import xarray as xr

from s1jax.cube.names import channels, sentinel1

_DB = {"db", "decibel", "decibels"}
_LINEAR = {"linear", "1", "power", "linear power", "m2/m2", "m2 m-2", "m^2/m^2"}
_NODATA = ("nodata", "nodatavals", "missing_value", "_FillValue")


def clean(ds: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
    """The cube with NaN where missing, VV and VH in dB, S2ndvi in [-1, 1]; and what was said.

    Missing become: +-inf; values of a declared nodata; a plane (one variable on one date) that is
    one constant over all its pixels; and pixels exactly 0 in all bands at once.

    Raises:
      ValueError: units contradict the values, NDVI outside [-1, 1], or a variable without values.
    """
    ds, said = _fills(ds)
    for name in channels(ds):
        if not np.isfinite(ds[name].values).any():
            raise ValueError(f"{name}: got no value (all NaN, fill or constant), expected some")
    ds, converted = _backscatter(ds)
    return _check_ndvi(ds), said + converted


def _fills(ds):
    said, values = [], {}
    for name in channels(ds):
        # a copy: the caller's Dataset stays as it is
        value = np.array(ds[name].values, dtype=np.float32)
        infinite = np.isinf(value)
        if infinite.any():
            said.append(f"{name}: {infinite.sum():,} values of +-inf are missing")
            value[infinite] = np.nan
        for key in _NODATA:
            for fill in np.atleast_1d(ds[name].attrs.get(key, np.nan)).astype(np.float32):
                filled = value == fill
                if filled.any():
                    said.append(f"{name}: {filled.sum():,} values of nodata {fill:g} are missing")
                    value[filled] = np.nan
        values[name] = value
    dead = np.logical_and.reduce([value == 0 for value in values.values()])
    for name, value in values.items():
        planes = _constant_planes(value)
        if planes.any():
            days = ", ".join(np.datetime_as_string(ds["t"].values[planes], unit="D"))
            said.append(f"{name}: {planes.sum()} constant plane(s) are missing: {days}")
        value[planes] = np.nan
        dead[planes] = False
        value[dead] = np.nan
    if dead.any():
        said.append(f"{dead.sum():,} pixels x days are exactly 0 in all bands: missing")
    replaced = {name: ds[name].copy(data=value) for name, value in values.items()}
    for variable in replaced.values():
        for key in _NODATA:
            variable.attrs.pop(key, None)
    return ds.assign(replaced), said


def _constant_planes(value):
    """Dates on which all values are one: at least 2, and half of the pixels that ever have any."""
    finite = np.isfinite(value)
    count = finite.sum(axis=(1, 2))
    least = max(2, finite.any(axis=0).sum() / 2)
    low = np.where(finite, value, np.inf).min(axis=(1, 2), initial=np.inf)
    high = np.where(finite, value, -np.inf).max(axis=(1, 2), initial=-np.inf)
    return (count >= least) & (low == high)


def _backscatter(ds):
    """VV, VH in dB, by what is declared, else by the sign of the median."""
    said, changed = [], {}
    names = sentinel1(ds)
    unit = {name: _declared(ds[name]) for name in names}
    unknown = [name for name in names if unit[name] is None]
    guess = {name: "dB" if np.nanmedian(ds[name].values) < 0 else "linear" for name in unknown}
    if len(set(guess.values())) > 1:
        raise ValueError(
            f"units: got none, values look like {guess}, expected the attribute `units`"
        )
    for name, guessed in guess.items():
        said.append(f"{name}: no units declared; by its median it is {guessed}")
    for name in names:
        value = ds[name].values
        finite = np.isfinite(value)
        low, high = value[finite].min(), value[finite].max()
        if unit[name] == "dB" and np.median(value[finite]) > 0:
            raise ValueError(f"{name}: got values in [{low:g}, {high:g}], expected dB as declared")
        negative = (value[finite] < 0).mean()
        if (unit[name] == "linear" and negative > 0) or (name in guess and 0.01 < negative < 0.5):
            got = f"values in [{low:g}, {high:g}], {negative:.1%} negative"
            declared = unit[name] or "none declared"
            raise ValueError(f"{name}: got {got}, expected linear power >= 0 (units: {declared})")
        if (unit[name] or guess[name]) == "linear":
            positive = finite & (value > 0)
            if (finite & ~positive).any():
                lost = (finite & ~positive).sum()
                said.append(f"{name}: {lost:,} powers not above 0 are missing")
            value = 10 * np.log10(np.where(positive, value, np.float32(1)))
            value = np.where(positive, value, np.float32(np.nan))
            said.append(f"{name}: linear power converted to dB")
        changed[name] = ds[name].copy(data=value).assign_attrs(units="dB")
    return ds.assign(changed), said


def _declared(variable):
    units = variable.attrs.get("units")
    if units is None or not str(units).strip():
        return None
    if str(units).strip().lower() in _DB:
        return "dB"
    if str(units).strip().lower() in _LINEAR:
        return "linear"
    raise ValueError(f"{variable.name}: units: got {units!r}, expected dB or linear (1, m2/m2)")


def _check_ndvi(ds):
    value = ds["S2ndvi"].values
    low, high = np.nanmin(value), np.nanmax(value)
    if low < -1 - 1e-5 or high > 1 + 1e-5:
        hint = ""
        if high > 2:
            hint = "; is it scaled by 1e4 (set scale_factor)?"
        elif low <= -99:
            hint = "; is the lowest an undeclared nodata value?"
        raise ValueError(f"S2ndvi: got [{low:g}, {high:g}], expected [-1, 1]{hint}")
    return ds.assign(S2ndvi=ds["S2ndvi"].assign_attrs(units="1"))
