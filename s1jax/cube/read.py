"""Inputs as they are, before anything is repaired: files of any door, tables, Datasets."""

import glob
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from s1jax.cube import csv_pair, geotiff, period_files, sits, stack
from s1jax.cube.border import brief, reading
from s1jax.cube.grid import settled
from s1jax.cube.names import BANDS, RADAR, present, standard_names
from s1jax.cube.notes import NAMED
from s1jax.cube.numbered import with_dates
from s1jax.cube.planes import Chunks
from s1jax.cube.sealed import local
from s1jax.cube.stored import decoded, is_zarr, read_dataset

Source = str | Path | xr.Dataset | xr.DataArray
"""What one part of a cube may come as."""


class Part(NamedTuple):
    """All variables of a cube, or those of one sensor."""

    ds: xr.Dataset
    """(t, y, x), standard names, dated."""
    said: list[str]
    numbered: bool
    """Its planes were numbered, and dated by `start` and `step`."""


def files_of(path_or_glob: str | Path) -> list[Path]:
    """The files a path, a folder or a glob stands for, in order of name.

    Of a folder: its GeoTIFFs named period_NN, else all of them, else its CSVs.

    Raises:
      ValueError: there is none, it may not be read, or it is on no disk of this machine.
    """
    path = local(path_or_glob)
    with reading(path, "NetCDF, Zarr, GeoTIFFs or CSVs"):
        folder, there = path.is_dir(), path.exists()
    if folder and not is_zarr(path):
        with reading(path, "a folder of files"):
            inside = sorted(path.iterdir())
        # a .vrt is made of files that lie beside it: it is read where it is named
        images = [p for p in inside if p.suffix.lower() in geotiff.SUFFIXES[:2]]
        # a mask may lie beside the periods
        periods = [p for p in images if period_files.PERIOD.search(p.stem)]
        tables = [p for p in inside if p.suffix.lower() == csv_pair.SUFFIX]
        if not images and not tables:
            got = "a folder without .tif or .csv files"
            raise ValueError(f"{path}: got {got}, expected period_NN.tif, or files of sits")
        return periods or images or tables
    with reading(path, "NetCDF, Zarr, GeoTIFFs or CSVs", re.error):
        files = [path] if there else [Path(p) for p in sorted(glob.glob(str(path)))]
    if not files:
        got, expected = "no such file", "NetCDF, Zarr, GeoTIFFs or CSVs"
        raise ValueError(f"{brief(path)}: got {got}, expected {expected}")
    return [local(file) for file in files]


def sources_of(source: object) -> list[Source]:
    """What a cube comes as: one source, or one for each sensor.

    Raises:
      ValueError: none, or something else.
    """
    if isinstance(source, Source):
        return [source]
    expected = "a path, Dataset or DataArray, or one for each sensor"
    if not isinstance(source, Iterable) or isinstance(source, Mapping | bytes | np.ndarray):
        raise ValueError(f"inputs: got {type(source).__name__}, expected {expected}")
    sources = [*source]
    if not sources:
        raise ValueError("inputs: got none, expected a file or Dataset, or one for each sensor")
    if odd := sorted({type(s).__name__ for s in sources if not isinstance(s, Source)}):
        raise ValueError(f"inputs: got {', '.join(odd)} among them, expected {expected}")
    return sources


def parts(
    source: Source | Iterable[Source],
    *,
    start: np.datetime64 | None,
    step: float | int | None,
    chunks: Chunks = None,
) -> list[Part]:
    """What the input is made of: one part, or one for each sensor; together VV, VH and S2ndvi.

    Args:
      source: NetCDF or Zarr; folder or glob of GeoTIFFs of periods, or of sits; one GeoTIFF of many
        dates; CSV; a Dataset, a DataArray with named bands; or several of those, a part each (CSVs
        are one, and GeoTIFFs are as those of one folder).
      start: beginning of period 1; needed where there are no dates.
      step: length of a period, days; as `start`.
      chunks: sizes of chunks; files stay in memory, and Datasets as they are, where None.

    Raises:
      ValueError: unreadable input, missing variable or dimension, or no date.
    """
    sources = sources_of(source)
    kinds = {Path(s).suffix.lower() if isinstance(s, str | Path) else "" for s in sources}
    if kinds == {csv_pair.SUFFIX} or kinds <= {*geotiff.SUFFIXES}:
        files = [path for s in sources for path in files_of(s)]
        read_as = _of_files(files, str(sources[0]), chunks)
    else:
        read_as = [raw for s in sources for raw in _raw(s, chunks)]
    found = []
    for raw in read_as:
        needed = RADAR if len(read_as) == 1 else ()
        ds, named = standard_names(raw.ds, needed=needed)
        ds, placed = settled(ds, raw.where)
        ds, told, numbered = with_dates(ds, start, step, raw.where)
        if any(variable.chunks for variable in ds.variables.values()):
            # variables may be stored in chunks of different sizes
            ds = ds.unify_chunks()
        elif chunks is not None:
            sizes = chunks if isinstance(chunks, dict) else dict.fromkeys(("t", "y", "x"), chunks)
            ds = ds.chunk({dim: size for dim, size in sizes.items() if dim in ds.dims})
        found.append(Part(ds, [*raw.said, *named, *placed, *told], numbered))
    got = sorted(str(name) for part in found for name in present(part.ds))
    for name in RADAR:
        if name not in got:
            raise ValueError(f"variable {name}: got {got}, expected exactly one of that name")
    return found


class _Raw(NamedTuple):
    """A Dataset under any names."""

    ds: xr.Dataset
    said: list[str]
    where: str


def _raw(source, chunks):
    """The Datasets in one source."""
    if isinstance(source, xr.Dataset):
        return [_Raw(*decoded(source), "Dataset")]
    if isinstance(source, xr.DataArray):
        bands = set(BANDS) & set(source.dims)
        ds = source.to_dataset(name="cube" if bands or source.name is None else source.name)
        ds = ds.assign_attrs({k: source.attrs[k] for k in {"crs"} & {*source.attrs}})
        return [_Raw(*decoded(ds), "DataArray")]
    return _of_files(files_of(source), str(source), chunks)


def _of_files(files, where, chunks):
    """The Datasets in files that belong together."""
    suffix = files[0].suffix.lower()
    if suffix == csv_pair.SUFFIX:
        return [_Raw(*csv_pair.read_tables(files), where)]
    if suffix not in geotiff.SUFFIXES:
        return [_Raw(*read_dataset(path, chunks), str(path)) for path in files]
    if any(sits.is_sits(path) for path in files):
        cubes, said = sits.read_sits(files, chunks)
        return [_Raw(ds, [] if k else said, where) for k, ds in enumerate(cubes)]
    if not period_files.PERIOD.search(files[0].stem) or len(files) == 1:
        stacks = [path for path in files if stack.is_stack(geotiff.read_header(path))]
        if stacks:
            found = [_Raw(*stack.read_stack(path, chunks), str(path)) for path in stacks]
            aside = [path.name for path in files if path not in stacks]
            if aside:
                found[0].said.append(f"{NAMED}files without dates are left aside: {aside}")
            return found
    return [_Raw(*period_files.read_periods(files, chunks), where)]
