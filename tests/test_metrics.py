"""Scores against scikit-learn and integration; tiles and groups add up exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from s1jax import metrics


def _draw(seed, n=400, groups=5):
    rng = np.random.default_rng(seed)
    truth = rng.normal(0.5, 0.2, n)
    mean = truth + rng.normal(0.02, 0.1, n)
    std = rng.uniform(0.02, 0.3, n)
    return mean, std, truth, rng.random(n) < 0.7, rng.integers(0, groups, n)


def test_scores_are_scikit_learns():
    mean, std, truth, valid, _ = _draw(0)
    got = metrics.scores(metrics.statistics(mean, std, truth, valid))
    t, m = truth[valid], mean[valid]
    np.testing.assert_allclose(got["r2"], r2_score(t, m), rtol=1e-12)
    np.testing.assert_allclose(got["mae"], mean_absolute_error(t, m), rtol=1e-12)
    np.testing.assert_allclose(got["rmse"] ** 2, mean_squared_error(t, m), rtol=1e-12)
    np.testing.assert_allclose(got["bias"], np.mean(m - t), rtol=1e-12)
    assert got["n"] == valid.sum()


@pytest.mark.parametrize(("mean", "std", "truth"), [(0.3, 0.1, 0.5), (0.3, 0.4, 0.3), (0, 1, -3)])
def test_crps_is_the_integral_of_the_squared_distance(mean, std, truth):
    below = quad(lambda x: norm.cdf(x, mean, std) ** 2, -12, truth, points=[mean - 1e-3])[0]
    above = quad(lambda x: norm.sf(x, mean, std) ** 2, truth, 12, points=[mean + 1e-3])[0]
    got = metrics.crps(*(np.array([x], np.float64) for x in (mean, std, truth)))
    np.testing.assert_allclose(got, [below + above], rtol=1e-6)


def test_crps_becomes_the_absolute_error():
    mean, _, truth, _, _ = _draw(1)
    got = metrics.crps(mean, np.full(mean.shape, 1e-9), truth)
    np.testing.assert_allclose(got, np.abs(mean - truth), atol=1e-8)


def test_coverage_of_gaussian_draws():
    rng = np.random.default_rng(2)
    mean, std = rng.normal(size=40_000), rng.uniform(0.1, 2.0, 40_000)
    truth = rng.normal(mean, std)
    got = metrics.scores(metrics.statistics(mean, std, truth, np.ones(mean.shape, bool)))
    assert got["coverage90"] == pytest.approx(0.9, abs=0.006)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 400))
def test_tiles_add_up_to_the_whole(seed, cut):
    *arrays, _ = _draw(seed)
    whole = metrics.statistics(*arrays)
    left, right = ([a[part] for a in arrays] for part in (slice(cut), slice(cut, None)))
    merged = metrics.merge(metrics.statistics(*left), metrics.statistics(*right))
    for got, want in zip(merged, whole, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12)


def test_groups_are_a_loop_and_pool_to_the_whole():
    *arrays, group = _draw(3)
    together = metrics.statistics_by_group(group, 6, *arrays)
    for g in range(6):  # the last has no member
        mean, std, truth, valid = arrays
        alone = metrics.statistics(mean, std, truth, valid & (group == g))
        for got, want in zip(together, alone, strict=True):
            np.testing.assert_allclose(got[g], want, rtol=1e-12)
    pooled = metrics.aggregate(together)
    for got, want in zip(pooled, metrics.statistics(*arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)
    assert np.isnan(metrics.scores(together)["rmse"][5])


def test_pool_with_weights_repeats_the_groups():
    mean, std, truth, valid, group = _draw(4)
    weight = np.array([[2.0, 0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 5.0, 0.0]])
    pooled = metrics.scores(
        metrics.aggregate(metrics.statistics_by_group(group, 5, mean, std, truth, valid), weight)
    )
    for draw, times in enumerate(weight):
        rows = np.repeat(np.arange(group.size), times[group].astype(int))
        want = metrics.scores(metrics.statistics(*(a[rows] for a in (mean, std, truth, valid))))
        for name, value in want.items():
            np.testing.assert_allclose(pooled[name][draw], value, rtol=1e-10, err_msg=name)


def test_spread_does_not_cancel_far_from_zero():
    rng = np.random.default_rng(5)
    truth = 1e7 + rng.normal(size=1000)
    args = (truth, np.ones(1000), truth, np.ones(1000, bool))
    got = metrics.aggregate(metrics.statistics_by_group(rng.integers(0, 4, 1000), 4, *args))
    np.testing.assert_allclose(got.spread, 1000 * truth.var(), rtol=1e-6)


def test_what_is_not_valid_may_be_anything():
    mean, std, truth, valid, _ = _draw(6)
    spoilt = [np.where(valid, a, np.nan) for a in (mean, std, truth)]
    for got, want in zip(
        metrics.statistics(*spoilt, valid),
        metrics.statistics(mean, std, truth, valid),
        strict=True,
    ):
        assert got == want


def test_skill_of_half_the_error_is_three_quarters():
    mean, std, truth, valid, _ = _draw(7)
    half = metrics.statistics((mean + truth) / 2, std, truth, valid)
    assert metrics.skill(half, metrics.statistics(mean, std, truth, valid)) == pytest.approx(0.75)


def test_doors():
    mean, std, truth, valid, group = _draw(8)
    with pytest.raises(ValueError, match="std"):
        metrics.statistics(mean, 0.0 * std, truth, valid)
    with pytest.raises(ValueError, match="group"):
        metrics.statistics_by_group(group + 1, 5, mean, std, truth, valid)
