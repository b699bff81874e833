"""Radar and NDVI beside each other: days between them, correlation by growth stage, the R2 to
expect, and what a split gives away."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from s1jax import metrics
from s1jax.baselines.common import last_valid, next_valid
from s1jax.cube.findings import Finding, share
from s1jax.doctor.catalogue import finding
from s1jax.doctor.read import SHIPPED

STAGES = ("flooded", "bare", "growing", "full", "ripening")
"""Of a label, by its level between the pixel's low and high and by the way NDVI goes."""
FEATURES = ("VV", "VH", "VH - VV")
"""What is correlated with NDVI, dB."""
FLOODED_VH = -20.0
"""VH below which low NDVI counts as flooded, dB; dry bare soil scatters -20 to -14."""
_Rows = Float[np.ndarray, "pixel time"]
_Days = Float[np.ndarray, "time"]
WINDOW = 5
"""Steps of radar to either side of a label that the second regression sees."""
LIMITS_M = (100.0, 800.0)
"""Distances from training that are reported, metres."""
SOON = 30.0
"""Days within which a label of the same pixel gives away another."""
Part = Bool[np.ndarray, "..."] | Int[np.ndarray, "..."]
"""Pixels of one part of a split: True on (y, x), or on (t, y, x) for single dates; or indices into
the flat grid."""
_SEED, _FOLDS, _DRAWS = 0, 4, 300
_TESTED, _COPIED = 2000, 5
"""Pixels of a split that are looked at, at most, and labels that a copy is the mean of."""


class Labels(NamedTuple):
    """A sample of labels, one entry each."""

    pixel: Int[np.ndarray, "label"]
    time: Int[np.ndarray, "label"]


class Correlation(NamedTuple):
    """Pearson's r of radar with NDVI."""

    r: Float[np.ndarray, "stage feature"]
    """By stage and feature; NaN where there are fewer than 30 labels or nothing varies."""
    count: Int[np.ndarray, "stage"]
    whole: Float[np.ndarray, "feature"]
    """Over all stages together."""
    within: Float[np.ndarray, "feature"]
    """Median over pixels of the correlation in time."""


def sample(ndvi: _Rows, most: int) -> Labels:
    """At most `most` labels, drawn without replacement, in order."""
    pixel, time = np.nonzero(np.isfinite(ndvi))
    kept = np.sort(np.random.default_rng(_SEED).permutation(pixel.size)[:most])
    return Labels(pixel[kept], time[kept])


def nearest(day: _Days, seen: np.ndarray, labels: Labels) -> Int[np.ndarray, "label"]:
    """Index of the date nearest to each label on which its pixel is `seen` (pixel, time); -1 where
    it never is. Days ascend."""
    dates = day.size
    before, after = last_valid(seen)[labels], next_valid(seen)[labels]
    at = day[labels.time]
    back = np.where(before >= 0, at - day[before], np.inf)
    ahead = np.where(after < dates, day[np.minimum(after, dates - 1)] - at, np.inf)
    index = np.where(back <= ahead, before, after)
    return np.where(np.isfinite(np.minimum(back, ahead)), index, -1)


def offset_finding(offset: Float[np.ndarray, "label"], *, composites: bool) -> Finding:
    """Days between each label and the nearest radar (infinite where there is none), or, of
    composites, between the mean days of both, in words; a warning from half over 7 days on."""
    radar = "the mean day of its radar" if composites else "the nearest radar"
    far, week = (float((offset > limit).mean()) for limit in (3, 7))
    finite = offset[np.isfinite(offset)]
    median = float(np.median(finite)) if finite.size else np.inf
    evidence = (
        f"median {median:.1f} days; {share(far)} over 3 days, {share(week)} over 7 days, of "
        f"{offset.size:,} labels"
    )
    if week <= 0.5:
        return finding("s1-s2-offset", "all labels", evidence, radar=radar)
    remedy = "read acquisitions, not composites; give the method a window of radar about each label"
    where = "VV, VH against S2ndvi"
    return finding("s1-s2-offset", where, evidence, kind="warning", remedy=remedy, radar=radar)


def stages(
    day: _Days, ndvi: _Rows, vh_db: Float[np.ndarray, "label"], labels: Labels
) -> Int[np.ndarray, "label"]:
    """Number in `STAGES` of each label; -1 where its pixel's NDVI hardly moves or it stands alone.

    With p its level between the 5 and 95 % quantile of the pixel: below .25 flooded (VH below -20
    dB) or bare, above .75 full, else growing or ripening by the sign of the line through the labels
    before and after it, at most 60 days apart. Pixels that move by less than 0.2 have no stages.
    """
    often = np.isfinite(ndvi).sum(axis=1) >= 5
    low, high = np.full((2, len(ndvi)), np.nan)
    if often.any():
        low[often], high[often] = np.nanquantile(ndvi[often], (0.05, 0.95), axis=1)
    moves = np.nan_to_num(high - low) >= 0.2
    pixel, time = labels
    value = ndvi[pixel, time]
    level = (value - low[pixel]) / np.where(moves, high - low, 1.0)[pixel]
    slope = _slope(day, ndvi, labels)
    middle = np.where(np.isnan(slope), -1, np.where(slope > 0, 2, 4))
    stage = np.where(level > 0.75, 3, middle)
    stage = np.where(level < 0.25, np.where(vh_db < FLOODED_VH, 0, 1), stage)
    return np.where(moves[pixel], stage, -1)


def _slope(day, ndvi, labels):
    """NDVI per day from the label before to the one after; NaN where 60 days apart or alone."""
    # a date without labels at either end: what lies before the first and after the last
    there = np.pad(np.isfinite(ndvi), ((0, 0), (1, 1)))
    dates = day.size
    back = last_valid(there)[labels.pixel, labels.time] - 1
    ahead = next_valid(there)[labels.pixel, labels.time + 2] - 1
    there = (back >= 0) & (ahead < dates)
    before, after = np.where(there, back, 0), np.where(there, ahead, 0)
    days = day[after] - day[before]
    rise = ndvi[labels.pixel, after] - ndvi[labels.pixel, before]
    there &= (days > 0) & (days <= 60)
    return np.where(there, rise / np.where(there, days, 1.0), np.nan)


def correlations(
    radar: Float[np.ndarray, "label feature"],
    ndvi: Float[np.ndarray, "label"],
    stage: Int[np.ndarray, "label"],
    pixel: Int[np.ndarray, "label"],
) -> Correlation:
    """Pearson's r of each feature with NDVI by stage, over all, and in time inside a pixel.

    Inside a stage NDVI spans a part of its range, so r is lower there than over all; it says where
    radar follows NDVI and where it does not, not how well a model will do.
    """
    named = range(len(STAGES))
    r = np.array([[_r(f[stage == s], ndvi[stage == s]) for f in radar.T] for s in named])
    count = np.array([int((stage == s).sum()) for s in named])
    whole = np.array([_r(feature, ndvi) for feature in radar.T])
    within = np.array([_median_r(feature, ndvi, pixel) for feature in radar.T])
    return Correlation(r, count, whole, within)


def correlation_finding(of: Correlation) -> Finding:
    """The correlations in words."""
    parts = [
        f"{stage} {row[0]:+.2f} {row[1]:+.2f} {row[2]:+.2f} (n {count:,})"
        for stage, row, count in zip(STAGES, of.r, of.count, strict=True)
        if np.isfinite(row).all()
    ]
    whole = " ".join(f"{r:+.2f}" for r in of.whole)
    within = " ".join(f"{r:+.2f}" for r in of.within)
    where = "by growth stage; where it is near 0 one date of radar says nothing of NDVI"
    by_stage = "; ".join(parts) or "no stages"
    evidence = f"all {whole}; in time inside a pixel {within}; {by_stage}"
    return finding("correlation-by-stage", where, evidence)


def _median_r(x, y, pixel):
    """Median over pixels with 8 labels and more of r inside the pixel; NaN where there is none."""
    both = np.isfinite(x) & np.isfinite(y)
    _, number = np.unique(pixel[both], return_inverse=True)
    count = np.bincount(number)

    def _centred(v):
        v = v[both].astype(np.float64)
        return v - (np.bincount(number, v) / np.maximum(count, 1))[number]

    x, y = _centred(x), _centred(y)
    product, *squares = (np.bincount(number, v) for v in (x * y, x * x, y * y))
    usable = (count >= 8) & (np.minimum(*squares) > 1e-12)
    if not usable.any():
        return np.nan
    return float(np.median(product[usable] / np.sqrt(squares[0] * squares[1])[usable]))


def _r(x, y):
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both].astype(np.float64), y[both].astype(np.float64)
    if x.size < 30 or x.std() < 1e-9 or y.std() < 1e-9:
        return np.nan
    return float(np.corrcoef(x, y)[0, 1])


class Score(NamedTuple):
    """R2 of a quick regression on places left out."""

    r2: float
    low: float
    """Ends of the 95 % interval, a bootstrap over groups of pixels."""
    high: float


class Expected(NamedTuple):
    """What was measured, and on what."""

    single: Score | None
    """Mean radar, of all tracks, of the step about the label alone; None where not measured."""
    window: Score | None
    """Radar of a window of steps."""
    labels: int
    groups: int
    grouped_by: str
    step: float
    """Step of the window, days."""


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
    empty without positions."""
    copied_r2: float
    """R2 of the mean of the 5 nearest training labels of the same date, as `knn_space` takes them;
    NaN if unknown."""


def noise_ceiling(noise: float | None, ndvi: _Rows) -> float:
    """1 - noise^2 / var(label): R2 against labels that no method can pass.

    Assumes noise that is independent from date to date and of one size; see `noise_of_labels`. NaN
    where the noise is missing.
    """
    seen = ndvi[np.isfinite(ndvi)].astype(np.float64)
    variance = float(seen.var()) if seen.size else float("nan")
    if noise is None or not variance > 0:
        return float("nan")
    return max(1.0 - noise**2 / variance, 0.0)


def windows(
    day: _Days,
    radar_db: Float[np.ndarray, "pixel time channel"],
    labels: Labels,
    step: float,
    window: int,
) -> Float[np.ndarray, "label feature"]:
    """Mean radar, dB, in windows of `step` days about each label at lags of -window to window
    steps, each channel and VH - VV of each orbit; NaN where there was none.

    Means of dB, not of power: quick, and good enough to see whether radar follows NDVI.
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
    position: Float[np.ndarray, "pixel 2"] | None,
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
    if position is None or not np.isfinite(position).all() or np.ptp(position, axis=0).max() <= 0:
        return np.arange(pixels) * 8 // pixels, "runs of pixels (no position)"
    size = np.maximum(np.ptp(position, axis=0) / 4 * (1 + 1e-9), 1e-9)
    return _cells(position, size), f"blocks of {size[0]:.0f} x {size[1]:.0f} m"


def expected(
    day: _Days,
    radar_db: Float[np.ndarray, "pixel time channel"],
    ndvi: _Rows,
    position: Float[np.ndarray, "pixel 2"] | None,
    given: Int[np.ndarray, "pixel"] | None = None,
    grouped_by: str = "",
    *,
    step: float,
    most: int = 8000,
) -> Expected:
    """R2 of boosted trees on radar of one step and of a window, groups left out in 4 folds.

    Where pixels have a position, training pixels within an eighth of a block of a tested one are
    left out too. No NDVI, no day of the year and no position is an input: radar alone. Not tuned
    and with few labels: never a promise. `position`, `given` and `grouped_by` make the groups
    (`groups`); `step`, days, is that of the window, and at most `most` labels are used.
    """
    labels = sample(ndvi, most)
    group, words = groups(position, given, grouped_by, len(ndvi))
    names = np.unique(group)
    nothing = Expected(None, None, labels.pixel.size, names.size, words, step)
    if labels.pixel.size < 200 or names.size < 2:
        return nothing
    target = ndvi[labels].astype(np.float64)
    fold = np.random.default_rng(_SEED).permutation(names.size) % _FOLDS
    fold = fold[np.searchsorted(names, group)]
    by_district = grouped_by == "district"
    cluster = group if not by_district or position is None else _cells(position, 1000.0)
    near = None if position is None or by_district else np.asarray(position)
    buffer = 0.0 if near is None else float(np.ptp(near, axis=0).max()) / 32
    scores = []
    for window in (0, WINDOW):
        features = windows(day, radar_db, labels, step, window)
        estimate = np.full(target.size, np.nan)
        for k in range(_FOLDS):
            test = fold[labels.pixel] == k
            train = ~test & _clear(near, fold, k, buffer)[labels.pixel]
            if test.any() and train.sum() >= 100:
                estimate[test] = trees(features[train], target[train], features[test])
        some = np.isfinite(estimate)
        scores.append(score(target[some], estimate[some], cluster[labels.pixel][some]))
    return nothing._replace(single=scores[0], window=scores[1])


def trees(
    features: Float[np.ndarray, "row feature"],
    target: Float[np.ndarray, "row"],
    query: Float[np.ndarray, "other feature"],
) -> Float[np.ndarray, "other"]:
    """Estimate of the target at features `query` by boosted trees; missing features may be NaN.

    Raises:
      ValueError: no row to learn from.
    """
    if len(features) == 0:
        raise ValueError("features: got no row, expected at least one to learn from")
    # the library cannot make bins of a feature that was never seen
    features = np.where(np.isnan(features).all(axis=0), 0.0, features)
    model = HistGradientBoostingRegressor(
        max_iter=80, max_leaf_nodes=15, min_samples_leaf=20, early_stopping=False,
        random_state=_SEED,
    )  # fmt: skip
    # so small a job is faster on one thread, on busy cores by much
    with threadpool_limits(limits=1, user_api="openmp"):
        return model.fit(features, target).predict(query)


def score(
    target: Float[np.ndarray, "label"],
    estimate: Float[np.ndarray, "label"],
    group: Int[np.ndarray, "label"],
) -> Score | None:
    """R2 over all labels and its 95 % interval, by `metrics`; None without labels that vary."""
    if target.size < 2 or target.var() <= 0:
        return None
    names, number = np.unique(group, return_inverse=True)
    # no band is scored: any std will do
    every = np.ones(target.shape)
    parts = metrics.statistics_by_group(
        number, names.size, estimate, every, target, every.astype(bool)
    )
    chance = np.full(names.size, 1 / names.size)
    weight = np.random.default_rng(_SEED).multinomial(names.size, chance, _DRAWS)
    draws = metrics.scores(metrics.aggregate(parts, weight.astype(np.float64)))["r2"]
    # a draw whose labels are all alike has no R2
    low, high = np.nanquantile(draws, (0.025, 0.975))
    return Score(float(metrics.scores(metrics.aggregate(parts))["r2"]), float(low), float(high))


def expected_findings(of: Expected, noise: float | None, top: float) -> list[Finding]:
    """The ceiling and the R2 in words."""
    limit = "no estimate: too few labels close in time"
    if noise is not None:
        limit = f"label noise {noise:.3f}, so R2 against labels stays below about {top:.2f}"
    ceiling = f"{limit}; assumes noise that is independent from date to date and of one size"
    measured = f"not measured: {of.labels} labels, {of.groups} groups of pixels"
    if of.single is not None and of.window is not None:
        one, wide = (f"{s.r2:.2f} [{s.low:.2f}, {s.high:.2f}]" for s in (of.single, of.window))
        measured = (
            f"mean radar of the {of.step:g} days about a label {one}, of a window of "
            f"{2 * WINDOW + 1} such steps {wide}; {of.labels:,} labels, {of.groups} "
            f"{of.grouped_by}, 95 % interval"
        )
    where = "networks.pretrained, adapt, fill"
    trained = "trained on scenes of s1jax.simulate"
    return [
        finding("noise-ceiling", "S2ndvi", ceiling),
        finding("r2-to-expect", "S1 to NDVI without NDVI of the pixel (task T1)", measured),
        finding("shipped-weights", where, trained, shipped=SHIPPED),
    ]


def part_of_split(
    part: Part, shape: tuple[int, int, int], name: str
) -> Bool[np.ndarray, "time y x"]:
    """The part `name` of a split on (t, y, x), the cube's `shape`; pixels are so on all dates.

    Raises:
      ValueError: another shape, or indices outside of the grid.
    """
    part, grid = np.asarray(part), shape[1:]
    size = grid[0] * grid[1]
    if part.dtype == bool and part.shape in (shape, grid):
        return np.broadcast_to(part, shape)
    indices = part.dtype.kind in "iu" and part.ndim == 1
    if indices and (part.size == 0 or (part.min() >= 0 and part.max() < size)):
        return np.broadcast_to(np.isin(np.arange(size), part).reshape(grid), shape)
    expected = f"bool {grid} or {shape}, or places in the flat grid of {size} pixels"
    raise ValueError(f"split: {name}: got {part.dtype} {part.shape}, expected {expected}")


def leakage(
    day: _Days,
    ndvi: Float[np.ndarray, "time y x"],
    position: Float[np.ndarray, "y x 2"] | None,
    training: Bool[np.ndarray, "time y x"],
    test: Bool[np.ndarray, "time y x"],
) -> Leakage:
    """Pixels in both parts, distances to training in space and time, and R2 of copying.

    R2 is over all tested labels of at most 2,000 pixels: what a method gets that looks at no radar
    and copies the mean of the nearest training labels of the date, never the pixel's own.
    `position` is metres east and north.
    """
    tested, trained = test.any(axis=0), training.any(axis=0)
    pixels = np.flatnonzero(tested)
    drawn = np.sort(np.random.default_rng(_SEED).permutation(pixels)[:_TESTED])
    flat = ndvi.reshape(len(day), -1)
    truth, trains = (part.reshape(len(day), -1) & np.isfinite(flat) for part in (test, training))
    labels = Labels(*np.nonzero(truth[:, drawn].T))
    at = nearest(day, trains[:, drawn].T, labels)
    apart = np.abs(day[at] - day[labels.time])[at >= 0]
    distance, r2 = np.zeros(0), float("nan")
    if position is not None:
        position = position.reshape(-1, 2)
        dates = test.any(axis=(1, 2)) & training.any(axis=(1, 2))
        beside = np.flatnonzero(training[dates].any(axis=0))
        distance = _others(position, beside, drawn, 1)[0].min(axis=1)
        r2 = _copied(position, flat, trains, truth, drawn)
    both = int((training & test).any(axis=0).sum())
    distance = distance[np.isfinite(distance)]
    return Leakage(both, int((tested & trained).sum()), pixels.size, apart, distance, r2)


def split_finding(of: Leakage, best: float | None = None) -> Finding:
    """The split in words: a fault where pixels are in both parts on one date, most tested labels
    have a training label of their own pixel within 30 days, or most tested pixels another one that
    trains within 100 m; a warning where most have one within 800 m and copying reaches .3 and half
    of `best`, the R2 of the quick regression on radar.
    """
    near = [float((of.distance < m).mean()) if of.distance.size else 0.0 for m in LIMITS_M]
    soon = float((of.apart <= SOON).mean()) if of.apart.size else 0.0
    evidence = (
        f"{of.both:,} of {of.pixels:,} test pixels also train on the same date; "
        f"{share(near[0])} have a training pixel within {LIMITS_M[0]:g} m, {share(near[1])} within "
        f"{LIMITS_M[1]:g} m; copying the nearest training NDVI of the same date: R2 "
        f"{of.copied_r2:.2f}"
    )
    if of.shared:
        evidence += (
            f"; {of.shared:,} train on some date, {share(soon)} of their tested labels have a "
            f"training label within {SOON:g} days"
        )
    copied = np.isfinite(of.copied_r2) and of.copied_r2 > max(0.3, 0.5 * (best or 0.0))
    name = "split-near" if near[1] > 0.5 and copied else "split"
    if of.both or near[0] > 0.5 or soon > 0.5:
        name = "split-leaks"
    return finding(name, "split: training and test pixels", evidence)


def _cells(position, size):
    cell = np.floor((position - position.min(axis=0)) / size).astype(int)
    return np.unique(cell, axis=0, return_inverse=True)[1].reshape(-1)


def _clear(position, fold, k, buffer):
    """Pixels that are farther than `buffer` from every pixel of the fold."""
    tested = fold == k
    if position is None or buffer <= 0 or not tested.any():
        return np.ones(fold.size, bool)
    return cKDTree(position[tested]).query(position)[0] > buffer


def _others(position, training, query, most):
    """(distance, pixel) of the nearest pixels that train; a pixel itself is at infinity."""
    if not training.size:
        return np.full((query.size, 1), np.inf), np.zeros((query.size, 1), int)
    # one more than wanted: the pixel itself may be among them
    number = np.arange(1, min(most + 1, training.size) + 1)
    distance, index = cKDTree(position[training]).query(position[query], number)
    return np.where(training[index] == query[:, None], np.inf, distance), training[index]


def _copied(position, ndvi, training, truth, drawn):
    """R2 of the mean of the nearest labels of each date."""
    pairs = [np.zeros((2, 0))]
    for value, trains, tested in zip(ndvi, training, truth, strict=True):
        query = drawn[tested[drawn]]
        distance, other = _others(position, np.flatnonzero(trains), query, _COPIED)
        near = np.isfinite(distance)
        near &= near.cumsum(axis=1) <= _COPIED
        count = near.sum(axis=1)
        mean = np.where(near, value[other], 0.0).sum(axis=1) / np.maximum(count, 1)
        pairs.append(np.stack([value[query], mean])[:, count > 0])
    label, mean = np.concatenate(pairs, axis=1)
    if label.size < 30 or label.var() <= 0:
        return float("nan")
    return float(1 - np.mean((label - mean) ** 2) / label.var())
