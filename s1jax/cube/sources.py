"""Files that the values of a cube come from, so that nothing is written onto them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import xarray as xr

from s1jax.cube.damage import UNREADABLE, first_damaged
from s1jax.cube.read import Source, files_of

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


def recorded(
    ds: xr.Dataset,
    path_or_glob: Source | Sequence[Source],
    mask: str | Path | xr.DataArray | None = None,
) -> xr.Dataset:
    """The cube with a record of where it comes from: files, and what other cubes have recorded.

    The record lies in the encodings of the cube and of its coordinates, which most operations of
    xarray keep: no file that is written of the cube holds it. `Conventions` and `s1jax_version`
    were those of the file that was read, and are left out.

    Args:
      ds: the cube of `open_cube`.
      path_or_glob: what it was made of, as `open_cube` takes it.
      mask: as `path_or_glob`.
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
    out.encoding = {**ds.encoding, _KEY: record}
    for name in out.coords:
        out[name].encoding = {**out[name].encoding, _KEY: record}
    return out


def recorded_sources(ds: xr.Dataset | xr.DataArray) -> frozenset[Path]:
    """Files that a cube, in memory or not, says it was read from."""
    texts = set()
    for encoding in (ds.encoding, *(v.encoding for v in _variables(ds))):
        texts |= {encoding.get("source"), *encoding.get(_KEY, ())}
    return frozenset(path for text in texts if (path := _existing(text)))


def lazy_sources(ds: xr.Dataset | xr.DataArray) -> frozenset[Path]:
    """Files whose values are still to be read: those behind lazy arrays and graphs of dask."""
    roots = []
    for variable in _variables(ds):
        data = variable._data
        graph = getattr(data, "__dask_graph__", None)
        roots.append(data if graph is None else graph())
    return frozenset(_paths(roots))


@contextmanager
def named(ds: xr.Dataset, window: Mapping[str, slice]) -> Iterator[None]:
    """A block that reads a cube; of values that cannot be read it names file, variable and chunk.

    Args:
      ds: the cube; only values that are still to be read are looked at.
      window: rows, columns, ... of it that the block reads.

    Raises:
      ValueError: they cannot be read.
    """
    try:
        yield
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of a file that is written, or is not there
        for name, variable in ds.variables.items():
            files = sorted(map(str, lazy_sources(ds[name].reset_coords(drop=True))))
            if any(file in str(error) for file in files):
                raise  # of a reader that names them
            lazy = files or variable.chunks is not None
            where = f"{', '.join(files) or 'file'}: {name}"
            wrong = first_damaged(where, variable, window) if lazy else None
            if wrong is not None:
                raise wrong from error
        raise


def refuse_source(ds: xr.Dataset, path: str | Path, *, in_memory: bool = False) -> None:
    """Nothing, where `path` can be written without a loss to what the cube is read from.

    A path is refused that is a source by any name (link, letters of another case), that lies in a
    source or in its Zarr store, or that is a folder with a source in it.

    Args:
      ds: the cube.
      path: to be written.
      in_memory: whether the file of values that are all in memory may be replaced.

    Raises:
      ValueError: it is refused; the message names the source.
    """
    sources = [(source, True) for source in sorted(lazy_sources(ds))]
    if not in_memory:
        sources += [(source, False) for source in sorted(recorded_sources(ds))]
    for source, lazy in sources:
        relation = _relation(Path(path), source)
        if relation is not None:
            still = "whose values are still to be read" if lazy else "of the cube"
            raise ValueError(
                f"{path}: got a path that {relation} the source {source} {still}, "
                "expected another path"
            )


def is_store(path: Path) -> bool:
    """Whether a path is a Zarr group or array, of either format."""
    return any((path / mark).exists() for mark in _MARKS)


def _relation(path: Path, source: Path) -> str | None:
    """How a path lies to a source, None where writing it does the source no harm."""
    if _same(path, source):
        return "is"
    if any(_same(above, source) for above in _real(path).parents):
        return "lies in"
    if any(_same(above, path) for above in _real(source).parents):
        return "holds"
    store = _store(_real(source))
    if store is not None and any(_same(above, store) for above in _real(path).parents):
        return f"lies in the Zarr store {store} of"
    return None


def _store(source: Path) -> Path | None:
    """The outermost Zarr group that a path is in."""
    groups = [above for above in (source, *source.parents) if is_store(above)]
    return groups[-1] if groups else None


def _same(path: Path, other: Path) -> bool:
    if _real(path) == _real(other):
        return True
    try:
        return os.path.samefile(path, other)
    except OSError:  # one of them does not exist
        return False


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _variables(ds):
    if isinstance(ds, xr.Dataset):
        return [*ds.variables.values()]
    return [ds.variable, *(c.variable for c in ds.coords.values())]


def _existing(text) -> Path | None:
    """The file or Zarr store that a text, or a path, names; None where it names none."""
    if not isinstance(text, str | os.PathLike):
        return None
    text = os.fspath(text)
    if not isinstance(text, str) or not 0 < len(text) < 4096 or "\0" in text:
        return None
    path = Path(text.removeprefix("file://"))
    try:
        there = path.is_file() or is_store(path)
    except OSError:  # a name that no file can have
        return None
    # a file that was deleted since cannot be lost
    return _real(path) if there else None


def _paths(roots: list) -> Iterator[Path]:
    """Every path of an existing file that can be reached from lazy arrays and graphs."""
    todo, seen = list(roots), set()
    while todo:
        item = todo.pop()
        if item is None or isinstance(item, bool | int | float | complex | bytes | slice):
            continue
        if isinstance(item, str | os.PathLike):
            if (path := _existing(item)) is not None:
                yield path
            continue
        if id(item) in seen:
            continue
        seen.add(id(item))
        todo.extend(_inside(item))


def _inside(item) -> Iterator:
    """What an object holds, without making the tasks of a graph that are not made yet."""
    blocks = hasattr(item, "task") and hasattr(item, "output_blocks")
    if isinstance(item, Mapping) and not blocks and not hasattr(item, "layers"):
        yield from item.values()
    if isinstance(item, tuple | list | set | frozenset):
        yield from item
    if isinstance(item, type):
        return
    for name in _PARTS:
        try:
            part = getattr(item, name, None)
        except (ValueError, OSError, RuntimeError):  # an empty cell, a closed file
            continue
        if part is not None and part is not item:
            yield part
