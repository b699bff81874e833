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

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from s1jax.commands import endings


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
    inputs: Literal["auto", "raw", "raw:1", "raw:2", "smooth", "smooth:1", "smooth:2", "none"] = (
        "auto"
    )
    """Radar channels: as observed or speckle-filtered, of both orbits, the first or the second;
    none of them; or what validation pixels prefer of all but none."""
    sample: int = 128
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


def run(arguments: Sequence[str] | None = None) -> int:
    """Exit status of the command: 1 where a tile failed or an estimate is not finite."""

    def _run() -> int:
        job = tyro.cli(Job, args=arguments, prog="s1jax fill")
        # only now, so that --help need not wait for JAX
        from s1jax.commands import region

        summary = region.main(job)
        return int(bool(summary.failed or summary.not_finite))

    return endings.status(_run)
