"""What is mapped: the filled cube, which says of each value whether it was measured."""

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int, UInt8

from s1jax.cube.convert import at_pixels, to_raster
from s1jax.cube.dates import to_days

OBSERVED, FILLED, EXTRAPOLATED, PRIOR = 1, 2, 3, 4
"""S2ndvi_SOURCE: clear that day, between clear days, outside of them, none clear; else 0."""

NOT_ESTIMATED = 128
QUALITY = {
    "scaled_by_region": 1,
    "no_data": 2,
    "hyperparameters_of_region": 4,
    "implausible_values_left_out": 8,
    "clipped_to_range": 32,
    "std_beyond_precision": 64,
    "not_estimated": NOT_ESTIMATED,
}
"""Flags of S2ndvi_QUALITY, summed: those of `mogpr.Posterior`, and where nothing was estimated."""


def source_flag(
    clear: Bool[np.ndarray, "pixel time"],
    day: Float[np.ndarray, "time"] | None = None,
    at: Float[np.ndarray, "query"] | None = None,
) -> UInt8[np.ndarray, "pixel query"]:
    """OBSERVED, FILLED, EXTRAPOLATED or PRIOR of every pixel and day, from where NDVI is clear.

    Args:
      clear: True where NDVI was measured.
      day: days of its columns, ascending; with `at`.
      at: days to tell it of; those of `clear` where None.
    """
    day = np.arange(clear.shape[1]) if day is None else day
    at = day if at is None else at
    if day.size == 0:
        return np.full((len(clear), at.size), PRIOR, np.uint8)
    first = day[clear.argmax(axis=1)][:, None]
    last = day[::-1][clear[:, ::-1].argmax(axis=1)][:, None]
    flag = np.where((at >= first) & (at <= last), FILLED, EXTRAPOLATED)
    flag = np.where(clear.any(axis=1, keepdims=True), flag, PRIOR)
    place = np.searchsorted(day, at).clip(0, day.size - 1)
    return np.where(clear[:, place] & (day[place] == at), OBSERVED, flag).astype(np.uint8)


def fill_product(
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
      pixel: places in the flat (y, x) grid, of `to_series`.
      mean: estimated NDVI on the days of the cube, or on `days`, 1.
      std: its standard deviation, 1.
      observed: True where the method was given NDVI; where S2ndvi is clear if None.
      quality: sum of flags of each pixel, `mogpr.Posterior.quality`; becomes S2ndvi_QUALITY (y, x).
      noise: standard deviation of a measurement about the NDVI of each pixel, 1; becomes
        S2ndvi_NOISE (y, x).
      days: of the columns of `mean`, days since 1970-01-01; the cube's own where None.
    """
    clear = np.isfinite(at_pixels(ds, "S2ndvi", pixel)) if observed is None else observed
    beside = "S2ndvi_STD S2ndvi_SOURCE" + ("" if quality is None else " S2ndvi_QUALITY")
    fused = {
        "units": "1",
        "long_name": "NDVI estimated from Sentinel-1 and Sentinel-2",
        "comment": "the estimate on every day; measured values are in S2ndvi, unchanged",
        "ancillary_variables": beside,
    }
    spread = {"units": "1", "long_name": "standard deviation of S2ndvi_FUSED"}
    flag = {
        "long_name": "where S2ndvi_FUSED comes from",
        "flag_values": np.array([OBSERVED, FILLED, EXTRAPOLATED, PRIOR], np.uint8),
        "flag_meanings": "observed filled extrapolated prior",
        "comment": "0: not estimated; filled: between the first and the last clear day",
    }
    source = source_flag(clear, to_days(ds["t"].values), days)
    out = ds[["S2ndvi"]].drop_vars([n for n in ("s1_day", "s2_day") if n in ds.coords])
    if days is not None:
        fused["comment"] = "the estimate on every day"
        out = out.drop_dims("t")
    out = out.assign(
        S2ndvi_FUSED=to_raster(ds, pixel, np.asarray(mean), "S2ndvi_FUSED", fused, days),
        S2ndvi_STD=to_raster(ds, pixel, np.asarray(std), "S2ndvi_STD", spread, days),
        S2ndvi_SOURCE=to_raster(ds, pixel, source, "S2ndvi_SOURCE", flag, days),
    )
    if noise is not None:
        attrs = {
            "units": "1",
            "long_name": "standard deviation of a measurement of NDVI about the true one",
            "comment": "a measurement is off S2ndvi_FUSED by sqrt(S2ndvi_STD^2 + S2ndvi_NOISE^2)",
        }
        out = out.assign(S2ndvi_NOISE=to_raster(ds, pixel, noise, "S2ndvi_NOISE", attrs))
    if quality is None:
        return out
    everywhere = np.arange(ds.sizes["y"] * ds.sizes["x"])
    flags = np.full(everywhere.size, NOT_ESTIMATED, np.uint8)
    flags[pixel] = quality
    attrs = {
        "long_name": "what to mind of S2ndvi_FUSED",
        "flag_masks": np.array([*QUALITY.values()], np.uint8),
        "flag_meanings": " ".join(QUALITY),
        "comment": "0: nothing to mind",
    }
    return out.assign(S2ndvi_QUALITY=to_raster(ds, everywhere, flags, "S2ndvi_QUALITY", attrs))
