"""What a method sees: indices of powers, a date and its neighbours, and which values are plausible.

Every function is written for one pixel or row; what has `*n` in its shape takes many.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax.types import Days, Series

_Array = Array | np.ndarray
RADAR_DB = (-80.0, 40.0)
"""Backscatter outside is no measurement, dB."""
NDVI_RANGE = (-1.5, 1.5)
"""NDVI outside is no measurement; noise may carry a true one past 1."""

SINGLE_DATE = ("vv", "vh", "rvi")
"""Features of the single-date baseline."""

WITH_PREVIOUS = (
    *SINGLE_DATE, "vv_previous", "vh_previous", "vv_backward_difference", "vh_backward_difference",
    "vv_over_vh", "vh_over_vv", "vv_times_vh",
)  # fmt: skip
"""The ten features: the date and the one before it; four numbers in ten columns."""

WITH_NEIGHBOURS = (
    *WITH_PREVIOUS, "vv_next", "vh_next", "vv_forward_difference", "vh_forward_difference",
    "vv_average", "vh_average",
)  # fmt: skip
"""The ten, and what they leave out: the date after."""


def to_db(power: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Decibels of a linear power, 10 log10(power)."""
    return 10.0 * jnp.log10(power)


def from_db(db: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Linear power of a value in decibels, 10^(db / 10)."""
    return 10.0 ** (db / 10.0)


def ndvi(red: Float[Array, "*n"], nir: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Normalised difference vegetation index of reflectances, (nir - red) / (nir + red).

    In Sentinel-2 the red is B4 and the near infrared B8.
    """
    return (nir - red) / (nir + red)


def rvi(vv: Float[Array, "*n"], vh: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Dual-polarisation radar vegetation index of linear powers, 4 vh / (vv + vh), in [0, 4].

    Zero for a surface that does not depolarise, 2 where both polarisations are equal.
    """
    return 4.0 * vh / (vv + vh)


def dprvi(vv: Float[Array, "*n"], vh: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Dual-polarisation radar vegetation index of intensities (DpRVIc), q (q + 3) / (q + 1)^2.

    q = vh / vv is the ratio of the linear powers, taken as not above 1, so that the index lies in
    [0, 1]: 0 for a pure scatterer, 1 for full depolarisation.
    """
    q = jnp.minimum(vh / vv, 1.0)
    return q * (q + 3.0) / (q + 1.0) ** 2


def table(
    names: tuple[str, ...],
    vv_db: Sequence[Float[Array, "*n"]],
    vh_db: Sequence[Float[Array, "*n"]],
    *,
    indices_from_db: bool = False,
) -> Float[Array, "*n feature"]:
    """The features `names` as columns, in their order.

    Backscatter, its neighbours and differences are in dB: of the dates p, c, n the differences
    c - p and n - c, and the average (p + c + n) / 3. `rvi`, `vv_over_vh`, `vh_over_vv` and
    `vv_times_vh` are computed from linear power.

    Args:
      names: `SINGLE_DATE`, `WITH_PREVIOUS`, `WITH_NEIGHBOURS`, or any other choice of their names.
      vv_db: VV backscatter of the date before, the date itself and the one after, dB.
      vh_db: VH likewise.
      indices_from_db: compute the four indices on dB values, as if they were powers. It has no
        physical meaning and is kept to reproduce published baselines.

    Raises:
      ValueError: an unknown name.
    """
    vv, vh = vv_db[1], vh_db[1]
    if not indices_from_db:
        vv, vh = from_db(vv), from_db(vh)
    columns = {"rvi": rvi(vv, vh), "vv_over_vh": vv / vh, "vh_over_vv": vh / vv}
    columns["vv_times_vh"] = vv * vh
    for name, (previous, current, following) in {"vv": vv_db, "vh": vh_db}.items():
        columns |= {
            name: current,
            f"{name}_previous": previous,
            f"{name}_next": following,
            f"{name}_backward_difference": current - previous,
            f"{name}_forward_difference": following - current,
            f"{name}_average": (previous + current + following) / 3.0,
        }
    unknown = [name for name in names if name not in columns]
    if unknown:
        raise ValueError(f"features: got unknown {unknown}, expected names among {sorted(columns)}")
    return jnp.stack([columns[name] for name in names], axis=-1)


def plausible_radar(radar_db: Float[_Array, "*n"]) -> Bool[_Array, "*n"]:
    """True where backscatter (dB) lies in `RADAR_DB`; a NaN does not."""
    return _within(radar_db, RADAR_DB)


def plausible_ndvi(ndvi: Float[_Array, "*n"]) -> Bool[_Array, "*n"]:
    """True where NDVI lies in `NDVI_RANGE`; a NaN does not."""
    return _within(ndvi, NDVI_RANGE)


def _within(value, bounds):
    low, high = (np.full((1,) * value.ndim, bound, value.dtype) for bound in bounds)
    return (value >= low) & (value <= high)


def without_implausible(series: Series) -> tuple[Series, Bool[np.ndarray, "pixel"]]:
    """The series where an implausible value is not valid, and the pixels that have such values.

    A radar value counts as plausible where all its looks are.
    """
    radar_valid, ndvi_valid = np.asarray(series.radar_valid), np.asarray(series.ndvi_valid)
    radar_lost = radar_valid & ~plausible_radar(np.asarray(series.radar)).all(axis=-2)
    ndvi_lost = ndvi_valid & ~plausible_ndvi(np.asarray(series.ndvi))
    affected = np.asarray(radar_lost.any(axis=(1, 2)) | ndvi_lost.any(axis=1))
    if not affected.any():
        return series, affected
    masks = {"radar_valid": radar_valid & ~radar_lost, "ndvi_valid": ndvi_valid & ~ndvi_lost}
    return series._replace(**masks), affected


def check_days(series: Series, days: Days | None = None, *, repeats: bool = False) -> None:
    """Refuse a series whose days are not its dates in order, and query days that are no numbers.

    With `repeats` one day may be there several times (a process takes both as observations).

    Raises:
      ValueError: arrays whose shapes do not belong together, no date, another number of days than
        dates, what `check_ascending` refuses, or one of `days` that is not finite.
    """
    _check_shapes(series)
    day, dates = np.shape(series.day), series.ndvi.shape[1]
    if day != (dates,) or dates == 0:
        raise ValueError(
            f"series.day: got shape {day}, expected one day for each of {dates} dates, 1+"
        )
    check_ascending("series.day", series.day, repeats=repeats)
    if days is not None:
        _check_finite("days", np.asarray(days))


def check_ascending(name: str, days: Days, *, repeats: bool = False) -> None:
    """Refuse days that are not finite or not later than the one before (`repeats`: before it).

    Raises:
      ValueError: with the name, the day and its index.
    """
    day = np.asarray(days)
    _check_finite(name, day)
    gap = np.diff(day)
    back = np.flatnonzero(gap < 0 if repeats else gap <= 0)
    if back.size:
        k = back[0]
        order = "none earlier" if repeats else "each day later"
        raise ValueError(
            f"{name}: got {float(day[k + 1]):.10g} after {float(day[k]):.10g} at index {k + 1}, "
            f"expected {order} than the one before"
        )


def _check_shapes(series):
    """Refuse arrays of many pixels whose shapes do not belong together."""
    pixel, channel = series.ndvi.shape, series.radar_valid.shape[-1:]
    if len(pixel) != 2:
        raise ValueError(f"series.ndvi: got shape {pixel}, expected (pixel, date)")
    expected = {
        "ndvi_valid": pixel,
        "radar_valid": (*pixel, *channel),
        "radar": (*pixel, *series.radar.shape[2:3], *channel),
    }
    for name, shape in expected.items():
        got = getattr(series, name).shape
        if got != shape:
            raise ValueError(f"series.{name}: got shape {got}, expected {shape}")


def _check_finite(name, day):
    wrong = np.flatnonzero(~np.isfinite(day))
    if wrong.size:
        got = f"{day[wrong[0]]} at index {wrong[0]}"
        raise ValueError(f"{name}: got {got}, expected finite numbers, days since 1970-01-01")


def orbit_mean(
    series: Series,
) -> tuple[Float[Array, "*pixel time 2"], Bool[Array, "*pixel time"]]:
    """VV and VH in dB as observed, averaged over the orbits in linear power; where any has both.

    10 log10(mean of 10^(x / 10) over the valid orbits); 0 dB where no orbit is valid.

    Raises:
      ValueError: channels that are not VV and VH of each orbit.
    """
    *lead, channels = series.radar_valid.shape
    if channels % 2 or not channels:
        raise ValueError(f"channels: got {channels}, expected VV and VH of each orbit")
    shape = (*lead, channels // 2, 2)
    radar = jnp.reshape(jnp.asarray(series.radar)[..., 0, :], shape)
    valid = jnp.reshape(jnp.asarray(series.radar_valid), shape).all(-1)
    count = valid.sum(-1)[..., None].astype(radar.dtype)
    power = jnp.where(valid[..., None], from_db(radar), 0.0).sum(-2) / jnp.maximum(count, 1.0)
    seen = valid.any(-1)
    return to_db(jnp.where(seen[..., None], power, 1.0)), seen
