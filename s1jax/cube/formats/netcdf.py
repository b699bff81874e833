"""NetCDF and Zarr: a Dataset as it is stored, in memory or in chunks."""

from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from s1jax.cube import safety
from s1jax.cube.dates import undated
from s1jax.cube.findings import Finding, declared, fill_finding
from s1jax.cube.formats import Chunks, is_zarr, lazy_array
from s1jax.cube.names import stored_chunks
from s1jax.cube.values import FILLS, declared_fills, equal, without_fills

_MOST_CHUNKS = 10_000_000
"""Chunks of one variable: their names alone fill the memory of a machine."""


class _File(NamedTuple):
    """A file that reaches nothing but itself, and how it is opened."""

    path: Path
    kind: str
    arrays: dict[str, safety.Stored]
    """What its header declares; of classic NetCDF nothing."""
    options: dict[str, object]


def unread_dataset(path: Path) -> xr.Dataset:
    """The Dataset of a NetCDF or Zarr store as it lies there, its values still to be read.

    Raises:
      ValueError: the file cannot be read, or points at another file.
    """
    return _open(_file(safety.local(path)), {"decode_coords": "all", "cache": False})


def read_dataset(path: Path, chunks: Chunks = None) -> tuple[xr.Dataset, list[Finding]]:
    """The Dataset of a NetCDF or Zarr store, and findings of how many values are declared fills.

    In memory where `chunks` is None; else the file stays open, and one pass counts the fills.

    Raises:
      ValueError: the file cannot be read, points at another file, or declares more than fits into
        memory; of damaged values it names the variable and the chunk.
    """
    file = _file(safety.local(path))
    _require_room(file, chunks)
    options = {"decode_coords": "all"}
    ds = _in_memory(file, options) if chunks is None else _in_chunks(file, options, chunks)
    for holder in (ds, *ds.variables.values()):
        # HDF5 has attributes without a value, which say nothing
        holder.attrs = {k: v for k, v in holder.attrs.items() if np.size(v) or isinstance(v, str)}
    fills = {}
    with safety.reading(file.path, file.kind):
        for name, variable in ds.data_vars.items():
            encoding = variable.encoding
            if variable.dtype.kind in "iuf":
                # xarray takes numbers alone as fills: text is for `declared_fills`
                text = [key for key in FILLS if isinstance(encoding.get(key), str | bytes)]
                variable.attrs.update((key, encoding.pop(key)) for key in text)
            fill = encoding.get("_FillValue", np.nan) if variable.dtype.kind == "f" else np.nan
            if not np.isnan(fill):
                fills[name] = fill
    if not fills:
        return ds, []
    plain = {"decode_cf": False}
    raw = _open(file, plain) if chunks is None else _in_chunks(file, plain, {})
    with raw:
        counts = xr.Dataset({name: (raw[name] == fill).sum() for name, fill in fills.items()})
        counts = {name: int(count) for name, count in counts.compute().items()}
    return ds, [fill_finding(str(k), counts[k], float(fills[k])) for k in fills if counts[k]]


def decoded(ds: xr.Dataset) -> tuple[xr.Dataset, list[Finding]]:
    """The Dataset with `scale_factor` and `add_offset` among attributes applied, and findings.

    As a reader of files does: float32, NaN where a declared fill was stored. Variables without the
    two, or with 1 and 0, stay as they are.

    Raises:
      ValueError: either is not one number.
    """
    out, findings, counts = {}, [], {}
    for name, variable in ds.data_vars.items():
        if variable.dtype.kind not in "iuf":
            continue  # refused by its name where a number is needed
        scale = _number(variable, "scale_factor", 1)
        offset = _number(variable, "add_offset", 0)
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
        findings.append(declared(f"{name}: stored values x {scale:g} + {offset:g}"))
    # one pass over a cube in chunks
    sums = xr.Dataset({key: count for key, (*_, count) in counts.items()}).compute()
    for key, (name, fill, _) in counts.items():
        if count := int(sums[key]):
            findings.append(fill_finding(name, count, fill))
    return ds.assign(out), findings


def _number(variable, key, default):
    value = np.ravel(variable.attrs.get(key, default))
    if value.size != 1 or value.dtype.kind not in "iuf":
        got = variable.attrs[key]
        raise ValueError(f"{variable.name}: {key}: got {got!r}, expected one number")
    return float(value[0])


def _file(path):
    """A file that reaches nothing but itself, its reader chosen by its first bytes."""
    if is_zarr(path):
        arrays = {array.name: array for array in safety.sealed_zarr(path)}
        # consolidated metadata repeat those of the arrays, which are what was looked at
        return _File(path, "a Zarr store", arrays, {"engine": "zarr", "consolidated": False})
    import h5py

    first, kind = safety.first_bytes(path), "a NetCDF file"
    if first.startswith(b"CDF"):
        return _File(path, kind, {}, {"engine": "scipy"})
    with safety.reading(path, kind):
        hdf5 = h5py.is_hdf5(path)
    if not hdf5:
        got = f"it begins with {first!r}" if first else "it is empty"
        raise ValueError(f"{path}: cannot be read, expected {kind} ({got})")
    return _File(path, kind, {a.name: a for a in safety.sealed_hdf5(path)}, {"engine": "h5netcdf"})


def _require_room(file, chunks):
    """Refuse what a header declares beyond the memory, or more chunks than can be listed."""
    if chunks is None:
        needed = sum(array.bytes for array in file.arrays.values())
        safety.require_room(file.path, needed, "; chunks= reads it in parts")
    for array in file.arrays.values():
        # an axis is read whole, and what is compressed together
        line = array.bytes if len(array.shape) < 2 else 0
        safety.require_room(f"{file.path}: {array.name}", max(array.chunk_bytes, line))
        count = np.prod(array.counts, dtype=float)
        if count > _MOST_CHUNKS:
            got, expected = f"{count:,.3g} chunks of {array.chunk}", f"at most {_MOST_CHUNKS:,}"
            raise ValueError(f"{file.path}: {array.name}: got {got}, expected {expected}")


def _open(file, options):
    """The Dataset, of which only the axes are in memory."""
    options, whole = file.options | options, False
    try:
        for array in file.arrays.values():
            # axes are read whole; of others the ends, where they may be dates
            counts = array.counts
            ends = product(*(sorted({0, n - 1}) if n else () for n in counts))
            safety.require_whole(file.path, array, np.ndindex(*counts) if len(counts) < 2 else ends)
        whole = True
        return xr.open_dataset(file.path, **options)
    except safety.FAULTS as error:
        plain = {**options, "decode_cf": False, "create_default_indexes": False}
        # an axis may be what is damaged: without its values the file opens
        with safety.reading(file.path, file.kind), xr.open_dataset(file.path, **plain) as stored:
            why = _damaged(file, stored, {}, error)
            # times are looked at only where their chunks are sound
            dated = whole and isinstance(error, ValueError | OverflowError)
            dated = dated and "decode_times" not in options
            numbers = dict.fromkeys(undated(stored), False) if dated else {}
        if numbers:
            # of no calendar: `with_dates` says what they are
            return _open(file, {**options, "decode_times": numbers})
        raise why from error


def _in_memory(file, options):
    with _open(file, options) as stored:
        try:
            for name, variable in stored.variables.items():
                _check(file, name, variable, {})
            return stored.load()
        except safety.FAULTS as error:
            raise _damaged(file, stored, {}, error) from error


def _in_chunks(file, options, chunks):
    """The Dataset, its variables in chunks that say what is damaged when they are read."""
    stored = _open(file, {**options, "cache": False})
    with safety.reading(file.path, file.kind):
        if isinstance(chunks, dict):
            chunks = stored_chunks(stored, chunks)
        # sizes alone are looked at, whatever its times are
        sized = {**file.options, **options, "decode_times": False}
        with xr.open_dataset(file.path, chunks=chunks, **sized) as planned:
            sizes = {name: variable.chunksizes for name, variable in planned.variables.items()}
    lazy = {}
    for name, variable in stored.variables.items():
        if sizes[name] and variable.ndim and name not in stored.indexes:
            read = partial(_read, file, stored, name)
            value = lazy_array(variable.sizes, sizes[name], read, variable.dtype).data
            lazy[name] = xr.Variable(variable.dims, value, variable.attrs, variable.encoding)
    coords = {name: lazy.pop(name) for name in stored.coords if name in lazy}
    return stored.assign(lazy).assign_coords(coords)


def _read(file, stored, name, *numbers):
    """Values of a variable in the chunk of these rows, columns, ..."""
    variable = stored.variables[name]
    ends = (slice(int(number[0]), int(number[-1]) + 1) for number in numbers)
    window = dict(zip(variable.dims, ends, strict=True))
    try:
        _check(file, name, variable, window)
        return variable.isel(window).values
    except safety.FAULTS as error:
        raise _damaged(file, stored[[name]], window, error) from error


def _check(file, name, variable, window):
    """Refuse a variable with a chunk inside a window that is not whole (`require_whole`)."""
    array = file.arrays.get(str(name))
    if array is not None and len(array.counts) == variable.ndim:
        chunk = dict(zip(variable.dims, array.chunk, strict=True))
        numbers = (number for number, _ in safety.chunks_in(variable.sizes, chunk, window))
        safety.require_whole(file.path, array, numbers)


def _damaged(file, stored, window, error) -> ValueError:
    """The error about the first damaged variable and chunk of a file; `error` caused it."""
    for name, variable in stored.variables.items():
        check = partial(_check, file, name, variable)
        fault = safety.first_damaged(f"{file.path}: {name}", variable, window, check)
        if fault is not None:
            return fault
    return safety.unreadable(file.path, file.kind, error)
