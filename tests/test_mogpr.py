"""MOGPR as an Estimator: units, what it uses, what it must not see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gp_oracle import draw, posterior

from s1jax import gp
from s1jax.mogpr import MogprConfig, MogprParams, mogpr, quality
from s1jax.types import Series

HYPER = gp.Hyper(
    np.array([50.0]),
    np.array([[0.5, 0.7, 0.8]]),
    np.array([[0.1, 0.1, 0.1]]),
    np.array([0.4, 0.3, 0.05]),
)
MEAN, STD = np.array([-11.0, -17.0, 0.4]), np.array([2.0, 2.0, 0.15])
CONFIG = MogprConfig(latents=1, sample=40)


def _region(pixels=60, days=20, seed=0, channels=3):
    """Series in physical units drawn from HYPER, and the latent NDVI."""
    rng = np.random.default_rng(seed)
    day = 19000.0 + 12 * np.arange(days)
    latent, value = draw(rng, HYPER, day, pixels)
    latent, value = latent * STD + MEAN, value * STD + MEAN
    if channels == 5:
        value = value[..., [0, 1, 0, 1, 2]] + 0.3 * rng.normal(size=(pixels, days, 5))
    valid = np.ones(value.shape, bool)
    valid[..., -1] = rng.random((pixels, days)) < 0.5
    return Series(day, value.astype(np.float32), valid), latent[..., -1]


def _params():
    real = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (HYPER, MEAN, STD))
    return MogprParams(*real)


def test_learns_and_fills():
    series, truth = _region()
    method = mogpr(CONFIG)
    params = method.fit(jax.random.key(0), series, series)
    np.testing.assert_allclose(params.region_mean, MEAN, atol=0.3)
    np.testing.assert_allclose(params.region_std, STD, rtol=0.25)
    test, truth = _region(seed=1)
    estimate = method.predict(params, test, test.day)
    assert estimate.mean.shape == truth.shape
    assert estimate.noise.shape == ()
    gap = ~test.valid[..., -1]
    error = np.asarray(estimate.mean) - truth
    assert np.sqrt(np.mean(error[gap] ** 2)) < 0.6 * truth[gap].std()
    assert 0.8 < np.mean(np.abs(error) < 1.645 * np.asarray(estimate.std)) < 0.97
    # Sentinel-1 alone still tells something
    blind = test._replace(valid=test.valid & (np.arange(3) < 2))
    error = np.asarray(method.predict(params, blind, test.day).mean) - truth
    assert np.sqrt(np.mean(error**2)) < 0.9 * truth.std()


def test_is_the_posterior_in_ndvi_units():
    series, _ = _region()
    at = series.day[0] + np.linspace(-30.0, 400, 20)
    estimate = mogpr(CONFIG).predict(_params(), series, at)
    for pixel in np.flatnonzero(series.valid[..., -1].sum(1) >= 5)[:3]:
        seen = np.where(series.valid[pixel], series.value[pixel].astype(float), np.nan)
        mean, std = np.nanmean(seen, 0), np.nanstd(seen, 0)
        z = Series(series.day, (seen - mean) / std, series.valid[pixel])
        _, f, variance = posterior(HYPER, z, at, 2)
        np.testing.assert_allclose(estimate.mean[pixel], f * std[2] + mean[2], atol=1e-4)
        np.testing.assert_allclose(estimate.std[pixel], np.sqrt(variance) * std[2], rtol=1e-3)
    np.testing.assert_allclose(estimate.noise, np.sqrt(0.05) * 0.15, rtol=1e-6)


def test_std_scales_with_ndvi():
    # a variance times std, as FuseTS returns, would not
    series, _ = _region()
    small = series.value.copy()
    small[..., -1] *= 0.5
    predict = mogpr(CONFIG).predict
    a = predict(_params(), series, series.day)
    b = predict(_params(), series._replace(value=small), series.day)
    np.testing.assert_allclose(b.std, 0.5 * np.asarray(a.std), rtol=1e-4)
    np.testing.assert_allclose(b.mean, 0.5 * np.asarray(a.mean), atol=1e-5)


def test_hidden_values_never_matter():
    series, _ = _region()
    junk = np.where(series.valid, series.value, np.float32(np.nan))
    hidden = series._replace(value=junk)
    method = mogpr(CONFIG)
    params = [method.fit(jax.random.key(1), s, s) for s in (series, hidden)]
    jax.tree.map(np.testing.assert_array_equal, *params)
    a, b = (method.predict(params[0], s, series.day) for s in (series, hidden))
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("latents", [1, 2])
def test_chunks_and_neighbours_change_no_bit(latents):
    series, _ = _region()
    series.value[41], series.valid[41] = series.value[3], series.valid[3]
    hyper = gp.Hyper(
        *(jnp.repeat(jnp.asarray(a, jnp.float32), latents, 0) for a in HYPER[:3]),
        jnp.asarray(HYPER.noise, jnp.float32),
    )
    params = _params()._replace(hyper=hyper)
    runs = [
        mogpr(MogprConfig(chunk=chunk)).predict(params, series, series.day) for chunk in (7, 64)
    ]
    jax.tree.map(np.testing.assert_array_equal, *runs)
    np.testing.assert_array_equal(runs[0].mean[3], runs[0].mean[41])
    np.testing.assert_array_equal(runs[0].std[3], runs[0].std[41])


def test_two_orbits():
    series, _ = _region(pixels=20, days=12, channels=5)
    method = mogpr(MogprConfig(latents=2, sample=10, iterations=2))
    params = method.fit(jax.random.key(0), series, series)
    assert params.hyper.mixing.shape == (2, 5)
    estimate = method.predict(params, series, series.day[:4] + 3.0)
    assert estimate.mean.shape == (20, 4)
    assert np.isfinite(estimate.mean).all()
    assert np.all(estimate.std > 0)


def test_without_data_the_prior_and_the_flag_say_so():
    series, _ = _region()
    series.valid[1, :, -1] = False
    series.valid[2] = False
    series.valid[3, :, -1] = np.arange(20) < 4
    flags = quality(_params(), series)
    assert flags.dtype == np.uint8
    np.testing.assert_array_equal(flags[:4], [0, 1, 2, 1])
    estimate = mogpr(CONFIG).predict(_params(), series, series.day)
    np.testing.assert_allclose(estimate.mean[2], 0.4, rtol=1e-6)
    np.testing.assert_allclose(estimate.std[2], 0.15 * np.sqrt(0.8**2 + 0.1), rtol=1e-5)
    assert np.ptp(estimate.mean[1]) > 0.05


def test_mean_is_an_ndvi():
    series, _ = _region()
    series.value[..., -1] = np.sign(series.value[..., 1] + 17)
    params = _params()._replace(hyper=_params().hyper._replace(mixing=jnp.full((1, 3), 3.0)))
    assert np.abs(mogpr(CONFIG).predict(params, series, series.day).mean).max() == 1.0


def test_the_key_draws_the_sample():
    series, _ = _region()
    fit = mogpr(MogprConfig(latents=1, sample=40, iterations=2)).fit
    a, b, c = (fit(jax.random.key(k), series, series).hyper for k in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, a, b)
    assert np.any(a.mixing != c.mixing)


def test_channel_without_values_is_an_error():
    series, _ = _region()
    series.valid[..., 1] = False
    with pytest.raises(ValueError, match=r"training values of channel 1 .*got 0 valid values"):
        mogpr(CONFIG).fit(jax.random.key(0), series, series)
