"""Training against closed forms; validation decides; a resumed run equals an unbroken one."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from s1jax import train
from s1jax.batching import bar, titled
from s1jax.train import Data, TrainConfig, Variables, checkpoints, epoch, rate

CONFIG = TrainConfig(learning_rate=0.05, weight_decay=0.0, epochs=60, batches=4)
SLOPE = np.array([1.5, -2.0, 0.5], np.float32)


def _data(seed, n, slope=SLOPE):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    y = x @ slope + 0.1 * rng.normal(size=n).astype(np.float32)
    return Data(store=(), rows=(jnp.asarray(x), jnp.asarray(y.astype(np.float32))))


def _loss(key, variables, data):
    x, y = data.rows
    return (x @ variables.params["slope"] - y) ** 2, variables.batch_stats


def _start():
    return Variables({"slope": jnp.zeros(3, jnp.float32)}, {})


def _fit(config=CONFIG, training=None, validation=None, folder=None, key=0):
    return train.fit(
        jax.random.key(key), _loss, _start(), training or _data(0, 200), validation or _data(1, 50),
        config=config, folder=folder,
    )  # fmt: skip


def test_finds_least_squares():
    x, y = _data(0, 200).rows
    expected = np.linalg.lstsq(np.asarray(x), np.asarray(y), rcond=None)[0]
    config = dataclasses.replace(CONFIG, learning_rate=0.02, epochs=200, patience=200)
    np.testing.assert_allclose(_fit(config).variables.params["slope"], expected, atol=0.02)


def test_best_is_of_the_validation_loss():
    state = _fit(validation=_data(1, 51))
    history = np.asarray(state.history)
    assert int(state.best_epoch) == np.nanargmin(history[:, 1])
    assert float(state.best_loss) == np.nanmin(history[:, 1])
    each, _ = _loss(None, state.best, _data(1, 51))
    assert float(each.mean()) == pytest.approx(float(state.best_loss), rel=1e-5)


def test_validation_of_another_relation_stops_early():
    config = dataclasses.replace(CONFIG, patience=5)
    state = _fit(config, validation=_data(1, 50, slope=-SLOPE))
    assert int(state.best_epoch) == 0
    assert int(state.epoch) == 6
    assert np.isnan(np.asarray(state.history)[6:]).all()


def test_plateau_halves_the_learning_rate_after_its_patience():
    config = dataclasses.replace(CONFIG, plateau_patience=3, patience=100, epochs=10)
    state = _fit(config, validation=_data(1, 50, slope=-SLOPE))
    assert float(state.plateau.scale) == pytest.approx(0.5 ** ((10 - 1) // 3))


def test_same_key_same_bits_and_another_key_another_order():
    chex.assert_trees_all_equal(_fit().best, _fit().best)
    assert (np.asarray(_fit().history) != np.asarray(_fit(key=1).history)).any()


@pytest.mark.filterwarnings("default")  # orbax and its dependencies warn of their own future
def test_resumed_equals_unbroken(tmp_path):
    config = dataclasses.replace(CONFIG, save_every=4, epochs=12, patience=100)
    whole = _fit(config)
    cut = _fit_until(config, tmp_path / "b", epochs=8)
    assert int(cut.epoch) == 8
    resumed = _fit(config, folder=tmp_path / "b")
    chex.assert_trees_all_equal(resumed, whole)


def _fit_until(config, folder, epochs):
    """Stop after `epochs` as a cut job would: the last checkpoint stays."""
    manager = checkpoints(folder)
    state = train.fit(
        jax.random.key(0), _loss, _start(), _data(0, 200), _data(1, 50),
        config=dataclasses.replace(config, epochs=epochs),
    )  # fmt: skip
    full = jnp.full((config.epochs, 2), jnp.nan, jnp.float32)
    state = state._replace(history=full.at[:epochs].set(state.history))
    manager.save(epochs - 1, args=ocp.args.StandardSave(state))
    manager.close()
    return state


def test_batches_scale_with_the_data():
    config = TrainConfig()
    assert train.rows_per_batch(20_000_000, config) == 256_000
    # a power of two, that another data set of about the size shares
    assert train.rows_per_batch(64_000, config) == 512
    assert train.rows_per_batch(65_536, config) == 1024
    assert train.rows_per_batch(3, config) == 1


def test_steps_bound_the_passes():
    # 200 rows are 6 batches of 32
    assert train.epochs_and_batches(200, CONFIG) == (CONFIG.epochs, 6)
    assert train.epochs_and_batches(200, dataclasses.replace(CONFIG, steps=90)) == (15, 6)
    assert train.epochs_and_batches(200, dataclasses.replace(CONFIG, steps=20)) == (10, 2)
    assert train.epochs_and_batches(200, dataclasses.replace(CONFIG, steps=1)) == (1, 1)
    state = _fit(dataclasses.replace(CONFIG, steps=20))
    assert int(state.epoch) == 10
    assert np.isnan(np.asarray(state.history)[10:]).all()


def test_cosine_is_that_of_optax():
    config = TrainConfig(learning_rate=0.3, schedule="cosine")
    expected = optax.warmup_cosine_decay_schedule(0.0, 0.3, 200 // 20, 200)
    for step in (0, 5, 10, 77, 199):
        found = rate(config, jnp.asarray(step), jnp.asarray(200))
        assert float(found) == pytest.approx(float(expected(step)), abs=1e-6)


def test_another_size_of_the_same_order_is_not_compiled_again():
    _fit(training=_data(0, 200), validation=_data(1, 50))
    before = epoch._cache_size()
    _fit(training=_data(0, 180), validation=_data(1, 40))
    assert epoch._cache_size() == before


def test_every_row_is_seen_once_an_epoch():
    rows = (jnp.arange(8.0),)

    def loss(key, variables, data):
        return data.rows[0] + 0.0 * variables.params["zero"], variables.batch_stats

    state = train.fit(
        jax.random.key(0), loss, Variables({"zero": jnp.zeros(())}, {}), Data((), rows),
        Data((), (jnp.arange(5.0),)), config=dataclasses.replace(CONFIG, epochs=2, batches=4),
    )  # fmt: skip
    np.testing.assert_allclose(state.history[:2], [[3.5, 2.0], [3.5, 2.0]])


def test_bars_and_logs_have_the_title_of_the_context(caplog):
    caplog.set_level("INFO", logger="s1jax")
    with titled("cnp"), titled("tcn_s1"):
        _fit(dataclasses.replace(CONFIG, epochs=1))
        assert bar([], "stage", "item").desc == "tcn_s1"
    assert "tcn_s1: 200 rows" in caplog.text
    assert bar([], "stage", "item").desc == "stage"
    with titled("cnp"), pytest.raises(ValueError, match="cnp: got 0 training"):
        _fit(training=Data((), (jnp.zeros((0, 3)), jnp.zeros(0))))


def test_without_rows_it_says_so():
    with pytest.raises(ValueError, match=r"got 0 training and 50 validation rows"):
        _fit(training=Data((), (jnp.zeros((0, 3)), jnp.zeros(0))))


@pytest.mark.filterwarnings("default")
def test_checkpoints_that_are_damaged_are_told(tmp_path):
    config = dataclasses.replace(CONFIG, save_every=4, epochs=8, patience=100)
    folder = tmp_path / "b"
    _fit_until(config, folder, epochs=4)
    spoilt = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 200]
    for path in spoilt:
        path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))
    with pytest.raises(ValueError, match=r"got a checkpoint of epoch 3 .*to train anew") as caught:
        _fit(config, folder=folder)
    assert str(folder) in str(caught.value)
