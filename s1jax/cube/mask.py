"""Which pixels are wanted (a vector file in any CRS, a raster, or a `mask` variable), and how many
values they have."""

import json
import os
import re
import sqlite3
from contextlib import closing
from functools import reduce
from operator import or_
from pathlib import Path

import numpy as np
import pyproj
import xarray as xr
from jaxtyping import Bool

from s1jax.cube import grid
from s1jax.cube.findings import Finding, requested
from s1jax.cube.formats import IMAGES
from s1jax.cube.formats.geotiff import read_bands, read_header, read_masked
from s1jax.cube.formats.netcdf import read_dataset
from s1jax.cube.names import channels, sentinel1
from s1jax.cube.safety import brief, bytes_of, first_bytes, local, reading, require_room

_VECTORS = {
    b"\0\0\x27\x0a": "shapefile",
    b"SQLite format 3\0": "GeoPackage",
    b"fgb\x03fgb": "FlatGeobuf",
}
"""Formats of polygons by their first bytes; GeoJSON begins with a bracket."""
_ROWS = 256
"""Rows whose positions are looked up in a raster at once."""


def with_mask(
    ds: xr.Dataset, mask: str | Path | xr.DataArray | None
) -> tuple[xr.Dataset, list[Finding]]:
    """The cube with the variable `mask` (y, x), True where wanted, and findings.

    A `mask` the cube brings along is kept; where both are given a pixel must be in both.

    Raises:
      ValueError: nothing is kept, the grids differ, a CRS is missing, a mask has dates, or a file
        that is no mask or points at another.
      ImportError: a vector file needs the extra `geo`.
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
    kept = requested(f"mask keeps {wanted.sum():,} of {wanted.size:,} pixels ({wanted.mean():.2%})")
    return ds.assign(mask=(("y", "x"), wanted, attrs)), [kept] if mask is not None else []


def count_valid(ds: xr.Dataset) -> str:
    """Counts of pixels, days and values: total, in mask, with S1, with NDVI, with both; and losses.

    A value is one pixel on one day; S1 means VV and VH of at least one orbit. Counts after the
    first are inside the mask.
    """
    wanted = np.ones((ds.sizes["y"], ds.sizes["x"]), bool)
    if "mask" in ds.variables:
        wanted = ds["mask"].transpose("y", "x").values
    inside = xr.DataArray(wanted, dims=("y", "x"))
    bare = ds[channels(ds)]
    valid = bare.drop_vars([*bare.coords]).notnull()
    radar = sentinel1(ds)
    pairs = [valid[vv] & valid[vh] for vv, vh in zip(radar[::2], radar[1::2], strict=True)]
    seen = {"S1": reduce(or_, pairs) & inside, "NDVI": valid["S2ndvi"] & inside}
    seen["both"] = seen["S1"] & seen["NDVI"]
    lazy = {}
    for name, where in seen.items():
        lazy[f"{name} pixels"] = where.any("t").sum()
        lazy[f"{name} days"] = where.any(("y", "x")).sum()
        lazy[f"{name} values"] = where.sum()
    # of a cube in chunks, all in one pass
    count = {key: int(value) for key, value in xr.Dataset(lazy).compute().items()}
    dates, size, pixels = ds.sizes["t"], inside.size, int(wanted.sum())
    totals = {
        "pixels": (size, pixels),
        "days": (dates,),
        "values": (size * dates, pixels * dates),
    }
    lines = []
    for what, of in totals.items():
        parts = [f"{n:,} {name}" for n, name in zip(of, ("total", "in mask"), strict=False)]
        for name in seen:
            n = count[f"{name} {what}"]
            parts.append(f"{n:,} with {name} ({n / max(of[-1], 1):.1%})")
        lines.append(f"{what}: " + ", ".join(parts))
    lines.append(f"gone: {size - pixels:,} pixels outside the mask")
    for name in ("S1", "NDVI"):
        days, some = count[f"{name} days"], count[f"{name} pixels"]
        part = 0.0 if days * some == 0 else 1 - count[f"{name} values"] / (days * some)
        lines.append(
            f"gone: {name}: {dates - days} day(s) without any, {pixels - some:,} pixel(s) "
            f"without any, {part:.1%} of the rest (cloud, edge of a scene)"
        )
    return "\n".join(lines)


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
    if path.suffix.lower() in IMAGES:
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
    for name in {"y", "x"} & set(ds.coords) & set(variable.coords):
        axes = ds[name].values, variable[name].values
        # others are names of places
        numbers = all(axis.dtype.kind in "iuf" for axis in axes)
        if numbers and (pixels := grid.distance_pixels(*axes)) > grid.tolerance(*axes):
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
    x, y, system = grid.centres(ds, "place the mask")
    a, _, c, _, e, f = head.transform
    rows, columns = head.shape
    inside = np.zeros(x.shape, bool)
    for start in range(0, len(x), _ROWS):
        strip = slice(start, start + _ROWS)
        east, north = _project(x[strip], y[strip], system, pyproj.CRS.from_user_input(head.crs))
        with np.errstate(invalid="ignore"):  # a position that the CRS does not have is infinite
            column, row = np.floor((east - c) / a), np.floor((north - f) / e)
            there = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        inside[strip][there] = wanted[row[there].astype(int), column[there].astype(int)]
    return inside


def _project(x, y, system, onto):
    """x and y in one CRS as those in another, longitudes from -180 to below 180."""
    x, y = pyproj.Transformer.from_crs(system, onto, always_xy=True).transform(x, y)
    return ((x + 180) % 360 - 180 if onto.is_geographic else x), y


def _vector(ds, path):
    """True where the centre of a pixel is inside a polygon."""
    polygons = _polygons(path)
    import shapely
    from affine import Affine
    from rasterio.features import geometry_mask

    if not grid.is_points(ds) and not grid.why_irregular(ds, exact=True):
        system = grid.needed_crs(ds, "place the mask")
        # an edge that crosses 180 degrees is none once its ends are longitudes
        if not (system.is_geographic and float(ds["x"].max()) > 180):
            with reading(path, f"polygons inside {system.name}"):
                shapes, shape = polygons.to_crs(system).geometry, (ds.sizes["y"], ds.sizes["x"])
                return geometry_mask(shapes, shape, Affine(*grid.transform(ds)), invert=True)
    x, y, system = grid.centres(ds, "place the mask")
    area = polygons.geometry.union_all()
    shapely.prepare(area)
    return shapely.contains_xy(area, *_project(x, y, system, pyproj.CRS(polygons.crs)))


def _polygons(path):
    """The polygons of a file, as a GeoDataFrame with a CRS.

    Raises:
      ValueError: no polygons, no CRS, or no file of theirs.
      ImportError: the extra `geo` is not installed.
    """
    try:
        import geopandas
        import shapely
    except ImportError as error:
        needed = "a vector mask needs the extra `geo`: pip install 's1jax[geo]'"
        raise ImportError(needed) from error

    if path.is_dir():
        with reading(path, "a folder of one shapefile"):
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() == ".shp")
        if len(inside) != 1:
            got = f"a folder of {len(inside)} shapefiles"
            raise ValueError(f"{path}: got {got}, expected a vector or raster mask")
        path = inside[0]
    kind = _vector_format(path)
    with reading(path, "a vector file", shapely.errors.ShapelyError):
        if kind == "GeoJSON":
            polygons = _geojson(geopandas, path)
        else:
            polygons = geopandas.read_file(os.path.abspath(path), engine="pyogrio")
    if not isinstance(polygons, geopandas.GeoDataFrame):
        raise ValueError(f"{path}: got a table without geometry, expected polygons")
    if polygons.crs is None:
        raise ValueError(f"{path}: CRS: got none, expected one (a .prj beside the .shp)")
    polygons = polygons[~(polygons.geometry.isna() | polygons.geometry.is_empty)]
    if odd := sorted({*polygons.geom_type} - {"Polygon", "MultiPolygon"}):
        raise ValueError(f"{path}: got {', '.join(odd)}, expected polygons")
    if not len(polygons):
        raise ValueError(f"{path}: got no polygon, expected at least one")
    return polygons


def _vector_format(path):
    """Format of a file of polygons, by its first bytes.

    Raises:
      ValueError: any other than that of `_VECTORS` or GeoJSON, or a GeoPackage with views or
        virtual tables, which may be made of other files.
    """
    first = first_bytes(path)
    kind = next((kind for magic, kind in _VECTORS.items() if first.startswith(magic)), None)
    if kind is None and first.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        kind = "GeoJSON"
    if kind is None:
        expected = "a shapefile, GeoPackage, GeoJSON or FlatGeobuf"
        got = f"it begins with {first!r}"
        raise ValueError(f"{path}: cannot be read, expected {expected} ({got})")
    tables = []
    if kind == "GeoPackage":
        address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        with (
            reading(path, "a GeoPackage", sqlite3.Error),
            closing(sqlite3.connect(address, uri=True)) as base,
        ):
            tables = base.execute("SELECT name, type, sql FROM sqlite_master").fetchall()
    for name, sort, sql in tables:
        virtual = re.match(r"\s*CREATE\s+VIRTUAL\s+TABLE", sql or "", re.IGNORECASE)
        if sort == "view" or (virtual and not re.search(r"USING\s+[\"']?rtree", sql, re.I)):
            got = f"{name!r}, a {'virtual table' if virtual else 'view'}"
            raise ValueError(f"{path}: got {got}, expected tables of polygons alone")
    return kind


def _geojson(geopandas, path):
    """GeoJSON, read without GDAL, which would fetch a CRS that is given by its address."""
    import shapely

    content = json.loads(path.read_text(encoding="utf-8-sig"))
    features, geometries = content.get("features", [content]), []
    if not isinstance(features, list):
        got = brief(type(features).__name__)
        raise ValueError(f"features: got {got}, expected a list of polygons")
    for k, feature in enumerate(features):
        if not isinstance(feature, dict):
            got = type(feature).__name__
            raise ValueError(f"features[{k}]: got {got}, expected an object with geometry")
        geometry, where = feature.get("geometry", feature), f"features[{k}].geometry"
        typed = isinstance(geometry, dict) and isinstance(geometry.get("type"), str)
        if geometry and not typed:
            raise ValueError(f"{where}: got {brief(geometry)}, expected an object with a type")
        with reading(where, "rings of x and y", shapely.errors.ShapelyError):
            geometries.append(geometry and shapely.geometry.shape(geometry))
    declared = content.get("crs") or {"type": "name", "properties": {"name": "EPSG:4326"}}
    try:
        name = declared["properties"]["name"] + ""
    except (TypeError, KeyError) as error:
        got, expected = brief(declared), "properties with the name of a CRS"
        raise ValueError(f"crs: got {got}, expected {expected}") from error
    return geopandas.GeoDataFrame(geometry=geometries, crs=pyproj.CRS.from_user_input(name))
