"""Hyperparameters of every pixel: near the truth, at the optimum, and each pixel for itself."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from s1jax import batching, gp
from s1jax.gp import Observations, pixels
from s1jax.gp.fit import from_unconstrained, to_unconstrained
from tests.worlds.gp_oracle import draw

LATENTS, OUTPUTS, DAYS = 1, 2, 24
REGION = gp.Hyper(
    np.array([45.0]), np.array([[0.7, -0.6]]), np.array([[0.2, 0.3]]), np.array([0.3, 0.08])
)
SPREAD = np.array([0.5, 0.25, 0.25, 0.5, 0.5, 0.4, 0.4])
"""Planted standard deviation of each searched parameter between pixels."""
COUNT = 300
"""At most 512 pixels are one block, and one program."""


@pytest.fixture(scope="module")
def world():
    """Pixels with planted hyperparameters, all the same days, float32; and those rows."""
    rng = np.random.default_rng(0)
    center = np.asarray(to_unconstrained(jax.tree.map(jnp.float32, REGION)))
    rows = (center + SPREAD * rng.normal(size=(COUNT, SPREAD.size))).astype(np.float32)
    day = np.cumsum(rng.integers(5, 20, DAYS)).astype(np.float32)
    hyper = pixels._constrained(rows, latents=LATENTS, outputs=OUTPUTS)
    hyper = jax.tree.map(lambda leaf: np.asarray(leaf, float), hyper)
    each = (jax.tree.map(lambda leaf, k=k: leaf[k], hyper) for k in range(COUNT))
    with batching.one_thread():
        value = np.stack([draw(rng, h, day.astype(float), 1)[1][0] for h in each])
    series = Observations(day, value.astype(np.float32), rng.random(value.shape) < 0.7)
    return series, rows


@pytest.fixture(scope="module")
def prior(world):
    return gp.prior(world[0], REGION)


@pytest.fixture(scope="module")
def found(world, prior):
    return gp.fit_pixels(world[0], prior, REGION)


@jax.jit
def _cost(row, prior, day, value, valid):
    """Objective of one pixel, nats, and its slope: written anew."""

    def _of(row):
        off = row - prior.mean
        hyper = from_unconstrained(row, LATENTS, OUTPUTS)
        return 0.5 * off @ prior.precision @ off - gp.log_likelihood(
            hyper, Observations(day, value, valid)
        )

    return jax.value_and_grad(_of)(row)


def _costs(rows, prior, series):
    many = jax.jit(jax.vmap(_cost, in_axes=(0, None, None, 0, 0)))
    return np.asarray(many(jnp.asarray(rows), prior, *series[:3])[0])


def _rows_of(hyper):
    return np.asarray(jax.vmap(to_unconstrained)(jax.tree.map(jnp.asarray, hyper)))


@pytest.mark.slow
def test_prior_far_from_the_sample_stays_wide_and_says_so(world, caplog, monkeypatch):
    series = jax.tree.map(lambda leaf: leaf[:60], world[0]._replace(day=None))
    series = series._replace(day=world[0].day, value=series.value * np.float32(np.nan))
    monkeypatch.setattr(pixels, "_curvature", lambda *_: np.eye(SPREAD.size))
    found = gp.prior(series, REGION)
    assert "only 0 of 60 fits succeeded" in caplog.text
    chex.assert_tree_all_finite(found)
    np.testing.assert_allclose(found.mean, to_unconstrained(jax.tree.map(jnp.float32, REGION)))


@pytest.mark.slow
def test_prior_finds_the_planted_spread(prior):
    covariance = np.linalg.inv(np.asarray(prior.precision, float))
    std = np.sqrt(np.diag(covariance))
    center = np.asarray(to_unconstrained(jax.tree.map(jnp.float32, REGION)))
    assert prior.mean.dtype == np.float32
    assert np.all(np.abs(prior.mean - center) < SPREAD)
    assert np.all((std > 0.4 * SPREAD) & (std < 2.0 * SPREAD))


@pytest.mark.slow
def test_optimum_is_that_of_scipy(world, prior, found):
    series, truth = world
    hyper, ok = found
    assert ok.all()
    mine = _costs(_rows_of(hyper), prior, series)
    assert np.all(mine <= _costs(truth, prior, series) + 0.01)
    gap, start = [], np.asarray(prior.mean, float)
    arrays = jax.device_put((series.day, list(series.value), list(series.valid)))
    with batching.one_thread():
        for k in range(COUNT):
            given = prior, arrays[0], arrays[1][k], arrays[2][k]

            def _objective(row, given=given):
                value, slope = _cost(row.astype(np.float32), *given)
                return float(value), np.asarray(slope, float)

            best = minimize(_objective, start, jac=True, method="L-BFGS-B")
            gap.append(mine[k] - best.fun)
    assert np.mean(np.array(gap) < 0.01) >= 0.99


@pytest.mark.slow
def test_pixels_own_hyperparameters_predict_better(world, found):
    """Mean log-likelihood of the data, of which MAP sees all, against the region's."""
    series, truth = world
    flat = gp.Prior(jnp.zeros(7), jnp.zeros((7, 7)), jnp.eye(7))
    own = -_costs(_rows_of(found[0]), flat, series).mean()
    region = np.tile(to_unconstrained(jax.tree.map(jnp.float32, REGION)), (COUNT, 1))
    assert own > -_costs(region, flat, series).mean() + 0.3
    # and length scales are told apart
    l = np.log(found[0].lengthscale[:, 0] - 6)
    assert np.corrcoef(l, truth[:, 0])[0, 1] > 0.4


@pytest.mark.slow
def test_deterministic_and_blind_to_neighbours(world, prior, found):
    series, _ = world
    hyper, ok = found
    again = gp.fit_pixels(series, prior, REGION)
    jax.tree.map(np.testing.assert_array_equal, again, found)
    order = np.random.default_rng(1).permutation(COUNT)[:100]
    order[50:60] = order[0]
    some = Observations(series.day, series.value[order], series.valid[order])
    part = gp.fit_pixels(some, prior, REGION)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[order]), part[0], hyper)
    np.testing.assert_array_equal(part[1], ok[order])


def test_pixel_without_data_and_broken_pixel_fall_back(world, prior, found):
    series, _ = world
    value, valid = series.value.copy(), series.valid.copy()
    valid[3] = False
    value[5], value[6] = np.nan, np.inf
    valid[5:7] = True
    value[9, 4, 1], valid[9, 4, 1] = -np.inf, True
    hyper, ok = gp.fit_pixels(Observations(series.day, value, valid), prior, REGION)
    np.testing.assert_array_equal(np.flatnonzero(~ok), [5, 6, 9])
    # without data the prior's mean is the optimum; what fails has the region's
    expected = {
        3: from_unconstrained(prior.mean, LATENTS, OUTPUTS),
        5: REGION,
        6: REGION,
        9: REGION,
    }
    for k, one in expected.items():
        jax.tree.map(lambda a, b, k=k: np.testing.assert_allclose(a[k], b, rtol=1e-6), hyper, one)
    others = np.setdiff1d(np.arange(COUNT), [3, 5, 6, 9])
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[others], b[others]), hyper, found[0])


@pytest.mark.slow
def test_repacking_changes_nothing(monkeypatch, world, prior, found):
    further = pixels._further.__wrapped__

    def _anew(*args, latents):
        return further(*args, latents=latents)

    monkeypatch.setattr(pixels, "_STEPS", 48)
    monkeypatch.setattr(
        pixels, "_further", batching.jit_recursion(_anew, static_argnames=("latents",))
    )
    whole = gp.fit_pixels(world[0], prior, REGION)
    jax.tree.map(np.testing.assert_array_equal, whole, found)


def test_evaluations_are_few(monkeypatch, world, prior):
    taken = []
    further = pixels._further

    def _counted(*args, **kwargs):
        lane = further(*args, **kwargs)
        taken.append(np.asarray(lane.evaluations))
        return lane

    monkeypatch.setattr(pixels, "_further", _counted)
    gp.fit_pixels(world[0], prior, REGION)
    assert [block.max() for block in taken] == [6 * (k + 1) for k in range(len(taken) - 1)] + [
        taken[-1].max()
    ]
    assert len(taken) <= 5  # all done within 30 evaluations
    assert np.mean(taken[0][:COUNT]) < 5.9  # and some long before


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_prior_is_of_the_precision_of_the_series(float64, dtype):
    row = np.zeros(7)
    found = pixels._prior(row, np.eye(7), np.eye(7), dtype)
    assert {leaf.dtype for leaf in found} == {np.dtype(dtype)}
    np.testing.assert_allclose(found.root @ found.root.T, np.eye(7) / 2, rtol=1e-6)
