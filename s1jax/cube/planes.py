"""Planes of GeoTIFFs piled up to a cube: at once in memory, or read a chunk at a time."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from s1jax.cube.border import bytes_of, require_room
from s1jax.cube.geotiff import Header, axes, read_bands, read_masked, same_grid
from s1jax.cube.names import unit_of
from s1jax.cube.notes import DECLARED, fill_line
from s1jax.progress import bar

Chunks = int | str | dict | None
"""Sizes of chunks as xarray takes them; None: all in memory."""

_ROWS = 256
"""Rows of a chunk of a file that holds many dates: reading one date reads them all."""


class Plane(NamedTuple):
    """Where the values of one variable on one date are: value = stored * scale + offset."""

    path: Path
    band: int
    """From 0."""
    scale: float
    offset: float
    nodata: tuple[float, ...]
    """What the file declares as missing, of the values stored."""
    assumed: tuple[float, ...] = ()
    """What is missing though the file does not say so."""
    units: frozenset[str] = frozenset()
    """What the file, and the name of the band, say of them."""
    masked: bool = False
    """Whether a mask of the file says which values are missing."""


def plane_of(path: Path, band: int, head: Header, name: str = "") -> Plane:
    """The plane as its file declares it; `name`: as the band is called there."""
    fill = () if head.nodata[band] is None else (head.nodata[band],)
    units = frozenset({head.units[band], unit_of(name) if name else None} - {None, ""})
    masked = head.masked[band]
    return Plane(path, band, head.scale[band], head.offset[band], fill, units=units, masked=masked)


def cube_of(
    planes: Mapping[str, Sequence[Plane | None]],
    heads: Mapping[Path, Header],
    chunks: Chunks = None,
) -> tuple[xr.Dataset, list[str]]:
    """Dataset (t, y, x) without dates, float32, NaN where missing, and how much is.

    With `chunks` nothing stays in memory; the fills are counted in one pass over the files.

    Args:
      planes: of each variable, one a date; None where there is none.
      heads: of every file.
      chunks: sizes along t, y, x; where they do not say, a date each, or strips of a file that has
        all dates.

    Raises:
      ValueError: unreadable file, grids or units that differ, or more than fits into memory.
    """
    paths = [*heads]
    for path in paths[1:]:
        same_grid(heads[paths[0]], heads[path], paths[0], path)
    first = heads[paths[0]]
    dtype = np.result_type(*(d for head in heads.values() for d in head.dtype))
    _fits(planes, paths[0], first.shape, dtype, chunks)
    raw = _loaded(planes, first.shape, dtype) if chunks is None else None
    variables, counts = {}, {}
    for name, of in planes.items():
        masked = _masked(of, first.shape, chunks)
        stored = _lazy(of, first.shape, dtype, chunks) if raw is None else raw.pop(name)
        value, filled = _decoded(stored, of, dtype, masked)
        if masked is not None:
            counts[f"{name} masked"] = masked.sum()
        units = sorted(set().union(*(plane.units for plane in of if plane is not None)))
        if len({unit.lower() for unit in units}) > 1:
            raise ValueError(f"{name}: units: got {units}, expected one")
        value.attrs = {"units": units[0]} if units else {}
        whole = {p.scale for p in of if p is not None} == {1.0} and dtype.kind in "iu"
        value.encoding = {"dtype": dtype} if whole else {}
        variables[name] = value
        counts |= {f"{name} {fill!r}": count for fill, count in filled.items()}
    counts = xr.Dataset(counts).compute()
    said = [
        line
        for name, of in planes.items()
        for line in _lines(name, of, {k: int(v) for k, v in counts.items()})
    ]
    coords = dict(zip(("y", "x"), axes(first), strict=True))
    return xr.Dataset(variables, coords, {"crs": first.crs} if first.crs else {}), said


def _fits(planes, path, shape, dtype, chunks):
    """Nothing, where the values fit into memory, or one strip of them where they are in chunks.

    Raises:
      ValueError: they do not.
    """
    count = sum(map(len, planes.values()))
    size = max(np.dtype(dtype).itemsize, 4)
    if chunks is None:
        needed = bytes_of((count, *shape), size)
        require_room(path, needed, "; chunks= reads it in parts")
    require_room(path, bytes_of((sum(shape) + min(shape[0], _ROWS) * shape[1],), 8))


def _loaded(planes, shape, dtype, read=read_bands):
    """Stored values of all planes in memory, each file opened once."""
    raw = {name: np.zeros((len(of), *shape), dtype) for name, of in planes.items()}
    wanted = defaultdict(list)
    for name, of in planes.items():
        for k, plane in enumerate(of):
            if plane is not None:
                wanted[plane.path].append((name, k, plane.band))
    for path, places in bar([*wanted.items()], "GeoTIFF", "file"):
        bands = read(path, [band for _, _, band in places])
        for (name, k, _), values in zip(places, bands, strict=True):
            raw[name][k] = values
    return {name: xr.DataArray(values, dims=("t", "y", "x")) for name, values in raw.items()}


def _lazy(planes, shape, dtype, chunks, read=read_bands):
    """Stored values, read where and when they are needed: chunks of numbers become chunks read."""
    files = {plane.path for plane in planes if plane is not None}
    rows = {"t": len(planes), "y": _ROWS} if len(files) == 1 else {"t": 1, "y": shape[0]}
    given = dict.fromkeys(("t", "y", "x"), chunks) if isinstance(chunks, int) else chunks
    sizes = rows | {"x": shape[1]} | (given if isinstance(given, dict) else {})
    index = [
        xr.DataArray(np.arange(n), dims=dim).chunk({dim: sizes[dim]})
        for dim, n in zip(("t", "y", "x"), (len(planes), *shape), strict=True)
    ]

    def _read(t, y, x):
        t, y, x = (np.ravel(i) for i in (t, y, x))
        rows, columns = slice(y[0], y[-1] + 1), slice(x[0], x[-1] + 1)
        block = np.zeros((t.size, y.size, x.size), dtype)
        for path in dict.fromkeys(planes[k].path for k in t if planes[k] is not None):
            at = [i for i, k in enumerate(t) if planes[k] is not None and planes[k].path == path]
            block[at] = read(path, [planes[t[i]].band for i in at], rows, columns)
        return block

    return xr.apply_ufunc(_read, *index, dask="parallelized", output_dtypes=[dtype])


def _masked(planes, shape, chunks):
    """Where masks of the files say that values are missing; None where no file has a mask."""
    own = [plane if plane is not None and plane.masked else None for plane in planes]
    if not any(own):
        return None
    if chunks is not None:
        return _lazy(own, shape, np.dtype(bool), chunks, read_masked)
    return _loaded({"mask": own}, shape, np.dtype(bool), read_masked)["mask"]


def _decoded(stored, planes, dtype, masked):
    """Values, float32, NaN where missing or `masked`; and how often each fill is stored."""
    there = xr.DataArray([plane is not None for plane in planes], dims="t")
    known = [plane or Plane(Path(), 0, 1.0, 0.0, ()) for plane in planes]
    exact = dtype if dtype.kind == "f" else np.dtype(np.float64)
    missing, filled = ~there, {}
    if masked is not None:
        missing = missing | masked
    for fill in _fills(planes):
        has = xr.DataArray([fill in (*p.nodata, *p.assumed) for p in known], dims="t")
        with np.errstate(over="ignore"):  # a fill beyond float32 is stored as infinite
            hit = (stored == np.asarray(fill).astype(exact)) & has
        filled[fill] = hit.sum()
        missing = missing | hit
    scale, offset = (
        xr.DataArray(np.array([getattr(plane, key) for plane in known]), dims="t")
        for key in ("scale", "offset")
    )
    value = stored
    if (scale != 1).any() or (offset != 0).any():
        value = stored * scale + offset
    # missing first: a fill may be too large for float32
    value = value.where(~missing).astype(np.float32)
    return value.transpose("t", "y", "x"), filled


def _fills(planes):
    """Every fill of any plane but NaN, which is missing anyway."""
    fills = [f for plane in planes if plane for f in (*plane.nodata, *plane.assumed)]
    return dict.fromkeys(fill for fill in fills if not np.isnan(fill))


def _lines(name, planes, counts):
    if count := counts.get(f"{name} masked"):
        yield f"{DECLARED}{name}: {count:,} values that a mask of the files covers are missing"
    declared = {fill for plane in planes if plane for fill in plane.nodata}
    for fill in _fills(planes):
        if count := counts[f"{name} {fill!r}"]:
            yield fill_line(name, count, fill, declared=fill in declared)
