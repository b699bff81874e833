"""The numbers of FuseTS as it shipped them: its fit, start, prediction and "std"."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import fmin_l_bfgs_b

from s1jax import batching, gp
from s1jax.batching import bar
from s1jax.gp import kalman
from s1jax.quality import EMPTY, NO_DATA
from s1jax.types import Estimate

_JITTER = 1e-8
"""What GPy adds to the diagonal of the covariance of the observations."""
_EVALUATIONS = 1000
_SHORTEST = 1e-100
_LOWEST = -700.0
"""Of the logarithm of a parameter that is to be positive: XLA takes the smallest numbers for 0."""


def fuse(
    day: Float[np.ndarray, "time"],
    value: Float[np.ndarray, "pixel time output"],
    at: Float[np.ndarray, "query"] | None,
    *,
    seed: int,
    master: int = 0,
) -> Estimate:
    """Mean, and the "std" of FuseTS, of every pixel fitted by maximum likelihood on its own.

    The model is the linear one of coregionalisation with as many latents as variables; each latent
    has a variance, a length scale, loadings W and kappa. The start is variance 1, length scale 1
    day, W = .5 randn, kappa .5, noise 1; positive parameters are searched as log(exp(x) - 1), by
    SciPy's L-BFGS-B without bounds, at most 1000 evaluations. FuseTS draws W from NumPy's global
    generator, unseeded; here every pixel draws it from `RandomState(seed)`, in the same order.
    `std` is FuseTS': the variance of an observation of z times the pixel's standard deviation.
    Days count whole. A pixel in which a variable is empty or constant is NaN. Axes are (pixel,
    output, query); the noise is 0, as FuseTS' std includes it.

    Double precision, one pixel after the other. docs/how-to/fusets.md has the differences from
    stored runs of FuseTS. On irregular dates some likelihoods are flat or degenerate (noise and a
    length scale near 0), and rounding decides where the optimiser ends.

    Args:
      day: days of the observations, in any order.
      value: physical units, NaN where missing.
      at: days to estimate on; None: those of the observations.
      seed: of W.
      master: index of the variable without which FuseTS does not fuse.
    """
    day = np.floor(day)
    at = day if at is None else np.floor(at)
    order = np.argsort(day, kind="stable")
    pixels, _, outputs = value.shape
    mean, std = (np.full((pixels, outputs, at.size), np.nan) for _ in range(2))
    seen = np.isfinite(value)
    there = seen.any(axis=1)
    with jax.enable_x64(True), batching.one_thread():
        for pixel in bar(range(pixels), "mogpr as FuseTS", "pixel"):
            if not there[pixel, master]:
                continue
            y = value[pixel][order]
            valid = seen[pixel][order]
            level, scale = _moments(y)
            if not np.all(scale > 0.0):
                continue
            z = np.where(valid, (y - level) / scale, 0.0)
            arrays = map(jnp.asarray, (day[order] - day.min(), z, valid))
            observations = gp.Observations(*arrays)
            row, _ = fit(observations, seed)
            latent, variance = _predict(row, observations, jnp.asarray(at - day.min()))
            mean[pixel] = np.asarray(latent) * scale[:, None] + level[:, None]
            std[pixel] = np.asarray(variance) * scale[:, None]
    quality = NO_DATA * ~np.any(there, axis=1) + EMPTY * ~np.all(there, axis=1)
    return Estimate(mean, std, np.zeros((pixels, outputs)), quality.astype(np.uint8))


def fit(observations: gp.Observations, seed: int) -> tuple[Float[np.ndarray, "parameter"], float]:
    """The row of parameters where the optimiser ends, and the negative log-likelihood there, nats.

    `observations` are of one pixel, z-scored, float64 arrays of JAX; `seed` is that of W.
    """
    outputs = observations.value.shape[1]
    loading = 0.5 * np.random.RandomState(seed).randn(outputs, outputs)
    one, half = np.log(np.expm1(1.0)), np.log(np.expm1(0.5))
    start = np.r_[[one] * 2 * outputs, loading.ravel(), [half] * outputs**2, [one] * outputs]

    def _cost(row):
        value, slope = _cost_and_slope(row, observations)
        return float(value), np.asarray(slope)

    row, cost, _ = fmin_l_bfgs_b(_cost, start, maxfun=_EVALUATIONS, maxiter=_EVALUATIONS)
    return row, float(cost)


def hyper_of(row: Float[Array, "parameter"], outputs: int) -> gp.Hyper:
    """Hyperparameters of a row (variances, length scales, W, kappa, noise), variances absorbed."""
    ends = np.cumsum([outputs, outputs, outputs**2, outputs**2])
    variance, lengthscale, mixing, kappa, noise = jnp.split(row, ends)
    variance, lengthscale, kappa, noise = (
        jax.nn.softplus(jnp.maximum(x, _LOWEST)) for x in (variance, lengthscale, kappa, noise)
    )
    square = (outputs, outputs)
    return gp.Hyper(
        # a process as short as that is white noise, and 1 / l^2 must not overflow
        jnp.maximum(lengthscale, _SHORTEST),
        jnp.sqrt(variance)[:, None] * mixing.reshape(square),
        variance[:, None] * kappa.reshape(square),
        noise,
    )


def _observed(row, outputs: int) -> gp.Hyper:
    hyper = hyper_of(row, outputs)
    return hyper._replace(noise=hyper.noise + _JITTER)


@jax.jit
@jax.value_and_grad
def _cost_and_slope(row, observations: gp.Observations):
    return -gp.log_likelihood(_observed(row, observations.value.shape[1]), observations)


@jax.jit
def _predict(row, observations: gp.Observations, at):
    """Mean and variance of an observation of z, (output, query)."""
    outputs = observations.value.shape[1]
    # the noise may be as small as rounding: a variance that is no longer positive counts here
    mean, variance = kalman.condition(
        _observed(row, outputs), observations, at, tuple(range(outputs))
    )
    return mean, variance + hyper_of(row, outputs).noise[:, None]


def _moments(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population standard deviation of each variable, 0 where it is empty."""
    columns = [column[np.isfinite(column)] for column in y.T]
    mean = [column.mean() if column.size else 0.0 for column in columns]
    return np.array(mean), np.array([column.std() if column.size else 0.0 for column in columns])
