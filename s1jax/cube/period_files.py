"""One GeoTIFF for each period or date, with the bands VV, VH and NDVI."""

import re
from pathlib import Path

import numpy as np
import xarray as xr

from s1jax.cube.geotiff import read_header
from s1jax.cube.names import RADAR, VARIABLES, in_order, variable_of
from s1jax.cube.notes import NAMED
from s1jax.cube.numbered import DATE, all_periods, spelt_out
from s1jax.cube.planes import Chunks, cube_of, plane_of

PERIOD = re.compile(r"period[_-]?(\d+)", re.IGNORECASE)
"""Number of a period in the name of its file."""
_DATE = re.compile(rf"(?<!\d){DATE}(?!\d)")


def times_of(files: list[Path]) -> np.ndarray:
    """Of each file, by its name, the number of its period (whole) or its date (datetime64[ns]).

    The number is what stands after "period"; else the date, where there is one (2023-11-07 or
    20231107); else the last number.

    Raises:
      ValueError: a name with neither, with several dates or with none of the calendar, a number
        under 1, names of both kinds, or the same number or date twice.
    """
    times = [_time(file) for file in files]
    if len({type(time) for time in times}) > 1:
        one = {type(time): file.name for file, time in zip(files, times, strict=True)}
        raise ValueError(
            f"files: got dates and numbers of periods, as {sorted(one.values())}, expected one kind"
        )
    found = np.array(times)
    value, count = np.unique(found, return_counts=True)
    if (count > 1).any():
        twice = [str(time)[:10] for time in value[count > 1]]
        raise ValueError(f"periods or dates: got {twice} in more than one file, expected one each")
    return found


def _time(file):
    dates = [*_DATE.finditer(file.stem)]
    number = PERIOD.findall(_DATE.sub("", file.stem))
    if dates and not number:
        found = {spelt_out(date, str(file)) for date in dates}
        if len(found) > 1:
            got = sorted(date[0] for date in dates)
            raise ValueError(f"{file}: got dates {got}, expected one, or period_NN.tif")
        return found.pop()
    number = number or re.findall(r"\d+", file.stem)
    if not number or int(number[-1]) < 1:
        raise ValueError(f"{file}: got no period number from 1 and no date, expected period_NN.tif")
    return int(number[-1])


def read_periods(files: list[Path], chunks: Chunks = None) -> tuple[xr.Dataset, list[str]]:
    """Dataset (t, y, x), NaN where a file is missing, and what was said.

    Its t are the dates in the names of the files, else the numbers of periods from 1.

    Raises:
      ValueError: unreadable file, other bands or one twice, a grid unlike the first file's, or bad
        names of files.
    """
    times, said = times_of(files), []
    t = np.unique(times)
    if t.dtype.kind != "M":
        t, absent = all_periods(times, f"{files[0].parent}: periods")
        if absent.size:
            said.append(f"no file for period {', '.join(map(str, absent))}: missing on its date")
    heads = {path: read_header(path) for path in files}
    bands = {path: _bands(head, path) for path, head in heads.items()}
    names = in_order(set().union(*bands.values()))
    for path, head in heads.items():
        if "S2ndvi" in names and not any(head.descriptions) and len(bands[path]) < len(VARIABLES):
            got = f"{len(bands[path])} bands without description"
            raise ValueError(f"{path}: got {got}, expected 3: VV, VH, NDVI, as in other files")
    planes = {name: [None] * t.size for name in names}
    for path, k in zip(files, np.searchsorted(t, times), strict=True):
        for name, band in bands[path].items():
            text = heads[path].descriptions[band] or ""
            planes[name][k] = plane_of(path, band, heads[path], text)
    ds, told = cube_of(planes, heads, chunks)
    return ds.assign_coords(t=t), told + _said(heads, bands, names) + said


def _bands(head, path):
    """Place of VV, VH [, S2ndvi, VV_2, ...] among the bands, by description, else by position."""
    texts = head.descriptions
    if not any(texts):
        values = [band for band, alpha in enumerate(head.alpha) if not alpha]
        if len(values) not in (len(RADAR), len(VARIABLES)):
            got = f"{len(values)} bands without description"
            raise ValueError(f"{path}: got {got}, expected 3: VV, VH, NDVI, or VV, VH alone")
        return dict(zip(VARIABLES, values, strict=False))
    found = [(variable_of(text or ""), band) for band, text in enumerate(texts)]
    place = {name: band for name, band in found if name}
    if len(place) < sum(name is not None for name, _ in found):
        raise ValueError(f"{path}: got bands {texts}, expected each of VV, VH, NDVI once")
    missing = [name for name in RADAR if name not in place]
    if "S2ndvi" not in place and any("ndvi" in (text or "").lower() for text in texts):
        # a name like it, not a file of radar alone
        missing.append("S2ndvi")
    if missing:
        raise ValueError(f"{path}: got bands {texts}, expected {missing} among them")
    return place


def _said(heads, bands, names):
    """Lines about bands that had no description, were left aside, or are not in all files."""
    said = []
    bare = sum(not any(head.descriptions) for head in heads.values())
    if bare:
        some = "" if bare == len(heads) else f" in {bare} of {len(heads)} files"
        order = "VV, VH, NDVI" if "S2ndvi" in names else "VV, VH"
        said.append(f"bands without description{some}: taken as {order} by position")
    aside = {
        str(text)
        for path, head in heads.items()
        for band, text in enumerate(head.descriptions)
        if band not in bands[path].values() and not head.alpha[band]
    }
    if aside:
        said.append(f"{NAMED}other bands are left aside: {sorted(aside)[:6]}")
    for name in names:
        if lacking := [path.name for path in heads if name not in bands[path]]:
            got = f"{', '.join(lacking[:6])}{', ...' if len(lacking) > 6 else ''}"
            said.append(f"{name}: no band in {len(lacking)} files: missing there: {got}")
    return said
