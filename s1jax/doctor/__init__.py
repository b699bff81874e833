"""What is wrong with an input, where, how that shows, and what to do about it."""

from s1jax.cube.findings import Finding
from s1jax.doctor.catalogue import LEVELS
from s1jax.doctor.examine import Examination, Facts, examine
from s1jax.doctor.relation import FEATURES, STAGES

__all__ = [
    "FEATURES",
    "LEVELS",
    "STAGES",
    "Examination",
    "Facts",
    "Finding",
    "examine",
]
