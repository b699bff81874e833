"""What each task hides: drawn once for a data set and a seed, and shared by all methods."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from s1jax import masking
from s1jax.types import Key, Series

MEANING = {
    "T1": "no NDVI at the pixel",
    "T2a": "20 % of labels hidden",
    "T2b": "60-day window hidden",
    "T2c": "132-day window hidden",
    "T2d": "real gaps",
    "T2e": "whole dates hidden everywhere",
}
TASKS = tuple(MEANING)


def draw_mask(
    key: Key, task: str, series: Series, *, simulated: bool
) -> Bool[np.ndarray, "pixel time"]:
    """Periods that a task queries; their labels are hidden.

    Args:
      key: consumed; the same for all methods.
      task: one of `TASKS`.
      series: all pixels of the data set.
      simulated: there is a truth; T2c then lies in the monsoon.

    Raises:
      ValueError: an unknown task; no November to April inside a simulation (T2c).
    """
    valid = np.asarray(series.ndvi_valid)
    day = np.asarray(series.day)
    pixels = valid.shape[0]
    if task == "T1":
        return np.ones(valid.shape, bool)
    if task == "T2a":
        share = jax.vmap(lambda k, v: masking.random_share(k, v, masking.SHARE))
        return np.asarray(share(jax.random.split(key, pixels), jnp.asarray(valid)))
    if task == "T2c" and simulated:
        return monsoon_window(key, day, pixels, masking.WINDOWS[1])
    if task in ("T2b", "T2c"):
        days = masking.WINDOWS[task == "T2c"]
        everywhere = jnp.ones(day.shape, bool)
        window = jax.vmap(lambda k: masking.window(k, jnp.asarray(day), everywhere, days))
        return np.asarray(window(jax.random.split(key, pixels)))
    if task == "T2d":
        return ~valid
    if task == "T2e":
        return np.broadcast_to(hidden_dates(key, valid.any(0)), valid.shape)
    raise ValueError(f"task: got {task!r}, expected one of {TASKS}")


def monsoon_window(
    key: Key, day: Float[np.ndarray, "time"], pixels: int, days: float
) -> Bool[np.ndarray, "pixel time"]:
    """Periods of a window inside November to April of a random year, one for each pixel."""
    begin, end = pd.to_datetime([day[0] - 15.0, day[-1]], unit="D").normalize()
    first = pd.date_range(begin, end, freq="YS-NOV").values.astype("datetime64[D]").astype(float)
    first = first[(first >= day[0] - 15.0) & (first + 181.0 <= day[-1] + 15.0)]
    if not first.size:
        raise ValueError("T2c: got no November to April inside the series, expected at least one")
    key_year, key_start = jax.random.split(key)
    year = np.asarray(jax.random.randint(key_year, (pixels,), 0, first.size))
    shift = np.asarray(jax.random.uniform(key_start, (pixels,))) * (181.0 - days)
    start = (first[year] + shift)[:, None]
    return (day[None] >= start) & (day[None] < start + days)


def hidden_dates(key: Key, labelled: Bool[np.ndarray, "time"]) -> Bool[np.ndarray, "time"]:
    """20 % of the labelled dates, in runs of one to three."""
    dates = np.flatnonzero(labelled)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    hidden = np.zeros(dates.size, bool)
    goal = max(1, round(0.2 * dates.size))
    # runs are drawn until none fits any more beside the others; a run never touches another
    for start in rng.permutation(dates.size):
        length = min(int(rng.integers(1, 4)), goal - int(hidden.sum()), dates.size - start)
        if not hidden[max(0, start - 1) : start + length + 1].any():
            hidden[start : start + length] = True
    return np.isin(np.arange(labelled.size), dates[hidden])


def gap_days(
    day: Float[np.ndarray, "time"], kept: Bool[np.ndarray, "pixel time"]
) -> Float[np.ndarray, "pixel time"]:
    """Days without a kept label about each date: next kept minus previous kept minus one step.

    The series' ends count as kept one step outside; a step is the median of the steps.
    """
    day = np.asarray(day, np.float64)
    step = np.median(np.diff(day))
    before = np.maximum.accumulate(np.where(kept, day[None], day[0] - step), axis=1)
    after = np.where(kept, day[None], day[-1] + step)
    return np.minimum.accumulate(after[:, ::-1], axis=1)[:, ::-1] - before - step
