"""The nearest training pixels on the same date: what the calendar of the neighbourhood tells."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float
from scipy.spatial import cKDTree

from s1jax.align import fold
from s1jax.baselines.days import on_days
from s1jax.baselines.residual import estimate, labels, of_sound, rms, training_labels
from s1jax.progress import bar
from s1jax.types import Estimate, Estimator, Key, Series


@dataclass(frozen=True)
class KnnSpaceConfig:
    """Options of `knn_space`."""

    neighbours: int = 5
    """training pixels whose mean is taken, count"""


class KnnSpace(NamedTuple):
    """What `knn_space` learns: the training labels and where they are."""

    day: Float[np.ndarray, "date"]
    """Days with a label anywhere in training, ascending."""
    ndvi: Float[np.ndarray, "pixel date"]
    """Training labels on them, NaN where there is none, 1."""
    place: Float[np.ndarray, "pixel 2"]
    """Of the training pixels, metres east and north."""
    std: float
    """RMS residual on validation pixels, 1."""


def knn_space(config: KnnSpaceConfig = KnnSpaceConfig()) -> Estimator:
    """Estimator of the mean NDVI of the nearest training pixels with a label on the same date.

    Where fewer training pixels than `config.neighbours` have one, all of them are taken. Between
    dates with a training label it is linear in time; a day outside their span is moved by multiples
    of 365.25 days as in `climatology`. No NDVI of the predicted pixel is used. Where this yardstick
    is good, the split is not independent.

    `fit` and `predict` raise ValueError for a Series without `place`; `fit` also without a training
    or validation label.
    """

    def _fit(key: Key, train: Series, val: Series) -> KnnSpace:
        del key  # nothing is drawn
        ndvi = training_labels(train)
        dated = np.isfinite(ndvi).any(axis=0)
        day = np.asarray(train.day, np.float64)[dated]
        params = KnnSpace(day, ndvi[:, dated], _place(train), std=0.0)
        truth = labels(val)
        mean = _predict(params, val, np.asarray(val.day)).mean
        return params._replace(std=rms(mean, truth, np.isfinite(truth)))

    def _predict(
        params: KnnSpace, series: Series, days: Float[Array | np.ndarray, "query"]
    ) -> Estimate:
        _place(series)
        folded = fold(np.asarray(days, np.float64), params.day[0], params.day[-1])
        known = np.isfinite(params.ndvi)
        trees = [cKDTree(params.place[date]) for date in known.T]

        def _curve(part):
            place = _place(part)
            mean = np.empty((place.shape[0], params.day.size))
            for date, tree in enumerate(bar(trees, "knn_space", "date")):
                ndvi = params.ndvi[known[:, date], date]
                mean[:, date] = ndvi[_nearest(tree, place, config.neighbours)].mean(axis=1)
            return on_days(params.day, mean, folded)

        return estimate(_curve, series, params.std, label="knn_space")

    return of_sound(_fit, _predict)


def _nearest(tree: cKDTree, place: Float[np.ndarray, "pixel 2"], neighbours: int) -> np.ndarray:
    """Numbers of the nearest pixels in the tree, (pixel, neighbour)."""
    return tree.query(place, np.arange(1, min(neighbours, tree.n) + 1))[1]


def _place(series: Series) -> Float[np.ndarray, "pixel 2"]:
    if series.place is None:
        raise ValueError("place: got None, expected metres east and north of each pixel")
    return np.asarray(series.place, np.float64)
