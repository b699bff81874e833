"""The whole examination: a cube in, findings and the facts behind them out."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from s1jax.cube import is_relative, to_days
from s1jax.cube.dates import check_dates, check_step, instant
from s1jax.cube.findings import Finding
from s1jax.cube.formats import Source, files_of
from s1jax.cube.open import sources_of
from s1jax.cube.repair import repair_values
from s1jax.cube.values import PERCENT, undeclared_integer
from s1jax.doctor import expect, labels, orbits, relation, summary
from s1jax.doctor.catalogue import finding, worst_first
from s1jax.doctor.read import (
    RawCube,
    Sample,
    is_empty,
    read_raw,
    sample_of,
    wanted,
)
from s1jax.doctor.timeline import is_composite, timeline


class Examination(NamedTuple):
    """What is wrong with a cube, worst first, and what was measured."""

    name: str
    findings: tuple[Finding, ...]
    facts: summary.Facts | None
    """None where the cube could not be read, or has no dates, no radar or no labels at all."""


def examine(
    cube: Source | Sequence[Source],
    *,
    start: str | np.datetime64 | None = None,
    step: float | int | None = None,
    mask: str | Path | xr.DataArray | None = None,
    split: tuple[expect.Part, expect.Part] | None = None,
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
      ImportError: a GeoTIFF or a mask file needs the extra `geo`.
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
    verdict = summary.overall(there, () if facts is None else facts.limitations)
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
    findings += [orbits.outliers(name, db) for name, db in (("VV", vv_db), ("VH", vh_db))]
    if raw.track is None and sample.radar_db.shape[2] == 2:
        if composite:
            mixed = orbits.orbits_of_composites(vv_db, vh_db, usual)
            findings.append(mixed or orbits.orbit_unknown())
        else:
            findings.append(orbits.orbits_of_acquisitions(day, vv_db))
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
    noise = labels.label_noise(day, ndvi)
    top = expect.noise_ceiling(noise, ndvi)
    position, group = raw.position, raw.group
    expected = expect.expected(
        day, sample.radar_db, ndvi,
        None if position is None else position.reshape(-1, 2)[sample.index],
        None if group is None else group.reshape(-1)[sample.index],
        raw.grouped_by, step=max(usual, 12.0 if step is None else float(step)), most=rows,
    )  # fmt: skip
    leak = None
    if split is not None:
        shape, names = (len(raw.day), *raw.wanted.shape), ("training", "test")
        parts = (
            expect.part_of_split(part, shape, name)[sample.order]
            for part, name in zip(split, names, strict=True)
        )
        leak = expect.leakage(day, sample.planes, position, *parts)
        best = None if expected.window is None else expected.window.r2
        findings.append(expect.split_finding(leak, best))
    per_year, longest = summary.supply(day, ndvi)
    limitations = summary.limitations(
        water=orbits.water(vv_db, vh_db, ndvi),
        per_year=per_year,
        gap=longest,
        mosaic=summary.mosaic(sample.planes, noise),
        late=float((offset > 7).mean()) if offset.size else float("nan"),
        expected=expected,
        top=top,
    )
    findings += [] if relative else [labels.balance_finding(balance)]
    findings.append(relation.correlation_finding(correlation))
    findings += expect.expected_findings(expected, noise, top)
    facts = summary.Facts(
        day=day,
        composites=composite,
        ndvi=summary.quantiles(ndvi),
        vv_db=summary.quantiles(vv_db),
        vh_db=summary.quantiles(vh_db),
        seen=np.stack([there.mean(axis=0), np.isfinite(ndvi).mean(axis=0)], axis=1),
        highest=summary.highest(ndvi),
        balance=balance,
        correlation=correlation,
        offset=offset,
        noise=float("nan") if noise is None else noise,
        ceiling=top,
        expected=expected,
        leakage=leak,
        limitations=limitations,
    )
    return findings, facts


def _days_apart(raw, sample, some):
    """Days between both sensors' scenes in the composite of each label; none where unknown."""
    if raw.s1_day is None or raw.s2_day is None:
        return np.zeros(0)
    days = np.abs(raw.s1_day - raw.s2_day)[sample.order][some.time]
    return days[np.isfinite(days)]
