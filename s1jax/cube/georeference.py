"""What tells GDAL, QGIS and CF readers where a cube lies: its axes and its grid mapping."""

import numpy as np
import xarray as xr

from s1jax.cube.crs import crs, grid_mapping, is_points, with_grid_mapping
from s1jax.cube.grid import NEAR, resolution, step, transforms
from s1jax.cube.notes import NAMED, with_notes
from s1jax.cube.numbered import is_relative

CONVENTIONS = "CF-1.11"
"""Of all files that are written."""
_NO_SIZE = f"{NAMED}one pixel: no transform and no resolution declares its size, none is written"
_DEGREES = {
    "lat": {"standard_name": "latitude", "units": "degrees_north"},
    "lon": {"standard_name": "longitude", "units": "degrees_east"},
}


def georeferenced(ds: xr.Dataset) -> xr.Dataset:
    """The cube whose axes x, y, t and grid mapping say all that CF and GDAL ask for.

    The axes get `standard_name`, `units` and `axis` of the CRS (projected, geographic or rotated),
    the grid mapping the parameters of CF, `crs_wkt`, `spatial_ref` and, on a regular grid, GDAL's
    `GeoTransform`, which alone tells the size of a pixel where there is one row or one column. One
    pixel has the size that the cube declares (`GeoTransform`, `transform` or `resolution`); where
    it declares none, a note among attrs["s1jax_repairs"] says so.
    Dates that count from a beginning of their own (attrs["time_axis"]) are no CF time.
    Places (one pixel a field) are no grid: their `lat` and `lon` say what they are. What the cube
    says itself of `units` is kept.

    Raises:
      ValueError: the cube names a CRS that there is not.
    """
    out = with_grid_mapping(ds)
    for name, attrs in _DEGREES.items():
        if name in out.variables:
            out = _said(out, name, attrs)
    if not is_relative(out) and "t" in out.coords and out["t"].dtype.kind in "Mm":
        out = _said(out, "t", {"standard_name": "time", "axis": "T"})
    if not {"y", "x"} <= set(out.indexes) or is_points(out):
        return out
    system = crs(out)
    if system is None:
        for name in ("y", "x"):
            out = _said(out, name, {"axis": name.upper()})
        return out
    axes = {axis["axis"].lower(): axis for axis in system.cs_to_cf() if "axis" in axis}
    for name in {"y", "x"} & set(axes):
        own = {k: v for k, v in axes[name].items() if k != "long_name"}
        own["units"] = out[name].attrs.get("units") or own["units"]
        if system.is_geographic and own["standard_name"] in ("latitude", "longitude"):
            # "degrees" alone does not tell the axes apart
            own["units"] = axes[name]["units"]
        out = _said(out, name, own)
    reference = {key: value for key, value in system.to_cf().items() if value is not None}
    reference["spatial_ref"] = reference["crs_wkt"]
    name = grid_mapping(out)
    declared = (numbers for _, numbers in transforms(out))
    own = _numbers(out[name].attrs.get("GeoTransform")) or next(
        ((c, a, b, f, d, e) for a, b, c, d, e, f in declared if b == d == 0), None
    )
    transform = geotransform(out["x"].values, out["y"].values, own, resolution(out))
    alone = out.sizes["y"] == out.sizes["x"] == 1
    if transform is None and alone and _NO_SIZE not in str(out.attrs.get("s1jax_repairs", "")):
        out = with_notes(out, [_NO_SIZE])
    if transform is not None:
        reference["GeoTransform"] = " ".join(map(repr, transform))
    kept = {k: v for k, v in out[name].attrs.items() if k not in ("GeoTransform", *reference)}
    return _said(out, name, kept | reference)


def geotransform(
    x: np.ndarray,
    y: np.ndarray,
    larger: tuple[float, ...] | None = None,
    size: tuple[float, float] = (0.0, 0.0),
) -> tuple[float, ...] | None:
    """GDAL's six numbers of a grid, in the order of its rows and columns; None where it has none.

    A single row or column has the pixels of the `larger` grid that it was cut from, else pixels as
    high as they are wide; one pixel that was cut from none has the width and height `size`, and no
    transform where they are 0.
    """
    x, y = (np.asarray(axis, np.float64) for axis in (x, y))
    wide, high = step(x), step(y)
    for axis, gap in ((x, wide), (y, high)):
        if axis.size > 1 and not np.abs(np.diff(axis) - gap).max() <= NEAR * abs(gap):
            return None
    if larger is not None:
        wide = wide or _size(x[0], *larger[:2])
        high = high or _size(y[0], larger[3], larger[5])
    if not wide and not high:
        wide, high = size[0], -size[1]
    wide, high = wide or abs(high), high or -abs(wide)
    if not wide or not high or not np.isfinite([wide, high]).all():
        return None
    return tuple(map(float, (x[0] - wide / 2, wide, 0.0, y[0] - high / 2, 0.0, high)))


def _size(centre: float, corner: float, size: float) -> float:
    """Size of the pixels of a grid, 0 where a centre is that of none of them."""
    away = (centre - corner) / size - 0.5 if size else np.nan
    return size if abs(away - np.round(away)) <= NEAR else 0.0


def _numbers(text) -> tuple[float, ...] | None:
    """The numbers of a `GeoTransform`, None where it does not hold six."""
    try:
        found = tuple(float(word) for word in str(text).split())
    except ValueError:
        return None
    return found if len(found) == 6 and found[2] == found[4] == 0 else None


def _said(ds, name, attrs):
    """The cube with attributes of one variable added to its own."""
    variable = ds[name].variable.copy(deep=False)
    variable.attrs = {**variable.attrs, **attrs}
    if name in ds.coords:
        return ds.assign_coords({name: variable})
    return ds.assign({name: variable})
