"""Tiles equal the whole; CRS and coordinates come out as they went in; one bad tile is but one."""

import logging

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from s1jax import cube, quality, regions
from s1jax.types import Estimate

T, Y, X = 8, 13, 6


@pytest.fixture
def ds():
    rng = np.random.default_rng(0)
    ndvi = rng.uniform(0, 1, (T, Y, X)).astype(np.float32)
    ndvi[rng.random(ndvi.shape) < 0.5] = np.nan
    ndvi[:, 2, 2] = np.nan
    mask = np.ones((Y, X), bool)
    mask[4:8] = False  # a tile of 4 rows without any pixel
    raw = xr.Dataset(
        {
            "VV": (
                ("t", "y", "x"),
                rng.normal(-11, 1, (T, Y, X)).astype(np.float32),
                {"units": "dB"},
            ),
            "VH": (
                ("t", "y", "x"),
                rng.normal(-18, 1, (T, Y, X)).astype(np.float32),
                {"units": "dB"},
            ),
            "S2ndvi": (("t", "y", "x"), ndvi),
            "mask": (("y", "x"), mask),
        },
        coords={
            "t": np.datetime64("2024-01-07", "ns") + np.arange(T) * np.timedelta64(12, "D"),
            "y": 9_230_000.0 - 50 * np.arange(Y),
            "x": 460_000.0 + 50 * np.arange(X),
        },
        attrs={"crs": "EPSG:32749"},
    )
    return cube.align_cube(cube.open_cube(raw))


def _predict(series, days):
    """Depends on value, day and position, so that a wrong tile or origin would show."""
    # NumPy: XLA rounds by the shape of a tile
    mean = np.float32(series.radar[:, :, 0, 0] / 100 + series.position.sum(-1)[:, None] / 1e8)
    return _estimate(mean)


def _estimate(mean):
    return Estimate(jnp.asarray(mean), jnp.abs(mean) + 0.01, jnp.zeros(len(mean)))


@pytest.mark.parametrize("tile", [3, 4, 100])
@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
def test_tiles_equal_the_whole(ds, tmp_path, tile, suffix):
    path = tmp_path / f"map{suffix}"
    regions.map_region(_predict, ds, path, tile=tile)
    series, pixel = cube.to_series(ds)
    whole = _predict(series, series.day)
    expected = cube.to_product(ds, pixel, np.asarray(whole.mean), np.asarray(whole.std))
    options = (
        {"engine": "zarr", "consolidated": True} if suffix == ".zarr" else {"engine": "h5netcdf"}
    )
    with xr.open_dataset(path, decode_coords="all", **options) as stored:
        for name in ("S2ndvi", "S2ndvi_FUSED", "S2ndvi_STD", "S2ndvi_SOURCE"):
            np.testing.assert_array_equal(
                stored[name].transpose("t", "y", "x"), expected[name], name
            )
        for name in ("t", "y", "x"):
            np.testing.assert_array_equal(stored[name], ds[name])
        assert cube.crs(stored) == cube.crs(ds)
        outside = stored["S2ndvi_FUSED"].isel(y=slice(4, 8))
        assert np.isnan(outside).all()
        assert (stored["S2ndvi_SOURCE"].isel(y=2, x=2) == 4).all()  # prior: no NDVI at all
        seen = np.isfinite(ds["S2ndvi"].values) & ds["mask"].values
        assert (stored["S2ndvi_SOURCE"].transpose("t", "y", "x").values[seen] == 1).all()


@pytest.mark.parametrize("tile", [3, 4])
def test_filtered_radar_is_of_the_whole_and_not_of_a_tile(ds, tmp_path, tile):
    def _smooth(series, days):
        return _estimate(series.radar[:, :, 1, 1] / 100)

    whole = cube.despeckle(ds, sizes=(5,))
    regions.map_region(_smooth, whole, tmp_path / "map.nc", tile=tile)
    with xr.open_dataset(tmp_path / "map.nc", engine="h5netcdf") as stored:
        expected = np.nan_to_num(whole["VH_smooth"].where(whole["mask"])) / 100
        expected = np.where(stored["S2ndvi_SOURCE"] > 0, expected, np.nan).astype(np.float32)
        np.testing.assert_allclose(stored["S2ndvi_FUSED"], expected, rtol=1e-6)
        assert set(stored.data_vars) >= {"S2ndvi", "S2ndvi_FUSED"}
        assert "VH_smooth" not in stored
    # neighbours in the next tile do count
    apart = cube.despeckle(ds.isel(y=slice(8, 10)), sizes=(5,))["VH_smooth"]
    assert np.abs(apart - whole["VH_smooth"].isel(y=slice(8, 10))).max() > 0.1


def test_an_older_map_is_replaced(ds, tmp_path):
    path = tmp_path / "map.zarr"
    regions.map_region(_predict, ds, path, tile=4)
    regions.map_region(_predict, ds.isel(y=slice(0, 3)), path, tile=4)
    with xr.open_dataset(path, engine="zarr", consolidated=True) as stored:
        assert stored.sizes["y"] == 3


def test_other_suffix_is_told(ds, tmp_path):
    with pytest.raises(ValueError, match=r"expected a .nc or .zarr file"):
        regions.map_region(_predict, ds, tmp_path / "map.tif")


def _opened(path):
    zarr = path.suffix == ".zarr"
    options = {"engine": "zarr", "consolidated": True} if zarr else {"engine": "h5netcdf"}
    with xr.open_dataset(path, decode_coords="all", **options) as stored:
        return stored.load()


def test_filtered_tile_by_tile_is_filtered_whole(ds, tmp_path):
    def _smooth(series, days):
        return _estimate(series.radar[:, :, 1, 1] / 100)

    regions.map_region(_smooth, ds, tmp_path / "tiles.zarr", tile=8, smooth=(5,))
    regions.map_region(_smooth, cube.despeckle(ds, sizes=(5,)), tmp_path / "whole.nc")
    stored, expected = _opened(tmp_path / "tiles.zarr"), _opened(tmp_path / "whole.nc")
    np.testing.assert_allclose(stored.S2ndvi_FUSED, expected.S2ndvi_FUSED, rtol=1e-5)
    np.testing.assert_array_equal(stored.S2ndvi_SOURCE, expected.S2ndvi_SOURCE)


@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
def test_a_tile_that_fails_is_told_and_the_others_finish(ds, tmp_path, suffix, caplog):
    def _falls(series, days):
        if (series.position[:, 1] == ds.y.values[9]).any() and series.position[
            :, 0
        ].min() > 460_100:
            raise RuntimeError("no luck")
        return _predict(series, days)

    path = tmp_path / f"map{suffix}"
    with caplog.at_level(logging.ERROR, logger="s1jax"):
        done = regions.map_region(_falls, ds, path, tile=4)
    assert done.failed == (regions.FailedTile(slice(8, 12), slice(4, 6), "RuntimeError: no luck"),)
    message = "tile of rows 8:12, columns 4:6: RuntimeError: no luck"
    assert caplog.messages == [message]
    assert done.pixels == 9 * 6 - 8
    stored = _opened(path)
    assert np.atleast_1d(stored.attrs["failed_tiles"]).tolist() == [message]
    regions.map_region(_predict, ds, tmp_path / "good.nc", tile=4)
    expected = _opened(tmp_path / "good.nc")
    assert "failed_tiles" not in expected.attrs
    lost = {"y": slice(8, 12), "x": slice(4, 6)}
    for name in ("S2ndvi", "S2ndvi_FUSED", "S2ndvi_STD"):
        assert np.isnan(stored[name].isel(lost)).all()
        expected[name].loc[{k: expected[k][v] for k, v in lost.items()}] = np.nan
    assert (stored.S2ndvi_SOURCE.isel(lost) == 0).all()
    xr.testing.assert_equal(stored.drop_vars("S2ndvi_SOURCE"), expected.drop_vars("S2ndvi_SOURCE"))


@pytest.mark.parametrize("how", ["file", "dask"])
def test_only_tiles_of_a_cube_on_disk_are_read(ds, tmp_path, how):
    cube.write(ds, tmp_path / "cube.zarr", tile=4)
    chunks = {} if how == "dask" else None
    with xr.open_dataset(
        tmp_path / "cube.zarr", engine="zarr", decode_coords="all", cache=False, chunks=chunks
    ) as lazy:
        assert lazy.VV.encoding["chunks"] == (T, 4, 4)
        regions.map_region(_predict, lazy, tmp_path / "lazy.zarr", tile=4)
        assert not lazy.VV.variable._in_memory
        assert not lazy.S2ndvi.variable._in_memory
    regions.map_region(_predict, ds, tmp_path / "map.zarr", tile=4)
    xr.testing.assert_identical(
        *(_opened(tmp_path / name).drop_attrs() for name in ("lazy.zarr", "map.zarr"))
    )


@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
def test_other_days_and_quality(ds, tmp_path, suffix):
    def _on(series, days):
        count = len(series.ndvi)
        mean = np.tile(days.astype(np.float32) / 1e5, (count, 1))
        mean[0, 0] = np.nan
        flags = (series.position[:, 0] % 100 == 50).astype(np.uint8)
        return Estimate(mean, mean, np.ones(count, np.float32), flags)

    day = cube.to_days(ds.t)
    at = np.arange(day[0] - 4, day[-1] + 4, 2.0)
    path = tmp_path / f"map{suffix}"
    done = regions.map_region(_on, ds, path, tile=8, days=at)
    assert done.not_finite == 2  # one in each tile with pixels; the mask leaves two
    stored = _opened(path)
    assert "S2ndvi" not in stored
    np.testing.assert_array_equal(cube.to_days(stored.t), at)
    inside = ds.mask.values
    mean = stored.S2ndvi_FUSED.transpose("y", "x", "t").values[inside]
    mean = mean[np.isfinite(mean).all(axis=1)]
    assert len(mean) == 52
    np.testing.assert_allclose(mean, np.broadcast_to(at / 1e5, mean.shape), rtol=1e-6)
    flags = stored.S2ndvi_QUALITY
    assert flags.dtype == np.uint8
    np.testing.assert_array_equal(flags.values[~inside], 128)
    np.testing.assert_array_equal(flags.values[inside].reshape(-1, X), [[0, 1] * (X // 2)] * 9)
    meanings = flags.attrs["flag_meanings"].split()
    assert dict(zip(meanings, flags.attrs["flag_masks"], strict=True)) == {
        "scaled_by_region": quality.REGION_SCALE, "no_data": quality.NO_DATA,
        "hyperparameters_of_region": quality.REGION_HYPER,
        "implausible_values_left_out": quality.IMPLAUSIBLE,
        "clipped_to_range": quality.CLIPPED, "std_beyond_precision": quality.IMPRECISE,
        "not_estimated": 128,
    }  # fmt: skip
    assert "S2ndvi_QUALITY" in stored.S2ndvi_FUSED.attrs["ancillary_variables"]


@settings(max_examples=50, deadline=None)
@given(
    arrays(bool, (4, 5)),
    st.lists(st.sampled_from(np.arange(-3.0, 60.0, 1.5).tolist()), min_size=1, unique=True),
)
def test_source_on_any_day(clear, at):
    day, at = 12.0 * np.arange(5), np.array(at)
    flag = cube.source_flag(clear, day, at)
    for pixel in range(4):
        seen = day[clear[pixel]]
        for query, when in enumerate(at):
            expected = 4 if seen.size == 0 else 2 if seen[0] <= when <= seen[-1] else 3
            assert flag[pixel, query] == (1 if when in seen else expected)
    np.testing.assert_array_equal(cube.source_flag(clear), cube.source_flag(clear, day, day))


def test_tile_without_pixels_is_told(ds, tmp_path):
    with pytest.raises(ValueError, match=r"tile: got 0"):
        regions.map_region(_predict, ds, tmp_path / "map.zarr", tile=0)
