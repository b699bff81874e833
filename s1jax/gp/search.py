"""The space hyperparameters are searched in: unbounded numbers, sane hyperparameters."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from s1jax.gp.kernel import Hyper

SHORTEST, LONGEST = 6.0, 2000.0
"""Bounds of the length scale, days: half a Sentinel-1 cycle; beyond any series."""
MIXING = 6.0
"""Bound of the loadings' size."""
LOG_KAPPA = (-12.0, 3.0)
LARGEST_NOISE = 20.0
NOISE = {np.dtype(np.float32): 1e-2, np.dtype(np.float64): 1e-4}
"""Smallest noise variance by precision: below it most of the likelihood is rounding."""


def pack(hyper: Hyper) -> Float[Array, "parameter"]:
    """Hyperparameters as one row: log(l - 6), W, log kappa, log(noise - smallest).

    What lies at or below a lower bound starts a little above it, where the slope has not vanished.
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


def unpack(row: Float[Array, "parameter"], latents: int, outputs: int) -> Hyper:
    """Hyperparameters of a row: l = 6 + exp, W, kappa = exp, noise = smallest + exp.

    A row beyond an upper bound gives the bound: every row gives sane hyperparameters.
    """
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
