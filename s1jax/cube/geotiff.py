"""GeoTIFF: one file per numbered period with the bands VV, VH and NDVI, or one raster mask."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from s1jax.cube.names import VARIABLES, variable_of
from s1jax.progress import bar

SUFFIXES = (".tif", ".tiff")
PERIOD = re.compile(r"period[_-]?(\d+)", re.IGNORECASE)
"""Number of a period in the name of its file."""


class Image(NamedTuple):
    """A GeoTIFF in memory."""

    band: np.ndarray
    """(band, y, x), as stored."""
    descriptions: tuple[str | None, ...]
    units: tuple[str | None, ...]
    nodata: tuple[float | None, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]
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


def read_image(path: Path) -> Image:
    """The GeoTIFF at `path`.

    Raises:
      ValueError: it cannot be read, or its grid is rotated.
      ImportError: the extra `geo` is not installed.
    """
    rasterio = require_geo("GeoTIFF")
    try:
        with rasterio.open(path) as file:
            image = Image(
                file.read(), file.descriptions, file.units, file.nodatavals, file.scales,
                file.offsets, file.crs.to_string() if file.crs else "", tuple(file.transform)[:6],
            )  # fmt: skip
    except rasterio.errors.RasterioIOError as error:
        raise ValueError(f"{path}: cannot be read, expected GeoTIFF ({error})") from error
    if image.transform[1] != 0 or image.transform[3] != 0:
        raise ValueError(f"{path}: grid: got a rotated one {image.transform}, expected north up")
    return image


def period_numbers(files: list[Path]) -> list[int]:
    """Number of the period in each file's name: after "period", else the last number in it.

    Raises:
      ValueError: a name without a number, a number under 1, or the same number twice.
    """
    numbers = []
    for file in files:
        found = PERIOD.findall(file.stem)
        found = found or re.findall(r"\d+", file.stem)
        if not found or int(found[-1]) < 1:
            raise ValueError(f"{file}: got no period number from 1, expected period_NN.tif")
        numbers.append(int(found[-1]))
    twice = sorted({n for n in numbers if numbers.count(n) > 1})
    if twice:
        raise ValueError(f"period numbers: got {twice} in more than one file, expected one each")
    return numbers


def read_periods(files: list[Path], numbers: list[int]) -> tuple[xr.Dataset, list[str]]:
    """Dataset (t, y, x) whose t is the period number from 1, NaN where a file is missing.

    Raises:
      ValueError: unreadable file, other bands, or a grid unlike the first file's.
    """
    first, periods, nodata = read_image(files[0]), max(numbers), {}
    shape = (periods, *first.band.shape[1:])
    planes = {name: np.full(shape, np.nan, np.float32) for name in VARIABLES}
    numbered = list(zip(files, numbers, strict=True))
    for path, number in bar(numbered, "GeoTIFF", "file"):
        image = read_image(path)
        _same_grid(first, image, files[0], path)
        for name, band in _bands(image, path).items():
            fill, plane = image.nodata[band], image.band[band]
            filled = np.isnan(plane) if fill is None or np.isnan(fill) else plane == fill
            if fill is not None and not np.isnan(fill) and filled.any():
                nodata[fill] = nodata.get(fill, 0) + int(filled.sum())
            value = plane * image.scale[band] + image.offset[band]
            planes[name][number - 1] = np.where(filled, np.nan, value)
    said = [f"{n:,} values of nodata {fill:g} are missing" for fill, n in nodata.items()]
    if not any(first.descriptions):
        said.append("bands without description: taken as VV, VH, NDVI by position")
    absent = sorted(set(range(1, periods + 1)) - set(numbers))
    if absent:
        said.append(f"no file for period {', '.join(map(str, absent))}: missing on its date")
    units = {name: first.units[band] for name, band in _bands(first, files[0]).items()}
    variables = {
        name: (("t", "y", "x"), plane, {"units": units[name]} if units[name] else {})
        for name, plane in planes.items()
    }
    a, _, c, _, e, f = first.transform
    coords = {
        "t": np.arange(1, periods + 1),
        "y": f + e * (np.arange(shape[1]) + 0.5),
        "x": c + a * (np.arange(shape[2]) + 0.5),
    }
    return xr.Dataset(variables, coords, {"crs": first.crs} if first.crs else {}), said


def _bands(image, path):
    """Place of VV, VH, S2ndvi among the bands, by description, else by position."""
    names = image.descriptions
    if not any(names):
        if len(names) != len(VARIABLES):
            got = f"{len(names)} bands without description"
            raise ValueError(f"{path}: got {got}, expected 3: VV, VH, NDVI")
        return {name: band for band, name in enumerate(VARIABLES)}
    place = {variable_of(str(name)): band for band, name in reversed(list(enumerate(names)))}
    missing = [name for name in VARIABLES if name not in place]
    if missing:
        raise ValueError(f"{path}: got bands {names}, expected {missing} among them")
    return {name: place[name] for name in VARIABLES}


def _same_grid(first, image, first_path, path):
    """Whether two images are on one grid, to a thousandth of a pixel.

    Raises:
      ValueError: they are not.
    """
    got, expected = ((i.band.shape[1:], i.crs, i.transform) for i in (image, first))
    apart = np.abs(np.subtract(image.transform, first.transform)).max()
    if got[0] != expected[0] or image.crs != first.crs or apart > 1e-3 * abs(first.transform[0]):
        raise ValueError(f"{path}: grid: got {got}, expected {expected} as {first_path.name}")
