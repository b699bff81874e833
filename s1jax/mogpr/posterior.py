"""The posterior of many pixels, in physical units, and what to think of each."""

import logging
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from s1jax import gp
from s1jax.chunks import map_pixels, shape
from s1jax.forked import refuse_forked
from s1jax.gp import inducing as sparse
from s1jax.gp.precision import deviation, least_variance, starts_double
from s1jax.mogpr.config import MogprParams
from s1jax.mogpr.inputs import check, check_hyper, on_days, picked, source
from s1jax.mogpr.region import Scored, score
from s1jax.types import NDVI, Days, Series

log = logging.getLogger("s1jax")

_FURTHEST = 1e9
"""Days since 1970 beyond which single precision and calendars end."""

REGION_SCALE, NO_DATA, REGION_HYPER, IMPLAUSIBLE, CLIPPED, IMPRECISE = 1, 2, 4, 8, 32, 64
"""Quality flags, summed: little NDVI, fewer than five values or constant ones, so that the region's
mean and std stand for the pixel's; no data at all, so the prior; the pixel's own fit failed, so the
region's hyperparameters; values that cannot be were left out (not finite, fills, far out of range,
radar more than five of the region's standard deviations from its mean); the estimate left [-1, 1]
and is clipped; double precision cannot tell the std on some day, which is NaN there (noise far
below what a fit may find). 0 is good."""


class Posterior(NamedTuple):
    """Of the latent NDVI of many pixels."""

    mean: Float[np.ndarray, "pixel query"]
    """1; within [-1, 1]."""
    std: Float[np.ndarray, "pixel query"]
    """1; positive, or NaN and flagged."""
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
    chunk: int = 4096,
) -> Posterior:
    """Mean and std of the NDVI of every pixel on `days`, given what is valid in `series`.

    Threads may ask at once; one after the other is computed. Where no NDVI is valid, radar tells.

    Args:
      params: what `learn` returned, or the fit of `mogpr`.
      series: many pixels, physical units.
      days: any days, in any order; none give arrays without a column.
      base: NDVI to take off before and add after, on the series' days (pixel, time) and on `days`
        (pixel, query): the mean of another method.
      solver: a name of `gp.SOLVERS`.
      inducing: number of inducing days of the approximation; None: exact.
      chunk: pixels per call, rounded up to whole batches.

    Raises:
      ValueError: unknown solver, a chunk below 1, a day that is not finite, hyperparameters that
        cannot be, or a series without the channels of `params` or with days that do not ascend.
      RuntimeError: in a process that was forked after its parent used JAX.
    """
    refuse_forked()
    days = np.asarray(days, np.float64)
    if solver not in gp.SOLVERS:
        raise ValueError(f"solver: got {solver!r}, expected one of {sorted(gp.SOLVERS)}")
    if chunk < 1:
        raise ValueError(f"chunk: got {chunk} pixels, expected 1 or more")
    if days.ndim != 1:
        raise ValueError(f"days: got shape {days.shape}, expected one axis of days")
    if not (np.abs(days) < _FURTHEST).all():
        bad = days[~(np.abs(days) < _FURTHEST)][0]
        raise ValueError(f"days: got {bad}, expected finite days since 1970, below {_FURTHEST:.0e}")
    check(series, params.channel)
    check_hyper(params.hyper)
    if not days.size:
        # arrays without a column cannot be indexed: one day is estimated and left out
        less = None if base is None else (base[0], base[0][:, :1])
        one = posterior(
            params, series, np.asarray(series.day)[:1], base=less, solver=solver,
            inducing=inducing, chunk=chunk,
        )  # fmt: skip
        quality = one.quality & ~np.uint8(CLIPPED | IMPRECISE)
        return Posterior(one.mean[:, :0], one.std[:, :0], one.noise, quality)
    dtype, channel = params.region_std.dtype, tuple(params.channel.tolist())
    day, pixels = np.asarray(series.day), len(series.value)
    before, after = np.zeros((day.size, len(channel)), dtype), np.zeros(days.size, dtype)
    if params.curve is not None:
        before = on_days(params.curve, day).astype(dtype)
        after = on_days(params.curve, days)[:, NDVI].astype(dtype)
    off = None if base is None else tuple(np.asarray(leaf, dtype) for leaf in base)
    grid, place, at = _timeline(day.astype(np.float64), days)
    batch = gp.lanes(solver, *params.hyper.mixing.shape) * jax.local_device_count()
    options = {"channel": channel, "own": bool(params.own)}
    # of pixels' own hyperparameters each lane decides
    double = params.prior is None and starts_double(params.hyper, NDVI)

    def _chunk(part):
        hyper, fine = None, np.ones(len(part[0]), bool)
        if params.prior is not None:
            told, _ = _told_of_all(params, before, part[:4], **options)
            hyper, fine = gp.fit_pixels(Series(day, *told[:2]), params.prior, params.hyper)
        dates = jnp.asarray(grid, dtype), place, at
        return _of_all(
            params, before, after, dates, (*part, hyper, fine), **options,
            solver=solver, inducing=inducing, double=double,
        )  # fmt: skip

    arrays = (*series[1:3], series.smooth if min(channel) < NDVI else None, *(off or (None, None)))
    size = shape(pixels, most=chunk, step=batch)
    with gp.one_thread():
        estimate = map_pixels(_chunk, arrays, chunk=size, label="mogpr")
    flagged = int(((estimate.quality & IMPRECISE) > 0).sum())
    if flagged:
        log.warning(
            "mogpr: double precision cannot tell the std of %d of %d pixels: the noise variance, "
            "%.1e, is too small",
            flagged, pixels, np.min(np.asarray(params.hyper.noise)),
        )  # fmt: skip
    return estimate


def _told(params, before, value, valid, smooth, less, *, channel, own) -> tuple[Scored, Array]:
    """z-scored outputs of a pixel, less the prior mean, and whether values cannot be."""
    sound, known = picked(value, valid, smooth, channel=channel)
    seen = jnp.stack([valid[..., p] for p in source(np.array(channel)).tolist()], axis=-1)
    sound = sound.astype(before.dtype) - before
    if less is not None:
        sound = sound.at[:, NDVI].add(-less)
    day = jnp.zeros(len(sound), sound.dtype)
    told = score(Series(day, sound, known), params.region_mean, params.region_std, own=own)
    return told, told.far | jnp.any(seen & ~known)


@partial(jax.jit, static_argnames=("channel", "own"))
def _told_of_all(params, before, arrays, *, channel, own):
    return jax.vmap(partial(_told, params, before, channel=channel, own=own))(*arrays)


@partial(gp.compiled, static_argnames=("channel", "own", "solver", "inducing", "double"))
def _of_all(
    params, before, after, dates, arrays, *, channel, own, solver, inducing, double
) -> Posterior:
    """All of it, from values to flags, of one batch of pixels after the other."""
    grid, place, at = dates

    def _of_pixel(value, valid, smooth, less, more, hyper, fine):
        told, dropped = _told(
            params, before, value, valid, smooth, less, channel=channel, own=own
        )  # fmt: skip
        hyper = params.hyper if hyper is None else hyper
        last, dense = (len(channel) - 1,), inducing is not None or solver == "dense"
        if inducing is not None:
            series = Series(grid[place], told.z, told.valid)
            mean, variance = sparse.condition(hyper, series, grid[at], last, inducing=inducing)
            mean, std = mean[0], deviation(variance, hyper, series, last, dense=True)[0]
        else:
            z, known = (
                jnp.zeros((grid.size, leaf.shape[1]), leaf.dtype).at[place].set(leaf)
                for leaf in told[:2]
            )
            series = Series(grid, z, known)
            latent = gp.condition(hyper, series, None, channel=NDVI, solver=solver, double=double)
            mean, std = latent.mean[at], latent.std[at]
        # of float64 parameters too
        least = least_variance(hyper, series, last, dense=dense)[0]
        std = jnp.where(jnp.square(std) > least, std, jnp.nan)
        return _physical(params, after, hyper, told, dropped, fine, mean, std, more)

    lanes = gp.lanes("dense" if inducing else solver, *params.hyper.mixing.shape)
    return gp.over_pixels(_of_pixel, *arrays, lanes=lanes)


def _physical(params, after, hyper, told: Scored, dropped, fine, mean, std, more) -> Posterior:
    """z-scores of a pixel back to NDVI, and its flags."""
    scale, level = told.std[NDVI], told.mean[NDVI] + after
    level = level if more is None else level + more
    empty = ~jnp.any(told.valid)
    ndvi = mean * scale + level
    flags = (
        (REGION_SCALE, told.flag[NDVI] & ~empty),
        (NO_DATA, empty),
        (REGION_HYPER, ~fine),
        (IMPLAUSIBLE, dropped),
        (CLIPPED, jnp.any(jnp.abs(ndvi) > 1.0)),
        (IMPRECISE, ~jnp.all(jnp.isfinite(ndvi) & jnp.isfinite(std))),
    )
    quality = sum(jnp.where(where, flag, 0) for flag, where in flags)
    return Posterior(
        jnp.clip(ndvi, -1.0, 1.0),
        params.widen * scale * std,
        params.widen * scale * jnp.sqrt(hyper.noise[NDVI]),
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
