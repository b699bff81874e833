"""Is a given split leak-free? Pixels in both parts, distances, and what copying would score."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from s1jax.doctor import relation
from s1jax.doctor.finding import Finding, fault, note, share, warning
from s1jax.doctor.relation import Labels

LIMITS_M = (100.0, 800.0)
"""Distances from training that are reported, metres."""
SOON = 30.0
"""Days within which a label of the same pixel tells another."""
Part = Bool[np.ndarray, "..."] | Int[np.ndarray, "..."]
"""Pixels of one part: True on (y, x), or on (t, y, x) for single dates; or places in the flat
grid."""


class Leakage(NamedTuple):
    """What a split gives away."""

    both: int
    """Pixels that are in both parts on the same date."""
    shared: int
    """Pixels that are in both parts, on whatever dates."""
    pixels: int
    """Tested ones."""
    apart: Float[np.ndarray, "label"]
    """Days from tested labels of shared pixels to the nearest training label of the same pixel."""
    distance: Float[np.ndarray, "test"]
    """From each tested pixel to the nearest other one that trains on the dates tested, metres;
    empty without places."""
    copied_r2: float
    """R2 of the mean of the 5 nearest training labels of the same date, as `knn_space` takes them;
    NaN if not told."""


def chosen(part: Part, shape: tuple[int, int, int], name: str) -> Bool[np.ndarray, "time y x"]:
    """The part `name` of a split on (t, y, x), the cube's `shape`; pixels are so on all dates.

    Raises:
      ValueError: another shape, or places outside of the grid.
    """
    part, grid = np.asarray(part), shape[1:]
    if part.dtype == bool and part.shape in (shape, grid):
        return np.broadcast_to(part, shape)
    places = part.dtype.kind in "iu" and part.ndim == 1
    if places and (part.size == 0 or (part.min() >= 0 and part.max() < grid[0] * grid[1])):
        found = np.zeros(grid[0] * grid[1], bool)
        found[part] = True
        return np.broadcast_to(found.reshape(grid), shape)
    raise ValueError(
        f"split: {name}: got {part.dtype} {part.shape}, expected bool {grid} or {shape}, or "
        f"places in the flat grid of {grid[0] * grid[1]} pixels"
    )


def leakage(
    day: Float[np.ndarray, "time"],
    ndvi: Float[np.ndarray, "time y x"],
    place: Float[np.ndarray, "y x 2"] | None,
    training: Bool[np.ndarray, "time y x"],
    test: Bool[np.ndarray, "time y x"],
    *,
    most: int = 2000,
    neighbours: int = 5,
    seed: int = 0,
) -> Leakage:
    """Pixels in both parts, distances to training in space and time, and R2 of copying.

    R2 is over all tested labels of at most `most` pixels: what a method gets that looks at no radar
    and copies the mean of the nearest training labels of the date, never the pixel's own. `place`
    is metres east and north.
    """
    asked = np.flatnonzero(test.any(axis=0))
    drawn = np.sort(np.random.default_rng(seed).permutation(asked)[:most])
    known = np.isfinite(ndvi).reshape(len(day), -1)
    truth, learnt = (part.reshape(len(day), -1) & known for part in (test, training))
    labels = Labels(*np.nonzero(truth[:, drawn].T))
    nearest = relation.nearest(day, learnt[:, drawn].T, labels)
    apart = np.abs(day[nearest] - day[labels.time])[nearest >= 0]
    distance, r2 = np.zeros(0), float("nan")
    if place is not None:
        at = place.reshape(-1, 2)
        dates = test.any(axis=(1, 2)) & training.any(axis=(1, 2))
        beside = np.flatnonzero(training[dates].any(axis=0))
        distance = _others(at, beside, drawn, 1)[0].min(axis=1)
        r2 = _copied(at, ndvi.reshape(len(day), -1), learnt, truth, drawn, neighbours)
    both = int((training & test).any(axis=0).sum())
    shared = int((test.any(axis=0) & training.any(axis=0)).sum())
    return Leakage(both, shared, asked.size, apart, distance[np.isfinite(distance)], r2)


def _others(at, known, asked, most):
    """(distance, place) of the nearest places known, by columns; a place itself is at infinity."""
    if not known.size:
        return np.full((asked.size, 1), np.inf), np.zeros((asked.size, 1), int)
    # one more than wanted: the place itself may be among them
    number = np.arange(1, min(most + 1, known.size) + 1)
    distance, index = cKDTree(at[known]).query(at[asked], number)
    return np.where(known[index] == asked[:, None], np.inf, distance), known[index]


def _copied(at, ndvi, learnt, truth, drawn, neighbours):
    """R2 of the mean of the nearest labels of each date."""
    pairs = [np.zeros((2, 0))]
    for value, known, tested in zip(ndvi, learnt, truth, strict=True):
        asked = drawn[tested[drawn]]
        distance, other = _others(at, np.flatnonzero(known), asked, neighbours)
        near = np.isfinite(distance)
        near &= near.cumsum(axis=1) <= neighbours
        count = near.sum(axis=1)
        mean = np.where(near, value[other], 0.0).sum(axis=1) / np.maximum(count, 1)
        pairs.append(np.stack([value[asked], mean])[:, count > 0])
    label, told = np.concatenate(pairs, axis=1)
    if label.size < 30 or label.var() <= 0:
        return float("nan")
    return float(1 - np.mean((label - told) ** 2) / label.var())


def split_finding(found: Leakage, best: float | None = None) -> Finding:
    """The split in words: a fault where pixels are in both parts on one date, most tested labels
    have a training label of their own pixel within 30 days, or most tested pixels another one that
    trains within 100 m; a warning where most have one within 800 m and copying reaches .3 and half
    of `best`, the R2 of the quick regression on radar.
    """
    near = [float((found.distance < limit).mean()) if found.distance.size else 0.0
            for limit in LIMITS_M]  # fmt: skip
    soon = float((found.apart <= SOON).mean()) if found.apart.size else 0.0
    evidence = (
        f"{found.both:,} of {found.pixels:,} test pixels also train on the same date; "
        f"{share(near[0])} have a training pixel within {LIMITS_M[0]:g} m, {share(near[1])} within "
        f"{LIMITS_M[1]:g} m; copying the nearest training NDVI of the same date: R2 "
        f"{found.copied_r2:.2f}"
    )
    if found.shared:
        evidence += (
            f"; {found.shared:,} train on some date, {share(soon)} of their tested labels have a "
            f"training label within {SOON:g} days"
        )
    remedy = (
        "leave out whole districts, or blocks of 2.5 km with a buffer of 800 m; print the copy "
        "(knn_space) beside every score"
    )
    where = "split: training and test pixels"
    if found.both or near[0] > 0.5 or soon > 0.5:
        return fault("split-leaks", "Test pixels are known from training.", where, evidence, remedy)
    copied = np.isfinite(found.copied_r2) and found.copied_r2 > max(0.3, 0.5 * (best or 0.0))
    if near[1] > 0.5 and copied:
        words = "Test pixels lie beside training pixels that share their calendar."
        return warning("split-near", words, where, evidence, remedy)
    return note("split", "Nothing in the split leaks that distances would tell.", where, evidence)
