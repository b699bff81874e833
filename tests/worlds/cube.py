"""One small scene, and every kind of file that the field would keep it in."""

import numpy as np
import pandas as pd
import pyproj
import rasterio
import xarray as xr
from affine import Affine

START, STEP, PERIODS = "2023-11-01", 12, 7
SIZE, EPSG, PIXEL = (6, 5), 32749, 20.0
WEST, NORTH = 460_000.0, 9_230_000.0
DEGREES = (110.6, -6.95, 0.00018)
"""West, north and size of a pixel of the scene in EPSG:4326."""
DIMS = ("t", "y", "x")
NAMES = ("VV", "VH", "S2ndvi")


def scene(days=None, seed=0):
    """Cube in dB, EPSG:32749, y descending; powers are thousandths, NDVI is of 4 digits."""
    rng = np.random.default_rng(seed)
    days = np.arange(PERIODS) * STEP + 6 if days is None else np.asarray(days)
    shape = (days.size, *SIZE)
    vv = rng.integers(60, 200, shape) / 1000
    vh = rng.integers(8, 40, shape) / 1000
    ndvi = np.where(rng.random(shape) < 0.3, np.nan, rng.integers(-900, 9000, shape) / 1e4)
    values = {"VV": 10 * np.log10(vv), "VH": 10 * np.log10(vh), "S2ndvi": ndvi}
    ds = xr.Dataset(
        {name: (DIMS, value.astype(np.float32)) for name, value in values.items()},
        {
            "t": (pd.Timestamp(START) + pd.to_timedelta(days, "D")).to_numpy("datetime64[ns]"),
            "y": NORTH - PIXEL * (np.arange(SIZE[0]) + 0.5),
            "x": WEST + PIXEL * (np.arange(SIZE[1]) + 0.5),
        },
        {"crs": f"EPSG:{EPSG}"},
    )
    ds["VV"].attrs["units"] = ds["VH"].attrs["units"] = "dB"
    return ds


def on_grid(ds, *, geographic=False, up=False):
    """The scene in degrees, EPSG:4326, and with its rows going up."""
    if geographic:
        west, north, pixel = DEGREES
        y, x = (np.arange(n) + 0.5 for n in SIZE)
        ds = ds.assign_coords(y=north - pixel * y, x=west + pixel * x).assign_attrs(crs="EPSG:4326")
    return ds.isel(y=slice(None, None, -1)) if up else ds


def geometry(ds):
    """CRS and transform of a GeoTIFF whose rows are those of the scene, up or down."""
    y, x = ds["y"].values, ds["x"].values
    dy, dx = (y[-1] - y[0]) / (y.size - 1), (x[-1] - x[0]) / (x.size - 1)
    transform = Affine(dx, 0, x[0] - dx / 2, 0, dy, y[0] - dy / 2)
    return {"crs": ds.attrs["crs"], "transform": transform}


def power(ds):
    """The scene in linear power."""
    linear = {name: (10 ** (ds[name] / 10)).assign_attrs(units="1") for name in ("VV", "VH")}
    return ds.assign(linear)


def write_tif(path, bands, descriptions=(), *, dtype="float32", nodata=None, tags=(), **where):
    """Bands (band, y, x) of the scene's grid; `tags`: scale, unit."""
    bands = np.asarray(bands)
    options = {"crs": f"EPSG:{EPSG}", "transform": Affine(PIXEL, 0, WEST, 0, -PIXEL, NORTH)}
    options |= {"height": bands.shape[1], "width": bands.shape[2], "dtype": dtype} | where
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", "GTiff", count=len(bands), nodata=nodata, **options) as file:
        file.write(bands.astype(dtype))
        for k, text in enumerate(descriptions, start=1):
            file.set_band_description(k, text)
        tags = dict(tags)
        if "scale" in tags:
            file.scales = [tags["scale"]] * len(bands)
        if "unit" in tags:
            file.units = [tags["unit"]] * len(bands)


def periods(folder, ds):
    """A folder of period_NN.tif."""
    for k in range(ds.sizes["t"]):
        bands = [ds[name].values[k] for name in NAMES]
        file = folder / f"period_{k + 1:02d}.tif"
        write_tif(file, bands, ("VV", "VH", "NDVI"), **geometry(ds))
    return folder


def stack(path, ds, style, names=NAMES):
    """One file of all dates; `style` makes the description of a variable, number and date."""
    called = {"VV": "VV", "VH": "VH", "S2ndvi": "S2ndvi"}
    bands, texts = [], []
    for k, date in enumerate(pd.DatetimeIndex(ds["t"].values)):
        for name in names:
            bands.append(ds[name].values[k])
            texts.append(style(called[name], k + 1, date))
    write_tif(path, bands, texts, **geometry(ds))
    return path


def sits(folder, ds, *, whole, radar="RTC", tags=(), nodata=-9999):
    """A folder of sits: one file a band and date, NDVI and GRD in whole numbers."""
    linear, where = power(ds), geometry(ds)
    for k, date in enumerate(pd.DatetimeIndex(ds["t"].values)):
        day = date.strftime("%Y-%m-%d")
        for name in ("VV", "VH"):
            value, dtype, fill = linear[name].values[k], "float32", None
            if np.isnan(value).all():
                continue
            if radar == "GRD":
                value, dtype = np.nan_to_num(np.round(value * 1000)), "uint16"
            file = folder / f"SENTINEL-1_{radar}_49MCN_{name}_{day}.tif"
            write_tif(file, [value], dtype=dtype, nodata=fill, **where)
        value = ds["S2ndvi"].values[k]
        if np.isnan(value).all():
            continue
        file = folder / f"SENTINEL-2_MSI_49MCN_NDVI_{day}.tif"
        if whole:
            stored = np.where(np.isnan(value), nodata, np.round(value * 1e4))
            fill = nodata if dict(tags) else None
            write_tif(file, [stored], dtype="int16", tags=tags, nodata=fill, **where)
        else:
            write_tif(file, [value], **where)
    return folder


def tables(folder, ds, *, key="location_id"):
    """Two CSVs as of sits: places in rows, S1 and S2 on their own dates."""
    lon, lat = degrees(ds)
    folder.mkdir(parents=True, exist_ok=True)
    place = np.arange(lon.size).reshape(lon.shape) + 1
    made = []
    for file, names in (("s1_timeseries.csv", ("VV", "VH")), ("s2_timeseries.csv", ("S2ndvi",))):
        rows = []
        for k, date in enumerate(pd.DatetimeIndex(ds["t"].values)):
            for j, i in np.ndindex(lon.shape):
                values = [ds[name].values[k, j, i] for name in names]
                if np.isfinite(values).any():
                    head = [] if key is None else [place[j, i]]
                    rows.append([*head, lon[j, i], lat[j, i], f"rice{j}", date.date(), *values])
        called = [{"S2ndvi": "NDVI"}.get(name, name) for name in names]
        head = [] if key is None else [key]
        columns = [*head, "longitude", "latitude", "label", "Index", *called]
        pd.DataFrame(rows, columns=columns).to_csv(folder / file, index=False, na_rep="NA")
        made.append(folder / file)
    return made


def degrees(ds):
    """Longitude and latitude of every pixel, (y, x)."""
    system = pyproj.Transformer.from_crs(EPSG, 4326, always_xy=True)
    return system.transform(*np.meshgrid(ds["x"].values, ds["y"].values))


def apart(ds):
    """The scene as one Dataset for each sensor, on the dates on which it saw anything."""
    made = []
    for names in (("VV", "VH"), ("S2ndvi",)):
        seen = np.logical_or.reduce([ds[n].notnull().any(("y", "x")).values for n in names])
        made.append(ds[list(names)].isel(t=np.flatnonzero(seen)))
    return made


def own_days(seed=0):
    """The scene with Sentinel-1 every 12 days, Sentinel-2 on other and on some of the same days."""
    days = np.array([0, 3, 12, 13, 18, 24, 28, 36, 43])
    ds = scene(days, seed)
    radar, optical = np.isin(days, [0, 12, 24, 36]), np.isin(days, [3, 12, 13, 18, 28, 36, 43])
    for name in ("VV", "VH"):
        ds[name].values[~radar] = np.nan
    ds["S2ndvi"].values[~optical] = np.nan
    return ds


def same(found, expected, names=NAMES):
    """Whether a cube is the scene, whichever way its rows run."""
    down, expected = (ds.sortby("y", ascending=False) for ds in (found, expected))
    assert dict(down.sizes) == dict(expected.sizes)
    np.testing.assert_array_equal(down.t, expected.t)
    pixel = float(np.abs(np.diff(expected.x)).mean())
    np.testing.assert_allclose(down.y, expected.y, rtol=0, atol=1e-5 * pixel)
    np.testing.assert_allclose(down.x, expected.x, rtol=0, atol=1e-5 * pixel)
    for name in names:
        np.testing.assert_allclose(down[name], expected[name], atol=1e-5, err_msg=name)
        assert down[name].dtype == np.float32
