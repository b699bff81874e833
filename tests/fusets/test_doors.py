"""The drop-in: periods, fills, empty pixels, chunks, and what it refuses."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from s1jax import gp
from s1jax.fusets.dataset import dates
from s1jax.fusets.mogpr import MOGPRTransformer, evenly, fit_scales, mogpr, mogpr_1D
from s1jax.quality import IMPLAUSIBLE, NO_DATA, REGION_SCALE
from tests.worlds.fusets import HYPER, NAMES, cube, same

ALL = {
    "include_uncertainties": True,
    "include_raw_inputs": True,
    "include_quality": True,
    "hyper": HYPER,
}


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        ("P5D", "2024-01-31 2024-02-05 2024-02-10"),
        ("5D", "2024-01-31 2024-02-05 2024-02-10"),
        ("P1W", "2024-01-31 2024-02-07 2024-02-14"),
        ("P1M", "2024-01-31 2024-02-29 2024-03-31"),
        ("P1Y", "2024-01-31 2025-01-31 2026-01-31"),
        ("P1M2D", "2024-01-31 2024-03-02 2024-04-04"),
        ("PT48H", "2024-01-31 2024-02-02 2024-02-04"),
        ("P1DT12H", "2024-01-31T00 2024-02-01T12 2024-02-03T00"),
    ],
)
def test_periods_are_read_as_iso_8601_has_them(period, expected):
    expected = np.array(expected.split(), "datetime64[ns]")
    found = dates(expected[0], np.datetime64("2026-02-01"), period)
    np.testing.assert_array_equal(found[:3], expected)
    assert dates(expected[0], expected[2], period)[-1] == expected[2]


@pytest.mark.parametrize("period", ["", "P", "PT", "P0D", "PT1M", "PT23H", "P1.5D", "1M2D", "12"])
def test_bad_periods_say_what_is_accepted(period):
    with pytest.raises(ValueError, match=r"prediction_period: got .* expected .*P5D"):
        mogpr(cube()[0], prediction_period=period, hyper=HYPER)


def _spoilt(ds, bad):
    out = ds.copy(deep=True)
    for k, value in enumerate(bad):
        out["VV"].values[k, k % 3, k % 4] = value
    return out


def test_fills_are_missing_counted_and_told(caplog):
    ds, _ = cube()
    bad = [np.inf, -np.inf, -9999.0, -32768.0, 9.96921e36, -1e30, 99.0]
    spoilt = _spoilt(ds, bad)
    spoilt["VV"].attrs["_FillValue"] = np.float32(99.0)
    with caplog.at_level(logging.WARNING, logger="s1jax"):
        out = mogpr(spoilt, **ALL)
    assert "VV: 7 infinite or fill values" in caplog.text
    assert out["VV_FUSED"].attrs["s1jax_dropped"] == 7
    assert out["VH_FUSED"].attrs["s1jax_dropped"] == 0
    assert "_FillValue" not in out["VV_FUSED"].attrs
    clean = mogpr(_spoilt(ds, [np.nan] * 7), **ALL)
    same(out.drop_vars("QUALITY"), clean.drop_vars("QUALITY"))
    touched = np.zeros((3, 4), bool)
    touched[[k % 3 for k in range(7)], [k % 4 for k in range(7)]] = True
    np.testing.assert_array_equal(out["QUALITY"] & IMPLAUSIBLE == IMPLAUSIBLE, touched)


def test_a_fill_in_packed_units_is_no_value_of_the_variable():
    ds, _ = cube()
    ds["VV"].values[3, 1, 1] = 0.0
    ds["VV"].encoding = {"_FillValue": 0, "scale_factor": 0.1}
    assert mogpr(ds, **ALL)["VV_FUSED"].attrs["s1jax_dropped"] == 0
    ds["VV"].encoding = {"_FillValue": 0.0}
    assert mogpr(ds, **ALL)["VV_FUSED"].attrs["s1jax_dropped"] == 1


def test_empty_variables_and_pixels_are_nan_and_flagged():
    ds, _ = cube()
    ds["S2ndvi"].values[:, 0, 0] = np.nan
    for name in NAMES:
        ds[name].values[:, 1, 1] = np.nan
    ds["VH"].values[4:, 2, 2] = np.nan
    ds["VV"].values[:, 2, 0] = -12.0
    out = mogpr(ds, **ALL)
    assert np.isnan(out["S2ndvi_FUSED"][:, 0, 0]).all()
    assert np.isfinite(out[["VV_FUSED", "VH_FUSED", "VV_STD"]].to_array()[:, :, 0, 0]).all()
    assert np.isnan(out.drop_vars("QUALITY").to_array()[:, :, 1, 1]).all()
    assert np.isfinite(out["VH_FUSED"][:, 2, 2]).all()
    quality = out["QUALITY"].values
    flags = out["QUALITY"].attrs
    mask = dict(zip(flags["flag_meanings"].split(), flags["flag_masks"].tolist(), strict=True))
    empty = mask["variable_without_observation"]
    assert quality[0, 0] == empty
    assert quality[1, 1] == empty | mask["no_data"] == empty | NO_DATA
    assert quality[2, 2] == quality[2, 0] == mask["region_scale"] == REGION_SCALE
    few = [(ds[n].count("t") < 5).values & (ds[n].count("t") > 0).values for n in NAMES]
    expected = np.where(np.logical_or.reduce(few), REGION_SCALE, 0)
    quality[[0, 1, 2], [0, 1, 0]] = expected[[0, 1, 2], [0, 1, 0]] = 0
    np.testing.assert_array_equal(quality, expected)


def test_no_data_at_all_is_nan(caplog):
    ds, _ = cube()
    with caplog.at_level(logging.WARNING, logger="s1jax"):
        out = mogpr(ds.where(ds["x"] < 0), latents=1)
    assert np.isnan(out.to_array()).all()
    assert "nothing is fitted" in caplog.text


def test_identical_pixels_whatever_their_neighbours():
    ds, _ = cube()
    whole = mogpr(ds, **ALL)
    turned = ds.isel(x=[2, 0, 2, 1], y=[1, 2, 1])
    fitted = MOGPRTransformer(**ALL).fit(ds)
    again = fitted.transform(turned)
    same(again, whole.isel(x=[2, 0, 2, 1], y=[1, 2, 1]))
    same(fitted.transform(ds.isel(x=[3], y=[2])), whole.isel(x=[3], y=[2]))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"prediction_period": "P5D", "hyper": "region"}])
def test_chunks_stay_lazy_and_change_no_bit(options):
    ds, _ = cube(6, 6)
    options = {**ALL, "latents": 1, **options}
    lazy = mogpr(ds.chunk(t=5, y=2, x=3), **options)
    assert all(v.chunks is not None for v in lazy.data_vars.values())
    same(lazy, mogpr(ds, **options))


def test_a_region_is_learnt_from_an_even_sample():
    np.testing.assert_array_equal(evenly(5, 9), np.arange(5))
    assert set(np.diff(evenly(1000, 100))) <= {10, 11}
    value = np.random.default_rng(0).normal(size=(50, 12, 2))
    value[3, 4, 0] = 1e20
    params = fit_scales(12.0 * np.arange(12), value, latents=1, optimize=False)
    np.testing.assert_allclose(params.region_std, 1.0, atol=0.1)
    np.testing.assert_array_equal(params.hyper.lengthscale, gp.initial(1, 2).lengthscale)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hyper": "tile"}, "hyper: got 'tile'"),
        ({"hyper": HYPER, "variables": ["VV"]}, "hyper: got 3 outputs, expected 1"),
        ({"solver": "gpu"}, "solver: got 'gpu'"),
        ({"latents": 0}, "latents: got 0"),
        ({"method": "svgp"}, "method: got 'svgp'"),
        ({"n_inducing": 9}, "n_inducing: got 9, expected method='sparse'"),
        ({"method": "sparse", "n_inducing": 1}, "n_inducing: got 1"),
        ({"method": "sparse", "solver": "dense"}, "solver: got 'dense'"),
        ({"hyper": "pixel", "optimize": False}, "optimize: got False"),
        ({"compat": "gpy"}, "compat: got 'gpy'"),
        ({"compat": "fusets", "latents": 1}, "compat: got 'fusets' with another"),
        ({"variables": ["NDVI"]}, "variables: got 'NDVI', expected some of .*S2ndvi"),
        ({"variables": []}, "variables: got"),
        ({"variables": ["VV", "VV"]}, "variables: got"),
        ({"variables": ["flat"]}, "flat: got .* expected real numbers"),
        ({"variables": ["flag"]}, "flag: got bool"),
    ],
)
def test_what_cannot_be_is_refused_by_name(options, said):
    ds, _ = cube()
    ds = ds.assign(flat=(("y", "x"), np.ones((3, 4))), flag=ds["VV"] > 0)
    with pytest.raises(ValueError, match=said):
        mogpr(ds, **options)


def test_time_must_be_dates():
    ds, _ = cube()
    with pytest.raises(ValueError, match=r"time_dimension: got 't'.*datetime64"):
        mogpr(ds.assign_coords(t=np.arange(16)), hyper=HYPER)
    with pytest.raises(ValueError, match="NaT"):
        mogpr(ds.assign_coords(t=ds["t"].where(ds["t"] > ds["t"][0])), hyper=HYPER)
    two = ds.rename(y="date").assign_coords(date=ds["t"].values[:3])
    with pytest.raises(ValueError, match="time_dimension: got 'time'"):
        mogpr(two, time_dimension="time", hyper=HYPER)
    assert mogpr(two, hyper=HYPER)["VV_FUSED"].dims == ("t", "date", "x")


def test_unknown_keywords_list_the_valid_ones():
    ds, _ = cube()
    valid = "got unknown keyword.s. lmbd; valid are .*variables, .*include_raw_inputs, .*hyper"
    with pytest.raises(TypeError, match=f"mogpr.*{valid}"):
        mogpr(ds, lmbd=1)
    with pytest.raises(TypeError, match=f"MOGPRTransformer.*{valid}"):
        MOGPRTransformer(lmbd=1)
    with pytest.raises(TypeError, match=f"fit_transform.*{valid}"):
        MOGPRTransformer().fit_transform(ds, lmbd=1)
    with pytest.raises(ValueError, match=r"transform: got no fit"):
        MOGPRTransformer(hyper=HYPER).transform(ds)
    fitted = MOGPRTransformer(hyper=HYPER).fit(ds)
    with pytest.raises(ValueError, match=r"fitted on \('VV', 'VH', 'S2ndvi'\)"):
        fitted.transform(ds[NAMES[::-1]])


_NUMBERS = st.sampled_from(
    [np.nan, 0.3, 0.31, 0.5, 0.2, -9999.0, np.inf, -np.inf, 1e9, -1e9, 1e29, 3e38]
)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(st.lists(st.lists(_NUMBERS, min_size=8, max_size=8), min_size=25, max_size=25), st.data())
def test_absurd_pixels_are_finite_or_flagged(rows, data):
    t = np.datetime64("2024-01-01") + np.array([0, 5, 5, 17, 40, 41, 90, 400]) * np.timedelta64(
        1, "D"
    )
    value = np.array(rows, np.float32).reshape(8, 25).T
    other = np.roll(value, data.draw(st.integers(1, 7)), axis=1)
    arrays = {"a": (("field", "t"), value), "b": (("field", "t"), other)}
    ds = xr.Dataset(arrays, {"t": t.astype("datetime64[ns]")})
    out = mogpr(ds, include_uncertainties=True, include_quality=True, latents=1, optimize=False)
    for name, given_ in (("a", value), ("b", other)):
        seen = (np.isfinite(given_) & (np.abs(given_) < 1e30) & (given_ != -9999)).any(axis=1)
        fused, std = out[f"{name}_FUSED"].values, out[f"{name}_STD"].values
        assert (np.isfinite(fused) == seen[:, None]).all()
        assert (std[seen] > 0).all()
        assert (out["QUALITY"].values[~seen] & 16 == 16).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"compat": "fusets", "nt": 2}, "compat: got 'fusets' with nt or trained_model"),
        ({"hyper": HYPER, "latents": 2}, "latents: got 2 beside hyper, expected its 1"),
    ],
)
def test_one_pixel_refuses_what_contradicts(options, said):
    days = 12.0 * np.arange(8)
    with pytest.raises(ValueError, match=said):
        mogpr_1D([np.ones(8)] * 3, [days] * 3, 2, days, **options)


def test_one_pixel_by_any_solver():
    days = 12.0 * np.arange(8)
    data = list(np.random.default_rng(0).normal(size=(3, 8)))
    told = [mogpr_1D(data, [days] * 3, 2, days, hyper=HYPER, solver=s)[0] for s in gp.SOLVERS]
    for other in told[1:]:
        np.testing.assert_allclose(other, told[0], atol=1e-4)


SENT = """
import pickle
import cloudpickle
from tests.worlds.fusets import HYPER, cube
from s1jax.fusets.mogpr import mogpr
lazy = mogpr(cube(4, 4)[0].chunk({"t": -1, "y": 2}), hyper=HYPER)
assert pickle.loads(cloudpickle.dumps(lazy)).compute().equals(lazy.compute())
"""


@pytest.mark.slow
def test_a_lazy_result_can_be_sent_to_another_process():
    # in a process of its own: what the checks of shapes wrap cannot be pickled
    folder = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", SENT], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
