"""Many pixels: each is computed as if alone, whatever their number, order, chunk and device."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s1jax import batching, gp
from tests.worlds.gp_oracle import problem

LANES = 4
"""With two devices, batches of eight pixels."""


@partial(batching.jit_recursion, static_argnames=("solver",))
def _many(hyper, day, value, valid, solver="kalman"):
    """Log-likelihood, its gradient and the posterior of each pixel."""

    def _of_pixel(value, valid):
        observations = gp.Observations(day, value, valid)
        likelihood = partial(gp.log_likelihood, solver=solver)
        return (
            jax.value_and_grad(likelihood)(hyper, observations),
            gp.condition(hyper, observations, None, output=None, solver=solver),
        )

    return batching.vmap_pixels(_of_pixel, value, valid, lanes=LANES)


def _pixels(count):
    rng = np.random.default_rng(0)
    hyper, series = problem(rng, days=10, outputs=2, latents=1)
    hyper, day = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), (hyper, series.day))
    value = rng.normal(size=(count, 10, 2)).astype(np.float32)
    return hyper, day, value, rng.random(value.shape) < 0.6


def _equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def _rows(tree, index):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], tree)


@pytest.mark.parametrize("count", [1, LANES - 1, LANES, LANES + 1, 2 * LANES + 1])
def test_any_number_of_pixels(count):
    value = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    tree = {"a": value, "b": jnp.arange(count)}
    got = batching.vmap_pixels(
        lambda x, y: (x["a"].sum() + y, x["b"] + 1), tree, value[:, 0], lanes=LANES
    )
    assert got[0].shape == got[1].shape == (count,)
    np.testing.assert_allclose(got[0], value.sum(1) + value[:, 0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(got[1], np.arange(count) + 1)


@pytest.mark.slow
def test_bits_know_no_neighbours_place_or_number():
    hyper, day, value, valid = _pixels(9)
    whole = _many(hyper, day, value, valid)
    order = np.random.default_rng(1).permutation(9)
    _equal(_many(hyper, day, value[order], valid[order]), _rows(whole, order))
    for k in (0, 8):  # alone
        _equal(_many(hyper, day, value[[k]], valid[[k]]), _rows(whole, [k]))
    broken = value.copy()
    broken[1:8] = np.nan
    _equal(_rows(_many(hyper, day, broken, valid), [0, 8]), _rows(whole, [0, 8]))


@pytest.mark.slow
def test_identical_pixels_get_identical_answers():
    hyper, day, value, valid = _pixels(9)
    same = _many(hyper, day, np.repeat(value[:1], 9, 0), np.repeat(valid[:1], 9, 0))
    _equal(same, _rows(_many(hyper, day, value, valid), np.zeros(9, int)))


@pytest.mark.slow
def test_bits_know_no_number_of_devices(monkeypatch):
    assert jax.local_device_count() == 2
    hyper, day, value, valid = _pixels(9)
    two = _many(hyper, day, value, valid)
    assert len(two[1][0].sharding.device_set) == 2
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    # a new function, so that it is traced anew
    one = batching.jit_recursion(lambda *arrays: _plain(*arrays))(hyper, day, value, valid)
    assert len(one[1][0].sharding.device_set) == 1
    _equal(one, two)


def _plain(*arrays):
    return _many.__wrapped__(*arrays)


@pytest.mark.slow
def test_compiled_is_jit_within_rounding():
    arrays = _pixels(9)
    by_jit = jax.jit(lambda *arrays: _plain(*arrays))(*arrays)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), _many(*arrays), by_jit
    )


@pytest.mark.slow
def test_dense_solver_over_pixels():
    hyper, day, value, valid = _pixels(9)
    dense, kalman = (_many(hyper, day, value, valid, solver=name) for name in ("dense", "kalman"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), dense, kalman)
    assert len(dense[0][0].sharding.device_set) == 1  # LAPACK on two devices can hang
    order = np.arange(9)[::-1]
    again = _many(hyper, day, value[order], valid[order], solver="dense")
    _equal(again, _rows(dense, order))


def test_compiled_keeps_names_and_static_arguments():
    @partial(batching.jit_recursion, static_argnames=("times",))
    def _twice(x, times=2):
        """Doc."""
        return jnp.tile(x, times)

    assert (_twice.__name__, _twice.__doc__) == ("_twice", "Doc.")
    assert _twice(jnp.ones(3), times=3).shape == (9,)
    assert _twice(jnp.ones(3)).shape == (6,)


def test_options_that_this_xla_lacks_are_left_out(monkeypatch):
    some = {"xla_cpu_no_such_option": True, "xla_cpu_use_fusion_emitters": False}
    monkeypatch.setattr(batching, "_OPTIONS", some)
    options = batching.compiler_options.__wrapped__()
    assert set(options) <= {"xla_cpu_use_fusion_emitters"}
    monkeypatch.setattr(batching, "compiler_options", lambda: options)
    assert batching.jit_recursion(lambda x: x + 1)(1) == 2


def test_lanes_of_each_solver():
    for solver in gp.SOLVERS:
        assert batching.batch_size(solver, 1, 3) >= batching.batch_size(solver, 3, 3) > 0
    assert batching.batch_size("kalman", 1, 3) > batching.batch_size("kalman", 3, 3)
    assert batching.batch_size("kalman", 1, 3) > batching.batch_size("dense", 1, 3)


def test_one_thread_ends():
    from threadpoolctl import threadpool_info

    def _threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = _threads()
    with batching.one_thread():
        assert set(_threads()) == {1}
    assert _threads() == before
