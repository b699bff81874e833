"""Inputs of a sequence network: radar at three speckle levels, valid NDVI, days between dates."""

import logging
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax.features import check_days
from s1jax.types import Days, Series

log = logging.getLogger("s1jax")
ORBITS = 2
"""Orbits that a network has inputs for; an orbit that a cube lacks is never seen."""
LOOKS = 3
"""Radar as observed, and its means over 3 x 3 and 7 x 7 pixels."""
CHANNELS = LOOKS * 2 * ORBITS + ORBITS + 2 + 2
"""Numbers of a date: radar, is each orbit seen, NDVI and is it visible, days around."""
CENTRE, SPAN = 0.5, 0.25
"""Of NDVI."""
WITHOUT = (
    "without labels, networks.adapt and networks.predict serve the weights of s1jax.pretrained()"
)
"""Advice for a region that has none."""
_STEP, _FAR = 12.0, 5.0
"""Unit of the distance between dates, days, and its largest value."""


class NetworkInput(NamedTuple):
    """Pixels as a sequence network reads them, radar in dB (or z-scores: `standardise`)."""

    day: Float[Array, "#pixel time"]
    """One row for all, or one for each."""
    radar: Float[Array, "pixel time look 4"]
    """VV, VH of the first orbit, then of the second; 0 where not seen."""
    seen: Bool[Array, "pixel time 2"]
    """True where an orbit has VV and VH."""
    ndvi: Float[Array, "pixel time"]
    """0 where there is none."""
    label: Bool[Array, "pixel time"]
    """True where there is an NDVI."""
    truth: Float[Array, "pixel time"] | None = None
    """True NDVI, of a simulation."""


class Moments(NamedTuple):
    """Mean and standard deviation of radar, over the valid values of a region, dB."""

    mean: Float[Array, "look 4"]
    std: Float[Array, "look 4"]
    """0 of orbits that the region lacks; a network ignores them elsewhere."""


def network_input(series: Series) -> NetworkInput:
    """The arrays of many pixels; a look that the series lacks is the observed one.

    Raises:
      ValueError: channels are not VV and VH of one or two orbits, or more than three looks.
    """
    orbits_, looks = _checked(series)
    radar, valid = jnp.asarray(series.radar), jnp.asarray(series.radar_valid)
    dtype, label = radar.dtype, jnp.asarray(series.ndvi_valid)
    seen = valid.reshape(*valid.shape[:2], -1, 2).all(-1)
    here = jnp.repeat(seen, 2, axis=-1)[:, :, None]
    radar = jnp.concatenate([radar] + [radar[:, :, :1]] * (LOOKS - looks), axis=2)
    more = ORBITS - orbits_
    return NetworkInput(
        jnp.asarray(series.day, dtype)[None],
        jnp.pad(jnp.where(here, radar, 0.0), ((0, 0), (0, 0), (0, 0), (0, 2 * more))),
        jnp.pad(seen, ((0, 0), (0, 0), (0, more))),
        jnp.where(label, jnp.asarray(series.ndvi, dtype), 0.0),
        label,
    )


def moments(inputs: NetworkInput) -> Moments:
    """Mean and standard deviation of each look and channel; 0 and 0 where none is seen."""
    return _moments(_sums(inputs), inputs.radar.dtype)


def region_moments(series: Series, *, chunk: int = 4096) -> Moments:
    """`moments(network_input(series))`, `chunk` pixels at a time: memory does not grow."""
    sums = np.zeros(())
    for start in range(0, len(series.ndvi), chunk):
        sums = sums + _sums(network_input(series.take(slice(start, start + chunk))))
    return _moments(sums, jax.dtypes.canonicalize_dtype(series.radar.dtype))


def _sums(inputs):
    """Number of values, their sum and that of their squares, of each look and channel."""
    radar = np.asarray(inputs.radar, np.float64)
    here = np.repeat(np.asarray(inputs.seen), 2, axis=-1)[:, :, None] & np.ones(radar.shape, bool)
    return np.stack([(here * power).sum((0, 1)) for power in (1.0, radar, radar**2)])


def _moments(sums, dtype):
    count, total, square = sums
    mean = total / np.maximum(count, 1.0)
    std = np.sqrt(np.maximum(square / np.maximum(count, 1.0) - mean**2, 0.0))
    # of a constant there is no spread to divide by; 0 marks that there is nothing at all
    std = np.where(std > 0.0, std, 1.0) * (count > 0.0)
    return Moments(*(jnp.asarray(x, dtype) for x in (mean, std)))


def standardise(inputs: NetworkInput, by: Moments) -> NetworkInput:
    """The pixels with z-scores of radar, (x - mean) / std, 0 where not seen.

    An orbit without moments is one that the training region lacks: it counts as not seen.
    """
    seen = inputs.seen & orbits(by.std[0])[None, None]
    here = jnp.repeat(seen, 2, axis=-1)[:, :, None]
    z = (inputs.radar - by.mean[None, None]) / jnp.where(by.std > 0.0, by.std, 1.0)[None, None]
    return inputs._replace(radar=jnp.where(here, z, 0.0), seen=seen)


def match_looks(by: Moments | None, series: Series) -> tuple[Moments, Series]:
    """Moments and series with the looks that both have; the log names those left out.

    The observed look and its moments replace a look that only one of them has: the smaller spread
    of 7 x 7 means would make no z-scores of observed radar.

    Raises:
      ValueError: no moments, or channels other than VV and VH of one or two orbits.
    """
    if by is None:
        raise ValueError("moments of the radar: got none, expected those of `adapt`")
    warn_unused_orbits(by, series)
    mean, std = (np.array(leaf) for leaf in by)
    looks = series.radar.shape[-2]
    kept = [0, *range(1, looks)]
    for look in range(1, LOOKS):
        filtered = (mean[look] != mean[0]).any() or (std[look] != std[0]).any()
        if filtered != (look < looks):
            got, expected = ("none", "some") if filtered else ("some", "none")
            log.warning(
                "series.radar: look %d: got %s, expected %s as in the region of the moments; the "
                "observed radar replaces it", look, got, expected,
            )  # fmt: skip
            mean[look], std[look] = mean[0], std[0]
            kept[look:] = [0 if k == look else k for k in kept[look:]]
    while len(kept) > 1 and kept[-1] == 0:
        kept.pop()
    if kept != [*range(looks)]:
        series = series._replace(radar=series.radar[..., kept, :])
    return Moments(*(jnp.asarray(leaf) for leaf in (mean, std))), series


def warn_unused_orbits(by: Moments, series: Series) -> None:
    """Log which orbits of a series `standardise` ignores, for want of moments."""
    count, _ = _checked(series)
    valid = np.asarray(series.radar_valid).any((0, 1)).reshape(count, 2).all(-1)
    for orbit in np.flatnonzero(valid & ~np.asarray(orbits(by.std[0]))[:count]):
        log.warning("orbit %d: the training region has no such radar, it is left aside", orbit + 1)


def check_series(series: Series, days: Days | None = None) -> None:
    """ValueError where channels are not VV and VH of one or two orbits, for more than three looks,
    and for what `features.check_days` refuses."""
    _checked(series)
    check_days(series, days)


def _checked(series):
    """Its number of orbits and of looks."""
    channels = series.radar_valid.shape[-1]
    if channels not in (2, 4):
        raise ValueError(
            f"channels: got {channels}, expected 2 or 4: VV, VH of one or two orbits; "
            "cube.align_cube joins further orbits by direction, in linear power"
        )
    looks = series.radar.shape[-2]
    if not 1 <= looks <= LOOKS:
        raise ValueError(f"looks: got {looks}, expected 1 to {LOOKS}")
    return channels // 2, looks


def orbits(std: Float[Array, "4"]) -> Bool[Array, "2"]:
    """Which orbits have moments of VV and VH."""
    return (std > 0.0).reshape(ORBITS, 2).all(-1)


def columns(
    inputs: NetworkInput, visible: Bool[Array, "pixel time"]
) -> Float[Array, "time pixel channel"]:
    """The numbers of every date, time first: the argument of the network.

    The date itself is not among them: what a day of the year means in one district differs in
    another. Ratios of the polarisations need none of their own: in dB they are differences, which
    the first layer takes. Radar is standardised, NDVI `scaled`, and 0 where not visible.
    """
    pixels, dates = visible.shape
    dtype = inputs.radar.dtype
    ndvi = jnp.where(visible, scaled(inputs.ndvi), 0.0)
    step = jnp.minimum(jnp.diff(inputs.day) / _STEP, _FAR)
    around = [jnp.pad(step, ((0, 0), side)) for side in ((1, 0), (0, 1))]
    parts = [
        inputs.radar.reshape(pixels, dates, -1),
        inputs.seen.astype(dtype),
        jnp.stack([ndvi, visible.astype(dtype)], -1),
        jnp.broadcast_to(jnp.stack(around, -1), (pixels, dates, 2)),
    ]
    return jnp.concatenate(parts, axis=-1).swapaxes(0, 1)


def scaled(ndvi: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """NDVI as networks see it, (NDVI - 0.5) / 0.25: fixed, so that weights carry over."""
    return (ndvi - CENTRE) / SPAN


def take_pixels(inputs: NetworkInput, index) -> NetworkInput:
    """Some of the pixels."""
    day = inputs.day if len(inputs.day) == 1 else inputs.day[index]
    return NetworkInput(day, *(None if leaf is None else leaf[index] for leaf in inputs[1:]))
