"""What an input does not say is refused, or said once: names, dates, units, grids, places."""

import numpy as np
import pandas as pd
import pytest
import rasterio
import rasterio.merge
import rasterio.shutil
import xarray as xr

from s1jax import cube
from s1jax.cube.dates import tidy_dates
from tests.worlds import cube as worlds
from tests.worlds.cube import START, STEP, own_days, scene

NUMBERED = {"start": START, "step": STEP}
BANDS = ("VV", "VH", "NDVI")


def _file(path, ds, k, texts=BANDS, **options):
    worlds.write_tif(path, [ds[n].values[k] for n in worlds.NAMES], texts, **options)


@pytest.mark.parametrize("style", ["S1_S2_%Y-%m-%d", "demak_%Y%m%d", "%Y_%m_%d_cube_10"])
def test_dates_in_names_of_files_are_dates(style, tmp_path):
    ds = scene()
    for k, date in enumerate(pd.DatetimeIndex(ds.t.values)):
        _file(tmp_path / f"{date:{style}}.tif", ds, k)
    worlds.same(cube.open_cube(tmp_path), ds)
    # they are put into the periods that are asked for, each on its own
    worlds.same(cube.open_cube(tmp_path, **NUMBERED), ds)
    worlds.same(cube.open_cube(sorted(tmp_path.glob("*.tif"))), ds)


NAMES = {
    r"got dates and numbers of periods": ("a_2023-11-07", "a_02"),
    r"got no date \(.*month": ("a_20231307", "a_20231119"),
    r"got dates \['2023-11-01', '2023-11-12'\], expected one": ("a_2023-11-01_2023-11-12", "a_1"),
    r"got \['2023-11-07'\] in more than one file": ("a_2023-11-07", "b_20231107"),
    r"periods: got 2 numbers from 1 to 50, expected dates": ("period_1", "period_50"),
}


@pytest.mark.parametrize("message", NAMES)
def test_names_of_files_that_say_no_time_are_refused(message, tmp_path):
    for k, name in enumerate(NAMES[message]):
        _file(tmp_path / f"{name}.tif", scene(), k)
    with pytest.raises(ValueError, match=message):
        cube.open_cube(tmp_path, **NUMBERED)


def test_a_list_of_periods_is_a_folder_of_them(tmp_path):
    ds = scene()
    files = sorted(worlds.periods(tmp_path, ds).glob("period_*.tif"))
    xr.testing.assert_identical(
        cube.open_cube(files, **NUMBERED), cube.open_cube(tmp_path, **NUMBERED)
    )


def test_bands_of_every_file_are_looked_at(tmp_path):
    ds = scene()
    for k in range(7):
        texts = ("VV_dB", "VH_dB", "NDVI") if k else ()
        _file(tmp_path / f"period_{k + 1}.tif", ds, k, texts)
    planes = [ds[n].values[3] for n in (*worlds.NAMES, "VV")]
    worlds.write_tif(tmp_path / "period_4.tif", planes, (*BANDS, "angle"))
    found = cube.open_cube(tmp_path, **NUMBERED)
    worlds.same(found, ds)
    said = found.attrs["s1jax_repairs"]
    assert (
        "\nbands without description in 1 of 7 files: taken as VV, VH, NDVI by pos" in "\n" + said
    )
    assert "named: other bands are left aside: ['angle']" in said
    assert "no units declared" not in said
    worlds.write_tif(tmp_path / "period_4.tif", planes, (*BANDS, "vv"))
    with pytest.raises(ValueError, match=r"period_4.tif: got bands .*each of VV, VH, NDVI once"):
        cube.open_cube(tmp_path, **NUMBERED)


def test_units_of_all_bands_are_looked_at(tmp_path):
    ds = scene()
    path = worlds.stack(tmp_path / "a.tif", ds, lambda n, k, date: f"{n}_{date:%Y%m%d}")
    with rasterio.open(path, "r+") as file:
        file.units = ["linear", "dB", "1", *["dB", "dB", "1"] * 6]
    with pytest.raises(ValueError, match=r"VV: units: got \['dB', 'linear'\], expected one"):
        cube.open_cube(path)


@pytest.mark.parametrize("style", ["{}_dB_2", "{}_2_dB", "{}_2"])
def test_bands_of_two_orbits_with_their_unit(style, tmp_path):
    ds = scene()
    days = pd.DatetimeIndex(ds.t.values)
    for name in ("VV", "VH"):
        ds[name].attrs["units"] = "dB"
        ds[f"{name}_2"] = (ds[name] - 1).assign_attrs(units="dB")
    texts, bands = [], []
    for name in ("VV", "VH", "VV_2", "VH_2"):
        called = style.format(name[:2]) if name.endswith("2") else f"{name}_dB"
        texts += [f"{called}_{day:%Y%m%d}" for day in days]
        bands += [*ds[name].values]
    worlds.write_tif(tmp_path / "s1.tif", bands, texts)
    ndvi = [f"NDVI_{day:%Y%m%d}" for day in days]
    worlds.write_tif(tmp_path / "s2.tif", ds.S2ndvi.values, ndvi)
    found = cube.open_cube((tmp_path / "s1.tif", tmp_path / "s2.tif"))
    assert cube.channels(found) == ["VV", "VH", "VV_2", "VH_2", "S2ndvi"]
    worlds.same(found, ds, ("VV", "VH", "VV_2", "VH_2", "S2ndvi"))
    assert ("no units declared" in found.attrs["s1jax_repairs"]) == (style == "{}_2")
    # each orbit in a file of its own
    half = len(texts) // 2
    for k, part in enumerate((slice(half), slice(half, None))):
        worlds.write_tif(tmp_path / f"orbit{k}.tif", bands[part], texts[part])
    parts = [tmp_path / name for name in ("orbit0.tif", "orbit1.tif", "s2.tif")]
    xr.testing.assert_equal(cube.open_cube(parts), found)


# rasterio multiplies as affine no longer likes it
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_mosaics_keep_the_names_of_their_bands(tmp_path):
    ds = scene()
    path = worlds.stack(tmp_path / "a.tif", ds, lambda n, k, date: f"{n}_{date:%Y%m%d}")
    rasterio.shutil.copy(path, tmp_path / "a.vrt", driver="VRT")
    worlds.same(cube.open_cube(tmp_path / "a.vrt"), ds)
    # as docs/export.md has it
    west, east = tmp_path / "west.tif", tmp_path / "east.tif"
    for part, columns in ((west, slice(0, 2)), (east, slice(2, None))):
        some = ds.isel(x=columns)
        worlds.stack(part, some, lambda n, k, date: f"{n}_{date:%Y%m%d}")
    rasterio.merge.merge([west, east], dst_path=tmp_path / "merged.tif")
    with rasterio.open(west) as part, rasterio.open(tmp_path / "merged.tif", "r+") as whole:
        assert not any(whole.descriptions)
        whole.descriptions = part.descriptions
    worlds.same(cube.open_cube(tmp_path / "merged.tif"), ds)


def test_an_axis_of_other_numbers_is_no_position():
    ds = scene().isel(t=[0, 1, 3, 6])
    for t in ([0, 1, 3, 6], [4, 3, 2, 1], [0.5, 1.5, 2.5, 3.5], [1.0, 2.0, 4.0, 7.0]):
        with pytest.raises(ValueError, match=r"t: got .*, expected dates, or periods ascending"):
            cube.open_cube(ds.assign_coords(t=t), **NUMBERED)
    for t in ([0, 1, 2, 3], [1, 2, 3, 4], [0.0, 1.0, 2.0, 3.0]):
        found = cube.open_cube(ds.assign_coords(t=t), **NUMBERED, repair=False)
        np.testing.assert_array_equal(found.t, scene().t[:4])


def _large(seed=0):
    """9 dates of 20 x 15 pixels, dB declared."""
    ds = scene(np.arange(9) * 12.0 + 6, seed)
    return xr.concat([xr.concat([ds.drop_vars(["y", "x"])] * 3, "x")] * 3, "y").transpose(
        "t", "y", "x"
    )


def _power_on(ds, rows):
    for name in ("VV", "VH"):
        ds[name].values[rows] = 10 ** (ds[name].values[rows] / 10)
    return ds


@pytest.mark.parametrize("units", ["dB", ""])
def test_dates_of_power_among_those_of_db_are_refused(units):
    ds = _power_on(_large(), slice(3))
    ds.VV.attrs["units"] = ds.VH.attrs["units"] = units
    expected = (
        r"VV: got 3 of 9 dates that look like linear power \(2023-11-07, .*expected dB on all"
    )
    with pytest.raises(ValueError, match=expected):
        cube.open_cube(ds)


def test_a_date_of_db_among_those_of_power_is_refused():
    ds = _power_on(_large(), slice(None)).drop_attrs()
    # too few to be more than noise of the whole, but not of their date
    ds.VV.values[4, 0, :] = -12.0
    ds.VV.values[4, 1, :5] = -12.0
    with pytest.raises(ValueError, match=r"VV: got 1 of 9 dates that look like dB"):
        cube.open_cube(ds)


def test_dates_of_few_places_are_looked_at_together():
    ds = _power_on(_large(), slice(3)).isel(x=slice(0, 1), y=slice(0, 3))
    with pytest.raises(ValueError, match=r"VV: got 1 of 1 dates that look like dB and values in"):
        cube.open_cube(ds)
    cube.open_cube(_large().isel(x=slice(0, 1), y=slice(0, 3)))


def test_cities_in_db_are_in_db():
    rng = np.random.default_rng(0)
    ds = _large()
    for name, mean in (("VV", -2.0), ("VH", -9.0)):
        ds[name].values[:] = rng.normal(mean, 4, ds[name].shape)
    cube.open_cube(ds, repair=False)
    # one bright value of fifteen on a date is no power
    few = _large().isel(x=slice(0, 5), y=slice(0, 3))
    few.VV.values[2, 0, 0] = 0.4
    cube.open_cube(few, repair=False)


RANGES = {
    r"VV: got values in \[.*linear power, medians below 10": ("VV", lambda v: 20 * (v + 30), ""),
    r"VH: got values in \[.*linear power, medians below 10": ("VH", lambda v: 20 * (v + 40), "1"),
    r"VV: got values in \[-1.*dB in \[-60, 60\]": ("VV", lambda v: v * 10, "dB"),
    r"VV: got values in \[-9999,.*undeclared nodata": (
        "VV", lambda v: v.where((v.x > 0) | (v.y > 0), -9999), "dB"
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", RANGES)
def test_values_that_no_backscatter_has_are_refused(message):
    name, change, units = RANGES[message]
    ds = _large().assign_coords(y=np.arange(18), x=np.arange(15))
    for of in ("VV", "VH"):
        if units != "dB" and of != name:
            ds[of] = (10 ** (ds[of] / 10)).assign_attrs(units=units)
    ds[name] = change(ds[name]).assign_attrs(units=units)
    with pytest.raises(ValueError, match=message):
        cube.open_cube(ds)


def test_faint_powers_are_missing_and_what_is_left_opens_again():
    ds = _power_on(_large(), slice(None))
    ds.VV.attrs["units"] = ds.VH.attrs["units"] = "linear"
    ds.VV.values[2, 0, :3] = 1e-9
    found = cube.open_cube(ds)
    assert "VV: 3 powers not above 1e-06 (-60 dB) are missing" in found.attrs["s1jax_repairs"]
    assert int(found.VV.isnull().sum()) == 3
    cube.open_cube(found, repair=False)


@pytest.mark.parametrize("chunks", [None, {"y": 4}], ids=["memory", "chunks"])
def test_scale_and_offset_of_an_undecoded_dataset(chunks, tmp_path):
    ds = scene()
    packed = {"dtype": "int16", "scale_factor": 2e-4, "add_offset": -1.0, "_FillValue": -32768}
    radar = {"dtype": "int16", "scale_factor": 0.01, "_FillValue": -9999}
    ds.VV.values[1, 0, 0] = np.nan
    encoding = {"S2ndvi": packed, "VV": radar, "VH": radar}
    ds.to_netcdf(tmp_path / "a.nc", encoding=encoding)
    raw = xr.open_dataset(tmp_path / "a.nc", mask_and_scale=False, chunks=chunks)
    assert raw.S2ndvi.dtype.kind == "i"
    found, expected = cube.open_cube(raw, repair=False), cube.open_cube(tmp_path / "a.nc")
    xr.testing.assert_allclose(found.drop_attrs(), expected.drop_attrs(), atol=1e-6)
    said = found.attrs["s1jax_repairs"]
    assert "as declared: S2ndvi: stored values x 0.0002 + -1" in said
    assert "as declared: VV: 1 values of nodata -9999 are missing" in said
    assert "scale_factor" not in found.VV.attrs
    raw.VV.attrs["scale_factor"] = "hundredth"
    with pytest.raises(ValueError, match="VV: scale_factor: got 'hundredth', expected one number"):
        cube.open_cube(raw)


def test_statistics_that_there_are_not_are_refused():
    ds = cube.open_cube(own_days())
    for radar in ("mean", "max", "mode"):
        with pytest.raises(ValueError, match=rf"radar: got '{radar}', expected .*'mean_db'"):
            cube.align_cube(ds, radar=radar)
    with pytest.raises(ValueError, match=r"ndvi: got 'mean_db', expected .*'median', 'mean'"):
        cube.align_cube(ds, ndvi="mean_db")


def test_a_step_that_is_asked_for_is_taken():
    ds = cube.open_cube(scene())
    kept = cube.align_cube(ds)
    xr.testing.assert_identical(cube.align_cube(ds, step=12), kept)
    xr.testing.assert_identical(cube.align_cube(kept, step=12.0), kept)
    wide = cube.align_cube(ds, step=24)
    assert wide.sizes["t"] == 4
    power = (10 ** (ds.VV.values[:2] / 10)).mean(axis=0)
    np.testing.assert_allclose(wide.VV[0], 10 * np.log10(power), rtol=1e-5)
    # acquisitions, which have no step of their own, get 12 days
    acquired = cube.open_cube(own_days())
    xr.testing.assert_identical(cube.align_cube(acquired), cube.align_cube(acquired, step=12))


def test_what_alignment_loses_is_in_the_attributes():
    ds = cube.open_cube(own_days().assign(truth=own_days().VV * 0))
    ds = ds.assign_coords(s1_track=("t", np.where(ds.VV.notnull().any(("y", "x")), 4, 0)))
    lost = "as asked: left behind, of single dates: truth, s1_track"
    made = cube.align_cube(ds)
    said = made.attrs["s1jax_repairs"]
    assert "as asked: aligned: 9 dates put into 4 periods of 12 days from 2023-11-01" in said
    assert lost in said
    paired = cube.pair_cube(ds, within=1).attrs["s1jax_repairs"]
    assert "days of Sentinel-2 with Sentinel-1 within 1 days; 2 of 4 radar days are near" in paired
    assert lost in paired
    opened = cube.open_cube(ds, start="2023-11-04", step=12)
    said = opened.attrs["s1jax_repairs"].split("\n")
    assert lost in said
    assert "as asked: aligned: 8 dates put into 4 periods of 12 days from 2023-11-04" in said[-2]
    assert said[-2].endswith("; 1 before it left out")


def test_sensors_without_coordinates_are_not_joined():
    s1, s2 = worlds.apart(own_days())
    bare = s2.isel(y=slice(None, None, -1)).drop_vars(["y", "x"])
    with pytest.raises(ValueError, match=r"grid of S2ndvi: got .* without coordinates, expected"):
        cube.open_cube([s1, bare])
    with pytest.raises(ValueError, match=r"grid of S2ndvi: got .* without coordinates, expected"):
        cube.open_cube([s1.drop_vars(["y", "x"]), bare])


def test_a_crs_taken_from_the_other_sensor_is_a_repair():
    s1, s2 = worlds.apart(own_days())
    bare = s2.assign_attrs()
    bare.attrs.clear()
    found = cube.open_cube([s1, bare])
    assert "CRS of S2ndvi: got none, taken to be that of VV/VH" in found.attrs["s1jax_repairs"]
    assert cube.crs(found).to_epsg() == worlds.EPSG
    with pytest.raises(ValueError, match="repairs: got 1 to make"):
        cube.open_cube([s1, bare], repair=False)


def test_places_of_two_sensors_are_joined_by_latitude_and_longitude(tmp_path):
    whole = cube.open_cube(worlds.tables(tmp_path, own_days()))
    s1, s2 = whole[["VV", "VH", "lat", "lon"]], whole[["S2ndvi", "lat", "lon"]]
    xr.testing.assert_equal(cube.open_cube([s1, s2])[[*worlds.NAMES]], whole[[*worlds.NAMES]])
    with pytest.raises(ValueError, match="grid of S2ndvi"):
        cube.open_cube([s1, s2.isel(y=slice(None, None, -1))])


def test_rows_of_a_table_are_no_metres(tmp_path):
    ds = xr.concat([own_days()] * 4, "y").assign_coords(y=np.arange(24.0)[::-1])
    files = worlds.tables(tmp_path, ds.assign_coords(x=np.arange(5.0)))
    for file in files:
        pd.read_csv(file).drop(columns=["latitude", "longitude"]).to_csv(file, index=False)
    found = cube.open_cube(files)
    assert found.sizes["y"] == 120
    assert cube.position(found) is None
    assert cube.to_series(found)[0].position is None
    # nor are numbers of rows and columns of any cube
    tall = found.assign_coords(y=np.arange(120), x=[0])
    assert cube.position(tall) is None
    assert cube.position(tall.assign_coords(y=20 * np.arange(120), x=[0])) is not None


def test_units_in_the_names_of_columns(tmp_path):
    files = worlds.tables(tmp_path, own_days())
    pd.read_csv(files[0]).rename(columns={"VV": "VV_dB", "VH": "vh_db"}).to_csv(files[0])
    assert "units" not in cube.open_cube(files, repair=False).attrs["s1jax_repairs"]


def test_most_steps_are_not_made_up():
    ds = scene(np.array([0, 5, 3655.0]))
    found, said = tidy_dates(ds)
    assert found.sizes["t"] == 3
    assert said == []
