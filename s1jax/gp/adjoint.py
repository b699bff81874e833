"""Backward through the dates: the posterior and the exact gradient, by one adjoint recursion.

The adjoint of the predicted mean is lam and that of the predicted covariance Lam, so that the
smoothed state is m - P lam with covariance P - P Lam P: no covariance is ever inverted.
Source: Bierman (1973), Fixed interval smoothing with discrete measurements, International Journal
of Control 18 (modified Bryson-Frazier smoother); the gradient follows from the same adjoints.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from s1jax.gp import statespace as ss
from s1jax.gp.kernel import Hyper


class Slope(NamedTuple):
    """Gradient of -log p(z) of each pixel."""

    hyper: Hyper
    day: Float[Array, "time pixel"]
    value: Float[Array, "time output pixel"]


def posterior(
    lanes: ss.Lanes, outputs: tuple[int, ...]
) -> tuple[Float[Array, "time output pixel"], Float[Array, "time output pixel"]]:
    """Mean and variance of some latent outputs on every date, given all observations."""
    speed, noise = ss.rate(lanes.hyper), ss.scalars(lanes.hyper.noise)
    _, kept = ss.forward(lanes, ss.Projected)

    def _step(carry, date):
        lam, big = carry
        known, step, value, seen = date
        every = range(seen.shape[0])
        column, predicted = [known.column[p] for p in every], [known.mean[p] for p in every]
        lam, big, _, _ = _correct(lam, big, ss.gain(column, predicted, value, seen, noise), seen)
        mean = [predicted[p] - _dot(column[p], lam) for p in outputs]
        variance = [
            ss.observe(column[p], p) - _dot(_times(big, column[p]), column[p]) for p in outputs
        ]
        mean, variance = (jnp.concatenate(x)[:, 0, 0] for x in (mean, variance))
        same, cross = ss.transition(speed * step[None], transpose=True)
        carry = ss.move_vector(lam, same, cross), ss.move_matrix(big, same, cross)
        return carry, (mean, variance)

    dates = (kept, ss.steps(lanes.day), ss.scalars(lanes.value), ss.scalars(lanes.seen))
    return jax.lax.scan(_step, ss.nothing(lanes), dates, reverse=True)[1]


def value_and_slope(lanes: ss.Lanes) -> tuple[Float[Array, "pixel"], Slope]:
    """-log p(z) of each pixel, nats, and its gradient.

    With G = (Lam - lam lam^T) / 2, the adjoint of the predicted covariance, and F = [[0, 1],
    [-1, -2]], for which dA/da = F A: dB_q += <G_qq, I - A A^T> (I on the first date) and
    da_q += lam . F m - 2 <G, F Delta> over the rows of q.
    """
    own, speed = ss.coregion(lanes.hyper), ss.rate(lanes.hyper)
    noise = ss.scalars(lanes.hyper.noise)
    latents, outputs = own.shape[:2]
    nll, kept = ss.forward(lanes, ss.Predicted)
    dtype = lanes.value.dtype
    later = jnp.ones(lanes.day.shape[0], dtype).at[0].set(0.0)

    def _step(carry, date):
        lam, big, slope_own, slope_speed, slope_noise = carry
        known, step, value, seen, moved = date
        predicted = [ss.observe(known.mean, p) for p in range(outputs)]
        told = ss.gain(ss.columns(known.delta, own), predicted, value, seen, noise)
        lam, big, error, spread = _correct(lam, big, told, seen)
        error, spread = (jnp.concatenate(x)[:, 0, 0] for x in (error, spread))
        slope_noise = slope_noise + 0.5 * seen[:, 0, 0, 0] * (spread - jnp.square(error))
        half = 0.5 * (big - lam[:, :, :, None, None, None] * lam[None, None, None])
        a = speed * step[None]
        new = _innovation(a, moved)
        blocks = jnp.stack([half[q, :, :, q] for q in range(latents)])
        slope_own = slope_own + sum(
            blocks[:, :, i, :, j] * new[i][j][:, None, None] for i in (0, 1) for j in (0, 1)
        )
        pull = jnp.sum(lam * _drift(known.mean), axis=(1, 2))
        slope_a = pull - 2.0 * jnp.sum(half * _drift(known.delta), axis=(1, 2, 3, 4, 5))
        slope_speed = slope_speed + slope_a * step[None]
        same, cross = ss.transition(a, transpose=True)
        carry = ss.move_vector(lam, same, cross), ss.move_matrix(big, same, cross)
        out = (jnp.sum(slope_a * speed, axis=0), error * seen[:, 0, 0, 0])
        return (*carry, slope_own, slope_speed, slope_noise), out

    pixels = lanes.value.shape[-1]
    start = ss.nothing(lanes) + tuple(
        jnp.zeros((*shape, pixels), dtype)
        for shape in ((latents, outputs, outputs), (latents,), (outputs,))
    )
    dates = (kept, ss.steps(lanes.day), ss.scalars(lanes.value), ss.scalars(lanes.seen), later)
    carry, (slope_step, slope_value) = jax.lax.scan(_step, start, dates, reverse=True)
    _, _, slope_own, slope_speed, slope_noise = carry
    both = slope_own + jnp.swapaxes(slope_own, 1, 2)
    hyper = Hyper(
        lengthscale=-slope_speed * speed / lanes.hyper.lengthscale,
        mixing=jnp.sum(both * lanes.hyper.mixing[:, None], axis=2),
        kappa=jnp.stack([slope_own[:, p, p] for p in range(outputs)], axis=1),
        noise=slope_noise,
    )
    # a day lengthens the step to it and shortens the step from it
    after = jnp.concatenate([slope_step[1:], jnp.zeros_like(slope_step[:1])])
    before = slope_step * later[:, None]
    return nll, Slope(hyper, before - after, slope_value)


def _correct(lam, big, told: ss.Gain, seen):
    """Adjoints before the observations of a date, and per output its error and spread.

    The updates in place are on purpose: written as one expression, XLA computes it anew for every
    element that uses it.
    """
    outputs = len(told.column)
    error, spread = [None] * outputs, [None] * outputs
    for p in reversed(range(outputs)):
        k = told.column[p] * told.weight[p]
        w = _times(big, k)
        error[p] = told.weight[p] * told.surprise[p] + _dot(lam, k)
        spread[p] = told.weight[p] + _dot(w, k)
        w = seen[p] * w
        lam = lam.at[:, p : p + 1, :1].add(-seen[p] * error[p])
        big = big.at[:, p, 0].add(-w).at[:, :, :, :, p, 0].add(-w[:, :, :, None])
        big = big.at[:, p, 0, :, p, 0].add(seen[p, 0] * spread[p][0])
    return lam, big, error, spread


def _innovation(a, moved):
    """I - A A^T of each latent; I where nothing moved yet (the first date)."""
    shrink = moved * jnp.exp(-2.0 * a)
    square = 2.0 * a * a
    cross = shrink * square
    return (
        (1.0 - shrink * (1.0 + 2.0 * a + square), cross),
        (cross, 1.0 - shrink * (1.0 - 2.0 * a + square)),
    )


def _drift(x):
    """F x on the rows of x, F = [[0, 1], [-1, -2]]."""
    return jnp.stack([x[:, :, 1], -x[:, :, 0] - 2.0 * x[:, :, 1]], axis=2)


def _times(matrix, vector):
    return jnp.sum(matrix * vector[None, None, None], axis=(3, 4, 5))


def _dot(a, b):
    return jnp.sum(a * b, axis=(0, 1, 2), keepdims=True)
