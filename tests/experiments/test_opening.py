"""A file on one grid of days: the options of a command are those of the library."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

from experiments.protocol.config import parse
from s1jax import cube
from s1jax.commands.fill import Align
from s1jax.commands.region import open_aligned
from s1jax.cube.align import NDVI, RADAR


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Twenty acquisitions, radar and NDVI on days of their own."""
    rng = np.random.default_rng(0)
    day = np.sort(rng.choice(90, 20, replace=False))
    radar = (np.arange(20) % 2 == 0)[:, None, None]
    values = {
        "VV": np.where(radar, rng.normal(-12, 1, (20, 2, 3)), np.nan),
        "VH": np.where(radar, rng.normal(-18, 1, (20, 2, 3)), np.nan),
        "S2ndvi": np.where(radar, np.nan, rng.uniform(0.1, 0.9, (20, 2, 3))),
    }
    ds = xr.Dataset(
        {n: (("t", "y", "x"), v.astype(np.float32)) for n, v in values.items()},
        coords={
            "t": np.datetime64("2024-01-01", "ns") + day * np.timedelta64(1, "D"),
            "y": 9e6 - 20.0 * np.arange(2),
            "x": 4e5 + 20.0 * np.arange(3),
        },
    )
    for name in ("VV", "VH"):
        ds[name].attrs["units"] = "dB"
    file = tmp_path_factory.mktemp("opening") / "cube.nc"
    ds.to_netcdf(file, engine="h5netcdf")
    return file


@pytest.mark.parametrize(
    "options", [{}, {"window": 24.0, "ndvi": "max"}, {"within": 3.0, "radar": "median"}]
)
def test_options_are_those_of_the_cube(path, options):
    found = open_aligned(path, start=None, step=None, mask=None, align=Align(**options))
    xr.testing.assert_identical(found, cube.align_cube(cube.open_cube(path), **options))


def test_a_start_dates_the_periods(path):
    found = open_aligned(path, start="2023-12-30", step=10.0, mask=None, align=Align(window=20.0))
    assert found["t"].values[0] == np.datetime64("2024-01-04", "ns")
    assert "10 days from 2023-12-30" in found.attrs["s1jax_repairs"]


def test_the_command_line_says_them():
    align = parse(["--align.window", "24", "--align.radar", "median"]).align
    assert align == Align(window=24.0, radar="median")
    # no statistic of the library is out of reach
    for name, expected in (("radar", RADAR), ("ndvi", NDVI)):
        hint = {f.name: f.type for f in dataclasses.fields(Align)}[name]
        assert hint.__args__ == expected
