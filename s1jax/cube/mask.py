"""Which pixels are wanted: a vector file in any CRS, a raster, or a `mask` variable."""

from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Bool

from s1jax.cube.crs import is_points, longitude_latitude
from s1jax.cube.geotiff import SUFFIXES, affine, read_bands, read_header, require_geo
from s1jax.cube.grid import NEAR, apart, as_cube, needed_crs, north_up
from s1jax.cube.notes import ASKED
from s1jax.cube.stored import read_dataset


def with_mask(
    ds: xr.Dataset, mask: str | Path | xr.DataArray | None
) -> tuple[xr.Dataset, list[str]]:
    """The cube with the variable `mask` (y, x), True where wanted, and what was said.

    A `mask` the cube brings along is kept; where both are given a pixel must be in both.

    Raises:
      ValueError: nothing is kept, the grids differ, or a CRS is missing.
    """
    wanted = None if "mask" not in ds.variables else _flag(ds["mask"])
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


def _flag(variable: xr.DataArray) -> Bool[np.ndarray, "y x"]:
    """True where a number is neither 0 nor NaN."""
    value = np.asarray(variable.transpose("y", "x").values)
    return (value != 0) & ~np.isnan(value.astype(float))


def _read(ds, mask):
    if isinstance(mask, xr.DataArray):
        return _flag(_on_grid(ds, mask, "mask"))
    path = Path(mask).expanduser()
    if not path.exists():
        raise ValueError(f"{path}: got no such file, expected a vector or raster mask")
    if path.suffix.lower() in SUFFIXES:
        return _raster(ds, path)
    if path.suffix.lower() in (".nc", ".zarr"):
        stored, _ = read_dataset(path)
        if "mask" not in stored.variables:
            raise ValueError(f"{path}: got {sorted(map(str, stored.variables))}, expected mask")
        return _flag(_on_grid(ds, stored["mask"], str(path)))
    return _vector(ds, path)


def _on_grid(ds, variable, where):
    sizes = {name: ds.sizes[name] for name in ("y", "x")}
    if dict(variable.sizes) != sizes:
        raise ValueError(f"{where}: mask: got {dict(variable.sizes)}, expected {sizes}")
    for name in ("y", "x"):
        if name in ds.coords and name in variable.coords:
            pixels = apart(ds[name].values, variable[name].values)
            if pixels > NEAR:
                got = f"{name} {pixels:g} pixels apart"
                raise ValueError(f"{where}: mask: got {got}, expected the cube's")
    return variable


def _raster(ds, path):
    """The nearest pixel of the file; outside of it, and its nodata, count as not wanted."""
    head = read_header(path)
    from rasterio.warp import reproject

    if not head.crs:
        raise ValueError(f"{path}: CRS: got none, expected one")
    (band,) = read_bands(path, [0])
    wanted = (band != 0) & ~np.isnan(band.astype(float)) & (band != head.nodata[0])
    right, down, transform = north_up(ds)
    inside = np.zeros((down.size, right.size), np.uint8)
    reproject(
        wanted.astype(np.uint8),
        inside,
        src_transform=affine(head.transform),
        src_crs=head.crs,
        dst_transform=affine(transform),
        dst_crs=needed_crs(ds, "place the mask").to_wkt(),
        src_nodata=0,
        dst_nodata=0,
    )
    return as_cube(ds, inside == 1)


def _vector(ds, path):
    require_geo("a vector mask")
    import geopandas
    import shapely

    try:
        polygons = geopandas.read_file(path)
    except (OSError, RuntimeError) as error:  # pyogrio's error is a RuntimeError
        raise ValueError(f"{path}: cannot be read, expected a vector file ({error})") from error
    if polygons.crs is None:
        raise ValueError(f"{path}: CRS: got none, expected one (a .prj beside the .shp)")
    if is_points(ds):
        area = polygons.to_crs("EPSG:4326").geometry.union_all()
        return shapely.contains_xy(area, *longitude_latitude(ds))
    return _rasterize(ds, polygons.to_crs(needed_crs(ds, "place the mask")).geometry)


def _rasterize(ds, polygons):
    """True where the centre of a pixel is inside a polygon."""
    from rasterio.features import geometry_mask

    right, down, transform = north_up(ds)
    shape = (down.size, right.size)
    return as_cube(ds, geometry_mask(polygons, shape, affine(transform), invert=True))
