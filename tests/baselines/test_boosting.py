"""boosting: its rows against a loop, and a planted relation of radar and NDVI."""

import jax
import numpy as np
import pytest

from s1jax.baselines import BoostingConfig, boosting, climatology
from s1jax.baselines.boosting import conditional_rows, window_rows
from tests.baselines.test_baselines import DAY, scene, without_ndvi

CONFIG = BoostingConfig(iterations=60, rows=6000)


def _rmse(estimate, series):
    return np.sqrt(np.mean((estimate.mean - series.ndvi)[series.ndvi_valid] ** 2))


def _offset(series, seed):
    offset = np.random.default_rng(seed).uniform(-0.15, 0.15, (len(series.ndvi), 1))
    return series._replace(ndvi=series.ndvi + offset.astype(np.float32))


def test_rows_are_a_loop():
    series, window = scene(3, 0), 2
    radar = np.where(series.radar_valid, series.radar[:, :, 0], np.nan)
    radar = np.concatenate([radar, radar[..., 1:] - radar[..., :1]], axis=-1)
    pixel, date = (index.ravel() for index in np.indices((3, DAY.size)))
    around = window_rows(series, pixel, date, window)
    given = conditional_rows(series, pixel, date, window)
    np.testing.assert_array_equal(given[:, : around.shape[1]], around)
    for row, (p, t) in enumerate(zip(pixel, date, strict=True)):
        want = [
            radar[p, s] if 0 <= s < DAY.size else np.full(3, np.nan)
            for s in range(t - window, t + window + 1)
        ]
        known = np.flatnonzero(series.ndvi_valid[p])
        for side in (known[known < t][-1:], known[known > t][:1]):
            if side.size == 0:
                want.append(np.full(5, np.nan))
                continue
            (at,) = side
            label = [series.ndvi[p, at], abs(DAY[t] - DAY[at])]
            want.append(np.concatenate([label, radar[p, t] - radar[p, at]]))
        np.testing.assert_allclose(given[row], np.concatenate(want), rtol=1e-5, atol=1e-5)


def test_two_orbits_have_two_cross_ratios():
    one = scene(4, 1)
    two = one._replace(
        radar=np.concatenate([one.radar] * 2, axis=-1),
        radar_valid=np.concatenate([one.radar_valid] * 2, axis=-1),
    )
    rows = window_rows(two, np.array([1]), np.array([5]), 0)[0]
    ratio = one.radar[1, 5, 0, 1] - one.radar[1, 5, 0, 0]
    np.testing.assert_allclose(rows[4:], [ratio, ratio], rtol=1e-5)


@pytest.mark.slow
def test_learns_a_planted_relation_and_labels_help():
    # each pixel is a little greener or barer than its radar tells, which its labels give away
    train, val, test = (_offset(scene(n, seed), seed) for n, seed in ((80, 2), (40, 3), (40, 4)))
    method = boosting(CONFIG)
    params = method.fit(jax.random.key(0), train, val)
    region = climatology()
    mean_curve = region.predict(region.fit(jax.random.key(0), train, val), test, DAY)
    blind = method.predict(params, without_ndvi(test), DAY)
    given = method.predict(params, test, DAY)
    assert _rmse(blind, test) < 0.6 * _rmse(mean_curve, test)
    assert _rmse(given, test) < 0.8 * _rmse(blind, test)
    np.testing.assert_allclose(_rmse(blind, test), params.radar_std, rtol=0.2)
    # each pixel has the error bar of the model that served it
    mixed = test._replace(ndvi_valid=test.ndvi_valid.copy())
    mixed.ndvi_valid[:10] = False
    std = method.predict(params, mixed, DAY).std
    np.testing.assert_allclose(std[:10], params.radar_std, rtol=1e-6)
    np.testing.assert_allclose(std[10:], params.conditional_std, rtol=1e-6)


@pytest.mark.slow
def test_the_label_of_the_date_itself_is_not_looked_at():
    test = scene(5, 5)
    test.ndvi_valid[:, 12] = True
    method = boosting(CONFIG)
    params = method.fit(jax.random.key(0), scene(60, 2), scene(30, 3))
    marked = test.ndvi.copy()
    marked[:, 12] = -0.9
    want = method.predict(params, test, DAY).mean
    got = method.predict(params, test._replace(ndvi=marked), DAY).mean
    np.testing.assert_array_equal(got[:, 12], want[:, 12])
    assert np.any(got[:, 13] != want[:, 13])


def test_runs_without_any_radar():
    train, val, test = (
        s._replace(radar_valid=np.zeros_like(s.radar_valid))
        for s in (scene(60, 2), scene(30, 3), scene(5, 4))
    )
    method = boosting(CONFIG)
    got = method.predict(method.fit(jax.random.key(0), train, val), test, DAY)
    assert np.all(np.isfinite(got.mean))
    assert _rmse(got, test) < 0.2  # the neighbouring labels still tell the wave, of std 0.21
