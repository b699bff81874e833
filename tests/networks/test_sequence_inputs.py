"""What a sequence network sees, what is hidden from it and disturbed, and the loss it learns by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from s1jax import masking, train
from s1jax.networks import model
from s1jax.networks.inputs import (
    CHANNELS,
    columns,
    moments,
    network_input,
    region_moments,
    standardise,
)
from s1jax.networks.sequence import SHARED_LOOK, augment, sequence_loss
from tests.worlds.sequence import CNP, DATES, with_looks, world

KEY = jax.random.key(0)


def test_what_a_date_shows_of_one_orbit():
    series, _ = world(0, 6)
    value = series.radar[..., 0, :]
    series = with_looks(series, value + 1, value + 2)
    found = network_input(series)
    assert found.radar.shape == (6, DATES, 3, 4)
    both = series.radar_valid.all(-1)
    np.testing.assert_array_equal(found.seen, np.stack([both, 0 * both], -1).astype(bool))
    for look in range(3):
        expected = np.where(both[..., None], value + look, 0)
        np.testing.assert_array_equal(found.radar[:, :, look, :2], expected)
    assert not np.asarray(found.radar[..., 2:]).any()
    by = moments(found)
    np.testing.assert_allclose(by.mean[0, 0], value[..., 0][both].mean(), rtol=1e-5)
    np.testing.assert_allclose(by.std[2, 1], value[..., 1][both].std(), rtol=1e-4)
    np.testing.assert_array_equal(by.std[:, 2:], 0.0)
    for a, b in zip(region_moments(series, chunk=4), by, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    part = standardise(found, by)
    known = np.asarray(found.label) & (np.arange(DATES) % 2 == 0)
    x = np.asarray(columns(part, jnp.asarray(known)))
    assert x.shape == (DATES, 6, CHANNELS)
    np.testing.assert_array_equal(x[..., 15].T, known)
    np.testing.assert_allclose(x[..., 14].T[known], (series.ndvi[known] - 0.5) / 0.25)
    assert (x[..., 14].T[~known] == 0).all()
    np.testing.assert_array_equal(x[:, 0, 16], [0] + [1] * (DATES - 1))
    np.testing.assert_array_equal(x[:, 0, 17], [1] * (DATES - 1) + [0])


def test_ways_of_hiding():
    draws = np.asarray(masking.sample_training_mask(KEY, 4000, 62))
    everything = draws.all(1).mean()
    assert abs(everything - masking.MASK_PROBABILITIES[3]) < 0.03
    edges = np.abs(np.diff(draws.astype(int), axis=1)).sum(1) + draws[:, 0] + draws[:, -1]
    single = (edges == 2) & ~draws.all(1)
    # two blocks may touch or overlap: then they are one
    assert (
        masking.MASK_PROBABILITIES[1] - 0.03
        < single.mean()
        < masking.MASK_PROBABILITIES[1] + 0.6 * masking.MASK_PROBABILITIES[2]
    )
    # a share uniform in .1 to .9 of the dates, here and there
    scattered = edges > 4
    assert abs(scattered.mean() - masking.MASK_PROBABILITIES[0]) < 0.04
    shares = draws[scattered].mean(1)
    assert abs(shares.mean() - 0.5) < 0.03
    assert abs(shares.std() - 0.8 / 12**0.5) < 0.05
    # few at random may also lie side by side
    assert (draws[single].sum(1) < masking.MASK_BLOCK[0]).mean() < 0.02
    assert draws[single].sum(1).max() <= 2 * masking.MASK_BLOCK[1]
    assert masking.sample_training_mask(KEY, 3, 2).shape == (3, 2)


@pytest.mark.slow
def test_disturbed_radar():
    series, _ = world(0, 400, 2)
    found = network_input(series)
    part = standardise(found, moments(found))
    same = augment(KEY, part, gain=0.0, offset=0.0)
    seen, before = np.asarray(same.seen), np.asarray(part.seen)
    assert (np.asarray(same.radar)[~np.repeat(seen, 2, -1)[:, :, None].repeat(3, 2)] == 0).all()
    lost = before.any((1, 2)) & ~seen.any((1, 2))
    assert 0 < lost.mean() < 0.06
    one = before.any(1).all(-1) & (seen.any(1).sum(-1) == 1)
    assert 0.2 < one.mean() < 0.36
    kept = (seen == before).all((1, 2)) & before.any((1, 2))
    unlike = np.abs(np.asarray(same.radar) - np.asarray(part.radar)).max((1, 2, 3))
    assert (unlike[kept] < 1e-6).mean() > 0.9
    # orbits change places whole, value and flag
    swapped = (seen == before[..., ::-1]).all((1, 2)) & ~kept & before.any(1).all(-1)
    assert 0.2 < swapped.mean() < 0.5
    np.testing.assert_array_equal(
        np.asarray(same.radar)[swapped][..., [2, 3, 0, 1]], np.asarray(part.radar)[swapped]
    )
    moved = augment(KEY, part, gain=0.0, offset=0.5)
    off = (np.asarray(moved.radar) - np.asarray(same.radar))[kept]
    spread = [off[..., c][off[..., c] != 0] for c in range(4)]
    np.testing.assert_allclose([s.std() for s in spread], 0.5, rtol=0.25)


def test_disturbed_looks_are_made_one_and_factors_spread():
    series, _ = world(0, 400)
    radar = series.radar[..., 0, :]
    found = network_input(with_looks(series, 0.5 * radar, radar[:, ::-1]))
    # as they come, standardised by nothing: the looks differ
    before = np.asarray(found.radar)
    after = np.asarray(augment(KEY, found, gain=0.0, offset=0.0).radar)
    here = (after[..., :2] != 0.0).any((1, 3)).all(-1)
    alike = (after == after[:, :, :1]).all((1, 2, 3)) & here
    assert abs(alike[here].mean() - SHARED_LOOK) < 0.08
    which = [(after[alike][:, :, 0] == before[alike][:, :, look]).all((1, 2)) for look in range(3)]
    assert (np.sum(which, axis=0) == 1).all()
    assert all(0.2 < one.mean() < 0.5 for one in which)
    times = augment(KEY, found, gain=0.1, offset=0.0).radar / np.where(after == 0.0, 1.0, after)
    factor = np.asarray(times)[:, :, 0, 0].max(1)[here]
    assert abs(factor.mean() - 1.0) < 0.02
    assert abs(factor.std() - 0.1) < 0.02


@pytest.mark.parametrize("true", [False, True], ids=["labels", "truth"])
def test_loss_is_that_of_the_document(true, float64):
    """-log p of labels, 1 of a hidden and 0.1 of a shown one, over their weights; of the truth."""
    series, latent = world(0, 5)
    series = series._replace(
        day=series.day.astype(float),
        radar=series.radar.astype(float),
        ndvi=series.ndvi.astype(float),
    )
    found = network_input(series)
    part = standardise(found, moments(found))
    if true:
        part = part._replace(truth=jnp.asarray(np.where(latent > 0.5, latent, np.nan)))
    variables = model.init(KEY, CNP, jnp.dtype("float64"))
    label = np.asarray(part.label)
    known = label & ~np.asarray(
        masking.sample_training_mask(jax.random.split(jax.random.key(0))[0], *label.shape)
    )
    told = model.apply_network(CNP, variables, part, jnp.asarray(known))
    mean, std, share, depth = (np.asarray(leaf).T for leaf in told)
    y = (np.asarray(part.ndvi) - 0.5) / 0.25
    wide = np.hypot(std, np.exp(-2.0))
    p = (1 - share) * norm.pdf(y, mean, wide)
    p += share * norm.pdf(y, mean - depth, np.hypot(wide, depth))
    weight = np.where(label & ~known, 1.0, 0.0) + np.where(known, 0.1, 0.0)
    expected = -(weight * np.log(p)).sum(1) / np.maximum(weight.sum(1), 1.0)
    if true:
        log_p = norm.logpdf((latent - 0.5) / 0.25, mean, std)
        expected -= np.where(latent > 0.5, log_p, 0.0).mean(1)
    data = train.Data(part, jnp.arange(5))
    loss, _ = sequence_loss(CNP)(None, variables, data)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
