"""What is always reported of a cube, the reasons to give up on NDVI from radar, and the verdict."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from s1jax.cube.findings import Finding
from s1jax.doctor.catalogue import costliest, finding
from s1jax.doctor.expect import Expected, Leakage
from s1jax.doctor.labels import Balance
from s1jax.doctor.relation import Correlation

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Over pixels, of each date."""
_SEASONS = "take the seasons from radar itself: s1jax.phenology on the curve of VH or of an index"
_SMOOTH = "smooth the pixel's own clear NDVI: baselines.whittaker"
_INDEX = "map a radar index of vegetation in place of NDVI: features.rvi, features.dprvi"
_ELSEWHERE = "leave the water out (mask=) and examine the rest: it has no season of NDVI"
_DISTINCT = 0.05
"""Spread of NDVI on a date below which the map counts as one field."""


class Limitation(NamedTuple):
    """One reason to give up on NDVI from radar."""

    name: str
    value: float
    """As measured; NaN where it could not be."""
    met: bool
    limit: float
    words: str
    instead: str
    """What is left where it is met."""


class Facts(NamedTuple):
    """Measured on a sample of the pixels inside the mask, fills taken out, backscatter in dB."""

    day: Float[np.ndarray, "time"]
    """Days since 1970-01-01, ascending."""
    composites: bool
    """Dates are periods, not acquisitions."""
    ndvi: Float[np.ndarray, "time quantile"]
    """`QUANTILES` of the labels of each date, NaN where there is none."""
    vv_db: Float[np.ndarray, "time quantile"]
    vh_db: Float[np.ndarray, "time quantile"]
    seen: Float[np.ndarray, "time 2"]
    """Share of the pixels with radar and with a label on each date."""
    highest: Float[np.ndarray, "some"]
    """Highest label of each pixel with 5 or more."""
    balance: Balance
    correlation: Correlation
    offset: Float[np.ndarray, "label"]
    """Days from labels to the nearest radar; empty where composites do not tell."""
    noise: float
    """Standard deviation of the noise of a label, NDVI; NaN where unknown."""
    ceiling: float
    """R2 against labels that no method can pass; NaN where unknown."""
    expected: Expected
    leakage: Leakage | None
    """Of the split that was given."""
    limitations: tuple[Limitation, ...]


def quantiles(values: Float[np.ndarray, "pixel time"]) -> Float[np.ndarray, "time quantile"]:
    """`QUANTILES` over pixels of each date; NaN where no pixel has a value."""
    result = np.full((values.shape[1], len(QUANTILES)), np.nan)
    some = np.isfinite(values).any(axis=0)
    if some.any():
        result[some] = np.nanquantile(values[:, some], QUANTILES, axis=0).T
    return result


def highest(ndvi: Float[np.ndarray, "pixel time"]) -> Float[np.ndarray, "some"]:
    """Highest label of each pixel with 5 or more."""
    often = np.isfinite(ndvi).sum(axis=1) >= 5
    return np.nanmax(ndvi[often], axis=1) if often.any() else np.zeros(0)


def limitations(
    *,
    water: float,
    per_year: float,
    gap: float,
    mosaic: float,
    late: float,
    expected: Expected,
    top: float,
) -> tuple[Limitation, ...]:
    """The reasons, each with what was measured and its limit.

    Of `orbits.water`, `supply` (labels a year, longest gap), `mosaic`, the share of labels over 7
    days from radar, what a quick regression reached, and the most that label noise lets R2 be.
    """
    best = np.nan if expected.window is None else expected.window.high
    # labels that are noise themselves say nothing about radar
    judged = bool(np.isnan(top) or top > 0.4)
    lies = "of the NDVI variance on a date, what lies between neighbours"
    r2 = "upper end of the R2 of a window of radar"
    rows = (
        ("water", water, water > 0.5, 0.5, "share of pixels that are open water", _ELSEWHERE),
        ("clear labels", per_year, per_year < 6, 6.0, "clear labels a year and pixel", _SEASONS),
        ("longest gap", gap, gap > 150, 150.0, "days without a label, median pixel", _SEASONS),
        ("heterogeneous cover", mosaic, mosaic > 0.6, 0.6, lies, _SMOOTH),
        ("S1-S2 offset", late, late > 0.5, 0.5, "share of labels over 7 days from radar", _SMOOTH),
        ("relation", best, judged and best < 0.25, 0.25, r2, _INDEX),
    )
    return tuple(Limitation(*row) for row in rows)


def mosaic(ndvi: Float[np.ndarray, "time y x"], noise: float | None = None) -> float:
    """Half the mean squared difference of neighbours on a date, over the variance on that date,
    both less the variance of the label noise.

    0 for a smooth map, and where all that varies is noise; 1 where a pixel says nothing about its
    neighbour. NaN for lists of points and where fewer than 50 pixels of a date have labels.
    """
    if min(ndvi.shape[1:]) < 2:
        return float("nan")
    count = np.isfinite(ndvi).sum(axis=(1, 2))
    best = np.argsort(-count, kind="stable")[:12]
    best = best[count[best] >= 50]
    if best.size == 0:
        return float("nan")
    some = ndvi[best].astype(np.float64)
    pairs = [(some[:, :, 1:] - some[:, :, :-1]).ravel(), (some[:, 1:] - some[:, :-1]).ravel()]
    apart = np.concatenate(pairs)
    apart = apart[np.isfinite(apart)]
    variance = np.mean([plane[np.isfinite(plane)].var() for plane in some])
    if apart.size == 0 or variance <= 0:
        return float("nan")
    alone = 0.0 if noise is None else noise**2
    return float(max((apart**2).mean() / 2 - alone, 0.0) / max(variance - alone, _DISTINCT**2))


def supply(
    day: Float[np.ndarray, "time"], ndvi: Float[np.ndarray, "pixel time"]
) -> tuple[float, float]:
    """(labels a year, longest time without one in days) of the median pixel that has any."""
    rows = [np.flatnonzero(np.isfinite(row)) for row in ndvi[:: max(1, len(ndvi) // 2000)]]
    rows = [at for at in rows if at.size]
    if not rows:
        return 0.0, float(np.ptp(day))
    years = max(float(np.ptp(day)) / 365.25, 1e-6)
    gaps = [np.diff(np.concatenate([day[:1], day[at], day[-1:]])).max() for at in rows]
    return float(np.median([at.size for at in rows])) / years, float(np.median(gaps))


def overall(findings: Sequence[Finding], reasons: Sequence[Limitation]) -> Finding:
    """The verdict: what to repair first, whether to give up, and what to use instead.

    Not before the faults are repaired; what `open_cube` repairs was left out of the measurements.
    """
    wrong = [one for one in findings if one.kind != "note"]
    first = dict.fromkeys(f.name for f in costliest(wrong) if not f.repaired)
    repaired = dict.fromkeys(f.name for f in wrong if f.repaired)
    met = [reason for reason in reasons if reason.met]
    faulty = any(f.kind == "fault" and not f.repaired for f in wrong)
    what = "No reason to give up on NDVI from radar here."
    if faulty:
        what = "Faults first: until they are repaired no R2 says anything about radar or model."
    elif met:
        what = "Reasons to give up on NDVI from radar here: " + "; ".join(r.name for r in met) + "."
    shown = "; ".join(
        f"{r.words} {r.value:.2f} (limit {r.limit:g}{', met' if r.met else ''})"
        for r in reasons
        if np.isfinite(r.value)
    )
    names = ", then ".join(first)
    steps = [f"repair first {names}" if first else "nothing has to be repaired first"]
    if repaired:
        steps.append(f"open_cube(repair=True) repairs {', '.join(repaired)}")
    if met and not faulty:
        steps += dict.fromkeys(reason.instead for reason in met)
    return finding("verdict", "all", shown, what=what, remedy="; ".join(steps))
