"""Where a pixel is: the coordinate reference system of a cube, and metres east and north."""

import re

import numpy as np
import pyproj
import xarray as xr
from jaxtyping import Float

from s1jax.cube.border import brief

_WKT = ("crs_wkt", "spatial_ref")


def grid_mapping(ds: xr.Dataset) -> str | None:
    """Name of the CF grid mapping variable (often `spatial_ref`); None where there is none."""
    for name, variable in ds.variables.items():
        if variable.ndim == 0 and any(key in variable.attrs for key in (*_WKT, "epsg_code")):
            return str(name)
    return None


def crs(ds: xr.Dataset) -> pyproj.CRS | None:
    """The reference system from the grid mapping variable, else from attrs["crs"], else None.

    Raises:
      ValueError: what is declared is no reference system.
    """
    name = grid_mapping(ds)
    if name is not None:
        attrs = ds[name].attrs
        key = next(key for key in (*_WKT, "epsg_code") if key in attrs)
        return crs_of(attrs[key], f"{name}: {key}")
    declared = ds.attrs.get("crs")
    return None if declared is None else crs_of(declared, "attribute crs")


def crs_of(declared: object, where: str) -> pyproj.CRS:
    """The reference system of well-known text, an EPSG code, or an object of another library.

    Raises:
      ValueError: it is none; the message begins with `where`.
    """
    if isinstance(declared, np.generic):
        declared = declared.item()
    if isinstance(declared, float) and declared.is_integer():
        declared = int(declared)
    if isinstance(declared, str):
        # as of old versions of PROJ, which meant the same
        declared = re.sub(r"^\+init=(?=epsg:\d+$)", "", declared.strip(), flags=re.IGNORECASE)
    try:
        return pyproj.CRS.from_user_input(declared)
    except (pyproj.exceptions.ProjError, TypeError, ValueError, AttributeError) as error:
        got = brief(repr(declared))
        raise ValueError(f"{where}: got {got}, expected well-known text or EPSG:NNNN") from error


def with_grid_mapping(ds: xr.Dataset) -> xr.Dataset:
    """The cube with its CRS in the scalar coordinate `spatial_ref`, as CF and GDAL read it."""
    name, system = grid_mapping(ds), crs(ds)
    if name is not None:
        return ds.set_coords(name)
    if system is None:
        return ds
    attrs = {key: value for key, value in system.to_cf().items() if value is not None}
    reference = xr.Variable((), np.int32(0), attrs | {"spatial_ref": attrs["crs_wkt"]})
    return ds.assign_coords(spatial_ref=reference)


def longitude_latitude(ds: xr.Dataset) -> tuple[np.ndarray, np.ndarray] | None:
    """Degrees of every pixel, (y, x) each, from the variables `lon`, `lat`; None without them."""
    if not {"lat", "lon"} <= set(ds.variables):
        return None
    shape = xr.DataArray(np.zeros((ds.sizes["y"], ds.sizes["x"]), bool), dims=("y", "x"))
    lon, lat = (xr.broadcast(ds[name].reset_coords(drop=True), shape)[0] for name in ("lon", "lat"))
    return lon.transpose("y", "x").values, lat.transpose("y", "x").values


def is_points(ds: xr.Dataset) -> bool:
    """Whether the cube is a list of places (one pixel per field) and not a grid."""
    return ds.sizes["x"] == 1 and {"lat", "lon"} <= set(ds.variables)


def place(ds: xr.Dataset) -> Float[np.ndarray, "y x 2"] | None:
    """Metres east and north of every pixel; None where the cube does not say where it is.

    Projected coordinates as they are; longitudes and latitudes through an azimuthal equidistant
    projection about their mean (distances from there are exact). Coordinates without a CRS count as
    metres unless they are numbers of rows and columns or could be degrees (within +-180, +-90).
    """
    degrees, system = longitude_latitude(ds), crs(ds)
    has_grid = "x" in ds.coords and "y" in ds.coords
    if system is None and has_grid and all(_numbers(ds[name].values) for name in ("y", "x")):
        has_grid = False
    if not is_points(ds) and has_grid:
        x, y = np.meshgrid(ds["x"].values.astype(float), ds["y"].values.astype(float))
        small = np.abs(x).max() <= 180 and np.abs(y).max() <= 90
        if system is not None and system.is_geographic:
            degrees = x, y
        elif system is not None or not small:
            return np.stack([x, y], axis=-1)
    if degrees is None:
        return None
    lon, lat = degrees
    # 179 and -179 degrees are neighbours
    east, north = (np.nanmean(f(np.deg2rad(lon))) for f in (np.cos, np.sin))
    middle = np.rad2deg(np.arctan2(north, east))
    local = pyproj.CRS.from_proj4(
        f"+proj=aeqd +lat_0={np.nanmean(lat)} +lon_0={middle} +datum=WGS84 +units=m"
    )
    project = pyproj.Transformer.from_crs("EPSG:4326", local, always_xy=True)
    return np.stack(project.transform(lon, lat), axis=-1)


def _numbers(centre):
    """Whether coordinates only count rows or columns, from 0, 1/2 or 1, either way."""
    found = np.sort(centre.astype(float))
    return found[0] in (0, 0.5, 1) and np.array_equal(found, found[0] + np.arange(found.size))
