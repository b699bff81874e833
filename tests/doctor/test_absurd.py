"""The doctor on what cannot be: findings that name it, never another library's error."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from s1jax import doctor
from s1jax.doctor import radar
from tests.worlds.doctor import TODAY, plain


def _examined(ds, **options):
    return doctor.examine(ds, **{"today": TODAY, "rows": 0} | options)


def _named(found, *levels):
    return {f.name for f in found.findings if f.kind in (levels or ("fault", "warning"))}


def _radar(ds, change):
    """The cube with VV and VH changed, both in linear power of no declared unit."""
    power = {n: change(10 ** (ds[n] / 10)).drop_attrs() for n in ("VV", "VH")}
    return ds.assign({n: value.astype(np.float32) for n, value in power.items()})


def test_amplitude_and_power_squared_are_asked_about():
    ds = plain()
    assert _named(_examined(_radar(ds, lambda power: power))) == set()
    for change, words in ((np.sqrt, "amplitude"), (np.square, "square of power")):
        (level,) = [f for f in _examined(_radar(ds, change)).findings if f.name == "radar-level"]
        assert level.kind == "warning"
        assert words in level.what
        assert "dB apart" in level.evidence


@settings(max_examples=40, deadline=None)
@given(vv=st.floats(-20, -6), apart=st.floats(5.6, 11.5), seed=st.integers(0, 99))
def test_levels_of_land_are_not_asked_about(vv, apart, seed):
    rng = np.random.default_rng(seed)
    vv_db, vh_db = (rng.normal(mean, 1e-3, (8, 20)) for mean in (vv, vv - apart))
    assert radar.level("VV", vv_db, vh_db) is None
    # half as many decibels are those of the root
    found = radar.level("VV", vv_db / 2, vh_db / 2)
    assert (found is not None) == (vv - apart > -25 and apart < 11)


@pytest.mark.parametrize("suffix", ["", "_2"])
@settings(max_examples=40, deadline=None)
@given(vv=st.floats(-13.5, -8.5), apart=st.floats(6.0, 8.5), seed=st.integers(0, 99))
def test_one_polarisation_alone_is_asked_about(suffix, vv, apart, seed):
    rng = np.random.default_rng(seed)
    vv_db, vh_db = (rng.normal(mean, 1e-3, (8, 20)) for mean in (vv, vv - apart))
    root, name = radar.level(f"VV{suffix}", vv_db / 2, vh_db), f"VH{suffix}"
    if vv / 2 + apart - vv > 11.7:
        assert root is not None
    if root is not None:
        assert root.what.startswith(f"The level of VV{suffix} alone")
        assert "amplitude" in root.what
    (root, square) = (radar.level(f"VV{suffix}", vv_db, vh_db * times) for times in (0.5, 2))
    assert root.what.startswith(f"The level of {name} alone")
    assert "amplitude" in root.what
    assert square.what.startswith(f"The level of {name} alone")
    assert "square of power" in square.what


def test_amplitude_in_vv_alone_is_a_finding_of_a_whole_cube():
    ds = plain()
    found = _examined(ds.assign(VV=(ds.VV / 2).assign_attrs(units="dB")))
    (level,) = [f for f in found.findings if f.name == "radar-level"]
    assert "VV alone" in level.what


def test_ndvi_below_0_everywhere_is_a_warning_and_no_traceback():
    ds = plain()
    found = _examined(ds.assign(S2ndvi=(-ds.S2ndvi).assign_attrs(units="1")), rows=500)
    assert "ndvi-negative" in _named(found, "warning")


def test_sensors_that_are_never_at_one_pixel():
    ds = plain()
    west = ds.x < ds.x[10]
    other = ds.assign(S2ndvi=ds.S2ndvi.where(~west), VV=ds.VV.where(west), VH=ds.VH.where(west))
    (found,) = [f for f in _examined(other).findings if f.name == "never-together"]
    assert found.kind == "fault"
    assert "both at 0" in found.evidence


def test_zeros_of_both_polarisations_where_ndvi_is():
    ds = plain()
    for name in ("VV", "VH"):
        ds[name].values[10:14, :, :3] = 0.0
    ds.S2ndvi.values[10:14, :, :3] = 0.5
    found = _examined(ds)
    assert _named(found) == {"zero-pair"}
    (pair,) = [f for f in found.findings if f.name == "zero-pair"]
    assert pair.repaired
    assert f"{4 * 20 * 3:,} pixels x days" in pair.evidence


def test_values_outside_of_a_declared_range():
    ds = plain()
    ds.S2ndvi.values[3, 2:4, 5:9] = 0.99
    ds.S2ndvi.attrs["valid_max"] = 0.98
    found = _examined(ds)
    assert _named(found) == {"outside-range"}
    assert found.findings[0].repaired


def test_last_days_of_months():
    t = pd.date_range("2023-11-30", periods=52, freq="ME").to_numpy()
    found = _examined(plain().assign_coords(t=t), today="2029-01-01")
    (ends,) = [f for f in found.findings if f.name == "period-ends"]
    assert ends.repaired
    assert "last days of months" in ends.where


def test_a_relative_axis_has_no_future_no_past_and_no_months():
    ds = plain()
    for years in (-60, 60):
        moved = ds.assign_coords(t=ds.t.values + years * np.timedelta64(365, "D"))
        assert _named(_examined(moved)) & {"refused", "future-dates"}
        found = _examined(moved.assign_attrs(time_axis="relative"))
        assert _named(found) == set()
        assert {"relative-axis"} <= _named(found, "note")
        assert "label-balance" not in _named(found, "note")
        assert found.facts.balance.count.sum() == 0
    first = ds.assign_coords(t=pd.date_range("2023-01-01", periods=52, freq="MS").to_numpy())
    relative = first.assign_attrs(time_axis="relative")
    assert "period-starts" in _named(_examined(first, today="2030-01-01"))
    assert "period-starts" not in _named(_examined(relative, today="2030-01-01"))


def test_the_weights_are_said_to_know_simulated_rice_alone():
    (note,) = [f for f in _examined(plain()).findings if f.name == "shipped-weights"]
    assert "simulated rice alone" in note.what


@pytest.mark.parametrize("today", ["01-11-2023", "2023", np.datetime64("NaT")])
def test_a_today_that_is_no_date(today):
    with pytest.raises(ValueError, match="today: got"):
        _examined(plain(), today=today)


WRECKS = {
    "nothing": lambda ds: ds.map(lambda v: v * np.float32(np.nan), keep_attrs=True),
    "one date": lambda ds: ds.isel(t=[4]),
    "one pixel": lambda ds: ds.isel(y=[4], x=[5]),
    "no rows": lambda ds: ds.isel(y=[]),
    "no dates": lambda ds: ds.isel(t=[]),
    "all dates one": lambda ds: ds.assign_coords(t=np.full(52, ds.t.values[0])),
    "all NaT": lambda ds: ds.assign_coords(t=np.full(52, np.datetime64("NaT", "ns"))),
    "within a second": lambda ds: ds.assign_coords(t=ds.t.values[0] + np.arange(52)),
    "huge": lambda ds: ds.assign(VV=ds.VV.astype(float) * 1e300),
    "tiny": lambda ds: ds.assign(S2ndvi=ds.S2ndvi * np.float32(1e-30)),
    "all one value": lambda ds: ds.map(lambda v: v * np.float32(0) + 1, keep_attrs=True),
    "infinite": lambda ds: ds.assign(VH=ds.VH * np.float32(np.inf)),
    "text": lambda ds: ds.assign(VV=ds.VV.astype(str)),
    "objects": lambda ds: ds.assign(S2ndvi=ds.S2ndvi.astype(object)),
    "mixed objects": lambda ds: ds.assign_attrs(s1jax_repairs=[1, None], crs="EPSG:32749"),
    "track on pixels": lambda ds: ds.assign(s1_track=("y", np.arange(20))),
    "track infinite": lambda ds: ds.assign(s1_track=("t", np.full(52, np.inf))),
    "block of text": lambda ds: ds.assign(block=("y", np.array([""] * 19 + ["a"]))),
    "days of text": lambda ds: ds.assign_coords(s1_day=("t", ["a"] * 52), s2_day=("t", ["b"] * 52)),
    "bounds of text": lambda ds: ds.assign(t_bnds=(("t", "nv"), np.full((52, 2), "x"))),
    "period_start of text": lambda ds: ds.assign(
        period_start=("t", ["x"] * 52), period_end=("t", ["y"] * 52)
    ),
    "lat beyond": lambda ds: ds.assign_coords(y=999 + np.arange(20.0)).assign_attrs(
        crs="EPSG:4326"
    ),
}


@pytest.mark.parametrize("how", WRECKS)
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_wrecks_end_in_findings(how):
    found = _examined(WRECKS[how](plain()), rows=300)
    assert found.findings
    quiet = {"mixed objects", "block of text", "one date", "one pixel", "tiny"}
    assert bool(_named(found)) or how in quiet, found.findings


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_whatever_is_mutated_ends_in_findings_or_words(data):
    ds = plain().isel(y=slice(0, 8), x=slice(0, 6))
    name = data.draw(st.sampled_from(["VV", "VH", "S2ndvi"]))
    value = data.draw(st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -9999.0, 1e20, 255.0, 1e-30]))
    share = data.draw(st.sampled_from([0.02, 0.5, 1.0]))
    keys = ["units", "nodata", "valid_range", "scale_factor", "add_offset"]
    key = data.draw(st.sampled_from(keys))
    attribute = data.draw(st.sampled_from(["K", "dB", "", None, 0, -1.5, np.nan, [1, 2], {"a": 1}]))
    gone = np.random.default_rng(0).random(ds[name].shape) < share
    values = np.where(gone, np.float32(value), ds[name].values)
    made = ds.assign({name: (ds[name].dims, values, ds[name].attrs | {key: attribute})})
    found = _examined(made)
    assert isinstance(found.findings[0].evidence, str)


def test_findings_of_a_cube_across_files_are_of_arrays():
    ds = plain()
    parts = [ds[["VV", "VH"]], xr.Dataset({"S2ndvi": ds.S2ndvi})]
    assert _named(_examined(parts)) == set()
