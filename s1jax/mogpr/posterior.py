"""The posterior of many pixels, in physical units, and what to think of each."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8

from s1jax import gp
from s1jax.chunks import map_pixels, shape
from s1jax.gp import inducing as sparse
from s1jax.mogpr.config import MogprParams
from s1jax.mogpr.inputs import on_days, pick, source
from s1jax.mogpr.region import Scored, scored
from s1jax.types import NDVI, Days, Series

REGION_SCALE, NO_DATA, REGION_HYPER, IMPLAUSIBLE = 1, 2, 4, 8
"""Quality flags, summed: little NDVI, fewer than five values or constant ones, so that the region's
mean and std stand for the pixel's; no data at all, so the prior; the pixel's own fit failed, so the
region's hyperparameters; values that cannot be were left out (not finite, fills, far out of range,
radar more than five of the region's standard deviations from its mean). 0 is good."""


class Posterior(NamedTuple):
    """Of the latent NDVI of many pixels."""

    mean: Float[np.ndarray, "pixel query"]
    """1; within [-1, 1]."""
    std: Float[np.ndarray, "pixel query"]
    """1; positive."""
    noise: Float[np.ndarray, "pixel"]
    """Standard deviation of an observation about it, 1."""
    quality: UInt8[np.ndarray, "pixel"]
    """Sum of flags; 0 is good."""


def posterior(
    params: MogprParams,
    series: Series,
    days: Days,
    *,
    base: tuple[np.ndarray, np.ndarray] | None = None,
    solver: str = "kalman",
    inducing: int | None = None,
    chunk: int = 8192,
) -> Posterior:
    """Mean and std of the NDVI of every pixel on `days`, given what is valid in `series`.

    Args:
      params: what `learn` returned, or the fit of `mogpr`.
      series: many pixels, physical units.
      days: any days, in any order.
      base: NDVI to take off before and add after, on the series' days (pixel, time) and on `days`
        (pixel, query): the mean of another method.
      solver: a name of `gp.SOLVERS`.
      inducing: number of inducing days of the approximation; None: exact.
      chunk: pixels per call, at most.

    Raises:
      ValueError: unknown solver, a chunk below 1, a day that is not finite, or a series without
        the channels of `params` or with days that do not ascend.
    """
    days = np.asarray(days, np.float64)
    if solver not in gp.SOLVERS:
        raise ValueError(f"solver: got {solver!r}, expected one of {sorted(gp.SOLVERS)}")
    if chunk < 1:
        raise ValueError(f"chunk: got {chunk} pixels, expected 1 or more")
    if not np.isfinite(days).all():
        raise ValueError(f"days: got {days[~np.isfinite(days)][0]}, expected finite numbers")
    outputs, dtype = pick(series, params.channel), params.region_std.dtype
    outputs = outputs._replace(value=outputs.value.astype(dtype))
    pixels = len(outputs.value)
    before = np.zeros((len(outputs.day), outputs.value.shape[-1]), dtype)
    after = np.zeros(days.size, dtype)
    if params.curve is not None:
        before = on_days(params.curve, outputs.day).astype(dtype)
        after = on_days(params.curve, days)[:, NDVI].astype(dtype)
    off = None if base is None else tuple(np.asarray(leaf, dtype) for leaf in base)
    grid, place, at = _timeline(np.asarray(outputs.day, np.float64), days)
    gp.warn_of_rounding(params.hyper)
    latents, count = params.hyper.mixing.shape
    batch = gp.lanes(solver, latents, count) * jax.local_device_count()
    options = {"solver": solver, "inducing": inducing}

    def _chunk(part):
        value, valid, more = part
        region = params.region_mean, params.region_std
        told = scored(value - before[None], valid, *region, own=bool(params.own))
        day = jnp.asarray(grid, dtype)
        hyper, fine = None, np.ones(len(part[0]), bool)
        if params.prior is not None:
            own = Series(outputs.day, told.z, told.valid)
            hyper, fine = gp.fit_pixels(own, params.prior, params.hyper)
        mean, std = _latent(params, day, place, at, hyper, told[:2], **options)
        return _physical(params, jnp.asarray(after), hyper, told, fine, mean, std, more)

    arrays = (outputs.value, outputs.valid, None if off is None else off[1])
    if off is not None:
        arrays[0][..., NDVI] -= off[0]
    size = shape(pixels, most=chunk, step=batch)
    with gp.one_thread():
        found = map_pixels(_chunk, arrays, chunk=size, label="mogpr")
    seen = np.asarray(series.valid)[..., source(params.channel)]
    dropped = (seen & ~outputs.valid).any(axis=(1, 2))
    return found._replace(quality=found.quality | (IMPLAUSIBLE * dropped).astype(np.uint8))


@partial(gp.compiled, static_argnames=("solver", "inducing"))
def _latent(params, grid, place, at, hyper, arrays, *, solver: str, inducing: int | None):
    """Mean and std of the latent NDVI, z-scored, on the days at `at` of the grid."""

    def _of_pixel(value, valid, own):
        own = params.hyper if own is None else own
        if inducing is not None:
            series, last = Series(grid[place], value, valid), own.noise.size - 1
            mean, variance = sparse.condition(own, series, grid[at], (last,), inducing=inducing)
            return mean[0], jnp.sqrt(variance[0])
        value, valid = (
            jnp.zeros((grid.size, leaf.shape[1]), leaf.dtype).at[place].set(leaf)
            for leaf in (value, valid)
        )
        latent = gp.condition(own, Series(grid, value, valid), None, channel=NDVI, solver=solver)
        return latent.mean[at], latent.std[at]

    latents, outputs = params.hyper.mixing.shape
    lanes = gp.lanes("dense" if inducing else solver, latents, outputs)
    return gp.over_pixels(_of_pixel, *arrays, hyper, lanes=lanes)


@jax.jit
def _physical(params, after, hyper, told: Scored, fine, mean, std, base) -> Posterior:
    noise = params.hyper.noise[NDVI] if hyper is None else hyper.noise[:, NDVI]
    scale = told.std[:, NDVI]
    level = told.mean[:, NDVI][:, None] + after[None]
    if base is not None:
        level = level + base
    ndvi = mean * scale[:, None] + level
    empty = ~jnp.any(told.valid, axis=(1, 2))
    quality = (
        jnp.where(told.flag[:, NDVI] & ~empty, REGION_SCALE, 0)
        + jnp.where(empty, NO_DATA, 0)
        + jnp.where(fine, 0, REGION_HYPER)
        + jnp.where(told.far, IMPLAUSIBLE, 0)
    )
    return Posterior(
        jnp.clip(ndvi, -1.0, 1.0),
        params.widen * scale[:, None] * std,
        params.widen * scale * jnp.sqrt(noise),
        quality.astype(jnp.uint8),
    )


def _timeline(
    day: Float[np.ndarray, "time"], days: Float[np.ndarray, "query"]
) -> tuple[Float[np.ndarray, "date"], Int[np.ndarray, "time"], Int[np.ndarray, "query"]]:
    """All dates, ascending, and where those of the series and those asked for are among them.

    Days since the first, which single precision holds exactly to the minute.
    """
    new = np.setdiff1d(days, day)
    both = np.concatenate([day, new])
    order = np.argsort(both, kind="stable")
    place = np.argsort(order, kind="stable")[: day.size]
    grid = both[order]
    return grid - grid[0], place, np.searchsorted(grid, days)
