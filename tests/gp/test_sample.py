"""Posterior draws: their joint moments against a NumPy posterior, and their laws."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gammainc

from s1jax.gp import Observations
from s1jax.gp.solve import _step, sample
from tests.worlds.gp_oracle import covariance, problem

DRAWS = 3000


def _joint(hyper, series, at, channel):
    """Mean and covariance of the latent of one output on all days `at` together."""
    row, output = np.nonzero(series.valid)
    t, asked = series.day[row], np.full(len(at), channel)
    k = covariance(hyper, t, output, t, output) + np.diag(hyper.noise[output])
    cross = covariance(hyper, t, output, at, asked)
    weights = np.linalg.solve(k, cross)
    prior = covariance(hyper, at, asked, at, asked)
    return weights.T @ series.value[row, output], prior - cross.T @ weights


def _problem(dtype):
    """Three pixels: all outputs seen, the last never, nothing at all; repeated days in both."""
    rng = np.random.default_rng(0)
    hyper, series = problem(rng, days=9)
    day = series.day.copy()
    day[5] = day[4]
    valid = np.stack([series.valid, series.valid, np.zeros_like(series.valid)])
    valid[1, :, -1] = False
    at = np.concatenate([[day[-1] + 40, day[2]], day[::-1], (day[1:4] + day[:3]) / 2, [day[0] - 9]])
    typed = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), hyper)
    day, at = np.asarray(day, dtype), np.asarray(at, dtype)
    value = rng.normal(size=valid.shape)
    return hyper, typed, day, value, valid, at


@partial(jax.jit, static_argnames="options")
def _draw(keys, hyper, day, value, valid, at, options=()):
    def _one(key, value, valid):
        series = Observations(day, value, valid)
        return sample(key, hyper, series, at, DRAWS, output=-1, **dict(options))

    return jax.vmap(_one)(keys, value, valid)


def _within(got, expected, variance):
    """Sampling error alone: five standard errors, over at most some hundred entries."""
    error = np.abs(got - expected) / np.sqrt(variance / DRAWS)
    assert error.max() < 5, error


@pytest.mark.slow
def test_joint_moments_are_those_of_the_posterior(x64):
    dtype = np.float64 if x64 else np.float32
    hyper, typed, day, value, valid, at = _problem(dtype)
    keys = jax.random.split(jax.random.key(1), 3)
    junk = np.where(valid, value, np.nan).astype(dtype)
    draws = _draw(keys, typed, day, junk, valid, at)
    assert draws.shape == (3, DRAWS, len(at))
    assert draws.dtype == dtype
    draws = np.asarray(draws, float)
    once = np.unique(at, return_index=True)[1]
    for pixel in range(3):
        series = Observations(np.float64(day), value[pixel], valid[pixel])
        mean, cov = _joint(hyper, series, np.float64(at), 2)
        _within(draws[pixel].mean(0), mean, np.diag(cov))
        got, variance = np.cov(draws[pixel].T), np.diag(cov)
        _within(got, cov, np.outer(variance, variance) + cov**2)
        # the same in the posterior's own axes: a curve is smooth where its days are near
        scale, axes = np.linalg.eigh(cov[np.ix_(once, once)])
        assert scale[0] > 1e-6
        white = (draws[pixel] - mean)[:, once] @ axes / np.sqrt(scale)
        _within(np.cov(white.T), np.eye(once.size), 1 + np.eye(once.size))


@pytest.mark.slow
def test_a_day_asked_for_twice_has_one_value(x64):
    dtype = np.float64 if x64 else np.float32
    _, typed, day, value, valid, at = _problem(dtype)
    keys = jax.random.split(jax.random.key(2), 3)
    draws = np.asarray(_draw(keys, typed, day, value.astype(dtype), valid, at))
    first, second = np.flatnonzero(at == day[2]), np.flatnonzero(at == day[4])
    assert first.size == second.size == 2
    for one, other in (first, second):
        gap = np.abs(draws[:, :, one] - draws[:, :, other]).max()
        assert gap < (1e-12 if x64 else 1e-5)


def test_a_day_of_the_series_is_the_same_point_when_asked_for(float64):
    """Almost without noise every draw meets the observation."""
    _, typed, day, value, valid, at = _problem(float)
    row = int(np.flatnonzero(valid[0, :, 2])[0])
    assert (day == day[row]).sum() == 1
    near = typed._replace(noise=jnp.full(3, 1e-8, float))
    draws = _draw(jax.random.split(jax.random.key(2), 3), near, day, value, valid, at)
    gap = np.asarray(draws)[0][:, at == day[row]] - value[0, row, 2]
    assert np.abs(gap).max() < 6e-4


@pytest.mark.slow
def test_same_key_same_draws_whatever_the_batch_and_the_solver(float64):
    _, typed, day, value, valid, at = _problem(float)
    keys = jax.random.split(jax.random.key(3), 3)
    value = jnp.where(valid, value, 0.0)
    together = np.asarray(_draw(keys, typed, day, value, valid, at))
    np.testing.assert_array_equal(together, _draw(keys, typed, day, value, valid, at))
    other = _draw(keys[::-1], typed, day, value, valid, at)
    assert np.abs(together[0] - other[0]).min() > 0
    one = jax.tree.map(lambda leaf: leaf[1:2], (keys, value, valid))
    alone = _draw(one[0], typed, day, *one[1:], at, options=(("solver", "dense"),))
    np.testing.assert_allclose(together[1:2], alone, rtol=0, atol=1e-10)


def test_steps_are_those_of_the_process(x64):
    """P_inf - A P_inf A^T in extended precision, from a day on a long scale to years on a short."""
    a = np.geomspace(1e-3, 300, 60)
    dtype = np.float64 if x64 else np.float32
    a = a.astype(dtype)
    f_new, f_s, s_new = np.asarray(jax.jit(_step)(a[:, None]), float)[:, :, 0]
    wide = a.astype(np.longdouble)
    move = np.exp(-wide) * np.array([[1 + wide, wide], [-wide, 1 - wide]])
    left = np.eye(2)[:, :, None] - np.einsum("ijt,kjt->ikt", move, move)
    # the extended difference has lost at most ten of its nineteen digits
    close = {"rtol": 1e-8 if x64 else 1e-5, "atol": 1e-30}
    np.testing.assert_allclose(f_new**2 + f_s**2, left[0, 0], **close)
    np.testing.assert_allclose(f_s * s_new, left[0, 1], **close)
    np.testing.assert_allclose(s_new**2, left[1, 1], **close)
    # what is left of f when s is known: x^3 / 24, a quarter of its variance, at short lags
    np.testing.assert_allclose(f_new[0] ** 2, gammainc(3, 2 * a[0]) / 4, rtol=3e-3)


def test_no_lag_no_step():
    @jax.jit
    @jax.value_and_grad
    def _sum(a):
        return sum(jnp.sum(part) for part in _step(a))

    value, slope = _sum(jnp.zeros((2, 1)))
    assert value == 0.0
    np.testing.assert_array_equal(slope, 0.0)


def test_errors_name_what_is_wrong():
    hyper, series = problem(np.random.default_rng(0), days=4)
    key = jax.random.key(0)
    hyper, day = jax.tree.map(jnp.float32, hyper), jnp.float32(series.day)
    series = Observations(day, jnp.float32(series.value), jnp.asarray(series.valid))
    with pytest.raises(ValueError, match="n: got 0, expected at least 1 draw"):
        sample(key, hyper, series, day, 0, output=0)
    short = series._replace(value=series.value[:, :2], valid=series.valid[:, :2])
    with pytest.raises(ValueError, match=r"observations.value: got shape \(4, 2\)"):
        sample(key, hyper, short, day, 3, output=0)
    draw = jax.jit(sample, static_argnames=("n", "output"))
    with pytest.raises(ValueError, match="output: got 3, expected an index of 3"):
        draw(key, hyper, series, day, n=3, output=3)
