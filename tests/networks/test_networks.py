"""Single-date networks: planted relation, faults reproduced, folders that load and refuse."""

import dataclasses
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s1jax import features, networks, saving
from s1jax.networks.mlp import (
    Rows,
    balance,
    init_mlp,
    labelled,
    mlp_network,
    normalise,
    normaliser_of,
    row_features,
    without_gaps,
)
from s1jax.train import TrainConfig
from s1jax.types import Series

TRAIN = TrainConfig(epochs=30, batches=16, learning_rate=5e-3)
CONFIG = networks.MlpConfig(hidden=(32, 16), train=TRAIN, chunk=16)


def _series(seed, pixels=40, dates=30, orbits=1):
    """NDVI is an exact function of the date's VH, with one pixel without radar at the end."""
    rng = np.random.default_rng(seed)
    ndvi = rng.uniform(0.1, 0.9, (pixels, dates))
    vh = -20 + 6 * ndvi
    vv = rng.normal(-11, 1, (pixels, dates))
    value = np.stack([vv, vh] * orbits + [ndvi], -1)
    valid = rng.random(value.shape) < np.array([0.9] * 2 * orbits + [0.6])
    valid[-1, :, :-1] = False
    day = np.float32(19668) + 12 * np.arange(dates, dtype=np.float32)
    value = np.where(valid, value, 0).astype(np.float32)
    radar = value[..., None, :-1]
    return Series(day, radar, valid[..., :-1], value[..., -1], valid[..., -1]), ndvi


@pytest.fixture(scope="module")
def learnt():
    estimator = networks.mlp(CONFIG)
    return estimator, estimator.fit(jax.random.key(0), _series(0)[0], _series(1)[0])


def test_planted_relation_is_found_where_there_is_radar(learnt):
    estimator, params = learnt
    series, ndvi = _series(2)
    estimate = estimator.predict(params, series, series.day)
    seen = series.radar_valid.all(-1)
    error = (estimate.mean - ndvi)[seen]
    assert 1 - (error**2).mean() / ndvi[seen].var() > 0.97
    assert float(params.std) == pytest.approx(np.sqrt((error**2).mean()), rel=0.5)
    assert estimate.std.shape == ndvi.shape
    assert (estimate.std > 0).all()


def test_pixel_without_radar_gets_the_training_mean(learnt):
    estimator, params = learnt
    series, _ = _series(2)
    estimate = estimator.predict(params, series, series.day)
    np.testing.assert_allclose(estimate.mean[-1], params.normaliser.ndvi_mean, rtol=1e-6)
    np.testing.assert_allclose(estimate.std[-1], params.normaliser.ndvi_std, rtol=1e-6)


def test_ndvi_of_the_pixel_is_never_used(learnt):
    estimator, params = learnt
    series, _ = _series(2)
    blind = series._replace(ndvi=0 * series.ndvi, ndvi_valid=series.ndvi_valid & False)
    a, b = (estimator.predict(params, s, series.day) for s in (series, blind))
    chex.assert_trees_all_equal(a, b)


def test_days_between_the_dates_are_linear(learnt):
    estimator, params = learnt
    series, _ = _series(2)
    on = estimator.predict(params, series, series.day).mean
    between = estimator.predict(params, series, series.day[:-1] + 6).mean
    np.testing.assert_allclose(between, (on[:, 1:] + on[:, :-1]) / 2, atol=1e-5)


def test_same_key_same_weights(learnt):
    _, params = learnt
    again = networks.mlp(CONFIG).fit(jax.random.key(0), _series(0)[0], _series(1)[0])
    chex.assert_trees_all_equal(params, again)


def test_filtered_radar_beside_the_raw_moves_nothing(learnt):
    estimator, params = learnt
    series, training, validation = (_series(seed)[0] for seed in (2, 0, 1))
    series, training, validation = (
        s._replace(radar=np.concatenate([s.radar, s.radar + 1], -2))
        for s in (series, training, validation)
    )
    again = estimator.fit(jax.random.key(0), training, validation)
    chex.assert_trees_all_equal(params, again)
    observed = series._replace(radar=series.radar[..., :1, :])
    plain = estimator.predict(params, observed, series.day)
    chex.assert_trees_all_equal(estimator.predict(params, series, series.day), plain)


@pytest.mark.slow
def test_batch_features_equal_the_series(x64):
    series, _ = _series(3)
    series = jax.tree.map(
        lambda x: jnp.asarray(x, jnp.result_type(float)) if x.dtype != bool else jnp.asarray(x),
        series,
    )
    config = networks.Mlp10Config()
    stack, seen = without_gaps(series, pad_mode="edge")
    rows = labelled(series, seen)
    found = row_features(config, stack, rows)
    pads = [jnp.pad(x[:, 1:-1], ((0, 0), (1, 1)), mode="edge") for x in stack]
    dates = [(x[:, :-2], x[:, 1:-1], x[:, 2:]) for x in pads]
    whole = features.table(config.features, *dates)
    np.testing.assert_allclose(found, whole[rows.pixel, rows.time], rtol=1e-5)
    used = np.asarray(series.ndvi_valid & seen)
    assert rows.ndvi.shape[0] == used.sum()
    np.testing.assert_array_equal(rows.ndvi, np.asarray(series.ndvi)[used])
    normaliser = normaliser_of(config, stack, rows)
    oracle = np.asarray(found, np.float64)
    np.testing.assert_allclose(normaliser.feature_mean, oracle.mean(0), rtol=2e-4)
    np.testing.assert_allclose(normaliser.feature_std, oracle.std(0), rtol=2e-3)
    z = np.asarray(normalise(normaliser, found), np.float64)
    np.testing.assert_allclose(z.std(0), 1, atol=1e-2)


def test_two_orbits_become_one(learnt):
    estimator, params = learnt
    one, _ = _series(2)
    two = one._replace(
        radar=np.concatenate([one.radar] * 2, -1),
        radar_valid=np.concatenate([one.radar_valid] * 2, -1),
    )
    a, b = (estimator.predict(params, s, one.day).mean for s in (one, two))
    np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "weights"),
    [
        (networks.Mlp3Config(), 3 * 64 + 64 + 64 * 32 + 32 + 33),
        (
            networks.Mlp10Config(),
            11 * 256 + 257 * 128 + 129 * 64 + 65 * 32 + 33 * 16 + 17 + 2 * 496,
        ),
        (
            networks.Mlp10Config(hidden=(256, 128, 64)),
            11 * 256 + 257 * 128 + 129 * 64 + 65 + 2 * 448,
        ),
        (networks.MlpConfig(hidden=(8, 8), residual=True), 3 * 8 + 8 + 3 * 8 + 8 + 72 + 9),
    ],
)
def test_architectures_have_their_number_of_weights(config, weights):
    variables = init_mlp(jax.random.key(0), config, jnp.float32)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables.params)) == weights


def test_residual_passes_its_input_through():
    config = networks.MlpConfig(features=features.WITH_PREVIOUS, hidden=(10,), residual=True)
    variables = jax.tree.map(jnp.zeros_like, init_mlp(jax.random.key(0), config, jnp.float32))
    variables.params["Dense_1"]["kernel"] = jnp.ones((10, 1))
    y = mlp_network(config).apply(
        {"params": variables.params}, jnp.arange(20.0).reshape(2, 10), training=False
    )
    np.testing.assert_allclose(y, [45.0, 145.0])


@pytest.mark.slow
def test_dropout_and_batch_statistics_only_in_training():
    config = networks.Mlp10Config()
    variables = init_mlp(jax.random.key(0), config, jnp.float32)
    tree = {"params": variables.params, "batch_stats": variables.batch_stats}
    x = jax.random.normal(jax.random.key(1), (64, 10))
    net = mlp_network(config)
    a, b = (net.apply(tree, x, training=False) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    c, d = (
        net.apply(
            tree, x, training=True, rngs={"dropout": jax.random.key(k)}, mutable="batch_stats"
        )[0]
        for k in (0, 1)
    )
    assert (c != d).any()


@pytest.mark.slow
def test_tanh_cannot_leave_mean_plus_minus_std():
    config = dataclasses.replace(CONFIG, tanh=True)
    estimator = networks.mlp(config)
    params = estimator.fit(jax.random.key(0), _series(0)[0], _series(1)[0])
    series, ndvi = _series(2)
    mean = estimator.predict(params, series, series.day).mean
    n = params.normaliser
    low, high = n.ndvi_mean - n.ndvi_std, n.ndvi_mean + n.ndvi_std
    assert mean.min() >= low - 1e-5
    assert mean.max() <= high + 1e-5
    assert ndvi.max() > high + 0.1


def test_balanced_rows_are_as_many_of_every_range():
    rng = np.random.default_rng(0)
    ndvi = np.concatenate([rng.uniform(0.0, 0.25, 5000), rng.uniform(0.75, 1.0, 50), [0.0, 1.0]])
    index = jnp.arange(ndvi.size)
    drawn = balance(jax.random.key(0), Rows(index, index, jnp.asarray(ndvi)), 4)
    np.testing.assert_array_equal(drawn.ndvi, jnp.asarray(ndvi)[drawn.pixel])
    high = np.asarray(drawn.ndvi) > 0.5
    assert high.size == ndvi.size
    assert abs(high.mean() - 0.5) < 4 * 0.5 / np.sqrt(high.size)
    assert np.unique(drawn.pixel[high]).size > 45
    same = balance(jax.random.key(0), Rows(index, index, jnp.full(index.shape, 0.3)), 4)
    np.testing.assert_allclose(same.ndvi, 0.3)


@pytest.mark.slow
def test_balanced_training_favours_what_is_rare():
    # VH tells NDVI with an error: least squares of few high labels leans towards the many low ones
    series, ndvi = _series(0)
    some = (ndvi < 0.5) | (np.random.default_rng(1).random(ndvi.shape) < 0.05)
    noise = np.random.default_rng(2).normal(0, 2.0, ndvi.shape).astype(np.float32)
    radar = series.radar.copy()
    radar[..., 0, 1] += noise
    training = series._replace(radar=radar, ndvi_valid=series.ndvi_valid & some)
    means = []
    for ranges in (0, 8):
        estimator = networks.mlp(dataclasses.replace(CONFIG, balanced=ranges))
        params = estimator.fit(jax.random.key(0), training, training)
        mean = np.asarray(estimator.predict(params, training, training.day).mean)
        means.append(mean[ndvi > 0.6].mean())
    assert means[1] > means[0] + 0.02


def test_no_label_on_a_date_with_radar_is_told():
    series, _ = _series(0)
    empty = series._replace(ndvi_valid=series.ndvi_valid & False)
    with pytest.raises(ValueError, match=r"got 0 in training"):
        networks.mlp(CONFIG).fit(jax.random.key(0), empty, series)


def test_folder_loads_with_nothing_else(learnt, tmp_path):
    estimator, params = learnt
    series, _ = _series(2)
    saving.save(params, tmp_path / "model")
    again = saving.load(tmp_path / "model")
    chex.assert_trees_all_equal(
        estimator.predict(again, series, series.day),
        estimator.predict(params, series, series.day),
    )
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    assert card["static"]["config"]["features"] == ["vv", "vh", "rvi"]
    assert card["units"]["vv"] == "dB"
    with pytest.raises(ValueError, match=r"expected the folder that `save` wrote"):
        saving.load(tmp_path / "elsewhere")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # orbax and its dependencies warn of their own future
def test_training_resumes_only_its_own_checkpoints(tmp_path):
    config = dataclasses.replace(CONFIG, train=dataclasses.replace(TRAIN, epochs=6, save_every=3))
    estimator = networks.mlp(config, folder=tmp_path)
    a = estimator.fit(jax.random.key(0), _series(0)[0], _series(1)[0])
    again = estimator.fit(jax.random.key(0), _series(0)[0], _series(1)[0])
    other = estimator.fit(jax.random.key(1), _series(0)[0], _series(1)[0])
    chex.assert_trees_all_equal(a, again)
    assert len(list(tmp_path.iterdir())) == 2
    assert (np.asarray(a.history) != np.asarray(other.history)).any()
