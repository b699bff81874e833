"""Calls as documents of FuseTS' users write them, and FuseTS' own numbers for those who compare."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from joblib import Parallel, delayed

from s1jax import fusets
from s1jax.fusets import compat
from s1jax.fusets.mogpr import MOGPRTransformer, mogpr, mogpr_1D
from s1jax.gp import Observations
from tests.worlds.fusets import HYPER, NAMES, cube, same

pytestmark = pytest.mark.slow

CASE = Path(__file__).parents[1] / "data" / "synth_000_3out.npz"
TILE_SIZE = 6


def test_both_imports_are_the_same_three():
    import s1jax

    assert fusets.mogpr is mogpr
    assert fusets.MOGPRTransformer is MOGPRTransformer
    assert fusets.mogpr_1D is mogpr_1D
    assert s1jax.fusets is fusets


def _tiles(ds):
    for y_start in range(0, ds.sizes["y"], TILE_SIZE):
        for x_start in range(0, ds.sizes["x"], TILE_SIZE):
            y_end = min(y_start + TILE_SIZE, ds.sizes["y"])
            x_end = min(x_start + TILE_SIZE, ds.sizes["x"])
            yield slice(y_start, y_end), slice(x_start, x_end)


def _tile_loop(fuse, ds, name):
    """The loop of the document, result array and all, without its try."""
    fused_result = np.full((62, ds.sizes["y"], ds.sizes["x"]), np.nan)
    for y, x in _tiles(ds):
        tile_data = ds.isel(y=y, x=x)
        fused_tile = fuse(tile_data)
        fused_result[:, y, x] = fused_tile[name].values
    return fused_result


def test_the_tile_loop_fitted_once_is_the_whole():
    combined_dataset, _ = cube(8, 9, dates=62)
    mogpr = MOGPRTransformer()
    mogpr.fit(combined_dataset.isel(y=slice(6), x=slice(6)))
    result = _tile_loop(mogpr.transform, combined_dataset, "S2ndvi_FUSED")
    whole = mogpr.transform(combined_dataset)["S2ndvi_FUSED"].values
    assert np.isfinite(result).all()
    np.testing.assert_array_equal(result, whole.astype(float))


def test_the_tile_loop_as_written_fits_each_tile():
    combined_dataset, truth = cube(6, 12, dates=62)
    mogpr = MOGPRTransformer()
    # the name the document reads is not among FuseTS' results
    with pytest.raises(KeyError, match="S2ndvi_FUSED"):
        _tile_loop(mogpr.fit_transform, combined_dataset.isel(x=slice(6)), "S2ndvi")
    result = _tile_loop(mogpr.fit_transform, combined_dataset, "S2ndvi_FUSED")
    assert np.isfinite(result).all()
    assert np.sqrt(np.mean((result - truth) ** 2)) < 0.6 * truth.std()


def process_tile_mogpr(tile_data):
    """Process a single tile with MOGPR."""
    mogpr = MOGPRTransformer()
    return mogpr.fit_transform(tile_data)


def test_tiles_in_parallel():
    combined_dataset, _ = cube(6, 12)
    tiles = [
        (0, k, combined_dataset.isel(y=y, x=x)) for k, (y, x) in enumerate(_tiles(combined_dataset))
    ]
    results = Parallel(n_jobs=2, verbose=0)(
        delayed(process_tile_mogpr)(tile_data) for _, _, tile_data in tiles
    )
    for (_, _, tile_data), result in zip(tiles, results, strict=True):
        here = process_tile_mogpr(tile_data)
        for name in here.data_vars:
            np.testing.assert_allclose(result[name], here[name], rtol=0, atol=1e-5)


def test_the_sparse_variant_of_the_document():
    combined_dataset, truth = cube(2, 3, dates=62)
    mogpr = MOGPRTransformer(
        method="sparse",  # Use sparse GP approximation
        n_inducing=20,  # 20 inducing points (instead of full 62)
        optimize=False,  # Skip hyperparameter optimization (use defaults)
    )
    result = mogpr.fit_transform(combined_dataset)["S2ndvi_FUSED"].values
    assert np.sqrt(np.mean((result - truth) ** 2)) < truth.std()
    exact = MOGPRTransformer(optimize=False).fit_transform(combined_dataset)["S2ndvi_FUSED"].values
    assert 1e-4 < np.abs(result - exact).max() < 0.3


def test_half_of_the_dates_and_options_of_one_call():
    combined_dataset, _ = cube(2, 3, dates=32)
    half = combined_dataset.isel(t=slice(None, None, 2))
    out = MOGPRTransformer(hyper=HYPER).fit_transform(half, include_uncertainties=True)
    assert out.sizes["t"] == 16
    assert "S2ndvi_STD" in out
    same(out, mogpr(half, NAMES, "t", None, True, hyper=HYPER))


def test_one_pixel_is_a_pixel_of_the_cube(float64):
    ds, _ = cube(1, 2, dtype=float)
    out = mogpr(ds, hyper=HYPER, prediction_period="P5D", include_uncertainties=True)
    day = (ds["t"].values - ds["t"].values[0]) / np.timedelta64(1, "D") + 738000.0
    at = np.arange(day[0], day[-1] + 1, 5.0)
    data = [ds[n].values[:, 0, 1] for n in NAMES]
    # each series has dates of its own, and what is missing may be left out
    there = np.isfinite(data[2])
    shorter = [data[0], data[1], data[2][there]]
    mean, std, flag, model = mogpr_1D(shorter, [day, day, day[there]], 0, at, hyper=HYPER)
    assert flag is True
    for d, name in enumerate(NAMES):
        np.testing.assert_allclose(mean[d], out[f"{name}_FUSED"][:, 0, 1], atol=1e-9)
        np.testing.assert_allclose(std[d], out[f"{name}_STD"][:, 0, 1], atol=1e-9)
    again = mogpr_1D(data, [day] * 3, 0, at, 2, model)
    np.testing.assert_allclose(again[0], mean, atol=1e-9)
    *_, flag, _ = mogpr_1D([*data[:2], np.full(16, np.nan)], [day] * 3, 2, at, trained_model=model)
    assert flag is False
    with pytest.raises(ValueError, match="time_in: got lengths"):
        mogpr_1D(data, [day, day, day[1:]], 0, at)
    with pytest.raises(ValueError, match="master_ind 3"):
        mogpr_1D(data, [day] * 3, 3, at)


def test_compat_gives_the_numbers_of_fusets():
    case = np.load(CASE, allow_pickle=False)
    days, at = (case[name] + case["t0_ordinal"] for name in ("t_days", "t_out_days"))
    for seed in range(3):
        mean, std, flag, model = mogpr_1D(
            list(case["y"]), [days] * 3, 0, at, 1, compat="fusets", seed=seed
        )
        assert flag
        assert model is None
        np.testing.assert_allclose(mean, case["ship_mean_phys"][seed], rtol=0, atol=1e-9)
        np.testing.assert_allclose(std, case["ship_std_returned"][seed], rtol=0, atol=1e-9)
    # what FuseTS calls std is a variance times a scale
    variance = case["shipped0_var_noisy_norm"]
    assert np.abs(np.sqrt(variance) * case["norm_std"][:, None] - std).max() > 0.01


def test_compat_ends_where_gpy_ends(float64):
    case = np.load(CASE, allow_pickle=False)
    z = ((case["y"] - case["norm_mean"][:, None]) / case["norm_std"][:, None]).T
    day, z = np.pad(case["t_days"], (0, 2), mode="edge"), np.pad(z, ((0, 2), (0, 0)))
    valid = np.isfinite(z) & (np.arange(64) < 62)[:, None]
    series = Observations(*map(jnp.asarray, (day, np.where(valid, z, 0.0), valid)))
    row, cost = compat.fit(series, 0)
    np.testing.assert_allclose(cost, case["ship_nll"][0], atol=1e-9)
    hyper = compat.hyper_of(jnp.asarray(row), 3)
    variance = case["ship_variance"][0][:, None]
    np.testing.assert_allclose(hyper.lengthscale, case["ship_lengthscale"][0], rtol=1e-8)
    np.testing.assert_allclose(hyper.mixing, variance**0.5 * case["ship_W"][0], atol=1e-8)
    np.testing.assert_allclose(hyper.kappa, variance * case["ship_kappa"][0], atol=1e-8)
    np.testing.assert_allclose(hyper.noise, case["ship_noise"][0], atol=1e-8)


def test_compat_on_datasets():
    ds, _ = cube(1, 2, dtype=float)
    ds["S2ndvi"].values[:, 0, 0] = np.nan
    ds = ds.assign_coords(t=ds["t"] + np.timedelta64(7, "h"))[["S2ndvi", "VH"]]
    out = mogpr(ds, compat="fusets", include_uncertainties=True)
    assert np.isnan(out.to_array()[..., 0]).all()
    day = np.floor(ds["t"].values.astype("datetime64[D]").astype(float))
    mean, std, *_ = mogpr_1D(
        [ds[n].values[:, 0, 1] for n in ds], [day] * 2, 0, day, compat="fusets"
    )
    np.testing.assert_allclose(out["VH_FUSED"][:, 0, 1], mean[1], atol=1e-6)
    np.testing.assert_allclose(out["VH_STD"][:, 0, 1], std[1], atol=1e-6)
