"""The covariance of the outputs of one pixel as a tinygp kernel: the model's one definition."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from tinygp.kernels.quasisep import Quasisep


class Observations(NamedTuple):
    """z-scored outputs of one pixel, or of many with leading pixel axes."""

    day: Float[Array, "time"]
    """Days, ascending; a day may repeat."""
    value: Float[Array, "*pixel time output"]
    """Anything where not valid."""
    valid: Bool[Array, "*pixel time output"]


class Hyper(NamedTuple):
    """Hyperparameters of the linear model of coregionalisation, on z-scored outputs.

    An axis of pixels may lead each field, or (in `gp.statespace`) follow it.
    """

    lengthscale: Float[Array, "latent"]
    """Matern-3/2 length scale l_q of each latent process, days."""
    mixing: Float[Array, "latent output"]
    """Loading W_q of each output on each latent process."""
    kappa: Float[Array, "latent output"]
    """Variance of an output's independent part with that length scale; positive."""
    noise: Float[Array, "output"]
    """Variance of the noise of an observation of each output; positive."""


class Points(NamedTuple):
    """Single points, in any order."""

    day: Float[Array, "*point"]
    output: Int[Array, "*point"]
    mask: Float[Array, "*point"]
    """1 where the point exists, 0 where it has no covariance with anything."""


def points(
    day: Float[Array, "time"], output: Int[Array, "output"], mask: Float[Array, "output time"]
) -> Any:
    """`Points` of all given outputs on all given days, output by output."""
    # Any, as tinygp's annotations do not say that its points may be any pytree
    day, output = jnp.tile(day, output.size), jnp.repeat(output, day.size)
    return Points(day, output, mask.reshape(-1))


class Coregional(Quasisep):
    """Equation (4) of docs/concepts/gp.md times the masks of both points.

    One latent process is the intrinsic model of coregionalisation, several are the linear one.
    Source: Álvarez, Rosasco and Lawrence (2012), Kernels for vector-valued functions: a review.

    As a quasiseparable kernel of tinygp, on `Points` in the order of their days, it states
    equations (8) to (11), the state in the order [latent, output, derivative]. All latents share
    one state, as tinygp's vmapped sum of kernels fails in `condition`. `gp.statespace` is this
    state space for many pixels at once.
    Source: Hartikainen and Särkkä (2010), Kalman filtering and smoothing solutions to temporal
    Gaussian process regression models.
    """

    lengthscale: Float[Array, "latent"]
    coregion: Float[Array, "latent output output"]

    def evaluate(self, X1: Points, X2: Points) -> Float[Array, ""]:
        """k of one pair of points."""
        pair = self.coregion[:, X1.output, X2.output]
        return X1.mask * X2.mask * jnp.sum(pair * matern32(X1.day - X2.day, self.lengthscale))

    def evaluate_diag(self, X: Points) -> Float[Array, ""]:
        """Variance of one point."""
        return jnp.square(X.mask) * jnp.sum(self.coregion[:, X.output, X.output])

    def coord_to_sortable(self, X: Points) -> Float[Array, "*point"]:
        """Days, by which the points are in order."""
        return X.day

    def design_matrix(self) -> Float[Array, "state state"]:
        """lambda_q F of each latent and output, 1/day, equation (8)."""
        matrix = jnp.array([[0.0, 1.0], [-1.0, -2.0]], self.lengthscale.dtype)
        return self._state(self._apart(), rate(self.lengthscale)[:, None, None] * matrix[None])

    def stationary_covariance(self) -> Float[Array, "state state"]:
        """Covariance of the state on any day, equation (9)."""
        latents = self.lengthscale.size
        return self._state(self.coregion, jnp.tile(_eye(2, self.coregion), (latents, 1, 1)))

    def observation_model(self, X: Points) -> Float[Array, "state"]:
        """h of a point, equation (11), times the mask."""
        latents, outputs, _ = self.coregion.shape
        which = jnp.zeros((latents, outputs, 2), self.coregion.dtype).at[:, X.output, 0].set(X.mask)
        return which.reshape(-1)

    def transition_matrix(self, X1: Points, X2: Points) -> Float[Array, "state state"]:
        """A^T of equation (10), as tinygp has it; X2 not before X1."""
        # tinygp also computes pairs in the wrong order, and drops them: they must not overflow
        a = rate(self.lengthscale) * jnp.maximum(X2.day - X1.day, 0.0)
        rows = jnp.stack([jnp.stack([1.0 + a, -a], -1), jnp.stack([a, 1.0 - a], -1)], -2)
        return self._state(self._apart(), jnp.exp(-a)[:, None, None] * rows)

    def _apart(self) -> Float[Array, "latent output output"]:
        """The identity: each output moves independently of the others."""
        latents, outputs, _ = self.coregion.shape
        return jnp.tile(_eye(outputs, self.coregion), (latents, 1, 1))

    def _state(
        self, outer: Float[Array, "latent output output"], inner: Float[Array, "latent 2 2"]
    ) -> Float[Array, "state state"]:
        """Block diagonal over the latents of outer_q (x) inner_q."""
        latents, outputs, _ = self.coregion.shape
        blocks = jnp.einsum("qr,qij,qst->qisrjt", _eye(latents, outer), outer, inner)
        return blocks.reshape(latents * outputs * 2, latents * outputs * 2)


def kernel(hyper: Hyper) -> Coregional:
    """The covariance of the latent outputs, without the noise."""
    return Coregional(jnp.asarray(hyper.lengthscale), coregion(hyper))


def coregion(hyper: Hyper) -> Float[Array, "latent output output *lane"]:
    """B_q = W_q W_q^T + diag(kappa_q), the pixels last where the hyperparameters have them."""
    mixing, kappa = jnp.asarray(hyper.mixing), jnp.asarray(hyper.kappa)
    outputs, lanes = kappa.shape[1], [1] * (kappa.ndim - 2)
    diagonal = _eye(outputs, kappa).reshape(1, outputs, outputs, *lanes)
    return mixing[:, :, None] * mixing[:, None, :] + kappa[:, :, None] * diagonal


def matern32(lag: Float[Array, "..."], lengthscale: Float[Array, "..."]) -> Float[Array, "..."]:
    """Matern-3/2 correlation, equation (5) of docs/concepts/gp.md; both in days.

    Source: Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, section 4.2.
    """
    a = rate(lengthscale) * jnp.abs(lag)
    return (1.0 + a) * jnp.exp(-a)


def rate(lengthscale: Float[Array, "..."]) -> Float[Array, "..."]:
    """lambda = sqrt(3) / l, 1/day."""
    return 3.0**0.5 / lengthscale


def _eye(size: int, like: Float[Array, "..."]) -> Float[Array, "size size"]:
    return jnp.eye(size, dtype=like.dtype)
