"""What is learnt from a region's training pixels."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from s1jax import gp, hiding
from s1jax.forked import refuse_forked
from s1jax.gp.search import NOISE
from s1jax.mogpr.config import SCALES, Curve, MogprParams
from s1jax.mogpr.inputs import check_labels, on_days, pick, regional_curve
from s1jax.types import NDVI, Series

_CELL = 1000.0
"""Side of the cells over which the sample is spread, metres."""
_FAR = 5.0
"""z-score by the region's mean and std past which radar is left out."""
_LEAP = (5.0**0.5 - 1.0) / 2.0
"""Golden ratio: the first n of its multiples, less whole numbers, are spread evenly for every n."""


class Sample(NamedTuple):
    """Pixels that a region's hyperparameters were fitted on: what `gp.prior` asks for."""

    series: Series
    """z-scored."""
    hyper: gp.Hyper
    """Their maximum likelihood, around which each pixel's own lie. Those that predict best lie
    aside of it where the model is not quite true, and a pixel's own likelihood leads away."""


def learn(
    series: Series,
    channel: Int[np.ndarray, "output"],
    *,
    latents: int,
    mean: str = "zero",
    scale: str = "region",
    sample: int = 128,
    iterations: int = 200,
    given: gp.Hyper | None = None,
    level: MogprParams | None = None,
) -> tuple[MogprParams, Sample]:
    """What training pixels tell, with the region's hyperparameters, and the sample of them.

    The hyperparameters are those that best predict NDVI from what is left when some is hidden as
    the tasks hide it (a random share, 60 or 132 days, all of it): `gp.fit` with `hidden`, from
    those of maximum likelihood. What is hidden of the sample is drawn once and for all.

    Args:
      series: training pixels.
      channel: places of the outputs, `inputs.channels`.
      latents: latent processes.
      mean: prior mean, zero or regional.
      scale: z-score by the mean and std of the region, or of the pixel.
      sample: pixels that the hyperparameters are fitted on; spread evenly over cells of 1 km where
        the series has places, else over its pixels; nothing is drawn.
      iterations: most steps of that fit.
      given: hyperparameters to use instead of a fit.
      level: what `learn` returned for a zero mean, by which a regional curve is completed on dates
        without any NDVI; learnt here where None.

    Raises:
      ValueError: no pixel has a label, an output has no two values that differ, no such mean, or
        `given` is of another number of outputs.
      RuntimeError: in a process that was forked after its parent used JAX.
    """
    refuse_forked()
    for name, got, known in (("mean", mean, ("zero", "regional")), ("scale", scale, SCALES)):
        if got not in known:
            raise ValueError(f"{name}: got {got!r}, expected one of {known}")
    if given is not None and given.noise.shape[0] != channel.size:
        raise ValueError(
            f"hyper: got {given.noise.shape[0]} outputs, expected {channel.size} (the radar "
            "channels used and NDVI)"
        )
    check_labels(series)
    outputs = pick(series, channel)
    curve = regional_curve(outputs) if mean == "regional" else None
    if curve is not None:
        blank = ~outputs.valid[..., NDVI].any(axis=0)
        if blank.any():
            if level is None:
                level, _ = learn(
                    series, channel, latents=latents, scale=scale, sample=sample,
                    iterations=iterations, given=given,
                )  # fmt: skip
            curve = _completed(curve, blank, level)
        off = on_days(curve, outputs.day).astype(outputs.value.dtype)
        outputs = outputs._replace(value=outputs.value - off)
    region_mean, region_std = _moments(outputs)
    some = _spread(outputs, series.place, sample)
    value, valid = (np.asarray(leaf)[some] for leaf in outputs[1:3])
    day = jnp.asarray(outputs.day, region_mean.dtype)
    own = scale == "pixel"
    told = scored(value.astype(day.dtype), valid, region_mean, region_std, own=own)
    drawn = Series(day, np.asarray(told.z), np.asarray(told.valid))
    if given is None:
        start = gp.initial(latents, value.shape[-1])
        likeliest = hyper = gp.fit(drawn, start, iterations=iterations)
        asked, hidden = _questions(drawn)
        if hidden.any():
            hyper = gp.fit(asked, hyper, hidden=hidden, iterations=iterations)
    else:
        hyper = jax.tree.map(lambda leaf: jnp.asarray(leaf, region_mean.dtype), given)
        likeliest = hyper
    one = jnp.ones((), region_mean.dtype)
    place = np.asarray(own)
    params = MogprParams(hyper, None, region_mean, region_std, curve, channel, one, place)
    return params, Sample(drawn, likeliest)


def _completed(curve: Curve, blank: Bool[np.ndarray, "node"], level: MogprParams) -> Curve:
    """The curve with NDVI told by its radar, as a pixel's would be, where no pixel has any.

    A straight line over such dates would be the same error for every pixel of the region.
    """
    z = (curve.value - np.asarray(level.region_mean)) / np.asarray(level.region_std)
    valid = np.ones(z.shape, bool)
    valid[blank, NDVI] = False
    dtype = level.hyper.noise.dtype
    # the mean of many pixels has hardly any noise
    hyper = level.hyper._replace(noise=jnp.full_like(level.hyper.noise, NOISE[np.dtype(dtype)]))
    mean = _line(hyper, Series(curve.day.astype(dtype), z.astype(dtype), valid))
    value = curve.value.copy()
    told = np.asarray(mean, np.float64) * level.region_std[NDVI] + level.region_mean[NDVI]
    value[blank, NDVI] = told[blank]
    return Curve(curve.day, value)


@jax.jit
def _line(hyper: gp.Hyper, series: Series) -> Float[Array, "time"]:
    return gp.condition(hyper, series, None, channel=NDVI).mean


def _questions(series: Series) -> tuple[Series, Bool[np.ndarray, "pixel time output"]]:
    """Four copies of the sample, and what NDVI is hidden: three draws as the tasks do, then all."""
    valid = np.asarray(series.valid)
    keys = jax.random.split(jax.random.key(0), 3)
    ways = [np.asarray(hiding.mixture(key, series)) for key in keys]
    hidden = np.zeros((4 * len(valid), *valid.shape[1:]), bool)
    hidden[..., NDVI] = np.concatenate([*ways, valid[..., NDVI]])
    value, valid = (np.concatenate([np.asarray(leaf)] * 4) for leaf in series[1:3])
    return Series(series.day, value, valid), hidden & valid


class Scored(NamedTuple):
    """z-scored outputs of a pixel."""

    z: Float[Array, "time output"]
    """0 where not valid."""
    valid: Bool[Array, "time output"]
    mean: Float[Array, "output"]
    """What was taken off, dB and 1."""
    std: Float[Array, "output"]
    """What it was divided by, dB and 1."""
    flag: Bool[Array, "output"]
    """True where these are the region's: the pixel has fewer than five values, or constant ones."""
    far: Bool[Array, ""]
    """True where values were left out, see `score`."""


def score(
    series: Series,
    region_mean: Float[Array, "output"],
    region_std: Float[Array, "output"],
    *,
    own: bool = True,
) -> Scored:
    """`gp.standardise` of one pixel, without radar that is of another world.

    Radar that is z-scored by the region is left out where it is more than five of the region's
    standard deviations away: a constant fill would else pull the NDVI as far as it can go.
    """
    z, mean, std, flag = gp.standardise(series, region_mean, region_std, own=own)
    radar = jnp.arange(flag.size) < flag.size - 1
    far = z.valid & ((flag | (not own)) & radar)[None, :] & (jnp.abs(z.value) > _FAR)
    valid = z.valid & ~far
    return Scored(jnp.where(valid, z.value, 0.0), valid, mean, std, flag, jnp.any(far))


@partial(jax.jit, static_argnames="own")
def scored(
    value: Float[Array, "pixel time output"],
    valid: Bool[Array, "pixel time output"],
    region_mean: Float[Array, "output"],
    region_std: Float[Array, "output"],
    *,
    own: bool,
) -> Scored:
    """`score` of every pixel."""

    def _of_pixel(value, valid):
        return score(Series(jnp.zeros(len(value)), value, valid), region_mean, region_std, own=own)

    return jax.vmap(_of_pixel)(value, valid)


def _spread(series: Series, place: np.ndarray | None, sample: int) -> Int[np.ndarray, "sample"]:
    """Pixels with data, as many from every cell as can be."""
    some = np.flatnonzero(np.asarray(series.valid).any(axis=(1, 2)))
    if place is None:
        return some[evenly(some.size, sample)]
    cells = np.floor(np.asarray(place, np.float64)[some] / _CELL).astype(np.int64)
    _, cell = np.unique(cells, axis=0, return_inverse=True)
    # neighbours are of one field: a cell's pixels are taken in leaps over it
    leap = np.arange(some.size) * _LEAP % 1.0
    order = np.lexsort((leap, cell))
    first = np.searchsorted(cell[order], cell[order])
    rank = np.empty(some.size, np.int64)
    rank[order] = np.arange(some.size) - first
    # whole rounds over the cells until there are enough, thinned evenly to the number asked for
    rounds = np.sort(rank)[min(sample, some.size) - 1] if some.size else 0
    kept = order[rank[order] <= rounds]
    return np.sort(some[kept[evenly(kept.size, sample)]])


def evenly(n: int, count: int) -> Int[np.ndarray, "count"]:
    """At most `count` of the places 0 ... n - 1, evenly spread."""
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
