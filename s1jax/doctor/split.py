"""Is a given split leak-free? Pixels in both parts, distances, and what copying would score."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from s1jax.doctor.finding import Finding, fault, note, share, warning

LIMITS_M = (100.0, 800.0)
"""Distances from training that are reported, metres."""
Part = Bool[np.ndarray, "..."] | Int[np.ndarray, "..."]
"""Pixels of one part: True on (y, x), or on (t, y, x) for single dates; or places in the flat
grid."""


class Leakage(NamedTuple):
    """What a split gives away."""

    both: int
    """Pixels that are in both parts."""
    pixels: int
    """Tested ones."""
    distance: Float[np.ndarray, "test"]
    """From each tested pixel to the nearest other training pixel, metres; empty without places."""
    copied_r2: float
    """R2 of the mean NDVI of the 5 nearest training pixels on the same date; NaN if not told."""


def chosen(part: Part, shape: tuple[int, int, int], name: str) -> Bool[np.ndarray, "y x"]:
    """The pixels of a part of a split, as a map.

    Args:
      part: see `Part`.
      shape: (t, y, x) of the cube.
      name: of the part, for the error.

    Raises:
      ValueError: another shape, or places outside of the grid.
    """
    part, grid = np.asarray(part), shape[1:]
    if part.dtype == bool and part.shape == shape:
        return part.any(axis=0)
    if part.dtype == bool and part.shape == grid:
        return part
    places = part.dtype.kind in "iu" and part.ndim == 1
    if places and (part.size == 0 or (part.min() >= 0 and part.max() < grid[0] * grid[1])):
        found = np.zeros(grid[0] * grid[1], bool)
        found[part] = True
        return found.reshape(grid)
    raise ValueError(
        f"split: {name}: got {part.dtype} {part.shape}, expected bool {grid} or {shape}, or "
        f"places in the flat grid of {grid[0] * grid[1]} pixels"
    )


def leakage(
    ndvi: Float[np.ndarray, "time y x"],
    place: Float[np.ndarray, "y x 2"] | None,
    training: Bool[np.ndarray, "y x"],
    test: Bool[np.ndarray, "y x"],
    *,
    most: int = 2000,
    neighbours: int = 5,
    seed: int = 0,
) -> Leakage:
    """Pixels in both parts, distances to training, and R2 of copying the nearest training pixels.

    A tested pixel is never its own neighbour. R2 is over all labels of the tested pixels:
    what a method gets that looks at no radar and copies what lies beside.

    Args:
      ndvi: labels, NaN where there is none.
      place: metres east and north.
      training: pixels learnt from.
      test: pixels tested.
      most: tested pixels looked at, at most.
      neighbours: training pixels whose mean is taken on each date.
      seed: of the draw of tested pixels.
    """
    asked = np.flatnonzero(test.ravel())
    known = np.flatnonzero(training.ravel())
    both = int((training & test).sum())
    drawn = np.sort(np.random.default_rng(seed).permutation(asked)[:most])
    if place is None or not known.size or not asked.size:
        return Leakage(both, asked.size, np.zeros(0), float("nan"))
    at = place.reshape(-1, 2)
    tree = cKDTree(at[known])
    # some more than wanted: one may be the pixel itself, and some have no label that date
    wide = min(4 * neighbours + 1, known.size)
    distance, index = tree.query(at[drawn], np.arange(1, wide + 1))
    other = known[index]
    own = other == drawn[:, None]
    distance = np.where(own, np.inf, distance)
    nearest = distance.min(axis=1)
    flat = ndvi.reshape(len(ndvi), -1)
    truth, told = [], []
    for row in flat:
        value = np.where(own, np.nan, row[other])
        there = np.isfinite(value)
        kept = there & (there.cumsum(axis=1) <= neighbours)
        count = kept.sum(axis=1)
        mean = np.where(kept, value, 0.0).sum(axis=1) / np.maximum(count, 1)
        scored = np.isfinite(row[drawn]) & (count > 0)
        truth.append(row[drawn][scored])
        told.append(mean[scored])
    truth, told = np.concatenate(truth).astype(float), np.concatenate(told).astype(float)
    r2 = float("nan")
    if truth.size >= 30 and truth.var() > 0:
        r2 = float(1 - np.mean((truth - told) ** 2) / truth.var())
    return Leakage(both, asked.size, nearest[np.isfinite(nearest)], r2)


def split_finding(found: Leakage, best: float | None = None) -> Finding:
    """The split in words: a fault where pixels are in both parts or most have a training pixel
    within 100 m, a warning where most have one within 800 m and copying scores as well as radar.

    Args:
      found: of `leakage`.
      best: R2 of the quick regression on radar, to hold the copy against.
    """
    near = [float((found.distance < limit).mean()) if found.distance.size else 0.0
            for limit in LIMITS_M]  # fmt: skip
    evidence = (
        f"{found.both:,} of {found.pixels:,} test pixels also train; {share(near[0])} have a "
        f"training pixel within {LIMITS_M[0]:g} m, {share(near[1])} within {LIMITS_M[1]:g} m; "
        f"copying the nearest training NDVI of the same date: R2 {found.copied_r2:.2f}"
    )
    remedy = (
        "leave out whole districts, or blocks of 2.5 km with a buffer of 800 m; print the copy "
        "(knn_space) beside every score"
    )
    where = "split: training and test pixels"
    if found.both or near[0] > 0.5:
        return fault("split-leaks", "Test pixels are known from training.", where, evidence, remedy)
    copied = np.isfinite(found.copied_r2) and found.copied_r2 > max(0.3, 0.5 * (best or 0.0))
    if near[1] > 0.5 and copied:
        words = "Test pixels lie beside training pixels that share their calendar."
        return warning("split-near", words, where, evidence, remedy)
    return note("split", "Nothing in the split leaks that distances would tell.", where, evidence)
