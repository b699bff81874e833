"""One GeoTIFF of many dates: its bands are described as VV_P01, or VV_2023-11-07."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from s1jax.cube.geotiff import Header, read_header
from s1jax.cube.names import in_order, variable_of
from s1jax.cube.notes import NAMED
from s1jax.cube.numbered import DATE, all_periods, spelt_out
from s1jax.cube.planes import Chunks, cube_of, plane_of

_BEHIND = re.compile(rf"(?P<name>.+?)[-_. ](?:P(?P<period>\d+)|{DATE})", re.IGNORECASE)
_BEFORE = re.compile(rf"{DATE}[-_. ](?P<name>.+)", re.IGNORECASE)


class Layer(NamedTuple):
    """What the description of a band says."""

    name: str
    """As it is written ..."""
    variable: str
    """... and what it is taken as."""
    period: int | None
    date: np.datetime64 | None


def layer_of(description: str | None) -> Layer | None:
    """Variable and period or date of a band, None where its description does not say both.

    Known are VV_P01, VV_2023-11-07, VV_20231107 and 20231107_VV, with any alias of the variable;
    VV_2_20231107 is of a second orbit, and VV_dB_20231107 in dB.

    Raises:
      ValueError: a variable's date is not in the calendar.
    """
    found = _BEHIND.fullmatch(description or "") or _BEFORE.fullmatch(description or "")
    variable = variable_of(found["name"]) if found else None
    if variable is None:
        return None
    if found.groupdict().get("period"):
        return Layer(found["name"], variable, int(found["period"]), None)
    return Layer(found["name"], variable, None, spelt_out(found, f"band {description}"))


def is_stack(head: Header) -> bool:
    """Whether any band says its variable and its period or date."""
    return any(layer_of(description) for description in head.descriptions)


def read_stack(path: Path, chunks: Chunks = None) -> tuple[xr.Dataset, list[str]]:
    """Dataset (t, y, x) of the variables in the file, t its dates, or numbers of periods from 1.

    A variable that has no band on a date or in a period is NaN there.

    Raises:
      ValueError: unreadable file, both dates and periods, a band twice, a period under 1, or more
        than half of the periods left out.
    """
    head = read_header(path)
    layers = {band: layer_of(text) for band, text in enumerate(head.descriptions)}
    bare = [band for band, layer in layers.items() if layer is None and not head.alpha[band]]
    other = [head.descriptions[band] for band in bare]
    layers = {band: layer for band, layer in layers.items() if layer}
    dated = {layer.date is not None for layer in layers.values()}
    if len(dated) > 1:
        raise ValueError(f"{path}: got bands with dates and with periods, expected one kind")
    numbers = [layer.period for layer in layers.values() if layer.period is not None]
    if numbers and min(numbers) < 1:
        raise ValueError(f"{path}: got a band of period {min(numbers)}, expected 1 and up")
    if numbers:
        t, _ = all_periods(numbers, f"{path}: periods")
    else:
        t = np.unique([layer.date for layer in layers.values()])
    at = {key: k for k, key in enumerate(t.tolist() if numbers else t)}
    found = {layer.variable for layer in layers.values()}
    planes = {name: [None] * t.size for name in in_order(found)}
    for band, layer in layers.items():
        k = at[layer.period if numbers else layer.date]
        if planes[layer.variable][k] is not None:
            raise ValueError(f"{path}: got {head.descriptions[band]} twice, expected it once")
        planes[layer.variable][k] = plane_of(path, band, head, layer.name)
    ds, said = cube_of(planes, {path: head}, chunks)
    if other:
        said.append(f"{NAMED}{len(other)} other bands of {path.name} are left aside: {other[:6]}")
    if numbers:
        for name, of in planes.items():
            if absent := [str(k) for k, plane in enumerate(of, start=1) if plane is None]:
                said.append(f"{name}: no band for period {', '.join(absent)}: missing on its date")
    return ds.assign_coords(t=t), said
