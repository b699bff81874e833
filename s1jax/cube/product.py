"""What is mapped: the filled cube, which says of each value whether it was measured."""

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int, UInt8

from s1jax import quality as quality_flags
from s1jax.cube.dates import to_days
from s1jax.cube.series import at_pixels, to_raster

OBSERVED, FILLED, EXTRAPOLATED, PRIOR = 1, 2, 3, 4
"""S2ndvi_SOURCE: clear that day, between clear days, outside of them, none clear; else 0."""

NOT_ESTIMATED = 128
QUALITY = {
    "scaled_by_region": quality_flags.REGION_SCALE,
    "no_data": quality_flags.NO_DATA,
    "hyperparameters_of_region": quality_flags.REGION_HYPER,
    "implausible_values_left_out": quality_flags.IMPLAUSIBLE,
    "clipped_to_range": quality_flags.CLIPPED,
    "std_beyond_precision": quality_flags.IMPRECISE,
    "not_estimated": NOT_ESTIMATED,
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

    FUSED is the estimate on every day, measured days too, and S2ndvi stands beside it unchanged, so
    that nothing is lost. Elsewhere than at `pixel` FUSED and STD are NaN, SOURCE 0. On other days
    than the cube's S2ndvi cannot stand beside it and is left out.

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
        flags = np.full(ds.sizes["y"] * ds.sizes["x"], NOT_ESTIMATED, np.uint8)
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
