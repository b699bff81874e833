"""Joint draws of the posterior of one pixel, by Matheron's rule."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from s1jax.gp.kernel import Hyper
from s1jax.gp.solve import condition
from s1jax.types import Days, Key, Series


def sample(
    key: Key,
    hyper: Hyper,
    series: Series,
    at: Days,
    n: int,
    *,
    channel: int = -1,
    solver: str = "kalman",
) -> Float[Array, "draw query"]:
    """Joint draws of the latent f of one output on the days `at`, given one pixel, z-scored.

    draw = f + k^T (K + N)^-1 (z - f_obs - e), with f a draw of the prior of all outputs on all days
    and e one of the noise: a smooth curve that a filter corrects, so that a draw is a curve too,
    not a value per day. With nothing valid it is a draw of the prior. Days asked for twice get the
    same value.
    Source: Wilson et al. (2020), Efficiently sampling functions from Gaussian process posteriors
    (Matheron's rule).

    Args:
      key: consumed.
      hyper: length scales in days; the rest in units of the z-scored outputs.
      series: one pixel, z-scored outputs (time, channel); days need not be regular.
      at: days to draw on; in any order, before, between and after the days of the series.
      n: number of draws.
      channel: the output; negative counts from the last.
      solver: a name of `SOLVERS`.

    Raises:
      ValueError: n < 1, unknown solver, no such channel, or `hyper` and `series` disagree in their
        number of outputs.
    """
    if n < 1:
        raise ValueError(f"n: got {n}, expected at least 1 draw")
    hyper = Hyper(*map(jnp.asarray, hyper))
    value, valid = jnp.asarray(series.value), jnp.asarray(series.valid)
    if value.ndim != 2 or value.shape[1] != hyper.noise.size:
        raise ValueError(
            f"series.value: got shape {value.shape}, expected (time, {hyper.noise.size}): one pixel"
        )
    day, at = jnp.asarray(series.day, value.dtype), jnp.asarray(at, value.dtype)
    lag, place = _union(day, at)
    latents, outputs = hyper.mixing.shape
    unit = jax.random.normal(key, (lag.size, n, outputs + 2 * latents * (outputs + 1)), value.dtype)
    steps = unit[:, :, outputs:].reshape(lag.size, n, 2, latents, outputs + 1)
    latent = _prior(hyper, lag, steps)
    noisy = latent + jnp.sqrt(hyper.noise)[None, None, :] * unit[:, :, :outputs]

    def _correction(noisy: Float[Array, "time channel"]) -> Float[Array, "query"]:
        rest = Series(day, jnp.where(valid, value - noisy, 0.0), valid)
        return condition(hyper, rest, at, channel=channel, solver=solver).mean

    correction = jax.vmap(_correction, in_axes=1)(noisy[place[: day.size]])
    return latent[place[day.size :], :, channel].T + correction


def _union(
    day: Float[Array, "time"], at: Float[Array, "query"]
) -> tuple[Float[Array, "point"], Int[Array, "point"]]:
    """Days since the point before, in the order of the days of both; where each day lies there.

    A day told twice is two points with a lag of 0, over which a state keeps its value to the bit.
    """
    both = jnp.concatenate([day, at])
    order = jnp.argsort(both)
    ordered = both[order]
    return jnp.diff(ordered, prepend=ordered[:1]), jnp.argsort(order)


def _prior(
    hyper: Hyper,
    lag: Float[Array, "point"],
    unit: Float[Array, "point draw 2 latent process"],
) -> Float[Array, "point draw output"]:
    """Draws of all latent outputs: f_p = sum_q W_qp g_q0 + sqrt(kappa_qp) g_qp.

    The g are independent Matern-3/2 processes of unit variance, each a state (f, s = f'/lambda)
    that moves from day to day by A = exp(-a) [[1 + a, a], [-a, 1 - a]], a = lambda lag, and a
    Gaussian step made of two unit normals.
    """
    a = 3.0**0.5 * lag[:, None] / hyper.lengthscale[None, :]
    # the first state is drawn from the stationary law: a step of unit covariance from nothing
    f_new, f_s, s_new = (
        x.at[0].set(first) for x, first in zip(_step(a), (1.0, 0.0, 1.0), strict=True)
    )
    common, own = hyper.mixing, jnp.sqrt(hyper.kappa)

    def _move(state, step):
        (f, s), (a, f_new, f_s, s_new, unit) = state, step
        e_f, e_s = unit[:, 0], unit[:, 1]
        a, f_new, f_s, s_new = (x[None, :, None] for x in (a, f_new, f_s, s_new))
        decay = jnp.exp(-a)
        moved = (
            decay * ((1.0 + a) * f + a * s) + f_s * e_s + f_new * e_f,
            decay * ((1.0 - a) * s - a * f) + s_new * e_s,
        )
        parts = common[None] * moved[0][:, :, :1] + own[None] * moved[0][:, :, 1:]
        return moved, jnp.sum(parts, axis=1)

    still = jnp.zeros_like(unit[0, :, 0])
    _, drawn = jax.lax.scan(_move, (still, still), (a, f_new, f_s, s_new, unit))
    return drawn


def _step(
    a: Float[Array, "point latent"],
) -> tuple[
    Float[Array, "point latent"], Float[Array, "point latent"], Float[Array, "point latent"]
]:
    """Root of the covariance I - A A^T of a step: f's own, f's share of s's, s's own.

    With x = 2 a its entries are P(3, x), x^2 exp(-x) / 2 and P(3, x) + 2 x exp(-x), where P is the
    regularised lower gamma function: no difference of near numbers at short lags. All are 0, with
    finite slopes, where a = 0.
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
