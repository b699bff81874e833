"""A cube in a file: what is there already, how it is replaced, and what a disk may refuse."""

import io
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import xarray as xr

from s1jax.cube.crs import grid_mapping
from s1jax.cube.georeference import CONVENTIONS, georeferenced
from s1jax.cube.provenance import own_version
from s1jax.cube.sources import is_store, named, refuse_source
from s1jax.cube.storable import storable
from s1jax.files import (
    old_of,
    part_of,
    refuse_remote,
    remedy,
    replacing,
    replacing_folder,
)

SUFFIXES = (".nc", ".zarr")
_OF_ZARR = re.compile(r"\.z(group|attrs|array|metadata)|zarr\.json|\d+(\.\d+)*|c|.*\.partial")
"""Names of the files of a store."""


def write(
    ds: xr.Dataset, path: str | Path, *, tile: int | None = None, replace_source: bool = False
) -> None:
    """The cube in a file: NetCDF (.nc, deflated) or Zarr (.zarr), CRS and coordinates as they are.

    The file is whole or not there: it is written beside `path` and takes its place at the end. Its
    axes and grid mapping say where it is (`georeferenced`); what no file can hold becomes text, and
    is said (`storable`). A cube in chunks is written chunk by chunk.

    Args:
      ds: the cube.
      path: .nc or .zarr; replaced where it exists. A link is followed.
      tile: rows and columns of a Zarr chunk, which then holds all dates; zarr's own choice if None.
      replace_source: whether the file that a cube in memory was read from may be replaced, or any
        that holds radar and that s1jax did not write. One whose values are still to be read never
        is.

    Raises:
      ValueError: another suffix, a source of the cube, something that is no file or store of a
        cube, values that the format has no type for, or values of the cube that cannot be read;
        the message names file, variable and chunk.
      OSError: the file cannot be written; the message names the path and a remedy.
    """
    path = target(ds, path, in_memory=replace_source)
    made = prepared(ds, path.suffix, tile=tile)
    with replacing_cube(path) as part, named(ds, {}):
        put(made, part)


def target(
    ds: xr.Dataset, path: str | Path, *, in_memory: bool = False, product: bool = False
) -> Path:
    """The path that is to be written, links followed.

    Args:
      ds: the cube that is to be written there, or what it is made of.
      path: .nc or .zarr.
      in_memory: as in `refuse_source`; a cube that s1jax did not write may then be replaced, too.
      product: whether a map is to be written, which replaces nothing but maps.

    Raises:
      ValueError: another suffix, a server, a source of the cube, or what is there already is not to
        be replaced.
    """
    refuse_remote(path)
    path = Path(path).expanduser()
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: got suffix {path.suffix!r}, expected a .nc or .zarr file")
    real = Path(os.path.realpath(path))
    refuse_source(ds, path, in_memory=in_memory)
    # nor may the cube be read from what lies beside the path for a while
    for beside in (part_of(real), old_of(real)):
        refuse_source(ds, beside)
    if path.suffix == ".nc" and real.is_dir():
        raise ValueError(f"{path}: got a folder, expected a file, or a new path")
    if path.suffix == ".zarr":
        with naming(real, lambda: None):
            for there in (real, part_of(real), old_of(real)):
                _refuse_other(there)
    if not in_memory:
        _refuse_input(path, real, product)
    return real


def _refuse_input(path: Path, real: Path, product: bool) -> None:
    """Nothing, where what is at a path is no cube that others measured, or that others need.

    A cube that was rebuilt from its arrays does not say which file it was read from.

    Raises:
      ValueError: a map would replace a file without S2ndvi_FUSED or with radar, or a cube one with
        radar that s1jax did not write; the message names the variables.
    """
    names, attrs = _content(real)
    radar = {name for name in names if re.match(r"(VV|VH)(_|$)", name)}
    if product and names and (radar or "S2ndvi_FUSED" not in names):
        raise ValueError(
            f"{path}: got a cube of {', '.join(sorted(radar or names)[:4])}, which is no map, "
            "expected a new path, or a map to replace"
        )
    if radar and not product and not any(name.startswith("s1jax_") for name in attrs):
        raise ValueError(
            f"{path}: got a cube of {', '.join(sorted(radar))} that s1jax did not write, expected "
            "a new path, or replace_source=True"
        )


def _content(path: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the variables and of the attributes of a file; none where it cannot be read."""
    if not path.exists():
        return frozenset(), frozenset()
    if path.suffix == ".zarr":
        names = frozenset(inside.name for inside in path.iterdir() if is_store(inside))
        of_2, of_3 = (_json(path / mark) for mark in (".zattrs", "zarr.json"))
        of_3 = of_3.get("attributes", {})
        return names, frozenset(of_2) | frozenset(of_3 if isinstance(of_3, dict) else ())
    try:
        with xr.open_dataset(path, decode_cf=False, cache=False) as ds:
            return frozenset(map(str, ds.variables)), frozenset(map(str, ds.attrs))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return frozenset(), frozenset()


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
    """Write a cube of `prepared` to the path of `replacing_cube`.

    Raises:
      OSError: a write failed.
    """
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


def _never() -> bool:
    return False


@contextmanager
def replacing_cube(path: Path, *, keep_unfinished: Callable[[], bool] = _never) -> Iterator[Path]:
    """A path to write to, `path` + ".part"; it takes the place of `path` once the block is over.

    Where the block raises, what was at `path` stays.

    Args:
      path: of `target`.
      keep_unfinished: whether an unfinished Zarr store is left beside `path` where the block
        raises; an OSError then says where it is.

    Raises:
      OSError: the folder or the file cannot be written; it names path and remedy.
    """

    def _left() -> Path | None:
        return part_of(path) if path.suffix == ".zarr" and keep_unfinished() else None

    with naming(path, _left):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".nc":
            whole_or_not = replacing(path)
        else:
            whole_or_not = replacing_folder(
                path, refuse_other=_refuse_other, keep_unfinished=keep_unfinished
            )
        with whole_or_not as part:
            yield part


@contextmanager
def naming(path: Path, left: Callable[[], Path | None]) -> Iterator[None]:
    """An OSError within says which path could not be written, and what to do."""
    try:
        yield
    except OSError as error:
        elsewhere = error.filename is not None and not _inside(error.filename, path.parent)
        if error.errno is None or elsewhere:
            raise  # of what is read, not written
        what = error.strerror or str(error)
        kept = left()
        rest = f"; the tiles that were written are in {kept}" if kept else ""
        advice = remedy(error.errno) or "choose another path"
        text = f"{path}: cannot be written ({what}): {advice}{rest}"
        # without strerror, for all is said: nobody puts a path or a remedy to it again
        named = type(OSError(error.errno, text))(text)
        named.errno = error.errno
        raise named from error


def _inside(name, folder: Path) -> bool:
    """Whether a file is in a folder, or is one of those that the folder is in."""
    at, folder = Path(os.path.realpath(name)), Path(os.path.realpath(folder))
    return at.is_relative_to(folder) or folder.is_relative_to(at)


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


def _refuse_other(path: Path) -> None:
    """Nothing, where a folder is no more than a store of one cube, and may be replaced.

    Raises:
      ValueError: it is a file, or holds anything else; the message names it.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise ValueError(
            f"{path}: got a file, expected a Zarr store, or a path where there is none"
        )
    groups = []
    for folder, folders, files in os.walk(path):
        other = [name for name in files if not _OF_ZARR.fullmatch(name)]
        if other:
            raise ValueError(
                f"{path}: got a folder with {Path(folder, other[0])}, expected a Zarr store, "
                "whose files alone are replaced"
            )
        if ".zgroup" in files or ("zarr.json" in files and _is_group(Path(folder, "zarr.json"))):
            groups.append(folder)
        if any(name.startswith(".") for name in folders):
            raise ValueError(f"{path}: got a folder with {folders}, expected a Zarr store")
    if len(groups) > 1:
        raise ValueError(
            f"{path}: got a Zarr store of the groups {sorted(groups)[1:4]}, expected that of a cube"
        )
    if not is_store(path) and any(path.iterdir()):
        raise ValueError(f"{path}: got a folder that is no Zarr store, expected one, or none")


def _is_group(mark: Path) -> bool:
    """Whether a zarr.json is that of a group; of a damaged one nothing is known."""
    return _json(mark).get("node_type") == "group"


def _json(path: Path) -> dict:
    """The JSON object in a file; an empty one where there is none."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
