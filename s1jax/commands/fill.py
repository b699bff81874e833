"""Cloud-free NDVI of a whole region by MOGPR, tile by tile: NetCDF or Zarr in, Zarr out.

Command: s1jax fill cube.nc fused.zarr
         s1jax fill cube.nc weekly.zarr --at P7D --hyper region
         s1jax fill cube.nc fused.zarr --mean zero --save-hyper region.npz
         s1jax fill other.nc other.zarr --hyper region.npz
Cost: 599,203 pixels x 62 dates, 3 outputs, on 2 cores at rest: 25 s to fit a sample (more with
--hyper auto), 29 s at the region's hyperparameters (20,750 px/s, 24 s of it the posterior), 67 s in
all with the compiling, 1.6 GiB; a fit of every pixel makes it about thirteen times as long.
Expected: fused.zarr with S2ndvi, S2ndvi_FUSED, S2ndvi_STD, S2ndvi_SOURCE and S2ndvi_QUALITY on the
grid of the cube; exit status 1 where tiles failed (they are listed) or an estimate is not finite.
"""

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np
import tyro
import xarray as xr

from s1jax import cube, mogpr, regions
from s1jax.commands import endings
from s1jax.cube.findings import is_repair
from s1jax.cube.formats.netcdf import unread_dataset
from s1jax.cube.write import target
from s1jax.model import regular_days
from s1jax.mogpr.config import Inputs
from s1jax.types import Days, Estimate, Series

SIZES = (3,)
"""Sides of the squares of the speckle filter, pixels."""
_FITTED = ("auto", "region", "pixel")


@dataclass(frozen=True)
class Align:
    """How acquisitions become periods; see `cube.align_cube` and the study of alignment."""

    window: float | None = None
    """Days around the centre of a period that its composite is made of; none: the period itself."""
    within: float | None = None
    """Most days between the radar of a period and the mean day of its NDVI; none: any."""
    radar: Literal["mean_db", "median"] = "mean_db"
    """Statistic of VV and VH: the mean in linear power, or the median."""
    ndvi: Literal["median", "mean", "max"] = "median"
    """Statistic of NDVI."""


@dataclass(frozen=True)
class Job:
    """MOGPR of every pixel of a region, tile by tile."""

    input: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")]
    """NetCDF or Zarr with VV, VH, S2ndvi, or a folder of period_NN.tif. Read tile by tile where
    `cube.write` wrote it aligned; else repaired and aligned in memory first."""
    output: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Zarr store (.zarr) to write."""
    hyper: str = "auto"
    """Hyperparameters: one set for the region, a set for each pixel around the region's, what
    validation pixels prefer (auto), or a FILE.npz of --save-hyper with all parameters: then nothing
    is fitted."""
    at: str = "input"
    """Query days: those of the input, or a period (ISO 8601: P5D, P1W, P1M) that gives a regular
    axis from its first day to its last. S2ndvi is written on its own days only."""
    tile: int = 256
    """Rows and columns of a tile; memory grows with its square and with the number of days."""
    latents: int = 2
    """Latent processes, each with its own length scale; 1 is the intrinsic model."""
    mean: Literal["auto", "zero", "regional"] = "auto"
    """Prior mean: the region's level, its mean curve, or what validation pixels prefer; regional
    also accepts the curve in a file of another run."""
    inputs: Inputs = "auto"
    """Radar channels: as observed or speckle-filtered, of both orbits, the first or the second;
    none of them; or what validation pixels prefer of all but none."""
    sample: int = mogpr.MogprConfig.sample
    """Pixels, spread over the region, that hyperparameters are fitted on."""
    start: str | None = None
    """First day of the first period (ISO date); needed where the input carries no date."""
    step: float | None = None
    """Length of a period, days."""
    align: Align = field(default_factory=Align)
    """How acquisitions become periods."""
    mask: str | None = None
    """Vector or raster file of the pixels to keep, in any CRS."""
    save_hyper: Path | None = None
    """File (.npz) for the parameters, for --hyper of another job."""
    overwrite: bool = False
    """Replace an OUTPUT that exists."""


def main(job: Job) -> regions.Summary:
    """Write the map of a region; its summary.

    Raises:
      ValueError: a name, period or file that is not as expected; an output that exists.
    """
    _check(job)
    with endings.writing_file(job.output):
        endings.writable(job.save_hyper)
        return _fill(job)


def _fill(job: Job) -> regions.Summary:
    ds = _open(job)
    print(f"{job.input}: {cube.span(ds)}", flush=True)
    # what `map_region` would refuse after a minute of fitting
    target(ds, job.output, product=True)
    days = None if job.at == "input" else regular_days(ds["t"].values, job.at)
    params = _parameters(job, ds)
    radar = max((channel for _, channel in params.inputs), default=-1) + 1
    if radar > len(cube.channels(ds)) - 1:
        raise ValueError(
            f"hyper: got {job.hyper} of {radar} radar channels, expected those of {job.input}: "
            f"{', '.join(cube.channels(ds)[:-1])}"
        )
    if job.save_hyper is not None:
        mogpr.save(params, job.save_hyper)

    def _predict(series: Series, days: Days) -> Estimate:
        return mogpr.posterior(params, series, days)

    started = time.perf_counter()
    fitted = job.hyper in _FITTED
    summary = regions.map_region(
        _predict, ds, job.output, tile=job.tile, days=days,
        smooth=SIZES if any(look for look, _ in params.inputs) else (),
        method=describe(params),
        weights=None if fitted else job.hyper,
        trained_on=f"a sample of {job.input.name}" if fitted else None,
    )  # fmt: skip
    _report(job, summary, time.perf_counter() - started)
    return summary


def _check(job: Job) -> None:
    """Refuse options before anything is read."""
    if job.output.suffix != ".zarr":
        raise ValueError(f"output: got {job.output}, expected a .zarr store")
    if job.output.resolve() == job.input.resolve():
        raise ValueError(f"output: got the input {job.output}, expected another store")
    if job.output.exists() and not job.overwrite:
        raise ValueError(f"output: {job.output} exists; expected a new one, or --overwrite")
    if job.tile < 1:
        raise ValueError(f"tile: got {job.tile}, expected 1 row and column or more")
    if job.save_hyper is not None and job.save_hyper.suffix != ".npz":
        raise ValueError(f"save_hyper: got {job.save_hyper}, expected a .npz file")
    if job.at != "input":
        regular_days(np.array(["2001-01-01"] * 2, "datetime64[ns]"), job.at, option="at")
    if job.hyper in _FITTED:
        return
    if not Path(job.hyper).is_file():
        raise ValueError(
            f"hyper: got {job.hyper!r}, expected auto, region, pixel or a file of --save-hyper"
        )
    fields = Job.__dataclass_fields__
    names = [
        name
        for name in ("inputs", "latents", "sample")
        if getattr(job, name) != fields[name].default
    ]
    if job.mean == "zero":
        names.append("mean")
    if names:
        raise ValueError(f"{', '.join(names)}: got them with {job.hyper}, which has its own")


def _open(job: Job) -> xr.Dataset:
    """The aligned cube: lazy where `cube.write` wrote it so, else in memory."""
    plain = (job.start, job.step, job.mask, job.align) == (None, None, None, Align())
    if plain and job.input.exists() and job.input.suffix in (".nc", ".zarr"):
        ds = unread_dataset(job.input)
        if {"s1_day", "s2_day"} <= set(ds.coords) and "s1jax_funnel" in ds.attrs:
            print(f"{job.input}: aligned by s1jax, read tile by tile")
            return ds
        ds.close()
    ds = open_aligned(job.input, start=job.start, step=job.step, mask=job.mask, align=job.align)
    lines = ds.attrs["s1jax_repairs"].splitlines()
    # repairs are on stderr already
    print(*(line for line in lines if not is_repair(line)), ds.attrs["s1jax_funnel"], sep="\n")
    return ds


def open_aligned(
    path: str | Path, *, start: str | None, step: float | None, mask: str | None, align: Align
) -> xr.Dataset:
    """The cube of a path, on one regular grid of days.

    Args:
      path: what `cube.open_cube` takes.
      start: first day of the first period; numbered planes need it.
      step: length of a period, days.
      mask: vector or raster file of the pixels to keep.
      align: how acquisitions become periods; numbered planes, which are composites, take none.

    Raises:
      ValueError: what `cube.open_cube` and `cube.align_cube` raise.
    """
    if align != Align():
        ds = cube.open_cube(path, mask=mask)
        return cube.align_cube(ds, start=start, step=step, **asdict(align))
    # a step alone is for the alignment of dated acquisitions
    ds = cube.open_cube(path, start=start, step=None if start is None else step, mask=mask)
    return cube.align_cube(ds, step=step)


def _parameters(job: Job, ds: xr.Dataset) -> mogpr.MogprParams:
    """Fitted to a sample of the region, or of a file."""
    if job.hyper not in _FITTED:
        params = mogpr.load(job.hyper)
        if params.curve is not None and job.mean != "regional":
            raise ValueError(
                f"hyper: got {job.hyper} with the mean curve of the region and year of its fit, "
                "expected none (fitted with --mean zero), or --mean regional where this is the "
                "same region and year"
            )
        return params
    started = time.perf_counter()
    smooth = job.inputs == "auto" or job.inputs.startswith("smooth")
    training, validation = regions.sample(ds, sizes=SIZES if smooth else ())
    for name, part, other in (
        ("train", training, validation), ("decide", validation, training)
    ):  # fmt: skip
        if part.ndvi_valid.any():
            continue
        if not other.ndvi_valid.any():
            raise ValueError(regions.UNLABELLED)
        raise ValueError(
            f"sample: got no NDVI in {len(part.ndvi):,} pixels to {name}, expected some; fit a "
            "larger region with --save-hyper, or give its file as --hyper"
        )
    config = mogpr.MogprConfig(
        latents=job.latents, hyper=job.hyper, mean=job.mean, inputs=job.inputs, sample=job.sample
    )
    params, candidates = mogpr.select_variant(jax.random.key(0), training, validation, config)
    for one in candidates:
        print(f"RMSE {one.rmse:.4f}: {one.inputs}, {one.mean} mean, {one.hyper}")
    pixels = f"{len(training.ndvi):,} training, {len(validation.ndvi):,} validation pixels"
    print(f"{describe(params)}; {pixels}, {time.perf_counter() - started:.1f} s", flush=True)
    return params


def describe(params: mogpr.MogprParams) -> str:
    """The model in words."""
    latents, outputs = params.hyper.mixing.shape
    inputs = "speckle-filtered" if any(look for look, _ in params.inputs) else "raw"
    inputs = f"{inputs} radar" if outputs > 1 else "no radar"
    mean = "zero" if params.curve is None else "regional"
    hyper = "region" if params.prior is None else "pixel"
    return (
        f"MOGPR of {outputs} outputs, {latents} latents: {inputs}, {mean} mean, "
        f"hyperparameters of the {hyper}, band x {float(params.std_factor):.2f}"
    )


def _report(job: Job, summary: regions.Summary, seconds: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak /= 2**30 if sys.platform == "darwin" else 2**20
    times = (summary.reading_s, summary.predicting_s, summary.writing_s)
    parts = zip(("reading", "posterior", "writing"), times, strict=True)
    print(
        f"{job.output}: {summary.pixels:,} px in {seconds:.1f} s, "
        f"{summary.pixels / seconds:,.0f} px/s "
        f"({', '.join(f'{name} {part:.1f} s' for name, part in parts)}), peak memory {peak:.1f} GiB"
    )
    if summary.not_finite:
        print(f"{summary.not_finite:,} px with an estimate that is not finite", file=sys.stderr)
    if summary.failed:
        print(f"{len(summary.failed)} tile(s) failed, all others are written:", file=sys.stderr)
        print(*summary.failed, sep="\n", file=sys.stderr)


def run(arguments: Sequence[str] | None = None) -> int:
    """Exit status of the command: 1 where a tile failed or an estimate is not finite."""

    def _run() -> int:
        summary = main(tyro.cli(Job, args=arguments, prog="s1jax fill"))
        return int(bool(summary.failed or summary.not_finite))

    return endings.status(_run)
