"""A method over a region: tile by tile into a file; memory does not grow with the region."""

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from s1jax import cube
from s1jax.cube import provenance
from s1jax.cube.sources import named
from s1jax.cube.storable import storable
from s1jax.cube.write import prepared, put, replacing_cube, target
from s1jax.mogpr import Posterior
from s1jax.progress import bar
from s1jax.types import Days, Estimate, Series

log = logging.getLogger("s1jax")
NOISE = "S2ndvi_NOISE"


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
    """Of them, with a mean, std or noise that is not finite, or a std or noise below 0."""
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
    method: str | None = None,
    weights: str | None = None,
    trained_on: str | None = None,
) -> Filled:
    """Write what `cube.fill_product` makes of every pixel of an aligned cube, and say how it went.

    Only a tile is loaded where the cube is not in memory (opened lazily, or dask-backed). A Zarr
    store is made first, whole and empty, its chunks the tiles, which are then written one by one;
    a NetCDF file is written in one piece at the end. Either is written beside `path`, as
    `path` + ".part", and takes its place once it is whole. A tile that fails is logged, stays
    empty, and the others go on; attrs["failed_tiles"] of the file lists them.

    The file says what made it: `Conventions`, `title`, `history`, `date_created`, `s1jax_version`,
    `s1jax_method`, `s1jax_weights`, `s1jax_trained_on`, and `s1jax_input_sha256`, the
    `cube.fingerprint` of `ds` (left out where a tile could not be read).

    Args:
      predict: series and days of a tile's pixels to their estimate; its `noise` becomes
        S2ndvi_NOISE, unless it has none or a single 0 for all pixels.
      ds: aligned cube (`cube.align_cube`).
      path: .zarr or .nc; replaced where it is a map.
      tile: rows and columns of a tile.
      days: on which to estimate, days since 1970-01-01, ascending; the cube's own where None.
      quality: write the flags of `predict`, whose estimate then has `quality`, as S2ndvi_QUALITY.
      smooth: sizes of `cube.despeckle`, which each tile then passes with its neighbours; none: the
        cube has its filtered radar, or needs none.
      method: what makes the estimate; attrs["s1jax_method"] of `ds`, else the name of `predict`,
        where None.
      weights: what the method has learnt, or where that is kept.
      trained_on: what it has learnt it from.

    Raises:
      ValueError: another suffix, a source of the cube, another file than a map, a tile
        without pixels, or days that are none, not finite or do not ascend. All before any tile.
      OSError: the file cannot be written; the message names the path, a remedy and, of a Zarr
        store, where the tiles are that were written.
    """
    path = target(ds, path, product=True)
    if tile < 1:
        raise ValueError(f"tile: got {tile}, expected 1 row and column or more")
    _check(ds, days)
    method = method or ds.attrs.get("s1jax_method") or _name(predict)
    about = provenance.provenance(
        ds.attrs, method=str(method), weights=weights, trained_on=trained_on
    )
    begun: list[Path] = []
    with replacing_cube(path, keep_unfinished=lambda: bool(begun)) as part:
        whole = _begun(_empty(ds, days, quality).assign_attrs(about), path, part, tile)
        begun.append(part)
        options = {"tile": tile, "days": days, "quality": quality, "smooth": smooth}
        done, whole, more = _filled(predict, ds, part, whole, **options)
        if path.suffix == ".nc":
            put(prepared(whole.assign_attrs(more), path.suffix), part)
        else:
            attrs = xr.Dataset(attrs=whole.attrs | more)
            attrs.to_zarr(part, mode="a", zarr_format=2, consolidated=True)
    return done


def _filled(predict, ds, part, whole, *, tile, days, quality, smooth):
    """What became of the region, the product (of Zarr, without values) and its last attributes."""
    where = cube.place(ds)
    pixels = not_finite = total = 0
    failed, seconds, unread = [], np.zeros(3), False
    for rows, columns in (progress := bar(grid(ds, tile), "map", "tile")):
        clock = [time.perf_counter()]
        try:
            piece, series, pixel = read(ds, rows, columns, where=where, smooth=smooth)
            clock.append(time.perf_counter())
            within = (range(s.start, s.stop) for s in (rows, columns))
            total += provenance.checksum(piece, *within, ds.sizes["x"])
            product, broken = _product(predict, piece, series, pixel, days, quality)
            clock.append(time.perf_counter())
        except Exception as error:  # whatever it is, it must not cost the other tiles
            failed.append(Failed(rows, columns, f"{type(error).__name__}: {error}"))
            log.error("%s", described(failed[-1]))
            unread = unread or len(clock) == 1
            continue
        whole = _put(product, part, whole, rows, columns, tile)
        clock.append(time.perf_counter())
        seconds += np.diff(clock)
        pixels, not_finite = pixels + pixel.size, not_finite + broken
        progress.set_postfix_str(f"{pixels / seconds.sum():,.0f} px/s", refresh=False)
    more = {} if unread else {"s1jax_input_sha256": provenance.digest(ds, total)}
    if failed:
        more["failed_tiles"] = [described(tile) for tile in failed]
    return Filled(pixels, not_finite, tuple(failed), *seconds.tolist()), whole, more


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

    Raises:
      ValueError: values cannot be read; the message names file, variable and chunk.
    """
    needed = {*cube.channels(ds), "mask"}
    kept = [n for n in ds.data_vars if n in needed or str(n).endswith(("_smooth", "_wide"))]
    halo = max(smooth, default=0) // 2
    wide = [slice(max(s.start - halo, 0), s.stop + halo) for s in (rows, columns)]
    window = dict(zip(("y", "x"), wide, strict=True))
    with named(ds[kept], window):
        part = ds[kept].isel(window).compute()
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


def _check(ds: xr.Dataset, days: Days | None) -> None:
    """What can be told of dates before anything is read."""
    if ds.sizes["t"] == 0:
        raise ValueError("t: got no date, expected one or more")
    if days is None:
        return
    at = np.asarray(days)
    if at.ndim != 1 or at.size == 0 or at.dtype.kind not in "iuf":
        raise ValueError(f"days: got {at.dtype} of shape {at.shape}, expected numbers, 1 or more")
    if not np.isfinite(at).all():
        raise ValueError(f"days: got {at[~np.isfinite(at)][0]}, expected finite numbers")
    if (np.diff(at) <= 0).any():
        k = int(np.argmax(np.diff(at) <= 0))
        raise ValueError(f"days: got {at[k + 1]:g} after {at[k]:g}, expected them to ascend")


def _name(predict) -> str:
    """The name of a function; "not stated" of one that has none."""
    whole = getattr(predict, "func", predict)
    name = getattr(whole, "__qualname__", type(whole).__qualname__)
    if name.endswith("<lambda>"):
        return provenance.NOT_STATED
    return f"{getattr(whole, '__module__', '')}.{name}".lstrip(".")


def _product(predict, part, series, pixel, days, quality) -> tuple[xr.Dataset, int]:
    """The product of a part, and its number of pixels that are not finite."""
    if series is None:
        return _nothing(part, days, quality), 0
    # as the series has its own, so that a day in both is one day
    at = series.day if days is None else np.asarray(days, series.day.dtype)
    estimate = predict(series, at)
    with np.errstate(over="ignore"):  # beyond float32 is not finite, and counted
        mean, std = (np.asarray(leaf).astype(np.float32) for leaf in estimate[:2])
        noise = _noise(estimate, pixel.size)
    flags = getattr(estimate, "quality", None) if quality else None
    if quality and flags is None:
        raise ValueError(f"quality: got {type(estimate).__name__}, expected one with quality")
    flags = None if flags is None else np.asarray(flags)
    product = cube.fill_product(part, pixel, mean, std, quality=flags, noise=noise, days=days)
    sound = np.isfinite(mean).all(axis=1) & (np.isfinite(std) & (std >= 0)).all(axis=1)
    if noise is not None:
        sound &= np.isfinite(noise) & (noise >= 0)
    return product, int((~sound).sum())


def _noise(estimate, pixels: int) -> Float[np.ndarray, "pixel"] | None:
    """The noise of each pixel; None where the method has none: a single 0 says as much."""
    noise = np.asarray(getattr(estimate, "noise", 0.0), np.float32)
    if noise.ndim == 0 and noise == 0:
        return None
    return np.array(np.broadcast_to(noise, (pixels,)))


def _nothing(part: xr.Dataset, days: Days | None, quality: bool) -> xr.Dataset:
    """The product of a part without any pixel."""
    none = np.zeros((0, part.sizes["t"] if days is None else len(days)), np.float32)
    flags = np.zeros(0, np.uint8) if quality else None
    pixel = np.zeros(0, np.int64)
    return cube.fill_product(part, pixel, none, none, quality=flags, days=days)


def _empty(ds: xr.Dataset, days: Days | None, quality: bool) -> xr.Dataset:
    """The product of the whole cube before anything is estimated or read; views of one value."""
    one = ds[["S2ndvi"]].isel(y=slice(0, 1), x=slice(0, 1))
    # its values may be unreadable, and are not needed
    none = np.full([one.sizes[dim] for dim in one["S2ndvi"].dims], np.nan, np.float32)
    one = one.assign(S2ndvi=(one["S2ndvi"].dims, none, one["S2ndvi"].attrs))
    one = _nothing(one.compute(), days, quality)
    sizes = {**one.sizes, "y": ds.sizes["y"], "x": ds.sizes["x"]}
    coords = {name: c.variable for name, c in ds.coords.items() if "t" not in c.dims}
    variables = {name: _everywhere(variable, sizes) for name, variable in one.data_vars.items()}
    return xr.Dataset(variables, {**coords, "t": one["t"].variable}, ds.attrs)


def _everywhere(variable: xr.DataArray, sizes: Mapping) -> tuple:
    """The one value of a variable wherever the cube is; a view."""
    shape = [sizes[dim] for dim in variable.dims]
    first = variable.isel({dim: slice(0, 1) for dim in ("y", "x")}).values
    return variable.dims, np.broadcast_to(first, shape), variable.attrs


def _begun(whole: xr.Dataset, path: Path, part: Path, tile: int) -> xr.Dataset:
    """The empty product, on disk at `part` (Zarr) or in memory of its own.

    Of a NetCDF file one pixel is written, so that what cannot be written is known before any tile.
    """
    room = sum(variable.nbytes for variable in whole.data_vars.values())
    if room > (free := shutil.disk_usage(part.parent).free):
        log.warning(
            "%s: got %.1f GB free on the disk, expected up to %.1f GB of map", path, free / 1e9,
            room / 1e9,
        )  # fmt: skip
    whole = storable(whole, path.suffix)
    if path.suffix == ".zarr":
        put(prepared(whole, path.suffix, tile=tile), part)
        return whole
    put(prepared(whole.isel(y=slice(0, 1), x=slice(0, 1)), path.suffix), part)
    own = {name: v.copy(data=np.array(v.values)) for name, v in whole.data_vars.items()}
    return whole.assign(own)


def _put(product, part: Path, whole: xr.Dataset, rows: slice, columns: slice, tile) -> xr.Dataset:
    """Write the product of a tile where it belongs; the whole, in which its noise may be new."""
    zarr = part.with_suffix("").suffix == ".zarr"
    if NOISE in product and NOISE not in whole:
        # only the first estimate tells that there is one
        none = product[[NOISE]].isel(y=slice(0, 1), x=slice(0, 1)) * np.float32(np.nan)
        none[NOISE].attrs = product[NOISE].attrs
        dims, values, attrs = _everywhere(none[NOISE], whole.sizes)
        whole = whole.assign({NOISE: (dims, values if zarr else np.array(values), attrs)})
        if zarr:
            put(prepared(whole[[NOISE]], ".zarr", tile=tile), part)
    if zarr:
        only = product.drop_vars(list(product.coords)).drop_attrs()
        only.to_zarr(part, region={"y": rows, "x": columns}, zarr_format=2, consolidated=True)
        return whole
    for name, variable in product.data_vars.items():
        last = variable.transpose(..., "y", "x").values
        whole[name].transpose(..., "y", "x").values[..., rows, columns] = last
    return whole
