"""`CropSARFusion`: the call that is passed around, what it says of itself, and what must stay."""

import logging

import numpy as np
import pytest
import xarray as xr

from s1jax import cube, networks
from s1jax.estimators import fields
from s1jax.fusets import CropSARFusion, cropsar
from tests.worlds.patch import DATES, SIDE, SMALL, scene

pytestmark = pytest.mark.slow


def _cube():
    """VV, VH, S2ndvi on (t, y, x) with clouds and one empty pixel, and the true NDVI."""
    vv, vh, truth, label = scene()
    arrays = {"VV": vv, "VH": vh, "S2ndvi": np.where(label, truth, np.nan)}
    units = {"VV": "dB", "VH": "dB", "S2ndvi": "1"}
    t = np.datetime64("2023-11-07", "ns") + 12 * np.arange(DATES) * np.timedelta64(1, "D")
    coords = {"t": t, "y": -7.0 - 5e-4 * np.arange(SIDE), "x": 110.0 + 5e-4 * np.arange(SIDE)}
    ds = xr.Dataset(
        {
            n: (("t", "y", "x"), a.astype(np.float32), {"units": units[n]})
            for n, a in arrays.items()
        },
        coords,
        {"title": "as it was"},
    )
    for name in ds.data_vars:
        ds[name].values[:, 5, 6] = np.nan
    return ds, truth


def test_nothing_of_the_callers_is_loaded_in_place():
    pytest.importorskip("dask")
    whole, _ = _cube()
    lazy = whole.assign(other=whole["VV"]).chunk({"y": 4})
    out = CropSARFusion(pretrained=True).fit_transform(lazy)
    assert all(lazy[name].chunks is not None for name in lazy.data_vars)
    assert out["S2ndvi_FUSED"].shape == whole["S2ndvi"].shape


@pytest.fixture(scope="module")
def trained():
    ds, truth = _cube()
    fusion = CropSARFusion("AttentionUNet", 5, pretrained=False, config=SMALL)
    return fusion, ds, truth, fusion.fit_transform(ds)


def test_the_call_of_the_documents_fills_by_the_network_that_exists_and_says_so(caplog):
    combined_dataset, _ = _cube()
    with caplog.at_level(logging.WARNING, logger="s1jax"):
        out = CropSARFusion(
            model_type="AttentionUNet", window_size=5, pretrained=True
        ).fit_transform(combined_dataset)
    assert "no patch weights exist" in caplog.text
    assert "window_size=5 have no effect" in out.attrs["s1jax_cropsar"]
    assert list(out.data_vars) == ["S2ndvi_FUSED", "S2ndvi_STD"]
    series, pixel = cube.to_series(
        cube.despeckle(cube.align_cube(cube.open_cube(combined_dataset)))
    )
    told = networks.predict(networks.adapt(networks.pretrained(), series), series, series.day)
    flat = out["S2ndvi_FUSED"].values.reshape(DATES, -1)
    np.testing.assert_allclose(flat[:, pixel].T, told.mean, atol=1e-6)
    std = np.hypot(told.std, np.asarray(told.noise)[:, None])
    np.testing.assert_allclose(out["S2ndvi_STD"].values.reshape(DATES, -1)[:, pixel].T, std)
    assert np.isnan(flat[:, 5 * SIDE + 6]).all()


def test_trained_on_the_dataset_it_fills_its_gaps(trained):
    _, ds, truth, out = trained
    gap = np.isnan(ds["S2ndvi"].values) & np.isfinite(ds["VV"].values)
    error = (out["S2ndvi_FUSED"].values - truth)[gap]
    assert 1 - (error**2).mean() / truth[gap].var() > 0.5
    assert (np.abs(error) < 1.645 * out["S2ndvi_STD"].values[gap]).mean() > 0.8
    said = out.attrs["s1jax_cropsar"]
    assert said.startswith("pretrained=False: AttentionUNet with window_size=5, trained on this")
    assert "of 16 blocks, 6 pixels a side" in said


def test_coordinates_attributes_and_dtype_stay(trained):
    _, ds, _, out = trained
    for name in ds.coords:
        xr.testing.assert_identical(out[name], ds[name])
    assert out.attrs["title"] == "as it was"
    for name in ("S2ndvi_FUSED", "S2ndvi_STD"):
        assert out[name].dims == ("t", "y", "x")
        assert out[name].dtype == np.float32
        assert out[name].attrs["units"] == "1"
        missing = np.isnan(out[name].values)
        assert missing[:, 5, 6].all()
        assert missing.sum() == DATES


def test_other_names_orders_and_dates_are_the_same_pixels(trained):
    fusion, ds, _, out = trained
    turned = ds.transpose("x", "t", "y").rename(t="time", y="lat", x="lon")
    # a Dataset in degrees that says so gets its CRS into the attributes: values are the same
    told = fusion.transform(turned.isel(time=[3, 0, 1, 2, *range(4, DATES)]))
    assert told["S2ndvi_FUSED"].dims == ("lon", "time", "lat")
    again = told["S2ndvi_FUSED"].transpose("time", "lat", "lon").sortby("time")
    np.testing.assert_allclose(again.values, out["S2ndvi_FUSED"].values, atol=1e-6)


@pytest.mark.parametrize("window_size", [4, 1, 0, -5])
def test_windows_that_have_no_middle_are_refused(window_size):
    message = f"window_size: got {window_size}, expected an odd number of dates >= 3, or None"
    with pytest.raises(ValueError, match=message):
        CropSARFusion(window_size=window_size).fit(_cube()[0])


def test_fields_are_ten_pixels_a_side():
    series, _, shape = cropsar._read(CropSARFusion()._opened(_cube()[0]))
    assert shape == (24, 24)
    assert fields(series).max() + 1 == 9


def test_what_cannot_be_is_told_by_name():
    ds, _ = _cube()
    with pytest.raises(ValueError, match="model_type: got 'UNet', expected 'AttentionUNet' or"):
        CropSARFusion(model_type="UNet").fit(ds)
    with pytest.raises(ValueError, match="transform: got no fit, expected fit before"):
        CropSARFusion().transform(ds)
    with pytest.raises(TypeError, match=r"unknown keyword\(s\) window; valid are model_type, win"):
        CropSARFusion(window=5)
    with pytest.raises(ValueError, match="variables: got 'S2ndvi', expected some of"):
        CropSARFusion().fit(ds.drop_vars("S2ndvi"))
    with pytest.raises(ValueError, match=r"got dimensions \('t', 'y'\), expected time, y and x"):
        CropSARFusion().fit(ds.isel(x=0, drop=True))
    own = CropSARFusion(pretrained=False, config=SMALL)
    with pytest.raises(ValueError, match="got 24 x 1 pixels, expected a map: a single row or"):
        own.fit(ds.isel(x=[0]))
    few = ds.assign(S2ndvi=ds["S2ndvi"].where((ds["y"] > -7.001) & (ds["x"] < 110.001)))
    with pytest.raises(ValueError, match="S2ndvi: got 1 blocks of 6 x 6 pixels with any"):
        own.fit(few)
