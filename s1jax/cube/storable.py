"""Names, attributes and types as a file can hold them; what changes on the way is said."""

import hashlib
import json
import logging
import math
import reprlib
from collections.abc import Collection, Mapping
from datetime import date
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from s1jax.cube.notes import with_notes

log = logging.getLogger("s1jax")
_RESERVED = {
    ".nc": {
        "CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "_Netcdf4Dimid",
        "_Netcdf4Coordinates", "_nc3_strict", "_NCProperties",
    },
    ".zarr": {"_ARRAY_DIMENSIONS", "_NCProperties"},
}  # fmt: skip
"""Attributes that the format keeps for itself."""
_PACKING = ("_FillValue", "missing_value", "scale_factor", "add_offset")
"""Attributes that readers apply to the values: numbers, or nothing."""
_CALENDAR = ("units", "calendar", "dtype")
"""Attributes of dates, which the writer makes."""
_NAME = 200
"""Bytes of the name of a variable: a folder of a Zarr store, which most disks limit to 255."""
_NESTED = 64
"""Levels of lists and dicts in an attribute; JSON is read and written by recursion."""
_INT = range(-(2**63), 2**63)
_MOST = 4000
"""Items of an attribute: HDF5 has room for 64 kB in one."""


def storable(ds: xr.Dataset, suffix: str) -> xr.Dataset:
    """The cube that a .nc or .zarr file can hold; a line in attrs["s1jax_repairs"] of each change.

    An attribute that has no form in the format becomes its text: JSON of a dict, of a list of other
    than numbers or texts alone, and of a list in a list; ISO 8601 of a date; else what Python
    prints. NumPy's numbers stay numbers. A name that is no text, or that a format cannot hold,
    becomes a text that it can; objects among coordinates and variables become texts, dates or
    numbers. Encodings of other files are left out. Each line is logged as a warning.

    Raises:
      ValueError: values of a type that the format does not have, or two names that would be one.
    """
    said: list[str] = []
    names = _renamed([*ds.variables, *(dim for dim in ds.dims if dim not in ds.variables)], said)
    data, coords = {}, {}
    for name, variable in ds.variables.items():
        made = variable.to_base_variable().copy(deep=False)
        values = _values(variable, names[name], suffix, said)
        if values is not None:
            made = xr.Variable(made.dims, values)
        made.dims = tuple(names[dim] for dim in variable.dims)
        made.encoding = {}
        attrs = _attributes(variable.attrs, suffix, f"{names[name]}: attribute", said)
        for key in _spurious(attrs, made.dtype):
            said.append(f"{names[name]}: attribute {key}: got {attrs[key]!r}, left out")
            attrs.pop(key)
        made.attrs = attrs
        into = coords if name in ds.coords else data
        into[names[name]] = made
    attrs = dict(ds.attrs)
    if "coordinates" in attrs:
        # where xarray keeps the names of coordinates that are of no variable
        said.append("attribute coordinates: written as 'coordinates_'")
        attrs["coordinates_"] = attrs.pop("coordinates")
    out = xr.Dataset(data, coords, _attributes(attrs, suffix, "attribute", said))
    for line in said:
        log.warning("%s", line)
    return with_notes(out, said) if said else out


def _renamed(names: list, said: list[str]) -> dict:
    """The name of each variable and dimension in a file."""
    out: dict = {}
    for name in names:
        text = name if isinstance(name, str) else str(name)
        text = "".join("_" if c in "/\\" or not c.isprintable() else c for c in text)
        text = text.strip()
        if text in ("", ".", "..") or text.startswith(("__", ".z")):
            text = f"_{text.lstrip('._')}"
        if len(text.encode()) > _NAME:
            # its digest tells it from others that begin as it does
            mark = hashlib.sha256(text.encode()).hexdigest()[:8]
            text = f"{text.encode()[: _NAME - 9].decode(errors='ignore')}_{mark}"
        if text != name:
            said.append(f"name {name!r}: written as {text!r}")
        if text in out.values():
            twice = [*out][[*out.values()].index(text)]
            raise ValueError(f"names {twice!r} and {name!r}: got two that a file holds as {text!r}")
        out[name] = text
    return out


def _values(variable: xr.Variable, name: str, suffix: str, said: list[str]):
    """The values of a variable as a type that the format has; None where they are of one."""
    dtype = variable.dtype
    if not isinstance(dtype, np.dtype) or dtype.kind == "T":
        # a column of pandas, or NumPy's text of any length
        return _objects(np.asarray(variable.values, object), name, f"{dtype}", said)
    if dtype.kind == "O":
        values = np.asarray(variable.values, object)
        missing = pd.isna(values)
        if all(isinstance(value, str) for value in values[~missing].ravel()) and not missing.any():
            return None
        return _objects(values, name, "objects", said)
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):
        wider = np.float32 if dtype.itemsize == 2 else np.float64
        said.append(f"{name}: {dtype} written as {np.dtype(wider)}")
        return variable.astype(wider).data
    if dtype.kind in "cV":
        raise ValueError(f"{name}: got {dtype}, expected numbers, dates or texts for a {suffix}")
    return None


def _objects(values: np.ndarray, name: str, what: str, said: list[str]) -> np.ndarray:
    """Objects as dates, numbers or texts, whichever all of them are; a missing text is ''."""
    missing = pd.isna(values)
    some = values[~missing].ravel()
    if some.size and all(isinstance(value, date | np.datetime64) for value in some):
        made = np.full(values.shape, np.datetime64("NaT", "ns"))
        made[~missing] = [np.datetime64(_naive(value), "ns") for value in some]
    elif some.size and all(isinstance(value, bool | np.bool_) for value in some):
        if missing.any():
            made = np.where(missing, np.nan, values).astype(np.float32)
        else:
            made = values.astype(bool)
    elif some.size and all(map(_is_number, some)):
        whole = not missing.any() and all(isinstance(value, Integral) for value in some)
        made = values.astype(np.int64) if whole else np.where(missing, np.nan, values).astype(float)
    else:
        made = np.full(values.shape, "", object)
        made[~missing] = [_text(value) for value in some]
        made = made.astype(str).astype(object)
        if not missing.any() and all(isinstance(value, str) for value in some):
            return made
    blank = f", {int(missing.sum())} missing" if missing.any() else ""
    said.append(f"{name}: {what} written as {_KINDS[made.dtype.kind]}{blank}")
    return made


_KINDS = {"M": "dates", "b": "truth values", "i": "whole numbers", "f": "numbers", "O": "texts"}


def _naive(moment):
    """A moment without a zone: UTC where it had one."""
    if getattr(moment, "tzinfo", None) is None:
        return moment
    return pd.Timestamp(moment).tz_convert("UTC").tz_localize(None).to_datetime64()


def _attributes(attrs: Mapping, suffix: str, where: str, said: list[str]) -> dict[str, Any]:
    """Attributes under names and in forms that the format has."""
    out: dict[str, Any] = {}
    for key, value in attrs.items():
        name = key if isinstance(key, str) else str(key)
        name = "".join("_" if c == "/" or not c.isprintable() else c for c in name) or "_"
        while name in out or name in _RESERVED[suffix] or (name != key and name in attrs):
            name += "_"
        if name != key:
            said.append(f"{where} {key!r}: written as {name!r}")
        exact, made = _stored(value, suffix)
        if not exact:
            short = repr(made) if len(repr(made)) <= 60 else f"{repr(made)[:57]}..."
            kind = type(value).__name__
            said.append(f"{where} {name}: {kind} has no form in {suffix}, written as {short}")
        out[name] = made
    return out


def _spurious(attrs: Mapping, dtype: np.dtype) -> list[str]:
    """Attributes that a writer or reader would stumble over for values of a type."""
    keys = [k for k in _PACKING if k in attrs and np.ravel(attrs[k]).dtype.kind not in "iuf"]
    for key in ("_FillValue", "missing_value"):
        if key in attrs and key not in keys and dtype.kind in "iub":
            fill = np.ravel(attrs[key])
            low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
            if not np.all((fill == np.round(fill)) & (fill >= low) & (fill <= high)):
                keys.append(key)
    if dtype.kind not in "iufb":
        keys += [k for k in _PACKING if k in attrs and k not in keys]
    if dtype.kind in "mMb":
        keys += [k for k in _CALENDAR if k in attrs and (k == "dtype" or dtype.kind in "mM")]
    # the writer lists the coordinates of the cube itself
    return [*dict.fromkeys(keys), *({"coordinates"} & set(attrs))]


def _stored(value: Any, suffix: str) -> tuple[bool, Any]:
    """Whether the format has a form for an attribute, and that form, or its text."""
    if _endless(value):
        return False, _text(value)
    if isinstance(value, np.ndarray | np.generic):
        value = _of_numpy(value)
    if isinstance(value, str):
        plain = _sound(value)
        return plain == value, plain
    if suffix == ".zarr":
        exact = _is_json(value)
        return exact, _plain(value) if exact else _text(value)
    if _is_number(value):
        return True, _plain_number(value)
    if type(value) in (list, tuple) and 0 < len(value) <= _MOST:
        if all(map(_is_number, value)):
            return True, np.asarray([_plain_number(item) for item in value])
        if all(isinstance(item, str) and _sound(item) == item for item in value):
            return True, list(map(str, value))
    return False, _text(value)


def _sound(text: str) -> str:
    """A text without what UTF-8 or C have no form for."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")


def _of_numpy(value):
    """An array or scalar of NumPy as Python has it; single precision stays what it is."""
    if np.ndim(value) == 0:
        item = value[()] if isinstance(value, np.ndarray) else value
        return item if np.result_type(item).kind in "mM" else _own(item)
    if value.dtype.kind in "mM":
        return [str(item) for item in value.ravel()] if value.ndim == 1 else value.astype(str)
    return value.tolist() if value.dtype.kind not in "fiu" or value.ndim != 1 else [*value]


def _own(item):
    """A scalar as Python's own where that is the same thing."""
    keeps = isinstance(item, np.floating | np.integer)
    return item if keeps or not isinstance(item, np.generic) else item.item()


def _is_number(value: Any) -> bool:
    """Whether both formats hold a number as it is."""
    if isinstance(value, np.generic):
        return value.dtype.kind in "iu" or (value.dtype.kind == "f" and value.itemsize in (4, 8))
    if isinstance(value, int):
        return not isinstance(value, bool) and int(value) in _INT
    return isinstance(value, float)


def _plain_number(value):
    """A number of an enumeration, say, as Python's or NumPy's own."""
    if isinstance(value, np.generic):
        return value
    return int(value) if isinstance(value, int) else float(value)


def _is_json(value: Any) -> bool:
    """Whether JSON holds a value as it is: no NaN, no key that is no text, no tuple of a name."""
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, str):
        return _stored(value, ".zarr")[0]
    if _is_number(value):
        return not isinstance(value, float | np.floating) or math.isfinite(value)
    if type(value) in (list, tuple):
        return all(map(_is_json, value))
    if type(value) is dict:
        return all(isinstance(key, str) for key in value) and all(map(_is_json, value.values()))
    return False


def _text(value: Any) -> str:
    """A value as text, from which a reader can tell what it was."""
    if value is None or isinstance(value, bool | np.bool_):
        return str(value)
    if _endless(value):
        return _sound(reprlib.repr(value))
    made = _plain(value)
    return _sound(made if isinstance(made, str) else json.dumps(made, ensure_ascii=False))


def _endless(value: Any, level: int = 0) -> bool:
    """Whether lists and dicts hold themselves, or others deeper than JSON can be read."""
    if isinstance(value, xr.DataArray | xr.Variable | np.ndarray):
        value = [*np.asarray(value).flat] if value.dtype.kind == "O" else ()
    if isinstance(value, Mapping):
        value = value.values()
    if not isinstance(value, Collection) or isinstance(value, str | bytes | range):
        return False
    return level == _NESTED or any(_endless(item, level + 1) for item in value)


def _plain(value: Any):
    """A value of what JSON knows; texts of all else."""
    if isinstance(value, xr.DataArray | xr.Variable | np.ndarray):
        value = np.asarray(value)
        return _plain((value.astype(str) if value.dtype.kind in "mM" else value).tolist())
    if isinstance(value, np.generic):
        # of dates and long doubles NumPy itself makes no text that is exact but this
        return str(value) if value.dtype.char in "mMVgG" else _plain(value.item())
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | float):
        return _plain_number(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, Mapping):
        return {_sound(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(_plain, value), key=str)
    if isinstance(value, date):
        return value.isoformat()
    if type(value).__name__ == "Affine":
        # its text rounds
        return ", ".join(repr(float(v)) for v in [*value][:6])
    if isinstance(value, Collection):
        return [_plain(item) for item in value]
    return str(value)
