"""The whole examination: a cube in, findings and the facts behind them out."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from s1jax.cube import is_relative, to_days
from s1jax.cube.dates import check_dates, check_step, instant
from s1jax.cube.findings import Finding
from s1jax.cube.formats import Source, files_of
from s1jax.cube.open import sources_of
from s1jax.cube.values import PERCENT, repair_values, undeclared_integer
from s1jax.doctor import labels, radar, relation
from s1jax.doctor.catalogue import costliest, finding, worst_first
from s1jax.doctor.labels import Balance
from s1jax.doctor.read import RawCube, Sample, is_empty, read_raw, sample_of, wanted
from s1jax.doctor.relation import Correlation, Expected, Leakage
from s1jax.doctor.timeline import is_composite, timeline

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


class Examination(NamedTuple):
    """What is wrong with a cube, worst first, and what was measured."""

    name: str
    findings: tuple[Finding, ...]
    facts: Facts | None
    """None where the cube could not be read, or has no dates, no radar or no labels at all."""


def examine(
    cube: Source | Sequence[Source],
    *,
    start: str | np.datetime64 | None = None,
    step: float | int | None = None,
    mask: str | Path | xr.DataArray | None = None,
    split: tuple[relation.Part, relation.Part] | None = None,
    today: str | np.datetime64 | None = None,
    pixels: int = 6000,
    rows: int = 8000,
) -> Examination:
    """Findings about a cube as it came, before `open_cube` repairs it; nothing is changed.

    Every fault of the values, dates, labels and radar that has a name is a finding, with its
    evidence and remedy; a cube that cannot be made sense of is one too ("unreadable"). Kinds are
    "fault" (results are wrong), "warning" (they may be, or lose accuracy) and "note". Among those
    of a kind what has to be repaired first stands first.

    Args:
      cube: as for `open_cube`: NetCDF, Zarr, GeoTIFFs, CSV, a Dataset, or one for each sensor.
      start: beginning of period 1, a date; with `step` it dates numbered planes. Without them only
        the values of such planes are examined.
      step: length of a period, days.
      mask: pixels wanted, as for `open_cube`.
      split: training and test pixels, each True on (y, x), or on (t, y, x) where single dates are
        drawn, or indices into the flat (y, x) grid.
      today: dates after it are in the future; the day it is where None.
      pixels: looked at closely, at most, drawn with a fixed seed; fills are counted in all.
      rows: labels the quick regression of "r2-to-expect" sees; 0 leaves it out.

    Raises:
      ValueError: no such file, `start` without `step`, no date or number that can be, a mask or
        split that does not fit the cube.
      ImportError: a vector mask needs the extra `geo`.
    """
    if (start is None) != (step is None):
        raise ValueError(f"start and step: got {start=}, {step=}, expected both or neither")
    check_step(step)
    if pixels < 1 or rows < 0:
        raise ValueError(f"pixels, rows: got {pixels}, {rows}, expected at least 1 and 0")
    begin = None if start is None else instant("start", start)
    now = instant("today", pd.Timestamp.now() if today is None else today)
    for source in sources_of(cube):
        if isinstance(source, str | Path):
            files_of(source)
    try:
        raw = read_raw(cube, start=begin, step=step)
    except ValueError as error:
        name = Path(cube).stem if isinstance(cube, str | Path) else "cube"
        on_two_grids = "examine what open_cube(..., match=) returns: as it came it is on two grids"
        remedy = on_two_grids if "match=" in str(error) else None
        where = "file, variables, dimensions"
        return Examination(name, (finding("unreadable", where, str(error), remedy=remedy),), None)
    if mask is not None:
        raw = raw._replace(wanted=wanted(raw.ds, mask))
    sample, findings = sample_of(raw, pixels=pixels)
    findings = _opened(raw, [one for one in findings if one is not None])
    findings += timeline(raw, sample, float(to_days(np.array([now]))[0]), begin, step)
    facts = None
    if raw.dated and not is_empty(sample):
        more, facts = _content(raw, sample, step, split, rows)
        findings += more
    there = worst_first(findings)
    verdict = overall(there, () if facts is None else facts.limitations)
    return Examination(raw.name, (*there, verdict), facts)


def _opened(raw: RawCube, findings: list[Finding]) -> list[Finding]:
    """The findings, with what `open_cube` makes of NDVI in whole numbers, and whether it refuses
    the cube; that alone is a fault where no other says why."""
    ndvi = raw.ds["S2ndvi"]
    percent = str(ndvi.attrs.get("units") or "").strip().lower() in PERCENT
    if (undeclared_integer(ndvi) or percent) and not _refused(raw.ds[["S2ndvi"]]):
        findings = [
            one._replace(repaired=True)
            if one.name in ("ndvi-scale", "fill-undeclared") and one.where.startswith("S2ndvi")
            else one
            for one in findings
        ]
    if error := _refused(raw.ds, dated=raw.dated):
        explained = any(one.kind == "fault" and not one.repaired for one in findings)
        kind = "note" if explained else "fault"
        findings.append(finding("refused", error.partition(":")[0], error, kind=kind))
    return findings


def _refused(ds, *, dated=False):
    """The message of `open_cube` where it refuses the values, or dates that are there; else ""."""
    try:
        repair_values(ds)
        if dated:
            check_dates(ds)
    except ValueError as error:
        return str(error)
    return ""


def _content(raw: RawCube, sample: Sample, step, split, rows):
    """Findings about labels and radar, and the facts."""
    day, ndvi, relative = sample.day, sample.ndvi, is_relative(raw.ds)
    vv_db, vh_db = sample.radar_db[:, :, 0], sample.radar_db[:, :, 1]
    composite = is_composite(sample)
    gap = np.diff(np.unique(day))
    usual = float(np.median(gap)) if composite and gap.size > 1 else 12.0
    findings = [labels.cloudy(day, ndvi), labels.low_labels(day, ndvi, calendar=not relative)]
    findings += [radar.outliers(name, db) for name, db in (("VV", vv_db), ("VH", vh_db))]
    if raw.track is None and sample.radar_db.shape[2] == 2:
        if composite:
            mixed = radar.orbits_of_composites(vv_db, vh_db, usual)
            findings.append(mixed or radar.orbit_unknown())
        else:
            findings.append(radar.orbits_of_acquisitions(day, vv_db))
    some = relation.sample(ndvi, 40_000)
    there = np.isfinite(vv_db) & np.isfinite(vh_db)
    at = relation.nearest(day, there, some)
    apart = np.where(at >= 0, np.abs(day[at] - day[some.time]), np.inf)
    beside = sample.radar_db[some.pixel, np.maximum(at, 0)][:, :2]
    # radar of another fortnight is no radar of this label
    beside = np.where((apart <= 12)[:, None], beside, np.float32(np.nan))
    beside = np.column_stack([beside, beside[:, 1] - beside[:, 0]])
    stage = relation.stages(day, ndvi, beside[:, 1], some)
    correlation = relation.correlations(beside, ndvi[some], stage, some.pixel)
    offset = _days_apart(raw, sample, some) if composite else apart
    if offset.size:
        findings.append(relation.offset_finding(offset, composites=composite))
    # months of a relative axis are none
    balance = labels.balance(*((day[:0], ndvi[:, :0]) if relative else (day, ndvi)))
    noise = labels.noise_of_labels(day, ndvi)
    top = relation.noise_ceiling(noise, ndvi)
    position, group = raw.position, raw.group
    expected = relation.expected(
        day, sample.radar_db, ndvi,
        None if position is None else position.reshape(-1, 2)[sample.index],
        None if group is None else group.reshape(-1)[sample.index],
        raw.grouped_by, step=max(usual, 12.0 if step is None else float(step)), most=rows,
    )  # fmt: skip
    leak = None
    if split is not None:
        shape, names = (len(raw.day), *raw.wanted.shape), ("training", "test")
        parts = (
            relation.part_of_split(part, shape, name)[sample.order]
            for part, name in zip(split, names, strict=True)
        )
        leak = relation.leakage(day, sample.planes, position, *parts)
        best = None if expected.window is None else expected.window.r2
        findings.append(relation.split_finding(leak, best))
    per_year, longest = supply(day, ndvi)
    reasons = limitations(
        water=radar.water(vv_db, vh_db, ndvi),
        per_year=per_year,
        gap=longest,
        mosaic=mosaic(sample.planes, noise),
        late=float((offset > 7).mean()) if offset.size else float("nan"),
        expected=expected,
        top=top,
    )
    findings += [] if relative else [labels.balance_finding(balance)]
    findings.append(relation.correlation_finding(correlation))
    findings += relation.expected_findings(expected, noise, top)
    facts = Facts(
        day=day,
        composites=composite,
        ndvi=_quantiles(ndvi),
        vv_db=_quantiles(vv_db),
        vh_db=_quantiles(vh_db),
        seen=np.stack([there.mean(axis=0), np.isfinite(ndvi).mean(axis=0)], axis=1),
        highest=highest(ndvi),
        balance=balance,
        correlation=correlation,
        offset=offset,
        noise=float("nan") if noise is None else noise,
        ceiling=top,
        expected=expected,
        leakage=leak,
        limitations=reasons,
    )
    return findings, facts


def _days_apart(raw, sample, some):
    """Days between both sensors' scenes in the composite of each label; none where unknown."""
    if raw.s1_day is None or raw.s2_day is None:
        return np.zeros(0)
    days = np.abs(raw.s1_day - raw.s2_day)[sample.order][some.time]
    return days[np.isfinite(days)]


def _quantiles(values: Float[np.ndarray, "pixel time"]) -> Float[np.ndarray, "time quantile"]:
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

    Of `radar.water`, `supply` (labels a year, longest gap), `mosaic`, the share of labels over 7
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
