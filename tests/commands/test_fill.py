"""s1jax fill: what it writes is the posterior of every pixel, whatever the tiles."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from s1jax import commands, cube, gp, mogpr, regions
from s1jax.commands import fill, region
from s1jax.commands.region import SIZES
from s1jax.types import concatenate

ROOT = Path(__file__).parents[2]
HEIGHT, WIDTH, DATES = 36, 44, 25
HYPER = gp.Hyper(
    np.array([70.0]), np.array([[0.6, 0.7, 0.9]]), np.full((1, 3), 0.1), np.array([0.5, 0.4, 0.1])
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A raw cube, hyperparameters in a file, and the region they were first used on."""
    folder = tmp_path_factory.mktemp("batch")
    rng = np.random.default_rng(0)
    day = 12.0 * np.arange(DATES)[:, None, None]
    ndvi = 0.5 + 0.25 * np.sin(day / 25 + rng.uniform(0, 6, (HEIGHT, WIDTH)))
    radar = [
        level + gain * ndvi + rng.normal(0, 1, ndvi.shape) for level, gain in ((-13, 4), (-20, 6))
    ]
    ndvi = np.where(rng.random(ndvi.shape) < 0.5, ndvi + rng.normal(0, 0.03, ndvi.shape), np.nan)
    dims = ("t", "y", "x")
    raw = xr.Dataset(
        {
            "VV": (dims, radar[0].astype(np.float32), {"units": "dB"}),
            "VH": (dims, radar[1].astype(np.float32), {"units": "dB"}),
            "S2ndvi": (dims, ndvi.astype(np.float32)),
            "mask": (dims[1:], np.hypot(*np.mgrid[-18:18, -22:22]) < 21),
        },
        coords={
            "t": np.datetime64("2024-01-07", "ns") + np.arange(DATES) * np.timedelta64(12, "D"),
            "y": 9_230_000.0 - 50 * np.arange(HEIGHT),
            "x": 460_000.0 + 50 * np.arange(WIDTH),
        },
        attrs={"crs": "EPSG:32749"},
    )
    cube.write(raw, folder / "raw.nc")
    _, series, _ = _whole(folder)
    config = mogpr.MogprConfig(latents=1, inputs="raw", mean="zero")
    params, _ = mogpr.fit_region(series, config, hyper=HYPER)
    mogpr.save(params, folder / "fitted.npz")
    done = region.main(_given(folder, "first"))
    assert done.failed == ()
    assert done.pixels == int(raw.mask.sum())
    return folder


def _job(folder, source, name, **options):
    return fill.Job(folder / source, folder / f"{name}.zarr", **{"tile": 20, **options})


def _given(folder, name, source="raw.nc", **options):
    return _job(folder, source, name, **{"hyper": str(folder / "fitted.npz"), **options})


def _opened(folder, name):
    with xr.open_dataset(folder / f"{name}.zarr", engine="zarr", decode_coords="all") as store:
        return store.load()


def _whole(folder):
    ds = cube.align_cube(cube.open_cube(folder / "raw.nc"))
    return ds, *cube.to_series(ds)


def _at(stored, name, pixel):
    value = stored[name].transpose("y", "x", ...).values
    return value.reshape(-1, *value.shape[2:])[pixel]


def test_every_pixel_is_the_posterior_of_the_fit(folder, capsys):
    ds, series, pixel = _whole(folder)
    params = mogpr.load(folder / "fitted.npz")
    expected = mogpr.posterior(params, series, series.day, chunk=400)
    stored = _opened(folder, "first")
    for name, leaf in zip(("FUSED", "STD", "NOISE", "QUALITY"), expected, strict=True):
        np.testing.assert_array_equal(_at(stored, f"S2ndvi_{name}", pixel), leaf, name)
    np.testing.assert_array_equal(stored.S2ndvi, ds.S2ndvi)
    for name in ("t", "y", "x"):
        np.testing.assert_array_equal(stored[name], ds[name])
    assert cube.crs(stored) == cube.crs(ds)
    outside = ~ds.mask.values
    assert outside.any()
    assert np.isnan(stored.S2ndvi_FUSED.values[:, outside]).all()
    assert (stored.S2ndvi_QUALITY.values[outside] == 128).all()
    assert stored.S2ndvi_SOURCE.values[:, ~outside].min() >= 1
    assert (
        "1 latents: raw radar, zero mean, hyperparameters of the region"
        in (stored.attrs["s1jax_method"])
    )
    seen = np.isfinite(ds.S2ndvi.values) & ds.mask.values
    assert stored.S2ndvi.encoding["chunks"] == (DATES, 20, 20)
    assert np.corrcoef(stored.S2ndvi.values[seen], stored.S2ndvi_FUSED.values[seen])[0, 1] > 0.9


@pytest.mark.slow
def test_other_days_from_a_file_of_hyperparameters(folder, capsys):
    region.main(_given(folder, "ten", at="P10D"))
    stored = _opened(folder, "ten")
    _, series, pixel = _whole(folder)
    day = cube.to_days(stored.t)
    np.testing.assert_allclose(np.diff(day), 10.0)
    assert day[0] == series.day[0]
    assert series.day[-1] - 10 < day[-1] <= series.day[-1]
    params = mogpr.load(folder / "fitted.npz")
    expected = mogpr.posterior(params, series, day, chunk=400)
    np.testing.assert_allclose(_at(stored, "S2ndvi_FUSED", pixel), expected.mean, atol=1e-5)
    np.testing.assert_allclose(_at(stored, "S2ndvi_STD", pixel), expected.std, atol=1e-5)
    assert "S2ndvi" not in stored
    output = capsys.readouterr().out
    assert f"{pixel.size:,} px in" in output
    assert "peak memory" in output


def test_months_are_calendar_months():
    t = np.array(["2023-01-31T12", "2023-05-02"], "datetime64[ns]")
    days = cube.from_days(region.regular_days(t, "P1M")).astype("datetime64[h]").astype(str)
    assert days.tolist() == ["2023-01-31T12", "2023-02-28T12", "2023-03-31T12", "2023-04-30T12"]


def test_aligned_store_is_read_tile_by_tile(folder, capsys):
    ds, _, _ = _whole(folder)
    cube.write(ds, folder / "aligned.zarr", tile=20)
    job = _given(folder, "lazy", "aligned.zarr", tile=20)
    lazy = region._open(job)
    assert not lazy.VV.variable._in_memory
    region.main(job)
    assert "read tile by tile" in capsys.readouterr().out
    first, stored = _opened(folder, "first"), _opened(folder, "lazy")
    xr.testing.assert_equal(first, stored)


@pytest.mark.slow
def test_learns_from_filtered_radar_of_a_sample(folder, capsys):
    kept = folder / "own.npz"
    options = {
        "hyper": "region",
        "mean": "regional",
        "inputs": "smooth",
        "latents": 1,
        "sample": 16,
    }
    region.main(_job(folder, "raw.nc", "own", save_hyper=kept, **options))
    output = capsys.readouterr().out
    assert ": smooth, regional mean, region\n" in output
    assert "speckle-filtered radar, regional mean, hyperparameters of the region" in output
    # what was saved says it all, but that it is of this region
    with pytest.raises(ValueError, match="with the mean curve of the region and year"):
        region.main(_given(folder, "again", hyper=str(kept)))
    region.main(_given(folder, "again", hyper=str(kept), mean="regional"))
    own = _opened(folder, "own")
    xr.testing.assert_equal(own, _opened(folder, "again"))
    ds, _, _ = _whole(folder)
    series, pixel = cube.to_series(cube.despeckle(ds, sizes=SIZES))
    expected = mogpr.posterior(mogpr.load(kept), series, series.day, chunk=400)
    # the filter rounds by the shape of a tile
    np.testing.assert_allclose(_at(own, "S2ndvi_FUSED", pixel), expected.mean, atol=1e-4)
    # the planted curves are stored, and the band holds as on the validation pixels
    seen = np.isfinite(ds.S2ndvi.values) & ds.mask.values
    error = (own.S2ndvi_FUSED.values - ds.S2ndvi.values)[seen]
    assert np.sqrt(np.mean(error**2)) < 0.1


def test_failed_tile_is_told_and_the_others_are_as_before(folder, monkeypatch, capsys):
    real, calls = mogpr.posterior, []

    def _falls(params, series, days, **options):
        calls.append(len(series.ndvi))
        if len(calls) == 2:
            raise FloatingPointError("planted")
        return real(params, series, days, **options)

    monkeypatch.setattr(mogpr, "posterior", _falls)
    arguments = [str(folder / "raw.nc"), str(folder / "failed.zarr"), "--tile", "20"]
    assert fill.run([*arguments, "--hyper", str(folder / "fitted.npz")]) == 1
    message = "tile of rows 0:20, columns 20:40: FloatingPointError: planted"
    assert f"1 tile(s) failed, all others are written:\n{message}\n" in capsys.readouterr().err
    assert len(calls) == 6
    stored, first = _opened(folder, "failed"), _opened(folder, "first")
    assert np.atleast_1d(stored.attrs["failed_tiles"]).tolist() == [message]
    lost = {"y": slice(0, 20), "x": slice(20, 40)}
    assert np.isnan(stored.S2ndvi_FUSED.isel(lost)).all()
    assert (stored.S2ndvi_QUALITY.isel(lost) == 128).all()
    kept = np.ones(stored.S2ndvi_QUALITY.shape, bool)
    kept[0:20, 20:40] = False
    for name in first.data_vars:
        np.testing.assert_array_equal(stored[name].values[..., kept], first[name].values[..., kept])


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("map.nc", {}, r"output: got .*map\.nc, expected a \.zarr store"),
        ("first.zarr", {}, r"output: .*first.zarr exists; expected a new one, or --overwrite"),
        ("new.zarr", {"hyper": "nowhere.npz"}, r"hyper: got 'nowhere.npz', expected auto, region"),
        (
            "new.zarr",
            {"at": "5"},
            r"at: got '5', expected the days of the input, or a period such as P5D",
        ),
        ("new.zarr", {"at": "P0D"}, r"at: got 'P0D', expected the days of the input, or a period"),
        ("new.zarr", {"tile": 0}, r"tile: got 0, expected 1"),
        ("new.zarr", {"save_hyper": Path("a.json")}, r"save_hyper: got a.json, expected a .npz"),
        ("new.zarr", {"mean": "zero"}, r"mean: got them with .*, which has its own"),
    ],
)
def test_errors_before_anything_is_read(folder, monkeypatch, name, options, words):
    monkeypatch.setattr(region, "_open", lambda _: pytest.fail("read"))
    job = dataclasses.replace(_given(folder, "any", **options), output=folder / name)
    with pytest.raises(ValueError, match=words):
        region.main(job)


def test_input_is_never_overwritten(folder):
    job = _given(folder, "any", "aligned.zarr", overwrite=True)
    with pytest.raises(ValueError, match=r"output: got the input"):
        region.main(dataclasses.replace(job, output=folder / "aligned.zarr"))


def test_a_cube_is_no_map_to_replace_and_nothing_is_fitted_before_that_error(folder, monkeypatch):
    shutil.copytree(folder / "aligned.zarr", folder / "copy.zarr")
    monkeypatch.setattr(region, "_parameters", lambda *_: pytest.fail("fitted"))
    with pytest.raises(ValueError, match=r"copy.zarr: got a cube of VH, VV, which is no map"):
        region.main(_given(folder, "copy", "aligned.zarr", overwrite=True))
    assert not [*folder.glob(".*lock")]


def test_hyperparameters_of_more_orbits_are_refused(folder):
    params = mogpr.load(folder / "fitted.npz")
    two = dataclasses.replace(params, inputs=((0, 2), (0, 3)))
    mogpr.save(two, folder / "two.npz")
    with pytest.raises(ValueError, match=r"two.npz of 4 radar channels, expected .*VV, VH"):
        region.main(_given(folder, "any", hyper=str(folder / "two.npz")))


@pytest.mark.slow
def test_sample_is_spread_and_its_two_parts_lie_apart(folder):
    ds, series, _ = _whole(folder)
    train, val = regions.sample(ds, sizes=SIZES)
    counts = [len(part.ndvi) for part in (train, val, series)]
    assert counts[0] + counts[1] == counts[2]  # a small cube: all of it
    assert 0.1 < counts[1] / counts[2] < 0.4
    positions = [set(map(tuple, part.position.tolist())) for part in (train, val)]
    assert not positions[0] & positions[1]
    # both reach all over the cube
    for part in (train, val):
        span = np.ptp(part.position, axis=0) / np.ptp(series.position, axis=0)
        assert (span > 0.7).all()
    # filtered with the neighbours of the whole cube
    whole, _ = cube.to_series(cube.despeckle(ds, sizes=SIZES))
    both = concatenate([train, val])
    order = [np.lexsort(part.position.T) for part in (both, whole)]
    np.testing.assert_allclose(both.radar[order[0]], whole.radar[order[1]], rtol=1e-5)
    assert whole.radar.shape[2] == 2
    assert regions.sample(ds)[0].radar.shape[2] == 1


def test_too_little_for_a_sample_is_told(folder):
    ds, _, _ = _whole(folder)
    with pytest.raises(ValueError, match=r"sample: got 1 pixels with data, expected some to train"):
        regions.sample(
            ds.assign(mask=ds.mask & (np.cumsum(ds.mask.values).reshape(HEIGHT, WIDTH) == 1)),
        )


def test_what_jax_reads_at_its_start():
    flag = "--xla_force_host_platform_device_count"
    stored = commands.settings({}, 4)
    assert stored["XLA_FLAGS"] == f"{flag}=4"
    assert stored["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] == "0"
    assert stored["JAX_COMPILATION_CACHE_DIR"].endswith("s1jax/compiled")
    own = {"XLA_FLAGS": f"{flag}=1", "JAX_COMPILATION_CACHE_DIR": "/elsewhere"}
    left = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "NPROC"}
    assert set(commands.settings(own, 4)) == left
    assert commands.settings({"XLA_FLAGS": "--a=1"}, 2)["XLA_FLAGS"] == f"--a=1 {flag}=2"
    assert commands.available_cores() >= 1


@pytest.mark.slow
def test_as_a_user_types_it(folder, capsys):
    arguments = "raw.nc typed.zarr --hyper fitted.npz --at P1M --tile 20".split()
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-m", "s1jax.commands", "fill", *arguments],
        cwd=folder, env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("typed.zarr: 1,")
    assert _opened(folder, "typed").sizes["t"] == 10
    assert fill.run([str(folder / "raw.nc"), str(folder / "typed.zarr")]) == 1
    assert "typed.zarr exists; expected a new one, or --overwrite" in capsys.readouterr().err
