"""How far labels lie from the line through their neighbours in time: noise, told without truth."""

import numpy as np
from jaxtyping import Float

_NEAR = 30.0
"""Days between the neighbours of a label that are near enough to tell its noise."""
_Rows = Float[np.ndarray, "pixel time"]
_Days = Float[np.ndarray, "time"]


def label_noise(day: _Days, ndvi: _Rows) -> float | None:
    """Standard deviation of the noise of one label, NDVI; None where it cannot be told.

    Of each label with neighbours in time d1 days before and d2 after: its departure from the line
    through them, divided by sqrt(1 + w1^2 + w2^2), w1 = d2 / (d1 + d2), w2 = 1 - w1: independent
    noise of one std in all three leaves just that. This is 1.4826 times the median absolute
    departure of the near ones. Curvature counts as noise, so neighbours over 30 days apart tell
    nothing; errors that last (haze of a season, a wrong calendar) do not show, and rare large ones
    (missed cloud) do not move a median.
    """
    departure, width = departures(day, ndvi)
    if departure.size < 30 or np.median(width) > _NEAR:
        return None
    return float(1.4826 * np.median(np.abs(departure)))


def departures(
    day: _Days, ndvi: _Rows
) -> tuple[Float[np.ndarray, "label"], Float[np.ndarray, "label"]]:
    """Scaled departures of labels from the line through their neighbours in time, and the time
    between these, days; of at most 3,000 pixels, spread evenly.

    Only near ones, no more than 30 days; the nearest fifth where there are fewer than 100 such.
    """
    some = ndvi[:: max(1, len(ndvi) // 3000)]
    found, widths = [np.zeros(0)], [np.zeros(0)]
    for row in some:
        at = np.flatnonzero(np.isfinite(row))
        if at.size < 3:
            continue
        d1, d2 = np.diff(day[at[:-1]]), np.diff(day[at[1:]])
        wide = d1 + d2
        ok = (d1 > 0) & (d2 > 0)
        w1 = d2 / np.where(wide > 0, wide, 1.0)
        value = row[at].astype(np.float64)
        line = w1 * value[:-2] + (1 - w1) * value[2:]
        scaled = (value[1:-1] - line) / np.sqrt(1 + w1**2 + (1 - w1) ** 2)
        found.append(scaled[ok])
        widths.append(wide[ok])
    departure, width = np.concatenate(found), np.concatenate(widths)
    near = width <= _NEAR
    if near.sum() < 100 and width.size:
        near = width <= np.quantile(width, 0.2)
    return departure[near], width[near]
