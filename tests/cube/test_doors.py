"""Inputs that nearly fit: told apart at the door, or read as what they are."""

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine

from s1jax import cube

DIMS = ("t", "y", "x")


def _cube(day, *, seed=0, **more):
    """VV, VH in dB and NDVI on `day` (days after 2024-01-01), 4 x 3 pixels."""
    rng = np.random.default_rng(seed)
    shape = (len(day), 4, 3)
    values = {"VV": rng.normal(-11, 1, shape), "VH": rng.normal(-18, 1, shape)}
    values |= {"S2ndvi": rng.uniform(0.1, 0.9, shape)} | more
    ds = xr.Dataset({name: (DIMS, v.astype(np.float32)) for name, v in values.items()})
    t = np.datetime64("2024-01-01", "ns") + np.asarray(day) * np.timedelta64(1, "D")
    return ds.assign_coords(t=t, y=9e6 - 50.0 * np.arange(4), x=4e5 + 50.0 * np.arange(3))


def test_powers_declared_as_db_are_refused_even_with_zeros():
    ds = _cube(np.arange(0, 120, 12))
    for name in ("VV", "VH"):
        ds[name] = 10 ** (ds[name] / 10)
        ds[name][0, 0, 0] = 0.0  # the border fill of a linear product
        ds[name].attrs["units"] = "dB"
    with pytest.raises(ValueError, match=r"VV: got values in \[0\.0.*expected dB as declared"):
        cube.open_cube(ds)


def test_dates_that_take_turns_are_put_into_periods():
    day = np.arange(0, 120, 3)
    ds = _cube(day)
    radar = (np.arange(day.size) % 2 == 0)[:, None, None]
    for name in ("VV", "VH"):
        ds[name] = ds[name].where(xr.DataArray(np.broadcast_to(radar, ds[name].shape), dims=DIMS))
    ds["S2ndvi"] = ds["S2ndvi"].where(
        xr.DataArray(np.broadcast_to(~radar, ds["S2ndvi"].shape), dims=DIMS)
    )
    aligned = cube.align_cube(cube.open_cube(ds))
    assert aligned.sizes["t"] == 10
    for name in ("VV", "VH", "S2ndvi"):
        assert np.isfinite(aligned[name]).all()


def test_an_orbit_has_both_polarisations():
    day = np.arange(0, 120, 12)
    ds = _cube(day, VV_2=np.full((day.size, 4, 3), -10.0))
    with pytest.raises(ValueError, match=r"VV_2: got no VH_2"):
        cube.open_cube(ds)


def test_tracks_are_numbers():
    ds = _cube([0, 1, 12, 13, 25, 26, 38, 40]).assign(s1_track=("t", ["ASC", "DESC"] * 4))
    with pytest.raises(ValueError, match=r"s1_track: got .*expected numbers"):
        cube.align_cube(cube.open_cube(ds))
    ds["s1_track"] = ("t", [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, np.nan, np.nan])
    with pytest.raises(ValueError, match=r"s1_track: got 0 on 2 dates .*2024-02-08, 2024-02-10"):
        cube.align_cube(cube.open_cube(ds))
    seen = (ds.s1_track > 0).compute()
    ds = ds.assign(VV=ds.VV.where(seen), VH=ds.VH.where(seen))
    assert "VV_2" in cube.align_cube(cube.open_cube(ds))


def test_classic_netcdf_is_read(tmp_path):
    ds = _cube(np.arange(0, 120, 12))
    ds.to_netcdf(tmp_path / "classic.nc", engine="scipy")
    found = cube.open_cube(tmp_path / "classic.nc")
    for name in ("VV", "VH", "S2ndvi"):
        np.testing.assert_array_equal(found[name], ds[name])


def test_a_mask_beside_the_periods_is_no_period(tmp_path):
    rng = np.random.default_rng(0)
    options = {"driver": "GTiff", "height": 4, "width": 3, "dtype": "float32", "crs": "EPSG:32749"}
    options["transform"] = Affine(50, 0, 4e5, 0, -50, 9e6)
    for p in (1, 2, 3):
        with rasterio.open(tmp_path / f"period_{p:02d}.tif", "w", count=3, **options) as tif:
            tif.write(
                rng.uniform([[[-12]], [[-19]], [[0.1]]], [[[-9]], [[-15]], [[0.9]]], (3, 4, 3))
            )
    with rasterio.open(tmp_path / "mask_2024.tif", "w", count=1, **options) as tif:
        tif.write(np.ones((1, 4, 3), np.float32))
    assert cube.open_cube(tmp_path, start="2023-11-01", step=12).sizes["t"] == 3
