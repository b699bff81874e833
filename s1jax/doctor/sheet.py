"""A cube as it came, before any repair, as arrays: what all findings are made of."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float, Int

from s1jax.cube import is_relative, place, to_days
from s1jax.cube.crs import with_grid_mapping
from s1jax.cube.facts import declared_fills, undeclared_integer, valid_range
from s1jax.cube.join import joined
from s1jax.cube.mask import with_mask
from s1jax.cube.names import channels, with_labels
from s1jax.cube.orbits import track_of
from s1jax.cube.read import Source, files_of, parts, sources_of
from s1jax.doctor.finding import UNDATED

_NUMBERED = (np.datetime64("2000-01-01", "ns"), 12.0)
"""Start and step by which planes without dates are read, so that their values can be examined."""
_BOUNDS = ("t_bnds", "t_bounds", "time_bnds", "time_bounds")


class Sheet(NamedTuple):
    """Arrays of a cube as stored, and the words around them."""

    name: str
    values: dict[str, Float[np.ndarray, "time y x"]]
    """VV, VH [, VV_2, VH_2, ...], S2ndvi; nothing repaired but the fills a file's reader knows."""
    units: dict[str, str]
    """As declared; "" where not."""
    nodata: dict[str, tuple[float, ...]]
    """Declared fills that may still be among the values."""
    valid: dict[str, tuple[float, float]]
    """Declared valid range."""
    whole: frozenset[str]
    """Variables stored in whole numbers without a scale."""
    day: Float[np.ndarray, "time"]
    """Days since 1970-01-01; NaN where missing; numbers from UNDATED on where not `dated`."""
    dated: bool
    """False where neither the files nor `start` and `step` tell the dates."""
    numbered: bool
    """The planes were numbered periods, dated by `start` and `step`."""
    relative: bool
    """Dates count from a beginning that differs from pixel to pixel."""
    wanted: Bool[np.ndarray, "y x"]
    """Pixels inside the mask."""
    place: Float[np.ndarray, "y x 2"] | None
    """Metres east and north."""
    group: Int[np.ndarray, "y x"] | None
    """District, else block of each pixel, where the cube has two or more."""
    grouped_by: str
    """"district", "block" or ""."""
    track: Int[np.ndarray, "time"] | None
    """Sentinel-1 track of each date, 0 without Sentinel-1."""
    worded: bool
    """Tracks are words, which were numbered."""
    s1_day: Float[np.ndarray, "time"] | None
    """True mean day of a composite's radar ..."""
    s2_day: Float[np.ndarray, "time"] | None
    """... and of its NDVI."""
    bounds: Float[np.ndarray, "time 2"] | None
    """First and last day of each period, where the file states them."""
    texts: dict[str, str]
    """Names of files and folders, and attributes: where dates are spelt out."""


def sheet(
    cube: Source | Sequence[Source],
    *,
    start: np.datetime64 | None,
    step: float | int | None,
) -> tuple[Sheet, xr.Dataset]:
    """The cube as it came, inside its own mask if it has one; and as the Dataset `wanted` takes.

    Arguments as of `examine`.

    Raises:
      ValueError: no such file, or a variable or dimension is missing.
    """
    ds, numbered, dated, name, files = _read(cube, start, step)
    ds = with_grid_mapping(ds)
    names = channels(ds)
    grouped_by, group = _group(ds)
    texts = {f"name {file}": file for file in files}
    texts |= {f"attribute {k}": str(v) for k, v in ds.attrs.items() if not k.startswith("s1jax_")}
    day = _days(ds["t"].values)
    if not dated:
        first, step = _NUMBERED
        day = UNDATED + np.round((day - _days(first)) / step + 0.5)
    made = Sheet(
        name=name,
        values={n: ds[n].transpose("t", "y", "x").values.astype(np.float32) for n in names},
        units={n: str(ds[n].attrs.get("units") or "").strip() for n in names},
        nodata={n: declared_fills(ds[n]) for n in names},
        valid={n: valid_range(ds[n]) for n in names},
        whole=frozenset(n for n in names if undeclared_integer(ds[n])),
        day=day,
        dated=dated,
        numbered=numbered,
        relative=is_relative(ds),
        wanted=wanted(ds, None),
        place=place(ds),
        group=group,
        grouped_by=grouped_by,
        track=_track(ds),
        worded="s1_track" in ds.variables and ds["s1_track"].dtype.kind not in "iuf",
        **{n: _days(ds[n].values) if n in ds.coords else None for n in ("s1_day", "s2_day")},
        bounds=_bounds(ds),
        texts=texts,
    )
    return made, ds


def wanted(ds: xr.Dataset, mask: str | Path | xr.DataArray | None) -> Bool[np.ndarray, "y x"]:
    """Pixels inside a mask, and inside that of the cube; all where there is neither.

    Raises:
      ValueError: the mask does not fit the cube.
    """
    ds, _ = with_mask(ds, mask)
    if "mask" not in ds.variables:
        return np.ones((ds.sizes["y"], ds.sizes["x"]), bool)
    return ds["mask"].transpose("y", "x").values.astype(bool)


def _read(cube, start, step):
    """(Dataset with the standard names, numbered?, dated?, name, files)."""
    known = start is not None and step is not None
    sources = sources_of(cube)
    stored = [s.encoding.get("source", "") for s in sources if not isinstance(s, str | Path)]
    paths = [Path(source) for source in filter(None, stored)]
    paths += [path for s in sources if isinstance(s, str | Path) for path in files_of(s)]
    files = [path.name for path in paths]
    begin, length = (start, step) if known else _NUMBERED
    found = parts(sources, start=begin, step=length)
    ds, _ = joined([part.ds for part in found])
    ds, _ = with_labels(ds)
    numbered = any(part.numbered for part in found)
    first = sources[0] if isinstance(sources[0], str | Path) else next(iter(files), "cube")
    name = Path(first).name.split(".")[0].strip("*?_") or Path(first).parent.name
    if numbered:  # a number says no date, the folder may
        files += dict.fromkeys(path.resolve().parent.name for path in paths)
    return ds, numbered, known or not numbered, name, files


def _days(t):
    """Days since 1970-01-01, NaN for NaT."""
    t = np.asarray(t)
    return to_days(t.ravel()).reshape(t.shape) if t.dtype.kind == "M" else t.astype(float)


def _group(ds):
    for name in ("district", "block"):
        if name in ds.variables and set(ds[name].dims) <= {"y", "x"} and ds[name].dims:
            like = xr.zeros_like(ds["S2ndvi"].isel(t=0, drop=True), dtype=bool)
            values = xr.broadcast(ds[name].reset_coords(drop=True), like)[0]
            _, code = np.unique(values.transpose("y", "x").values, return_inverse=True)
            if code.max() > 0:
                return name, code.reshape(like.shape).astype(int)
    return "", None


def _track(ds):
    if "s1_track" not in ds.variables:
        return None
    track = ds["s1_track"].values
    if track.dtype.kind in "iuf":
        return track_of(ds)
    # words are numbered, the empty one 0
    return np.unique(np.append(track.astype(str), ""), return_inverse=True)[1][:-1]


def _bounds(ds):
    """First and last day of the periods: CF bounds of t, or period_start and period_end."""
    stated = ds["t"].attrs.get("bounds", ds["t"].encoding.get("bounds"))
    for name in filter(None, (stated, *_BOUNDS)):
        if name in ds.variables and ds[name].ndim == 2 and ds[name].shape[1] == 2:
            return _days(ds[name].values)
    pair = ("period_start", "period_end")
    if all(n in ds.variables and ds[n].dims == ("t",) for n in pair):
        ends = (pd.DatetimeIndex(ds[n].values).to_numpy() for n in pair)
        return np.stack([_days(end) for end in ends], axis=1)
    return None
