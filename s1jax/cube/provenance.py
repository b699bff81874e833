"""Where a cube comes from: its files, its fingerprint, and how a product says it was made."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import xarray as xr

from s1jax.cube.formats import Source, files_of
from s1jax.cube.grid import CONVENTIONS
from s1jax.cube.names import channels
from s1jax.cube.safety import first_damaged
from s1jax.files import DAMAGED

NOT_STATED = "not stated"

_PRIME, _GOLDEN = np.uint64(0x100000001B3), np.uint64(0x9E3779B97F4A7C15)
_KEY = "s1jax_sources"
"""Encoding of a cube and of its coordinates: paths of the files that it was read from."""
_MARKS = (".zgroup", ".zarray", ".zmetadata", "zarr.json")
_PARTS = (
    "func", "args", "kwargs", "keywords", "value",  # tasks of dask, functools.partial
    "layers", "mapping", "task", "indices", "io_deps",  # layers of a graph of dask
    "_data", "array", "_array", "datastore", "_manager", "_args", "_filename",  # xarray
    "store", "root", "path", "_root", "file", "filename", "name", "base",  # zarr, h5py, NumPy
    "pyfunc", "__wrapped__", "__self__", "__closure__", "__defaults__", "cell_contents",
)  # fmt: skip
"""Where an object that stands in a graph, or is read lazily, may keep the path of its file."""


# the method


def provenance(
    attrs: Mapping, *, method: str, weights: str | None, trained_on: str | None
) -> dict[str, str]:
    """Attributes of a product of s1jax, beside `attrs` of its input, whose title and history stay.

    `method` made the estimate, with `weights`, its parameters or where they are kept.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    title = "NDVI estimated from Sentinel-1 and Sentinel-2"
    of = str(attrs.get("title", "")).removeprefix(f"{title}: ")
    line = f"{now}: s1jax {own_version()}, NDVI estimated by {method}"
    return {
        "Conventions": CONVENTIONS,
        "title": f"{title}: {of}" if of and of != title else title,
        "date_created": now,
        "history": "\n".join(filter(None, [str(attrs.get("history", "")), line])),
        "s1jax_version": own_version(),
        "s1jax_method": method,
        "s1jax_weights": weights or NOT_STATED,
        "s1jax_trained_on": trained_on or NOT_STATED,
    }


def own_version() -> str:
    """Of s1jax."""
    try:
        return version("s1jax")
    except PackageNotFoundError:  # a tree that is not installed
        return "unknown"


# the values


def fingerprint(ds: xr.Dataset) -> str:
    """SHA-256 of an aligned cube, 64 hexadecimal digits, by which a map names its input.

    It is of the names, types and sizes of VV, VH, ..., S2ndvi and `mask`, of the coordinates t, y
    and x, and of a checksum of all their values; not of attributes, nor of the file. The checksum
    is a sum over pixels of 64 bits, so that it does not depend on tiles. A cube in chunks is read.
    """
    part = ds[_members(ds)].compute()
    return digest(ds, checksum(part, range(ds.sizes["y"]), range(ds.sizes["x"]), ds.sizes["x"]))


def checksum(part: xr.Dataset, rows: range, columns: range, width: int) -> int:
    """Checksum of the values of a part in memory; those of all parts add up, modulo 2^64.

    The part holds these rows and columns of a cube of `width` columns.
    """
    index = np.asarray(rows, np.uint64)[:, None] * np.uint64(width)
    index = index + np.asarray(columns, np.uint64)
    total = np.full(index.shape, _GOLDEN)
    for name in _members(part):
        values = part[name].transpose(..., "y", "x").values
        for plane in values.reshape(-1, *index.shape):
            total = (total ^ _bits(plane)) * _PRIME
            total ^= total >> np.uint64(29)
    mixed = (total ^ (index * _GOLDEN)) * _PRIME
    mixed = (mixed ^ (mixed >> np.uint64(32))) * _GOLDEN
    return int(np.add.reduce(mixed, axis=None, dtype=np.uint64))


def digest(ds: xr.Dataset, total: int) -> str:
    """The fingerprint of a cube, of which only the coordinates are read, and its checksum."""
    made = hashlib.sha256()
    sizes = sorted((str(dim), size) for dim, size in ds.sizes.items() if dim in ("t", "y", "x"))
    made.update(repr(sizes).encode())
    for name in _members(ds):
        made.update(f"{name} {ds[name].dtype.str}".encode())
    for name in ("t", "y", "x"):
        if name in ds.coords:
            values = ds[name].values
            values = values.astype("M8[ns]") if values.dtype.kind == "M" else values
            made.update(f"{name} {values.dtype.str}".encode())
            made.update(values.tobytes())
    made.update(f"{total % 2**64:016x}".encode())
    return made.hexdigest()


def _members(ds):
    return [*channels(ds), *({"mask"} & set(ds.variables))]


def _bits(plane):
    """The bits of numbers; of those that are missing the same."""
    if plane.dtype.kind == "f":
        plane = np.where(np.isnan(plane), plane.dtype.type(np.nan), plane)
        return np.ascontiguousarray(plane).view(f"u{plane.dtype.itemsize}").astype(np.uint64)
    return plane.astype(np.int64).view(np.uint64)


# the files


def with_sources(
    ds: xr.Dataset,
    path_or_glob: Source | Sequence[Source],
    mask: str | Path | xr.DataArray | None = None,
) -> xr.Dataset:
    """The cube of `open_cube` with a record of the files it comes from, and what those recorded.

    The record lies in the encodings of the cube and of its coordinates, which most operations of
    xarray keep and which no file that is written of the cube holds. `Conventions` and
    `s1jax_version` were those of the file that was read, and are left out.
    """
    out = ds.copy()
    for name in ("Conventions", "s1jax_version"):
        out.attrs.pop(name, None)
    paths = set() if not isinstance(mask, str | Path) else {Path(mask).expanduser().resolve()}
    for one in [path_or_glob] if isinstance(path_or_glob, Source) else path_or_glob:
        if isinstance(one, str | Path):
            paths |= {file.resolve() for file in files_of(one)}
        else:
            paths |= lazy_sources(one) | recorded_sources(one)
    if not paths:
        return out
    record = tuple(sorted(map(str, paths)))
    for holder in (out, *(out[name] for name in out.coords)):
        holder.encoding = {**holder.encoding, _KEY: record}
    return out


def recorded_sources(ds: xr.Dataset | xr.DataArray) -> frozenset[Path]:
    """Files that a cube, in memory or not, says it was read from."""
    texts = set()
    for encoding in (ds.encoding, *(variable.encoding for variable in _variables(ds))):
        texts |= {encoding.get("source"), *encoding.get(_KEY, ())}
    return frozenset(path for text in texts if (path := _existing(text)))


def lazy_sources(ds: xr.Dataset | xr.DataArray) -> frozenset[Path]:
    """Files whose values are still to be read: those behind lazy arrays and graphs of dask."""
    todo, seen, paths = [], set(), set()
    for variable in _variables(ds):
        graph = getattr(variable._data, "__dask_graph__", None)
        todo.append(variable._data if graph is None else graph())
    while todo:
        item = todo.pop()
        if isinstance(item, str | os.PathLike):
            paths.add(_existing(item))
        elif id(item) not in seen and not isinstance(item, int | float | complex | bytes | slice):
            seen.add(id(item))
            todo.extend(_inside(item))
    return frozenset(filter(None, paths))


def _inside(item) -> Iterator:
    """What an object holds, without making the tasks of a graph that are not made yet."""
    blocks = hasattr(item, "task") and hasattr(item, "output_blocks")
    if isinstance(item, Mapping) and not blocks and not hasattr(item, "layers"):
        yield from item.values()
    if isinstance(item, tuple | list | set | frozenset):
        yield from item
    for name in _PARTS if not isinstance(item, type) else ():
        try:
            part = getattr(item, name, None)
        except (ValueError, OSError, RuntimeError):  # an empty cell, a closed file
            continue
        if part is not None and part is not item:
            yield part


def _variables(ds):
    if isinstance(ds, xr.Dataset):
        return [*ds.variables.values()]
    return [ds.variable, *(c.variable for c in ds.coords.values())]


def _existing(text) -> Path | None:
    """The file or Zarr store that a text, or a path, names; None where it names none."""
    text = os.fspath(text) if isinstance(text, str | os.PathLike) else None
    if not isinstance(text, str) or not 0 < len(text) < 4096 or "\0" in text:
        return None
    path = Path(text.removeprefix("file://"))
    try:
        there = path.is_file() or is_store(path)
    except OSError:  # a name that no file can have
        return None
    # a file that was deleted since cannot be lost
    return _real(path) if there else None


@contextmanager
def naming_damage(ds: xr.Dataset, window: Mapping[str, slice]) -> Iterator[None]:
    """A block that reads a window of a cube; a ValueError names what of it cannot be read."""
    try:
        yield
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of a file that is written, or is not there
        for name, variable in ds.variables.items():
            files = sorted(map(str, lazy_sources(ds[name].reset_coords(drop=True))))
            if any(file in str(error) for file in files):
                raise  # of a reader that names them
            if files or variable.chunks is not None:
                where = f"{', '.join(files) or 'file'}: {name}"
                fault = first_damaged(where, variable, window)
                if fault is not None:
                    raise fault from error
        raise


def refuse_source(ds: xr.Dataset, path: str | Path, *, in_memory: bool = False) -> None:
    """Refuse to write where that would cost what the cube is read from.

    A path is refused that is a source by any name (link, letters of another case), that lies in a
    source or in its Zarr store, or that is a folder with a source in it. With `in_memory` the file
    of values that are all in memory may be replaced.

    Raises:
      ValueError: it is refused; the message names the source.
    """
    sources = [(source, "whose values are still to be read") for source in sorted(lazy_sources(ds))]
    if not in_memory:
        sources += [(source, "of the cube") for source in sorted(recorded_sources(ds))]
    for source, what in sources:
        relation = _relation(Path(path), source)
        if relation is not None:
            got = f"a path that {relation} the source {source} {what}"
            raise ValueError(f"{path}: got {got}, expected another path")


def is_store(path: Path) -> bool:
    """Whether a path is a Zarr group or array, of either format."""
    return any((path / mark).exists() for mark in _MARKS)


def _relation(path, source):
    """How a path lies to a source, None where writing it does the source no harm."""
    above = _real(path).parents
    if _same(path, source):
        return "is"
    if any(_same(folder, source) for folder in above):
        return "lies in"
    if any(_same(folder, path) for folder in _real(source).parents):
        return "holds"
    stores = [folder for folder in (source, *source.parents) if is_store(folder)]
    # the outermost is that of the whole store
    if stores and any(_same(folder, stores[-1]) for folder in above):
        return f"lies in the Zarr store {stores[-1]} of"
    return None


def _same(path, other):
    if _real(path) == _real(other):
        return True
    try:
        return os.path.samefile(path, other)
    except OSError:  # one of them does not exist
        return False


def _real(path):
    return Path(os.path.realpath(path))
