"""Where the pixels of a cube are: its CRS, its axes, whether two grids are one, and how GDAL and
CF readers want them declared."""

import re
from collections.abc import Iterator

import numpy as np
import pyproj
import xarray as xr
from jaxtyping import Float
from pyproj.exceptions import ProjError

from s1jax.cube.dates import is_relative
from s1jax.cube.findings import Finding, declared, named, with_findings
from s1jax.cube.safety import brief

CONVENTIONS = "CF-1.11"
"""Of all files that are written."""

NEAR = 0.05
"""Grids are one where they are apart no farther, pixels; float32 axes may be as far as their
digits, up to `_FAR`."""

_FAR = 0.25

_EXACT = 1e-3
"""A centre is no farther from where an even grid has it, pixels, where a field's edge matters."""

_SMALLEST = 0.1
"""No pixel of a sensor is smaller, metres: such axes are in degrees."""

_KEYS = ("crs_wkt", "spatial_ref", "epsg_code")
_NO_SIZE = named("one pixel: no transform and no resolution declares its size, none is written")
_DEGREES = {
    "lat": {"standard_name": "latitude", "units": "degrees_north"},
    "lon": {"standard_name": "longitude", "units": "degrees_east"},
}


# the reference system


def grid_mapping(ds: xr.Dataset) -> str | None:
    """Name of the CF grid mapping variable (often `spatial_ref`); None where there is none."""
    for name, variable in ds.variables.items():
        if variable.ndim == 0 and any(key in variable.attrs for key in _KEYS):
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
        key = next(key for key in _KEYS if key in attrs)
        return _crs_of(attrs[key], f"{name}: {key}")
    given = ds.attrs.get("crs")
    return None if given is None else _crs_of(given, "attribute crs")


def _crs_of(given, where):
    """The reference system of well-known text, an EPSG code, or an object of another library."""
    if isinstance(given, np.generic):
        given = given.item()
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    if isinstance(given, str):
        # as of old versions of PROJ, which meant the same
        given = re.sub(r"^\+init=(?=epsg:\d+$)", "", given.strip(), flags=re.IGNORECASE)
    try:
        return pyproj.CRS.from_user_input(given)
    except (ProjError, TypeError, ValueError, AttributeError) as error:
        got = brief(repr(given))
        raise ValueError(f"{where}: got {got}, expected well-known text or EPSG:NNNN") from error


def needed_crs(ds: xr.Dataset, what: str) -> pyproj.CRS:
    """The reference system of the cube, needed for `what`; a ValueError where it has none."""
    system = crs(ds)
    if system is None:
        raise ValueError(f"CRS of the cube: got none, expected one to {what}")
    return system


def with_grid_mapping(ds: xr.Dataset) -> xr.Dataset:
    """The cube with its CRS in the scalar coordinate `spatial_ref`, as CF and GDAL read it."""
    name, system = grid_mapping(ds), crs(ds)
    if name is not None:
        return ds.set_coords(name)
    if system is None:
        return ds
    return ds.assign_coords(spatial_ref=xr.Variable((), np.int32(0), _cf(system)))


def _cf(system):
    """Attributes of a grid mapping variable."""
    attrs = {key: value for key, value in system.to_cf().items() if value is not None}
    return attrs | {"spatial_ref": attrs["crs_wkt"]}


# positions


def is_points(ds: xr.Dataset) -> bool:
    """Whether the cube is a list of places (one pixel per field) and not a grid."""
    return ds.sizes["x"] == 1 and {"lat", "lon"} <= set(ds.variables)


def _has_axes(ds):
    return {"y", "x"} <= set(ds.coords)


def _axes(ds):
    """x and y as numbers of double precision."""
    return tuple(ds[name].values.astype(np.float64) for name in ("x", "y"))


def _degrees(ds):
    """Longitudes and latitudes of every pixel, (y, x) each; None without `lon` and `lat`."""
    if not {"lat", "lon"} <= set(ds.variables):
        return None
    shape = xr.DataArray(np.zeros((ds.sizes["y"], ds.sizes["x"]), bool), dims=("y", "x"))
    both = (xr.broadcast(ds[name].reset_coords(drop=True), shape)[0] for name in ("lon", "lat"))
    return tuple(value.transpose("y", "x").values for value in both)


def position(ds: xr.Dataset) -> Float[np.ndarray, "y x 2"] | None:
    """Metres east and north of every pixel; None where the cube does not say where it is.

    Projected coordinates as they are; longitudes and latitudes through an azimuthal equidistant
    projection about their mean (distances from there are exact). Coordinates without a CRS count as
    metres unless they are numbers of rows and columns or could be degrees (within +-180, +-90).
    """
    degrees, system = _degrees(ds), crs(ds)
    gridded = _has_axes(ds) and not is_points(ds)
    if gridded and system is None:
        gridded = not all(map(_only_counts, _axes(ds)))
    if gridded:
        x, y = np.meshgrid(*_axes(ds))
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


def _only_counts(centre):
    """Whether coordinates only count rows or columns, from 0, 1/2 or 1, either way."""
    centre = np.sort(centre)
    return centre[0] in (0, 0.5, 1) and np.array_equal(centre, centre[0] + np.arange(centre.size))


def centres(ds: xr.Dataset, what: str) -> tuple[np.ndarray, np.ndarray, pyproj.CRS]:
    """x and y of every pixel, (y, x) each, and their CRS; of places, longitudes and latitudes.

    Raises:
      ValueError: nothing says where the pixels are; the message ends in `what`.
    """
    degrees = _degrees(ds) if is_points(ds) or not _has_axes(ds) else None
    if degrees is not None:
        x, y = degrees
        return x, y, pyproj.CRS("EPSG:4326")
    if not _has_axes(ds):
        raise ValueError(f"y, x: got no coordinates, expected them to {what}")
    x, y = np.meshgrid(*_axes(ds))
    return x, y, needed_crs(ds, what)


# axes as they come


def settle_grid(ds: xr.Dataset, where: str) -> tuple[xr.Dataset, list[Finding]]:
    """The cube with y, x at centres of pixels, longitudes without a jump, and findings.

    Where attributes declare a `transform` (as rasterio has it) or a `GeoTransform` (as GDAL has it)
    by which y, x are corners of pixels, they are moved by half a pixel.

    Args:
      ds: dims (t, y, x).
      where: name of the input, for messages.

    Raises:
      ValueError: no rows, columns or dates; axes that are no ascending or descending numbers, or
        that do not fit the CRS; a CRS that is none; a rotated grid.
    """
    for name in ("t", "y", "x"):
        if not ds.sizes[name]:
            raise ValueError(f"{where}: {name}: got no place on it, expected at least one")
    system = crs(ds)
    ds, findings = _checked_degrees(ds, where)
    # one column without a CRS may be places, which are numbered or named as they come
    places = is_points(ds) or (ds.sizes["x"] == 1 and system is None)
    if places or not _has_axes(ds):
        return ds, findings
    for name in ("y", "x"):
        centre = ds[name].values
        if centre.dtype.kind not in "iuf" or ds[name].ndim != 1:
            raise ValueError(f"{where}: {name}: got {centre.dtype}, expected numbers on one axis")
        if not np.isfinite(centre).all():
            got = f"{(~np.isfinite(centre)).sum()} of {centre.size} that are NaN or infinite"
            raise ValueError(f"{where}: {name}: got {got}, expected where the pixels are")
    if system is not None and system.is_geographic:
        ds, unwrapped = _unwrapped(ds)
        findings += unwrapped
    for name in ("y", "x"):
        centre = ds[name].values.astype(np.float64)
        gaps = np.diff(centre)
        if gaps.size and not ((gaps > 0).all() or (gaps < 0).all()):
            twice = int((gaps == 0).sum())
            what = f"{twice} places twice" if twice else "places that neither ascend nor descend"
            got = f"{what}, from {centre[0]:g} to {centre[-1]:g}"
            raise ValueError(f"{where}: {name}: got {got}, expected each once, in order")
    ds, moved = _centred(ds, where)
    _require_inside(ds, system, where)
    return ds, findings + moved


def _checked_degrees(ds, where):
    """The cube with longitudes of `lon` from -180 to below 180, and findings."""
    for name, low, high in (("lat", -90, 90), ("lon", -180, 360)):
        if name not in ds.variables:
            continue
        value = np.asarray(ds[name].values)
        if value.dtype.kind not in "iuf":
            raise ValueError(f"{where}: {name}: got {value.dtype}, expected degrees")
        if (value < low).any() or (value > high).any():
            got = f"{np.nanmin(value):g} to {np.nanmax(value):g}"
            raise ValueError(f"{where}: {name}: got {got}, expected degrees in [{low}, {high}]")
    if "lon" not in ds.variables or "lon" in ds.dims or not (ds["lon"].values >= 180).any():
        return ds, []
    lon = ds["lon"].values
    wrapped = np.where(lon >= 180, (lon.astype(np.float64) + 180) % 360 - 180, lon)
    finding = named("lon: longitudes of 180 and more are counted from -180")
    return ds.assign({"lon": ds["lon"].copy(data=wrapped)}), [finding]


def _unwrapped(ds):
    """Longitudes that run through 180 as 179.9, 180.1, the least of them in [-180, 180), whichever
    way the columns run."""
    x = ds["x"].values
    smooth = np.unwrap(x.astype(np.float64), period=360.0)
    west, round_earth = smooth.min(), np.ptp(smooth) >= 180
    if west >= 180 or smooth.max() < -180 or (west < -180 and not round_earth):
        smooth = smooth - 360 * np.floor((smooth.min() + 180) / 360)
    if np.abs(smooth - x).max() < 180:
        return ds, []
    ends = [f"{axis[0]:.9g} to {axis[-1]:.9g}" for axis in (x, smooth)]
    finding = named(f"x: longitudes from {ends[0]} are written as {ends[1]}")
    return ds.assign_coords(x=ds["x"].copy(data=smooth)), [finding]


def _centred(ds, where):
    """The cube with y, x moved to centres where a declared transform has them at corners."""
    name, (a, b, c, d, e, f) = next(_transforms(ds), ("", (0.0,) * 6))
    if b != 0 or d != 0:
        got = f"a rotated grid {(a, b, c, d, e, f)}"
        raise ValueError(f"{where}: {name}: got {got}, expected north up")
    half = {"y": (e, f), "x": (a, c)}
    if 0 in (a, e) or not all(_corners(ds[axis].values, *half[axis]) for axis in half):
        return ds, []
    moved = {axis: ds[axis] + pixel / 2 for axis, (pixel, _) in half.items()}
    moved = {axis: value.assign_attrs(ds[axis].attrs) for axis, value in moved.items()}
    finding = declared(f"y, x are corners of pixels by {name}: moved to their centres")
    return ds.assign_coords(moved), [finding]


def _corners(axis, pixel, first):
    """Whether an axis has the corners of pixels of that size, the first of them anywhere."""
    near, axis = min(NEAR + _digits(axis) / abs(pixel), _FAR), axis.astype(np.float64)
    if axis.size > 1 and abs(abs(_step(axis) / pixel) - 1) > 2 * near / axis.size:
        return False  # of another grid: thinned or averaged since it was declared
    part = (axis[0] - first) / pixel % 1
    return min(part, 1 - part) < near


def _transforms(ds) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Names and values (a, b, c, d, e, f) of the transforms that attributes declare."""
    mapping = grid_mapping(ds)
    holders = [("attribute", ds.attrs), *((n, v.attrs) for n, v in ds.data_vars.items())]
    holders += [(mapping, ds[mapping].attrs)] if mapping else []
    for holder, attrs in holders:
        if (six := _six(attrs.get("transform"))) is not None:
            yield f"{holder} transform", six
        if (six := _six(attrs.get("GeoTransform"))) is not None:
            c, a, b, f, d, e = six
            yield f"{holder} GeoTransform", (a, b, c, d, e, f)


def _six(given):
    """The six numbers of a transform; None of anything else."""
    if isinstance(given, str):
        given = re.split(r"[,\s]+", given.strip(" ()[]|\n"))
    try:
        numbers = tuple(float(number) for number in given)
    except (TypeError, ValueError):
        return None
    # nine are those of a matrix, the last three of which say nothing
    whole = len(numbers) in (6, 9) and np.isfinite(numbers).all()
    return numbers[:6] if whole else None


def _require_inside(ds, system, where):
    """Refuse axes beyond those of the CRS, and degrees that are declared as metres."""
    if system is None or not (system.is_geographic or system.is_projected):
        return
    x, y = _axes(ds)
    name, ends = f"CRS {brief(system.to_string())}", [f"{v.min():g} to {v.max():g}" for v in (y, x)]
    if system.is_geographic:
        limits = (("y", y, -90, 90), ("x", x, -360, 540))
        for (axis, centre, low, high), got in zip(limits, ends, strict=True):
            if centre.min() < low or centre.max() > high:
                raise ValueError(f"{where}: {axis}: got {got}, expected degrees as of {name}")
        return
    small = [abs(_step(c)) < _SMALLEST for c in (y, x) if c.size > 1]
    if small and all(small) and np.abs(x).max() <= 360 and np.abs(y).max() <= 90:
        got = f"{', '.join(ends)}, which are degrees"
        raise ValueError(f"{where}: y, x: got {got}, expected those of {name}")
    onto = pyproj.Transformer.from_crs(system, system.geodetic_crs, always_xy=True)
    east, north = np.meshgrid([x.min(), x.max()], [y.min(), y.max()])
    if not np.isfinite(onto.transform(east, north)).all():
        raise ValueError(f"{where}: y, x: got {', '.join(ends)}, expected places of {name}")


# two grids


def flip_like(ds: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
    """The cube with its rows and columns in the order of those of another."""
    for name in ("y", "x"):
        if name in ds.coords and name in other.coords:
            steps = (_step(of[name].values.astype(float)) for of in (ds, other))
            if np.prod([*steps]) < 0:
                ds = ds.isel({name: slice(None, None, -1)})
    return ds


def same_grid(a: xr.Dataset, b: xr.Dataset) -> bool:
    """Whether two cubes are on one grid (`tolerance`), rows in the same order.

    Cubes of places are where their `lat` and `lon` are the same. A cube without a CRS is taken to
    have the other's; one without coordinates is on no grid.
    """
    if is_points(a) and is_points(b):
        return a.sizes["y"] == b.sizes["y"] and all(
            np.allclose(a[name].values.ravel(), b[name].values.ravel(), rtol=0, atol=1e-7)
            for name in ("lat", "lon")
        )
    systems = crs(a), crs(b)
    if (None not in systems and systems[0] != systems[1]) or not (_has_axes(a) and _has_axes(b)):
        return False
    axes = [(a[name].values, b[name].values) for name in ("y", "x")]
    return all(distance_pixels(*pair) <= tolerance(*pair) for pair in axes)


def distance_pixels(centre: np.ndarray, other: np.ndarray) -> float:
    """Farthest two axes are apart, in pixels of the first; infinite where their sizes differ."""
    if centre.shape != other.shape:
        return np.inf
    away = np.abs(centre.astype(float) - other.astype(float)).max()
    # one pixel alone shows no size
    size = abs(_step(centre.astype(float)))
    return 0.0 if away == 0 else float(away / size) if size else np.inf


def tolerance(centre: np.ndarray, other: np.ndarray) -> float:
    """How far two axes of one grid may be apart, pixels: `NEAR`, and what float32 rounds off."""
    size = abs(_step(centre.astype(float)))
    digits = max(_digits(centre), _digits(other))
    return min(NEAR + digits / size, _FAR) if size else 0.0


def is_rounded(centre: np.ndarray) -> bool:
    """Whether an axis is in float32, or its steps show that it has been."""
    even = np.linspace(centre[0], centre[-1], centre.size, dtype=np.float64)
    uneven = np.abs(centre - even).max() > 1e-9 * np.abs(even).max()
    return centre.dtype == np.float32 or bool(uneven and _digits(centre) > 0)


def _digits(centre):
    """What the axis may have lost by rounding to float32; 0 where it has more digits."""
    centre = centre.astype(np.float64)
    short = (centre.astype(np.float32) == centre).all()
    return float(np.spacing(np.float32(np.abs(centre).max()))) / 2 if short else 0.0


def _step(centre):
    """Signed size of a pixel along one axis, from the ends; 0 of a single one."""
    return (centre[-1] - centre[0]) / max(centre.size - 1, 1)


def describe(ds: xr.Dataset) -> str:
    """The grid in words: rows and columns, first pixel, size of a pixel, CRS."""
    size = f"{ds.sizes['y']} x {ds.sizes['x']}"
    if not _has_axes(ds):
        return f"{size} pixels without coordinates"
    (x, y), system = _axes(ds), crs(ds)
    epsg = None if system is None else system.to_epsg() or system.name
    where = "no CRS" if system is None else f"EPSG:{epsg}" if isinstance(epsg, int) else epsg
    return f"{size} from y {y[0]:.9g}, x {x[0]:.9g} by {_step(y):.6g}, {_step(x):.6g} ({where})"


# what GDAL and CF readers ask for


def why_irregular(ds: xr.Dataset, *, exact: bool = False) -> str:
    """Why the cube is no grid of pixels of one size, in words; "" where it is.

    With `exact` no allowance is made for axes that were rounded.
    """
    if not _has_axes(ds):
        return "no coordinates y, x"
    for name in ("y", "x"):
        centre = ds[name].values.astype(np.float64)
        away = np.abs(centre - np.linspace(centre[0], centre[-1], centre.size)).max()
        near = NEAR * abs(_step(centre)) + _digits(ds[name].values)
        if away > (_EXACT * abs(_step(centre)) if exact else near):
            return f"{name} in unequal steps"
    if not all(_pixel(ds)):
        return "one pixel, whose size no transform and no resolution declares"
    return ""


def transform(ds: xr.Dataset) -> tuple[float, ...]:
    """(a, b, c, d, e, f) of the grid as rasterio has it, in the order of its rows and columns.

    Raises:
      ValueError: pixels of unequal or unknown size.
    """
    if why := why_irregular(ds):
        raise ValueError(f"grid: got {why}, expected pixels of one size")
    (x, y), (wide, high) = _axes(ds), _pixel(ds)
    return tuple(map(float, (wide, 0, x[0] - wide / 2, 0, high, y[0] - high / 2)))


def _pixel(ds):
    """Width and height of a pixel in the order of columns and rows; 0 where nothing says them.

    A single row or column has the pixels of the grid that the cube was cut from, as its attributes
    declare it, else pixels as high as they are wide; one pixel has the `resolution` it declares.
    """
    x, y = _axes(ds)
    wide, high = _step(x), _step(y)
    for _, (a, b, c, d, e, f) in _transforms(ds) if not (wide and high) else ():
        if b == d == 0:
            wide = wide or _size(x[0], c, a)
            high = high or _size(y[0], f, e)
    for attrs in (ds.attrs, *(variable.attrs for variable in ds.data_vars.values())):
        given = np.ravel(attrs.get("resolution", ()))
        if not (wide or high) and given.size in (1, 2) and given.dtype.kind in "iuf":
            wide, high = abs(float(given[0])), -abs(float(given[-1]))
    return wide or abs(high), high or -abs(wide)


def _size(centre, corner, size):
    """Size of the pixels of a grid, 0 where a centre is that of none of them."""
    away = (centre - corner) / size - 0.5 if size else np.nan
    return size if abs(away - np.round(away)) <= NEAR else 0.0


def georeferenced(ds: xr.Dataset) -> xr.Dataset:
    """The cube whose axes x, y, t and grid mapping say all that CF and GDAL ask for.

    The axes get `standard_name`, `units` (but those the cube has) and `axis` of the CRS, the grid
    mapping the parameters of CF, `spatial_ref` and, on a regular grid, GDAL's `GeoTransform`. Where
    nothing declares the size of a single pixel, a line among attrs["s1jax_repairs"] says so. Dates
    of a relative axis are no CF time; places (one pixel a field) are no grid but `lat` and `lon`.

    Raises:
      ValueError: the cube names a CRS that there is not.
    """
    out, system = with_grid_mapping(ds), crs(ds)
    for name in {*_DEGREES} & {*out.variables}:
        out = _with_attrs(out, name, _DEGREES[name])
    if not is_relative(out) and "t" in out.coords and out["t"].dtype.kind in "Mm":
        out = _with_attrs(out, "t", {"standard_name": "time", "axis": "T"})
    if not {"y", "x"} <= set(out.indexes) or is_points(out):
        return out
    if system is None:
        for name in ("y", "x"):
            out = _with_attrs(out, name, {"axis": name.upper()})
        return out
    axes = {axis["axis"].lower(): axis for axis in system.cs_to_cf() if "axis" in axis}
    for name in {"y", "x"} & set(axes):
        attrs = {k: v for k, v in axes[name].items() if k != "long_name"}
        degrees = system.is_geographic and attrs["standard_name"] in ("latitude", "longitude")
        if not degrees:  # "degrees" alone does not tell the axes apart
            attrs["units"] = out[name].attrs.get("units") or attrs["units"]
        out = _with_attrs(out, name, attrs)
    reference, name = _cf(system), grid_mapping(out)
    alone = out.sizes["y"] == out.sizes["x"] == 1
    if not why_irregular(out):
        a, b, c, d, e, f = transform(out)
        reference["GeoTransform"] = " ".join(map(repr, (c, a, b, f, d, e)))
    elif alone and _NO_SIZE.text not in str(out.attrs.get("s1jax_repairs", "")):
        out = with_findings(out, [_NO_SIZE])
    kept = {k: v for k, v in out[name].attrs.items() if k not in ("GeoTransform", *reference)}
    return _with_attrs(out, name, kept | reference, only=True)


def _with_attrs(ds, name, attrs, *, only=False):
    """The cube with attributes of one variable added to its own, or in their place."""
    variable = ds[name].variable.copy(deep=False)
    variable.attrs = attrs if only else {**variable.attrs, **attrs}
    return ds.assign_coords({name: variable}) if name in ds.coords else ds.assign({name: variable})
