"""GeoTIFFs: a file a period or date, one file of all, or of sits a file a band and date."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from s1jax.cube.dates import DATE, all_periods, dates_of, parse_date
from s1jax.cube.findings import Finding, named, repair
from s1jax.cube.formats import PERIOD, Chunks
from s1jax.cube.formats.geotiff import Header, Plane, cube_of, plane_of, read_header
from s1jax.cube.names import RADAR, VARIABLES, in_order, variable_of

_DATE = re.compile(rf"(?<!\d){DATE}(?!\d)")
_BEHIND = re.compile(rf"(?P<name>.+?)[-_. ](?:P(?P<period>\d+)|{DATE})", re.IGNORECASE)
_BEFORE = re.compile(rf"{DATE}[-_. ](?P<name>.+)", re.IGNORECASE)
_SITS = re.compile(
    r"(?P<satellite>[^_]+)_(?P<sensor>[^_]+)_(?P<tile>[^_]+)_(?P<band>[^_]+)"
    r"_(?P<date>\d{4}-\d{2}-\d{2})(_v\d+)?"
)
_SCALE = {"VV": 1e-3, "VH": 1e-3, "S2ndvi": 1e-4}
"""What sits multiplies whole numbers by, where the file does not say (its configuration)."""
_NODATA = {"VV": (0.0, -32768.0), "VH": (0.0, -32768.0), "S2ndvi": (-9999.0, -32768.0)}
"""What sits writes where whole numbers are missing; of floats, the last of each."""


# one file a period or date


def read_periods(files: list[Path], chunks: Chunks = None) -> tuple[xr.Dataset, list[Finding]]:
    """Dataset (t, y, x) of files with the bands VV, VH and NDVI, and findings.

    Its t are the dates in the names of the files, else the numbers of periods from 1; NaN where a
    file is missing.

    Raises:
      ValueError: unreadable file, other bands or one twice, a grid unlike the first file's, or bad
        names of files.
    """
    times, absent = times_of(files), np.array([])
    t = np.unique(times)
    if t.dtype.kind != "M":
        t, absent = all_periods(times, f"{files[0].parent}: periods")
    heads = {path: read_header(path) for path in files}
    bands = {path: _bands(head, path) for path, head in heads.items()}
    names = in_order(set().union(*bands.values()))
    for path, head in heads.items():
        if "S2ndvi" in names and not any(head.descriptions) and len(bands[path]) < len(VARIABLES):
            got = f"{len(bands[path])} bands without description"
            raise ValueError(f"{path}: got {got}, expected 3: VV, VH, NDVI, as in other files")
    planes: dict[str, list[Plane | None]] = {name: [None] * t.size for name in names}
    for path, k in zip(files, np.searchsorted(t, times), strict=True):
        for name, band in bands[path].items():
            text = heads[path].descriptions[band] or ""
            planes[name][k] = plane_of(path, band, heads[path], text)
    ds, findings = cube_of(planes, heads, chunks)
    findings += _band_findings(heads, bands, names)
    if absent.size:
        numbers = ", ".join(map(str, absent))
        findings.append(repair(f"no file for period {numbers}: missing on its date"))
    return ds.assign_coords(t=t), findings


def times_of(files: list[Path]) -> np.ndarray:
    """Of each file, by its name, the number of its period (whole) or its date (datetime64[ns]).

    It is the number after "period"; else a date, 2023-11-07 or 20231107; else the last number.

    Raises:
      ValueError: a name with neither or with several dates, a number under 1, names of both kinds,
        or the same number or date twice.
    """
    times = [_time(file) for file in files]
    if len({type(time) for time in times}) > 1:
        one = {type(time): file.name for file, time in zip(files, times, strict=True)}
        raise ValueError(
            f"files: got dates and numbers of periods, as {sorted(one.values())}, expected one kind"
        )
    number = np.array(times)
    value, count = np.unique(number, return_counts=True)
    if (count > 1).any():
        twice = [str(time)[:10] for time in value[count > 1]]
        raise ValueError(f"periods or dates: got {twice} in more than one file, expected one each")
    return number


def _time(file):
    dates = [*_DATE.finditer(file.stem)]
    number = PERIOD.findall(_DATE.sub("", file.stem))
    if dates and not number:
        days = {parse_date(date, str(file)) for date in dates}
        if len(days) > 1:
            got = sorted(date[0] for date in dates)
            raise ValueError(f"{file}: got dates {got}, expected one, or period_NN.tif")
        return days.pop()
    number = number or re.findall(r"\d+", file.stem)
    if not number or int(number[-1]) < 1:
        raise ValueError(f"{file}: got no period number from 1 and no date, expected period_NN.tif")
    return int(number[-1])


def _bands(head, path):
    """Positions of VV, VH [, S2ndvi, VV_2, ...] among bands, by description, else in that order."""
    texts = head.descriptions
    if not any(texts):
        values = [band for band, alpha in enumerate(head.alpha) if not alpha]
        if len(values) not in (len(RADAR), len(VARIABLES)):
            got = f"{len(values)} bands without description"
            raise ValueError(f"{path}: got {got}, expected 3: VV, VH, NDVI, or VV, VH alone")
        return dict(zip(VARIABLES, values, strict=False))
    pairs = [(name, k) for k, text in enumerate(texts) if (name := variable_of(text or ""))]
    bands = dict(pairs)
    if len(bands) < len(pairs):
        raise ValueError(f"{path}: got bands {texts}, expected each of VV, VH, NDVI once")
    missing = [name for name in RADAR if name not in bands]
    if "S2ndvi" not in bands and any("ndvi" in (text or "").lower() for text in texts):
        # a name like it, not a file of radar alone
        missing.append("S2ndvi")
    if missing:
        raise ValueError(f"{path}: got bands {texts}, expected {missing} among them")
    return bands


def _band_findings(heads, bands, names):
    """Findings about bands without description, left aside, or not in all files."""
    findings = []
    bare = sum(not any(head.descriptions) for head in heads.values())
    if bare:
        some = "" if bare == len(heads) else f" in {bare} of {len(heads)} files"
        order = "VV, VH, NDVI" if "S2ndvi" in names else "VV, VH"
        findings.append(repair(f"bands without description{some}: taken as {order} by position"))
    aside = {
        str(text)
        for path, head in heads.items()
        for band, text in enumerate(head.descriptions)
        if band not in bands[path].values() and not head.alpha[band]
    }
    if aside:
        findings.append(named(f"other bands are left aside: {sorted(aside)[:6]}"))
    for name in names:
        if lacking := [path.name for path in heads if name not in bands[path]]:
            some = f"{', '.join(lacking[:6])}{', ...' if len(lacking) > 6 else ''}"
            findings.append(
                repair(f"{name}: no band in {len(lacking)} files: missing there: {some}")
            )
    return findings


# one file of all periods or dates


class _Layer(NamedTuple):
    """What the description of a band says: its name there, variable, and period or date."""

    name: str
    variable: str
    time: int | np.datetime64


def _layer(description):
    """What a band is by its description; None where that does not say variable and time.

    That is VV_P01, VV_2023-11-07, VV_20231107 and 20231107_VV, with any alias of the variable;
    VV_2_20231107 is of a second orbit, and VV_dB_20231107 in dB.
    """
    match = _BEHIND.fullmatch(description or "") or _BEFORE.fullmatch(description or "")
    if match is None or (variable := variable_of(match["name"])) is None:
        return None
    period = match.groupdict().get("period")
    time = int(period) if period else parse_date(match, f"band {description}")
    return _Layer(match["name"], variable, time)


def is_stack(head: Header) -> bool:
    """Whether any band says its variable and its period or date."""
    return any(map(_layer, head.descriptions))


def read_stack(path: Path, chunks: Chunks = None) -> tuple[xr.Dataset, list[Finding]]:
    """Dataset (t, y, x) of the variables in the file, t its dates, or numbers of periods from 1.

    A variable that has no band on a date or in a period is NaN there. Also findings.

    Raises:
      ValueError: unreadable file, both dates and periods, a band twice, a period under 1, or more
        than half of the periods left out.
    """
    head = read_header(path)
    texts = head.descriptions
    layers = {band: layer for band, text in enumerate(texts) if (layer := _layer(text))}
    times = [layer.time for layer in layers.values()]
    numbered = isinstance(times[0], int)
    if len({type(time) for time in times}) > 1:
        raise ValueError(f"{path}: got bands with dates and with periods, expected one kind")
    if numbered and min(times) < 1:
        raise ValueError(f"{path}: got a band of period {min(times)}, expected 1 and up")
    number, names = np.array(times), in_order({layer.variable for layer in layers.values()})
    t = all_periods(number, f"{path}: periods")[0] if numbered else np.unique(number)
    planes: dict[str, list[Plane | None]] = {name: [None] * t.size for name in names}
    for (band, layer), k in zip(layers.items(), np.searchsorted(t, number), strict=True):
        if planes[layer.variable][k] is not None:
            raise ValueError(f"{path}: got {texts[band]} twice, expected it once")
        planes[layer.variable][k] = plane_of(path, band, head, layer.name)
    ds, findings = cube_of(planes, {path: head}, chunks)
    aside = [text for band, text in enumerate(texts) if band not in layers and not head.alpha[band]]
    if aside:
        got = f"{len(aside)} other bands of {path.name}"
        findings.append(named(f"{got} are left aside: {aside[:6]}"))
    for name, of in planes.items() if numbered else ():
        if absent := ", ".join(str(k) for k, plane in enumerate(of, start=1) if plane is None):
            findings.append(repair(f"{name}: no band for period {absent}: missing on its date"))
    return ds.assign_coords(t=t), findings


# one file of sits a band and date


def is_sits(path: Path) -> bool:
    """Whether the name of a file is one that sits gives, of a band that is used here."""
    name = _SITS.fullmatch(path.stem)
    return name is not None and variable_of(name["band"]) is not None


def read_sits(files: list[Path], chunks: Chunks = None) -> tuple[list[xr.Dataset], list[Finding]]:
    """A Dataset (t, y, x) for each sensor, t its own dates, and findings.

    Scale and fills are those of the files, else of sits; other bands are left aside.

    Raises:
      ValueError: several tiles, several sensors of one band, a band of one date twice, or grids of
        one sensor that differ.
    """
    names = {path: name for path in files if (name := _SITS.fullmatch(path.stem))}
    used = {path: name for path, name in names.items() if variable_of(name["band"])}
    tiles = sorted({name["tile"] for name in used.values()})
    if len(tiles) > 1:
        raise ValueError(f"tiles: got {tiles}, expected one: open the files of one at a time")
    findings, sensors = [], []
    if len(used) < len(files):
        aside = sorted({name["band"] for path, name in names.items() if path not in used})
        bands = f", of bands {', '.join(aside)}" if aside else ""
        findings.append(named(f"{len(files) - len(used)} other files are left aside{bands}"))
    for variables in (("VV", "VH"), ("S2ndvi",)):
        of = {path: m for path, m in used.items() if variable_of(m["band"]) in variables}
        if of:
            ds, more = _sensor(of, chunks)
            sensors.append(ds)
            findings += more
    return sensors, findings


def _sensor(files, chunks):
    """The cube of one sensor's files, and findings."""
    sensors = sorted({f"{name['satellite']}_{name['sensor']}" for name in files.values()})
    names = {path: name for path, m in files.items() if (name := variable_of(m["band"]))}
    bands = sorted({*names.values()}, reverse=True)
    if len(sensors) > 1:
        raise ValueError(f"{', '.join(bands)}: got sensors {sensors}, expected one")
    heads = {path: read_header(path) for path in files}
    days = np.array(sorted({name["date"] for name in files.values()}))
    t = pd.DatetimeIndex(dates_of(days, f"{', '.join(bands)}: dates of {next(iter(files)).parent}"))
    planes: dict[str, list[Plane | None]] = {name: [None] * len(t) for name in bands}
    assumed = {name: [] for name in bands}
    for path, parts in files.items():
        name, k = names[path], t.get_loc(parts["date"])
        if planes[name][k] is not None:
            both = sorted([path.name, planes[name][k].path.name])
            raise ValueError(f"{name}: {parts['date']}: got {both}, expected one file")
        plane, whole = plane_of(path, 0, heads[path]), np.dtype(heads[path].dtype[0]).kind in "iu"
        fills = _NODATA[name] if whole else _NODATA[name][-1:]
        plane = plane._replace(assumed=tuple(fill for fill in fills if fill not in plane.nodata))
        assumed[name].append(whole and (plane.scale, plane.offset) == (1.0, 0.0))
        planes[name][k] = plane._replace(scale=_SCALE[name]) if assumed[name][-1] else plane
    findings = [
        repair(
            f"{name}: {sum(scaled)} of {len(scaled)} files of whole numbers declare no scale: "
            f"that of sits, {_SCALE[name]:g}"
        )
        for name, scaled in assumed.items()
        if any(scaled)
    ]
    ds, more = cube_of(planes, heads, chunks)
    return ds.assign_coords(t=t.to_numpy().astype("datetime64[ns]")), findings + more
