"""Two hundred and fifty damaged inputs: what the damage does not touch is read as it was, or all
is refused in words.

`python -m tests.cube.test_fuzz` prints how many inputs ended in which outcome.
"""

import json
import logging
import re
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from s1jax import doctor, open_cube
from tests.worlds import cube as worlds

pytestmark = pytest.mark.slow

NAMES = ("VV", "VH", "S2ndvi")
COUNTS = {"netcdf": 70, "zarr": 70, "geotiff": 55, "csv": 55}
"""Mutations of each format, 250 together."""
SHAPE = (8, 5, 4)
_TABLE = (SHAPE[0], SHAPE[1] * SHAPE[2], 1)
"""The same as tables of places."""
_NONSENSE = {
    "VV": (1e6, 1e30, -9999.0, 255.0, np.inf, -np.inf, -1e4, np.nan),
    "VH": (1e6, -32768.0, -999.0, 300.0, np.inf, np.nan),
    "S2ndvi": (2.0, 255.0, -9999.0, 1e9, -3.0, np.inf, -np.inf, np.nan),
}


class Mutant(NamedTuple):
    """A damaged input and what is right to read from it."""

    kind: str
    source: object
    touched: dict[str, np.ndarray]
    """Cells (t, y, x) of the clean cube that the damage may change."""
    lost: bool
    """No value may stand in the cells it touches."""


class Outcome(NamedTuple):
    """What became of it: equal, mended (and said so), refused, obscure or silent."""

    word: str
    detail: str


def clean_scene() -> xr.Dataset:
    """The small scene on dates that nobody takes for months or dekads, with some clouds."""
    days = np.array([2, 15, 26, 38, 51, 62, 74, 87])
    ds = worlds.scene(days, seed=3).isel(y=slice(0, SHAPE[1]), x=slice(0, SHAPE[2]))
    return ds.assign_attrs(title="a scene")


def untouched() -> dict[str, np.ndarray]:
    """No cell of any variable."""
    return {name: np.zeros(SHAPE, bool) for name in NAMES}


def everything() -> dict[str, np.ndarray]:
    """All cells."""
    return {name: np.ones(SHAPE, bool) for name in NAMES}


# Damage of the values: functions of (rng, scene) -> (scene, touched cells, whether they are lost)


def _cells(rng, ds):
    """A few cells of one variable hold what cannot be."""
    name = str(rng.choice(NAMES))
    value = float(rng.choice(_NONSENSE[name]))
    hit = rng.random(SHAPE) < 0.05
    out = ds.copy(deep=True)
    out[name].values[hit] = value
    return out, untouched() | {name: hit}, True


def _declared_fill(rng, ds):
    name = str(rng.choice(NAMES))
    fill = float(rng.choice([-9999.0, -32768.0, 1e20, 0.0]))
    key = str(rng.choice(["nodata", "missing_value", "_FillValue"]))
    hit = rng.random(SHAPE) < 0.1
    out = ds.copy(deep=True)
    out[name].values[hit] = fill
    if key == "_FillValue":
        out[name].encoding["_FillValue"] = np.float32(fill)
    else:
        out[name].attrs[key] = str(fill) if rng.random() < 0.3 else fill
    return out, untouched() | {name: hit}, True


def _dead_pixel(rng, ds):
    y, x = rng.integers(SHAPE[1]), rng.integers(SHAPE[2])
    out, touched = ds.copy(deep=True), untouched()
    for name in NAMES:
        out[name].values[:, y, x] = np.nan
        touched[name][:, y, x] = True
    return out, touched, True


def _dead_date(rng, ds):
    name, t = str(rng.choice(NAMES)), rng.integers(SHAPE[0])
    out, touched = ds.copy(deep=True), untouched()
    out[name].values[t] = float(rng.choice([np.nan, -9999.0, 0.0]))
    touched[name][t] = True
    return out, touched, True


def _beyond_swath(rng, ds):
    """Both bands of the radar are exactly 0 in a corner on one date, while NDVI is there."""
    t, out, touched = rng.integers(SHAPE[0]), ds.copy(deep=True), untouched()
    for name in ("VV", "VH"):
        out[name].values[t, :2, :2] = 0.0
        touched[name][t, :2, :2] = True
    return out, touched, True


def _packed(rng, ds):
    """NDVI in whole numbers with a scale, and codes outside of the declared range."""
    code = np.where(np.isnan(ds["S2ndvi"]), -32768, np.round(ds["S2ndvi"].values * 1e4))
    hit = rng.random(SHAPE) < 0.1
    code[hit] = 20000
    limits = [{"valid_range": np.array([-10000, 10000], "i2")}, {"valid_max": np.int16(10000)}]
    attrs = {"scale_factor": 1e-4, "add_offset": 0.0, "_FillValue": np.int16(-32768)}
    attrs |= limits[rng.integers(2)]
    out = ds.assign(S2ndvi=(ds["S2ndvi"].dims, code.astype("i2"), attrs))
    return out, untouched() | {"S2ndvi": hit}, True


def _power(rng, ds):
    return worlds.power(ds), untouched(), False


def _order(rng, ds):
    """Dates, rows, columns and dimensions in another order."""
    out = ds.isel(t=rng.permutation(SHAPE[0]))
    out = out.isel(y=slice(None, None, int(rng.choice([-1, 1]))))
    dims = ("t", "y", "x")
    return out.transpose(*(dims[k] for k in rng.permutation(3))), untouched(), False


def _other_names(rng, ds):
    names = {"VV": ("vv", "Sigma0_VV", "VV"), "VH": ("vh", "VH"), "S2ndvi": ("NDVI", "ndvi")}
    out = ds.rename({name: str(rng.choice(of)) for name, of in names.items()})
    time = str(rng.choice(["time", "t"]))
    return out.rename({"t": time} if time != "t" else {}), untouched(), False


def _beside(rng, ds):
    """Variables, coordinates and attributes that are no part of a cube."""
    out = ds.assign(
        quality=(("t", "y", "x"), rng.integers(0, 9, SHAPE).astype("u1")),
        t_bnds=(("t", "nv"), np.stack([ds.t.values, ds.t.values], 1)),
        crs_text=((), "words"),
    ).assign_coords(orbit=("t", rng.integers(0, 200, SHAPE[0])))
    return out.assign_attrs(history="x" * 500, level=3), untouched(), False


def _twice(rng, ds):
    """A date stands twice, with other values."""
    t, touched = rng.integers(SHAPE[0]), untouched()
    again = ds.isel(t=[t]).copy(deep=True)
    for name in NAMES:
        again[name].values += np.float32(0.01)
        touched[name][t] = True
    return xr.concat([ds, again], "t", combine_attrs="override"), touched, False


def _left_out(rng, ds):
    t, touched = rng.integers(1, SHAPE[0] - 1), untouched()
    for name in NAMES:
        touched[name][t] = True
    return ds.isel(t=np.delete(np.arange(SHAPE[0]), t)), touched, True


def _odd_date(rng, ds):
    """One date that cannot be, in place of another."""
    days = ds["t"].values.copy()
    k = rng.integers(SHAPE[0])
    days[k] = np.datetime64(str(rng.choice(["1903-05-01", "1963-05-01", "2099-01-01"])), "ns")
    touched = untouched()
    for name in NAMES:
        touched[name][k] = True
    return ds.assign_coords(t=days), touched, True


def _odd_axis(rng, ds):
    """An axis that is none: refused whole."""
    dim, size = [("y", SHAPE[1]), ("x", SHAPE[2])][rng.integers(2)]
    axis = ds[dim].values.copy()
    way = rng.integers(4)
    if way == 0:
        axis[rng.integers(size)] = np.nan
    elif way == 1:
        axis[:] = axis[0]
    elif way == 2:
        axis[[0, 2]] = axis[[2, 0]]
    else:
        axis[-1] = np.inf
    return ds.assign_coords({dim: axis}), everything(), True


def _odd_type(rng, ds):
    """A variable that is no number: refused whole."""
    name = str(rng.choice(NAMES))
    kind = rng.integers(3)
    value = ds[name].values
    if kind == 0:
        value = np.char.add(value.astype("U8"), "m")
    elif kind == 1:
        value = np.nan_to_num(value * 1000).astype("i8").astype("M8[s]").astype("M8[ns]")
    else:
        value = np.nan_to_num(value) > 0
    return ds.assign({name: (ds[name].dims, value)}), everything(), True


def _odd_units(rng, ds):
    name, units = str(rng.choice(NAMES)), str(rng.choice(["K", "degrees", "linear", "%"]))
    if (name == "S2ndvi") == (units == "linear"):
        units = "K"
    return ds.assign({name: ds[name].assign_attrs(units=units)}), everything(), True


def _odd_limits(rng, ds):
    """Attributes that say what is missing, and cannot be read."""
    name, key = (
        str(rng.choice(NAMES)),
        str(rng.choice(["nodata", "valid_range", "scale_factor", "valid_min"])),
    )
    value = [["a", "b"], "none of them", [1.0, 2.0, 3.0], "nan"][rng.integers(4)]
    return ds.assign({name: ds[name].assign_attrs({key: value})}), untouched(), False


_OF_VALUES = (
    _cells,
    _declared_fill,
    _dead_pixel,
    _dead_date,
    _beyond_swath,
    _packed,
    _power,
    _order,
    _other_names,
    _beside,
    _twice,
    _left_out,
    _odd_date,
    _odd_axis,
    _odd_type,
    _odd_units,
    _odd_limits,
)


# Damage of the bytes: functions of (rng, file)


def _cut(rng, path):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * rng.random())])


def _flip(rng, path):
    data = bytearray(path.read_bytes())
    for k in rng.integers(len(data), size=rng.integers(1, 30)):
        data[k] ^= 1 << int(rng.integers(8))
    path.write_bytes(bytes(data))


def _blot(rng, path):
    data = bytearray(path.read_bytes())
    start = int(rng.integers(len(data)))
    size = int(rng.integers(1, 200))
    data[start : start + size] = bytes(rng.integers(256, size=size, dtype="u1"))
    path.write_bytes(bytes(data))


def _empty(rng, path):
    path.write_bytes(b"")


def _words(rng, path):
    path.write_text("<html><body>404 Not Found</body></html>")


def _gone(rng, path):
    path.unlink()


_OF_BYTES = (_cut, _flip, _blot, _flip, _empty, _words, _cut)


def _netcdf(folder, ds, rng):
    path = folder / "cube.nc"
    if rng.random() < 0.3:
        ds.drop_encoding().to_netcdf(path, engine="scipy")
    else:
        ds.to_netcdf(path, engine="h5netcdf")
    return path


def _zarr(folder, ds, rng):
    path = folder / "cube.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sizes = {name: tuple(-(-n // 2) for n in ds[name].shape) for name in ds.data_vars}
        encoding = {name: {"chunks": of} for name, of in sizes.items() if of}
        ds.to_zarr(path, zarr_format=int(rng.choice([2, 3])), encoding=encoding)
    return path


def _geotiff(folder, ds, rng):
    path = folder / "stack.tif"
    if rng.random() < 0.5:
        return worlds.stack(path, ds, lambda name, k, date: f"{name}_{date.date()}")
    for k, date in enumerate(pd.DatetimeIndex(ds["t"].values)):
        bands = [ds[name].values[k] for name in NAMES]
        file = folder / "dates" / f"scene_{date.date()}.tif"
        worlds.write_tif(file, bands, ("VV", "VH", "NDVI"), **worlds.geometry(ds))
    return folder / "dates"


_AS_TIF = (_cells, _dead_pixel, _dead_date, _beyond_swath, _left_out)
"""Damage of values that a GeoTIFF can hold."""


def _of_tif(rng, path):
    """Damage of a GeoTIFF's tags; the values stay."""
    import rasterio

    file = path if path.is_file() else sorted(path.iterdir())[rng.integers(SHAPE[0])]
    way = rng.integers(6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(file, "r+") as tif:
            if way == 0:
                tif.descriptions = tuple("?" for _ in tif.descriptions)
            elif way == 1:
                tif.crs = rasterio.CRS()
            elif way == 2:
                tif.transform = rasterio.Affine(20, 3, 0, 1, -20, 0)
            elif way == 3:
                tif.transform = tif.transform * rasterio.Affine.translation(3, 0)
            elif way == 4:
                tif.units = ["K"] * tif.count
            else:
                tif.scales = [float("nan")] * tif.count
    return f"tags {way}"


def _table_text(rng, text):
    """Damage of a CSV's text: (text, the row that it touches; None: all)."""
    lines = text.splitlines()
    row, way = int(rng.integers(1, len(lines))), int(rng.integers(12))
    cells = lines[row].split(",")
    junk = ("", "abc", "1e999", "-9999", "−12.5", "NaN", '"', "12,5", "\x00", "2023-13-45")
    if way < 4:
        cells[int(rng.integers(len(cells)))] = str(rng.choice(junk))
        lines[row] = ",".join(cells)
    elif way == 4:
        lines.insert(row, lines[row])
    elif way == 5:
        del lines[row]
    elif way == 6:
        lines = lines[1:]
    elif way == 7:
        return text.replace(",", ";"), None
    elif way == 8:
        lines[row] += ",1,2,3"
    elif way == 9:
        lines[0] = lines[0].replace("Index", "when")
    elif way == 10:
        lines[0] = ",".join([lines[0].split(",")[-1]] * len(cells))
    else:
        return "\ufeff" + text.replace("\n", "\r\n"), None
    return "\n".join(lines) + "\n", row


def mutants(form: str, folder: Path, count: int):
    """So many damaged inputs of a format, each drawn by its own number."""
    ds = clean_scene()
    for seed in range(count):
        rng = np.random.default_rng([sorted(COUNTS).index(form), seed])
        place = folder / f"{form}-{seed}"
        place.mkdir(parents=True)
        yield _mutant(form, place, ds, rng, seed)
        shutil.rmtree(place)


def _mutant(form, place, ds, rng, seed) -> Mutant:
    if form == "csv":
        return _of_csv(place, ds, rng, seed)
    write = {"netcdf": _netcdf, "zarr": _zarr, "geotiff": _geotiff}[form]
    kinds = _AS_TIF if form == "geotiff" else _OF_VALUES
    turn = seed % (len(kinds) + len(_OF_BYTES) + 2 * (form == "geotiff"))
    if turn < len(kinds):
        damaged, touched, lost = kinds[turn](rng, ds)
        name = kinds[turn].__name__.strip("_")
        return Mutant(f"{form} {name}", write(place, damaged, rng), touched, lost)
    path = write(place, ds, rng)
    turn -= len(kinds)
    if turn >= len(_OF_BYTES):
        return Mutant(f"geotiff {_of_tif(rng, path)}", path, everything(), False)
    inside = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    file = inside[rng.integers(len(inside))]
    damage = _gone if form == "zarr" and turn == 6 else _OF_BYTES[turn]
    damage(rng, file)
    touched = everything()
    if file.stem.startswith("scene_"):
        # a file of one date; the others have files of their own
        others = ds["t"].values != np.datetime64(file.stem.removeprefix("scene_"))
        for name in NAMES:
            touched[name][others] = False
    return Mutant(f"{form} {damage.__name__.strip('_')} of {file.name}", path, touched, False)


def _of_csv(place, ds, rng, seed) -> Mutant:
    files = worlds.tables(place, ds)
    file = files[rng.integers(2)]
    if seed % 6 == 5:
        damage = _OF_BYTES[rng.integers(len(_OF_BYTES))]
        damage(rng, file)
        touched = {name: np.ones(_TABLE, bool) for name in NAMES}
        return Mutant(f"csv {damage.__name__.strip('_')}", place, touched, False)
    before = file.read_text()
    text, row = _table_text(rng, before)
    file.write_text(text, encoding="utf-8")
    touched = {name: np.ones(_TABLE, bool) for name in NAMES}
    if row is not None and text.splitlines()[0] == before.splitlines()[0]:
        # whatever became of the row, it speaks of one place
        at = int(before.splitlines()[row].split(",")[0]) - 1
        for name in NAMES:
            touched[name][:] = False
            touched[name][:, at] = True
    return Mutant("csv text", place, touched, False)


def outcome(mutant: Mutant, clean: xr.Dataset) -> Outcome:
    """How the opening of a damaged input ended."""
    before = set(clean.attrs["s1jax_repairs"].splitlines())
    try:
        ds = open_cube(mutant.source)
        values = {name: np.asarray(ds[name].values) for name in NAMES}
    except ValueError as error:
        text = str(error)
        named = "got" in text or "cannot be read" in text
        if not (named and "expected" in text) or len(text) > 3000:
            return Outcome("obscure", f"ValueError without found and expected: {text[:200]}")
        return Outcome("refused", text)
    except Exception as error:
        return Outcome("obscure", f"{type(error).__name__}: {str(error)[:200]}")
    for name, value in values.items():
        low, high = (-1.00001, 1.00001) if name == "S2ndvi" else (-60, 60)
        if value.dtype != np.float32 or (value < low).any() or (value > high).any():
            return Outcome("silent", f"{name}: {value.dtype}, up to {np.nanmax(np.abs(value))}")
    messages = set(ds.attrs["s1jax_repairs"].splitlines()) - before
    if all(mutant.touched[n].all() for n in NAMES):
        if mutant.lost:
            return Outcome("silent", "opened, expected to be refused")
        return Outcome("mended" if messages else "equal", "; ".join(messages))
    return _beside_the_damage(mutant, ds, clean, messages)


def _beside_the_damage(mutant, ds, clean, messages) -> Outcome:
    """Whether the cube is the clean one where it was not touched."""
    if "location_id" in clean:
        places = {str(name): k for k, name in enumerate(ds["location_id"].values)}
        near = ds.isel(y=[places.get(str(name), -1) for name in clean["location_id"].values])
    else:
        near = ds.drop_vars([name for name in ds.coords if name not in ("t", "y", "x")])
        near = near.sel(y=clean.y, x=clean.x, method="nearest", tolerance=0.5)
    near = near.reindex(t=clean.t.values)
    for name in NAMES:
        got = near[name].transpose("t", "y", "x").values
        expected, touched = clean[name].values, mutant.touched[name]
        same = np.isclose(got, expected, rtol=0, atol=2e-4, equal_nan=True)
        if (~same & ~touched).any():
            count = int((~same & ~touched).sum())
            return Outcome("silent", f"{name}: {count} cells beside the damage have changed")
        stays = np.isfinite(got) & touched & ~same
        if mutant.lost and stays.any():
            return Outcome("silent", f"{name}: {int(stays.sum())} damaged cells have values")
    return Outcome("mended" if messages else "equal", "; ".join(messages))


def reference(form: str, folder: Path) -> xr.Dataset:
    """The clean cube of a format."""
    rng, place = np.random.default_rng(0), folder / f"{form}-clean"
    place.mkdir(parents=True)
    ds = clean_scene()
    if form == "csv":
        worlds.tables(place, ds)
        return open_cube(place).load()
    write = {"netcdf": _netcdf, "zarr": _zarr, "geotiff": _geotiff}[form]
    return open_cube(write(place, ds, rng)).load()


def outcomes(form: str, folder: Path, count: int) -> list[tuple[Mutant, Outcome]]:
    """Every mutant of a format and how it ended."""
    clean = reference(form, folder)
    return [(mutant, outcome(mutant, clean)) for mutant in mutants(form, folder, count)]


@pytest.fixture
def quiet():
    """Repairs are warnings of the log; here they are looked at instead."""
    log = logging.getLogger("s1jax")
    level = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(level)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("form", COUNTS)
@pytest.mark.filterwarnings("ignore")
def test_damage_is_mended_or_refused_in_words(form, tmp_path, quiet):
    ends = outcomes(form, tmp_path, COUNTS[form])
    wrong = [
        f"{mutant.kind}: {end.word}: {end.detail}"
        for mutant, end in ends
        if end.word in ("obscure", "silent")
    ]
    assert not wrong, "\n".join(wrong)
    words = Counter(end.word for _, end in ends)
    # a reader that refused all, or took all, would be no reader
    assert words["refused"] >= COUNTS[form] / 10
    assert words["mended"] + words["equal"] >= COUNTS[form] / 5


@pytest.mark.filterwarnings("ignore")
def test_the_doctor_examines_damaged_inputs(tmp_path, quiet):
    """Thirty of them: findings, or a ValueError in words."""
    seen = 0
    for form, count in {"netcdf": 17, "zarr": 5, "geotiff": 5, "csv": 3}.items():
        for mutant in mutants(form, tmp_path, count):
            seen += 1
            messages = []
            try:
                findings = doctor.examine(mutant.source, rows=0, today="2026-01-01").findings
            except ValueError as error:
                messages.append(str(error))
                findings = []
            for message in messages:
                assert re.search(r"got|cannot be read", message), (mutant.kind, message)
                assert "expected" in message, (mutant.kind, message)
            assert messages or all(finding.name for finding in findings)
    assert seen == 30


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.getLogger("s1jax").setLevel(logging.CRITICAL)
    total: Counter = Counter()
    for form, count in COUNTS.items():
        with tempfile.TemporaryDirectory() as folder:
            for mutant, end in outcomes(form, Path(folder), count):
                total[end.word] += 1
                if end.word in ("obscure", "silent") or "-v" in sys.argv:
                    print(f"{mutant.kind}: {end.word}: {end.detail}")
    print(json.dumps(total))
