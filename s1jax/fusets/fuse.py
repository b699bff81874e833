"""Every variable of many pixels by MOGPR: scales and hyperparameters, and the posterior."""

import logging
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from s1jax import gp
from s1jax.mogpr import MogprParams, load
from s1jax.mogpr.inputs import standardise_pixels
from s1jax.mogpr.posterior import posterior_of_outputs
from s1jax.mogpr.region import evenly
from s1jax.quality import EMPTY, NO_DATA, REGION_HYPER, REGION_SCALE
from s1jax.types import Estimate

log = logging.getLogger("s1jax")

SAMPLE = 256
"""Most pixels that hyperparameters are fitted on."""
INDUCING = 20
"""Inducing days of the sparse method where no number is given."""
UNKNOWN = 1.0
"""The scale of a variable that does not vary over the sample, or has no data."""
_CHUNK = 2048


def fit_scales(
    day: Float[np.ndarray, "time"],
    value: Float[np.ndarray, "pixel time output"],
    hyper: str | Path | gp.Hyper = "region",
    *,
    latents: int | None = None,
    optimize: bool = True,
) -> MogprParams:
    """Scale of each variable over a sample, and hyperparameters fitted on it, given or read.

    Deterministic. Without any data, and with `optimize=False`, the hyperparameters are those that a
    fit starts from (length scale 60 days, or 30 to 120).

    Args:
      day: days, ascending.
      value: a sample of the pixels, physical units, NaN where missing.
      hyper: "region" or "pixel", fitted; given on z-scored variables; or a .npz file of
        `s1jax.mogpr.save`.
      latents: latent processes; None: as many as variables.
      optimize: False: nothing is fitted.

    Raises:
      ValueError: given hyperparameters are not of as many outputs as there are variables, or a
        file's were fitted less a regional curve or to other inputs.
    """
    outputs = value.shape[-1]
    given = isinstance(hyper, gp.Hyper)
    if not given and hyper not in ("region", "pixel"):
        return _read(hyper, outputs, latents)
    valid, dtype = np.isfinite(value), jnp.zeros(0).dtype
    start = hyper if given else gp.initial(latents or outputs, outputs)
    _check_outputs(start, outputs)
    params = MogprParams(
        jax.tree.map(lambda leaf: np.asarray(leaf, dtype), start),
        *moments(value),
        _inputs(outputs),
        std_factor=np.ones((), dtype),
        scale_by_pixel=True,
    )
    if given or not optimize:
        return params
    if not valid.any():
        log.warning("no data in the sample of %d pixels: nothing is fitted", len(value))
        return params
    some = evenly(len(value), SAMPLE)
    unit = np.zeros(outputs, dtype), np.ones(outputs, dtype)
    z = standardise_pixels(
        _relative(params, value[some]), valid[some], *unit, by_pixel=True, furthest=np.inf
    )
    sample = gp.Observations(day.astype(dtype), np.asarray(z.value), valid[some])
    params = replace(params, hyper=gp.fit(sample, params.hyper))
    if hyper == "pixel":
        params = replace(params, prior=gp.prior(sample, params.hyper))
    return jax.tree.map(np.asarray, params)


def check_latents(latents: int | None, hyper: gp.Hyper) -> None:
    """Refuse another number of latents than given hyperparameters have (ValueError)."""
    if latents not in (None, len(hyper.mixing)):
        expected = f"its {len(hyper.mixing)} or None"
        raise ValueError(f"latents: got {latents} beside hyper, expected {expected}")


def _read(path: str | Path, outputs: int, latents: int | None) -> MogprParams:
    params = load(path)
    _check_outputs(params.hyper, outputs)
    check_latents(latents, params.hyper)
    if params.curve is not None:
        raise ValueError(f"hyper: got {path} fitted less a regional curve, expected mean='zero'")
    if params.inputs != _inputs(outputs):
        raise ValueError(
            f"hyper: got {path} of looks and channels {params.inputs}, expected those as "
            "observed of the first orbit and NDVI last, which the variables are taken as"
        )
    return jax.tree.map(np.asarray, params)


def _inputs(outputs: int) -> tuple[tuple[int, int], ...]:
    """The variables as radar channels, the last as NDVI."""
    return tuple((0, channel) for channel in range(outputs - 1))


def _check_outputs(hyper: gp.Hyper, outputs: int) -> None:
    if np.shape(hyper.noise) != (outputs,):
        got = f"{np.size(hyper.noise)} outputs"
        raise ValueError(f"hyper: got {got}, expected {outputs}, one for each variable")


def moments(
    value: Float[np.ndarray, "pixel time output"],
) -> tuple[Float[np.ndarray, "output"], Float[np.ndarray, "output"]]:
    """Mean and standard deviation of each variable without far outliers; 0 and 1 without data.

    Values further from the middle 90 % than three times their width are left out: one absurd
    number must not set the scale of all pixels. A variable that does not vary has scale `UNKNOWN`.
    """
    outputs = value.shape[-1]
    mean, std = np.zeros(outputs), np.full(outputs, UNKNOWN)
    for output in range(outputs):
        seen = value[..., output]
        seen = seen[np.isfinite(seen)]
        if seen.size == 0:
            continue
        low, high = np.quantile(seen, (0.05, 0.95))
        reach = 3.0 * (high - low)
        kept = seen[(seen >= low - reach) & (seen <= high + reach)]
        mean[output] = kept.mean()
        std[output] = kept.std() if high > low else UNKNOWN
    return mean, std


def _relative(
    params: MogprParams, value: Float[np.ndarray, "pixel time output"]
) -> Float[np.ndarray, "pixel time output"]:
    """(value - mean) / std of the region, 0 where missing, in JAX's default precision.

    Subtracted in double precision, so that an offset far larger than the variation costs nothing.
    """
    mean, std = (np.asarray(leaf, float) for leaf in (params.region_mean, params.region_std))
    return np.where(np.isfinite(value), (value - mean) / std, 0.0).astype(jnp.zeros(0).dtype)


def fuse(
    params: MogprParams,
    day: Float[np.ndarray, "time"],
    value: Float[np.ndarray, "pixel time output"],
    at: Float[np.ndarray, "query"] | None,
) -> Estimate:
    """Posterior of every variable on the days `at`: (pixel, output, query), physical units.

    Each variable of a pixel is z-scored over its own observations, or in the region's scale where
    it has fewer than five or does not vary; where it does not vary in the region either, its mean
    stays within its own values. A variable is NaN where the pixel has no observation of it.

    Args:
      params: of `fit_scales`.
      day: days of the observations, in any order; a day may be there twice.
      value: physical units, NaN where missing.
      at: days to estimate on, counted as `day`; None: the days of the observations.
    """
    outputs, dtype = value.shape[-1], jnp.zeros(0).dtype
    order = np.argsort(day, kind="stable")
    first = day[order[0]]
    seen = np.isfinite(value)
    observations = gp.Observations(
        day[order] - first, _relative(params, value)[:, order], seen[:, order]
    )
    unit = replace(
        jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params),
        region_mean=jnp.zeros(outputs, dtype),
        region_std=jnp.ones(outputs, dtype),
    )
    days = (day if at is None else at) - first
    estimate = posterior_of_outputs(
        unit, observations, days, outputs=tuple(range(outputs)), furthest=np.inf, chunk=_CHUNK
    )
    # back in double precision, for offsets far larger than the variation
    scale, level = (
        np.asarray(leaf, float)[None, :, None] for leaf in (params.region_std, params.region_mean)
    )
    mean = _within(params, value, estimate.region_scale, estimate.mean * scale + level)
    there = seen.any(axis=1)
    mean, std = (np.where(there[:, :, None], leaf, np.nan) for leaf in (mean, estimate.std * scale))
    lost = (~np.isfinite(mean + std) & there[:, :, None]).any(axis=(1, 2)).sum()
    if lost:
        log.warning("mogpr: results of %d pixels are not finite", lost)
    quality = (
        REGION_SCALE * np.any(estimate.region_scale & there, axis=1)
        + NO_DATA * ~np.any(there, axis=1)
        + REGION_HYPER * estimate.region_hyper
        + EMPTY * ~np.all(there, axis=1)
    )
    return Estimate(mean, std, estimate.noise * scale[..., 0], quality.astype(np.uint8))


def _within(params: MogprParams, value, region_scale, mean):
    """The mean, within the values seen where the scale of a variable is `UNKNOWN`.

    Nothing relates the variation of the other variables in a gap to its units then.
    """
    seen = np.isfinite(value)
    low = np.where(seen, value, np.inf).min(axis=1)
    high = np.where(seen, value, -np.inf).max(axis=1)
    unknown = region_scale & seen.any(axis=1) & (np.asarray(params.region_std) == UNKNOWN)
    clipped = np.clip(mean, low[:, :, None], high[:, :, None])
    return np.where(unknown[:, :, None], clipped, mean)
