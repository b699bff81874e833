"""Network and process together: exact where NDVI is near, the network far from it."""

import dataclasses

import chex
import jax
import numpy as np
import pytest
from sequence_worlds import DATES, TCN_S1, world

from s1jax import hiding, networks
from s1jax.hybrid import HybridConfig, ensemble, hybrid, residual
from s1jax.mogpr import MogprConfig, mogpr
from s1jax.types import NDVI, Estimate, Estimator

KEY = jax.random.key(0)
NETWORK = dataclasses.replace(TCN_S1, train=dataclasses.replace(TCN_S1.train, epochs=10))
PROCESS = MogprConfig(latents=1, inputs="none", mean="zero", hyper="region", sample=32, chunk=64)
CONFIG = HybridConfig(network=NETWORK, process=PROCESS)


@pytest.fixture(scope="module")
def learnt():
    estimator = hybrid(CONFIG)
    return estimator, estimator.fit(KEY, world(0)[0], world(1, 60)[0])


def test_its_own_ndvi_corrects_the_network(learnt):
    estimator, params = learnt
    series, latent = world(2, 60)
    network = networks.sequence(NETWORK)
    told = estimator.predict(params, series, series.day)
    alone = network.predict(params.process.mean, series, series.day)
    gap = ~np.asarray(series.valid)[..., NDVI]

    def _rmse(estimate):
        return np.sqrt(((np.asarray(estimate.mean) - latent)[gap] ** 2).mean())

    assert _rmse(told) < 0.7 * _rmse(alone)
    # years from any NDVI it is the network again
    blind = hiding.without(series, np.ones((60, DATES), bool))
    bare = estimator.predict(params, blind, series.day)
    level = params.process.mogpr.region_mean[NDVI]
    np.testing.assert_allclose(bare.mean, np.clip(alone.mean + level, -1, 1), atol=1e-5)
    wider = bare.std / params.bands.factor[0] > told.std / params.bands.factor[1] - 1e-6
    assert wider.all()
    inside = np.abs(told.mean - latent)[gap] < 1.645 * np.asarray(told.std)[gap]
    assert inside.mean() > 0.8


def test_threshold_is_a_switch():
    config = dataclasses.replace(
        CONFIG,
        threshold=0.5,
        switched=dataclasses.replace(PROCESS, inputs="raw"),
        network=dataclasses.replace(NETWORK, train=dataclasses.replace(NETWORK.train, epochs=2)),
    )
    estimator = hybrid(config)
    params = estimator.fit(KEY, world(0, 60)[0], world(1, 40)[0])
    series, _ = world(2, 30)
    found = estimator.predict(params, series, series.day)
    chex.assert_tree_all_finite(found)
    few = np.asarray(series.valid)[..., NDVI].mean(1) < 0.5
    assert 0 < few.sum() < 30
    network = networks.sequence(config.network).predict(params.network, series, series.day)
    assert found.noise.shape == (30,)
    process = mogpr(config.switched).predict(params.process, series, series.day)
    for name in ("mean", "std", "noise"):
        told = np.asarray(getattr(found, name))
        for some, of in ((few, network), (~few, process)):
            expected = np.broadcast_to(getattr(of, name), told.shape)
            np.testing.assert_array_equal(told[some], expected[some])
    assert (found.mean[~few] != np.asarray(network.mean)[~few]).any(1).all()


def _says(mean, std):
    """A method that always says the same."""

    def _predict(params, series, days):
        shape = (len(series.value), len(days))
        return Estimate(np.full(shape, mean), np.full(shape, std), np.zeros(()))

    return Estimator(lambda key, training, validation: None, _predict)


def test_ensemble_weighs_by_precision():
    series, _ = world(0, 40)
    method = ensemble(_says(0.2, 0.1), _says(0.6, 0.2))
    params = method.fit(KEY, series, series)
    told = method.predict(params, series, series.day)
    weight = np.array([100.0, 25.0]) / 125.0
    mean = weight @ [0.2, 0.6]
    variance = weight @ (np.array([0.1, 0.2]) ** 2 + (np.array([0.2, 0.6]) - mean) ** 2)
    np.testing.assert_allclose(told.mean, mean, rtol=1e-6)
    factor, floor, _ = params.bands
    spread = np.sqrt(variance + floor**2)
    np.testing.assert_allclose(told.std, spread[1] * factor[1], rtol=1e-6)
    blind = hiding.without(series, np.ones((40, DATES), bool))
    bare = method.predict(params, blind, series.day)
    np.testing.assert_allclose(bare.std, spread[0] * factor[0], rtol=1e-6)
    with pytest.raises(ValueError, match="members: got none"):
        ensemble()


def test_wider_elsewhere():
    series, latent = world(0, 40)

    def _predict(params, part, days):
        return Estimate(latent, np.full(latent.shape, 0.05), np.zeros(()))

    known = Estimator(lambda key, training, validation: None, _predict)
    near, far = (
        ensemble(known, elsewhere=times).fit(KEY, series, series).bands for times in (1.0, 1.25)
    )
    np.testing.assert_allclose(far.factor, 1.25 * near.factor)
    np.testing.assert_allclose(far.noise, 1.25 * near.noise)


def test_a_hybrid_is_wider_elsewhere(learnt, monkeypatch):
    _, params = learnt
    # what is learnt is the same: only the band is another
    known = Estimator(lambda *_: params.process, mogpr(PROCESS, mean=networks.sequence(NETWORK))[1])
    monkeypatch.setattr(residual, "mogpr", lambda *_, **__: known)
    far = hybrid(dataclasses.replace(CONFIG, elsewhere=1.25)).fit(KEY, world(0)[0], world(1, 60)[0])
    np.testing.assert_allclose(far.bands.factor, 1.25 * np.asarray(params.bands.factor), rtol=1e-5)
