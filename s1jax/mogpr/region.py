"""The parameters of a region, from its training pixels."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from s1jax import gp, masking
from s1jax.forked import refuse_forked
from s1jax.gp.fit import NOISE
from s1jax.mogpr.config import SCALES, Curve, MogprConfig, MogprParams
from s1jax.mogpr.inputs import (
    NDVI,
    channels_of,
    check_labels,
    on_days,
    outputs_of,
    regional_curve,
    standardise_pixels,
)
from s1jax.types import Series

_CELL = 1000.0
"""Side of the cells over which the sample is spread, metres."""
_LEAP = (5.0**0.5 - 1.0) / 2.0
"""Golden ratio: the first n of its multiples, less whole numbers, are spread evenly for every n."""


class FitSample(NamedTuple):
    """The pixels that a region's hyperparameters were fitted on: the arguments of `gp.prior`."""

    observations: gp.Observations
    """z-scored."""
    hyper: gp.Hyper
    """Of maximum likelihood. Under misspecification the best predictors, which are those of the
    region, are not these, and a pixel's own likelihood leads away from them."""


def fit_region(
    series: Series,
    config: MogprConfig,
    *,
    hyper: gp.Hyper | None = None,
    level: MogprParams | None = None,
) -> tuple[MogprParams, FitSample]:
    """Parameters of the region, all pixels with one set of hyperparameters, and the sample of them.

    The hyperparameters are those that best predict NDVI when some is withheld as the tasks do (a
    random share, 60 or 132 days, all of it): `gp.fit` with `hidden`, from those of maximum
    likelihood. The sample is spread evenly over cells of 1 km where the series has positions, else
    over its pixels; it and what is withheld of it are the same in every call.

    Args:
      series: training pixels.
      config: options; `inputs` and `mean` are not "auto".
      hyper: hyperparameters to use instead of a fit.
      level: the parameters of a fit with zero mean, by which a regional curve is completed on dates
        without any NDVI; fitted here where None.

    Raises:
      ValueError: no pixel has a label, an output has no two values that differ, no such option, or
        `hyper` is of another number of outputs.
      RuntimeError: in a process that was forked after its parent used JAX.
    """
    refuse_forked()
    for name, choices in (("mean", ("zero", "regional")), ("scale", SCALES)):
        if (got := getattr(config, name)) not in choices:
            raise ValueError(f"{name}: got {got!r}, expected one of {choices}")
    inputs = channels_of(series, config.inputs)
    if hyper is not None and hyper.noise.shape[0] != len(inputs) + 1:
        raise ValueError(
            f"hyper: got {hyper.noise.shape[0]} outputs, expected {len(inputs) + 1} (the radar "
            "channels used and NDVI)"
        )
    check_labels(series)
    observations, _ = outputs_of(series, inputs)
    curve = None
    if config.mean == "regional":
        curve = regional_curve(observations)
        blank = ~observations.valid[..., NDVI].any(axis=0)
        if blank.any():
            if level is None:
                level, _ = fit_region(series, replace(config, mean="zero"), hyper=hyper)
            curve = _completed(curve, blank, level)
        off = on_days(curve, observations.day).astype(observations.value.dtype)
        observations = observations._replace(value=observations.value - off)
    region_mean, region_std = _moments(observations)
    dtype = region_mean.dtype
    some = _spread(observations.valid, series.position, config.sample)
    z = standardise_pixels(
        observations.value[some].astype(dtype), observations.valid[some], region_mean, region_std,
        by_pixel=config.scale == "pixel",
    )  # fmt: skip
    day = jnp.asarray(observations.day, dtype)
    sample = gp.Observations(day, np.asarray(z.value), np.asarray(z.valid))
    if hyper is None:
        start = gp.initial(config.latents, len(inputs) + 1)
        likeliest = hyper = gp.fit(sample, start, iterations=config.iterations)
        tasks, hidden = _tasks(sample)
        if hidden.any():
            hyper = gp.fit(tasks, hyper, hidden=hidden, iterations=config.iterations)
    else:
        likeliest = hyper = gp.Hyper(*(jnp.asarray(leaf, dtype) for leaf in hyper))
    params = MogprParams(
        hyper,
        region_mean,
        region_std,
        inputs,
        std_factor=jnp.ones((), dtype),
        curve=curve,
        scale_by_pixel=config.scale == "pixel",
        solver=config.solver,
        inducing=config.inducing,
    )
    return params, FitSample(sample, likeliest)


def _completed(curve: Curve, blank: Bool[np.ndarray, "node"], level: MogprParams) -> Curve:
    """The curve with NDVI estimated from its radar, as a pixel's would be, where no pixel has any.

    A straight line over such dates would be the same error for every pixel of the region.
    """
    mean, std = np.asarray(level.region_mean), np.asarray(level.region_std)
    valid = np.ones(curve.value.shape, bool)
    valid[blank, NDVI] = False
    dtype = level.hyper.noise.dtype
    # the mean of many pixels has hardly any noise
    hyper = level.hyper._replace(noise=jnp.full_like(level.hyper.noise, NOISE[np.dtype(dtype)]))
    z = ((curve.value - mean) / std).astype(dtype)
    ndvi, _ = _on_dates(hyper, gp.Observations(curve.day.astype(dtype), z, valid))
    value = curve.value.copy()
    value[blank, NDVI] = (np.asarray(ndvi, np.float64) * std[NDVI] + mean[NDVI])[blank]
    return Curve(curve.day, value)


@jax.jit
def _on_dates(hyper: gp.Hyper, observations: gp.Observations):
    return gp.condition(hyper, observations, None, output=NDVI)


def _tasks(
    sample: gp.Observations,
) -> tuple[gp.Observations, Bool[np.ndarray, "pixel time output"]]:
    """Four copies of the sample, and the NDVI withheld: three draws as the tasks do, then all."""
    value, valid = np.asarray(sample.value), np.asarray(sample.valid)
    radar, ndvi = (value[..., None, :NDVI], valid[..., :NDVI]), (value[..., NDVI], valid[..., NDVI])
    series = Series(sample.day, *radar, *ndvi)
    keys = jax.random.split(jax.random.key(0), 3)
    draws = [np.asarray(masking.sample_task_mask(key, series)) for key in keys]
    hidden = np.zeros((4 * len(valid), *valid.shape[1:]), bool)
    hidden[..., NDVI] = np.concatenate([*draws, valid[..., NDVI]])
    value, valid = (np.concatenate([leaf] * 4) for leaf in (value, valid))
    return gp.Observations(sample.day, value, valid), hidden & valid


def _spread(
    valid: Bool[np.ndarray, "pixel time output"],
    position: Float[Array | np.ndarray, "pixel 2"] | None,
    sample: int,
) -> Int[np.ndarray, "sample"]:
    """Pixels with data, as many from every cell as can be."""
    some = np.flatnonzero(valid.any(axis=(1, 2)))
    if position is None:
        return some[evenly(some.size, sample)]
    cells = np.floor(np.asarray(position, np.float64)[some] / _CELL).astype(np.int64)
    _, cell = np.unique(cells, axis=0, return_inverse=True)
    # neighbours belong to one field: the order of a cell's pixels leaps over it
    leap = np.arange(some.size) * _LEAP % 1.0
    order = np.lexsort((leap, cell))
    first = np.searchsorted(cell[order], cell[order])
    rank = np.empty(some.size, np.int64)
    rank[order] = np.arange(some.size) - first
    # whole rounds over the cells until there are enough, thinned evenly to `sample`
    rounds = np.sort(rank)[min(sample, some.size) - 1] if some.size else 0
    kept = order[rank[order] <= rounds]
    return np.sort(some[kept[evenly(kept.size, sample)]])


def evenly(n: int, count: int) -> Int[np.ndarray, "count"]:
    """At most `count` of the indices 0 ... n - 1, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(count, n)).round().astype(np.int64))


def _moments(
    observations: gp.Observations,
) -> tuple[Float[Array, "output"], Float[Array, "output"]]:
    """Mean and standard deviation of each output over all valid values."""
    dtype = jax.dtypes.canonicalize_dtype(observations.value.dtype)
    value, valid = np.asarray(observations.value), np.asarray(observations.valid)
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
