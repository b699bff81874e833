"""Every yardstick: shapes, dtype, keys, nothing leaks, nothing is NaN."""

import jax
import numpy as np
import pytest

from s1jax.baselines import (
    BoostingConfig,
    KnnSpaceConfig,
    WhittakerConfig,
    boosting,
    climatology,
    knn_space,
    linear,
    whittaker,
)
from s1jax.baselines.common import estimate
from tests.worlds.series import stacked

DAY = (19700 + 12 * np.arange(40)).astype(np.float32)
METHODS = {
    "climatology": climatology(),
    "linear": linear(),
    "whittaker": whittaker(WhittakerConfig(penalties=(1e3, 1e5))),
    "knn_space": knn_space(KnnSpaceConfig(neighbours=3)),
    "boosting": boosting(BoostingConfig(window=2, iterations=10, rows=2000)),
}


def scene(n, seed, dtype=np.float32):
    """Pixels whose NDVI is a noisy wave that VH follows; radar and labels with gaps."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 180, (n, 1))
    ndvi = 0.45 + 0.3 * np.sin(2 * np.pi * (DAY - phase) / 180) + rng.normal(0, 0.02, (n, DAY.size))
    vh = -18 + 8 * ndvi + rng.normal(0, 0.3, ndvi.shape)
    vv = -10 + rng.normal(0, 0.5, ndvi.shape)
    valid = rng.random((n, DAY.size, 3)) < np.array([0.9, 0.9, 0.6])
    value = np.stack([vv, vh, ndvi], axis=-1).astype(dtype)
    return stacked(DAY.astype(dtype), value, valid, rng.uniform(0, 5e3, (n, 2)).astype(dtype))


def without_ndvi(series):
    return series._replace(ndvi_valid=np.zeros_like(series.ndvi_valid))


@pytest.fixture(scope="module")
def fitted():
    train, val = scene(60, 1), scene(30, 2)
    return {name: m.fit(jax.random.key(0), train, val) for name, m in METHODS.items()}


@pytest.mark.parametrize("name", METHODS)
def test_estimate_is_finite_in_shape_and_dtype(name, x64):
    dtype = np.float64 if x64 else np.float32
    method = METHODS[name]
    params = method.fit(jax.random.key(0), scene(40, 1, dtype), scene(20, 2, dtype))
    test = scene(9, 3, dtype)
    test.radar_valid[0] = False  # a pixel without anything
    test.ndvi_valid[:2] = False
    test.ndvi_valid[2, 1:] = False  # at most one label
    days = np.concatenate([DAY[3:7] + 5, DAY[:1] - 400, DAY[-1:] + 3000]).astype(dtype)
    for series in (test, without_ndvi(test)):
        got = method.predict(params, series, days)
        assert got.mean.shape == got.std.shape == (9, days.size)
        assert got.mean.dtype == got.std.dtype == got.noise.dtype == dtype
        assert np.all(np.isfinite(got.mean))
        assert np.all(np.abs(got.mean) <= 1)
        assert np.all(got.std > 0)
        np.testing.assert_array_equal(got.noise, np.zeros(9))


@pytest.mark.parametrize("name", METHODS)
def test_fit_depends_on_the_key_alone(name, fitted):
    train, val, test = scene(60, 1), scene(30, 2), scene(9, 3)
    again = METHODS[name].fit(jax.random.key(0), train, val)
    want = METHODS[name].predict(fitted[name], test, DAY)
    got = METHODS[name].predict(again, test, DAY)
    np.testing.assert_array_equal(got.mean, want.mean)
    np.testing.assert_array_equal(got.std, want.std)


@pytest.mark.parametrize("name", METHODS)
def test_what_is_hidden_is_never_used(name, fitted):
    rng = np.random.default_rng(9)

    def _marked(series):
        radar, ndvi = (
            rng.uniform(-40, 40, leaf.shape).astype(np.float32)
            for leaf in (series.radar, series.ndvi)
        )
        return series._replace(
            radar=np.where(series.radar_valid[:, :, None], series.radar, radar),
            ndvi=np.where(series.ndvi_valid, series.ndvi, ndvi),
        )

    test = scene(9, 3)
    want = METHODS[name].predict(fitted[name], test, DAY)
    params = METHODS[name].fit(jax.random.key(0), _marked(scene(60, 1)), _marked(scene(30, 2)))
    got = METHODS[name].predict(params, _marked(test), DAY)
    np.testing.assert_array_equal(got.mean, want.mean)
    np.testing.assert_array_equal(got.std, want.std)


@pytest.mark.parametrize("name", METHODS)
def test_no_pixel_sees_the_labels_of_another_test_pixel(name, fitted):
    test = scene(9, 3)
    other = test.ndvi.copy()
    other[4:] = -1.0
    want = METHODS[name].predict(fitted[name], test, DAY).mean
    got = METHODS[name].predict(fitted[name], test._replace(ndvi=other), DAY).mean
    np.testing.assert_array_equal(got[:4], want[:4])
    alone = METHODS[name].predict(fitted[name], test.take(slice(2, 3)), DAY).mean
    np.testing.assert_array_equal(alone, want[2:3])


@pytest.mark.parametrize("name", ["climatology", "knn_space"])
def test_methods_of_the_region_ignore_the_pixels_own_labels(name, fitted):
    test = scene(9, 3)
    want = METHODS[name].predict(fitted[name], test, DAY).mean
    got = METHODS[name].predict(fitted[name], without_ndvi(test), DAY).mean
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", METHODS)
def test_doors(name):
    train, val = scene(8, 1), scene(8, 2)
    with pytest.raises(ValueError, match="label"):
        METHODS[name].fit(jax.random.key(0), without_ndvi(train), val)
    with pytest.raises(ValueError, match="label"):
        METHODS[name].fit(jax.random.key(0), train, without_ndvi(val))


def smoothed(series):
    look = series.radar + series.radar_valid[:, :, None]
    return series._replace(radar=np.concatenate([series.radar, look], axis=-2))


@pytest.mark.parametrize("name", METHODS)
def test_filtered_radar_beside_the_raw_moves_nothing(name, fitted):
    train, val, test = scene(60, 1), scene(30, 2), scene(9, 3)
    test.ndvi_valid[:4] = False
    want = METHODS[name].predict(fitted[name], test, DAY)
    params = METHODS[name].fit(jax.random.key(0), smoothed(train), smoothed(val))
    got = METHODS[name].predict(params, smoothed(test), DAY)
    np.testing.assert_array_equal(got.mean, want.mean)
    np.testing.assert_array_equal(got.std, want.std)


def test_estimate_hands_each_pixel_its_filtered_radar():
    test = smoothed(scene(9, 3))

    def _curve(part):
        return part.radar[:, :, 1, 1] / 100 + part.position[:, :1] / 1e5

    got = estimate(_curve, test, 0.1, chunk=4, label="curve")
    want = test.radar[:, :, 1, 1] / 100 + test.position[:, :1] / 1e5
    np.testing.assert_allclose(got.mean, want, atol=1e-6)
