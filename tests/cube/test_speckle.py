"""Speckle filters against a float64 loop, their laws, and a planted field with gamma speckle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1jax.cube import speckle

SHAPE = (5, 7, 6)
LOOKS = 6.0


def _random(seed, share=0.7, dtype=np.float32):
    rng = np.random.default_rng(seed)
    db = rng.normal(-12, 3, SHAPE).astype(dtype)
    return db, rng.random(SHAPE) < share


def _filtered(db, valid, size):
    return speckle.local_mean(db, valid, size=size)


def _loop(db, valid, size):
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
    return 10 * np.log10(local)


@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_filter_is_the_loop(size, x64):
    dtype = np.float64 if x64 else np.float32
    db, valid = _random(size, dtype=dtype)
    valid[:, 2, 3] = False  # a pixel without any date
    valid[1] = False  # a date without any pixel
    found = _filtered(db, valid, size)
    assert found.dtype == dtype
    np.testing.assert_array_equal(np.isnan(found), ~valid)
    np.testing.assert_allclose(found, _loop(db, valid, size), atol=1e-12 if x64 else 1e-5)


def test_without_neighbours_nothing_changes(float64):
    db, valid = _random(0, dtype=np.float64)
    np.testing.assert_allclose(_filtered(db, valid, 1)[valid], db[valid], atol=1e-10)


@given(level=st.floats(-30, 0), seed=st.integers(0, 99), size=st.sampled_from([3, 5]))
@settings(max_examples=10, deadline=None)
def test_constant_image_is_unchanged(level, seed, size):
    _, valid = _random(seed, share=0.5)
    db = np.full(SHAPE, level, np.float32)
    found = _filtered(db, valid, size)
    np.testing.assert_allclose(found[valid], level, atol=1e-4)


@given(seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_what_is_not_valid_has_no_weight(seed):
    db, valid = _random(seed, share=0.6)
    for other in (np.nan, np.inf, 90.0):
        strange = np.where(valid, db, np.float32(other))
        np.testing.assert_array_equal(_filtered(strange, valid, 3), _filtered(db, valid, 3))


@given(gain=st.floats(-10, 10), seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_a_gain_goes_through(gain, seed):
    db, valid = _random(seed)
    moved = _filtered(db + np.float32(gain), valid, 3)
    np.testing.assert_allclose(moved, _filtered(db, valid, 3) + gain, atol=1e-4)


def test_mean_keeps_the_power_of_the_interior(float64):
    # what is bright lies away from the edge, where every pixel has all its neighbours
    db = np.full((2, 12, 13), -200.0)
    db[:, 4:-4, 4:-4] = np.random.default_rng(0).normal(-12, 3, (2, 4, 5))
    found = _filtered(db, np.ones(db.shape, bool), 5)
    before, after = ((10 ** (x / 10)).mean((1, 2)) for x in (db, found))
    np.testing.assert_allclose(after, before, rtol=1e-9)


def test_speckle_is_reduced_and_a_step_in_time_is_not_smeared():
    """A field 3 dB up from date 20 on, gamma speckle of 6 looks."""
    rng = np.random.default_rng(7)
    truth = np.full((40, 24, 24), -16.0, np.float32)
    truth[20:] += 3.0
    db = truth + 10 * np.log10(rng.gamma(LOOKS, 1 / LOOKS, truth.shape)).astype(np.float32)
    found = _filtered(db, np.ones(truth.shape, bool), 5)[:, 2:-2, 2:-2]
    error = 10 ** ((found - truth[:, 2:-2, 2:-2]) / 10)
    assert error.mean() == pytest.approx(1.0, abs=0.01)
    assert error.mean() ** 2 / error.var() == pytest.approx(LOOKS * 25, rel=0.15)
    level = found.mean((1, 2))
    np.testing.assert_allclose(np.diff(level)[18:21], [0.0, 3.0, 0.0], atol=0.2)


@pytest.mark.parametrize("size", [0, 2, -3])
def test_size_must_be_odd(size):
    with pytest.raises(ValueError, match=f"size: got {size}, expected an odd number"):
        _filtered(*_random(0), size)
