"""Every fault alone is found by its name, and nothing else is called wrong."""

import numpy as np
import pytest
import xarray as xr

from s1jax import doctor, open_cube
from tests.worlds.doctor import DAY, TODAY, changed, names, offset_kept, plain, power, unmasked


def examined(ds, **options):
    return doctor.examine(ds, **{"today": TODAY, "rows": 0, "pixels": 240} | options)


def _planes(value, where, number):
    value[where] = number
    return value


def _holes_of_zeros(value):
    some = np.isfinite(value).any(axis=(1, 2))
    value[some] = np.nan_to_num(value[some])
    return value


def _half(value):
    value[30, :, :12] = power(value[30, :, :12])
    return value


def _late(value):
    value[40:] = power(value[40:])
    return value


def _to_months(ds):
    t = np.arange("2023-01", "2025-01", dtype="datetime64[M]").astype("datetime64[ns]")
    return ds.isel(t=slice(0, len(t))).assign_coords(t=t)


def _to_dekads(ds):
    month = np.arange("2023-01", "2024-05", dtype="datetime64[M]").astype("datetime64[D]")
    t = np.sort(np.concatenate([month + k for k in (0, 10, 20)])).astype("datetime64[ns]")
    return ds.isel(t=slice(0, len(t))).assign_coords(t=t)


def _with_bounds(ds, days=11):
    start = ds.t.values - 6 * DAY
    ends = np.stack([start, start + days * DAY], axis=1)
    return ds.assign_coords(t_bnds=(("t", "bnds"), ends))


def _alternating(value):
    value[::2] += 2.0
    return value


def _acquisitions(ds):
    """Radar of two tracks 5 days apart and NDVI of other days, as acquisitions."""
    first, second = ds.assign_coords(t=ds.t - 3 * DAY), ds.assign_coords(t=ds.t + 2 * DAY)
    second = changed(second, VV=lambda v: v - 1.5, VH=lambda v: v - 1.0)
    radar = xr.concat([first[["VV", "VH"]], second[["VV", "VH"]]], "t").sortby("t")
    # two acquisitions of NDVI at one, then at three days of the middle
    labels = ds[["S2ndvi"]].assign_coords(
        t=ds.t + np.where(np.arange(ds.sizes["t"]) % 2, 0, 1) * DAY
    )
    joined = xr.merge([radar, labels], join="outer", combine_attrs="drop_conflicts")
    return joined.assign_attrs(ds.attrs)


_SPAN = {"source": "S1_S2_Nov2023_Jul2025_stack"}
PLANTED = {
    "infinite": lambda ds: changed(ds, S2ndvi=lambda v: _planes(v, [3, 30], -np.inf)),
    "dead-period": lambda ds: changed(
        ds, **dict.fromkeys(("VV", "VH", "S2ndvi"), lambda v: _planes(v, 7, 0.0))
    ),
    "constant-plane": lambda ds: changed(ds, VV=lambda v: _planes(v, 7, -8.5)),
    "fill-declared": lambda ds: changed(
        ds.assign(VV=ds.VV.assign_attrs(nodata=-9999.0)),
        VV=lambda v: _planes(v, np.s_[:, :2], -9999),
    ),
    "fill-undeclared": lambda ds: changed(ds, VV=lambda v: _planes(v, np.s_[:, :2], -9999)),
    "zero-pixels": lambda ds: changed(
        ds, **dict.fromkeys(("VV", "VH", "S2ndvi"), lambda v: _planes(v, np.s_[4:9, 3:6], 0.0))
    ),
    "zero-pair/no label": lambda ds: changed(
        ds,
        **dict.fromkeys(("VV", "VH"), lambda v: _planes(v, np.s_[4:9, 3:6], 0.0)),
        S2ndvi=lambda v: _planes(v, np.s_[4:9, 3:6], np.nan),
    ),
    "zeros": lambda ds: changed(ds, S2ndvi=_holes_of_zeros),
    "units-mixed": lambda ds: changed(ds, VV=_late, VH=_late),
    "units-mixed/one variable": lambda ds: changed(
        ds.assign(VH=ds.VH.assign_attrs(units="1")), VH=power
    ),
    "units-mixed/within a plane": lambda ds: changed(ds, VV=_half, VH=_half),
    "units-contradict": lambda ds: ds.assign(
        {n: ds[n].assign_attrs(units="1") for n in ("VV", "VH")}
    ),
    "units-contradict/dB declared": lambda ds: changed(ds, VV=power, VH=power),
    "units-contradict/unknown": lambda ds: ds.assign(VV=ds.VV.assign_attrs(units="K")),
    "units-unknown": lambda ds: changed(
        ds, VV=lambda v: 1000 * power(v / 2), VH=lambda v: 1000 * power(v / 2)
    ),
    "ndvi-scale": lambda ds: changed(ds, S2ndvi=lambda v: v * 1e4),
    "ndvi-range": lambda ds: changed(ds, S2ndvi=lambda v: _planes(v, np.s_[9, 2:4], 1.7)),
    "ndvi-range/radar": lambda ds: ds.assign(S2ndvi=ds.VH.assign_attrs(units="1")),
    "ndvi-clamped": lambda ds: changed(ds, S2ndvi=lambda v: _planes(v, np.s_[8:12, 2:4, 3:9], 1.0)),
    "ndvi-clamped/floor": lambda ds: changed(ds, S2ndvi=lambda v: np.maximum(v, 0.12)),
    "polarisations-swapped": lambda ds: ds.rename(VV="VH", VH="VV"),
    "radar-outliers": lambda ds: changed(ds, VV=lambda v: _planes(v, np.s_[:, 1, :3], -55.0)),
    "dates-missing": lambda ds: ds.assign_coords(
        t=("t", _planes(ds.t.values.copy(), [51], np.datetime64("NaT")))
    ),
    "future-dates": lambda ds: ds.assign_coords(t=ds.t + 730 * DAY),
    "year-off": lambda ds: ds.assign_coords(t=ds.t - 365 * DAY).assign_attrs(_SPAN),
    "unsorted-dates": lambda ds: ds.isel(t=[*range(10, 52), *range(10)]),
    "duplicate-dates": lambda ds: ds.isel(t=[*range(30), 29, *range(30, 52)]),
    "missing-periods": lambda ds: ds.isel(t=[*range(20), *range(23, 52)]),
    "short-last-period": lambda ds: ds.assign_coords(
        t=("t", np.concatenate([ds.t.values[:-1], ds.t.values[-1:] - 3 * DAY]))
    ),
    "period-starts": _to_months,
    "period-starts/dekads": _to_dekads,
    "period-starts/named": lambda ds: ds.assign_coords(t=ds.t - 6 * DAY).assign_attrs(
        source="cube 2023-11-01_2025-07-16"
    ),
    "missing-periods/month": lambda ds: (
        _to_months(ds)
        .isel(t=[*range(7), *range(8, 24)])
        .assign_coords(t=lambda ds: ds.t + 14 * DAY)
    ),
    "refused": lambda ds: changed(
        ds.assign({n: ds[n].assign_attrs(units="1") for n in ("VV", "VH")}),
        VV=lambda v: np.where(np.arange(v.size).reshape(v.shape) % 60, power(v), -1e-4),
        VH=power,
    ),
    "end-day-lost": _with_bounds,
    "offset-kept": lambda ds: changed(ds, S2ndvi=offset_kept),
    "toa-labels": lambda ds: changed(ds, S2ndvi=lambda v: offset_kept(v, offset=0.07)),
    "cloud-unmasked": lambda ds: changed(ds, S2ndvi=unmasked),
    "orbits-mixed": lambda ds: changed(ds, VV=_alternating, VH=_alternating),
    "orbits-mixed/acquisitions": _acquisitions,
    "no-labels": lambda ds: changed(
        ds.assign(mask=(("y", "x"), np.arange(480).reshape(20, 24) % 24 > 2)),
        S2ndvi=lambda v: _planes(v, np.s_[:, :, 3:], np.nan),
    ),
    "no-radar": lambda ds: changed(ds, VV=lambda v: np.full_like(v, np.nan)),
}


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_wrong_with_a_clean_cube(seed):
    found = examined(plain(seed))
    assert names(found) == set()
    # composites of which neither days nor orbits are known
    assert {"orbit-unknown", "acquisition-days-unknown", "verdict"} <= names(found, "note")


@pytest.mark.parametrize("key", PLANTED)
def test_each_fault_alone_is_found_and_nothing_else(key):
    wanted = key.partition("/")[0]
    faulty = PLANTED[key](plain())
    before = faulty.copy(deep=True)
    found = examined(faulty)
    assert names(found) == {wanted}
    for finding in (f for f in found.findings if f.name == wanted):
        assert all([finding.what, finding.where, finding.evidence, finding.remedy])
        assert finding.repaired == _mended(faulty, wanted)
    xr.testing.assert_identical(faulty, before)


def _mended(ds, name):
    """Whether a finding is gone from the cube that `open_cube` returns, if it does."""
    try:
        opened = _opened(ds)
    except ValueError:
        return False
    return name not in names(examined(opened), *doctor.LEVELS)


def _opened(ds, **options):
    return open_cube(ds, repair=True, **options)


@pytest.mark.slow
def test_first_days_are_mended_where_start_and_step_are_told():
    faulty = PLANTED["period-starts/named"](plain())
    told = {"start": "2023-11-01", "step": 12}
    assert names(examined(faulty, **told)) == {"period-starts"}
    assert names(examined(_opened(faulty, **told))) == set()


def test_undeclared_units_are_a_note_and_mended():
    bare = plain()
    del bare.VV.attrs["units"]
    found = examined(bare)
    assert names(found) == set()
    assert "units-undeclared" in names(found, "note")
    assert "units-undeclared" not in names(examined(_opened(bare)), "note")


@pytest.mark.parametrize("factor", [1e4, 100])
def test_ndvi_in_whole_numbers_is_mended_where_open_cube_knows_the_scale(factor):
    stored = plain()
    ndvi = np.nan_to_num(stored.S2ndvi.values * factor, nan=-9999).astype(np.int16)
    stored = stored.assign(S2ndvi=(stored.S2ndvi.dims, ndvi))
    found = examined(stored)
    assert names(found) == {"ndvi-scale", "fill-undeclared"}
    for finding in (f for f in found.findings if f.kind == "fault"):
        assert finding.repaired == _mended(stored, finding.name) == (factor == 1e4)
    assert ("refused" in names(found, "note")) == (factor == 100)


def test_power_that_says_so_is_no_fault():
    ds = changed(plain(), VV=power, VH=power)
    ds = ds.assign({n: ds[n].assign_attrs(units="m2 m-2") for n in ("VV", "VH")})
    found, as_db = examined(ds), examined(plain())
    assert names(found) == set()
    np.testing.assert_allclose(found.facts.vv_db, as_db.facts.vv_db, atol=1e-3)


def test_worst_comes_first_and_the_verdict_says_what_to_mend():
    ds = PLANTED["offset-kept"](PLANTED["infinite"](PLANTED["missing-periods"](plain())))
    found = examined(ds)
    levels = [finding.kind for finding in found.findings]
    assert levels == sorted(levels, key=doctor.LEVELS.index)
    assert names(found) == {"infinite", "offset-kept", "missing-periods"}
    (verdict,) = [f for f in found.findings if f.name == "verdict"]
    mended = "open_cube(repair=True) repairs infinite, missing-periods"
    assert verdict.remedy == f"repair first offset-kept; {mended}"
    assert verdict.what.startswith("Faults first")
    # warnings alone are to be mended too
    found = examined(PLANTED["toa-labels"](plain()))
    (verdict,) = [f for f in found.findings if f.name == "verdict"]
    assert verdict.remedy == "repair first toa-labels"


def test_a_month_left_out_makes_no_acquisitions():
    months = _to_months(plain()).isel(t=[*range(7), *range(8, 24)])
    assert names(examined(months)) == {"period-starts", "missing-periods"}
    assert names(examined(_opened(months))) == set()
