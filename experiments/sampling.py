"""Which pixels of a region teach and which decide: small squares of it, spread over all of it."""

import numpy as np
import xarray as xr

from s1jax import cube, tiles
from s1jax.types import Series

FILTER = (3,)
"""Side of the squares of the speckle filter, pixels."""
_PATCH = 8
"""Side of the squares of pixels that the sample is made of."""
_PIXELS = 4096
"""Pixels of the sample, a quarter of them for validation."""
_CELL_M = 1000.0
"""Side of the cells that train or decide together, metres."""


def sampled(ds: xr.Dataset, *, smooth: bool) -> tuple[Series, Series]:
    """Training and validation pixels: small squares, spread over the cube, of different cells.

    A quarter of the cells of 1 km (or an eighth of the cube's longer side, where that is less)
    decides.

    Raises:
      ValueError: there are no pixels to train or none to decide.
    """
    longest, where = max(ds.sizes["y"], ds.sizes["x"]), cube.place(ds)
    patch = min(_PATCH, max(1, longest // 8))
    side = max(patch, min(longest / 8, _cell(where)))
    parts = {True: [], False: []}
    pixels = 0
    for rows, columns in _patches(ds, patch):
        _, series, found = tiles.read(
            ds, rows, columns, where=where, smooth=FILTER if smooth else ()
        )
        if series is not None:
            row, column = (int((s.start + s.stop) / 2 // side) for s in (rows, columns))
            parts[(row + 2 * column) % 4 == 3].append(series)
            pixels += found.size
        if pixels >= _PIXELS:
            break
    if not (parts[False] and parts[True]):
        raise ValueError(
            f"sample: got {pixels} pixels with data, expected some to train and some to decide; "
            "learn from a larger region with --save-hyper, or give its file as --hyper"
        )
    return _joined(parts[False]), _joined(parts[True])


def _cell(where: np.ndarray | None) -> float:
    """Side of a cell, pixels."""
    if where is None or min(where.shape[:2]) < 2:
        return np.inf
    return _CELL_M / max(float(np.abs(where[1, 1] - where[0, 0]).max()), 1e-9)


def _patches(ds: xr.Dataset, patch: int) -> list[tuple[slice, slice]]:
    """Squares that hold pixels inside the mask, in an order that spreads any first of them."""
    squares = tiles.grid(ds, patch)
    if "mask" in ds.variables:
        wanted = ds["mask"].transpose("y", "x").values.astype(int)
        for axis, size in enumerate(wanted.shape):
            wanted = np.add.reduceat(wanted, np.arange(0, size, patch), axis=axis)
        squares = [squares[i] for i in np.flatnonzero(wanted)]
    order = np.random.default_rng(0).permutation(len(squares))
    return [squares[i] for i in order]


def _joined(parts: list[Series]) -> Series:
    """The pixels of all parts as one series."""
    day, *leaves = zip(*parts, strict=True)
    pixels = [None if leaf[0] is None else np.concatenate(leaf) for leaf in leaves]
    return Series(day[0], *pixels)
