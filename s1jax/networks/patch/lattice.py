"""Pixels on a grid by their positions, and the squares that are cut from it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

LEAST = 50.0
"""Share of pixels with a neighbour below which there are no patches to learn from, %."""
_OFF = 0.3
"""Steps that a pixel may be off the lattice: positions are rounded, and a projection bends."""
_NEAR = 1.5
"""Steps up to which another pixel is a neighbour."""
_SAMPLE = 20_000
"""Pixels, at most, whose neighbours determine the step."""


class Lattice(NamedTuple):
    """The pixel of each cell."""

    at: Int[np.ndarray, "row column"]
    """Number of the pixel, north first; the number of pixels where there is none."""
    step: Float[np.ndarray, "2"]
    """Metres from cell to cell, east and north."""
    pixels: int
    """Their number."""


def lattice(
    position: Float[np.ndarray, "pixel 2"] | None, step: Float[np.ndarray, "2"] | None = None
) -> Lattice:
    """The pixels on one lattice, whose step is the smallest spacing of neighbours, east and north
    apart, fitted to all positions by least squares.

    Args:
      position: metres east and north.
      step: of the lattice, where it is given.

    Raises:
      ValueError: no position; most pixels have no neighbour, or none of 16 or more has one a given
        step away; pixels off the lattice, or two in one cell.
    """
    if position is None:
        raise ValueError(
            "position: got none, expected metres east and north: patches need neighbours"
        )
    metres = np.asarray(position, np.float64) * np.array([1.0, -1.0])
    metres = metres - metres.min(0)
    spacing, origin, cell = _spacing(metres, step), np.zeros(2), np.zeros_like(metres)
    for _ in range(3):
        cell = np.round((metres - origin) / spacing)
        pairs = (_line(cell[:, axis], metres[:, axis], spacing[axis]) for axis in (0, 1))
        spacing, origin = (np.array(leaf) for leaf in zip(*pairs, strict=True))
    off = np.abs((metres - origin) / spacing - cell).max()
    size = f"{spacing[0]:.6g} x {spacing[1]:.6g} m"
    if off > _OFF:
        got, expected = f"{off:.2f} steps off a lattice of {size}", f"all on one, within {_OFF}"
        raise ValueError(f"position: got {got}, expected {expected}")
    cell = (cell - cell.min(0)).astype(np.int64)
    at = np.full(tuple(cell.max(0)[::-1] + 1), len(metres), np.int32)
    at[cell[:, 1], cell[:, 0]] = np.arange(len(metres))
    filled = int((at < len(metres)).sum())
    if filled < len(metres):
        got = f"{len(metres)} pixels in {filled} cells of {size}"
        raise ValueError(f"position: got {got}, expected one in each")
    return Lattice(at, spacing, len(metres))


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
    index = views[np.ix_(*corners)].reshape(-1, side, side)
    return index[(index < grid.pixels).any((1, 2))]


def holding(
    index: Int[np.ndarray, "square row column"], some: Bool[np.ndarray, "pixel"]
) -> Bool[np.ndarray, "square"]:
    """Squares that hold any of `some` pixels."""
    return np.any(np.append(some, False)[index], axis=(1, 2))


def _spacing(position, given):
    """Step of the lattice, metres, by the offsets of pixels from their nearest ones."""
    n = len(position)
    some = np.linspace(0, n - 1, min(n, _SAMPLE)).astype(int)
    # of a lone pixel, and where there are fewer than eight, the others are infinitely far
    distance, number = cKDTree(position).query(position[some], k=range(2, 10))
    nearest = distance[:, 0]
    if given is not None:
        given = np.asarray(given, np.float64)
        if n >= 16 and (nearest > _NEAR * given.max()).all():
            got = f"{n} pixels none of which has a neighbour {given[0]:.6g} m off"
            raise ValueError(f"position: got {got}, expected the lattice of the training pixels")
        return given
    share = 100.0 * float((nearest < _NEAR * nearest.min()).mean())
    if share < LEAST:
        raise ValueError(
            f"position: patches need neighbours: got {n} pixels of which only {share:.0f} % have a "
            f"neighbour on the lattice, expected {LEAST:.0f} % or more"
        )
    there = np.isfinite(distance)
    offset = np.abs(position[np.where(there, number, 0)] - position[some][:, None])[there]
    steps = []
    for axis in (0, 1):
        along, across = offset[:, axis], offset[:, 1 - axis]
        along = along[across < 0.25 * along]
        steps.append(along[along < _NEAR * along.min()].mean() if along.size else np.nan)
    return np.where(np.isnan(steps), np.nanmin(steps), steps)


def _line(cell, position, step):
    """Slope and intercept of the positions along one axis; the given step where all are in line."""
    centred = cell - cell.mean()
    spread = float((centred**2).sum())
    if spread > 0.0:
        step = float((centred * position).sum()) / spread
    return step, float((position - step * cell).mean())
