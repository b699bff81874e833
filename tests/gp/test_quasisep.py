"""The kernel's state space, and likelihood and posterior by tinygp's quasiseparable solver."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tinygp
from scipy.linalg import expm

from s1jax import gp
from s1jax.gp import Observations, dense
from s1jax.gp.kernel import Points
from tests.worlds import quasisep
from tests.worlds.gp_oracle import covariance, posterior, problem


@partial(jax.jit, static_argnames="outputs")
def _solve(hyper, day, value, valid, at, outputs):
    """Log-likelihood, its gradient, mean and variance of many pixels."""

    def _one(value, valid):
        series = Observations(day, value, valid)
        return (
            *jax.value_and_grad(quasisep.log_likelihood)(hyper, series),
            *quasisep.condition(hyper, series, at, outputs),
        )

    return jax.vmap(_one)(value, valid)


@jax.jit
def _dense_slope(hyper, day, value, valid):
    """Gradient by the dense solver, pixel by pixel."""

    def _one(pixel):
        return jax.grad(dense.log_likelihood)(hyper, Observations(day, *pixel))

    return jax.lax.map(_one, (value, valid))


def _typed(hyper, dtype):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), hyper)


def _masks(rng, days, outputs):
    """Everything seen, some, an output never, one observation, none."""
    some = rng.random((4, days, outputs)) < 0.5
    some[0] = True
    some[2, :, -1] = False
    some[3] = False
    single = some[3].copy()
    single[days // 2, 0] = True
    return np.concatenate([some, single[None]])


@pytest.mark.slow
@pytest.mark.parametrize(("outputs", "latents"), [(1, 1), (5, 3)])
def test_equals_the_oracle_and_the_dense_solver(float64, outputs, latents):
    rng = np.random.default_rng(10 * outputs + latents)
    hyper, series = problem(rng, days=10, outputs=outputs, latents=latents)
    day = np.asarray(series.day)
    day[4] = day[3]  # two acquisitions of one day
    at = np.concatenate([[day[-1] + 900, day[2]], day[::-1], day[:-1] + 0.4, [day[0] - 700]])
    valid = _masks(rng, *series.value.shape)
    value = rng.normal(size=valid.shape)
    junk = np.where(valid, value, np.nan)
    asked = tuple(range(outputs))[::-1]
    typed = _typed(hyper, float)
    got = jax.tree.map(np.asarray, _solve(typed, day, junk, valid, at, asked))
    for pixel in range(len(valid)):
        for row, channel in enumerate(asked):
            one = Observations(day, value[pixel], valid[pixel])
            likelihood, mean, variance = posterior(hyper, one, at, channel)
            np.testing.assert_allclose(got[0][pixel], likelihood, rtol=0, atol=1e-10)
            np.testing.assert_allclose(got[2][pixel, row], mean, rtol=0, atol=1e-10)
            np.testing.assert_allclose(got[3][pixel, row], variance, rtol=0, atol=1e-10)
    slope = _dense_slope(typed, day, value, valid)
    for a, b in zip(got[1], slope, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * np.abs(b).max())


@jax.jit
def _single(hyper, series):
    """Log-likelihood, and mean and variance of output 2 on the days of the series, in float32."""
    hyper, (day, value) = jax.tree.map(jnp.float32, (hyper, series[:2]))
    series = Observations(day, value, series.valid)
    return quasisep.log_likelihood(hyper, series), *quasisep.condition(hyper, series, None, (2,))


@pytest.mark.slow
def test_single_precision_is_close_to_double():
    hyper, series = problem(np.random.default_rng(3), days=62, irregular=False)
    hyper = hyper._replace(noise=np.array([0.4, 0.3, 0.01]))
    got = _single(hyper, series)
    assert all(leaf.dtype == np.float32 for leaf in got)
    likelihood, mean, variance = posterior(hyper, series, series.day, 2)
    np.testing.assert_allclose(got[0], likelihood, rtol=5e-5)
    np.testing.assert_allclose(got[1][0], mean, rtol=0, atol=3e-4)
    np.testing.assert_allclose(np.sqrt(got[2][0]), np.sqrt(variance), rtol=5e-3)


def test_failed_factorisation_stays_visible():
    hyper, series = problem(np.random.default_rng(0), days=62, seen=1.0)
    hyper = hyper._replace(
        lengthscale=np.full(2, 1e6), noise=np.full(3, 1e-12), kappa=hyper.kappa * 0
    )
    got = _single(hyper, series)
    assert np.isnan(got[0])
    assert np.isnan(got[1]).all()


def _points(day, outputs, mask):
    return Points(np.repeat(day, outputs), np.tile(np.arange(outputs), len(day)), mask)


@jax.jit
def _plain(kernel, where, noise, z, query):
    """tinygp as its manual uses it, with the kernel of many pixels at once."""

    def _one(z, mask):
        here = where._replace(mask=mask)
        process = tinygp.GaussianProcess(kernel, here, diag=noise, assume_sorted=True)
        likelihood, conditioned = process.condition(z, query, diag=jnp.zeros(()))
        at_points = process.condition(z, diag=jnp.zeros(())).gp
        return likelihood, conditioned.mean, conditioned.variance, at_points.variance

    return jax.vmap(_one)(z, jnp.stack([where.mask, where.mask]))


@pytest.mark.slow
def test_is_a_kernel_that_tinygp_can_use(float64):
    """What it tells on its own: `condition` on other points and on its own, in a vmap."""
    hyper, series = problem(np.random.default_rng(1), days=8, seen=1.0)
    kernel = gp.kernel(_typed(hyper, float))
    where = _points(series.day, 3, np.ones(24))
    at = np.concatenate([series.day[::-1] + 1.5, [series.day[0] - 30]])
    query = Points(at, np.full(9, 1), np.ones(9))
    z, noise = series.value.reshape(-1), np.tile(hyper.noise, 8)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        got = _plain(kernel, where, noise, np.stack([z, 2 * z]), query)
    likelihood, mean, variance = posterior(hyper, series, at, 1)
    np.testing.assert_allclose(got[0][0], likelihood, rtol=1e-12)
    np.testing.assert_allclose(got[1], np.outer([1, 2], mean), atol=1e-10)
    np.testing.assert_allclose(got[2], np.tile(variance, (2, 1)), atol=1e-10)
    own = posterior(hyper, series, series.day, 2)[2]
    np.testing.assert_allclose(got[3][1, 2::3], own, atol=1e-10)


@jax.jit
def _matrices(kernel, where, first, last):
    return (
        kernel.to_symm_qsm(where).to_dense(),
        kernel(where, where),
        kernel(where),
        kernel.design_matrix(),
        kernel.stationary_covariance(),
        kernel.transition_matrix(first, last),
    )


def test_state_space_is_that_of_the_covariance(float64):
    rng = np.random.default_rng(2)
    hyper, series = problem(rng, days=7)
    kernel = gp.kernel(_typed(hyper, float))
    mask = np.float64(rng.random(21) < 0.6)
    where = jax.tree.map(jnp.asarray, _points(series.day, 3, mask))
    whole = covariance(hyper, where.day, where.output, where.day, where.output)
    whole *= np.outer(mask, mask)
    first, last = (jax.tree.map(lambda leaf, i=i: leaf[i], where) for i in (0, 20))
    quasi, plain, diagonal, feedback, stationary, transition = jax.tree.map(
        np.asarray, _matrices(kernel, where, first, last)
    )
    np.testing.assert_allclose(quasi, whole, atol=1e-14)
    np.testing.assert_allclose(plain, whole, atol=1e-14)
    np.testing.assert_allclose(diagonal, np.diag(whole), atol=1e-14)
    # the state moves as its differential equation says, noise enters by the derivatives alone
    moved = expm(feedback * float(last.day - first.day)).T
    np.testing.assert_allclose(transition, moved, atol=1e-12)
    flow = feedback @ stationary + stationary @ feedback.T
    np.testing.assert_allclose(flow[::2, :], 0.0, atol=1e-14)
    assert np.linalg.eigvalsh(flow[1::2, 1::2]).max() < 0


def test_far_queries_do_not_overflow():
    """The products that tinygp asks for and drops grow as exp(sqrt(3) days / l)."""
    hyper, series = problem(np.random.default_rng(5), days=5, latents=1)
    hyper = _typed(hyper._replace(lengthscale=np.full(1, 6.0)), np.float32)
    day = np.float32(series.day)
    where = jax.tree.map(jnp.asarray, _points(day, 3, np.ones(15, np.float32)))
    far = np.float32([day[0] - 3000, day[-1] + 3000, day[2]])
    query = Points(jnp.asarray(far), jnp.zeros(3, int), jnp.ones(3))

    @jax.jit
    def _sum(hyper):
        product = gp.kernel(hyper).matmul(query, where, jnp.ones(15))
        return jnp.sum(product), product

    slope, product = jax.grad(_sum, has_aux=True)(hyper)
    np.testing.assert_array_equal(product[:2], 0.0)
    assert product[2] != 0.0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
