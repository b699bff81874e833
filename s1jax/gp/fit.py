"""Hyperparameters of a region, by maximum likelihood over a sample of its pixels; their bounds."""

import logging
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree
from scipy.optimize import minimize

from s1jax.batching import (
    bar,
    batch_size,
    chunk_size,
    jit_recursion,
    map_chunks,
    one_thread,
    vmap_pixels,
)
from s1jax.gp.kernel import Hyper, Observations
from s1jax.gp.solve import log_likelihood

log = logging.getLogger("s1jax")

SHORTEST, LONGEST = 6.0, 2000.0
"""Bounds of the length scale, days: half a Sentinel-1 cycle; beyond any series."""
MIXING = 6.0
"""Bound of the loadings' size."""
LOG_KAPPA = (-12.0, 3.0)
LARGEST_NOISE = 20.0
NOISE = {np.dtype(np.float32): 1e-2, np.dtype(np.float64): 1e-4}
"""Smallest noise variance by precision: below it most of the likelihood is rounding."""
_CHUNK = 1024
"""Pixels per call; changes no digit."""


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


def fit(
    observations: Observations,
    start: Hyper,
    *,
    hidden: Bool[Array | np.ndarray, "pixel time output"] | None = None,
    iterations: int = 200,
) -> Hyper:
    """argmax of the mean over pixels of log p(z | hyper), by L-BFGS-B from `start` within bounds.

    With `hidden`, of the conditional likelihood, equation (22) of docs/concepts/gp.md.
    Deterministic. With several latents there are many optima of like height: compare likelihoods
    and predictions, not parameters.

    Args:
      observations: a sample of pixels (pixel, time, output); the dtype of its values is used.
      start: where to start; `initial` gives one.
      hidden: valid values to predict from the others; None: all of them from the model alone.
      iterations: most steps of the optimiser.

    Raises:
      ValueError: no pixel has a valid observation, or the likelihood at `start` or where the search
        ended is not finite.
    """
    counted = np.asarray(observations.valid)
    if hidden is not None:
        counted = counted & np.asarray(hidden)
    keep = np.flatnonzero(counted.any(axis=(1, 2)))
    if keep.size == 0:
        raise ValueError(
            f"observations.valid: no valid observation in any of {len(observations.valid)} pixels"
        )
    dtype = jax.dtypes.canonicalize_dtype(observations.value.dtype)
    some = Observations(observations.day, *(np.asarray(leaf)[keep] for leaf in observations[1:]))
    visible = None
    if hidden is not None:
        visible = some._replace(valid=some.valid & ~np.asarray(hidden)[keep])
    latents, outputs = start.mixing.shape
    box, tolerance = bounds(latents, outputs, dtype), max(100 * float(np.finfo(dtype).eps), 1e-9)

    def _objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = value_and_slope(theta, some, latents=latents)
        if visible is not None:
            marginal, its_slope = value_and_slope(theta, visible, latents=latents)
            value, slope = value - marginal, slope - its_slope
        progress.update()
        return -value.mean(), -slope.mean(axis=0)

    row = to_unconstrained(jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), start))
    theta = np.clip(np.asarray(row, np.float64), *box.T)
    # the optimiser's own algebra is tiny: on several threads it took longer than the likelihoods
    with one_thread(), bar(range(iterations), "region fit", "evaluation") as progress:
        if not np.isfinite(first := _objective(theta)[0]):
            raise ValueError(f"log-likelihood at start: got {-first}, expected a finite number")
        options = {"maxiter": iterations, "ftol": tolerance}
        best = minimize(_objective, theta, method="L-BFGS-B", jac=True, bounds=box, options=options)
    log.info(
        "region fit: %d pixels, %d evaluations, mean log-likelihood %.3f -> %.3f (%s)",
        keep.size, best.nfev, -first, -best.fun, best.message,
    )  # fmt: skip
    if not np.isfinite(best.fun) or not np.isfinite(best.x).all():
        raise ValueError(
            f"log-likelihood: got {-best.fun} at the end of the fit, expected a finite number; "
            f"{keep.size} pixels from {np.abs(some.value[some.valid]).max():.1e} down"
        )
    return from_unconstrained(jnp.asarray(best.x, dtype), latents, outputs)


def to_unconstrained(hyper: Hyper) -> Float[Array, "parameter"]:
    """Hyperparameters as one unconstrained row, equation (21) of docs/concepts/gp.md.

    A value at or below a lower bound moves a little above it, where the slope has not vanished.
    """
    hyper = Hyper(*map(jnp.asarray, hyper))
    floor = NOISE[np.dtype(hyper.noise.dtype)]
    leaves = (
        jnp.log(jnp.maximum(hyper.lengthscale - SHORTEST, 0.1)),
        hyper.mixing,
        jnp.maximum(jnp.log(hyper.kappa), LOG_KAPPA[0]),
        jnp.log(jnp.maximum(hyper.noise - floor, 0.1 * floor)),
    )
    return jnp.concatenate([leaf.reshape(-1) for leaf in leaves])


def from_unconstrained(row: Float[Array, "parameter"], latents: int, outputs: int) -> Hyper:
    """Hyperparameters of a row; beyond an upper bound it gives the bound."""
    square = latents * outputs
    lengthscale, mixing, kappa, noise = jnp.split(
        row, [latents, latents + square, latents + 2 * square]
    )
    longest = float(np.log(LONGEST - SHORTEST))
    return Hyper(
        SHORTEST + jnp.exp(jnp.minimum(lengthscale, longest)),
        jnp.clip(mixing, -MIXING, MIXING).reshape(latents, outputs),
        jnp.exp(jnp.clip(kappa, *LOG_KAPPA)).reshape(latents, outputs),
        NOISE[np.dtype(row.dtype)] + jnp.exp(jnp.minimum(noise, float(np.log(LARGEST_NOISE)))),
    )


def bounds(latents: int, outputs: int, dtype: np.dtype) -> Float[np.ndarray, "parameter 2"]:
    """Bounds of a row, for a search that can hold them."""
    square = latents * outputs
    rows = (
        (latents, (np.log(0.1), np.log(LONGEST - SHORTEST))),
        (square, (-MIXING, MIXING)),
        (square, LOG_KAPPA),
        (outputs, (np.log(0.01 * NOISE[np.dtype(dtype)]), np.log(LARGEST_NOISE))),
    )
    return np.concatenate([np.tile(pair, (count, 1)) for count, pair in rows])


def value_and_slope(
    row: Float[np.ndarray, "parameter"], observations: Observations, *, latents: int
) -> tuple[Float[np.ndarray, "pixel"], Float[np.ndarray, "pixel parameter"]]:
    """log p(z | row) of each pixel and its gradient in the row, float64 for sums over pixels."""
    dtype = jax.dtypes.canonicalize_dtype(observations.value.dtype)
    n, _, outputs = observations.value.shape
    # few pixels need not fill the lanes with copies
    width = chunk_size(n, most=batch_size("kalman", latents, outputs))
    shared = jnp.asarray(row, dtype), jnp.asarray(observations.day, dtype)
    leaves = map_chunks(
        partial(_each, *shared, latents=latents, width=width),
        (observations.value, observations.valid),
        chunk=chunk_size(n, most=_CHUNK),
        label="likelihood",
    )
    return tuple(leaf.astype(np.float64) for leaf in leaves)


@partial(jit_recursion, static_argnames=("latents", "width"))
def _each(
    row: Float[Array, "parameter"],
    day: Float[Array, "time"],
    arrays: PyTree,
    *,
    latents: int,
    width: int,
) -> tuple[Float[Array, "pixel"], Float[Array, "pixel parameter"]]:
    outputs = arrays[0].shape[-1]

    def _of_pixel(value, valid):
        observations = Observations(day, value, valid)
        return jax.value_and_grad(
            lambda x: log_likelihood(from_unconstrained(x, latents, outputs), observations)
        )(row)

    return vmap_pixels(_of_pixel, *arrays, lanes=width)
