"""Relative axes of numbers, times of no calendar, and fills and ranges that come as text."""

import numpy as np
import pytest
import xarray as xr

from s1jax.cube import is_relative, open_cube, write

DAYS = np.array([0, 11, 20, 33, 45, 52, 70, 84])


def _cube(t, t_attrs=None, **attrs):
    rng = np.random.default_rng(8)
    shape, dims = (len(t), 3, 4), ("t", "y", "x")
    level = {"VV": (-10, 1, "dB"), "VH": (-17, 1, "dB"), "S2ndvi": (0.5, 0.1, "1")}
    made = {
        name: (dims, rng.normal(mean, std, shape).clip(-30, 0.95).astype("f4"), {"units": units})
        for name, (mean, std, units) in level.items()
    }
    axes = {"t": ("t", t, t_attrs or {}), "y": 50.0 - 10 * np.arange(3), "x": 10.0 * np.arange(4)}
    return xr.Dataset(made, axes, {"crs": "EPSG:32749"} | attrs)


def _source(ds, kind, tmp_path):
    """The cube in memory, or its file, and what `open_cube` takes beside it."""
    if kind == "memory":
        return ds, {}
    path = tmp_path / "cube.nc"
    ds.to_netcdf(path, engine="h5netcdf")
    return path, {"chunks": {"t": 3}} if kind == "chunks" else {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory", "file", "chunks"])
@pytest.mark.parametrize("units", ["", "days", "days since sowing", "hours since sowing"])
@pytest.mark.parametrize("dtype", [np.int32, np.float64])
def test_numbers_of_a_relative_axis_are_days(kind, units, dtype, tmp_path):
    number = (DAYS * (24 if units.startswith("hours") else 1)).astype(dtype)
    ds = _cube(number, {"units": units} if units else {}, time_axis="Relative ")
    source, more = _source(ds, kind, tmp_path)
    made = open_cube(source, repair=False, **more)
    day = (made["t"].values - np.datetime64("2000-01-01")) / np.timedelta64(1, "D")
    np.testing.assert_array_equal(day, DAYS)
    assert made.attrs["time_axis"] == "relative"
    assert is_relative(made)
    np.testing.assert_allclose(made["VV"].values, ds["VV"].values)
    write(made, tmp_path / "again.nc")
    again = open_cube(tmp_path / "again.nc")
    np.testing.assert_array_equal(again["t"], made["t"])
    assert is_relative(again)
    assert again["t"].attrs.get("standard_name") != "time"


def test_numbers_from_one_up_are_days_of_a_relative_axis():
    made = open_cube(_cube(np.arange(1, 9), time_axis="relative"))
    assert (np.diff(made["t"].values) == np.timedelta64(1, "D")).all()


@pytest.mark.parametrize(
    ("t", "units", "words"),
    [
        (DAYS * 1.0, "metres", "got units 'metres', expected days"),
        (np.where(DAYS == 20, np.nan, DAYS), "days", "got nan days, expected at most"),
        (DAYS * 1e6, "days", "expected at most 36,"),
    ],
)
def test_numbers_that_are_no_days_of_a_relative_axis(t, units, words):
    with pytest.raises(ValueError, match=f"t: .*{words}"):
        open_cube(_cube(t, {"units": units}, time_axis="relative"))


@pytest.mark.parametrize("of_t", [False, True])
def test_a_misspelt_time_axis_is_refused(of_t):
    t = np.datetime64("2022-01-03", "ns") + DAYS * np.timedelta64(1, "D")
    attrs = {"time_axis": "foo"}
    ds = _cube(t, attrs) if of_t else _cube(t, **attrs)
    with pytest.raises(ValueError, match="time_axis: got 'foo', expected 'relative'"):
        open_cube(ds)


@pytest.mark.parametrize("kind", ["memory", "file", "chunks"])
@pytest.mark.parametrize(
    ("units", "calendar"),
    [
        ("days since planting", None),
        ("days since 0001-01-01", None),
        ("days since 2022-01-01", "360_day"),
        ("days since 2022-01-01", "noleap"),
    ],
)
def test_times_of_no_calendar_are_refused_in_plain_words(kind, units, calendar, tmp_path):
    attrs = {"units": units} | ({"calendar": calendar} if calendar else {})
    source, more = _source(_cube(DAYS, attrs), kind, tmp_path)
    with pytest.raises(ValueError, match="t: got units") as error:
        open_cube(source, **more)
    text = str(error.value)
    where = "Dataset" if kind == "memory" else str(source)
    assert text.startswith(f"{where}: t: got units '{units}'")
    assert text.endswith(
        "expected 'days since DATE' in the standard calendar, or time_axis='relative'"
    )
    assert "cftime" not in text


@pytest.mark.parametrize("kind", ["memory", "file", "chunks"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_fill_in_text_is_missing(kind, packed, tmp_path):
    t = np.datetime64("2022-01-03", "ns") + DAYS * np.timedelta64(1, "D")
    ds = _cube(t)
    missing = np.random.default_rng(1).random(ds["S2ndvi"].shape) < 0.3
    fill = 255 if packed else -9
    stored = np.round((ds["S2ndvi"] + 1) * 100) if packed else ds["S2ndvi"].astype("f8")
    stored = stored.where(~missing, fill).astype("u1" if packed else "f8")
    stored.attrs = {"missing_value": str(fill), "units": "1"}
    stored.attrs |= {"scale_factor": 0.01, "add_offset": -1.0} if packed else {}
    source, more = _source(ds.assign(S2ndvi=stored), kind, tmp_path)
    made = open_cube(source, repair=False, **more)
    np.testing.assert_array_equal(made["S2ndvi"].isnull(), missing)
    np.testing.assert_allclose(
        made["S2ndvi"].values, ds["S2ndvi"].where(~missing), atol=0.0051 if packed else 1e-6
    )
    line = f"as declared: S2ndvi: {missing.sum()} values of nodata {fill} are missing"
    assert line in made.attrs["s1jax_repairs"]


@pytest.mark.parametrize("kind", ["memory", "file"])
@pytest.mark.parametrize("text", ["0.2, 0.6", "0.2 0.6", "[0.2, 0.6]"])
def test_a_valid_range_in_text(kind, text, tmp_path):
    t = np.datetime64("2022-01-03", "ns") + DAYS * np.timedelta64(1, "D")
    ds = _cube(t)
    ds["S2ndvi"].attrs["valid_range"] = text
    source, _ = _source(ds, kind, tmp_path)
    inside = (ds["S2ndvi"] >= np.float32(0.2)) & (ds["S2ndvi"] <= np.float32(0.6))
    np.testing.assert_array_equal(open_cube(source)["S2ndvi"].notnull(), inside)


def test_a_valid_range_in_text_is_of_stored_whole_numbers():
    t = np.datetime64("2022-01-03", "ns") + DAYS * np.timedelta64(1, "D")
    ds = _cube(t)
    stored = np.round(ds["S2ndvi"] * 250).astype("u1")
    stored.attrs = {"scale_factor": 0.004, "valid_range": "100, 150"}
    made = open_cube(ds.assign(S2ndvi=stored))
    np.testing.assert_array_equal(made["S2ndvi"].notnull(), (stored >= 100) & (stored <= 150))


@pytest.mark.parametrize("text", ["0", "low, high", "0, 1, 2"])
def test_a_valid_range_that_is_no_two_numbers(text):
    t = np.datetime64("2022-01-03", "ns") + DAYS * np.timedelta64(1, "D")
    ds = _cube(t)
    ds["S2ndvi"].attrs["valid_range"] = text
    with pytest.raises(ValueError, match=r"S2ndvi: valid_range: got .* expected two numbers"):
        open_cube(ds)
