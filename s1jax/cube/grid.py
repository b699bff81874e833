"""The grid of a cube: what its axes and attributes say, whether two are one, how GDAL wants it."""

import re
from collections.abc import Iterator

import numpy as np
import pyproj
import xarray as xr

from s1jax.cube.border import brief
from s1jax.cube.crs import crs, grid_mapping, is_points, longitude_latitude
from s1jax.cube.notes import DECLARED, NAMED

NEAR = 0.05
"""Grids are one where they are apart no farther, pixels; float32 axes may be as far as their
digits, up to `_FAR`."""

_FAR = 0.25

_EXACT = 1e-3
"""A centre is no farther from where an even grid has it, pixels, where a field's edge matters."""

_SMALLEST = 0.1
"""No pixel of a sensor is smaller, metres: such axes are in degrees."""


def settled(ds: xr.Dataset, where: str) -> tuple[xr.Dataset, list[str]]:
    """The cube with y, x at centres of pixels, longitudes without a jump, and what was said.

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
    ds, said = _degrees(ds, where)
    # one column without a CRS may be places, which are numbered or named as they come
    places = is_points(ds) or (ds.sizes["x"] == 1 and system is None)
    if places or not {"y", "x"} <= set(ds.coords):
        return ds, said
    for name in ("y", "x"):
        _numbers(ds, name, where)
    if system is not None and system.is_geographic:
        ds, turned_round = _unwrapped(ds)
        said += turned_round
    for name in ("y", "x"):
        _monotone(ds, name, where)
    ds, moved = _centred(ds, where)
    _inside(ds, system, where)
    return ds, said + moved


def _degrees(ds, where):
    """The cube with longitudes of `lon` from -180 to below 180.

    Raises:
      ValueError: latitudes beyond 90, longitudes beyond 360, or no numbers.
    """
    said = []
    for name, low, high in (("lat", -90, 90), ("lon", -180, 360)):
        if name not in ds.variables:
            continue
        value = np.asarray(ds[name].values)
        if value.dtype.kind not in "iuf":
            raise ValueError(f"{where}: {name}: got {value.dtype}, expected degrees")
        if (value < low).any() or (value > high).any():
            got = f"{np.nanmin(value):g} to {np.nanmax(value):g}"
            raise ValueError(f"{where}: {name}: got {got}, expected degrees in [{low}, {high}]")
    if "lon" not in ds.variables:
        return ds, said
    lon = ds["lon"].values
    if (lon >= 180).any() and "lon" not in ds.dims:
        turned_round = (lon.astype(np.float64) + 180) % 360 - 180
        ds = ds.assign({"lon": ds["lon"].copy(data=np.where(lon >= 180, turned_round, lon))})
        said.append(f"{NAMED}lon: longitudes of 180 and more are counted from -180")
    return ds, said


def _numbers(ds, name, where):
    centre = ds[name].values
    if centre.dtype.kind not in "iuf" or ds[name].ndim != 1:
        raise ValueError(f"{where}: {name}: got {centre.dtype}, expected numbers on one axis")
    if not np.isfinite(centre).all():
        got = f"{(~np.isfinite(centre)).sum()} of {centre.size} that are NaN or infinite"
        raise ValueError(f"{where}: {name}: got {got}, expected where the pixels are")


def _monotone(ds, name, where):
    gaps = np.diff(ds[name].values.astype(np.float64))
    if gaps.size and not ((gaps > 0).all() or (gaps < 0).all()):
        twice = int((gaps == 0).sum())
        what = f"{twice} places twice" if twice else "places that neither ascend nor descend"
        got = f"{what}, from {ds[name].values[0]:g} to {ds[name].values[-1]:g}"
        raise ValueError(f"{where}: {name}: got {got}, expected each once, in order")


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
    said = f"{NAMED}x: longitudes from {x[0]:.9g} to {x[-1]:.9g} are written as "
    x = ds["x"].copy(data=smooth)
    return ds.assign_coords(x=x), [f"{said}{smooth[0]:.9g} to {smooth[-1]:.9g}"]


def _centred(ds, where):
    """The cube with y, x moved to centres, where a declared transform says that they are corners.

    Raises:
      ValueError: the transform is rotated.
    """
    declared = next(transforms(ds), None)
    if declared is None:
        return ds, []
    name, (a, b, c, d, e, f) = declared
    if b != 0 or d != 0:
        got = f"a rotated grid {(a, b, c, d, e, f)}"
        raise ValueError(f"{where}: {name}: got {got}, expected north up")
    if 0 in (a, e):
        return ds, []
    half = {"y": (e, f), "x": (a, c)}
    if all(_corners(ds[axis].values, *half[axis]) for axis in half):
        moved = {axis: ds[axis] + pixel / 2 for axis, (pixel, _) in half.items()}
        moved = {axis: value.assign_attrs(ds[axis].attrs) for axis, value in moved.items()}
        line = f"{DECLARED}y, x are corners of pixels by {name}: moved to their centres"
        return ds.assign_coords(moved), [line]
    return ds, []


def _corners(axis, pixel, first):
    """Whether an axis has the corners of pixels of that size, the first of them anywhere."""
    near, axis = min(NEAR + _digits(axis) / abs(pixel), _FAR), axis.astype(np.float64)
    if axis.size > 1 and abs(abs(step(axis) / pixel) - 1) > 2 * near / axis.size:
        return False  # of another grid: thinned or averaged since it was declared
    part = (axis[0] - first) / pixel % 1
    return min(part, 1 - part) < near


def transforms(ds) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Names and values (a, b, c, d, e, f) of the transforms that attributes declare."""
    mapping = grid_mapping(ds)
    holders = [("attribute", ds.attrs), *((n, v.attrs) for n, v in ds.data_vars.items())]
    holders += [(mapping, ds[mapping].attrs)] if mapping else []
    for holder, attrs in holders:
        if (found := _six(attrs.get("transform"))) is not None:
            yield f"{holder} transform", found
        if (found := _six(attrs.get("GeoTransform"))) is not None:
            c, a, b, f, d, e = found
            yield f"{holder} GeoTransform", (a, b, c, d, e, f)


def _six(declared):
    """The six numbers of a transform; None of anything else."""
    if isinstance(declared, str):
        declared = re.split(r"[,\s]+", declared.strip(" ()[]|\n"))
    try:
        found = tuple(float(number) for number in declared)
    except (TypeError, ValueError):
        return None
    # nine are those of a matrix, the last three of which say nothing
    whole = len(found) in (6, 9) and np.isfinite(found).all()
    return found[:6] if whole else None


def _inside(ds, system, where):
    """Nothing, where the axes can be those of the CRS.

    Raises:
      ValueError: latitudes beyond the poles, degrees declared as metres, or places that the
        projection does not have.
    """
    if system is None:
        return
    y, x = (ds[name].values.astype(np.float64) for name in ("y", "x"))
    name = f"CRS {brief(system.to_string())}"
    if system.is_geographic:
        for axis, centre, low, high in (("y", y, -90, 90), ("x", x, -360, 540)):
            if centre.min() < low or centre.max() > high:
                got = f"{centre.min():g} to {centre.max():g}"
                raise ValueError(f"{where}: {axis}: got {got}, expected degrees as of {name}")
        return
    if not system.is_projected:
        return
    small = [abs(step(c)) < _SMALLEST for c in (y, x) if c.size > 1]
    if small and all(small) and np.abs(x).max() <= 360 and np.abs(y).max() <= 90:
        got = f"{y.min():g} to {y.max():g}, {x.min():g} to {x.max():g}, which are degrees"
        raise ValueError(f"{where}: y, x: got {got}, expected those of {name}")
    onto = pyproj.Transformer.from_crs(system, system.geodetic_crs, always_xy=True)
    corners = [(a, b) for a in (x.min(), x.max()) for b in (y.min(), y.max())]
    if not np.isfinite(onto.transform(*zip(*corners, strict=True))).all():
        got = f"{y.min():g} to {y.max():g}, {x.min():g} to {x.max():g}"
        raise ValueError(f"{where}: y, x: got {got}, expected places of {name}")


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
    """Whether two cubes are on one grid (`tolerance`), rows in the same order.

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
        if not (name in a.coords and name in b.coords):
            return False
        axes = a[name].values, b[name].values
        if apart(*axes) > tolerance(*axes):
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


def tolerance(centre: np.ndarray, other: np.ndarray) -> float:
    """How far two axes of one grid may be apart, pixels: `NEAR`, and what float32 rounds off."""
    size = abs(step(centre.astype(float)))
    digits = max(_digits(centre), _digits(other))
    return min(NEAR + digits / size, _FAR) if size else 0.0


def rounded(centre: np.ndarray) -> bool:
    """Whether an axis is in float32, or its steps show that it has been."""
    even = np.linspace(centre[0], centre[-1], centre.size, dtype=np.float64)
    uneven = np.abs(centre - even).max() > 1e-9 * np.abs(even).max()
    return centre.dtype == np.float32 or bool(uneven and _digits(centre) > 0)


def _digits(centre):
    """What the axis may have lost by rounding to float32; 0 where it has more digits."""
    centre = centre.astype(np.float64)
    short = (centre.astype(np.float32) == centre).all()
    return float(np.spacing(np.float32(np.abs(centre).max()))) / 2 if short else 0.0


def why_irregular(ds: xr.Dataset, *, exact: bool = False) -> str:
    """Why the cube is no grid of pixels of one known size, in words; "" where it is.

    Args:
      ds: cube.
      exact: no allowance is made for axes that were rounded.
    """
    if not {"y", "x"} <= set(ds.coords):
        return "no coordinates y, x"
    for name in ("y", "x"):
        centre = ds[name].values.astype(np.float64)
        even = np.linspace(centre[0], centre[-1], centre.size)
        away = np.abs(centre - even).max()
        near = NEAR * abs(step(centre)) + _digits(ds[name].values)
        if away > (_EXACT * abs(step(centre)) if exact else near):
            return f"{name} in unequal steps"
    if not all(_pixel(ds)):
        return "one pixel, whose size no transform and no resolution declares"
    return ""


def _pixel(ds):
    """Width and height of a pixel, positive; 0 where nothing says them."""
    height, width = (abs(step(ds[name].values.astype(float))) for name in ("y", "x"))
    if height or width:
        # one row or one column alone has no spacing: its pixel is square
        return width or height, height or width
    for _, (a, _, _, _, e, _) in transforms(ds):
        return abs(a), abs(e)
    return resolution(ds)


def resolution(ds: xr.Dataset) -> tuple[float, float]:
    """Width and height of a pixel by an attribute `resolution`, positive; 0 where there is none."""
    for attrs in (ds.attrs, *(variable.attrs for variable in ds.data_vars.values())):
        declared = np.ravel(attrs.get("resolution", ()))
        if declared.size in (1, 2) and declared.dtype.kind in "iuf":
            return abs(float(declared[0])), abs(float(declared[-1]))
    return 0.0, 0.0


def north_up(ds: xr.Dataset) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """x ascending, y descending, and the transform (a, b, c, d, e, f) of that grid.

    Raises:
      ValueError: pixels of unequal or unknown size.
    """
    if why := why_irregular(ds):
        raise ValueError(f"grid: got {why}, expected pixels of one size")
    x, y = np.sort(ds["x"].values.astype(float)), np.sort(ds["y"].values.astype(float))[::-1]
    width, height = _pixel(ds)
    return x, y, (width, 0.0, x[0] - width / 2, 0.0, -height, y[0] + height / 2)


def centres(ds: xr.Dataset, what: str) -> tuple[np.ndarray, np.ndarray, pyproj.CRS]:
    """x and y of every pixel, (y, x) each, and their CRS; of places, longitudes and latitudes.

    Raises:
      ValueError: nothing says where the pixels are; the message ends in `what`.
    """
    bare = not {"y", "x"} <= set(ds.coords)
    degrees = longitude_latitude(ds) if is_points(ds) or bare else None
    if degrees is not None:
        return *degrees, pyproj.CRS("EPSG:4326")
    if bare:
        raise ValueError(f"y, x: got no coordinates, expected them to {what}")
    x, y = np.meshgrid(ds["x"].values.astype(float), ds["y"].values.astype(float))
    return x, y, needed_crs(ds, what)


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
