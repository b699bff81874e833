"""GeoTIFF: what a file says of itself, and its values."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from s1jax.cube.grid import NEAR, apart

SUFFIXES = (".tif", ".tiff", ".vrt")
"""The last is a mosaic of GeoTIFFs, as GDAL describes it."""


class Header(NamedTuple):
    """What a GeoTIFF says of itself; one entry a band where there are several."""

    descriptions: tuple[str | None, ...]
    units: tuple[str | None, ...]
    nodata: tuple[float | None, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    dtype: tuple[str, ...]
    shape: tuple[int, int]
    """Rows and columns."""
    crs: str
    """EPSG:NNNN or well-known text, "" where the file has none."""
    transform: tuple[float, float, float, float, float, float]
    """x = a column + b row + c and y = d column + e row + f of a pixel's first corner."""


def require_geo(what: str):
    """The module rasterio, for `what`.

    Raises:
      ImportError: the extra `geo` is not installed.
    """
    try:
        import geopandas  # noqa: F401
        import rasterio
    except ImportError as error:
        raise ImportError(f"{what} needs the extra `geo`: pip install 's1jax[geo]'") from error
    return rasterio


def affine(transform: tuple[float, ...]):
    """The transform as rasterio takes it."""
    from affine import Affine

    return Affine(*transform)


def axes(head: Header) -> tuple[np.ndarray, np.ndarray]:
    """Centres of the rows and of the columns, y and x."""
    a, _, c, _, e, f = head.transform
    rows, columns = head.shape
    return f + e * (np.arange(rows) + 0.5), c + a * (np.arange(columns) + 0.5)


def read_header(path: Path) -> Header:
    """What the GeoTIFF at `path` says of itself; its values are not read.

    Raises:
      ValueError: it cannot be read, or its grid is rotated.
      ImportError: the extra `geo` is not installed.
    """
    rasterio = require_geo("GeoTIFF")
    try:
        with rasterio.open(path) as file:
            found = Header(
                file.descriptions, file.units, file.nodatavals, file.scales, file.offsets,
                file.dtypes, file.shape, file.crs.to_string() if file.crs else "",
                tuple(file.transform)[:6],
            )  # fmt: skip
    except rasterio.errors.RasterioIOError as error:
        raise ValueError(f"{path}: cannot be read, expected GeoTIFF ({error})") from error
    if found.transform[1] != 0 or found.transform[3] != 0:
        raise ValueError(f"{path}: grid: got a rotated one {found.transform}, expected north up")
    return found


def read_bands(
    path: Path, bands: list[int], rows: slice = slice(None), columns: slice = slice(None)
) -> np.ndarray:
    """Values as stored, (band, y, x), of bands counted from 0, and of a window where given.

    Raises:
      ValueError: it cannot be read.
      ImportError: the extra `geo` is not installed.
    """
    rasterio = require_geo("GeoTIFF")
    try:
        with rasterio.open(path) as file:
            high, wide = (s.indices(n) for s, n in zip((rows, columns), file.shape, strict=True))
            return file.read([band + 1 for band in bands], window=(high[:2], wide[:2]))
    except rasterio.errors.RasterioIOError as error:
        raise ValueError(f"{path}: cannot be read, expected GeoTIFF ({error})") from error


def same_grid(first: Header, other: Header, first_path: Path, path: Path) -> None:
    """Nothing, where two files are on one grid.

    Raises:
      ValueError: they are not; it names both grids.
    """
    got, expected = ((head.shape, head.crs, head.transform) for head in (other, first))
    far = max(apart(*pair) for pair in zip(axes(first), axes(other), strict=True))
    if got[1] != expected[1] or far > NEAR:
        raise ValueError(f"{path}: grid: got {got}, expected {expected} as {first_path.name}")
