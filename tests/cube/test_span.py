"""One line that tells which dates a cube has."""

import numpy as np
import pytest
import xarray as xr

from s1jax import cube


def _dated(days, **attrs):
    t = np.datetime64("2021-03-04", "ns") + np.array(days) * np.timedelta64(24 * 3600, "s")
    return xr.Dataset(coords={"t": t.astype("datetime64[ns]")}, attrs=attrs)


@pytest.mark.parametrize(
    ("days", "words"),
    [
        ([0, 12, 24], "2021-03-04 to 2021-03-28, 3 dates, 12 days apart"),
        ([24, 0, 12], "2021-03-04 to 2021-03-28, 3 dates, 12 days apart"),
        ([0, 1, 7, 27], "2021-03-04 to 2021-03-31, 4 dates, 1 to 20 (median 6) days apart"),
        ([5], "2021-03-09 to 2021-03-09, 1 date"),
        ([], "no date"),
    ],
)
def test_ends_count_and_step(days, words):
    assert cube.span(_dated(days)) == words


def test_a_relative_axis_has_no_calendar():
    line = cube.span(_dated([0, 30, 60], time_axis="relative"))
    assert line == "relative days 0 to 60, 3 dates, 30 days apart"


def test_a_date_that_is_missing_is_left_out():
    ds = _dated([0, 10, 20])
    t = ds.t.values.copy()
    t[1] = np.datetime64("NaT")
    assert cube.span(ds.assign_coords(t=t)).endswith("2 dates, 20 days apart")
