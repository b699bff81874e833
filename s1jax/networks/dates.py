"""What a sequence network sees of each date: radar at three speckle levels, NDVI where known."""

import logging
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax.features import check_days
from s1jax.types import NDVI, Days, Series

log = logging.getLogger("s1jax")
ORBITS = 2
"""Orbits that a network has places for; what a cube has not is never seen."""
LOOKS = 3
"""Radar as observed, and its means over 3 x 3 and 7 x 7 pixels."""
CHANNELS = LOOKS * 2 * ORBITS + ORBITS + 2 + 2
"""Numbers of a date: radar, is each orbit seen, NDVI and is it known, days around."""
CENTRE, SPAN = 0.5, 0.25
"""Of NDVI, 1."""
_STEP, _FAR = 12.0, 5.0
"""Days in which distances between dates are told, and how many of them are told apart."""


class Dates(NamedTuple):
    """Pixels as a sequence network reads them, radar in dB."""

    day: Float[Array, "#pixel time"]
    """One row for all, or one for each."""
    radar: Float[Array, "pixel time look 4"]
    """VV, VH of the first orbit, then of the second, dB; 0 where not seen."""
    seen: Bool[Array, "pixel time 2"]
    """True where an orbit has VV and VH."""
    ndvi: Float[Array, "pixel time"]
    """0 where there is none."""
    label: Bool[Array, "pixel time"]
    """True where there is an NDVI."""
    truth: Float[Array, "pixel time"] | None = None
    """True NDVI, which only a simulation knows."""


class Moments(NamedTuple):
    """Mean and standard deviation of radar, over the valid values of a region, dB."""

    mean: Float[Array, "look 4"]
    std: Float[Array, "look 4"]
    """0 of what the region has not, and which is therefore not looked at elsewhere."""


def dates(series: Series) -> Dates:
    """The arrays of many pixels; without filtered radar all looks are the observed one.

    Raises:
      ValueError: channels are not VV and VH of one or two orbits and NDVI.
    """
    channels = _checked(series)
    value, valid = (jnp.asarray(leaf) for leaf in (series.value, series.valid))
    dtype = value.dtype
    pairs = valid[..., :NDVI].reshape(*valid.shape[:2], -1, 2).all(-1)
    here = jnp.repeat(pairs, 2, axis=-1)
    observed = value[..., :NDVI]
    looks = (observed if look is None else look for look in (None, series.smooth, series.wide))
    looks = [jnp.where(here, jnp.asarray(look, dtype), 0.0) for look in looks]
    radar = jnp.stack(looks, axis=2)
    none = (0, 2 * ORBITS - (channels - 1))
    label = valid[..., NDVI]
    return Dates(
        jnp.asarray(series.day, dtype)[None],
        jnp.pad(radar, ((0, 0), (0, 0), (0, 0), none)),
        jnp.pad(pairs, ((0, 0), (0, 0), (0, none[1] // 2))),
        jnp.where(label, value[..., NDVI], 0.0),
        label,
    )


def moments(found: Dates) -> Moments:
    """Mean and standard deviation of each look and channel; 0 and 0 where none is seen."""
    return _moments(_sums(found), found.radar.dtype)


def region_moments(series: Series, *, chunk: int = 4096) -> Moments:
    """`moments(dates(series))`, `chunk` pixels at a time: memory does not grow with the region."""
    many = series._replace(day=None, place=None)
    sums = np.zeros(())
    for start in range(0, len(series.value), chunk):
        part = jax.tree.map(lambda leaf, i=start: leaf[i : i + chunk], many)
        found = dates(part._replace(day=series.day))
        sums = sums + _sums(found)
    return _moments(sums, found.radar.dtype)


def _sums(found):
    """Number of values, their sum and that of their squares, of each look and channel."""
    radar = np.asarray(found.radar, np.float64)
    here = np.repeat(np.asarray(found.seen), 2, axis=-1)[:, :, None] & np.ones(radar.shape, bool)
    return np.stack([(here * power).sum((0, 1)) for power in (1.0, radar, radar**2)])


def _moments(sums, dtype):
    count, total, square = sums
    mean = total / np.maximum(count, 1.0)
    std = np.sqrt(np.maximum(square / np.maximum(count, 1.0) - mean**2, 0.0))
    # of a constant there is no spread to divide by; 0 says that there is nothing at all
    std = np.where(std > 0.0, std, 1.0) * (count > 0.0)
    return Moments(*(jnp.asarray(x, dtype) for x in (mean, std)))


def standardise(found: Dates, by: Moments) -> Dates:
    """The pixels with z-scores for radar, (x - mean) / std, 0 where not seen.

    An orbit without moments is one that the training region has not: it counts as not seen.
    """
    seen = found.seen & orbits(by.std[0])[None, None]
    here = jnp.repeat(seen, 2, axis=-1)[:, :, None]
    z = (found.radar - by.mean[None, None]) / jnp.where(by.std > 0.0, by.std, 1.0)[None, None]
    return found._replace(radar=jnp.where(here, z, 0.0), seen=seen)


def suited(by: Moments | None, series: Series) -> tuple[Moments, Series]:
    """Moments and series with the filtered radar that both have; the log says what is left aside.

    A look that only one of them has is replaced by the observed one and by its moments: z-scores of
    observed radar by the smaller spread of its 7 x 7 means would be of no radar there is.

    Raises:
      ValueError: no moments, or channels other than VV and VH of one or two orbits and NDVI.
    """
    if by is None:
        raise ValueError("moments of the radar: got none, expected those that `adapt` tells")
    left_aside(by, series)
    mean, std = (np.array(leaf) for leaf in by)
    looks = [series.smooth, series.wide]
    for look, name in ((1, "smooth"), (2, "wide")):
        taught = (mean[look] != mean[0]).any() or (std[look] != std[0]).any()
        if taught != (looks[look - 1] is not None):
            got, expected = ("none", "some") if taught else ("some", "none")
            log.warning(
                "series.%s: got %s, expected %s as in the region of the moments; the observed "
                "radar stands in", name, got, expected,
            )  # fmt: skip
            mean[look], std[look], looks[look - 1] = mean[0], std[0], None
    moments_ = Moments(*(jnp.asarray(leaf) for leaf in (mean, std)))
    return moments_, series._replace(smooth=looks[0], wide=looks[1])


def left_aside(by: Moments, series: Series) -> None:
    """Tell the log which orbits of a series `standardise` leaves aside, for want of moments.

    Raises:
      ValueError: channels are not VV and VH of one or two orbits and NDVI.
    """
    pairs = (_checked(series) - 1) // 2
    valid = np.asarray(series.valid)[..., :NDVI].any((0, 1)).reshape(pairs, 2).all(-1)
    for orbit in np.flatnonzero(valid & ~np.asarray(orbits(by.std[0]))[:pairs]):
        log.warning("orbit %d: the training region has no such radar, it is left aside", orbit + 1)


def check_series(series: Series, days: Days | None = None) -> None:
    """Refuse a series that no network of two orbits can read, and days that are no numbers.

    Raises:
      ValueError: channels are not VV and VH of one or two orbits and NDVI, or what
        `features.check_days` raises.
    """
    _checked(series)
    check_days(series, days)


def _checked(series):
    """Its number of channels."""
    channels = series.value.shape[-1]
    if channels not in (3, 5):
        raise ValueError(
            f"channels: got {channels}, expected 3 or 5: VV, VH of one or two orbits, NDVI; "
            "cube.align_cube joins further orbits by direction, in linear power"
        )
    return channels


def orbits(std: Float[Array, "4"]) -> Bool[Array, "2"]:
    """Which orbits have moments of VV and VH."""
    return (std > 0.0).reshape(ORBITS, 2).all(-1)


def channels(part: Dates, known: Bool[Array, "pixel time"]) -> Float[Array, "time pixel channel"]:
    """The numbers of every date, time first: what the network is called with.

    The date itself is not among them: what a day of the year taught in one district would not hold
    in another. Ratios of the polarisations need none of their own: in dB they are differences,
    which the first layer takes. NDVI is (NDVI - 0.5) / 0.25.

    Args:
      part: pixels, their radar standardised.
      known: NDVI that may be seen.
    """
    pixels, dates_ = known.shape
    dtype = part.radar.dtype
    ndvi = jnp.where(known, scaled(part.ndvi), 0.0)
    step = jnp.minimum(jnp.diff(part.day) / _STEP, _FAR)
    around = [jnp.pad(step, ((0, 0), side)) for side in ((1, 0), (0, 1))]
    columns = [
        part.radar.reshape(pixels, dates_, -1),
        part.seen.astype(dtype),
        jnp.stack([ndvi, known.astype(dtype)], -1),
        jnp.broadcast_to(jnp.stack(around, -1), (pixels, dates_, 2)),
    ]
    return jnp.concatenate(columns, axis=-1).swapaxes(0, 1)


def scaled(ndvi: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """NDVI as networks see it, (NDVI - 0.5) / 0.25: fixed, so that they carry over."""
    return (ndvi - CENTRE) / SPAN
