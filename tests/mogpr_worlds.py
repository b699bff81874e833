"""Planted worlds for the tests of MOGPR, and what its posterior must be there, in float64 NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from gp_oracle import draw
from gp_oracle import posterior as of_process

from s1jax import gp
from s1jax.mogpr import MogprParams, channels, learn
from s1jax.types import Series

HYPER = gp.Hyper(
    np.array([50.0]),
    np.array([[0.5, 0.7, 0.8]]),
    np.array([[0.1, 0.1, 0.1]]),
    np.array([0.4, 0.3, 0.05]),
)
MEAN, STD = np.array([-11.0, -17.0, 0.4]), np.array([2.0, 2.0, 0.15])
DAYS = 19000.0 + 12 * np.arange(20)


def region(pixels=60, seed=0, *, hyper=HYPER, curve=0.0):
    """Series in physical units drawn from `hyper` about `curve`, half the NDVI hidden by clouds;
    and the latent NDVI."""
    rng = np.random.default_rng(seed)
    latent, value = (z * STD + MEAN + curve for z in draw(rng, hyper, DAYS, pixels))
    valid = np.ones(value.shape, bool)
    valid[..., -1] = rng.random((pixels, DAYS.size)) < 0.5
    return Series(DAYS, value.astype(np.float32), valid), latent[..., -1]


def params(hyper=HYPER, curve=None, *, own=False):
    """The truth of `region`, as if it had been learnt; z-scores by each pixel's `own`, or by it."""
    real = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), (hyper, MEAN, STD, 1.0))
    hyper, mean, std, widen = real
    place = np.array([0, 1, -1])
    return MogprParams(hyper, None, mean, std, curve, place, widen, np.array(own))


@functools.cache
def learnt():
    """What is learnt from a region, hyperparameters of pixels included."""
    series, _ = region()
    found, sample = learn(series, channels(series, "raw"), latents=1, sample=40, iterations=30)
    return found._replace(prior=gp.prior(*sample))


def take(series, pixels):
    """Some of the pixels."""
    return series._replace(
        **{k: v[pixels] for k, v in series._asdict().items() if k != "day" and v is not None}
    )


def expected(found, series, pixel, days, before=0.0, after=0.0):
    """Mean and std of a pixel's NDVI, the prior mean `before` (time, output), `after` (query)."""
    value = np.asarray(series.value[pixel], float) - before
    valid = np.asarray(series.valid[pixel])
    mean, std = np.array(found.region_mean, float), np.array(found.region_std, float)
    for output in range(value.shape[1]):
        seen = value[valid[:, output], output]
        if found.own and len(seen) >= 5 and seen.std() > 0.01:
            mean[output], std[output] = seen.mean(), seen.std()
    z = Series(series.day, (value - mean) / std, valid)
    _, f, variance = of_process(found.hyper, z, days, value.shape[1] - 1)
    return f * std[-1] + mean[-1] + after, np.sqrt(variance) * std[-1]
