"""MOGPR: the multi-output Gaussian process with the region's hyperparameters, as an Estimator."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree, UInt8

from s1jax import gp
from s1jax.chunks import map_pixels
from s1jax.types import NDVI, Days, Estimate, Estimator, Key, Series


@dataclass(frozen=True)
class MogprConfig:
    """Options of `mogpr`."""

    latents: int = 2
    """Latent processes, each with its own length scale; 1 is the intrinsic model."""
    sample: int = 256
    """Training pixels, drawn at random, that the region's hyperparameters are fitted on."""
    iterations: int = 200
    """Most steps of the optimiser in that fit."""
    chunk: int = 256
    """Pixels per call; changes speed and memory, no digit of the result."""


class MogprParams(NamedTuple):
    """What MOGPR learns from a region."""

    hyper: gp.Hyper
    """Hyperparameters of all pixels, on z-scored outputs."""
    region_mean: Float[Array, "channel"]
    """Mean of each channel over the training pixels' valid values, physical units."""
    region_std: Float[Array, "channel"]
    """Its standard deviation, physical units."""


def mogpr(config: MogprConfig = MogprConfig()) -> Estimator:
    """Estimator of NDVI by a Gaussian process over all channels: mean and std of its posterior.

    Each channel of a pixel is z-scored over its own valid values, or by the region's mean and std
    where it has fewer than five (so always where it has no NDVI: then Sentinel-1 alone tells). The
    hyperparameters are one set, of maximum likelihood over a sample of training pixels. A pixel
    without any data gets the prior: the region's mean and about its std. `Estimate.noise` is one
    number: sqrt(hyper.noise) of NDVI in units of the region's std.
    Source of the model: Pipia et al. (2019), Fusing optical and SAR time series for LAI gap filling
    with multioutput Gaussian processes, Remote Sensing of Environment 235.
    """

    def _fit(key: Key, train: Series, val: Series) -> MogprParams:
        del val
        region_mean, region_std = _region(train)
        some = np.flatnonzero(np.asarray(train.valid).any(axis=(1, 2)))
        drawn = jax.random.choice(key, some, (min(config.sample, some.size),), replace=False)
        value, valid = (np.asarray(leaf)[np.sort(drawn)] for leaf in (train.value, train.valid))
        z = jax.vmap(lambda *pixel: gp.standardise(Series(day, *pixel), region_mean, region_std)[0])
        day = jnp.asarray(train.day, region_mean.dtype)
        sample = Series(day, z(jnp.asarray(value), jnp.asarray(valid)).value, jnp.asarray(valid))
        start = gp.initial(config.latents, value.shape[-1])
        hyper = gp.fit(sample, start, chunk=config.chunk, iterations=config.iterations)
        return MogprParams(hyper, region_mean, region_std)

    def _predict(params: MogprParams, series: Series, days: Days) -> Estimate:
        dtype = params.region_std.dtype
        day, at = jnp.asarray(series.day, dtype), jnp.asarray(days, dtype)
        with gp.one_thread():
            mean, std = map_pixels(
                partial(_posterior, params, day, at),
                (series.value, series.valid),
                chunk=config.chunk,
                label="mogpr",
            )
        noise = jnp.sqrt(params.hyper.noise[NDVI]) * params.region_std[NDVI]
        return Estimate(jnp.asarray(mean), jnp.asarray(std), noise)

    return Estimator(_fit, _predict)


def quality(params: MogprParams, series: Series) -> UInt8[Array, "*pixel"]:
    """0 where MOGPR uses the pixel's own NDVI scale, 1 where the region's, 2 where it has no data.

    Args:
      params: what the fit returned.
      series: any leading pixel axes.
    """
    shape = series.valid.shape
    flat = (jnp.asarray(leaf).reshape(-1, *shape[-2:]) for leaf in (series.value, series.valid))

    def _of_pixel(value, valid):
        flag = gp.standardise(Series(day, value, valid), params.region_mean, params.region_std)[3]
        return jnp.where(jnp.any(valid), flag[NDVI].astype(jnp.uint8), jnp.uint8(2))

    day = jnp.asarray(series.day, params.region_std.dtype)
    return jax.vmap(_of_pixel)(*flat).reshape(shape[:-2])


@jax.jit
def _posterior(
    params: MogprParams, day: Float[Array, "time"], at: Days, arrays: PyTree
) -> tuple[Float[Array, "pixel query"], Float[Array, "pixel query"]]:
    """Mean and std of the latent NDVI of each pixel, 1."""

    def _of_pixel(value, valid):
        series = Series(day, value, valid)
        z, mean, std, _ = gp.standardise(series, params.region_mean, params.region_std)
        latent = gp.condition(params.hyper, z, at, channel=NDVI)
        ndvi = jnp.clip(latent.mean * std[NDVI] + mean[NDVI], -1.0, 1.0)
        return ndvi, latent.std * std[NDVI]

    return gp.over_pixels(_of_pixel, *arrays)


def _region(series: Series) -> tuple[Float[Array, "channel"], Float[Array, "channel"]]:
    """Mean and standard deviation of each channel over all valid values."""
    dtype = jax.dtypes.canonicalize_dtype(series.value.dtype)
    channels = series.value.shape[-1]
    value, valid = np.asarray(series.value), np.asarray(series.valid)
    mean, std = np.empty(channels), np.empty(channels)
    for channel in range(channels):
        seen = value[..., channel][valid[..., channel]].astype(np.float64)
        if seen.size < 2 or seen.std() == 0.0:
            raise ValueError(
                f"training values of channel {channel} (of {channels}, NDVI last): got {seen.size} "
                "valid values that do not vary, expected two or more that do"
            )
        mean[channel], std[channel] = seen.mean(), seen.std()
    return jnp.asarray(mean, dtype), jnp.asarray(std, dtype)
