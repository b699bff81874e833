"""The output of a network for a date is a mixture, and its bands hold what was planted."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from s1jax import estimators
from s1jax.networks import model as mixtures
from s1jax.networks.sequence import mixture_factor
from s1jax.types import Estimate, Series
from tests.worlds.sequence import DATES, world


def _mixture(mean=0.3, std=0.4, share=0.2, depth=0.9):
    return mixtures.LabelMixture(*(jnp.full((1, 1), x) for x in (mean, std, share, depth)))


def test_density_is_the_mixture_and_integrates_to_one(float64):
    told, noise = _mixture(), jnp.asarray(0.25)

    def _density(y):
        log_p = mixtures.log_density(told, noise, jnp.full((1, 1), y))
        return float(jnp.exp(log_p)[0, 0])

    wide = np.hypot(0.4, 0.25)
    for y in (-2.0, 0.1, 0.7):
        low = norm.pdf(y, 0.3 - 0.9, np.hypot(wide, 0.9))
        expected = 0.8 * norm.pdf(y, 0.3, wide) + 0.2 * low
        assert _density(y) == pytest.approx(expected, rel=1e-9)
    assert quad(_density, -9, 9)[0] == pytest.approx(1.0, abs=1e-6)
    for level in (0.05, 0.5, 0.95):
        y = (float(mixtures.quantile(told, noise, level)[0, 0]) - 0.5) / 0.25
        assert quad(_density, -15, y)[0] == pytest.approx(level, abs=1e-5)
    truth = mixtures.log_truth(told, jnp.full((1, 1), 0.9))
    assert float(truth[0, 0]) == pytest.approx(norm.logpdf(0.9, 0.3, 0.4))


def test_without_mixture_it_is_a_gaussian(float64):
    outputs = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2, 4)))
    told = mixtures.mixture_of(outputs, mixture=False)
    label = jnp.ones((3, 2))
    found = mixtures.log_density(told, jnp.asarray(0.1), label)
    expected = norm.logpdf(1.0, told.mean, np.hypot(told.std, 0.1))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert (np.asarray(told.std) >= 0.01).all()


def test_bands_of_a_planted_error(caplog):
    series, latent = world(3, 300)
    label = series.ndvi_valid
    error = np.abs(series.ndvi - latent)

    def _told(std, pixels=300):
        spread = np.full((pixels, DATES), std)
        return lambda part, days: Estimate(latent[:pixels], spread, np.zeros(pixels))

    for std in (0.01, 0.05):
        found = estimators.calibrate(_told(std), series)
        np.testing.assert_allclose(found.noise, 0.03 * found.factor)
        np.testing.assert_array_equal(found.floor, 0.04)
        known = np.arange(300) < 150
        told = estimators.apply(found, _told(std)(series, None), known)
        np.testing.assert_allclose(told.std[0], found.factor[1] * np.hypot(std, 0.04))
        np.testing.assert_allclose(told.noise[-1], found.noise[0])
        wide = np.sqrt(std**2 + 0.04**2 + 0.03**2) * found.factor
        # labels err by N(0, 0.02): that is how wide the band is, and a little more to be sure
        np.testing.assert_allclose(wide, 0.02, rtol=0.08)
        held = (error <= 1.645 * wide[0])[label].mean()
        assert 0.9 <= held < 0.93
    far = estimators.calibrate(_told(0.05), series, inflation=1.5)
    np.testing.assert_allclose(far.factor, 1.5 * found.factor)
    np.testing.assert_allclose(far.noise, 1.5 * found.noise)
    assert not caplog.records
    estimators.calibrate(
        lambda part, days: _told(0.001)(part, days)._replace(mean=latent + 5.0), series
    )
    assert "a band 10 times as wide does not hold 90 % of the labels" in caplog.text
    few = series.take(slice(1))
    np.testing.assert_array_equal(estimators.calibrate(_told(0.01, 1), few).factor, 1.0)


def test_few_pixels_that_err_together_make_the_band_wider():
    series, latent = world(3, 12)
    off = np.where(np.arange(12) < 2, 0.3, 0.0)[:, None]

    def _told(part, days):
        return Estimate(latent + off, np.full((12, DATES), 0.02), np.zeros(12))

    label = series.ndvi_valid
    error = np.abs(latent + off - series.ndvi)
    pooled = np.quantile(error[label], 0.9) / 1.645
    found = estimators.calibrate(_told, series)
    assert (found.factor * np.sqrt(0.02**2 + 0.04**2 + 0.03**2) > 1.02 * pooled).all()


def test_pixels_of_one_field_tell_no_more_than_one():
    series, latent = world(3, 12)
    off = 0.02 * np.exp(np.linspace(0.0, 2.5, 12))[:, None]
    spread = np.full((72, DATES), 0.05)

    def _told(part, days):
        again = np.concatenate([latent + off] * 6)
        n = len(part.ndvi)
        return Estimate(again[:n], spread[:n], np.zeros(n))

    metres = 1000.0 * np.arange(12.0)
    apart = series._replace(position=np.stack([metres, metres], axis=1))
    # six pixels of a field, 10 m from each other
    six = apart.take(np.tile(np.arange(12), 6))
    six = six._replace(position=six.position + 10.0 * np.repeat(np.arange(6.0), 12)[:, None])
    once = estimators.calibrate(_told, apart).factor[0]
    np.testing.assert_allclose(estimators.calibrate(_told, six).factor[0], once, rtol=1e-6)
    np.testing.assert_array_equal(estimators.calibrate(_told, series).factor[0], once)
    assert estimators.calibrate(_told, six._replace(position=None)).factor[0] < 0.95 * once


@pytest.mark.parametrize("times", [0.5, 2.0])
def test_quantiles_hold_by_the_factor_that_was_planted(times):
    """Labels drawn from a mixture, whose std and noise are then told as `times` too small."""
    rng, shape = np.random.default_rng(0), (800, DATES)
    mean, depth = rng.uniform(-1.0, 1.0, shape), rng.uniform(0.4, 0.8, shape)
    std, clean = rng.uniform(0.2, 0.4, shape), 0.1
    low = rng.random(shape) < 0.2
    spread = np.sqrt(std**2 + clean**2 + np.where(low, depth**2, 0.0))
    label = mean - np.where(low, depth, 0.0) + spread * rng.normal(size=shape)
    day = np.float32(19668) + 12 * np.arange(DATES, dtype=np.float32)
    radar, seen = np.zeros((*shape, 1, 2), np.float32), np.ones((*shape, 2), bool)
    ndvi = (label * 0.25 + 0.5).astype(np.float32)
    series = Series(day, radar, seen, ndvi, np.ones(shape, bool))
    parts = (mean, std / times, np.full(shape, 0.2), depth)
    told = mixtures.LabelMixture(*(jnp.asarray(part, jnp.float32) for part in parts))
    found = mixture_factor([told, told], jnp.float32(clean / times), series)
    # not less, or fewer than nine in ten were held; little more, of so many labels
    assert ((found > 0.97 * times) & (found < 1.1 * times)).all()
