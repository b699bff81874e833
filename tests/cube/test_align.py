"""Composites of any window and statistic, and Sentinel-1 paired with the days of Sentinel-2."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from s1jax import cube

START = pd.Timestamp("2024-03-01")
DAYS = np.array([0, 1, 5, 11, 12, 20, 26, 30, 41])
TRACK = np.array([3, 7, 0, 3, 0, 7, 0, 3, 0])


def _acquisitions(seed=0):
    """Two tracks and, on their days off, Sentinel-2; some values are missing."""
    rng = np.random.default_rng(seed)
    shape = (DAYS.size, 3, 4)
    radar = (TRACK > 0)[:, None, None]
    seen = rng.random((2, *shape)) < 0.8
    ds = xr.Dataset(
        {
            "VV": (("t", "y", "x"), np.where(radar & seen[0], rng.normal(-11, 2, shape), np.nan)),
            "VH": (("t", "y", "x"), np.where(radar & seen[0], rng.normal(-18, 2, shape), np.nan)),
            "S2ndvi": (("t", "y", "x"), np.where(~radar & seen[1], rng.random(shape), np.nan)),
        },
        {
            "t": START + pd.to_timedelta(DAYS, "D"),
            "y": 9_230_000.0 - 10 * np.arange(3),
            "x": 460_000.0 + 10 * np.arange(4),
            "s1_track": ("t", TRACK),
        },
        {"crs": "EPSG:32749"},
    )
    for name in ("VV", "VH"):
        ds[name].attrs["units"] = "dB"
    return cube.open_cube(ds)


def _expected(ds, name, track, inside, statistic):
    rows = inside & ((track == TRACK) if track else np.ones(DAYS.size, bool))
    value = ds[name].values[rows].astype(float)
    out = np.full(value.shape[1:], np.nan)
    for place in np.ndindex(out.shape):
        x = value[(slice(None), *place)]
        x = x[np.isfinite(x)]
        if x.size:
            out[place] = {
                "mean_db": lambda x: 10 * np.log10(np.mean(10 ** (x / 10))),
                "median": np.median,
                "mean": np.mean,
                "max": np.max,
            }[statistic](x)
    return out


@pytest.mark.parametrize(
    ("radar", "ndvi", "window"),
    [("mean_db", "median", None), ("median", "max", 12.0), ("mean_db", "mean", 30.0)],
)
def test_composites_are_those_of_the_loop(radar, ndvi, window):
    ds = _acquisitions()
    made = cube.align_cube(ds, window=window, radar=radar, ndvi=ndvi)
    centre = 6.0 + 12.0 * np.arange(4)
    np.testing.assert_array_equal(made.t.values, (START + pd.to_timedelta(centre, "D")).values)
    for k, at in enumerate(centre):
        if window is None:
            inside = (at - 6 <= DAYS) & (at + 6 > DAYS)
        else:
            inside = np.abs(DAYS - at) <= window / 2
        pairs = (("VV", "VV", 3), ("VV_2", "VV", 7), ("VH_2", "VH", 7))
        for name, of, track in pairs:
            expected = _expected(ds, of, track, inside, radar)
            np.testing.assert_allclose(made[name].values[k], expected, atol=1e-4)
        expected = _expected(ds, "S2ndvi", None, inside, ndvi)
        np.testing.assert_allclose(made.S2ndvi.values[k], expected, atol=1e-6)
        optical = np.isfinite(ds.S2ndvi.values) & inside[:, None, None]
        if optical.any():
            # the mean over pixels of the mean day of each
            day = np.where(optical, DAYS[:, None, None], 0).sum(0) / np.maximum(optical.sum(0), 1)
            mean = day[optical.any(0)].mean()
            got = (made.s2_day.values[k] - START.to_datetime64()) / np.timedelta64(1, "D")
            assert got == pytest.approx(mean, abs=1e-3)


def test_pairs_are_radar_near_the_days_of_sentinel_2(caplog):
    ds = _acquisitions()
    with caplog.at_level("INFO", logger="s1jax"):
        made = cube.pair_cube(ds, within=4)
    days = np.array([5, 12, 26, 41])
    np.testing.assert_array_equal(made.t.values, (START + pd.to_timedelta(days, "D")).values)
    np.testing.assert_array_equal(made.S2ndvi, ds.S2ndvi.values[np.isin(DAYS, days)])
    for k, at in enumerate(days):
        inside = np.abs(DAYS - at) <= 4
        for name, of, track in (("VV", "VV", 3), ("VH", "VH", 3), ("VV_2", "VV", 7)):
            expected = _expected(ds, of, track, inside, "mean_db")
            np.testing.assert_allclose(made[name].values[k], expected, atol=1e-4)
    # day 0 is five days from the first Sentinel-2 day, day 20 six from the next
    assert "2 of 5 radar days are near none" in caplog.text
    assert np.isnat(made.s1_day.values[3])
    series, _ = cube.to_series(made)
    assert series.radar.shape[1:] == (4, 1, 4)
    assert series.ndvi.shape[1:] == (4,)


def test_composites_within_days_of_their_ndvi_are_those_of_the_loop():
    ds = _acquisitions()
    whole, made = cube.align_cube(ds), cube.align_cube(ds, within=4, radar="median")
    np.testing.assert_array_equal(made["S2ndvi"], whole["S2ndvi"])
    at = made["s2_day"].fillna(made["t"]).values
    left = 0
    for k, day in enumerate((at - START.to_datetime64()) / np.timedelta64(1, "D")):
        inside = np.abs(DAYS - day) <= 4
        for name, of, track in (("VV", "VV", 3), ("VV_2", "VV", 7), ("VH_2", "VH", 7)):
            expected = _expected(ds, of, track, inside, "median")
            np.testing.assert_allclose(made[name].values[k], expected, atol=1e-4)
            left += np.isfinite(whole[name].values[k]).sum() - np.isfinite(expected).sum()
    assert left > 0
    assert "Sentinel-1 within 4 days of its NDVI" in made.attrs["s1jax_repairs"]


def test_bad_windows_are_refused():
    ds = _acquisitions()
    with pytest.raises(ValueError, match="within: got -2 days"):
        cube.align_cube(ds, within=-2)
    with pytest.raises(ValueError, match="window: got 0, expected days > 0"):
        cube.align_cube(ds, window=0)
    with pytest.raises(ValueError, match="within: got -1 days"):
        cube.pair_cube(ds, within=-1)
    blind = ds.assign(S2ndvi=ds.S2ndvi * np.nan)
    with pytest.raises(ValueError, match="S2ndvi: got no date with a value"):
        cube.pair_cube(blind)
