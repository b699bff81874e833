"""Boosted trees, the strong outside yardstick: of radar alone, and with a pixel's own labels."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int
from sklearn.ensemble import HistGradientBoostingRegressor

from s1jax.baselines.common import (
    estimate,
    estimator,
    labels,
    last_valid,
    next_valid,
    rms,
    training_labels,
)
from s1jax.batching import bar
from s1jax.compositing import interpolate_pixels
from s1jax.masking import sample_task_mask, with_ndvi_masked, withhold
from s1jax.types import Days, Estimate, Estimator, Key, Series


@dataclass(frozen=True)
class BoostingConfig:
    """Options of `boosting`."""

    window: int = 5
    """dates of radar seen before and after the date estimated, count"""
    iterations: int = 200
    """at most so many trees for each of the two models, count"""
    learning_rate: float = 0.1
    """share of each tree that is added"""
    leaves: int = 31
    """at most so many leaves of a tree, count"""
    rows: int = 40_000
    """at most so many training labels for each of the two models, drawn at random, count"""
    draws: int = 4
    """times the labels of each pixel are hidden to train the conditional model, count"""
    patience: int = 20
    """trees without a gain on validation labels before the growing stops, count"""


class Boosting(NamedTuple):
    """Parameters of `boosting`."""

    radar: HistGradientBoostingRegressor
    """Model of the radar window, for pixels without any label."""
    conditional: HistGradientBoostingRegressor
    """Model of the radar window and the nearest labels, for the other pixels."""
    radar_std: float
    """RMS residual of `radar` on validation pixels."""
    conditional_std: float
    """RMS residual of `conditional` on hidden labels of validation pixels."""


def boosting(config: BoostingConfig = BoostingConfig()) -> Estimator:
    """Estimator of two histogram gradient boosting models, for pixels without and with labels.

    Both see every radar channel in dB and VH - VV of each orbit on `config.window` dates to either
    side; the trees branch on what is missing. The conditional model also sees the pixel's nearest
    label strictly before and after the date, the days to each, and the change of each radar channel
    since or until then. It is trained on labels hidden as the tasks hide them, for each pixel at
    random (20 %) or through a window of 60 or 132 days. Neither sees the day of the year, which
    would not hold in a district with another calendar.

    Growing stops on labels of validation pixels. The std of each model is its RMS residual there,
    of the conditional one on a random 20 % and one 60-day window. Between the dates of the series
    the estimate is linear in time, beyond them constant.

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
        visible, hidden = withhold(key_hide, val)
        means = (
            _on_grid(radar, window_rows, val, config),
            _on_grid(conditional, conditional_rows, visible, config),
        )
        stds = (rms(m, truth, k) for m, k in zip(means, (np.isfinite(truth), hidden), strict=True))
        return Boosting(radar, conditional, *stds)

    def _predict(params: Boosting, series: Series, days: Days) -> Estimate:
        some = np.isfinite(labels(series)).any(axis=1)
        std = np.where(some, params.conditional_std, params.radar_std)

        def _curve(part):
            return interpolate_pixels(part.day, _mean(params, part, config), days)

        return estimate(_curve, series, std, chunk=2048, label="boosting")

    return estimator(_fit, _predict)


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
        hidden = sample_task_mask(key_hide, series)
        pixel, date = _some(key_rows, np.asarray(hidden), config.rows // config.draws)
        visible = with_ndvi_masked(series, hidden)
        features.append(conditional_rows(visible, pixel, date, config.window))
        targets.append(ndvi[pixel, date])
    return np.concatenate(features), np.concatenate(targets)


def _some(key, scored, rows):
    """Pixel and date of at most `rows` labels where `scored`, drawn without replacement."""
    pixel, date = np.nonzero(scored)
    if pixel.size == 0:
        raise ValueError(f"NDVI: got no label to learn from in {len(scored)} pixels, expected 1+")
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
    shape = series.ndvi.shape
    pixel, date = (index.ravel() for index in np.indices(shape))
    return model.predict(rows(series, pixel, date, config.window)).reshape(shape)


def _mean(params, series, config):
    """Mean on every date, of the conditional model where the pixel has a label."""
    some = np.isfinite(labels(series)).any(axis=1)
    mean = np.empty(series.ndvi.shape)
    models = (some, params.conditional, conditional_rows), (~some, params.radar, window_rows)
    for chosen, model, rows in models:
        if chosen.any():
            mean[chosen] = _on_grid(model, rows, series.take(chosen), config)
    return mean


def radar(series: Series) -> Float[np.ndarray, "pixel time channel"]:
    """Every radar channel in dB as observed, then VH - VV of each orbit; NaN where not valid."""
    observed = np.asarray(series.radar)[..., 0, :]
    db = np.where(np.asarray(series.radar_valid), observed, np.nan).astype(np.float32)
    return np.concatenate([db, db[..., 1::2] - db[..., 0::2]], axis=-1)


def window_rows(
    series: Series, pixel: Int[np.ndarray, "row"], date: Int[np.ndarray, "row"], window: int
) -> Float[np.ndarray, "row feature"]:
    """Radar from `window` dates before to `window` dates after each date; NaN beyond the series.

    Args:
      series: many pixels.
      pixel: index of each row's pixel.
      date: index of each row's date on the grid of the series.
      window: dates to either side, count.
    """
    beyond = ((0, 0), (window, window), (0, 0))
    padded = np.pad(radar(series), beyond, constant_values=np.float32(np.nan))
    around = date[:, None] + np.arange(2 * window + 1)
    return padded[pixel[:, None], around].reshape(pixel.size, -1)


def conditional_rows(
    series: Series, pixel: Int[np.ndarray, "row"], date: Int[np.ndarray, "row"], window: int
) -> Float[np.ndarray, "row feature"]:
    """`window_rows`, and for the nearest label strictly before and strictly after each date:
    its NDVI, the days to it, and the change of each radar channel from it to the date, in dB.

    NaN where there is no such label. Args as in `window_rows`.
    """
    day, ndvi, db = np.asarray(series.day, np.float64), labels(series), radar(series)
    valid = np.isfinite(ndvi)
    dates = day.size
    nowhere = np.full((valid.shape[0], 1), -1)
    before = np.concatenate([nowhere, last_valid(valid)[:, :-1]], axis=1)[pixel, date]
    after = np.concatenate([next_valid(valid)[:, 1:], nowhere], axis=1)[pixel, date]
    columns = [window_rows(series, pixel, date, window)]
    for label, there in ((before, before >= 0), (after, (after >= 0) & (after < dates))):
        at = np.where(there, label, 0)
        change = db[pixel, date] - db[pixel, at]
        nearest = np.column_stack([ndvi[pixel, at], np.abs(day[date] - day[at]), change])
        columns.append(np.where(there[:, None], nearest, np.nan).astype(np.float32))
    return np.concatenate(columns, axis=1)
