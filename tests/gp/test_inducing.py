"""The sparse posterior: its formula, where it is exact, how it nears the exact one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s1jax.gp import Observations
from s1jax.gp.dense import condition_sparse
from tests.worlds.gp_oracle import covariance, draw, posterior, problem


@partial(jax.jit, static_argnums=(5, 6))
def _solve(hyper, day, value, valid, at, outputs, number):
    """Mean and variance of many pixels."""

    def _one(value, valid):
        return condition_sparse(
            hyper, Observations(day, value, valid), at, outputs, inducing=number
        )

    return jax.vmap(_one)(value, valid)


def _typed(hyper, dtype=float):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), hyper)


def _formula(hyper, series, at, channel, number):
    """The equations as they stand, on the observed points alone, with inverses."""
    row, output = np.nonzero(series.valid)
    t, z = series.day[row], series.value[row, output]
    m = np.repeat(np.linspace(series.day[0], series.day[-1], number), len(hyper.noise))
    p = np.tile(np.arange(len(hyper.noise)), number)
    asked = np.full(len(at), channel)
    own = covariance(hyper, m, p, m, p)
    seen = covariance(hyper, m, p, t, output) / hyper.noise[output]
    query = covariance(hyper, m, p, at, asked)
    s = own + seen @ covariance(hyper, t, output, m, p)
    prior = np.diag(covariance(hyper, at, asked, at, asked))
    doubt = np.linalg.inv(own) - np.linalg.inv(s)
    mean = query.T @ np.linalg.solve(s, seen @ z)
    return mean, prior - np.sum(query * (doubt @ query), axis=0)


def _pixels(rng, series):
    """Some seen, an output never, one observation, none: values with junk, values and masks."""
    valid = rng.random((4, *series.value.shape)) < 0.6
    valid[1, :, -1] = False
    valid[2:] = False
    valid[2, 3, 0] = True
    value = rng.normal(size=valid.shape)
    return np.where(valid, value, np.nan), value, valid


def test_equals_its_formula(float64):
    rng = np.random.default_rng(0)
    hyper, series = problem(rng)
    at = np.concatenate([series.day[::-1], [series.day[-1] + 300, series.day[0] - 9]])
    junk, value, valid = _pixels(rng, series)
    mean, variance = _solve(_typed(hyper), series.day, junk, valid, at, (2, 0), 6)
    for pixel, row in np.ndindex(4, 2):
        one = Observations(series.day, value[pixel], valid[pixel])
        expected = _formula(hyper, one, at, (2, 0)[row], 6)
        np.testing.assert_allclose(mean[pixel, row], expected[0], rtol=0, atol=1e-9)
        np.testing.assert_allclose(variance[pixel, row], expected[1], rtol=0, atol=1e-9)


def test_exact_where_every_day_is_an_inducing_day(x64):
    rng = np.random.default_rng(1)
    hyper, series = problem(rng, days=20, irregular=False)
    at = np.concatenate([series.day, series.day + 5, [series.day[0] - 700]])
    junk, value, valid = _pixels(rng, series)
    dtype = np.float64 if x64 else np.float32
    arrays = (series.day.astype(dtype), junk.astype(dtype), valid, at.astype(dtype))
    mean, variance = _solve(_typed(hyper, dtype), *arrays, (0, 1, 2), 20)
    assert mean.dtype == variance.dtype == dtype
    for pixel, channel in np.ndindex(4, 3):
        one = Observations(series.day, value[pixel], valid[pixel])
        expected = posterior(hyper, one, at, channel)[1:]
        close = {"rtol": 0, "atol": 1e-9 if x64 else 3e-4}
        np.testing.assert_allclose(mean[pixel, channel], expected[0], **close)
        np.testing.assert_allclose(variance[pixel, channel], expected[1], **close)


@pytest.mark.slow
def test_more_inducing_days_are_nearer_the_exact_posterior(float64):
    rng = np.random.default_rng(2)
    hyper, series = problem(rng, days=40, latents=1, seen=1.0)
    hyper = hyper._replace(lengthscale=np.array([90.0]))
    _, value = draw(rng, hyper, series.day, 8)
    valid = rng.random(value.shape) < 0.7
    exact = np.stack(
        [
            posterior(hyper, Observations(series.day, *pixel), series.day, 2)[1:]
            for pixel in zip(value, valid, strict=True)
        ],
        axis=1,
    )
    arrays = (_typed(hyper), series.day, value, valid, None, (2,))
    error = []
    for number in (4, 16):
        got = np.stack(_solve(*arrays, number))[:, :, 0]
        error.append(np.sqrt(np.mean(np.square(got - exact), axis=(1, 2))))
    mean, variance = np.transpose(error)
    assert mean[0] > 5 * mean[1]
    assert variance[0] > 5 * variance[1]
    assert mean[1] < 0.05


def test_masked_days_equal_absent_days(float64):
    rng = np.random.default_rng(3)
    hyper, series = problem(rng)
    value = rng.normal(size=(4, 14, 3))
    kept = ~np.isin(np.arange(14), [1, 5, 6, 10])
    valid = (rng.random(value.shape) < 0.8) & kept[None, :, None]
    hyper, at = _typed(hyper), np.concatenate([series.day + 2.0, [series.day[0] - 3, 0.0]])
    masked = _solve(hyper, series.day, value, valid, at, (2, 0), 6)
    absent = _solve(hyper, series.day[kept], value[:, kept], valid[:, kept], at, (2, 0), 6)
    np.testing.assert_allclose(np.stack(masked), np.stack(absent), rtol=0, atol=1e-12)


@pytest.mark.parametrize("lengthscale", [30.0, 2000.0])
def test_inducing_days_that_are_one_day_or_nearly(x64, lengthscale):
    """K_mm has no inverse, or hardly one; the posterior is as exact as the precision allows."""
    hyper, series = problem(np.random.default_rng(4), days=20, seen=1.0, latents=1)
    hyper = hyper._replace(lengthscale=np.array([lengthscale]))
    dtype = np.float64 if x64 else np.float32
    for day in (np.full(20, 19000.0), 19000.0 + np.arange(20)):
        one = series._replace(day=day)
        at = np.append(day, day[-1] + 20)
        arrays = (day.astype(dtype), series.value.astype(dtype)[None], series.valid[None])
        mean, variance = _solve(_typed(hyper, dtype), *arrays, at.astype(dtype), (1,), 20)
        expected = posterior(hyper, one, at, 1)[1:]
        np.testing.assert_allclose(mean[0, 0], expected[0], atol=1e-8 if x64 else 3e-3)
        np.testing.assert_allclose(variance[0, 0], expected[1], rtol=1e-8 if x64 else 0.02)


def test_names_too_few_inducing_days():
    hyper, series = problem(np.random.default_rng(0))
    with pytest.raises(ValueError, match="inducing: got 1, expected at least 2 days"):
        condition_sparse(hyper, series, series.day, (0,), inducing=1)
