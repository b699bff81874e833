"""Patch models in the manner of CropSAR as Estimators: an attention U-Net, alone or in a GAN."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from s1jax import train
from s1jax.batching import map_chunks
from s1jax.compositing import interpolate
from s1jax.estimators import IDENTITY, Calibration, apply, calibrate
from s1jax.extrapolation import PRIOR, Level, days_beyond, level_of, relax
from s1jax.features import without_implausible
from s1jax.networks.config import CropsarConfig
from s1jax.networks.inputs import (
    Domain,
    Moments,
    check_series,
    domain_of,
    moments,
    network_input,
    standardise,
    warn_unused_orbits,
)
from s1jax.networks.mixture import physical
from s1jax.networks.model import has_radar
from s1jax.networks.patch.lattice import holding, lattice, squares
from s1jax.networks.patch.model import (
    PatchStore,
    apply_patches,
    generator,
    init_patch,
    one_look,
    patch_loss,
    with_nowhere,
)
from s1jax.networks.training import WITHOUT
from s1jax.quality import flags
from s1jax.types import Days, Estimate, Estimator, Key, Series


@no_type_check  # under jax.eval_shape the leaves are no arrays
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CropsarParams:
    """All that a prediction needs."""

    config: CropsarConfig = field(metadata={"static": True})
    variables: train.Variables
    """Of the generator; a discriminator serves in training alone."""
    moments: Moments
    """Of the radar of the training pixels."""
    step: Float[Array, "2"]
    """Metres from pixel to pixel, east and north."""
    calibration: Calibration = IDENTITY
    """By validation labels."""
    history: Float[Array, "epochs 2"] | None = None
    """Training and validation loss of each epoch; NaN where not reached."""
    level: Level = PRIOR
    """Of the training labels, to which estimates relax far from all dates."""
    domain: Domain | None = None
    """Of the training pixels."""


def cropsar_template(config: CropsarConfig, dtype=jnp.float32) -> CropsarParams:
    """Parameters of the structure and shapes that `cropsar(config)` fits, to read files into."""
    zeros = partial(jnp.zeros, dtype=dtype)
    return CropsarParams(
        config,
        generator(init_patch(jax.random.key(0), config, dtype)),
        Moments(*2 * [zeros((1, 4))]),
        zeros(2),
        Calibration(*3 * [zeros(2)]),
        zeros((config.train.epochs, 2)),
        Level(zeros(()), zeros(())),
        Domain(zeros(()), zeros((2, 3))),
    )


def cropsar(config: CropsarConfig = CropsarConfig()) -> Estimator:
    """Estimator of NDVI from the radar of a pixel and its neighbours on the map, and from its own
    NDVI of other dates.

    Its pixels form a lattice by their positions. It learns from squares cut at random, whose
    pixels need not have labels, with NDVI withheld anew in every step; the likelihood of the
    validation pixels' labels alone decides the best epoch, of a GAN too. A prediction is the mean
    over overlapping squares, weighted by sin^2 from edge to edge, so that it has no seams; NDVI of
    a pixel never reaches another one. Withheld labels of the validation pixels scale the bands.
    Before the first and after the last date, and more than 30 days from both dates of a gap, the
    estimate relaxes to mean and std of the training labels (`extrapolation.relax`). Implausible
    values are left out.

    Its `fit` raises ValueError where most pixels have no neighbour (one pixel per field, say) or
    are on no common lattice, without a training or validation label, and for other channels than VV
    and VH of one or two orbits; `predict` where the pixels are not on the training lattice.
    """

    def fit(key: Key, training: Series, validation: Series) -> CropsarParams:
        for part in (training, validation):
            check_series(part)
        training, validation = (_plausible(part)[0] for part in (training, validation))
        key_start, key_train = jax.random.split(key)
        grids = [lattice(part.position) for part in (training, validation)]
        inputs = [one_look(network_input(part)) for part in (training, validation)]
        by = moments(inputs[0])
        data = [
            _data(name, config, grid, with_nowhere(standardise(part, by)))
            for name, grid, part in zip(("training", "validation"), grids, inputs, strict=True)
        ]
        start = init_patch(key_start, config, by.mean.dtype)
        state = train.fit(key_train, patch_loss(config), start, *data, config=config.train)
        params = CropsarParams(
            config,
            generator(state.best),
            by,
            jnp.asarray(grids[0].step, by.mean.dtype),
            history=state.history,
            level=level_of(training),
            domain=domain_of(training),
        )
        calibration = calibrate(
            partial(predict_patches, params), validation, inflation=config.inflation
        )
        cast = partial(jnp.asarray, dtype=by.mean.dtype)
        return replace(params, calibration=jax.tree.map(cast, calibration))

    return Estimator(fit, predict_patches)


def _plausible(series):
    """The series as a patch model sees it, and the pixels with implausible values."""
    return without_implausible(series._replace(radar=series.radar[..., :1, :]))


def _data(name, config, grid, inputs):
    """Regions with a label, from which patches are cut: each cell is in as many of all of them."""
    label = np.asarray(inputs.label)[: grid.pixels]
    if not label.any():
        got = f"no valid label in {len(label)} pixels"
        raise ValueError(f"{name} NDVI: got {got}, expected some; {WITHOUT}")
    side = config.patch
    regions = squares(grid, 2 * side - 1, stride=side, first=(1 - side, 1 - side))
    cells = regions if name == "training" else regions[:, :side, :side]
    regions = regions[holding(cells, np.any(label, axis=1))]
    labels = jnp.asarray(label.sum() / len(regions), inputs.radar.dtype)
    if name == "training" and len(regions) < config.patches:
        regions = np.resize(regions, (config.patches, *regions.shape[1:]))
    return train.Data(PatchStore(inputs, labels), jnp.asarray(regions))


def predict_patches(params: CropsarParams, series: Series, days: Days) -> Estimate:
    """NDVI of every pixel on `days`, linear in time between the dates of the series: `cropsar`."""
    config = params.config
    check_series(series, days)
    warn_unused_orbits(params.moments, series)
    series, implausible = _plausible(series)
    arrays = [np.asarray(leaf) for leaf in series[1:5]]
    grid = lattice(series.position, np.asarray(params.step))
    day = jnp.asarray(series.day)
    days = jnp.asarray(days, day.dtype)
    side, last, dtype = config.patch, len(series.ndvi) - 1, arrays[0].dtype
    slope = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    weight = (slope[:, None] * slope).reshape(1, -1, 1).astype(dtype)

    def _of_squares(part):
        pixel = np.asarray(part).reshape(-1)
        near, here = np.minimum(pixel, last), pixel <= last
        radar, radar_valid, ndvi, ndvi_valid = (leaf[near] for leaf in arrays)
        radar_valid, ndvi_valid = radar_valid & here[:, None, None], ndvi_valid & here[:, None]
        return _estimate_patches(params, days, Series(day, radar, radar_valid, ndvi, ndvi_valid))

    sums = [np.zeros((last + 2, days.size), dtype) for _ in range(2)]
    halves = (0, -side // 2)
    for first in ((row, column) for row in halves for column in halves):
        # squares of one round do not overlap
        index = squares(grid, side, stride=side, first=first)
        parts = map_chunks(_of_squares, index, chunk=config.chunk, label="cropsar")
        for total, leaf in zip(sums, parts, strict=True):
            total[index.reshape(-1)] += (weight * leaf).reshape(-1, days.size)
    mean, std = (total[:-1] for total in sums)
    seen = np.any(arrays[3], axis=1) & config.ndvi
    estimate = Estimate(mean, std, np.zeros(len(mean), std.dtype))
    estimate = apply(params.calibration, estimate, seen)
    estimate = relax(estimate, days_beyond(np.asarray(day), days), params.level)
    data = has_radar(series, params.moments) | seen
    return estimate._replace(quality=flags(data, implausible, estimate.mean))


@jax.jit
def _estimate_patches(params, days, series):
    """Mean and std, (patch, pixel, query)."""
    inputs = standardise(one_look(network_input(series)), params.moments)
    mixture = apply_patches(params.config, params.variables, inputs, inputs.label)
    between = jax.vmap(lambda curve: interpolate(series.day, curve, days))
    shape = (-1, params.config.patch**2, days.size)
    return tuple(between(curve.T).reshape(shape) for curve in physical(mixture))
