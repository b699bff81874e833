"""NetCDF and Zarr: a Dataset as it is stored, in memory or in chunks."""

import json
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from s1jax.cube.border import FAULTS, reading, require_room, unreadable
from s1jax.cube.damage import first_damaged
from s1jax.cube.facts import FILLS, declared_fills, equal, without_fills
from s1jax.cube.names import stored_chunks
from s1jax.cube.notes import DECLARED, fill_line
from s1jax.cube.numbered import undated
from s1jax.cube.planes import Chunks
from s1jax.cube.sealed import (
    Stored,
    begins,
    local,
    sealed_hdf5,
    sealed_zarr,
    whole_chunk,
    whole_hdf5,
)

_MOST_CHUNKS = 10_000_000
"""Chunks of one variable: their names alone fill the memory of a machine."""

_HDF5 = b"\x89HDF\r\n\x1a\n"


def is_zarr(path: Path) -> bool:
    """Whether a path is a Zarr store, of either format."""
    marks = ("zarr.json", ".zgroup", ".zmetadata")
    with reading(path, "a file or folder"):
        marked = path.suffix == ".zarr" or any((path / m).exists() for m in marks)
        return path.is_dir() and marked


def _consolidated(path):
    """Whether one file of a store repeats the metadata of all; JSON, as `sealed_zarr` found."""
    group = path / "zarr.json"
    if not group.exists():
        return (path / ".zmetadata").exists()
    return json.loads(group.read_text(encoding="utf-8")).get("consolidated_metadata") is not None


def unread_dataset(path: Path) -> xr.Dataset:
    """The Dataset of a NetCDF or Zarr store as it lies there, its values still to be read.

    Raises:
      ValueError: the file cannot be read, or points at another file.
    """
    return _open(_file(local(path)), {"decode_coords": "all", "cache": False})


def read_dataset(path: Path, chunks: Chunks = None) -> tuple[xr.Dataset, list[str]]:
    """The Dataset of a NetCDF or Zarr store, and how many values its declared fills took.

    In memory where `chunks` is None; else the file stays open, one pass over it counts the fills,
    and a chunk that turns out damaged when it is read is a ValueError that names it too.

    Raises:
      ValueError: the file cannot be read, points at another file, or declares more than fits into
        memory; of damaged values it names the variable and the chunk.
    """
    path = local(path)
    file = _file(path)
    _fits(file, chunks)
    ds = _opened(file, {"decode_coords": "all"}, chunks)
    for held in (ds, *ds.variables.values()):
        # HDF5 has attributes without a value, which say nothing
        held.attrs = {k: v for k, v in held.attrs.items() if np.size(v) or isinstance(v, str)}
    with reading(path, file.kind):
        for name in (name for name in ds.data_vars if ds[name].dtype.kind in "iuf"):
            of = ds[name].encoding
            # xarray takes numbers alone as fills: text is for `declared_fills`, as other attributes
            text = {key: of.pop(key) for key in FILLS if isinstance(of.get(key), str | bytes)}
            ds[name].attrs.update(text)
        fills = {
            name: ds[name].encoding["_FillValue"]
            for name in ds.data_vars
            if ds[name].dtype.kind == "f"
            and not np.isnan(ds[name].encoding.get("_FillValue", np.nan))
        }
    return ds, _counted(file, fills, chunks) if fills else []


class _File(NamedTuple):
    """A file that reaches nothing but itself, and how it is opened."""

    path: Path
    kind: str
    arrays: dict[str, Stored]
    """What its header declares; of classic NetCDF nothing."""
    options: dict[str, object]


def _file(path):
    if is_zarr(path):
        arrays = {array.name: array for array in sealed_zarr(path)}
        options = {"engine": "zarr", "consolidated": _consolidated(path)}
        return _File(path, "a Zarr store", arrays, options)
    engine = _engine(path)
    sealed = sealed_hdf5(path) if engine == "h5netcdf" else []
    return _File(path, "a NetCDF file", {a.name: a for a in sealed}, {"engine": engine})


def decoded(ds: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
    """The Dataset with `scale_factor` and `add_offset` among attributes applied, and what was said.

    As a reader of files does: float32, NaN where a declared fill was stored. Variables without the
    two, or with 1 and 0, stay as they are.

    Raises:
      ValueError: either is not one number.
    """
    out, said, counts = {}, [], {}
    for name, variable in ds.data_vars.items():
        if variable.dtype.kind not in "iuf":
            continue  # refused by its name where a number is needed
        scale, offset = (
            _number(variable, k, of) for k, of in (("scale_factor", 1), ("add_offset", 0))
        )
        if (scale, offset) == (1, 0):
            continue
        missing = xr.zeros_like(variable, dtype=bool)
        for fill in declared_fills(variable):
            hit = equal(variable, fill)
            counts[f"{name} {fill!r}"] = (str(name), fill, hit.sum())
            missing = missing | hit
        value = (variable * scale + offset).where(~missing).astype(np.float32)
        kept = without_fills(variable.attrs)
        value.attrs = {k: v for k, v in kept.items() if k not in ("scale_factor", "add_offset")}
        value.encoding = {"dtype": variable.dtype, "scale_factor": scale, "add_offset": offset}
        out[name] = value
        said.append(f"{DECLARED}{name}: stored values x {scale:g} + {offset:g}")
    # one pass over a cube in chunks
    found = xr.Dataset({key: count for key, (*_, count) in counts.items()}).compute()
    of = ((name, int(found[key]), fill) for key, (name, fill, _) in counts.items())
    return ds.assign(out), said + [fill_line(*line) for line in of if line[1]]


def _number(variable, key, default):
    found = np.ravel(variable.attrs.get(key, default))
    if found.size != 1 or found.dtype.kind not in "iuf":
        got = variable.attrs[key]
        raise ValueError(f"{variable.name}: {key}: got {got!r}, expected one number")
    return float(found[0])


def _fits(file, chunks):
    """Nothing, where what a header declares can be held.

    Raises:
      ValueError: more than the memory, or more chunks than anybody can list.
    """
    if chunks is None:
        needed = sum(array.bytes for array in file.arrays.values())
        require_room(file.path, needed, "; chunks= reads it in parts")
    for array in file.arrays.values():
        # an axis is read whole, and what is compressed together
        line = array.bytes if len(array.shape) < 2 else 0
        require_room(f"{file.path}: {array.name}", max(array.chunk_bytes, line))
        sizes = zip(array.shape, array.chunk, strict=True) if array.chunk else ()
        count = np.prod([-(-n // max(c, 1)) for n, c in sizes], dtype=float)
        if count > _MOST_CHUNKS:
            got, expected = f"{count:,.3g} chunks of {array.chunk}", f"at most {_MOST_CHUNKS:,}"
            raise ValueError(f"{file.path}: {array.name}: got {got}, expected {expected}")


def _opened(file, options, chunks):
    if chunks is not None:
        return _in_chunks(file, options, chunks)
    with _open(file, options) as stored:
        try:
            for name, variable in stored.variables.items():
                _whole(file, name, variable, {})
            return stored.load()
        except FAULTS as error:
            raise _damaged(file, stored, {}, error) from error


def _open(file, options):
    """The Dataset, of which only the axes are in memory."""
    options, whole = file.options | options, False
    try:
        for array in file.arrays.values():
            # axes are read whole; of others the ends, where they may be dates
            counts = _counts(array)
            ends = (sorted({0, n - 1}) if n else () for n in counts)
            _require_whole(file, array, np.ndindex(*counts) if len(counts) < 2 else product(*ends))
        whole = True
        return xr.open_dataset(file.path, **options)
    except FAULTS as error:
        plain = {**options, "decode_cf": False, "create_default_indexes": False}
        # an axis may be what is damaged: without its values the file opens
        with reading(file.path, file.kind), xr.open_dataset(file.path, **plain) as stored:
            why = _damaged(file, stored, {}, error)
            # times are looked at only where their chunks are sound
            dated = whole and isinstance(error, ValueError | OverflowError)
            dated = dated and "decode_times" not in options
            numbers = dict.fromkeys(undated(stored), False) if dated else {}
        if numbers:
            # of no calendar: `with_dates` says what they are
            return _open(file, {**options, "decode_times": numbers})
        raise why from error


def _in_chunks(file, options, chunks):
    """The Dataset, its variables in chunks that say what is damaged when they are read."""
    stored = _open(file, {**options, "cache": False})
    with reading(file.path, file.kind):
        if isinstance(chunks, dict):
            chunks = stored_chunks(stored, chunks)
        # sizes alone are looked at, whatever its times are
        sized = {**file.options, **options, "decode_times": False}
        planned = xr.open_dataset(file.path, chunks=chunks, **sized)
        with planned:
            sizes = {name: variable.chunks for name, variable in planned.variables.items()}
    lazy = {}
    for name, variable in stored.variables.items():
        if sizes[name] and variable.ndim and name not in stored.indexes:
            value = _lazy(file, stored, name, sizes[name])
            lazy[name] = xr.Variable(variable.dims, value, variable.attrs, variable.encoding)
    coords = {name: lazy.pop(name) for name in stored.coords if name in lazy}
    return stored.assign(lazy).assign_coords(coords)


def _lazy(file, stored, name, sizes):
    """Values of a variable in chunks; numbers of rows and columns become the values there."""
    variable = stored.variables[name]
    index = [
        xr.DataArray(np.arange(n), dims=dim).chunk({dim: size})
        for (dim, n), size in zip(variable.sizes.items(), sizes, strict=True)
    ]

    def _read(*places):
        ends = ((np.ravel(i)[0], np.ravel(i)[-1] + 1) for i in places)
        window = {d: slice(int(a), int(b)) for d, (a, b) in zip(variable.dims, ends, strict=True)}
        try:
            _whole(file, name, variable, window)
            return variable.isel(window).values
        except FAULTS as error:
            raise _damaged(file, stored[[name]], window, error) from error

    made = xr.apply_ufunc(_read, *index, dask="parallelized", output_dtypes=[variable.dtype])
    return made.data


def _whole(file, name, variable, window):
    """Nothing, where no chunk inside a window was cut or unpacks to more than its values.

    Raises:
      ValueError: one was, or does.
    """
    array = file.arrays.get(str(name))
    if array is None or len(_counts(array)) != variable.ndim:
        return
    spans = []
    for (dim, n), size in zip(variable.sizes.items(), array.chunk, strict=True):
        first, stop, _ = window.get(dim, slice(0, n)).indices(n)
        spans.append(range(first // size, -(-stop // size)))
    _require_whole(file, array, product(*spans))


def _counts(array):
    """Numbers of its chunks along each dimension; () of one that is not in chunks."""
    sizes = zip(array.shape, array.chunk, strict=True) if array.chunk else ()
    return [-(-n // max(size, 1)) for n, size in sizes]


def _require_whole(file, array, numbers):
    if file.options["engine"] == "zarr":
        for number in numbers:
            whole_chunk(file.path, array, number)
    elif array.chunk:
        whole_hdf5(file.path, array, numbers)


def _damaged(file, stored, window, error) -> ValueError:
    """What says of an error which variable and chunk of a file are damaged."""
    for name, variable in stored.variables.items():
        check = partial(_whole, file, name, variable)
        wrong = first_damaged(f"{file.path}: {name}", variable, window, check)
        if wrong is not None:
            return wrong
    return unreadable(file.path, file.kind, error)


def _counted(file, fills, chunks):
    """Lines about the values that equal a declared fill."""
    options = {"decode_cf": False}
    if chunks is None:
        with reading(file.path, file.kind), _open(file, options) as raw:
            counts = {name: int((raw[name] == fill).sum()) for name, fill in fills.items()}
    else:
        raw = _in_chunks(file, options, {})
        lazy = xr.Dataset({name: (raw[name] == fill).sum() for name, fill in fills.items()})
        counts = {name: int(count) for name, count in lazy.compute().items()}
    return [
        fill_line(str(name), counts[name], float(fill))
        for name, fill in fills.items()
        if counts[name]
    ]


def _engine(path: Path) -> str:
    """What reads the file: classic NetCDF begins with CDF, NetCDF-4 is HDF5."""
    import h5py

    first = begins(path)
    if first.startswith(b"CDF"):
        return "scipy"
    with reading(path, "a NetCDF file"):
        hdf5 = h5py.is_hdf5(path)
    if not hdf5:
        got = f"it begins with {first!r}" if first else "it is empty"
        raise ValueError(f"{path}: cannot be read, expected a NetCDF file ({got})")
    return "h5netcdf"
