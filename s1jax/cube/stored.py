"""NetCDF and Zarr: a Dataset as it is stored, in memory or in chunks."""

from pathlib import Path

import numpy as np
import xarray as xr

from s1jax.cube.facts import declared_fills, equal, without_fills
from s1jax.cube.names import stored_chunks
from s1jax.cube.notes import DECLARED, fill_line
from s1jax.cube.planes import Chunks


def is_zarr(path: Path) -> bool:
    """Whether a path is a Zarr store, of either format."""
    marks = ("zarr.json", ".zgroup", ".zmetadata")
    return path.is_dir() and (path.suffix == ".zarr" or any((path / m).exists() for m in marks))


def read_dataset(path: Path, chunks: Chunks = None) -> tuple[xr.Dataset, list[str]]:
    """The Dataset of a NetCDF or Zarr store, and how many values its declared fills took.

    In memory where `chunks` is None; else the file stays open, and one pass over it counts the
    fills.

    Raises:
      ValueError: the file cannot be read.
    """
    zarr = is_zarr(path)
    try:
        options = {"engine": "zarr", "consolidated": None} if zarr else {"engine": _engine(path)}
        ds = _opened(path, options, chunks)
        fills = {
            name: ds[name].encoding["_FillValue"]
            for name in ds.data_vars
            if ds[name].dtype.kind == "f"
            and not np.isnan(ds[name].encoding.get("_FillValue", np.nan))
        }
        said = _counted(path, options, fills, chunks) if fills else []
    except (OSError, KeyError, TypeError) as error:
        kind = "Zarr store" if zarr else "NetCDF file"
        raise ValueError(f"{path}: cannot be read, expected a {kind} ({error})") from error
    return ds, said


def decoded(ds: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
    """The Dataset with `scale_factor` and `add_offset` among attributes applied, and what was said.

    As a reader of files does: float32, NaN where a declared fill was stored. Variables without the
    two, or with 1 and 0, stay as they are.

    Raises:
      ValueError: either is not one number.
    """
    out, said, counts = {}, [], {}
    for name, variable in ds.data_vars.items():
        scale, offset = (
            _number(variable, k, of) for k, of in (("scale_factor", 1), ("add_offset", 0))
        )
        if (scale, offset) == (1, 0):
            continue
        missing = xr.zeros_like(variable, dtype=bool)
        for fill in declared_fills(variable):
            hit = equal(variable, fill)
            counts[f"{name} {fill!r}"] = (str(name), fill, hit.sum())
            missing = missing | hit
        value = (variable * scale + offset).where(~missing).astype(np.float32)
        kept = without_fills(variable.attrs)
        value.attrs = {k: v for k, v in kept.items() if k not in ("scale_factor", "add_offset")}
        value.encoding = {"dtype": variable.dtype, "scale_factor": scale, "add_offset": offset}
        out[name] = value
        said.append(f"{DECLARED}{name}: stored values x {scale:g} + {offset:g}")
    # one pass over a cube in chunks
    found = xr.Dataset({key: count for key, (*_, count) in counts.items()}).compute()
    of = ((name, int(found[key]), fill) for key, (name, fill, _) in counts.items())
    return ds.assign(out), said + [fill_line(*line) for line in of if line[1]]


def _number(variable, key, default):
    found = np.ravel(variable.attrs.get(key, default))
    if found.size != 1 or found.dtype.kind not in "iuf":
        got = variable.attrs[key]
        raise ValueError(f"{variable.name}: {key}: got {got!r}, expected one number")
    return float(found[0])


def _opened(path, options, chunks):
    options = {**options, "decode_coords": "all"}
    if chunks is None:
        with xr.open_dataset(path, **options) as stored:
            return stored.load()
    if isinstance(chunks, dict):
        with xr.open_dataset(path, **options) as stored:
            chunks = stored_chunks(stored, chunks)
    return xr.open_dataset(path, chunks=chunks, **options)


def _counted(path, options, fills, chunks):
    """Lines about the values that equal a declared fill."""
    with xr.open_dataset(path, decode_cf=False, chunks=chunks and {}, **options) as raw:
        counts = xr.Dataset({name: (raw[name] == fill).sum() for name, fill in fills.items()})
        counts = {name: int(count) for name, count in counts.compute().items()}
    return [
        fill_line(str(name), counts[name], float(fill))
        for name, fill in fills.items()
        if counts[name]
    ]


def _engine(path: Path) -> str:
    """What reads the file: classic NetCDF begins with CDF, NetCDF-4 is HDF5."""
    with path.open("rb") as file:
        return "scipy" if file.read(3) == b"CDF" else "h5netcdf"
