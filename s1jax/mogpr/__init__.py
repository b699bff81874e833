"""MOGPR: the multi-output Gaussian process per pixel, over regions."""

from s1jax.mogpr.choice import Tried, choose
from s1jax.mogpr.config import INPUTS, Curve, Inputs, MogprConfig, MogprParams
from s1jax.mogpr.estimator import WithMean, mogpr, thinned
from s1jax.mogpr.file import load, save
from s1jax.mogpr.inputs import available, channels, pick
from s1jax.mogpr.posterior import (
    CLIPPED,
    IMPLAUSIBLE,
    IMPRECISE,
    NO_DATA,
    REGION_HYPER,
    REGION_SCALE,
    Posterior,
    posterior,
)
from s1jax.mogpr.region import Sample, evenly, learn

__all__ = [
    "CLIPPED",
    "IMPLAUSIBLE",
    "IMPRECISE",
    "INPUTS",
    "NO_DATA",
    "REGION_HYPER",
    "REGION_SCALE",
    "Curve",
    "Inputs",
    "MogprConfig",
    "MogprParams",
    "Posterior",
    "Sample",
    "Tried",
    "WithMean",
    "available",
    "channels",
    "choose",
    "evenly",
    "learn",
    "load",
    "mogpr",
    "pick",
    "posterior",
    "save",
    "thinned",
]
