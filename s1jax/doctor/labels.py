"""NDVI as labels: how high it gets, how much cloud and noise is left in it, and where it is.

Pixels come as rows, (pixel, time), NaN where there is no label."""

import calendar
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from s1jax.cube.findings import Finding, dates, share
from s1jax.doctor.catalogue import finding

OFFSET_CEILING = 0.66
"""NDVI that dense crops hardly pass with +0.1 left in both bands: red .02, nir .45 give
(.55 - .12) / (.55 + .12) = .64 in place of .91."""
TOA_CEILING = 0.76
"""NDVI that they hardly pass at the top of the atmosphere; L2A gives them .8 to .95."""
CLOUD_LEVEL, CLOUD_ROUGHNESS, ROUGHEST, WIDEST = 0.40, 0.25, 0.33, 32.0
"""Limits from which on labels are taken for unmasked: see `cloudy`."""
_CHANGE = 19017.0
"""2022-01-25: from here on Sentinel-2 products carry the offset of 1000."""
_NEAR = 30.0
"""Days between the neighbours of a label that are near enough to measure its noise."""
_Rows = Float[np.ndarray, "pixel time"]
_Days = Float[np.ndarray, "time"]
_Values = Float[np.ndarray, "..."]
_PILE = 0.002
"""Share of all values on one end of the range that is called a pile."""
_NEGATIVE = 0.95
"""Share of values below 0 that no vegetation has."""


class LabelCeiling(NamedTuple):
    """How high the NDVI of a set of labels gets."""

    ceiling: float
    """90 % quantile over pixels of their highest label: what dense vegetation reaches."""
    mean: float
    """Mean NDVI of vegetated pixels: those that reach half of the ceiling."""
    rise: float
    """95 % quantile over them of highest label - 10 % quantile: what grows in a season."""
    roughness: float
    """Mean squared departure of labels from their near neighbours in time (`departures`) over the
    variance of a pixel's labels; near 1 where labels are all noise."""
    width: float
    """Median time between those neighbours, days."""


def label_ceiling(day: _Days, ndvi: _Rows) -> LabelCeiling | None:
    """Ceiling, mean, rise and roughness; None where fewer than 10 pixels have 5 labels, or
    nothing is green."""
    ndvi = ndvi[np.isfinite(ndvi).sum(axis=1) >= 5]
    if len(ndvi) < 10:
        return None
    highest = np.nanmax(ndvi, axis=1)
    ceiling = float(np.quantile(highest, 0.9))
    if ceiling <= 0:
        return None
    green = ndvi[highest >= 0.5 * ceiling]
    rise = np.nanmax(green, axis=1) - np.nanquantile(green, 0.1, axis=1)
    spread = float(np.mean(np.nanvar(green, axis=1)))
    departure, width = departures(day, green)
    rough = float(np.mean(departure**2)) / max(spread, 1e-6) if departure.size >= 30 else 0.0
    wide = float(np.median(width)) if width.size else 0.0
    top = float(np.quantile(rise, 0.95))
    return LabelCeiling(ceiling, float(np.nanmean(green)), top, rough, wide)


def low_labels(day: _Days, ndvi: _Rows, *, calendar: bool = True) -> Finding | None:
    """Labels that never get as high as dense vegetation: an offset left in, or no correction.

    The ceiling is taken over all dates, and, where a year lies on either side of 2022-01-25, after
    and before it, since only products made from then on carry the offset: without 150 days of them
    it is not called that. A scene on which nothing rises by 0.25 in a season has no dense
    vegetation to measure by: a note. Without a `calendar` no date is after that day.
    """
    level = label_ceiling(day, ndvi)
    if level is None or np.ptp(day) < 150:
        return None
    where, offset = "S2ndvi, all dates", calendar and day[-1] >= max(_CHANGE, day[0]) + 150
    if calendar and day[0] < _CHANGE - 330 and day[-1] > _CHANGE + 330:
        some = (day < _CHANGE, day >= _CHANGE)
        before, after = (label_ceiling(day[s], ndvi[:, s]) for s in some)
        if before and after:
            # as low before as after is not this offset
            offset = after.ceiling < OFFSET_CEILING <= TOA_CEILING < before.ceiling
        if offset and after:
            level, where = after, "S2ndvi from 2022-01-25 on"
    if level.ceiling >= TOA_CEILING:
        return None
    numbers = (
        f"90 % of pixels never pass {level.ceiling:.2f}, mean over vegetated pixels "
        f"{level.mean:.2f}; dense crops reach .8 to .95"
    )
    if level.rise < 0.25:
        evidence = f"{numbers}; no pixel rises by more than {level.rise:.2f}"
        return finding("sparse-vegetation", where, evidence)
    if offset and level.ceiling < OFFSET_CEILING:
        return finding("offset-kept", where, f"{numbers}; with the offset .9 becomes .64")
    return finding("toa-labels", where, numbers)


def cloudy(day: _Days, ndvi: _Rows) -> Finding | None:
    """Labels without a cloud mask: low for what grows, and unlike their neighbours in time.

    Cloud and shadow pull NDVI down on single dates. A third of a pixel's variance and more being
    change against neighbours a fortnight away is cloud; a quarter is, where vegetated pixels' mean
    is below 0.4 of the ceiling too: they would lie fallow most of the time. Masked series of rice
    and of European fields lie at 0.08 to 0.24 and 0.60 to 0.71, simulated ones at 0.16 and 0.55;
    without a mask these lie at 0.40 to 0.50 and 0.31. Where neighbours are more than 32 days apart
    (composites of 20 days, a month) rice itself changes as much, and only the second rule holds.
    """
    level = label_ceiling(day, ndvi)
    # a dozen dates: fewer may be one rise and one fall
    if level is None or np.isfinite(ndvi).any(axis=0).sum() < 12:
        return None
    ratio = level.mean / level.ceiling
    low = ratio < CLOUD_LEVEL and level.roughness > CLOUD_ROUGHNESS
    if not low and not (level.roughness > ROUGHEST and level.width <= WIDEST):
        return None
    there = np.isfinite(ndvi).mean(axis=0)
    full = (there[there > 0] > 0.95).mean()
    evidence = (
        f"mean {level.mean:.2f} is {share(ratio, digits=0)} of the ceiling {level.ceiling:.2f}; "
        f"{share(level.roughness, digits=0)} of a pixel's variance is change from date to date "
        f"(masked: below {share(CLOUD_ROUGHNESS, digits=0)}); "
        f"{share(full, digits=0)} of the dates have no gap at all"
    )
    return finding("cloud-unmasked", f"S2ndvi, {deepest(day, ndvi)}", evidence)


def deepest(day: _Days, ndvi: _Rows) -> str:
    """In words: the dates on which the median pixel is farthest below its upper envelope."""
    envelope = np.full(len(ndvi), np.nan)
    some = np.isfinite(ndvi).any(axis=1)
    envelope[some] = np.nanquantile(ndvi[some], 0.9, axis=1)
    seen = np.flatnonzero(np.isfinite(ndvi).mean(axis=0) > 0.1)
    if seen.size == 0:
        return "no date"
    depth = np.array([np.nanmedian(envelope - ndvi[:, t]) for t in seen])
    return f"deepest on {dates(np.sort(day[seen[np.argsort(-depth)[:4]]]))}"


def noise_of_labels(day: _Days, ndvi: _Rows) -> float | None:
    """Standard deviation of the noise of one label, NDVI; None where nothing measures it.

    1.4826 times the median absolute departure (`departures`) of labels from near neighbours.
    Curvature counts as noise, so neighbours over 30 days apart measure nothing; errors that last
    (haze of a season, a wrong calendar) do not show, and rare large ones (missed cloud) do not move
    a median.
    """
    departure, width = departures(day, ndvi)
    if departure.size < 30 or np.median(width) > _NEAR:
        return None
    return float(1.4826 * np.median(np.abs(departure)))


def departures(
    day: _Days, ndvi: _Rows
) -> tuple[Float[np.ndarray, "label"], Float[np.ndarray, "label"]]:
    """Scaled departures of labels from the line through their neighbours in time, and the time
    between these, days; of at most 3,000 pixels, spread evenly.

    With neighbours d1 days before and d2 after, the departure is divided by sqrt(1 + w1^2 + w2^2),
    w1 = d2 / (d1 + d2), w2 = 1 - w1: independent noise of one std in all three leaves just that.
    Only near ones, no more than 30 days; the nearest fifth where there are fewer than 100 such.
    """
    departure, widths = [np.zeros(0)], [np.zeros(0)]
    for row in ndvi[:: max(1, len(ndvi) // 3000)]:
        at = np.flatnonzero(np.isfinite(row))
        if at.size < 3:
            continue
        d1, d2 = np.diff(day[at[:-1]]), np.diff(day[at[1:]])
        wide = d1 + d2
        apart = (d1 > 0) & (d2 > 0)
        w1 = d2 / np.where(wide > 0, wide, 1.0)
        value = row[at].astype(np.float64)
        line = w1 * value[:-2] + (1 - w1) * value[2:]
        scaled = (value[1:-1] - line) / np.sqrt(1 + w1**2 + (1 - w1) ** 2)
        departure.append(scaled[apart])
        widths.append(wide[apart])
    scaled, width = np.concatenate(departure), np.concatenate(widths)
    near = width <= _NEAR
    if near.sum() < 100 and width.size:
        near = width <= np.quantile(width, 0.2)
    return scaled[near], width[near]


class Balance(NamedTuple):
    """How many labels there are of each level and month."""

    count: Int[np.ndarray, "month level"]
    edge: Float[np.ndarray, "edge"]
    """Edges of the levels, NDVI."""
    dated: Bool[np.ndarray, "month"]
    """Months with a date of the series."""


def balance(day: _Days, ndvi: _Rows) -> Balance:
    """Labels by month of the year (0 is January) and by level in steps of 0.1 from -0.2 to 1."""
    month = day.astype("datetime64[D]").astype("datetime64[M]").astype(int) % 12
    edge = np.round(np.arange(-0.2, 1.05, 0.1), 1)
    pixel, time = np.nonzero(np.isfinite(ndvi))
    level = np.clip(np.searchsorted(edge, ndvi[pixel, time], side="right") - 1, 0, edge.size - 2)
    count = np.zeros((12, edge.size - 1), int)
    np.add.at(count, (month[time], level), 1)
    return Balance(count, edge, np.isin(np.arange(12), month))


def balance_finding(of: Balance) -> Finding:
    """The balance in words: fullest and emptiest months, share of the middle levels."""
    total = max(of.count.sum(), 1)
    months = of.count.sum(axis=1) / total
    names = np.array(list(calendar.month_abbr[1:]))
    thin = names[of.dated & (months < 0.02)]
    low, high = (of.count[:, s].sum() / total for s in (slice(0, 4), slice(8, None)))
    by_month = "score by month too: a mean over all labels hides the cloudy season"
    evidence = (
        f"{total:,} labels seen; {share(low, digits=0)} below .2, {share(high, digits=0)} from "
        f".6 up; most in {names[months.argmax()]} ({share(months.max(), digits=0)})"
    )
    where = f"thin months: {', '.join(thin) or 'none'}"
    return finding("label-balance", where, evidence, remedy=by_month if thin.size else None)


def ndvi_scale(ndvi: _Values) -> float:
    """What NDVI was multiplied by: 1, 100, 255 or 10,000; by its 99 % quantile of absolute values.

    255 stands for bytes, of which 0 and 255 may be any NDVI.
    """
    seen = np.abs(ndvi[np.isfinite(ndvi)])
    top = float(np.quantile(seen, 0.99)) if seen.size else 0.0
    if is_radar(ndvi) or top <= 2.0:
        return 1.0
    return 100.0 if top <= 120.0 else 255.0 if top <= 255.0 else 10_000.0


def is_radar(ndvi: _Values) -> bool:
    """Whether "NDVI" looks like backscatter in dB: median below -2, nothing beyond +-70."""
    seen = ndvi[np.isfinite(ndvi)]
    return seen.size > 0 and bool(np.median(seen) < -2.0 and np.abs(seen).max() < 70.0)


def in_range(ndvi: _Values) -> _Values:
    """NDVI unscaled, NaN where it is out of [-1, 1], exactly on an end, or no NDVI at all."""
    if is_radar(ndvi):
        return np.full_like(ndvi, np.nan)
    value = ndvi / ndvi.dtype.type(ndvi_scale(ndvi))
    return np.where(np.abs(value) < 1.0, value, ndvi.dtype.type(np.nan))


def ndvi_findings(ndvi: _Values) -> list[Finding]:
    """Findings about scale, range and clamped values; `ndvi` as stored, NaN where missing."""
    seen = ndvi[np.isfinite(ndvi)]
    if seen.size == 0:
        return []
    low, high, factor = float(seen.min()), float(seen.max()), ndvi_scale(ndvi)
    values = f"values in [{low:g}, {high:g}]"
    if is_radar(ndvi):
        remedy = "bands were taken by position in another order: name them VV, VH, NDVI"
        why, evidence = "it looks like backscatter in dB", f"{values}, median {np.median(seen):.1f}"
        return [finding("ndvi-range", "S2ndvi", evidence, why=why, remedy=remedy)]
    findings = []
    if factor != 1.0:
        findings.append(finding("ndvi-scale", "S2ndvi", values, factor=f"{factor:,.0f}"))
    value = seen / factor
    outside = np.abs(value) > 1.0 + 1e-5
    if outside.any():
        part = share(outside.mean(), digits=3)
        ends = f"[{value[outside].min():g}, {value[outside].max():g}]"
        why = "reflectances were negative, or a fill is undeclared"
        remedy = "mask reflectances not above 0 before the ratio, never clamp after it"
        evidence = f"{outside.sum():,} values ({part}) in {ends}"
        findings.append(finding("ndvi-range", "S2ndvi", evidence, why=why, remedy=remedy))
    negative = float((value < 0).mean())
    if negative > _NEGATIVE:
        evidence = f"{share(negative)} of {value.size:,} values are below 0"
        findings.append(finding("ndvi-negative", "S2ndvi", evidence))
    return [*findings, *_clamped(value[~outside])]


def _clamped(value):
    """Exact +-1, or a pile of equal values at an end of the range."""
    if value.size == 0:
        return []
    ends = float(value.min()), float(value.max())
    count = [int((value == end).sum()) for end in ends]
    exact = [n for n, end in zip(count, ends, strict=True) if abs(end) > 1.0 - 1e-5 and n]
    # NDVI stored as integers repeats values by chance: an end must hold more than what lies there
    piled = [n > max(20.0, _PILE * value.size) for n in count]
    if sum(exact) < max(3.0, 1e-5 * value.size) and not any(piled):
        return []
    shown = [f"{n:,} values are exactly {e:g}" for n, e in zip(count, ends, strict=True) if n > 1]
    return [finding("ndvi-clamped", "S2ndvi", "; ".join(shown))]
