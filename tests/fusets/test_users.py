"""What users of FuseTS bring and expect: names, dates, periods, orders, kinds of cube."""

import re
import threading
from datetime import timedelta
from functools import partial

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from s1jax.fusets import CropSARFusion
from s1jax.fusets.dataset import dates, parse
from s1jax.fusets.mogpr import MOGPRTransformer, mogpr, mogpr_1D
from s1jax.quality import REGION_SCALE
from tests.worlds.fusets import HYPER, NAMES, cube, same

DAY = np.timedelta64(1, "D")


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"include_uncertainties": True}])
def test_quality_is_there_only_if_asked_for(options):
    ds, _ = cube()
    suffixes = ["FUSED", *(["STD"] if options else [])]
    labels = [f"{name}_{suffix}" for suffix in suffixes for name in NAMES]
    assert list(mogpr(ds, hyper=HYPER, **options).data_vars) == labels
    out = mogpr(ds, hyper=HYPER, include_quality=True, **options)
    assert list(out.data_vars) == [*labels, "QUALITY"]
    assert out["QUALITY"].dtype == np.uint8
    lazy = MOGPRTransformer(hyper=HYPER, include_quality=True, **options).fit_transform(
        ds.chunk(x=2)
    )
    same(lazy, out)


def _irregular(hours=0):
    """A cube of 12 dates, one of them twice, at some hour of the day."""
    ds, _ = cube(2, 2, dates=12)
    day = np.array([0, 3, 5, 5, 11, 15, 24, 25, 38, 40, 41, 57])
    t = np.datetime64("2023-03-01", "ns") + day * DAY + np.timedelta64(hours, "h")
    return ds.assign_coords(t=t)


@pytest.mark.slow
@pytest.mark.parametrize("hours", [0, 10])
@pytest.mark.parametrize("chunks", [None, {"t": 4, "x": 1}])
def test_every_raw_value_comes_back_beside_the_prediction(hours, chunks):
    ds = _irregular(hours)
    shuffled = ds.isel(t=np.random.default_rng(3).permutation(12))
    given_ = shuffled if chunks is None else shuffled.chunk(chunks)
    options = {"prediction_period": "5D", "include_uncertainties": True, "hyper": HYPER}
    out = mogpr(given_, include_raw_inputs=True, **options).compute()
    grid = ds["t"].values[0] + np.arange(0, 57, 5) * DAY
    assert np.all(np.diff(out["t"].values) >= np.timedelta64(0))
    np.testing.assert_array_equal(np.unique(out["t"]), np.union1d(ds["t"], grid))
    own, on_grid = np.isin(out["t"], ds["t"]), np.isin(out["t"], grid)
    assert own.sum() == 12
    alone = mogpr(ds, **options)
    np.testing.assert_array_equal(alone["t"], grid)
    for name in NAMES:
        raw = out[f"{name}_RAW"].values
        # both values of the day that is there twice, in whatever order
        np.testing.assert_array_equal(np.sort(raw[own], 0), np.sort(ds[name].values, 0))
        np.testing.assert_array_equal(raw[own][4:], ds[name].values[4:])
        assert np.isnan(raw[~own]).all()
        for suffix in ("FUSED", "STD"):
            fused = out[f"{name}_{suffix}"]
            assert np.isnan(fused.values[~on_grid]).all()
            at_grid = fused.sel(t=~fused.get_index("t").duplicated()).sel(t=grid)
            np.testing.assert_array_equal(at_grid, alone[f"{name}_{suffix}"])


@pytest.mark.slow
@pytest.mark.parametrize("labels", [[1, 2, 3], [1.5, "VV", ("a", 0)], [np.int64(4), True, None]])
def test_names_need_not_be_text(labels):
    ds, _ = cube()
    named = ds.rename(dict(zip(NAMES, labels, strict=True)))
    plain = mogpr(ds, hyper=HYPER, include_uncertainties=True)
    out = mogpr(named, hyper=HYPER, include_uncertainties=True)
    assert list(out.data_vars) == [f"{n}_{s}" for s in ("FUSED", "STD") for n in labels]
    np.testing.assert_array_equal(out.to_array(), plain.to_array())
    one = mogpr(named, variables=[labels[0]], optimize=False)
    assert list(one.data_vars) == [f"{labels[0]}_FUSED"]
    fitted = MOGPRTransformer(hyper=HYPER).fit(named)
    assert fitted.names == tuple(labels)
    with pytest.raises(ValueError, match="variables: got 'NDVI', expected some of"):
        mogpr(named, variables=["NDVI"])


def test_results_of_one_name_are_refused():
    ds, _ = cube()
    twice = ds.rename({"VV": 1, "VH": "1"})
    with pytest.raises(ValueError, match="1_FUSED: got two variables of this name, expected one"):
        mogpr(twice, hyper=HYPER)
    beside = ds.assign(VH_FUSED=("y", np.zeros(3)))
    with pytest.raises(ValueError, match="VH_FUSED: got two variables"):
        mogpr(beside, hyper=HYPER)


@pytest.mark.slow
def test_variables_have_the_order_of_the_dataset():
    ds, _ = cube()
    chosen = mogpr(ds, variables=["S2ndvi", "VV"], latents=1)
    assert list(chosen.data_vars) == ["VV_FUSED", "S2ndvi_FUSED"]
    same(chosen, mogpr(ds[["VV", "S2ndvi"]], latents=1))
    # hyperparameters have an order, and are not moved silently
    with pytest.raises(ValueError, match=r"\('VH', 'VV', 'S2ndvi'\) beside hyper, expected .*'VV'"):
        mogpr(ds, variables=["VH", "VV", "S2ndvi"], hyper=HYPER)
    assert list(mogpr(ds, "VH", optimize=False).data_vars) == ["VH_FUSED"]


@pytest.mark.slow
def test_what_has_no_time_passes_by():
    ds, _ = cube()
    more = ds.assign(
        elevation=(("y", "x"), np.arange(12.0).reshape(3, 4), {"units": "m"}),
        y_bnds=(("y", "nv"), np.zeros((3, 2))),
        crs=((), b"", {"crs_wkt": "x"}),
        legend=("class", np.array(["rice", "water"])),
    ).assign_coords({"class": [7, 9]})
    more["elevation"].encoding["zlib"] = True
    out = mogpr(more, hyper=HYPER, prediction_period="P10D")
    assert list(out.data_vars) == [
        *(f"{name}_FUSED" for name in NAMES), "elevation", "y_bnds", "crs", "legend",
    ]  # fmt: skip
    for name in ("elevation", "y_bnds", "crs", "legend", "class"):
        xr.testing.assert_identical(out[name].variable, more[name].variable)
    assert out["elevation"].encoding == {"zlib": True}
    same(out[[f"{name}_FUSED" for name in NAMES]].drop_vars("class", errors="ignore"),
         mogpr(ds, hyper=HYPER, prediction_period="P10D"))  # fmt: skip
    # who names variables gets those, and the grid they lie on
    assert list(mogpr(more, ["VV"], optimize=False).data_vars) == ["VV_FUSED", "crs"]


def test_how_a_variable_is_compressed_stays_and_how_it_was_packed_goes(tmp_path):
    ds, _ = cube()
    ds["VV"].encoding = {"zlib": True, "complevel": 4, "dtype": "int16", "scale_factor": 0.01}
    ds.encoding = {"unlimited_dims": {"t"}, "source": "elsewhere.nc"}
    out = mogpr(ds, hyper=HYPER)
    assert out["VV_FUSED"].encoding == {"zlib": True, "complevel": 4}
    assert out.encoding == {"unlimited_dims": {"t"}}
    out.to_netcdf(tmp_path / "fused.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "fused.nc", engine="h5netcdf") as read:
        np.testing.assert_array_equal(read["VV_FUSED"], out["VV_FUSED"])


@pytest.mark.parametrize(
    ("made", "instead"),
    [
        (lambda ds: ds.to_array(dim="bands"), r"DataArray.*pass array.to_dataset\(dim='bands'\)"),
        (lambda ds: ds.to_array("band"), r"to_dataset\(dim='band'\)"),
        (lambda ds: ds["VV"], r"to_dataset\(name='NDVI'\)"),
        (lambda ds: ds["VV"].values, r"numpy.ndarray, expected xarray.Dataset: pass its variables"),
        (lambda ds: "cube.nc", r"str, expected xarray.Dataset: .*open_dataset\(path\)"),
    ],
)
@pytest.mark.parametrize(
    "call",
    [
        mogpr,
        MOGPRTransformer().fit,
        MOGPRTransformer().fit_transform,
        MOGPRTransformer(compat="fusets").transform,
        CropSARFusion().fit,
    ],
)
def test_what_is_no_dataset_is_told_how_to_be_one(call, made, instead):
    with pytest.raises(TypeError, match=instead):
        call(made(cube()[0]))


@pytest.mark.parametrize(
    ("period", "days"),
    [
        *((p, 5.0) for p in ("5d", "5D", "5 days", "5 day", "120h", "120 hours", "PT120H", "p5d")),
        *((p, 1.5) for p in ("1.5D", "1.5 days", "36h", "36:00:00", "1d12h", "1 days 12:00:00")),
        ("1 day, 12:00:00", 1.5),
        (" 2 weeks ", 14.0),
        ("2880min", 2.0),
        (str(pd.Timedelta("5D")), 5.0),
        (str(timedelta(5)), 5.0),
        (timedelta(days=5), 5.0),
        (pd.Timedelta("36h"), 1.5),
        (np.timedelta64(5, "D"), 5.0),
        (np.timedelta64(432_000_000, "ms"), 5.0),
        (np.array([5], "timedelta64[2D]")[0], 10.0),
        (pd.offsets.Day(5), 5.0),
        (pd.DateOffset(days=5), 5.0),
    ],
)
def test_periods_of_a_length(period, days):
    start, end = np.datetime64("2024-02-20", "ns"), np.datetime64("2024-04-01", "ns")
    length = np.timedelta64(round(days * 86_400), "s")
    np.testing.assert_array_equal(dates(start, end, period), np.arange(start, end, length))


@pytest.mark.parametrize(
    ("period", "second", "third"),
    [
        ("1 month", "2024-02-29", "2024-03-31"),
        ("1M", "2024-02-29", "2024-03-31"),
        ("p1m", "2024-02-29", "2024-03-31"),
        (np.timedelta64(1, "M"), "2024-02-29", "2024-03-31"),
        (pd.DateOffset(months=1), "2024-02-29", "2024-03-31"),
        (pd.offsets.MonthBegin(), "2024-02-01", "2024-03-01"),
        ("1 year", "2025-01-31", "2026-01-31"),
        (np.timedelta64(1, "Y"), "2025-01-31", "2026-01-31"),
    ],
)
def test_periods_of_the_calendar(period, second, third):
    found = dates(np.datetime64("2024-01-31"), np.datetime64("2026-12-31"), period)
    np.testing.assert_array_equal(found[1:3], np.array([second, third], "datetime64[ns]"))


@pytest.mark.parametrize(
    "period",
    [
        "-5D", "-P5D", "5 parsecs", "D", "days", "NaT", "nan", "1e5D", "23h", "0.5D", "1m", "5T",
        "0 days", "1.5M", "5 days 1 month", "monthly", "MS", "P5D\n5", "9" * 30 + "D", "P99999Y",
        "100000 years", timedelta(0), timedelta(hours=23), -timedelta(5), np.timedelta64(5),
        np.timedelta64("NaT"), np.timedelta64(-1, "M"), pd.DateOffset(days=-5), pd.offsets.Hour(3),
    ],
)  # fmt: skip
def test_what_is_no_period_is_named(period):
    told = re.escape(f"prediction_period: got {period!r}, expected a period of a day or more")
    with pytest.raises(ValueError, match=told):
        parse(period)
    with pytest.raises(ValueError, match="prediction_period: got"):
        MOGPRTransformer(prediction_period=period, hyper=HYPER).fit(cube()[0])


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="0123456789PTDdMmYhs .:,ay-", max_size=12))
def test_any_text_is_a_period_of_a_day_or_more_or_is_named(text):
    start = pd.Timestamp("2001-01-01")
    try:
        step, refusal = (start + parse(text)) - start, ""
    except ValueError as refused:
        step, refusal = None, str(refused)
    if step is None:
        assert f"prediction_period: got {text!r}, expected a period" in refusal
    else:
        assert step >= pd.Timedelta(days=1)


def test_a_prediction_has_a_bounded_number_of_dates():
    start, end = np.datetime64("1800-01-01", "ns"), np.datetime64("2024-01-01", "ns")
    with pytest.raises(ValueError, match=r"'P1D' from 1800-01-01 to 2024-01-01, expected 20000"):
        dates(start, end, "P1D")
    assert dates(start, end, "200 years").size == 2
    assert dates(end, end, "P1D").size == 1


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.0, 0.5, -13.0, 1e6])
@pytest.mark.parametrize("count", [1, 3])
def test_a_constant_band_stays_at_its_value(level, count):
    ds, _ = cube(dtype=float)
    band = xr.full_like(ds["S2ndvi"], np.nan)
    band[4 : 4 + count] = level
    for pixels in (ds.assign(S2ndvi=band), ds.assign(S2ndvi=band).isel(y=[1], x=[2])):
        # these hyperparameters tie NDVI to a radar that varies
        out = mogpr(pixels, hyper=HYPER, include_uncertainties=True, include_quality=True)
        np.testing.assert_array_equal(out["S2ndvi_FUSED"], level)
        # of how far it may lie from there nothing is known
        assert out["S2ndvi_STD"].min() > 0.3
        assert (out["QUALITY"] & REGION_SCALE == REGION_SCALE).all()
    data = [pixels[name].values[:, 0, 0] for name in NAMES]
    days = 12.0 * np.arange(16)
    mean, *_ = mogpr_1D(data, [days] * 3, 0, np.arange(0.0, 181, 5), hyper=HYPER)
    np.testing.assert_array_equal(mean[2], level)


def test_few_values_of_a_band_without_a_scale_bound_its_estimate():
    ds, _ = cube(5, 5, dtype=float)
    ds["S2ndvi"][:] = 0.5
    ds["S2ndvi"][:, 2, 2] = np.nan
    ds["S2ndvi"][[3, 9], 2, 2] = [0.4, 0.6]
    fused = mogpr(ds, hyper=HYPER)["S2ndvi_FUSED"].values
    assert fused[:, 2, 2].min() >= 0.4
    assert fused[:, 2, 2].max() <= 0.6
    fused[:, 2, 2] = 0.5
    np.testing.assert_array_equal(fused, 0.5)


@pytest.mark.parametrize(
    ("estimator", "changed"),
    [
        (MOGPRTransformer(hyper=HYPER, prediction_period="5D"), {"solver": "dense", "seed": 3}),
        (CropSARFusion(window_size=3, seed=5), {"pretrained": False, "model_type": "GAN"}),
    ],
)
def test_the_contract_of_scikit_learn(estimator, changed):
    own = estimator.get_params()
    assert own == estimator.get_params(deep=False)
    assert {"model", "names", "said"}.isdisjoint(own)
    copy = clone(estimator)
    assert type(copy) is type(estimator)
    assert copy.get_params().keys() == own.keys()
    assert copy.set_params(**changed) is copy
    assert copy.get_params() | own == own
    assert {name: copy.get_params()[name] for name in changed} == changed
    assert copy.set_params() is copy
    for bad in ({"lmbd": 1}, {"hyper__noise": 1}, {"model": None}):
        with pytest.raises(ValueError, match=f"got {next(iter(bad))}, expected some of .*, seed"):
            copy.set_params(seed=99, **bad)
        assert copy.seed != 99


@pytest.mark.slow
def test_a_clone_fits_as_its_original_and_is_not_fitted():
    ds, _ = cube(2, 2)
    fitted = MOGPRTransformer(latents=1, optimize=False).fit(ds)
    copy = clone(fitted)
    assert copy.model is None
    same(copy.fit(ds).transform(ds), fitted.transform(ds))
    longer = fitted.set_params(prediction_period="P30D").transform(ds)
    assert longer.sizes["t"] == 7


@pytest.mark.slow
def test_fit_and_transform_are_named_and_dated_as_in_fusets():
    ds, _ = cube(1, 2, dtype=float)
    ds = ds[["S2ndvi", "VH"]].assign_coords(t=ds["t"] + np.timedelta64(10, "h"))
    fitted = MOGPRTransformer(compat="fusets").fit(ds)
    out = fitted.transform(ds)
    assert list(out.data_vars) == ["S2ndvi", "VH"]
    first = np.datetime64("2023-11-07", "ns")
    np.testing.assert_array_equal(out["t"], first + 5 * np.arange(36) * DAY)
    assert set(out.coords) == {"t", "y", "x"}
    # the numbers are those of a prediction on these dates
    day = (ds["t"].values - first) / DAY
    at = 5.0 * np.arange(36)
    data = [ds[name].values[:, 0, 1] for name in ds]
    mean, *_ = mogpr_1D(data, [np.floor(day)] * 2, 0, at, compat="fusets")
    for found, name in zip(mean, ds, strict=True):
        np.testing.assert_allclose(out[name][:, 0, 1], found, atol=1e-9)
    # as FuseTS' fit_transform is its mogpr
    assert list(fitted.fit_transform(ds).data_vars) == ["S2ndvi_FUSED", "VH_FUSED"]
    assert list(MOGPRTransformer(compat="fusets").transform(ds).data_vars) == ["S2ndvi", "VH"]
    with pytest.raises(ValueError, match=r"fitted on \('S2ndvi', 'VH'\)"):
        fitted.transform(ds[["VH"]])
    with pytest.raises(ValueError, match=r"transform: got dates 2023-11-07 to 2023-11-07"):
        fitted.transform(ds.isel(t=[0]))
    for option in ({"include_uncertainties": True}, {"prediction_period": "P5D"}):
        with pytest.raises(ValueError, match=r"transform: got prediction_period, .*fit_transform"):
            MOGPRTransformer(compat="fusets", **option).fit(ds).transform(ds)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "limits"),
    [
        # sorted over four starts, in units of z
        ("mekong_000_2out", [1e-3, 1e-3, 1e-3, 1e-3]),
        ("real_BIDS_workshop_2out_asc", [1e-6, 1e-6, 1e-3, 0.6]),
        ("mekong_000_3out", [5e-3, 5e-3, 0.2, 0.2]),
    ],
)
def test_compat_ends_as_near_to_stored_runs_as_its_docstring_says(shared, name, limits):
    case = np.load(shared / "reference" / f"{name}.npz", allow_pickle=False)
    days, at = (case[key] + case["t0_ordinal"] for key in ("t_days", "t_out_days"))
    off = []
    for k, seed in enumerate(np.flatnonzero(case["ship_qflag"])[:4]):
        data = list(case["y"])
        mean, *_ = mogpr_1D(data, [days] * len(data), 0, at, compat="fusets", seed=int(seed))
        off.append(np.abs((mean - case["ship_mean_phys"][k]) / case["norm_std"][:, None]).max())
    assert (np.sort(off) < limits).all(), off


@pytest.mark.slow
@pytest.mark.parametrize("name", ["t", "time", "date"])
@pytest.mark.parametrize("dims", [("t", "y", "x"), ("x", "t", "y"), ("y", "x", "t")])
@pytest.mark.parametrize("chunks", [None, {"t": 5}])
def test_time_of_any_name_and_place(name, dims, chunks):
    ds, _ = cube()
    expected = mogpr(ds, hyper=HYPER, prediction_period="P7D").transpose(*dims)
    moved = ds.transpose(*dims).rename({} if name == "t" else {"t": name})
    out = mogpr(moved if chunks is None else moved.chunk({name: 5}), "VV VH S2ndvi".split(), name,
                "P7D", hyper=HYPER)  # fmt: skip
    assert out["VV_FUSED"].dims == tuple(name if dim == "t" else dim for dim in dims)
    same(out.rename({} if name == "t" else {name: "t"}), expected)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("u1", "f4"),
        ("i2", "f4"),
        ("u2", "f4"),
        ("i4", "f8"),
        ("i8", "f8"),
        ("f4", "f4"),
        ("f8", "f8"),
    ],
)
def test_numbers_keep_their_digits(dtype, expected):
    ds, _ = cube(2, 2)
    top = 200 if dtype == "u1" else 2**24 + 1 if dtype in ("i4", "i8", "f8") else 30_001
    value = (top - np.arange(16 * 4).reshape(16, 2, 2)).astype(dtype)
    out = mogpr(ds.assign(VV=(("t", "y", "x"), value)), hyper=HYPER, include_raw_inputs=True)
    assert {out[f"VV_{suffix}"].dtype for suffix in ("FUSED", "RAW")} == {np.dtype(expected)}
    np.testing.assert_array_equal(out["VV_RAW"], value)
    assert np.abs(out["VV_FUSED"] - value).max() < 64


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "sizes"),
    [
        (lambda ds: ds.isel(y=slice(0)), {"t": 16, "y": 0, "x": 4}),
        (lambda ds: ds.isel(y=slice(0)).chunk(x=2), {"t": 16, "y": 0, "x": 4}),
        (lambda ds: ds.isel(t=[3]), {"t": 1, "y": 3, "x": 4}),
        (lambda ds: ds.isel(t=[3, 3]), {"t": 2, "y": 3, "x": 4}),
        (lambda ds: ds.isel(t=slice(None, None, -1)), {"t": 16, "y": 3, "x": 4}),
        (lambda ds: ds.isel(y=0, x=0), {"t": 16}),
        (lambda ds: ds.rename(y="lat", x="lon"), {"t": 16, "lat": 3, "lon": 4}),
        (lambda ds: ds.stack(pixel=("y", "x")), {"t": 16, "pixel": 12}),
        (lambda ds: ds.rename(y="query", x="pixel"), {"t": 16, "query": 3, "pixel": 4}),
        (lambda ds: ds.drop_vars(["y", "x"]), {"t": 16, "y": 3, "x": 4}),
        (lambda ds: ds.assign(VH=ds["VH"] * np.nan), {"t": 16, "y": 3, "x": 4}),
        (lambda ds: ds.assign_coords(t=ds["t"].astype("M8[s]")), {"t": 16, "y": 3, "x": 4}),
        (lambda ds: ds.expand_dims(tile=[7]), {"t": 16, "y": 3, "x": 4, "tile": 1}),
    ],
)
def test_cubes_of_any_shape(changed, sizes):
    ds = changed(cube()[0])
    kept = ds.copy(deep=True)
    out = mogpr(ds, latents=1, optimize=False, include_uncertainties=True, include_quality=True)
    xr.testing.assert_identical(ds, kept)
    assert dict(out.sizes) == sizes
    assert out["t"].dtype == ds["t"].dtype
    for name in ds.coords:
        xr.testing.assert_identical(out[name], ds[name])
    for name in NAMES:
        seen = ds[name].notnull().any("t")
        assert out[f"{name}_FUSED"].dims == ds[name].dims
        assert (np.isfinite(out[f"{name}_FUSED"]) == seen).all()
        assert (out[f"{name}_STD"] > 0).where(seen, True).all()
    longer = mogpr(ds, latents=1, optimize=False, prediction_period="36h", include_raw_inputs=True)
    assert longer["t"].dtype == ds["t"].dtype
    assert int(longer["VV_RAW"].count()) == int(ds["VV"].count())


@pytest.mark.slow
def test_lazy_cubes_from_several_threads_end_and_are_right():
    ds, _ = cube(6, 6)
    expected = mogpr(ds, hyper=HYPER, solver="dense")
    lazy = mogpr(ds.chunk(y=2, x=2), hyper=HYPER, solver="dense")
    results = [None] * 3

    def _compute(k):
        with dask.config.set(scheduler="threads", num_workers=4):
            results[k] = lazy.compute()

    threads = [threading.Thread(target=partial(_compute, k), daemon=True) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive()
    for result in results:
        same(result, expected)


@pytest.mark.slow
def test_one_pixel_takes_lists_and_names_bad_days():
    days = list(12.0 * np.arange(8))
    data = [list(row) for row in np.random.default_rng(2).normal(size=(3, 8))]
    arrays = [np.array(row) for row in data], [np.array(days)] * 3
    mean, *_ = mogpr_1D(data, [days] * 3, 0, [5.0, 7.0], hyper=HYPER)
    np.testing.assert_array_equal(mean, mogpr_1D(*arrays, 0, np.array([5.0, 7.0]), hyper=HYPER)[0])
    for at, own in (([], days), ([np.nan], days), ([1.0], [*days[:-1], np.inf])):
        with pytest.raises(ValueError, match=r"time_in, output_timevec: got .* expected one or"):
            mogpr_1D(data, [days, own, days], 0, at, hyper=HYPER)
