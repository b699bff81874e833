"""A file on one grid of days, as the options of a command say."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import xarray as xr

from s1jax import cube


@dataclass(frozen=True)
class Align:
    """How acquisitions become periods; see `cube.align_cube` and the study of alignment."""

    window: float | None = None
    """Days around the centre of a period that its composite is made of; none: the period itself."""
    within: float | None = None
    """Most days between the radar of a period and the mean day of its NDVI; none: any."""
    radar: Literal["mean_db", "median"] = "mean_db"
    """Statistic of VV and VH: the mean in linear power, or the median."""
    ndvi: Literal["median", "mean", "max"] = "median"
    """Statistic of NDVI."""


def open_aligned(
    path: str | Path, *, start: str | None, step: float | None, mask: str | None, align: Align
) -> xr.Dataset:
    """The cube of a path, on one regular grid of days.

    Args:
      path: what `cube.open_cube` takes.
      start: first day of the first period; numbered planes need it.
      step: length of a period, days.
      mask: vector or raster file of the pixels to keep.
      align: how acquisitions become periods; numbered planes, which are composites, take none.

    Raises:
      ValueError: what `cube.open_cube` and `cube.align_cube` raise.
    """
    if align != Align():
        ds = cube.open_cube(path, mask=mask)
        return cube.align_cube(ds, start=start, step=step, **asdict(align))
    # a step alone is for the alignment of dated acquisitions
    ds = cube.open_cube(path, start=start, step=None if start is None else step, mask=mask)
    return cube.align_cube(ds, step=step)
