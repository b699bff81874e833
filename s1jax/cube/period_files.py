"""One GeoTIFF for each numbered period, with the bands VV, VH and NDVI."""

import re
from pathlib import Path

import numpy as np
import xarray as xr

from s1jax.cube.geotiff import read_header
from s1jax.cube.names import VARIABLES, variable_of
from s1jax.cube.planes import Chunks, cube_of, plane_of

PERIOD = re.compile(r"period[_-]?(\d+)", re.IGNORECASE)
"""Number of a period in the name of its file."""


def period_numbers(files: list[Path]) -> list[int]:
    """Number of the period in each file's name: after "period", else the last number in it.

    Raises:
      ValueError: a name without a number, a number under 1, or the same number twice.
    """
    numbers = []
    for file in files:
        found = PERIOD.findall(file.stem)
        found = found or re.findall(r"\d+", file.stem)
        if not found or int(found[-1]) < 1:
            raise ValueError(f"{file}: got no period number from 1, expected period_NN.tif")
        numbers.append(int(found[-1]))
    twice = sorted({n for n in numbers if numbers.count(n) > 1})
    if twice:
        raise ValueError(f"period numbers: got {twice} in more than one file, expected one each")
    return numbers


def read_periods(files: list[Path], chunks: Chunks = None) -> tuple[xr.Dataset, list[str]]:
    """Dataset (t, y, x) whose t is the period number from 1, NaN where a file is missing.

    Raises:
      ValueError: unreadable file, other bands, a grid unlike the first file's, or bad numbers.
    """
    numbers = period_numbers(files)
    heads = {path: read_header(path) for path in files}
    planes = {name: [None] * max(numbers) for name in VARIABLES}
    for path, number in zip(files, numbers, strict=True):
        for name, band in _bands(heads[path], path).items():
            planes[name][number - 1] = plane_of(path, band, heads[path])
    ds, said = cube_of(planes, heads, chunks)
    if not any(heads[files[0]].descriptions):
        said.append("bands without description: taken as VV, VH, NDVI by position")
    absent = sorted(set(range(1, max(numbers) + 1)) - set(numbers))
    if absent:
        said.append(f"no file for period {', '.join(map(str, absent))}: missing on its date")
    return ds.assign_coords(t=np.arange(1, max(numbers) + 1)), said


def _bands(head, path):
    """Place of VV, VH, S2ndvi among the bands, by description, else by position."""
    names = head.descriptions
    if not any(names):
        if len(names) != len(VARIABLES):
            got = f"{len(names)} bands without description"
            raise ValueError(f"{path}: got {got}, expected 3: VV, VH, NDVI")
        return {name: band for band, name in enumerate(VARIABLES)}
    place = {variable_of(str(name)): band for band, name in reversed(list(enumerate(names)))}
    missing = [name for name in VARIABLES if name not in place]
    if missing:
        raise ValueError(f"{path}: got bands {names}, expected {missing} among them")
    return {name: place[name] for name in VARIABLES}
