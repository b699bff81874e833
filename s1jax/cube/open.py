"""The door: any file the field keeps its cubes in, checked, repaired, and every repair said."""

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import xarray as xr

from s1jax.cube.clean import clean
from s1jax.cube.crs import with_grid_mapping
from s1jax.cube.dates import checked_dates, tidy_dates
from s1jax.cube.funnel import funnel
from s1jax.cube.join import joined
from s1jax.cube.mask import with_mask
from s1jax.cube.match import matched
from s1jax.cube.names import ALONE, first_orbit, present, sentinel1, with_labels
from s1jax.cube.notes import repairs, with_notes
from s1jax.cube.numbered import checked_step, instant
from s1jax.cube.periods import align_cube
from s1jax.cube.planes import Chunks
from s1jax.cube.read import Part, Source, parts, sources_of
from s1jax.cube.sources import recorded

log = logging.getLogger("s1jax")


def open_cube(
    path_or_glob: Source | Sequence[Source],
    *,
    start: str | np.datetime64 | None = None,
    step: float | int | None = None,
    mask: str | Path | xr.DataArray | None = None,
    match: str | None = None,
    chunks: Chunks = None,
    repair: bool = True,
) -> xr.Dataset:
    """Cube (t, y, x) of VV, VH in dB and S2ndvi, float32, missing values NaN, t ascending.

    A cube of radar alone gets an S2ndvi that is missing everywhere, and a warning: the shipped
    weights need no label. attrs["time_axis"] is "relative" where `t` counts from a beginning that
    differs from pixel to pixel (`cube.is_relative`): no calendar is read into such dates.

    t is the centre of a composite's period, or the day of an acquisition; sensors that come with
    dates of their own are on the union of them. Rows go up or down, and the CRS stays, as in the
    input. Every line of what was done is logged, repairs as warnings, and kept in
    attrs["s1jax_repairs"], the count of what is left in attrs["s1jax_funnel"].

    An input in chunks (of dask), or `chunks`, stays in chunks: passes over the input collect what
    has to be known of the whole, and all repairs are made when a chunk is asked for. Only `start`
    and `step` with an input that has dates read it all (`align_cube`), and say so.

    Args:
      path_or_glob: NetCDF or Zarr; a folder or glob of GeoTIFFs `period_NN.tif` with the bands VV,
        VH, NDVI by description or position (or dated, as `s1_s2_2023-11-07.tif`), or of sits'
        GeoTIFFs of one band and date each; one GeoTIFF whose bands are described as VV_P01 or
        VV_2023-11-07 (VV_dB_2_2023-11-07: in dB, of a second orbit); a CSV, or a folder of two, of
        places; a Dataset, or a DataArray with the dimension `bands`. Or a list of those: the files
        of a folder, or one for each sensor.
      start: beginning of period 1, a date as YYYY-MM-DD; with `step` it dates numbered planes
        (period p is centred on start + step (p - 1/2)) and puts dated planes into such periods.
      step: length of a period, days.
      mask: vector file in any CRS, raster, or file or DataArray with a `mask` on the cube's grid.
      match: "s1" or "s2": sensors on two grids are reprojected onto that one's (`matched`); they
        are refused where None.
      chunks: sizes of chunks along t, y, x as xarray takes them; None: files are read into memory.
        Needs the extra `dask`.
      repair: False refuses an input that needs a repair: values or dates changed, lost or guessed
        without being declared in it or asked for here.

    Raises:
      ValueError: names the variable, what was found and what was expected.
      ImportError: a GeoTIFF, a mask file or `match` needs the extra `geo`, `chunks` `dask`.
    """
    begin = _checked(start, step, match, chunks)
    sources = sources_of(path_or_glob)
    found = parts(sources, start=begin, step=step, chunks=chunks)
    said = [line for part in found for line in part.said]
    radar = sum(bool(sentinel1(part.ds)) for part in found)
    found = [_tidy(part, alone=len(found) == 1, radar=radar) for part in found]
    said += [line for part in found for line in part.said]
    # an input whose orbits are all empty has nothing to give
    cubes, told = [part.ds for part in found if present(part.ds)] or [found[0].ds], []
    if match is not None:
        cubes, told = matched(cubes, match)
    ds, together = joined(cubes)
    ds, first = first_orbit(ds)
    ds, alone = with_labels(ds)
    said += told + together + first + alone
    checked_dates(ds)
    if not all(part.numbered for part in found):
        if len(found) > 1:
            ds, dated = tidy_dates(ds)
            said += dated
        if begin is not None:
            if ds.chunks:
                log.info("periods of %g days: the cube in chunks is read into memory", step)
            ds = align_cube(ds, start=begin, step=step)
    ds, masked = with_mask(ds, mask)
    said += masked
    unasked = repairs(said)
    if unasked and not repair:
        listed = "\n".join(unasked)
        raise ValueError(f"repairs: got {len(unasked)} to make, expected none:\n{listed}")
    counts = funnel(ds)
    for line in [*said, counts]:
        # Python shows warnings where nobody asked for a log: no repair goes unseen
        loud = line in unasked or line.startswith(ALONE)
        log.log(logging.WARNING if loud else logging.INFO, "%s", line)
    ds = with_notes(ds, said).assign_attrs(s1jax_funnel=counts)
    return recorded(ds, sources, mask)


def _checked(start, step, match, chunks):
    """Beginning of period 1; the other options are looked at."""
    if (start is None) != (step is None):
        raise ValueError(f"start and step: got {start=}, {step=}, expected both or neither")
    checked_step(step)
    if match not in (None, "s1", "s2"):
        raise ValueError(f"match: got {match!r}, expected 's1', 's2' or None")
    if chunks is not None and find_spec("dask") is None:
        raise ImportError("chunks needs the extra `dask`: pip install 's1jax[dask]'")
    return None if start is None else instant("start", start)


def _tidy(part: Part, *, alone: bool, radar: int) -> Part:
    """The part with its values and dates in order; and what was said of that only.

    Args:
      part: of the input.
      alone: whether it is all of it.
      radar: how many parts have radar.
    """
    ds, said = clean(with_grid_mapping(part.ds), alone=radar < 2)
    if not part.numbered:
        # of several sensors, regular days are told once all their dates are together
        ds, dated = tidy_dates(ds, complete=alone)
        said += dated
    return Part(ds, said, part.numbered)
