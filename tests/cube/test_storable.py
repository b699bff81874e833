"""What no file can hold becomes text, and is said; what one can hold stays what it is."""

import datetime
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pyproj
import pytest
import xarray as xr
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s1jax import cube
from s1jax.cube.write import storable
from tests.worlds.cube import scene

ENGINES = {".nc": "h5netcdf", ".zarr": "zarr"}
BOTH = pytest.mark.parametrize("suffix", [".nc", ".zarr"])
WHERE = pytest.mark.parametrize("where", ["cube", "VV", "x", "t", "s1_day"])


def _back(ds, path):
    cube.write(ds, path)
    with xr.open_dataset(path, engine=ENGINES[path.suffix], decode_coords="all") as stored:
        return stored.load()


def _with(where, attrs):
    ds = cube.align_cube(cube.open_cube(scene()))
    (ds if where == "cube" else ds[where]).attrs.update(attrs)
    return ds


HOSTILE = {
    "none": (None, "None"),
    "dict": ({"a": [1, None], 2: np.float32(3)}, '{"a": [1, null], "2": 3.0}'),
    "flag": (True, "True"),
    "mixed": ([1, "a", None], '[1, "a", null]'),
    "when": (pd.Timestamp("2024-03-01T12:00Z"), "2024-03-01T12:00:00+00:00"),
    "day": (datetime.date(2024, 3, 1), "2024-03-01"),
    "numpy_day": (np.datetime64("2024-03-01"), "2024-03-01"),
    "long": (np.timedelta64(3, "D"), "3 days"),
    "transform": (Affine(10, 0, 5e5, 0, -10, 1.2e6), "10.0, 0.0, 500000.0, 0.0, -10.0, 1200000.0"),
    "some": ({"b", "a"}, '["a", "b"]'),
    "nested": ([[1, 2], [3]], "[[1, 2], [3]]"),
    "raw": (b"ab\xff", "ab\\xff"),
    "zero": ("a\0b", "a\\0b"),
    "half": ("a\ud800", "a\\ud800"),
    "huge": (2**80, str(2**80)),
    "imaginary": (1 + 2j, "(1+2j)"),
    "where": (Path("/a/b"), "/a/b"),
    "system": (pyproj.CRS("EPSG:32749"), "EPSG:32749"),
    "wide": (np.arange(9000), json.dumps(list(range(9000)))),
}
JSON = {"none", "flag", "mixed", "nested", "wide"}
"""Of them, those that Zarr holds as they are."""


@BOTH
@WHERE
def test_attributes_without_a_form_become_text_and_are_said(tmp_path, caplog, where, suffix):
    given = {name: value for name, (value, _) in HOSTILE.items()}
    ds = _with(where, given)
    with caplog.at_level(logging.WARNING, logger="s1jax"):
        back = _back(ds, tmp_path / f"cube{suffix}")
    attrs = (back if where == "cube" else back[where]).attrs
    said = back.attrs["s1jax_repairs"].splitlines()
    for name, (value, text) in HOSTILE.items():
        if suffix == ".zarr" and name in JSON:
            np.testing.assert_equal(attrs[name], value.tolist() if name == "wide" else value)
        else:
            assert attrs[name] == text
            (line,) = [line for line in said if f"attribute {name}: " in line]
            assert f"has no form in {suffix}" in line
            assert line in caplog.messages
    np.testing.assert_array_equal(back.VV, ds.VV)
    np.testing.assert_array_equal(back.t, ds.t)


@pytest.mark.parametrize("value", [np.nan, np.inf, [1.0, np.nan]])
def test_json_has_no_nan(tmp_path, value):
    kept = _back(_with("VV", {"q": value}), tmp_path / "cube.nc").VV.attrs["q"]
    np.testing.assert_array_equal(kept, value)
    _back(_with("VV", {"q": value}), tmp_path / "cube.zarr")

    def _refuse(name):
        raise AssertionError(f"{name} is no JSON")

    for path in (tmp_path / "cube.zarr").rglob(".z*"):
        if path.name == ".zattrs":
            json.loads(path.read_text(), parse_constant=_refuse)


@BOTH
@WHERE
def test_names_of_attributes(tmp_path, where, suffix):
    odd = {1: "one", "1": "two", "a/b": 3, "": 4, "new\nline": 5, "CLASS": "rice", "NAME": "n"}
    odd |= {"coordinates": "lat lon", "_ARRAY_DIMENSIONS": "none", "_FillValue": "many"}
    back = _back(_with(where, odd), tmp_path / f"cube{suffix}")
    attrs = (back if where == "cube" else back[where]).attrs
    assert attrs["1"] == "two"
    assert (attrs["1_"], attrs["a_b"], attrs["_"], attrs["new_line"]) == ("one", 3, 4, 5)
    assert attrs["CLASS_" if suffix == ".nc" else "CLASS"] == "rice"
    assert "'a/b': written as 'a_b'" in back.attrs["s1jax_repairs"]
    assert np.isfinite(back.VV).all()


_leaf = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3),
    st.binary(max_size=3), st.complex_numbers(), st.dates(), st.timedeltas(),
    st.sampled_from([np.float32(1), np.int8(2), np.bool_(1)]),
)  # fmt: skip
_key = st.text(max_size=4).filter(lambda key: key != "crs") | st.integers()
"""`crs` says where a cube is: one that is none is refused."""
_value = st.one_of(
    _leaf, st.lists(_leaf, max_size=3), st.dictionaries(st.text(max_size=3) | st.none(), _leaf),
    st.lists(st.lists(st.integers(), max_size=2), max_size=2),
)  # fmt: skip


@pytest.mark.slow
@BOTH
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(attrs=st.dictionaries(_key, _value, max_size=8))
def test_any_attributes_are_written(tmp_path, suffix, attrs):
    ds = xr.Dataset({"VH": (("t", "y"), np.ones((1, 2), np.float32), attrs)}, attrs=attrs)
    xr.testing.assert_equal(_back(ds, tmp_path / f"cube{suffix}"), ds)
    # what is storable is left as it is
    kept = storable(ds, suffix)
    again = storable(kept, suffix)
    assert again.attrs.get("s1jax_repairs") == kept.attrs.get("s1jax_repairs")


@BOTH
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", None], ["a", ""]),
        ([1, 2], [1, 2]),
        ([1, None], [1.0, np.nan]),
        ([True, False], [True, False]),
        ([datetime.date(2024, 1, 2), None], np.array(["2024-01-02", "NaT"], "M8[ns]")),
        (
            [pd.Timestamp("2024-01-02", tz="Asia/Jakarta"), pd.NaT],
            np.array(["2024-01-01T17", "NaT"], "M8[ns]"),
        ),
        ([1, "a"], ["1", "a"]),
        ([2**80, 1], [str(2**80), "1"]),
        ([None, None], ["", ""]),
    ],
)
def test_objects_become_what_they_are(tmp_path, suffix, values, expected):
    objects = np.array([*values, *values, *values], object)
    ds = scene().assign_coords(district=("y", objects))
    back = _back(ds, tmp_path / f"cube{suffix}")
    np.testing.assert_array_equal(back.district.values.tolist(), np.tile(expected, 3).tolist())
    assert "district: objects written as" in back.attrs["s1jax_repairs"]


@BOTH
def test_names_and_types_that_no_file_has(tmp_path, suffix):
    ds = scene().rename(S2ndvi="ndvi/raw")
    back = _back(ds.assign({7: ds.VV.astype(np.float16)}), tmp_path / f"cube{suffix}")
    np.testing.assert_array_equal(back["ndvi_raw"], ds["ndvi/raw"])
    assert back["7"].dtype == np.float32
    with pytest.raises(ValueError, match=r"names 'ndvi/raw' and 'ndvi_raw': got two"):
        cube.write(ds.assign(ndvi_raw=ds.VV), tmp_path / f"other{suffix}")
    with pytest.raises(ValueError, match=r"slc: got complex64, expected numbers"):
        cube.write(ds.assign(slc=ds.VV.astype(np.complex64)), tmp_path / f"other{suffix}")
    assert not (tmp_path / f"other{suffix}").exists()


@BOTH
def test_encodings_of_another_file_do_not_hold(tmp_path, suffix):
    ds = scene()
    ds.encoding = {"unlimited_dims": {"gone"}, "source": "/not/there.nc"}
    ds.VV.encoding = {"scale_factor": 0.1, "dtype": "int8", "chunksizes": (99, 99, 99), "odd": {}}
    ds.t.encoding = {"units": "parsecs since never", "dtype": "int8"}
    back = _back(ds, tmp_path / f"cube{suffix}")
    xr.testing.assert_equal(back[["VV", "VH"]].drop_vars("spatial_ref"), ds[["VV", "VH"]])


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_what_holds_itself_is_written_as_what_python_prints(tmp_path, suffix):
    listed, keyed = [1], {}
    listed.append(listed)
    keyed["self"] = [keyed, keyed]
    deep = []
    for _ in range(50_000):
        deep = [deep]
    values = np.empty(2, object)
    values[:] = [values, 1]
    ds = scene().assign_attrs(listed=listed, keyed=keyed, deep=deep, array=values)
    cube.write(ds, tmp_path / f"a{suffix}")
    with xr.open_dataset(tmp_path / f"a{suffix}", engine=ENGINES[suffix]) as back:
        assert back.attrs["listed"].startswith("[1, [1, [")
        assert back.attrs["deep"].startswith("[[[")
        assert back.attrs["keyed"].startswith("{'self': [")
        assert "attribute listed: list has no form" in back.attrs["s1jax_repairs"]
        np.testing.assert_array_equal(back.VV, ds.VV)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_long_name_is_cut_and_stays_its_own(tmp_path, suffix):
    ds, names = scene(), ["n" * 300, "n" * 301, "é" * 150, "m" * 200]
    for k, name in enumerate(names):
        ds[name] = ds.VV.isel(t=0, drop=True) * 0 + k
    cube.write(ds, tmp_path / f"a{suffix}")
    with xr.open_dataset(tmp_path / f"a{suffix}", engine=ENGINES[suffix]) as back:
        assert "m" * 200 in back
        added = sorted(set(back.data_vars) - set(ds.data_vars) - {"spatial_ref"})
        assert max(len(name.encode()) for name in added) <= 200
        assert sorted(float(back[name].max()) for name in added) == [0, 1, 2]
        assert "name 'nnn" in back.attrs["s1jax_repairs"]
