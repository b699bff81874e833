"""Networks over a whole series: what they see, what they say, and that they learn what is there."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm
from sequence_worlds import CNP, DATES, SMALL, TCN_S1, world

from s1jax import hiding, networks
from s1jax.networks import BirnnConfig, MlpWindowConfig, hide, levels, likelihood, pixel
from s1jax.networks.dates import (
    CHANNELS,
    channels,
    dates,
    moments,
    region_moments,
    standardise,
)
from s1jax.networks.disturb import disturbed
from s1jax.types import NDVI, Estimate, Series

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
    hidden = np.asarray(series.valid)[..., NDVI]
    blind = estimator.predict(params, hiding.without(series, hidden), series.day)
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
    blind = hiding.without(series, np.asarray(series.valid)[..., NDVI])
    found = (estimator.predict(params, s, series.day) for s in (series, blind))
    chex.assert_trees_all_equal(*found)


def _short(epochs=2):
    return dataclasses.replace(SMALL["train"], epochs=epochs)


GRU = BirnnConfig(
    width=8, layers=1, chunk=16, mixture=False, spatial=False, train=dataclasses.replace(
        SMALL["train"], epochs=2
    )
)  # fmt: skip
WINDOW = MlpWindowConfig(
    hidden=(16,), chunk=16, ndvi=True, radar=False, bfloat16=True, train=GRU.train
)


@pytest.mark.parametrize("config", [GRU, WINDOW], ids=["gru", "window"])
def test_every_configuration_learns(config):
    estimator = networks.sequence(config)
    params = estimator.fit(KEY, world(0, 60)[0], world(1, 30)[0])
    series, _ = world(2, 20)
    estimate = estimator.predict(params, series, series.day)
    chex.assert_tree_all_finite(estimate)
    assert (np.asarray(estimate.std) > 0).all()
    if not config.radar:
        other = series._replace(value=series.value.copy())
        other.value[..., :NDVI] += 5
        chex.assert_trees_all_equal(estimate, estimator.predict(params, other, series.day))


def test_same_key_same_weights_and_chunks_do_not_matter(learnt):
    estimator, params = learnt
    short = dataclasses.replace(CNP, train=_short())
    again = [networks.sequence(short).fit(KEY, world(0)[0], world(1, 40)[0]) for _ in range(2)]
    chex.assert_trees_all_equal(*again)
    series, _ = world(2, 37)
    whole = estimator.predict(params, series, series.day)
    tiles = networks.fill(params, series, series.day, config=dataclasses.replace(CNP, chunk=5))
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
    bare = hiding.without(series, np.ones((20, DATES), bool))
    bare = jax.tree.map(np.asarray, bare)
    with pytest.raises(ValueError, match="training NDVI: got no valid label in 20 pixels"):
        networks.sequence(CNP).fit(KEY, bare, series)
    with pytest.raises(ValueError, match="channels: got 4, expected 3 or 5"):
        dates(series._replace(value=np.zeros((2, DATES, 4)), valid=np.ones((2, DATES, 4), bool)))


def test_what_a_date_shows_of_one_orbit():
    series, _ = world(0, 6)
    value = series.value[..., :NDVI]
    series = series._replace(smooth=value + 1, wide=value + 2)
    found = dates(series)
    assert found.radar.shape == (6, DATES, 3, 4)
    both = series.valid[..., :2].all(-1)
    np.testing.assert_array_equal(found.seen, np.stack([both, 0 * both], -1).astype(bool))
    for look in range(3):
        expected = np.where(both[..., None], value + look, 0)
        np.testing.assert_array_equal(found.radar[:, :, look, :2], expected)
    assert not np.asarray(found.radar[..., 2:]).any()
    by = moments(found)
    np.testing.assert_allclose(by.mean[0, 0], value[..., 0][both].mean(), rtol=1e-5)
    np.testing.assert_allclose(by.std[2, 1], value[..., 1][both].std(), rtol=1e-4)
    np.testing.assert_array_equal(by.std[:, 2:], 1.0)
    for a, b in zip(region_moments(series, chunk=4), by, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    part = standardise(found, by)
    known = np.asarray(found.label) & (np.arange(DATES) % 2 == 0)
    x = np.asarray(channels(part, jnp.asarray(known)))
    assert x.shape == (DATES, 6, CHANNELS)
    np.testing.assert_array_equal(x[..., 15].T, known)
    np.testing.assert_allclose(x[..., 14].T[known], (series.value[..., NDVI][known] - 0.5) / 0.25)
    assert (x[..., 14].T[~known] == 0).all()
    np.testing.assert_array_equal(x[:, 0, 16], [0] + [1] * (DATES - 1))
    np.testing.assert_array_equal(x[:, 0, 17], [1] * (DATES - 1) + [0])


def test_ways_of_hiding():
    draws = np.asarray(hide.hidden(KEY, 4000, 62))
    everything = draws.all(1).mean()
    assert abs(everything - hide.WAYS[3]) < 0.03
    edges = np.abs(np.diff(draws.astype(int), axis=1)).sum(1) + draws[:, 0] + draws[:, -1]
    single = (edges == 2) & ~draws.all(1)
    # two blocks may touch or overlap: then they are one
    assert hide.WAYS[1] - 0.03 < single.mean() < hide.WAYS[1] + 0.6 * hide.WAYS[2]
    # few at random may also lie side by side
    assert (draws[single].sum(1) < hide.BLOCK[0]).mean() < 0.02
    assert draws[single].sum(1).max() <= 2 * hide.BLOCK[1]
    assert hide.hidden(KEY, 3, 2).shape == (3, 2)


def test_disturbed_radar():
    series, _ = world(0, 400, 2)
    found = dates(series)
    part = standardise(found, moments(found))
    same = disturbed(KEY, part, gain=0.0, bias=0.0)
    seen, before = np.asarray(same.seen), np.asarray(part.seen)
    assert (np.asarray(same.radar)[~np.repeat(seen, 2, -1)[:, :, None].repeat(3, 2)] == 0).all()
    lost = before.any((1, 2)) & ~seen.any((1, 2))
    assert 0 < lost.mean() < 0.06
    one = before.any(1).all(-1) & (seen.any(1).sum(-1) == 1)
    assert 0.2 < one.mean() < 0.36
    kept = (seen == before).all((1, 2)) & before.any((1, 2))
    unlike = np.abs(np.asarray(same.radar) - np.asarray(part.radar)).max((1, 2, 3))
    assert (unlike[kept] < 1e-6).mean() > 0.9
    moved = disturbed(KEY, part, gain=0.0, bias=0.5)
    off = (np.asarray(moved.radar) - np.asarray(same.radar))[kept]
    spread = [off[..., c][off[..., c] != 0] for c in range(4)]
    np.testing.assert_allclose([s.std() for s in spread], 0.5, rtol=0.25)


def _beliefs(mean=0.3, std=0.4, share=0.2, depth=0.9):
    return likelihood.Beliefs(*(jnp.full((1, 1), x) for x in (mean, std, share, depth)))


def test_density_is_the_mixture_and_integrates_to_one(float64):
    told, noise = _beliefs(), jnp.asarray(0.25)

    def _density(y):
        log_p = likelihood.log_density(told, noise, jnp.full((1, 1), y))
        return float(jnp.exp(log_p)[0, 0])

    wide = np.hypot(0.4, 0.25)
    for y in (-2.0, 0.1, 0.7):
        low = norm.pdf(y, 0.3 - 0.9, np.hypot(wide, 0.9))
        expected = 0.8 * norm.pdf(y, 0.3, wide) + 0.2 * low
        assert _density(y) == pytest.approx(expected, rel=1e-9)
    assert quad(_density, -9, 9)[0] == pytest.approx(1.0, abs=1e-6)
    for level in (0.05, 0.5, 0.95):
        y = (float(likelihood.quantile(told, noise, level)[0, 0]) - 0.5) / 0.25
        assert quad(_density, -15, y)[0] == pytest.approx(level, abs=1e-5)
    truth = likelihood.log_truth(told, jnp.full((1, 1), 0.9))
    assert float(truth[0, 0]) == pytest.approx(norm.logpdf(0.9, 0.3, 0.4))


def test_without_mixture_it_is_a_gaussian(float64):
    outputs = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2, 4)))
    told = likelihood.beliefs(outputs, mixture=False)
    label = jnp.ones((3, 2))
    found = likelihood.log_density(told, jnp.asarray(0.1), label)
    expected = norm.logpdf(1.0, told.mean, np.hypot(told.std, 0.1))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert (np.asarray(told.std) >= 0.01).all()


def test_bands_of_a_planted_error(caplog):
    series, latent = world(3, 300)
    label = np.asarray(series.valid)[..., NDVI]
    error = np.abs(np.asarray(series.value)[..., NDVI] - latent)

    def _told(std, pixels=300):
        spread = np.full((pixels, DATES), std)
        return lambda part, days: Estimate(latent[:pixels], spread, np.zeros(()))

    for std in (0.01, 0.05):
        found = networks.bands(_told(std), series)
        np.testing.assert_allclose(found.noise, 0.03 * found.factor)
        np.testing.assert_array_equal(found.floor, 0.04)
        known = np.arange(300) < 150
        told = networks.applied(_told(std)(series, None), known, found)
        np.testing.assert_allclose(told.std[0], found.factor[1] * np.hypot(std, 0.04))
        np.testing.assert_allclose(told.noise[-1], found.noise[0])
        wide = np.sqrt(std**2 + 0.04**2 + 0.03**2) * found.factor
        # labels err by N(0, 0.02): that is how wide the band is, and a little more to be sure
        np.testing.assert_allclose(wide, 0.02, rtol=0.08)
        held = (error <= 1.645 * wide[0])[label].mean()
        assert 0.9 <= held < 0.93
    far = networks.bands(_told(0.05), series, elsewhere=1.5)
    np.testing.assert_allclose(far.factor, 1.5 * found.factor)
    np.testing.assert_allclose(far.noise, 1.5 * found.noise)
    assert not caplog.records
    networks.bands(lambda part, days: _told(0.001)(part, days)._replace(mean=latent + 5.0), series)
    assert "a band 10 times as wide does not hold 90 % of the labels" in caplog.text
    few = series._replace(value=series.value[:1], valid=series.valid[:1])
    np.testing.assert_array_equal(networks.bands(_told(0.01, 1), few).factor, 1.0)


def test_few_pixels_that_err_together_make_the_band_wider():
    series, latent = world(3, 12)
    off = np.where(np.arange(12) < 2, 0.3, 0.0)[:, None]

    def _told(part, days):
        return Estimate(latent + off, np.full((12, DATES), 0.02), np.zeros(()))

    label = np.asarray(series.valid)[..., NDVI]
    error = np.abs(latent + off - np.asarray(series.value)[..., NDVI])
    pooled = np.quantile(error[label], 0.9) / 1.645
    found = networks.bands(_told, series)
    assert (found.factor * np.sqrt(0.02**2 + 0.04**2 + 0.03**2) > 1.02 * pooled).all()


def test_pixels_of_one_field_tell_no_more_than_one():
    series, latent = world(3, 12)
    off = 0.02 * np.exp(np.linspace(0.0, 2.5, 12))[:, None]
    spread = np.full((72, DATES), 0.05)

    def _told(part, days):
        again = np.concatenate([latent + off] * 6)
        return Estimate(again[: len(part.value)], spread[: len(part.value)], np.zeros(()))

    metres = 1000.0 * np.arange(12.0)
    apart = series._replace(place=np.stack([metres, metres], axis=1))
    value, valid, place = (np.concatenate([np.asarray(leaf)] * 6) for leaf in apart[1:4])
    # six pixels of a field, 10 m from each other
    six = Series(series.day, value, valid, place + 10.0 * np.repeat(np.arange(6.0), 12)[:, None])
    once = networks.bands(_told, apart).factor[0]
    np.testing.assert_allclose(networks.bands(_told, six).factor[0], once, rtol=1e-6)
    np.testing.assert_array_equal(networks.bands(_told, series).factor[0], once)
    assert networks.bands(_told, six._replace(place=None)).factor[0] < 0.95 * once


@pytest.mark.parametrize("times", [0.5, 2.0])
def test_quantiles_hold_by_the_factor_that_was_planted(times):
    """Labels drawn from a mixture, whose std and noise are then told as `times` too small."""
    rng, shape = np.random.default_rng(0), (800, DATES)
    mean, depth = rng.uniform(-1.0, 1.0, shape), rng.uniform(0.4, 0.8, shape)
    std, clean = rng.uniform(0.2, 0.4, shape), 0.1
    low = rng.random(shape) < 0.2
    spread = np.sqrt(std**2 + clean**2 + np.where(low, depth**2, 0.0))
    label = mean - np.where(low, depth, 0.0) + spread * rng.normal(size=shape)
    value = np.stack([np.zeros(shape), np.zeros(shape), label * 0.25 + 0.5], axis=-1)
    day = np.float32(19668) + 12 * np.arange(DATES, dtype=np.float32)
    series = Series(day, value.astype(np.float32), np.ones(value.shape, bool))
    parts = (mean, std / times, np.full(shape, 0.2), depth)
    told = likelihood.Beliefs(*(jnp.asarray(part, jnp.float32) for part in parts))
    found = levels.mixture_factor([told, told], jnp.float32(clean / times), series)
    # not less, or fewer than nine in ten were held; little more, of so many labels
    assert ((found > 0.97 * times) & (found < 1.1 * times)).all()


def test_quantiles_are_those_of_a_widened_mixture(learnt):
    _, params = learnt
    series, _ = world(2, 20)
    some = np.asarray(series.valid)[..., NDVI].any(axis=1)
    wider = params._replace(mixture=np.array([1.0, 3.0], np.float32))
    told = pixel.over_series(lambda told: told, params, series, config=CNP, label="")
    clean = 3.0 * float(np.exp(params.variables.params["log_noise"]))
    wide = np.hypot(3.0 * told.std, clean)
    deep = np.hypot(wide, told.depth)
    for level in (0.05, 0.9):
        ends = networks.quantiles(wider, series, series.day, (level,), config=CNP)[..., 0]
        x = (ends - 0.5) / 0.25 - told.mean
        below = (1 - told.share) * norm.cdf(x / wide)
        below += told.share * norm.cdf((x + told.depth) / deep)
        np.testing.assert_allclose(below[some], level, atol=1e-3)


def test_quantiles_are_of_the_mixture_and_in_order(learnt):
    _, params = learnt
    series, _ = world(2, 20)
    levels = (0.05, 0.5, 0.95)
    told = networks.quantiles(params, series, series.day, levels, config=CNP)
    assert told.shape == (20, DATES, 3)
    assert (np.diff(told, axis=-1) > 0).all()
    # residual cloud pulls labels down, never up
    assert (told[..., 1] - told[..., 0] > told[..., 2] - told[..., 1] - 1e-6).mean() > 0.99
    label = np.asarray(series.valid)[..., NDVI]
    inside = (series.value[..., NDVI] < told[..., 2])[label].mean()
    assert inside > 0.85
    with pytest.raises(ValueError, match="levels: got"):
        networks.quantiles(params, series, series.day, (0.0,), config=CNP)
