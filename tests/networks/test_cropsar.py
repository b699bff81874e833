"""Patch models: what they see and what they must not, that they learn, and the game of the GAN."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from s1jax import networks, train
from s1jax.estimators import IDENTITY
from s1jax.masking import sample_training_mask, with_ndvi_masked
from s1jax.networks import CropsarConfig
from s1jax.networks import patch as patches
from s1jax.networks.architectures import Discriminator
from s1jax.networks.inputs import moments, network_input, standardise, take_pixels
from tests.worlds.patch import DATES, SIDE, SMALL, world

KEY = jax.random.key(0)
PIXELS = SIDE**2
ROW = np.arange(PIXELS) // SIDE
BLOCKS = tuple(np.flatnonzero(part) for part in (ROW < 12, (ROW >= 12) & (ROW < 16), ROW >= 16))
DRAWN = tuple(block[block % 4 != 1] for block in BLOCKS)
LONG = dataclasses.replace(
    SMALL, model="GAN", window=None, levels=1, channels=4, dilations=(1,), patches=64
)  # fmt: skip


@pytest.fixture(scope="module")
def plain():
    """Fit to the drawn pixels' labels and the radar of their whole blocks."""
    series, _ = world()
    drawn = np.isin(np.arange(PIXELS), np.concatenate(DRAWN))
    series = with_ndvi_masked(series, ~drawn[:, None])
    series = jax.tree.map(np.asarray, series)
    estimator = networks.cropsar(SMALL)
    return estimator, estimator.fit(KEY, *(series.take(block) for block in BLOCKS[:2]))


@pytest.fixture(scope="module")
def long():
    series, _ = world(5)
    estimator = networks.cropsar(LONG)
    return estimator, estimator.fit(KEY, series, world(6)[0])


def _r2(mean, truth):
    return 1 - ((mean - truth) ** 2).mean() / truth.var()


@pytest.mark.slow
def test_learns_what_no_pixel_sees_alone(plain):
    estimator, params = plain
    series, truth = world()
    train_, test = (series.radar[part].reshape(-1, 2) for part in (DRAWN[0], BLOCKS[2]))
    x, y = (np.column_stack([part, np.ones(len(part))]) for part in (train_, test))
    line = np.linalg.lstsq(x, truth[DRAWN[0]].reshape(-1), rcond=None)[0]
    truth = truth[BLOCKS[2]]
    alone = _r2((y @ line).reshape(-1, DATES), truth)
    assert alone < 0.3
    bare = series.take(BLOCKS[2])
    estimate = estimator.predict(params, with_ndvi_masked(bare, bare.ndvi_valid), series.day)
    assert _r2(estimate.mean, truth) > alone + 0.4
    inside = np.abs(estimate.mean - truth) < 1.645 * estimate.std
    assert inside.mean() > 0.8
    chex.assert_shape(estimate.mean, (len(BLOCKS[2]), DATES))


NDVI = "ndvi"


def _moved(series, pixel, channel, by, date=slice(None)):
    """With NDVI, or a channel of the radar, moved in some pixels."""
    name, at = ("ndvi", ()) if channel == NDVI else ("radar", (0, channel))
    array = getattr(series, name).copy()
    array[(pixel, date, *at)] += by
    return series._replace(**{name: array})


@pytest.mark.slow
def test_ndvi_of_a_pixel_reaches_no_other_one(plain, long):
    series, _ = world(2)
    pixel = 10 * SIDE + 7
    series.ndvi_valid[pixel, 3] = True
    for estimator, params in (plain, long):
        told = estimator.predict(params, series, series.day)
        chex.assert_trees_all_equal(told, estimator.predict(params, series, series.day))
        marked = estimator.predict(params, _moved(series, pixel, NDVI, 0.3), series.day)
        same = (np.asarray(marked.mean) == told.mean).all(1) & (marked.std == told.std).all(1)
        assert np.flatnonzero(~same).tolist() == [pixel]
        # radar does: this is what patches are for
        near = estimator.predict(params, _moved(series, pixel, 0, 3.0), series.day)
        moved = (np.asarray(near.mean) != told.mean).any(1).reshape(SIDE, SIDE)
        assert moved[9:12, 6:9].all()
        assert not moved[:2].any()


@pytest.mark.slow
def test_a_window_sees_so_many_dates_and_the_series_all(plain, long):
    series, _ = world(2)
    everywhere = np.arange(PIXELS)
    for (estimator, params), seen in ((plain, 3), (long, DATES)):
        told = np.asarray(estimator.predict(params, series, series.day).mean)
        for channel in (0, NDVI):
            other = _moved(series, everywhere, channel, 0.5, slice(0, 1))
            far = np.asarray(estimator.predict(params, other, series.day).mean)
            changed = (far != told).any(0)
            assert (changed == (np.arange(DATES) < seen)).all(), channel


@pytest.mark.parametrize("window", [3, 5, 7, 9, 13, 21])
def test_levels_share_what_a_window_reaches(window):
    unet, own, _ = patches._networks(CropsarConfig(window=window))
    assert sum(unet.dilations) == own.window == window // 2
    assert unet.dilations[0] == max(unet.dilations)


@pytest.mark.slow
def test_days_between_lone_pixels_and_absent_data(plain):
    estimator, params = plain
    series, _ = world(2)
    series.radar_valid[3:5] = False
    series.ndvi_valid[3] = False
    on = estimator.predict(params, series, series.day)
    chex.assert_tree_all_finite(on)
    assert (np.asarray(on.std) > 0).all()
    days = np.float32([19600, *(series.day[:-1] + 6), 21000])
    between = np.asarray(estimator.predict(params, series, days).mean)
    np.testing.assert_allclose(between[:, 1:-1], (on.mean[:, 1:] + on.mean[:, :-1]) / 2, atol=1e-5)
    # beyond the ends what is left of the estimate falls by 1/e in 40 days
    rest = np.exp(-np.abs(days[[0, -1]] - series.day[[0, -1]]) / 40.0)
    expected = params.level.mean + rest * (on.mean[:, [0, -1]] - params.level.mean)
    np.testing.assert_allclose(between[:, [0, -1]], expected, atol=1e-5)
    alone = series.take(slice(1))
    chex.assert_tree_all_finite(estimator.predict(params, alone, series.day))


@pytest.mark.slow
def test_an_orbit_that_was_not_learnt_from_is_left_aside(plain, caplog):
    estimator, params = plain
    series, _ = world(2)
    order = [0, 1, 1, 0]
    two = series._replace(
        radar=series.radar[..., order], radar_valid=series.radar_valid[..., order]
    )
    expected = estimator.predict(params, series, series.day)
    assert not caplog.records
    chex.assert_trees_all_close(estimator.predict(params, two, two.day), expected, atol=1e-6)
    assert "orbit 2: the training region has no such radar, it is left aside" in caplog.text


@pytest.mark.slow
def test_squares_add_up_to_one_estimate_without_seams(plain, monkeypatch):
    estimator, params = plain
    side = SMALL.patch

    def _ramp(params, days, part):
        """1 for the std, and for the mean how far down its square a pixel lies."""
        n = len(part.ndvi) // side**2
        down = np.broadcast_to((np.arange(side) / side)[:, None], (side, side)).reshape(1, -1, 1)
        shape = (n, side**2, len(days))
        return np.broadcast_to(down, shape), np.ones(shape)

    monkeypatch.setattr(patches, "_estimate_patches", _ramp)
    series, _ = world()
    told = estimator.predict(dataclasses.replace(params, calibration=IDENTITY), series, series.day)
    np.testing.assert_allclose(told.std, 1.0, atol=1e-6)
    ramp = np.asarray(told.mean)[:, 0].reshape(SIDE, SIDE)
    assert np.abs(np.diff(ramp, axis=1)).max() < 1e-6
    assert np.abs(np.diff(ramp, axis=0)).max() < 0.2


def test_refuses_what_has_no_neighbours_labels_or_channels():
    estimator, (series, _) = networks.cropsar(SMALL), world()
    fields = np.random.default_rng(0).uniform(0, 9_000, (PIXELS, 2)).astype(np.float32)
    with pytest.raises(ValueError, match="patches need neighbours: got 576 pixels of which only"):
        estimator.fit(KEY, series._replace(position=fields), series)
    with pytest.raises(ValueError, match="validation NDVI: got no valid label in 576 pixels"):
        estimator.fit(KEY, series, series._replace(ndvi_valid=series.ndvi_valid & False))
    with pytest.raises(ValueError, match="channels: got 1, expected 2 or 4"):
        estimator.fit(KEY, series._replace(radar_valid=series.radar_valid[..., 1:]), series)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 10}, "levels, patch: got 3, 10, expected 1 level or more and a multiple of 4"),
        ({"levels": 4, "patch": 12}, "levels, patch: got 4, 12, expected .* multiple of 8"),
        ({"levels": 0}, "levels, patch: got 0, 16"),
        ({"window": 4}, "window: got 4, expected an odd number >= 3, or None"),
        ({"window": 1}, "window: got 1"),
        ({"chunk": 0}, "patches, chunk: got 128, 0"),
    ],
)
def test_configurations_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        CropsarConfig(**options)


def test_patches_lie_in_their_regions_turned_and_mirrored():
    region = jnp.arange(2 * 15 * 15, dtype=jnp.int32).reshape(2, 15, 15)
    np.testing.assert_array_equal(patches.cut(None, region, 8), region[:, :8, :8])
    corners, ways = set(), set()
    draw = jax.jit(lambda key: patches.cut(key, region, 8))
    for k in range(150):
        (one, two) = np.asarray(draw(jax.random.key(k)))
        assert (two // 225 == 1).all()
        assert (one // 225 == 0).all()
        steps = int(one[1, 0] - one[0, 0]), int(one[0, 1] - one[0, 0])
        ways.add(steps)
        corners.add(divmod(int(one.min()), 15))
    assert ways == {(a, b) for a in (15, -15) for b in (1, -1)} | {
        (b, a) for a in (15, -15) for b in (1, -1)
    }
    assert {c[0] for c in corners} == {c[1] for c in corners} == set(range(8))


def _stack(config, seed=0):
    series, _ = world(seed)
    found = patches.one_look(network_input(series))
    part = patches.with_nowhere(standardise(found, moments(found)))
    regions = jnp.asarray(np.arange(15 * 15).reshape(1, 15, 15) % PIXELS, jnp.int32)
    return train.Data(patches.PatchStore(part, jnp.float32(100.0)), regions)


def test_nowhere_has_nothing():
    part = _stack(SMALL).store.inputs
    assert len(part.radar) == 1024
    assert not np.asarray(part.seen)[PIXELS:].any()
    assert not np.asarray(part.label)[PIXELS:].any()


@pytest.mark.slow
def test_validation_is_the_likelihood_of_hidden_and_shown_labels_alone():
    config = dataclasses.replace(LONG, mixture=False)
    data, start = _stack(config), patches.init_patch(KEY, config)
    part = take_pixels(data.store.inputs, data.rows[0, :8, :8].reshape(-1))
    k_hide = jax.random.split(jax.random.key(0))[1]
    known = part.label & ~sample_training_mask(k_hide, *part.label.shape)

    @jax.jit
    def _both(variables):
        told, _ = patches.patch_loss(config)(None, variables, data)
        return told, patches.apply_patches(config, patches.generator(variables), part, known)

    told, belief = _both(start)
    wide = np.hypot(np.asarray(belief.std), np.exp(-2.0)).T
    each = -norm.logpdf((np.asarray(part.ndvi) - 0.5) / 0.25, np.asarray(belief.mean).T, wide)
    label, known = np.asarray(part.label), np.asarray(known)
    assert known.any()
    expected = (each[label & ~known].sum() + 0.1 * each[known].sum()) / 100.0
    np.testing.assert_allclose(told, [expected], rtol=1e-4)
    # whatever the discriminator says
    other = start.params | {
        "discriminator": jax.tree.map(lambda w: w + 1, start.params["discriminator"])
    }
    np.testing.assert_array_equal(_both(train.Variables(other, {}))[0], told)


@pytest.mark.slow
def test_the_game_is_least_squares_and_each_player_moves_its_own():
    rng = np.random.default_rng(0)
    made, observed = (jnp.asarray(rng.normal(size=(DATES, 128)), jnp.float32) for _ in "ab")
    asked = np.asarray(rng.random((DATES, 128)) < 0.2)
    asked[:, 64:] &= np.arange(DATES)[:, None] < 3
    params = patches.init_patch(KEY, LONG).params
    net = Discriminator()

    score = jax.jit(lambda x: net.apply({"params": params["discriminator"]}, x))

    def _score(ndvi):
        x = jnp.stack([jnp.where(asked, ndvi, 0.0), asked.astype(jnp.float32)], -1)
        x = x.reshape(DATES, 2, 8, 8, 2)
        return np.asarray(score(x))

    def _game(made, params):
        return patches.adversarial_loss(LONG, params, made, observed, jnp.asarray(asked))

    told = jax.jit(_game)(made, params)
    there = asked.reshape(DATES, 2, 2, 4, 2, 4).any((3, 5))
    terms = (_score(made) - 1) ** 2 + _score(made) ** 2 + (_score(observed) - 1) ** 2
    expected = [terms[:, k][there[:, k]].mean() for k in range(2)]
    np.testing.assert_allclose(told, expected, rtol=1e-4)
    slopes = jax.jit(jax.grad(lambda *x: _game(*x).sum(), (0, 1)))(made, params)
    # labels that are not asked for, and the generator's own weights, are no part of it
    assert (np.asarray(slopes[0])[~asked] == 0).all()
    assert (np.asarray(slopes[0]) != 0).any()
    step = 1e-2
    nudged = made - step * slopes[0] / jnp.linalg.norm(slopes[0])
    better, before = ((_score(x) - 1) ** 2 for x in (nudged, made))
    assert better[there].mean() < before[there].mean()
    assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(slopes[1]["generator"]))


@pytest.mark.slow
def test_a_gan_keeps_its_generator_alone(long):
    _, params = long
    assert set(params.variables.params) == {"unet", "head", "log_noise"}
    assert np.isfinite(params.history).all()
