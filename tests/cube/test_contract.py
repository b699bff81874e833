"""The same scene through every door is the same cube, in memory and in chunks."""

import numpy as np
import pandas as pd
import pyproj
import pytest
import xarray as xr
from affine import Affine

from s1jax import cube
from s1jax.cube.findings import is_repair
from tests.worlds import cube as worlds
from tests.worlds.cube import START, STEP, scene

NUMBERED = {"start": START, "step": STEP}
STYLES = {
    "P01": lambda name, k, date: f"{name}_P{k:02d}",
    "ISO": lambda name, k, date: f"{name}_{date:%Y-%m-%d}",
    "digits": lambda name, k, date: f"{name}_{date:%Y%m%d}".replace("S2ndvi", "NDVI"),
    "before": lambda name, k, date: f"{date:%Y%m%d}_{name}".replace("S2ndvi", "ndvi"),
}


def _nc(ds, folder, **encoding):
    ds.to_netcdf(folder / "cube.nc", encoding=encoding)
    return folder / "cube.nc"


def _zarr(ds, folder):
    encoding = {name: {"chunks": (3, 4, 5)} for name in ds.data_vars}
    ds.to_zarr(folder / "cube.zarr", zarr_format=2, consolidated=True, encoding=encoding)
    return folder / "cube.zarr"


def _named(ds, dim, **names):
    called = {"S2ndvi": "NDVI", "VV": "sigma0_vv", "VH": "Sigma0_VH_db"} | names
    return ds.rename({"t": dim, **called}).isel(y=slice(None, None, -1))


def _stacked(ds):
    """Planes on a dimension `band` with numbers, as GDAL leaves it; `spatial_ref` a variable."""
    reference = xr.DataArray(0, attrs={"crs_wkt": pyproj.CRS(ds.attrs["crs"]).to_wkt()})
    ds = ds.drop_vars("t").rename(t="band").assign_coords(band=np.arange(1, ds.sizes["t"] + 1))
    ds = ds.assign(spatial_ref=reference)
    ds.attrs.pop("crs")
    return ds


def _stray(ds):
    reference = xr.DataArray(0, attrs={"spatial_ref": pyproj.CRS(ds.attrs["crs"]).to_wkt()})
    ds = ds.assign_coords(band=1, spatial_ref=reference)
    ds.attrs.pop("crs")
    return ds


def _bands(ds, order):
    made = ds.rename(S2ndvi="NDVI").to_array("bands").transpose(*order)
    made.attrs = {"crs": ds.attrs["crs"]}
    return made


def _whole(ds, dtype="int16"):
    stored = xr.where(ds.S2ndvi.isnull(), -9999, (ds.S2ndvi * 1e4).round()).astype(dtype)
    return ds.assign(S2ndvi=stored.assign_attrs({}))


DOORS = {
    "periods": lambda ds, at: worlds.periods(at, ds),
    **{k: lambda ds, at, s=s: worlds.stack(at / "a.tif", ds, s) for k, s in STYLES.items()},
    "time": lambda ds, at: _nc(_named(ds, "time", S2ndvi="ndvi"), at),
    "date": lambda ds, at: _zarr(_named(ds, "date", VV="VV_gamma0"), at),
    "Index text": lambda ds, at: _nc(
        _named(ds, "Index").assign_coords(Index=ds.t.dt.strftime("%Y-%m-%d").values), at
    ),
    "yyyymmdd": lambda ds, at: ds.assign_coords(t=ds.t.dt.strftime("%Y%m%d").astype(int)),
    "band is time": lambda ds, at: _nc(_stacked(ds), at),
    "stray band": lambda ds, at: _nc(_stray(ds), at),
    "linear": lambda ds, at: worlds.power(ds),
    "scaled": lambda ds, at: _nc(
        ds, at, S2ndvi={"dtype": "int16", "scale_factor": 1e-4, "_FillValue": -32768}
    ),
    "whole": lambda ds, at: _nc(_whole(ds), at),
    "whole with fill": lambda ds, at: _nc(
        ds.assign(S2ndvi=(ds.S2ndvi * 1e4).round()),
        at, S2ndvi={"dtype": "int16", "_FillValue": -32768},
    ),
    "in memory": lambda ds, at: ds,
    "openEO": lambda ds, at: _bands(ds, ("t", "bands", "y", "x")),
    "openEO last": lambda ds, at: _bands(ds, ("y", "x", "t", "bands")),
    "openEO file": lambda ds, at: _nc(
        _bands(ds, ("bands", "t", "y", "x")).to_dataset(name="c").assign_attrs(ds.attrs), at
    ),
    "sits RTC": lambda ds, at: worlds.sits(at, ds, whole=False),
    "sits GRD": lambda ds, at: worlds.sits(at, ds, whole=True, radar="GRD"),
    "two Datasets": lambda ds, at: worlds.apart(ds),
}  # fmt: skip


GRIDS = {
    "UTM down": ({}, None),
    "UTM down in chunks": ({}, {"t": 3, "y": 4}),
    "UTM up": ({"up": True}, None),
    "degrees down": ({"geographic": True}, None),
    "degrees up": ({"geographic": True, "up": True}, None),
}


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("door", DOORS)
def test_same_scene_through_every_door(door, grid, tmp_path):
    where, chunks = GRIDS[grid]
    ds = worlds.on_grid(scene(), **where)
    dates = NUMBERED if door in ("periods", "P01", "band is time") else {}
    found = cube.open_cube(DOORS[door](ds.copy(deep=True), tmp_path), chunks=chunks, **dates)
    worlds.same(found, ds)
    assert cube.crs(found) == pyproj.CRS(ds.attrs["crs"])
    assert set(found.dims) == {"t", "y", "x"}
    for name in worlds.NAMES:
        assert (found[name].chunks is None) is (chunks is None)
    assert found.VV.attrs["units"] == "dB"


@pytest.mark.parametrize("system", [4326, 32749])
@pytest.mark.parametrize("up", [False, True])
def test_rows_and_crs_stay_as_they_are(system, up, tmp_path):
    ds = scene()
    if system == 4326:
        lon, lat = worlds.degrees(ds)
        ds = ds.assign_coords(y=lat[:, 0], x=lon[0]).rename(y="lat", x="lon")
        ds.attrs.pop("crs")
    axis = "lat" if system == 4326 else "y"
    ds = ds.isel({axis: slice(None, None, -1)}) if up else ds
    found = cube.open_cube(_nc(ds, tmp_path))
    assert (found.y.values[0] < found.y.values[-1]) == up
    np.testing.assert_array_equal(found.y, ds[axis])
    np.testing.assert_array_equal(found.VV, ds.VV)
    assert cube.crs(found).to_epsg() == system


def test_numbers_left_out_are_periods_left_out():
    ds = scene().isel(t=[0, 1, 3, 6])
    found = cube.open_cube(ds.assign_coords(t=[1, 2, 4, 7]), **NUMBERED)
    worlds.same(found.isel(t=[0, 1, 3, 6]), ds)
    assert found.VV[[2, 4, 5]].isnull().all()
    assert "periods 3, 5, 6 left out of the file" in found.attrs["s1jax_repairs"]


def test_stack_with_bands_left_out(tmp_path):
    ds = scene()
    path = tmp_path / "stack.tif"
    keep = [(k, n) for k in range(7) for n in worlds.NAMES if (k, n) not in {(2, "VH"), (5, "VV")}]
    bands = [ds[n].values[k] for k, n in keep]
    texts = [f"{n}_P{k + 1:02d}" for k, n in keep]
    worlds.write_tif(path, [*bands, bands[0]], [*texts, "elevation"])
    found = cube.open_cube(path, **NUMBERED)
    assert found.VH[2].isnull().all()
    np.testing.assert_array_equal(found.VH[3], ds.VH[3])
    said = found.attrs["s1jax_repairs"]
    assert "VH: no band for period 3: missing on its date" in said
    assert "VV: no band for period 6" in said
    assert "1 other bands of stack.tif are left aside: ['elevation']" in said


def test_stack_with_dates_of_each_sensor(tmp_path):
    ds = worlds.own_days()
    bands, texts = [], []
    for k, date in enumerate(pd.DatetimeIndex(ds.t.values)):
        for name in worlds.NAMES:
            if ds[name][k].notnull().any():
                bands.append(ds[name].values[k])
                texts.append(f"{name}_{date:%Y-%m-%d}")
    worlds.write_tif(tmp_path / "a.tif", bands, texts)
    worlds.same(cube.open_cube(tmp_path / "a.tif"), ds)
    # and as one file each
    for name, sensor in (("s1.tif", ("VV", "VH")), ("s2.tif", ("S2ndvi",))):
        wanted = [k for k, text in enumerate(texts) if text.split("_")[0] in sensor]
        worlds.write_tif(tmp_path / name, [bands[k] for k in wanted], [texts[k] for k in wanted])
    worlds.same(cube.open_cube((tmp_path / "s1.tif", tmp_path / "s2.tif")), ds)
    worlds.same(cube.open_cube(tmp_path / "s?.tif"), ds)


STACKS = {
    "dates and with periods": ["VV_P01", "VH_2023-11-07", "NDVI_P01"],
    "got VV_P01 twice": ["VV_P01", "VV_P01", "VH_P01"],
    r"variable VH: got \['S2ndvi', 'VV'\]": ["VV_P01", "VV_P02", "NDVI_P01"],
    "band of period 0": ["VV_P00", "VH_P00", "NDVI_P00"],
    # no naming: left aside in silence it would be a lost date
    "band VH_2023-11-31: got no date": ["VV_2023-11-07", "VH_2023-11-31", "NDVI_2023-11-07"],
}


@pytest.mark.parametrize("message", STACKS)
def test_bad_stacks_are_refused(message, tmp_path):
    worlds.write_tif(tmp_path / "a.tif", scene().VV.values[:3], STACKS[message])
    with pytest.raises(ValueError, match=message):
        cube.open_cube(tmp_path / "a.tif", **NUMBERED)


BAD = {
    r"t: got '01/11/2023'.*expected dates as": lambda ds: ds.assign_coords(t=["01/11/2023"] * 7),
    "S2ndvi: got whole numbers in .*expected scale_factor": lambda ds: ds.assign(
        S2ndvi=(ds.S2ndvi.fillna(0) * 100).astype("int16")
    ),
    "VV: got whole numbers, values in .*expected scale_factor or units": lambda ds: ds.assign(
        VV=(ds.VV * 100).astype("int16").assign_attrs(units="")
    ),
    r"bands: got \['NDVI', 'VH', 'VH'\], expected each name once": lambda ds: (
        ds.rename(S2ndvi="NDVI").to_array("bands").isel(bands=[2, 1, 1])
    ),
    r"S2ndvi: got \[.*scaled by 1e4": lambda ds: ds.assign(S2ndvi=ds.S2ndvi * 1e4),
    "t: got 7 numbers from 6 to 78, expected dates": lambda ds: ds.assign_coords(
        t=np.arange(7) * 12 + 6
    ),
    "no date in the files; got start=None": lambda ds: ds.drop_vars("t"),
}


@pytest.mark.parametrize("message", BAD)
def test_complaints_about_cubes_in_memory(message):
    with pytest.raises(ValueError, match=message):
        cube.open_cube(BAD[message](scene()))


def test_dates_with_a_zone_are_in_utc():
    ds = scene()
    text = [f"{day}T07:00:00+07:00" for day in ds.t.dt.strftime("%Y-%m-%d").values]
    worlds.same(cube.open_cube(ds.assign_coords(t=text)), ds)


def test_the_date_that_is_none_is_named():
    text = [*scene().t.dt.strftime("%Y-%m-%d").values[:-1], "2023-11-31"]
    with pytest.raises(ValueError, match=r"t: got '2023-11-31' .*expected dates"):
        cube.open_cube(scene().assign_coords(t=text))


def test_pixels_of_another_size_are_another_grid(tmp_path):
    # the first corner is the same, the last is 2 pixels away
    planes, named = np.random.default_rng(0).normal(-10, 1, (3, 2, 4000)), ("VV", "VH", "NDVI")
    planes[2] /= 100
    for k, pixel in enumerate((10.0, 10.005)):
        transform = Affine(pixel, 0, worlds.WEST, 0, -10, worlds.NORTH)
        worlds.write_tif(tmp_path / f"period_{k + 1}.tif", planes, named, transform=transform)
    with pytest.raises(ValueError, match=r"period_2\.tif: grid: got .*10\.005"):
        cube.open_cube(tmp_path, **NUMBERED)


def test_names_say_what_was_taken_for_what(tmp_path):
    ds = scene().rename(VV="Sigma0_VV_db", S2ndvi="NDVI", t="time")
    ds["Sigma0_VV_db"].attrs.clear()
    said = cube.open_cube(ds).attrs["s1jax_repairs"].split("\n")
    assert said == [
        "named: dimension time is taken as t",
        "named: variable Sigma0_VV_db is taken as VV, in dB",
        "named: variable NDVI is taken as S2ndvi",
    ]


def test_repairs_may_be_refused(tmp_path):
    ds = scene()
    packed = {"dtype": "int16", "scale_factor": 1e-4, "_FillValue": -32768}
    path = _nc(worlds.power(ds).rename(t="time", S2ndvi="NDVI"), tmp_path, NDVI=packed)
    # other names, declared scale, fill and units are no repair
    found = cube.open_cube(path, repair=False)
    worlds.same(found, ds)
    assert "as declared: VV: linear power converted to dB" in found.attrs["s1jax_repairs"]
    assert "as declared: S2ndvi" not in found.attrs["s1jax_repairs"]
    assert "as declared: NDVI: " in found.attrs["s1jax_repairs"]
    # what has been repaired and written needs no repair
    cube.write(cube.open_cube(_broken(ds)), tmp_path / "mended.nc")
    cube.open_cube(tmp_path / "mended.nc", repair=False)
    with pytest.raises(ValueError, match="repairs: got 4 to make, expected none") as refused:
        cube.open_cube(_broken(ds), repair=False)
    for line in (
        "VH: 1 values of +-inf are missing",
        "VV: 1 constant plane(s) are missing: 2023-12-01",
        "VV: no units declared; by its median it is dB",
        "dates were not ascending: sorted",
    ):
        assert line in str(refused.value)


def _broken(ds):
    ds = ds.copy(deep=True)
    ds["VV"].attrs.clear()
    ds["VH"].values[1, 0, 0] = np.inf
    ds["VV"].values[2] = -10.0
    return ds.isel(t=[0, 2, 1, 3, 4, 5, 6])


def test_each_line_is_logged_once(caplog, tmp_path):
    with caplog.at_level("INFO", logger="s1jax"):
        found = cube.open_cube(worlds.sits(tmp_path, scene(), whole=True, radar="GRD"))
    lines = [*found.attrs["s1jax_repairs"].split("\n"), found.attrs["s1jax_funnel"]]
    assert [caplog.messages.count(line) for line in lines] == [1] * len(lines)
    # repairs are seen by whoever has set up no logging
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warned == [line for line in lines[:-1] if is_repair(line)]
    assert len(warned) > 0
