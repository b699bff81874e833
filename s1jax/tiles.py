"""A method over a region: tile by tile into a file; memory does not grow with the region."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

from s1jax import cube
from s1jax.progress import bar
from s1jax.types import Days, Estimate, Series


def fill(
    predict: Callable[[Series, Days], Estimate],
    ds: xr.Dataset,
    path: str | Path,
    *,
    rows: int = 64,
) -> None:
    """Write S2ndvi, S2ndvi_FUSED, S2ndvi_STD and S2ndvi_SOURCE of every pixel of an aligned cube.

    A Zarr file grows by one tile of `rows` rows at a time and only a tile is ever in memory beside
    the cube; a NetCDF file is written in one piece.

    Args:
      predict: series and days of a tile's pixels to their estimate.
      ds: aligned cube (`cube.align_cube`).
      path: .zarr or .nc; replaced where it exists.
      rows: rows of the grid in a tile.

    Raises:
      ValueError: another suffix.
    """
    path = Path(path)
    if path.suffix not in (".nc", ".zarr"):
        raise ValueError(f"path: got {path}, expected a .nc or .zarr file")
    tiles = range(0, ds.sizes["y"], rows)
    parts = []
    for start in bar(tiles, "map", "tile"):
        part = _tile(predict, ds, slice(start, start + rows))
        if path.suffix == ".nc":
            parts.append(part)
        elif start == 0:
            cube.write(part, path)
        else:
            only = part.drop_vars([n for n in part.variables if "y" not in part[n].dims])
            only.to_zarr(path, append_dim="y", zarr_format=2, consolidated=True)
    if parts:
        same = {"data_vars": "minimal", "coords": "minimal", "compat": "override"}
        cube.write(xr.concat(parts, "y", join="exact", combine_attrs="override", **same), path)


def _tile(predict, ds: xr.Dataset, rows: slice) -> xr.Dataset:
    """The product of some rows of the grid."""
    part = ds.isel(y=rows)
    pixel = cube.observed_pixels(part)
    if pixel.size == 0:
        none = np.zeros((0, ds.sizes["t"]), np.float32)
        return cube.fill_product(part, pixel, none, none)
    series, pixel = cube.to_series(part)
    where = cube.place(ds)
    if where is not None:
        # one origin for all tiles, the whole cube's
        where = where[rows].reshape(-1, 2)[pixel].astype(series.day.dtype)
        series = series._replace(place=where)
    estimate = predict(series, series.day)
    return cube.fill_product(
        part, pixel, np.asarray(estimate.mean, np.float32), np.asarray(estimate.std, np.float32)
    )
