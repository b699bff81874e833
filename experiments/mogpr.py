"""Cloud-free NDVI of a whole region by MOGPR, tile by tile: NetCDF or Zarr in, Zarr out.

Command: python -m experiments.mogpr cube.nc fused.zarr
         python -m experiments.mogpr cube.nc weekly.zarr --at P7D --hyper region
         python -m experiments.mogpr cube.nc fused.zarr --mean zero --save-hyper region.npz
         python -m experiments.mogpr other.nc other.zarr --hyper region.npz
Cost: 599,203 pixels x 62 dates, 3 outputs, on 2 cores at rest: 25 s to learn from a sample (more
with --hyper auto), 29 s at the region's hyperparameters (20,750 px/s, 24 s of it the posterior), 67
s in all with the compiling, 1.6 GiB; a fit of every pixel makes it about thirteen times as long.
Expected: fused.zarr with S2ndvi, S2ndvi_FUSED, S2ndvi_STD, S2ndvi_SOURCE and S2ndvi_QUALITY on the
grid of the cube; exit status 1 where tiles failed (they are listed) or an estimate is not finite.
"""

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np
import tyro
import xarray as xr
from jaxtyping import Float

from experiments import commands, opening
from experiments.opening import Align
from experiments.protocol import UNLABELLED
from experiments.sampling import FILTER, sampled
from s1jax import cube, mogpr, tiles
from s1jax.cube.notes import repairs
from s1jax.cube.stored import unread_dataset
from s1jax.cube.write import target
from s1jax.fusets import periods
from s1jax.mogpr.inputs import source
from s1jax.types import NDVI, Days, Series


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
    validation pixels prefer (auto), or a FILE.npz of --save-hyper, which holds all that was learnt:
    then nothing is."""
    at: str = "input"
    """Days to estimate: those of the input, or a period (ISO 8601: P5D, P1W, P1M) that gives a
    regular axis from its first day to its last. S2ndvi is written on its own days only."""
    tile: int = 256
    """Rows and columns of a tile; memory grows with its square and with the number of days."""
    latents: int = 2
    """Latent processes, each with its own length scale; 1 is the intrinsic model."""
    mean: Literal["auto", "zero", "regional"] = "auto"
    """Prior mean: the region's level, its mean curve, or what validation pixels prefer; regional
    also lets a file of another run bring its curve."""
    inputs: mogpr.Inputs = "auto"
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
    """File (.npz) for what was learnt, for --hyper of another job."""
    overwrite: bool = False
    """Replace an OUTPUT that exists."""


def main(job: Job) -> tiles.Filled:
    """What became of the region: writes the output, and says what was learnt and how fast.

    Raises:
      ValueError: a name, period or file that is not as expected; an output that exists.
    """
    _check(job)
    with commands.writing_file(job.output):
        commands.writable(job.save_hyper)
        return _fill(job)


def _fill(job: Job) -> tiles.Filled:
    ds = opened(job)
    print(f"{job.input}: {cube.span(ds)}", flush=True)
    # what `tiles.fill` would refuse after a minute of learning
    target(ds, job.output, product=True)
    days = None if job.at == "input" else regular_days(ds["t"].values, job.at)
    params = learnt(job, ds)
    radar = source(params.channel).max() + 1
    if radar > len(cube.channels(ds)) - 1:
        raise ValueError(
            f"hyper: got {job.hyper} of {radar} radar channels, expected those of {job.input}: "
            f"{', '.join(cube.channels(ds)[:-1])}"
        )
    if job.save_hyper is not None:
        mogpr.save(params, job.save_hyper)

    def _predict(series: Series, days: Days) -> mogpr.Posterior:
        return mogpr.posterior(params, series, days)

    started = time.perf_counter()
    ds = ds.assign_attrs(s1jax_method=described(params))
    smooth = FILTER if (params.channel < NDVI).any() else ()
    learnt_here = job.hyper in ("auto", "region", "pixel")
    options = {
        "tile": job.tile, "days": days, "quality": True, "smooth": smooth,
        "weights": None if learnt_here else job.hyper,
        "trained_on": f"a sample of {job.input.name}" if learnt_here else None,
    }  # fmt: skip
    done = tiles.fill(_predict, ds, job.output, **options)
    _report(job, done, time.perf_counter() - started)
    return done


def _check(job: Job) -> None:
    """What can be told before anything is read."""
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
        regular_days(np.array(["2001-01-01"] * 2, "datetime64[ns]"), job.at)
    if job.hyper in ("auto", "region", "pixel"):
        return
    if not Path(job.hyper).is_file():
        raise ValueError(
            f"hyper: got {job.hyper!r}, expected auto, region, pixel or a file of --save-hyper"
        )
    told = [name for name in ("inputs", "latents", "sample")]
    given = [name for name in told if getattr(job, name) != _default(name)]
    if job.mean == "zero":
        given.append("mean")
    if given:
        raise ValueError(f"{', '.join(given)}: got them with {job.hyper}, which tells them itself")


def _default(name: str):
    return Job.__dataclass_fields__[name].default


def opened(job: Job) -> xr.Dataset:
    """The aligned cube: not yet read where `cube.write` wrote it so, else in memory."""
    own = (job.start, job.step, job.mask, job.align) == (None, None, None, Align())
    if own and job.input.exists() and job.input.suffix in (".nc", ".zarr"):
        ds = unread_dataset(job.input)
        if {"s1_day", "s2_day"} <= set(ds.coords) and "s1jax_funnel" in ds.attrs:
            print(f"{job.input}: aligned by s1jax, read tile by tile")
            return ds
        ds.close()
    ds = opening.opened(job.input, start=job.start, step=job.step, mask=job.mask, align=job.align)
    lines = ds.attrs["s1jax_repairs"].splitlines()
    unasked = repairs(lines)  # on stderr already
    print(*(line for line in lines if line not in unasked), ds.attrs["s1jax_funnel"], sep="\n")
    return ds


def regular_days(t: np.ndarray, period: str) -> Float[np.ndarray, "query"]:
    """Days since 1970-01-01 from the first date of `t` to the last, an ISO 8601 period apart.

    Raises:
      ValueError: no such period.
    """
    try:
        return cube.to_days(periods.dates(t[0], t[-1], period))
    except ValueError as error:
        raise ValueError(
            f"at: got {period!r}, expected input or a period such as P5D, P1W, P1M"
        ) from error


def learnt(job: Job, ds: xr.Dataset) -> mogpr.MogprParams:
    """What the region's sample tells, or the file."""
    if job.hyper not in ("auto", "region", "pixel"):
        params = mogpr.load(job.hyper)
        if params.curve is not None and job.mean != "regional":
            raise ValueError(
                f"hyper: got {job.hyper} with the mean curve of the region and year it was learnt "
                "in, expected none (learnt with --mean zero), or --mean regional where this is the "
                "same region and year"
            )
        return params
    started = time.perf_counter()
    train, val = sampled(ds, smooth=job.inputs == "auto" or job.inputs.startswith("smooth"))
    for name, part in (("train", train), ("decide", val)):
        if not (labelled := part.valid[..., NDVI]).any():
            other = (val if part is train else train).valid[..., NDVI].any()
            raise ValueError(
                f"sample: got no NDVI in {len(labelled):,} pixels to {name}, expected some; learn "
                "from a larger region with --save-hyper, or give its file as --hyper"
                if other
                else UNLABELLED
            )
    config = mogpr.MogprConfig(
        latents=job.latents, hyper=job.hyper, mean=job.mean, inputs=job.inputs, sample=job.sample
    )
    params, tried = mogpr.choose(jax.random.key(0), train, val, config)
    for variant in tried:
        print(f"RMSE {variant.rmse:.4f}: {variant.inputs}, {variant.mean} mean, {variant.hyper}")
    pixels = f"{len(train.valid):,} training, {len(val.valid):,} validation pixels"
    print(f"{described(params)}; {pixels}, {time.perf_counter() - started:.1f} s", flush=True)
    return params


def described(params: mogpr.MogprParams) -> str:
    """What is learnt, in words."""
    latents, outputs = params.hyper.mixing.shape
    inputs = "speckle-filtered" if (params.channel < NDVI).any() else "raw"
    inputs = f"{inputs} radar" if outputs > 1 else "no radar"
    mean = "zero" if params.curve is None else "regional"
    hyper = "region" if params.prior is None else "pixel"
    return (
        f"MOGPR of {outputs} outputs, {latents} latents: {inputs}, {mean} mean, "
        f"hyperparameters of the {hyper}, band x {float(params.widen):.2f}"
    )


def _report(job: Job, done: tiles.Filled, seconds: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak /= 2**30 if sys.platform == "darwin" else 2**20
    parts = zip(("reading", "posterior", "writing"), done[3:], strict=True)
    print(
        f"{job.output}: {done.pixels:,} px in {seconds:.1f} s, {done.pixels / seconds:,.0f} px/s "
        f"({', '.join(f'{name} {part:.1f} s' for name, part in parts)}), peak memory {peak:.1f} GiB"
    )
    if done.not_finite:
        print(f"{done.not_finite:,} px with an estimate that is not finite", file=sys.stderr)
    if done.failed:
        print(f"{len(done.failed)} tile(s) failed, all others are written:", file=sys.stderr)
        print(*map(tiles.described, done.failed), sep="\n", file=sys.stderr)


def run(arguments: Sequence[str] | None = None) -> int:
    """Exit status of the command: 1 where a tile failed or an estimate is not finite."""

    def _run() -> int:
        done = main(tyro.cli(Job, args=arguments, prog="experiments.mogpr"))
        return int(bool(done.failed or done.not_finite))

    return commands.status(_run)


if __name__ == "__main__":
    sys.exit(run())
