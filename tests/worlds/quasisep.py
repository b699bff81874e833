"""A second oracle: likelihood and posterior by tinygp's quasiseparable solver."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from tinygp import GaussianProcess
from tinygp.solvers import QuasisepSolver

from s1jax.gp.kernel import Hyper, Observations, Points, kernel, points
from s1jax.gp.precision import in_double
from s1jax.types import Days


class _Problem(NamedTuple):
    """One pixel's process at all outputs of a day, day by day, and what was observed there."""

    process: GaussianProcess
    observed: Float[Array, "point"]
    count: Float[Array, ""]


def _problem(hyper: Hyper, observations: Observations) -> _Problem:
    # As in the dense solver, a missing point stands alone: no covariance, unit variance, value 0.
    value, valid = jnp.asarray(observations.value), jnp.asarray(observations.valid)
    days, outputs = value.shape
    mask = valid.astype(value.dtype)
    observed = jnp.where(valid, value, 0.0).reshape(-1)
    noise = (mask * jnp.asarray(hyper.noise)[None, :] + (1.0 - mask)).reshape(-1)
    day = jnp.repeat(jnp.asarray(observations.day, value.dtype), outputs)
    where = Points(day, jnp.tile(jnp.arange(outputs), days), mask.reshape(-1))
    process = GaussianProcess(
        kernel(hyper),
        where,
        diag=noise,
        mean_value=jnp.zeros_like(observed),
        solver=QuasisepSolver,
        assume_sorted=True,
    )
    return _Problem(process, observed, jnp.sum(mask))


@jax.default_matmul_precision("highest")  # a GPU's TF32 would cost three digits
def log_likelihood(hyper: Hyper, observations: Observations) -> Float[Array, ""]:
    """log N(z; 0, K + noise) of the valid values of one pixel; see `s1jax.gp.log_likelihood`."""
    process, observed, count = _problem(hyper, observations)
    # not tinygp's log_probability, which makes -inf of a failure and counts missing points
    white = process.solver.solve_triangular(observed)
    log_det = jnp.sum(jnp.log(process.solver.factor.diag.d))
    return -0.5 * jnp.sum(jnp.square(white)) - log_det - 0.5 * math.log(2.0 * math.pi) * count


@in_double
@jax.default_matmul_precision("highest")
def condition(
    hyper: Hyper, observations: Observations, at: Days | None, outputs: tuple[int, ...]
) -> tuple[Float[Array, "output query"], Float[Array, "output query"]]:
    """Mean and variance of some latent outputs on the days `at`; see `s1jax.gp.condition`.

    The days `at` may come in any order; those of the observations ascend, as `Observations` says.
    """
    process, observed, _ = _problem(hyper, observations)
    at = jnp.asarray(observations.day if at is None else at, observed.dtype)
    shape = (len(outputs), at.size)
    query = points(at, jnp.array(outputs), jnp.ones(shape, observed.dtype))
    # tinygp's condition(observed, query, diag=0) forms the posterior covariance of every pair of
    # queries; its diagonal is all that is needed.
    cross = process.kernel(process.X, query)
    solved = process.solver.solve_triangular(jnp.column_stack([cross, observed]))
    cross, white = solved[:, :-1], solved[:, -1]
    variance = process.kernel(query) - jnp.sum(jnp.square(cross), axis=0)
    return (white @ cross).reshape(shape), variance.reshape(shape)
