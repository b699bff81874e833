"""When radar cannot give NDVI here, told by measured conditions, and what to use instead."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from s1jax.doctor.expect import Expected
from s1jax.doctor.finding import Finding, note

INSTEAD = (
    "take the seasons from radar itself (s1jax.phenology on the curve of VH or of an index); "
    "smooth the few clear NDVI by Whittaker (baselines.whittaker); or map a radar index of "
    "vegetation (indices.rvi, indices.dprvi) in place of NDVI"
)
"""What is left where fusion does not work."""


class Condition(NamedTuple):
    """One reason to give up on telling NDVI from radar."""

    name: str
    value: float
    """As measured; NaN where it could not be."""
    limit: float
    met: bool
    words: str


def conditions(
    *,
    water: float,
    per_year: float,
    longest_gap: float,
    mosaic: float,
    late: float,
    expected: Expected,
    top: float,
) -> tuple[Condition, ...]:
    """The reasons, each with what was measured and its limit.

    Args:
      water: share of pixels that look like open water.
      per_year: clear labels of the median pixel in a year.
      longest_gap: longest time without a label of the median pixel, days.
      mosaic: see `mosaic`.
      late: share of labels more than 7 days from radar.
      expected: what a quick regression reached.
      top: the most that label noise lets R2 be.
    """
    best = np.nan if expected.window is None else expected.window.high
    # labels that are noise themselves say nothing about radar
    judged = np.isnan(top) or top > 0.4

    def _over(name, value, limit, words):
        return Condition(name, value, limit, bool(value > limit), words)

    def _under(name, value, limit, words, sure=True):
        return Condition(name, value, limit, bool(sure and value < limit), words)

    return (
        _over("water", water, 0.5, "share of pixels that are open water: ponds, long floods"),
        _under("clear labels", per_year, 6.0, "clear labels of a pixel in a year"),
        _over("longest gap", longest_gap, 150.0, "days without a label, median pixel"),
        _over(
            "mosaic", mosaic, 0.6, "of the NDVI variance on a date, what lies between neighbours"
        ),
        _over("late radar", late, 0.5, "share of labels more than 7 days from radar"),
        _under("relation", best, 0.25, "upper end of the R2 of a window of radar", judged),
    )


def mosaic(ndvi: Float[np.ndarray, "time y x"]) -> float:
    """Half the mean squared difference of neighbours on a date, over the variance on that date.

    0 for a smooth map, 1 where a pixel says nothing about its neighbour. NaN for lists of points
    and where fewer than 50 pixels of a date have labels.
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
    return float((apart**2).mean() / 2 / variance)


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


def verdict(found: Sequence[Finding], reasons: Sequence[Condition]) -> Finding:
    """What to mend first, whether to give up, and what to use instead."""
    faults = [finding for finding in found if finding.level == "fault"]
    met = [reason for reason in reasons if reason.met]
    order = ", then ".join(finding.name for finding in faults)
    spoiled = {"offset-kept", "cloud-unmasked", "ndvi-range", "ndvi-scale", "no-labels"}
    if spoiled & {finding.name for finding in faults}:
        what = "The labels are wrong: no R2 against them says anything about radar or model yet."
    elif met:
        what = "Reasons to give up on NDVI from radar here: " + "; ".join(r.name for r in met) + "."
    else:
        what = "No reason to give up on NDVI from radar here."
    shown = "; ".join(
        f"{r.words} {r.value:.2f} (limit {r.limit:g}{', met' if r.met else ''})"
        for r in reasons
        if np.isfinite(r.value)
    )
    remedy = f"mend first {order}" if faults else "nothing has to be mended first"
    return note("verdict", what, "all", shown, f"{remedy}; {INSTEAD}" if met else remedy)
