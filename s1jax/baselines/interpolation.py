"""A pixel's own labels, joined by lines or smoothed: an estimate without radar."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from whittaker_eilers import WhittakerSmoother

from s1jax.baselines.common import estimate, estimator, labels, rms, training_labels
from s1jax.batching import bar
from s1jax.compositing import interpolate_gaps, interpolate_pixels
from s1jax.masking import withhold
from s1jax.types import Days, Estimate, Estimator, Key, Series


@dataclass(frozen=True)
class WhittakerConfig:
    """Options of `whittaker`."""

    order: int = 2
    """order of the differences that are penalised; 2 bends towards a straight line"""
    penalties: tuple[float, ...] = (1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8)
    """penalties to choose from on validation pixels, days^(2 order)"""
    pixels: int = 2000
    """at most so many validation pixels choose the penalty and measure the error"""


class Linear(NamedTuple):
    """Parameters of `linear`."""

    mean: float
    """Mean of all training labels."""
    std: float
    """RMS residual on hidden labels of validation pixels."""


class Whittaker(NamedTuple):
    """Parameters of `whittaker`."""

    penalty: float
    """The penalty with the smallest RMS residual, days^(2 order)."""
    mean: float
    """Mean of all training labels."""
    std: float
    """RMS residual on hidden labels of validation pixels."""


def linear() -> Estimator:
    """Estimator that joins the pixel's own labels by straight lines, constant beyond the ends.

    A pixel without NDVI gets the mean of all training labels. std is the RMS residual on labels of
    validation pixels, a random 20 % and one 60-day window of which were hidden.

    `fit` raises ValueError without a training label, or a validation label to hide.
    """

    def _fit(key: Key, train: Series, val: Series) -> Linear:
        mean = float(np.nanmean(training_labels(train)))
        seen, hidden = withhold(key, val)
        return Linear(mean, rms(_lines(seen, mean), labels(val), hidden))

    def _predict(params: Linear, series: Series, days: Days) -> Estimate:
        def _mean(part):
            return interpolate_pixels(part.day, _lines(part, params.mean), days)

        return estimate(_mean, series, params.std, label="linear")

    return estimator(_fit, _predict)


def whittaker(config: WhittakerConfig = WhittakerConfig()) -> Estimator:
    """Estimator that smooths the pixel's own labels, argmin_z sum_t w (y - z)^2 + penalty |D z|^2.

    w is 1 where NDVI is valid and 0 elsewhere, D the divided differences of `config.order` on the
    series' own, possibly irregular days. The library whittaker-eilers solves it. The penalty is the
    one of `config.penalties` with the smallest RMS residual on labels of validation pixels, a
    random 20 % and one 60-day window of which were hidden; that residual is the std.

    The curve lives on the days of the series and is linear in between (constant beyond): query days
    are no nodes, because each node adds a term to the penalty, and the estimate of one day would
    depend on the others. Beyond the pixel's first and last label the smoother goes on along its
    last slope. With fewer valid labels than order + 1 the equation is singular or nearly so: such a
    pixel gets the mean of its own labels, and one without any that of all training labels.

    `fit` raises ValueError without a training label, or a validation label to hide.

    Source: P. Eilers, A perfect smoother, Analytical Chemistry 75, 2003.
    """

    def _fit(key: Key, train: Series, val: Series) -> Whittaker:
        key_pixels, key_hide = jax.random.split(key)
        mean = float(np.nanmean(training_labels(train)))
        truth = labels(val)
        some = np.asarray(jax.random.permutation(key_pixels, truth.shape[0]))[: config.pixels]
        seen, hidden = withhold(key_hide, val.take(some))
        errors = [
            rms(_smooth(seen, penalty, config.order, mean), truth[some], hidden)
            for penalty in bar(config.penalties, "whittaker", "penalty")
        ]
        best = int(np.argmin(errors))
        return Whittaker(config.penalties[best], mean, errors[best])

    def _predict(params: Whittaker, series: Series, days: Days) -> Estimate:
        def _mean(part):
            curve = _smooth(part, params.penalty, config.order, params.mean)
            return interpolate_pixels(part.day, curve, days)

        return estimate(_mean, series, params.std, chunk=8192, label="whittaker")

    return estimator(_fit, _predict)


def _lines(series: Series, mean: float) -> Float[np.ndarray, "pixel time"]:
    """The pixel's labels joined by lines on the days of the series; `mean` where there is none."""
    ndvi, valid = jnp.asarray(series.ndvi), jnp.asarray(series.ndvi_valid)
    day = jnp.asarray(series.day, ndvi.dtype)
    lines = jax.vmap(interpolate_gaps, (None, 0, 0))(day, ndvi, valid)
    return np.where(np.asarray(valid).any(axis=1)[:, None], np.asarray(lines), mean)


def _smooth(series: Series, penalty: float, order: int, mean: float) -> np.ndarray:
    day, ndvi = np.asarray(series.day, np.float64), labels(series)
    valid = np.isfinite(ndvi)
    weight, filled, count = valid.astype(np.float64), np.where(valid, ndvi, 0.0), valid.sum(axis=1)
    level = np.where(count > 0, filled.sum(axis=1) / np.maximum(count, 1), mean)
    curve = np.repeat(level[:, None], day.size, axis=1)
    # one smoother for all pixels: only the weights differ, and setting them leaves no trace
    smoother = WhittakerSmoother(penalty, order, day.size, (day - day[0]).tolist())
    for pixel in np.flatnonzero(count > order):
        smoother.update_weights(weight[pixel].tolist())
        curve[pixel] = smoother.smooth(filled[pixel].tolist())
    return curve
