"""Hyperparameters of every pixel: maximum a posteriori around the region's."""

import logging
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from s1jax.chunks import shape
from s1jax.gp.batch import compiled, lanes, over_pixels
from s1jax.gp.descent import Descent, advance, begin
from s1jax.gp.fit import value_and_slope
from s1jax.gp.kernel import Hyper
from s1jax.gp.search import pack, unpack
from s1jax.gp.solve import log_likelihood
from s1jax.progress import bar
from s1jax.types import Series

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
"""Rounds in which the prior is learnt from the sample's pixels and they from it."""


class Prior(NamedTuple):
    """How the hyperparameters of pixels spread around the region's, in the space of `search`."""

    mean: Float[Array, "parameter"]
    precision: Float[Array, "parameter parameter"]
    """Inverse covariance."""
    root: Float[Array, "parameter parameter"]
    """R with R R^T the covariance of a typical pixel's posterior: x = mean + R u has about unit
    curvature in u."""


def prior(series: Series, hyper: Hyper) -> Prior:
    """The Gaussian prior of the pixels' hyperparameters, learnt from a sample around the region's.

    Expectation maximisation with a Gaussian approximation of each pixel's posterior: mean and
    covariance of the sample's MAP rows, plus the inverse of the mean curvature of the objective,
    which is alike for all pixels. Three rounds from a weak prior; deterministic. Where the fit of
    most pixels of the sample fails they end, and the log says so.

    Args:
      series: z-scored outputs of a sample of pixels (pixel, time, channel); its dtype is used.
      hyper: the region's, of maximum likelihood of that sample (`gp.fit`): far from there most fits
        fail.
    """
    dtype = jax.dtypes.canonicalize_dtype(series.value.dtype)
    hyper = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), hyper)
    latents, outputs = hyper.mixing.shape
    square = latents * outputs
    width = np.repeat(_WIDTH, [latents, square, square, outputs])
    curvature = _curvature(series, hyper)
    found = _prior(pack(hyper), np.diag(width**2), curvature, dtype)
    for _ in range(_ROUNDS):
        rows, ok = _rows(series, found, latents)
        if 2 * ok.sum() <= ok.size:
            log.warning(
                "prior of the pixels: only %d of %d fits succeeded; it stays as it was",
                ok.sum(), ok.size,
            )  # fmt: skip
            break
        rows = np.asarray(rows, np.float64)[ok]
        spread = np.cov(rows.T, bias=True) + np.asarray(found.root @ found.root.T, np.float64)
        found = _prior(rows.mean(axis=0), spread, curvature, dtype)
    return found


def fit_pixels(
    series: Series, prior: Prior, region: Hyper
) -> tuple[Hyper, Bool[np.ndarray, "pixel"]]:
    """argmax of log p(z | hyper) + log prior(hyper) of every pixel, and where it was found.

    By L-BFGS from the prior's mean, all pixels at once; those not done after some evaluations are
    packed together and go on. Deterministic, and a pixel's result depends on no other pixel. Where
    a pixel fails (values not finite, or not done after 48 evaluations) it is False and its
    hyperparameters are the region's.

    Args:
      series: z-scored outputs of many pixels (pixel, time, channel).
      prior: of the region, `gp.prior`.
      region: its hyperparameters.

    Returns:
      Hyper with the pixels on the first axis of each field (NumPy), and the flags.
    """
    latents, outputs = region.mixing.shape
    rows, ok = _rows(series, prior, latents)
    own = _unpacked(rows, latents=latents, outputs=outputs)

    def _or_region(own, region):
        return np.where(
            ok.reshape(-1, *[1] * region.ndim), own, np.asarray(region, own.dtype)[None]
        )

    return jax.tree.map(_or_region, own, region), ok


def _rows(
    series: Series, prior: Prior, latents: int
) -> tuple[Float[np.ndarray, "pixel parameter"], Bool[np.ndarray, "pixel"]]:
    """Rows of `search`, and where they were found; the prior's mean where they were not."""
    dtype = prior.mean.dtype
    day = jnp.asarray(series.day, dtype)
    value, valid = np.asarray(series.value, dtype), np.asarray(series.valid)
    n, _, outputs = value.shape
    batch = lanes("kalman", latents, outputs) * jax.local_device_count()
    block = shape(n, most=16 * batch, step=batch)
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
    fine = state.done & np.isfinite(state.value) & np.isfinite(state.x).all(axis=1)
    log.info(
        "fit of %d pixels: %.1f evaluations on average, %d failed",
        n, state.evaluations.mean(), n - fine.sum(),
    )  # fmt: skip
    # column by column: a matrix product orders its sums by the number of pixels
    x = np.where(fine[:, None], state.x, 0.0).astype(dtype)
    root = np.asarray(prior.root)
    moved = sum(x[:, k : k + 1] * root[None, :, k] for k in range(len(root)))
    return np.asarray(prior.mean) + moved, fine


@partial(compiled, static_argnames=("latents",))
def _further(prior: Prior, day: Float[Array, "time"], part: PyTree, *, latents: int) -> Descent:
    """Every pixel's descent some evaluations on, in the coordinates u of `Prior.root`."""

    def _of_pixel(value, valid, lane):
        series = Series(day, value, valid)

        def _cost(u):
            off = prior.root @ u
            hyper = unpack(prior.mean + off, latents, value.shape[-1])
            return 0.5 * off @ prior.precision @ off - log_likelihood(hyper, series)

        return advance(jax.value_and_grad(_cost), lane, _STEPS, _TOLERANCE)

    return over_pixels(_of_pixel, *part, lanes=lanes("kalman", latents, part[0].shape[-1]))


@partial(jax.jit, static_argnames=("latents", "outputs"))
def _unpacked(rows, *, latents: int, outputs: int) -> Hyper:
    return jax.vmap(lambda row: unpack(row, latents, outputs))(jnp.asarray(rows))


def _curvature(series: Series, hyper: Hyper) -> Float[np.ndarray, "parameter parameter"]:
    """Mean over the sample of the second derivatives of -log p(z), by differences of slopes."""
    row = np.asarray(pack(hyper))

    def _slope(k, shift):
        moved = row.copy()
        moved[k] += shift
        return value_and_slope(moved, series, latents=hyper.mixing.shape[0])[1].mean(axis=0)

    columns = [(_slope(k, -_SHIFT) - _slope(k, _SHIFT)) / (2.0 * _SHIFT) for k in range(row.size)]
    curvature = np.stack(columns)
    value, vector = np.linalg.eigh(0.5 * (curvature + curvature.T))
    return (vector * np.maximum(value, 1e-3)) @ vector.T


def _prior(mean, covariance, curvature, dtype) -> Prior:
    precision = np.linalg.inv(np.asarray(covariance, np.float64))
    root = np.linalg.cholesky(np.linalg.inv(curvature + precision))
    return Prior(*(jnp.asarray(leaf, dtype) for leaf in (mean, precision, root)))
