"""The door: any file the field keeps its cubes in, checked, repaired, and every repair said."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from s1jax.cube.clean import clean
from s1jax.cube.crs import with_grid_mapping
from s1jax.cube.dates import tidy_dates
from s1jax.cube.funnel import funnel
from s1jax.cube.mask import with_mask
from s1jax.cube.names import standard_names
from s1jax.cube.periods import align_cube
from s1jax.cube.read import read

log = logging.getLogger("s1jax")


def open_cube(
    path_or_glob: str | Path | xr.Dataset,
    *,
    start: str | np.datetime64 | None = None,
    step: float | int | None = None,
    mask: str | Path | xr.DataArray | None = None,
) -> xr.Dataset:
    """Cube (t, y, x) of VV, VH in dB and S2ndvi, float32, missing values NaN, t ascending.

    t is the centre of a composite's period, or the day of an acquisition. Every repair is logged
    and kept in attrs["s1jax_repairs"], the count of what is left in attrs["s1jax_funnel"].

    Args:
      path_or_glob: NetCDF, Zarr, a folder or glob of GeoTIFFs `period_NN.tif` with the bands VV,
        VH, NDVI by description or position; or a Dataset in memory.
      start: beginning of period 1, a date; with `step` it dates numbered GeoTIFFs (period p is
        centred on start + step (p - 1/2)) and puts dated planes into such periods.
      step: length of a period, days.
      mask: vector file in any CRS, raster, or file or DataArray with a `mask` on the cube's grid.

    Raises:
      ValueError: names the variable, what was found and what was expected.
      ImportError: a GeoTIFF or a mask file needs the extra `geo`.
    """
    if (start is None) != (step is None):
        raise ValueError(f"start and step: got {start=}, {step=}, expected both or neither")
    begin = None if start is None else _date(start)
    if step is not None and not step > 0:
        raise ValueError(f"step: got {step}, expected days > 0")
    if isinstance(path_or_glob, xr.Dataset):
        ds, said = standard_names(path_or_glob)
        numbered = False
    else:
        ds, said, numbered = read(path_or_glob, start=begin, step=step)
    ds = with_grid_mapping(ds)
    ds, cleaned = clean(ds)
    said += cleaned
    if not numbered:
        ds, dated = tidy_dates(ds)
        said += dated
    if begin is not None and not numbered:
        early = int((ds["t"].values < begin).sum())
        dates = ds.sizes["t"] - early
        ds = align_cube(ds, start=begin, step=step)
        periods = f"{ds.sizes['t']} periods of {step:g} days from {start}"
        said.append(f"{dates} dates put into {periods}; {early} before it left out")
    ds, masked = with_mask(ds, mask)
    said += masked
    for line in said:
        log.info("%s", line)
    earlier = ds.attrs.get("s1jax_repairs", "")
    counts = funnel(ds)
    log.info("%s", counts)
    repairs = "\n".join([*filter(None, [earlier]), *said])
    return ds.assign_attrs(s1jax_repairs=repairs, s1jax_funnel=counts)


def _date(start):
    try:
        return pd.Timestamp(start).to_datetime64().astype("datetime64[ns]")
    except ValueError as error:
        raise ValueError(f"start: got {start!r}, expected a date such as 2023-11-01") from error
