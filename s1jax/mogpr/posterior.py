"""The posterior of many pixels, in physical units, and what to think of each."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, UInt8

from s1jax import gp
from s1jax.chunks import map_pixels
from s1jax.gp import inducing as sparse
from s1jax.mogpr.config import MogprParams
from s1jax.mogpr.inputs import on_days, pick, plausible
from s1jax.types import NDVI, Days, Series

REGION_SCALE, NO_DATA, REGION_HYPER, IMPLAUSIBLE = 1, 2, 4, 8
"""Quality flags, summed: NDVI z-scored by the region's mean and std, as the pixel has fewer than
five values or constant ones; no data at all, so the prior; the pixel's own fit failed, so the
region's hyperparameters; values that cannot be (infinite, fills, far out of range) were left out.
0 is good."""


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
    """
    value, valid = np.asarray(series.value), np.asarray(series.valid)
    outputs = pick(series, params.channel)
    dtype = params.region_std.dtype
    days = np.asarray(days, np.float64)
    before = np.zeros((len(outputs.day), outputs.value.shape[-1]), dtype)
    after = np.zeros(days.size, dtype)
    if params.curve is not None:
        before = on_days(params.curve, outputs.day).astype(dtype)
        after = on_days(params.curve, days)[:, NDVI].astype(dtype)
    off = None if base is None else tuple(np.asarray(leaf, dtype) for leaf in base)
    grid, place, at = _timeline(np.asarray(outputs.day, np.float64), days)
    latents, count = params.hyper.mixing.shape
    batch = gp.lanes(solver, latents, count) * jax.local_device_count()
    options = {"solver": solver, "inducing": inducing}

    def _chunk(part):
        scored = _standardise(params, jnp.asarray(before), part)
        day = jnp.asarray(grid, dtype)
        hyper, fine = None, jnp.ones(len(part[0]), bool)
        if params.prior is not None:
            own = Series(outputs.day, scored.z, part[1])
            found, ok = gp.fit_pixels(own, params.prior, latents)
            fine = jnp.asarray(ok)
            hyper = jax.tree.map(
                lambda own, region: np.where(
                    ok.reshape(-1, *[1] * region.ndim), own, np.asarray(region)[None]
                ),
                found, params.hyper,
            )  # fmt: skip
        mean, std = _latent(params, day, place, at, hyper, (scored.z, part[1]), **options)
        return _physical(params, jnp.asarray(after), hyper, scored, fine, mean, std, part[2])

    arrays = (outputs.value, outputs.valid, None if off is None else off[1])
    if off is not None:
        arrays[0][..., NDVI] -= off[0]
    size = min(chunk + -chunk % batch, len(valid) + -len(valid) % batch)
    with gp.one_thread():
        found = map_pixels(_chunk, arrays, chunk=size, label="mogpr")
    dropped = (valid & ~plausible(value)).any(axis=(1, 2))
    return found._replace(quality=found.quality | (IMPLAUSIBLE * dropped).astype(np.uint8))


class _Scored(NamedTuple):
    z: Float[Array, "pixel time output"]
    mean: Float[Array, "pixel"]
    std: Float[Array, "pixel"]
    flag: Float[Array, "pixel"]
    empty: Float[Array, "pixel"]


@jax.jit
def _standardise(params: MogprParams, before, part: PyTree) -> _Scored:
    def _one(value, valid):
        own = Series(jnp.zeros(len(value)), value - before, valid)
        z, mean, std, flag = gp.standardise(own, params.region_mean, params.region_std)
        return _Scored(z.value, mean[NDVI], std[NDVI], flag[NDVI], ~jnp.any(valid))

    return jax.vmap(_one)(part[0], part[1])


@partial(gp.compiled, static_argnames=("solver", "inducing"))
def _latent(params, grid, place, at, hyper, arrays, *, solver: str, inducing: int | None):
    """Mean and std of the latent NDVI, z-scored, on the days at `at` of the grid."""

    def _of_pixel(value, valid, own):
        own = params.hyper if own is None else own
        value, valid = (
            jnp.zeros((grid.size, leaf.shape[1]), leaf.dtype).at[place].set(leaf)
            for leaf in (value, valid)
        )
        series = Series(grid, value, valid)
        if inducing is not None:
            last = own.noise.size - 1
            mean, variance = sparse.condition(own, series, grid[at], (last,), inducing=inducing)
            return mean[0], jnp.sqrt(variance[0])
        latent = gp.condition(own, series, None, channel=NDVI, solver=solver)
        return latent.mean[at], latent.std[at]

    latents, outputs = params.hyper.mixing.shape
    lanes = gp.lanes("dense" if inducing else solver, latents, outputs)
    return gp.over_pixels(_of_pixel, *arrays, hyper, lanes=lanes)


@jax.jit
def _physical(params, after, hyper, scored: _Scored, fine, mean, std, base) -> Posterior:
    noise = params.hyper.noise[NDVI] if hyper is None else hyper.noise[:, NDVI]
    level = scored.mean[:, None] + after[None]
    if base is not None:
        level = level + base
    ndvi = mean * scored.std[:, None] + level
    quality = (
        REGION_SCALE * (scored.flag & ~scored.empty) + NO_DATA * scored.empty + REGION_HYPER * ~fine
    )
    return Posterior(
        jnp.clip(ndvi, -1.0, 1.0),
        params.widen * scored.std[:, None] * std,
        params.widen * scored.std * jnp.sqrt(noise),
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
