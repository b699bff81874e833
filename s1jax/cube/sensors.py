"""One cube of a file per sensor: on one grid, and on every day of any, missing where a sensor saw
nothing."""

import threading
from collections.abc import Sequence
from functools import reduce

import numpy as np
import pandas as pd
import xarray as xr

from s1jax.cube import grid
from s1jax.cube.dates import reindex_dates
from s1jax.cube.findings import Finding, repair, requested
from s1jax.cube.grid import crs, grid_mapping, is_points
from s1jax.cube.names import present

_ONE_AT_A_TIME = threading.Lock()
"""rasterio silences a warning of its own on the way, which two threads undo for each other."""

_OF = {"s1": "VV", "s2": "S2ndvi"}


def join_sensors(cubes: Sequence[xr.Dataset]) -> tuple[xr.Dataset, list[Finding]]:
    """All cubes' variables on the union of their dates, NaN where one has none; and findings.

    Rows and columns in the order of the first cube, at the positions of the one that has them in
    more digits than float32. Dates that one cube has twice (two tracks) stay twice, and another's
    plane of that date stands beside the first. What several cubes have beside their channels is the
    first's.

    Args:
      cubes: with the dims (t, y, x) and standard names; dates in datetime64[ns].

    Raises:
      ValueError: grids differ or are without coordinates, or a channel is in two cubes.
    """
    if len(cubes) == 1:
        return cubes[0], []
    cubes = [cubes[0], *(grid.flip_like(ds, cubes[0]) for ds in cubes[1:])]
    for ds in cubes[1:]:
        _require_fit(ds, cubes[0])
    findings = _one_crs(cubes)
    axes = {}
    for name in ("y", "x"):
        if all(name in ds.coords for ds in cubes):
            given = [ds[name].variable for ds in cubes]
            axes[name] = next((a for a in given if not grid.is_rounded(a.values)), given[0])
    cubes = [ds.sortby("t") for ds in cubes]
    planes = [_planes(ds["t"].values) for ds in cubes]
    every = reduce(pd.MultiIndex.union, planes)
    # on numbers instead of dates, which may be there twice
    out, *others = (
        reindex_dates(ds.assign_coords(t=every.get_indexer(of)), np.arange(len(every)))
        for ds, of in zip(cubes, planes, strict=True)
    )
    for ds in others:
        out, more = _beside(out, ds)
        findings += more
    parts = ", ".join(f"{'/'.join(present(ds))} on {ds.sizes['t']}" for ds in cubes)
    findings.append(requested(f"joined on {len(every)} dates: {parts}"))
    t = every.get_level_values(0).to_numpy().astype("datetime64[ns]")
    out = out.assign_coords(t=t, **axes)
    # the sensors' chunks may differ
    return out.unify_chunks(), findings


def _require_fit(ds, first):
    """Refuse a cube that cannot stand beside the first: another grid, or a channel twice."""
    if twice := ", ".join(sorted(set(present(ds)) & set(present(first)))):
        raise ValueError(
            f"{twice}: got it in two inputs, expected it in one; name that of another orbit VV_2, "
            "VH_2, and join the years of one orbit first (xarray.concat along t)"
        )
    if not grid.same_grid(first, ds):
        got, expected = grid.describe(ds), grid.describe(first)
        names = "/".join(present(ds)), "/".join(present(first))
        raise ValueError(
            f"grid of {names[0]}: got {got}, expected {expected} as {names[1]}; "
            "match='s1' or match='s2' reprojects the other"
        )


def _one_crs(cubes):
    """Finding about the cubes that are taken to have the CRS of another."""
    declared = [ds for ds in cubes if crs(ds) is not None]
    bare = [ds for ds in cubes if crs(ds) is None and {"y", "x"} <= set(ds.coords)]
    if not declared or not bare:
        return []
    parts = ("/".join(name for ds in of for name in present(ds)) for of in (bare, declared[:1]))
    return [repair("CRS of {}: got none, taken to be that of {}".format(*parts))]


def _planes(t):
    """(date, how many equal ones come before it) of every plane, sorted."""
    return pd.MultiIndex.from_arrays([t, np.arange(t.size) - np.searchsorted(t, t)])


def _beside(out, ds):
    """The first cube with what it lacks of another, and findings."""
    findings, new = [], {}
    for name, variable in ds.variables.items():
        if name in ("t", "y", "x") and name in out.variables:
            continue
        if name in out.variables:
            if name != grid_mapping(out) and not out[name].variable.broadcast_equals(variable):
                findings.append(
                    requested(f"{name} is in several inputs: that of the first is kept")
                )
            continue
        new[name] = ds[name].drop_vars([n for n in ds[name].coords if n != name])
    out = out.assign(new).set_coords([name for name in new if name in ds.coords])
    repairs = (of.attrs.get("s1jax_repairs") for of in (out, ds))
    attrs = ds.attrs | out.attrs
    if lines := "\n".join(filter(None, repairs)):
        attrs["s1jax_repairs"] = lines
    return out.assign_attrs(attrs), findings


def reproject_onto(
    cubes: Sequence[xr.Dataset], sensor: str
) -> tuple[list[xr.Dataset], list[Finding]]:
    """The cubes on the grid of the one with that sensor, and findings.

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
    """
    like = next((ds for ds in cubes if _OF[sensor] in ds.data_vars), None)
    if like is None:
        raise ValueError(f"match: got {sensor!r} but no {_OF[sensor]}, expected it in an input")
    out, findings = [], []
    for ds in cubes:
        if ds is not like and not grid.same_grid(like, grid.flip_like(ds, like)):
            ds, more = _reprojected(ds, like)
            findings += more
        out.append(ds)
    return out, findings


def _reprojected(ds, like):
    if is_points(ds) or is_points(like):
        raise ValueError("match: got a cube of places, expected grids to reproject")
    source, target = _geometry(ds), _geometry(like)
    how = _resampling(source, target)
    here = [n for n, v in ds.variables.items() if {"y", "x"} & set(v.dims) and n not in ("y", "x")]
    names = present(ds)
    of, grids = "/".join(names), f"{grid.describe(ds)} to {grid.describe(like)}"
    findings = [requested(f"{of} reprojected ({how}) from {grids}")]
    if behind := ", ".join(str(name) for name in here if name not in names):
        findings.append(requested(f"{behind} of {of}: left behind, other grid"))
    made = {}
    for name in names:
        value = ds[name].transpose("t", "y", "x").drop_vars(["y", "x"])
        if value.chunks is not None:
            value = value.chunk(t=1, y=-1, x=-1)
        made[name] = xr.apply_ufunc(
            _warp,
            value,
            kwargs={"source": source, "target": target, "how": how, "power": name != "S2ndvi"},
            input_core_dims=[["y", "x"]],
            output_core_dims=[["y", "x"]],
            exclude_dims={"y", "x"},
            dask="parallelized",
            output_dtypes=[np.float32],
            dask_gufunc_kwargs={"output_sizes": dict(zip(("y", "x"), target[1], strict=True))},
            keep_attrs=True,
        ).variable
    mapping = grid_mapping(ds)
    out = ds.drop_vars([*here, *([mapping] if mapping else [])]).drop_dims(["y", "x"])
    reference = {name: c.variable for name, c in like.coords.items() if c.ndim == 0}
    out = out.assign(made).assign_coords({"y": like["y"], "x": like["x"], **reference})
    attrs = {k: v for k, v in ds.attrs.items() if k != "crs"}
    out.attrs = attrs | ({"crs": like.attrs["crs"]} if "crs" in like.attrs else {})
    return out, findings


def _geometry(ds):
    """(transform, (rows, columns), CRS as text) of the grid, in the order of its rows."""
    shape = ds.sizes["y"], ds.sizes["x"]
    return grid.transform(ds), shape, grid.needed_crs(ds, "reproject").to_wkt()


def _resampling(source, target):
    """average, or bilinear onto pixels smaller than the source's; the grids must overlap."""
    from rasterio.warp import transform_bounds

    def _edges(geometry):
        """West, south, east, north, whichever way rows and columns run."""
        (a, _, c, _, e, f), (rows, columns), _ = geometry
        (west, east), (south, north) = sorted((c, c + a * columns)), sorted((f, f + e * rows))
        return west, south, east, north

    west, south, east, north = transform_bounds(source[2], target[2], *_edges(source))
    left, bottom, right, top = _edges(target)
    if west >= right or east <= left or south >= top or north <= bottom:
        got = f"[{west:.6g}, {east:.6g}] x [{south:.6g}, {north:.6g}]"
        raise ValueError(f"match: got {got}, expected some overlap with the other grid")
    size = (east - west) * (north - south) / np.prod(source[1])
    return "average" if abs(target[0][0] * target[0][4]) >= 0.99 * size else "bilinear"


def _warp(value, *, source, target, how, power):
    """Planes (..., y, x) on the target's grid; `power`: dB, averaged in linear power."""
    from affine import Affine
    from rasterio.warp import Resampling, reproject

    planes = value.reshape(-1, *value.shape[-2:]).astype(np.float32)
    planes = np.power(np.float32(10), planes / 10) if power else planes
    out = np.full((len(planes), *target[1]), np.nan, np.float32)
    for plane, made in zip(planes, out, strict=True):
        with _ONE_AT_A_TIME:
            reproject(
                plane,
                made,
                src_transform=Affine(*source[0]),
                src_crs=source[2],
                src_nodata=np.nan,
                dst_transform=Affine(*target[0]),
                dst_crs=target[2],
                dst_nodata=np.nan,
                resampling=Resampling[how],
            )
    out = 10 * np.log10(out) if power else out
    return out.reshape(*value.shape[:-2], *target[1]).astype(np.float32)
