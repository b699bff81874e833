"""One cube of a file per sensor: on every day of either, missing where a sensor saw nothing."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from s1jax.cube import grid
from s1jax.cube.crs import crs, grid_mapping
from s1jax.cube.names import present
from s1jax.cube.notes import ASKED
from s1jax.cube.numbered import with_all


def joined(cubes: Sequence[xr.Dataset]) -> tuple[xr.Dataset, list[str]]:
    """All cubes' variables on the union of their dates, NaN where one has none; what was said.

    Rows and columns in the order of the first cube, at the places of the one that has them in more
    digits than float32. Dates that one cube has twice (two tracks) stay
    twice, and another's plane of that date stands beside the first. What several cubes have beside
    their channels is the first's.

    Args:
      cubes: with the dims (t, y, x) and standard names; dates in datetime64[ns].

    Raises:
      ValueError: grids differ or are without coordinates, or a channel is in two cubes.
    """
    if len(cubes) == 1:
        return cubes[0], []
    cubes = [cubes[0], *(grid.turned(ds, cubes[0]) for ds in cubes[1:])]
    for ds in cubes[1:]:
        _fits(ds, cubes[0])
    assumed = _one_crs(cubes)
    placed = [name for name in ("y", "x") if all(name in ds.coords for ds in cubes)]
    axes = {name: _exact([ds[name].variable for ds in cubes]) for name in placed}
    keys = [_keys(ds["t"].values) for ds in cubes]
    every, places = np.unique(np.concatenate(keys, axis=1), axis=1, return_inverse=True)
    places = np.split(places.ravel(), np.cumsum([key.shape[1] for key in keys])[:-1])
    # on numbers instead of dates, which may be there twice
    cubes = [ds.sortby("t") for ds in cubes]
    spread = [
        with_all(ds.assign_coords(t=np.sort(place)), np.arange(every.shape[1]))
        for ds, place in zip(cubes, places, strict=True)
    ]
    out, said = spread[0], assumed
    for ds in spread[1:]:
        out, told = _beside(out, ds)
        said += told
    parts = ", ".join(f"{'/'.join(present(ds))} on {ds.sizes['t']}" for ds in cubes)
    said.append(f"{ASKED}joined on {every.shape[1]} dates: {parts}")
    out = out.assign_coords(t=every[0].astype("datetime64[ns]"), **axes)
    # the sensors' chunks may differ
    return out.unify_chunks() if any(v.chunks for v in out.variables.values()) else out, said


def _exact(axes):
    """The first of equal axes that has more digits than float32, else the first."""
    return next((axis for axis in axes if not grid.rounded(axis.values)), axes[0])


def _fits(ds, first):
    """Whether a cube can stand beside the first.

    Raises:
      ValueError: another grid, or a channel twice.
    """
    twice = sorted(set(present(ds)) & set(present(first)))
    if twice:
        names = ", ".join(twice)
        raise ValueError(
            f"{names}: got it in two inputs, expected it in one; name that of another orbit VV_2, "
            "VH_2, and join the years of one orbit first (xarray.concat along t)"
        )
    if not grid.same(first, ds):
        got, expected = grid.describe(ds), grid.describe(first)
        names = "/".join(present(ds)), "/".join(present(first))
        raise ValueError(
            f"grid of {names[0]}: got {got}, expected {expected} as {names[1]}; "
            "match='s1' or match='s2' reprojects the other"
        )


def _one_crs(cubes):
    """Line about the cubes that are taken to have the CRS of another."""
    known = [ds for ds in cubes if crs(ds) is not None]
    bare = [ds for ds in cubes if crs(ds) is None and {"y", "x"} <= set(ds.coords)]
    if not known or not bare:
        return []
    parts = ("/".join(name for ds in of for name in present(ds)) for of in (bare, known[:1]))
    return ["CRS of {}: got none, taken to be that of {}".format(*parts)]


def _keys(t):
    """(date, how many equal ones come before it) of every plane, (2, time), sorted by date."""
    t = np.sort(t.astype("datetime64[ns]").astype("int64"), kind="stable")
    return np.stack([t, np.arange(t.size) - np.searchsorted(t, t)])


def _beside(out, ds):
    """What `out` lacks, put into it."""
    said, new = [], {}
    for name, variable in ds.variables.items():
        if name in ("t", "y", "x") and name in out.variables:
            continue
        if name in out.variables:
            own = out[name].variable
            if name != grid_mapping(out) and not own.broadcast_equals(variable):
                said.append(f"{ASKED}{name} is in several inputs: that of the first is kept")
            continue
        new[name] = ds[name].drop_vars([n for n in ds[name].coords if n != name])
    coords = {name: v for name, v in new.items() if name in ds.coords}
    out = out.assign({n: v for n, v in new.items() if n not in coords}).assign_coords(coords)
    repairs = [ds.attrs.get("s1jax_repairs"), out.attrs.get("s1jax_repairs")]
    attrs = ds.attrs | out.attrs
    if any(repairs):
        attrs["s1jax_repairs"] = "\n".join(filter(None, reversed(repairs)))
    return out.assign_attrs(attrs), said
