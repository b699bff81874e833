"""Exports of sits: a file for each band and date, or tables of places."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from s1jax import cube
from tests.worlds import cube as worlds
from tests.worlds.cube import own_days, scene

FORMS = {
    "floats": {"whole": False},
    "whole numbers, nothing declared": {"whole": True},
    "whole numbers, the other fill": {"whole": True, "nodata": -32768},
    "whole numbers, declared": {"whole": True, "tags": {"scale": 1e-4}},
    "GRD": {"whole": True, "radar": "GRD"},
}


@pytest.mark.parametrize("chunks", [None, {"y": 4}], ids=["memory", "chunks"])
@pytest.mark.parametrize("form", FORMS)
def test_each_sensor_on_its_own_dates(form, chunks, tmp_path):
    ds = own_days()
    folder = worlds.sits(tmp_path / "sits", ds, **FORMS[form])
    found = cube.open_cube(folder, chunks=chunks)
    worlds.same(found, ds)
    said = found.attrs["s1jax_repairs"]
    assert "as asked: joined on 9 dates: VV/VH on 4, S2ndvi on 7" in said
    missing = int(ds.S2ndvi.isnull().sum()) - 2 * ds.S2ndvi[0].size
    if form == "floats":
        assert "nodata" not in said
    elif "tags" in FORMS[form]:
        assert f"as declared: S2ndvi: {missing} values of nodata -9999 are missing" in said
        assert "scale" not in said
    else:
        fill = FORMS[form].get("nodata", -9999)
        assert f"\nS2ndvi: {missing} values of nodata {fill} are missing, though not d" in said
        assert (
            "S2ndvi: 7 of 7 files of whole numbers declare no scale: that of sits, 0.0001" in said
        )
    assert ("VV: 4 of 4 files of whole numbers declare no scale: that of sits, 0.001" in said) == (
        form == "GRD"
    )


def test_only_what_sits_had_to_be_told_is_a_repair(tmp_path):
    ds = worlds.power(own_days())
    worlds.sits(tmp_path / "a", own_days(), whole=True, tags={"scale": 1e-4})
    # power of sits has no units: by its median
    with pytest.raises(ValueError, match=r"(?s)got 4 to make.*VV: no units declared; .* linear"):
        cube.open_cube(tmp_path / "a", repair=False)
    for k, date in enumerate(pd.DatetimeIndex(ds.t.values)):
        for name in ("VV", "VH"):
            file = tmp_path / "a" / f"SENTINEL-1_RTC_49MCN_{name}_{date:%Y-%m-%d}.tif"
            if file.exists():
                worlds.write_tif(file, [ds[name].values[k]], tags={"unit": "linear"})
    worlds.same(cube.open_cube(tmp_path / "a", repair=False), own_days())


def test_missing_radar_of_sits(tmp_path):
    ds = own_days()
    worlds.sits(tmp_path, ds, whole=True, radar="GRD")
    file = tmp_path / "SENTINEL-1_GRD_49MCN_VV_2023-11-13.tif"
    stored = np.round(worlds.power(ds).VV.values[2] * 1000)
    stored[1, 2] = 0
    worlds.write_tif(file, [stored], dtype="uint16")
    (tmp_path / "SENTINEL-1_GRD_49MCN_VH_2023-12-07.tif").unlink()
    found = cube.open_cube(tmp_path)
    assert np.isnan(found.VV[2, 1, 2])
    assert int(found.VV[2].isnull().sum()) == 1
    assert found.VH.sel(t="2023-12-07").isnull().all()
    assert "VV: 1 values of nodata 0 are missing, though not declared" in found.s1jax_repairs


def test_other_bands_and_files_are_left_aside(tmp_path):
    ds = scene()
    worlds.sits(tmp_path, ds, whole=False)
    worlds.write_tif(tmp_path / "SENTINEL-2_MSI_49MCN_CLOUD_2023-11-07.tif", ds.VV.values[:1])
    worlds.write_tif(tmp_path / "paddy_mask.tif", np.ones((1, *worlds.SIZE)))
    found = cube.open_cube(tmp_path)
    worlds.same(found, ds)
    said = found.attrs["s1jax_repairs"]
    assert said.startswith("named: 2 other files are left aside, of bands CLOUD")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("SENTINEL-2_MSI_49MDN_NDVI_2023-11-07", r"tiles: got \['49MCN', '49MDN'\], expected one"),
        ("SENTINEL-1_GRD_49MCN_VV_2023-11-09", r"VV, VH: got sensors \['SENTINEL-1_GRD', 'SENT"),
        ("SENTINEL-2_MSI_49MCN_NDVI_2023-11-07_v1", "S2ndvi: 2023-11-07: got .*expected one file"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(name, message, tmp_path):
    worlds.sits(tmp_path, scene(), whole=False)
    worlds.write_tif(tmp_path / f"{name}.tif", scene().VV.values[:1])
    with pytest.raises(ValueError, match=message):
        cube.open_cube(tmp_path)


def test_a_name_with_a_date_that_is_none_is_refused(tmp_path):
    worlds.sits(tmp_path, scene(), whole=False)
    odd = tmp_path / "SENTINEL-2_MSI_49MCN_NDVI_2023-11-31.tif"
    (tmp_path / "SENTINEL-2_MSI_49MCN_NDVI_2023-11-07.tif").rename(odd)
    with pytest.raises(ValueError, match=r"S2ndvi: dates of .*: got '2023-11-31'"):
        cube.open_cube(tmp_path)


@pytest.mark.parametrize("key", ["location_id", "sample_id", None])
@pytest.mark.parametrize("form", ["pair", "folder", "glob", "one"])
def test_tables_of_places(form, key, tmp_path):
    ds = own_days()
    pair = worlds.tables(tmp_path / "csv", ds, key=key)
    path = {"pair": pair, "folder": tmp_path / "csv", "glob": tmp_path / "csv" / "*.csv"}.get(form)
    if form == "one":
        one, other = (pd.read_csv(p) for p in pair)
        keys = [c for c in one.columns if c in other.columns]
        path = tmp_path / "all.csv"
        one.merge(other, on=keys, how="outer").to_csv(path, index=False)
    found = cube.open_cube(path)
    assert found.sizes == {"t": 9, "y": 30, "x": 1}
    np.testing.assert_array_equal(found.t, ds.t)
    lon, lat = worlds.degrees(ds)
    # places are in the order of the rows that first name them
    near = np.hypot(
        found.lon.values[:, None] - lon.ravel(), found.lat.values[:, None] - lat.ravel()
    )
    order = near.argmin(axis=1)
    assert sorted(order.tolist()) == list(range(30))
    for name in worlds.NAMES:
        expected = ds[name].values.reshape(9, 30)[:, order]
        np.testing.assert_allclose(found[name].values[..., 0], expected, atol=1e-5)
    assert found.label.values.tolist() == [f"rice{k // 5}" for k in order]
    series, pixel = cube.to_series(found)
    assert series.position.shape == (30, 2)
    assert pixel.size == 30
    if key:
        assert found.location_id.values.tolist() == [str(k + 1) for k in order]


def test_tables_that_lack_places(tmp_path):
    s1, s2 = worlds.tables(tmp_path, own_days())
    some = pd.read_csv(s2)
    some[some.location_id > 4].to_csv(s2, index=False)
    found = cube.open_cube([s1, s2])
    assert found.S2ndvi[:, :4].isnull().all()
    assert found.VV[0, :4].notnull().all()
    said = found.attrs["s1jax_repairs"]
    assert "as asked: 2 tables joined: 30 places, 9 dates" in said
    assert "as asked: s2_timeseries.csv is without 4 places and 2 dates" in said


def test_numbers_of_places_beside_names_are_the_same_places(tmp_path):
    s1, s2 = worlds.tables(tmp_path, own_days())
    expected = cube.open_cube((s1, s2))
    # one place with a name makes all ids of its table text
    table = pd.read_csv(s2)
    named = table[-1:].assign(location_id="pond", latitude=0.0, longitude=0.0)
    pd.concat([table, named]).to_csv(s2, index=False)
    found = cube.open_cube((s1, s2))
    assert found.location_id.values.tolist() == [*expected.location_id.values, "pond"]
    for name in worlds.NAMES:
        np.testing.assert_array_equal(found[name][:, :-1], expected[name])
    assert found.VV[:, -1].isnull().all()


def test_long_ids_are_not_rounded_to_one(tmp_path):
    s1, s2 = worlds.tables(tmp_path, own_days())
    for path in (s1, s2):
        table = pd.read_csv(path)
        table.assign(location_id="90071992547409" + (table.location_id + 100).astype(str)).to_csv(
            path, index=False
        )
    found = cube.open_cube((s1, s2))
    assert found.location_id.values.tolist() == [f"90071992547409{k + 101}" for k in range(30)]


def test_times_of_day_with_a_zone_are_in_utc(tmp_path):
    ds = scene()
    s1, s2 = worlds.tables(tmp_path, ds)
    expected = cube.open_cube((s1, s2))
    table = pd.read_csv(s2)
    table.assign(Index=table.Index + "T00:00:00Z").to_csv(s2, index=False)
    xr.testing.assert_equal(cube.open_cube((s1, s2)), expected)


TABLES = {
    r"s2_.*got 1 rows twice, as .*expected one": lambda t: pd.concat([t, t[:1]]),
    r"NDVI|S2ndvi: got 'cloud', expected numbers": lambda t: t.assign(NDVI=["cloud", *t.NDVI[1:]]),
    r"Index: got .*expected dates": lambda t: t.assign(Index="7 Nov"),
    r"expected Index and one of VV, VH, NDVI each": lambda t: t.drop(columns="Index"),
    r"places: got .*expected location_id or lat": lambda t: t[["Index", "NDVI", "label"]],
    r"lat: got .* of place .*, expected one": lambda t: t.assign(latitude=t.latitude + 1),
    r"label: got .* of place .*, expected one": lambda t: t.assign(label=["maize", *t.label[1:]]),
    r"VV: got it in two of": lambda t: t.assign(VV=-10.0),
    r"s2_.*location_id: got 1 rows without": lambda t: t.assign(
        location_id=[None, *t.location_id[1:]]
    ),
    r"s2_.*Index: got 1 rows without": lambda t: t.assign(Index=[None, *t.Index[1:]]),
    r"s2_.*lat: got 1 rows without": lambda t: t.drop(columns="location_id").assign(
        latitude=[None, *t.latitude[1:]]
    ),
}


@pytest.mark.parametrize("message", TABLES)
def test_bad_tables_are_refused(message, tmp_path):
    s1, s2 = worlds.tables(tmp_path, scene())
    TABLES[message](pd.read_csv(s2)).to_csv(s2, index=False)
    with pytest.raises(ValueError, match=message):
        cube.open_cube((s1, s2))


def test_no_table(tmp_path):
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(ValueError, match=r"a\.csv: cannot be read, expected CSV"):
        cube.open_cube(tmp_path / "a.csv")


def test_tables_are_as_netcdf_of_places(tmp_path):
    found = cube.open_cube(worlds.tables(tmp_path, own_days()))
    cube.write(found, tmp_path / "places.nc")
    back = cube.open_cube(tmp_path / "places.nc")
    names = [*worlds.NAMES, "lat", "lon"]
    xr.testing.assert_equal(back[names], found[names])


@pytest.mark.parametrize("ids", [["NA", "ZA"], ["NaN", "null"], ["None", "n/a"], ["-", "N/A"]])
def test_ids_that_are_words_for_missing_are_names(ids, tmp_path):
    lines = [
        f"2024-01-{day:02d},{key},-{9 + k},-{15 + day + k},{'NA' if day == 7 else f'.{5 + k}'}"
        for day in (1, 7, 13)
        for k, key in enumerate(ids)
    ]
    (tmp_path / "a.csv").write_text("\n".join(["date,location_id,VV,VH,NDVI", *lines]))
    found = cube.open_cube(tmp_path / "a.csv")
    assert found.location_id.values.tolist() == ids
    # of numbers they are missing
    assert found.S2ndvi.isnull().sum() == 2
    (tmp_path / "a.csv").write_text("date,location_id,VV,VH,NDVI\n2024-01-01,,-9,-15,.5\n")
    with pytest.raises(ValueError, match="location_id: got 1 rows without"):
        cube.open_cube(tmp_path / "a.csv")
