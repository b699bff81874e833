"""What validation pixels choose, and MOGPR as an Estimator: planted worlds that a variant wins."""

import logging
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s1jax import baselines, gp, masking
from s1jax.estimators import residual
from s1jax.metrics import HALF_BAND
from s1jax.mogpr import MogprConfig, mogpr, posterior, select_variant
from s1jax.types import Estimate, Estimator
from tests.worlds import mogpr as worlds
from tests.worlds.mogpr import DAYS, HYPER, INPUTS, expected, outputs, region, series_of, with_look

SEASON = np.stack([np.zeros(20), np.zeros(20), 0.25 * np.sin((DAYS - DAYS[0]) / 30)], -1)
SMALL = {"latents": 1, "sample": 40, "iterations": 15}
FIXED = MogprConfig(**SMALL, hyper="region", mean="zero", inputs="raw")
KEY = jax.random.key(0)


def _auto(**open_):
    """Options of which only these are open."""
    fixed = {"hyper": "region", "mean": "zero", "inputs": "raw"}
    return MogprConfig(**SMALL, **(fixed | open_))


def _names(candidates):
    return [tuple(one[:3]) for one in candidates]


@pytest.mark.slow
def test_given_hyperparameters_are_used_and_not_fitted_around():
    params, candidates = select_variant(
        KEY, region()[0], region(seed=1)[0], _auto(hyper="auto"), HYPER
    )
    assert _names(candidates) == [("raw", "zero", "region")]
    assert params.prior is None
    np.testing.assert_allclose(params.hyper.noise, HYPER.noise, rtol=1e-6)


@pytest.mark.slow
def test_a_band_of_inducing_days_is_theirs():
    series = region()[0], region(seed=1)[0]
    exact, sparse = (
        select_variant(KEY, *series, replace(FIXED, inducing=count), HYPER)[0].std_factor
        for count in (None, 4)
    )
    assert sparse != exact
    with pytest.raises(ValueError, match="solver: got 'dense', expected 'kalman' beside inducing"):
        mogpr(replace(FIXED, inducing=4, solver="dense"))


@pytest.mark.slow
def test_ndvi_alone_is_a_process_too():
    series = region()[0], region(seed=1)[0]
    params, _ = select_variant(KEY, *series, _auto(inputs="none"))
    assert params.hyper.mixing.shape == (1, 1)
    found = posterior(params, series[1], DAYS)
    assert np.isfinite(found.mean).all()


def test_pixels_of_one_calendar_want_the_regional_mean():
    train, val = (region(seed=seed, curve=SEASON)[0] for seed in (0, 1))
    params, candidates = select_variant(KEY, train, val, _auto(mean="auto"), HYPER)
    assert _names(candidates) == [("raw", "zero", "region"), ("raw", "regional", "region")]
    assert candidates[1].rmse < 0.95 * candidates[0].rmse
    assert params.curve is not None
    assert params.prior is None


def test_pixels_of_another_calendar_want_none():
    # as across districts, where the regional mean is ruinous
    train, val = (region(seed=k, curve=SEASON * sign)[0] for k, sign in ((0, 1.0), (1, -1.0)))
    params, candidates = select_variant(KEY, train, val, _auto(mean="auto"), HYPER)
    assert candidates[0].rmse < 0.95 * candidates[1].rmse
    assert params.curve is None


@pytest.mark.slow
def test_pixels_unlike_each_other_want_their_own_hyperparameters():
    # in every other pixel VH falls where NDVI rises
    def _mixed(seed):
        parts = [
            region(30, seed + k, hyper=HYPER._replace(
                mixing=np.array([[0.3, sign * 0.95, 0.95]]),
                kappa=np.full((1, 3), 0.02),
                noise=np.array([0.4, 0.05, 0.02]),
            ))[0]
            for k, sign in enumerate((1, -1))
        ]  # fmt: skip
        value, valid = (
            np.stack(leaves, 1).reshape(60, 20, 3)
            for leaves in zip(*map(outputs, parts), strict=True)
        )
        return series_of(DAYS, value, valid)

    params, candidates = select_variant(KEY, _mixed(0), _mixed(10), _auto(hyper="auto"))
    assert _names(candidates) == [("raw", "zero", "region"), ("raw", "zero", "pixel")]
    assert candidates[1].rmse < 0.8 * candidates[0].rmse
    assert params.prior is not None


def test_a_variant_must_be_better_by_more_than_chance():
    # filtered radar that is the raw one and a little noise: no better, whatever the draw says
    found = set()
    for seed in range(4):
        train, val = region(seed=seed)[0], region(seed=seed + 10)[0]
        noise = np.random.default_rng(seed).normal(0, 0.05, (60, 20, 2)).astype(np.float32)
        train, val = (with_look(s, s.radar[..., 0, :] + noise) for s in (train, val))
        params, candidates = select_variant(KEY, train, val, _auto(inputs="auto"), HYPER)
        assert params.inputs == INPUTS
        found.add(np.sign(candidates[0].rmse - candidates[1].rmse))
    assert found == {-1.0, 1.0}


def test_filtered_radar_that_tells_more_is_chosen(caplog):
    def _noisy(seed):
        series, _ = region(seed=seed)
        smooth = series.radar[..., 0, :].copy()
        series.radar[..., 0, :] = np.random.default_rng(seed).normal(-14, 2, smooth.shape)
        return with_look(series, smooth)

    with caplog.at_level(logging.INFO, logger="s1jax"):
        params, candidates = select_variant(KEY, _noisy(0), _noisy(1), _auto(inputs="auto"), HYPER)
    assert _names(candidates) == [("raw", "zero", "region"), ("smooth", "zero", "region")]
    assert candidates[1].rmse < 0.95 * candidates[0].rmse
    assert params.inputs == ((1, 0), (1, 1))
    assert "chosen smooth, zero mean, hyper of the region; band x" in caplog.text


def test_orbit_that_is_noise_is_not_chosen():
    def _two(seed):
        series, _ = region(seed=seed)
        noise = np.random.default_rng(seed).normal(-14, 2, (60, 20, 2)).astype(np.float32)
        return series._replace(
            radar=np.concatenate([series.radar, noise[..., None, :]], -1),
            radar_valid=series.radar_valid[..., [0, 1, 0, 1]],
        )

    # both orbits together are five outputs, which given hyperparameters of three do not fit
    params, candidates = select_variant(KEY, _two(0), _two(1), _auto(inputs="auto"), HYPER)
    assert _names(candidates) == [("raw:1", "zero", "region"), ("raw:2", "zero", "region")]
    assert candidates[0].rmse < 0.95 * candidates[1].rmse
    assert params.inputs == INPUTS
    with pytest.raises(ValueError, match=r"hyper: got 3 outputs, expected 5"):
        select_variant(KEY, _two(0), _two(1), _auto(), HYPER)


def test_few_labels_choose_nothing_and_scale_nothing():
    train, val = region()[0], region(seed=1)[0]
    val.ndvi_valid[4:] = False  # however often they are hidden anew, they are 40
    series = (with_look(s, s.radar[..., 0, :]) for s in (train, val))
    config = _auto(mean="auto", inputs="auto", hyper="auto")
    params, candidates = select_variant(KEY, *series, config, HYPER)
    assert _names(candidates) == [("raw", "zero", "region")]
    assert np.isnan(candidates[0].rmse)
    assert params.std_factor == 1.0
    assert params.inputs == INPUTS


def test_labels_that_cannot_be_are_not_asked_for():
    train, val = region()[0], region(seed=1)[0]
    junk = np.random.default_rng(0).random(val.ndvi.shape) < 0.2
    ndvi, valid = val.ndvi.copy(), val.ndvi_valid & ~junk
    ndvi[junk] = np.where(np.arange(junk.sum()) % 2, np.nan, -9999.0)
    assert (val.ndvi_valid & junk).sum() > 50
    with_junk, without = (
        select_variant(KEY, train, val._replace(ndvi=ndvi, ndvi_valid=v), _auto(mean="auto"), HYPER)
        for v in (val.ndvi_valid, valid)
    )
    assert np.isfinite(with_junk[0].std_factor)
    assert with_junk[1] == without[1]
    np.testing.assert_array_equal(with_junk[0].std_factor, without[0].std_factor)


@pytest.mark.slow
def test_scaled_band_holds_on_fresh_pixels():
    # a model too sure of itself: the true noise has more variance, and heavier tails
    def _heavy(pixels, seed):
        series, _ = region(pixels, seed)
        tail = np.random.default_rng(seed).standard_t(4, (pixels, 20)) * 0.07
        series.ndvi[:] += tail.astype(np.float32)
        return series

    params, _ = select_variant(KEY, _heavy(60, 0), _heavy(400, 1), FIXED, HYPER)
    assert params.std_factor > 1.3
    fresh = _heavy(400, 2)
    hidden = np.asarray(masking.sample_task_mask(jax.random.key(5), fresh))
    held = []
    for factor in (params.std_factor, jnp.float32(1.0)):
        found = posterior(
            replace(params, std_factor=factor), masking.with_ndvi_masked(fresh, hidden), DAYS
        )
        error = np.abs(found.mean - fresh.ndvi)[hidden]
        held.append(np.mean(error < HALF_BAND * np.hypot(found.std, found.noise[:, None])[hidden]))
    assert 0.87 < held[0] < 0.93
    assert held[1] < 0.84


@pytest.mark.slow
def test_learns_and_fills():
    train, _ = region()
    method = mogpr(_auto(mean="auto"))
    params = method.fit(KEY, train, region(seed=2)[0])
    series, truth = region(seed=1)
    estimate = method.predict(params, series, DAYS)
    assert estimate.mean.shape == truth.shape
    assert estimate.noise.shape == (60,)
    gap = ~series.ndvi_valid
    error = estimate.mean - truth
    assert np.sqrt(np.mean(error[gap] ** 2)) < 0.6 * truth[gap].std()
    assert 0.8 < np.mean(np.abs(error) < HALF_BAND * estimate.std) < 0.97
    # Sentinel-1 alone still tells something
    blind = masking.with_ndvi_masked(series, series.ndvi_valid)
    error = method.predict(params, blind, DAYS).mean - truth
    assert np.sqrt(np.mean(error**2)) < 0.9 * truth.std()


def test_key_draws_the_hidden_labels_and_nothing_else():
    train, val = region()[0], region(seed=1)[0]
    a, b, c = (select_variant(jax.random.key(k), train, val, FIXED)[0] for k in (0, 0, 1))
    for one, other in ((a, b), (replace(a, std_factor=c.std_factor), c)):
        assert jax.tree.structure(one) == jax.tree.structure(other)
        for x, y in zip(*map(jax.tree.leaves, (one, other)), strict=True):
            np.testing.assert_array_equal(x, y)
    assert a.std_factor != c.std_factor


def test_given_hyperparameters_are_used_as_they_are():
    train, val = region()[0], region(seed=1)[0]
    params = mogpr(FIXED, hyper=HYPER).fit(KEY, train, val)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), params.hyper, HYPER)


@pytest.mark.slow
def test_parameters_say_how_they_are_solved():
    series, _ = region(pixels=8)
    train, val = region()[0], region(seed=1)[0]
    for options in ({"inducing": 5}, {"solver": "dense"}):
        params = mogpr(replace(FIXED, **options), hyper=HYPER).fit(KEY, train, val)
        assert {name: getattr(params, name) for name in options} == options
        estimate = mogpr().predict(params, series, DAYS)
        found = posterior(params, series, DAYS)
        np.testing.assert_array_equal(estimate.mean, found.mean)
        np.testing.assert_array_equal(estimate.quality, found.quality)
    with pytest.raises(ValueError, match="inducing: got 1, expected at least 2"):
        mogpr().predict(replace(worlds.params(), inducing=1), series, DAYS)


@pytest.mark.slow
def test_another_methods_mean_is_taken_off_and_added():
    train, val = (region(seed=seed, curve=SEASON)[0] for seed in (0, 1))
    series, truth = region(seed=2, curve=SEASON)
    curve = baselines.climatology()
    method = residual(curve, mogpr(FIXED, hyper=HYPER))
    params = method.fit(KEY, train, val)
    seen = val.ndvi_valid
    left = (val.ndvi - curve.predict(params.mean, val, DAYS).mean)[seen].mean()
    np.testing.assert_allclose(params.process.region_mean[-1], left, atol=1e-5)
    at = np.r_[DAYS[:15] + 5.0, DAYS[-1] + 40.0]
    known, asked = (curve.predict(params.mean, series, days).mean[0] for days in (DAYS, at))
    before = np.stack([np.zeros(20), np.zeros(20), known], -1)
    estimate = method.predict(params, series, at)
    for pixel in (0, 17):
        mean, std = expected(params.process, series, pixel, at, before, asked)
        np.testing.assert_allclose(estimate.mean[pixel], np.clip(mean, -1, 1), atol=3e-4)
        wide = std * float(params.process.std_factor)
        np.testing.assert_allclose(estimate.std[pixel], wide, rtol=2e-3)
    alone = mogpr(FIXED, hyper=HYPER)
    gap = ~series.ndvi_valid
    error = [
        np.sqrt(np.mean((m.predict(p, series, DAYS).mean - truth)[gap] ** 2))
        for m, p in ((method, params), (alone, alone.fit(KEY, train, val)))
    ]
    assert error[0] < 0.95 * error[1]


def test_the_other_method_is_asked_without_the_pixels_ndvi():
    seen = []

    def _predict(params, series, days):
        seen.append(np.asarray(series.ndvi_valid).sum())
        return Estimate(np.full((len(series.ndvi), days.size), 0.25), np.ones(1), np.zeros(1))

    spy = Estimator(lambda key, train, val: "learnt", _predict)
    train, val = region()[0], region(seed=1)[0]
    method = residual(spy, mogpr(FIXED, hyper=HYPER))
    params = method.fit(KEY, train, val)
    assert params.mean == "learnt"
    estimate = method.predict(params, val, DAYS)
    assert seen == [0] * 3
    # a constant mean leaves what there was without it
    mean = params.process.region_mean.at[-1].add(0.25)
    found = posterior(replace(params.process, region_mean=mean), val, DAYS)
    np.testing.assert_allclose(estimate.mean, found.mean, atol=1e-5)


@pytest.mark.slow
def test_another_year_has_the_curve_of_its_season():
    train, val = (region(seed=seed, curve=SEASON)[0] for seed in (0, 1))
    config = _auto(mean="regional")
    method = mogpr(config, hyper=HYPER)
    params = method.fit(KEY, train, val)
    later = val.take(slice(0, 20))
    now = method.predict(params, later, DAYS)
    for years in (2, -4):
        shift = 365.25 * years
        then = method.predict(params, later._replace(day=DAYS + shift), DAYS + shift)
        np.testing.assert_allclose(then.mean, now.mean, atol=1e-5)
        np.testing.assert_allclose(then.std, now.std, rtol=1e-4)
    # far from all observations the pixel is what the region is
    away = method.predict(params, later, DAYS + 10 * 365.25)
    season = np.asarray(params.curve.value)[:, -1] + float(params.region_mean[-1])
    np.testing.assert_allclose(away.mean, np.tile(season, (20, 1)), atol=1e-4)


@pytest.mark.slow
def test_pixels_prior_is_around_what_was_given():
    train, val = region()[0], region(seed=1)[0]
    params, _ = select_variant(KEY, train, val, _auto(hyper="pixel"), HYPER)
    assert isinstance(params.prior, gp.Prior)
    np.testing.assert_allclose(params.prior.mean[0], np.log(50.0 - 6.0), atol=0.8)


@pytest.mark.slow
@pytest.mark.parametrize("stride", [2, 3])
def test_a_stride_is_as_if_the_other_dates_were_not_there(stride):
    series, _ = region(pixels=20)
    method, plain = mogpr(replace(FIXED, stride=stride)), mogpr(FIXED)
    some = series.take(slice(None), slice(None, None, stride))
    params = method.fit(KEY, series, series)
    fits = params, plain.fit(KEY, some, some)
    estimates = method.predict(params, series, DAYS), plain.predict(params, some, DAYS)
    for both in (fits, estimates):
        for pair in zip(*map(jax.tree.leaves, both), strict=True):
            np.testing.assert_array_equal(*pair)
    with pytest.raises(ValueError, match="stride: got 0, expected 1 or more"):
        mogpr(replace(FIXED, stride=0))
