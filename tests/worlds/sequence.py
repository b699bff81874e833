"""A planted world for networks over a whole series: NDVI is a sine, radar follows it with noise."""

import numpy as np

from s1jax.networks import CnpConfig, TcnS1Config
from s1jax.train import TrainConfig
from s1jax.types import Series

TRAIN = TrainConfig(
    learning_rate=5e-3, schedule="cosine", clip=1.0, batch_rows=32, batches=4, epochs=20
)
SMALL = {"width": 16, "dilations": (1, 2, 4), "chunk": 16, "train": TRAIN, "pretrained": False}
CNP = CnpConfig(**SMALL)
TCN_S1 = TcnS1Config(**SMALL)
DATES = 24


def world(seed, pixels=120, orbits=1, *, noise_db=3.0):
    """Series with half the NDVI missing, and the latent NDVI; the last pixel has no radar."""
    rng = np.random.default_rng(seed)
    day = 19668.0 + 12 * np.arange(DATES)
    level, phase = rng.uniform(0.3, 0.7, (pixels, 1)), rng.uniform(0, 6.28, (pixels, 1))
    latent = level + 0.25 * np.sin(day / 40 + phase)
    radar = np.stack([-12 + 3 * (latent - level), -20 + 8 * (latent - level)] * orbits, -1)
    radar = radar + rng.normal(0, noise_db / 3, radar.shape)
    ndvi = latent + rng.normal(0, 0.02, latent.shape)
    value = np.concatenate([radar, ndvi[..., None]], -1)
    valid = rng.random(value.shape) < np.array([0.95] * 2 * orbits + [0.5])
    valid[-1, :, :-1] = False
    value = np.where(valid, value, 0).astype(np.float32)
    day = day.astype(np.float32)
    radar, ndvi = value[..., None, :-1], value[..., -1]
    return Series(day, radar, valid[..., :-1], ndvi, valid[..., -1]), latent


def with_looks(series, smooth, wide):
    """The series with filtered radar beside the observed, (pixel, time, channel) each."""
    observed = np.asarray(series.radar)[..., 0, :]
    return series._replace(radar=np.stack([observed, smooth, wide], -2).astype(observed.dtype))


def filtered(series):
    """With looks that are lines in the observed radar: the same z-scores."""
    radar = np.asarray(series.radar)[..., 0, :]
    return with_looks(series, 0.5 * radar - 5.0, 0.3 * radar - 7.0)
