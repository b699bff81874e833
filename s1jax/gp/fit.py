"""Hyperparameters of a region: maximum likelihood over a sample of its pixels."""

import logging
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree
from scipy.optimize import minimize

from s1jax.chunks import map_pixels
from s1jax.gp.dense import one_thread, over_pixels
from s1jax.gp.kernel import Hyper
from s1jax.gp.solve import log_likelihood
from s1jax.progress import bar
from s1jax.types import Series

log = logging.getLogger("s1jax")

LENGTHSCALE = (6.0, 2000.0)
"""Bounds of the length scale, days: half a Sentinel-1 cycle; beyond any series."""
MIXING = (-6.0, 6.0)
LOG_KAPPA = (-12.0, 3.0)
NOISE = {np.dtype(np.float32): 1e-2, np.dtype(np.float64): 1e-4}
"""Smallest noise variance by precision: below it the posterior variance drowns in rounding."""


def initial(latents: int, outputs: int) -> Hyper:
    """Hyperparameters to start a fit from: length scale 60 days, or 30 to 120 for several latents.

    The loadings are rows of a cosine basis, so that each latent starts with its own pattern over
    the outputs. A length scale near a day would be a dead start: on a 12-day grid its gradient
    vanishes.
    """
    lengthscale = np.geomspace(30.0, 120.0, latents) if latents > 1 else np.full(1, 60.0)
    row, column = np.arange(latents)[:, None], np.arange(outputs)[None, :]
    mixing = 0.7 / latents**0.5 * np.cos(np.pi * row * (column + 0.5) / outputs)
    kappa = np.full((latents, outputs), 0.25 / latents)
    return Hyper(*map(jnp.asarray, (lengthscale, mixing, kappa, np.full(outputs, 0.3))))


def fit(series: Series, start: Hyper, *, chunk: int = 256, iterations: int = 200) -> Hyper:
    """argmax of the mean over pixels of log p(z | hyper), by L-BFGS-B from `start`.

    Searched in log l, W, log kappa, log noise, within l in [6, 2000] d, |W| <= 6, log kappa in
    [-12, 3], noise >= 1e-2 in float32 and 1e-4 in float64. Deterministic. With several latents
    there are many optima of like height: compare likelihoods and predictions, not parameters.

    Args:
      series: z-scored outputs of a sample of pixels (pixel, time, channel); its dtype is used.
      start: where to start; `initial` gives one.
      chunk: pixels per call; they are copied to the device together.
      iterations: most steps of the optimiser.

    Raises:
      ValueError: no pixel has a valid observation, or the likelihood at `start` is not finite.
    """
    keep = np.flatnonzero(np.asarray(series.valid).any(axis=(1, 2)))
    if keep.size == 0:
        raise ValueError(f"series.valid: no valid observation in any of {len(series.valid)} pixels")
    dtype = jax.dtypes.canonicalize_dtype(series.value.dtype)
    arrays = (np.asarray(series.value)[keep], np.asarray(series.valid)[keep])
    day = jnp.asarray(series.day, dtype)
    bounds = _bounds(start, dtype)
    low, high = bounds.T

    def _objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        hyper = _unpack(jnp.asarray(theta, dtype), start)
        value, slope = map_pixels(
            partial(_value_and_slope, hyper, day), arrays, chunk=chunk, label="likelihood"
        )
        progress.update()
        # float64 sums, in the order of the pixels: no chunk changes the result
        return -value.mean(dtype=np.float64), -slope.mean(axis=0, dtype=np.float64)

    theta = np.clip(_pack(start), low, high)
    with bar(range(iterations), "region fit", "evaluation") as progress, one_thread():
        first, _ = _objective(theta)
        if not np.isfinite(first):
            raise ValueError(f"log-likelihood at start: got {-first}, expected a finite number")
        best = minimize(
            _objective,
            theta,
            method="L-BFGS-B",
            jac=True,
            bounds=bounds,
            options={"maxiter": iterations, "ftol": max(10.0 * float(np.finfo(dtype).eps), 1e-9)},
        )
    log.info(
        "region fit: %d pixels, %d evaluations, mean log-likelihood %.3f -> %.3f (%s)",
        keep.size, best.nfev, -first, -best.fun, best.message,
    )  # fmt: skip
    return _unpack(jnp.asarray(best.x, dtype), start)


@jax.jit
def _value_and_slope(
    hyper: Hyper, day: Float[Array, "time"], arrays: PyTree
) -> tuple[Float[Array, "pixel"], Float[Array, "pixel parameter"]]:
    """Log-likelihood of each pixel and its gradient in the searched parameters."""

    def _of_pixel(value, valid):
        series = Series(day, value, valid)
        return jax.value_and_grad(lambda x: log_likelihood(_unpack(x, hyper), series))(_pack(hyper))

    return over_pixels(_of_pixel, *arrays)


def _pack(hyper: Hyper) -> Float[Array, "parameter"]:
    """The searched parameters, one row: log l, W, log kappa, log noise."""
    leaves = (jnp.log(hyper.lengthscale), hyper.mixing, jnp.log(hyper.kappa), jnp.log(hyper.noise))
    return jnp.concatenate([leaf.reshape(-1) for leaf in leaves])


def _unpack(theta: Float[Array, "parameter"], like: Hyper) -> Hyper:
    latents, outputs = like.mixing.shape
    ends = np.cumsum([latents, latents * outputs, latents * outputs])
    lengthscale, mixing, kappa, noise = jnp.split(theta, ends)
    return Hyper(
        jnp.exp(lengthscale),
        mixing.reshape(latents, outputs),
        jnp.exp(kappa).reshape(latents, outputs),
        jnp.exp(noise),
    )


def _bounds(like: Hyper, dtype: np.dtype) -> np.ndarray:
    rows = (
        (like.lengthscale.size, tuple(np.log(LENGTHSCALE))),
        (like.mixing.size, MIXING),
        (like.kappa.size, LOG_KAPPA),
        (like.noise.size, (np.log(NOISE[dtype]), np.log(20.0))),
    )
    return np.concatenate([np.tile(pair, (count, 1)) for count, pair in rows])
