"""Between a cube (y, x, dates) and a Series (pixels, days), there and back on the map."""

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float, Int, Shaped

from s1jax.cube.dates import from_days, to_days
from s1jax.cube.grid import position
from s1jax.cube.names import LOOKS, channels, sentinel1
from s1jax.types import Series


def observed_pixels(ds: xr.Dataset) -> Int[np.ndarray, "pixel"]:
    """Indices in the flat (y, x) grid of the pixels in `mask` with any observation."""
    keep = np.zeros(ds.sizes["y"] * ds.sizes["x"], bool)
    for name in channels(ds):
        keep |= np.isfinite(ds[name].transpose("t", "y", "x").values).any(axis=0).ravel()
    if "mask" in ds.variables:
        keep &= ds["mask"].transpose("y", "x").values.ravel().astype(bool)
    return np.flatnonzero(keep)


def to_series(ds: xr.Dataset) -> tuple[Series, Int[np.ndarray, "pixel"]]:
    """Series of the pixels in `mask` with any observation, and their indices in the flat grid.

    NumPy arrays in JAX's default precision, 0 where not valid. The looks are the radar as observed
    and what `despeckle` made of it. A cube in chunks is read into memory here.

    Raises:
      ValueError: no pixel is left, or some radar values are without their filtered ones.
    """
    dtype = jnp.zeros(0).dtype
    ds = ds.compute()
    pixel = observed_pixels(ds)
    if pixel.size == 0:
        size = ds.sizes["y"] * ds.sizes["x"]
        raise ValueError(f"cube: got no pixel of {size} with an observation, expected some")
    *names, label = channels(ds)
    observed = np.stack([at_pixels(ds, name, pixel) for name in names], axis=-1)
    ndvi = at_pixels(ds, label, pixel)
    radar_valid, ndvi_valid = np.isfinite(observed), np.isfinite(ndvi)
    looks = [_finite(observed, radar_valid, dtype)]
    looks += [
        filtered
        for look in LOOKS
        if (filtered := _look(ds, look, pixel, radar_valid, dtype)) is not None
    ]
    metres = position(ds)
    series = Series(
        to_days(ds["t"].values).astype(dtype),
        np.stack(looks, axis=-2),
        radar_valid,
        _finite(ndvi, ndvi_valid, dtype),
        ndvi_valid,
        None if metres is None else metres.reshape(-1, 2)[pixel].astype(dtype),
    )
    return series, pixel


def _finite(value, valid, dtype):
    """Values, 0 where not valid."""
    return np.where(valid, value, value.dtype.type(0)).astype(dtype, copy=False)


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
    return _finite(value, valid, dtype)


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
      pixel: indices in the flat (y, x) grid, of `to_series`.
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
