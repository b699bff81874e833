"""Likelihood and posterior of one pixel, by the solver asked for."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from s1jax.gp import dense, kalman, quasisep
from s1jax.gp.kernel import Hyper
from s1jax.gp.precision import deviation, in_double
from s1jax.types import Days, Estimate, Series

SOLVERS = {"kalman": kalman, "quasisep": quasisep, "dense": dense}
"""Solvers by name: modules with `log_likelihood` and `condition` of one pixel."""


def log_likelihood(hyper: Hyper, series: Series, *, solver: str = "kalman") -> Float[Array, ""]:
    """log p(z) = log N(z; 0, K + diag(noise)) of the valid values of one pixel, nats.

    K = sum_q Matern32(|t - t'|; l_q) (x) B_q, B_q = W_q W_q^T + diag(kappa_q). Values that are not
    valid are dropped exactly, whatever they hold. Where the precision does not suffice to factorise
    K the result is NaN: in float32, for all but the Kalman solver, noise far below 1e-2; that one
    computes in float64 what float32 cannot tell.

    Args:
      hyper: length scales in days; the rest in units of the z-scored outputs.
      series: one pixel, z-scored outputs (time, channel); days need not be regular.
      solver: a name of `SOLVERS`.

    Raises:
      ValueError: unknown solver, or `hyper` and `series` disagree in their number of outputs.
    """
    _check(hyper, series, solver)
    return SOLVERS[solver].log_likelihood(hyper, _since_first(series, None)[0])


def condition(
    hyper: Hyper,
    series: Series,
    at: Days | None,
    *,
    channel: int,
    solver: str = "kalman",
    double: bool = False,
) -> Estimate:
    """Posterior of the latent f of one output given the valid values of one pixel, z-scored.

    mean = k^T (K + N)^-1 z, std^2 = k(0) - k^T (K + N)^-1 k, with k the covariance of f on a day
    asked for with the observations and N the diagonal of their noise; `noise` is the standard
    deviation of an observation about f, sqrt(hyper.noise[channel]). The std of float32 arrays is
    that of float64 to 5e-3 of it: what float32 cannot tell is computed in float64, and what that
    cannot tell either (noise some 1e-10 of the variance) is NaN.
    Source: Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, section 2.2.

    Args:
      hyper: length scales in days; the rest in units of the z-scored outputs.
      series: one pixel, z-scored outputs (time, channel); days need not be regular.
      at: days to estimate on; may lie before, between and after the days of the series. None: the
        days of the series themselves, and the grid is not made longer by them.
      channel: the output; negative counts from the last.
      solver: a name of `SOLVERS`.
      double: compute in float64 at once, without trying float32 (`precision.starts_double`).

    Raises:
      ValueError: unknown solver, no such channel, or `hyper` and `series` disagree in outputs.
    """
    _check(hyper, series, solver)
    outputs = hyper.noise.shape[0]
    if not -outputs <= channel < outputs:
        raise ValueError(f"channel: got {channel}, expected an index of {outputs} outputs")
    output = (channel % outputs,)
    series, at = _since_first(series, at)
    solve = SOLVERS[solver].condition
    mean, variance = (in_double(solve) if double else solve)(hyper, series, at, output)
    std = deviation(variance, hyper, series, output, dense=solver == "dense")
    return Estimate(mean[0], std[0], jnp.sqrt(hyper.noise[channel]))


def condition_outputs(
    hyper: Hyper, series: Series, at: Days | None, *, solver: str = "kalman"
) -> tuple[Float[Array, "output query"], Float[Array, "output query"]]:
    """Mean and std of the latent of every output at once, as `condition` tells it for one.

    Raises:
      ValueError: unknown solver, or `hyper` and `series` disagree in their number of outputs.
    """
    _check(hyper, series, solver)
    everything = tuple(range(hyper.noise.shape[0]))
    series, at = _since_first(series, at)
    mean, variance = SOLVERS[solver].condition(hyper, series, at, everything)
    return mean, deviation(variance, hyper, series, everything, dense=solver == "dense")


def _since_first(series: Series, at: Days | None) -> tuple[Series, Days | None]:
    """Days since the first of the series: in single precision those since 1970 are 3 minutes apart.

    Arrays of JAX are in the caller's precision already.
    """
    if not isinstance(series.day, np.ndarray) or not (at is None or isinstance(at, np.ndarray)):
        return series, at
    day = np.asarray(series.day, np.float64)
    first = day[:1]
    return series._replace(day=day - first), None if at is None else np.asarray(at) - first


def _check(hyper: Hyper, series: Series, solver: str) -> None:
    outputs, shape = hyper.noise.shape[0], series.value.shape
    if solver not in SOLVERS:
        raise ValueError(f"solver: got {solver!r}, expected one of {sorted(SOLVERS)}")
    if len(shape) != 2 or shape[1] != outputs:
        raise ValueError(f"series.value: got shape {shape}, expected (time, {outputs}): one pixel")
