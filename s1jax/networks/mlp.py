"""The single-date networks `mlp3` and `mlp10` as Estimators.

Rows of a batch are looked up in the (pixel, time) backscatter, so that features are never stored.
"""

import hashlib
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax import features
from s1jax.batching import map_chunks
from s1jax.compositing import interpolate, interpolate_gaps
from s1jax.extrapolation import days_beyond, remaining, spread
from s1jax.features import check_days, without_implausible
from s1jax.networks.architectures import MLP
from s1jax.networks.config import MlpConfig
from s1jax.networks.inputs import WITHOUT
from s1jax.quality import flags
from s1jax.train import Data, Loss, Variables, count_rows
from s1jax.train import fit as fit_network
from s1jax.types import VH, VV, Days, Estimate, Estimator, Key, Series


class Normaliser(NamedTuple):
    """Mean and standard deviation over the training rows."""

    feature_mean: Float[Array, "feature"]
    feature_std: Float[Array, "feature"]
    ndvi_mean: Float[Array, ""]
    ndvi_std: Float[Array, ""]


class Backscatter(NamedTuple):
    """VV and VH of all pixels, without gaps, from which a batch's features are looked up.

    One date longer at either end than the series, so that every date has two neighbours.
    """

    vv_db: Float[Array, "pixel padded"]
    vh_db: Float[Array, "pixel padded"]


class Rows(NamedTuple):
    """Labels and where they are."""

    pixel: np.ndarray | Array
    time: np.ndarray | Array
    ndvi: np.ndarray | Array


@no_type_check  # under jax.eval_shape the leaves are no arrays
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MlpParams:
    """All that a prediction needs."""

    config: MlpConfig = field(metadata={"static": True})
    variables: Variables
    normaliser: Normaliser
    std: Float[Array, ""]
    """RMS residual on validation pixels."""
    history: Float[Array, "epochs 2"] | None = None
    """Training and validation loss of each epoch; NaN where not reached."""
    best_epoch: Float[Array, ""] | None = None


def mlp_template(config: MlpConfig, dtype=jnp.float32) -> MlpParams:
    """Parameters of the structure and shapes that `mlp(config)` fits, to read files into."""
    zeros = partial(jnp.zeros, dtype=dtype)
    return MlpParams(
        config,
        init_mlp(jax.random.key(0), config, dtype),
        Normaliser(*2 * [zeros(len(config.features))], *2 * [zeros(())]),
        zeros(()),
        zeros((config.train.epochs, 2)),
        zeros(()),
    )


def mlp(config: MlpConfig, *, folder: Path | None = None) -> Estimator:
    """Estimator of NDVI from the backscatter of a date and its neighbours.

    Orbits are averaged in linear power; dates without radar are filled linearly in time for
    prediction and left out of training. The loss is the mean squared error of the z-scored NDVI;
    std is the RMS residual on validation pixels. NDVI of the predicted pixel is never used. Before
    the first and after the last date, and more than 30 days from any radar of the pixel, the
    estimate relaxes to mean and std of the training labels (`extrapolation.relax`). Implausible
    values are left out. `folder` keeps checkpoints, in one folder for each key, configuration and
    data, from which a later fit resumes.
    """

    def fit(key: Key, training: Series, validation: Series) -> MlpParams:
        parts = []
        for series in (training, validation):
            check_days(series)
            series, _ = without_implausible(_observed(series))
            arrays = jax.tree.map(jnp.asarray, series)
            store, seen = _jitted_without_gaps(arrays, pad_mode=config.pad_mode)
            parts.append(Data(store, labelled(series, seen)))
        if min(count_rows(part) for part in parts) == 0:
            raise ValueError(
                "labels on dates with radar: got "
                f"{count_rows(parts[0])} in training and {count_rows(parts[1])} in validation "
                f"pixels, expected some of each; {WITHOUT}"
            )
        checkpoints = None if folder is None else folder / _fingerprint(key, config, parts)
        key_init, key_train, key_rows = jax.random.split(key, 3)
        if config.balanced:
            drawn = balance(key_rows, parts[0].rows, config.balanced)
            parts[0] = parts[0]._replace(rows=drawn)
        normaliser = normaliser_of(config, *parts[0])
        variables = init_mlp(key_init, config, parts[0].rows.ndvi.dtype)
        data = (part._replace(store=(part.store, normaliser)) for part in parts)
        state = fit_network(
            key_train, mlp_loss(config), variables, *data, config=config.train, folder=checkpoints
        )
        return MlpParams(
            config,
            variables=state.best,
            normaliser=normaliser,
            std=jnp.sqrt(state.best_loss) * normaliser.ndvi_std,
            history=state.history,
            best_epoch=state.best_epoch.astype(normaliser.ndvi_std.dtype),
        )

    return Estimator(fit, predict_mlp)


def _observed(series: Series) -> Series:
    """The arrays that a single-date network reads: radar as observed alone."""
    return Series(
        series.day, series.radar[..., :1, :], series.radar_valid, series.ndvi, series.ndvi_valid
    )


def _fingerprint(key: Key, config: MlpConfig, parts: list[Data]) -> str:
    """Name of one training: another key, configuration or label gives another name."""
    digest = hashlib.sha256(repr(config).encode())
    for leaf in (jax.random.key_data(key), *jax.tree.leaves(parts)):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def predict_mlp(params: MlpParams, series: Series, days: Days) -> Estimate:
    """NDVI of every pixel on `days`: see `mlp`."""
    check_days(series, days)
    series, implausible = without_implausible(_observed(series))
    day, days = jnp.asarray(series.day), jnp.asarray(days)
    mean, std, radar = map_chunks(
        lambda part: _estimate_chunk(params, day, days, part),
        series._replace(day=None),
        chunk=params.config.chunk,
        label="mlp",
    )
    noise = np.zeros(len(mean), mean.dtype)
    return Estimate(mean, std, noise, flags(radar, implausible, mean))


@jax.jit
def _estimate_chunk(params, day, days, series):
    """Estimate of some pixels on `days`, and which have radar; without any, and far from all of it,
    the training mean and its spread."""
    store, seen = without_gaps(series._replace(day=day), pad_mode=params.config.pad_mode)

    def _one(vv_db, vh_db, seen):
        near = ((x[:-2], x[1:-1], x[2:]) for x in (vv_db, vh_db))
        x = normalise(params.normaliser, _features(params.config, *near))
        tree = {"params": params.variables.params, "batch_stats": params.variables.batch_stats}
        z = mlp_network(params.config).apply(tree, x, training=False)
        n = params.normaliser
        mean = jnp.where(seen.any(), z * n.ndvi_std + n.ndvi_mean, n.ndvi_mean)
        std = jnp.where(seen.any(), params.std, n.ndvi_std)
        curve = interpolate(day, jnp.clip(mean, -1.0, 1.0), days)
        away = days_beyond(day, days, seen)
        far, wide = away > 0.0, jnp.full_like(curve, std)
        curve = jnp.where(far, n.ndvi_mean + remaining(away) * (curve - n.ndvi_mean), curve)
        return curve, jnp.where(far, spread(wide, away, n.ndvi_std), wide), seen.any()

    return jax.vmap(_one)(store.vv_db, store.vh_db, seen)


def mlp_network(config: MlpConfig) -> MLP:
    """The architecture of a configuration."""
    return MLP(config.hidden, config.dropout, config.batch_norm, config.residual, config.tanh)


# compiled whole: run one operation after the other, the compiling of each would take seconds
@partial(jax.jit, static_argnames=("config", "dtype"))
def init_mlp(key: Key, config: MlpConfig, dtype) -> Variables:
    """Weights drawn from the key, and running statistics at their start."""
    x = jnp.zeros((2, len(config.features)), dtype)
    tree = mlp_network(config).init(key, x, training=False)
    return Variables(tree["params"], tree.get("batch_stats", {}))


@cache
def mlp_loss(config: MlpConfig) -> Loss:
    """Squared error of the z-scored NDVI."""
    net = mlp_network(config)

    def loss(key, variables, data):
        store, normaliser = data.store
        x = normalise(normaliser, row_features(config, store, data.rows))
        target = (data.rows.ndvi - normaliser.ndvi_mean) / normaliser.ndvi_std
        return squares(net, key, variables, x, target)

    return loss


def squares(net: MLP, key: Key | None, variables: Variables, x, target):
    """Squared error of each row, and new batch statistics; without a key it evaluates."""
    tree = {"params": variables.params, "batch_stats": variables.batch_stats}
    if key is None:
        return (net.apply(tree, x, training=False) - target) ** 2, variables.batch_stats
    y, new = net.apply(tree, x, training=True, rngs={"dropout": key}, mutable=["batch_stats"])
    return (y - target) ** 2, new.get("batch_stats", variables.batch_stats)


def without_gaps(series: Series, *, pad_mode: str) -> tuple[Backscatter, Bool[Array, "pixel time"]]:
    """VV and VH of the mean orbit, filled linearly in time, and the dates that have radar."""
    db, seen = features.orbit_mean(series)
    fill = jax.vmap(interpolate_gaps, (None, 0, 0))

    def _channel(channel):
        filled = fill(series.day, db[..., channel], seen)
        return jnp.pad(filled, ((0, 0), (1, 1)), mode=pad_mode)

    return Backscatter(_channel(VV), _channel(VH)), seen


_jitted_without_gaps = jax.jit(without_gaps, static_argnames="pad_mode")


def row_features(config: MlpConfig, store: Backscatter, rows: Rows) -> Float[Array, "row feature"]:
    """Features of some rows: of a date and its two neighbours."""
    return _features(config, *([x[rows.pixel, rows.time + lag] for lag in range(3)] for x in store))


def _features(config, vv_db, vh_db):
    """Features of the date before, the date itself and the one after, of VV and VH."""
    return features.table(config.features, vv_db, vh_db, indices_from_db=config.indices_from_db)


def labelled(series: Series, usable: Bool[Array | np.ndarray, "pixel time"]) -> Rows:
    """The labels of dates with radar."""
    pixel, time = np.nonzero(np.asarray(series.ndvi_valid) & np.asarray(usable))
    ndvi = np.asarray(series.ndvi)[pixel, time]
    return Rows(*(jnp.asarray(x) for x in (pixel.astype(np.int32), time.astype(np.int32), ndvi)))


def balance(key: Key, rows: Rows, ranges: int) -> Rows:
    """As many rows, drawn again with replacement: each of so many ranges of NDVI, equally wide from
    the lowest to the highest label, as often as any other that holds some."""
    ndvi = np.asarray(rows.ndvi, np.float64)
    low, high = ndvi.min(), ndvi.max()
    width = max(high - low, 1e-9) / ranges
    level = np.minimum((ndvi - low) // width, ranges - 1).astype(np.int64)
    count = np.bincount(level, minlength=ranges)
    order, first = np.argsort(level, kind="stable"), np.cumsum(count) - count
    key_level, key_row = jax.random.split(key)
    held = np.flatnonzero(count)
    drawn = held[np.asarray(jax.random.randint(key_level, ndvi.shape, 0, held.size))]
    share = np.asarray(jax.random.uniform(key_row, ndvi.shape), np.float64)
    within = np.minimum((share * count[drawn]).astype(np.int64), count[drawn] - 1)
    return jax.tree.map(lambda x: x[order[first[drawn] + within]], rows)


def normaliser_of(config: MlpConfig, store: Backscatter, rows: Rows) -> Normaliser:
    """Moments over the training rows, in batches, so that the features of all are never stored."""
    n = rows.ndvi.shape[0]
    one_batch = jax.jit(lambda part: row_features(config, store, part).astype(jnp.float32))
    total = np.zeros((2, len(config.features)))
    size = min(n, 65_536)
    shift = np.asarray(one_batch(jax.tree.map(lambda x: x[:size], rows)), np.float64).mean(0)
    for start in range(0, n, size):
        part = jax.tree.map(lambda x, s=start: x[s : s + size], rows)
        centred = np.asarray(one_batch(part), np.float64) - shift
        total += np.stack([centred.sum(0), (centred**2).sum(0)])
    mean = total[0] / n
    std = np.sqrt(np.maximum(total[1] / n - mean**2, 0.0))
    dtype = rows.ndvi.dtype
    ndvi = np.asarray(rows.ndvi, np.float64)
    both = (shift + mean, np.where(std > 0, std, 1.0), ndvi.mean(), max(ndvi.std(), 1e-6))
    return Normaliser(*(jnp.asarray(x, dtype) for x in both))


def normalise(
    normaliser: Normaliser, x: Float[Array, "*row feature"]
) -> Float[Array, "*row feature"]:
    """z-score of each feature, (x - mean) / std of the training rows."""
    shape = (1,) * (x.ndim - 1) + (-1,)
    mean, std = (jnp.reshape(m, shape) for m in normaliser[:2])
    return (x - mean) / std
