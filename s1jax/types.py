"""The three types: what is observed, what is estimated, and what a method is.

Strings, dates and coordinates stay outside, in xarray (`s1jax.cube`); here are arrays only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8
from jaxtyping import Key as _TypedKey

VV, VH = 0, 1
"""Indices of the channels of an orbit: orbit k has VV at 2 k and VH at 2 k + 1."""

Key = _TypedKey[Array, ""]
Days = Float[Array | np.ndarray, "query"]
"""Query days since 1970-01-01."""
Params = Any


@jax.tree_util.register_static
@dataclass(frozen=True)
class Orbits:
    """Direction of each orbit; static under `jax.jit`."""

    direction: tuple[str, ...]
    """"ascending", "descending" or "" (unknown)."""


class Series(NamedTuple):
    """Observations of one pixel, or of many with leading pixel axes.

    All pixels share the days, which need not be regular. The masks mark what was observed; a value
    outside of them may be anything finite.
    """

    day: Float[Array, "time"]
    """Days since 1970-01-01, ascending; the centre of a composite's period."""
    radar: Float[Array, "*pixel time look channel"]
    """Backscatter, dB. Look 0: as observed; then means over growing squares. Channels: VV, VH of
    each orbit."""
    radar_valid: Bool[Array, "*pixel time channel"]
    """Of all looks."""
    ndvi: Float[Array, "*pixel time"]
    """Labels, -1 to 1."""
    ndvi_valid: Bool[Array, "*pixel time"]
    """Where there is a label."""
    position: Float[Array, "*pixel 2"] | None = None
    """Metres east and north."""
    span: Float[Array, "time"] | None = None
    """Length of each date's period, days; None: acquisitions."""
    weight: Float[Array, "*pixel time"] | None = None
    """Weight of each label; None: all weigh the same."""
    orbits: Orbits | None = None

    def take(self, pixels: Any, dates: Any = slice(None)) -> "Series":
        """Some pixels (index, slice or mask of the first axis) on some dates (slice or indices)."""

        def _of(leaf, trailing=1):
            if leaf is None:
                return None
            part = leaf[pixels]
            return part[(slice(None),) * (part.ndim - trailing) + (dates,)]

        return Series(
            self.day[dates],
            _of(self.radar, 3),
            _of(self.radar_valid, 2),
            _of(self.ndvi),
            _of(self.ndvi_valid),
            None if self.position is None else self.position[pixels],
            None if self.span is None else self.span[dates],
            _of(self.weight),
            self.orbits,
        )


def concatenate(parts: Sequence[Series]) -> Series:
    """The pixels of all parts, which share their days, as one series of NumPy arrays.

    Raises:
      ValueError: no part, or parts on different days.
    """
    if not parts:
        raise ValueError("parts: got none, expected one series or more")
    first = parts[0]
    for part in parts[1:]:
        if not np.array_equal(np.asarray(part.day), np.asarray(first.day)):
            raise ValueError("parts: got series on different days, expected the same for all")

    def _all(name):
        leaves = [getattr(part, name) for part in parts]
        return None if leaves[0] is None else np.concatenate([np.asarray(x) for x in leaves])

    names = ("radar", "radar_valid", "ndvi", "ndvi_valid", "position", "weight")
    return first._replace(**{name: _all(name) for name in names})


class Estimate(NamedTuple):
    """Gaussian estimate of the latent NDVI on the query days."""

    mean: Float[Array, "*pixel query"]
    """Mean NDVI."""
    std: Float[Array, "*pixel query"]
    """Standard deviation of the latent NDVI; positive, or NaN where it cannot be computed."""
    noise: Float[Array, "*pixel"]
    """Standard deviation of an observation about the latent NDVI; 0 of a method without one."""
    quality: UInt8[Array | np.ndarray, "*pixel"] | None = None
    """Sum of the flags of `s1jax.quality` for each pixel; 0 is good; None: the method sets none."""


class Estimator(NamedTuple):
    """A method: two pure functions.

    `fit(key, training, validation)` consumes the key and sees training and validation pixels only;
    `predict(params, series, days)` is deterministic and ignores NDVI that is not valid.
    """

    fit: Callable[[Key, Series, Series], Params]
    predict: Callable[[Params, Series, Days], Estimate]
