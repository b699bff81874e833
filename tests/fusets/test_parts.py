"""Parts of the drop-in: samples, scales, fills, keywords, rows of one pixel."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from s1jax import mogpr as room
from s1jax.fusets import compat
from s1jax.fusets.dataset import CANDIDATES, cleaned, fills, opened, sample
from s1jax.fusets.mogpr import (
    MOGPRTransformer,
    _relative,
    _rows,
    fit_scales,
    listing,
    mogpr,
    mogpr_1D,
    moments,
)
from s1jax.mogpr.config import Curve
from tests.worlds.fusets import HYPER, cube


def test_signatures_begin_as_fusets_has_them():
    names = list(inspect.signature(mogpr).parameters)
    assert names[:6] == [
        "array", "variables", "time_dimension", "prediction_period", "include_uncertainties",
        "include_raw_inputs",
    ]  # fmt: skip
    assert list(inspect.signature(mogpr_1D).parameters)[:6] == [
        "data_in", "time_in", "master_ind", "output_timevec", "nt", "trained_model",
    ]  # fmt: skip
    assert list(inspect.signature(MOGPRTransformer).parameters) == names[1:]
    for name, parameter in inspect.signature(mogpr).parameters.items():
        if name != "array":
            assert parameter.default == getattr(MOGPRTransformer(), name)


def test_listing_changes_nothing_but_the_message():
    @listing
    def _sum(a, *, b=1):
        """Sum."""
        return a + b

    assert (_sum(1), _sum(1, b=2), _sum(a=3), _sum.__doc__) == (2, 3, 4, "Sum.")
    with pytest.raises(TypeError, match="c, d; valid are a, b"):
        _sum(1, c=2, d=3)


def test_cleaned_counts_by_pixel():
    value = np.array([[1.0, -9999.0, np.nan], [np.inf, 2.0, 255.0]])
    found, count = cleaned(value, [255.0])
    np.testing.assert_array_equal(found, [[1.0, np.nan, np.nan], [np.nan, 2.0, np.nan]])
    np.testing.assert_array_equal(count, [1, 2])
    # a fill written in single precision
    rounded = np.full((1, 1), -3.4, np.float32)
    assert cleaned(rounded, [-3.4])[1] == 1
    assert cleaned(np.array([[-32768, 3]], np.int16), [])[1] == 1
    variable = xr.Variable("t", [1.0], {"nodata": 0}, {"_FillValue": np.nan, "missing_value": -1})
    assert fills(variable) == [-1.0, 0.0]


def test_moments_leave_out_the_absurd_and_need_no_data():
    rng = np.random.default_rng(0)
    value = rng.normal(5.0, 2.0, (40, 30, 4))
    value[0, 0, 0] = -1e12
    value[..., 1] = np.nan
    value[..., 2] = 7.0
    mean, std = moments(value)
    np.testing.assert_allclose(mean, [5.0, 0.0, 7.0, 5.0], atol=0.3)
    np.testing.assert_allclose(std, [2.0, 1.0, 1.0, 2.0], atol=0.2)


def test_an_offset_costs_no_digit():
    rng = np.random.default_rng(0)
    value = 1e9 + rng.normal(size=(5, 9, 2))
    value[0, 0, 0] = np.nan
    params = fit_scales(12.0 * np.arange(9), value, optimize=False)
    found = _relative(params, value)
    assert found.dtype == np.float32
    expected = (value - params.region_mean) / params.region_std
    np.testing.assert_allclose(found, np.nan_to_num(expected), atol=1e-6)


def test_the_sample_is_the_same_in_chunks():
    rng = np.random.default_rng(0)
    value = rng.normal(size=(70, 80, 3)).astype(np.float32)
    value[rng.random((70, 80)) < 0.5] = np.nan
    t = np.array(["2024-03-01", "2024-01-01", "2024-02-01"], "datetime64[ns]")
    ds = xr.Dataset({"a": (("y", "x", "t"), value), "b": ("t", np.ones(3))}, {"t": t})
    day, found = sample(opened(ds, None, "t"))
    _, lazy = sample(opened(ds.chunk(y=32, x=17, t=2), None, "t"))
    np.testing.assert_array_equal(found, lazy)
    np.testing.assert_array_equal(np.diff(day), [31, 29])
    assert found.shape == (CANDIDATES, 3, 2)
    # all pixels of b are 1, so those without a are among them
    assert np.isnan(found[..., 0]).any(axis=1).sum() == pytest.approx(CANDIDATES / 2, rel=0.1)
    every = value[..., [1, 2, 0]].reshape(-1, 3)
    assert {row.tobytes() for row in found[..., 0].astype(np.float32)} <= {
        row.tobytes() for row in every
    }


def test_options_that_can_be():
    params = fit_scales(np.arange(5.0), np.ones((2, 5, 3)), HYPER)
    for options in (
        {},
        {"hyper": "pixel", "latents": 2},
        {"hyper": "region.npz"},
        {"hyper": HYPER, "optimize": False},
        {"compat": "fusets", "seed": 4},
    ):
        transformer = MOGPRTransformer(**options)
        transformer._check()
        assert transformer._solved(params).inducing is None
    assert MOGPRTransformer(method="sparse")._solved(params).inducing == 20
    assert MOGPRTransformer(method="sparse", n_inducing=7)._solved(params).inducing == 7
    assert MOGPRTransformer(solver="dense")._solved(params).solver == "dense"


def test_a_file_learnt_otherwise_is_refused(tmp_path):
    value = cube(2, 2)[0].to_array().values.reshape(3, 16, 4).transpose(2, 1, 0).astype(float)
    day = 12.0 * np.arange(16)
    params = fit_scales(day, value, HYPER)
    room.save(params, tmp_path / "good.npz")
    read = fit_scales(day, value, tmp_path / "good.npz")
    np.testing.assert_allclose(read.hyper.mixing, HYPER.mixing, rtol=1e-6)
    with pytest.raises(ValueError, match="hyper: got 3 outputs, expected 2"):
        fit_scales(day, value[..., :2], tmp_path / "good.npz")
    room.save(replace(params, inputs=((1, 0), (1, 1))), tmp_path / "smooth.npz")
    with pytest.raises(ValueError, match=r"channels \(\(1, 0\), \(1, 1\)\), expected those as"):
        fit_scales(day, value, tmp_path / "smooth.npz")
    curve = Curve(day, np.zeros((16, 3)))
    room.save(replace(params, curve=curve), tmp_path / "curve.npz")
    with pytest.raises(ValueError, match="fitted less a regional curve"):
        fit_scales(day, value, tmp_path / "curve.npz")


def test_rows_of_one_pixel():
    days = [np.array([3.0, 1.0, 3.0]), np.array([1.0, 2.0])]
    day, value = _rows([np.array([30.0, 10.0, 31.0]), np.array([-1.0, np.inf])], days)
    assert len(day) % 32 == 0
    np.testing.assert_array_equal(day[:5], [1, 2, 3, 3, 3])
    nan = np.nan
    np.testing.assert_array_equal(
        value[0, :5], [[10, -1], [nan, nan], [30, nan], [31, nan], [nan] * 2]
    )
    assert np.isnan(value[0, 5:]).all()


def test_compat_fuses_nothing_without_its_master_or_a_scale():
    value = np.random.default_rng(0).normal(size=(3, 6, 2))
    value[0, :, 0] = np.nan
    value[1, :, 1] = 4.0
    value[2] = np.nan
    found = compat.fuse(np.arange(6.0), value, None, seed=0)
    assert np.isnan(found.mean).all()
    assert np.isnan(found.std).all()
    np.testing.assert_array_equal(found.quality, [16, 0, 18])
