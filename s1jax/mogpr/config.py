"""Options of MOGPR, and what it learns."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from jaxtyping import Array, Bool, Float, Int
from numpy import ndarray

from s1jax import gp

Inputs = Literal["auto", "raw", "raw:1", "raw:2", "smooth", "smooth:1", "smooth:2", "none"]
INPUTS = get_args(Inputs)[1:]
"""Radar channels: as observed or speckle-filtered; of both orbits, the first or the second; none of
them, so that NDVI is alone."""
SCALES = ("region", "pixel")
"""What z-scores are by: the mean and std of the region, or of the pixel."""


@dataclass(frozen=True)
class MogprConfig:
    """Options of `mogpr`."""

    latents: int = 2
    """Latent processes, each with its own length scale; 1 is the intrinsic model."""
    hyper: Literal["auto", "region", "pixel"] = "auto"
    """Hyperparameters: one set for all pixels, a set for each around the region's, or what
    validation pixels prefer."""
    mean: Literal["auto", "zero", "regional"] = "auto"
    """Prior mean: the level that z-scores are about, the region's mean curve, or what validation
    pixels prefer.
    A curve is of its region alone: use zero where another district or year is predicted."""
    inputs: Inputs = "auto"
    """Radar channels: as observed or speckle-filtered, of both orbits, the first or the second;
    none of them; or what validation pixels prefer of all but none."""
    scale: Literal["region", "pixel"] = "region"
    """z-score by the mean and std of the region, or of the pixel itself where it has five values,
    as FuseTS does: a gap then costs the pixel its level too."""
    stride: int = 1
    """Use every so many-th date only; 2 makes 24 days of 12."""
    inducing: int | None = None
    """Approximate by so many inducing days; none: exact."""
    solver: Literal["kalman", "quasisep", "dense"] = "kalman"
    """Solver of the posterior; all give the same numbers."""
    sample: int = 128
    """Training pixels, spread evenly over the region, that hyperparameters are fitted on."""
    iterations: int = 200
    """Most steps of the optimiser in that fit."""
    chunk: int = 4096
    """Pixels per call, rounded up to whole batches; changes speed and memory, no digit of the
    result."""


class Curve(NamedTuple):
    """The region's mean curve of each output; linear between its days."""

    day: Float[ndarray, "node"]
    value: Float[ndarray, "node output"]


class MogprParams(NamedTuple):
    """What MOGPR learns from a region, or is given."""

    hyper: gp.Hyper
    """Hyperparameters of the region, on z-scored outputs."""
    prior: gp.Prior | None
    """How those of pixels spread around them; None: every pixel uses the region's."""
    region_mean: Float[Array, "output"]
    """Mean of each output (less the curve) over the training pixels' valid values, dB and 1."""
    region_std: Float[Array, "output"]
    """Its standard deviation."""
    curve: Curve | None
    """Prior mean; None: the mean that z-scores are about."""
    channel: Int[ndarray, "output"]
    """Where the outputs are: c for radar channel c, -2 - c for the same filtered, -1 for NDVI."""
    widen: Float[Array, ""]
    """Factor of all standard deviations that makes the 90 % band of the validation pixels hold."""
    own: Bool[ndarray, ""]
    """True where a pixel is z-scored by its own mean and std, else all by the region's."""
