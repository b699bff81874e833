"""What is learnt from a region's training pixels."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from s1jax import gp
from s1jax.chunks import map_pixels
from s1jax.mogpr.config import MogprParams
from s1jax.mogpr.inputs import on_days, pick, regional_curve
from s1jax.types import Series

_CELL = 1000.0
"""Side of the cells over which the sample is spread, metres."""


def learn(
    series: Series,
    channel: Int[np.ndarray, "output"],
    *,
    latents: int,
    mean: str = "zero",
    sample: int = 256,
    iterations: int = 200,
    given: gp.Hyper | None = None,
) -> tuple[MogprParams, Series]:
    """What training pixels tell, with the region's hyperparameters, and the z-scored sample.

    Args:
      series: training pixels.
      channel: places of the outputs, `inputs.channels`.
      latents: latent processes.
      mean: prior mean, zero or regional.
      sample: pixels that the hyperparameters are fitted on; spread evenly over cells of 1 km where
        the series has places, else over its pixels; nothing is drawn.
      iterations: most steps of that fit.
      given: hyperparameters to use instead of a fit.

    Raises:
      ValueError: an output has no two values that differ.
    """
    outputs = pick(series, channel)
    curve = regional_curve(outputs) if mean == "regional" else None
    if curve is not None:
        level = on_days(curve, outputs.day).astype(outputs.value.dtype)
        outputs = outputs._replace(value=outputs.value - level)
    region_mean, region_std = _moments(outputs)
    some = _spread(outputs, series.place, sample)
    value, valid = (np.asarray(leaf)[some] for leaf in outputs[1:3])
    day = jnp.asarray(outputs.day, region_mean.dtype)
    z = zscore(day, (value, valid), region_mean, region_std)
    scored = Series(day, z, valid)
    if given is None:
        start = gp.initial(latents, value.shape[-1])
        hyper = gp.fit(scored, start, iterations=iterations)
    else:
        hyper = jax.tree.map(lambda leaf: jnp.asarray(leaf, region_mean.dtype), given)
    one = jnp.ones((), region_mean.dtype)
    return MogprParams(hyper, None, region_mean, region_std, curve, channel, one), scored


def zscore(
    day: Float[Array, "time"],
    arrays: PyTree,
    region_mean: Float[Array, "output"],
    region_std: Float[Array, "output"],
) -> Float[np.ndarray, "pixel time output"]:
    """z-scored values of many pixels, `gp.standardise` of each."""
    return map_pixels(
        partial(_zscore, day, region_mean, region_std),
        arrays,
        chunk=min(8192, len(arrays[0])),
        label="z-score",
    )


@jax.jit
def _zscore(day, region_mean, region_std, arrays):
    def _one(value, valid):
        return gp.standardise(Series(day, value, valid), region_mean, region_std)[0].value

    return jax.vmap(_one)(*arrays)


def _spread(series: Series, place: np.ndarray | None, sample: int) -> Int[np.ndarray, "sample"]:
    """Pixels with data, as many from every cell as can be."""
    some = np.flatnonzero(np.asarray(series.valid).any(axis=(1, 2)))
    if place is None:
        return some[_evenly(some.size, sample)]
    cells = np.floor(np.asarray(place, np.float64)[some] / _CELL).astype(np.int64)
    _, cell = np.unique(cells, axis=0, return_inverse=True)
    order = np.argsort(cell, kind="stable")
    first = np.searchsorted(cell[order], cell[order])
    rank = np.empty(some.size, np.int64)
    rank[order] = np.arange(some.size) - first
    # whole rounds over the cells until there are enough, thinned evenly to the number asked for
    rounds = np.sort(rank)[min(sample, some.size) - 1] if some.size else 0
    kept = order[rank[order] <= rounds]
    return np.sort(some[kept[_evenly(kept.size, sample)]])


def _evenly(n: int, count: int) -> Int[np.ndarray, "count"]:
    return np.unique(np.linspace(0, n - 1, min(count, n)).round().astype(np.int64))


def _moments(series: Series) -> tuple[Float[Array, "output"], Float[Array, "output"]]:
    """Mean and standard deviation of each output over all valid values."""
    dtype = jax.dtypes.canonicalize_dtype(series.value.dtype)
    value, valid = np.asarray(series.value), np.asarray(series.valid)
    outputs = value.shape[-1]
    mean, std = np.empty(outputs), np.empty(outputs)
    for output in range(outputs):
        seen = value[..., output][valid[..., output]].astype(np.float64)
        if seen.size < 2 or seen.std() == 0.0:
            raise ValueError(
                f"training values of output {output} (of {outputs}, NDVI last): got {seen.size} "
                "valid values that do not vary, expected two or more that do"
            )
        mean[output], std[output] = seen.mean(), seen.std()
    return jnp.asarray(mean, dtype), jnp.asarray(std, dtype)
