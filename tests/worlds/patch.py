"""A planted map: NDVI is a line in the 3 x 3 mean of speckled VV, which no pixel sees alone."""

import numpy as np

from s1jax.networks import CropsarConfig
from s1jax.train import TrainConfig
from s1jax.types import Series

SIDE, DATES, PIXEL_M = 24, 8, 50.0
TRAIN = TrainConfig(
    learning_rate=1e-2, schedule="cosine", clip=1.0, batch_rows=4, batches=4, epochs=8
)
SMALL = CropsarConfig(
    patch=8, levels=2, width=4, hidden=(8,), patches=160, chunk=8, train=TRAIN
)  # fmt: skip


def scene(seed=0):
    """VV, VH (t, y, x) in dB, NDVI and its labels (t, y, x)."""
    rng = np.random.default_rng(seed)
    vv, vh = rng.normal(0.0, 3.0, (2, DATES, SIDE, SIDE))
    around = np.pad(vv, ((0, 0), (1, 1), (1, 1)), mode="edge")
    window = np.lib.stride_tricks.sliding_window_view(around, (3, 3), (1, 2))
    truth = 0.5 + 0.1 * window.mean((-2, -1))
    label = rng.random(truth.shape) < 0.8
    return vv - 12.0, vh - 19.0, truth, label


def world(seed=0):
    """Flat Series of the map, row by row from the north, and its true NDVI (pixel, time)."""
    vv, vh, truth, label = scene(seed)
    ndvi = truth + np.random.default_rng(seed + 1).normal(0.0, 0.01, truth.shape)
    radar = np.stack([vv, vh], -1).reshape(DATES, -1, 1, 2).swapaxes(0, 1).astype(np.float32)
    valid = label.reshape(DATES, -1).T.copy()
    ndvi = np.where(valid, ndvi.reshape(DATES, -1).T, 0.0).astype(np.float32)
    row, column = np.divmod(np.arange(SIDE**2), SIDE)
    position = np.stack([460_000 + PIXEL_M * column, 9_230_000 - PIXEL_M * row], -1)
    day = (19668.0 + 12.0 * np.arange(DATES)).astype(np.float32)
    truth = truth.reshape(DATES, -1).T
    seen = np.ones((SIDE**2, DATES, 2), bool)
    return Series(day, radar, seen, ndvi, valid, position.astype(np.float32)), truth
