"""A folder of sits: one GeoTIFF for each band and date, named after what is in it."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from s1jax.cube.geotiff import read_header
from s1jax.cube.names import variable_of
from s1jax.cube.notes import NAMED
from s1jax.cube.numbered import dates_of
from s1jax.cube.planes import Chunks, Plane, cube_of, plane_of

NAME = re.compile(
    r"(?P<satellite>[^_]+)_(?P<sensor>[^_]+)_(?P<tile>[^_]+)_(?P<band>[^_]+)"
    r"_(?P<date>\d{4}-\d{2}-\d{2})(_v\d+)?"
)
"""Satellite, sensor, tile, band and date in the name of a file."""

SCALE = {"VV": 1e-3, "VH": 1e-3, "S2ndvi": 1e-4}
"""What sits multiplies whole numbers by, where the file does not say (its configuration)."""

NODATA = {"VV": (0.0, -32768.0), "VH": (0.0, -32768.0), "S2ndvi": (-9999.0, -32768.0)}
"""What sits writes where whole numbers are missing; of floats, the last of each."""


def is_sits(path: Path) -> bool:
    """Whether the name of a file is one that sits gives, of a band that is used here."""
    found = NAME.fullmatch(path.stem)
    return found is not None and variable_of(found["band"]) is not None


def read_sits(files: list[Path], chunks: Chunks = None) -> tuple[list[xr.Dataset], list[str]]:
    """A Dataset (t, y, x) for each sensor, t its own dates, and what was said.

    Scale and fills are those of the files; where a file of whole numbers has none, those of sits
    for its band. Bands other than VV, VH and NDVI are left aside.

    Raises:
      ValueError: several tiles, several sensors of one band, a band of one date twice, or grids of
        one sensor that differ.
    """
    named = {path: found for path in files if (found := NAME.fullmatch(path.stem))}
    used = {path: found for path, found in named.items() if variable_of(found["band"])}
    tiles = sorted({found["tile"] for found in used.values()})
    if len(tiles) > 1:
        raise ValueError(f"tiles: got {tiles}, expected one: open the files of one at a time")
    said = []
    if len(used) < len(files):
        aside = sorted({m["band"] for m in named.values() if not variable_of(m["band"])})
        bands = f", of bands {', '.join(aside)}" if aside else ""
        said.append(f"{NAMED}{len(files) - len(used)} other files are left aside{bands}")
    sensors = []
    for variables in (("VV", "VH"), ("S2ndvi",)):
        of = {path: m for path, m in used.items() if variable_of(m["band"]) in variables}
        if of:
            ds, told = _sensor(of, chunks)
            sensors.append(ds)
            said += told
    return sensors, said


def _sensor(files, chunks):
    """The cube of one sensor's files."""
    sensors = sorted({f"{found['satellite']}_{found['sensor']}" for found in files.values()})
    bands = sorted({variable_of(found["band"]) for found in files.values()}, reverse=True)
    if len(sensors) > 1:
        raise ValueError(f"{', '.join(bands)}: got sensors {sensors}, expected one")
    heads = {path: read_header(path) for path in files}
    days = np.array(sorted({found["date"] for found in files.values()}))
    t = pd.DatetimeIndex(dates_of(days, f"{', '.join(bands)}: dates of {next(iter(files)).parent}"))
    planes, said = {name: [None] * len(t) for name in bands}, []
    scaled = {}
    for path, found in files.items():
        name, k = variable_of(found["band"]), t.get_loc(found["date"])
        if planes[name][k] is not None:
            both = sorted([path.name, planes[name][k].path.name])
            raise ValueError(f"{name}: {found['date']}: got {both}, expected one file")
        planes[name][k], assumed = _as_sits(plane_of(path, 0, heads[path]), name, heads[path])
        scaled.setdefault(name, []).append(assumed)
    for name, assumed in scaled.items():
        if any(assumed):
            said.append(
                f"{name}: {sum(assumed)} of {len(assumed)} files of whole numbers declare no "
                f"scale: that of sits, {SCALE[name]:g}"
            )
    ds, told = cube_of(planes, heads, chunks)
    return ds.assign_coords(t=t.to_numpy().astype("datetime64[ns]")), said + told


def _as_sits(plane: Plane, name: str, head) -> tuple[Plane, bool]:
    """The plane with what sits leaves unsaid, and whether its scale was."""
    whole = np.dtype(head.dtype[0]).kind in "iu"
    fills = NODATA[name] if whole else NODATA[name][-1:]
    plane = plane._replace(assumed=tuple(fill for fill in fills if fill not in plane.nodata))
    if whole and (plane.scale, plane.offset) == (1.0, 0.0):
        return plane._replace(scale=SCALE[name]), True
    return plane, False
