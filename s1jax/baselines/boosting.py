"""Boosted trees, the strong outside yardstick: on radar alone, and beside a pixel's own labels."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float
from sklearn.ensemble import HistGradientBoostingRegressor

from s1jax.baselines.days import on_days
from s1jax.baselines.residual import estimate, labels, of_sound, rms, training_labels
from s1jax.baselines.rows import conditional_rows, window_rows
from s1jax.hiding import hide, mixture, without
from s1jax.progress import bar
from s1jax.types import Estimate, Estimator, Key, Series


@dataclass(frozen=True)
class BoostingConfig:
    """Options of `boosting`."""

    window: int = 5
    """dates of radar seen before and after the date estimated, count"""
    iterations: int = 200
    """at most so many trees for each of the two models, count"""
    learning_rate: float = 0.1
    """share of each tree that is added, 1"""
    leaves: int = 31
    """at most so many leaves of a tree, count"""
    rows: int = 40_000
    """at most so many training labels for each of the two models, drawn at random, count"""
    draws: int = 4
    """times the labels of each pixel are hidden to train the conditional model, count"""
    patience: int = 20
    """trees without a gain on validation labels before the growing stops, count"""


class Boosting(NamedTuple):
    """What `boosting` learns."""

    radar: HistGradientBoostingRegressor
    """Model of the radar window, for pixels without any label."""
    conditional: HistGradientBoostingRegressor
    """Model of the radar window and the nearest labels, for the other pixels."""
    radar_std: float
    """RMS residual of `radar` on validation pixels, 1."""
    conditional_std: float
    """RMS residual of `conditional` on hidden labels of validation pixels, 1."""


def boosting(config: BoostingConfig = BoostingConfig()) -> Estimator:
    """Estimator of two histogram gradient boosting models, for pixels without and with labels.

    Both see every radar channel in dB and VH - VV of each orbit on `config.window` dates to either
    side; what is missing stays missing, the trees branch on it. The conditional model also sees the
    pixel's nearest label strictly before and after the date, the days to each, and by how much each
    radar channel changed since or until then; the label of the date itself is never looked at. It
    is trained on labels hidden as the tasks hide them, for each pixel at random (20 %) or through a
    window of 60 or 132 days. Neither sees the day of the year: what it taught would not hold in a
    district with another calendar.

    Growing stops on labels of validation pixels. Each model states its own RMS residual there as
    std, the conditional one on a random 20 % and one 60-day window. Windows count dates of the
    series' own grid; between its dates the estimate is linear in time, beyond them constant.

    `fit` raises ValueError without a training or validation label.
    """

    def _fit(key: Key, train: Series, val: Series) -> Boosting:
        key_radar, key_conditional, key_hide = jax.random.split(key, 3)
        training_labels(train)
        truth = labels(val)
        models = ((key_radar, _labelled), (key_conditional, _hidden))
        radar, conditional = (
            _grow(config, key_model, train, val, rows)
            for key_model, rows in bar(models, "boosting", "model")
        )
        seen, hidden = hide(key_hide, val)
        return Boosting(
            radar=radar,
            conditional=conditional,
            radar_std=rms(_on_grid(radar, window_rows, val, config), truth, np.isfinite(truth)),
            conditional_std=rms(
                _on_grid(conditional, conditional_rows, seen, config), truth, hidden
            ),
        )

    def _predict(
        params: Boosting, series: Series, days: Float[Array | np.ndarray, "query"]
    ) -> Estimate:
        some = np.isfinite(labels(series)).any(axis=1)
        std = np.where(some, params.conditional_std, params.radar_std)
        return estimate(
            lambda part: on_days(part.day, _mean(params, part, config), days),
            series,
            std,
            chunk=2048,
            label="boosting",
        )

    return of_sound(_fit, _predict)


def _labelled(key, series, config):
    """Rows for the radar model: labels of the series, `config.rows` of them at most."""
    ndvi = labels(series)
    pixel, date = _some(key, np.isfinite(ndvi), config.rows)
    return window_rows(series, pixel, date, config.window), ndvi[pixel, date]


def _hidden(key, series, config):
    """Rows for the conditional model: labels hidden in `config.draws` ways, each seen without."""
    ndvi, features, targets = labels(series), [], []
    for draw in jax.random.split(key, config.draws):
        key_hide, key_rows = jax.random.split(draw)
        hidden = mixture(key_hide, series)
        pixel, date = _some(key_rows, np.asarray(hidden), config.rows // config.draws)
        seen = without(series, hidden)
        features.append(conditional_rows(seen, pixel, date, config.window))
        targets.append(ndvi[pixel, date])
    return np.concatenate(features), np.concatenate(targets)


def _some(key, scored, rows):
    """Pixel and date of at most `rows` of the places where `scored`, drawn without replacement."""
    pixel, date = np.nonzero(scored)
    if pixel.size == 0:
        raise ValueError(
            f"NDVI: got no label to learn from in {scored.shape[0]} pixels, expected 1+"
        )
    # NumPy draws: the number of labels differs every time, and JAX would compile for each
    drawn = np.sort(np.random.default_rng(_seed(key)).permutation(pixel.size)[:rows])
    return pixel[drawn], date[drawn]


def _seed(key):
    return int(jax.random.bits(key, dtype=np.uint32))


def _grow(config, key, train, val, rows):
    key_train, key_val, key_bins = jax.random.split(key, 3)
    features, ndvi = rows(key_train, train, config)
    stop_features, stop_ndvi = rows(key_val, val, config)
    # the library cannot make bins of a feature that was never seen; of a constant it can, and no
    # tree branches on it
    features[:, np.isnan(features).all(axis=0)] = 0.0
    model = HistGradientBoostingRegressor(
        learning_rate=config.learning_rate,
        max_iter=config.iterations,
        max_leaf_nodes=config.leaves,
        early_stopping=True,
        n_iter_no_change=config.patience,
        random_state=_seed(key_bins),
    )
    return model.fit(features, ndvi, X_val=stop_features, y_val=stop_ndvi)


def _on_grid(model, rows, series, config):
    """The model's mean on every date of the series, (pixel, time)."""
    shape = series.valid.shape[:2]
    pixel, date = (index.ravel() for index in np.indices(shape))
    return model.predict(rows(series, pixel, date, config.window)).reshape(shape)


def _mean(params, series, config):
    """Mean on every date, of the conditional model where the pixel has a label."""
    some = np.isfinite(labels(series)).any(axis=1)
    mean = np.empty(series.valid.shape[:2])
    models = (
        (some, params.conditional, conditional_rows),
        (~some, params.radar, window_rows),
    )
    for chosen, model, rows in models:
        if chosen.any():
            part = Series(series.day, series.value[chosen], series.valid[chosen])
            mean[chosen] = _on_grid(model, rows, part, config)
    return mean
