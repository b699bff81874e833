"""The whole examination: a cube in, findings and the facts behind them out."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from s1jax.cube import to_days
from s1jax.cube.clean import PERCENT, clean
from s1jax.cube.dates import checked_dates
from s1jax.cube.numbered import checked_step, instant
from s1jax.cube.read import Source, files_of
from s1jax.doctor import labels, radar, relation
from s1jax.doctor.expect import ceiling, expected, expected_note
from s1jax.doctor.facts import Facts, highest, quantiles
from s1jax.doctor.finding import Finding, fault, finding, worst_first
from s1jax.doctor.noise import label_noise
from s1jax.doctor.sheet import Sheet, sheet, sources_of, wanted
from s1jax.doctor.split import Part, chosen, leakage, split_finding
from s1jax.doctor.timeline import is_composite, timeline
from s1jax.doctor.verdict import conditions, mosaic, supply, verdict
from s1jax.doctor.view import View, empty, is_empty, labels_of, view


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
    split: tuple[Part, Part] | None = None,
    today: str | np.datetime64 | None = None,
    pixels: int = 6000,
    rows: int = 8000,
) -> Examination:
    """Findings about a cube as it came, before `open_cube` repairs it; nothing is changed.

    Every fault of the values, dates, labels and radar that can be named is a finding, with its
    evidence and remedy; a cube that cannot be made sense of is one too ("unreadable"). Levels are
    "fault" (results are wrong), "warning" (they may be, or lose accuracy) and "note". Inside a
    level what has to be mended first stands first.

    Args:
      cube: as for `open_cube`: NetCDF, Zarr, GeoTIFFs, CSV, a Dataset, or one for each sensor.
      start: beginning of period 1, a date; with `step` it dates numbered planes. Without them only
        the values of such planes are examined.
      step: length of a period, days.
      mask: pixels wanted, as for `open_cube`.
      split: training and test pixels, each True on (y, x), or on (t, y, x) where single dates are
        drawn, or places in the flat (y, x) grid.
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
    checked_step(step)
    if pixels < 1 or rows < 0:
        raise ValueError(f"pixels, rows: got {pixels}, {rows}, expected at least 1 and 0")
    begin = None if start is None else instant("start", start)
    now = instant("today", pd.Timestamp.now() if today is None else today)
    for source in sources_of(cube):
        if isinstance(source, str | Path):
            files_of(source)
    try:
        page, ds = sheet(cube, start=begin, step=step)
    except ValueError as error:
        name = Path(cube).stem if isinstance(cube, str | Path) else "cube"
        what = "The cube cannot be made sense of; nothing else was looked at."
        wants = "VV, VH and S2ndvi (or NDVI) on (t, y, x); correct what the evidence names"
        if "match=" in str(error):
            wants = "examine what open_cube(..., match=) returns: as it came it is on two grids"
        where = "file, variables, dimensions"
        return Examination(name, (fault("unreadable", what, where, str(error), wants),), None)
    if mask is not None:
        page = page._replace(wanted=wanted(ds, mask))
    seen_from, found = view(page, pixels=pixels)
    found = _opened(page, ds, [*found, empty(page)])
    found += timeline(page, seen_from, float(to_days(np.array([now]))[0]), begin, step)
    facts = None
    if page.dated and not is_empty(seen_from):
        more, facts = _content(page, seen_from, step, split, rows)
        found += more
    there = worst_first(found)
    last = verdict(there, () if facts is None else facts.conditions)
    return Examination(page.name, (*there, last), facts)


def _refused(ds, *, dated=False):
    """What `open_cube` says where it refuses the values, or dates that are there; "" where it takes
    them."""
    try:
        clean(ds)
        if dated:
            checked_dates(ds)
    except ValueError as error:
        return str(error)
    return ""


def _opened(page, ds, found):
    """The findings, with what `open_cube` makes of NDVI in whole numbers, and whether it refuses
    the cube; that alone is a fault where no other says why."""
    found = [finding for finding in found if finding is not None]
    percent = page.units["S2ndvi"].lower() in PERCENT
    if ("S2ndvi" in page.whole or percent) and not _refused(ds[["S2ndvi"]]):
        known = {"ndvi-scale", "fill-undeclared"}
        own = [f.name in known and f.where.startswith("S2ndvi") for f in found]
        found = [f._replace(mended=f.mended or o) for f, o in zip(found, own, strict=True)]
    if error := _refused(ds, dated=page.dated):
        level = "note" if any(f.level == "fault" and not f.mended for f in found) else "fault"
        where, what = error.partition(":")[0], "open_cube refuses this cube."
        found.append(finding(level, "refused", what, where, error, "correct what it names"))
    return found


def _content(page: Sheet, made: View, step, split, rows):
    """Findings about labels and radar, and the facts."""
    day, ndvi = made.day, made.ndvi
    vv_db, vh_db = made.radar_db[:, :, 0], made.radar_db[:, :, 1]
    composite = is_composite(made)
    gap = np.diff(np.unique(day))
    usual = float(np.median(gap)) if composite and gap.size > 1 else 12.0
    found = [labels.cloudy(day, ndvi), labels.ceiling(day, ndvi, calendar=not page.relative)]
    found += [radar.outliers(n, db) for n, db in (("VV", vv_db), ("VH", vh_db))]
    if page.track is None and made.radar_db.shape[2] == 2:
        if composite:
            mixed = radar.orbits_of_composites(vv_db, vh_db, usual)
            found.append(mixed or radar.orbit_unknown())
        else:
            found.append(radar.orbits_of_acquisitions(day, vv_db))
    some = relation.sample(ndvi, 40_000)
    there = np.isfinite(vv_db) & np.isfinite(vh_db)
    at = relation.nearest(day, there, some)
    apart = np.where(at >= 0, np.abs(day[at] - day[some.time]), np.inf)
    beside = made.radar_db[some.pixel, np.maximum(at, 0)][:, :2]
    # radar of another fortnight is no radar of this label
    beside = np.where((apart <= 12)[:, None], beside, np.float32(np.nan))
    beside = np.column_stack([beside, beside[:, 1] - beside[:, 0]])
    stage = relation.stages(day, ndvi, beside[:, 1], some)
    correlation = relation.correlations(beside, ndvi[some], stage, some.pixel)
    offset = _offset(page, made, composite, some, apart)
    if offset.size:
        found.append(relation.offset_finding(offset, composites=composite))
    # months of a relative axis are none
    balance = labels.balance(*((day[:0], ndvi[:, :0]) if page.relative else (day, ndvi)))
    noise = label_noise(day, ndvi)
    top = ceiling(noise, ndvi)
    place = None if page.place is None else page.place.reshape(-1, 2)[made.flat]
    group = None if page.group is None else page.group.reshape(-1)[made.flat]
    told = expected(
        day, made.radar_db, ndvi, place, group, page.grouped_by,
        step=max(usual, 12.0 if step is None else float(step)), most=rows,
    )  # fmt: skip
    planes, leak = labels_of(page, made), None
    if split is not None:
        shape = (len(page.day), *page.wanted.shape)
        parts = (
            chosen(part, shape, name)[made.order]
            for part, name in zip(split, ("training", "test"), strict=True)
        )
        leak = leakage(day, planes, page.place, *parts)
        found.append(split_finding(leak, None if told.window is None else told.window.r2))
    per_year, longest = supply(day, ndvi)
    late = float((offset > 7).mean()) if offset.size else float("nan")
    reasons = conditions(
        water=radar.water(vv_db, vh_db, ndvi), per_year=per_year, gap=longest,
        mosaic=mosaic(planes, noise), late=late, expected=told, top=top,
    )  # fmt: skip
    found += [] if page.relative else [labels.balance_note(balance)]
    found.append(relation.correlation_note(correlation))
    found += expected_note(told, noise, top)
    facts = Facts(
        day, composite, quantiles(ndvi), quantiles(vv_db), quantiles(vh_db),
        np.stack([there.mean(axis=0), np.isfinite(ndvi).mean(axis=0)], axis=1), highest(ndvi),
        balance, correlation, offset, float("nan") if noise is None else noise, top, told, leak,
        reasons,
    )  # fmt: skip
    return found, facts


def _offset(page, made, composite, some, apart):
    """Days from each label to radar; of composites those of their scenes, none where not told."""
    if not composite:
        return apart
    if page.s1_day is None or page.s2_day is None:
        return np.zeros(0)
    days = np.abs(page.s1_day - page.s2_day)[made.order][some.time]
    return days[np.isfinite(days)]
