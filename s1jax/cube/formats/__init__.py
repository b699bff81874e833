"""Files as they are stored: one function a format, from paths to a Dataset and messages."""

import glob
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from s1jax.cube.safety import brief, local, reading

Source = str | Path | xr.Dataset | xr.DataArray
"""What one part of a cube may come as."""

Chunks = int | str | dict | None
"""Sizes of chunks as xarray takes them; None: all in memory."""

IMAGES = (".tif", ".tiff", ".vrt")
"""The last is a mosaic of GeoTIFFs that lie beside it, as GDAL describes it."""

TABLES = ".csv"

PERIOD = re.compile(r"period[_-]?(\d+)", re.IGNORECASE)
"""Number of a period in the name of its file."""


def files_of(path_or_glob: str | Path) -> list[Path]:
    """The files a path, a folder or a glob stands for, in order of name.

    Of a folder: its GeoTIFFs named period_NN, else all of them, else its CSVs.

    Raises:
      ValueError: there is none, it may not be read, or it is on no disk of this machine.
    """
    path, expected = local(path_or_glob), "NetCDF, Zarr, GeoTIFFs or CSVs"
    with reading(path, expected):
        folder, there = path.is_dir(), path.exists()
    if folder and not is_zarr(path):
        with reading(path, "a folder of files"):
            inside = sorted(path.iterdir())
        # a .vrt is made of files that lie beside it: it is read where it is named
        images = [p for p in inside if p.suffix.lower() in IMAGES[:2]]
        # a mask may lie beside the periods
        periods = [p for p in images if PERIOD.search(p.stem)]
        tables = [p for p in inside if p.suffix.lower() == TABLES]
        if not images and not tables:
            got = "a folder without .tif or .csv files"
            raise ValueError(f"{path}: got {got}, expected period_NN.tif, or files of sits")
        return periods or images or tables
    with reading(path, expected, re.error):
        files = [path] if there else [Path(p) for p in sorted(glob.glob(str(path)))]
    if not files:
        raise ValueError(f"{brief(path)}: got no such file, expected {expected}")
    return [local(file) for file in files]


def is_zarr(path: Path) -> bool:
    """Whether a path is a Zarr store, of either format."""
    marks = ("zarr.json", ".zgroup", ".zmetadata")
    with reading(path, "a file or folder"):
        marked = path.suffix == ".zarr" or any((path / mark).exists() for mark in marks)
        return path.is_dir() and marked


def lazy_array(
    sizes: Mapping[Any, int],
    chunks: Mapping[Any, int | tuple[int, ...]],
    read: Callable[..., np.ndarray],
    dtype: np.dtype,
) -> xr.DataArray:
    """Values in chunks; `read` returns those of one from the numbers of its rows, columns, ..."""
    index = [
        xr.DataArray(np.arange(n), dims=[dim]).chunk({dim: chunks[dim]}) for dim, n in sizes.items()
    ]

    def _read(*numbers):
        return read(*(np.ravel(number) for number in numbers))

    return xr.apply_ufunc(_read, *index, dask="parallelized", output_dtypes=[dtype])
