"""float32 input over the whole box of the search: a std is right to half a per cent, or NaN."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s1jax import batching, gp
from s1jax.gp import Observations, adjoint, precision
from s1jax.gp import statespace as ss
from s1jax.gp.fit import LARGEST_NOISE, LOG_KAPPA, LONGEST, MIXING, NOISE, SHORTEST

pytestmark = pytest.mark.usefixtures("quasisep_too")
SOLVERS = ("kalman", "dense", "quasisep")
PIXELS, DATES = 32, 30
SHAPES = [(1, 1), (2, 3), (3, 5)]
"""Latents and outputs; fewer outputs are those of which nothing is seen."""
FLOOR = NOISE[np.dtype(np.float32)]
NAMES = "regular daily irregular repeated near gaps".split()


def _days(kind, rng):
    step = {
        "regular": np.full(DATES, 12.0),
        "daily": np.ones(DATES),
        "irregular": rng.integers(0, 20, DATES).astype(float),
        "repeated": np.where(np.arange(DATES) % 5, 0.0, 12.0),
        "near": rng.choice([0.0, 0.01, 0.5, 6.0], DATES),
        "gaps": np.where(rng.random(DATES) < 0.15, 700.0, 6.0),
    }[kind]
    # as single precision holds them: the oracle is asked about the same days
    return np.cumsum(step).astype(np.float32)


def _box(rng, latents, outputs, edges):
    """Hyperparameters of many pixels; a share `edges` of all numbers lies on a bound."""

    def _between(low, high, *shape):
        inner, edge = rng.uniform(low, high, (PIXELS, *shape)), rng.random((PIXELS, *shape))
        return np.where(edge < edges / 2, low, np.where(edge > 1 - edges / 2, high, inner))

    leaves = (
        np.exp(_between(np.log(SHORTEST), np.log(LONGEST), latents)),
        _between(-MIXING, MIXING, latents, outputs),
        np.exp(_between(*LOG_KAPPA, latents, outputs)),
        np.exp(_between(np.log(FLOOR), np.log(LARGEST_NOISE), outputs)),
    )
    return gp.Hyper(*(leaf.astype(np.float32) for leaf in leaves))


def _problem(latents, outputs, seed, edges, kind, share):
    rng = np.random.default_rng(seed)
    hyper = _box(rng, latents, outputs, edges)
    valid = rng.random((PIXELS, DATES, outputs)) < share
    valid &= rng.random((PIXELS, 1, outputs)) < 0.8
    return hyper, _days(kind, rng), rng.normal(size=valid.shape).astype(np.float32), valid


@partial(batching.jit_recursion, static_argnames=("solver",))
def _stds(hyper, day, value, valid, *, solver):
    def _of_pixel(hyper, value, valid):
        return gp.condition(
            hyper, Observations(day, value, valid), None, output=None, solver=solver
        )[1]

    return jax.vmap(_of_pixel)(hyper, value, valid)


@batching.jit_recursion
def _fits(hyper, day, value, valid):
    def _of_pixel(hyper, value, valid):
        series = Observations(day, value, valid)
        return jax.value_and_grad(gp.log_likelihood)(hyper, series)

    return jax.vmap(_of_pixel)(hyper, value, valid)


def _oracle(hyper, day, value, valid):
    """By the dense solver, float64 throughout."""
    with jax.enable_x64(True), batching.one_thread():
        real = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), (hyper, day, value))
        return np.asarray(_stds(*real, valid, solver="dense"))


PROBLEMS = st.tuples(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from(NAMES),
    st.floats(0.02, 1.0),
)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(drawn=PROBLEMS)
def test_std_is_that_of_float64_over_the_box(shape, drawn):
    problem = _problem(*shape, *drawn)
    expected = _oracle(*problem)
    assert np.isfinite(expected).all()
    # the others are long to compile
    for solver in SOLVERS if shape == (2, 3) else ("kalman",):
        with batching.one_thread():
            std = _stds(*problem, solver=solver)
        assert std.dtype == np.float32
        np.testing.assert_allclose(std, expected, rtol=2e-3, err_msg=solver)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(drawn=PROBLEMS)
def test_likelihood_and_slope_are_finite_and_near_float64_over_the_box(shape, drawn):
    problem = _problem(*shape, *drawn)
    value, slope = _fits(*problem)
    assert value.dtype == np.float32
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
    with jax.enable_x64(True):
        real = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), problem[:3])
        expected = np.asarray(_fits(*real, problem[3])[0])
    np.testing.assert_allclose(value, expected, rtol=5e-3, atol=5e-2)


@pytest.mark.slow
def test_a_long_sharp_series_has_a_likelihood():
    # many repeated and near dates, five outputs, every bound at its worst
    rng = np.random.default_rng(12)
    dates, outputs = 600, 5
    day = np.cumsum(rng.choice([0.0, 0.01, 0.5], dates)).astype(np.float32)
    hyper = gp.Hyper(
        np.full((PIXELS, 1), LONGEST, np.float32),
        rng.choice([-MIXING, MIXING], (PIXELS, 1, outputs)).astype(np.float32),
        np.full((PIXELS, 1, outputs), np.exp(LOG_KAPPA[0]), np.float32),
        np.full((PIXELS, outputs), FLOOR, np.float32),
    )
    value = rng.normal(size=(PIXELS, dates, outputs)).astype(np.float32)
    valid = np.ones(value.shape, bool)
    likelihood, slope = _fits(hyper, day, value, valid)
    assert np.isfinite(likelihood).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
    with jax.enable_x64(True):
        real = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), (hyper, day, value))
        expected = np.asarray(_fits(*real, valid)[0])
    np.testing.assert_allclose(likelihood, expected, rtol=1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("noise", [1e-3, 1e-6, 1e-10, 1e-16, 0.0])
def test_noise_below_the_floor_is_right_or_nan(solver, noise):
    # of the law: the std on an observed day is just below that of the noise
    rng = np.random.default_rng(0)
    day = 20.0 * np.arange(DATES)
    hyper = gp.Hyper(
        np.full((PIXELS, 1), 30.0, np.float32),
        np.ones((PIXELS, 1, 1), np.float32),
        np.full((PIXELS, 1, 1), 0.1, np.float32),
        np.full((PIXELS, 1), noise, np.float32),
    )
    value = rng.normal(size=(PIXELS, DATES, 1)).astype(np.float32)
    with batching.one_thread():
        std = np.asarray(_stds(hyper, day.astype(np.float32), value, value > -9, solver=solver))
    right = (std > 0.9 * noise**0.5) & (std < 1.001 * noise**0.5)
    assert (right | np.isnan(std)).all()
    if noise >= 1e-6:
        assert right.all()
    if noise <= 1e-16:
        assert np.isnan(std).any()


@pytest.mark.slow
def test_days_since_1970_lose_nothing():
    # half an hour apart: single precision holds such days to 3 minutes
    hyper = gp.Hyper(*(np.float32(x) for x in ([6.0], [[6.0]], [[0.1]], [0.01])))
    day = 20000.0 + np.arange(6) / 50
    at = np.array([20000.03, 20000.09])
    value = np.zeros((6, 1), np.float32)
    low = gp.condition(hyper, Observations(day, value, value == 0), at, output=0)
    with jax.enable_x64(True):
        real = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), (hyper, value))
        high = gp.condition(real[0], Observations(day, real[1], value == 0), at, output=0)
    np.testing.assert_allclose(low[1], high[1], rtol=1e-5)


def test_a_lane_takes_its_precision_from_itself_alone():
    hyper, day, value, valid = _problem(2, 3, 5, 0.3, "regular", 0.9)
    together = np.asarray(_stds(hyper, day, value, valid, solver="kalman"))
    easy = hyper._replace(noise=np.full_like(hyper.noise, 5.0))
    for k in (0, 7):
        # one sharp pixel among blunt ones, and among others
        mixed = jax.tree.map(lambda a, b, k=k: np.where(_at(k, a), a, b), hyper, easy)
        among = np.asarray(_stds(mixed, day, value, valid, solver="kalman"))
        np.testing.assert_array_equal(among[k], together[k])
        alone = np.asarray(_stds(easy, day, value, valid, solver="kalman"))
        np.testing.assert_array_equal(np.delete(among, k, 0), np.delete(alone, k, 0))


def _at(k, leaf):
    return (np.arange(PIXELS) == k).reshape(-1, *[1] * (leaf.ndim - 1))


@pytest.mark.slow
def test_double_precision_is_computed_for_lanes_that_need_it_alone():
    latents, outputs = 1, 2
    hyper = gp.Hyper(
        jnp.full((latents, 4), 60.0),
        jnp.full((latents, outputs, 4), 1.0),
        jnp.full((latents, outputs, 4), 0.1),
        jnp.broadcast_to(jnp.array([1.0, 0.01, 1.0, 0.001]), (outputs, 4)),
    )
    day = jnp.arange(9.0)[:, None]
    value = jnp.zeros((9, outputs, 4))
    lanes = ss.Lanes(hyper, day, value, jnp.ones_like(value))
    dtypes = []

    def _posterior(lanes):
        dtypes.append(lanes.value.dtype)
        mean, variance = adjoint.posterior(lanes, (0, 1))
        # which of the two a lane got: its mean tells
        return mean + (1.0 if lanes.value.dtype == jnp.float64 else 0.0), variance

    mean, _ = precision.posterior_lanes(_posterior, lanes, (0, 1))
    assert {str(dtype) for dtype in dtypes} == {"float32", "float64"}
    np.testing.assert_array_equal(mean[0, 0], [0.0, 1.0, 0.0, 1.0])
    easy = lanes._replace(hyper=hyper._replace(noise=jnp.ones((outputs, 1))))
    np.testing.assert_array_equal(
        precision.posterior_lanes(_posterior, easy, (0, 1))[0][0, 0], np.zeros(4)
    )


def test_float64_stays_float64(float64):
    hyper, day, value, valid = _problem(2, 3, 5, 0.3, "irregular", 0.7)
    real = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), (hyper, day, value))
    kalman = _stds(*real, valid, solver="kalman")
    assert kalman.dtype == np.float64
    np.testing.assert_allclose(kalman, _oracle(hyper, day, value, valid), rtol=1e-5)
