"""One pixel in a NetCDF file: its size is the one that the cube declares, or a note says none."""

import numpy as np
import pytest
import xarray as xr

from s1jax.cube import open_cube, write

GDAL = (460_000.0, 20.0, 0.0, 9_230_000.0, 0.0, -20.0)


def _pixel(**attrs):
    rng = np.random.default_rng(2)
    t = np.datetime64("2022-01-03", "ns") + np.arange(9) * np.timedelta64(12, "D")
    level = {"VV": (-10, "dB"), "VH": (-17, "dB"), "S2ndvi": (0.5, "1")}
    made = {
        name: (("t", "y", "x"), mean + rng.normal(0, 0.1, (9, 1, 1)), {"units": units})
        for name, (mean, units) in level.items()
    }
    axes = {"t": t, "y": [9_230_000.0 - 7 * 20 - 10], "x": [460_000.0 + 3 * 20 + 10]}
    return xr.Dataset(made, axes, {"crs": "EPSG:32749"} | attrs)


def _written(ds, path):
    write(open_cube(ds), path)
    with xr.open_dataset(path) as found:
        return found.load()


@pytest.mark.parametrize("as_text", [True, False])
def test_the_transform_of_the_source_is_the_size_of_the_pixel(as_text, tmp_path):
    c, a, b, f, d, e = GDAL
    transform = f"{a}, {b}, {c}, {d}, {e}, {f}" if as_text else (a, b, c, d, e, f)
    found = _written(_pixel(transform=transform), tmp_path / "a.nc")
    expected = [GDAL[0] + 3 * 20, 20, 0, GDAL[3] - 7 * 20, 0, -20]
    text = found["spatial_ref"].attrs["GeoTransform"]
    np.testing.assert_allclose([float(word) for word in text.split()], expected)
    assert "one pixel" not in str(found.attrs.get("s1jax_repairs", ""))


def test_a_resolution_is_the_size_of_the_pixel(tmp_path):
    found = _written(_pixel(resolution=20.0), tmp_path / "a.nc")
    text = found["spatial_ref"].attrs["GeoTransform"]
    np.testing.assert_allclose(float(text.split()[1]), 20)
    np.testing.assert_allclose(float(text.split()[5]), -20)


@pytest.mark.parametrize("more", [{}, {"transform": (37.0, 0.0, 0.0, 0.0, -37.0, 0.0)}])
def test_one_pixel_of_no_size_says_so_once(more, tmp_path):
    found = _written(_pixel(**more), tmp_path / "a.nc")
    assert "GeoTransform" not in found["spatial_ref"].attrs
    again = _written(found, tmp_path / "b.nc")
    for ds in (found, again):
        assert ds.attrs["s1jax_repairs"].count("named: one pixel: no transform") == 1
