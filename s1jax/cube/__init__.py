"""Labelled cubes: open, repair, align, despeckle, to and from Series, write; dates and CRS."""

from s1jax.cube.align import align_cube, pair_cube
from s1jax.cube.dates import from_days, is_relative, span, to_days
from s1jax.cube.grid import crs, position
from s1jax.cube.mask import count_valid
from s1jax.cube.names import channels
from s1jax.cube.open import open_cube
from s1jax.cube.provenance import fingerprint
from s1jax.cube.series import (
    at_pixels,
    observed_pixels,
    source_flag,
    to_product,
    to_raster,
    to_series,
)
from s1jax.cube.speckle import despeckle
from s1jax.cube.write import write

__all__ = [
    "align_cube",
    "at_pixels",
    "channels",
    "count_valid",
    "crs",
    "despeckle",
    "fingerprint",
    "from_days",
    "is_relative",
    "observed_pixels",
    "open_cube",
    "pair_cube",
    "position",
    "source_flag",
    "span",
    "to_days",
    "to_product",
    "to_raster",
    "to_series",
    "write",
]
