"""Hyperparameters of every pixel: maximum a posteriori around the region's."""

import logging
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from s1jax.batching import bar, batch_size, chunk_size, jit_recursion, vmap_pixels
from s1jax.gp.fit import from_unconstrained, to_unconstrained, value_and_slope
from s1jax.gp.kernel import Hyper, Observations
from s1jax.gp.lbfgs import Descent, advance, begin
from s1jax.gp.solve import log_likelihood

log = logging.getLogger("s1jax")

_STEPS = 6
"""Evaluations between repackings."""
_MOST = 48
"""Evaluations after which a pixel counts as failed."""
_TOLERANCE = 2e-3
"""Decrease of the objective, nats, that is not worth another evaluation."""
_WIDTH = (0.4, 0.4, 1.0, 0.7)
"""Standard deviation of log(l - 6), W, log kappa and log noise between pixels, before any data."""
_SHIFT = 0.05
"""Of a searched parameter, to both sides, for the differences of slopes."""
_ROUNDS = 3
"""Rounds of expectation maximisation for the prior."""


class Prior(NamedTuple):
    """Gaussian of the pixels' unconstrained hyperparameters (`fit.to_unconstrained`)."""

    mean: Float[Array, "parameter"]
    precision: Float[Array, "parameter parameter"]
    """Inverse covariance."""
    root: Float[Array, "parameter parameter"]
    """R with R R^T the covariance of a typical pixel's posterior: x = mean + R u has about unit
    curvature in u."""


def prior(observations: Observations, hyper: Hyper) -> Prior:
    """The Gaussian prior of the pixels' hyperparameters around the region's, from a sample of them.

    Expectation maximisation with a Gaussian approximation of each pixel's posterior: mean and
    covariance of the sample's MAP rows, plus the inverse of the mean curvature of the objective,
    which is alike for all pixels. Three rounds from a weak prior; deterministic. Where the fit of
    most pixels of the sample fails they end, and the log says so.

    Args:
      observations: a sample of pixels (pixel, time, output); the dtype of its values is used.
      hyper: the region's, of maximum likelihood of that sample (`gp.fit`): far from there most fits
        fail.
    """
    dtype = jax.dtypes.canonicalize_dtype(observations.value.dtype)
    hyper = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), hyper)
    latents, outputs = hyper.mixing.shape
    square = latents * outputs
    width = np.repeat(_WIDTH, [latents, square, square, outputs])
    curvature = _curvature(observations, hyper)
    prior = _prior(to_unconstrained(hyper), np.diag(width**2), curvature, dtype)
    for _ in range(_ROUNDS):
        rows, ok = _rows(observations, prior, latents)
        if 2 * ok.sum() <= ok.size:
            log.warning(
                "prior of the pixels: only %d of %d fits succeeded; it stays as it was",
                ok.sum(), ok.size,
            )  # fmt: skip
            break
        rows = np.asarray(rows, np.float64)[ok]
        spread = np.cov(rows.T, bias=True) + np.asarray(prior.root @ prior.root.T, np.float64)
        prior = _prior(rows.mean(axis=0), spread, curvature, dtype)
    return prior


def fit_pixels(
    observations: Observations, prior: Prior, region: Hyper
) -> tuple[Hyper, Bool[np.ndarray, "pixel"]]:
    """argmax of log p(z | hyper) + log prior(hyper) of every pixel, and where the fit succeeded.

    By L-BFGS from the prior's mean, all pixels at once; those not done after some evaluations are
    packed together and go on. Deterministic, and a pixel's result depends on no other pixel. Where
    a pixel fails (values not finite, or not done after 48 evaluations) it is False and its
    hyperparameters are the region's.

    Args:
      observations: many pixels (pixel, time, output).
      prior: of the region, `gp.prior`.
      region: its hyperparameters.

    Returns:
      Hyper with the pixels on the first axis of each field (NumPy), and the flags.
    """
    latents, outputs = region.mixing.shape
    rows, ok = _rows(observations, prior, latents)
    hyper = _constrained(rows, latents=latents, outputs=outputs)

    def _or_region(leaf, region):
        region = np.asarray(region, leaf.dtype)
        return np.where(ok.reshape(-1, *[1] * region.ndim), leaf, region[None])

    return jax.tree.map(_or_region, hyper, region), ok


def _rows(
    observations: Observations, prior: Prior, latents: int
) -> tuple[Float[np.ndarray, "pixel parameter"], Bool[np.ndarray, "pixel"]]:
    """Unconstrained rows, and where the fit succeeded; the prior's mean where it did not."""
    dtype = prior.mean.dtype
    day = jnp.asarray(observations.day, dtype)
    value, valid = np.asarray(observations.value, dtype), np.asarray(observations.valid)
    n, _, outputs = value.shape
    batch = batch_size("kalman", latents, outputs) * jax.local_device_count()
    block = chunk_size(n, most=16 * batch, step=batch)
    state = jax.tree.map(
        lambda leaf: np.repeat(np.asarray(leaf)[None], n, axis=0), begin(jnp.zeros_like(prior.mean))
    )
    waiting = np.arange(n)
    for taken in range(0, _MOST, _STEPS):
        blocks = range(0, waiting.size, block)
        for start in bar(blocks, f"fit of pixels, evaluations {taken + 1} on", "block"):
            some = waiting[start : start + block]
            # one shape for every call: the last block is filled up with copies of its last pixel
            index = some[np.minimum(np.arange(block), some.size - 1)]
            part = jax.tree.map(lambda leaf, i=index: leaf[i], (value, valid, state))
            # copies are done before they begin: a batch of them alone takes no time
            part[2].done[some.size :] = True
            part = _further(prior, day, part, latents=latents)
            for leaf, new in zip(state, part, strict=True):
                leaf[some] = np.asarray(new)[: some.size]
        waiting = waiting[~state.done[waiting]]
    ok = state.done & np.isfinite(state.value) & np.isfinite(state.x).all(axis=1)
    log.info(
        "fit of %d pixels: %.1f evaluations on average, %d failed",
        n, state.evaluations.mean(), n - ok.sum(),
    )  # fmt: skip
    # column by column: a matrix product orders its sums by the number of pixels
    x = np.where(ok[:, None], state.x, 0.0).astype(dtype)
    root = np.asarray(prior.root)
    moved = sum(x[:, k : k + 1] * root[None, :, k] for k in range(len(root)))
    return np.asarray(prior.mean) + moved, ok


@partial(jit_recursion, static_argnames=("latents",))
def _further(prior: Prior, day: Float[Array, "time"], part: PyTree, *, latents: int) -> Descent:
    """Every pixel's descent some evaluations on, in the coordinates u of `Prior.root`."""

    def _of_pixel(value, valid, lane):
        observations = Observations(day, value, valid)

        def _cost(u):
            off = prior.root @ u
            hyper = from_unconstrained(prior.mean + off, latents, value.shape[-1])
            return 0.5 * off @ prior.precision @ off - log_likelihood(hyper, observations)

        return advance(jax.value_and_grad(_cost), lane, _STEPS, _TOLERANCE)

    return vmap_pixels(_of_pixel, *part, lanes=batch_size("kalman", latents, part[0].shape[-1]))


@partial(jax.jit, static_argnames=("latents", "outputs"))
def _constrained(rows, *, latents: int, outputs: int) -> Hyper:
    return jax.vmap(lambda row: from_unconstrained(row, latents, outputs))(jnp.asarray(rows))


def _curvature(
    observations: Observations, hyper: Hyper
) -> Float[np.ndarray, "parameter parameter"]:
    """Mean over the sample of the second derivatives of -log p(z), by differences of slopes."""
    row = np.asarray(to_unconstrained(hyper))

    def _slope(k, shift):
        moved = row.copy()
        moved[k] += shift
        return value_and_slope(moved, observations, latents=hyper.mixing.shape[0])[1].mean(axis=0)

    columns = [(_slope(k, -_SHIFT) - _slope(k, _SHIFT)) / (2.0 * _SHIFT) for k in range(row.size)]
    curvature = np.stack(columns)
    value, vector = np.linalg.eigh(0.5 * (curvature + curvature.T))
    return (vector * np.maximum(value, 1e-3)) @ vector.T


def _prior(mean, covariance, curvature, dtype) -> Prior:
    precision = np.linalg.inv(np.asarray(covariance, np.float64))
    root = np.linalg.cholesky(np.linalg.inv(curvature + precision))
    return Prior(*(jnp.asarray(leaf, dtype) for leaf in (mean, precision, root)))
