"""The time axis: dates one by one, periods, first days, bounds, and years spelt out in names."""

import numpy as np
import pandas as pd
import pytest

from s1jax.cube import from_days, to_days
from s1jax.doctor.timeline import (
    axis_findings,
    composites,
    first_days,
    lost_days,
    period_findings,
    stated_spans,
    year_off,
)

TODAY = 20800.0


def _days(*text):
    return to_days(np.array(text, "M8[ns]"))


def _every(step, count, start="2023-11-07"):
    return _days(start)[0] + step * np.arange(float(count))


def _names(found):
    return [f.name for f in found if f is not None]


def test_each_kind_of_wrong_date():
    day = _every(12, 10)
    assert axis_findings(day, None, TODAY) == []
    assert _names(axis_findings(day, None, day[5])) == ["future-dates"]
    assert _names(axis_findings(day[::-1], None, TODAY)) == ["unsorted-dates"]
    assert _names(axis_findings(np.append(day, day[-1]), None, TODAY)) == ["duplicate-dates"]
    assert _names(axis_findings(np.append(day, np.nan), None, TODAY)) == ["dates-missing"]


def test_two_tracks_of_one_day_are_no_duplicate():
    day = np.repeat(_every(12, 5), 2)
    assert axis_findings(day, np.tile([1, 2], 5), TODAY) == []
    assert _names(axis_findings(day, np.tile([1, 1], 5), TODAY)) == ["duplicate-dates"]


def test_periods_left_out_are_named():
    day = np.delete(_every(12, 12), [3, 4, 9])
    (found,) = period_findings(day)
    assert found.name == "missing-periods"
    assert found.evidence == "3 of 12 periods"
    assert "2023-12-13, 2023-12-25, 2024-02-23" in found.where
    assert _names(period_findings(_every(12, 12))) == []


def test_the_last_period_may_be_short():
    day = np.append(_every(12, 10), _every(12, 10)[-1] + 9)
    (found, none) = period_findings(day)
    assert (found.name, none) == ("short-last-period", None)
    assert "6 days long" in found.evidence
    # irregular dates are acquisitions, and tell nothing
    assert period_findings(np.cumsum(np.tile([1.0, 5, 6], 6))) == [None, None]


@pytest.mark.parametrize("kind", ["months", "dekads"])
def test_first_days_of_months_and_dekads(kind):
    t = pd.date_range("2020-08-01", "2022-03-01", freq="MS")
    if kind == "dekads":
        t = t.append([t + pd.Timedelta(days=10), t + pd.Timedelta(days=20)]).sort_values()
    day = to_days(t.to_numpy())
    assert _names(period_findings(day)) == ["period-starts"]
    assert _names(period_findings(np.delete(day, 4))) == [
        "period-starts",
        "missing-periods",
    ]
    assert "period-starts" not in _names(period_findings(day + 14))
    assert "period-starts" not in _names(period_findings(day[:2]))


def test_first_days_of_the_periods_that_are_told():
    day = _every(12, 10, "2023-11-01")
    start = float(day[0])
    assert first_days(day, start, 12).name == "period-starts"
    assert first_days(day, start - 24, 12).name == "period-starts"
    assert first_days(day + 6, start, 12) is None
    assert first_days(day, start - 1, 12) is None


def test_days_between_the_bounds_are_lost():
    start = _every(12, 8)
    exact = np.stack([start, start + 12], axis=1)
    assert lost_days(exact) is None
    found = lost_days(np.stack([start, start + 11], axis=1))
    assert "7 of 7 periods end 1 day(s) before" in found.evidence
    # a period left out is no lost day, overlapping ones lose none
    assert lost_days(np.delete(exact, 3, axis=0)) is None
    assert lost_days(np.stack([start, start + 13], axis=1)) is None
    assert lost_days(exact[:1]) is None


def test_composites_are_told_from_acquisitions():
    day = _every(12, 20)
    everywhere = np.ones(20, bool)
    some = np.arange(20) % 3 > 0
    assert composites(day, everywhere, some)
    # S1 and S2 of different days
    assert not composites(day, ~some, some)
    assert not composites(_every(3, 20), everywhere, everywhere)
    assert composites(np.delete(day, [4, 5]), everywhere[:-2], everywhere[:-2])
    assert not composites(np.cumsum(np.tile([5.0, 12], 10)), everywhere, everywhere)
    assert composites(day, everywhere, ~everywhere)
    # months and dekads, of which one is left out, by first days and by middles; a short last period
    months = to_days(pd.date_range("2023-01-01", periods=24, freq="MS").to_numpy())
    dekads = np.sort(np.concatenate([months + k for k in (0, 10, 20)]))
    short = np.append(day, day[-1] + 9)
    for whole in (months, months + 14, dekads, short):
        holed = np.delete(whole, 7)
        there = np.ones(holed.size, bool)
        assert composites(holed, there, there)
        (absent,) = [f for f in period_findings(holed) if f and f.name == "missing-periods"]
        assert absent.evidence.startswith("1 of ")
        assert str(from_days(whole[[7]])[0])[:7] in absent.where


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("S1_S2_Nov2023_Oct2025_Period_07.tif", "2023-11-01", "2025-10-31"),
        ("cube_2023-11-01_2025-10-31.nc", "2023-11-01", "2025-10-31"),
        ("10m_32631_2020-08-01_2022-03-31", "2020-08-01", "2022-03-31"),
        ("1-year-202201-202212/*10x10", "2022-01-01", "2022-12-31"),
        ("20231101_20251107 final", "2023-11-01", "2025-11-07"),
        ("from 2018-08-02 to 2019-11-27", "2018-08-02", "2019-11-27"),
        ("November 2023 - October 2025", "2023-11-01", "2025-10-31"),
    ],
)
def test_spans_are_read(text, first, last):
    ((begin, end, words),) = stated_spans(text)
    assert (begin, end) == tuple(_days(first, last))
    assert words


@pytest.mark.parametrize(
    "text",
    [
        "the 2023-ey-open-science-data-challenge data",
        "754c0aed88ae1fc48fe99815c52aafba95bd68d1",
        "BOA offset of 1000 removed from 2022-01-25 on",
        "EPSG:32631 bounds (574680, 5621800, 575320, 5622440)",
        "2025-10-31_2023-11-01",
        "2022_FRA_LPIS_POLY_110",
        "VV_P01_VH_P02",
        "2023-13-01_2024-02-45",
    ],
)
def test_what_is_no_span_is_none(text):
    assert stated_spans(text) == []


def test_a_year_off_is_found_from_names_and_attributes():
    day = _every(12, 62)
    named = {"file a.tif": "S1_S2_Nov2023_Oct2025_Period_01.tif"}
    assert year_off(day, named) is None
    late = year_off(day + 366, named)
    assert "1 year(s) too late" in late.what
    assert "Nov2023" in late.evidence.replace(" ", "")
    assert "2 year(s) too early" in year_off(day - 731, named).what
    # half a year apart is another series, not a year off
    assert year_off(day + 180, named) is None
    assert year_off(day + 366, {}) is None
    begun = {"attribute time_coverage_start": "2023-11-01T00:00:00Z"}
    assert year_off(day, begun) is None
    # of a beginning alone nobody knows: the second year of a longer series keeps it
    slice_of_it = year_off(day + 365, begun)
    assert (slice_of_it.name, slice_of_it.kind) == ("year-off", "warning")
    touched = begun | {"attribute last_modified": "2026-05-01"}
    assert year_off(day + 365, touched).kind == "warning"
    both = begun | {"attribute time_coverage_end": "2025-11-15"}
    assert year_off(day + 365, both).kind == "fault"
    assert year_off(day[30:], both) is None
    assert year_off(day[30:], {**begun, "attribute date_end": "20251115"}) is None
    # a date of something else
    assert year_off(day + 365, {"attribute history": "made 2023-11-05"}) is None
