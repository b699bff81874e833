"""Bands that hold: how far an estimate's standard deviations are from what validation shows."""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Float

from s1jax import hiding
from s1jax.metrics import HALF_BAND
from s1jax.types import NDVI, Days, Estimate, Series

FEWEST = 50
"""Hidden labels below which no band is scaled by them."""


def factors(
    predict: Callable[[Series, Days], Estimate], validation: Series
) -> Float[np.ndarray, "2"]:
    """Factors of std and noise that put 90 % of the hidden labels of validation pixels into the
    90 % band: without any NDVI of the pixel, and with some (a random share and 60 days hidden).

    The 0.9 quantile of |mean - label| / hypot(std, noise) over 1.645; 1 below 50 hidden labels.
    """
    label = np.asarray(validation.valid)[..., NDVI]
    found = []
    for hidden in (label, np.asarray(hiding.hide(jax.random.key(0), validation)[1])):
        asked = hidden & label
        told = predict(hiding.without(validation, asked), np.asarray(validation.day))
        noise = np.broadcast_to(np.asarray(told.noise), len(label))
        wide = np.hypot(np.asarray(told.std), noise[:, None])
        error = np.abs(np.asarray(told.mean) - np.asarray(validation.value)[..., NDVI])
        ratio = (error / wide)[asked]
        found.append(np.quantile(ratio, 0.9) / HALF_BAND if ratio.size >= FEWEST else 1.0)
    return np.array(found)
