"""The batched Kalman filter and its adjoint: against NumPy, the dense solver, loops and float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s1jax import batching, gp
from s1jax.gp import Observations, dense, kalman
from s1jax.gp import statespace as ss
from s1jax.gp.kernel import Points, coregion, rate
from tests.worlds.gp_oracle import draw, posterior, problem


def _jax(tree, dtype=np.float64):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)


def _slopes(solver, hyper, day, value, valid):
    """Log-likelihood of one pixel and its gradient in hyperparameters, days and values."""

    def _of(hyper, day, value):
        return solver.log_likelihood(hyper, Observations(day, value, valid))

    return jax.value_and_grad(_of, argnums=(0, 1, 2))(hyper, day, value)


def _everything(hyper, day, value, valid, at=None):
    """Log-likelihood, its gradients, and mean and variance of every output."""
    outputs = tuple(range(value.shape[1]))
    series = Observations(day, value, valid)
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


@pytest.mark.parametrize(("outputs", "latents"), [(1, 3), (5, 2)])
def test_equals_numpy_and_the_dense_solver(float64, outputs, latents):
    rng = np.random.default_rng(10 * outputs + latents)
    hyper, day, value, valid = _masked(rng, outputs, latents)
    at = np.concatenate([day[[4, 0]], [day[-1] + 500, day[0] - 30], (day[1:] + day[:-1]) / 2])
    arrays = _jax((hyper, day, value)), jnp.asarray(valid)
    axes = (None, None, 0, 0)
    got = batching.jit_recursion(jax.vmap(_everything, in_axes=(*axes, None)))(
        *arrays[0], arrays[1], _jax(at)
    )
    (likelihood, slope), (mean, variance) = got
    with batching.one_thread():
        by_dense = jax.jit(jax.vmap(partial(_slopes, dense), in_axes=axes))(*arrays[0], arrays[1])
        told = [
            [posterior(hyper, Observations(day, *pixel), at, p) for p in range(outputs)]
            for pixel in zip(value, valid, strict=True)
        ]
    for pixel, name in enumerate(MASKS):
        for p, expected in enumerate(told[pixel]):
            where = f"{name}, output {p}"
            np.testing.assert_allclose(likelihood[pixel], expected[0], rtol=1e-10, err_msg=where)
            np.testing.assert_allclose(mean[pixel, p], expected[1], atol=1e-10, err_msg=where)
            np.testing.assert_allclose(variance[pixel, p], expected[2], atol=1e-10, err_msg=where)
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


_alone = batching.jit_recursion(_everything)


def _assert_close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-12), a, b)


@pytest.mark.parametrize(
    "mapped",
    [(1, 0, 0, 0), (0, 0, 1, 1), (1, 0, 1, 1), (1, 1, 1, 1)],
    ids=["hyper", "series", "both", "days too"],
)
def test_vmap_is_a_loop(float64, mapped):
    arrays = _small()
    axes = [0 if own else None for own in mapped]
    given = [
        x if own else jax.tree.map(lambda leaf: leaf[0], x)
        for x, own in zip(arrays, mapped, strict=True)
    ]
    together = batching.jit_recursion(jax.vmap(_everything, in_axes=axes))(*given)
    for k in range(4):
        alone = _alone(*_pick(arrays, mapped, k))
        _assert_close(jax.tree.map(lambda leaf, k=k: leaf[k], together), alone)


def test_gradient_of_a_sum_over_pixels(float64):
    hyper, day, value, valid = _small(1)
    shared = jax.tree.map(lambda leaf: leaf[0], (hyper, day))

    def _total(hyper, day, value):
        nll = jax.vmap(lambda z, seen: kalman.log_likelihood(hyper, Observations(day, z, seen)))
        return jnp.sum(jnp.array([3.0, -1.0, 0.5, 0.0]) * nll(value, valid))

    got = batching.jit_recursion(jax.grad(_total, argnums=(0, 1, 2)))(*shared, value)
    each = [_alone(*shared, value[k], valid[k])[0][1] for k in range(4)]
    weight = np.array([3.0, -1.0, 0.5, 0.0])
    for leaf, *leaves in zip(*map(jax.tree.leaves, (got[:2], *each)), strict=False):
        np.testing.assert_allclose(leaf, np.tensordot(weight, np.stack(leaves), 1), rtol=1e-10)
    slopes = np.stack([slope[2] for slope in each])
    np.testing.assert_allclose(got[2], weight[:, None, None] * slopes, rtol=1e-10, atol=1e-14)


def test_gradient_by_differences(float64):
    *real, valid = _pick(_small(2), (0, 0, 0, 0), 0)
    leaves, tree = jax.tree.flatten(real)
    slopes = jax.tree.leaves(_alone(*real, valid)[0][1])
    rng = np.random.default_rng(0)
    for k, slope in enumerate(slopes):
        direction = rng.normal(size=slope.shape) * 1e-5

        def _moved(sign, k=k, direction=direction):
            some = list(leaves)
            some[k] = some[k] + sign * direction
            return _alone(*tree.unflatten(some), valid)[0][0]

        np.testing.assert_allclose(_moved(1) - _moved(-1), 2 * np.sum(slope * direction), rtol=1e-5)


@pytest.mark.slow
def test_jit_is_plain(float64):
    hyper, *series = _pick(_small(), (0, 0, 0, 0), 0)
    (likelihood, _), posterior = _alone(hyper, *series)
    _assert_close(kalman.log_likelihood(hyper, Observations(*series)), likelihood)
    _assert_close(kalman.condition(hyper, Observations(*series), None, (0, 1)), posterior)


def test_own_days_need_not_be_named(float64):
    hyper, *series = _pick(_small(3), (0, 0, 0, 0), 0)
    named = batching.jit_recursion(kalman.condition, static_argnames=("outputs",))
    got = named(hyper, Observations(*series), series[0], outputs=(0, 1))
    _assert_close(got, _alone(hyper, *series)[1])


@partial(jax.jit, static_argnames="output")
def _states(hyper, day, some, output):
    """By the state space and by the kernel: A, A^T, A X A^T, P_inf, P_inf h and h of one."""
    kernel = gp.kernel(hyper)
    lanes = jax.tree.map(lambda leaf: leaf[..., None], hyper)
    latents, outputs = hyper.mixing.shape
    shape, size = (latents, outputs, 2), 2 * latents * outputs
    first, second = (Points(d, jnp.asarray(output), jnp.ones_like(d)) for d in day)
    move = kernel.transition_matrix(first, second).T
    h = kernel.observation_model(first)
    stationary = kernel.stationary_covariance()
    expected = move, move.T, move @ some @ move.T, stationary, stationary @ h, h

    unit = jnp.eye(size).reshape(*shape, size)  # the columns of the identity as pixels
    a = rate(lanes.lengthscale) * (day[1] - day[0])
    there, back = ss.transition(a), ss.transition(a, transpose=True)
    matrix = some.reshape(*shape, *shape, 1)
    blocks = jnp.einsum("qr,qij,st->qisrjt", jnp.eye(latents), coregion(lanes)[..., 0], jnp.eye(2))
    got = (
        ss.move_vector(unit, *there),
        ss.move_vector(unit, *back),
        ss.move_matrix(matrix, *there),
        blocks,
        ss.columns(jnp.zeros_like(matrix), coregion(lanes))[output],  # before any observation
        ss.observe(unit, output),
    )
    return got, expected


@pytest.mark.parametrize("latents", [1, 2, 3])
@pytest.mark.parametrize("outputs", [1, 2, 3, 4])
def test_state_space_is_that_of_the_kernel(float64, latents, outputs):
    hyper, _ = problem(np.random.default_rng(0), latents=latents, outputs=outputs)
    size = 2 * latents * outputs
    some = jnp.asarray(np.random.default_rng(1).normal(size=(size, size)))
    for output in (0, outputs - 1):
        got, expected = _states(_jax(hyper), jnp.array([3.0, 20.5]), some, output)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a.reshape(b.shape), b, rtol=1e-12, atol=1e-14)


def _random_pixels(latents, pixels=256, days=62, outputs=3):
    """Pixels with hyperparameters of their own, drawn from their own model; variances up to 1."""
    rng = np.random.default_rng(latents)
    square = (pixels, latents, outputs)
    hyper = gp.Hyper(
        np.exp(rng.uniform(np.log(6), np.log(2000), square[:2])),
        rng.normal(0, 0.7 / latents**0.5, square),
        np.exp(rng.uniform(np.log(0.01), np.log(0.5), square)),
        np.exp(rng.uniform(np.log(0.01), 0.0, (pixels, outputs))),
    )
    hyper.noise[:32] = 0.01
    variance = np.sum(hyper.mixing**2 + hyper.kappa, axis=1, keepdims=True)
    share = rng.uniform(0.3, 1.0, variance.shape) / variance
    hyper = hyper._replace(mixing=hyper.mixing * share**0.5, kappa=hyper.kappa * share)
    hyper.lengthscale[16:48] = 2000.0
    day = 17000.0 + 12.0 * np.arange(days)
    each = (jax.tree.map(lambda leaf, k=k: leaf[k], hyper) for k in range(pixels))
    with batching.one_thread():
        value = np.stack([draw(rng, h, day, 1)[1][0] for h in each])
    return hyper, day, value, rng.random(value.shape) < rng.uniform(0.1, 1.0, (pixels, 1, 1))


@batching.jit_recursion
def _estimate(hyper, day, value, valid):
    def _one(hyper, value, valid):
        series = Observations(day, value, valid)
        return gp.log_likelihood(hyper, series), *gp.condition(hyper, series, None, output=None)

    return jax.vmap(_one)(hyper, value, valid)


@pytest.mark.slow
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
    assert np.all(np.array(error) < (5e-5, 3e-4, 5e-3)), error
