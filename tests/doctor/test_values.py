"""Fills and units, one variable at a time: what counts as missing, and what a plane is in."""

import numpy as np
import pytest
import xarray as xr

from s1jax.cube import from_days
from s1jax.cube.values import measure
from s1jax.doctor import radar, read

DAY = 19662.0 + 12.0 * np.arange(6)
RNG = np.random.default_rng(0)


def _db(dates=6, mean=-12.0):
    return RNG.normal(mean, 2, (dates, 8, 9)).astype(np.float32)


def _cube(arrays, **nodata):
    dims = ("t", "y", "x")
    variables = {
        name: (dims, value, {"nodata": nodata[name]} if name in nodata else {})
        for name, value in arrays.items()
    }
    return xr.Dataset(variables, {"t": from_days(DAY[: len(next(iter(arrays.values())))])})


def _examined(arrays, **nodata):
    """Findings, and what is missing of each variable."""
    found, cleaned, _ = read.value_findings(_cube(arrays, **nodata), DAY)
    return found, {name: np.isnan(value) for name, value in cleaned.items()}


def _unit(value):
    return radar.units_of_planes(measure(_cube({"VV": value}))[1]["VV"])


def test_infinite_values_are_counted_with_their_dates():
    value = _db()
    value[2] = -np.inf
    value[3, 0, 0] = np.inf
    (found,), _ = _examined({"VV": value})
    assert found.name == "infinite"
    assert "73 values" in found.evidence
    assert "(16.9 % of the values); whole planes: 1 (2023-11-25)" in found.where
    assert "2 of 6 dates" in found.where
    assert _examined({"VV": _db()})[0] == []


@pytest.mark.parametrize("fill", read.FILLS)
def test_known_fills_are_told_from_values(fill):
    value = _db()
    value[1, :2] = fill
    assert read.undeclared_fills(value) == (pytest.approx(float(np.float32(fill))),)


def test_a_number_that_the_variable_can_have_is_no_fill():
    # NDVI x 10,000 reaches 9999 and -999; three values of them are values
    value = RNG.integers(-2000, 10_000, (6, 8, 9)).astype(np.float32)
    value[0, 0, :3], value[1, 0, :3] = 9999.0, -999.0
    assert read.undeclared_fills(value) == ()
    value[2, 0, :3] = -32768.0
    assert read.undeclared_fills(value) == (-32768.0,)
    # twice is chance
    db = _db()
    db[0, 0, :2] = -99.0
    assert read.undeclared_fills(db) == ()


def test_a_declared_fill_is_missing_and_named():
    value = _db()
    value[4, :3] = -7777.0
    found, missing = _examined({"VV": value}, VV=-7777.0)
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
    constant = measure(_cube({"VV": value}))[1]["VV"].constant
    np.testing.assert_array_equal(np.isfinite(constant), wanted)
    single = np.full((3, 1, 1), -9.0, np.float32)
    assert np.isnan(measure(_cube({"VV": single}))[1]["VV"].constant).all()


def test_a_dead_period_is_one_finding_and_missing_everywhere():
    cube = {"VV": _db(), "VH": _db(mean=-18.0), "S2ndvi": np.abs(_db()) / 20}
    for value in cube.values():
        value[2] = 0.0
    # no scene that period: -inf in place of NDVI, zeros of the radar
    cube["S2ndvi"][2] = np.nan
    found, missing = _examined(cube)
    assert [f.name for f in found] == ["dead-period"]
    assert found[0].where == "2023-11-25"
    assert all(gone[2].all() and not gone[[0, 1, 3, 4, 5]].any() for gone in missing.values())


def test_constant_but_not_zero_is_named_by_variable():
    cube = {"VV": _db(), "VH": _db(), "S2ndvi": np.abs(_db()) / 20}
    cube["VH"][[0, 5]] = -21.5
    found, missing = _examined(cube)
    assert [f.name for f in found] == ["constant-plane"]
    assert found[0].where == "VH: 2023-11-01, 2023-12-31, all -21.5"
    assert "2 constant plane(s)" in found[0].evidence
    assert missing["VH"][[0, 5]].all()
    assert not missing["VV"].any()


def test_zeros_in_all_bands_and_zeros_in_one():
    cube = {"VV": _db(), "VH": _db(), "S2ndvi": np.abs(_db()) / 20 + 0.01}
    for value in cube.values():
        value[1:3, :2, :2] = 0.0
    cube["S2ndvi"][4, :5] = 0.0
    found, missing = _examined(cube)
    assert [f.name for f in found] == ["zero-pixels", "zeros"]
    assert "8 pixels x days" in found[0].evidence
    assert "45 values" in found[1].evidence
    assert missing["VV"].sum() == 8
    assert missing["S2ndvi"].sum() == 8 + 45


def test_nothing_is_found_in_values():
    cube = {"VV": _db(), "VH": _db(), "S2ndvi": np.abs(_db()) / 20}
    cube["S2ndvi"][3] = np.nan
    found, missing = _examined(cube, VV=-9999.0)
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
    kind = _unit(value)
    wanted = [radar.DECIBEL, radar.POWER, radar.BOTH, radar.NONE, radar.OTHER, radar.NONE]
    np.testing.assert_array_equal(kind, wanted)


def test_a_city_in_db_is_db():
    value = _db(mean=-5.0)
    value[:, :3, :3] = RNG.normal(4, 3, (6, 3, 3))
    np.testing.assert_array_equal(_unit(value), radar.DECIBEL)
    # nothing but city, and one value of fifteen by chance
    value = RNG.normal(-4, 4, (6, 40, 50)).astype(np.float32)
    np.testing.assert_array_equal(_unit(value), radar.DECIBEL)
    few = np.full((1, 3, 5), -9.0, np.float32)
    few[0, 0, 0] = 0.4
    np.testing.assert_array_equal(_unit(few), radar.DECIBEL)
    np.testing.assert_array_equal(radar.in_db(few, _unit(few)), few)


def test_all_comes_out_in_db():
    value = _db()
    stored = value.copy()
    stored[1] = _power(value[1])
    stored[2, :4] = _power(value[2, :4])
    stored[3] = 500.0 + value[3]
    db = radar.in_db(stored, _unit(stored))
    np.testing.assert_allclose(db[[0, 1, 2, 4, 5]], value[[0, 1, 2, 4, 5]], rtol=1e-4)
    assert np.isnan(db[3]).all()
    # rows of pixels, as the sample has them
    flat = stored.reshape(6, -1)
    np.testing.assert_array_equal(radar.in_db(flat, _unit(stored)), db.reshape(6, -1))


def test_power_of_zero_is_missing():
    value = np.array([[0.1, 0.0, 0.5]], np.float32)
    db = radar.in_db(value, np.array([radar.POWER]))
    np.testing.assert_allclose(db, [[-10.0, np.nan, -3.0103]], rtol=1e-5)


def test_mixed_units_say_where():
    kind = {"VV": np.array([1, 1, 1, 1, 2, 3]), "VH": np.full(6, 1)}
    (found,) = radar.unit_findings(kind, {"VV": "dB", "VH": "dB"}, DAY)
    assert found.name == "units-mixed"
    assert "VV within 2023-12-31" in found.where
    assert "VV on 2023-12-19" in found.where
    assert "VV: 4 dates in dB, 1 in linear power" in found.evidence


@pytest.mark.parametrize(
    ("kind", "declared", "wanted"),
    [
        (radar.DECIBEL, "dB", []),
        (radar.DECIBEL, "decibels", []),
        (radar.POWER, "1", []),
        (radar.POWER, "m2 m-2", []),
        (radar.DECIBEL, "", ["units-undeclared"]),
        (radar.DECIBEL, "linear", ["units-contradict"]),
        (radar.POWER, "DB", ["units-contradict"]),
        (radar.POWER, "K", ["units-contradict"]),
        (radar.OTHER, "1", ["units-unknown"]),
        (radar.NONE, "", []),
    ],
)
def test_declared_units_against_values(kind, declared, wanted):
    found = radar.unit_findings({"VV": np.full(6, kind)}, {"VV": declared}, DAY)
    assert [f.name for f in found] == wanted
