"""All variables of many pixels at once: the posterior of an observation, in physical units."""

import logging
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from s1jax import gp
from s1jax.chunks import map_pixels, shape
from s1jax.fusets.scale import relative, scored, within
from s1jax.gp import inducing as sparse
from s1jax.mogpr import NO_DATA, REGION_HYPER, REGION_SCALE, MogprParams
from s1jax.types import Series

log = logging.getLogger("s1jax")

EMPTY = 16
"""Quality flag beside those of `s1jax.mogpr`: some variable has no observation here."""
_CHUNK = 2048


class Fused(NamedTuple):
    """Of an observation of every variable of many pixels."""

    mean: Float[np.ndarray, "pixel query output"]
    """Physical units; NaN for a variable that the pixel has no observation of."""
    std: Float[np.ndarray, "pixel query output"]
    """Standard deviation, noise included, physical units."""
    quality: UInt8[np.ndarray, "pixel"]
    """Sum of flags; 0 is good."""


def fuse(
    params: MogprParams,
    day: Float[np.ndarray, "time"],
    value: Float[np.ndarray, "pixel time output"],
    at: Float[np.ndarray, "query"] | None,
    *,
    solver: str = "kalman",
    inducing: int | None = None,
) -> Fused:
    """Posterior mean and std of an observation of every variable on the days `at`.

    Each variable of a pixel is z-scored over its own observations, or in the region's scale where
    it has fewer than five or does not vary; where it does not vary in the region either, its mean
    stays within its own values. A pixel's result depends on no other pixel.

    Args:
      params: what `learn` returned.
      day: days of the observations, in any order; a day may be there twice.
      value: physical units, NaN where missing.
      at: days to estimate on, counted as `day`; None: the days of the observations.
      solver: a name of `gp.SOLVERS`.
      inducing: number of inducing days of the approximation; None: exact.
    """
    latents, outputs = np.shape(params.hyper.mixing)
    dtype = jnp.zeros(0).dtype
    order = np.argsort(day, kind="stable")
    first = day[order[0]]
    grid = jnp.asarray(day[order] - first, dtype)
    query = None if at is None else jnp.asarray(at - first, dtype)
    seen = np.isfinite(value)
    arrays = relative(params, value)[:, order], seen[:, order]
    lanes = gp.lanes("dense" if inducing else solver, latents, outputs)
    region = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params.hyper)

    def _chunk(part):
        z, *scale = scored(*part, own=bool(params.own), lanes=lanes)
        hyper, fine = None, np.ones(len(part[0]), bool)
        if params.prior is not None:
            prior = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params.prior)
            hyper, fine = gp.fit_pixels(Series(np.asarray(grid), z, part[1]), prior, region)
        mean, std = _posterior(
            region, grid, query, (z, part[1], hyper),
            solver=solver, inducing=inducing, lanes=lanes,
        )  # fmt: skip
        return mean, std, *scale, fine

    size = shape(len(value), most=_CHUNK, step=lanes * jax.local_device_count())
    with gp.one_thread():
        found = map_pixels(_chunk, arrays, chunk=size, label="mogpr")
    mean, std, level, scale, flag, fine = found
    if at is None:
        place = np.argsort(order, kind="stable")
        mean, std = mean[..., place], std[..., place]
    # back in double precision, for offsets far larger than what varies
    region_mean, region_std = (
        np.asarray(leaf, float) for leaf in (params.region_mean, params.region_std)
    )
    factor = (scale * region_std)[:, None]
    mean = mean.swapaxes(1, 2) * factor + (level * region_std + region_mean)[:, None]
    mean = within(params, value, flag, mean)
    std = std.swapaxes(1, 2) * factor * np.asarray(params.widen, float)
    there = seen.any(axis=1)
    mean, std = (np.where(there[:, None], leaf, np.nan) for leaf in (mean, std))
    lost = (~np.isfinite(mean + std) & there[:, None]).any(axis=(1, 2)).sum()
    if lost:
        log.warning("mogpr: results of %d pixels are not finite", lost)
    quality = (
        REGION_SCALE * (flag & there).any(axis=1)
        + NO_DATA * ~there.any(axis=1)
        + REGION_HYPER * ~fine
        + EMPTY * ~there.all(axis=1)
    )
    return Fused(mean, std, quality.astype(np.uint8))


@partial(gp.compiled, static_argnames=("solver", "inducing", "lanes"))
def _posterior(region, grid, query, arrays, *, solver: str, inducing: int | None, lanes: int):
    """Mean and std (pixel, output, query) of observations, z-scored."""
    outputs = tuple(range(region.noise.size))

    def _one(z, valid, own):
        own = region if own is None else own
        series = Series(grid, z, valid)
        if inducing is None:
            mean, variance = gp.SOLVERS[solver].condition(own, series, query, outputs)
        else:
            mean, variance = sparse.condition(own, series, query, outputs, inducing=inducing)
        return mean, jnp.sqrt(variance + own.noise[:, None])

    return gp.over_pixels(_one, *arrays, lanes=lanes)
