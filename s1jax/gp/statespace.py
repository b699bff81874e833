"""The kernel's state space for many pixels at once: transition, observation, Kalman filter.

It is that of `kernel.Coregional` (a test holds both to 1e-12), equations (8) to (15) of
docs/concepts/gp.md. B_q and lambda_q come from the kernel; A and h_p are written out, since the
kernel's dense matrices are nearly all zeros and would slow the filter severalfold.

Arrays have the pixels last, where they are contiguous, so that each operation runs over many pixels
without a gather: a state is (latent, output, 2, pixel), a matrix (latent, output, 2, latent,
output, 2, pixel). The filter carries D = P_inf - P, here `delta`, instead of the covariance P.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from s1jax.gp.kernel import Hyper, coregion, rate

LOG_2PI = math.log(2.0 * math.pi)
_Vector = Float[Array, "latent output 2 pixel"]
_Matrix = Float[Array, "latent output 2 latent output 2 pixel"]
_Scalar = Float[Array, "1 1 1 pixel"]
"""A number a pixel, of the rank of a state: ranks are never promoted."""


class Lanes(NamedTuple):
    """Hyperparameters and observations, one lane a pixel; what all share has one lane."""

    hyper: Hyper
    """Each field with the pixels as its last axis."""
    day: Float[Array, "time lane"]
    """Days, ascending."""
    value: Float[Array, "time output pixel"]
    """z-scored outputs; 0 where not seen."""
    seen: Float[Array, "time output pixel"]
    """1 where there is an observation, else 0."""


class Gain(NamedTuple):
    """The update by the outputs of one date, one after the other."""

    column: list[_Vector]
    """P h_p after the outputs before p."""
    weight: list[_Scalar]
    """1 / S_p where seen, else 0; S_p the variance of the innovation."""
    innovation: list[_Scalar]
    """v_p = z_p - h_p^T m."""


class Predicted(NamedTuple):
    """The state of each date before its observations; every field has the dates first."""

    mean: Float[Array, "time latent output 2 pixel"]
    delta: Float[Array, "time latent output 2 latent output 2 pixel"]


class Projected(NamedTuple):
    """Of the predicted state, what the outputs see: enough for a posterior without a gradient."""

    mean: Float[Array, "time output 1 1 1 pixel"]
    """h_p m."""
    column: Float[Array, "time output latent output 2 pixel"]
    """P h_p."""


def steps(day: Float[Array, "time lane"]) -> Float[Array, "time lane"]:
    """Days since the date before; 0 for the first."""
    return jnp.diff(day, axis=0, prepend=day[:1])


def transition(
    a: Float[Array, "latent lane"], transpose: bool = False
) -> tuple[Float[Array, "latent 2 lane"], Float[Array, "latent 2 lane"]]:
    """A (or A^T) as what each component keeps of itself and takes from the other."""
    decay = jnp.exp(-a)
    same = jnp.stack([decay * (1.0 + a), decay * (1.0 - a)], axis=1)
    cross = jnp.stack([decay * a, -decay * a], axis=1)
    return same, -cross if transpose else cross


def move_vector(x: _Vector, same: Array, cross: Array) -> _Vector:
    """A x."""
    return same[:, None] * x + cross[:, None] * jax.lax.rev(x, (2,))


def move_matrix(x: _Matrix, same: Array, cross: Array) -> _Matrix:
    """A x A^T."""
    row = (slice(None), None, slice(None), None, None, None)
    column = (None, None, None, slice(None), None)
    x = same[column] * x + cross[column] * jax.lax.rev(x, (5,))
    return same[row] * x + cross[row] * jax.lax.rev(x, (2,))


def zeros(lanes: Lanes) -> tuple[_Vector, _Matrix]:
    """A state and a matrix of zeros."""
    shape = (*lanes.hyper.mixing.shape[:2], 2)
    pixels, dtype = lanes.value.shape[-1], lanes.value.dtype
    return jnp.zeros((*shape, pixels), dtype), jnp.zeros((*shape, *shape, pixels), dtype)


def observe(x: _Vector, output: int) -> _Scalar:
    """h_p x."""
    f = x[:, output : output + 1, :1]
    return sum((f[q : q + 1] for q in range(1, x.shape[0])), start=f[:1])


def scalars(x: Float[Array, "*time output lane"]) -> Float[Array, "*time output 1 1 1 lane"]:
    """One scalar an output."""
    return x[..., None, None, None, :]


def columns(delta: _Matrix, covariance: Float[Array, "latent output output lane"]) -> list[_Vector]:
    """P h_p of every output p; `covariance` is B_q."""
    vectors = []
    for p in range(covariance.shape[1]):
        later = (delta[:, :, :, q, p, 0] for q in range(1, covariance.shape[0]))
        reduction = sum(later, delta[:, :, :, 0, p, 0])
        level = covariance[:, :, p] - reduction[:, :, 0]
        vectors.append(jnp.stack([level, -reduction[:, :, 1]], axis=2))
    return vectors


def gain(
    column: list[_Vector],
    predicted: list[_Scalar],
    value: Float[Array, "output 1 1 1 pixel"],
    seen: Float[Array, "output 1 1 1 pixel"],
    noise: Float[Array, "output 1 1 1 lane"],
) -> Gain:
    """The outputs of one date, one after the other, equation (13); those not seen change nothing.

    `column` and `predicted` are P h_p and h_p m of every output at the predicted state.
    """
    column, predicted = list(column), list(predicted)
    weight, innovation = [], []
    for p in range(len(column)):
        weight.append(seen[p] / (observe(column[p], p) + noise[p]))
        innovation.append(value[p] - predicted[p])
        for r in range(p + 1, len(column)):
            share = weight[p] * observe(column[r], p)
            predicted[r] = predicted[r] + share * innovation[p]
            column[r] = column[r] - column[p] * share
    return Gain(column, weight, innovation)


def forward(
    lanes: Lanes, keep: type[Predicted] | type[Projected] | None
) -> tuple[Float[Array, "pixel"], Predicted | Projected | None]:
    """-log p(z) of each pixel, nats, and what `keep` names of every date."""
    covariance, speed = coregion(lanes.hyper), rate(lanes.hyper.lengthscale)
    noise = scalars(lanes.hyper.noise)
    outputs, pixels = covariance.shape[1], lanes.value.shape[-1]

    def _step(carry, date):
        mean, delta, nll = carry
        step, value, seen = date
        same, cross = transition(speed * step[None])
        mean, delta = move_vector(mean, same, cross), move_matrix(delta, same, cross)
        column = columns(delta, covariance)
        predicted = [observe(mean, p) for p in range(outputs)]
        kept = None
        if keep is Predicted:
            kept = Predicted(mean, delta)
        elif keep is Projected:
            kept = Projected(jnp.stack(predicted), jnp.stack(column))
        column, weight, innovation = gain(column, predicted, value, seen, noise)
        for p in range(outputs):
            u, g, v = column[p], weight[p], innovation[p]
            spread = jnp.log(observe(u, p) + noise[p]) + LOG_2PI
            nll = nll + 0.5 * seen[p] * spread + 0.5 * g * v * v
            mean = mean + u * (g * v)
            delta = delta + u[:, :, :, None, None, None] * (u * g)[None, None, None]
        return (mean, delta, nll), kept

    start = (*zeros(lanes), jnp.zeros((1, 1, 1, pixels), lanes.value.dtype))
    dates = (steps(lanes.day), scalars(lanes.value), scalars(lanes.seen))
    (_, _, nll), kept = jax.lax.scan(_step, start, dates)
    return nll[0, 0, 0], kept
