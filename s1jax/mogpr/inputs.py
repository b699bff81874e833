"""The outputs of the process: which channels of a Series, what of them is plausible, less what."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from s1jax.align import fold
from s1jax.features import check_days, plausible
from s1jax.gp import Hyper
from s1jax.mogpr.config import INPUTS, Curve
from s1jax.types import NDVI, Series

_Array = Array | np.ndarray
_FILTERED = -2
"""Place of radar channel c, filtered: -2 - c, whatever the number of channels."""


def channels(series: Series, inputs: str) -> Int[np.ndarray, "output"]:
    """Places of the outputs that `inputs` names, as `MogprParams.channel` has them.

    Raises:
      ValueError: unknown, or the series has none such.
    """
    radar = series.value.shape[-1] - 1
    if inputs not in INPUTS:
        raise ValueError(f"inputs: got {inputs!r}, expected one of {INPUTS}")
    if inputs == "none":
        return np.array([NDVI])
    kind, _, orbit = inputs.partition(":")
    if kind == "smooth" and series.smooth is None:
        raise ValueError(f"inputs: got {inputs!r}, but the series has no speckle-filtered channels")
    first = 2 * (int(orbit) - 1) if orbit else 0
    last = first + 2 if orbit else radar
    if last > radar:
        raise ValueError(f"inputs: got {inputs!r}, but the series has {radar // 2} orbit(s)")
    place = np.arange(first, last)
    return np.append(_FILTERED - place if kind == "smooth" else place, NDVI)


def available(series: Series) -> tuple[str, ...]:
    """What `inputs` may be for this series, the simplest first."""
    kinds = ("raw",) if series.smooth is None else ("raw", "smooth")
    orbits = ("", ":1", ":2") if series.value.shape[-1] >= 5 else ("",)
    return tuple(kind + orbit for kind in kinds for orbit in orbits)


def pick(series: Series, channel: Int[np.ndarray, "output"]) -> Series:
    """The series of the outputs at `channel`; what is not a plausible number is not valid.

    Raises:
      ValueError: the series has no such channel, or its days do not ascend.
    """
    check(series, channel)
    value, valid = picked(*series[1:3], series.smooth, channel=tuple(channel.tolist()))
    return Series(np.asarray(series.day), np.asarray(value), np.asarray(valid))


def check(series: Series, channel: Int[np.ndarray, "output"]) -> None:
    """Refuse a series without such channels, or with days that do not ascend (ValueError)."""
    radar, place = series.value.shape[-1] - 1, source(channel)
    if place.max(initial=0) >= radar:
        raise ValueError(f"series.value: got {radar} radar channels, expected {place.max() + 1}")
    if (channel < NDVI).any() and series.smooth is None:
        raise ValueError("series.smooth: got none, expected the speckle-filtered channels")
    check_days(series, repeats=True)


def check_labels(series: Series) -> None:
    """Refuse training pixels none of which has an NDVI that can be (ValueError)."""
    ndvi = np.asarray(series.value)[..., NDVI:]
    if not (np.asarray(series.valid)[..., NDVI:] & plausible(ndvi)).any():
        raise ValueError(
            f"S2ndvi: got no label in any of {len(ndvi)} training pixels, expected some to learn "
            "from; the network that s1jax ships (s1jax.pretrained, networks.fill) needs none"
        )


def check_hyper(hyper: Hyper) -> None:
    """Refuse hyperparameters that no process has, infinite or negative ones (ValueError)."""
    for name, leaf in hyper._asdict().items():
        leaf = np.asarray(leaf)
        bad = ~np.isfinite(leaf)
        if name != "mixing":
            bad |= (leaf <= 0.0) if name == "lengthscale" else (leaf < 0.0)
        if bad.any():
            size = {"lengthscale": " above 0", "mixing": ""}.get(name, " not below 0")
            raise ValueError(
                f"hyper.{name}: got {leaf[bad].flat[0]}, expected finite numbers{size}"
            )


@partial(jax.jit, static_argnames="channel")
def picked(
    value: Float[_Array, "*pixel time channel"],
    valid: Bool[_Array, "*pixel time channel"],
    smooth: Float[_Array, "*pixel time radar"] | None,
    *,
    channel: tuple[int, ...],
) -> tuple[Float[Array, "*pixel time output"], Bool[Array, "*pixel time output"]]:
    """Value (0 where not valid) and valid of `pick`, of arrays that passed `check`."""
    place = source(np.array(channel)).tolist()
    found = [
        value[..., p] if c >= NDVI else smooth[..., p] for c, p in zip(channel, place, strict=True)
    ]
    found = jnp.stack(found, axis=-1)
    valid = jnp.stack([valid[..., p] for p in place], axis=-1) & plausible(found)
    return jnp.where(valid, found, 0.0), valid


def source(channel: Int[np.ndarray, "output"]) -> Int[np.ndarray, "output"]:
    """The channel of the series that each output is, filtered or not; it is valid where that is."""
    return np.where(channel < NDVI, _FILTERED - channel, channel)


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
