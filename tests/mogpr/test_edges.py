"""Posteriors at the edges: no day, no NDVI, no label, hyperparameters at and beyond the bounds."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s1jax import cube, gp
from s1jax.cube.series import QUALITY
from s1jax.mogpr import MogprConfig, fit_region, posterior, select_variant
from s1jax.quality import IMPRECISE, NO_DATA, REGION_SCALE
from tests.worlds import mogpr as worlds
from tests.worlds.mogpr import DAYS, HYPER, region

FIXED = MogprConfig(latents=1, inputs="raw", mean="zero")
SHARP = gp.Hyper(
    np.array([301.0, 2000.0]),
    np.array([[2.5, 4.9, 6.0], [0.77, 0.23, 0.42]]),
    np.full((2, 3), np.exp(-12.0)),
    np.array([0.34, 0.26, 0.0104]),
)
"""As a clean curve is fitted: long, loadings at their bound, noise at its floor."""


def _double(params, series, days):
    """By the dense solver in float64, from the same numbers."""
    with jax.enable_x64(True):
        real = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, jnp.float64) if leaf.dtype.kind == "f" else leaf,
            jax.tree.map(np.asarray, params),
        )
        radar, ndvi = (np.asarray(leaf, np.float64) for leaf in (series.radar, series.ndvi))
        dense = replace(real, solver="dense")
        return posterior(dense, series._replace(radar=radar, ndvi=ndvi), days)


@pytest.mark.slow
@pytest.mark.parametrize("solver", list(gp.SOLVERS))
def test_std_of_a_clean_smooth_region_is_that_of_float64(solver):
    series, _ = region(pixels=24)
    days = np.r_[DAYS, DAYS[:-1] + 5.0]
    params = worlds.params(SHARP)
    result = posterior(replace(params, solver=solver), series, days)
    assert result.std.dtype == np.float32
    np.testing.assert_allclose(result.std, _double(params, series, days).std, rtol=2e-3)
    assert not (result.quality & IMPRECISE).any()


@pytest.mark.slow
def test_real_series_at_the_bounds_are_right_and_not_flagged(shared):
    ds = cube.align_cube(cube.open_cube(shared / "data" / "mekong_rice_cube_a.nc"))
    series, _ = cube.to_series(ds)
    config = MogprConfig(latents=2, inputs="raw:1", mean="zero")
    params, _ = fit_region(series, config, hyper=SHARP)
    result = posterior(params, series, series.day)
    assert ((result.quality & IMPRECISE) > 0).mean() <= 1e-3
    some = slice(None, None, len(result.std) // 40)
    few = _double(params, series.take(some), series.day)
    np.testing.assert_allclose(result.std[some], few.std, rtol=2e-3)


@pytest.mark.parametrize("keywords", [{}, {"solver": "dense"}, {"inducing": 6}], ids=str)
@pytest.mark.parametrize("noise", [1e-3, 1e-7, 1e-14, 0.0])
def test_noise_beyond_the_bounds_is_right_or_flagged(noise, keywords, caplog):
    series, _ = region(pixels=6)
    params = worlds.params(HYPER._replace(noise=np.array([0.4, 0.3, noise])))
    result = posterior(replace(params, **keywords), series, DAYS)
    flagged = (result.quality & IMPRECISE) > 0
    np.testing.assert_array_equal(flagged, ~np.isfinite(result.mean + result.std).all(axis=1))
    assert ("does not resolve the std of" in caplog.text) == flagged.any()
    # where NDVI was measured its std is nearly that of the noise
    seen = series.ndvi_valid & np.isfinite(result.std)
    if noise and "inducing" not in keywords:
        np.testing.assert_allclose(result.std[seen], 0.15 * noise**0.5, rtol=0.05)
    if noise == 1e-3:
        assert not flagged.any()
    if noise == 0.0 and not keywords:
        assert flagged.all()


@pytest.mark.parametrize(
    ("field", "number", "message"),
    [
        ("lengthscale", 0.0, r"hyper\.lengthscale: got 0\.0, expected finite numbers above 0"),
        ("lengthscale", np.nan, r"hyper\.lengthscale: got nan, expected"),
        ("mixing", np.inf, r"hyper\.mixing: got inf, expected finite numbers$"),
        ("kappa", -0.1, r"hyper\.kappa: got -0\.1.*, expected finite numbers not below 0"),
        ("noise", -1.0, r"hyper\.noise: got -1\.0, expected finite numbers not below 0"),
    ],
)
def test_hyperparameters_that_cannot_be_are_named(field, number, message):
    leaf = getattr(HYPER, field).copy()
    leaf.flat[0] = number
    with pytest.raises(ValueError, match=message):
        posterior(worlds.params(HYPER._replace(**{field: leaf})), region(pixels=2)[0], DAYS)


def test_the_flag_has_a_name_in_the_product():
    assert QUALITY["std_beyond_precision"] == IMPRECISE
    assert len(set(QUALITY.values())) == len(QUALITY)


@pytest.mark.slow
@pytest.mark.parametrize("keywords", [{}, {"solver": "dense"}, {"inducing": 6}], ids=str)
def test_no_day_gives_no_column_and_the_flags(keywords):
    series, _ = region(pixels=3)
    params = replace(worlds.params(), **keywords)
    result = posterior(params, series, np.array([]))
    assert result.mean.shape == result.std.shape == (3, 0)
    whole = posterior(params, series, DAYS)
    np.testing.assert_array_equal(result.noise, whole.noise)
    np.testing.assert_array_equal(result.quality, whole.quality)


@pytest.mark.parametrize(
    ("days", "message"),
    [
        (np.array([19000.0, -np.inf]), r"days: got -inf, expected finite"),
        (np.array([1e300]), r"days: got 1e\+300, expected finite days .*below 1e\+09"),
    ],
)
def test_days_that_cannot_be_are_named(days, message):
    with pytest.raises(ValueError, match=message):
        posterior(worlds.params(), region(pixels=2)[0], days)


@pytest.mark.parametrize(
    ("day", "message"),
    [
        (np.where(np.arange(20) == 7, np.nan, DAYS), "got nan at index 7, expected finite numbers"),
        (np.where(np.arange(20) == 0, np.nan, DAYS), "got nan at index 0, expected finite numbers"),
        (
            np.where(np.arange(20) == 19, np.inf, DAYS),
            "got inf at index 19, expected finite numbers",
        ),
        (DAYS[::-1], "got 19216 after 19228 at index 1, expected none earlier"),
        (DAYS[:5], r"series\.day: got shape \(5,\), expected one day for each of 20 dates"),
    ],
)
def test_days_of_a_series_that_cannot_be_are_named(day, message):
    series = region(pixels=2)[0]._replace(day=day)
    with pytest.raises(ValueError, match=message):
        posterior(worlds.params(), series, DAYS)
    with pytest.raises(ValueError, match=message):
        fit_region(series, FIXED, hyper=HYPER)


@pytest.mark.slow
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("fill", [np.nan, 0.5, -9999.0])
def test_radar_alone_tells_and_nothing_at_all_is_the_prior(own, fill):
    series, latent = region(pixels=30)
    series.ndvi[:] = fill
    series.ndvi_valid[:] = False
    series.radar_valid[0] = False
    result = posterior(worlds.params(by_pixel=own), series, DAYS)
    assert np.isfinite(result.mean).all()
    assert (result.std > 0).all()
    np.testing.assert_array_equal(result.quality, [NO_DATA] + 29 * [REGION_SCALE])
    prior = 0.15 * np.sqrt(0.8**2 + 0.1)
    np.testing.assert_allclose(result.mean[0], 0.4, rtol=1e-6)
    np.testing.assert_allclose(result.std[0], prior, rtol=1e-5)
    # what the radar tells of the planted NDVI
    assert (result.std[1:] < 0.8 * prior).all()
    assert np.corrcoef(result.mean[1:].ravel(), latent[1:].ravel())[0, 1] > 0.5


@pytest.mark.parametrize("fill", [None, 255.0, np.nan])
def test_without_a_label_nothing_is_learnt(fill):
    train, val = region(pixels=8)[0], region(pixels=4, seed=1)[0]
    if fill is None:
        train.ndvi_valid[:] = False
    else:
        train.ndvi[:] = fill
    message = r"S2ndvi: got no label in any of 8 training pixels.*s1jax\.pretrained.*needs none"
    with pytest.raises(ValueError, match=message):
        fit_region(train, FIXED)
    with pytest.raises(ValueError, match=message):
        select_variant(jax.random.key(0), train, val, MogprConfig(latents=1))


def test_a_fit_that_ends_at_no_number_is_not_learnt():
    # squares of such values are infinite in single precision
    series = gp.Observations(
        np.arange(6.0, dtype=np.float32),
        np.full((4, 6, 1), 1e25, np.float32),
        np.ones((4, 6, 1), bool),
    )
    with pytest.raises(ValueError, match=r"log-likelihood at start: got -inf|got nan"):
        gp.fit(series, gp.initial(1, 1), iterations=5)
