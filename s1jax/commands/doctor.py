"""What is wrong with this input, where, how that shows, and what to do about it?

Command: s1jax doctor cube.nc
         s1jax doctor FOLDER --start 2023-11-01 --step 12 --mask paddy.shp
Cost: 2 s for 36 x 140 x 116, 10 s and 3 GB for 671 x 893 x 62, on 2 cores.
Expected: no fault on a clean cube; on one exported without cloud mask and with the offset kept:
infinite, dead-period, cloud-unmasked, offset-kept.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
import xarray as xr

from s1jax import arrays, cube, doctor, files, plots
from s1jax.commands import endings
from s1jax.commands.page import Picture, Section, Table, picture, write_report
from s1jax.cube.formats.netcdf import read_dataset
from s1jax.doctor.labels import OFFSET_CEILING, TOA_CEILING

_LARGEST = 2**32
"""Bytes of a split, at most."""


@dataclass(frozen=True)
class Doctor:
    """Examine a cube before any fit."""

    cube: Annotated[tuple[str, ...], tyro.conf.Positional]
    """NetCDF, Zarr, a GeoTIFF of many dates, or a folder or glob of them; or a file for each
    sensor."""
    start: str | None = None
    """First day of the first period (ISO date); needed for files which carry no date."""
    step: float | None = None
    """Length of a period, days."""
    mask: Path | None = None
    """Vector file, raster or NetCDF of the pixels wanted."""
    split: Path | None = None
    """NetCDF, Zarr or .npz with `training` and `test`, True on (y, x) or (t, y, x): is it leaky?"""
    today: str | None = None
    """Dates after it are in the future (ISO date); none: now."""
    pixels: int = 6000
    """Pixels looked at closely, at most; fills are counted in all."""
    rows: int = 8000
    """Labels the quick regression sees, at most; 0: no regression."""
    out: Path | None = None
    """Folder of the results; none: results/doctor-<name>-<utc>."""
    strict: bool = False
    """Exit with 2 where there is any fault."""


def main(config: Doctor) -> doctor.Examination:
    """The examination; its findings printed, worst first, and report.html, findings.json, figures/
    written.

    Raises:
      ValueError: what `s1jax.doctor.examine` raises, or a split file without the two variables.
    """
    started = time.perf_counter()
    if not config.cube:
        raise ValueError("cube: got no file, expected one, or one for each sensor")
    utc = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    out = config.out or Path("results") / f"doctor-{endings.stem(config.cube[0])}-{utc}"
    with endings.writing(out, inputs=config.cube):
        examination = _examine(config, out)
    print(f"\n{out} written in {time.perf_counter() - started:.0f} s")
    return examination


def _examine(config: Doctor, out: Path) -> doctor.Examination:
    source = config.cube[0] if len(config.cube) == 1 else config.cube
    examination = doctor.examine(
        source, start=config.start, step=config.step, mask=config.mask,
        split=None if config.split is None else read_split(config.split),
        today=config.today, pixels=config.pixels, rows=config.rows,
    )  # fmt: skip
    print(*[*_span(examination), *map(text, examination.findings)], sep="\n\n")
    content = json.dumps(summary(examination), indent=1, allow_nan=False)
    files.write_text(out / "findings.json", content + "\n")
    write_report(out, f"Examination of {examination.name}", sections(examination))
    return examination


def _span(examination: doctor.Examination) -> list[str]:
    """First date, last date and step; nothing where there are none."""
    if examination.facts is None:
        return []
    relative = any(finding.name == "relative-axis" for finding in examination.findings)
    attrs = {"time_axis": "relative"} if relative else {}
    dates = xr.Dataset(coords={"t": cube.from_days(examination.facts.day)}, attrs=attrs)
    return [f"{examination.name}: {cube.span(dates)}"]


def read_split(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Training and test pixels of a split, from the variables `training` and `test` of a file.

    Numbers become True where they are neither 0 nor NaN, but integers on one axis are places.

    Raises:
      ValueError: no such file, or one of the variables is missing.
    """
    names = ("training", "test")
    if not path.exists():
        raise ValueError(f"split: got no such file {path}, expected .npz, NetCDF or Zarr")
    if path.suffix == ".npz":
        stored = arrays.read(path, names, limit=_LARGEST)
    else:
        ds, _ = read_dataset(path)
        stored = {str(name): ds[name].values for name in ds.variables}
    if not set(names) <= set(stored):
        raise ValueError(f"{path}: got {sorted(stored)}, expected {names} among them")
    parts = (stored[name] for name in names)
    training, test = (p if p.ndim == 1 else np.nan_to_num(p) != 0 for p in parts)
    return training, test


def text(finding: doctor.Finding) -> str:
    """A finding as lines of the terminal."""
    repaired = "; open_cube(repair=True) repairs it" if finding.repaired else ""
    return (
        f"{finding.kind.upper()} {finding.name}: {finding.what}\n  where: {finding.where}\n"
        f"  evidence: {finding.evidence}\n  remedy: {finding.remedy}{repaired}"
    )


def summary(examination: doctor.Examination) -> dict:
    """The findings and the numbers behind them, fit for JSON; missing numbers are left out."""
    keys = {"kind": "level", "repaired": "mended"}
    findings = [
        {keys.get(key, key): value for key, value in finding._asdict().items()}
        for finding in examination.findings
    ]
    content = {"cube": examination.name, "findings": findings}
    facts = examination.facts
    if facts is None:
        return content
    values = {"noise": facts.noise, "r2_ceiling": facts.ceiling, **_scores(facts)}
    if facts.leakage is not None:
        values["copied_r2"] = facts.leakage.copied_r2
    reasons = [
        {"name": r.name, "value": r.value, "limit": r.limit, "met": r.met}
        for r in facts.limitations
        if np.isfinite(r.value)
    ]
    numbers = {k: v for k, v in values.items() if np.isfinite(v).all()}
    return content | {"facts": numbers | {"composites": facts.composites}, "conditions": reasons}


def _scores(facts: doctor.Facts) -> dict[str, tuple[float, float, float]]:
    """R2 with the ends of its interval, of what was measured."""
    pairs = {"one step": facts.expected.single, "window of steps": facts.expected.window}
    return {f"R2, {name}": score for name, score in pairs.items() if score is not None}


def sections(examination: doctor.Examination) -> list[Section]:
    """The page: verdict, a line for each finding, the findings in full, the figures."""
    verdict = next((f for f in examination.findings if f.name == "verdict"), None)
    parts = [] if verdict is None else [verdict.what, f"Next: {verdict.remedy}.", verdict.evidence]
    made = [Section("Verdict", [*parts, _table(examination.findings)])]
    for level, heading in zip(doctor.LEVELS, ("Faults", "Warnings", "Notes"), strict=True):
        of = [f for f in examination.findings if f.kind == level and f is not verdict]
        if of:
            made.append(Section(heading, [text(f) for f in of]))
    if examination.facts is not None:
        made.append(Section("Figures", figures(examination.facts)))
    return made


def _table(findings: Sequence[doctor.Finding]) -> Table:
    body = [
        (f.name, f.kind, "yes" if f.repaired else "no" if f.kind != "note" else "", f.where[:70])
        for f in findings
    ]
    return Table(("finding", "level", "repaired by open_cube(repair=True)", "where"), body)


def figures(facts: doctor.Facts) -> list[Picture]:
    """What was measured, drawn."""
    limits = {"most with the offset kept": OFFSET_CEILING, "most in L1C": TOA_CEILING}
    scores = {name.removeprefix("R2, "): s for name, s in _scores(facts).items()}
    return [
        picture(
            "record",
            plots.record(facts.day, facts.ndvi, facts.vv_db, facts.vh_db, facts.seen),
            "Labels, radar and what was seen, by date. Unmasked cloud shows as dates that drop "
            "alone; mixed units or orbits as radar that jumps between two levels.",
        ),
        picture(
            "label_levels",
            plots.label_levels(
                facts.highest, facts.balance.count, facts.balance.edge, limits=limits
            ),
            "Dense crops reach .8 to .95 at some time: a cube whose pixels stop at a line has a "
            "fault. On the right: where there are few labels a model learns little.",
        ),
        picture(
            "stage_bars",
            plots.stage_bars(
                facts.correlation.r, facts.correlation.count, doctor.STAGES, doctor.FEATURES
            ),
            "Correlation of radar with NDVI by growth stage. Inside a stage NDVI spans a part of "
            "its range, so r is lower than over all labels.",
        ),
        picture(
            "expectation",
            plots.expectation(scores, facts.ceiling, facts.offset),
            "R2 of boosted trees on radar alone at places left out, with 95 % intervals.",
        ),
    ]


def run(arguments: Sequence[str] | None = None) -> int:
    """Exit status of an examination: 2 where there is a fault and `strict`."""

    def _run() -> int:
        config = tyro.cli(Doctor, args=arguments, prog="s1jax doctor")
        faults = [f for f in main(config).findings if f.kind == "fault"]
        return 2 if config.strict and faults else 0

    return endings.status(_run)
