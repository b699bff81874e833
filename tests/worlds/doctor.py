"""A small rice-like cube made with NumPy alone, in which nothing is wrong, and faults to plant."""

import numpy as np
import xarray as xr

TODAY = "2026-11-22"
PERIODS, HEIGHT, WIDTH = 52, 20, 24
START = np.datetime64("2023-11-01", "ns")
DAY = np.timedelta64(1, "D")


def plain(seed=0, *, periods=PERIODS, step=12, gaps=0.3):
    """Cube (t, y, x), EPSG:32749: two seasons a year, radar that follows, holes of cloud."""
    rng = np.random.default_rng(seed)
    shape = (periods, HEIGHT, WIDTH)
    day = step * (np.arange(periods) + 0.5)
    shift = rng.normal(0, 12, (1, HEIGHT // 4, WIDTH // 4)).repeat(4, 1).repeat(4, 2)
    phase = 2 * np.pi * (day[:, None, None] - shift) / 182.6
    green = np.clip(0.5 - 0.62 * np.cos(phase), 0, 1)
    ndvi = 0.14 + 0.72 * green + rng.normal(0, 0.03, shape)
    vv = -13.0 + 4.0 * green + rng.normal(0, 0.8, shape)
    vh = -21.0 + 6.0 * green + rng.normal(0, 0.8, shape)
    for plane in ndvi:
        row, column = rng.integers(HEIGHT), rng.integers(WIDTH)
        if rng.random() < 2 * gaps:
            plane[max(row - 7, 0) : row + 7, max(column - 9, 0) : column + 9] = np.nan
    ndvi[[5, 21, 22]] = np.nan
    t = START + (24 * day).astype("timedelta64[h]")
    return cube(t.astype("datetime64[ns]"), vv, vh, ndvi)


def cube(t, vv, vh, ndvi):
    """The arrays as a Dataset with units, coordinates and CRS."""
    dims = ("t", "y", "x")
    return xr.Dataset(
        {
            "VV": (dims, vv.astype(np.float32), {"units": "dB"}),
            "VH": (dims, vh.astype(np.float32), {"units": "dB"}),
            "S2ndvi": (dims, ndvi.astype(np.float32), {"units": "1"}),
        },
        coords={
            "t": t,
            "y": 9_230_000.0 - 50.0 * np.arange(vv.shape[1]),
            "x": 460_000.0 + 50.0 * np.arange(vv.shape[2]),
        },
        attrs={"crs": "EPSG:32749"},
    )


def changed(ds, **change):
    """The cube with variables put through functions of their values."""
    new = {}
    for name, function in change.items():
        new[name] = ds[name].copy(data=function(ds[name].values.copy()).astype(np.float32))
    return ds.assign(new)


def power(db):
    """Linear power of dB."""
    return 10 ** (db / 10)


def offset_kept(ndvi, total=0.45, offset=0.1):
    """NDVI of reflectances that sum to `total`, with an offset left in both bands."""
    return ndvi * total / (total + 2 * offset)


def unmasked(ndvi, seed=0):
    """NDVI with cloud in a third of the planes' places, and nothing masked."""
    rng = np.random.default_rng(seed)
    cloud = rng.uniform(0.0, 0.15, (len(ndvi), 1, 1)) + rng.normal(0, 0.03, ndvi.shape)
    there = rng.random((len(ndvi), 1, 1)) < 0.3
    return np.where(np.isnan(ndvi) | there, cloud, ndvi)


def names(examination, *levels):
    """Names of the findings of the levels; faults and warnings where none is given."""
    levels = levels or ("fault", "warning")
    return {finding.name for finding in examination.findings if finding.kind in levels}
