"""Backward through the dates: the posterior and the exact gradient, by one adjoint recursion.

Equations (16) to (20) of docs/concepts/gp.md; `lam` and `big` are the adjoints lambda and Lambda of
the predicted mean and covariance. No covariance is ever inverted.
Source: Bierman (1973), Fixed interval smoothing with discrete measurements, International Journal
of Control 18 (modified Bryson-Frazier smoother).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from s1jax.gp import statespace as ss
from s1jax.gp.kernel import Hyper, coregion, rate


class Slope(NamedTuple):
    """Gradient of -log p(z) of each pixel."""

    hyper: Hyper
    day: Float[Array, "time pixel"]
    value: Float[Array, "time output pixel"]


def posterior(
    lanes: ss.Lanes, outputs: tuple[int, ...]
) -> tuple[Float[Array, "time output pixel"], Float[Array, "time output pixel"]]:
    """Mean and variance of some latent outputs on every date, given all observations."""
    speed, noise = rate(lanes.hyper.lengthscale), ss.scalars(lanes.hyper.noise)
    _, kept = ss.forward(lanes, ss.Projected)

    def _step(carry, date):
        lam, big = carry
        before, step, value, seen = date
        column, predicted = list(before.column), list(before.mean)
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
    return jax.lax.scan(_step, ss.zeros(lanes), dates, reverse=True)[1]


def value_and_slope(lanes: ss.Lanes) -> tuple[Float[Array, "pixel"], Slope]:
    """-log p(z) of each pixel, nats, and its gradient, equation (20)."""
    covariance, speed = coregion(lanes.hyper), rate(lanes.hyper.lengthscale)
    noise = ss.scalars(lanes.hyper.noise)
    latents, outputs = covariance.shape[:2]
    nll, kept = ss.forward(lanes, ss.Predicted)
    dtype = lanes.value.dtype
    later = jnp.ones(lanes.day.shape[0], dtype).at[0].set(0.0)

    def _step(carry, date):
        lam, big, slope_covariance, slope_speed, slope_noise = carry
        before, step, value, seen, moved = date
        predicted = [ss.observe(before.mean, p) for p in range(outputs)]
        gain = ss.gain(ss.columns(before.delta, covariance), predicted, value, seen, noise)
        lam, big, error, spread = _correct(lam, big, gain, seen)
        error, spread = (jnp.concatenate(x)[:, 0, 0] for x in (error, spread))
        slope_noise = slope_noise + 0.5 * seen[:, 0, 0, 0] * (spread - jnp.square(error))
        half = 0.5 * (big - lam[:, :, :, None, None, None] * lam[None, None, None])
        a = speed * step[None]
        new = _innovation(a, moved)
        blocks = jnp.stack([half[q, :, :, q] for q in range(latents)])
        slope_covariance = slope_covariance + sum(
            blocks[:, :, i, :, j] * new[i][j][:, None, None] for i in (0, 1) for j in (0, 1)
        )
        pull = jnp.sum(lam * _drift(before.mean), axis=(1, 2))
        slope_a = pull - 2.0 * jnp.sum(half * _drift(before.delta), axis=(1, 2, 3, 4, 5))
        slope_speed = slope_speed + slope_a * step[None]
        same, cross = ss.transition(a, transpose=True)
        carry = ss.move_vector(lam, same, cross), ss.move_matrix(big, same, cross)
        out = (jnp.sum(slope_a * speed, axis=0), error * seen[:, 0, 0, 0])
        return (*carry, slope_covariance, slope_speed, slope_noise), out

    pixels = lanes.value.shape[-1]
    start = ss.zeros(lanes) + tuple(
        jnp.zeros((*shape, pixels), dtype)
        for shape in ((latents, outputs, outputs), (latents,), (outputs,))
    )
    dates = (kept, ss.steps(lanes.day), ss.scalars(lanes.value), ss.scalars(lanes.seen), later)
    carry, (slope_step, slope_value) = jax.lax.scan(_step, start, dates, reverse=True)
    _, _, slope_covariance, slope_speed, slope_noise = carry
    both = slope_covariance + jnp.swapaxes(slope_covariance, 1, 2)
    hyper = Hyper(
        lengthscale=-slope_speed * speed / lanes.hyper.lengthscale,
        mixing=jnp.sum(both * lanes.hyper.mixing[:, None], axis=2),
        kappa=jnp.stack([slope_covariance[:, p, p] for p in range(outputs)], axis=1),
        noise=slope_noise,
    )
    # a day lengthens the step to it and shortens the step from it
    step_from = jnp.concatenate([slope_step[1:], jnp.zeros_like(slope_step[:1])])
    step_to = slope_step * later[:, None]
    return nll, Slope(hyper, step_to - step_from, slope_value)


def _correct(lam, big, gain: ss.Gain, seen):
    """Adjoints before the observations of a date, and per output its error and spread.

    The updates in place are on purpose: written as one expression, XLA computes it anew for every
    element that uses it.
    """
    outputs = len(gain.column)
    error, spread = [], []
    for p in reversed(range(outputs)):
        k = gain.column[p] * gain.weight[p]
        w = _times(big, k)
        error.insert(0, gain.weight[p] * gain.innovation[p] + _dot(lam, k))
        spread.insert(0, gain.weight[p] + _dot(w, k))
        w = seen[p] * w
        lam = lam.at[:, p : p + 1, :1].add(-seen[p] * error[0])
        big = big.at[:, p, 0].add(-w).at[:, :, :, :, p, 0].add(-w[:, :, :, None])
        big = big.at[:, p, 0, :, p, 0].add(seen[p, 0] * spread[0][0])
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
