"""Pixels on a grid by their places, and the squares that are cut from it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

LEAST = 50.0
"""Share of pixels with a neighbour below which there are no patches to learn from, %."""
_OFF = 0.3
"""Steps that a pixel may lie off the lattice: places are rounded, and a projection bends."""
_NEAR = 1.5
"""Steps up to which another pixel is a neighbour."""
_ASKED = 20_000
"""Pixels, at most, whose neighbours are looked up to tell the step."""


class Lattice(NamedTuple):
    """Which pixel lies in which cell."""

    at: Int[np.ndarray, "row column"]
    """Number of the pixel, north first; the number of pixels where there is none."""
    step: Float[np.ndarray, "2"]
    """Metres from cell to cell, east and north."""
    pixels: int
    """Their number."""


def lattice(
    place: Float[np.ndarray, "pixel 2"] | None, step: Float[np.ndarray, "2"] | None = None
) -> Lattice:
    """The pixels on one lattice, whose step is the smallest spacing of neighbours, east and north
    apart, fitted to all places by least squares.

    Args:
      place: metres east and north.
      step: of the lattice, where it is known; None: the places tell it.

    Raises:
      ValueError: no places; without a known step: most pixels have no neighbour; with one: none of
        16 or more has; pixels off the lattice, or two in one cell.
    """
    if place is None:
        raise ValueError("place: got none, expected metres east and north: patches need neighbours")
    place = np.asarray(place, np.float64) * np.array([1.0, -1.0])
    place = place - place.min(0)
    step = _spacing(place, step)
    origin = np.zeros(2)
    for _ in range(3):
        cell = np.round((place - origin) / step)
        pairs = (_line(cell[:, axis], place[:, axis], step[axis]) for axis in (0, 1))
        step, origin = (np.array(leaf) for leaf in zip(*pairs, strict=True))
    off = np.abs((place - origin) / step - cell).max()
    size = f"{step[0]:.6g} x {step[1]:.6g} m"
    if off > _OFF:
        expected = f"all on one, within {_OFF}"
        raise ValueError(f"place: got {off:.2f} steps off a lattice of {size}, expected {expected}")
    cell = (cell - cell.min(0)).astype(np.int64)
    at = np.full(tuple(cell.max(0)[::-1] + 1), len(place), np.int32)
    at[cell[:, 1], cell[:, 0]] = np.arange(len(place))
    filled = int((at < len(place)).sum())
    if filled < len(place):
        got = f"{len(place)} pixels in {filled} cells of {size}"
        raise ValueError(f"place: got {got}, expected one in each")
    return Lattice(at, step, len(place))


def squares(
    grid: Lattice, side: int, *, stride: int, first: tuple[int, int]
) -> Int[np.ndarray, "square side side"]:
    """Pixels of the squares of `side` cells that hold any; the number of pixels where none is.

    Args:
      grid: where the pixels are.
      side: of a square, cells.
      stride: from corner to corner, cells.
      first: row and column of the first corner, cells; 0 or before.
    """
    corners, margin = [], []
    for size, start in zip(grid.at.shape, first, strict=True):
        corners.append(np.arange(0, size - start, stride))
        margin.append((-start, max(0, start + corners[-1][-1] + side - size)))
    at = np.pad(grid.at, margin, constant_values=grid.pixels)
    views = np.lib.stride_tricks.sliding_window_view(at, (side, side))
    found = views[np.ix_(*corners)].reshape(-1, side, side)
    return found[(found < grid.pixels).any((1, 2))]


def holding(
    found: Int[np.ndarray, "square row column"], some: Bool[np.ndarray, "pixel"]
) -> Bool[np.ndarray, "square"]:
    """Squares that hold any of `some` pixels."""
    return np.append(some, False)[found].any((1, 2))


def _spacing(place, known):
    """Step of the lattice, metres, by the offsets of pixels from their nearest ones."""
    n = len(place)
    some = np.linspace(0, n - 1, min(n, _ASKED)).astype(int)
    # of a lone pixel, and where there are fewer than eight, the others are infinitely far
    distance, number = cKDTree(place).query(place[some], k=range(2, 10))
    nearest = distance[:, 0]
    if known is not None:
        known = np.asarray(known, np.float64)
        if n >= 16 and (nearest > _NEAR * known.max()).all():
            got = f"{n} pixels none of which has a neighbour {known[0]:.6g} m off"
            raise ValueError(f"place: got {got}, expected the lattice of the training pixels")
        return known
    share = 100.0 * float((nearest < _NEAR * nearest.min()).mean())
    if share < LEAST:
        raise ValueError(
            f"place: patches need neighbours: got {n} pixels of which only {share:.0f} % have a "
            f"neighbour on the lattice, expected {LEAST:.0f} % or more"
        )
    there = np.isfinite(distance)
    offset = np.abs(place[np.where(there, number, 0)] - place[some][:, None])[there]
    steps = []
    for axis in (0, 1):
        along, across = offset[:, axis], offset[:, 1 - axis]
        along = along[across < 0.25 * along]
        steps.append(along[along < _NEAR * along.min()].mean() if along.size else np.nan)
    return np.where(np.isnan(steps), np.nanmin(steps), steps)


def _line(cell, place, step):
    """Slope and intercept of the places along one axis; where all are in line, the known step."""
    centred = cell - cell.mean()
    spread = float((centred**2).sum())
    if spread > 0.0:
        step = float((centred * place).sum()) / spread
    return step, float((place - step * cell).mean())
