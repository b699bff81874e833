"""Yardsticks: what a method must beat before it may claim anything."""

from s1jax.baselines.boosting import BoostingConfig, boosting
from s1jax.baselines.calendar import KnnSpaceConfig, climatology, knn_space
from s1jax.baselines.interpolation import WhittakerConfig, linear, whittaker

__all__ = [
    "BoostingConfig",
    "KnnSpaceConfig",
    "WhittakerConfig",
    "boosting",
    "climatology",
    "knn_space",
    "linear",
    "whittaker",
]
