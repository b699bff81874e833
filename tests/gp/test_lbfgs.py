"""L-BFGS of one lane: it finds the least, gives up where there is none, and can be cut short."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

from s1jax.gp.pixels import advance, begin

TARGET = np.linspace(-1.5, 2.0, 10).astype(np.float32)
STRETCH = np.geomspace(0.5, 20.0, 10).astype(np.float32)


@partial(jax.jit, static_argnames=("function", "steps", "tolerance"))
def _run(function, lane, steps=60, tolerance=1e-6):
    return advance(jax.value_and_grad(function), lane, steps, tolerance)


def _white(x):
    return 0.5 * jnp.sum(jnp.square(x - TARGET.astype(x.dtype))) - 3.0


def _stretched(x):
    return 0.5 * jnp.sum(STRETCH * jnp.square(x - TARGET))


def _rosenbrock(x):
    return jnp.sum(100.0 * jnp.square(x[1:] - jnp.square(x[:-1])) + jnp.square(1.0 - x[:-1]))


def _wall(x):
    """Least at 1, not a number beyond 1.5."""
    return jnp.where(jnp.all(x < 1.5), 8.0 * jnp.sum(jnp.square(x - 1.0)), jnp.nan)


def test_whitened_quadratic_takes_three_evaluations(x64):
    dtype = np.float64 if x64 else np.float32
    lane = _run(_white, begin(jnp.full(10, 0.3, dtype)))
    assert lane.done
    assert lane.evaluations <= 3
    assert lane.x.dtype == lane.value.dtype == dtype
    np.testing.assert_allclose(lane.x, TARGET, atol=1e-6)
    np.testing.assert_allclose(lane.value, -3.0, atol=1e-6)
    np.testing.assert_allclose(lane.slope, 0.0, atol=1e-5)


def test_stretched_quadratic():
    lane = begin(jnp.zeros(10))
    for _ in range(6):
        lane = _run(_stretched, lane, steps=6)
    assert lane.done
    assert lane.evaluations < 36
    np.testing.assert_allclose(lane.x, TARGET, atol=3e-3)


def test_rosenbrock_valley(float64):
    lane = begin(jnp.array([-1.2, 1.0, 0.5, -0.4]))
    for _ in range(3):
        lane = _run(_rosenbrock, lane, steps=40, tolerance=1e-10)
    assert lane.done
    np.testing.assert_allclose(lane.x, 1.0, atol=1e-4)
    np.testing.assert_allclose(lane.value, rosen(lane.x), atol=1e-12)
    np.testing.assert_allclose(lane.slope, rosen_der(lane.x), atol=1e-8)


def test_not_a_number_is_a_wall_to_stay_before():
    lane = _run(_wall, begin(jnp.array([-2.0, 0.5])))
    assert lane.done
    assert lane.evaluations < 25
    np.testing.assert_allclose(lane.x, 1.0, atol=1e-3)
    # the first full step went beyond it: the trials that failed are counted and left no trace
    first = _run(_wall, begin(jnp.array([-2.0, 0.5])), steps=3)
    assert np.isfinite(first.value)
    assert np.all(np.isfinite(first.x))
    assert np.all(np.isfinite(first.direction))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nowhere_finite_is_given_up(value):
    x = jnp.array([1.0, value])
    lane = _run(jnp.sum, begin(x))
    assert lane.done
    assert lane.evaluations == 8
    np.testing.assert_array_equal(lane.value, np.inf)  # as before: no value passed
    np.testing.assert_array_equal(lane.x, x)


def test_start_at_the_least_is_done_at_once():
    lane = _run(_white, begin(jnp.asarray(TARGET)))
    assert lane.done
    assert lane.evaluations == 1
    np.testing.assert_array_equal(lane.x, TARGET)


def test_done_lane_stays():
    lane = _run(_white, begin(jnp.zeros(10)))
    jax.tree.map(np.testing.assert_array_equal, _run(_white, lane), lane)


def test_cut_short_and_resumed():
    start = begin(jnp.zeros(10))
    half = _run(_stretched, start, steps=3)
    assert half.evaluations == 3
    assert not half.done
    whole = _run(_stretched, start, steps=6)
    jax.tree.map(np.testing.assert_array_equal, _run(_stretched, half, steps=3), whole)


def test_value_never_rises(float64):
    lane = begin(jnp.array([-1.2, 1.0, 0.5, -0.4]))
    values = []
    for _ in range(30):
        lane = _run(_rosenbrock, lane, steps=1)
        values.append(float(lane.value))
    assert np.all(np.diff(values) <= 1e-12 * np.abs(values[:-1]))
    assert values[-1] < 0.05 * values[0]


def test_lanes_do_not_know_each_other(float64):
    x = jnp.array([[-1.2, 1.0, 0.5, -0.4], [1.0, 1.0, 1.0, 1.0], [3.0, np.nan, 0.0, 0.0]])
    run = jax.jit(jax.vmap(lambda x: _run(_rosenbrock, begin(x), steps=40, tolerance=1e-10)))
    together = run(x)
    assert together.evaluations.tolist() == [40, 1, 8]
    assert together.done.tolist() == [False, True, True]
    for k in range(3):
        mine = jax.tree.map(lambda leaf, k=k: leaf[k], together)
        copies = run(x[jnp.full(3, k)])
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b), copies, mine)
        alone = _run(_rosenbrock, begin(x[k]), steps=40, tolerance=1e-10)
        assert mine.evaluations == alone.evaluations
        np.testing.assert_allclose(mine.x, alone.x, rtol=1e-6)
