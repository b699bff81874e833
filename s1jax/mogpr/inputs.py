"""The outputs of the process: which channels of a Series, what of them is plausible, less what."""

import numpy as np
from jaxtyping import Bool, Float

from s1jax.align import fold
from s1jax.mogpr.config import Curve
from s1jax.types import NDVI, Series

RADAR_DB = (-80.0, 40.0)
"""Backscatter outside is no measurement, dB."""
NDVI_RANGE = (-1.5, 1.5)
"""NDVI outside is no measurement, 1; noise may carry a true one past 1."""


def channels(series: Series, inputs: str) -> np.ndarray:
    """Places of the outputs that `inputs` names, or ValueError where the series has none such."""
    radar = series.value.shape[-1] - 1
    kind, _, orbit = inputs.partition(":")
    if kind == "smooth" and series.smooth is None:
        raise ValueError(f"inputs: got {inputs!r}, but the series has no speckle-filtered channels")
    first = radar if kind == "smooth" else 0
    if not orbit:
        return np.array([*range(first, first + radar), NDVI])
    start = 2 * (int(orbit) - 1)
    if start + 2 > radar:
        raise ValueError(f"inputs: got {inputs!r}, but the series has {radar // 2} orbit(s)")
    return np.array([first + start, first + start + 1, NDVI])


def available(series: Series) -> tuple[str, ...]:
    """What `inputs` may be for this series, the simplest first."""
    kinds = ("raw",) if series.smooth is None else ("raw", "smooth")
    orbits = ("", ":1", ":2") if series.value.shape[-1] >= 5 else ("",)
    return tuple(kind + orbit for kind in kinds for orbit in orbits)


def pick(series: Series, channel: np.ndarray) -> Series:
    """The series of the outputs at `channel`; what is not a plausible number is not valid."""
    value, valid = np.asarray(series.value), np.asarray(series.valid)
    radar = value.shape[-1] - 1

    def _of(place):
        if place == NDVI or place < radar:
            return value[..., place], valid[..., place]
        return np.asarray(series.smooth)[..., place - radar], valid[..., place - radar]

    found = [_of(place) for place in channel.tolist()]
    value, valid = (np.stack(leaves, axis=-1) for leaves in zip(*found, strict=True))
    valid = valid & plausible(value)
    return Series(np.asarray(series.day), np.where(valid, value, 0.0).astype(value.dtype), valid)


def plausible(value: Float[np.ndarray, "*pixel channel"]) -> Bool[np.ndarray, "*pixel channel"]:
    """True where backscatter (all channels but the last) and NDVI are numbers that can be."""
    low = np.full(value.shape[-1], RADAR_DB[0])
    high = np.full(value.shape[-1], RADAR_DB[1])
    low[NDVI], high[NDVI] = NDVI_RANGE
    # NaN compares False
    return (value >= low) & (value <= high)


def regional_curve(series: Series) -> Curve:
    """Mean over the pixels of each output on each date; linear over dates that have none.

    Raises:
      ValueError: an output without any valid value.
    """
    day = np.asarray(series.day, np.float64)
    valid = np.asarray(series.valid)
    count = valid.sum(axis=0)
    total = np.where(valid, series.value, 0.0).sum(axis=0, dtype=np.float64)
    curve = np.empty(count.shape)
    for output in range(count.shape[1]):
        some = count[:, output] > 0
        if not some.any():
            raise ValueError(f"training values of output {output}: got none valid, expected some")
        mean = total[some, output] / count[some, output]
        curve[:, output] = np.interp(day, day[some], mean)
    return Curve(day, curve)


def on_days(curve: Curve, days: Float[np.ndarray, "query"]) -> Float[np.ndarray, "query output"]:
    """The curve on other days; those of another year at their season."""
    days = fold(np.asarray(days, np.float64), curve.day[0], curve.day[-1])
    return np.stack([np.interp(days, curve.day, c) for c in curve.value.T], axis=-1)
