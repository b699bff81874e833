"""Hyperparameters of a region: maximum likelihood over a sample of its pixels."""

import logging
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree
from scipy.optimize import minimize

from s1jax.chunks import map_pixels, shape
from s1jax.gp.batch import compiled, lanes, one_thread, over_pixels
from s1jax.gp.kernel import Hyper
from s1jax.gp.search import bounds, pack, unpack
from s1jax.gp.solve import log_likelihood
from s1jax.progress import bar
from s1jax.types import Series

log = logging.getLogger("s1jax")


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
    series: Series,
    start: Hyper,
    *,
    starts: int = 1,
    hidden: Bool[Array | np.ndarray, "pixel time channel"] | None = None,
    chunk: int = 1024,
    iterations: int = 200,
) -> Hyper:
    """argmax of the mean over pixels of log p(z | hyper), by L-BFGS-B from `start`.

    With `hidden`, of log p(z_hidden | z_shown, hyper) = log p(z) - log p(z_shown): how well what is
    hidden is predicted, and nothing else. Where the model is not quite true, the likelihood of all
    is spent on what there is most of, speckle; this is spent on what will be asked.

    Searched in the space of `gp.search`, within l in [6, 2000] d, |W| <= 6, log kappa in [-12, 3],
    noise above 1e-2 in float32 and 1e-4 in float64. Deterministic. With several latents
    there are many optima of like height: compare likelihoods and predictions, not parameters.

    Args:
      series: z-scored outputs of a sample of pixels (pixel, time, channel); its dtype is used.
      start: where to start; `initial` gives one.
      starts: optima to choose the best of, 1 to 4: from `start`, with its length scales further
        apart, with the loadings of each latent given to another, and both. With several latents a
        second found the best optimum of every well-posed GPy reference case; with many pixels, or
        one latent, the first does.
      hidden: valid values to predict from the others; None: all of them from the model alone.
      chunk: pixels per call; they are copied to the device together.
      iterations: most steps of the optimiser.

    Raises:
      ValueError: no pixel has a valid observation, the likelihood at `start` or where the search
        ended is not finite, or `starts` is not 1 to 4.
    """
    if not 1 <= starts <= 4:
        raise ValueError(f"starts: got {starts}, expected 1 to 4")
    counted = np.asarray(series.valid)
    if hidden is not None:
        counted = counted & np.asarray(hidden)
    keep = np.flatnonzero(counted.any(axis=(1, 2)))
    if keep.size == 0:
        raise ValueError(f"series.valid: no valid observation in any of {len(series.valid)} pixels")
    dtype = jax.dtypes.canonicalize_dtype(series.value.dtype)
    some = Series(series.day, *(np.asarray(leaf)[keep] for leaf in series[1:3]))
    if hidden is not None:
        shown = some._replace(valid=some.valid & ~np.asarray(hidden)[keep])
    latents, outputs = start.mixing.shape
    box = bounds(latents, outputs, dtype)

    def _objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = value_and_slope(theta, some, latents=latents, chunk=chunk)
        if hidden is not None:
            given, less = value_and_slope(theta, shown, latents=latents, chunk=chunk)
            value, slope = value - given, slope - less
        progress.update()
        return -value.mean(), -slope.mean(axis=0)

    start = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), start)
    found = []
    # the optimiser's own algebra is tiny: on several threads it took longer than the likelihoods
    with one_thread(), bar(range(starts * iterations), "region fit", "evaluation") as progress:
        for k in range(starts):
            theta = np.clip(np.asarray(pack(_other(start, k)), np.float64), *box.T)
            if k == 0 and not np.isfinite(first := _objective(theta)[0]):
                raise ValueError(f"log-likelihood at start: got {-first}, expected a finite number")
            optimum = minimize(
                _objective,
                theta,
                method="L-BFGS-B",
                jac=True,
                bounds=box,
                options={
                    "maxiter": iterations,
                    "ftol": max(100 * float(np.finfo(dtype).eps), 1e-9),
                },
            )
            found.append(optimum)
    best = min(found, key=lambda optimum: np.nan_to_num(optimum.fun, nan=np.inf))
    log.info(
        "region fit: %d pixels, %d evaluations, mean log-likelihood %.3f -> %.3f (%s)",
        keep.size, sum(each.nfev for each in found), -first, -best.fun, best.message,
    )  # fmt: skip
    if not np.isfinite(best.fun) or not np.isfinite(best.x).all():
        raise ValueError(
            f"log-likelihood: got {-best.fun} at the end of the fit, expected a finite number; "
            f"{keep.size} pixels from {np.abs(some.value[some.valid]).max():.1e} down"
        )
    return unpack(jnp.asarray(best.x, dtype), latents, outputs)


def _other(start: Hyper, k: int) -> Hyper:
    """The k-th start: odd ones further apart in length scale, the last two with patterns swapped.

    From the 30 to 120 days of `initial`, further apart is 10 to 120 days.
    """
    longest = jnp.max(start.lengthscale)
    apart = longest * (start.lengthscale / longest) ** 1.8 if k % 2 else start.lengthscale
    return start._replace(lengthscale=apart[::-1] if k // 2 else apart)


def value_and_slope(
    row: Float[np.ndarray, "parameter"], series: Series, *, latents: int, chunk: int = 1024
) -> tuple[Float[np.ndarray, "pixel"], Float[np.ndarray, "pixel parameter"]]:
    """log p(z | row) of each pixel and its gradient in the row, float64 for sums over pixels.

    Args:
      row: hyperparameters in the space of `gp.search`.
      series: z-scored outputs (pixel, time, channel); its dtype is that of the computation.
      latents: latent processes of the model.
      chunk: pixels per call; changes no digit.
    """
    dtype = jax.dtypes.canonicalize_dtype(series.value.dtype)
    n, _, outputs = series.value.shape
    # few pixels need not fill the lanes with copies
    width = shape(n, most=lanes("kalman", latents, outputs))
    given = jnp.asarray(row, dtype), jnp.asarray(series.day, dtype)
    found = map_pixels(
        partial(_each, *given, latents=latents, width=width),
        (series.value, series.valid),
        chunk=shape(n, most=chunk),
        label="likelihood",
    )
    return tuple(leaf.astype(np.float64) for leaf in found)


@partial(compiled, static_argnames=("latents", "width"))
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
        series = Series(day, value, valid)
        return jax.value_and_grad(lambda x: log_likelihood(unpack(x, latents, outputs), series))(
            row
        )

    return over_pixels(_of_pixel, *arrays, lanes=width)
