"""A cube as it came, before any repair; and a sample of its pixels with what can be trusted."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float, Int

from s1jax.cube import count_valid, position, to_days
from s1jax.cube.align import track_of
from s1jax.cube.findings import UNDATED, Finding, dates, share
from s1jax.cube.formats import Source, files_of
from s1jax.cube.grid import with_grid_mapping
from s1jax.cube.mask import with_mask
from s1jax.cube.names import with_labels
from s1jax.cube.open import parts, sources_of
from s1jax.cube.sensors import join_sensors
from s1jax.cube.values import VariableFacts, measure, missing_findings
from s1jax.doctor import labels, radar
from s1jax.doctor.catalogue import finding

SHIPPED = "the shipped weights know simulated rice alone"
"""What they were trained on (`networks.pretrained`)."""
_NUMBERED = (np.datetime64("2000-01-01", "ns"), 12.0)
"""Start and step by which planes without dates are read, so that their values can be examined."""
_BOUNDS = ("t_bnds", "t_bounds", "time_bnds", "time_bounds")
_Days = Float[np.ndarray, "time"]
_Values = Float[np.ndarray, "..."]
FILLS = (-9999, -32768, 32767, 65535, -999, 9999, -99, 1e20, 9.96921e36, -3.4028235e38)
"""Numbers that stand for "nothing" in common exports and formats."""


class RawCube(NamedTuple):
    """A cube as stored, and the words around it."""

    name: str
    ds: xr.Dataset
    """(t, y, x) by the standard names; nothing repaired but the fills a file's reader knows."""
    values: dict[str, Float[np.ndarray, "time y x"]]
    """Each variable without what is no value, and ..."""
    facts: dict[str, VariableFacts]
    """... the facts of that."""
    findings: list[Finding]
    """About what is no value."""
    day: Float[np.ndarray, "time"]
    """Days since 1970-01-01; NaN where missing; numbers from UNDATED on where not `dated`."""
    dated: bool
    """False where neither the files nor `start` and `step` tell the dates."""
    numbered: bool
    """The planes were numbered periods, dated by `start` and `step`."""
    wanted: Bool[np.ndarray, "y x"]
    """Pixels inside the mask."""
    position: Float[np.ndarray, "y x 2"] | None
    """Metres east and north."""
    group: Int[np.ndarray, "y x"] | None
    """District, else block of each pixel, where the cube has two or more."""
    grouped_by: str
    """"district", "block" or ""."""
    track: Int[np.ndarray, "time"] | None
    """Sentinel-1 track of each date, 0 without Sentinel-1; words are numbered."""
    s1_day: Float[np.ndarray, "time"] | None
    """Mean day of a composite's radar ..."""
    s2_day: Float[np.ndarray, "time"] | None
    """... and of its NDVI."""
    bounds: Float[np.ndarray, "time 2"] | None
    """First and last day of each period, where the file states them."""
    texts: dict[str, str]
    """Names of files and folders, and attributes: where dates may be spelt out."""


class Sample(NamedTuple):
    """Arrays of some pixels inside the mask, dates ascending, NaN where there is nothing."""

    day: Float[np.ndarray, "time"]
    radar_db: Float[np.ndarray, "pixel time channel"]
    """VV, VH of each orbit."""
    ndvi: Float[np.ndarray, "pixel time"]
    index: Int[np.ndarray, "pixel"]
    """In the flat (y, x) grid."""
    order: Int[np.ndarray, "time"]
    """Planes of the cube, in the order of their dates; those without a date left out."""
    planes: Float[np.ndarray, "time y x"]
    """NDVI of whole planes inside the mask, for neighbours and splits."""


def read_raw(
    cube: Source | Sequence[Source], *, start: np.datetime64 | None, step: float | int | None
) -> RawCube:
    """The cube as it came, inside its own mask if it has one. Arguments as of `examine`.

    Raises:
      ValueError: no such file, or a variable or dimension is missing.
    """
    with_start = start is not None and step is not None
    sources = sources_of(cube)
    stored = [s.encoding.get("source", "") for s in sources if not isinstance(s, str | Path)]
    paths = [Path(source) for source in filter(None, stored)]
    paths += [path for s in sources if isinstance(s, str | Path) for path in files_of(s)]
    files = [path.name for path in paths]
    begin, length = (start, step) if with_start else _NUMBERED
    read = parts(sources, start=begin, step=length)
    ds, _ = join_sensors([part.ds for part in read])
    ds = with_grid_mapping(with_labels(ds)[0])
    numbered = any(part.numbered for part in read)
    first = sources[0] if isinstance(sources[0], str | Path) else next(iter(files), "cube")
    name = Path(first).name.split(".")[0].strip("*?_") or Path(first).parent.name
    if numbered:  # a number says no date, the folder may
        files += dict.fromkeys(path.resolve().parent.name for path in paths)
    texts = {f"name {file}": file for file in files}
    texts |= {f"attribute {k}": str(v) for k, v in ds.attrs.items() if not k.startswith("s1jax_")}
    day, dated = _days(ds["t"].values), with_start or not numbered
    if not dated:
        day = UNDATED + np.round((day - _days(np.array(begin))) / length + 0.5)
    findings, arrays, facts = value_findings(ds, day)
    grouped_by, group = _groups(ds)
    return RawCube(
        name, ds, arrays, facts, findings, day, dated, numbered, wanted(ds, None),
        position=position(ds), group=group, grouped_by=grouped_by, track=_track(ds),
        **{n: _days(ds[n].values) if n in ds.coords else None for n in ("s1_day", "s2_day")},
        bounds=_bounds(ds), texts=texts,
    )  # fmt: skip


def wanted(ds: xr.Dataset, mask: str | Path | xr.DataArray | None) -> Bool[np.ndarray, "y x"]:
    """Pixels inside a mask, and inside that of the cube; all where there is neither.

    Raises:
      ValueError: the mask does not fit the cube.
    """
    ds, _ = with_mask(ds, mask)
    if "mask" not in ds.variables:
        return np.ones((ds.sizes["y"], ds.sizes["x"]), bool)
    return ds["mask"].transpose("y", "x").values.astype(bool)


def sample_of(raw: RawCube, *, pixels: int) -> tuple[Sample, list[Finding | None]]:
    """At most `pixels` pixels with what can be trusted of them, and the findings about the rest.

    Faulty values become findings here and are taken out, so that one fault is one finding.
    """
    arrays = raw.values
    bands = [name for name in arrays if name != "S2ndvi"]
    unit = {name: radar.units_of_planes(raw.facts[name]) for name in bands}
    declared = {name: str(raw.ds[name].attrs.get("units") or "").strip() for name in bands}
    findings: list[Finding | None] = [*raw.findings]
    findings += radar.unit_findings(unit, declared, raw.day)
    valid = {name: np.isfinite(array) for name, array in arrays.items()}
    inside = np.logical_or.reduce([there.any(axis=0) for there in valid.values()]) & raw.wanted
    index = np.random.default_rng(0).permutation(np.flatnonzero(inside.ravel()))
    index = np.sort(index[:pixels])
    order = np.argsort(raw.day, kind="stable")
    order = order[np.isfinite(raw.day[order])]
    rows = {name: array.reshape(len(raw.day), -1)[:, index] for name, array in arrays.items()}
    db = [radar.in_db(rows[name], unit[name]) for name in bands]
    findings += labels.ndvi_findings(rows["S2ndvi"])
    findings.append(radar.swapped(db[0], db[1]))
    findings += [radar.level(name, *db[2 * k : 2 * k + 2]) for k, name in enumerate(bands[::2])]
    findings.append(_never_together(valid, raw.wanted))
    ndvi = labels.in_range(rows["S2ndvi"])
    # where nothing is left because of its unit or band, that is a finding already
    if not any((of == radar.OTHER).any() for of in unit.values()):
        findings.append(_nothing("no-radar", "VV", db[0]) or _nothing("no-radar", "VH", db[1]))
    if not raw.facts["S2ndvi"].finite.any():
        remedy = f"networks.predict with the shipped weights needs no label; {SHIPPED}"
        findings.append(finding("radar-alone", "S2ndvi", "no value at all", remedy=remedy))
    elif not labels.is_radar(rows["S2ndvi"]):
        findings.append(_nothing("no-labels", "S2ndvi", ndvi))
    empty = np.sum([of.finite for of in raw.facts.values()], axis=0) == 0
    if empty.any():
        evidence = "all variables are missing; a missing period that keeps its date does no harm"
        where = f"{empty.sum()} of {empty.size} dates"
        findings.append(finding("empty-dates", where, evidence))
    dims, none, some = ("t", "y", "x"), np.float16(np.nan), np.float16(0)
    counted = {name: (dims, np.where(there, some, none)) for name, there in valid.items()}
    counts = count_valid(xr.Dataset(counted | {"mask": (dims[1:], raw.wanted)}))
    findings.append(finding("pixels", "all pixels and dates", counts.replace("\n", "; ")))
    radar_db = np.stack(db, axis=-1)[order].transpose(1, 0, 2)
    planes = np.where(raw.wanted, arrays["S2ndvi"], np.float32(np.nan))[order]
    planes = labels.in_range(planes)
    return Sample(raw.day[order], radar_db, ndvi[order].T, index, order, planes), findings


def is_empty(sample: Sample) -> bool:
    """Whether VV, VH or NDVI is nowhere: then there is nothing to relate."""
    blocks = (sample.radar_db[..., 0], sample.radar_db[..., 1], sample.ndvi)
    return not all(np.isfinite(block).any() for block in blocks)


def _days(t):
    """Days since 1970-01-01, NaN for NaT; numbers as they are."""
    return to_days(t.ravel()).reshape(t.shape) if t.dtype.kind == "M" else t.astype(float)


def _groups(ds):
    for name in ("district", "block"):
        if name in ds.variables and set(ds[name].dims) <= {"y", "x"} and ds[name].dims:
            like = xr.zeros_like(ds["S2ndvi"].isel(t=0, drop=True), dtype=bool)
            group = xr.broadcast(ds[name].reset_coords(drop=True), like)[0]
            _, code = np.unique(group.transpose("y", "x").values, return_inverse=True)
            if code.max() > 0:
                return name, code.reshape(like.shape).astype(int)
    return "", None


def _track(ds):
    if "s1_track" not in ds.variables or ds["s1_track"].dtype.kind in "iuf":
        return track_of(ds) if "s1_track" in ds.variables else None
    words = ds["s1_track"].values.astype(str)
    return np.unique(np.append(words, ""), return_inverse=True)[1][:-1]


def _bounds(ds):
    """CF bounds of t, or period_start and period_end."""
    stated = ds["t"].attrs.get("bounds", ds["t"].encoding.get("bounds"))
    for name in filter(None, (stated, *_BOUNDS)):
        if name in ds.variables and ds[name].ndim == 2 and ds[name].shape[1] == 2:
            return _days(ds[name].values)
    pair = ("period_start", "period_end")
    if all(n in ds.variables and ds[n].dims == ("t",) for n in pair):
        return np.stack([_days(pd.DatetimeIndex(ds[n].values).to_numpy()) for n in pair], axis=1)
    return None


def _never_together(valid, wanted):
    """Radar and labels that are nowhere at one pixel."""
    radar, ndvi = (valid[name].any(axis=0) & wanted for name in ("VV", "S2ndvi"))
    if not radar.any() or not ndvi.any() or (radar & ndvi).any():
        return None
    evidence = f"VV at {radar.sum():,} pixels, S2ndvi at {ndvi.sum():,}, both at 0"
    return finding("never-together", "VV, S2ndvi", evidence)


def _nothing(name, variable, value):
    if np.isfinite(value).any():
        return None
    return finding(name, variable, f"0 of {value.size:,} values", variable=variable)


def value_findings(
    ds: xr.Dataset, day: _Days
) -> tuple[list[Finding], dict[str, Float[np.ndarray, "time y x"]], dict[str, VariableFacts]]:
    """Findings about values that are none, the values without them, and the facts of the rest.

    `open_cube` repairs the same, but for undeclared fills and zeros of one variable alone.
    """
    values, facts = measure(ds)
    fills = {name: undeclared_fills(value.values) for name, value in values.items()}
    if any(fills.values()):
        values, facts = measure(ds, fills)
    constant = np.stack([of.constant for of in facts.values()])
    empty = np.stack([of.stored == 0 for of in facts.values()])
    dead = ((constant == 0) | empty).all(axis=0) & (constant == 0).any(axis=0)
    findings = []
    if dead.any():
        exported = "an image masked everywhere is exported as 0"
        evidence = f"{dead.sum()} of {dead.size} dates; {exported}"
        findings.append(finding("dead-period", dates(day[dead]), evidence))
    # a pixel of a constant plane is no finding of its own
    constant = np.isfinite(constant).any(axis=0)
    rest = {
        name: of._replace(
            constant=np.where(dead, np.nan, of.constant),
            dead=np.where(constant, 0, of.dead),
            dark=np.where(dead | np.isfinite(of.constant), 0, of.dark),
        )
        for name, of in facts.items()
    }
    lines = missing_findings(rest, lambda some: dates(day[some]))
    findings += [finding(line.name, line.where, line.what) for line in lines]
    arrays = {}
    for name, of in facts.items():
        array = values[name].transpose("t", "y", "x").values
        array = np.where(np.isfinite(of.constant)[:, None, None], np.float32(np.nan), array)
        zero = of.count - of.negative - of.positive
        if zero.sum() > 0.01 * max(of.count.sum(), 1):
            part = share(zero.sum() / of.count.sum())
            where = f"{name}, {(zero > 0).sum()} dates"
            evidence = f"{zero.sum():,} values ({part}) are exactly 0"
            findings.append(finding("zeros", where, evidence, variable=name))
            array = np.where(array == 0, np.float32(np.nan), array)
            facts[name] = of._replace(count=of.count - zero, small=of.small - zero)
        arrays[name] = array
    return findings, arrays, facts


def undeclared_fills(value: _Values) -> tuple[float, ...]:
    """Fills of `FILLS` that occur 3 times or more and stand alone: beyond what else is there.

    A number counts only outside twice the span of the 1 and 99 % quantiles, so that NDVI stored
    times 10,000 keeps its values. `value` is NaN where missing.
    """
    seen = value[np.isfinite(value)]
    counts = {float(np.float32(fill)): int((seen == np.float32(fill)).sum()) for fill in FILLS}
    candidates = [fill for fill, count in counts.items() if count >= 3]
    rest = seen[~np.isin(seen, np.asarray(candidates, seen.dtype))]
    if not candidates or rest.size == 0:
        return ()
    low, high = np.quantile(rest[:: max(1, rest.size // 200_000)], (0.01, 0.99))
    wide = max(float(high - low), 1.0)
    return tuple(fill for fill in candidates if not low - wide < fill < high + wide)
