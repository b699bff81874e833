"""Likelihood and posterior by tinygp's dense Cholesky solver: cubic in observations, the oracle."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from tinygp import GaussianProcess
from tinygp.solvers import DirectSolver

from s1jax.gp.kernel import Grid, Hyper, kernel
from s1jax.gp.precision import in_double
from s1jax.types import Days, Series


class _Problem(NamedTuple):
    """One pixel's process at all outputs and days, and what was observed there (0 where not)."""

    process: GaussianProcess
    observed: Float[Array, "point"]
    count: Float[Array, ""]


def _problem(hyper: Hyper, series: Series) -> _Problem:
    # Shapes must not depend on what is missing. A point that is missing has no covariance with any
    # other, unit variance and value 0: a factor of the likelihood of its own, and nothing else.
    value, valid = jnp.asarray(series.value), jnp.asarray(series.valid)
    mask = valid.T.astype(value.dtype)
    observed = jnp.where(valid, value, 0.0).T.reshape(-1)
    noise = (mask * jnp.asarray(hyper.noise)[:, None] + (1.0 - mask)).reshape(-1)
    grid = Grid(jnp.asarray(series.day, value.dtype), jnp.arange(mask.shape[0]), mask)
    # named, as tinygp would take a quasiseparable solver for this kernel
    process = GaussianProcess(
        kernel(hyper),
        grid,
        diag=noise,
        mean_value=jnp.zeros_like(observed),
        solver=DirectSolver,
    )
    return _Problem(process, observed, jnp.sum(mask))


@jax.default_matmul_precision("highest")  # a GPU's TF32 would cost three digits
def log_likelihood(hyper: Hyper, series: Series) -> Float[Array, ""]:
    """log N(z; 0, K + noise) of the valid values of one pixel; see `s1jax.gp.log_likelihood`."""
    process, observed, count = _problem(hyper, series)
    # tinygp's log_probability turns a failed factorisation (NaN) into -inf and counts log(2 pi) for
    # missing points too; its solver tells the same without either.
    white = process.solver.solve_triangular(observed)
    log_det = jnp.sum(jnp.log(jnp.diag(process.solver.scale_tril)))
    return -0.5 * jnp.sum(jnp.square(white)) - log_det - 0.5 * math.log(2.0 * math.pi) * count


@in_double
@jax.default_matmul_precision("highest")
def condition(
    hyper: Hyper, series: Series, at: Days | None, outputs: tuple[int, ...]
) -> tuple[Float[Array, "output query"], Float[Array, "output query"]]:
    """Mean and variance of some latent outputs on the days `at`; see `s1jax.gp.condition`."""
    process, observed, _ = _problem(hyper, series)
    at = jnp.asarray(series.day if at is None else at, observed.dtype)
    shape = (len(outputs), at.size)
    query = Grid(at, jnp.array(outputs), jnp.ones(shape, observed.dtype))
    # The diagonal of tinygp's condition(observed, query, diag=0), whose full posterior covariance
    # would cost as much again; its predict() would add sqrt(eps) to the variance. One solve for
    # both: on two cores jaxlib 0.10.2 can deadlock on two batched LAPACK calls that do not wait for
    # each other.
    both = jnp.column_stack([process.kernel(process.X, query), observed])
    solved = process.solver.solve_triangular(both)
    cross, white = solved[:, :-1], solved[:, -1]
    variance = process.kernel(query) - jnp.sum(jnp.square(cross), axis=0)
    return (white @ cross).reshape(shape), variance.reshape(shape)
