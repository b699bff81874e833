"""Which pixels are wanted: a vector file in any CRS, a raster, or a `mask` variable."""

from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Bool

from s1jax.cube.crs import crs, is_points, longitude_latitude
from s1jax.cube.geotiff import SUFFIXES, read_image, require_geo
from s1jax.cube.read import read_dataset


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
    said = [f"mask keeps {wanted.sum():,} of {wanted.size:,} pixels ({wanted.mean():.2%})"]
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
            apart = np.abs(ds[name].values - variable[name].values).max()
            if apart > 1e-3 * abs(_step(ds[name].values)):
                raise ValueError(f"{where}: mask: got {name} {apart:g} apart, expected the cube's")
    return variable


def _raster(ds, path):
    """The nearest pixel of the file; outside of it, and its nodata, count as not wanted."""
    image = read_image(path)
    from rasterio.warp import reproject

    if not image.crs:
        raise ValueError(f"{path}: CRS: got none, expected one")
    band = image.band[0]
    wanted = (band != 0) & ~np.isnan(band.astype(float)) & (band != image.nodata[0])
    right, down, transform = _north_up(ds)
    inside = np.zeros((down.size, right.size), np.uint8)
    reproject(
        wanted.astype(np.uint8),
        inside,
        src_transform=_affine(image.transform),
        src_crs=image.crs,
        dst_transform=transform,
        dst_crs=_needed_crs(ds).to_wkt(),
        src_nodata=0,
        dst_nodata=0,
    )
    return _as_cube(ds, inside == 1)


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
    return _rasterize(ds, polygons.to_crs(_needed_crs(ds)).geometry)


def _rasterize(ds, polygons):
    """True where the centre of a pixel is inside a polygon."""
    from rasterio.features import geometry_mask

    right, down, transform = _north_up(ds)
    return _as_cube(ds, geometry_mask(polygons, (down.size, right.size), transform, invert=True))


def _north_up(ds):
    """(x ascending, y descending, affine transform): the grid as GDAL wants it."""
    x, y = np.sort(ds["x"].values.astype(float)), np.sort(ds["y"].values.astype(float))[::-1]
    # one row or one column alone has no spacing: its pixel is square
    dx, dy = _step(x) or -_step(y), _step(y) or -_step(x)
    return x, y, _affine((dx, 0, x[0] - dx / 2, 0, dy, y[0] - dy / 2))


def _as_cube(ds, image):
    """An image, north up, in the order of the cube's rows and columns."""
    image = image if ds["y"].values[0] >= ds["y"].values[-1] else image[::-1]
    return image if ds["x"].values[0] <= ds["x"].values[-1] else image[:, ::-1]


def _affine(transform):
    from affine import Affine

    return Affine(*transform)


def _step(centre):
    """Signed size of a pixel along one axis, from the ends."""
    return (centre[-1] - centre[0]) / max(centre.size - 1, 1)


def _needed_crs(ds):
    system = crs(ds)
    if system is None:
        raise ValueError("CRS of the cube: got none, expected one to place the mask")
    return system
