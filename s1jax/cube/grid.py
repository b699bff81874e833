"""The grid of a cube: whether two are one, and how GDAL wants it."""

import numpy as np
import xarray as xr

from s1jax.cube.crs import crs, is_points

NEAR = 1e-3
"""Grids are one where they are apart no farther, pixels."""


def step(centre: np.ndarray) -> float:
    """Signed size of a pixel along one axis, from the ends; 0 of a single one."""
    return (centre[-1] - centre[0]) / max(centre.size - 1, 1)


def describe(ds: xr.Dataset) -> str:
    """The grid in words: rows and columns, first pixel, size of a pixel, CRS."""
    size = f"{ds.sizes['y']} x {ds.sizes['x']}"
    if not {"y", "x"} <= set(ds.coords):
        return f"{size} pixels without coordinates"
    y, x = (ds[name].values.astype(float) for name in ("y", "x"))
    system = crs(ds)
    epsg = None if system is None else system.to_epsg() or system.name
    where = "no CRS" if system is None else f"EPSG:{epsg}" if isinstance(epsg, int) else epsg
    return f"{size} from y {y[0]:.9g}, x {x[0]:.9g} by {step(y):.6g}, {step(x):.6g} ({where})"


def turned(ds: xr.Dataset, onto: xr.Dataset) -> xr.Dataset:
    """The cube with its rows and columns in the order of those of `onto`."""
    for name in ("y", "x"):
        both = name in ds.coords and name in onto.coords
        if both and step(ds[name].values.astype(float)) * step(onto[name].values.astype(float)) < 0:
            ds = ds.isel({name: slice(None, None, -1)})
    return ds


def same(a: xr.Dataset, b: xr.Dataset) -> bool:
    """Whether two cubes are on one grid (`NEAR`), rows in the same order.

    Cubes of places are where their `lat` and `lon` are the same. A cube without a CRS is taken to
    have the other's; one without coordinates is on no known grid.
    """
    if is_points(a) and is_points(b):
        return a.sizes["y"] == b.sizes["y"] and all(
            np.allclose(a[name].values.ravel(), b[name].values.ravel(), rtol=0, atol=1e-7)
            for name in ("lat", "lon")
        )
    systems = crs(a), crs(b)
    if None not in systems and systems[0] != systems[1]:
        return False
    for name in ("y", "x"):
        if (
            not (name in a.coords and name in b.coords)
            or apart(a[name].values, b[name].values) > NEAR
        ):
            return False
    return True


def apart(centre: np.ndarray, other: np.ndarray) -> float:
    """Farthest two axes are apart, in pixels of the first; infinite where their sizes differ."""
    if centre.shape != other.shape:
        return np.inf
    away = np.abs(centre.astype(float) - other.astype(float)).max()
    # one pixel alone has no size that could be told
    size = abs(step(centre.astype(float)))
    return 0.0 if away == 0 else float(away / size) if size else np.inf


def north_up(ds: xr.Dataset) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """x ascending, y descending, and the transform (a, b, c, d, e, f) of that grid."""
    x, y = np.sort(ds["x"].values.astype(float)), np.sort(ds["y"].values.astype(float))[::-1]
    # one row or one column alone has no spacing: its pixel is square
    dx, dy = step(x) or -step(y), step(y) or -step(x)
    return x, y, (dx, 0.0, x[0] - dx / 2, 0.0, dy, y[0] - dy / 2)


def as_cube(ds: xr.Dataset, image: np.ndarray) -> np.ndarray:
    """An image, north up, in the order of the cube's rows and columns; (..., y, x)."""
    image = image if ds["y"].values[0] >= ds["y"].values[-1] else image[..., ::-1, :]
    return image if ds["x"].values[0] <= ds["x"].values[-1] else image[..., ::-1]


def needed_crs(ds: xr.Dataset, what: str):
    """The CRS of the cube, for `what`.

    Raises:
      ValueError: it has none.
    """
    system = crs(ds)
    if system is None:
        raise ValueError(f"CRS of the cube: got none, expected one to {what}")
    return system
