"""What `s1jax fill` does: it opens a cube, fits MOGPR or reads it, and maps the region."""

import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path

import jax
import numpy as np
import xarray as xr

from s1jax import cube, mogpr, regions
from s1jax.commands import endings
from s1jax.commands.fill import Align, Job
from s1jax.cube.findings import is_repair
from s1jax.cube.formats.netcdf import unread_dataset
from s1jax.cube.write import target
from s1jax.model import regular_days
from s1jax.types import Days, Estimate, Series

SIZES = (3,)
"""Sides of the squares of the speckle filter, pixels."""
_FITTED = ("auto", "region", "pixel")


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
