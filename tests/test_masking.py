"""Only labels are hidden, in the share and through the windows that a task names."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from s1jax import masking
from tests.worlds.series import stacked

DAY = jnp.asarray(19700 + 12 * np.arange(62), jnp.float32)


def _series(n, seed=0):
    rng = np.random.default_rng(seed)
    value = rng.normal(size=(n, 62, 3)).astype(np.float32)
    return stacked(DAY, value, rng.random((n, 62, 3)) < 0.6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([24.0, 60.0, 132.0, 5000.0]))
def test_window_hides_all_labels_of_one_run_and_no_other(seed, days):
    valid = jax.random.bernoulli(jax.random.key(seed + 1), 0.6, (62,))
    everywhere = jnp.ones(62, bool)
    run = np.asarray(masking.window(jax.random.key(seed), DAY, everywhere, days))
    at = np.flatnonzero(run)
    # half open, and inside the series: the count is the length over the step, or one more
    assert at.size in ({62} if days > 732 else {int(days // 12), int(days // 12) + 1})
    assert at[-1] - at[0] + 1 == at.size
    hidden = masking.window(jax.random.key(seed), DAY, valid, days)
    np.testing.assert_array_equal(hidden, run & np.asarray(valid))


def test_window_starts_uniformly():
    keys = jax.random.split(jax.random.key(0), 4000)
    hidden = jax.vmap(lambda key: masking.window(key, DAY, jnp.ones(62, bool), 60.0))(keys)
    share = np.asarray(hidden).mean(axis=0)[6:-6]
    np.testing.assert_allclose(share, 60.0 / (12 * 61 - 60.0), atol=0.02)


def test_random_share():
    valid = jax.random.bernoulli(jax.random.key(1), 0.5, (20_000,))
    hidden = masking.random_share(jax.random.key(2), valid, 0.2)
    assert not np.any(hidden & ~valid)
    np.testing.assert_allclose(np.asarray(hidden)[np.asarray(valid)].mean(), 0.2, atol=0.01)


def test_hide_takes_labels_only_and_leaves_no_value():
    series = _series(40)
    seen, hidden = masking.withhold(jax.random.key(3), series)
    hidden = np.asarray(hidden)
    np.testing.assert_array_equal(seen.radar_valid, series.radar_valid)
    np.testing.assert_array_equal(seen.radar, series.radar)
    np.testing.assert_array_equal(seen.ndvi_valid, series.ndvi_valid & ~hidden)
    assert not np.any(hidden & ~series.ndvi_valid)
    assert np.all(np.asarray(seen.ndvi)[hidden] == 0.0)
    again = masking.withhold(jax.random.key(3), series)[1]
    np.testing.assert_array_equal(again, hidden)
    assert np.any(np.asarray(masking.withhold(jax.random.key(4), series)[1]) != hidden)


def test_mixture_draws_each_way_equally_often():
    series = _series(3000)._replace(ndvi_valid=np.ones((3000, 62), bool))
    hidden = np.asarray(masking.sample_task_mask(jax.random.key(5), series))
    runs = np.diff(np.pad(hidden, ((0, 0), (1, 1))).astype(int), axis=1).clip(0).sum(axis=1)
    count = hidden.sum(axis=1)
    ways = [runs > 1, (runs == 1) & (count <= 6), (runs == 1) & (count > 6)]
    np.testing.assert_allclose([way.mean() for way in ways], 1 / 3, atol=0.03)
