"""What R2 to expect: the ceiling that label noise sets, and a quick regression without leaks."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from s1jax import metrics
from s1jax.baselines.trees import trees
from s1jax.doctor.finding import Finding, note
from s1jax.doctor.relation import Labels, sample

SHIPPED = "the shipped weights know simulated rice alone"
"""Said wherever they are spoken of: what they were trained on (`networks.pretrained`)."""
WINDOW = 5
"""Steps of radar to either side of a label that the second regression sees."""
_FOLDS, _DRAWS = 4, 300
_Rows = Float[np.ndarray, "pixel time"]
_Days = Float[np.ndarray, "time"]


class Score(NamedTuple):
    """R2 of a quick regression on places left out."""

    r2: float
    low: float
    """Ends of the 95 % interval, a bootstrap over groups of pixels."""
    high: float


class Expected(NamedTuple):
    """What was measured, and on what."""

    single: Score | None
    """Mean radar, of all tracks, of the step about the label alone; None where nothing was
    learnt."""
    window: Score | None
    """Radar of a window of steps."""
    labels: int
    groups: int
    grouped_by: str
    step: float
    """Step of the window, days."""


def ceiling(noise: float | None, ndvi: _Rows) -> float:
    """1 - noise^2 / var(label): R2 against labels that no method can pass.

    Assumes noise that is independent from date to date and of one size; see `label_noise`. NaN
    where the noise is not known.
    """
    seen = ndvi[np.isfinite(ndvi)].astype(np.float64)
    variance = float(seen.var()) if seen.size else float("nan")
    if noise is None or not variance > 0:
        return float("nan")
    return max(1.0 - noise**2 / variance, 0.0)


def rows(
    day: _Days,
    radar_db: Float[np.ndarray, "pixel time channel"],
    labels: Labels,
    step: float,
    window: int,
) -> Float[np.ndarray, "label feature"]:
    """Mean radar, dB, in windows of `step` days about each label at lags of -window to window
    steps, each channel and VH - VV of each orbit; NaN where there was none.

    Means of dB, not of power: quick, and good enough to tell whether radar follows NDVI.
    """
    there = np.isfinite(radar_db)
    zero = np.zeros((len(radar_db), 1, radar_db.shape[2]))
    total = np.concatenate([zero, np.where(there, radar_db, 0.0).cumsum(axis=1)], axis=1)
    count = np.concatenate([zero, there.cumsum(axis=1)], axis=1)
    columns = []
    for lag in range(-window, window + 1):
        middle = day[labels.time] + lag * step
        # a hair more than half a step, so that a period's own date is in it
        first = np.searchsorted(day, middle - 0.5 * step - 1e-3)
        last = np.searchsorted(day, middle + 0.5 * step - 1e-3)
        n = count[labels.pixel, last] - count[labels.pixel, first]
        s = total[labels.pixel, last] - total[labels.pixel, first]
        mean = np.where(n > 0, s / np.maximum(n, 1), np.nan)
        columns += [mean, mean[:, 1::2] - mean[:, 0::2]]
    return np.concatenate(columns, axis=1).astype(np.float32)


def groups(
    place: Float[np.ndarray, "pixel 2"] | None,
    given: Int[np.ndarray, "pixel"] | None,
    grouped_by: str,
    pixels: int,
) -> tuple[Int[np.ndarray, "pixel"], str]:
    """Group of each pixel, and in words what the groups are.

    The cube's own where it has three or more; districts from two on; else a grid of 4 x 4 over the
    extent; else 8 runs of pixels in the order of the file.
    """
    if given is not None and (grouped_by == "district" or np.unique(given).size >= 3):
        return np.unique(given, return_inverse=True)[1].reshape(-1), f"{grouped_by}s of the cube"
    if place is None or not np.isfinite(place).all() or np.ptp(place, axis=0).max() <= 0:
        return np.arange(pixels) * 8 // pixels, "runs of pixels (no place is known)"
    size = np.maximum(np.ptp(place, axis=0) / 4 * (1 + 1e-9), 1e-9)
    return _cells(place, size), f"blocks of {size[0]:.0f} x {size[1]:.0f} m"


def expected(
    day: _Days,
    radar_db: Float[np.ndarray, "pixel time channel"],
    ndvi: _Rows,
    place: Float[np.ndarray, "pixel 2"] | None,
    given: Int[np.ndarray, "pixel"] | None = None,
    grouped_by: str = "",
    *,
    step: float,
    most: int = 8000,
    seed: int = 0,
) -> Expected:
    """R2 of boosted trees on radar of one step and of a window, groups left out in 4 folds.

    Where pixels have a place, training pixels within an eighth of a block of a tested one are left
    out too. No NDVI, no day of the year and no place is an input, so nothing but radar tells.
    Not tuned and with few labels: never a promise. Of `place`, `given` and `grouped_by` the groups
    are made (`groups`); `step`, days, is that of the window, and at most `most` labels are used.
    """
    labels = sample(ndvi, most, seed)
    group, words = groups(place, given, grouped_by, len(ndvi))
    names = np.unique(group)
    nothing = Expected(None, None, labels.pixel.size, names.size, words, step)
    if labels.pixel.size < 200 or names.size < 2:
        return nothing
    target = ndvi[labels].astype(np.float64)
    fold = np.random.default_rng(seed).permutation(names.size) % _FOLDS
    fold = fold[np.searchsorted(names, group)]
    cluster = group if grouped_by != "district" or place is None else _cells(place, 1000.0)
    near = None if place is None or grouped_by == "district" else np.asarray(place)
    buffer = 0.0 if near is None else float(np.ptp(near, axis=0).max()) / 32
    scores = []
    for window in (0, WINDOW):
        features = rows(day, radar_db, labels, step, window)
        told = np.full(target.size, np.nan)
        for k in range(_FOLDS):
            test = fold[labels.pixel] == k
            train = ~test & _clear(near, fold, k, buffer)[labels.pixel]
            if test.any() and train.sum() >= 100:
                told[test] = trees(features[train], target[train], features[test], seed=seed)
        known = np.isfinite(told)
        scores.append(score(target[known], told[known], cluster[labels.pixel][known], seed))
    return nothing._replace(single=scores[0], window=scores[1])


def score(
    target: Float[np.ndarray, "label"],
    told: Float[np.ndarray, "label"],
    group: Int[np.ndarray, "label"],
    seed: int = 0,
) -> Score | None:
    """R2 over all labels and its 95 % interval, by `metrics`; None without labels that vary."""
    if target.size < 2 or target.var() <= 0:
        return None
    names, number = np.unique(group, return_inverse=True)
    # no band is scored: any std will do
    every = np.ones(target.shape)
    parts = metrics.grouped(number, names.size, told, every, target, every.astype(bool))
    chance = np.full(names.size, 1 / names.size)
    weight = np.random.default_rng(seed).multinomial(names.size, chance, _DRAWS)
    draws = metrics.scores(metrics.pool(parts, weight.astype(np.float64)))["r2"]
    # a draw whose labels are all alike has no R2
    low, high = np.nanquantile(draws, (0.025, 0.975))
    return Score(float(metrics.scores(metrics.pool(parts))["r2"]), float(low), float(high))


def expected_note(found: Expected, noise: float | None, top: float) -> list[Finding]:
    """The ceiling and the R2 in words."""
    if noise is None:
        limit = "cannot be told: too few labels close in time"
    else:
        limit = f"label noise {noise:.3f}, so R2 against labels stays below about {top:.2f}"
    first = note(
        "noise-ceiling",
        "Labels are noisy, so no R2 against them can be 1.",
        "S2ndvi",
        f"{limit}; assumes noise that is independent from date to date and of one size",
    )
    if found.single is None or found.window is None:
        measured = f"not measured: {found.labels} labels, {found.groups} groups of pixels"
    else:
        one, wide = (
            f"{s.r2:.2f} [{s.low:.2f}, {s.high:.2f}]" for s in (found.single, found.window)
        )
        measured = (
            f"mean radar of the {found.step:g} days about a label {one}, of a window of "
            f"{2 * WINDOW + 1} such steps {wide}; {found.labels:,} labels, {found.groups} "
            f"{found.grouped_by}, 95 % interval"
        )
    second = note(
        "r2-to-expect",
        "R2 of a quick regression on radar alone, at places left out; no promise.",
        "S1 to NDVI without NDVI of the pixel (task T1)",
        measured,
        "compare with python -m experiments.run on the same cube",
    )
    third = note(
        "shipped-weights",
        f"No R2 here is theirs: {SHIPPED}, no real field and no other crop.",
        "networks.pretrained, adapt, fill",
        "trained on scenes of s1jax.simulate",
        "compare their estimates with labels of the place before they are used",
    )
    return [first, second, third]


def _cells(place, size):
    cell = np.floor((place - place.min(axis=0)) / size).astype(int)
    return np.unique(cell, axis=0, return_inverse=True)[1].reshape(-1)


def _clear(place, fold, k, buffer):
    """Pixels that are farther than `buffer` from every pixel of the fold."""
    tested = fold == k
    if place is None or buffer <= 0 or not tested.any():
        return np.ones(fold.size, bool)
    return cKDTree(place[tested]).query(place)[0] > buffer
