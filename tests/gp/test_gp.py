"""Likelihood and posterior of one pixel: against an independent NumPy process, and its laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tinygp
from hypothesis import given, settings
from hypothesis import strategies as st
from tinygp.solvers import DirectSolver

from s1jax import batching, gp
from s1jax.gp import Observations
from s1jax.gp.kernel import Points, points
from tests.worlds.gp_oracle import draw, posterior, problem


def _jax(hyper, series, dtype=np.float64):
    """Both as jax arrays of that precision."""
    real = [jax.tree.map(lambda a: jnp.asarray(a, dtype), x) for x in (hyper, series[:2])]
    return real[0], Observations(*real[1], jnp.asarray(series.valid))


@batching.jit_recursion
def _solve(hyper, series, at):
    """Log-likelihood, and mean and std of every output."""
    at = jnp.asarray(at, series.value.dtype)
    return gp.log_likelihood(hyper, series), *gp.condition(hyper, series, at, output=None)


def _around(series):
    """Days before, on, between and after those of the series."""
    day = np.asarray(series.day, float)
    middle = (day[1:] + day[:-1]) / 2
    return np.concatenate([[day[0] - 400, day[0] - 3], day, middle, [day[-1] + 5, day[-1] + 900]])


def _expected(hyper, series, at):
    """The same by NumPy."""
    each = [posterior(hyper, series, at, channel) for channel in range(series.value.shape[1])]
    mean, variance = (np.stack([x[k] for x in each]) for k in (1, 2))
    return each[0][0], mean, np.sqrt(variance)


def test_equals_numpy_oracle(float64):
    hyper, series = problem(np.random.default_rng(32))
    at = _around(series)
    got, expected = _solve(*_jax(hyper, series), at), _expected(hyper, series, at)
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-10)
    np.testing.assert_allclose(got[1], expected[1], rtol=0, atol=1e-10)
    np.testing.assert_allclose(got[2] ** 2, expected[2] ** 2, rtol=0, atol=1e-10)


def test_one_output_is_that_of_all(float64):
    hyper, series = _jax(*problem(np.random.default_rng(33)))
    at = jnp.asarray(_around(series))
    _, mean, std = _solve(hyper, series, at)
    one = jax.jit(gp.condition, static_argnames="output")
    for output in (1, -1):
        one_mean, one_std = one(hyper, series, at, output=output)
        np.testing.assert_allclose(one_mean, mean[output], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(one_std, std[output], rtol=1e-12)


@jax.jit
def _plain(kernel, where, noise, z, query):
    """tinygp as its manual uses it: a covariance of single points, log_probability, condition."""
    process = tinygp.GaussianProcess(kernel, where, diag=noise, solver=DirectSolver)
    likelihood, conditioned = process.condition(z, query, diag=jnp.zeros(()))
    return likelihood, conditioned.mean, conditioned.variance


def test_equals_plain_tinygp(float64):
    hyper, series = _jax(*problem(np.random.default_rng(1)))
    mask = series.valid.T.astype(float)
    at = jnp.asarray(_around(series))
    z = jnp.where(series.valid, series.value, 0.0).T.reshape(-1)
    noise = jnp.where(series.valid, hyper.noise[None, :], 1.0).T.reshape(-1)
    where = points(series.day, jnp.arange(3), mask)
    # its mean takes the points in the order of their days, as the kernel is quasiseparable
    order = np.argsort(where.day, stable=True)
    where, noise, z = jax.tree.map(lambda leaf: leaf[order], (where, noise, z))
    query = Points(at, jnp.full(at.shape, 1), jnp.ones_like(at))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        likelihood, mean, variance = _plain(gp.kernel(hyper), where, noise, z, query)
    missing = jnp.sum(1.0 - mask)
    likelihood = likelihood + 0.5 * np.log(2 * np.pi).item() * missing
    got = _solve(hyper, series, at)
    np.testing.assert_allclose(got[0], likelihood, rtol=1e-12)
    np.testing.assert_allclose(got[1][1], mean, atol=1e-12)
    np.testing.assert_allclose(got[2][1] ** 2, variance, atol=1e-12)


def test_what_is_not_valid_is_dropped(x64):
    hyper, series = problem(np.random.default_rng(2))
    whole = _jax(hyper, series, np.float64 if x64 else np.float32)
    at = _around(series)
    expected = _solve(*whole, at)
    assert all(leaf.dtype == (np.float64 if x64 else np.float32) for leaf in expected)
    for junk in (np.nan, np.inf, 1e30):
        value = jnp.where(whole[1].valid, whole[1].value, junk)
        got = _solve(whole[0], whole[1]._replace(value=value), at)
        jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_a_day_without_data_may_lie_anywhere(float64):
    hyper, series = problem(np.random.default_rng(4), seen=0.8)
    gone = np.isin(np.arange(14), [0, 4, 5, 13])
    valid = series.valid & ~gone[:, None]
    kept = series.day[~gone]
    at = _around(series)
    first = _solve(*_jax(hyper, series._replace(valid=valid)), at)
    # the days that stay, after four others
    other = Observations(
        np.concatenate([kept[0] - [90.0, 90, 2, 1], kept]),
        np.concatenate([series.value[gone], series.value[~gone]]),
        np.concatenate([valid[gone], valid[~gone]]),
    )
    second = _solve(*_jax(hyper, other), at)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)


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
        # nor on which way they run
        back = Observations(-series.day[::-1], series.value[::-1], series.valid[::-1])
        for a, b in zip(plain, _solve(hyper, back, -at), strict=True):
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
    np.testing.assert_allclose(std, np.repeat(prior[:, None], at.size, 1), rtol=1e-12)
    series.valid[4, 0] = True  # one observation of another output
    expected = _expected(hyper, series, at)
    likelihood, mean, std = _solve(*_jax(hyper, series), at)
    np.testing.assert_allclose(likelihood, expected[0], rtol=1e-12)
    np.testing.assert_allclose(mean, expected[1], atol=1e-12)
    assert np.ptp(mean[-1]) > 1e-3
    series.valid[:, :2] = True  # NDVI never seen
    expected = _expected(hyper, series, at)
    np.testing.assert_allclose(_solve(*_jax(hyper, series), at)[1], expected[1], atol=1e-10)


def test_band_covers_what_it_says(float64):
    rng = np.random.default_rng(9)
    hyper, series = problem(rng, days=20, irregular=False)
    latent, value = draw(rng, hyper, series.day, 150)
    valid = rng.random(value.shape) < 0.5
    hyper, series = _jax(hyper, series)

    def _one(value, valid):
        return gp.condition(hyper, Observations(series.day, value, valid), None, output=-1)

    mean, std = jax.jit(jax.vmap(_one))(jnp.asarray(value), jnp.asarray(valid))
    error = np.abs(mean - latent[..., -1])
    assert 0.87 < np.mean(error < 1.645 * np.asarray(std)) < 0.93
    noisy = np.hypot(std, np.sqrt(hyper.noise[-1]))
    hidden = ~valid[..., -1]
    error = np.abs(mean - value[..., -1])[hidden]
    assert 0.87 < np.mean(error < 1.645 * noisy[hidden]) < 0.93


def test_failed_factorisation_stays_visible():
    hyper, series = problem(np.random.default_rng(0), latents=1, seen=1.0)
    hyper = hyper._replace(
        lengthscale=np.full(1, 1e6), noise=np.full(3, 1e-20), kappa=hyper.kappa * 0
    )

    @jax.jit
    def _dense(hyper, series):
        mean, _ = gp.condition(hyper, series, None, output=-1, solver="dense")
        return gp.log_likelihood(hyper, series, solver="dense"), mean

    likelihood, mean = _dense(*_jax(hyper, series, np.float32))
    assert np.isnan(likelihood)
    assert np.isnan(mean).all()


def test_errors_name_what_is_wrong():
    hyper, series = _jax(*problem(np.random.default_rng(0)), np.float32)
    with pytest.raises(ValueError, match=r"solver: got 'fast', expected one of \['dense', 'kal"):
        gp.condition(hyper, series, series.day, output=0, solver="fast")
    with pytest.raises(ValueError, match="solver: got 'fast'"):
        gp.log_likelihood(hyper, series, solver="fast")
    for output in (3, -4):
        with pytest.raises(ValueError, match=f"output: got {output}, expected an index of 3"):
            gp.condition(hyper, series, series.day, output=output)
    short = series._replace(value=series.value[:, :2], valid=series.valid[:, :2])
    for solve in (gp.log_likelihood, lambda *x: gp.condition(*x, None, output=None)):
        with pytest.raises(ValueError, match=r"observations.value: got shape \(14, 2\)"):
            solve(hyper, short)
