"""Outputs of the process: channel selection, plausibility limits, prior mean, z-scores."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax.compositing import fold_to_season
from s1jax.features import check_days, plausible_ndvi, plausible_radar
from s1jax.gp import Hyper, Observations
from s1jax.mogpr.config import INPUTS, Curve
from s1jax.types import Series

NDVI = -1
"""Index of the NDVI among the outputs."""
_FEWEST = 5
"""Values from which on an output's own mean and standard deviation are used."""
LEAST_STD = 0.01
"""Standard deviation, in units of the output, up to which an output counts as constant."""
FURTHEST = 5.0
"""z-score by the region's mean and std beyond which radar is left out."""
Channels = tuple[tuple[int, int], ...]
"""Look and channel of each radar output."""


def channels_of(series: Series, inputs: str) -> Channels:
    """Look and channel of the radar that a name of `INPUTS` selects.

    Raises:
      ValueError: an unknown name, or the series has no such channels.
    """
    looks, channels = series.radar.shape[-2:]
    if inputs not in INPUTS:
        raise ValueError(f"inputs: got {inputs!r}, expected one of {INPUTS}")
    if inputs == "none":
        return ()
    kind, _, orbit = inputs.partition(":")
    look = 1 if kind == "smooth" else 0
    if look >= looks:
        raise ValueError(f"inputs: got {inputs!r}, but the series has no speckle-filtered channels")
    first = 2 * (int(orbit) - 1) if orbit else 0
    last = first + 2 if orbit else channels
    if last > channels:
        raise ValueError(f"inputs: got {inputs!r}, but the series has {channels // 2} orbit(s)")
    return tuple((look, channel) for channel in range(first, last))


def available(series: Series) -> tuple[str, ...]:
    """The names of `INPUTS` with radar that this series has, the simplest first."""
    looks, channels = series.radar.shape[-2:]
    kinds = ("raw", "smooth")[:looks]
    orbits = ("", ":1", ":2") if channels >= 4 else ("",)
    return tuple(kind + orbit for kind in kinds for orbit in orbits)


def outputs_of(series: Series, inputs: Channels) -> tuple[Observations, Bool[np.ndarray, "pixel"]]:
    """The outputs of many pixels, plausible values alone, and the pixels that have others.

    Raises:
      ValueError: the series has no such channel, or its days do not ascend.
    """
    check_days(series, repeats=True)
    looks, channels = series.radar.shape[-2:]
    look = max((look for look, _ in inputs), default=0)
    channel = max((channel for _, channel in inputs), default=-1)
    if channel >= channels:
        raise ValueError(f"series.radar: got {channels} channels, expected {channel + 1}")
    if look >= looks:
        got = "got no speckle-filtered look" if looks == 1 else f"got {looks} looks"
        raise ValueError(f"series.radar: {got}, expected {look + 1} looks")
    radar, ndvi = np.asarray(series.radar), np.asarray(series.ndvi)
    valid = np.asarray(series.radar_valid)
    value = np.stack([*(radar[..., look, channel] for look, channel in inputs), ndvi], axis=-1)
    seen = [*(valid[..., channel] for _, channel in inputs), np.asarray(series.ndvi_valid)]
    seen = np.stack(seen, axis=-1)
    plausible = plausible_radar(value)
    plausible[..., NDVI] = plausible_ndvi(ndvi)
    used = seen & plausible
    observations = Observations(np.asarray(series.day), np.where(used, value, 0.0), used)
    return observations, np.any(seen & ~plausible, axis=(1, 2))


def check_labels(series: Series) -> None:
    """Refuse training pixels none of which has a plausible NDVI (ValueError)."""
    ndvi = np.asarray(series.ndvi)
    if not (np.asarray(series.ndvi_valid) & plausible_ndvi(ndvi)).any():
        raise ValueError(
            f"S2ndvi: got no label in any of {len(ndvi)} training pixels, expected some to learn "
            "from; the network that s1jax ships (s1jax.pretrained, networks.predict) needs none"
        )


def check_hyper(hyper: Hyper) -> None:
    """Refuse hyperparameters that no process has, infinite or negative ones (ValueError)."""
    hyper = Hyper(*map(np.asarray, hyper))
    for name, bad, size in (
        ("lengthscale", hyper.lengthscale <= 0.0, " above 0"),
        ("mixing", False, ""),
        ("kappa", hyper.kappa < 0.0, " not below 0"),
        ("noise", hyper.noise < 0.0, " not below 0"),
    ):
        leaf = getattr(hyper, name)
        if (bad := bad | ~np.isfinite(leaf)).any():
            got = leaf[bad].flat[0]
            raise ValueError(f"hyper.{name}: got {got}, expected finite numbers{size}")


class Standardised(NamedTuple):
    """z-scored outputs of a pixel."""

    value: Float[Array, "time output"]
    """0 where not valid."""
    valid: Bool[Array, "time output"]
    mean: Float[Array, "output"]
    """Subtracted, in units of the output."""
    std: Float[Array, "output"]
    """Divided by, in units of the output."""
    region_scale: Bool[Array, "output"]
    """True where the pixel has fewer than five values, or constant ones: these are the region's."""
    far: Bool[Array, ""]
    """True where radar beyond `furthest` was left out."""


def standardise(
    value: Float[Array, "time output"],
    valid: Bool[Array, "time output"],
    region_mean: Float[Array, "output"],
    region_std: Float[Array, "output"],
    *,
    by_pixel: bool,
    furthest: float = FURTHEST,
) -> Standardised:
    """Equation (1) of docs/concepts/gp.md for each output of one pixel.

    Mean and population standard deviation are the region's, or with `by_pixel` of the output's own
    valid values where there are five or more of them with std > 0.01. Radar that is z-scored by the
    region is left out beyond `furthest`: a constant fill would else pull the NDVI to its limit.
    """
    value = jnp.where(valid, value, 0.0)
    count = jnp.sum(valid, axis=0).astype(value.dtype)
    divisor = jnp.maximum(count, 1.0)
    pixel_mean = jnp.sum(value, axis=0) / divisor
    deviation = jnp.where(valid, value - pixel_mean[None, :], 0.0)
    pixel_std = jnp.sqrt(jnp.sum(jnp.square(deviation), axis=0) / divisor)
    region_scale = (count < _FEWEST) | (pixel_std <= LEAST_STD)
    by_region = region_scale | (not by_pixel)
    mean = jnp.where(by_region, region_mean, pixel_mean)
    std = jnp.where(by_region, region_std, pixel_std)
    z = jnp.where(valid, (value - mean[None, :]) / std[None, :], 0.0)
    radar = jnp.arange(count.size) < count.size - 1
    far = valid & (by_region & radar)[None, :] & (jnp.abs(z) > furthest)
    return Standardised(jnp.where(far, 0.0, z), valid & ~far, mean, std, region_scale, jnp.any(far))


@partial(jax.jit, static_argnames=("by_pixel", "furthest"))
def standardise_pixels(
    value, valid, region_mean, region_std, *, by_pixel: bool, furthest: float = FURTHEST
) -> Standardised:
    """`standardise` of every pixel."""

    def _pixel(value, valid):
        return standardise(
            value, valid, region_mean, region_std, by_pixel=by_pixel, furthest=furthest
        )

    return jax.vmap(_pixel)(value, valid)


def regional_curve(observations: Observations) -> Curve:
    """Mean over the pixels of each output on each date; linear over dates that have none.

    Raises:
      ValueError: an output without any valid value.
    """
    day = np.asarray(observations.day, np.float64)
    valid = np.asarray(observations.valid)
    count = valid.sum(axis=0)
    total = np.where(valid, observations.value, 0.0).sum(axis=0, dtype=np.float64)
    curve = np.empty(count.shape)
    for output in range(count.shape[1]):
        dated = count[:, output] > 0
        if not dated.any():
            raise ValueError(f"training values of output {output}: got none valid, expected some")
        mean = total[dated, output] / count[dated, output]
        curve[:, output] = np.interp(day, day[dated], mean)
    return Curve(day, curve)


def on_days(curve: Curve, days: Float[np.ndarray, "query"]) -> Float[np.ndarray, "query output"]:
    """The curve on other days; those of another year at their season."""
    days = fold_to_season(np.asarray(days, np.float64), curve.day[0], curve.day[-1])
    return np.stack([np.interp(days, curve.day, c) for c in curve.value.T], axis=-1)
