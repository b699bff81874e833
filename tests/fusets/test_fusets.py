"""The drop-in: its numbers against the oracle, and everything of the input that must stay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from s1jax import gp
from s1jax import mogpr as room
from s1jax.fusets.mogpr import MOGPRTransformer, mogpr
from tests.worlds.fusets import HYPER, NAMES, cube, same
from tests.worlds.gp_oracle import posterior

ALL = {
    "include_uncertainties": True,
    "include_raw_inputs": True,
    "include_quality": True,
    "hyper": HYPER,
}


def _oracle(ds, y, x, at):
    """Mean and std (query, output) of observations of one pixel: z-scored, solved, scaled back."""
    day = (ds["t"].values - ds["t"].values.min()) / np.timedelta64(1, "D")
    value = np.stack([ds[n].values[:, y, x] for n in NAMES], axis=-1).astype(float)
    level, scale = np.nanmean(value, axis=0), np.nanstd(value, axis=0)
    valid = np.isfinite(value)
    series = gp.Observations(day, np.where(valid, (value - level) / scale, 0.0), valid)
    mean, variance = zip(*(posterior(HYPER, series, at, d)[1:] for d in range(3)), strict=True)
    std = np.sqrt(np.stack(variance, -1) + HYPER.noise)
    return np.stack(mean, -1) * scale + level, std * scale


@pytest.mark.parametrize("period", [None, "P5D"])
def test_numbers_are_those_of_the_oracle(float64, period):
    ds, _ = cube(dtype=float)
    out = mogpr(ds, prediction_period=period, **{**ALL, "include_raw_inputs": period is None})
    at = (out["t"].values - ds["t"].values[0]) / np.timedelta64(1, "D")
    np.testing.assert_array_equal(at, 12.0 * np.arange(16) if period is None else np.r_[0:181:5])
    for y, x in ((0, 0), (2, 3)):
        mean, std = _oracle(ds, y, x, at)
        for d, name in enumerate(NAMES):
            np.testing.assert_allclose(out[f"{name}_FUSED"][:, y, x], mean[:, d], atol=1e-9)
            np.testing.assert_allclose(out[f"{name}_STD"][:, y, x], std[:, d], atol=1e-9)


@pytest.mark.slow
def test_default_fit_fills_gaps_and_tells_how_well():
    ds, truth = cube(6, 6)
    out = mogpr(ds, include_uncertainties=True, latents=1)
    gap = np.isnan(ds["S2ndvi"].values)
    error = (out["S2ndvi_FUSED"].values - truth)[gap]
    assert np.sqrt(np.mean(error**2)) < 0.6 * truth[gap].std()
    seen = (out["S2ndvi_FUSED"] - ds["S2ndvi"]).values[~gap]
    # an observation used in the fit lies nearer than a new one would
    assert np.mean(np.abs(seen) < 1.645 * out["S2ndvi_STD"].values[~gap]) > 0.9


def test_names_order_and_what_is_not_asked_for():
    ds, _ = cube()
    full = list(mogpr(ds, **ALL).data_vars)
    assert full == [f"{n}_{s}" for s in ("FUSED", "STD", "RAW") for n in NAMES] + ["QUALITY"]
    assert list(mogpr(ds, hyper=HYPER).data_vars) == [f"{n}_FUSED" for n in NAMES]
    raw = mogpr(ds, hyper=HYPER, include_raw_inputs=True)
    np.testing.assert_array_equal(raw["S2ndvi_RAW"], ds["S2ndvi"])


def test_dims_coordinates_crs_dtype_stay():
    ds, _ = cube()
    ds = ds.assign_coords(
        lon=(("y", "x"), np.zeros((3, 4))),
        s1_day=("t", ds["t"].values),
        spatial_ref=((), np.int32(0), {"crs_wkt": "x", "GeoTransform": "0"}),
    ).assign_attrs(title="as it was")
    ds["t"].attrs["standard_name"] = "time"
    ds["VH"] = ds["VH"].transpose("y", "x", "t").astype(np.float64)
    ds["S2ndvi"].encoding["grid_mapping"] = ds["VV"].attrs["grid_mapping"] = "spatial_ref"
    ds["elevation"] = (("y", "x"), np.ones((3, 4)))
    out = mogpr(ds, **ALL)
    assert set(out.coords) == set(ds.coords)
    for name in ds.coords:
        xr.testing.assert_identical(out[name], ds[name])
    assert out.attrs == ds.attrs
    assert "elevation_FUSED" not in out
    for suffix in ("FUSED", "STD", "RAW"):
        assert out[f"VV_{suffix}"].dims == ("t", "y", "x")
        assert out[f"VH_{suffix}"].dims == ("y", "x", "t")
        assert [out[f"{n}_{suffix}"].dtype for n in NAMES] == ["f4", "f8", "f4"]
        assert out[f"VV_{suffix}"].attrs["grid_mapping"] == "spatial_ref"
        assert out[f"S2ndvi_{suffix}"].encoding["grid_mapping"] == "spatial_ref"
        assert out[f"VV_{suffix}"].attrs["units"] == "dB"
    assert out["QUALITY"].dims == ("y", "x")
    later = mogpr(ds, prediction_period="P5D", **ALL)
    assert set(later.coords) == set(ds.coords) - {"s1_day"}
    assert later["t"].attrs == ds["t"].attrs
    assert later["t"].dtype == ds["t"].dtype


def test_any_dimensions_are_the_same_pixels():
    ds, _ = cube()
    whole = mogpr(ds, **ALL)
    fields = mogpr(ds.stack(field=("y", "x")).reset_index("field"), **ALL)
    np.testing.assert_array_equal(
        fields["S2ndvi_FUSED"].values.reshape(16, 3, 4), whole["S2ndvi_FUSED"]
    )
    # what is shared by pixels may lack their dimensions
    ds["VV"] = ds["VV"].isel(y=0, x=0, drop=True)
    alone = mogpr(ds.isel(y=1, x=2), **ALL)
    assert alone["S2ndvi_FUSED"].dims == ("t",)
    assert alone["QUALITY"].dims == ()
    spread = mogpr(ds, **ALL)
    assert spread["VV_FUSED"].dims == ("t", "y", "x")
    np.testing.assert_allclose(
        spread["S2ndvi_FUSED"][:, 1, 2], alone["S2ndvi_FUSED"], rtol=0, atol=1e-5
    )


def test_another_dimension_of_time_is_found():
    ds, _ = cube()
    out = mogpr(ds.rename(t="time"), **ALL)
    same(out.rename(time="t"), mogpr(ds, **ALL))


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 7])
def test_one_variable_or_seven(count):
    ds, _ = cube()
    names = [f"band{k}" for k in range(count)]
    ds = xr.Dataset({n: ds["S2ndvi"] * (k + 1) for k, n in enumerate(names)})
    out = mogpr(ds, latents=1, optimize=False)
    assert list(out.data_vars) == [f"{n}_FUSED" for n in names]
    assert np.isfinite(out.to_array()).all()


def test_units_and_offsets_do_not_matter():
    ds, _ = cube(dtype=float)
    out = mogpr(ds, **ALL)
    moved = mogpr(ds.assign(S2ndvi=1e-3 * ds["S2ndvi"] + 1e4), **ALL)
    np.testing.assert_allclose((moved["S2ndvi_FUSED"] - 1e4) * 1e3, out["S2ndvi_FUSED"], atol=2e-6)
    np.testing.assert_allclose(moved["S2ndvi_STD"] * 1e3, out["S2ndvi_STD"], rtol=1e-4)
    np.testing.assert_allclose(moved["VV_FUSED"], out["VV_FUSED"], atol=1e-4)


def test_integers_become_float():
    ds, _ = cube()
    count = (ds["S2ndvi"].fillna(0.0) * 1e4).clip(0).astype(np.uint16).assign_attrs(nodata=0)
    out = mogpr(ds.assign(S2ndvi=count), **ALL)
    assert out["S2ndvi_FUSED"].dtype == np.float32
    np.testing.assert_array_equal(np.isnan(out["S2ndvi_RAW"]), count.values == 0)
    np.testing.assert_allclose(
        out["S2ndvi_FUSED"] / 1e4, mogpr(ds, **ALL)["S2ndvi_FUSED"], atol=2e-3
    )


def test_unsorted_dates_keep_their_order_and_doubled_ones_count_twice(float64):
    ds, _ = cube(dtype=float)
    order = np.random.default_rng(1).permutation(16)
    same(mogpr(ds.isel(t=order), **ALL), mogpr(ds, **ALL).isel(t=order))
    t = ds["t"].values.copy()
    t[6] = t[5]
    double = ds.assign_coords(t=t)
    out = mogpr(double, **ALL)
    at = (t - t[0]) / np.timedelta64(1, "D")
    mean, std = _oracle(double, 1, 1, at)
    np.testing.assert_allclose(out["VV_FUSED"][:, 1, 1], mean[:, 0], atol=1e-9)
    np.testing.assert_allclose(out["VV_STD"][:, 1, 1], std[:, 0], atol=1e-9)


@pytest.mark.slow
def test_hyperparameters_by_pixel_file_and_fit(tmp_path):
    ds, _ = cube(6, 6)
    shown = MOGPRTransformer(latents=1, hyper="pixel", include_uncertainties=True)
    own = shown.fit_transform(ds)
    assert shown.model.prior is not None
    room.save(shown.model, tmp_path / "region.npz")
    read = mogpr(ds, hyper=tmp_path / "region.npz", include_uncertainties=True)
    for name in own.data_vars:
        np.testing.assert_allclose(read[name], own[name], rtol=1e-4, atol=1e-4)
    given = mogpr(ds, hyper=gp.Hyper(*map(np.asarray, shown.model.hyper)))
    difference = np.abs(given["S2ndvi_FUSED"] - own["S2ndvi_FUSED"]).max()
    assert 1e-3 < difference < 0.3


@pytest.mark.slow
def test_solvers_agree_and_sparse_with_all_days_is_exact(float64):
    ds, _ = cube(2, 2, dtype=float)
    exact = mogpr(ds, **ALL)
    for options in ({"solver": "dense"}, {"method": "sparse", "n_inducing": 16}):
        other = mogpr(ds, **options, **ALL)
        for name in exact.data_vars:
            np.testing.assert_allclose(other[name], exact[name], atol=1e-6)


def test_x64_is_used_where_it_is_on(x64):
    ds, _ = cube(1, 1, dtype=float)
    out = mogpr(ds, **ALL)
    mean, _ = _oracle(ds, 0, 0, 12.0 * np.arange(16))
    error = np.abs(out["S2ndvi_FUSED"].values[:, 0, 0] - mean[:, 2]).max()
    assert error < (1e-12 if x64 else 1e-5)
    assert jnp.zeros(0).dtype == jax.dtypes.canonicalize_dtype(float)
