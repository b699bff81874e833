"""One table over all Estimators: trees, finiteness, shapes, dtype, determinism, odd pixels."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s1jax import baselines, mogpr, networks
from s1jax.masking import with_ndvi_masked
from s1jax.train import TrainConfig
from tests.worlds.series import stacked

PIXELS, DATES = 36, 24
TRAIN = TrainConfig(epochs=2, batches=4)
ESTIMATORS = {
    "climatology": baselines.climatology(),
    "linear": baselines.linear(),
    "whittaker": baselines.whittaker(baselines.WhittakerConfig(penalties=(1e3, 1e5))),
    "knn_space": baselines.knn_space(),
    "boosting": baselines.boosting(baselines.BoostingConfig(iterations=5, rows=500, draws=1)),
    "mlp3": networks.mlp(networks.Mlp3Config(train=TRAIN, chunk=16)),
    "mlp10": networks.mlp(networks.Mlp10Config(train=TRAIN, chunk=16)),
    "cnp": networks.sequence(
        networks.CnpConfig(width=8, dilations=(1, 2), train=TRAIN, chunk=16, pretrained=False)
    ),
    "mogpr": mogpr.mogpr(
        mogpr.MogprConfig(latents=1, hyper="region", sample=8, iterations=3, chunk=16)
    ),
}
WITHOUT_LIKELIHOOD = set(ESTIMATORS) - {"mogpr", "cnp"}


def _series(seed, orbits=1):
    rng = np.random.default_rng(seed)
    day = np.float32(19668) + 12 * np.arange(DATES, dtype=np.float32)
    ndvi = 0.5 + 0.3 * np.sin(day / 40 + rng.uniform(0, 6, (PIXELS, 1)))
    s1 = np.stack([-12 + 3 * ndvi, -19 + 5 * ndvi], -1) + rng.normal(0, 1, (*ndvi.shape, 2))
    value = np.concatenate([*[s1] * orbits, ndvi[..., None]], -1).astype(np.float32)
    valid = rng.random(value.shape) < 0.7
    valid[0] = False  # no data at all
    valid[1, :, -1] = False  # no NDVI
    valid[2, :, :-1] = False  # no radar
    valid[3, 1:, -1], valid[3, 0, -1] = False, True  # one label
    position = rng.uniform(0, 5000, (PIXELS, 2)).astype(np.float32)
    return stacked(day, np.where(valid, value, 0).astype(np.float32), valid, position)


@pytest.fixture(scope="module", params=ESTIMATORS)
def fitted(request):
    estimator = ESTIMATORS[request.param]
    return request.param, estimator, estimator.fit(jax.random.key(0), _series(0), _series(1))


def test_shapes_dtypes_and_values(fitted):
    name, estimator, params = fitted
    series = _series(2)
    estimate = estimator.predict(params, series, series.day)
    chex.assert_shape((estimate.mean, estimate.std), (PIXELS, DATES))
    chex.assert_shape(estimate.noise, (PIXELS,))
    chex.assert_type((estimate.mean, estimate.std), jnp.float32)
    chex.assert_tree_all_finite(estimate)
    assert (np.asarray(estimate.std) > 0).all()
    assert (np.abs(np.asarray(estimate.mean)) <= 1).all()
    assert ((np.asarray(estimate.noise) == 0) == (name in WITHOUT_LIKELIHOOD)).all()


def test_prediction_is_deterministic_and_of_each_pixel_alone(fitted):
    _, estimator, params = fitted
    series = _series(2)
    whole = estimator.predict(params, series, series.day)
    chex.assert_trees_all_equal(whole, estimator.predict(params, series, series.day))
    order = np.random.default_rng(0).permutation(PIXELS)[:11]
    part = estimator.predict(params, series.take(order), series.day)
    np.testing.assert_allclose(part.mean, np.asarray(whole.mean)[order], atol=1e-6)
    np.testing.assert_allclose(part.std, np.asarray(whole.std)[order], atol=1e-6)


def test_hidden_values_are_not_looked_at(fitted):
    _, estimator, params = fitted
    series = _series(2)
    hidden = np.random.default_rng(3).random((PIXELS, DATES)) < 0.4
    blind = with_ndvi_masked(series, hidden)
    rubbish = blind._replace(
        radar=np.where(blind.radar_valid[:, :, None], blind.radar, np.float32(77)),
        ndvi=np.where(blind.ndvi_valid, blind.ndvi, np.float32(77)),
    )
    a = estimator.predict(params, blind, series.day)
    b = estimator.predict(params, rubbish, series.day)
    chex.assert_trees_all_equal(a, b)


def test_days_before_between_and_after_can_be_asked_for(fitted):
    _, estimator, params = fitted
    series = _series(2)
    days = np.float32([19600, 19668, 19671, 19800.5, 19944, 20000, 20400])
    estimate = estimator.predict(params, series, days)
    chex.assert_shape((estimate.mean, estimate.std), (PIXELS, 7))
    chex.assert_tree_all_finite(estimate)
    on = estimator.predict(params, series, series.day)
    np.testing.assert_allclose(
        np.asarray(estimate.mean)[:, [1, 4]], np.asarray(on.mean)[:, [0, 23]], atol=1e-5
    )


def test_what_cannot_be_is_as_if_it_were_missing(fitted):
    name, estimator, params = fitted
    series = _series(2)
    bad, masked = (jax.tree.map(np.array, series) for _ in range(2))
    bad.ndvi[3, ::4], bad.radar[4, 1::4, 0, 0] = 9, 1e6
    masked.ndvi_valid[3, ::4], masked.radar_valid[4, 1::4, 0] = False, False
    estimate, expected = (estimator.predict(params, s, s.day) for s in (bad, masked))
    for leaf, other in zip(estimate[:2], expected[:2], strict=True):
        np.testing.assert_array_equal(np.asarray(leaf), np.asarray(other), name)


def test_days_that_are_none_are_refused(fitted):
    _, estimator, params = fitted
    series = _series(2)
    with pytest.raises(ValueError, match=r"days?: got .*nan|days: .*finite"):
        estimator.predict(params, series, np.float32([19700, np.nan]))
    with pytest.raises(ValueError, match=r"series.day: got "):
        estimator.predict(params, series._replace(day=series.day[::-1]), series.day)


def test_fit_is_deterministic(fitted):
    name, estimator, params = fitted
    again = estimator.fit(jax.random.key(0), _series(0), _series(1))
    arrays = ([x for x in jax.tree.leaves(t) if hasattr(x, "dtype")] for t in (params, again))
    for a, b in zip(*arrays, strict=True):
        np.testing.assert_array_equal(a, b, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ESTIMATORS)
def test_two_orbits_are_two_more_channels(name):
    estimator = ESTIMATORS[name]
    params = estimator.fit(jax.random.key(0), _series(0, orbits=2), _series(1, orbits=2))
    series = _series(2, orbits=2)
    estimate = estimator.predict(params, series, series.day)
    chex.assert_shape(estimate.mean, (PIXELS, DATES))
    chex.assert_tree_all_finite(estimate)
