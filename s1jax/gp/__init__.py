"""The multi-output Gaussian process of one pixel: covariance, likelihood, posterior, fits."""

from s1jax.gp.batch import compiled, compiler_options, lanes, one_thread, over_pixels
from s1jax.gp.fit import fit, initial
from s1jax.gp.kernel import Coregional, Grid, Hyper, Points, kernel, matern32, points
from s1jax.gp.pixels import Prior, fit_pixels, prior
from s1jax.gp.sample import sample
from s1jax.gp.solve import SOLVERS, condition, condition_outputs, log_likelihood
from s1jax.gp.standardise import standardise

__all__ = [
    "SOLVERS",
    "Coregional",
    "Grid",
    "Hyper",
    "Points",
    "Prior",
    "compiled",
    "compiler_options",
    "condition",
    "condition_outputs",
    "fit",
    "fit_pixels",
    "initial",
    "kernel",
    "lanes",
    "log_likelihood",
    "matern32",
    "one_thread",
    "over_pixels",
    "points",
    "prior",
    "sample",
    "standardise",
]
