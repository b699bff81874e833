"""The fit of a region."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s1jax import gp
from s1jax.gp import Observations
from tests.worlds.gp_oracle import draw, posterior

TRUTH = gp.Hyper(
    np.array([45.0]), np.array([[0.7, -0.6]]), np.array([[0.2, 0.3]]), np.array([0.3, 0.05])
)


def _sample(pixels=48, days=24):
    rng = np.random.default_rng(0)
    day = 19000.0 + 12 * np.arange(days)
    _, value = draw(rng, TRUTH, day, pixels)
    return Observations(day, value, rng.random(value.shape) < 0.7)


def _small():
    """Float32, and one shape."""
    series = _sample(pixels=8, days=8)
    return series._replace(value=series.value.astype(np.float32))


def _mean_log_likelihood(hyper, series):
    pixels = [Observations(series.day, *p) for p in zip(series.value, series.valid, strict=True)]
    return np.mean([posterior(hyper, p, series.day[:1], 0)[0] for p in pixels])


def test_planted_hyperparameters_are_found(x64):
    series = _sample()
    dtype = np.float64 if x64 else np.float32
    start = gp.initial(1, 2)
    found = gp.fit(series._replace(value=series.value.astype(dtype)), start)
    assert found.lengthscale.dtype == dtype
    best = _mean_log_likelihood(found, series)
    assert best >= _mean_log_likelihood(TRUTH, series)
    assert best > _mean_log_likelihood(start, series) + 0.5
    assert 1 / 1.5 < found.lengthscale[0] / 45.0 < 1.5
    np.testing.assert_allclose(found.noise, TRUTH.noise, atol=0.1)
    product = found.mixing[0, 0] * found.mixing[0, 1]
    assert -0.8 < product < -0.2  # the outputs oppose each other; the sign of W alone is free


def test_hidden_values_are_predicted_better_by_a_fit_to_them(float64):
    series = _sample()
    hidden = series.valid & (np.random.default_rng(1).random(series.valid.shape) < 0.3)
    shown = series._replace(valid=series.valid & ~hidden)
    start = gp.initial(1, 2)

    def _score(hyper):
        return _mean_log_likelihood(hyper, series) - _mean_log_likelihood(hyper, shown)

    all_, only = gp.fit(series, start), gp.fit(series, start, hidden=hidden)
    assert _score(only) > _score(all_) > _score(start) + 0.1
    assert _mean_log_likelihood(only, series) < _mean_log_likelihood(all_, series)


@pytest.mark.slow
def test_fit_is_deterministic_and_knows_no_chunk(monkeypatch):
    series = _small()
    first = gp.fit(series, gp.initial(2, 2), iterations=3)
    for chunk in (5, 8):
        monkeypatch.setattr(sys.modules["s1jax.gp.fit"], "_CHUNK", chunk)
        again = gp.fit(series, gp.initial(2, 2), iterations=3)
        jax.tree.map(np.testing.assert_array_equal, again, first)


def test_pixels_without_data_are_left_out():
    series = _small()
    value, valid = np.repeat(series.value, 2, 0), np.repeat(series.valid, 2, 0)
    empty = Observations(series.day, value, valid)
    empty.valid[1::2] = False
    a, b = (gp.fit(s, gp.initial(1, 2), iterations=3) for s in (series, empty))
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_bounds_hold():
    series = _small()
    value = np.tile(np.sin(series.day / 40)[None, :, None], (8, 1, 2)).astype(np.float32)
    found = gp.fit(Observations(series.day, value, np.ones(value.shape, bool)), gp.initial(1, 2))
    assert np.all((found.noise > 0.01) & (found.noise < 0.0102))  # there is none
    assert np.all(np.abs(found.mixing) <= 6)
    assert 6 <= found.lengthscale[0] <= 2000


@pytest.mark.parametrize("latents", [1, 2, 3])
def test_start_is_never_a_dead_one(latents):
    start = gp.initial(latents, 3)
    assert np.all(start.lengthscale >= 30)
    assert len(set(np.asarray(start.lengthscale))) == latents
    assert np.linalg.matrix_rank(start.mixing) == latents


def test_errors_name_what_is_wrong():
    series = _small()
    with pytest.raises(ValueError, match="no valid observation in any of 8 pixels"):
        gp.fit(series._replace(valid=np.zeros_like(series.valid)), gp.initial(1, 2))
    start = gp.initial(1, 2)._replace(mixing=jnp.full((1, 2), jnp.nan))
    with pytest.raises(ValueError, match="log-likelihood at start: got nan"):
        gp.fit(series, start)
