"""Between a cube (y, x, dates) and a Series (pixels, days), there and back on the map."""

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float, Int, Shaped

from s1jax.cube.crs import place, with_grid_mapping
from s1jax.cube.dates import from_days, to_days
from s1jax.cube.names import LOOKS, channels, sentinel1
from s1jax.types import Series


def observed_pixels(ds: xr.Dataset) -> Int[np.ndarray, "pixel"]:
    """Places in the flat (y, x) grid of the pixels in `mask` with any observation."""
    keep = np.zeros(ds.sizes["y"] * ds.sizes["x"], bool)
    for name in channels(ds):
        keep |= np.isfinite(ds[name].transpose("t", "y", "x").values).any(axis=0).ravel()
    if "mask" in ds.variables:
        keep &= ds["mask"].transpose("y", "x").values.ravel().astype(bool)
    return np.flatnonzero(keep)


def to_series(ds: xr.Dataset) -> tuple[Series, Int[np.ndarray, "pixel"]]:
    """Series of the pixels in `mask` with any observation, and their places in the flat grid.

    NumPy arrays in JAX's default precision: day (time,) in days since 1970-01-01, value and valid
    (pixel, time, channel) with 0 where not valid, place (pixel, 2) in metres or None, and smooth
    and wide (pixel, time, radar) where `despeckle` made them, else None. A cube in chunks is read
    into memory here.

    Raises:
      ValueError: no pixel is left, or some radar values are without their filtered ones.
    """
    dtype = jnp.zeros(0).dtype
    ds = ds.compute()
    pixel = observed_pixels(ds)
    if pixel.size == 0:
        size = ds.sizes["y"] * ds.sizes["x"]
        raise ValueError(f"cube: got no pixel of {size} with an observation, expected some")
    value = np.stack([at_pixels(ds, name, pixel) for name in channels(ds)], axis=-1)
    valid = np.isfinite(value)
    where = place(ds)
    where = None if where is None else where.reshape(-1, 2)[pixel].astype(dtype)
    value = np.where(valid, value, value.dtype.type(0)).astype(dtype, copy=False)
    looks = (_look(ds, look, pixel, valid[..., :-1], dtype) for look in LOOKS)
    return Series(to_days(ds["t"].values).astype(dtype), value, valid, where, *looks), pixel


def _look(ds, look, pixel, valid, dtype):
    """Speckle-filtered radar with 0 where not valid; None where the cube has none."""
    names = [f"{name}_{look}" for name in sentinel1(ds)]
    if not any(name in ds.variables for name in names):
        return None
    value = np.stack([at_pixels(ds, name, pixel) for name in names], axis=-1)
    lost = (valid & ~np.isfinite(value)).sum(axis=(0, 1))
    for name, count in zip(names, lost, strict=True):
        if count:
            got = f"{count:,} valid values of {name.removesuffix(f'_{look}')} without it"
            raise ValueError(f"{name}: got {got}, expected none; call despeckle again")
    return np.where(valid, value, value.dtype.type(0)).astype(dtype, copy=False)


def to_raster(
    ds: xr.Dataset,
    pixel: Int[np.ndarray, "pixel"],
    values: Shaped[np.ndarray, "pixel *query"],
    name: str,
    attrs: dict,
    days: Float[np.ndarray, "query"] | None = None,
) -> xr.DataArray:
    """Values of pixels on the grid, (t, y, x), or (y, x) for one value a pixel; NaN elsewhere.

    Args:
      ds: the cube `pixel` comes from.
      pixel: places in the flat (y, x) grid, of `to_series`.
      values: one row a pixel.
      name: of the result.
      attrs: of the result; units, long_name.
      days: of the columns, days since 1970-01-01; the cube's own where None.

    Raises:
      ValueError: rows are not one a pixel, or columns not one a day.
    """
    values = np.asarray(values)
    time = ds["t"].values if days is None else from_days(days)
    expected = (pixel.size,) if values.ndim == 1 else (pixel.size, time.size)
    if values.shape != expected:
        raise ValueError(f"{name}: values: got shape {values.shape}, expected {expected}")
    empty = np.nan if values.dtype.kind == "f" else 0
    image = np.full((ds.sizes["y"] * ds.sizes["x"], *values.shape[1:]), empty, values.dtype)
    image[pixel] = values
    image = np.moveaxis(image, 0, -1).reshape(*values.shape[1:], ds.sizes["y"], ds.sizes["x"])
    coords = {key: c.variable for key, c in ds.coords.items() if "t" not in c.dims}
    if values.ndim == 1:
        return xr.DataArray(image, coords, ("y", "x"), name, attrs)
    return xr.DataArray(image, {"t": time, **coords}, ("t", "y", "x"), name, attrs)


def at_pixels(
    ds: xr.Dataset, name: str, pixel: Int[np.ndarray, "pixel"]
) -> Shaped[np.ndarray, "pixel *time"]:
    """Values of a variable on (y,), (y, x) or (t, y, x) at pixels; (pixel, time) for the last.

    Raises:
      ValueError: no such variable, or other dimensions.
    """
    if name not in ds.variables:
        raise ValueError(f"{name}: got {sorted(map(str, ds.variables))}, expected it among them")
    variable = ds[name]
    row, column = np.divmod(np.asarray(pixel), ds.sizes["x"])
    if variable.dims == ("y",):
        return variable.values[row]
    if set(variable.dims) == {"y", "x"}:
        return variable.transpose("y", "x").values[row, column]
    if set(variable.dims) == {"t", "y", "x"}:
        return variable.transpose("t", "y", "x").values[:, row, column].T
    raise ValueError(f"{name}: got dims {variable.dims}, expected (y,), (y, x) or (t, y, x)")


def from_scene(scene, *, pixel_m: float | int = 50.0) -> xr.Dataset:
    """Cube of a simulated scene near Demak, EPSG:32749, y descending, as it was exported.

    Nothing is repaired: `open_cube` of it does that. `truth` (t, y, x) is the true NDVI, `mask` the
    paddy mask, `class` the land cover, `tertiary` the irrigation block (not a split group).

    Args:
      scene: `s1jax.simulate.Scene`.
      pixel_m: size of a pixel, metres.
    """
    cube, grid = ("t", "y", "x"), ("y", "x")
    height, width = scene.mask.shape
    ds = xr.Dataset(
        {
            "VV": (cube, np.asarray(scene.vv_db), {"units": "dB"}),
            "VH": (cube, np.asarray(scene.vh_db), {"units": "dB"}),
            **_second_orbit(scene),
            "S2ndvi": (cube, np.asarray(scene.ndvi), {"units": "1"}),
            "truth": (cube, np.asarray(scene.truth), {"units": "1", "long_name": "true NDVI"}),
            "mask": (grid, np.asarray(scene.mask, bool), {"long_name": "paddy"}),
            "class": (grid, np.asarray(scene.kind)),
            "tertiary": (grid, np.asarray(scene.block), {"long_name": "tertiary irrigation block"}),
        },
        coords={"t": from_days(np.asarray(scene.day)), **_near_demak(height, width, pixel_m)},
        attrs={"crs": "EPSG:32749", "source": "s1jax.simulate"},
    )
    return with_grid_mapping(ds)


def from_acquisitions(found, *, pixel_m: float | int = 50.0) -> xr.Dataset:
    """Cube of simulated acquisitions, as `from_scene`; `s1_track` (t) tells the orbits, 0: none.

    Args:
      found: `s1jax.simulate.Acquisitions`.
      pixel_m: size of a pixel, metres.
    """
    cube = ("t", "y", "x")
    height, width = found.mask.shape
    ds = xr.Dataset(
        {
            "VV": (cube, found.vv_db, {"units": "dB"}),
            "VH": (cube, found.vh_db, {"units": "dB"}),
            "S2ndvi": (cube, found.ndvi, {"units": "1"}),
            "truth": (cube, found.truth, {"units": "1", "long_name": "true NDVI"}),
            "mask": (("y", "x"), found.mask, {"long_name": "paddy"}),
        },
        coords={
            "t": from_days(found.day),
            "s1_track": ("t", found.track),
            **_near_demak(height, width, pixel_m),
        },
        attrs={"crs": "EPSG:32749", "source": "s1jax.simulate"},
    )
    return with_grid_mapping(ds)


def _near_demak(height, width, pixel_m):
    """Centres of pixels, y descending, metres of EPSG:32749."""
    return {
        "y": ("y", 9_230_000.0 - pixel_m * (np.arange(height) + 0.5), {"units": "m"}),
        "x": ("x", 460_000.0 + pixel_m * (np.arange(width) + 0.5), {"units": "m"}),
    }


def _second_orbit(scene):
    if scene.vv_2_db is None:
        return {}
    pair = (("VV_2", scene.vv_2_db), ("VH_2", scene.vh_2_db))
    return {name: (("t", "y", "x"), np.asarray(db), {"units": "dB"}) for name, db in pair}
