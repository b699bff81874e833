"""Minimising a smooth function of few parameters, resumably: L-BFGS of one lane, to be vmapped.

Each step evaluates the function once, so that lanes at different stages share every evaluation: a
trial that fails to decrease is repeated shorter, not in an inner loop. A caller stops all lanes
after some steps, drops those that are done and goes on with the rest.
Source: Nocedal and Wright (2006), Numerical Optimization, algorithms 7.4 (two-loop recursion) and
3.1 (backtracking).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

MEMORY = 6
"""Steps remembered."""
_DECREASE = 1e-4
"""Share of the decrease promised by the slope that a step must keep (Armijo)."""
_LONGEST_STEP = 2.0
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

    It is done when half the squared slope, which is the decrease still to be had where the
    curvature is one, is below `tolerance`, or when eight trials in a row failed: in rounding, or at
    a value that is not finite.

    Args:
      objective: value and slope, in coordinates in which the curvature is about one.
      lane: where to go on.
      steps: evaluations, at most.
      tolerance: decrease not worth another evaluation, in units of the value.
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
    memory = _remember(lane, moved, bent, 1.0 / jnp.where(convex, curvature, 1.0))
    memory = jax.tree.map(
        lambda new, old: jnp.where(convex, new, old), memory, (lane.moved, lane.bent, lane.weight)
    )
    # the parabola through value, slope and the failed trial has its least where to try next
    excess = jnp.where(finite, value - lane.value - lane.length * promised, 1.0)
    shorter = -promised * jnp.square(lane.length) / (2.0 * jnp.maximum(excess, 1e-30))
    shorter = jnp.where(finite, shorter, 0.1 * lane.length)
    shorter = jnp.clip(shorter, 0.1 * lane.length, 0.5 * lane.length)

    at, slope = jnp.where(better, x, lane.x), jnp.where(better, slope, lane.slope)
    rejected = jnp.where(better, 0, lane.rejected + 1)
    return Descent(
        x=at,
        value=jnp.where(better, value, lane.value),
        slope=slope,
        direction=jnp.where(better, _limit(-_two_loop(slope, *memory)), lane.direction),
        length=jnp.where(better, jnp.ones_like(shorter), shorter),
        moved=memory[0],
        bent=memory[1],
        weight=memory[2],
        rejected=rejected,
        evaluations=lane.evaluations + 1,
        done=(better & (_promise(slope) < tolerance)) | (rejected >= _MOST_REJECTED),
    )


def _remember(lane: Descent, moved, bent, weight):
    return tuple(
        jnp.concatenate([jnp.expand_dims(new, 0), old[:-1]])
        for new, old in ((moved, lane.moved), (bent, lane.bent), (weight, lane.weight))
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


def _limit(direction):
    """No component longer than the longest step."""
    longest = jnp.maximum(jnp.max(jnp.abs(direction)), 1e-30)
    return direction * jnp.minimum(1.0, _LONGEST_STEP / longest)


def _promise(slope):
    return 0.5 * jnp.sum(jnp.square(slope))
