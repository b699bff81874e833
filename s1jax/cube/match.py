"""A cube reprojected onto another's grid, backscatter in linear power."""

import threading

import numpy as np
import xarray as xr

from s1jax.cube import grid
from s1jax.cube.crs import grid_mapping, is_points
from s1jax.cube.geotiff import affine, require_geo
from s1jax.cube.names import present
from s1jax.cube.notes import ASKED

_ONE_AT_A_TIME = threading.Lock()
"""rasterio silences a warning of its own on the way, which two threads undo for each other."""

_OF = {"s1": "VV", "s2": "S2ndvi"}


def matched(cubes: list[xr.Dataset], sensor: str) -> tuple[list[xr.Dataset], list[str]]:
    """The cubes on the grid of the one with that sensor, and what was said.

    A pixel of the grid that is no smaller than those it is made of gets their mean, weighted by
    area; a smaller one is interpolated between them (bilinear). Means of VV and VH are of linear
    power, those of NDVI of NDVI; missing values take no part. Each date is read as a whole when it
    is needed. What else there is on (y, x) of a reprojected cube is left behind and named.

    Args:
      cubes: cleaned (VV, VH in dB); those already on the grid stay as they are.
      sensor: whose grid; "s1" that of VV, "s2" that of S2ndvi.

    Raises:
      ValueError: no cube has that sensor, a CRS is missing, a cube is of places and not a grid, or
        there is no overlap.
      ImportError: the extra `geo` is not installed.
    """
    like = next((ds for ds in cubes if _OF[sensor] in ds.data_vars), None)
    if like is None:
        raise ValueError(f"match: got {sensor!r} but no {_OF[sensor]}, expected it in an input")
    out, said = [], []
    for ds in cubes:
        if ds is like or grid.same(like, grid.turned(ds, like)):
            out.append(ds)
            continue
        made, told = _onto(ds, like)
        out.append(made)
        said += told
    return out, said


def _onto(ds, like):
    require_geo("match")
    if is_points(ds) or is_points(like):
        raise ValueError("match: got a cube of places, expected grids to reproject")
    ds = ds.isel({n: slice(None, None, -1) for n in ("y", "x") if _wrong_way(ds, n)})
    source, target = _geometry(ds), _geometry(like)
    how = _resampling(source, target)
    here = [n for n, v in ds.variables.items() if {"y", "x"} & set(v.dims) and n not in ("y", "x")]
    names = present(ds)
    behind = [str(name) for name in here if name not in names]
    said = [
        f"{ASKED}{'/'.join(names)} reprojected ({how}) from {grid.describe(ds)} "
        f"to {grid.describe(like)}"
    ]
    if behind:
        said.append(f"{ASKED}{', '.join(behind)} of {'/'.join(names)}: left behind, other grid")
    made = {}
    for name in names:
        value = ds[name].transpose("t", "y", "x")
        if value.chunks is not None:
            value = value.chunk(t=1, y=-1, x=-1)
        moved = xr.apply_ufunc(
            _warp,
            value.drop_vars(["y", "x"]),
            kwargs={"source": source, "target": target, "how": how, "power": name != "S2ndvi"},
            input_core_dims=[["y", "x"]],
            output_core_dims=[["y", "x"]],
            exclude_dims={"y", "x"},
            dask="parallelized",
            output_dtypes=[np.float32],
            dask_gufunc_kwargs={"output_sizes": {"y": target[1][0], "x": target[1][1]}},
        )
        flipped = {n: slice(None, None, -1) for n in ("y", "x") if _wrong_way(like, n)}
        made[name] = moved.isel(flipped).variable
        made[name].attrs = ds[name].attrs
    own = [name for name in (grid_mapping(ds),) if name]
    out = ds.drop_vars([*here, *own]).drop_dims(["y", "x"])
    attrs = {k: v for k, v in out.attrs.items() if k != "crs"}
    attrs |= {"crs": like.attrs["crs"]} if "crs" in like.attrs else {}
    reference = {n: c.variable for n, c in like.coords.items() if c.ndim == 0}
    out = out.assign(made).assign_coords({"y": like["y"], "x": like["x"], **reference})
    out.attrs = attrs
    return out, said


def _wrong_way(ds, name):
    """Whether an axis runs against GDAL's: y down, x up."""
    first, last = ds[name].values[[0, -1]].astype(float)
    return first < last if name == "y" else first > last


def _geometry(ds):
    """(transform, (rows, columns), CRS as text): the grid, north up."""
    right, down, transform = grid.north_up(ds)
    return transform, (down.size, right.size), grid.needed_crs(ds, "reproject").to_wkt()


def _resampling(source, target):
    """average, or bilinear onto pixels smaller than the source's.

    Raises:
      ValueError: the grids do not overlap.
    """
    from rasterio.warp import transform_bounds

    (a, _, c, _, e, f), (rows, columns), system = source
    edges = c, f + e * rows, c + a * columns, f
    west, south, east, north = transform_bounds(system, target[2], *edges)
    (a, _, c, _, e, f), (high, wide), _ = target
    if west >= c + a * wide or east <= c or south >= f or north <= f + e * high:
        got = f"[{west:.6g}, {east:.6g}] x [{south:.6g}, {north:.6g}]"
        raise ValueError(f"match: got {got}, expected some overlap with the other grid")
    size = (east - west) * (north - south) / (rows * columns)
    return "average" if abs(a * e) >= 0.99 * size else "bilinear"


def _warp(value, *, source, target, how, power):
    """Planes (..., y, x) north up onto the target; `power`: dB, averaged in linear power."""
    from rasterio.warp import Resampling, reproject

    planes = value.reshape(-1, *value.shape[-2:]).astype(np.float32)
    planes = np.power(np.float32(10), planes / 10) if power else planes
    out = np.full((planes.shape[0], *target[1]), np.nan, np.float32)
    for plane, made in zip(planes, out, strict=True):
        with _ONE_AT_A_TIME:
            reproject(
                plane,
                made,
                src_transform=affine(source[0]),
                src_crs=source[2],
                src_nodata=np.nan,
                dst_transform=affine(target[0]),
                dst_crs=target[2],
                dst_nodata=np.nan,
                resampling=Resampling[how],
            )
    out = 10 * np.log10(out) if power else out
    return out.reshape(*value.shape[:-2], *target[1]).astype(np.float32)
