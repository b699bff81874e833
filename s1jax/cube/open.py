"""The door: a file of any format, checked, repaired, with a finding about every repair."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from s1jax.cube import formats
from s1jax.cube.align import align_cube
from s1jax.cube.dates import check_dates, check_step, instant, tidy_dates, with_dates
from s1jax.cube.findings import Finding, named, with_findings
from s1jax.cube.formats import Chunks, Source, csv, geotiff, geotiff_stacks
from s1jax.cube.formats.netcdf import decoded, read_dataset
from s1jax.cube.grid import settle_grid, with_grid_mapping
from s1jax.cube.mask import count_valid, with_mask
from s1jax.cube.names import (
    BANDS,
    RADAR,
    first_orbit,
    present,
    sentinel1,
    standard_names,
    with_labels,
)
from s1jax.cube.provenance import with_sources
from s1jax.cube.sensors import join_sensors, reproject_onto
from s1jax.cube.values import repair_values

log = logging.getLogger("s1jax")


class _Part(NamedTuple):
    """All variables of a cube, or those of one sensor."""

    ds: xr.Dataset
    """(t, y, x), standard names, dated."""
    findings: list[Finding]
    numbered: bool
    """Its planes were numbered, and dated by `start` and `step`."""


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

    t is the centre of a composite's period, or the day of an acquisition; sensors with dates of
    their own are on the union of them. Rows go up or down, and the CRS stays, as in the input. A
    cube of radar alone gets an S2ndvi that is missing everywhere, and a warning: the shipped
    weights need no label. attrs["time_axis"] is "relative" where `t` counts from a beginning that
    differs from pixel to pixel (`cube.is_relative`): such dates have no calendar.

    Every finding is logged, repairs as warnings, and kept in attrs["s1jax_repairs"]; the counts of
    what is left are in attrs["s1jax_funnel"]. An input in chunks (of dask), or `chunks`, stays in
    chunks: a pass over the input collects counts and extremes, and a chunk is repaired when it is
    computed. Only `start` and `step` with an input that has dates read it all (`align_cube`).

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
      match: "s1" or "s2": the sensor onto whose grid the other is reprojected; sensors on two grids
        are refused where None.
      chunks: sizes of chunks along t, y, x as xarray takes them; None: files are read into memory.
      repair: False refuses an input that needs a repair: values or dates changed, lost or guessed
        without being declared in it or requested here.

    Raises:
      ValueError: names the variable, what it got and what it expected.
      ImportError: a vector mask needs the extra `geo`.
    """
    if (start is None) != (step is None):
        raise ValueError(f"start and step: got {start=}, {step=}, expected both or neither")
    check_step(step)
    if match not in (None, "s1", "s2"):
        raise ValueError(f"match: got {match!r}, expected 's1', 's2' or None")
    begin = None if start is None else instant("start", start)
    sources = sources_of(path_or_glob)
    read = parts(sources, start=begin, step=step, chunks=chunks)
    with_radar = sum(bool(sentinel1(part.ds)) for part in read)
    tidy = [_tidy(part, alone=len(read) == 1, alone_with_radar=with_radar < 2) for part in read]
    findings = [finding for part in [*read, *tidy] for finding in part.findings]
    # an input whose orbits are all empty has nothing to give
    cubes = [part.ds for part in tidy if present(part.ds)] or [tidy[0].ds]
    if match is not None:
        cubes, reprojected = reproject_onto(cubes, match)
        findings += reprojected
    ds, together = join_sensors(cubes)
    ds, first = first_orbit(ds)
    ds, labels = with_labels(ds)
    findings += together + first + labels
    check_dates(ds)
    if not all(part.numbered for part in tidy):
        if len(tidy) > 1:
            ds, dated = tidy_dates(ds)
            findings += dated
        if begin is not None:
            if ds.chunks:
                log.info("periods of %g days: the cube in chunks is read into memory", step)
            ds = align_cube(ds, start=begin, step=step)
    ds, masked = with_mask(ds, mask)
    findings += masked
    repairs = [finding.text for finding in findings if finding.kind == "repair"]
    if repairs and not repair:
        listed = "\n".join(repairs)
        raise ValueError(f"repairs: got {len(repairs)} to make, expected none:\n{listed}")
    for finding in findings:
        # Python shows warnings where nobody set up a log: no repair goes unseen
        loud = finding.kind == "repair" or finding.name == "radar-alone"
        log.log(logging.WARNING if loud else logging.INFO, "%s", finding.text)
    counts = count_valid(ds)
    log.info("%s", counts)
    ds = with_findings(ds, findings).assign_attrs(s1jax_funnel=counts)
    return with_sources(ds, sources, mask)


def _tidy(part, *, alone, alone_with_radar):
    """The part with its values and dates in order, and the findings of that only."""
    ds, findings = repair_values(with_grid_mapping(part.ds), alone=alone_with_radar)
    if not part.numbered:
        # of several sensors, regular days show once all their dates are together
        ds, dated = tidy_dates(ds, complete=alone)
        findings += dated
    return _Part(ds, findings, part.numbered)


# inputs as they are, before anything is repaired


def sources_of(source: object) -> list[Source]:
    """What a cube comes as: one source, or one a sensor; a ValueError where neither."""
    if isinstance(source, Source):
        return [source]
    expected = "a path, Dataset or DataArray, or one for each sensor"
    if not isinstance(source, Iterable) or isinstance(source, Mapping | bytes | np.ndarray):
        raise ValueError(f"inputs: got {type(source).__name__}, expected {expected}")
    sources = [*source]
    if not sources:
        raise ValueError("inputs: got none, expected a file or Dataset, or one for each sensor")
    if odd := sorted({type(s).__name__ for s in sources if not isinstance(s, Source)}):
        raise ValueError(f"inputs: got {', '.join(odd)} among them, expected {expected}")
    return sources


def parts(
    sources: Sequence[Source],
    *,
    start: np.datetime64 | None,
    step: float | int | None,
    chunks: Chunks = None,
) -> list[_Part]:
    """What the sources hold: one part, or one for each sensor, together with VV and VH.

    Raises:
      ValueError: unreadable input, missing variable or dimension, or no date.
    """
    kinds = {Path(s).suffix.lower() if isinstance(s, str | Path) else "" for s in sources}
    if kinds == {formats.TABLES} or kinds <= {*formats.IMAGES}:
        files = [f for s in sources if isinstance(s, str | Path) for f in formats.files_of(s)]
        read_as = _of_files(files, str(sources[0]), chunks)
    else:
        read_as = [raw for s in sources for raw in _raw(s, chunks)]
    out = []
    for raw in read_as:
        needed = RADAR if len(read_as) == 1 else ()
        ds, renamed = standard_names(raw.ds, needed=needed)
        ds, settled = settle_grid(ds, raw.where)
        ds, dated, numbered = with_dates(ds, start, step, raw.where)
        if any(variable.chunks for variable in ds.variables.values()):
            # variables may be stored in chunks of different sizes
            ds = ds.unify_chunks()
        elif chunks is not None:
            sizes = chunks if isinstance(chunks, dict) else dict.fromkeys(("t", "y", "x"), chunks)
            ds = ds.chunk({dim: size for dim, size in sizes.items() if dim in ds.dims})
        out.append(_Part(ds, [*raw.findings, *renamed, *settled, *dated], numbered))
    got = sorted(str(name) for part in out for name in present(part.ds))
    for name in RADAR:
        if name not in got:
            raise ValueError(f"variable {name}: got {got}, expected exactly one of that name")
    return out


class _Raw(NamedTuple):
    """A Dataset under any names."""

    ds: xr.Dataset
    findings: list[Finding]
    where: str


def _raw(source, chunks):
    """The Datasets in one source."""
    if isinstance(source, xr.Dataset):
        return [_Raw(*decoded(source), "Dataset")]
    if isinstance(source, xr.DataArray):
        bands = set(BANDS) & set(source.dims)
        ds = source.to_dataset(name="cube" if bands or source.name is None else source.name)
        ds = ds.assign_attrs({k: source.attrs[k] for k in {"crs"} & {*source.attrs}})
        return [_Raw(*decoded(ds), "DataArray")]
    return _of_files(formats.files_of(source), str(source), chunks)


def _of_files(files, where, chunks):
    """The Datasets in files that belong together."""
    suffix = files[0].suffix.lower()
    if suffix == formats.TABLES:
        return [_Raw(*csv.read_tables(files), where)]
    if suffix not in formats.IMAGES:
        return [_Raw(*read_dataset(path, chunks), str(path)) for path in files]
    if any(map(geotiff_stacks.is_sits, files)):
        cubes, findings = geotiff_stacks.read_sits(files, chunks)
        return [_Raw(ds, [] if k else findings, where) for k, ds in enumerate(cubes)]
    if not formats.PERIOD.search(files[0].stem) or len(files) == 1:
        stacks = [path for path in files if geotiff_stacks.is_stack(geotiff.read_header(path))]
        if stacks:
            raws = [_Raw(*geotiff_stacks.read_stack(path, chunks), str(path)) for path in stacks]
            aside = [path.name for path in files if path not in stacks]
            if aside:
                raws[0].findings.append(named(f"files without dates are left aside: {aside}"))
            return raws
    return [_Raw(*geotiff_stacks.read_periods(files, chunks), where)]
