"""What is wrong with an input, where, how that shows, and what to do about it."""

from s1jax.doctor.examine import Examination, examine
from s1jax.doctor.facts import Facts
from s1jax.doctor.finding import LEVELS, MENDED, Finding
from s1jax.doctor.relation import FEATURES, STAGES

__all__ = [
    "FEATURES",
    "LEVELS",
    "MENDED",
    "STAGES",
    "Examination",
    "Facts",
    "Finding",
    "examine",
]
