"""What cannot be: types, places, dates and units that no cube has are named, not computed with."""

import datetime

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from s1jax import compositing, cube
from s1jax.cube.dates import (
    check_dates,
    check_step,
    dates_of,
    instant,
    periods,
    tidy_dates,
)
from tests.worlds.cube import DIMS, own_days, power, scene

DAY = np.timedelta64(1, "D")


def _put(ds, name, values, **attrs):
    return ds.assign({name: (ds[name].dims, values, ds[name].attrs | attrs)})


TYPES = {
    "complex64": lambda v: v.astype(np.complex64) + 1j,
    r"datetime64": lambda v: v.astype("i8").astype("M8[ns]"),
    r"timedelta64": lambda v: v.astype("i8").astype("m8[ns]"),
    "bool": lambda v: v > -12,
    "<U8": lambda v: v.astype("U8"),
    r"\|S6": lambda v: v.astype("S6"),
    "object": lambda v: v.astype(object),
}


@pytest.mark.parametrize("attrs", [{}, {"scale_factor": 2.0, "nodata": 3}], ids=["bare", "scaled"])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", ["VV", "S2ndvi"])
def test_values_that_are_no_numbers(name, dtype, attrs):
    ds = scene()
    with pytest.raises(ValueError, match=f"{name}: got values of {dtype}.*, expected numbers"):
        cube.open_cube(_put(ds, name, TYPES[dtype](ds[name].fillna(0).values), **attrs))


AXES = {
    "mixed": (lambda x: x[[0, 3, 1, 2, 4]], "x: got places that neither ascend nor descend"),
    "twice": (lambda x: x[[0, 1, 1, 2, 3]], "x: got 1 places twice, .*expected each once"),
    "nan": (lambda x: x * np.nan, "x: got 5 of 5 that are NaN or infinite"),
    "inf": (lambda x: np.where(x == x[0], -np.inf, x), "x: got 1 of 5 that are NaN or infinite"),
    "dates": (lambda x: pd.date_range("2021", periods=5), "x: got datetime64.*, expected numbers"),
    "text": (lambda x: x.astype(str), "x: got <U.*, expected numbers"),
}


@pytest.mark.parametrize("how", AXES)
def test_axes_that_are_no_places(how):
    change, words = AXES[how]
    ds = scene()
    with pytest.raises(ValueError, match=words):
        cube.open_cube(ds.assign_coords(x=change(ds.x.values)))


def test_degrees_are_degrees_and_metres_are_metres():
    ds = scene()
    x, y = 110.6 + 2e-4 * np.arange(5), -6.9 - 2e-4 * np.arange(6)
    with pytest.raises(ValueError, match=r"y, x: got .*, which are degrees, expected those of CRS"):
        cube.open_cube(ds.assign_coords(x=x, y=y))
    degrees = ds.assign_coords(x=x, y=y).assign_attrs(crs="EPSG:4326")
    np.testing.assert_array_equal(cube.open_cube(degrees).x, x)
    with pytest.raises(ValueError, match=r"y: got 95 to 100, expected degrees"):
        cube.open_cube(degrees.assign_coords(y=95 + np.arange(6.0)))
    # across 180 degrees, either way of counting
    for west in (179.9996, -180.0004):
        across = (west + 2e-4 * np.arange(5) + 180) % 360 - 180
        cube.open_cube(degrees.assign_coords(x=across))
    with pytest.raises(ValueError, match=r"lat: got 1 to 91, expected degrees in \[-90, 90\]"):
        cube.open_cube(ds.assign(lat=("y", [1, 2, 3, 4, 5, 91.0]), lon=("y", np.ones(6))))


def test_a_length_of_0_two_names_and_a_track_of_pixels():
    ds = scene()
    with pytest.raises(ValueError, match="y: got no place on it, expected at least one"):
        cube.open_cube(ds.isel(y=slice(0, 0)))
    with pytest.raises(ValueError, match=r"variable S2ndvi: got \['S2ndvi', 'NDVI'\]"):
        cube.open_cube(ds.assign(NDVI=-ds.S2ndvi))
    with pytest.raises(ValueError, match=r"s1_track: got dims \('y',\)"):
        cube.open_cube(ds.assign(s1_track=("y", np.ones(6, int))))


TRUTH = {
    r"truth: got \[.*\], expected true NDVI in \[-1, 1\]": lambda v: v * 40,
    "truth: got values of <U32, expected numbers": lambda v: v.astype(str),
    r"truth: got dims \('y', 'x'\)": lambda v: v.isel(t=0, drop=True),
}


@pytest.mark.parametrize("words", TRUTH)
def test_truth_that_is_none(words):
    ds = scene()
    with pytest.raises(ValueError, match=words):
        cube.open_cube(ds.assign(truth=TRUTH[words](ds.S2ndvi)))


def test_whatever_else_rides_along():
    ds = scene()
    t = ds.t.values
    more = ds.rename(t="time").assign_coords(
        time_bnds=(("time", "nv"), np.stack([t - 6 * DAY, t + 6 * DAY], axis=1)),
        lon2=(("y", "x"), np.ones((6, 5))),
        height=10.0,
        t=np.datetime64("2020-01-01", "ns"),
        VH=ds.rename(t="time").VH,
    )
    more["VV"] = more.VV.expand_dims(band=[1], axis=1)
    more = more.assign(matrix=(("a", "b"), np.eye(3)), scale=("nv", [1, 2]))
    made = cube.open_cube(more)
    for name in ("VV", "VH", "S2ndvi"):
        np.testing.assert_allclose(made[name], ds[name], rtol=1e-6)
    assert made.VV.dims == DIMS
    assert "VV: dimension band of length 1 is left out" in made.attrs["s1jax_repairs"]
    aligned = cube.align_cube(made, step=24)
    assert aligned.sizes["t"] == 4
    with pytest.raises(ValueError, match=r"VV: got dims \('time'|VV: got dims"):
        cube.open_cube(ds.assign(VV=ds.VV.expand_dims(look=2)))


@pytest.mark.parametrize("text", ["01-11-2023", "2023", "2023-11", "11/01/2023", "1.11.2023", ""])
def test_text_that_is_no_iso_date(text):
    for name, call in {
        "start": lambda: cube.open_cube(scene(), start=text, step=12),
        "when": lambda: instant("when", text),
    }.items():
        with pytest.raises(
            ValueError, match=f"{name}: got '{text}', expected a date as 2023-11-01"
        ):
            call()
    with pytest.raises(ValueError, match="start: got"):
        cube.align_cube(cube.open_cube(scene()), start=text, step=24)


@pytest.mark.parametrize("given_", [5, 20231101, 1.5, None, True, np.datetime64("NaT"), pd.NaT])
def test_what_is_no_date_at_all(given_):
    with pytest.raises(ValueError, match=r"start: got .*, expected a date as 2023-11-01"):
        instant("start", given_)


@settings(max_examples=60, deadline=None)
@given(date=st.dates(datetime.date(1700, 1, 1), datetime.date(2200, 1, 1)), hour=st.integers(0, 23))
def test_iso_dates_are_what_numpy_reads(date, hour):
    wanted = np.datetime64(date, "ns")
    for same in (date, date.isoformat(), np.datetime64(date), pd.Timestamp(date)):
        assert instant("start", same) == wanted
    stamped = f"{date.isoformat()}T{hour:02d}:30"
    assert instant("start", stamped) == wanted + np.timedelta64(60 * hour + 30, "m")
    assert instant("start", f"{stamped}+07:00") == instant("start", stamped) - np.timedelta64(
        7, "h"
    )
    read = dates_of(np.array([stamped, f"{stamped}:00Z", f"{date:%Y%m%d}"], object), "t")
    np.testing.assert_array_equal(read[:2], instant("start", stamped))
    assert read[2] == wanted


@pytest.mark.parametrize("step", [0, -1, np.inf, -np.inf, np.nan, 1e9, 36_526])
def test_steps_that_no_period_has(step):
    with pytest.raises(ValueError, match="step: got"):
        check_step(step)
    with pytest.raises(ValueError, match="step: got"):
        cube.open_cube(scene(), start="2023-11-01", step=step)
    with pytest.raises(ValueError, match="step: got"):
        compositing.period_edges(np.array([1.0, 40.0]), step=step)
    with pytest.raises(ValueError, match="window: got"):
        cube.align_cube(cube.open_cube(scene()), window=step)


def test_periods_are_counted_before_they_are_made():
    ds = cube.open_cube(scene())
    for options in ({"start": "1823-11-01"}, {"step": 1e-7}):
        with pytest.raises(
            ValueError, match=r"start, step: got .* expected at most 20,000 periods"
        ):
            cube.align_cube(ds, **{"step": 12} | options)
    numbered = scene().assign_coords(t=np.arange(1, 8))
    with pytest.raises(ValueError, match="7 periods of 30000 days, expected at most 36,525 days"):
        cube.open_cube(numbered, start="2023-11-01", step=30_000)


TIMES = {
    "t: got 7 of 7 dates before there was Sentinel-1": lambda t: t - 3650 * DAY,
    r"t: got 7 of 7 dates .*\(170[23]-": lambda t: t - 117_200 * DAY,
    "t: got 7 dates from .*, expected a series of days": lambda t: t[0] + np.arange(7),
    "t: got .*, expected at most 36,525 days": lambda t: np.append(t[:-1], t[-1] + 40_000 * DAY),
    "t: got 3023-.* expected dates from 1678": lambda t: t.astype("M8[s]") + 365_243 * DAY,
    "t: got 1 NaT": lambda t: np.append(t[:-1], np.datetime64("NaT")),
    "t: got '07.11.2023'": lambda t: np.array(["07.11.2023"] * 7),
    "t: got '2023'": lambda t: np.array(["2023"] * 7),
}


@pytest.mark.parametrize("words", TIMES)
def test_dates_that_no_series_has(words):
    t = TIMES[words](scene().t.values)
    # only seconds reach beyond what nanoseconds hold
    ds = scene().assign_coords(t=xr.Variable("t", t))
    with pytest.raises(ValueError, match=words):
        cube.open_cube(ds)


def test_ndvi_may_be_older_than_sentinel_1():
    ds = scene()
    t = np.append(np.datetime64("2012-03-01", "ns"), ds.t.values[1:])
    old = ds.assign_coords(t=t)
    for name in ("VV", "VH"):
        old[name] = old[name].where(old.t > old.t[0])
    old.S2ndvi.values[0] = 0.3
    old.S2ndvi.values[0, 0] = 0.31
    check_dates(old)
    assert cube.open_cube(old).S2ndvi[0].notnull().all()


def test_mixed_zones_are_put_into_utc():
    ds = scene()
    text = [f"{t[:19]}{'+07:00' if k % 2 else 'Z'}" for k, t in enumerate(ds.t.values.astype(str))]
    made = cube.open_cube(ds.assign_coords(t=text))
    wanted = ds.t.values - np.where(np.arange(7) % 2, 7, 0) * np.timedelta64(1, "h")
    np.testing.assert_array_equal(made.t, wanted)


def test_other_calendars_and_numbers_since_a_date():
    class Date360(datetime.date):
        calendar = "360_day"

    t = np.array([Date360(2023, 1 + k, 1) for k in range(7)], object)
    with pytest.raises(
        ValueError, match="t: got dates of the calendar 360_day, expected a Gregorian"
    ):
        dates_of(t, "t")
    ds = scene()
    days = (ds.t.values - np.datetime64("2023-01-01", "ns")) / DAY
    counted = ds.assign_coords(t=("t", days, {"units": "days since 2023-01-01"}))
    np.testing.assert_array_equal(cube.open_cube(counted).t, ds.t)
    with pytest.raises(ValueError, match="t: got units 'days since never'"):
        cube.open_cube(ds.assign_coords(t=("t", days, {"units": "days since never"})))


def test_a_relative_axis_is_no_calendar():
    months = pd.date_range("1990-01-01", periods=7, freq="MS").to_numpy()
    ds = scene().assign_coords(t=months).assign_attrs(time_axis="relative")
    made = cube.open_cube(ds)
    np.testing.assert_array_equal(made.t, months)
    assert cube.is_relative(cube.align_cube(made))
    assert cube.span(made).startswith("relative days 0 to 181, 7 dates")
    own = scene().assign(start_date=("y", scene().t.values[:6]))
    assert cube.open_cube(own).attrs["time_axis"] == "relative"
    one = scene().assign(start_date=("y", np.full(6, scene().t.values[0])))
    assert "time_axis" not in cube.open_cube(one).attrs
    lengths = scene().assign_coords(t=np.arange(7) * 10 * DAY.astype("m8[ns]"))
    made = cube.open_cube(lengths)
    assert cube.is_relative(made)
    np.testing.assert_array_equal(made.t - made.t[0], lengths.t - lengths.t[0])


LABELS = {
    "last day": lambda first, after: after - pd.Timedelta(days=1),
    "first day": lambda first, after: first,
    "late on the last day": lambda first, after: after - pd.Timedelta(seconds=1),
}


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("kind", ["months", "dekads", "half-months"])
@settings(max_examples=20, deadline=None)
@given(year=st.integers(2015, 2030), month=st.integers(1, 12), size=st.integers(5, 40))
def test_composites_labelled_with_either_end_go_to_their_centres(kind, label, year, month, size):
    first = pd.date_range(f"{year}-{month:02d}-01", periods=size + 1, freq="MS")
    later = {"months": (0,), "dekads": (0, 10, 20), "half-months": (0, 15)}[kind]
    first = pd.DatetimeIndex(sorted(d + pd.Timedelta(days=k) for d in first for k in later))
    first, after = first[:size], first[1 : size + 1]
    dated = LABELS[label](first, after)
    one = xr.Dataset({"VV": (DIMS, np.zeros((size, 1, 1)))}, {"t": dated.to_numpy()})
    made, findings = tidy_dates(one)
    np.testing.assert_array_equal(made.t, (first + (after - first) / 2).to_numpy())
    what = f"t was the {' '.join(label.split()[-2:])} of {kind}: moved to their centres"
    assert [finding.what for finding in findings] == [what]
    again, findings = tidy_dates(made)
    np.testing.assert_array_equal(again.t, made.t)
    assert findings == []


@pytest.mark.parametrize(
    ("kind", "days"), [("months", [15]), ("months", [16]), ("dekads", [5, 15, 25])]
)
def test_middles_of_composites_are_within_a_day_of_the_centre(kind, days):
    first = pd.date_range("2023-01-01", periods=8, freq="MS")
    t = pd.DatetimeIndex([d.replace(day=k) for d in first for k in days])
    of = periods(t)
    assert (of.kind, of.label) == (kind, "middle day")
    assert np.abs(of.centre - t).max() <= pd.Timedelta(days=1.5)
    length = np.diff([*of.centre, of.centre[-1]])[:-1] / DAY
    assert length.min() >= 8
    # three dates ten days apart may be so by chance
    assert periods(pd.DatetimeIndex(["2023-01-05", "2023-01-15", "2023-01-25"])).label == ""


@pytest.mark.parametrize(
    "days",
    [
        # acquisitions five days apart, three of them cloudy
        ["2022-01-01", "2022-01-16", "2022-01-31", "2022-02-15", "2022-03-02"],
        # in one month, and one of the two days once
        ["2022-01-01", "2022-01-16", "2022-02-01"],
        ["2022-01-01", "2022-02-01", "2022-03-01", "2022-03-16"],
        ["2022-01-15", "2022-01-31", "2022-02-15", "2022-02-27"],
    ],
)
def test_days_that_may_be_those_of_acquisitions_are_no_half_months(days):
    assert periods(pd.DatetimeIndex(days)).label == ""


def test_a_half_month_left_out():
    t = [f"2022-{m:02d}-{d:02d}" for m in range(1, 5) for d in (1, 16)]
    ds = scene(np.arange(7)).assign_coords(t=pd.DatetimeIndex(t).delete(3).to_numpy())
    made = cube.open_cube(ds)
    assert made.sizes["t"] == 8
    assert made.VV[3].isnull().all()
    assert str(made.t.values[0])[:13] == "2022-01-08T12"
    assert "1 half-months left out of the file are missing" in made.attrs["s1jax_repairs"]


def test_a_month_left_out_among_last_days():
    t = pd.date_range("2023-01-31", periods=6, freq="ME").delete(2)
    ds = scene(np.arange(5)).assign_coords(t=t.to_numpy())
    made = cube.open_cube(ds)
    assert made.sizes["t"] == 6
    assert made.VV[2].isnull().all()
    assert "missing on their dates: 2023-03-31" in made.attrs["s1jax_repairs"]


def test_a_few_powers_below_0_are_missing_and_many_are_refused():
    ds = power(scene(np.arange(0, 360, 12)))
    for declared in (True, False):
        few = ds.copy(deep=True)
        few.VH.values[3, 0, 0] = few.VH.values[9, 2, :2] = -1e-4
        few = few if declared else few.assign({n: few[n].drop_attrs() for n in ("VV", "VH")})
        made = cube.open_cube(few)
        np.testing.assert_array_equal(made.VH.isnull(), few.VH < 0)
        assert "VH: 3 powers not above 0 are missing" in made.attrs["s1jax_repairs"]
        # on one date of a small cube they are more than 5 %, and no dB
        few.VH.values[11, 0, :] = -2e-4
        assert cube.open_cube(few).VH[11, 0].isnull().all()
    few.VH.values[:, 3, :3] = -1e-4
    with pytest.raises(ValueError, match=r"VH: got values in .*% negative, expected linear power"):
        cube.open_cube(_put(few, "VH", few.VH.values, units="1"))


@pytest.mark.parametrize("together", [True, False])
def test_zeros_of_both_polarisations_are_beyond_the_swath(together):
    ds = own_days() if not together else scene()
    for name in ("VV", "VH"):
        ds[name].values[0, :, :2] = 0.0
    ds.VV.values[2, 0, 0] = 0.0  # alone it is a city
    made = cube.open_cube(ds)
    assert made.VV[0, :, :2].isnull().all()
    assert made.VH[0, :, :2].isnull().all()
    assert made.VV[0, :, 2:].notnull().all()
    np.testing.assert_array_equal(made.S2ndvi, ds.S2ndvi)
    assert "VV, VH: 12 pixels x days are exactly 0 in both" in made.attrs["s1jax_repairs"]
    apart = cube.open_cube([ds[["VV", "VH"]], ds[["S2ndvi"]]])
    np.testing.assert_array_equal(apart.VV, made.VV)
    if together:
        assert made.VV[2, 0, 0] == 0


NDVI = {
    "K": (lambda v: v, "S2ndvi: units: got 'K', expected '1'"),
    "percent": (lambda v: v, "S2ndvi: got .* declared as 'percent', expected NDVI x 100"),
    "1": (lambda v: v * 100, "in percent"),
    "ndvi": (lambda v: 100 + v * 127, "in bytes"),
    "": (lambda v: v * 10_000, "scaled by 1e4"),
}


@pytest.mark.parametrize("units", NDVI)
def test_ndvi_of_another_scale_or_unit(units):
    change, words = NDVI[units]
    ds = scene()
    with pytest.raises(ValueError, match=words):
        cube.open_cube(_put(ds, "S2ndvi", change(ds.S2ndvi.values), units=units))


def test_ndvi_in_percent_as_declared():
    ds = scene()
    made = cube.open_cube(_put(ds, "S2ndvi", 100 * ds.S2ndvi.values, units="%"), repair=False)
    np.testing.assert_allclose(made.S2ndvi, ds.S2ndvi, atol=1e-6)
    assert made.S2ndvi.units == "1"
    whole = np.round(ds.S2ndvi.fillna(0).values).astype(np.int8)
    with pytest.raises(ValueError, match=r"S2ndvi: got whole numbers in \[0, 1\]"):
        cube.open_cube(_put(ds, "S2ndvi", whole))
