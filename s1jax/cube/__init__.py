"""Labelled cubes: open, repair, align, despeckle, to and from Series, write; dates and CRS."""

from s1jax.cube.convert import (
    at_pixels,
    from_acquisitions,
    from_scene,
    observed_pixels,
    to_raster,
    to_series,
)
from s1jax.cube.crs import crs, place
from s1jax.cube.dates import from_days, span, to_days
from s1jax.cube.funnel import funnel
from s1jax.cube.names import channels
from s1jax.cube.numbered import is_relative
from s1jax.cube.open import open_cube
from s1jax.cube.periods import align_cube, pair_cube, radar_near
from s1jax.cube.product import fill_product, source_flag
from s1jax.cube.provenance import fingerprint
from s1jax.cube.smooth import despeckle
from s1jax.cube.write import write

__all__ = [
    "align_cube",
    "at_pixels",
    "channels",
    "crs",
    "despeckle",
    "fill_product",
    "fingerprint",
    "from_acquisitions",
    "from_days",
    "from_scene",
    "funnel",
    "is_relative",
    "observed_pixels",
    "open_cube",
    "pair_cube",
    "place",
    "radar_near",
    "source_flag",
    "span",
    "to_days",
    "to_raster",
    "to_series",
    "write",
]
