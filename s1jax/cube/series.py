"""From a cube (y, x, dates) to a Series (pixels, days), and back as the product, a filled cube."""

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int, Shaped, UInt8

from s1jax import quality as quality_flags
from s1jax.cube.dates import from_days, to_days
from s1jax.cube.grid import position
from s1jax.cube.names import LOOKS, channels, sentinel1
from s1jax.types import Series

OBSERVED, FILLED, EXTRAPOLATED, PRIOR = 1, 2, 3, 4
"""S2ndvi_SOURCE: clear that day, between clear days, outside of them, none clear; else 0."""

QUALITY = {
    "scaled_by_region": quality_flags.REGION_SCALE,
    "no_data": quality_flags.NO_DATA,
    "hyperparameters_of_region": quality_flags.REGION_HYPER,
    "implausible_values_left_out": quality_flags.IMPLAUSIBLE,
    "clipped_to_range": quality_flags.CLIPPED,
    "std_beyond_precision": quality_flags.IMPRECISE,
    "not_estimated": quality_flags.NOT_ESTIMATED,
}
"""Flags of S2ndvi_QUALITY, summed: those of an estimate, and where nothing was estimated."""

_ATTRS = {
    "FUSED": {
        "units": "1",
        "long_name": "NDVI estimated from Sentinel-1 and Sentinel-2",
        "comment": "the estimate on every day",
    },
    "STD": {"units": "1", "long_name": "standard deviation of S2ndvi_FUSED"},
    "SOURCE": {
        "long_name": "where S2ndvi_FUSED comes from",
        "flag_values": np.array([OBSERVED, FILLED, EXTRAPOLATED, PRIOR], np.uint8),
        "flag_meanings": "observed filled extrapolated prior",
        "comment": "0: not estimated; filled: between the first and the last clear day",
    },
    "NOISE": {
        "units": "1",
        "long_name": "standard deviation of a measurement of NDVI about the true one",
        "comment": "a measurement is off S2ndvi_FUSED by sqrt(S2ndvi_STD^2 + S2ndvi_NOISE^2)",
    },
    "QUALITY": {
        "long_name": "what to mind of S2ndvi_FUSED",
        "flag_masks": np.array([*QUALITY.values()], np.uint8),
        "flag_meanings": " ".join(QUALITY),
        "comment": "0: nothing to mind",
    },
}


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
    filtered = (_look(ds, look, pixel, radar_valid, dtype) for look in LOOKS)
    looks = [_finite(observed, radar_valid, dtype), *(f for f in filtered if f is not None)]
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
      attrs: units, long_name.
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


# the product


def source_flag(
    clear: Bool[np.ndarray, "pixel time"],
    day: Float[np.ndarray, "time"] | None = None,
    query_days: Float[np.ndarray, "query"] | None = None,
) -> UInt8[np.ndarray, "pixel query"]:
    """OBSERVED, FILLED, EXTRAPOLATED or PRIOR of every pixel and day, from where NDVI is clear.

    Args:
      clear: True where NDVI was measured.
      day: days of its columns, ascending; with `query_days`.
      query_days: days of the flags; those of `clear` where None.
    """
    day = np.arange(clear.shape[1]) if day is None else day
    at = day if query_days is None else query_days
    if day.size == 0:
        return np.full((len(clear), at.size), PRIOR, np.uint8)
    first = day[clear.argmax(axis=1)][:, None]
    last = day[::-1][clear[:, ::-1].argmax(axis=1)][:, None]
    flag = np.where((at >= first) & (at <= last), FILLED, EXTRAPOLATED)
    flag = np.where(clear.any(axis=1, keepdims=True), flag, PRIOR)
    index = np.searchsorted(day, at).clip(0, day.size - 1)
    return np.where(clear[:, index] & (day[index] == at), OBSERVED, flag).astype(np.uint8)


def to_product(
    ds: xr.Dataset,
    pixel: Int[np.ndarray, "pixel"],
    mean: Float[np.ndarray, "pixel query"],
    std: Float[np.ndarray, "pixel query"],
    *,
    observed: Bool[np.ndarray, "pixel time"] | None = None,
    quality: UInt8[np.ndarray, "pixel"] | None = None,
    noise: Float[np.ndarray, "pixel"] | None = None,
    days: Float[np.ndarray, "query"] | None = None,
) -> xr.Dataset:
    """S2ndvi as it was, with S2ndvi_FUSED, S2ndvi_STD and S2ndvi_SOURCE on the grid of the cube.

    FUSED is the estimate on every day, measured days too, and S2ndvi stands beside it unchanged.
    Elsewhere than at `pixel` FUSED and STD are NaN, SOURCE 0. On other days than the cube's S2ndvi
    is left out.

    Args:
      ds: the aligned cube.
      pixel: positions in the flat (y, x) grid, of `to_series`.
      mean: estimated NDVI on the days of the cube, or on `days` (dimensionless).
      std: its standard deviation.
      observed: True where the method was given NDVI; where S2ndvi is clear if None.
      quality: sum of flags of each pixel; becomes S2ndvi_QUALITY (y, x).
      noise: standard deviation of a measurement about the NDVI of each pixel; becomes
        S2ndvi_NOISE (y, x).
      days: of the columns of `mean`, days since 1970-01-01; the cube's own where None.
    """
    clear = np.isfinite(at_pixels(ds, "S2ndvi", pixel)) if observed is None else observed
    source = source_flag(clear, to_days(ds["t"].values), days)
    out = ds[["S2ndvi"]].drop_vars([n for n in ("s1_day", "s2_day") if n in ds.coords])
    out = out if days is None else out.drop_dims("t")
    maps = {"FUSED": (mean, pixel), "STD": (std, pixel), "SOURCE": (source, pixel)}
    if noise is not None:
        maps["NOISE"] = noise, pixel
    if quality is not None:
        flags = np.full(ds.sizes["y"] * ds.sizes["x"], quality_flags.NOT_ESTIMATED, np.uint8)
        flags[pixel] = quality
        maps["QUALITY"] = flags, np.arange(flags.size)
    for name, (value, where) in maps.items():
        made = to_raster(ds, where, np.asarray(value), f"S2ndvi_{name}", _ATTRS[name], days)
        out[made.name] = made
    beside = "S2ndvi_STD S2ndvi_SOURCE" + ("" if quality is None else " S2ndvi_QUALITY")
    out["S2ndvi_FUSED"].attrs["ancillary_variables"] = beside
    if days is None:
        out["S2ndvi_FUSED"].attrs["comment"] += "; measured values are in S2ndvi, unchanged"
    return out
