"""Figures from arrays: every function returns a matplotlib Figure and keeps no global state.

`png(figure)` gives the bytes of the picture. Scores come as the rows of metrics.json, pictures of a
scene as arrays of the test pixels. The only place of the package that imports matplotlib.
"""

from s1jax.plots.classic import NDVI_RANGES, classic_panels, scores_by_range
from s1jax.plots.doctor import expectation, label_levels, record, stage_bars
from s1jax.plots.explain import importance
from s1jax.plots.scenes import maps, pixel_series, point_maps
from s1jax.plots.scores import (
    by_direction,
    by_gap_length,
    by_level,
    by_month,
    coverage,
    intervals,
    overview,
)
from s1jax.plots.style import METHODS, TASKS, YARDSTICKS, method_style, png
from s1jax.plots.training import loss_curves
from s1jax.plots.why import steps

__all__ = [
    "METHODS",
    "NDVI_RANGES",
    "TASKS",
    "YARDSTICKS",
    "by_direction",
    "by_gap_length",
    "by_level",
    "by_month",
    "classic_panels",
    "coverage",
    "expectation",
    "importance",
    "intervals",
    "label_levels",
    "loss_curves",
    "maps",
    "method_style",
    "overview",
    "pixel_series",
    "png",
    "point_maps",
    "record",
    "scores_by_range",
    "stage_bars",
    "steps",
]
