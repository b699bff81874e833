"""Patch models in the manner of CropSAR as Estimators: an attention U-Net, alone or in a GAN."""

from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, NamedTuple, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree
from scipy.spatial import cKDTree

from s1jax import train
from s1jax.batching import chunk_size, map_chunks
from s1jax.compositing import interpolate
from s1jax.estimators import IDENTITY, Calibration, apply, calibrate
from s1jax.extrapolation import PRIOR, Level, days_beyond, level_of, relax
from s1jax.features import without_implausible
from s1jax.masking import sample_training_mask
from s1jax.networks.architectures import TCN, AttentionUNet, Discriminator, Window
from s1jax.networks.config import CropsarConfig
from s1jax.networks.inputs import (
    ORBITS,
    WITHOUT,
    Moments,
    NetworkInput,
    check_series,
    columns,
    moments,
    network_input,
    scaled,
    standardise,
    take_pixels,
    warn_unused_orbits,
)
from s1jax.networks.model import OUTPUTS, LabelMixture, has_radar, mixture_of, noise, physical
from s1jax.networks.sequence import label_loss
from s1jax.quality import flags
from s1jax.train import Loss, Variables
from s1jax.types import Days, Estimate, Estimator, Key, Series

_LEAST = 50.0
"""Share of pixels with a neighbour below which there are no patches to learn from, %."""
_OFF = 0.3
"""Steps that a pixel may be off the lattice: positions are rounded, and a projection bends."""
_NEAR = 1.5
"""Steps up to which another pixel is a neighbour."""
_SAMPLE = 20_000
"""Pixels, at most, whose neighbours determine the step."""
_OWN = slice(3 * ORBITS, 3 * ORBITS + 2)
"""Of the numbers of a date with one look: NDVI and is it visible, which no other pixel may see."""
_COLUMNS = 3 * ORBITS + 4


@no_type_check  # under jax.eval_shape the leaves are no arrays
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CropsarParams:
    """All that a prediction needs."""

    config: CropsarConfig = field(metadata={"static": True})
    variables: Variables
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


class PatchStore(NamedTuple):
    """Pixels that patches are cut from."""

    inputs: NetworkInput
    """Radar standardised, of one look; then pixels that are nowhere and have nothing."""
    labels: Float[Array, ""]
    """Mean number of labels of a patch."""


def one_look(inputs: NetworkInput) -> NetworkInput:
    """The pixels with radar as observed alone: a U-Net makes its means itself."""
    return inputs._replace(radar=inputs.radar[:, :, :1])


def with_nowhere(inputs: NetworkInput) -> NetworkInput:
    """The pixels up to a rounded number, for few programs to compile; at least the last one has
    nothing, and fills the empty cells of a grid."""
    more = chunk_size(len(inputs.ndvi) + 1, most=1 << 40) - len(inputs.ndvi)

    def _more(leaf):
        return jnp.pad(leaf, ((0, more),) + ((0, 0),) * (leaf.ndim - 1))

    return NetworkInput(inputs.day, *(None if leaf is None else _more(leaf) for leaf in inputs[1:]))


# compiled whole: run one operation after the other, the compiling of each would take seconds
@partial(jax.jit, static_argnames=("config", "dtype"))
def init_patch(key: Key, config: CropsarConfig, dtype=jnp.float32) -> Variables:
    """Weights drawn from the key: those of the generator and, of a GAN, of the discriminator."""
    keys = jax.random.split(key, 4)
    unet, ndvi_net, head = _networks(config)
    x = jnp.zeros((2, 1, config.patch, config.patch, _COLUMNS - 2), dtype)
    features = jnp.zeros((2, 1, config.width), dtype)
    ndvi = jnp.zeros((2, 1, 2), dtype)
    joined = ndvi if ndvi_net is None else jnp.zeros((2, 1, ndvi_net.outputs), dtype)
    generator: dict[str, Any] = {
        "unet": unet.init(keys[0], x)["params"],
        "head": head.init(keys[1], jnp.concatenate([features, joined], -1))["params"],
        "log_noise": jnp.asarray(-2.0, dtype),
    }
    if ndvi_net is not None:
        generator["own"] = ndvi_net.init(keys[2], ndvi)["params"]
    params: dict[str, Any] = {"generator": generator}
    if config.model == "GAN":
        params["discriminator"] = Discriminator().init(keys[3], x[..., :2])["params"]
    return Variables(params, {})


def _networks(config):
    """U-Net of radar, convolution of the pixel's NDVI (None: the head is one), and the head."""
    levels = range(config.levels)
    if config.window is None:
        steps = tuple(2**level for level in levels)
        head = TCN(OUTPUTS, config.channels, config.dilations)
        return AttentionUNet(config.width, steps), None, head
    reach = config.window // 2
    # what all levels see together is the window: the finest ones take what is left over
    steps = tuple((reach + config.levels - 1 - level) // config.levels for level in levels)
    ndvi_net = Window(2 * config.width, (), reach)
    return AttentionUNet(config.width, steps), ndvi_net, Window(OUTPUTS, config.hidden, 0)


def generator(variables: Variables) -> Variables:
    """The weights of the generator."""
    return Variables(variables.params["generator"], {})


def apply_patches(
    config: CropsarConfig,
    variables: Variables,
    inputs: NetworkInput,
    visible: Bool[Array, "pixel time"],
) -> LabelMixture:
    """Mixture of every date of the pixels of some patches.

    Pixels see each other through the U-Net, which reads radar and days alone; their visible NDVI
    joins in the head, which has no extent in space. They come patch by patch and row by row, with
    standardised radar of one look; `variables` are those of the generator.
    """
    unet, ndvi_net, head = _networks(config)
    if not config.ndvi:
        visible = jnp.zeros_like(visible)
    x = columns(inputs, visible)
    dates, pixels, _ = x.shape
    ndvi = x[..., _OWN]
    radar = jnp.concatenate([x[..., : _OWN.start], x[..., _OWN.stop :]], axis=-1)
    radar = radar.reshape(dates, -1, config.patch, config.patch, _COLUMNS - 2)
    features = _apply(unet, variables.params["unet"], radar)
    if ndvi_net is not None:
        ndvi = _apply(ndvi_net, variables.params["own"], ndvi)
    joined = jnp.concatenate([features.reshape(dates, pixels, -1), ndvi], axis=-1)
    outputs = _apply(head, variables.params["head"], joined)
    return mixture_of(outputs, mixture=config.mixture)


def _apply(net, params, x) -> Array:
    return net.apply({"params": params}, x)


@cache
def patch_loss(config: CropsarConfig) -> Loss:
    """-log p of the withheld labels of a patch and 0.1 of the visible ones, over the mean number of
    labels; of a GAN in training, the weighted squares of both players beside it.

    Each player's parameters are constants in the other's term, so one gradient serves both. A row
    of the data is a region from which a patch is cut.
    """

    def _loss(key, variables, data):
        store, (rows, *_) = data.store, data.rows.shape
        # without a key it is validation: patches and mask are always the same
        key_cut, key_mask = jax.random.split(jax.random.key(0) if key is None else key)
        index = cut(None if key is None else key_cut, data.rows, config.patch)
        inputs = take_pixels(store.inputs, index.reshape(-1))
        visible = inputs.label & ~sample_training_mask(key_mask, *inputs.label.shape)
        made = generator(variables)
        mixture = apply_patches(config, made, inputs, visible)
        each, _, hidden = label_loss(mixture, noise(made), inputs, visible & config.ndvi)
        total = each.reshape(len(each), rows, -1).sum((0, 2)) / store.labels
        if key is not None and config.model == "GAN":
            labels = scaled(inputs.ndvi.T)
            game = adversarial_loss(config, variables.params, mixture.mean, labels, hidden)
            total = total + config.adversarial * game
        return total, variables.batch_stats

    return _loss


def cut(
    key: Key | None, regions: Int[Array, "row region region"], side: int
) -> Int[Array, "row side side"]:
    """A patch of each region: the first one without a key, else anywhere, mirrored or not."""
    if key is None:
        return regions[:, :side, :side]
    room = regions.shape[1] - side + 1
    keys = jax.random.split(key)
    corner = jax.random.randint(keys[0], (len(regions), 2), 0, room)
    way = jax.random.bernoulli(keys[1], 0.5, (3, len(regions), 1, 1))
    patch = jax.vmap(lambda r, c: jax.lax.dynamic_slice(r, (c[0], c[1]), (side, side)))
    index = patch(regions, corner)
    index = jnp.where(way[0], index[:, ::-1], index)
    index = jnp.where(way[1], index[:, :, ::-1], index)
    return jnp.where(way[2], index.swapaxes(1, 2), index)


def adversarial_loss(
    config: CropsarConfig,
    params: PyTree,
    made: Float[Array, "time pixel"],
    observed: Float[Array, "time pixel"],
    hidden: Bool[Array, "time pixel"],
) -> Float[Array, "row"]:
    """(D(made) - 1)^2 for the generator, D(made)^2 + (D(observed) - 1)^2 for the discriminator,
    means over the squares that hold any withheld label; both see NDVI there alone."""
    fixed = jax.lax.stop_gradient
    mask = hidden.astype(made.dtype)

    def _score(weights, *ndvi):
        x = [jnp.stack([jnp.where(hidden, y, 0.0), mask], axis=-1) for y in ndvi]
        x = jnp.concatenate(x, axis=1).reshape(len(mask), -1, config.patch, config.patch, 2)
        score = _apply(Discriminator(), weights, x)
        return jnp.split(score, len(ndvi), axis=1)

    weights = params["discriminator"]
    (fools,) = _score(fixed(weights), made)
    of_made, of_observed = _score(weights, fixed(made), observed)
    squares = (fools - 1.0) ** 2 + of_made**2 + (of_observed - 1.0) ** 2
    square = mask.reshape(len(mask), -1, config.patch // 4, 4, config.patch // 4, 4)
    there = jnp.where(square.sum((3, 5)) > 0.0, 1.0, 0.0).astype(made.dtype)
    total = (there * squares).sum((0, 2, 3))
    return total / jnp.maximum(there.sum((0, 2, 3)), 1.0)


class Lattice(NamedTuple):
    """The pixel of each cell."""

    at: Int[np.ndarray, "row column"]
    """Number of the pixel, north first; the number of pixels where there is none."""
    step: Float[np.ndarray, "2"]
    """Metres from cell to cell, east and north."""
    pixels: int
    """Their number."""


def lattice(
    position: Float[np.ndarray, "pixel 2"] | None, step: Float[np.ndarray, "2"] | None = None
) -> Lattice:
    """The pixels on one lattice, whose step (where none is given) is the smallest spacing of
    neighbours, east and north apart, fitted to all positions by least squares.

    Raises:
      ValueError: no position; most pixels have no neighbour, or none of 16 or more has one a given
        step away; pixels off the lattice, or two in one cell.
    """
    if position is None:
        raise ValueError(
            "position: got none, expected metres east and north: patches need neighbours"
        )
    metres = np.asarray(position, np.float64) * np.array([1.0, -1.0])
    metres = metres - metres.min(0)
    spacing, origin, cell = _spacing(metres, step), np.zeros(2), np.zeros_like(metres)
    for _ in range(3):
        cell = np.round((metres - origin) / spacing)
        pairs = (_line(cell[:, axis], metres[:, axis], spacing[axis]) for axis in (0, 1))
        spacing, origin = (np.array(leaf) for leaf in zip(*pairs, strict=True))
    off = np.abs((metres - origin) / spacing - cell).max()
    size = f"{spacing[0]:.6g} x {spacing[1]:.6g} m"
    if off > _OFF:
        got, expected = f"{off:.2f} steps off a lattice of {size}", f"all on one, within {_OFF}"
        raise ValueError(f"position: got {got}, expected {expected}")
    cell = (cell - cell.min(0)).astype(np.int64)
    at = np.full(tuple(cell.max(0)[::-1] + 1), len(metres), np.int32)
    at[cell[:, 1], cell[:, 0]] = np.arange(len(metres))
    filled = int((at < len(metres)).sum())
    if filled < len(metres):
        got = f"{len(metres)} pixels in {filled} cells of {size}"
        raise ValueError(f"position: got {got}, expected one in each")
    return Lattice(at, spacing, len(metres))


def squares(
    grid: Lattice, side: int, *, stride: int, first: tuple[int, int]
) -> Int[np.ndarray, "square side side"]:
    """Pixels of the squares of `side` cells that hold any; the number of pixels where none is.

    `stride` is from corner to corner; `first` are row and column of the first corner, 0 or before.
    """
    corners, margin = [], []
    for size, start in zip(grid.at.shape, first, strict=True):
        corners.append(np.arange(0, size - start, stride))
        margin.append((-start, max(0, start + corners[-1][-1] + side - size)))
    at = np.pad(grid.at, margin, constant_values=grid.pixels)
    views = np.lib.stride_tricks.sliding_window_view(at, (side, side))
    index = views[np.ix_(*corners)].reshape(-1, side, side)
    return index[(index < grid.pixels).any((1, 2))]


def holding(
    index: Int[np.ndarray, "square row column"], some: Bool[np.ndarray, "pixel"]
) -> Bool[np.ndarray, "square"]:
    """Squares that hold any of `some` pixels."""
    return np.any(np.append(some, False)[index], axis=(1, 2))


def _spacing(position, given):
    """Step of the lattice, metres, by the offsets of pixels from their nearest ones."""
    n = len(position)
    some = np.linspace(0, n - 1, min(n, _SAMPLE)).astype(int)
    # of a lone pixel, and where there are fewer than eight, the others are infinitely far
    distance, number = cKDTree(position).query(position[some], k=range(2, 10))
    nearest = distance[:, 0]
    if given is not None:
        given = np.asarray(given, np.float64)
        if n >= 16 and (nearest > _NEAR * given.max()).all():
            got = f"{n} pixels none of which has a neighbour {given[0]:.6g} m off"
            raise ValueError(f"position: got {got}, expected the lattice of the training pixels")
        return given
    share = 100.0 * float((nearest < _NEAR * nearest.min()).mean())
    if share < _LEAST:
        raise ValueError(
            f"position: patches need neighbours: got {n} pixels of which only {share:.0f} % have a "
            f"neighbour on the lattice, expected {_LEAST:.0f} % or more"
        )
    there = np.isfinite(distance)
    offset = np.abs(position[np.where(there, number, 0)] - position[some][:, None])[there]
    steps = []
    for axis in (0, 1):
        along, across = offset[:, axis], offset[:, 1 - axis]
        along = along[across < 0.25 * along]
        steps.append(along[along < _NEAR * along.min()].mean() if along.size else np.nan)
    return np.where(np.isnan(steps), np.nanmin(steps), steps)


def _line(cell, position, step):
    """Slope and intercept of the positions along one axis; the given step where all are in line."""
    centred = cell - cell.mean()
    spread = float((centred**2).sum())
    if spread > 0.0:
        step = float((centred * position).sum()) / spread
    return step, float((position - step * cell).mean())
