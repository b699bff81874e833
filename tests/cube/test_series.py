"""Between cube and Series and back, where pixels are, and files that read back as written."""

import logging

import numpy as np
import pyproj
import pytest
import xarray as xr

from s1jax import cube, simulate
from s1jax.cube import names, speckle
from s1jax.simulate import Region, Scene
from s1jax.simulate.config import START

PERIODS, HEIGHT, WIDTH = 6, 16, 20


@pytest.fixture(scope="module")
def simulated():
    """A planted scene with the faults of an export: no S2 in period 2, period 5 all zeros."""
    rng = np.random.default_rng(0)
    shape = (PERIODS, HEIGHT, WIDTH)
    vv = rng.normal(-10, 2, shape).astype(np.float32)
    vh = vv - rng.normal(6, 0.5, shape).astype(np.float32)
    truth = rng.uniform(0.1, 0.8, shape).astype(np.float32)
    ndvi = np.where(rng.random(shape) < 0.3, -np.inf, truth - np.float32(0.02))
    ndvi[1] = -np.inf
    for band in (vv, vh, ndvi):
        band[4] = 0.0
    return Scene(
        day=START + 6.0 + 12.0 * np.arange(PERIODS),
        vv_db=vv,
        vh_db=vh,
        ndvi=ndvi,
        truth=truth,
        region=Region(
            landscape=None,
            weather=None,
            plan=None,
            mask=rng.random(shape[1:]) < 0.6,
            kind=rng.integers(0, 5, shape[1:]),
            block=rng.integers(0, 9, shape[1:]),
        ),
    )


@pytest.fixture(scope="module")
def ds(simulated):
    return cube.open_cube(simulate.to_dataset(simulated))


def test_from_scene_is_where_and_what_the_scene_was(simulated, ds):
    raw = simulate.to_dataset(simulated, pixel_m=50)
    assert raw.sizes == {"t": 6, "y": 16, "x": 20}
    np.testing.assert_array_equal(raw.VV, simulated.vv_db)
    np.testing.assert_array_equal(raw["class"], simulated.region.kind)
    np.testing.assert_array_equal(raw.tertiary, simulated.region.block)
    assert "block" not in raw
    np.testing.assert_allclose(cube.to_days(raw.t), simulated.day)
    np.testing.assert_allclose(np.diff(raw.y), -50.0)
    assert cube.crs(raw).to_epsg() == 32749
    lon, lat = pyproj.Transformer.from_crs(32749, 4326, always_xy=True).transform(
        float(raw.x[0]), float(raw.y[0])
    )
    assert 110 < lon < 111.2
    assert -7.3 < lat < -6.6
    np.testing.assert_array_equal(ds.truth, raw.truth)


def test_exported_scene_loses_its_fills_and_dead_period(simulated):
    raw = simulate.to_dataset(simulated)
    assert np.isinf(raw.S2ndvi).any()
    made = cube.open_cube(raw)
    assert made.S2ndvi[[1, 4]].isnull().all()
    assert made.S2ndvi[[0, 2, 3, 5]].notnull().any()
    assert made.VV[4].isnull().all()
    assert made.VV[1].notnull().all()
    assert "VV: 1 constant plane(s) are missing" in made.attrs["s1jax_repairs"]
    # the caller's Dataset is left as it was
    assert np.isinf(raw.S2ndvi).any()


def test_to_series_and_back(ds, x64):
    series, pixel = cube.to_series(ds)
    dtype = np.float64 if x64 else np.float32
    arrays = series.day, series.radar, series.ndvi, series.position
    assert {array.dtype for array in arrays} == {np.dtype(dtype)}
    np.testing.assert_array_equal(pixel, np.flatnonzero(ds.mask.values.ravel()))
    assert series.radar.shape[2:] == (1, 2)
    channels = {
        "VV": (series.radar[:, :, 0, 0], series.radar_valid[..., 0]),
        "VH": (series.radar[:, :, 0, 1], series.radar_valid[..., 1]),
        "S2ndvi": (series.ndvi, series.ndvi_valid),
    }
    for name, (value, valid) in channels.items():
        given = cube.at_pixels(ds, name, pixel)
        np.testing.assert_array_equal(valid, np.isfinite(given))
        np.testing.assert_array_equal(value, np.nan_to_num(given))
    ndvi = np.where(series.ndvi_valid, series.ndvi, np.nan)
    image = cube.to_raster(ds, pixel, ndvi, "S2ndvi", {"units": "1"})
    assert image.dims == ("t", "y", "x")
    np.testing.assert_array_equal(image, ds.S2ndvi.where(ds.mask))
    np.testing.assert_array_equal(image.t, ds.t)
    assert {"y", "x", "spatial_ref"} <= set(image.coords)
    np.testing.assert_allclose(series.position[:, 0], ds.x.values[pixel % 20])
    np.testing.assert_allclose(series.position[:, 1], ds.y.values[pixel // 20])


def test_to_raster_on_other_days_and_for_one_value(ds):
    pixel = np.array([3, 25])
    days = np.array([19662.25, 19700.0])
    image = cube.to_raster(ds, pixel, np.array([[1.0, 2.0], [3.0, 4.0]]), "x", {}, days)
    np.testing.assert_allclose(cube.to_days(image.t), days)
    assert image.values[1, 1, 5] == 4.0
    assert int(image.notnull().sum()) == 4
    flat = cube.to_raster(ds, pixel, np.array([7.0, 8.0]), "flat", {})
    assert flat.dims == ("y", "x")
    assert flat.values[0, 3] == 7.0
    with pytest.raises(ValueError, match=r"x: values: got shape \(2, 3\), expected \(2, 2\)"):
        cube.to_raster(ds, pixel, np.zeros((2, 3)), "x", {}, days)


def test_at_pixels_of_every_shape(ds):
    pixel = np.array([3, 25, 319])
    row = ds.assign(zone=("y", np.arange(16)))
    assert cube.at_pixels(row, "zone", pixel).tolist() == [0, 1, 15]
    flipped = row.assign(VV=row.VV.transpose("x", "y", "t"))
    np.testing.assert_array_equal(
        cube.at_pixels(flipped, "VV", pixel), cube.at_pixels(row, "VV", pixel)
    )
    np.testing.assert_array_equal(cube.at_pixels(row, "class", pixel)[1], ds["class"][1, 5])
    with pytest.raises(ValueError, match="district: got"):
        cube.at_pixels(ds, "district", pixel)
    with pytest.raises(ValueError, match=r"t: got dims \('t',\)"):
        cube.at_pixels(ds, "t", pixel)


def test_positions_in_degrees_become_metres(ds):
    system = pyproj.Transformer.from_crs(32749, 4326, always_xy=True)
    east, north = ds.x.values, ds.y.values
    lon = system.transform(east, np.full_like(east, north.mean()))[0]
    lat = system.transform(np.full_like(north, east.mean()), north)[1]
    degrees = ds.drop_vars("spatial_ref").assign_coords(x=lon, y=lat)
    degrees = degrees.assign_attrs(crs="EPSG:4326")
    position, expected = (cube.to_series(d)[0].position.astype(float) for d in (degrees, ds))
    expected = expected - expected.mean(axis=0) + position.mean(axis=0)
    np.testing.assert_allclose(position, expected, atol=1.0)
    nowhere = ds.drop_vars(["spatial_ref", "x", "y"])
    nowhere.attrs.pop("crs")
    assert cube.to_series(nowhere)[0].position is None


def test_no_pixel_left(ds):
    with pytest.raises(ValueError, match="got no pixel of 320"):
        cube.to_series(ds.assign(mask=ds.mask & False))


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_written_reads_back_equal(ds, tmp_path, suffix):
    path = tmp_path / "deep" / f"cube{suffix}"
    aligned = cube.align_cube(ds).assign(district=("y", np.array(["north", "south"] * 8)))
    cube.write(aligned, path)
    back = cube.open_cube(path)
    # types of text differ by format; the values do not
    assert back.district.values.tolist() == aligned.district.values.tolist()
    xr.testing.assert_equal(back.drop_vars("district"), aligned.drop_vars("district"))
    assert back.attrs == aligned.attrs
    assert back.mask.dtype == bool
    assert back.VV.attrs == aligned.VV.attrs
    assert cube.crs(back) == cube.crs(aligned)
    with xr.open_dataset(path, engine="h5netcdf" if suffix == ".nc" else "zarr") as stored:
        assert stored.VV.attrs["grid_mapping"] == "spatial_ref"
        assert suffix == ".zarr" or stored.VV.encoding["complevel"] == 4
    with pytest.raises(ValueError, match=r"got suffix '\.csv'"):
        cube.write(aligned, tmp_path / "cube.csv")


@pytest.mark.parametrize("name", ["mekong_rice_points_2022", "belgium_monthly_cube"])
def test_real_cube_reads_back_equal(shared, tmp_path, name):
    made = cube.open_cube(shared / "data" / f"{name}.nc")
    cube.write(made, tmp_path / "cube.nc")
    back = cube.open_cube(tmp_path / "cube.nc")
    xr.testing.assert_equal(back, made)
    assert back.attrs == made.attrs


def test_source_flag():
    clear = np.array([[0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
    expected = [[3, 1, 2, 1, 3], [4] * 5, [1] * 5]
    assert cube.source_flag(clear).tolist() == expected


def test_to_product_keeps_what_was_measured(ds, tmp_path):
    series, pixel = cube.to_series(ds)
    mean = np.full(series.ndvi.shape, 0.4, np.float32)
    product = cube.to_product(ds, pixel, mean, mean / 4)
    cube.write(product, tmp_path / "fill.nc")
    with xr.open_dataset(tmp_path / "fill.nc", engine="h5netcdf", decode_coords="all") as stored:
        back = stored.load()
    xr.testing.assert_equal(back, product)
    np.testing.assert_array_equal(back.S2ndvi, ds.S2ndvi)
    inside = ds.mask.values
    assert (back.S2ndvi_FUSED.values[:, inside] == np.float32(0.4)).all()
    assert np.isnan(back.S2ndvi_STD.values[:, ~inside]).all()
    source = back.S2ndvi_SOURCE
    assert source.dtype == np.uint8
    assert source.attrs["flag_meanings"] == "observed filled extrapolated prior"
    assert source.attrs["flag_values"].tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(source == 1, ds.S2ndvi.notnull() & ds.mask)
    assert (source.values[:, ~inside] == 0).all()
    assert cube.crs(back).to_epsg() == 32749


def _expected(ds, name, size):
    """The whole plane at once, without any mask's outside."""
    known = np.isfinite(ds[name].values)
    if "mask" in ds:
        known &= ds.mask.values
    return speckle.local_mean(ds[name].values, known, size=size)


def test_despeckled_is_the_filter_of_the_whole(ds):
    aligned = cube.align_cube(ds)
    made = cube.despeckle(aligned, sizes=(5,))
    for name in ("VV", "VH"):
        found = made[f"{name}_smooth"]
        np.testing.assert_allclose(found, _expected(aligned, name, 5), atol=1e-5)
        assert found.dims == ("t", "y", "x")
        assert found.dtype == np.float32
        assert found.attrs["units"] == "dB"
        assert "5 x 5 means in linear power inside mask" in found.attrs["long_name"]
        known = aligned[name].notnull() & aligned.mask
        np.testing.assert_array_equal(found.notnull(), known)
    xr.testing.assert_identical(made.drop_vars(["VV_smooth", "VH_smooth"]), aligned)


def test_despeckle_without_mask_and_of_other_axes(ds):
    bare = cube.align_cube(ds).drop_vars("mask")
    made = cube.despeckle(bare.transpose("x", "t", "y"))
    np.testing.assert_allclose(made.VV_smooth, _expected(bare, "VV", 3), atol=1e-5)
    np.testing.assert_allclose(made.VV_wide, _expected(bare, "VV", 7), atol=1e-5)
    assert "mask" not in made.VV_smooth.attrs["long_name"]
    with pytest.raises(ValueError, match="size: got 4, expected an odd number"):
        cube.despeckle(bare, sizes=(4,))
    with pytest.raises(ValueError, match="sizes: got"):
        cube.despeckle(bare, sizes=(3, 5, 7))


def test_despeckled_variables_are_no_channels(ds, tmp_path):
    two = cube.align_cube(ds)
    two = two.assign(VV_2=two.VV - 1, VH_2=two.VH + 2)
    made = cube.despeckle(two)
    radar = ["VV", "VH", "VV_2", "VH_2"]
    assert names.sentinel1(made) == radar
    assert cube.channels(made) == [*radar, "S2ndvi"]
    # each orbit by itself: a gain goes through
    np.testing.assert_allclose(made.VH_2_smooth, made.VH_smooth + 2, atol=1e-4)
    assert cube.count_valid(made) == cube.count_valid(two)
    series, pixel = cube.to_series(made)
    assert series.radar.shape == (*series.ndvi.shape, 3, 4)
    mean = np.full(series.ndvi.shape, 0.4, np.float32)
    product = cube.to_product(made, pixel, mean, mean)
    assert "VV_smooth" not in product
    # written and read back they are as they were, and can be made anew
    cube.write(made, tmp_path / "cube.nc")
    back = cube.open_cube(tmp_path / "cube.nc")
    xr.testing.assert_equal(back, made)
    assert back.VV_smooth.attrs == made.VV_smooth.attrs
    again = cube.despeckle(cube.align_cube(back), sizes=(5,))
    np.testing.assert_allclose(again.VV_smooth, _expected(two, "VV", 5), atol=1e-5)


def test_looks_are_the_filtered_radar(ds, x64):
    aligned = cube.align_cube(ds)
    assert cube.to_series(aligned)[0].radar.shape[2] == 1
    made = cube.despeckle(aligned)
    series, pixel = cube.to_series(made)
    assert series.radar.dtype == (np.float64 if x64 else np.float32)
    for look, end in enumerate(("", "_smooth", "_wide")):
        for channel, name in enumerate(["VV", "VH"]):
            given = np.nan_to_num(cube.at_pixels(made, f"{name}{end}", pixel))
            np.testing.assert_array_equal(series.radar[:, :, look, channel], given)
    valid = series.radar_valid
    assert (series.radar[:, :, 1][~valid] == 0).all()
    assert (series.radar[:, :, 1] != series.radar[:, :, 0])[valid].any()
    with pytest.raises(ValueError, match=r"VH_smooth: got .* expected it among them"):
        cube.to_series(made.drop_vars("VH_smooth"))
    lost = made.assign(VH_smooth=made.VH_smooth.where(made.x != made.x[3]))
    with pytest.raises(ValueError, match=r"VH_smooth: got .* valid values of VH without it"):
        cube.to_series(lost)


def test_points_and_single_rows_have_no_neighbours(ds, caplog):
    aligned = cube.align_cube(ds)
    with caplog.at_level(logging.INFO, logger="s1jax"):
        for part in (aligned.isel(y=slice(0, 1)), aligned.isel(x=slice(4, 5))):
            assert cube.despeckle(part) is part
            assert cube.to_series(part)[0].radar.shape[2] == 1
    assert "1 x 20 pixels have no neighbours" in caplog.text
    assert "16 x 1 pixels have no neighbours" in caplog.text
