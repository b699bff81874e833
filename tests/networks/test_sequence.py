"""Networks over a whole series: what they see, what they say, and that they learn what is there."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from s1jax import masking, networks
from s1jax.networks import BirnnConfig, MlpWindowConfig
from s1jax.networks.inputs import network_input
from s1jax.networks.model import map_mixtures
from tests.worlds.sequence import CNP, DATES, SMALL, TCN_S1, filtered, world

pytestmark = pytest.mark.slow

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def learnt():
    estimator = networks.sequence(CNP)
    return estimator, estimator.fit(KEY, world(0)[0], world(1, 40)[0])


def _r2(mean, truth, where):
    error = (np.asarray(mean) - truth)[where]
    return 1 - (error**2).mean() / truth[where].var()


def test_learns_from_radar_and_more_from_its_own_ndvi(learnt):
    estimator, params = learnt
    series, latent = world(2, 60)
    hidden = np.asarray(series.ndvi_valid)
    blind = estimator.predict(params, masking.with_ndvi_masked(series, hidden), series.day)
    told = estimator.predict(params, series, series.day)
    radar = np.arange(60)[:, None] + np.zeros((1, DATES), int) < 59
    gap = radar & ~hidden
    assert 0.3 < _r2(blind.mean, latent, gap) < _r2(told.mean, latent, gap) - 0.1
    assert _r2(told.mean, latent, gap) > 0.85
    assert np.mean(np.asarray(told.std)[gap]) < np.mean(np.asarray(blind.std)[gap])
    inside = np.abs(told.mean - latent)[gap] < 1.645 * np.asarray(told.std)[gap]
    assert 0.8 < inside.mean() < 0.99


def test_radar_alone_never_looks_at_ndvi():
    estimator = networks.sequence(dataclasses.replace(TCN_S1, train=_short()))
    params = estimator.fit(KEY, world(0)[0], world(1, 40)[0])
    series, _ = world(2, 20)
    blind = masking.with_ndvi_masked(series, np.asarray(series.ndvi_valid))
    found = (estimator.predict(params, s, series.day) for s in (series, blind))
    chex.assert_trees_all_equal(*found)


def _short(epochs=2):
    return dataclasses.replace(SMALL["train"], epochs=epochs)


GRU = BirnnConfig(width=16, layers=1, chunk=16, train=SMALL["train"])
WINDOW = MlpWindowConfig(hidden=(32,), chunk=16, train=SMALL["train"])


@pytest.mark.parametrize(
    ("config", "least"), [(GRU, 0.7), (WINDOW, 0.3)], ids=["birnn", "mlp_window"]
)
def test_every_configuration_learns(config, least):
    estimator = networks.sequence(config)
    params = estimator.fit(KEY, world(0)[0], world(1, 40)[0])
    series, latent = world(2, 60)
    estimate = estimator.predict(params, series, series.day)
    gap = ~np.asarray(series.ndvi_valid)
    gap[-1] = False  # has no radar
    chex.assert_tree_all_finite(estimate)
    assert _r2(estimate.mean, latent, gap) > least
    assert (np.asarray(estimate.std) > 0).all()
    blind = masking.with_ndvi_masked(series, np.asarray(series.ndvi_valid))
    other = estimator.predict(params, blind, series.day)
    assert (np.abs(other.mean - estimate.mean) > 1e-3).any() == config.ndvi


def test_no_radar_and_half_precision():
    config = dataclasses.replace(WINDOW, ndvi=True, radar=False, bfloat16=True, train=_short())
    estimator = networks.sequence(config)
    params = estimator.fit(KEY, world(0, 60)[0], world(1, 30)[0])
    series, _ = world(2, 20)
    estimate = estimator.predict(params, series, series.day)
    chex.assert_tree_all_finite(estimate)
    other = series._replace(radar=series.radar + np.float32(5))
    chex.assert_trees_all_equal(estimate, estimator.predict(params, other, series.day))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pretrained", [False, True])
def test_it_is_learnt_in_the_precision_of_the_series(pretrained, dtype, float64):
    config = networks.CnpConfig() if pretrained else CNP
    config = dataclasses.replace(config, train=_short(1))
    parts = [
        series._replace(
            day=series.day.astype(dtype),
            radar=series.radar.astype(dtype),
            ndvi=series.ndvi.astype(dtype),
        )
        for series, _ in (world(0, 40), world(1, 20))
    ]
    params = networks.sequence(config).fit(KEY, *parts)
    assert {leaf.dtype for leaf in jax.tree.leaves(params.variables)} == {jnp.dtype(dtype)}
    told = networks.predict(params, parts[1], parts[1].day)
    assert told.mean.dtype == np.dtype(dtype)
    chex.assert_tree_all_finite(told)


def test_wider_elsewhere():
    train = _short()
    near, far = (
        networks.sequence(dataclasses.replace(CNP, train=train, inflation=times)).fit(
            KEY, world(0, 60)[0], world(1, 30)[0]
        )
        for times in (1.0, 1.25)
    )
    chex.assert_trees_all_equal(near.variables, far.variables)
    np.testing.assert_allclose(far.calibration.factor, 1.25 * near.calibration.factor, rtol=1e-6)
    np.testing.assert_allclose(far.calibration.noise, 1.25 * near.calibration.noise, rtol=1e-6)
    np.testing.assert_allclose(far.mixture, 1.25 * near.mixture, rtol=1e-6)


@pytest.mark.slow
def test_an_orbit_that_was_not_learnt_from_is_left_aside(learnt, caplog):
    estimator, params = learnt
    two, _ = world(2, 20, 2)
    one = two._replace(radar=two.radar[..., :2], radar_valid=two.radar_valid[..., :2])
    expected = estimator.predict(params, one, one.day)
    assert not caplog.records
    chex.assert_trees_all_close(estimator.predict(params, two, two.day), expected, atol=1e-6)
    assert "orbit 2: the training region has no such radar, it is left aside" in caplog.text


def test_validation_pixels_without_filtered_radar_are_told_by_the_observed(caplog):
    training, deciding = world(0, 60)[0], world(1, 30)[0]
    estimator = networks.sequence(dataclasses.replace(CNP, train=_short()))
    # linear in the radar: their z-scores are those of the observed
    expected = estimator.fit(KEY, filtered(training), filtered(deciding))
    assert not caplog.records
    found = estimator.fit(KEY, filtered(training), deciding)
    chex.assert_trees_all_close(found, expected, atol=1e-3)
    assert len(caplog.records) == 2


def test_filtered_radar_that_only_one_side_has_is_the_observed(learnt, caplog):
    estimator, params = learnt
    series, _ = world(2, 20)
    looks = filtered(series)
    expected = estimator.predict(params, series, series.day)
    assert not caplog.records
    told = estimator.predict(params, looks, series.day)
    chex.assert_trees_all_equal(told, expected)
    assert "look 1: got some, expected none as in the region of the moments" in caplog.text
    of_both = networks.adapt(params, looks)
    assert (np.asarray(of_both.moments.std[1:, :2]) < np.asarray(of_both.moments.std[:1, :2])).all()
    told = networks.predict(of_both, series, series.day)
    again = networks.predict(networks.adapt(params, series), series, series.day)
    chex.assert_trees_all_close(told, again, atol=1e-5)
    caplog.clear()
    other = networks.predict(of_both, looks, series.day)
    assert not caplog.records
    assert np.abs(other.mean - told.mean).max() < 1e-3  # linear in the radar: the same z-scores


def test_same_key_same_weights_and_chunks_do_not_matter(learnt):
    estimator, params = learnt
    short = dataclasses.replace(CNP, train=_short())
    again = [networks.sequence(short).fit(KEY, world(0)[0], world(1, 40)[0]) for _ in range(2)]
    chex.assert_trees_all_equal(*again)
    series, _ = world(2, 37)
    whole = estimator.predict(params, series, series.day)
    small = dataclasses.replace(params, config=dataclasses.replace(CNP, chunk=5))
    tiles = networks.predict(small, series, series.day)
    chex.assert_trees_all_close(whole, tiles, atol=1e-6)


def test_two_orbits_and_days_between(learnt):
    estimator, params = learnt
    series, _ = world(2, 20)
    on = np.asarray(estimator.predict(params, series, series.day).mean)
    between = estimator.predict(params, series, series.day[:-1] + 6).mean
    np.testing.assert_allclose(between, (on[:, 1:] + on[:, :-1]) / 2, atol=1e-5)
    config = dataclasses.replace(CNP, train=_short())
    two = networks.sequence(config)
    params = two.fit(KEY, world(0, 60, 2)[0], world(1, 30, 2)[0])
    series, _ = world(2, 20, 2)
    chex.assert_tree_all_finite(two.predict(params, series, series.day))


def test_without_labels_it_says_so():
    series, _ = world(0, 20)
    bare = masking.with_ndvi_masked(series, np.ones((20, DATES), bool))
    bare = jax.tree.map(np.asarray, bare)
    with pytest.raises(ValueError, match="training NDVI: got no valid label in 20 pixels"):
        networks.sequence(CNP).fit(KEY, bare, series)
    three = series._replace(
        radar=np.zeros((2, DATES, 1, 3)), radar_valid=np.ones((2, DATES, 3), bool)
    )
    params = networks.adapt(networks.pretrained(), series)
    for reads in (network_input, lambda found: networks.predict(params, found, found.day)):
        with pytest.raises(ValueError, match="channels: got 3, expected 2 or 4"):
            reads(three)


def test_quantiles_are_those_of_a_widened_mixture(learnt):
    _, params = learnt
    series, _ = world(2, 20)
    some = np.asarray(series.ndvi_valid).any(axis=1)
    wider = dataclasses.replace(params, mixture=np.array([1.0, 3.0], np.float32))
    told = map_mixtures(lambda mixture: mixture, params, series)
    clean = 3.0 * float(np.exp(params.variables.params["log_noise"]))
    wide = np.hypot(3.0 * told.std, clean)
    deep = np.hypot(wide, told.depth)
    for level in (0.05, 0.9):
        ends = networks.quantiles(wider, series, series.day, (level,))[..., 0]
        x = (ends - 0.5) / 0.25 - told.mean
        below = (1 - told.share) * norm.cdf(x / wide)
        below += told.share * norm.cdf((x + told.depth) / deep)
        np.testing.assert_allclose(below[some], level, atol=1e-3)


def test_quantiles_are_of_the_mixture_and_in_order(learnt):
    _, params = learnt
    series, _ = world(2, 20)
    levels = (0.05, 0.5, 0.95)
    told = networks.quantiles(params, series, series.day, levels)
    assert told.shape == (20, DATES, 3)
    assert (np.diff(told, axis=-1) > 0).all()
    # residual cloud pulls labels down, never up
    assert (told[..., 1] - told[..., 0] > told[..., 2] - told[..., 1] - 1e-6).mean() > 0.99
    label = np.asarray(series.ndvi_valid)
    inside = (series.ndvi < told[..., 2])[label].mean()
    assert inside > 0.85
    with pytest.raises(ValueError, match="levels: got"):
        networks.quantiles(params, series, series.day, (0.0,))
    with pytest.raises(ValueError, match=r"levels: got \(\)"):
        networks.quantiles(params, series, series.day, ())
