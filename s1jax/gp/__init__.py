"""The multi-output Gaussian process of one pixel: covariance, likelihood, posterior, region fit."""

from .dense import one_thread, over_pixels
from .fit import fit, initial
from .kernel import Coregional, Grid, Hyper, Points, kernel, matern32, points
from .solve import SOLVERS, condition, log_likelihood
from .standardise import standardise

__all__ = [
    "SOLVERS",
    "Coregional",
    "Grid",
    "Hyper",
    "Points",
    "condition",
    "fit",
    "initial",
    "kernel",
    "log_likelihood",
    "matern32",
    "one_thread",
    "over_pixels",
    "points",
    "standardise",
]
