"""Likelihood and posterior of one pixel: against an independent NumPy process, and its laws."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tinygp
from gp_oracle import draw, posterior, problem
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from s1jax import gp
from s1jax.gp import dense
from s1jax.types import Series


def _jax(hyper, series, dtype=np.float64):
    """Both as jax arrays of that precision."""
    real = [jax.tree.map(lambda a: jnp.asarray(a, dtype), x) for x in (hyper, series[:2])]
    return real[0], Series(*real[1], jnp.asarray(series.valid))


@partial(jax.jit, static_argnames="channel")
def _solve(hyper, series, at, channel=-1):
    """Log-likelihood, mean and std."""
    at = jnp.asarray(at, series.value.dtype)
    latent = gp.condition(hyper, series, at, channel=channel)
    return gp.log_likelihood(hyper, series), latent.mean, latent.std


def _around(series):
    """Days before, on, between and after those of the series."""
    day = np.asarray(series.day, float)
    middle = (day[1:] + day[:-1]) / 2
    return np.concatenate([[day[0] - 400, day[0] - 3], day, middle, [day[-1] + 5, day[-1] + 900]])


@pytest.mark.parametrize(("outputs", "latents"), [(1, 1), (3, 2), (5, 1)])
def test_equals_numpy_oracle(float64, outputs, latents):
    rng = np.random.default_rng(outputs * 10 + latents)
    hyper, series = problem(rng, outputs=outputs, latents=latents)
    at = _around(series)
    for channel in range(outputs):
        expected = posterior(hyper, series, at, channel)
        got = _solve(*_jax(hyper, series), at, channel)
        np.testing.assert_allclose(got[0], expected[0], rtol=1e-10)
        np.testing.assert_allclose(got[1], expected[1], rtol=0, atol=1e-10)
        np.testing.assert_allclose(got[2] ** 2, expected[2], rtol=0, atol=1e-10)


def test_single_precision_is_close_to_double():
    rng = np.random.default_rng(3)
    hyper, series = problem(rng, days=62, latents=2, irregular=False)
    hyper = hyper._replace(noise=np.array([0.4, 0.3, 0.01]))
    at = _around(series)
    expected = posterior(hyper, series, at, 2)
    got = _solve(*_jax(hyper, series, np.float32), at)
    assert all(x.dtype == np.float32 for x in got)
    np.testing.assert_allclose(got[0], expected[0], rtol=5e-5)
    np.testing.assert_allclose(got[1], expected[1], rtol=0, atol=3e-4)
    np.testing.assert_allclose(got[2], np.sqrt(expected[2]), rtol=5e-3)


def test_grid_covariance_is_that_of_the_points(float64):
    hyper, series = _jax(*problem(np.random.default_rng(0)))
    covariance = gp.kernel(hyper)
    kernel = jax.jit(lambda *where: covariance(*where))
    first = gp.Grid(series.day, jnp.arange(3), series.valid.T.astype(float))
    second = gp.Grid(series.day[3:9] + 1.5, jnp.array([2, 0]), jnp.ones((2, 6)))
    a, b = gp.points(first), gp.points(second)
    np.testing.assert_allclose(kernel(first, second), kernel(a, b), rtol=1e-14)
    np.testing.assert_allclose(kernel(first, first), kernel(a, a), rtol=1e-14)
    np.testing.assert_allclose(kernel(first), jnp.diag(kernel(a, a)), rtol=1e-14)
    np.testing.assert_allclose(kernel(a), jnp.diag(kernel(a, a)), rtol=1e-14)


@jax.jit
def _plain(kernel, where, noise, z, query):
    """tinygp as its manual uses it: a covariance of single points, log_probability, condition."""
    process = tinygp.GaussianProcess(kernel, where, diag=noise)
    likelihood, conditioned = process.condition(z, query, diag=jnp.zeros(()))
    return likelihood, conditioned.mean, conditioned.variance


def test_equals_plain_tinygp(float64):
    hyper, series = _jax(*problem(np.random.default_rng(1)))
    mask = series.valid.T.astype(float)
    at = jnp.asarray(_around(series))
    z = jnp.where(series.valid, series.value, 0.0).T.reshape(-1)
    noise = jnp.where(series.valid, hyper.noise[None, :], 1.0).T.reshape(-1)
    where = gp.points(gp.Grid(series.day, jnp.arange(3), mask))
    query = gp.Points(at, jnp.full(at.shape, 1), jnp.ones_like(at))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        likelihood, mean, variance = _plain(gp.kernel(hyper), where, noise, z, query)
    missing = jnp.sum(1.0 - mask)
    likelihood = likelihood + 0.5 * np.log(2 * np.pi).item() * missing
    got = _solve(hyper, series, at, 1)
    np.testing.assert_allclose(got[0], likelihood, rtol=1e-12)
    np.testing.assert_allclose(got[1], mean, atol=1e-12)
    np.testing.assert_allclose(got[2] ** 2, variance, atol=1e-12)


def test_what_is_not_valid_is_dropped(x64):
    hyper, series = problem(np.random.default_rng(2))
    whole = _jax(hyper, series, np.float64 if x64 else np.float32)
    at = _around(series)
    expected = _solve(*whole, at)
    for junk in (np.nan, np.inf, 1e30):
        value = jnp.where(whole[1].valid, whole[1].value, junk)
        for a, b in zip(
            _solve(whole[0], whole[1]._replace(value=value), at), expected, strict=True
        ):
            np.testing.assert_array_equal(a, b)


def test_masked_days_equal_absent_days(float64):
    hyper, series = problem(np.random.default_rng(4), seen=0.8)
    gone = np.zeros(len(series.day), bool)
    gone[[0, 4, 5, 13]] = True
    masked = series._replace(valid=series.valid & ~gone[:, None])
    kept = Series(series.day[~gone], series.value[~gone], series.valid[~gone])
    at = _around(series)
    pairs = zip(_solve(*_jax(hyper, masked), at), _solve(*_jax(hyper, kept), at), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize("latents", [1, 2])
def test_gradient(float64, latents):
    hyper, series = _jax(*problem(np.random.default_rng(5), days=7, latents=latents))
    check_grads(lambda h: gp.log_likelihood(h, series), (hyper,), order=1, modes=["rev"], rtol=1e-5)


def test_vmap_equals_loop(x64):
    rng = np.random.default_rng(6)
    hyper, series = problem(rng)
    hyper, series = _jax(hyper, series, np.float64 if x64 else np.float32)
    value = jnp.asarray(rng.normal(size=(5, *series.value.shape)), series.value.dtype)
    valid = jnp.asarray(rng.random(value.shape) < 0.5)
    at = jnp.asarray(_around(series), value.dtype)

    def _one(value, valid):
        return _solve(hyper, Series(series.day, value, valid), at)

    together = jax.vmap(_one)(value, valid)
    batches = dense.over_pixels(_one, value, valid)
    for pixel in range(5):
        alone = _one(value[pixel], valid[pixel])
        for a, b, c in zip(together, batches, alone, strict=True):
            np.testing.assert_allclose(a[pixel], c, rtol=1e-10 if x64 else 2e-5, atol=1e-6)
            np.testing.assert_allclose(b[pixel], c, rtol=1e-10 if x64 else 2e-5, atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999), shift=st.integers(-5000, 5000), scale=st.floats(0.1, 10))
def test_laws(seed, shift, scale):
    with jax.enable_x64(True):
        hyper, series = _jax(*problem(np.random.default_rng(seed)))
        at = jnp.asarray(_around(series))
        plain = _solve(hyper, series, at)
        # nothing depends on where the days begin
        moved = _solve(hyper, series._replace(day=series.day + shift), at + shift)
        for a, b in zip(plain, moved, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
        # the mean is linear in the values, the std does not know them
        other = series._replace(value=jnp.sin(series.value))
        both = series._replace(value=scale * series.value + other.value)
        mean = scale * plain[1] + _solve(hyper, other, at)[1]
        np.testing.assert_allclose(_solve(hyper, both, at)[1], mean, rtol=0, atol=1e-9)
        np.testing.assert_array_equal(_solve(hyper, both, at)[2], plain[2])
        # more data, less doubt
        more = series._replace(valid=jnp.ones_like(series.valid))
        assert np.all(_solve(hyper, more, at)[2] <= plain[2] + 1e-12)
        # the std scales with the outputs
        grown = gp.Hyper(
            hyper.lengthscale, hyper.mixing * scale, hyper.kappa * scale**2, hyper.noise * scale**2
        )
        large = _solve(grown, series._replace(value=series.value * scale), at)
        np.testing.assert_allclose(large[1], plain[1] * scale, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(large[2], plain[2] * scale, rtol=1e-9)


def test_little_or_no_data(float64):
    hyper, series = problem(np.random.default_rng(8), seen=0.0)
    at = _around(series)
    prior = np.sqrt((hyper.mixing**2 + hyper.kappa).sum(0))
    likelihood, mean, std = _solve(*_jax(hyper, series), at)
    np.testing.assert_array_equal(likelihood, 0.0)
    np.testing.assert_array_equal(mean, 0.0)
    np.testing.assert_allclose(std, prior[-1], rtol=1e-12)
    series.valid[4, 0] = True  # one observation of another output
    expected = posterior(hyper, series, at, 2)
    likelihood, mean, std = _solve(*_jax(hyper, series), at)
    np.testing.assert_allclose(likelihood, expected[0], rtol=1e-12)
    np.testing.assert_allclose(mean, expected[1], atol=1e-12)
    assert np.ptp(mean) > 1e-3
    series.valid[:, :2] = True  # NDVI never seen
    expected = posterior(hyper, series, at, 2)
    np.testing.assert_allclose(_solve(*_jax(hyper, series), at)[1], expected[1], atol=1e-10)


def test_band_covers_what_it_says(float64):
    rng = np.random.default_rng(9)
    hyper, series = problem(rng, days=20, irregular=False)
    latent, value = draw(rng, hyper, series.day, 150)
    valid = rng.random(value.shape) < 0.5
    hyper, series = _jax(hyper, series)

    def _one(value, valid):
        return gp.condition(hyper, Series(series.day, value, valid), series.day, channel=-1)

    estimate = jax.vmap(_one)(jnp.asarray(value), jnp.asarray(valid))
    error = np.abs(estimate.mean - latent[..., -1])
    assert 0.87 < np.mean(error < 1.645 * np.asarray(estimate.std)) < 0.93
    noisy = np.hypot(estimate.std, estimate.noise[:, None])
    hidden = ~valid[..., -1]
    error = np.abs(estimate.mean - value[..., -1])[hidden]
    assert 0.87 < np.mean(error < 1.645 * noisy[hidden]) < 0.93


def test_failed_factorisation_stays_visible():
    hyper, series = problem(np.random.default_rng(0), days=40, latents=1, seen=1.0)
    hyper = hyper._replace(
        lengthscale=np.full(1, 1e6), noise=np.full(3, 1e-12), kappa=hyper.kappa * 0
    )
    likelihood, mean, _ = _solve(*_jax(hyper, series, np.float32), series.day)
    assert np.isnan(likelihood)
    assert np.isnan(mean).all()


def test_errors_name_what_is_wrong():
    hyper, series = _jax(*problem(np.random.default_rng(0)), np.float32)
    with pytest.raises(ValueError, match=r"solver: got 'fast', expected one of \['dense'\]"):
        gp.condition(hyper, series, series.day, channel=0, solver="fast")
    with pytest.raises(ValueError, match="channel: got 3, expected an index of 3"):
        gp.condition(hyper, series, series.day, channel=3)
    short = series._replace(value=series.value[:, :2], valid=series.valid[:, :2])
    with pytest.raises(ValueError, match=r"series.value: got shape \(14, 2\)"):
        gp.log_likelihood(hyper, short)
