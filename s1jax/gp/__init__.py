"""The multi-output Gaussian process of one pixel: covariance, likelihood, posterior, fits."""

from s1jax.gp.fit import fit, initial
from s1jax.gp.kernel import Hyper, Observations, kernel
from s1jax.gp.pixels import Prior, fit_pixels, prior
from s1jax.gp.solve import SOLVERS, condition, log_likelihood, sample

__all__ = [
    "SOLVERS",
    "Hyper",
    "Observations",
    "Prior",
    "condition",
    "fit",
    "fit_pixels",
    "initial",
    "kernel",
    "log_likelihood",
    "prior",
    "sample",
]
