"""The single-date networks `mlp3` and `mlp10`: features, nets and train behind an Estimator."""

import hashlib
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from s1jax import features, train
from s1jax.chunks import map_pixels
from s1jax.features import check_days, without_implausible
from s1jax.nets import MLP
from s1jax.networks.beyond import beyond, left, spread
from s1jax.networks.config import MlpConfig
from s1jax.networks.learning import WITHOUT
from s1jax.networks.quality import flags
from s1jax.networks.rows import (
    Normaliser,
    balanced,
    columns,
    inputs,
    labelled,
    moments,
    standardise,
    without_gaps,
)
from s1jax.types import Days, Estimate, Estimator, Key, Series

_stacked = jax.jit(without_gaps, static_argnames="pad_mode")


def module(config: MlpConfig) -> MLP:
    """The network of a configuration."""
    return MLP(config.hidden, config.dropout, config.batch_norm, config.residual, config.tanh)


class MlpParams(NamedTuple):
    """All that a prediction needs."""

    variables: train.Variables
    normaliser: Normaliser
    std: Float[Array, ""]
    """RMS residual on validation pixels, 1."""
    history: Float[Array, "epochs 2"]
    """Training and validation loss of each epoch; NaN where not reached."""
    best_epoch: Float[Array, ""]


@cache
def _loss(config: MlpConfig) -> train.Loss:
    """Squared error of the z-scored NDVI."""
    net = module(config)

    def loss(key, variables, data):
        stack, normaliser = data.stack
        x = standardise(normaliser, inputs(config, stack, data.rows))
        target = (data.rows.ndvi - normaliser.ndvi_mean) / normaliser.ndvi_std
        return squares(net, key, variables, x, target)

    return loss


def squares(net: MLP, key: Key | None, variables: train.Variables, x, target):
    """Squared error of each row, and new batch statistics; without a key it evaluates."""
    tree = {"params": variables.params, "batch_stats": variables.batch_stats}
    if key is None:
        return (net.apply(tree, x, training=False) - target) ** 2, variables.batch_stats
    y, new = net.apply(tree, x, training=True, rngs={"dropout": key}, mutable=["batch_stats"])
    return (y - target) ** 2, new.get("batch_stats", variables.batch_stats)


# compiled whole: run one operation after the other, the compiling of each would take seconds
@partial(jax.jit, static_argnames=("config", "dtype"))
def initial(key: Key, config: MlpConfig, dtype) -> train.Variables:
    """Weights drawn from the key, and running statistics at their start."""
    tree = module(config).init(key, jnp.zeros((2, len(config.features)), dtype), training=False)
    return train.Variables(tree["params"], tree.get("batch_stats", {}))


def _curve(config: MlpConfig, params: MlpParams, day, days, vv_db, vh_db, seen):
    """Estimate of one pixel on `days`, and whether there is radar; without any, and far from all of
    it, the training mean and its spread."""
    pads = (features.neighbourhood(x[:-2], x[1:-1], x[2:]) for x in (vv_db, vh_db))
    x = standardise(params.normaliser, columns(config, *pads))
    tree = {"params": params.variables.params, "batch_stats": params.variables.batch_stats}
    z = module(config).apply(tree, x, training=False)
    n = params.normaliser
    mean = jnp.where(seen.any(), z * n.ndvi_std + n.ndvi_mean, n.ndvi_mean)
    std = jnp.where(seen.any(), params.std, n.ndvi_std)
    curve = features.at_days(day, jnp.clip(mean, -1.0, 1.0), days)
    away = beyond(day, days, seen)
    far, wide = away > 0.0, jnp.full_like(curve, std)
    curve = jnp.where(far, n.ndvi_mean + left(away) * (curve - n.ndvi_mean), curve)
    return curve, jnp.where(far, spread(wide, away, n.ndvi_std), wide), seen.any()


def _fingerprint(key: Key, config: MlpConfig, parts: list[train.Data]) -> str:
    """Name of one training: another key, configuration or label gives another name."""
    digest = hashlib.sha256(repr(config).encode())
    for leaf in (jax.random.key_data(key), *jax.tree.leaves(parts)):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def mlp(config: MlpConfig, *, folder: Path | None = None) -> Estimator:
    """Estimator of NDVI from the backscatter of a date and its neighbours.

    Orbits are averaged in linear power; dates without radar are filled linearly in time for
    prediction and left out of training. Mean squared error on the z-scored NDVI; std is the RMS
    residual on validation pixels. NDVI of the predicted pixel is never used. Before the first and
    after the last date, and more than 30 days from any radar of the pixel, the estimate relaxes to
    mean and std of the training labels (`beyond.relaxed`). Values that cannot be are left out.

    Args:
      config: features, architecture, training.
      folder: checkpoints go there, in a folder of their own for each key, configuration and data,
        and are resumed from there.
    """

    def fit(key: Key, training: Series, validation: Series) -> MlpParams:
        parts = []
        for series in (training, validation):
            check_days(series)
            series, _ = without_implausible(_observed(series))
            stack, seen = _stacked(jax.tree.map(jnp.asarray, series), pad_mode=config.pad_mode)
            parts.append(train.Data(stack, labelled(series, seen)))
        if min(train.rows(part) for part in parts) == 0:
            raise ValueError(
                "labels on dates with radar: got "
                f"{train.rows(parts[0])} in training and {train.rows(parts[1])} in validation "
                f"pixels, expected some of each; {WITHOUT}"
            )
        checkpoints = None if folder is None else folder / _fingerprint(key, config, parts)
        key_init, key_train, key_rows = jax.random.split(key, 3)
        if config.balanced:
            drawn = balanced(key_rows, parts[0].rows, config.balanced)
            parts[0] = parts[0]._replace(rows=drawn)
        normaliser = moments(config, *parts[0])
        variables = initial(key_init, config, parts[0].rows.ndvi.dtype)
        data = (part._replace(stack=(part.stack, normaliser)) for part in parts)
        state = train.fit(
            key_train, _loss(config), variables, *data,
            config=config.train, folder=checkpoints,
            label=f"{len(config.features)}-feature network",
        )  # fmt: skip
        return MlpParams(
            variables=state.best,
            normaliser=normaliser,
            std=jnp.sqrt(state.best_loss) * normaliser.ndvi_std,
            history=state.history,
            best_epoch=state.best_epoch.astype(normaliser.ndvi_std.dtype),
        )

    @jax.jit
    def _many(params, day, days, series):
        stack, seen = without_gaps(series._replace(day=day), pad_mode=config.pad_mode)
        many = jax.vmap(lambda *x: _curve(config, params, day, days, *x))
        return many(stack.vv_db, stack.vh_db, seen)

    def predict(params: MlpParams, series: Series, days: Days) -> Estimate:
        check_days(series, days)
        series, left_out = without_implausible(_observed(series))
        day, days = jnp.asarray(series.day), jnp.asarray(days)
        mean, std, radar = map_pixels(
            lambda part: _many(params, day, days, part),
            series._replace(day=None),
            chunk=config.chunk,
            label="network",
        )
        return Estimate(mean, std, jnp.zeros((), mean.dtype), flags(radar, left_out, mean))

    return Estimator(fit, predict)


def _observed(series: Series) -> Series:
    """The series without its filtered radar, which a single-date network does not see."""
    return series._replace(smooth=None, wide=None)


def like(config: MlpConfig, dtype=jnp.float32) -> MlpParams:
    """Parameters of the structure and shapes that `mlp(config)` learns, to restore into."""
    n = len(config.features)
    zeros = jnp.zeros((), dtype)
    return MlpParams(
        variables=initial(jax.random.key(0), config, dtype),
        normaliser=Normaliser(jnp.zeros(n, dtype), jnp.zeros(n, dtype), zeros, zeros),
        std=zeros,
        history=jnp.zeros((config.train.epochs, 2), dtype),
        best_epoch=zeros,
    )
