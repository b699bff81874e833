"""MOGPR: the multi-output Gaussian process per pixel, over regions."""

from s1jax.mogpr.config import MogprConfig, MogprParams
from s1jax.mogpr.estimator import fit_region, mogpr, select_variant
from s1jax.mogpr.file import load, save
from s1jax.mogpr.posterior import posterior

__all__ = [
    "MogprConfig",
    "MogprParams",
    "fit_region",
    "load",
    "mogpr",
    "posterior",
    "save",
    "select_variant",
]
