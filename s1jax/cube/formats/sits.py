"""A folder of sits: one GeoTIFF for each band and date, named after what is in it."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from s1jax.cube.dates import dates_of
from s1jax.cube.findings import Finding, named, repair
from s1jax.cube.formats import Chunks
from s1jax.cube.formats.geotiff import Plane, cube_of, plane_of, read_header
from s1jax.cube.names import variable_of

_NAME = re.compile(
    r"(?P<satellite>[^_]+)_(?P<sensor>[^_]+)_(?P<tile>[^_]+)_(?P<band>[^_]+)"
    r"_(?P<date>\d{4}-\d{2}-\d{2})(_v\d+)?"
)
_SCALE = {"VV": 1e-3, "VH": 1e-3, "S2ndvi": 1e-4}
"""What sits multiplies whole numbers by, where the file does not say (its configuration)."""
_NODATA = {"VV": (0.0, -32768.0), "VH": (0.0, -32768.0), "S2ndvi": (-9999.0, -32768.0)}
"""What sits writes where whole numbers are missing; of floats, the last of each."""


def is_sits(path: Path) -> bool:
    """Whether the name of a file is one that sits gives, of a band that is used here."""
    name = _NAME.fullmatch(path.stem)
    return name is not None and variable_of(name["band"]) is not None


def read_sits(files: list[Path], chunks: Chunks = None) -> tuple[list[xr.Dataset], list[Finding]]:
    """A Dataset (t, y, x) for each sensor, t its own dates, and findings.

    Scale and fills are those of the files; where a file of whole numbers has none, those of sits
    for its band. Bands other than VV, VH and NDVI are left aside.

    Raises:
      ValueError: several tiles, several sensors of one band, a band of one date twice, or grids of
        one sensor that differ.
    """
    names = {path: name for path in files if (name := _NAME.fullmatch(path.stem))}
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
