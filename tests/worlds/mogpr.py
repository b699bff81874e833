"""Planted worlds for the tests of MOGPR, and what its posterior must be there, in float64 NumPy."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from s1jax import gp
from s1jax.mogpr import MogprConfig, MogprParams, fit_region
from s1jax.types import Series
from tests.worlds.gp_oracle import draw
from tests.worlds.gp_oracle import posterior as of_process

HYPER = gp.Hyper(
    np.array([50.0]),
    np.array([[0.5, 0.7, 0.8]]),
    np.array([[0.1, 0.1, 0.1]]),
    np.array([0.4, 0.3, 0.05]),
)
MEAN, STD = np.array([-11.0, -17.0, 0.4]), np.array([2.0, 2.0, 0.15])
DAYS = 19000.0 + 12 * np.arange(20)
INPUTS = ((0, 0), (0, 1))
"""VV and VH as observed."""


def series_of(day, value, valid, *, position=None, looks=()):
    """Series of outputs (pixel, time, output), NDVI last, and more looks of the radar."""
    radar = np.stack([value[..., :-1], *looks], axis=-2)
    ndvi, seen = value[..., -1].copy(), valid[..., -1].copy()
    return Series(day, radar, valid[..., :-1].copy(), ndvi, seen, position)


def outputs(series):
    """Value and valid (pixel, time, output) of the radar as observed, and NDVI last."""
    value = np.concatenate([series.radar[..., 0, :], series.ndvi[..., None]], axis=-1)
    return value, np.concatenate([series.radar_valid, series.ndvi_valid[..., None]], axis=-1)


def with_look(series, radar):
    """The series with another look of the radar."""
    return series._replace(radar=np.concatenate([series.radar, radar[..., None, :]], axis=-2))


def region(pixels=60, seed=0, *, hyper=HYPER, curve=0.0):
    """Series in physical units drawn from `hyper` about `curve`, half the NDVI hidden by clouds;
    and the latent NDVI."""
    rng = np.random.default_rng(seed)
    latent, value = (z * STD + MEAN + curve for z in draw(rng, hyper, DAYS, pixels))
    valid = np.ones(value.shape, bool)
    valid[..., -1] = rng.random((pixels, DAYS.size)) < 0.5
    return series_of(DAYS, value.astype(np.float32), valid), latent[..., -1]


def params(hyper=HYPER, curve=None, *, by_pixel=False, **others):
    """The true parameters of `region`."""
    real = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), (hyper, MEAN, STD, 1.0))
    hyper, mean, std, one = real
    return MogprParams(
        hyper, mean, std, INPUTS, std_factor=one, curve=curve, scale_by_pixel=by_pixel, **others
    )


@functools.cache
def fitted():
    """Fitted parameters of a region, with a prior of the pixels' hyperparameters."""
    series, _ = region()
    config = MogprConfig(latents=1, inputs="raw", mean="zero", sample=40, iterations=30)
    found, sample = fit_region(series, config)
    return replace(found, prior=gp.prior(*sample))


def expected(found, series, pixel, days, before=0.0, after=0.0):
    """Mean and std of a pixel's NDVI, the prior mean `before` (time, output), `after` (query)."""
    value, valid = (leaf[pixel] for leaf in outputs(series))
    value = np.asarray(value, float) - before
    mean, std = np.array(found.region_mean, float), np.array(found.region_std, float)
    for output in range(value.shape[1]):
        seen = value[valid[:, output], output]
        if found.scale_by_pixel and len(seen) >= 5 and seen.std() > 0.01:
            mean[output], std[output] = seen.mean(), seen.std()
    z = gp.Observations(series.day, (value - mean) / std, valid)
    _, f, variance = of_process(found.hyper, z, days, value.shape[1] - 1)
    return f * std[-1] + mean[-1] + after, np.sqrt(variance) * std[-1]
