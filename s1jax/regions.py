"""A method over a region: tile by tile into a file; memory does not grow with the region."""

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
import zarr
from jaxtyping import Float, Int

from s1jax import cube
from s1jax.batching import bar
from s1jax.cube import provenance
from s1jax.cube.provenance import naming_damage
from s1jax.cube.write import prepared, put, replacing_cube, storable, target
from s1jax.features import check_ascending
from s1jax.types import Days, Estimate, Series, concatenate

log = logging.getLogger("s1jax")
SQUARE = 8
"""Side of the squares of pixels that a sample is made of."""
_SAMPLE = 4096
"""Pixels of a sample, a quarter of them for validation."""
CELL_M = 1000.0
"""Side of the cells that train or validate together, metres."""
UNLABELLED = (
    "S2ndvi: got no value in any pixel, expected labels to fit and to score; the weights that "
    "s1jax ships, which know simulated rice alone, need none: s1jax.fill(ds)"
)
"""Remedy for a cube without labels."""


class FailedTile(NamedTuple):
    """A tile that is not estimated."""

    rows: slice
    columns: slice
    error: str

    def __str__(self) -> str:
        """One line: where, and why."""
        rows, columns, error = self
        where = f"rows {rows.start}:{rows.stop}, columns {columns.start}:{columns.stop}"
        return f"tile of {where}: {error}"


class Summary(NamedTuple):
    """What became of a region."""

    pixels: int
    """Estimated."""
    not_finite: int
    """Of them, with a mean, std or noise that is not finite, or a std or noise below 0."""
    failed: tuple[FailedTile, ...]
    """Their pixels are not estimated; all other tiles are complete."""
    reading_s: float
    predicting_s: float
    writing_s: float
    product: xr.Dataset | None = None
    """The map, where it is in memory."""


def map_region(
    predict: Callable[[Series, Days], Estimate],
    ds: xr.Dataset,
    path: str | Path | None = None,
    *,
    tile: int = 256,
    days: Days | None = None,
    smooth: tuple[int, ...] = (),
    names: Mapping[str, str] | None = None,
    method: str | None = None,
    weights: str | None = None,
    trained_on: str | None = None,
) -> Summary:
    """Write `cube.to_product` of every pixel of an aligned cube to a file, or keep it in memory.

    Of a lazy cube one tile at a time is loaded. A Zarr store is made empty, its chunks the tiles,
    which are then written one by one; a NetCDF file is written in one piece at the end. Either
    takes the place of `path` once it is whole. A tile that fails is logged, stays empty, and the
    others go on; attrs["failed_tiles"] lists them. Other attributes state what made the file:
    `history`, `s1jax_method`, `s1jax_weights`, `s1jax_trained_on`, and `s1jax_input_sha256`, the
    `cube.fingerprint` of `ds` (where every tile could be read).

    Args:
      predict: series and days of a tile's pixels to their estimate. S2ndvi_NOISE is written where
        some noise is not 0, S2ndvi_QUALITY where the estimate has one.
      ds: aligned cube (`cube.align_cube`).
      path: .zarr or .nc, replaced where it is a map; None: the map is in `Summary.product`.
      tile: rows and columns of a tile.
      days: query days since 1970-01-01, ascending; the cube's own where None.
      smooth: sizes of `cube.despeckle`, which each tile then passes with its neighbours.
      names: of the variables to write, instead of those of the product; others are left out.
      method: attrs["s1jax_method"] of `ds`, else the name of `predict`, where None.
      weights: parameters of the method, or where they are kept.
      trained_on: data that they were fitted to.

    Raises:
      ValueError: another suffix, a source of the cube, another file than a map, a tile without
        pixels, or days that are none, not finite or do not ascend; all before any tile.
      OSError: the file cannot be written; the message names the path, a remedy and, of a Zarr
        store, where the tiles are that were written.
    """
    path = None if path is None else target(ds, path, product=True)
    if tile < 1:
        raise ValueError(f"tile: got {tile}, expected 1 row and column or more")
    _check_days(ds, days)
    method = str(method or ds.attrs.get("s1jax_method") or _name(predict))
    about = provenance.provenance(ds.attrs, method=method, weights=weights, trained_on=trained_on)
    empty = _empty(ds, days, names).assign_attrs(about)
    options = {"tile": tile, "days": days, "smooth": smooth, "names": names}
    if path is None:
        part = Path("memory")
        whole = _with(empty[[]], empty[_always(empty)], part, tile)
        summary, whole = _fill(predict, ds, part, empty, whole, **options)
        return summary._replace(product=_complete(whole))
    begun: list[Path] = []
    with replacing_cube(path, keep_unfinished=lambda: bool(begun)) as part:
        empty = storable(empty, path.suffix)
        whole = _begin(empty, path, part, tile)
        begun.append(part)
        summary, whole = _fill(predict, ds, part, empty, whole, **options)
        _end(whole, part)
    return summary


def _fill(
    predict, ds, part, empty, whole, *, tile, days, smooth, names
) -> tuple[Summary, xr.Dataset]:
    """The summary, and the product (of Zarr, without values) with its last attributes."""
    where = cube.position(ds)
    pixels = not_finite = total = 0
    failed, seconds, unread = [], np.zeros(3), False
    for rows, columns in (progress := bar(grid(ds, tile), "map", "tile")):
        clock = [time.perf_counter()]
        try:
            piece, series, pixel = read(ds, rows, columns, where=where, smooth=smooth)
            clock.append(time.perf_counter())
            within = (range(s.start, s.stop) for s in (rows, columns))
            total += provenance.checksum(piece, *within, width=ds.sizes["x"])
            product, broken = _product(predict, piece, series, pixel, days, names)
            clock.append(time.perf_counter())
        except Exception as error:  # whatever it is, it must not cost the other tiles
            failed.append(FailedTile(rows, columns, f"{type(error).__name__}: {error}"))
            log.error("%s", failed[-1])
            unread = unread or len(clock) == 1
            continue
        whole = _put(product, part, empty, whole, rows, columns, tile)
        clock.append(time.perf_counter())
        seconds += np.diff(clock)
        pixels, not_finite = pixels + pixel.size, not_finite + broken
        progress.set_postfix_str(f"{pixels / seconds.sum():,.0f} px/s", refresh=False)
    more: dict[str, str | list[str]] = {}
    if not unread:
        more["s1jax_input_sha256"] = provenance.digest(ds, total)
    if failed:
        more["failed_tiles"] = [str(error) for error in failed]
    reading, predicting, writing = seconds.tolist()
    summary = Summary(pixels, not_finite, tuple(failed), reading, predicting, writing)
    return summary, whole.assign_attrs(more)


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
    """Part of a cube in memory, its series (None: no pixel) and their indices in its flat grid.

    `where` is the `cube.position` of the whole cube, so that all parts have one origin.

    Raises:
      ValueError: values cannot be read; the message names file, variable and chunk.
    """
    needed = {*cube.channels(ds), "mask"}
    kept = [n for n in ds.data_vars if n in needed or str(n).endswith(("_smooth", "_wide"))]
    halo = max(smooth, default=0) // 2
    tile = {"y": rows, "x": columns}
    window = {dim: slice(max(s.start - halo, 0), s.stop + halo) for dim, s in tile.items()}
    with naming_damage(ds[kept], window):
        part = ds[kept].isel(window).compute()
    if smooth:
        part = cube.despeckle(part, sizes=smooth)
        first = {dim: s.start - window[dim].start for dim, s in tile.items()}
        part = part.isel({d: slice(first[d], first[d] + s.stop - s.start) for d, s in tile.items()})
    pixel = cube.observed_pixels(part)
    if pixel.size == 0:
        return part, None, pixel
    series, pixel = cube.to_series(part)
    if where is not None:
        position = where[rows, columns].reshape(-1, 2)[pixel]
        series = series._replace(position=position.astype(series.day.dtype))
    return part, series, pixel


def _check_days(ds: xr.Dataset, days: Days | None) -> None:
    """Refuse dates that no map has, before anything is read."""
    if ds.sizes["t"] == 0:
        raise ValueError("t: got no date, expected one or more")
    if days is None:
        return
    at = np.asarray(days)
    if at.ndim != 1 or at.size == 0 or at.dtype.kind not in "iuf":
        raise ValueError(f"days: got {at.dtype} of shape {at.shape}, expected numbers, 1 or more")
    check_ascending("days", at.astype(np.float64))


def _name(predict) -> str:
    """The name of a function; "not stated" of one that has none."""
    whole = getattr(predict, "func", predict)
    name = getattr(whole, "__qualname__", type(whole).__qualname__)
    if name.endswith("<lambda>"):
        return provenance.NOT_STATED
    return f"{getattr(whole, '__module__', '')}.{name}".lstrip(".")


def _product(predict, part, series, pixel, days, names) -> tuple[xr.Dataset, int]:
    """The product of a part, and its number of pixels that are not finite."""
    if series is None:
        return _renamed(_nothing(part, days), names), 0
    # as the series has its own, so that a day in both is one day
    at = series.day if days is None else np.asarray(days, series.day.dtype)
    estimate = predict(series, at)
    with np.errstate(over="ignore"):  # beyond float32 is not finite, and counted
        mean, std, noise = (np.asarray(leaf).astype(np.float32) for leaf in estimate[:3])
    product = cube.to_product(
        part, pixel, mean, std, days=days,
        quality=None if estimate.quality is None else np.asarray(estimate.quality),
        noise=noise if noise.any() or names is not None else None,
    )  # fmt: skip
    product = _renamed(product, names)
    sound = np.isfinite(mean).all(axis=1) & (np.isfinite(std) & (std >= 0)).all(axis=1)
    sound &= np.isfinite(noise) & (noise >= 0)
    return product, int((~sound).sum())


def _nothing(part, days, **of_estimate: np.ndarray) -> xr.Dataset:
    """The product of a part without any pixel."""
    none = np.zeros((0, part.sizes["t"] if days is None else len(days)), np.float32)
    return cube.to_product(part, np.zeros(0, np.int64), none, none, days=days, **of_estimate)


def _renamed(product: xr.Dataset, names: Mapping[str, str] | None) -> xr.Dataset:
    """The product with the variables of `names` alone, under their new names."""
    if names is None:
        return product
    here = {name: new for name, new in names.items() if name in product}
    product = product[[*here]].rename(here)
    for variable in product.data_vars.values():
        for key, text in variable.attrs.items():
            if isinstance(text, str):
                for name, new in names.items():
                    text = text.replace(name, new)
                variable.attrs[key] = text
    return product


def _empty(ds: xr.Dataset, days: Days | None, names: Mapping[str, str] | None) -> xr.Dataset:
    """The whole product before anything is estimated or read: views of one value a variable."""
    one = ds[["S2ndvi"]].isel(y=slice(0, 1), x=slice(0, 1))
    # its values may be unreadable, and are not needed
    blank = np.full(one["S2ndvi"].shape, np.nan, np.float32)
    one = one.assign(S2ndvi=(one["S2ndvi"].dims, blank, one["S2ndvi"].attrs)).compute()
    one = _nothing(one, days, noise=np.zeros(0, np.float32), quality=np.zeros(0, np.uint8))
    one = _renamed(one, names)
    sizes = {**one.sizes, "y": ds.sizes["y"], "x": ds.sizes["x"]}
    variables = {
        name: (v.dims, np.broadcast_to(v.values, [sizes[dim] for dim in v.dims]), v.attrs)
        for name, v in one.data_vars.items()
    }
    coords = {name: c.variable for name, c in ds.coords.items() if "t" not in c.dims}
    return xr.Dataset(variables, {**coords, "t": one["t"].variable}, ds.attrs)


def _begin(empty: xr.Dataset, path: Path, part: Path, tile: int) -> xr.Dataset:
    """What every product has, on disk (Zarr) or in memory.

    Of a NetCDF file one pixel is written, so that a failure to write comes before any tile.
    """
    room = sum(variable.nbytes for variable in empty.data_vars.values()) / 1e9
    if room > (free := shutil.disk_usage(part.parent).free / 1e9):
        text = "%s: got %.1f GB free on the disk, expected up to %.1f GB of map"
        log.warning(text, path, free, room)
    names = _always(empty)
    if path.suffix == ".nc":
        put(prepared(empty[names].isel(y=slice(0, 1), x=slice(0, 1)), path.suffix), part)
    return _with(empty[[]], empty[names], part, tile)


def _always(empty: xr.Dataset) -> list:
    """Variables of every product, also before an estimate shows what else there is."""
    flat = {name for name, v in empty.data_vars.items() if "t" not in v.dims}
    return [name for name in empty.data_vars if name not in flat]


def _with(whole: xr.Dataset, new: xr.Dataset, part: Path, tile: int) -> xr.Dataset:
    """The whole and new variables, which are written (Zarr) or copied into memory."""
    if _is_zarr(part):
        put(prepared(new, ".zarr", tile=tile), part)
        return whole.assign(new.data_vars)
    return whole.assign(new.map(lambda v: v.copy(data=np.array(v.values))).data_vars)


def _is_zarr(part: Path) -> bool:
    return part.with_suffix("").suffix == ".zarr"


def _put(product, part: Path, empty, whole, rows: slice, columns: slice, tile) -> xr.Dataset:
    """Write the product of a tile where it belongs; the whole, which may have new variables."""
    if new := [name for name in product.data_vars if name not in whole]:
        whole = _with(whole, empty[new], part, tile)
    if _is_zarr(part):
        only = product.drop_vars(list(product.coords)).drop_attrs()
        only.to_zarr(part, region={"y": rows, "x": columns}, zarr_format=2, consolidated=True)
        return whole
    for name, variable in product.data_vars.items():
        last = variable.transpose(..., "y", "x").values
        whole[name].transpose(..., "y", "x").values[..., rows, columns] = last
    return whole


def _complete(whole: xr.Dataset) -> xr.Dataset:
    """The product whose estimate names the variables beside it that are there."""
    for variable in whole.data_vars.values():
        if beside := variable.attrs.get("ancillary_variables"):
            here = " ".join(name for name in beside.split() if name in whole)
            variable.attrs["ancillary_variables"] = here
    return whole


def _end(whole: xr.Dataset, part: Path) -> None:
    """Write all (NetCDF) or the last attributes (Zarr)."""
    whole = _complete(whole)
    if _is_zarr(part):
        for name, variable in whole.data_vars.items():
            if "ancillary_variables" in variable.attrs:
                zarr.open_array(part / str(name), mode="r+").attrs.update(variable.attrs)
        whole = xr.Dataset(attrs=whole.attrs)
        whole.to_zarr(part, mode="a", zarr_format=2, consolidated=True)
    else:
        put(prepared(whole, ".nc"), part)


def sample(
    ds: xr.Dataset, *, sizes: tuple[int, ...] = (), side: int = SQUARE
) -> tuple[Series, Series]:
    """Training and validation pixels: small squares, spread over the cube, of different cells.

    A quarter of the cells of 1 km (or an eighth of the cube's longer side, where that is less)
    validates.

    Args:
      ds: aligned cube.
      sizes: of `cube.despeckle`.
      side: of a square, pixels; less where the cube is small.

    Raises:
      ValueError: no pixel, or no label, to train or to validate.
    """
    parts = _sampled(ds, sizes, side)
    if not (parts[False] and parts[True]):
        count = sum(len(part.ndvi) for part in (*parts[False], *parts[True]))
        raise ValueError(
            f"sample: got {count} pixels with data, expected some to train and some to validate; "
            "fit a larger region"
        )
    training, validation = concatenate(parts[False]), concatenate(parts[True])
    labels = {"train": training, "validate": validation}
    bare = [name for name, part in labels.items() if not part.ndvi_valid.any()]
    if len(bare) == 2:
        raise ValueError(UNLABELLED)
    if bare:
        count = len(labels[bare[0]].ndvi)
        raise ValueError(
            f"sample: got no NDVI in {count:,} pixels to {bare[0]}, expected some; "
            "fit a larger region and keep the model for this one"
        )
    return training, validation


def sample_all(ds: xr.Dataset, *, sizes: tuple[int, ...] = ()) -> Series:
    """The pixels of `sample` as one series, also where they are few or have no label.

    Raises:
      ValueError: no pixel with data.
    """
    parts = _sampled(ds, sizes, SQUARE)
    if not (parts[False] or parts[True]):
        raise ValueError("cube: got no pixel with an observation, expected some")
    return concatenate(parts[False] + parts[True])


def _sampled(ds, sizes, side: int) -> dict[bool, list[Series]]:
    """Squares of `sample` by whether they validate."""
    longest, where = max(ds.sizes["y"], ds.sizes["x"]), cube.position(ds)
    side = min(side, max(1, longest // 8))
    cell = max(side, min(longest / 8, _cell(where)))
    parts: dict[bool, list[Series]] = {True: [], False: []}
    count = 0
    for rows, columns in _squares(ds, side):
        _, series, index = read(ds, rows, columns, where=where, smooth=sizes)
        if series is not None:
            row, column = (int((s.start + s.stop) / 2 // cell) for s in (rows, columns))
            parts[(row + 2 * column) % 4 == 3].append(series)
            count += index.size
        if count >= _SAMPLE:
            break
    return parts


def _cell(where: np.ndarray | None) -> float:
    """Side of a cell, pixels."""
    if where is None or min(where.shape[:2]) < 2:
        return np.inf
    return CELL_M / max(float(np.abs(where[1, 1] - where[0, 0]).max()), 1e-9)


def _squares(ds: xr.Dataset, side: int) -> list[tuple[slice, slice]]:
    """Squares that hold pixels inside the mask, in an order that spreads any first of them."""
    squares = grid(ds, side)
    if "mask" in ds.variables:
        inside = ds["mask"].transpose("y", "x").values.astype(int)
        for axis, size in enumerate(inside.shape):
            inside = np.add.reduceat(inside, np.arange(0, size, side), axis=axis)
        squares = [squares[k] for k in np.flatnonzero(inside)]
    order = np.random.default_rng(0).permutation(len(squares))
    return [squares[k] for k in order]
