"""What is always reported of a cube, as arrays: the figures are made of these."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from s1jax.doctor.expect import Expected
from s1jax.doctor.labels import Balance
from s1jax.doctor.relation import Correlation
from s1jax.doctor.split import Leakage
from s1jax.doctor.verdict import Condition

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Over pixels, of each date."""


class Facts(NamedTuple):
    """Measured on a sample of the pixels inside the mask, fills taken out, backscatter in dB."""

    day: Float[np.ndarray, "time"]
    """Days since 1970-01-01, ascending."""
    composites: bool
    """Dates are periods, not acquisitions."""
    ndvi: Float[np.ndarray, "time quantile"]
    """`QUANTILES` of the labels of each date, NaN where there is none."""
    vv_db: Float[np.ndarray, "time quantile"]
    vh_db: Float[np.ndarray, "time quantile"]
    seen: Float[np.ndarray, "time 2"]
    """Share of the pixels with radar and with a label on each date."""
    highest: Float[np.ndarray, "known"]
    """Highest label of each pixel with 5 or more."""
    balance: Balance
    correlation: Correlation
    offset: Float[np.ndarray, "label"]
    """Days from labels to the nearest radar; empty where composites do not tell."""
    noise: float
    """Standard deviation of the noise of a label, NDVI; NaN where unknown."""
    ceiling: float
    """R2 against labels that no method can pass; NaN where unknown."""
    expected: Expected
    leakage: Leakage | None
    """Of the split that was given."""
    conditions: tuple[Condition, ...]


def quantiles(values: Float[np.ndarray, "pixel time"]) -> Float[np.ndarray, "time quantile"]:
    """`QUANTILES` over pixels of each date; NaN where no pixel has a value."""
    found = np.full((values.shape[1], len(QUANTILES)), np.nan)
    some = np.isfinite(values).any(axis=0)
    if some.any():
        found[some] = np.nanquantile(values[:, some], QUANTILES, axis=0).T
    return found


def highest(ndvi: Float[np.ndarray, "pixel time"]) -> Float[np.ndarray, "known"]:
    """Highest label of each pixel with 5 or more."""
    known = np.isfinite(ndvi).sum(axis=1) >= 5
    return np.nanmax(ndvi[known], axis=1) if known.any() else np.zeros(0)
