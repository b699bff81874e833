"""A method over a region: tile by tile into a file; memory does not grow with the region."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from s1jax import cube
from s1jax.mogpr import Posterior
from s1jax.progress import bar
from s1jax.types import Days, Estimate, Series

log = logging.getLogger("s1jax")


class Failed(NamedTuple):
    """A tile that could not be filled."""

    rows: slice
    columns: slice
    error: str


class Filled(NamedTuple):
    """What became of a region."""

    pixels: int
    """Estimated."""
    not_finite: int
    """Of them, with an estimate that is not finite."""
    failed: tuple[Failed, ...]
    """Their pixels are not estimated; all other tiles are complete."""
    reading_s: float
    predicting_s: float
    writing_s: float


def fill(
    predict: Callable[[Series, Days], Estimate | Posterior],
    ds: xr.Dataset,
    path: str | Path,
    *,
    tile: int = 256,
    days: Days | None = None,
    quality: bool = False,
    smooth: tuple[int, ...] = (),
) -> Filled:
    """Write what `cube.fill_product` makes of every pixel of an aligned cube, and say how it went.

    Only a tile is loaded where the cube is not in memory (opened lazily, or dask-backed). A Zarr
    store is made first, whole and empty, its chunks the tiles, which are then written one by one;
    a NetCDF file is written in one piece at the end. A tile that fails is logged, stays empty, and
    the others go on; attrs["failed_tiles"] of the file lists them.

    Args:
      predict: series and days of a tile's pixels to their estimate.
      ds: aligned cube (`cube.align_cube`).
      path: .zarr or .nc; replaced where it exists.
      tile: rows and columns of a tile.
      days: on which to estimate, days since 1970-01-01; the cube's own where None.
      quality: write the flags of `predict`, which then returns a Posterior, as S2ndvi_QUALITY.
      smooth: sizes of `cube.despeckle`, which each tile then passes with its neighbours; none: the
        cube has its filtered radar, or needs none.

    Raises:
      ValueError: another suffix, or a tile without pixels.
    """
    path = Path(path)
    if path.suffix not in (".nc", ".zarr"):
        raise ValueError(f"path: got {path}, expected a .nc or .zarr file")
    if tile < 1:
        raise ValueError(f"tile: got {tile}, expected 1 row and column or more")
    whole = _empty(ds, days, quality)
    if path.suffix == ".zarr":
        cube.write(whole, path, tile=tile)
    else:
        own = {name: v.copy(data=np.array(v.values)) for name, v in whole.data_vars.items()}
        whole = whole.assign(own)
    where = cube.place(ds)
    pixels = not_finite = 0
    failed, seconds = [], np.zeros(3)
    for rows, columns in (progress := bar(grid(ds, tile), "map", "tile")):
        clock = [time.perf_counter()]
        try:
            part, series, pixel = read(ds, rows, columns, where=where, smooth=smooth)
            clock.append(time.perf_counter())
            product, broken = _product(predict, part, series, pixel, days, quality)
            clock.append(time.perf_counter())
            _put(product, path, whole, rows, columns)
            clock.append(time.perf_counter())
        except Exception as error:  # whatever it is, it must not cost the other tiles
            failed.append(Failed(rows, columns, f"{type(error).__name__}: {error}"))
            log.error("%s", described(failed[-1]))
            continue
        seconds += np.diff(clock)
        pixels, not_finite = pixels + pixel.size, not_finite + broken
        progress.set_postfix_str(f"{pixels / seconds.sum():,.0f} px/s", refresh=False)
    if failed:
        whole = whole.assign_attrs(failed_tiles=[described(tile) for tile in failed])
    if path.suffix == ".nc":
        cube.write(whole, path)
    elif failed:
        attrs = xr.Dataset(attrs=whole.attrs)
        attrs.to_zarr(path, mode="a", zarr_format=2, consolidated=True)
    return Filled(pixels, not_finite, tuple(failed), *seconds.tolist())


def described(failed: Failed) -> str:
    """One line on a tile that failed."""
    rows, columns, error = failed
    where = f"rows {rows.start}:{rows.stop}, columns {columns.start}:{columns.stop}"
    return f"tile of {where}: {error}"


def grid(ds: xr.Dataset, tile: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the tiles of a cube, row by row; the last ones may be smaller."""
    height, width = ds.sizes["y"], ds.sizes["x"]
    return [
        (slice(row, min(row + tile, height)), slice(column, min(column + tile, width)))
        for row in range(0, height, tile)
        for column in range(0, width, tile)
    ]


def read(
    ds: xr.Dataset,
    rows: slice,
    columns: slice,
    *,
    where: Float[np.ndarray, "y x 2"] | None = None,
    smooth: tuple[int, ...] = (),
) -> tuple[xr.Dataset, Series | None, Int[np.ndarray, "pixel"]]:
    """Part of a cube in memory, its series (None: no pixel) and their places in its flat grid.

    Args:
      ds: aligned cube.
      rows: with start and stop.
      columns: as rows.
      where: `cube.place` of the whole cube, so that all parts have one origin.
      smooth: as in `fill`.
    """
    needed = {*cube.channels(ds), "mask"}
    kept = [n for n in ds.data_vars if n in needed or str(n).endswith(("_smooth", "_wide"))]
    halo = max(smooth, default=0) // 2
    wide = [slice(max(s.start - halo, 0), s.stop + halo) for s in (rows, columns)]
    part = ds[kept].isel(y=wide[0], x=wide[1]).compute()
    if smooth:
        part = cube.despeckle(part, sizes=smooth)
        inner = [
            slice(s.start - w.start, s.stop - w.start)
            for s, w in zip((rows, columns), wide, strict=True)
        ]
        part = part.isel(y=inner[0], x=inner[1])
    pixel = cube.observed_pixels(part)
    if pixel.size == 0:
        return part, None, pixel
    series, pixel = cube.to_series(part)
    if where is not None:
        place = where[rows, columns].reshape(-1, 2)[pixel]
        series = series._replace(place=place.astype(series.day.dtype))
    return part, series, pixel


def _product(predict, part, series, pixel, days, quality) -> tuple[xr.Dataset, int]:
    """The product of a part, and its number of pixels that are not finite."""
    if series is None:
        return _nothing(part, days, quality), 0
    # as the series has its own, so that a day in both is one day
    at = series.day if days is None else np.asarray(days, series.day.dtype)
    found = predict(series, at)
    mean, std = (np.asarray(leaf, np.float32) for leaf in found[:2])
    flags = np.asarray(found.quality) if quality else None
    broken = int((~np.isfinite(mean + std)).any(axis=1).sum())
    return cube.fill_product(part, pixel, mean, std, quality=flags, days=days), broken


def _nothing(part: xr.Dataset, days: Days | None, quality: bool) -> xr.Dataset:
    """The product of a part without any pixel."""
    none = np.zeros((0, part.sizes["t"] if days is None else len(days)), np.float32)
    flags = np.zeros(0, np.uint8) if quality else None
    pixel = np.zeros(0, np.int64)
    return cube.fill_product(part, pixel, none, none, quality=flags, days=days)


def _empty(ds: xr.Dataset, days: Days | None, quality: bool) -> xr.Dataset:
    """The product of the whole cube before anything is estimated or read; views of one value."""
    one = ds[["S2ndvi"]].isel(y=slice(0, 1), x=slice(0, 1)).compute()
    one = _nothing(one.assign(S2ndvi=xr.full_like(one["S2ndvi"], np.nan)), days, quality)
    sizes = {**one.sizes, "y": ds.sizes["y"], "x": ds.sizes["x"]}
    coords = {name: c.variable for name, c in ds.coords.items() if "t" not in c.dims}
    variables = {}
    for name, variable in one.data_vars.items():
        shape = [sizes[dim] for dim in variable.dims]
        variables[name] = (
            variable.dims,
            np.broadcast_to(variable.values, shape),
            variable.attrs,
        )
    return xr.Dataset(variables, {**coords, "t": one["t"].variable}, ds.attrs)


def _put(product: xr.Dataset, path: Path, whole: xr.Dataset, rows: slice, columns: slice) -> None:
    """Write the product of a tile where it belongs."""
    if path.suffix == ".zarr":
        only = product.drop_vars(list(product.coords))
        only.to_zarr(path, region={"y": rows, "x": columns}, zarr_format=2, consolidated=True)
        return
    for name, variable in product.data_vars.items():
        last = variable.transpose(..., "y", "x").values
        whole[name].transpose(..., "y", "x").values[..., rows, columns] = last
