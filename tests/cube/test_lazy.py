"""A cube in chunks stays in chunks: opening collects small facts and never holds a variable."""

import dask
import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr

from s1jax import cube
from tests.worlds import cube as worlds

HEIGHT, WIDTH, DATES = 64, 40, 12
PART = {"t": 3, "y": 16, "x": 20}
LARGEST = 3 * 16 * 20


@pytest.fixture(scope="module")
def large():
    """A cube with every fault that opening repairs: fills, dead planes and pixels, no units."""
    rng = np.random.default_rng(0)
    shape = (DATES, HEIGHT, WIDTH)
    ds = xr.Dataset(
        {
            "VV": (worlds.DIMS, rng.gamma(4, 0.03, shape).astype(np.float32)),
            "VH": (worlds.DIMS, rng.gamma(4, 0.01, shape).astype(np.float32)),
            "S2ndvi": (worlds.DIMS, rng.uniform(0, 0.9, shape).astype(np.float32)),
        },
        {
            "t": pd.date_range("2023-11-07", periods=DATES, freq="12D").to_numpy("M8[ns]"),
            "y": 9.2e6 - 20.0 * np.arange(HEIGHT),
            "x": 4.6e5 + 20.0 * np.arange(WIDTH),
        },
        {"crs": "EPSG:32749"},
    )
    ds["VV"].values[3, 5, 5] = np.inf
    ds["S2ndvi"].values[2, :9] = -9999.0
    ds["S2ndvi"].attrs["nodata"] = -9999.0
    ds["S2ndvi"].values[7] = 0.25
    for name in worlds.NAMES:
        ds[name].values[9] = 0.0
        ds[name].values[4, 8, 8:11] = 0.0
    return ds


def _watched(results):
    """A scheduler that notes the size of everything that is brought into memory."""

    def _get(dsk, keys, **options):
        found = dask.get(dsk, keys, **options)
        stack = [found]
        while stack:
            item = stack.pop()
            if isinstance(item, list | tuple):
                stack += item
            else:
                results.append(np.size(item))
        return found

    return _get


def _refuse(*args, **options):
    raise AssertionError("computed")


def _opened(source, most=HEIGHT, **options):
    sizes = []
    with dask.config.set(scheduler=_watched(sizes)):
        found = cube.open_cube(source, **options)
    assert sizes
    # facts are counts of dates, of rows and columns, or single numbers
    assert max(sizes) <= most
    for name in worlds.NAMES:
        assert found[name].chunks is not None, name
        assert np.prod([max(sizes) for sizes in found[name].chunks]) <= LARGEST
    return found


def _same(found, expected):
    xr.testing.assert_allclose(found.compute().drop_attrs(), expected.drop_attrs(), atol=1e-6)
    assert found.attrs == expected.attrs


@pytest.mark.slow
def test_dataset_in_chunks_stays_so(large, tmp_path):
    expected = cube.open_cube(large)
    found = _opened(large.chunk(PART))
    _same(found, expected)
    said = expected.attrs["s1jax_repairs"]
    for line in (
        "VV: 1 values of +-inf", "S2ndvi: 360 values of nodata -9999", "3 pixels x days",
        "S2ndvi: 2 constant plane(s)", "VV: no units declared; by its median it is linear",
    ):  # fmt: skip
        assert line in said
    # chunks of a cube in memory, by any of xarray's ways
    for chunks in (PART, {"y": 16, "time": 3}, 16, "auto"):
        assert cube.open_cube(large, chunks=chunks).VV.chunks is not None


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_files_are_not_read_whole(large, tmp_path, suffix):
    path = tmp_path / f"cube.{suffix}"
    encoding = {
        n: {"chunksizes" if suffix == "nc" else "chunks": (3, 16, 20)} for n in worlds.NAMES
    }
    encoding["S2ndvi"]["_FillValue"] = -9999.0
    stored = large.assign(S2ndvi=large.S2ndvi.drop_attrs()).rename(t="time", x="lon", y="lat")
    if suffix == "nc":
        stored.to_netcdf(path, encoding=encoding)
    else:
        stored.to_zarr(path, encoding=encoding, zarr_format=2, consolidated=True)
    expected = cube.open_cube(path)
    assert "as declared: S2ndvi: 360 values of nodata -9999" in expected.attrs["s1jax_repairs"]
    found = _opened(path, chunks=PART)
    _same(found, expected)
    assert dict(found.chunksizes) == dict(expected.chunk(PART).chunksizes)


def _tifs(folder, ds):
    options = {"height": HEIGHT, "width": WIDTH, "dtype": "float32", "crs": "EPSG:32749"}
    options["transform"] = rasterio.Affine(20, 0, 4.6e5 - 10, 0, -20, 9.2e6 + 10)
    for k in range(DATES):
        with rasterio.open(
            folder / f"period_{k + 1}.tif", "w", "GTiff", count=3, nodata=-9999, **options
        ) as file:
            file.write(np.stack([ds[name].values[k] for name in worlds.NAMES]))
    with rasterio.open(folder / "stack.tif", "w", "GTiff", count=3 * DATES, **options) as file:
        for k in range(DATES):
            for i, name in enumerate(worlds.NAMES):
                file.write(ds[name].values[k], 3 * k + i + 1)
                file.set_band_description(3 * k + i + 1, f"{name}_P{k + 1}")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["folder", "stack"])
def test_geotiffs_are_not_read_whole(large, tmp_path, form):
    ds = (
        large.assign(S2ndvi=large.S2ndvi.where(large.S2ndvi > -1, np.inf))
        if form == "stack"
        else large
    )
    _tifs(tmp_path, ds)
    source = tmp_path if form == "folder" else tmp_path / "stack.tif"
    dates = {"start": "2023-11-01", "step": 12}
    expected = cube.open_cube(source, **dates)
    found = _opened(source, chunks=PART, **dates)
    _same(found, expected)
    # strips where nothing is asked for
    rows = cube.open_cube(source, chunks={}, **dates).VV.chunks
    assert rows == (((1,) * DATES, (64,), (40,)) if form == "folder" else ((DATES,), (64,), (40,)))


@pytest.mark.slow
def test_sensors_in_chunks_are_joined_and_matched_in_chunks(large):
    clean = cube.open_cube(large)
    s1 = clean[["VV", "VH"]].isel(t=[0, 2, 4, 6])
    s2 = clean[["S2ndvi"]].isel(t=[1, 2, 5])
    expected = cube.open_cube([s1, s2])
    _same(_opened([s1.chunk(PART), s2.chunk(PART)]), expected)
    coarse = s2.isel(y=slice(0, 62, 2), x=slice(0, 38, 2))
    expected = cube.open_cube([s1, coarse], match="s2")
    sizes = []
    with dask.config.set(scheduler=_watched(sizes)):
        found = cube.open_cube([s1.chunk(PART), coarse.chunk(PART)], match="s2")
    assert max(sizes) <= HEIGHT
    assert found.VV.chunks is not None
    _same(found, expected)


@pytest.mark.slow
def test_dates_are_tidied_in_chunks(large):
    order = [0, 1, 1, 3, 2, 5, 6, 8, 10, 11]
    ds = large.isel(t=order).chunk(PART)
    found = _opened(ds)
    assert "1 duplicate dates averaged" in found.attrs["s1jax_repairs"]
    assert "3 periods left out of the file" in found.attrs["s1jax_repairs"]
    _same(found, cube.open_cube(large.isel(t=order)))


@pytest.mark.slow
def test_refused_repairs_and_masks_of_chunks(large):
    with pytest.raises(ValueError, match="repairs: got"):
        cube.open_cube(large.chunk(PART), repair=False)
    mask = xr.DataArray(np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 3 > 0, dims=("y", "x"))
    ds = large.assign(mask=mask.astype(int))
    found = _opened(ds.chunk(PART), most=HEIGHT * WIDTH)
    _same(found.drop_vars("mask"), cube.open_cube(ds).drop_vars("mask"))
    np.testing.assert_array_equal(found.mask, mask)
    series, pixel = cube.to_series(found)
    assert series.radar.shape == (pixel.size, DATES, 1, 2)
    assert series.ndvi.shape == (pixel.size, DATES)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tile"), [("a.nc", None), ("a.zarr", None), ("a.zarr", 24)])
def test_chunks_are_written_chunk_by_chunk(large, tmp_path, name, tile):
    # a date left out makes chunks of several sizes
    found = cube.open_cube(large.isel(t=[0, 1, 2, 4, 5, 6, 8, 10, 11]).chunk(PART))
    sizes = []
    with dask.config.set(scheduler=_watched(sizes)):
        cube.write(found, tmp_path / name, tile=tile)
    assert not [size for size in sizes if size and size > 1]
    back = cube.open_cube(tmp_path / name, repair=False)
    for variable in worlds.NAMES:
        np.testing.assert_array_equal(back[variable], found[variable])


def test_nothing_is_computed_but_facts(large):
    found = cube.open_cube(large.chunk(PART))
    with dask.config.set(scheduler=_refuse):
        one = found.VV.isel(t=0)
        with pytest.raises(AssertionError, match="computed"):
            one.compute()


def test_dated_chunks_in_periods_are_read_and_it_is_said(large, caplog):
    with caplog.at_level("INFO", logger="s1jax"):
        found = cube.open_cube(large.chunk(PART), start="2023-11-01", step=24)
    assert found.VV.chunks is None
    assert "periods of 24 days: the cube in chunks is read into memory" in caplog.text
