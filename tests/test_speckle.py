"""Speckle filters against a float64 loop, their laws, and a planted field with gamma speckle."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1jax import speckle

BOTH = {"mean": speckle.mean, "multitemporal": speckle.multitemporal}
SHAPE = (5, 7, 6)
LOOKS = 6.0


def _random(seed, share=0.7, dtype=np.float32):
    rng = np.random.default_rng(seed)
    db = rng.normal(-12, 3, SHAPE).astype(dtype)
    return db, rng.random(SHAPE) < share


def _filtered(name, db, valid, size):
    return np.asarray(BOTH[name](jnp.asarray(db), jnp.asarray(valid), size=size))


def _loop(name, db, valid, size):
    """The definition, pixel by pixel, in float64."""
    power, half = 10 ** (db.astype(np.float64) / 10), size // 2
    local = np.full(db.shape, np.nan)
    for t, y, x in zip(*np.nonzero(valid), strict=True):
        seen = []
        for j in range(max(y - half, 0), min(y + half + 1, db.shape[1])):
            for i in range(max(x - half, 0), min(x + half + 1, db.shape[2])):
                if valid[t, j, i]:
                    seen.append(power[t, j, i])
        local[t, y, x] = np.mean(seen)
    if name == "multitemporal":
        for y, x in np.ndindex(db.shape[1:]):
            dates = np.flatnonzero(valid[:, y, x])
            ratio = [power[i, y, x] / local[i, y, x] for i in dates]
            for k in dates:
                local[k, y, x] *= sum(ratio) / len(dates)
    return 10 * np.log10(local)


@pytest.mark.parametrize("size", [1, 3, 5, 9])
@pytest.mark.parametrize("name", BOTH)
def test_filter_is_the_loop(name, size, x64):
    dtype = np.float64 if x64 else np.float32
    db, valid = _random(size, dtype=dtype)
    valid[:, 2, 3] = False  # a pixel without any date
    valid[1] = False  # a date without any pixel
    found = _filtered(name, db, valid, size)
    assert found.dtype == dtype
    np.testing.assert_array_equal(np.isnan(found), ~valid)
    np.testing.assert_allclose(found, _loop(name, db, valid, size), atol=1e-12 if x64 else 1e-5)


@pytest.mark.parametrize("name", BOTH)
def test_without_neighbours_nothing_changes(name, float64):
    db, valid = _random(0, dtype=np.float64)
    np.testing.assert_allclose(_filtered(name, db, valid, 1)[valid], db[valid], atol=1e-10)


@pytest.mark.parametrize("name", BOTH)
@given(level=st.floats(-30, 0), seed=st.integers(0, 99), size=st.sampled_from([3, 5]))
@settings(max_examples=10, deadline=None)
def test_constant_image_is_unchanged(name, level, seed, size):
    _, valid = _random(seed, share=0.5)
    db = np.full(SHAPE, level, np.float32)
    found = _filtered(name, db, valid, size)
    np.testing.assert_allclose(found[valid], level, atol=1e-4)


@pytest.mark.parametrize("name", BOTH)
@given(seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_what_is_not_valid_has_no_weight(name, seed):
    db, valid = _random(seed, share=0.6)
    for other in (np.nan, np.inf, 90.0):
        strange = np.where(valid, db, np.float32(other))
        np.testing.assert_array_equal(
            _filtered(name, strange, valid, 3), _filtered(name, db, valid, 3)
        )


@pytest.mark.parametrize("name", BOTH)
@given(gain=st.floats(-10, 10), seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_a_gain_goes_through(name, gain, seed):
    db, valid = _random(seed)
    moved = _filtered(name, db + np.float32(gain), valid, 3)
    np.testing.assert_allclose(moved, _filtered(name, db, valid, 3) + gain, atol=1e-4)


def test_mean_keeps_the_power_of_the_interior(float64):
    # what is bright lies away from the edge, where every pixel has all its neighbours
    db = np.full((2, 12, 13), -200.0)
    db[:, 4:-4, 4:-4] = np.random.default_rng(0).normal(-12, 3, (2, 4, 5))
    found = _filtered("mean", db, np.ones(db.shape, bool), 5)
    before, after = ((10 ** (x / 10)).mean((1, 2)) for x in (db, found))
    np.testing.assert_allclose(after, before, rtol=1e-9)


def test_multitemporal_is_the_mean_times_one_number_a_pixel(float64):
    """So a z-score of each pixel's dB cannot tell the two apart."""
    db, valid = _random(3, dtype=np.float64)
    shift = _filtered("multitemporal", db, valid, 3) - _filtered("mean", db, valid, 3)
    for y, x in np.ndindex(SHAPE[1:]):
        of_pixel = shift[valid[:, y, x], y, x]
        np.testing.assert_allclose(of_pixel, of_pixel[:1].repeat(of_pixel.size), atol=1e-10)
    assert np.nanstd(shift) > 0.1


@pytest.fixture(scope="module")
def planted():
    """A bright half beside a dark one, both 3 dB up from date 20 on; gamma speckle of 6 looks."""
    rng = np.random.default_rng(7)
    truth = np.full((40, 24, 24), -16.0, np.float32)
    truth[:, :, 12:] += 6.0
    truth[20:] += 3.0
    looks = rng.gamma(LOOKS, 1 / LOOKS, truth.shape)
    db = truth + 10 * np.log10(looks).astype(np.float32)
    everywhere = np.ones(truth.shape, bool)
    return truth, db, {name: _filtered(name, db, everywhere, 5) for name in BOTH}


def test_speckle_is_reduced(planted):
    truth, db, found = planted
    inside = (slice(None), slice(4, -4), slice(16, -4))
    for name, ideal in (("mean", 25.0), ("multitemporal", 40 * 25 / (40 + 25 - 1))):
        error = 10 ** ((found[name] - truth)[inside] / 10)
        looks = error.mean() ** 2 / error.var()
        assert looks == pytest.approx(LOOKS * ideal, rel=0.15), name
        assert error.mean() == pytest.approx(1.0, abs=0.01)
    raw = (db - truth)[inside].std()
    assert (found["multitemporal"] - truth)[inside].std() < 0.3 * raw


def test_multitemporal_keeps_the_edge_of_a_field(planted):
    truth, db, found = planted
    edge = (slice(None), slice(4, -4), slice(10, 14))
    rms = {name: np.sqrt(((x - truth)[edge] ** 2).mean()) for name, x in found.items()}
    assert rms["multitemporal"] < 0.4 * rms["mean"]
    assert rms["multitemporal"] < 0.5 * np.sqrt(((db - truth)[edge] ** 2).mean())
    # contrast across the edge, 6 dB
    step = {name: (x[:, 4:-4, 12] - x[:, 4:-4, 11]).mean() for name, x in found.items()}
    assert step["multitemporal"] == pytest.approx(6.0, abs=0.2)
    assert step["mean"] < 3.0


def test_a_step_in_time_is_not_smeared(planted):
    truth, _, found = planted
    inside = (slice(None), slice(4, -4), slice(16, -4))
    rms = np.sqrt(((found["multitemporal"] - truth)[inside] ** 2).mean((1, 2)))
    # about the step as good as anywhere; a mean over three dates would be 1 dB off there
    assert rms[18:22].max() < 1.5 * np.median(rms)
    level = found["multitemporal"][inside].mean((1, 2))
    assert level[20:].mean() - level[:20].mean() == pytest.approx(3.0, abs=0.15)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("size", [0, 2, -3])
def test_size_must_be_odd(name, size):
    with pytest.raises(ValueError, match=f"size: got {size}, expected an odd number"):
        _filtered(name, *_random(0), size)
