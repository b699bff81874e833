"""The mean curve of the region: an estimate of a pixel that needs no data of it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from s1jax.baselines.common import estimate, estimator, labels, rms, training_labels
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
        valid = np.isfinite(ndvi)
        dated = valid.any(axis=0)
        mean = np.where(valid, ndvi, 0.0).sum(axis=0)[dated] / valid.sum(axis=0)[dated]
        params = Climatology(np.asarray(train.day, np.float64)[dated], mean, std=0.0)
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
