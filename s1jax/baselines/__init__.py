"""Yardsticks: what a method must beat before it may claim anything."""

from s1jax.baselines.boosting import BoostingConfig, boosting
from s1jax.baselines.climatology import climatology
from s1jax.baselines.interpolation import WhittakerConfig, linear, whittaker
from s1jax.baselines.neighbours import KnnSpaceConfig, knn_space

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
