"""GeoTIFF: what a file says of itself, and its values."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from s1jax.cube.border import reading
from s1jax.cube.grid import apart, tolerance
from s1jax.cube.sealed import local, sealed_tif, sealed_vrt

SUFFIXES = (".tif", ".tiff", ".vrt")
"""The last is a mosaic of GeoTIFFs that lie beside it, as GDAL describes it."""

_ALONE = {"GDAL_VRT_ENABLE_PYTHON": "NO", "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none"}
"""Settings of GDAL under which no file runs code or asks a server."""


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
    masked: tuple[bool, ...]
    """Whether a mask of the file, a .msk beside it or an alpha band says what is missing."""
    alpha: tuple[bool, ...]
    """Whether the band itself is such an alpha band."""


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


@contextmanager
def _opened(path: Path) -> Iterator:
    """The file as rasterio opens it, read by the one driver its name means.

    Raises:
      ValueError: it, or what is read of it in the block, cannot be read.
      ImportError: the extra `geo` is not installed.
    """
    rasterio = require_geo("GeoTIFF")
    from rasterio._err import CPLE_BaseError

    path = local(path)
    mosaic = path.suffix.lower() == SUFFIXES[-1]
    (sealed_vrt if mosaic else sealed_tif)(path)
    # an absolute path is never taken for the name of a server or of another format
    name, driver = os.path.abspath(path), "VRT" if mosaic else "GTiff"
    more = (rasterio.errors.RasterioError, CPLE_BaseError)
    with (
        reading(path, "GeoTIFF", *more),
        rasterio.Env(**_ALONE),
        rasterio.open(name, driver=driver) as file,
    ):
        yield file


def read_header(path: Path) -> Header:
    """What the GeoTIFF at `path` says of itself; its values are not read.

    Raises:
      ValueError: it cannot be read, has no bands or complex ones, or its grid is rotated.
      ImportError: the extra `geo` is not installed.
    """
    with _opened(path) as file:
        found = Header(
            file.descriptions, file.units, file.nodatavals, file.scales, file.offsets,
            file.dtypes, file.shape, file.crs.to_string() if file.crs else "",
            tuple(file.transform)[:6], *_masks(file),
        )  # fmt: skip
        points = len(file.gcps[0])
    if not found.dtype:
        raise ValueError(f"{path}: bands: got none, expected at least one")
    if odd := sorted({str(dtype) for dtype in found.dtype if np.dtype(dtype).kind not in "iuf"}):
        raise ValueError(f"{path}: bands: got {odd}, expected whole or real numbers")
    if points:
        got = f"{points} ground control points"
        raise ValueError(f"{path}: grid: got {got}, expected rows and columns: reproject it first")
    if found.transform[1] != 0 or found.transform[3] != 0:
        raise ValueError(f"{path}: grid: got a rotated one {found.transform}, expected north up")
    if not np.isfinite(found.transform).all() or 0 in (found.transform[0], found.transform[4]):
        raise ValueError(f"{path}: grid: got {found.transform}, expected pixels of some size")
    return found


def _masks(file):
    """Whether each band has a mask beside its nodata, and whether it is an alpha band."""
    from rasterio.enums import ColorInterp, MaskFlags

    plain = ({MaskFlags.all_valid}, {MaskFlags.nodata})
    alpha = tuple(band == ColorInterp.alpha for band in file.colorinterp)
    masked = tuple(set(flags) not in plain for flags in file.mask_flag_enums)
    return tuple(m and not a for m, a in zip(masked, alpha, strict=True)), alpha


def read_bands(
    path: Path, bands: list[int], rows: slice = slice(None), columns: slice = slice(None)
) -> np.ndarray:
    """Values as stored, (band, y, x), of bands counted from 0, and of a window where given.

    Raises:
      ValueError: it cannot be read.
      ImportError: the extra `geo` is not installed.
    """
    with _opened(path) as file:
        return file.read([band + 1 for band in bands], window=_window(file, rows, columns))


def read_masked(
    path: Path, bands: list[int], rows: slice = slice(None), columns: slice = slice(None)
) -> np.ndarray:
    """Whether the file's own mask says that a value is missing, (band, y, x); as `read_bands`."""
    with _opened(path) as file:
        there = file.read_masks([band + 1 for band in bands], window=_window(file, rows, columns))
        return there == 0


def _window(file, rows, columns):
    high, wide = (s.indices(n) for s, n in zip((rows, columns), file.shape, strict=True))
    return high[:2], wide[:2]


def same_grid(first: Header, other: Header, first_path: Path, path: Path) -> None:
    """Nothing, where two files are on one grid.

    Raises:
      ValueError: they are not; it names both grids.
    """
    got, expected = ((head.shape, head.crs, head.transform) for head in (other, first))
    pairs = [*zip(axes(first), axes(other), strict=True)]
    if got[1] != expected[1] or any(apart(*pair) > tolerance(*pair) for pair in pairs):
        raise ValueError(f"{path}: grid: got {got}, expected {expected} as {first_path.name}")
