"""Radar and NDVI beside each other: days between them, and their correlation by growth stage."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from s1jax.baselines.common import last_valid, next_valid
from s1jax.cube.findings import Finding, share
from s1jax.doctor.catalogue import finding

STAGES = ("flooded", "bare", "growing", "full", "ripening")
"""Of a label, by its level between the pixel's low and high and by the way NDVI goes."""
FEATURES = ("VV", "VH", "VH - VV")
"""What is correlated with NDVI, dB."""
FLOODED_VH = -20.0
"""VH below which low NDVI counts as flooded, dB; dry bare soil scatters -20 to -14."""
_Rows = Float[np.ndarray, "pixel time"]
_Days = Float[np.ndarray, "time"]


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


def sample(ndvi: _Rows, most: int, seed: int = 0) -> Labels:
    """At most `most` labels, drawn without replacement, in order."""
    pixel, time = np.nonzero(np.isfinite(ndvi))
    kept = np.sort(np.random.default_rng(seed).permutation(pixel.size)[:most])
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
    by_stage = "; ".join(parts) or "no stages known"
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
