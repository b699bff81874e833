"""Likelihood and posterior of one pixel by the batched Kalman filter and its adjoint.

The functions are of one pixel; mapped over pixels by `jax.vmap` they become one recursion over the
dates with all pixels in lanes, not a loop. The gradient is the hand-written one of `gp.adjoint`.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float

from s1jax.gp import adjoint, precision
from s1jax.gp import statespace as ss
from s1jax.gp.kernel import Hyper, Observations
from s1jax.types import Days


def log_likelihood(hyper: Hyper, observations: Observations) -> Float[Array, ""]:
    """See `s1jax.gp.log_likelihood`.

    Differentiable once, in reverse mode, in `hyper` and the values and days of `observations`.
    """
    return -_nll(_lanes(hyper, observations))


def condition(
    hyper: Hyper, observations: Observations, at: Days | None, outputs: tuple[int, ...]
) -> tuple[Float[Array, "output query"], Float[Array, "output query"]]:
    """Mean and variance of some latent outputs; see `s1jax.gp.condition`."""
    lanes = _lanes(hyper, observations)
    if at is None:
        mean, variance = _posterior(outputs)(lanes)
        return mean.T, variance.T
    # the query days join the others as dates without an observation
    observed, more = lanes.day.size, at.shape[0]
    at = jnp.asarray(at, lanes.day.dtype) - jnp.asarray(observations.day[0], lanes.day.dtype)
    day = jnp.concatenate([lanes.day, at])
    order = jnp.argsort(day)
    value, seen = (jnp.pad(leaf, ((0, more), (0, 0)))[order] for leaf in (lanes.value, lanes.seen))
    mean, variance = _posterior(outputs)(ss.Lanes(lanes.hyper, day[order], value, seen))
    index = jnp.argsort(order)[observed:]
    return mean[index].T, variance[index].T


def _lanes(hyper: Hyper, observations: Observations) -> ss.Lanes:
    """One pixel, still without an axis of pixels."""
    value, valid = jnp.asarray(observations.value), jnp.asarray(observations.valid)
    hyper = Hyper(*map(jnp.asarray, hyper))
    day = jnp.asarray(observations.day, value.dtype)
    # days since 1970 are large: differences of nearby days lose nothing counted from the first
    return ss.Lanes(hyper, day - day[0], jnp.where(valid, value, 0.0), valid.astype(value.dtype))


def _batched(function):
    """`function` of lanes as a function of one pixel that vmap turns back into lanes."""

    @custom_vmap
    def _one(lanes: ss.Lanes):
        out = function(jax.tree.map(lambda leaf: leaf[..., None], lanes))
        return jax.tree.map(lambda leaf: leaf[..., 0], out)

    @_one.def_vmap
    def _many(axis_size, batched, lanes):
        def _last(leaf, mapped):
            return jnp.moveaxis(leaf, 0, -1) if mapped else leaf[..., None]

        leaves, tree = jax.tree.flatten(lanes)
        lanes = tree.unflatten(map(_last, leaves, jax.tree.leaves(batched)))
        # hyperparameters and days that all share stay one lane; observations fill theirs
        value, seen = (
            jnp.broadcast_to(leaf, (*leaf.shape[:-1], axis_size))
            for leaf in (lanes.value, lanes.seen)
        )
        out = function(lanes._replace(value=value, seen=seen))
        out = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), out)
        return out, jax.tree.map(lambda _: True, out)

    return _one


def _posterior(outputs: tuple[int, ...]):
    posterior = partial(adjoint.posterior, outputs=outputs)
    return _batched(lambda lanes: precision.posterior_lanes(posterior, lanes, outputs))


_value = _batched(
    lambda lanes: precision.likelihood_lanes(lambda some: ss.forward(some, None)[0], lanes)
)
_value_and_slope = _batched(partial(precision.likelihood_lanes, adjoint.value_and_slope))


@jax.custom_vjp
def _nll(lanes: ss.Lanes) -> Float[Array, ""]:
    return _value(lanes)


def _nll_forward(lanes):
    # the gradient of a scalar is as small as its arguments: it is all the backward pass needs
    return _value_and_slope(lanes)


def _nll_backward(slope, cotangent):
    scaled = jax.tree.map(lambda leaf: cotangent * leaf, slope)
    return (ss.Lanes(scaled.hyper, scaled.day, scaled.value, jnp.zeros_like(scaled.value)),)


_nll.defvjp(_nll_forward, _nll_backward)
