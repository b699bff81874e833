"""Which pixels are wanted: a vector file in any CRS, a raster, or a `mask` variable."""

import json
import os
from pathlib import Path

import numpy as np
import pyproj
import xarray as xr
from jaxtyping import Bool

from s1jax.cube.border import brief, bytes_of, reading, require_room
from s1jax.cube.crs import is_points
from s1jax.cube.geotiff import (
    SUFFIXES,
    affine,
    read_bands,
    read_header,
    read_masked,
    require_geo,
)
from s1jax.cube.grid import (
    apart,
    as_cube,
    centres,
    needed_crs,
    north_up,
    tolerance,
    why_irregular,
)
from s1jax.cube.notes import ASKED
from s1jax.cube.sealed import local, vector_format
from s1jax.cube.stored import read_dataset

_ROWS = 256
"""Rows whose places are looked up in a raster at once."""


def with_mask(
    ds: xr.Dataset, mask: str | Path | xr.DataArray | None
) -> tuple[xr.Dataset, list[str]]:
    """The cube with the variable `mask` (y, x), True where wanted, and what was said.

    A `mask` the cube brings along is kept; where both are given a pixel must be in both.

    Raises:
      ValueError: nothing is kept, the grids differ, a CRS is missing, a mask has dates, or a file
        that is no mask or points at another.
    """
    wanted = None if "mask" not in ds.variables else _flag(ds["mask"], "mask")
    if mask is not None:
        given = _read(ds, mask)
        wanted = given if wanted is None else wanted & given
    if wanted is None:
        return ds, []
    if not wanted.any():
        raise ValueError(f"mask: got no pixel of {wanted.size}, expected some inside {mask}")
    ds = ds.drop_vars("mask", errors="ignore")
    attrs = {"long_name": "pixels that are wanted"}
    said = [f"{ASKED}mask keeps {wanted.sum():,} of {wanted.size:,} pixels ({wanted.mean():.2%})"]
    return ds.assign(mask=(("y", "x"), wanted, attrs)), said if mask is not None else []


def _flag(variable: xr.DataArray, where: str) -> Bool[np.ndarray, "y x"]:
    """True where a number is neither 0 nor NaN."""
    if set(variable.dims) != {"y", "x"}:
        hint = "; clouds of a date are NaN in S2ndvi" if "t" in variable.dims else ""
        got = tuple(map(str, variable.dims))
        raise ValueError(f"{where}: got dims {got}, expected ('y', 'x'): pixels wanted{hint}")
    if variable.dtype.kind not in "biuf":
        raise ValueError(f"{where}: got {variable.dtype}, expected True where pixels are wanted")
    value = np.asarray(variable.transpose("y", "x").values)
    return (value != 0) & ~np.isnan(value.astype(float))


def _read(ds, mask):
    if isinstance(mask, xr.DataArray):
        return _flag(_on_grid(ds, mask, "mask"), "mask")
    if not isinstance(mask, str | Path):
        got = type(mask).__name__
        raise ValueError(f"mask: got {got}, expected a vector or raster file, or a DataArray")
    path = local(mask)
    with reading(path, "a vector or raster mask"):
        there = path.exists()
    if not there:
        raise ValueError(f"{path}: got no such file, expected a vector or raster mask")
    if path.suffix.lower() in SUFFIXES:
        return _raster(ds, path)
    if path.suffix.lower() in (".nc", ".zarr"):
        stored, _ = read_dataset(path)
        if "mask" not in stored.variables:
            raise ValueError(f"{path}: got {sorted(map(str, stored.variables))}, expected mask")
        return _flag(_on_grid(ds, stored["mask"], str(path)), f"{path}: mask")
    return _vector(ds, path)


def _on_grid(ds, variable, where):
    sizes = {name: ds.sizes[name] for name in ("y", "x")}
    if dict(variable.sizes) != sizes:
        raise ValueError(f"{where}: mask: got {dict(variable.sizes)}, expected {sizes}")
    for name in ("y", "x"):
        if name in ds.coords and name in variable.coords:
            axes = ds[name].values, variable[name].values
            if axes[0].dtype.kind not in "iuf" or axes[1].dtype.kind not in "iuf":
                continue  # names of places
            pixels = apart(*axes)
            if pixels > tolerance(*axes):
                got = f"{name} {pixels:g} pixels apart"
                raise ValueError(f"{where}: mask: got {got}, expected the cube's")
    return variable


def _raster(ds, path):
    """The pixel of the file in which a centre lies; outside of it, its nodata, and what a mask of
    its own covers count as not wanted."""
    head = read_header(path)
    if not head.crs:
        raise ValueError(f"{path}: CRS: got none, expected one")
    require_room(path, bytes_of(head.shape, np.dtype(head.dtype[0]).itemsize))
    (band,) = read_bands(path, [0])
    wanted = (band != 0) & ~np.isnan(band.astype(float)) & (band != head.nodata[0])
    if head.masked[0]:
        wanted &= ~read_masked(path, [0])[0]
    x, y, system = centres(ds, "place the mask")
    into = _transformer(system, pyproj.CRS.from_user_input(head.crs))
    a, _, c, _, e, f = head.transform
    rows, columns = head.shape
    inside = np.zeros(x.shape, bool)
    for start in range(0, len(x), _ROWS):
        strip = slice(start, start + _ROWS)
        east, north = into(x[strip], y[strip])
        with np.errstate(invalid="ignore"):  # a place that the CRS does not have is infinite
            column, row = np.floor((east - c) / a), np.floor((north - f) / e)
            there = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        inside[strip][there] = wanted[row[there].astype(int), column[there].astype(int)]
    return inside


def _transformer(system: pyproj.CRS, onto: pyproj.CRS):
    """x and y in one CRS to those in another, longitudes from -180 to below 180."""
    project = pyproj.Transformer.from_crs(system, onto, always_xy=True).transform

    def _places(x, y):
        x, y = project(x, y)
        return ((x + 180) % 360 - 180 if onto.is_geographic else x), y

    return _places


def _vector(ds, path):
    require_geo("a vector mask")
    import shapely

    polygons = _polygons(path)
    regular = not is_points(ds) and not why_irregular(ds, exact=True)
    system = needed_crs(ds, "place the mask") if regular else None
    # an edge that crosses 180 degrees is none once its ends are longitudes
    across = regular and system.is_geographic and float(ds["x"].max()) > 180
    if regular and not across:
        with reading(path, f"polygons inside {system.name}"):
            return _rasterize(ds, polygons.to_crs(system).geometry)
    x, y, system = centres(ds, "place the mask")
    area = polygons.geometry.union_all()
    shapely.prepare(area)
    return shapely.contains_xy(area, *_transformer(system, pyproj.CRS(polygons.crs))(x, y))


def _polygons(path):
    """The polygons of a file, as a GeoDataFrame with a CRS.

    Raises:
      ValueError: no polygons, no CRS, or no file of theirs.
    """
    import geopandas
    import shapely

    inside = [path]
    if path.is_dir():
        with reading(path, "a folder of one shapefile"):
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() == ".shp")
        if len(inside) != 1:
            got = f"a folder of {len(inside)} shapefiles"
            raise ValueError(f"{path}: got {got}, expected a vector or raster mask")
    kind = vector_format(inside[0])
    with reading(path, "a vector file", shapely.errors.ShapelyError):
        if kind == "GeoJSON":
            found = _geojson(geopandas, inside[0])
        else:
            found = geopandas.read_file(os.path.abspath(inside[0]), engine="pyogrio")
    if not isinstance(found, geopandas.GeoDataFrame):
        raise ValueError(f"{path}: got a table without geometry, expected polygons")
    if found.crs is None:
        raise ValueError(f"{path}: CRS: got none, expected one (a .prj beside the .shp)")
    found = found[~(found.geometry.isna() | found.geometry.is_empty)]
    if odd := sorted({*found.geom_type} - {"Polygon", "MultiPolygon"}):
        raise ValueError(f"{path}: got {', '.join(odd)}, expected polygons")
    if not len(found):
        raise ValueError(f"{path}: got no polygon, expected at least one")
    return found


def _geojson(geopandas, path):
    """GeoJSON, read without GDAL, which would fetch a CRS that is given by its address."""
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    features = content.get("features", [content]) if isinstance(content, dict) else content
    if not isinstance(features, list) or not isinstance(content, dict):
        got = brief(type(features).__name__)
        raise ValueError(f"features: got {got}, expected a list of polygons")
    geometries = []
    for k, feature in enumerate(features):
        if not isinstance(feature, dict):
            got = type(feature).__name__
            raise ValueError(f"features[{k}]: got {got}, expected an object with geometry")
        geometry = feature.get("geometry") if "geometry" in feature else feature
        geometries.append(geometry and _polygon(geometry, f"features[{k}].geometry"))
    declared = content.get("crs") or {"type": "name", "properties": {"name": "EPSG:4326"}}
    named = declared.get("properties") if isinstance(declared, dict) else None
    name = named.get("name") if isinstance(named, dict) else None
    if not isinstance(name, str):
        raise ValueError(f"crs: got {brief(declared)}, expected properties with the name of a CRS")
    return geopandas.GeoDataFrame(geometry=geometries, crs=pyproj.CRS.from_user_input(name))


def _polygon(geometry, where):
    """The shape of GeoJSON's description of one."""
    import shapely

    if not isinstance(geometry, dict) or not isinstance(geometry.get("type"), str):
        raise ValueError(f"{where}: got {brief(geometry)}, expected an object with a type")
    with reading(where, "rings of x and y", shapely.errors.ShapelyError):
        return shapely.geometry.shape(geometry)


def _rasterize(ds, polygons):
    """True where the centre of a pixel is inside a polygon."""
    from rasterio.features import geometry_mask

    right, down, transform = north_up(ds)
    shape = (down.size, right.size)
    return as_cube(ds, geometry_mask(polygons, shape, affine(transform), invert=True))
