"""Single precision where it suffices, double where the posterior is far sharper than the prior.

The recursion computes the posterior variance as a difference from the prior's. In single precision
its error is some 1e-5 of the prior variance, more where single observations are very sharp, so that
a std under a few per cent of the prior's loses its digits and may end below 0.
Source of the errors: 80,000 pixels over the bounds of `gp.fit`, with up to 700 dates.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from s1jax.gp.kernel import Hyper, Observations
from s1jax.gp.statespace import Lanes

SHARPEST = 5e-3
"""Posterior over prior variance from which on the std of single precision is right to 1.5e-3."""
INFORMATION = 1e5
"""Sum over the observations of prior variance over noise up to which the likelihood of single
precision is right to 2e-3: a tenth of what makes it infinite."""
ROUNDING = 3e-16
"""Least posterior over prior variance that a recursion over the dates resolves to 1 % in double
precision, over the number of observations and the prior variance over noise of the sharpest."""
ROUNDING_DENSE = 1e-12
"""The same of the dense solver, whatever the observations. Source of both: 600 observations in
extended precision, noise from 1e-12 to 1e-1."""


def prior_variance(hyper: Hyper) -> Float[Array, "output *lane"]:
    """Variance of each latent output before any data."""
    return jnp.sum(jnp.square(hyper.mixing) + hyper.kappa, axis=0)


def sharpness(hyper: Hyper, seen: Bool[Array, "output *lane"]) -> Float[Array, "output *lane"]:
    """Prior variance over noise of each output that was seen, else 0; inf where there is no noise.

    With n_p observations of sharpness s_p the posterior variance of any output on any day is at
    least the prior's over 1 + the sum of n_p s_p, and where output p was observed at most the
    prior's over 1 + s_p.
    """
    noise = jnp.maximum(hyper.noise, 0.0)
    return jnp.where(seen, prior_variance(hyper) / noise, 0.0)


def starts_double(hyper: Hyper, output: int) -> bool:
    """Whether one observation of an output already exceeds single precision, so that its posterior,
    wherever it was observed, needs double precision anyway."""
    noise = float(np.asarray(hyper.noise)[output])
    prior = np.asarray(prior_variance(jax.tree.map(np.asarray, hyper)))[output]
    return not float(prior) * SHARPEST <= noise


def likelihood_lanes(function: Callable[[Lanes], PyTree], lanes: Lanes) -> PyTree:
    """A likelihood, and its gradient, of each lane in the precision that suffices for it."""

    def _finite(out):
        leaves = [jnp.isfinite(leaf).reshape(-1, leaf.shape[-1]) for leaf in jax.tree.leaves(out)]
        return jnp.all(jnp.concatenate(leaves), axis=0)

    return _with_double(function, lanes, _finite)


def posterior_lanes(
    function: Callable[[Lanes], PyTree], lanes: Lanes, outputs: tuple[int, ...]
) -> tuple[Float[Array, "time output pixel"], Float[Array, "time output pixel"]]:
    """Mean and variance of some outputs of each lane, in the precision that suffices for it."""

    def _large(out):
        least = SHARPEST * prior_variance(lanes.hyper)[jnp.array(outputs)]
        return jnp.all(out[1] >= least[None], axis=(0, 1))

    return _with_double(function, lanes, _large)


def _with_double(function, lanes: Lanes, suffices) -> PyTree:
    """`function` of each lane: in double precision where that of single does not suffice.

    Which of the two a lane gets depends on no other lane. Single precision is computed for all,
    outside of any branch: the last bit of what is in a branch depends on the number of devices.
    """
    single = function(lanes)
    if lanes.value.dtype != jnp.float32:
        return single
    sharp = sharpness(lanes.hyper, jnp.any(lanes.seen > 0.0, axis=0))
    information = jnp.sum(sharp * jnp.sum(lanes.seen, axis=0), axis=0)
    # NaN compares False
    short = ~((information <= INFORMATION) & suffices(single))

    def _double(lanes):
        with jax.enable_x64(True):
            return _cast(function(_cast(lanes, jnp.float64)), jnp.float32)

    def _select(double, single):
        return jnp.where(short.reshape(*[1] * (single.ndim - 1), -1), double, single)

    double = jax.lax.cond(
        jnp.any(short), _double, lambda _: jax.tree.map(jnp.zeros_like, single), lanes
    )
    return jax.tree.map(_select, double, single)


def in_double(function: Callable) -> Callable:
    """`function(hyper, observations, ...)` in double precision, returned in the values' dtype."""

    @functools.wraps(function)
    def _call(hyper: Hyper, observations: Observations, *args, **kwargs):
        dtype = jnp.asarray(observations.value).dtype
        with jax.enable_x64(True):
            problem = _cast((hyper, observations), jnp.float64)
            return _cast(function(*problem, *args, **kwargs), dtype)

    return _call


def _cast(tree: PyTree, dtype) -> PyTree:
    def _leaf(leaf):
        leaf = jnp.asarray(leaf)
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(_leaf, tree)


def least_variance(
    hyper: Hyper, observations: Observations, outputs: tuple[int, ...], *, dense: bool
) -> Float[Array, "output"]:
    """Least posterior variance of some outputs of one pixel that double precision resolves to 1 %.

    `dense`: by a factorisation of the whole covariance, else by a recursion over the dates.
    """
    valid = jnp.asarray(observations.valid)
    hyper = _cast(hyper, jnp.asarray(observations.value).dtype)
    prior = prior_variance(hyper)[jnp.array(outputs)]
    least = ROUNDING_DENSE * prior
    if not dense:
        sharpest = jnp.max(sharpness(hyper, jnp.any(valid, axis=0)))
        count = jnp.sum(valid).astype(prior.dtype)
        least = jnp.maximum(least, ROUNDING * count * sharpest * prior)
    return least
