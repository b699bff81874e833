"""Indices against values worked out by hand, features against NumPy on the whole stack."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1jax import features
from tests.worlds.series import stacked

RNG = np.random.default_rng(0)
power = st.floats(1e-4, 10.0)


def _with_neighbours(values):
    """Each date with the one before and the one after along the first axis, ends repeated."""
    padded = jnp.concatenate([values[:1], values, values[-1:]])
    return padded[:-2], values, padded[2:]


def test_values_by_hand():
    vv, vh = jnp.array(0.1), jnp.array(0.02)
    assert float(features.to_db(vv)) == pytest.approx(-10.0, abs=1e-5)
    assert float(features.rvi(vv, vh)) == pytest.approx(4 * 0.02 / 0.12, rel=1e-6)
    assert float(features.dprvi(vv, vh)) == pytest.approx(0.2 * 3.2 / 1.44, rel=1e-6)
    assert float(features.ndvi(jnp.array(0.05), jnp.array(0.35))) == pytest.approx(0.75, rel=1e-6)


def test_ends_of_the_ranges():
    one, none = jnp.array(1.0), jnp.array(0.0)
    assert float(features.rvi(one, none)) == 0.0
    assert float(features.rvi(none, one)) == 4.0
    assert float(features.dprvi(one, one)) == 1.0
    assert float(features.dprvi(one, none)) == 0.0


@settings(max_examples=30, deadline=None)
@given(vv=power, vh=power)
def test_rvi_stays_in_its_range_in_linear_power(vv, vh):
    assert 0.0 <= float(features.rvi(jnp.float32(vv), jnp.float32(vh))) <= 4.0
    assert 0.0 <= float(features.dprvi(jnp.float32(vv), jnp.float32(vh))) <= 1.0


def test_decibels_go_back(x64):
    db = jnp.linspace(-30.0, 5.0, 50)
    back = features.to_db(features.from_db(db))
    np.testing.assert_allclose(back, db, atol=1e-12 if x64 else 2e-5)
    assert back.dtype == (jnp.float64 if x64 else jnp.float32)


def _oracle(vv, vh, *, indices_from_db):
    """The ten features on (time, pixel) stacks, in float64 NumPy."""
    power = (lambda x: x) if indices_from_db else (lambda x: 10 ** (x / 10))
    before = [np.pad(x, ((1, 1), (0, 0)), mode="edge")[:-2] for x in (vv, vh)]
    a, b = power(vv), power(vh)
    columns = [vv, vh, 4 * b / (a + b), *before]
    columns += [vv - before[0], vh - before[1], a / b, b / a, a * b]
    return np.stack(columns, -1)


@pytest.mark.parametrize("indices_from_db", [False, True])
def test_ten_features_by_name_and_order(indices_from_db, float64):
    vv, vh = RNG.normal(-11, 2, (7, 5)), RNG.normal(-18, 2, (7, 5))
    dates = [_with_neighbours(jnp.asarray(x)) for x in (vv, vh)]
    ten = features.table(features.WITH_PREVIOUS, *dates, indices_from_db=indices_from_db)
    np.testing.assert_allclose(ten, _oracle(vv, vh, indices_from_db=indices_from_db), rtol=1e-12)
    three = features.table(features.SINGLE_DATE, *dates, indices_from_db=indices_from_db)
    np.testing.assert_array_equal(three, ten[..., :3])


def test_neighbours_on_both_sides():
    x = jnp.array([1.0, 4.0, 9.0])
    sides = ("previous", "next", "backward_difference", "forward_difference", "average")
    names = tuple(f"vv_{side}" for side in sides)
    columns = features.table(names, _with_neighbours(x), _with_neighbours(x)).T
    np.testing.assert_array_equal(columns[0], [1, 1, 4])
    np.testing.assert_array_equal(columns[1], [4, 9, 9])
    np.testing.assert_array_equal(columns[2], [0, 3, 5])
    np.testing.assert_array_equal(columns[3], [3, 5, 0])
    np.testing.assert_allclose(columns[4], [2.0, 14 / 3, 22 / 3], rtol=1e-6)


def test_the_other_neighbour_is_in_its_set():
    extra = set(features.WITH_NEIGHBOURS) - set(features.WITH_PREVIOUS)
    assert {"vv_next", "vh_next", "vv_average", "vh_average"} <= extra
    dates = [_with_neighbours(jnp.arange(4.0) - 12.0) for _ in range(2)]
    table = features.table(("vv_next", "vv_forward_difference"), *dates)
    np.testing.assert_array_equal(table[:, 0], [-11, -10, -9, -9])
    np.testing.assert_array_equal(table[:, 1], [1, 1, 1, 0])


def test_unknown_feature_is_named():
    dates = _with_neighbours(jnp.zeros(3) - 10.0)
    with pytest.raises(ValueError, match=r"vv_prev.*expected names among"):
        features.table(("vv_prev",), dates, dates)


def test_rvi_of_power_stays_in_range_and_of_db_does_not():
    vv, vh = (_with_neighbours(jnp.array(db)) for db in ([-8.0, 3.0], [-15.0, -2.9]))
    right = features.table(("rvi",), vv, vh)
    wrong = features.table(("rvi",), vv, vh, indices_from_db=True)
    assert ((right >= 0) & (right <= 4)).all()
    assert (jnp.abs(wrong) > 4).any()


def test_orbits_are_averaged_in_linear_power():
    value = np.zeros((1, 3, 5), np.float32)
    value[0, :, :4] = [[-10, -20, -13, -17], [-10, -20, -99, -99], [0, 0, 0, 0]]
    valid = np.zeros((1, 3, 5), bool)
    valid[0, 0, :4] = valid[0, 1, :2] = True
    valid[0, 2, 0] = True  # VV without VH is no radar
    db, seen = features.orbit_mean(stacked(jnp.arange(3.0), value, valid))
    mean = 10 * np.log10((10**-1.0 + 10**-1.3) / 2)
    np.testing.assert_allclose(db[0, 0, 0], mean, rtol=1e-5)
    np.testing.assert_allclose(db[0, 1], [-10, -20], rtol=1e-5)
    np.testing.assert_array_equal(seen[0], [True, True, False])


def test_channels_must_pair():
    series = stacked(jnp.zeros(2), np.zeros((1, 2, 4), np.float32), np.zeros((1, 2, 4), bool))
    with pytest.raises(ValueError, match="channels: got 3"):
        features.orbit_mean(series)


def test_a_day_may_repeat_where_a_method_takes_both_of_its_values():
    value = np.zeros((1, 3, 3), np.float32)
    series = stacked(np.array([5.0, 9.0, 9.0]), value, np.ones(value.shape, bool))
    features.check_days(series, repeats=True)
    with pytest.raises(ValueError, match="got 9 after 9 at index 2, expected each day later"):
        features.check_days(series)
    with pytest.raises(ValueError, match="got 5 after 9 at index 2, expected none earlier"):
        features.check_days(series._replace(day=np.array([5.0, 9.0, 5.0])), repeats=True)
