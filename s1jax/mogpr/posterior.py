"""The posterior of many pixels in physical units: of any output, and of NDVI with its flags."""

import logging
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from s1jax import batching, gp
from s1jax.batching import chunk_size, map_chunks, refuse_forked
from s1jax.gp.dense import condition_sparse
from s1jax.gp.precision import in_double, least_variance, starts_double
from s1jax.mogpr.config import MogprParams
from s1jax.mogpr.inputs import (
    FURTHEST,
    check_hyper,
    on_days,
    outputs_of,
    standardise,
    standardise_pixels,
)
from s1jax.quality import CLIPPED, IMPLAUSIBLE, IMPRECISE, NO_DATA, REGION_HYPER, REGION_SCALE
from s1jax.types import Days, Estimate, Series

log = logging.getLogger("s1jax")

_FURTHEST_DAY = 1e9
"""Days since 1970 beyond which single precision and calendars end."""


class OutputEstimate(NamedTuple):
    """Posterior of the latent outputs of many pixels, in their units."""

    mean: Float[Array | np.ndarray, "pixel output query"]
    std: Float[Array | np.ndarray, "pixel output query"]
    """Positive, or NaN where double precision does not resolve it."""
    noise: Float[Array | np.ndarray, "pixel output"]
    """Standard deviation of an observation about the latent output."""
    region_scale: Bool[Array | np.ndarray, "pixel output"]
    """Fewer than five values, or constant ones: z-scored by the region's mean and std."""
    region_hyper: Bool[Array | np.ndarray, "pixel"]
    """The pixel's own fit failed."""
    far: Bool[Array | np.ndarray, "pixel"]
    """Radar far off the region's was left out."""
    data: Bool[Array | np.ndarray, "pixel"]
    """There is an observation."""


def posterior(params: MogprParams, series: Series, days: Days, *, chunk: int = 4096) -> Estimate:
    """Posterior of the NDVI of every pixel on `days`, given the valid values of `series`; flags.

    Equation (26) of docs/concepts/gp.md: mean within [-1, 1], std positive, or NaN and flagged
    IMPRECISE. Several threads may call it; one is served after the other. Radar alone suffices.

    Args:
      params: of `fit_region` or the fit of `mogpr`.
      series: many pixels.
      days: any days, in any order; none give arrays without a column.
      chunk: pixels per call, rounded up to whole batches.

    Raises:
      ValueError: unknown solver, a chunk below 1, a day that is not finite, hyperparameters that no
        process has, or a series without the channels of `params` or with days that do not ascend.
      RuntimeError: in a process that was forked after its parent used JAX.
    """
    observations, implausible = outputs_of(series, params.inputs)
    last = len(params.inputs)
    estimate = posterior_of_outputs(params, observations, days, outputs=(last,), chunk=chunk)
    mean, std = estimate.mean[:, 0], estimate.std[:, 0]
    imprecise = ~(np.isfinite(mean) & np.isfinite(std)).all(axis=1)
    flags = (
        (REGION_SCALE, estimate.region_scale[:, 0] & estimate.data),
        (NO_DATA, ~estimate.data),
        (REGION_HYPER, estimate.region_hyper),
        (IMPLAUSIBLE, implausible | estimate.far),
        (CLIPPED, (np.abs(mean) > 1.0).any(axis=1)),
        (IMPRECISE, imprecise),
    )
    if imprecise.any():
        log.warning(
            "mogpr: double precision does not resolve the std of %d of %d pixels: the noise "
            "variance, %.1e, is too small",
            imprecise.sum(), len(mean), np.min(np.asarray(params.hyper.noise)),
        )  # fmt: skip
    quality = np.sum([np.where(where, flag, 0) for flag, where in flags], axis=0).astype(np.uint8)
    return Estimate(np.clip(mean, -1.0, 1.0), std, estimate.noise[:, 0], quality)


def posterior_of_outputs(
    params: MogprParams,
    observations: gp.Observations,
    days: Days,
    *,
    outputs: tuple[int, ...],
    furthest: float = FURTHEST,
    chunk: int = 4096,
) -> OutputEstimate:
    """Posterior of some latent outputs of every pixel on `days`; a pixel depends on no other.

    `observations` are in the units of `params.region_mean`, whatever its `inputs` name, and a day
    may repeat. Radar (all outputs but the last) is left out beyond the z-score `furthest`.

    Raises:
      ValueError, RuntimeError: as `posterior`.
    """
    refuse_forked()
    days = np.asarray(days, np.float64)
    _check(params, days, chunk)
    if not days.size:
        # arrays without a column cannot be indexed: one day is estimated and left out
        first = np.asarray(observations.day)[:1]
        options = {"outputs": outputs, "furthest": furthest, "chunk": chunk}
        one = posterior_of_outputs(params, observations, first, **options)
        return one._replace(mean=one.mean[..., :0], std=one.std[..., :0])
    dtype, day = params.region_std.dtype, np.asarray(observations.day)
    before = np.zeros((day.size, params.region_std.size), dtype)
    after = np.zeros((days.size, len(outputs)), dtype)
    if params.curve is not None:
        before = on_days(params.curve, day).astype(dtype)
        after = on_days(params.curve, days)[:, list(outputs)].astype(dtype)
    grid, index, at = _timeline(day.astype(np.float64), days)
    lanes = batching.batch_size(
        "dense" if params.inducing else params.solver, *params.hyper.mixing.shape
    )
    # each lane decides for hyperparameters of its own
    double = params.prior is None and any(starts_double(params.hyper, k) for k in outputs)
    shared = replace(params, prior=None, curve=None)

    def _chunk(part):
        hyper, region_hyper = None, np.zeros(len(part[0]), bool)
        if params.prior is not None:
            value, valid = part
            z = standardise_pixels(
                value.astype(dtype) - before[None], valid, params.region_mean, params.region_std,
                by_pixel=params.scale_by_pixel, furthest=furthest,
            )  # fmt: skip
            hyper, ok = gp.fit_pixels(gp.Observations(day, *z[:2]), params.prior, params.hyper)
            region_hyper = ~ok
        dates = jnp.asarray(grid, dtype), index, at
        mean, std, noise, region_scale, far, data = _posterior(
            shared, before, after, dates, (*part, hyper),
            outputs=outputs, furthest=furthest, double=double, lanes=lanes,
        )  # fmt: skip
        return OutputEstimate(mean, std, noise, region_scale, region_hyper, far, data)

    step = lanes * jax.local_device_count()
    arrays = (np.asarray(observations.value), np.asarray(observations.valid))
    with batching.one_thread():
        size = chunk_size(len(arrays[0]), most=chunk, step=step)
        return map_chunks(_chunk, arrays, chunk=size, label="mogpr")


def _check(params: MogprParams, days: np.ndarray, chunk: int) -> None:
    if params.solver not in gp.SOLVERS:
        raise ValueError(f"solver: got {params.solver!r}, expected one of {sorted(gp.SOLVERS)}")
    if chunk < 1:
        raise ValueError(f"chunk: got {chunk} pixels, expected 1 or more")
    if days.ndim != 1:
        raise ValueError(f"days: got shape {days.shape}, expected one axis of days")
    near = np.abs(days) < _FURTHEST_DAY
    if not near.all():
        expected = f"finite days since 1970, below {_FURTHEST_DAY:.0e}"
        raise ValueError(f"days: got {days[~near][0]}, expected {expected}")
    check_hyper(params.hyper)


@partial(batching.jit_recursion, static_argnames=("outputs", "furthest", "double", "lanes"))
def _posterior(
    params: MogprParams, before, after, dates, arrays, *, outputs, furthest, double, lanes
) -> tuple[Array, ...]:
    """From values to the posterior in their units, one batch of pixels after the other.

    `before` and `after` are the prior mean on the days of the observations and of the query,
    `dates` is of `_timeline`, `arrays` are value, valid, and the pixels' hyperparameters or None.
    """
    grid, index, at = dates
    factorised = params.inducing is not None or params.solver == "dense"
    solve = gp.SOLVERS[params.solver].condition
    if params.inducing is not None:
        solve = partial(condition_sparse, inducing=params.inducing)
    if double:
        solve = in_double(solve)

    def _pixel(value, valid, hyper):
        z = standardise(
            value.astype(before.dtype) - before, valid, params.region_mean, params.region_std,
            by_pixel=params.scale_by_pixel, furthest=furthest,
        )  # fmt: skip
        hyper = params.hyper if hyper is None else hyper
        if factorised:
            observations = gp.Observations(grid[index], z.value, z.valid)
            mean, variance = solve(hyper, observations, grid[at], outputs)
        else:
            # a recursion takes the query days as dates without an observation
            z_on_grid, valid_on_grid = (
                jnp.zeros((grid.size, leaf.shape[1]), leaf.dtype).at[index].set(leaf)
                for leaf in (z.value, z.valid)
            )
            observations = gp.Observations(grid, z_on_grid, valid_on_grid)
            mean, variance = solve(hyper, observations, None, outputs)
            mean, variance = mean[:, at], variance[:, at]
        least = least_variance(hyper, observations, outputs, dense=factorised)
        std = jnp.sqrt(jnp.where(variance > least[:, None], variance, jnp.nan))
        some = jnp.array(outputs)
        scale = z.std[some]
        return (
            mean * scale[:, None] + (z.mean[some][:, None] + after.T),
            params.std_factor * scale[:, None] * std,
            params.std_factor * scale * jnp.sqrt(hyper.noise[some]),
            z.region_scale[some],
            z.far,
            jnp.any(z.valid),
        )

    return batching.vmap_pixels(_pixel, *arrays, lanes=lanes)


def _timeline(
    day: Float[np.ndarray, "time"], days: Float[np.ndarray, "query"]
) -> tuple[Float[np.ndarray, "date"], Int[np.ndarray, "time"], Int[np.ndarray, "query"]]:
    """All dates, ascending, and the indices of the series' days and of the query days among them.

    Days since the first, which single precision holds exactly to the minute.
    """
    both = np.concatenate([day, np.setdiff1d(days, day)])
    order = np.argsort(both, kind="stable")
    index = np.argsort(order, kind="stable")[: day.size]
    grid = both[order]
    return grid - grid[0], index, np.searchsorted(grid, days)
