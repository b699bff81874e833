"""Fills and units, one variable at a time: what counts as missing, and what a plane is in."""

import numpy as np
import pytest

from s1jax.doctor import units, values

DAY = 19662.0 + 12.0 * np.arange(6)
RNG = np.random.default_rng(0)


def _db(dates=6, mean=-12.0):
    return RNG.normal(mean, 2, (dates, 8, 9)).astype(np.float32)


def _gone(value):
    return ~np.isfinite(value)


def test_infinite_values_are_counted_with_their_dates():
    value = _db()
    value[2] = -np.inf
    value[3, 0, 0] = np.inf
    found = values.infinite("VV", value, DAY)
    assert "73 values (16.9 %); whole planes: 1 (2023-11-25)" in found.evidence
    assert "2 of 6 dates" in found.where
    assert values.infinite("VV", _db(), DAY) is None


@pytest.mark.parametrize("fill", values.FILLS)
def test_known_fills_are_told_from_values(fill):
    value = _db()
    value[1, :2] = fill
    assert values.undeclared(value, _gone(value)) == (pytest.approx(float(np.float32(fill))),)


def test_a_number_that_the_variable_can_have_is_no_fill():
    # NDVI x 10,000 reaches 9999 and -999; three values of them are values
    value = RNG.integers(-2000, 10_000, (6, 8, 9)).astype(np.float32)
    value[0, 0, :3], value[1, 0, :3] = 9999.0, -999.0
    assert values.undeclared(value, _gone(value)) == ()
    value[2, 0, :3] = -32768.0
    assert values.undeclared(value, _gone(value)) == (-32768.0,)
    # twice is chance
    db = _db()
    db[0, 0, :2] = -99.0
    assert values.undeclared(db, _gone(db)) == ()


def test_a_declared_fill_is_missing_and_named():
    value = _db()
    value[4, :3] = -7777.0
    found, missing = values.fills({"VV": value}, {"VV": (-7777.0,)}, DAY)
    assert [f.name for f in found] == ["fill-declared"]
    assert "27 values" in found[0].evidence
    np.testing.assert_array_equal(missing["VV"], value == -7777.0)


def test_constant_planes_need_half_of_the_pixels_and_two_values():
    value = _db()
    value[1] = -9.0
    value[2, 4:] = np.nan
    value[2, :4] = -8.0
    value[3] = np.nan
    value[3, 0, :3] = -8.0
    value[4] = np.nan
    wanted = [False, True, True, False, False, False]
    np.testing.assert_array_equal(values.constant_planes(value, _gone(value))[0], wanted)
    single = np.full((3, 1, 1), -9.0, np.float32)
    assert not values.constant_planes(single, _gone(single))[0].any()


def test_a_dead_period_is_one_finding_and_missing_everywhere():
    cube = {"VV": _db(), "VH": _db(mean=-18.0), "S2ndvi": np.abs(_db()) / 20}
    for value in cube.values():
        value[2] = 0.0
    # no scene that period: -inf in place of NDVI, zeros of the radar
    cube["S2ndvi"][2] = np.nan
    found, missing = values.fills(cube, dict.fromkeys(cube, ()), DAY)
    assert [f.name for f in found] == ["dead-period"]
    assert found[0].where == "2023-11-25"
    assert all(gone[2].all() and not gone[[0, 1, 3, 4, 5]].any() for gone in missing.values())


def test_constant_but_not_zero_is_named_by_variable():
    cube = {"VV": _db(), "VH": _db(), "S2ndvi": np.abs(_db()) / 20}
    cube["VH"][[0, 5]] = -21.5
    found, missing = values.fills(cube, dict.fromkeys(cube, ()), DAY)
    assert [f.name for f in found] == ["constant-plane"]
    assert found[0].where == "VH: 2023-11-01, 2023-12-31"
    assert "2 planes, all -21.5" in found[0].evidence
    assert missing["VH"][[0, 5]].all()
    assert not missing["VV"].any()


def test_zeros_in_all_bands_and_zeros_in_one():
    cube = {"VV": _db(), "VH": _db(), "S2ndvi": np.abs(_db()) / 20 + 0.01}
    for value in cube.values():
        value[1:3, :2, :2] = 0.0
    cube["S2ndvi"][4, :5] = 0.0
    found, missing = values.fills(cube, dict.fromkeys(cube, ()), DAY)
    assert [f.name for f in found] == ["zero-pixels", "zeros"]
    assert "8 pixels x dates" in found[0].evidence
    assert "45 values" in found[1].evidence
    assert missing["VV"].sum() == 8
    assert missing["S2ndvi"].sum() == 8 + 45


def test_nothing_is_found_in_values():
    cube = {"VV": _db(), "VH": _db(), "S2ndvi": np.abs(_db()) / 20}
    cube["S2ndvi"][3] = np.nan
    found, missing = values.fills(cube, {"VV": (-9999.0,), "VH": (), "S2ndvi": ()}, DAY)
    assert found == []
    np.testing.assert_array_equal(missing["S2ndvi"], np.isnan(cube["S2ndvi"]))


def _power(db):
    return (10 ** (db / 10)).astype(np.float32)


def test_kind_of_each_plane():
    value = _db()
    value[1] = _power(value[1])
    value[2, :4] = _power(value[2, :4])
    value[3] = np.nan
    value[4] = 400.0 + 10 * value[4]
    value[5, 1:] = np.nan
    value[5, 0, 5:] = np.nan
    kind = units.kinds(value, _gone(value))
    wanted = [units.DB, units.POWER, units.BOTH, units.NONE, units.OTHER, units.NONE]
    np.testing.assert_array_equal(kind, wanted)


def test_a_city_in_db_is_db():
    value = _db(mean=-5.0)
    value[:, :3, :3] = RNG.normal(4, 3, (6, 3, 3))
    np.testing.assert_array_equal(units.kinds(value, _gone(value)), units.DB)
    # nothing but city, and one value of fifteen by chance
    value = RNG.normal(-4, 4, (6, 40, 50)).astype(np.float32)
    np.testing.assert_array_equal(units.kinds(value, _gone(value)), units.DB)
    few = np.full((1, 3, 5), -9.0, np.float32)
    few[0, 0, 0] = 0.4
    np.testing.assert_array_equal(units.kinds(few, _gone(few)), units.DB)
    np.testing.assert_array_equal(units.in_db(few, units.kinds(few, _gone(few))), few)


def test_all_comes_out_in_db():
    value = _db()
    stored = value.copy()
    stored[1] = _power(value[1])
    stored[2, :4] = _power(value[2, :4])
    stored[3] = 500.0
    db = units.in_db(stored, units.kinds(stored, _gone(stored)))
    np.testing.assert_allclose(db[[0, 1, 2, 4, 5]], value[[0, 1, 2, 4, 5]], rtol=1e-4)
    assert np.isnan(db[3]).all()
    # rows of pixels, as the sample has them
    flat = stored.reshape(6, -1)
    np.testing.assert_array_equal(
        units.in_db(flat, units.kinds(stored, _gone(stored))), db.reshape(6, -1)
    )


def test_power_of_zero_is_missing():
    value = np.array([[0.1, 0.0, 0.5]], np.float32)
    db = units.in_db(value, np.array([units.POWER]))
    np.testing.assert_allclose(db, [[-10.0, np.nan, -3.0103]], rtol=1e-5)


def test_mixed_units_say_where():
    kind = {"VV": np.array([1, 1, 1, 1, 2, 3]), "VH": np.full(6, 1)}
    (found,) = units.units(kind, {"VV": "dB", "VH": "dB"}, DAY)
    assert found.name == "units-mixed"
    assert "VV within 2023-12-31" in found.where
    assert "VV on 2023-12-19" in found.where
    assert "VV: 4 dates in dB, 1 in linear power" in found.evidence


@pytest.mark.parametrize(
    ("kind", "declared", "wanted"),
    [
        (units.DB, "dB", []),
        (units.DB, "decibels", []),
        (units.POWER, "1", []),
        (units.POWER, "m2 m-2", []),
        (units.DB, "", ["units-undeclared"]),
        (units.DB, "linear", ["units-contradict"]),
        (units.POWER, "DB", ["units-contradict"]),
        (units.POWER, "K", ["units-contradict"]),
        (units.OTHER, "1", ["units-unknown"]),
        (units.NONE, "", []),
    ],
)
def test_declared_units_against_values(kind, declared, wanted):
    found = units.units({"VV": np.full(6, kind)}, {"VV": declared}, DAY)
    assert [f.name for f in found] == wanted
