"""What other pixels show on the same date: the region's mean curve, the nearest training pixels."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from s1jax.baselines.common import estimate, estimator, labels, rms, training_labels
from s1jax.batching import bar
from s1jax.compositing import fold_to_season, interpolate_pixels
from s1jax.types import Days, Estimate, Estimator, Key, Series


class Climatology(NamedTuple):
    """Parameters of `climatology`."""

    day: Float[np.ndarray, "date"]
    """Days with a label anywhere in training, ascending."""
    mean: Float[np.ndarray, "date"]
    """Mean NDVI of the training pixels on them."""
    std: float
    """RMS residual on validation pixels."""


def climatology() -> Estimator:
    """Estimator of the mean NDVI of the training pixels by date.

    Linear in time between the dates that have a training label. A day outside their span (another
    year) is moved by multiples of 365.25 days to where it is nearest to the span; what then is
    still outside, because the span is shorter than a year, has the value of the nearer end. No NDVI
    of the predicted pixel is used, so the same estimate serves every task.

    `fit` raises ValueError without a training or validation label.
    """

    def _fit(key: Key, train: Series, val: Series) -> Climatology:
        del key  # nothing is drawn
        ndvi = training_labels(train)
        dated = np.isfinite(ndvi).any(axis=0)
        day, mean = np.asarray(train.day, np.float64)[dated], np.nanmean(ndvi[:, dated], axis=0)
        params = Climatology(day, mean, std=0.0)
        truth = labels(val)
        curve = np.broadcast_to(_curve(params, val.day), truth.shape)
        return params._replace(std=rms(curve, truth, np.isfinite(truth)))

    def _predict(params: Climatology, series: Series, days: Days) -> Estimate:
        curve = _curve(params, days)

        def _mean(part):
            return np.broadcast_to(curve, (len(part.ndvi), curve.size))

        return estimate(_mean, series, params.std, label="climatology")

    return estimator(_fit, _predict)


def _curve(params: Climatology, days: Days) -> Float[np.ndarray, "query"]:
    folded = fold_to_season(np.asarray(days, np.float64), params.day[0], params.day[-1])
    return interpolate_pixels(params.day, params.mean[None], folded)[0]


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
