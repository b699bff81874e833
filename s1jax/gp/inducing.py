"""Sparse posterior of one pixel: inducing days instead of all days. Approximate."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from s1jax.gp.kernel import Grid, Hyper, kernel
from s1jax.gp.precision import in_double
from s1jax.types import Days, Series


@in_double
@jax.default_matmul_precision("highest")  # a GPU's TF32 would not suffice for B
def condition(
    hyper: Hyper, series: Series, at: Days | None, outputs: tuple[int, ...], *, inducing: int
) -> tuple[Float[Array, "output query"], Float[Array, "output query"]]:
    """Mean and variance of some latent outputs on the days `at`, by inducing points; z-scored.

    mean = k_*m S^-1 K_mn N^-1 z, variance = k_** - k_*m (K_mm^-1 - S^-1) k_m*, with
    S = K_mm + K_mn N^-1 K_nm and N the noise of the valid observations n. The inducing points m are
    all outputs on `inducing` days evenly spread from the first to the last day of the series,
    whatever is valid there, so that all pixels share them. Exact where they hold every day of the
    series; on days far from all of them the variance is the prior's.

    For rounding's sake: with K_mm = L L^T and B = I + L^-1 K_mn N^-1 K_nm L^-T, whose eigenvalues
    are 1 or more, S^-1 = L^-T B^-1 L^-1. K_mm's diagonal is raised by its size times the machine's
    epsilon times the largest variance, without which inducing days close to each other, as beside a
    long length scale, could not be told apart. It is computed in double precision. Where that does
    not suffice the result is NaN.
    Source: Quiñonero-Candela and Rasmussen (2005), A unifying view of sparse approximate Gaussian
    process regression (deterministic training conditional).

    Args:
      hyper: length scales in days; the rest in units of the z-scored outputs.
      series: one pixel, z-scored outputs (time, channel); days need not be regular.
      at: days to estimate on, in any order; None: the days of the series.
      outputs: which outputs, from 0.
      inducing: number of inducing days.

    Raises:
      ValueError: inducing < 2.
    """
    if inducing < 2:
        raise ValueError(f"inducing: got {inducing}, expected at least 2 days")
    value, valid = jnp.asarray(series.value), jnp.asarray(series.valid)
    dtype, channels = value.dtype, jnp.arange(value.shape[1])
    day = jnp.asarray(series.day, dtype)
    at = day if at is None else jnp.asarray(at, dtype)
    mask = valid.T.astype(dtype)
    precision = mask / jnp.asarray(hyper.noise)[:, None]
    covariance = kernel(hyper)
    spread = jnp.linspace(day[0], day[-1], inducing, dtype=dtype)
    points = Grid(spread, channels, jnp.ones((channels.size, inducing), dtype))
    query = Grid(at, jnp.array(outputs), jnp.ones((len(outputs), at.size), dtype))

    # each factorisation and solve waits for the one before: on two cores jaxlib 0.10.2 can deadlock
    # on two batched LAPACK calls that do not
    own = covariance(points, points)
    jitter = own.shape[0] * jnp.finfo(dtype).eps * jnp.max(jnp.diagonal(own))
    lower = jnp.linalg.cholesky(own + jitter * jnp.eye(own.shape[0], dtype=dtype))
    white = _solve(
        lower,
        covariance(points, Grid(day, channels, mask)) * jnp.sqrt(precision).reshape(1, -1),
        covariance(points, query),
    )
    seen, asked = white[:, : mask.size], white[:, mask.size :]
    whole = jnp.linalg.cholesky(jnp.eye(own.shape[0], dtype=dtype) + seen @ seen.T)
    target = jnp.sqrt(precision) * jnp.where(valid, value, 0.0).T
    solved = _solve(whole, (seen @ target.reshape(-1))[:, None], asked)
    mean, share = solved[:, 0] @ solved[:, 1:], solved[:, 1:]
    known = jnp.sum(jnp.square(asked), axis=0) - jnp.sum(jnp.square(share), axis=0)
    return mean.reshape(query.mask.shape), (covariance(query) - known).reshape(query.mask.shape)


def _solve(lower: Float[Array, "m m"], *columns: Float[Array, "m _"]) -> Float[Array, "m columns"]:
    """lower^-1 of all columns, at once."""
    return jax.scipy.linalg.solve_triangular(lower, jnp.concatenate(columns, axis=1), lower=True)
