"""One file for each sensor: dates of their own, one grid, or one reprojected onto the other."""

import numpy as np
import pyproj
import pytest
import xarray as xr

from s1jax import cube
from tests.worlds import cube as worlds
from tests.worlds.cube import own_days, scene


def _files(folder, cubes):
    for name, ds in zip(("s1.nc", "s2.nc"), cubes, strict=True):
        ds.to_netcdf(folder / name)
    return folder / "s1.nc", folder / "s2.nc"


@pytest.mark.slow
@pytest.mark.parametrize("chunks", [None, {"y": 4}], ids=["memory", "chunks"])
def test_dates_are_the_union(chunks, tmp_path):
    ds = own_days()
    s1, s2 = _files(tmp_path, worlds.apart(ds))
    for source in ([s1, s2], [str(s2), s1], str(tmp_path / "s?.nc"), [xr.open_dataset(s1), s2]):
        found = cube.open_cube(source, chunks=chunks)
        worlds.same(found, ds)
        assert cube.crs(found).to_epsg() == worlds.EPSG
        assert found.VV.dims == worlds.DIMS
    assert "as asked: joined on 9 dates: VV/VH on 4, S2ndvi on 7" in found.attrs["s1jax_repairs"]


def test_rows_of_one_sensor_may_run_the_other_way():
    ds = own_days()
    s1, s2 = worlds.apart(ds)
    worlds.same(cube.open_cube([s1, s2.isel(y=slice(None, None, -1), x=slice(None, None, -1))]), ds)
    up = cube.open_cube([s1.isel(y=slice(None, None, -1)), s2])
    assert up.y.values[0] < up.y.values[-1]
    worlds.same(up, ds)


def test_two_tracks_of_one_day_stay_apart_beside_ndvi():
    s1, s2 = worlds.apart(own_days())
    both = xr.concat([s1, s1.isel(t=[1])], "t").sortby("t")
    both = both.assign_coords(s1_track=("t", [4, 4, 7, 4, 4]))
    both["VV"][2] += 1
    found = cube.open_cube([both, s2])
    assert found.sizes["t"] == 10
    assert found.s1_track.values.tolist() == [4, 0, 4, 7, 0, 0, 4, 0, 4, 0]
    assert found.s1_track.dtype == int
    day = found.t.values == np.datetime64("2023-11-13")
    np.testing.assert_array_equal(found.S2ndvi[day][0], s2.S2ndvi.sel(t="2023-11-13"))
    assert found.S2ndvi[day][1].isnull().all()
    np.testing.assert_allclose(found.VV[day][1] - found.VV[day][0], 1, atol=1e-5)
    assert "two Sentinel-1 tracks: kept apart" in found.attrs["s1jax_repairs"]
    assert "averaged" not in found.attrs["s1jax_repairs"]


def test_months_of_each_file_are_moved_to_their_centres():
    months = np.array(["2024-01-01", "2024-02-01", "2024-03-01", "2024-05-01"], "M8[ns]")
    ds = scene(range(4)).assign_coords(t=months)
    s1, s2 = ds[["VV", "VH"]], ds[["S2ndvi"]].isel(t=[0, 1, 2])
    found = cube.open_cube([s1, s2])
    whole = cube.open_cube(ds.assign(S2ndvi=ds.S2ndvi.where(ds.t < months[3])))
    xr.testing.assert_equal(found.drop_attrs(), whole.drop_attrs())
    assert found.sizes["t"] == 5
    assert found.VV[3].isnull().all()


def test_a_step_left_out_by_both_sensors_is_put_in_once():
    ds = scene().isel(t=[0, 1, 2, 4, 5, 6])
    found = cube.open_cube(worlds.apart(ds))
    worlds.same(found, cube.open_cube(ds))
    assert found.sizes["t"] == 7
    assert found.attrs["s1jax_repairs"].count("1 periods left out") == 1


def test_one_numbered_one_dated(tmp_path):
    ds = scene()
    s1 = worlds.stack(tmp_path / "s1.tif", ds, lambda n, k, d: f"{n}_P{k:02d}", ("VV", "VH"))
    worlds.same(cube.open_cube([s1, ds[["S2ndvi"]]], start=worlds.START, step=worlds.STEP), ds)


def test_what_stands_beside_the_channels_comes_along():
    s1, s2 = worlds.apart(own_days())
    block = (("y", "x"), np.arange(30).reshape(worlds.SIZE))
    s1 = s1.assign(block=block, orbit=("t", ["asc", "desc", "asc", "desc"]))
    s2 = s2.assign(block=(("y", "x"), block[1] + 1), label=("y", list("abcdef")))
    s1.attrs["s1jax_repairs"] = "mended before"
    s2.attrs["source"] = "a recipe"
    found = cube.open_cube([s1, s2])
    np.testing.assert_array_equal(found.block, block[1])
    assert found.label.values.tolist() == list("abcdef")
    assert found.orbit.values.tolist() == ["asc", "", "desc", "", "", "asc", "", "desc", ""]
    assert found.attrs["source"] == "a recipe"
    assert found.attrs["s1jax_repairs"].startswith("mended before\n")
    assert "as asked: block is in several inputs: that of the first is kept" in found.s1jax_repairs


def _moved(ds, **by):
    return ds.assign_coords({name: ds[name] + d for name, d in by.items()})


UNEQUAL = {
    "moved": lambda ds: _moved(ds, y=5.0),
    "smaller": lambda ds: ds.isel(x=slice(1, None)),
    "other CRS": lambda ds: ds.assign_attrs(crs="EPSG:32750"),
}


@pytest.mark.parametrize("how", UNEQUAL)
def test_unequal_grids_are_refused_and_both_are_named(how):
    s1, s2 = worlds.apart(own_days())
    expected = r"grid of S2ndvi: got 6 x .*\(EPSG:327.*expected 6 x 5 .*EPSG:32749\) as VV/VH"
    with pytest.raises(ValueError, match=expected):
        cube.open_cube([s1, UNEQUAL[how](s2)])
    worlds.same(cube.open_cube([s1, _moved(s2, y=0.01, x=-0.01)]), own_days())


def test_other_complaints_about_two_files():
    s1, s2 = worlds.apart(own_days())
    with pytest.raises(ValueError, match="S2ndvi: got it in two inputs"):
        cube.open_cube([own_days(), s2])
    with pytest.raises(ValueError, match=r"variable VV: got \['S2ndvi'\]"):
        cube.open_cube([s2])
    with pytest.raises(ValueError, match=r"variables: got \['dem'\], expected one of VV"):
        cube.open_cube([s1, s2, s2.rename(S2ndvi="dem")])
    with pytest.raises(ValueError, match="match: got 's3', expected 's1', 's2' or None"):
        cube.open_cube([s1, s2], match="s3")
    with pytest.raises(ValueError, match=r"match: got .*expected some overlap"):
        cube.open_cube([s1, _moved(s2, y=9000.0)], match="s1")
    bare = _moved(s2, y=5.0).drop_attrs()
    with pytest.raises(ValueError, match="CRS of the cube: got none, expected one to reproject"):
        cube.open_cube([s1, bare], match="s1")


def test_sits_on_two_grids(tmp_path):
    worlds.sits(tmp_path, scene(), whole=False)
    value = scene().VV.values[0]
    for k in range(1, 7):
        for band in ("VV", "VH"):
            day = str(scene().t.values[k])[:10]
            (tmp_path / f"SENTINEL-1_RTC_49MCN_{band}_{day}.tif").unlink()
    for band in ("VV", "VH"):
        file = tmp_path / f"SENTINEL-1_RTC_49MCN_{band}_2023-11-07.tif"
        worlds.write_tif(file, [np.repeat(np.repeat(10 ** (value / 10), 2, 0), 2, 1)],
                         transform=rasterio_affine(10.0))  # fmt: skip
    with pytest.raises(ValueError, match=r"grid of S2ndvi: got 6 x 5 .*expected 12 x 10"):
        cube.open_cube(tmp_path)
    found = cube.open_cube(tmp_path, match="s2")
    np.testing.assert_allclose(found.VV[0], value, atol=1e-4)


def rasterio_affine(pixel):
    from affine import Affine

    return Affine(pixel, 0, worlds.WEST, 0, -pixel, worlds.NORTH)


def _finer(ds, n):
    """The same area in n x n times as many pixels, random around the scene's."""
    rng = np.random.default_rng(1)
    pixel = worlds.PIXEL / n
    rows, columns = n * worlds.SIZE[0], n * worlds.SIZE[1]
    fine = ds.reindex(
        y=worlds.NORTH - pixel * (np.arange(rows) + 0.5),
        x=worlds.WEST + pixel * (np.arange(columns) + 0.5), method="nearest",
    )  # fmt: skip
    return fine.map(lambda v: (v + rng.normal(0, 0.05, v.shape)).astype("float32"), keep_attrs=True)


@pytest.mark.parametrize("chunks", [None, {"y": 5}], ids=["memory", "chunks"])
@pytest.mark.parametrize("up", [False, True])
def test_match_averages_power_and_ndvi(up, chunks):
    s1, s2 = worlds.apart(own_days())
    fine = _finer(s1, 2)
    fine["VV"].values[0, :2, :2] = np.nan
    fine["VV"].values[0, 2, 2] = np.nan
    fine = fine.assign(slope=(("y", "x"), np.ones((12, 10))), s1_track=("t", [3] * 4))
    turned = fine.isel(y=slice(None, None, -1)) if up else fine
    found = cube.open_cube([turned, s2], match="s2", chunks=chunks)
    assert (found.VV.chunks is None) is (chunks is None)
    np.testing.assert_array_equal(found.y, s2.y)
    for name in ("VV", "VH"):
        blocks = 10 ** (fine[name].values / 10).reshape(4, 6, 2, 5, 2)
        there = np.isfinite(blocks)
        mean = np.where(there, blocks, 0).sum((2, 4)) / np.maximum(there.sum((2, 4)), 1)
        expected = np.where(there.any((2, 4)), 10 * np.log10(np.maximum(mean, 1e-9)), np.nan)
        seen = np.isin(found.t.values, fine.t.values)
        np.testing.assert_allclose(found[name].values[seen], expected, atol=1e-4)
    np.testing.assert_array_equal(found.S2ndvi[found.t.isin(s2.t)], s2.S2ndvi)
    assert found.attrs["crs"] == "EPSG:32749"
    said = found.attrs["s1jax_repairs"]
    assert "as asked: VV/VH reprojected (average) from 12 x 10 from" in said
    assert "as asked: slope of VV/VH: left behind, other grid" in said
    assert "slope" not in found
    assert found.s1_track.values.max() == 3
    # the other way, NDVI onto smaller pixels
    small = cube.open_cube([fine, s2], match="s1")
    assert small.sizes["y"] == 12
    assert "S2ndvi reprojected (bilinear)" in small.attrs["s1jax_repairs"]
    assert np.nanmin(s2.S2ndvi) <= small.S2ndvi.min() <= small.S2ndvi.max() <= np.nanmax(s2.S2ndvi)


def test_match_across_reference_systems():
    """A plane that rises to the east and north is the same plane in degrees."""
    s1, s2 = worlds.apart(own_days())
    s2 = s2.isel(t=[0, 1])
    lon, lat = worlds.degrees(s2)
    step = 20.0 / 111_000
    west, north = lon.min() - 5 * step, lat.max() + 5 * step
    y, x = north - step * np.arange(17), west + step * np.arange(16)
    to_utm = pyproj.Transformer.from_crs(4326, worlds.EPSG, always_xy=True)
    east, up = to_utm.transform(*np.meshgrid(x, y))
    plane = 0.3 + (east - worlds.WEST) / 500 + (up - worlds.NORTH) / 700
    degrees = xr.Dataset(
        {"NDVI": (("t", "lat", "lon"), np.stack([plane, plane / 2]))},
        {"t": s2.t, "lat": y, "lon": x},
    )
    degrees["crs"] = ((), 0, {"crs_wkt": pyproj.CRS.from_epsg(4326).to_wkt()})
    found = cube.open_cube([s1, degrees], match="s1")
    here = np.meshgrid(s1.x.values, s1.y.values)
    expected = 0.3 + (here[0] - worlds.WEST) / 500 + (here[1] - worlds.NORTH) / 700
    for value, day in ((expected, s2.t[0]), (expected / 2, s2.t[1])):
        np.testing.assert_allclose(found.S2ndvi.sel(t=day), value, atol=3e-3)
    assert cube.crs(found).to_epsg() == worlds.EPSG
    assert "crs" not in found.variables
    assert found.attrs["crs"] == "EPSG:32749"


def test_match_changes_nothing_of_equal_grids():
    ds = own_days()
    found = cube.open_cube(worlds.apart(ds), match="s1")
    worlds.same(found, ds)
    assert "reprojected" not in found.attrs["s1jax_repairs"]


def test_places_are_no_grid(tmp_path):
    s1, s2 = worlds.tables(tmp_path, own_days())
    places = cube.open_cube([s1, s2])[["S2ndvi", "lat", "lon"]]
    with pytest.raises(ValueError, match="match: got a cube of places"):
        cube.open_cube([worlds.apart(own_days())[0], places], match="s1")


def test_no_input_is_refused():
    with pytest.raises(ValueError, match="inputs: got none, expected a file or Dataset"):
        cube.open_cube([])
