"""By Cholesky factors: tinygp's dense solver, exact, cubic in observations; inducing days."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from tinygp import GaussianProcess
from tinygp.solvers import DirectSolver

from s1jax.gp.kernel import Hyper, Observations, kernel, points
from s1jax.gp.precision import in_double
from s1jax.types import Days


class _Problem(NamedTuple):
    """One pixel's process at all outputs and days, and what was observed there (0 where not)."""

    process: GaussianProcess
    observed: Float[Array, "point"]
    count: Float[Array, ""]


def _problem(hyper: Hyper, observations: Observations) -> _Problem:
    # Shapes must not depend on what is missing. A point that is missing has no covariance with any
    # other, unit variance and value 0: a factor of the likelihood of its own, and nothing else.
    value, valid = jnp.asarray(observations.value), jnp.asarray(observations.valid)
    mask = valid.T.astype(value.dtype)
    observed = jnp.where(valid, value, 0.0).T.reshape(-1)
    noise = (mask * jnp.asarray(hyper.noise)[:, None] + (1.0 - mask)).reshape(-1)
    day = jnp.asarray(observations.day, value.dtype)
    # the solver is named: tinygp would choose a quasiseparable one for this kernel; a DirectSolver
    # has a scale_tril, which its annotations lack
    process = GaussianProcess(
        kernel(hyper),
        points(day, jnp.arange(mask.shape[0]), mask),
        diag=noise,
        mean_value=jnp.zeros_like(observed),
        solver=DirectSolver,
    )
    return _Problem(process, observed, jnp.sum(mask))


@jax.default_matmul_precision("highest")  # a GPU's TF32 would cost three digits
def log_likelihood(hyper: Hyper, observations: Observations) -> Float[Array, ""]:
    """See `s1jax.gp.log_likelihood`."""
    process, observed, count = _problem(hyper, observations)
    # tinygp's log_probability turns a failed factorisation (NaN) into -inf and counts log(2 pi) for
    # missing points too; its solver does neither.
    white = process.solver.solve_triangular(observed)
    log_det = jnp.sum(jnp.log(jnp.diag(process.solver.scale_tril)))  # pyright: ignore[reportAttributeAccessIssue]
    return -0.5 * jnp.sum(jnp.square(white)) - log_det - 0.5 * math.log(2.0 * math.pi) * count


@in_double
@jax.default_matmul_precision("highest")
def condition(
    hyper: Hyper, observations: Observations, at: Days | None, outputs: tuple[int, ...]
) -> tuple[Float[Array, "output query"], Float[Array, "output query"]]:
    """Mean and variance of some latent outputs; see `s1jax.gp.condition`."""
    process, observed, _ = _problem(hyper, observations)
    at = jnp.asarray(observations.day if at is None else at, observed.dtype)
    shape = (len(outputs), at.size)
    query = points(at, jnp.array(outputs), jnp.ones(shape, observed.dtype))
    # The diagonal of tinygp's condition(observed, query, diag=0), whose full posterior covariance
    # would cost as much again; its predict() would add sqrt(eps) to the variance. One solve for
    # both: on two cores jaxlib 0.10.2 can deadlock on two batched LAPACK calls that do not wait for
    # each other.
    both = jnp.column_stack([process.kernel(process.X, query), observed])
    solved = process.solver.solve_triangular(both)
    cross, white = solved[:, :-1], solved[:, -1]
    variance = process.kernel(query) - jnp.sum(jnp.square(cross), axis=0)
    return (white @ cross).reshape(shape), variance.reshape(shape)


@in_double
@jax.default_matmul_precision("highest")
def condition_sparse(
    hyper: Hyper,
    observations: Observations,
    at: Days | None,
    outputs: tuple[int, ...],
    *,
    inducing: int,
) -> tuple[Float[Array, "output query"], Float[Array, "output query"]]:
    """Mean and variance of some latent outputs on the days `at`, by inducing points; z-scored.

    Equation (30) of docs/concepts/gp.md. The inducing points are all outputs on `inducing` days
    evenly spread from the first to the last day of the observations, whatever is valid there, so
    that all pixels share them. Exact where they hold every day of the observations; on days far
    from all of them the variance is the prior's.

    For rounding's sake: with K_mm = L L^T and B = I + L^-1 K_mn N^-1 K_nm L^-T, whose eigenvalues
    are 1 or more, S^-1 = L^-T B^-1 L^-1. K_mm's diagonal is raised by its size times the machine's
    epsilon times the largest variance, without which K_mm has no factor where inducing days are
    close to each other, as beside a long length scale. The computation is in double precision;
    where that does not suffice the result is NaN.
    Source: Quiñonero-Candela and Rasmussen (2005), A unifying view of sparse approximate Gaussian
    process regression (deterministic training conditional).

    Raises:
      ValueError: inducing < 2.
    """
    if inducing < 2:
        raise ValueError(f"inducing: got {inducing}, expected at least 2 days")
    value, valid = jnp.asarray(observations.value), jnp.asarray(observations.valid)
    dtype, channels = value.dtype, jnp.arange(value.shape[1])
    day = jnp.asarray(observations.day, dtype)
    at = day if at is None else jnp.asarray(at, dtype)
    mask = valid.T.astype(dtype)
    precision = mask / jnp.asarray(hyper.noise)[:, None]
    covariance = kernel(hyper)
    spread = jnp.linspace(day[0], day[-1], inducing, dtype=dtype)
    shape = len(outputs), at.size
    chosen = points(spread, channels, jnp.ones((channels.size, inducing), dtype))
    query = points(at, jnp.array(outputs), jnp.ones(shape, dtype))

    # each factorisation and solve waits for the one before: on two cores jaxlib 0.10.2 can deadlock
    # on two batched LAPACK calls that do not
    prior = covariance(chosen, chosen)
    jitter = prior.shape[0] * jnp.finfo(dtype).eps * jnp.max(jnp.diagonal(prior))
    lower = jnp.linalg.cholesky(prior + jitter * jnp.eye(prior.shape[0], dtype=dtype))
    white = _solve(
        lower,
        covariance(chosen, points(day, channels, mask)) * jnp.sqrt(precision).reshape(1, -1),
        covariance(chosen, query),
    )
    seen, target = white[:, : mask.size], white[:, mask.size :]
    whole = jnp.linalg.cholesky(jnp.eye(prior.shape[0], dtype=dtype) + seen @ seen.T)
    z = jnp.sqrt(precision) * jnp.where(valid, value, 0.0).T
    solved = _solve(whole, (seen @ z.reshape(-1))[:, None], target)
    mean, share = solved[:, 0] @ solved[:, 1:], solved[:, 1:]
    reduction = jnp.sum(jnp.square(target), axis=0) - jnp.sum(jnp.square(share), axis=0)
    return mean.reshape(shape), (covariance(query) - reduction).reshape(shape)


def _solve(lower: Float[Array, "m m"], *columns: Float[Array, "m _"]) -> Float[Array, "m columns"]:
    """lower^-1 of all columns, at once."""
    return jax.scipy.linalg.solve_triangular(lower, jnp.concatenate(columns, axis=1), lower=True)
