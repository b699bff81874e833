"""Patch models in the manner of CropSAR as Estimators: an attention U-Net, alone or in a GAN."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from s1jax import features, train
from s1jax.chunks import map_pixels
from s1jax.features import without_implausible
from s1jax.networks.bands import PLAIN, Bands, applied, bands
from s1jax.networks.beyond import PRIOR, Level, beyond, level_of, relaxed
from s1jax.networks.cropsar_config import CropsarConfig
from s1jax.networks.dates import (
    Moments,
    check_series,
    dates,
    left_aside,
    moments,
    orbits,
    standardise,
)
from s1jax.networks.lattice import holding, lattice, squares
from s1jax.networks.learning import WITHOUT
from s1jax.networks.likelihood import physical
from s1jax.networks.patches import (
    Stack,
    generator,
    initial,
    loss,
    one_look,
    tell,
    with_nowhere,
)
from s1jax.networks.quality import flags
from s1jax.types import NDVI, Days, Estimate, Estimator, Key, Series


class CropsarParams(NamedTuple):
    """All that a prediction needs."""

    variables: train.Variables
    """Of the generator; what a discriminator learnt has served."""
    moments: Moments
    """Of the radar of the training pixels."""
    bands: Bands
    """By validation labels."""
    step: Float[Array, "2"]
    """Metres from pixel to pixel, east and north."""
    history: Float[Array, "epochs 2"]
    """Training and validation loss of each epoch; NaN where not reached."""
    level: Level = PRIOR
    """Of the training labels, what estimates relax to far from all dates."""


def cropsar(config: CropsarConfig = CropsarConfig(), *, label: str = "cropsar") -> Estimator:  # noqa: B008 (frozen)
    """Estimator of NDVI from the radar of a pixel and its neighbours on the map, and from its own
    NDVI of other dates.

    Its pixels are put on the lattice of their places. It learns from squares cut at random, whose
    pixels need not have labels, with NDVI hidden anew in every step; the likelihood of the
    validation pixels' labels alone decides the best epoch, of a GAN too. A prediction is the mean
    over overlapping squares, weighted by sin^2 from edge to edge, so that it has no seams; NDVI of
    a pixel never reaches another one. Bands are scaled by hidden labels of the validation pixels.
    Before the first and after the last date, and more than 30 days from both dates of a gap, the
    estimate relaxes to mean and std of the training labels (`beyond.relaxed`). Values that cannot
    be are left out.

    Args:
      config: model, inputs, architecture, training.
      label: what progress bars say.

    Returns:
      An Estimator whose `fit` raises ValueError where most pixels have no neighbour (one pixel per
      field, say) or are on no common lattice, without a training or validation label, and for
      other channels than VV and VH of one or two orbits and NDVI; `predict` where the pixels are
      not on the lattice of the training pixels.
    """

    def fit(key: Key, training: Series, validation: Series) -> CropsarParams:
        for part in (training, validation):
            check_series(part)
        training, validation = (_sound(part)[0] for part in (training, validation))
        key_start, key_train = jax.random.split(key)
        grids = [lattice(part.place) for part in (training, validation)]
        found = [one_look(dates(part)) for part in (training, validation)]
        by = moments(found[0])
        data = [
            _data(name, config, grid, with_nowhere(standardise(part, by)))
            for name, grid, part in zip(("training", "validation"), grids, found, strict=True)
        ]
        start = initial(key_start, config, by.mean.dtype)
        state = train.fit(key_train, loss(config), start, *data, config=config.train, label=label)
        learnt = CropsarParams(
            generator(state.best),
            by,
            PLAIN,
            jnp.asarray(grids[0].step, by.mean.dtype),
            state.history,
            level_of(training),
        )

        def _predict(series, days):
            return predict(learnt, series, days)

        hold = bands(_predict, validation, elsewhere=config.elsewhere)
        return learnt._replace(bands=Bands(*(jnp.asarray(part, by.mean.dtype) for part in hold)))

    def predict(params: CropsarParams, series: Series, days: Days) -> Estimate:
        return _fill(params, series, days, config=config, label=label)

    return Estimator(fit, predict)


def _data(name, config, grid, part):
    """Regions with a label, from which patches are cut: each cell is in as many of all of them."""
    label = np.asarray(part.label)[: grid.pixels]
    if not label.any():
        got = f"no valid label in {len(label)} pixels"
        raise ValueError(f"{name} NDVI: got {got}, expected some; {WITHOUT}")
    side = config.patch
    regions = squares(grid, 2 * side - 1, stride=side, first=(1 - side, 1 - side))
    seen = regions if name == "training" else regions[:, :side, :side]
    regions = regions[holding(seen, label.any(1))]
    labels = jnp.asarray(label.sum() / len(regions), part.radar.dtype)
    if name == "training" and len(regions) < config.patches:
        regions = np.resize(regions, (config.patches, *regions.shape[1:]))
    return train.Data(Stack(part, labels), jnp.asarray(regions))


def _fill(params, series, days, *, config, label):
    """NDVI of every pixel on `days`: linear in time between the dates of the series."""
    check_series(series, days)
    left_aside(params.moments, series)
    series, left_out = _sound(series)
    value, valid = np.asarray(series.value), np.asarray(series.valid)
    grid = lattice(series.place, np.asarray(params.step))
    day = jnp.asarray(series.day)
    days = jnp.asarray(days, day.dtype)
    side, last = config.patch, len(value) - 1
    slope = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    weight = (slope[:, None] * slope).reshape(1, -1, 1).astype(value.dtype)

    def _told(part):
        pixel = np.asarray(part).reshape(-1)
        near = np.minimum(pixel, last)
        here = (pixel <= last)[:, None, None]
        return _many(params, day, days, (value[near], valid[near] & here), config=config)

    sums = [np.zeros((last + 2, days.size), value.dtype) for _ in range(2)]
    halves = (0, -side // 2)
    for first in ((row, column) for row in halves for column in halves):
        # squares of one round do not overlap
        found = squares(grid, side, stride=side, first=first)
        told = map_pixels(_told, found, chunk=config.chunk, label=label)
        for total, leaf in zip(sums, told, strict=True):
            total[found.reshape(-1)] += (weight * leaf).reshape(-1, days.size)
    mean, std = (total[:-1] for total in sums)
    some = valid[..., NDVI].any(1) & config.ndvi
    told = applied(Estimate(mean, std, np.zeros((), std.dtype)), some, params.bands)
    told = relaxed(told, beyond(np.asarray(day), days), params.level)
    pairs = valid[..., :NDVI].reshape(*valid.shape[:2], -1, 2).all(axis=-1)
    here = np.asarray(orbits(params.moments.std[0]))[: pairs.shape[-1]]
    radar = (pairs & here).any(axis=(1, 2))
    return told._replace(quality=flags(radar | some, left_out, told.mean))


def _sound(series):
    """What a patch model sees of a series, and the pixels of which values were left out."""
    return without_implausible(series._replace(smooth=None, wide=None))


@partial(jax.jit, static_argnames="config")
def _many(params, day, days, part, *, config):
    """Mean and std, physical, (patch, pixel, query)."""
    found = standardise(one_look(dates(Series(day, *part))), params.moments)
    told = tell(config, params.variables, found, found.label)
    between = jax.vmap(lambda curve: features.at_days(day, curve, days))
    shape = (-1, config.patch**2, days.size)
    return tuple(between(curve.T).reshape(shape) for curve in physical(told))
