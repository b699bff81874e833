"""The batched Kalman filter and its adjoint: against NumPy, the dense solver, loops and float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gp_oracle import draw, posterior, problem
from jax.test_util import check_grads

from s1jax import gp
from s1jax.gp import dense, kalman
from s1jax.gp import statespace as ss
from s1jax.types import Series


def _jax(tree, dtype=np.float64):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)


def _slopes(solver, hyper, day, value, valid):
    """Log-likelihood of one pixel and its gradient in hyperparameters, days and values."""

    def _of(hyper, day, value):
        return solver.log_likelihood(hyper, Series(day, value, valid))

    return jax.value_and_grad(_of, argnums=(0, 1, 2))(hyper, day, value)


def _everything(hyper, day, value, valid, at=None):
    """Log-likelihood, its gradients, and mean and variance of every output."""
    outputs = tuple(range(value.shape[1]))
    series = Series(day, value, valid)
    return (
        _slopes(kalman, hyper, day, value, valid),
        kalman.condition(hyper, series, at, outputs),
    )


MASKS = ["all", "some", "few", "one output never", "one observation", "nothing"]


def _masked(rng, outputs, latents, days=9):
    """A problem with irregular, partly repeated days, and one pixel for each of `MASKS`."""
    hyper, series = problem(rng, days=days, outputs=outputs, latents=latents)
    day = np.asarray(series.day)
    day[5:7] = day[4]
    valid = (
        rng.random((len(MASKS), days, outputs)) < np.array([2, 0.6, 0.2, 0.7, 0, 0])[:, None, None]
    )
    valid[3, :, 0] = False
    valid[4, days // 2, -1] = True
    return hyper, day, rng.normal(size=valid.shape), valid


@pytest.mark.parametrize(("outputs", "latents"), [(1, 2), (5, 3)])
def test_equals_numpy_and_the_dense_solver(float64, outputs, latents):
    rng = np.random.default_rng(10 * outputs + latents)
    hyper, day, value, valid = _masked(rng, outputs, latents)
    at = np.concatenate([day[[4, 0]], [day[-1] + 500, day[0] - 30], (day[1:] + day[:-1]) / 2])
    arrays = _jax((hyper, day, value)), jnp.asarray(valid)
    axes = (None, None, 0, 0)
    got = jax.jit(jax.vmap(_everything, in_axes=(*axes, None)))(*arrays[0], arrays[1], _jax(at))
    (likelihood, slope), (mean, variance) = got
    for pixel, name in enumerate(MASKS):
        series = Series(day, value[pixel], valid[pixel])
        for p in range(outputs):
            expected = posterior(hyper, series, at, p)
            told = f"{name}, output {p}"
            np.testing.assert_allclose(likelihood[pixel], expected[0], rtol=1e-10, err_msg=told)
            np.testing.assert_allclose(mean[pixel, p], expected[1], atol=1e-10, err_msg=told)
            np.testing.assert_allclose(variance[pixel, p], expected[2], atol=1e-10, err_msg=told)
    by_dense = jax.jit(jax.vmap(partial(_slopes, dense), in_axes=axes))(*arrays[0], arrays[1])
    np.testing.assert_allclose(likelihood, by_dense[0], rtol=1e-10)
    for a, b in zip(jax.tree.leaves(slope), jax.tree.leaves(by_dense[1]), strict=True):
        # relative to the largest slope of the pixel: what is exactly 0 for one is 1e-17 for another
        scale = np.max(np.abs(b), axis=tuple(range(1, b.ndim)), keepdims=True) + 1e-300
        assert np.max(np.abs(a - b) / np.where(scale > 1e-12, scale, 1.0)) < 1e-8
    assert all(np.all(leaf[-1] == 0) for leaf in jax.tree.leaves(slope))  # nothing seen


SMALL = 2, 1
"""Outputs and latents of the tests below, whose programs are many."""


def _small(seed=0, pixels=4):
    """One pixel's arrays for each of some pixels, all different: hyper, day, value, valid."""
    rng = np.random.default_rng(seed)
    each = [problem(rng, days=6, outputs=SMALL[0], latents=SMALL[1]) for _ in range(pixels)]
    hyper = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *[h for h, _ in each])
    arrays = (jnp.asarray(np.stack([s[k] for _, s in each])) for k in range(3))
    return hyper, *arrays


def _pick(arrays, mapped, k):
    """Pixel k of what is mapped, pixel 0 of what is shared."""
    return [
        jax.tree.map(lambda leaf, i=k if own else 0: leaf[i], x)
        for x, own in zip(arrays, mapped, strict=True)
    ]


def _assert_close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-12), a, b)


@pytest.mark.parametrize(
    "mapped",
    [(1, 0, 0, 0), (0, 0, 1, 1), (1, 0, 1, 1), (1, 1, 1, 1), (0, 1, 0, 0)],
    ids=["hyper", "series", "both", "days too", "days"],
)
def test_vmap_is_a_loop(float64, mapped):
    arrays = _small()
    axes = [0 if own else None for own in mapped]
    given = [
        x if own else jax.tree.map(lambda leaf: leaf[0], x)
        for x, own in zip(arrays, mapped, strict=True)
    ]
    together = jax.jit(jax.vmap(_everything, in_axes=axes))(*given)
    one = jax.jit(_everything)
    for k in range(4):
        alone = one(*_pick(arrays, mapped, k))
        _assert_close(jax.tree.map(lambda leaf, k=k: leaf[k], together), alone)


def test_gradient_of_a_sum_over_pixels(float64):
    hyper, day, value, valid = _small(1)
    shared = jax.tree.map(lambda leaf: leaf[0], (hyper, day))

    def _total(hyper, day, value):
        nll = jax.vmap(lambda z, seen: kalman.log_likelihood(hyper, Series(day, z, seen)))
        return jnp.sum(jnp.array([3.0, -1.0, 0.5, 0.0]) * nll(value, valid))

    got = jax.jit(jax.grad(_total, argnums=(0, 1, 2)))(*shared, value)
    each = [jax.jit(_everything)(*shared, value[k], valid[k])[0][1] for k in range(4)]
    weight = np.array([3.0, -1.0, 0.5, 0.0])
    for leaf, *leaves in zip(*map(jax.tree.leaves, (got[:2], *each)), strict=False):
        np.testing.assert_allclose(leaf, np.tensordot(weight, np.stack(leaves), 1), rtol=1e-10)
    slopes = np.stack([slope[2] for slope in each])
    np.testing.assert_allclose(got[2], weight[:, None, None] * slopes, rtol=1e-10, atol=1e-14)


def test_gradient_by_differences(float64):
    hyper, day, value, valid = _pick(_small(2), (0, 0, 0, 0), 0)

    @jax.jit
    def _value(hyper, day, value):
        return kalman.log_likelihood(hyper, Series(day, value, valid))

    check_grads(_value, (hyper, day, value), order=1, modes=["rev"], rtol=1e-6)


def test_jit_is_plain(float64):
    arrays = _pick(_small(), (0, 0, 0, 0), 0)
    _assert_close(_everything(*arrays), jax.jit(_everything)(*arrays))


def test_own_days_need_not_be_named(float64):
    arrays = _pick(_small(3), (0, 0, 0, 0), 0)
    named = jax.jit(_everything)(*arrays, arrays[1])
    _assert_close(jax.jit(_everything)(*arrays), named)


def test_state_space_is_that_of_the_kernel(float64):
    """A is the transpose of tinygp's transition matrix; P_inf and h are its own."""
    hyper, _ = problem(np.random.default_rng(0))
    lanes = jax.tree.map(lambda leaf: jnp.asarray(leaf)[..., None], hyper)
    kernel = gp.kernel(_jax(hyper))
    latents, outputs = hyper.mixing.shape
    size = 2 * latents * outputs
    # the columns of the identity as pixels
    unit = jnp.eye(size).reshape(latents, outputs, 2, size)
    first, second = (
        gp.Points(jnp.asarray(day), jnp.asarray(0), jnp.asarray(1.0)) for day in (3.0, 20.5)
    )
    expected = kernel.transition_matrix(first, second).T
    same, cross = ss.transition(ss.rate(lanes) * 17.5)
    moved = ss.move_vector(unit, same, cross).reshape(size, size)
    np.testing.assert_allclose(moved, expected, rtol=1e-14)
    back = ss.move_vector(unit, *ss.transition(ss.rate(lanes) * 17.5, transpose=True))
    np.testing.assert_allclose(back.reshape(size, size), expected.T, rtol=1e-14)
    some = np.random.default_rng(1).normal(size=(size, size))
    full = jnp.asarray(some).reshape(*unit.shape[:3], *unit.shape[:3], 1)
    twice = ss.move_matrix(full, same, cross).reshape(size, size)
    np.testing.assert_allclose(twice, expected @ some @ expected.T, rtol=1e-12, atol=1e-14)
    # P_inf h of every output, nothing being known
    column = ss.columns(jnp.zeros_like(full), ss.coregion(lanes))
    for p in range(outputs):
        h = kernel.observation_model(first._replace(output=jnp.asarray(p)))
        expected = kernel.stationary_covariance() @ h
        np.testing.assert_allclose(column[p].reshape(-1), expected, rtol=1e-14, atol=1e-16)
        np.testing.assert_allclose(ss.observe(unit, p).reshape(-1), h, rtol=1e-14)


def _random_pixels(latents, pixels=256, days=62, outputs=3):
    """Pixels with hyperparameters of their own, drawn from their own model."""
    rng = np.random.default_rng(latents)
    square = (pixels, latents, outputs)
    hyper = gp.Hyper(
        np.exp(rng.uniform(np.log(6), np.log(2000), square[:2])),
        rng.normal(0, 0.7 / latents**0.5, square),
        np.exp(rng.uniform(np.log(0.01), np.log(0.5), square)),
        np.exp(rng.uniform(np.log(0.01), 0.0, (pixels, outputs))),
    )
    hyper.noise[:32] = 0.01
    hyper.lengthscale[16:48] = 2000.0
    day = 17000.0 + 12.0 * np.arange(days)
    each = (jax.tree.map(lambda leaf, k=k: leaf[k], hyper) for k in range(pixels))
    value = np.stack([draw(rng, h, day, 1)[1][0] for h in each])
    return hyper, day, value, rng.random(value.shape) < rng.uniform(0.1, 1.0, (pixels, 1, 1))


@jax.jit
def _estimate(hyper, day, value, valid):
    def _one(hyper, value, valid):
        series = Series(day, value, valid)
        return gp.log_likelihood(hyper, series), *gp.condition_outputs(hyper, series, None)

    return jax.vmap(_one)(hyper, value, valid)


@pytest.mark.parametrize("latents", [1, 3])
def test_single_precision_is_close_to_double(latents):
    *real, valid = _random_pixels(latents)
    low = _estimate(*_jax(real, np.float32), valid)
    with jax.enable_x64(True):
        high = jax.tree.map(np.asarray, _estimate(*_jax(real), valid))
    assert [leaf.dtype for leaf in low] == [np.float32] * 3
    error = (
        np.max(np.abs(low[0] - high[0]) / np.maximum(np.abs(high[0]), 10.0)),
        np.max(np.abs(low[1] - high[1])),
        np.max(np.abs(low[2] / high[2] - 1.0)),
    )
    print(latents, error)
    assert np.all(np.array(error) < (5e-5, 3e-4, 5e-3)), error
