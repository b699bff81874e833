"""NDVI as labels: how high it gets, how much cloud is left in it, and where it is.

Pixels come as rows, (pixel, time), NaN where there is no label.
"""

import calendar
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from s1jax.doctor.finding import Finding, dates, fault, note, share, warning
from s1jax.doctor.noise import departures

OFFSET_CEILING = 0.66
"""NDVI that dense crops hardly pass with +0.1 left in both bands: red .02, nir .45 give
(.55 - .12) / (.55 + .12) = .64 in place of .91."""
TOA_CEILING = 0.76
"""NDVI that they hardly pass at the top of the atmosphere; L2A gives them .8 to .95."""
CLOUD_LEVEL, CLOUD_ROUGHNESS, ROUGHEST, WIDEST = 0.40, 0.25, 0.33, 32.0
"""Limits from which on labels are taken for unmasked: see `cloudy`."""
_CHANGE = 19017.0
"""2022-01-25: from here on Sentinel-2 products carry the offset of 1000."""
_Rows = Float[np.ndarray, "pixel time"]
_Days = Float[np.ndarray, "time"]


class Level(NamedTuple):
    """How high the NDVI of a set of labels gets."""

    ceiling: float
    """90 % quantile over pixels of their highest label, 1: what dense vegetation reaches."""
    mean: float
    """Mean over vegetated pixels' labels, 1; those that reach half of the ceiling."""
    rise: float
    """95 % quantile over them of highest label - 10 % quantile, 1: what grows in a season."""
    roughness: float
    """Mean squared departure of labels from their neighbours in time (`departures`, the near ones)
    over the variance of a pixel's labels, 1; 1 were labels all noise."""
    width: float
    """Median time between those neighbours, days."""


def level(day: _Days, ndvi: _Rows) -> Level | None:
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
    return Level(ceiling, float(np.nanmean(green)), top, rough, wide)


def ceiling(day: _Days, ndvi: _Rows, *, calendar: bool = True) -> Finding | None:
    """Labels that never get as high as dense vegetation: an offset left in, or no correction.

    The ceiling is taken over all dates, and, where a year lies on either side of 2022-01-25, after
    and before it, since only products made from then on carry the offset: without 150 days of them
    it is not called that. A scene on which nothing rises by 0.25 in a season has no dense
    vegetation to measure by: a note. Without a `calendar` no date is after that day.
    """
    found = level(day, ndvi)
    if found is None or np.ptp(day) < 150:
        return None
    where, offset = "S2ndvi, all dates", calendar and day[-1] >= max(_CHANGE, day[0]) + 150
    if calendar and day[0] < _CHANGE - 330 and day[-1] > _CHANGE + 330:
        before, after = (level(day[s], ndvi[:, s]) for s in (day < _CHANGE, day >= _CHANGE))
        if before and after:
            # as low before as after is not this offset
            offset = after.ceiling < OFFSET_CEILING <= TOA_CEILING < before.ceiling
        if offset and after:
            found, where = after, "S2ndvi from 2022-01-25 on"
    numbers = (
        f"90 % of pixels never pass {found.ceiling:.2f}, mean over vegetated pixels "
        f"{found.mean:.2f}; dense crops reach .8 to .95"
    )
    if found.ceiling >= TOA_CEILING:
        return None
    if found.rise < 0.25:
        return note(
            "sparse-vegetation",
            "Nothing dense grows here in these dates: whether NDVI reaches its height is unknown.",
            where,
            f"{numbers}; no pixel rises by more than {found.rise:.2f}",
        )
    if offset and found.ceiling < OFFSET_CEILING:
        return fault(
            "offset-kept",
            "NDVI has a ceiling: +1000 DN was left in the reflectances (baseline 04.00). It may be "
            "true of sparse crops.",
            where,
            f"{numbers}; with the offset .9 becomes .64",
            "use the harmonised collection (COPERNICUS/S2_SR_HARMONIZED), or subtract 1000 from "
            "every band before the ratio; it cannot be undone on NDVI alone",
        )
    return warning(
        "toa-labels",
        "NDVI stays low over the densest crops: L1C (no atmospheric correction) or haze left in.",
        where,
        numbers,
        "use L2A surface reflectance (Collection 1, reprocessed, carries +1000 DN in all years); "
        "where nothing closes its canopy this may be true",
    )


def cloudy(day: _Days, ndvi: _Rows) -> Finding | None:
    """Labels without a cloud mask: low for what grows, and unlike their neighbours in time.

    Cloud and shadow pull NDVI down on single dates. A third of a pixel's variance and more being
    change against neighbours a fortnight away is cloud; a quarter is, where vegetated pixels' mean
    is below 0.4 of the ceiling too: they would lie fallow most of the time. Masked series of rice
    and of European fields lie at 0.08 to 0.24 and 0.60 to 0.71, simulated ones at 0.16 and 0.55;
    without a mask these lie at 0.40 to 0.50 and 0.31. Where neighbours are more than 32 days apart
    (composites of 20 days, a month) rice itself changes as much, and only the second rule is asked.
    """
    found = level(day, ndvi)
    # a dozen dates: fewer may be one rise and one fall
    if found is None or np.isfinite(ndvi).any(axis=0).sum() < 12:
        return None
    ratio = found.mean / found.ceiling
    low = ratio < CLOUD_LEVEL and found.roughness > CLOUD_ROUGHNESS
    if not low and not (found.roughness > ROUGHEST and found.width <= WIDEST):
        return None
    there = np.isfinite(ndvi).mean(axis=0)
    full = (there[there > 0] > 0.95).mean()
    return fault(
        "cloud-unmasked",
        "Cloud is among the labels: NDVI is far below what the crop reaches, on dates at random.",
        f"S2ndvi, {worst(day, ndvi)}",
        f"mean {found.mean:.2f} is {share(ratio, digits=0)} of the ceiling {found.ceiling:.2f}; "
        f"{share(found.roughness, digits=0)} of a pixel's variance is change from date to date "
        f"(masked: below {share(CLOUD_ROUGHNESS, digits=0)}); "
        f"{share(full, digits=0)} of the dates have no gap at all",
        "mask with Cloud Score+ (cs_cdf), SCL or s2cloudless; QA60 marks nothing from early "
        "2022 to early 2024. More gaps are better than false labels",
    )


def worst(day: _Days, ndvi: _Rows) -> str:
    """In words: the dates on which the median pixel is farthest below its own upper envelope."""
    envelope = np.full(len(ndvi), np.nan)
    some = np.isfinite(ndvi).any(axis=1)
    envelope[some] = np.nanquantile(ndvi[some], 0.9, axis=1)
    seen = np.flatnonzero(np.isfinite(ndvi).mean(axis=0) > 0.1)
    if seen.size == 0:
        return "no date"
    depth = np.array([np.nanmedian(envelope - ndvi[:, t]) for t in seen])
    return f"deepest on {dates(np.sort(day[seen[np.argsort(-depth)[:4]]]))}"


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
    bin_of = np.clip(np.searchsorted(edge, ndvi[pixel, time], side="right") - 1, 0, edge.size - 2)
    count = np.zeros((12, edge.size - 1), int)
    np.add.at(count, (month[time], bin_of), 1)
    return Balance(count, edge, np.isin(np.arange(12), month))


def balance_note(found: Balance) -> Finding:
    """The balance in words: fullest and emptiest months, share of the middle levels."""
    total = max(found.count.sum(), 1)
    months = found.count.sum(axis=1) / total
    names = np.array(list(calendar.month_abbr[1:]))
    thin = names[found.dated & (months < 0.02)]
    low, high = (found.count[:, s].sum() / total for s in (slice(0, 4), slice(8, None)))
    return note(
        "label-balance",
        "Labels by level and month: what a model sees little of it tells badly.",
        f"thin months: {', '.join(thin) or 'none'}",
        f"{total:,} labels seen; {share(low, digits=0)} below .2, {share(high, digits=0)} from "
        f".6 up; most in {names[months.argmax()]} ({share(months.max(), digits=0)})",
        "score by month too: a mean over all labels hides the cloudy season"
        if thin.size
        else "none needed",
    )
