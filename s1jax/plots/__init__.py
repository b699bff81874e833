"""Figures from arrays: every function returns a matplotlib Figure and keeps no global state.

`png(figure)` is the picture. Scores come as the rows of metrics.json, pictures of a scene as arrays
of the test pixels. The only place of the package that imports matplotlib.
"""

from s1jax.plots.doctor import expectation, label_levels, record, stage_bars
from s1jax.plots.estimates import (
    NDVI_RANGES,
    classic_panels,
    maps,
    pixel_series,
    scores_by_range,
)
from s1jax.plots.scores import (
    by_stratum,
    coverage,
    importance,
    intervals,
    loss_curves,
    overview,
    steps,
)
from s1jax.plots.style import METHODS, TASKS, YARDSTICKS, method_style, png

__all__ = [
    "METHODS", "NDVI_RANGES", "TASKS", "YARDSTICKS", "by_stratum", "classic_panels", "coverage",
    "expectation", "importance", "intervals", "label_levels", "loss_curves", "maps", "method_style",
    "overview", "pixel_series", "png", "record", "scores_by_range", "stage_bars", "steps",
]  # fmt: skip
