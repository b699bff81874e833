"""Likelihood, posterior and posterior draws of one pixel, by a solver of choice.

"kalman" (`gp.kalman`) is linear in the dates, all pixels of a `jax.vmap` in one recursion; "dense"
(`gp.dense`) is tinygp's, cubic in the observations: the definition of the model, to check others
against. Both are exact and give the same numbers.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from s1jax.gp import dense, kalman
from s1jax.gp.kernel import Hyper, Observations
from s1jax.gp.precision import least_variance
from s1jax.types import Days, Key

SOLVERS = {"kalman": kalman, "dense": dense}
"""Solvers by name: modules with `log_likelihood` and `condition` of one pixel."""


def log_likelihood(
    hyper: Hyper, observations: Observations, *, solver: str = "kalman"
) -> Float[Array, ""]:
    """log p(z) of the valid values of one pixel, nats: equation (6) of docs/concepts/gp.md.

    Values that are not valid are dropped exactly. Where the precision does not suffice to factorise
    K the result is NaN: for the dense solver in float32 with noise far below 1e-2.

    Raises:
      ValueError: unknown solver, or `hyper` and `observations` disagree in their number of outputs.
    """
    _check(hyper, observations, solver)
    return SOLVERS[solver].log_likelihood(hyper, _since_first(observations, None)[0])


def condition(
    hyper: Hyper,
    observations: Observations,
    at: Days | None,
    *,
    output: int | None,
    solver: str = "kalman",
) -> tuple[Float[Array, "*output query"], Float[Array, "*output query"]]:
    """Mean and std of the latent f of one output, or of all, given the valid values of one pixel.

    Equation (7) of docs/concepts/gp.md. The std of an observation is sqrt(std^2 + hyper.noise). The
    std of float32 arrays is that of float64 to 5e-3; where double precision does not resolve it to
    1 % either (noise some 1e-10 of the variance) it is NaN.
    Source: Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, section 2.2.

    Args:
      hyper: length scales in days; the rest in units of the z-scored outputs.
      observations: one pixel; days need not be regular.
      at: query days, before, between and after the days of the observations. None: those days
        themselves, without a longer recursion.
      output: index of the output; negative counts from the last. None: all, on a leading axis.
      solver: a name of `SOLVERS`.

    Raises:
      ValueError: unknown solver, no such output, or `hyper` and `observations` disagree in outputs.
    """
    _check(hyper, observations, solver)
    count = hyper.noise.shape[0]
    outputs = tuple(range(count)) if output is None else (_index(output, count),)
    observations, at = _since_first(observations, at)
    mean, variance = SOLVERS[solver].condition(hyper, observations, at, outputs)
    least = jnp.zeros(len(outputs), variance.dtype)
    if variance.dtype == jnp.float32:
        least = least_variance(hyper, observations, outputs, dense=solver == "dense")
    std = jnp.sqrt(jnp.where(variance > least[:, None], variance, jnp.nan))
    return (mean, std) if output is None else (mean[0], std[0])


def sample(
    key: Key,
    hyper: Hyper,
    observations: Observations,
    at: Days,
    n: int,
    *,
    output: int = -1,
    solver: str = "kalman",
) -> Float[Array, "draw query"]:
    """Joint draws of the latent f of one output on the days `at`, given one pixel, z-scored.

    Equation (28) of docs/concepts/gp.md: a draw is a smooth curve, not a value per day. With
    nothing valid it is a draw of the prior. A repeated query day gets the same value.
    Source: Wilson et al. (2020), Efficiently sampling functions from Gaussian process posteriors
    (Matheron's rule).

    Args:
      key: consumed.
      hyper: length scales in days; the rest in units of the z-scored outputs.
      observations: one pixel; days need not be regular.
      at: query days, in any order, before, between and after the days of the observations.
      n: number of draws.
      output: index of the output; negative counts from the last.
      solver: a name of `SOLVERS`.

    Raises:
      ValueError: n < 1; and as `condition`.
    """
    if n < 1:
        raise ValueError(f"n: got {n}, expected at least 1 draw")
    _check(hyper, observations, solver)
    hyper = Hyper(*map(jnp.asarray, hyper))
    value, valid = jnp.asarray(observations.value), jnp.asarray(observations.valid)
    day, at = jnp.asarray(observations.day, value.dtype), jnp.asarray(at, value.dtype)
    lag, index = _union(day, at)
    latents, outputs = hyper.mixing.shape
    output = _index(output, outputs)
    unit = jax.random.normal(key, (lag.size, n, outputs + 2 * latents * (outputs + 1)), value.dtype)
    steps = unit[:, :, outputs:].reshape(lag.size, n, 2, latents, outputs + 1)
    latent = _prior(hyper, lag, steps)
    noisy = latent + jnp.sqrt(hyper.noise)[None, None, :] * unit[:, :, :outputs]

    def _correction(noisy: Float[Array, "time output"]) -> Float[Array, "query"]:
        residual = Observations(day, jnp.where(valid, value - noisy, 0.0), valid)
        return condition(hyper, residual, at, output=output, solver=solver)[0]

    correction = jax.vmap(_correction, in_axes=1)(noisy[index[: day.size]])
    return latent[index[day.size :], :, output].T + correction


def _union(
    day: Float[Array, "time"], at: Float[Array, "query"]
) -> tuple[Float[Array, "point"], Int[Array, "point"]]:
    """Days since the point before, in the order of the days of both; the index of each day there.

    A repeated day is two points with a lag of 0, over which a state keeps its value to the bit.
    """
    both = jnp.concatenate([day, at])
    order = jnp.argsort(both)
    ordered = both[order]
    return jnp.diff(ordered, prepend=ordered[:1]), jnp.argsort(order)


def _prior(
    hyper: Hyper, lag: Float[Array, "point"], unit: Float[Array, "point draw 2 latent process"]
) -> Float[Array, "point draw output"]:
    """Draws of all latent outputs, equation (3).

    Each process is a state (f, s) that moves from day to day by A of equation (10) and a Gaussian
    step made of two unit normals.
    """
    a = 3.0**0.5 * lag[:, None] / hyper.lengthscale[None, :]
    # the first state is drawn from the stationary law: a step of unit covariance from nothing
    f_new, f_s, s_new = (
        x.at[0].set(first) for x, first in zip(_step(a), (1.0, 0.0, 1.0), strict=True)
    )
    loading, scale = hyper.mixing, jnp.sqrt(hyper.kappa)

    def _move(state, step):
        (f, s), (a, f_new, f_s, s_new, unit) = state, step
        e_f, e_s = unit[:, 0], unit[:, 1]
        a, f_new, f_s, s_new = (x[None, :, None] for x in (a, f_new, f_s, s_new))
        decay = jnp.exp(-a)
        moved = (
            decay * ((1.0 + a) * f + a * s) + f_s * e_s + f_new * e_f,
            decay * ((1.0 - a) * s - a * f) + s_new * e_s,
        )
        parts = loading[None] * moved[0][:, :, :1] + scale[None] * moved[0][:, :, 1:]
        return moved, jnp.sum(parts, axis=1)

    still = jnp.zeros_like(unit[0, :, 0])
    _, drawn = jax.lax.scan(_move, (still, still), (a, f_new, f_s, s_new, unit))
    return drawn


def _step(
    a: Float[Array, "point latent"],
) -> tuple[Float[Array, "point latent"], ...]:
    """Root of the covariance of a step, equation (29): f's own, f's share of s's, s's own.

    All are 0, with finite slopes, where a = 0.
    """
    moves = a > 0.0
    x = jnp.where(moves, 2.0 * a, 1.0)
    decay = jnp.exp(-x)
    f_f = jax.scipy.special.gammainc(jnp.full_like(x, 3.0), x)
    # s first: its variance 2 x is what is left of the three at the shortest lags
    s_new = jnp.sqrt(f_f + 2.0 * x * decay)
    f_s = 0.5 * jnp.square(x) * decay / s_new
    f_new = jnp.sqrt(jnp.maximum(f_f - jnp.square(f_s), 0.0))
    return tuple(jnp.where(moves, part, 0.0) for part in (f_new, f_s, s_new))


def _since_first(observations: Observations, at: Days | None) -> tuple[Observations, Days | None]:
    """Days since the first observation: in single precision days since 1970 are 3 minutes apart.

    Arrays of JAX are in the caller's precision already.
    """
    if not isinstance(observations.day, np.ndarray) or not isinstance(at, np.ndarray | None):
        return observations, at
    day = np.asarray(observations.day, np.float64)
    first = day[:1]
    return observations._replace(day=day - first), None if at is None else np.asarray(at) - first


def _index(output: int, count: int) -> int:
    if not -count <= output < count:
        raise ValueError(f"output: got {output}, expected an index of {count} outputs")
    return output % count


def _check(hyper: Hyper, observations: Observations, solver: str) -> None:
    outputs, shape = hyper.noise.shape[0], observations.value.shape
    if solver not in SOLVERS:
        raise ValueError(f"solver: got {solver!r}, expected one of {sorted(SOLVERS)}")
    if len(shape) != 2 or shape[1] != outputs:
        raise ValueError(
            f"observations.value: got shape {shape}, expected (time, {outputs}): one pixel"
        )
