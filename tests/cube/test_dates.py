"""The time axis: sorted, averaged, centred, completed; aligned to periods orbit by orbit."""

import jax
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from s1jax import cube


def _cube(dates, seed=0, **extra):
    rng = np.random.default_rng(seed)
    shape = (len(dates), 3, 4)
    vv = rng.normal(-10, 2, shape)
    return xr.Dataset(
        {
            "VV": (("t", "y", "x"), vv, {"units": "dB"}),
            "VH": (("t", "y", "x"), vv - 6 + rng.normal(0, 1, shape), {"units": "dB"}),
            "S2ndvi": (("t", "y", "x"), rng.uniform(0, 0.9, shape)),
            "block": (("y", "x"), np.arange(12).reshape(3, 4)),
        },
        coords={
            "t": pd.DatetimeIndex(dates).to_numpy().astype("datetime64[ns]"),
            "y": 100.0 * np.arange(3)[::-1],
            "x": 5000.0 + 100.0 * np.arange(4),
            **extra,
        },
    )


def test_months_and_dekads_move_to_their_centres_and_missing_ones_are_put_in():
    months = pd.date_range("2023-11-01", periods=6, freq="MS")
    made = cube.open_cube(_cube(months.delete(3)))
    centre = months + (months.shift(1) - months) / 2
    np.testing.assert_array_equal(made.t, centre.to_numpy())
    assert made.VV[3].isnull().all()
    assert (
        "1 months left out of the file are missing on their dates: 2024-02-01"
        in (made.attrs["s1jax_repairs"])
    )
    assert "first day of months: moved" in made.attrs["s1jax_repairs"]
    dekads = pd.DatetimeIndex(["2024-01-21", "2024-02-01", "2024-02-11", "2024-02-21"])
    made = cube.open_cube(_cube(dekads))
    expected = ["2024-01-26T12", "2024-02-06T00", "2024-02-16T00", "2024-02-25T12"]
    np.testing.assert_array_equal(made.t, np.array(expected, "M8[ns]"))
    # what has been centred stays where it is
    np.testing.assert_array_equal(cube.open_cube(made).t, made.t)


def test_acquisition_days_stay():
    dates = pd.to_datetime(["2024-01-01", "2024-01-06", "2024-01-08", "2024-01-13", "2024-01-14"])
    made = cube.open_cube(_cube(dates))
    np.testing.assert_array_equal(made.t, dates.to_numpy())
    assert "moved" not in made.attrs["s1jax_repairs"]


def test_a_period_left_out_is_put_in_with_whatever_rides_on_t():
    dates = pd.date_range("2024-01-07", periods=6, freq="12D").delete([2])
    ds = _cube(dates, s1_track=("t", [4] * 5)).assign(
        scenes=("t", np.arange(5)), orbit=("t", np.array(["asc"] * 5)), truth=_cube(dates).S2ndvi
    )
    made = cube.open_cube(ds)
    assert made.sizes["t"] == 6
    assert made.VV[2].isnull().all()
    assert made.s1_track.values.tolist() == [4, 4, 0, 4, 4, 4]
    assert made.orbit.values.tolist() == ["asc", "asc", "", "asc", "asc", "asc"]
    assert np.isnan(made.scenes[2])
    # regular and of one orbit: its own dates, and truth stays
    np.testing.assert_array_equal(cube.align_cube(made).truth[3], ds.truth[2])


def test_unsorted_dates_are_sorted_and_duplicates_averaged():
    dates = pd.to_datetime(["2024-01-14", "2024-01-03", "2024-01-14", "2024-01-20"])
    ds = _cube(dates)
    ds.S2ndvi.values[0, 0, 0] = np.nan
    made = cube.open_cube(ds)
    assert len(made.t) == 3
    power = (10 ** (ds.VV[0] / 10) + 10 ** (ds.VV[2] / 10)) / 2
    np.testing.assert_allclose(made.VV[1], 10 * np.log10(power), rtol=1e-5)
    expected = (ds.S2ndvi[0] + ds.S2ndvi[2]).values / 2
    expected[0, 0] = ds.S2ndvi[2, 0, 0]
    np.testing.assert_allclose(made.S2ndvi[1], expected, rtol=1e-6)
    np.testing.assert_allclose(made.VH[2], ds.VH[3], rtol=1e-6)
    assert "not ascending: sorted" in made.attrs["s1jax_repairs"]
    assert "1 duplicate dates averaged" in made.attrs["s1jax_repairs"]


def test_two_tracks_of_one_date_are_not_averaged():
    dates = pd.to_datetime(["2024-01-03", "2024-01-14", "2024-01-14", "2024-01-14", "2024-01-20"])
    ds = _cube(dates, s1_track=("t", [1, 0, 1, 2, 2]))
    ds.VV.values[1] = ds.VH.values[1] = np.nan
    ds.S2ndvi.values[2:4] = np.nan
    made = cube.open_cube(ds)
    assert made.s1_track.values.tolist() == [1, 1, 2, 2]
    np.testing.assert_allclose(made.VV[1:3], ds.VV[2:4], rtol=1e-6)
    np.testing.assert_allclose(made.S2ndvi[1], ds.S2ndvi[1], rtol=1e-6)
    assert "1 dates have two Sentinel-1 tracks: kept apart" in made.attrs["s1jax_repairs"]
    aligned = cube.align_cube(made)
    np.testing.assert_allclose(
        aligned.VV_2[0], 10 * np.log10(10 ** (ds.VV[3] / 10)), rtol=1e-5
    )  # fmt: skip


def test_align_keeps_regular_dates_and_composites_acquisitions():
    regular = cube.open_cube(_cube(pd.date_range("2024-01-07", periods=5, freq="12D")))
    aligned = cube.align_cube(regular)
    xr.testing.assert_identical(aligned.drop_vars(["s1_day", "s2_day"]), regular)
    np.testing.assert_array_equal(aligned.s1_day, regular.t)
    days = np.array([0, 1, 5, 11, 12, 20, 30])
    dates = pd.Timestamp("2024-03-01") + pd.to_timedelta(days, "D")
    ds = cube.open_cube(_cube(dates, s1_track=("t", [3, 7, 0, 3, 0, 7, 3])))
    ds = ds.assign(VV=ds.VV.where(ds.s1_track > 0), VH=ds.VH.where(ds.s1_track > 0))
    made = cube.align_cube(ds)
    assert cube.channels(made) == ["VV", "VH", "VV_2", "VH_2", "S2ndvi"]
    assert made.sizes == {"t": 3, "y": 3, "x": 4}
    np.testing.assert_array_equal(
        made.t, np.array(["2024-03-07", "2024-03-19", "2024-03-31"], "M8[ns]")
    )

    def _mean(name, rows):
        return 10 * np.log10((10 ** (ds[name].values[rows] / 10)).mean(axis=0))

    np.testing.assert_allclose(made.VV[0], _mean("VV", [0, 3]), rtol=1e-5)
    np.testing.assert_allclose(made.VH_2[1], _mean("VH", [5]), rtol=1e-5)
    np.testing.assert_allclose(made.S2ndvi[0], np.median(ds.S2ndvi.values[:4], axis=0), rtol=1e-5)
    np.testing.assert_allclose(made.S2ndvi[1], ds.S2ndvi.values[4:6].mean(axis=0), rtol=1e-5)
    assert made.VV[1].isnull().all()
    assert made.VV_2[2].isnull().all()
    first = pd.Timestamp("2024-03-01")
    # 0 and 11 of the first orbit, 1 of the second: the mean of the channels' mean days
    assert abs(made.s1_day.values[0] - (first + pd.Timedelta(days=3.25))) < pd.Timedelta("1min")
    assert abs(made.s2_day.values[0] - (first + pd.Timedelta(days=4.25))) < pd.Timedelta("1min")
    np.testing.assert_array_equal(made.block, ds.block)
    xr.testing.assert_identical(cube.align_cube(made), made)


def test_start_and_step_put_dated_planes_into_periods():
    dates = pd.date_range("2024-01-02", periods=8, freq="6D")
    ds = _cube(dates)
    made = cube.open_cube(ds, start="2024-01-01", step=24)
    np.testing.assert_array_equal(made.t, np.array(["2024-01-13", "2024-02-06"], "M8[ns]"))
    power = (10 ** (ds.VV.values[:4] / 10)).mean(axis=0)
    np.testing.assert_allclose(made.VV[0], 10 * np.log10(power), rtol=1e-5)
    assert "8 dates put into 2 periods of 24 days" in made.attrs["s1jax_repairs"]


def test_align_is_the_same_in_double_precision():
    days = np.cumsum([0, 1, 4, 9, 2, 2, 7])
    ds = _cube(pd.Timestamp("2024-03-01") + pd.to_timedelta(days, "D"))
    single = cube.align_cube(cube.open_cube(ds))
    with jax.enable_x64(True):
        double = cube.align_cube(cube.open_cube(ds))
    for name in cube.channels(single):
        np.testing.assert_allclose(single[name], double[name], rtol=1e-5)


REAL = {
    "mekong_rice_points_2022": ((116, 225, 1), (31, 225, 1), 5, 225),
    "mekong_rice_cube_a": ((116, 36, 140), (31, 36, 140), 5, 2567),
    "belgium_raw_cube_b_20m": ((140, 32, 32), (41, 32, 32), 3, 1024),
    "belgium_monthly_cube": ((20, 101, 101), (20, 101, 101), 3, 10201),
    "flanders_fields_dekad_2021": ((48, 50, 1), (48, 50, 1), 3, 50),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_cubes_open_align_and_convert(shared, name):
    raw, periods, channels, pixels = REAL[name]
    ds = cube.open_cube(shared / "data" / f"{name}.nc")
    assert tuple(ds.sizes[d] for d in "tyx") == raw
    aligned = cube.align_cube(ds)
    assert tuple(aligned.sizes[d] for d in "tyx") == periods
    series, pixel = cube.to_series(aligned)
    assert series.radar.shape == (pixels, periods[0], 1, channels - 1)
    assert series.radar_valid.shape == (pixels, periods[0], channels - 1)
    assert series.ndvi.shape == series.ndvi_valid.shape == (pixels, periods[0])
    assert pixel.shape == (pixels,)
    assert series.position.shape == (pixels, 2)
    assert (np.diff(series.day) > 0).all()
    # nothing is lost and nothing invented: a period has NDVI where any of its days had
    assert series.ndvi_valid.any(axis=1).sum() == int(ds.S2ndvi.notnull().any("t").sum())
    assert aligned.attrs["source"] == ds.attrs["source"]


@pytest.mark.slow
def test_mekong_districts_and_distances(shared):
    ds = cube.open_cube(shared / "data" / "mekong_rice_points_2022.nc")
    series, pixel = cube.to_series(cube.align_cube(ds))
    north = cube.at_pixels(ds, "district", pixel) == "north"
    assert north.sum() == 150
    apart = series.position[north].mean(axis=0) - series.position[~north].mean(axis=0)
    assert 30_000 < np.hypot(*apart) < 120_000
    assert "first day" not in ds.attrs["s1jax_repairs"]
    # the two tracks of the source are the two orbits, and both see every point
    assert series.radar_valid.shape[-1] == 4
    assert series.radar_valid.any(axis=1).all()
