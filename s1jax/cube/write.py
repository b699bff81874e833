"""A cube in a file: what it replaces, and the names, attributes and types that a file can hold."""

import hashlib
import io
import json
import logging
import math
import os
import re
import reprlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from s1jax import files
from s1jax.cube.findings import repair, with_findings
from s1jax.cube.grid import CONVENTIONS, georeferenced, grid_mapping
from s1jax.cube.provenance import is_store, naming_damage, own_version, refuse_source

log = logging.getLogger("s1jax")

_OF_ZARR = re.compile(r"\.z(group|attrs|array|metadata)|zarr\.json|\d+(\.\d+)*|c|.*\.partial")
"""Names of the files of a store."""


def write(
    ds: xr.Dataset, path: str | Path, *, tile: int | None = None, replace_source: bool = False
) -> None:
    """The cube in a file: NetCDF (.nc, deflated) or Zarr (.zarr), CRS and coordinates as they are.

    The file is whole or not there. What no file can hold becomes text, and a message (`storable`).
    A cube in chunks is written chunk by chunk.

    Args:
      ds: the cube.
      path: .nc or .zarr; replaced where it exists. A link is followed.
      tile: rows and columns of a Zarr chunk, which then holds all dates; zarr's own choice if None.
      replace_source: whether the file that a cube in memory was read from may be replaced, or any
        that holds radar and that s1jax did not write. One whose values are still to be read never
        is.

    Raises:
      ValueError: as `target`, values that the format has no type for, or values of the cube that
        cannot be read; the message names file, variable and chunk.
      OSError: the file cannot be written; the message names the path and a remedy.
    """
    path = target(ds, path, in_memory=replace_source)
    made = prepared(ds, path.suffix, tile=tile)
    with replacing_cube(path) as part, naming_damage(ds, {}):
        put(made, part)


def target(
    ds: xr.Dataset, path: str | Path, *, in_memory: bool = False, product: bool = False
) -> Path:
    """The path that is to be written of a cube, or of what is made of it; links followed.

    With `in_memory` its source (`refuse_source`), or a cube that s1jax did not write, may be
    replaced; a product replaces nothing but maps.

    Raises:
      ValueError: another suffix, a server, a source of the cube, or what is there already is not to
        be replaced.
    """
    files.refuse_remote(path)
    path = Path(path).expanduser()
    if path.suffix not in (".nc", ".zarr"):
        raise ValueError(f"{path}: got suffix {path.suffix!r}, expected a .nc or .zarr file")
    real = Path(os.path.realpath(path))
    refuse_source(ds, path, in_memory=in_memory)
    # nor may the cube be read from what lies beside the path for a while
    for beside in (files.part_of(real), files.old_of(real)):
        refuse_source(ds, beside)
    if path.suffix == ".nc" and real.is_dir():
        raise ValueError(f"{path}: got a folder, expected a file, or a new path")
    if path.suffix == ".zarr":
        with _naming(real):
            for there in (real, files.part_of(real), files.old_of(real)):
                _refuse_other(there)
    if not in_memory:
        _refuse_input(path, real, product)
    return real


def _refuse_input(path, real, product):
    """Refuse to replace by a map what is none, and by a cube one that s1jax did not write."""
    # a cube that was rebuilt from its arrays does not say which file it was read from
    names, attrs = _content(real)
    radar = sorted(name for name in names if re.match(r"(VV|VH)(_|$)", name))
    if product and names and (radar or "S2ndvi_FUSED" not in names):
        raise ValueError(
            f"{path}: got a cube of {', '.join((radar or sorted(names))[:4])}, which is no map, "
            "expected a new path, or a map to replace"
        )
    if radar and not product and not any(name.startswith("s1jax_") for name in attrs):
        raise ValueError(
            f"{path}: got a cube of {', '.join(radar)} that s1jax did not write, expected "
            "a new path, or replace_source=True"
        )


def _content(path):
    """Names of the variables and of the attributes of a file; none where it cannot be read."""
    if not path.exists():
        return set(), set()
    if path.suffix == ".zarr":
        names = {inside.name for inside in path.iterdir() if is_store(inside)}
        of_2, of_3 = (_json(path / mark) for mark in (".zattrs", "zarr.json"))
        of_3 = of_3.get("attributes", {})
        return names, {*of_2, *(of_3 if isinstance(of_3, dict) else ())}
    try:
        with xr.open_dataset(path, decode_cf=False, cache=False) as ds:
            return set(map(str, ds.variables)), set(map(str, ds.attrs))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return set(), set()


def _refuse_other(path):
    """Refuse to replace a folder that is more than a store of one cube; the message names what."""
    if not path.exists():
        return
    if not path.is_dir():
        expected = "a Zarr store, or a path where there is none"
        raise ValueError(f"{path}: got a file, expected {expected}")
    groups, got = [], ""
    for folder, folders, names in os.walk(path):
        other = [Path(folder, name) for name in names if not _OF_ZARR.fullmatch(name)]
        other += [Path(folder, name) for name in folders if name.startswith(".")]
        if other:
            got = f"a folder with {other[0]}"
        if ".zgroup" in names or _json(Path(folder, "zarr.json")).get("node_type") == "group":
            groups.append(folder)
    if not got and not is_store(path) and any(path.iterdir()):
        got = "a folder that is no Zarr store"
    if len(groups) > 1:
        got = got or f"a Zarr store of the groups {sorted(groups)[1:4]}"
    if got:
        raise ValueError(f"{path}: got {got}, expected a Zarr store of one cube, or none")


def _json(path) -> dict:
    """The JSON object in a file; an empty one where there is none."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


# writing


def prepared(ds: xr.Dataset, suffix: str, *, tile: int | None = None) -> xr.Dataset:
    """The cube as it is stored: georeferenced, storable, with the encodings of its variables."""
    out = storable(georeferenced(ds), suffix)
    out = out.assign_attrs(Conventions=CONVENTIONS, s1jax_version=own_version())
    reference = grid_mapping(out)
    for name in out.variables:
        variable = out[name].variable.copy(deep=False)
        variable.attrs = {k: v for k, v in variable.attrs.items() if k != "grid_mapping"}
        if variable.dtype.kind in "fiub" and variable.ndim > 1 and suffix == ".nc":
            variable.encoding = {"zlib": True, "complevel": 4}
        if reference is not None and {"y", "x"} <= set(variable.dims):
            variable.encoding["grid_mapping"] = reference
        if tile is not None and suffix == ".zarr" and variable.ndim > 1:
            variable.encoding["chunks"] = tuple(
                min(tile, size) if dim in ("y", "x") else size
                for dim, size in variable.sizes.items()
            )
        if suffix == ".zarr" and variable.chunks is not None:
            # a task writes whole chunks of the store, and those are of one size
            of = variable.encoding.get("chunks", tuple(map(max, variable.chunks)))
            variable = variable.chunk(dict(zip(variable.dims, of, strict=True)))
        out[name] = variable
    return out


def put(made: xr.Dataset, part: Path) -> None:
    """Write a cube of `prepared` to the path of `replacing_cube`; an OSError where that failed."""
    if part.with_suffix("").suffix == ".zarr":
        # format 2: fixed-length strings (field_id) and consolidated metadata are in its standard
        made.to_zarr(part, mode="a", zarr_format=2, consolidated=True)
        return
    with _Checked(part, "w+b") as file:
        try:
            made.to_netcdf(file, engine="h5netcdf")
        except (OSError, RuntimeError, AttributeError) as error:
            # HDF5 stumbles over what it could not write
            raise file.failure or error from error
        if file.failure is not None:
            raise file.failure


class _Checked(io.FileIO):
    """A file that keeps the first error of a write to itself until HDF5 has closed it.

    HDF5 1.14 ends the process where the disk refuses what it flushes on closing.
    """

    failure: OSError | None = None

    def write(self, data) -> int:
        view = memoryview(data).cast("B")
        at = 0
        try:
            while at < len(view):
                at += super().write(view[at:])
        except OSError as error:
            self.failure = self.failure or error
        return len(view)

    def truncate(self, size=None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0


@contextmanager
def replacing_cube(
    path: Path, *, keep_unfinished: Callable[[], bool] = lambda: False
) -> Iterator[Path]:
    """A path to write to, which takes the place of `path`, of `target`, once the block is over.

    Where the block raises, what was at `path` stays, and with `keep_unfinished` an unfinished Zarr
    store beside it; an OSError then says where that is.

    Raises:
      OSError: the folder or the file cannot be written; it names path and remedy.
    """
    is_folder = path.suffix == ".zarr"
    with _naming(path, lambda: files.part_of(path) if is_folder and keep_unfinished() else None):
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_folder:
            writing = files.replacing_folder(
                path, refuse_other=_refuse_other, keep_unfinished=keep_unfinished
            )
        else:
            writing = files.replacing(path)
        with writing as part:
            yield part


@contextmanager
def _naming(path, left=lambda: None):
    """An OSError within says which path could not be written, what to do, and what is `left`."""
    try:
        yield
    except OSError as error:
        elsewhere = error.filename is not None and not _beside(error.filename, path.parent)
        if error.errno is None or elsewhere:
            raise  # of what is read, not written
        what = error.strerror or str(error)
        kept = left()
        rest = f"; the tiles that were written are in {kept}" if kept else ""
        advice = files.remedy(error.errno) or "choose another path"
        text = f"{path}: cannot be written ({what}): {advice}{rest}"
        # without strerror, so that no caller adds a path or a remedy again
        named = type(OSError(error.errno, text))(text)
        named.errno = error.errno
        raise named from error


def _beside(name, folder):
    """Whether a file is in a folder, or is one of those that the folder is in."""
    at, folder = Path(os.path.realpath(name)), Path(os.path.realpath(folder))
    return at.is_relative_to(folder) or folder.is_relative_to(at)


# what a file can hold

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
_KINDS = {"M": "dates", "b": "truth values", "i": "whole numbers", "f": "numbers", "O": "texts"}


def storable(ds: xr.Dataset, suffix: str) -> xr.Dataset:
    """The cube that a .nc or .zarr file can hold; a line in attrs["s1jax_repairs"] of each change.

    An attribute that has no form in the format becomes its text: JSON of dicts and lists, ISO 8601
    of a date, else what Python prints. A name that a format cannot hold becomes one that it can;
    objects become texts, dates or numbers. Encodings of other files are left out. Each line is
    logged as a warning.

    Raises:
      ValueError: values of a type that the format does not have, or two names that would be one.
    """
    messages: list[str] = []
    names = _names([*ds.variables, *(dim for dim in ds.dims if dim not in ds.variables)], messages)
    data, coords = {}, {}
    for name, variable in ds.variables.items():
        text = names[name]
        made = variable.to_base_variable().copy(deep=False)
        values = _values(variable, text, suffix, messages)
        if values is not None:
            made = xr.Variable(made.dims, values)
        made.dims = tuple(names[dim] for dim in variable.dims)
        made.encoding = {}
        made.attrs = _attributes(variable.attrs, suffix, f"{text}: attribute", messages)
        for key in _spurious(made.attrs, made.dtype):
            messages.append(f"{text}: attribute {key}: got {made.attrs.pop(key)!r}, left out")
        (coords if name in ds.coords else data)[text] = made
    attrs = dict(ds.attrs)
    if "coordinates" in attrs:
        # where xarray keeps the names of coordinates that are of no variable
        messages.append("attribute coordinates: written as 'coordinates_'")
        attrs["coordinates_"] = attrs.pop("coordinates")
    out = xr.Dataset(data, coords, _attributes(attrs, suffix, "attribute", messages))
    for line in messages:
        log.warning("%s", line)
    return with_findings(out, map(repair, messages)) if messages else out


def _names(names, messages):
    """The name of each variable and dimension in a file."""
    out: dict = {}
    for name in names:
        text = "".join("_" if c in "/\\" or not c.isprintable() else c for c in str(name)).strip()
        if text in ("", ".", "..") or text.startswith(("__", ".z")):
            text = f"_{text.lstrip('._')}"
        if len(text.encode()) > _NAME:
            # others may begin as it does
            mark = hashlib.sha256(text.encode()).hexdigest()[:8]
            text = f"{text.encode()[: _NAME - 9].decode(errors='ignore')}_{mark}"
        if text != name:
            messages.append(f"name {name!r}: written as {text!r}")
        if text in out.values():
            twice = [*out][[*out.values()].index(text)]
            raise ValueError(f"names {twice!r} and {name!r}: got two that a file holds as {text!r}")
        out[name] = text
    return out


def _values(variable, name, suffix, messages):
    """The values of a variable as a type that the format has; None where they are of one."""
    dtype = variable.dtype
    if not isinstance(dtype, np.dtype) or dtype.kind in "OT":
        # objects, a column of pandas, or NumPy's text of any length
        values = np.asarray(variable.values, object)
        what = "objects" if isinstance(dtype, np.dtype) and dtype.kind == "O" else f"{dtype}"
        return _objects(values, name, what, messages)
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):
        wider = np.float32 if dtype.itemsize == 2 else np.float64
        messages.append(f"{name}: {dtype} written as {np.dtype(wider)}")
        return variable.astype(wider).data
    if dtype.kind in "cV":
        raise ValueError(f"{name}: got {dtype}, expected numbers, dates or texts for a {suffix}")
    return None


def _objects(values, name, what, messages):
    """Objects as dates, numbers or texts, whichever all of them are; a missing text is ''."""
    missing = pd.isna(values)
    some = values[~missing].ravel()

    def _all(*kinds):
        return some.size and all(isinstance(value, kinds) for value in some)

    if _all(date, np.datetime64):
        made = np.full(values.shape, np.datetime64("NaT", "ns"))
        # UTC where there is no zone
        made[~missing] = pd.to_datetime(some, utc=True).tz_localize(None).to_numpy()
    elif _all(bool, np.bool_):
        gaps = np.where(missing, np.nan, values)
        made = gaps.astype(np.float32) if missing.any() else values.astype(bool)
    elif some.size and all(map(_is_number, some)):
        whole = not missing.any() and _all(Integral)
        made = values.astype(np.int64) if whole else np.where(missing, np.nan, values).astype(float)
    else:
        made = np.full(values.shape, "", object)
        made[~missing] = [_text(value) for value in some]
        made = made.astype(str).astype(object)
        if not missing.any() and all(isinstance(value, str) for value in some):
            return made
    blank = f", {int(missing.sum())} missing" if missing.any() else ""
    messages.append(f"{name}: {what} written as {_KINDS[made.dtype.kind]}{blank}")
    return made


def _attributes(attrs: Mapping, suffix, where, messages) -> dict[str, Any]:
    """Attributes under names and in forms that the format has."""
    out: dict[str, Any] = {}
    for key, value in attrs.items():
        name = "".join("_" if c == "/" or not c.isprintable() else c for c in str(key)) or "_"
        while name in out or name in _RESERVED[suffix] or (name != key and name in attrs):
            name += "_"
        if name != key:
            messages.append(f"{where} {key!r}: written as {name!r}")
        exact, made = _stored(value, suffix)
        if not exact:
            short = repr(made) if len(repr(made)) <= 60 else f"{repr(made)[:57]}..."
            kind = type(value).__name__
            messages.append(f"{where} {name}: {kind} has no form in {suffix}, written as {short}")
        out[name] = made
    return out


def _spurious(attrs, dtype):
    """Attributes that a writer or reader would stumble over for values of a type."""
    keys = [k for k in _PACKING if k in attrs and np.ravel(attrs[k]).dtype.kind not in "iuf"]
    for key in ("_FillValue", "missing_value"):
        if key in attrs and key not in keys and dtype.kind in "iub":
            fill = np.ravel(attrs[key])
            low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
            if not np.all((fill == np.round(fill)) & (fill >= low) & (fill <= high)):
                keys.append(key)
    odd = () if dtype.kind in "iufb" else _PACKING
    odd += {"m": _CALENDAR, "M": _CALENDAR, "b": ("dtype",)}.get(dtype.kind, ())
    # the writer lists the coordinates of the cube itself
    return [*dict.fromkeys([*keys, *(key for key in (*odd, "coordinates") if key in attrs)])]


def _stored(value, suffix) -> tuple[bool, Any]:
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


def _sound(text):
    """A text without what UTF-8 or C have no form for."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")


def _of_numpy(value):
    """An array or scalar of NumPy as Python has it; single precision stays what it is."""
    kind = value.dtype.kind
    if np.ndim(value) == 0:
        item = value[()]
        return item if kind in "iufmM" or not isinstance(item, np.generic) else item.item()
    if kind in "mM":
        value = value.astype(str)
    return [*value] if kind in "iuf" and value.ndim == 1 else value.tolist()


def _is_number(value):
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


def _is_json(value):
    """Whether JSON holds a value as it is: no NaN, no key that is no text, no tuple of a name."""
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, str):
        return _sound(value) == value
    if _is_number(value):
        return not isinstance(value, float | np.floating) or math.isfinite(value)
    if type(value) in (list, tuple):
        return all(map(_is_json, value))
    keyed = type(value) is dict and all(isinstance(key, str) for key in value)
    return keyed and all(map(_is_json, value.values()))


def _text(value):
    """A value as text that shows what it was."""
    if value is None or isinstance(value, bool | np.bool_):
        return str(value)
    if _endless(value):
        return _sound(reprlib.repr(value))
    made = _plain(value)
    return _sound(made if isinstance(made, str) else json.dumps(made, ensure_ascii=False))


def _endless(value, level=0):
    """Whether lists and dicts hold themselves, or others deeper than JSON can be read."""
    if isinstance(value, xr.DataArray | xr.Variable | np.ndarray):
        value = [*np.asarray(value).flat] if value.dtype.kind == "O" else ()
    if isinstance(value, Mapping):
        value = value.values()
    if not isinstance(value, Collection) or isinstance(value, str | bytes | range):
        return False
    return level == _NESTED or any(_endless(item, level + 1) for item in value)


def _plain(value):
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
