"""climatology, linear, whittaker and knn_space against planted curves and loops."""

import jax
import numpy as np
import pytest

from s1jax.baselines import WhittakerConfig, climatology, knn_space, linear, whittaker
from s1jax.baselines.common import last_valid, next_valid
from s1jax.compositing import fold_to_season
from s1jax.types import Series

DAY = (19700 + 12 * np.arange(31)).astype(np.float32)


def _series(ndvi, valid, position=None):
    radar = np.zeros((*ndvi.shape, 1, 2), np.float32)
    radar_valid = np.ones((*ndvi.shape, 2), bool)
    return Series(DAY, radar, radar_valid, ndvi.astype(np.float32), valid, position)


def _random(n, seed, share=0.6):
    rng = np.random.default_rng(seed)
    ndvi, position = rng.uniform(-0.2, 0.9, (n, DAY.size)), rng.uniform(0, 1e4, (n, 2))
    return _series(ndvi, rng.random(ndvi.shape) < share, position.astype(np.float32))


def _known(series):
    return np.where(series.ndvi_valid, series.ndvi, np.nan)


def test_climatology_is_the_mean_by_date_and_returns_next_year():
    train = _random(20, 0)
    train.ndvi_valid[:, 7] = False  # a date without any label
    params = climatology().fit(jax.random.key(0), train, _random(10, 1))
    want = np.array([np.nanmean(column) for t, column in enumerate(_known(train).T) if t != 7])
    want = np.insert(want, 7, (want[6] + want[7]) / 2)
    got = climatology().predict(params, _random(3, 2), DAY)
    np.testing.assert_allclose(got.mean, np.tile(want, (3, 1)), atol=1e-6)
    later = climatology().predict(params, _random(3, 2), DAY + np.float32(2 * 365.25))
    np.testing.assert_allclose(later.mean[:, 1:-1], got.mean[:, 1:-1], atol=1e-3)
    val = _known(_random(10, 1))
    np.testing.assert_allclose(got.std, np.sqrt(np.nanmean((val - want) ** 2)), rtol=1e-5)


def test_fold_takes_the_nearest_year():
    days = np.array([100.0, 50.0, 470.0, -700.0, 310.0, 420.0])
    want = [100.0, 50.0 + 0.0, 470.0 - 365.25, -700 + 2 * 365.25, 310.0, 420.0 - 365.25]
    np.testing.assert_allclose(fold_to_season(days, 60.0, 300.0), want)
    np.testing.assert_allclose(fold_to_season(days, 0.0, 2000.0)[[0, 3]], [100.0, 30.5])


def test_nearest_labels():
    valid = np.array([[False, True, False, True, False], [False] * 5])
    np.testing.assert_array_equal(last_valid(valid), [[-1, 1, 1, 3, 3], [-1] * 5])
    np.testing.assert_array_equal(next_valid(valid), [[1, 1, 3, 3, 5], [5] * 5])


def test_linear_is_interp_of_each_pixel():
    test = _random(12, 3, share=0.2)
    test.ndvi_valid[0] = False
    train = _random(20, 4)
    params = linear().fit(jax.random.key(0), train, _random(20, 5))
    days = np.sort(np.random.default_rng(6).uniform(DAY[0] - 50, DAY[-1] + 50, 90))
    got = linear().predict(params, test, days.astype(np.float32)).mean
    np.testing.assert_allclose(got[0], np.nanmean(_known(train)), rtol=1e-5)
    for pixel in range(1, 12):
        known = test.ndvi_valid[pixel]
        want = np.interp(days, DAY[known], test.ndvi[pixel, known])
        np.testing.assert_allclose(got[pixel], want, atol=1e-4)
    # the error bar is measured on labels that were hidden: of noise, it is wider than the noise
    assert params.std > np.nanstd(_known(train))


def _whittaker(penalty, series, order=2):
    method = whittaker(WhittakerConfig(order=order, penalties=(penalty,)))
    params = method.fit(jax.random.key(0), _random(20, 4), _random(20, 5))
    return method.predict(params, series, DAY).mean


def test_whittaker_goes_from_the_labels_to_a_line():
    test = _random(6, 7)
    known = test.ndvi_valid
    loose, stiff = _whittaker(1e-6, test), _whittaker(1e13, test)
    np.testing.assert_allclose(loose[known], test.ndvi[known], atol=1e-4)
    for pixel in range(6):
        x = (DAY - DAY[0]).astype(np.float64)
        line = np.polyfit(x[known[pixel]], test.ndvi[pixel, known[pixel]], 1)
        np.testing.assert_allclose(stiff[pixel], np.clip(np.polyval(line, x), -1, 1), atol=1e-4)


def test_whittaker_solves_its_equation_on_irregular_days():
    day = np.sort(np.random.default_rng(8).choice(300, 31, replace=False)).astype(np.float32)
    test = _random(4, 9)._replace(day=day)
    method = whittaker(WhittakerConfig(penalties=(1e3,)))
    params = method.fit(jax.random.key(0), _random(20, 4), _random(20, 5))
    got = method.predict(params, test, day).mean
    # divided differences: the first over the step, the second over the step to the one after next
    first = np.diff(np.eye(31), axis=0) / np.diff(day)[:, None]
    second = np.diff(first, axis=0) / (day[2:] - day[:-2])[:, None]
    for pixel in range(4):
        weight = np.diag(test.ndvi_valid[pixel].astype(np.float64))
        left = weight + 1e3 * second.T @ second
        want = np.linalg.solve(left, weight @ test.ndvi[pixel, :])
        np.testing.assert_allclose(got[pixel], np.clip(want, -1, 1), atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_whittaker_with_too_few_labels_is_a_mean(count):
    test = _random(2, 10)
    test.ndvi_valid[0] = np.arange(DAY.size) < count
    got = _whittaker(1e3, test)
    own, region = test.ndvi[0, :count], np.nanmean(_known(_random(20, 4)))
    want = own.mean() if count else region
    np.testing.assert_allclose(got[0], want, rtol=1e-5)
    np.testing.assert_array_equal(
        got[1],
        _whittaker(
            1e3,
            test.take(slice(1, 2)),  # no trace of pixel 0
        )[0],
    )


def test_whittaker_chooses_the_penalty_that_fits():
    x = (DAY - DAY[0]) / DAY[-1].clip(1)
    lines = np.linspace(0.2, 0.6, 30)[:, None] + 0 * x
    noisy = lines + np.random.default_rng(11).normal(0, 0.1, lines.shape)
    val = _series(noisy, np.random.default_rng(12).random(noisy.shape) < 0.7)
    method = whittaker(WhittakerConfig(penalties=(1.0, 1e4, 1e9)))
    params = method.fit(jax.random.key(0), _random(20, 4), val)
    assert params.penalty == 1e9
    assert params.std == pytest.approx(0.1, rel=0.15)


def test_knn_space_is_the_brute_force_mean():
    train, test = _random(40, 13, share=0.3), _random(7, 14)
    train.ndvi_valid[:, 5] = False
    train.ndvi_valid[:, 9] = np.arange(40) < 2  # fewer than neighbours
    params = knn_space().fit(jax.random.key(0), train, _random(10, 15))
    got = knn_space().predict(params, test, DAY).mean
    for pixel in range(7):
        distance = np.linalg.norm(train.position - test.position[pixel], axis=1)
        for date in np.delete(np.arange(DAY.size), 5):
            known = np.flatnonzero(train.ndvi_valid[:, date])
            near = known[np.argsort(distance[known])[:5]]
            want = train.ndvi[near, date].mean()
            np.testing.assert_allclose(got[pixel, date], want, atol=1e-5)
    np.testing.assert_allclose(got[:, 5], (got[:, 4] + got[:, 6]) / 2, atol=1e-5)


def test_knn_space_needs_positions():
    train = _random(8, 16)
    with pytest.raises(ValueError, match="position"):
        knn_space().fit(jax.random.key(0), train._replace(position=None), train)
    params = knn_space().fit(jax.random.key(0), train, train)
    with pytest.raises(ValueError, match="position"):
        knn_space().predict(params, train._replace(position=None), DAY)
