"""What is written: the filled cube, which says of each value whether it was measured, and files."""

from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from s1jax.cube.convert import at_pixels, to_raster
from s1jax.cube.crs import grid_mapping

OBSERVED, FILLED, EXTRAPOLATED, PRIOR = 1, 2, 3, 4
"""S2ndvi_SOURCE: clear that day, between clear days, outside of them, none clear; else 0."""


def source_flag(clear: Bool[np.ndarray, "pixel time"]) -> np.ndarray:
    """OBSERVED, FILLED, EXTRAPOLATED or PRIOR of every pixel and day, from where NDVI is clear."""
    before = np.logical_or.accumulate(clear, axis=1)
    after = np.logical_or.accumulate(clear[:, ::-1], axis=1)[:, ::-1]
    flag = np.where(before & after, FILLED, EXTRAPOLATED)
    flag = np.where(clear.any(axis=1, keepdims=True), flag, PRIOR)
    return np.where(clear, OBSERVED, flag).astype(np.uint8)


def fill_product(
    ds: xr.Dataset,
    pixel: Int[np.ndarray, "pixel"],
    mean: Float[np.ndarray, "pixel time"],
    std: Float[np.ndarray, "pixel time"],
    *,
    observed: Bool[np.ndarray, "pixel time"] | None = None,
) -> xr.Dataset:
    """S2ndvi as it was, with S2ndvi_FUSED, S2ndvi_STD and S2ndvi_SOURCE on the grid of the cube.

    FUSED is the estimate on every day, measured days too, and S2ndvi stands beside it unchanged, so
    that nothing is lost. Elsewhere than at `pixel` FUSED and STD are NaN, SOURCE 0.

    Args:
      ds: the aligned cube.
      pixel: places in the flat (y, x) grid, of `to_series`.
      mean: estimated NDVI on the days of the cube, 1.
      std: its standard deviation, 1.
      observed: True where the method was given NDVI; where S2ndvi is clear if None.
    """
    clear = np.isfinite(at_pixels(ds, "S2ndvi", pixel)) if observed is None else observed
    fused = {
        "units": "1",
        "long_name": "NDVI estimated from Sentinel-1 and Sentinel-2",
        "comment": "the estimate on every day; measured values are in S2ndvi, unchanged",
        "ancillary_variables": "S2ndvi_STD S2ndvi_SOURCE",
    }
    spread = {"units": "1", "long_name": "standard deviation of S2ndvi_FUSED"}
    flag = {
        "long_name": "where S2ndvi_FUSED comes from",
        "flag_values": np.array([OBSERVED, FILLED, EXTRAPOLATED, PRIOR], np.uint8),
        "flag_meanings": "observed filled extrapolated prior",
        "comment": "0: not estimated; filled: between the first and the last clear day",
    }
    out = ds[["S2ndvi"]].drop_vars([n for n in ("s1_day", "s2_day") if n in ds.coords])
    return out.assign(
        S2ndvi_FUSED=to_raster(ds, pixel, np.asarray(mean), "S2ndvi_FUSED", fused),
        S2ndvi_STD=to_raster(ds, pixel, np.asarray(std), "S2ndvi_STD", spread),
        S2ndvi_SOURCE=to_raster(ds, pixel, source_flag(clear), "S2ndvi_SOURCE", flag),
    )


def write(ds: xr.Dataset, path: str | Path) -> None:
    """The cube in a file: NetCDF (.nc, deflated) or Zarr (.zarr), CRS and coordinates as they are.

    Raises:
      ValueError: another suffix.
    """
    path = Path(path)
    if path.suffix not in (".nc", ".zarr"):
        raise ValueError(f"{path}: got suffix {path.suffix!r}, expected .nc or .zarr")
    out = ds.copy()
    reference = grid_mapping(ds)
    for name in out.variables:
        variable = out[name].variable.copy(deep=False)
        # encodings of the file it came from (chunks, fills, packing) do not hold for this one
        variable.encoding = {}
        variable.attrs = {k: v for k, v in variable.attrs.items() if k != "grid_mapping"}
        if variable.dtype.kind in "fiub" and variable.ndim > 1 and path.suffix == ".nc":
            variable.encoding = {"zlib": True, "complevel": 4}
        if reference is not None and {"y", "x"} <= set(variable.dims):
            variable.encoding["grid_mapping"] = reference
        out[name] = variable
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".nc":
        out.to_netcdf(path, engine="h5netcdf")
    else:
        # format 2: fixed-length strings (field_id) and consolidated metadata are in its standard
        out.to_zarr(path, mode="w", zarr_format=2, consolidated=True)
