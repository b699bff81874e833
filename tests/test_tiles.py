"""Tiles equal the whole; CRS and coordinates come out as they went in."""

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from s1jax import cube, tiles
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
    """Depends on value, day and place, so that a wrong tile or origin would show."""
    place = jnp.asarray(series.place).sum(-1)[:, None] / 1e8
    mean = jnp.asarray(series.value[..., 0]) / 100 + place
    return Estimate(mean, jnp.abs(mean) + 0.01, jnp.zeros(()))


@pytest.mark.parametrize("rows", [1, 4, 5, 100])
@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
def test_tiles_equal_the_whole(ds, tmp_path, rows, suffix):
    path = tmp_path / f"map{suffix}"
    tiles.fill(_predict, ds, path, rows=rows)
    series, pixel = cube.to_series(ds)
    whole = _predict(series, series.day)
    expected = cube.fill_product(ds, pixel, np.asarray(whole.mean), np.asarray(whole.std))
    options = (
        {"engine": "zarr", "consolidated": True} if suffix == ".zarr" else {"engine": "h5netcdf"}
    )
    with xr.open_dataset(path, decode_coords="all", **options) as found:
        for name in ("S2ndvi", "S2ndvi_FUSED", "S2ndvi_STD", "S2ndvi_SOURCE"):
            np.testing.assert_array_equal(
                found[name].transpose("t", "y", "x"), expected[name], name
            )
        for name in ("t", "y", "x"):
            np.testing.assert_array_equal(found[name], ds[name])
        assert cube.crs(found) == cube.crs(ds)
        outside = found["S2ndvi_FUSED"].isel(y=slice(4, 8))
        assert np.isnan(outside).all()
        assert (found["S2ndvi_SOURCE"].isel(y=2, x=2) == 4).all()  # prior: no NDVI at all
        seen = np.isfinite(ds["S2ndvi"].values) & ds["mask"].values
        assert (found["S2ndvi_SOURCE"].transpose("t", "y", "x").values[seen] == 1).all()


@pytest.mark.parametrize("rows", [1, 4, 5])
def test_filtered_radar_is_of_the_whole_and_not_of_a_tile(ds, tmp_path, rows):
    def _smooth(series, days):
        mean = jnp.asarray(series.smooth[..., 1]) / 100
        return Estimate(mean, jnp.abs(mean) + 0.01, jnp.zeros(()))

    whole = cube.despeckle(ds, size=5)
    tiles.fill(_smooth, whole, tmp_path / "map.nc", rows=rows)
    with xr.open_dataset(tmp_path / "map.nc", engine="h5netcdf") as found:
        expected = np.nan_to_num(whole["VH_smooth"].where(whole["mask"])) / 100
        expected = np.where(found["S2ndvi_SOURCE"] > 0, expected, np.nan).astype(np.float32)
        np.testing.assert_allclose(found["S2ndvi_FUSED"], expected, rtol=1e-6)
        assert set(found.data_vars) >= {"S2ndvi", "S2ndvi_FUSED"}
        assert "VH_smooth" not in found
    # neighbours in the next tile do count
    apart = cube.despeckle(ds.isel(y=slice(8, 10)), size=5)["VH_smooth"]
    assert np.abs(apart - whole["VH_smooth"].isel(y=slice(8, 10))).max() > 0.1


def test_an_older_map_is_replaced(ds, tmp_path):
    path = tmp_path / "map.zarr"
    tiles.fill(_predict, ds, path, rows=4)
    tiles.fill(_predict, ds.isel(y=slice(0, 3)), path, rows=4)
    with xr.open_dataset(path, engine="zarr", consolidated=True) as found:
        assert found.sizes["y"] == 3


def test_other_suffix_is_told(ds, tmp_path):
    with pytest.raises(ValueError, match=r"expected a .nc or .zarr file"):
        tiles.fill(_predict, ds, tmp_path / "map.tif")
