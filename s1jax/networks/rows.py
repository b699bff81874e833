"""Rows of a single-date network, looked up in the (pixel, time) stack one batch at a time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax import features
from s1jax.networks.config import MlpConfig
from s1jax.types import NDVI, VH, VV, Key, Series


class Normaliser(NamedTuple):
    """Mean and standard deviation over the training rows."""

    feature_mean: Float[Array, "feature"]
    feature_std: Float[Array, "feature"]
    ndvi_mean: Float[Array, ""]
    ndvi_std: Float[Array, ""]


class Stack(NamedTuple):
    """Backscatter of all pixels, without gaps, from which a batch's features are looked up.

    One date longer at either end than the series, so that every date has two neighbours.
    """

    vv_db: Float[Array, "pixel padded"]
    vh_db: Float[Array, "pixel padded"]


class Rows(NamedTuple):
    """Where a label is, and the label."""

    pixel: np.ndarray | Array
    time: np.ndarray | Array
    ndvi: np.ndarray | Array


def without_gaps(series: Series, *, pad_mode: str) -> tuple[Stack, Bool[Array, "pixel time"]]:
    """VV and VH of the mean orbit, filled linearly in time, and the dates that have radar."""
    db, seen = features.single_orbit(series)
    fill = jax.vmap(features.fill, (None, 0, 0))

    def _channel(channel):
        filled = fill(series.day, db[..., channel], seen)
        return jnp.pad(filled, ((0, 0), (1, 1)), mode=pad_mode)

    return Stack(_channel(VV), _channel(VH)), seen


def columns(
    config: MlpConfig, vv_db: features.Temporal, vh_db: features.Temporal
) -> Float[Array, "*n feature"]:
    """The features that a configuration names."""
    return features.table(config.features, vv_db, vh_db, of_db=config.of_db)


def inputs(config: MlpConfig, stack: Stack, rows: Rows) -> Float[Array, "row feature"]:
    """Features of some rows, looked up in the stack: a date and its two neighbours."""

    def _channel(values):
        return features.neighbourhood(*(values[rows.pixel, rows.time + lag] for lag in range(3)))

    return columns(config, _channel(stack.vv_db), _channel(stack.vh_db))


def labelled(series: Series, usable: Bool[Array | np.ndarray, "pixel time"]) -> Rows:
    """The labels of dates with radar."""
    pixel, time = np.nonzero(np.asarray(series.valid[..., NDVI]) & np.asarray(usable))
    ndvi = np.asarray(series.value)[pixel, time, NDVI]
    return Rows(*(jnp.asarray(x) for x in (pixel.astype(np.int32), time.astype(np.int32), ndvi)))


def balanced(key: Key, rows: Rows, ranges: int) -> Rows:
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


def moments(config: MlpConfig, stack: Stack, rows: Rows) -> Normaliser:
    """Moments over the training rows, in batches, so that the features of all are never stored."""
    n = rows.ndvi.shape[0]
    one_batch = jax.jit(lambda part: inputs(config, stack, part).astype(jnp.float32))
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


def standardise(
    normaliser: Normaliser, x: Float[Array, "*row feature"]
) -> Float[Array, "*row feature"]:
    """z-score of each feature, (x - mean) / std of the training rows."""
    shape = (1,) * (x.ndim - 1) + (-1,)
    mean, std = (jnp.reshape(m, shape) for m in normaliser[:2])
    return (x - mean) / std
