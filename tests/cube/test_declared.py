"""What a file declares of its values: fills in text or numbers, and ranges that are valid."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from s1jax import cube
from s1jax.cube.values import declared_fills, valid_range
from tests.worlds.cube import scene


def _put(ds, values, **attrs):
    return ds.assign(S2ndvi=(("t", "y", "x"), values, attrs))


@pytest.mark.parametrize("key", ["nodata", "_FillValue", "missing_value", "nodatavals"])
@pytest.mark.parametrize("text", ["-9999", "-9999.0", b"-9999", " -9.999e3 ", ("-9999", None)])
def test_fills_in_text_are_numbers(key, text):
    ds = scene()
    filled = _put(ds, ds.S2ndvi.fillna(-9999).values, **{key: text})
    made = cube.open_cube(filled, repair=False)
    np.testing.assert_array_equal(made.S2ndvi, ds.S2ndvi)


@pytest.mark.parametrize("text", ["nan", "NaN", "none", "None", "null", "", "N/A", None, np.nan])
def test_text_for_no_fill_at_all(text):
    ds = scene()
    made = cube.open_cube(_put(ds, ds.S2ndvi.values, nodata=text), repair=False)
    np.testing.assert_array_equal(made.S2ndvi, ds.S2ndvi)


@pytest.mark.parametrize("given_", ["cloud", "-9999 (cloud)", True, 1j, {"a": 1}])
def test_a_fill_that_is_no_number(given_):
    variable = xr.DataArray(np.zeros(2), dims="t", name="VH", attrs={"nodata": given_})
    with pytest.raises(ValueError, match=r"VH: nodata: got .*, expected a number, or none"):
        declared_fills(variable)


def _stored(path, ds, dtype="int16", **attrs):
    """The cube in a file with NDVI packed by 1e-4, codes far below 0 where it is missing."""
    codes = np.where(ds.S2ndvi.isnull(), -3000, np.round(ds.S2ndvi * 1e4)).astype(dtype)
    packed = _put(ds, codes, scale_factor=1e-4, add_offset=0.0, **attrs)
    packed.to_netcdf(path, engine="h5netcdf")
    return path


RANGES = {
    "valid_range": {"valid_range": np.array([-2000, 10_000], np.int16)},
    "valid_min": {"valid_min": np.int16(-2000)},
    "unpacked": {"valid_range": np.array([-0.2, 1.0])},
    "two of them": {"valid_min": np.int16(-2000), "valid_max": np.int16(10_000)},
}


@pytest.mark.parametrize("how", RANGES)
@pytest.mark.parametrize("lazy", [False, True])
def test_valid_ranges_of_packed_values(tmp_path, how, lazy):
    ds = scene()
    path = _stored(tmp_path / "cube.nc", ds, **RANGES[how])
    made = cube.open_cube(path, repair=False, chunks={"t": 2} if lazy else None)
    np.testing.assert_array_equal(made.S2ndvi.isnull(), ds.S2ndvi.isnull())
    np.testing.assert_allclose(made.S2ndvi, ds.S2ndvi, atol=1e-6)
    missing = int(ds.S2ndvi.isnull().sum())
    assert f"S2ndvi: {missing} values outside of the valid range" in made.attrs["s1jax_repairs"]
    assert not {"valid_range", "valid_min", "valid_max"} & {*made.S2ndvi.attrs}


@settings(max_examples=40, deadline=None)
@given(
    low=st.integers(-9000, 0),
    high=st.integers(1, 9000),
    scale=st.sampled_from([1e-4, -1e-4, 2.5e-5]),
    offset=st.sampled_from([0.0, 0.05]),
)
def test_ranges_of_codes_hold_for_what_they_unpack_to(low, high, scale, offset):
    codes = np.arange(-9000, 9001, 37)
    value = xr.DataArray((codes * scale + offset).astype(np.float32), dims="t", name="S2ndvi")
    value.encoding = {"dtype": np.dtype("int16"), "scale_factor": scale, "add_offset": offset}
    value.attrs["valid_range"] = np.array([low, high], np.int16)
    least, greatest = valid_range(value)
    kept = (value.values >= least) & (value.values <= greatest)
    np.testing.assert_array_equal(kept, (codes >= low) & (codes <= high))


def test_valid_ranges_of_plain_values():
    ds = scene()
    made = cube.open_cube(_put(ds, ds.S2ndvi.values, valid_max=0.4), repair=False)
    np.testing.assert_array_equal(made.S2ndvi.notnull(), ds.S2ndvi <= np.float32(0.4))
    radar = ds.assign(VV=ds.VV.assign_attrs(valid_range=[-10.0, 5.0]))
    np.testing.assert_array_equal(cube.open_cube(radar).VV.notnull(), ds.VV >= -10)


@pytest.mark.parametrize(
    "given_", ["0, one", [0], [1, 2, 3], [1.0, -1.0], [np.nan, 1.0], np.array(["0", "1"]), 3]
)
def test_a_valid_range_that_is_none(given_):
    ds = scene()
    with pytest.raises(
        ValueError, match=r"S2ndvi: .*valid_range.*expected|S2ndvi: got valid_range"
    ):
        cube.open_cube(_put(ds, ds.S2ndvi.values, valid_range=given_))


def test_nodata_beside_a_scale_is_of_the_codes(tmp_path):
    ds = scene()
    path = _stored(tmp_path / "cube.nc", ds, nodata=np.int16(-3000))
    made = cube.open_cube(path, repair=False)
    np.testing.assert_array_equal(made.S2ndvi.isnull(), ds.S2ndvi.isnull())
