"""Hyperparameters of every pixel: maximum a posteriori around the region's, by L-BFGS in lanes.

A step of L-BFGS evaluates the function once, so that lanes at different stages share every
evaluation: a trial that fails to decrease is repeated shorter, not in an inner loop (as the line
search of optax is). All lanes stop after some steps; those that are done are dropped.
Source: Nocedal and Wright (2006), Numerical Optimization, algorithms 7.4 (two-loop recursion) and
3.1 (backtracking).
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from s1jax.batching import bar, batch_size, chunk_size, jit_recursion, vmap_pixels
from s1jax.gp.fit import from_unconstrained, to_unconstrained, value_and_slope
from s1jax.gp.kernel import Hyper, Observations
from s1jax.gp.solve import log_likelihood

log = logging.getLogger("s1jax")

_STEPS = 6
"""Evaluations between repackings."""
_MOST = 48
"""Evaluations after which a pixel counts as failed."""
_TOLERANCE = 2e-3
"""Decrease of the objective, nats, that is not worth another evaluation."""
_WIDTH = (0.4, 0.4, 1.0, 0.7)
"""Standard deviation of log(l - 6), W, log kappa and log noise between pixels, before any data."""
_SHIFT = 0.05
"""Of a searched parameter, to both sides, for the differences of slopes."""
_ROUNDS = 3
"""Rounds of expectation maximisation for the prior."""


MEMORY = 6
"""Steps remembered."""
_DECREASE = 1e-4
"""Share of the decrease promised by the slope that a step must keep (Armijo)."""
_LONGEST_STEP = 2.0
"""Of any component of a direction."""
_MOST_REJECTED = 8
_Objective = Callable[[Float[Array, "n"]], tuple[Float[Array, ""], Float[Array, "n"]]]


class Descent(NamedTuple):
    """Where a lane is; everything needed to go on."""

    x: Float[Array, "n"]
    value: Float[Array, ""]
    slope: Float[Array, "n"]
    direction: Float[Array, "n"]
    length: Float[Array, ""]
    """Of the trial to come, in units of `direction`."""
    moved: Float[Array, "memory n"]
    """Last steps, newest first."""
    bent: Float[Array, "memory n"]
    """Change of the slope over each."""
    weight: Float[Array, "memory"]
    """1 / (moved . bent); 0 where nothing is remembered."""
    rejected: Int[Array, ""]
    """Trials in a row that failed."""
    evaluations: Int[Array, ""]
    done: Bool[Array, ""]


def begin(x: Float[Array, "n"]) -> Descent:
    """A lane at `x` before its first evaluation, which any finite value passes."""
    memory, zero = jnp.zeros((MEMORY, x.size), x.dtype), jnp.zeros((), jnp.int32)
    return Descent(
        x=x,
        value=jnp.full((), jnp.inf, x.dtype),
        slope=jnp.zeros_like(x),
        direction=jnp.zeros_like(x),
        length=jnp.ones((), x.dtype),
        moved=memory,
        bent=memory,
        weight=memory[:, 0],
        rejected=zero,
        evaluations=zero,
        done=jnp.zeros((), bool),
    )


def advance(objective: _Objective, lane: Descent, steps: int, tolerance: float) -> Descent:
    """`lane` after at most `steps` more evaluations, each a trial of one step.

    `objective` gives value and slope, in coordinates in which the curvature is about one. The lane
    is done when half the squared slope, which is the decrease still to be had there, is below
    `tolerance`, or when eight trials in a row failed: in rounding, or where a value is not finite.
    """

    def _going(carry):
        lane, taken = carry
        return ~lane.done & (taken < steps)

    def _step(carry):
        lane, taken = carry
        return _trial(objective, lane, tolerance), taken + 1

    return jax.lax.while_loop(_going, _step, (lane, jnp.zeros((), jnp.int32)))[0]


def _trial(objective: _Objective, lane: Descent, tolerance: float) -> Descent:
    x = lane.x + lane.length * lane.direction
    value, slope = objective(x)
    finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(slope))
    promised = jnp.sum(lane.slope * lane.direction)
    rounding = 10.0 * jnp.finfo(x.dtype).eps * jnp.abs(lane.value)
    enough = lane.value + _DECREASE * lane.length * promised + rounding
    better = finite & (value <= enough)

    moved, bent = x - lane.x, slope - lane.slope
    curvature = jnp.sum(moved * bent)
    size = jnp.sqrt(jnp.sum(jnp.square(moved)) * jnp.sum(jnp.square(bent)))
    convex = better & (curvature > 1e-6 * size)
    newest = moved, bent, 1.0 / jnp.where(convex, curvature, 1.0)
    memory = tuple(
        jnp.where(convex, jnp.concatenate([jnp.expand_dims(new, 0), old[:-1]]), old)
        for new, old in zip(newest, (lane.moved, lane.bent, lane.weight), strict=True)
    )
    # the parabola through value, slope and the failed trial has its least where to try next
    excess = jnp.where(finite, value - lane.value - lane.length * promised, 1.0)
    shorter = -promised * jnp.square(lane.length) / (2.0 * jnp.maximum(excess, 1e-30))
    shorter = jnp.where(finite, shorter, 0.1 * lane.length)
    shorter = jnp.clip(shorter, 0.1 * lane.length, 0.5 * lane.length)

    at, slope = jnp.where(better, x, lane.x), jnp.where(better, slope, lane.slope)
    rejected = jnp.where(better, 0, lane.rejected + 1)
    direction = -_two_loop(slope, *memory)
    longest = jnp.maximum(jnp.max(jnp.abs(direction)), 1e-30)
    direction = direction * jnp.minimum(1.0, _LONGEST_STEP / longest)
    small = 0.5 * jnp.sum(jnp.square(slope)) < tolerance
    return Descent(
        x=at,
        value=jnp.where(better, value, lane.value),
        slope=slope,
        direction=jnp.where(better, direction, lane.direction),
        length=jnp.where(better, jnp.ones_like(shorter), shorter),
        moved=memory[0],
        bent=memory[1],
        weight=memory[2],
        rejected=rejected,
        evaluations=lane.evaluations + 1,
        done=(better & small) | (rejected >= _MOST_REJECTED),
    )


def _two_loop(slope, moved, bent, weight):
    """The inverse curvature times the slope; what is not remembered has weight 0."""
    shares = []
    for s, y, w in zip(moved, bent, weight, strict=True):
        share = w * jnp.sum(s * slope)
        slope = slope - share * y
        shares.append(share)
    for s, y, w, share in reversed(list(zip(moved, bent, weight, shares, strict=True))):
        slope = slope + s * (share - w * jnp.sum(y * slope))
    return slope


class Prior(NamedTuple):
    """Gaussian of the pixels' unconstrained hyperparameters (`fit.to_unconstrained`)."""

    mean: Float[Array, "parameter"]
    precision: Float[Array, "parameter parameter"]
    """Inverse covariance."""
    root: Float[Array, "parameter parameter"]
    """R with R R^T the covariance of a typical pixel's posterior: x = mean + R u has about unit
    curvature in u."""


def prior(observations: Observations, hyper: Hyper) -> Prior:
    """The Gaussian prior of the pixels' hyperparameters around the region's, from a sample of them.

    Three rounds of expectation maximisation, equation (24) of docs/concepts/gp.md; deterministic.
    Where the fit of most pixels of the sample fails they end, and the log says so.

    Args:
      observations: a sample of pixels (pixel, time, output); the dtype of its values is used.
      hyper: the region's, of maximum likelihood of that sample (`gp.fit`): far from there most fits
        fail.
    """
    dtype = jax.dtypes.canonicalize_dtype(observations.value.dtype)
    hyper = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), hyper)
    latents, outputs = hyper.mixing.shape
    square = latents * outputs
    width = np.repeat(_WIDTH, [latents, square, square, outputs])
    curvature = _curvature(observations, hyper)
    prior = _prior(to_unconstrained(hyper), np.diag(width**2), curvature, dtype)
    for _ in range(_ROUNDS):
        rows, ok = _rows(observations, prior, latents)
        if 2 * ok.sum() <= ok.size:
            log.warning(
                "prior of the pixels: only %d of %d fits succeeded; it stays as it was",
                ok.sum(), ok.size,
            )  # fmt: skip
            break
        rows = np.asarray(rows, np.float64)[ok]
        spread = np.cov(rows.T, bias=True) + np.asarray(prior.root @ prior.root.T, np.float64)
        prior = _prior(rows.mean(axis=0), spread, curvature, dtype)
    return prior


def fit_pixels(
    observations: Observations, prior: Prior, region: Hyper
) -> tuple[Hyper, Bool[np.ndarray, "pixel"]]:
    """Hyperparameters of every pixel, on the first axis, and where the fit succeeded.

    Equation (23) of docs/concepts/gp.md, from the prior's mean, all pixels at once. Deterministic,
    and a pixel's result depends on no other pixel. Where a pixel fails (values not finite, or not
    done after 48 evaluations) it is False and its hyperparameters are those of `region`.
    """
    latents, outputs = region.mixing.shape
    rows, ok = _rows(observations, prior, latents)
    hyper = _constrained(rows, latents=latents, outputs=outputs)

    def _or_region(leaf, region):
        region = np.asarray(region, leaf.dtype)
        return np.where(ok.reshape(-1, *[1] * region.ndim), leaf, region[None])

    return jax.tree.map(_or_region, hyper, region), ok


def _rows(
    observations: Observations, prior: Prior, latents: int
) -> tuple[Float[np.ndarray, "pixel parameter"], Bool[np.ndarray, "pixel"]]:
    """Unconstrained rows, and where the fit succeeded; the prior's mean where it did not."""
    dtype = prior.mean.dtype
    day = jnp.asarray(observations.day, dtype)
    value, valid = np.asarray(observations.value, dtype), np.asarray(observations.valid)
    n, _, outputs = value.shape
    batch = batch_size("kalman", latents, outputs) * jax.local_device_count()
    block = chunk_size(n, most=16 * batch, step=batch)
    state = jax.tree.map(
        lambda leaf: np.repeat(np.asarray(leaf)[None], n, axis=0), begin(jnp.zeros_like(prior.mean))
    )
    waiting = np.arange(n)
    for taken in range(0, _MOST, _STEPS):
        blocks = range(0, waiting.size, block)
        for start in bar(blocks, f"fit of pixels, evaluations {taken + 1} on", "block"):
            some = waiting[start : start + block]
            # one shape for every call: the last block is filled up with copies of its last pixel
            index = some[np.minimum(np.arange(block), some.size - 1)]
            part = jax.tree.map(lambda leaf, i=index: leaf[i], (value, valid, state))
            # copies are done before they begin: a batch of them alone takes no time
            part[2].done[some.size :] = True
            part = _further(prior, day, part, latents=latents)
            for leaf, new in zip(state, part, strict=True):
                leaf[some] = np.asarray(new)[: some.size]
        waiting = waiting[~state.done[waiting]]
    ok = state.done & np.isfinite(state.value) & np.isfinite(state.x).all(axis=1)
    log.info(
        "fit of %d pixels: %.1f evaluations on average, %d failed",
        n, state.evaluations.mean(), n - ok.sum(),
    )  # fmt: skip
    # column by column: a matrix product orders its sums by the number of pixels
    x = np.where(ok[:, None], state.x, 0.0).astype(dtype)
    root = np.asarray(prior.root)
    moved = sum(x[:, k : k + 1] * root[None, :, k] for k in range(len(root)))
    return np.asarray(prior.mean) + moved, ok


@partial(jit_recursion, static_argnames=("latents",))
def _further(prior: Prior, day: Float[Array, "time"], part: PyTree, *, latents: int) -> Descent:
    """Every pixel's descent some evaluations on, in the coordinates u of `Prior.root`."""

    def _of_pixel(value, valid, lane):
        observations = Observations(day, value, valid)

        def _cost(u):
            off = prior.root @ u
            hyper = from_unconstrained(prior.mean + off, latents, value.shape[-1])
            return 0.5 * off @ prior.precision @ off - log_likelihood(hyper, observations)

        return advance(jax.value_and_grad(_cost), lane, _STEPS, _TOLERANCE)

    return vmap_pixels(_of_pixel, *part, lanes=batch_size("kalman", latents, part[0].shape[-1]))


@partial(jax.jit, static_argnames=("latents", "outputs"))
def _constrained(rows, *, latents: int, outputs: int) -> Hyper:
    return jax.vmap(lambda row: from_unconstrained(row, latents, outputs))(jnp.asarray(rows))


def _curvature(
    observations: Observations, hyper: Hyper
) -> Float[np.ndarray, "parameter parameter"]:
    """Mean over the sample of the second derivatives of -log p(z), by differences of slopes."""
    row = np.asarray(to_unconstrained(hyper))

    def _slope(k, shift):
        moved = row.copy()
        moved[k] += shift
        return value_and_slope(moved, observations, latents=hyper.mixing.shape[0])[1].mean(axis=0)

    columns = [(_slope(k, -_SHIFT) - _slope(k, _SHIFT)) / (2.0 * _SHIFT) for k in range(row.size)]
    curvature = np.stack(columns)
    value, vector = np.linalg.eigh(0.5 * (curvature + curvature.T))
    return (vector * np.maximum(value, 1e-3)) @ vector.T


def _prior(mean, covariance, curvature, dtype) -> Prior:
    precision = np.linalg.inv(np.asarray(covariance, np.float64))
    root = np.linalg.cholesky(np.linalg.inv(curvature + precision))
    return Prior(*(jnp.asarray(leaf, dtype) for leaf in (mean, precision, root)))
