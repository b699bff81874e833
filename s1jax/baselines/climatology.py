"""The mean curve of the region: what one knows about a pixel without looking at it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from s1jax.align import fold
from s1jax.baselines.days import on_days
from s1jax.baselines.residual import estimate, labels, of_sound, rms, training_labels
from s1jax.types import Estimate, Estimator, Key, Series


class Climatology(NamedTuple):
    """What `climatology` learns."""

    day: Float[np.ndarray, "date"]
    """Days with a label anywhere in training, ascending."""
    mean: Float[np.ndarray, "date"]
    """Mean NDVI of the training pixels on them, 1."""
    std: float
    """RMS residual on validation pixels, 1."""


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
        known = np.isfinite(ndvi)
        dated = known.any(axis=0)
        mean = np.where(known, ndvi, 0.0).sum(axis=0)[dated] / known.sum(axis=0)[dated]
        params = Climatology(np.asarray(train.day, np.float64)[dated], mean, std=0.0)
        truth = labels(val)
        curve = np.broadcast_to(_curve(params, val.day), truth.shape)
        return params._replace(std=rms(curve, truth, np.isfinite(truth)))

    def _predict(
        params: Climatology, series: Series, days: Float[Array | np.ndarray, "query"]
    ) -> Estimate:
        curve = _curve(params, days)
        return estimate(
            lambda part: np.broadcast_to(curve, (part.value.shape[0], curve.size)),
            series,
            params.std,
            label="climatology",
        )

    return of_sound(_fit, _predict)


def _curve(
    params: Climatology, days: Float[Array | np.ndarray, "query"]
) -> Float[np.ndarray, "query"]:
    folded = fold(np.asarray(days, np.float64), params.day[0], params.day[-1])
    return on_days(params.day, params.mean[None], folded)[0]
