"""The nearest training pixels on the same date: the calendar of the neighbourhood."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from s1jax.baselines.common import estimate, estimator, labels, rms, training_labels
from s1jax.batching import bar
from s1jax.compositing import fold_to_season, interpolate_pixels
from s1jax.types import Days, Estimate, Estimator, Key, Series


@dataclass(frozen=True)
class KnnSpaceConfig:
    """Options of `knn_space`."""

    neighbours: int = 5
    """training pixels whose mean is taken, count"""


class KnnSpace(NamedTuple):
    """Parameters of `knn_space`: the training labels and where they are."""

    day: Float[np.ndarray, "date"]
    """Days with a label anywhere in training, ascending."""
    ndvi: Float[np.ndarray, "pixel date"]
    """Training labels on them, NaN where there is none."""
    position: Float[np.ndarray, "pixel 2"]
    """Of the training pixels, metres east and north."""
    std: float
    """RMS residual on validation pixels."""


def knn_space(config: KnnSpaceConfig = KnnSpaceConfig()) -> Estimator:
    """Estimator of the mean NDVI of the nearest training pixels with a label on the same date.

    Where fewer training pixels than `config.neighbours` have one, all of them are taken. Between
    dates with a training label it is linear in time; a day outside their span is moved by multiples
    of 365.25 days as in `climatology`. No NDVI of the predicted pixel is used. Where this yardstick
    is good, the split is not independent.

    `fit` and `predict` raise ValueError for a Series without `position`; `fit` also without a
    training or validation label.
    """

    def _fit(key: Key, train: Series, val: Series) -> KnnSpace:
        del key  # nothing is drawn
        ndvi = training_labels(train)
        dated = np.isfinite(ndvi).any(axis=0)
        day = np.asarray(train.day, np.float64)[dated]
        params = KnnSpace(day, ndvi[:, dated], _position(train), std=0.0)
        truth = labels(val)
        mean = _predict(params, val, np.asarray(val.day)).mean
        return params._replace(std=rms(mean, truth, np.isfinite(truth)))

    def _predict(params: KnnSpace, series: Series, days: Days) -> Estimate:
        _position(series)
        folded = fold_to_season(np.asarray(days, np.float64), params.day[0], params.day[-1])
        valid = np.isfinite(params.ndvi)
        trees = [cKDTree(params.position[date]) for date in valid.T]

        def _curve(part):
            position = _position(part)
            mean = np.empty((len(position), params.day.size))
            for date, tree in enumerate(bar(trees, "knn_space", "date")):
                ndvi = params.ndvi[valid[:, date], date]
                nearest = np.arange(1, min(config.neighbours, tree.n) + 1)
                mean[:, date] = ndvi[tree.query(position, nearest)[1]].mean(axis=1)
            return interpolate_pixels(params.day, mean, folded)

        return estimate(_curve, series, params.std, label="knn_space")

    return estimator(_fit, _predict)


def _position(series: Series) -> Float[np.ndarray, "pixel 2"]:
    if series.position is None:
        raise ValueError("series.position: got None, expected metres east and north of each pixel")
    return np.asarray(series.position, np.float64)
