"""Files as they are, before anything is repaired: NetCDF, Zarr, GeoTIFFs of numbered periods."""

import glob
from pathlib import Path

import numpy as np
import xarray as xr

from s1jax.cube import geotiff
from s1jax.cube.names import standard_names

DAY = np.timedelta64(86_400_000_000_000, "ns")
"""One day on the time axis of a cube."""


def files_of(path_or_glob: str | Path) -> list[Path]:
    """The files a path, a folder of GeoTIFFs or a glob stands for, in order of name.

    Raises:
      ValueError: there is none.
    """
    path = Path(path_or_glob).expanduser()
    if path.is_dir() and path.suffix != ".zarr" and not (path / "zarr.json").exists():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in geotiff.SUFFIXES)
        if not files:
            raise ValueError(f"{path}: got a folder without .tif files, expected period_NN.tif")
        # a mask may lie beside the periods
        files = [p for p in files if geotiff.PERIOD.search(p.stem)] or files
    else:
        files = [path] if path.exists() else [Path(p) for p in sorted(glob.glob(str(path)))]
        if not files:
            raise ValueError(f"{path}: got no such file, expected NetCDF, Zarr or GeoTIFFs")
    return files


def read(
    path_or_glob: str | Path, *, start: np.datetime64 | None, step: float | int | None
) -> tuple[xr.Dataset, list[str], bool]:
    """The cube in the files, (t, y, x) with VV, VH, S2ndvi as they are stored.

    With it come what was said and whether its planes were numbered and dated by `start`, `step`.

    `t` is as stored; for GeoTIFFs, and for a file without dates, the centre of the numbered period.

    Args:
      path_or_glob: NetCDF or Zarr; folder or glob of GeoTIFFs.
      start: beginning of period 1; needed where the files hold no dates.
      step: length of a period, days; as `start`.

    Raises:
      ValueError: unreadable file, missing variable or dimension, no date.
    """
    files = files_of(path_or_glob)
    if files[0].suffix.lower() in geotiff.SUFFIXES:
        numbers = geotiff.period_numbers(files)
        ds, said = geotiff.read_periods(files, numbers)
        centre = _numbered(ds["t"].values, start, step, str(path_or_glob))
        return ds.assign_coords(t=centre), said, True
    if len(files) != 1:
        raise ValueError(f"{path_or_glob}: got {len(files)} files, expected one NetCDF or Zarr")
    ds, said = read_dataset(files[0])
    ds, renamed = standard_names(ds)
    said += renamed
    if "t" not in ds.coords or not np.issubdtype(ds["t"].dtype, np.datetime64):
        centre = _numbered(np.arange(1, ds.sizes["t"] + 1), start, step, str(files[0]))
        said.append("no dates in the file: its planes are numbered periods")
        return ds.assign_coords(t=centre), said, True
    return ds.assign_coords(t=ds["t"].astype("datetime64[ns]")), said, False


def read_dataset(path: Path) -> tuple[xr.Dataset, list[str]]:
    """The Dataset of a NetCDF or Zarr store, in memory, and how many values its fills took.

    Raises:
      ValueError: the file cannot be read.
    """
    zarr = path.is_dir()
    try:
        options = {"engine": "zarr", "consolidated": None} if zarr else {"engine": _engine(path)}
        with xr.open_dataset(path, decode_coords="all", **options) as stored:
            ds = stored.load()
        said = []
        fills = {
            name: ds[name].encoding["_FillValue"]
            for name in ds.data_vars
            if ds[name].dtype.kind == "f"
            and not np.isnan(ds[name].encoding.get("_FillValue", np.nan))
        }
        if fills:
            with xr.open_dataset(path, decode_cf=False, **options) as raw:
                for name, fill in fills.items():
                    count = int((raw[name] == fill).sum())
                    if count:
                        said.append(f"{name}: {count:,} values of nodata {fill:g} are missing")
    except (OSError, KeyError, TypeError) as error:
        kind = "Zarr store" if zarr else "NetCDF file"
        raise ValueError(f"{path}: cannot be read, expected a {kind} ({error})") from error
    return ds, said


def _engine(path: Path) -> str:
    """What reads the file: classic NetCDF begins with CDF, NetCDF-4 is HDF5."""
    with path.open("rb") as file:
        return "scipy" if file.read(3) == b"CDF" else "h5netcdf"


def _numbered(number, start, step, where):
    """Centre of period p, start + step (p - 1) + step / 2."""
    if start is None or step is None:
        got = f"start={start}, step={step}"
        raise ValueError(f"{where}: no date in the files; got {got}, expected a date and days")
    offset = (number.astype(float) - 0.5) * float(step) * DAY.astype(float)
    return start.astype("datetime64[ns]") + np.round(offset).astype("timedelta64[ns]")
