"""Options of MOGPR, and its parameters."""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import jax
import numpy as np
from jaxtyping import Array, Float

from s1jax import gp

Inputs = Literal["auto", "raw", "raw:1", "raw:2", "smooth", "smooth:1", "smooth:2", "none"]
INPUTS = get_args(Inputs)[1:]
"""Radar beside the NDVI: as observed or speckle-filtered; of all orbits, the first or the second;
or none."""
SCALES = ("region", "pixel")
_STATIC: dict[str, Any] = {"static": True}


@dataclass(frozen=True)
class MogprConfig:
    """Options of `mogpr`; validation pixels decide what is "auto"."""

    latents: int = 2
    """Latent processes, each with its own length scale; 1 is the intrinsic model."""
    hyper: Literal["auto", "region", "pixel"] = "auto"
    """Hyperparameters: one set for all pixels, or a set for each around the region's."""
    mean: Literal["auto", "zero", "regional"] = "auto"
    """Prior mean: none besides that of the z-score, or the region's mean curve. A curve is of its
    region alone: use zero where another district or year is predicted."""
    inputs: Inputs = "auto"
    """Radar inputs, of `INPUTS`; "auto" tries all but none."""
    scale: Literal["region", "pixel"] = "region"
    """z-score by the mean and std of the region, or of the pixel itself where it has five values,
    as FuseTS does: a gap then costs the pixel its level too."""
    stride: int = 1
    """Every so many-th date is used; 2 makes 24 days of 12."""
    inducing: int | None = None
    """Approximate by so many inducing days; None: exact."""
    solver: Literal["kalman", "dense"] = "kalman"
    """Solver of the posterior, of `gp.SOLVERS`; both give the same numbers."""
    sample: int = 128
    """Training pixels, spread evenly over the region, that hyperparameters are fitted on."""
    iterations: int = 200
    """Most steps of the optimiser in that fit."""
    chunk: int = 4096
    """Pixels per call, rounded up to whole batches; changes speed and memory, not the result."""


class Curve(NamedTuple):
    """The region's mean curve of each output; linear between its days."""

    day: Float[np.ndarray, "node"]
    value: Float[np.ndarray, "node output"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MogprParams:
    """Parameters of MOGPR; its outputs are the `inputs`, then NDVI."""

    hyper: gp.Hyper
    """Hyperparameters of the region, on z-scored outputs."""
    region_mean: Float[Array | np.ndarray, "output"]
    """Mean of each output (less the curve) over the training pixels' valid values: dB, NDVI."""
    region_std: Float[Array | np.ndarray, "output"]
    """Its standard deviation."""
    inputs: tuple[tuple[int, int], ...] = field(metadata=_STATIC)
    """Look and channel of each radar output, as they index `Series.radar`."""
    std_factor: Float[Array | np.ndarray, ""] | float = 1.0
    """Factor of all standard deviations that makes the 90 % band of the validation pixels hold."""
    prior: gp.Prior | None = None
    """How the hyperparameters of pixels spread around the region's; None: all use the region's."""
    curve: Curve | None = None
    """Prior mean; None: that of the z-score alone."""
    scale_by_pixel: bool = field(default=False, metadata=_STATIC)
    """Whether a pixel is z-scored by its own mean and std, else by the region's."""
    solver: str = field(default="kalman", metadata=_STATIC)
    inducing: int | None = field(default=None, metadata=_STATIC)
    """Number of inducing days; None: exact."""
