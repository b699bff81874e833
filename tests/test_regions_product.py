"""What a map says of itself, what it counts as broken, and what a failure leaves behind."""

import datetime
import hashlib
from functools import partial

import numpy as np
import pytest
import rasterio
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s1jax import cube, regions
from s1jax.cube import provenance
from s1jax.types import Estimate
from tests.worlds.cube import scene
from tests.worlds.disk import files_up_to

ENGINES = {".nc": "h5netcdf", ".zarr": "zarr"}
BOTH = pytest.mark.parametrize("suffix", [".nc", ".zarr"])


@pytest.fixture
def ds():
    return cube.align_cube(cube.open_cube(scene()))


def _half(series, days, noise=0.0, quality=None):
    shape = (len(series.ndvi), len(days))
    mean, std = (np.full(shape, value, np.float32) for value in (0.5, 0.1))
    return Estimate(mean, std, np.full(len(mean), noise, np.float32), quality)


def _load(path):
    with xr.open_dataset(path, engine=ENGINES[path.suffix], decode_coords="all") as stored:
        return stored.load()


@BOTH
def test_a_map_says_what_made_it_and_of_what(ds, tmp_path, suffix):
    path = tmp_path / f"map{suffix}"
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    old = ds.assign_attrs(title="Demak", history="2020: exported")
    regions.map_region(
        _half, old, path, tile=4, method="half", weights="none", trained_on="nothing at all"
    )
    attrs = _load(path).attrs
    assert attrs["Conventions"] == "CF-1.11"
    assert attrs["title"] == "NDVI estimated from Sentinel-1 and Sentinel-2: Demak"
    assert attrs["s1jax_method"] == "half"
    assert attrs["s1jax_weights"] == "none"
    assert attrs["s1jax_trained_on"] == "nothing at all"
    made = datetime.datetime.fromisoformat(attrs["date_created"])
    assert before <= made <= datetime.datetime.now(datetime.UTC)
    first, last = attrs["history"].splitlines()
    assert first == "2020: exported"
    assert (
        last == f"{attrs['date_created']}: s1jax {attrs['s1jax_version']}, NDVI estimated by half"
    )
    assert attrs["s1jax_input_sha256"] == cube.fingerprint(ds)
    # nothing is made up
    regions.map_region(_half, ds, path)
    attrs = _load(path).attrs
    assert attrs["s1jax_method"].endswith("test_regions_product._half")
    assert attrs["s1jax_weights"] == attrs["s1jax_trained_on"] == "not stated"
    # a function without a name is no method
    regions.map_region(lambda series, days: _half(series, days), ds, path)
    assert _load(path).attrs["s1jax_method"] == "not stated"


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    tile=st.integers(1, 7), row=st.integers(0, 5), column=st.integers(0, 4), day=st.integers(0, 6)
)
def test_the_fingerprint_is_of_every_value_and_of_no_tile(ds, tile, row, column, day):
    whole = cube.fingerprint(ds)
    assert len(whole) == 2 * hashlib.sha256().digest_size
    total = 0
    for rows, columns in regions.grid(ds, tile):
        part = ds.isel(y=rows, x=columns)
        within = (range(s.start, s.stop) for s in (rows, columns))
        total += provenance.checksum(part, *within, ds.sizes["x"])
    assert provenance.digest(ds, total) == whole
    changed = ds.copy(deep=True)
    changed.VH[day, row, column] = np.nextafter(changed.VH[day, row, column], np.float32(0))
    assert cube.fingerprint(changed) != whole
    for other in (
        ds.assign_coords(x=ds.x + 1e-6),
        ds.isel(y=slice(None, None, -1)),
        ds.assign(VV=ds.VH, VH=ds.VV),
        ds.assign(mask=xr.ones_like(ds.VV[0], bool).drop_vars("t")),
    ):
        assert cube.fingerprint(other) != whole
    assert cube.fingerprint(ds.transpose("x", "t", "y").assign_attrs(a=1)) == whole


@BOTH
def test_noise_and_quality_of_an_estimate_are_written(ds, tmp_path, suffix):
    def _of(series, days):
        noise = (series.position.sum(axis=1) % 97 / 1000).astype(np.float32)
        return _half(series, days)._replace(noise=noise, quality=(noise > 0.05).astype(np.uint8))

    path = tmp_path / f"map{suffix}"
    assert regions.map_region(_of, ds, path, tile=2).not_finite == 0
    made = _load(path)
    y, x = np.meshgrid(ds.y, ds.x, indexing="ij")
    expected = ((x.astype(np.float32) + y.astype(np.float32)) % 97 / 1000).astype(np.float32)
    np.testing.assert_allclose(made.S2ndvi_NOISE.transpose("y", "x"), expected, atol=2e-3)
    np.testing.assert_array_equal(
        made.S2ndvi_QUALITY.transpose("y", "x"), made.S2ndvi_NOISE.transpose("y", "x") > 0.05
    )
    assert made.S2ndvi_NOISE.attrs["units"] == "1"
    beside = made.S2ndvi_FUSED.attrs["ancillary_variables"]
    assert beside == "S2ndvi_STD S2ndvi_SOURCE S2ndvi_QUALITY"


@BOTH
def test_one_noise_for_all_pixels_and_none(ds, tmp_path, suffix):
    path = tmp_path / f"map{suffix}"
    regions.map_region(partial(_half, noise=0.07), ds, path, tile=3)
    np.testing.assert_array_equal(_load(path).S2ndvi_NOISE, np.float32(0.07))
    regions.map_region(_half, ds, path, tile=3)
    made = _load(path)
    assert not {"S2ndvi_NOISE", "S2ndvi_QUALITY"} & set(made.variables)
    assert made.S2ndvi_FUSED.attrs["ancillary_variables"] == "S2ndvi_STD S2ndvi_SOURCE"


def test_noise_and_quality_that_only_a_later_tile_has(ds, tmp_path):
    calls = []

    def _later(series, days):
        calls.append(1)
        if len(calls) == 1:
            return _half(series, days)
        return _half(series, days, 0.2, np.full(len(series.ndvi), 4, np.uint8))

    for suffix in ENGINES:
        calls.clear()
        regions.map_region(_later, ds, tmp_path / f"map{suffix}", tile=3)
        made = _load(tmp_path / f"map{suffix}")
        noise = made.S2ndvi_NOISE.transpose("y", "x").values
        assert np.isnan(noise[:3, :3]).all()
        assert np.isnan(noise).sum() == 9
        assert (noise[3:] == np.float32(0.2)).all()
        quality = made.S2ndvi_QUALITY.transpose("y", "x").values
        np.testing.assert_array_equal(quality, np.where(np.isnan(noise), 128, 4))
        assert "S2ndvi_QUALITY" in made.S2ndvi_FUSED.attrs["ancillary_variables"]


@pytest.mark.parametrize(
    ("leaf", "value"),
    [
        ("mean", np.nan), ("mean", np.inf), ("mean", 1e300), ("std", np.nan), ("std", -0.1),
        ("std", np.inf), ("noise", np.nan), ("noise", -0.1),
    ],
)  # fmt: skip
def test_whatever_is_broken_is_counted_once_a_pixel(ds, tmp_path, leaf, value):
    def _broken(series, days):
        estimate = _half(series, days, 0.1)
        mean, std, noise = (part.astype(np.float64) for part in estimate[:3])
        wrong = {"mean": mean, "std": std, "noise": noise}[leaf]
        wrong[:2] = value  # all of the days
        return Estimate(mean, std, noise)

    done = regions.map_region(_broken, ds, tmp_path / "map.nc", tile=3)
    assert done.pixels == 30
    assert done.not_finite == 2 * 4
    assert done.failed == ()


def test_what_is_no_estimate_fails_its_tile(ds, tmp_path):
    done = regions.map_region(lambda s, d: _half(s, d)[:2], ds, tmp_path / "map.nc")
    assert len(done.failed) == 1
    assert done.pixels == 0


@pytest.mark.parametrize(
    ("days", "message"),
    [
        ([], "expected numbers, 1 or more"),
        ([19700.0, np.nan], "days: got nan"),
        ([19700.0, 19690.0], "days: got 19690 after 19700 at index 1, expected each day later"),
        ([19700.0, 19700.0], "expected each day later"),
    ],
)
def test_days_that_no_map_has(ds, tmp_path, days, message):
    with pytest.raises(ValueError, match=message):
        regions.map_region(_half, ds, tmp_path / "map.nc", days=np.array(days))
    with pytest.raises(ValueError, match="t: got no date"):
        regions.map_region(_half, ds.isel(t=slice(0)), tmp_path / "map.nc")
    assert not any(tmp_path.iterdir())


@BOTH
@pytest.mark.parametrize("how", ["lazy", "dask", "memory"])
def test_a_map_is_never_written_onto_its_cube(ds, tmp_path, suffix, how):
    path = tmp_path / f"cube{suffix}"
    cube.write(ds, path)
    if how == "memory":
        source = cube.align_cube(cube.open_cube(path))
    else:
        chunks = {} if how == "dask" else None
        source = xr.open_dataset(path, engine=ENGINES[suffix], decode_coords="all", chunks=chunks)
    called = []
    with pytest.raises(ValueError, match=r"is the source .*expected another path"):
        regions.map_region(lambda s, d: called.append(1) or _half(s, d), source, path)
    assert not called
    np.testing.assert_array_equal(_load(path).VV, ds.VV)


@BOTH
def test_what_cannot_be_stored_is_known_before_the_first_tile(ds, tmp_path, suffix):
    odd = {"provenance": None, "bands": {"VV": 1}, "steps": ["a", 1]}
    ds = ds.assign_attrs(odd)
    ds["S2ndvi"].attrs |= odd
    ds["x"].attrs |= odd
    ds = ds.assign_coords(village=("y", np.array(["a", None, "b", "c", "d", 3], object)))
    assert regions.map_region(_half, ds, tmp_path / f"map{suffix}", tile=3).failed == ()
    made = _load(tmp_path / f"map{suffix}")
    assert made.S2ndvi_FUSED.notnull().all()
    assert made.village.values.tolist() == ["a", "", "b", "c", "d", "3"]
    assert made.attrs["bands"] in ('{"VV": 1}', {"VV": 1})
    called = []
    with pytest.raises(ValueError, match="echo: got complex64"):
        regions.map_region(
            lambda s, d: called.append(1) or _half(s, d),
            ds.assign_coords(echo=("y", np.zeros(6, np.complex64))), tmp_path / f"other{suffix}",
        )  # fmt: skip
    assert not called
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"map{suffix}"]


@BOTH
@pytest.mark.parametrize("names", [["VV", "VH", "S2ndvi"], ["S2ndvi"], ["VV"]])
def test_a_map_replaces_nothing_but_a_map(ds, tmp_path, suffix, names):
    path = tmp_path / f"cube{suffix}"
    cube.write(ds[names], path)
    bare = xr.Dataset(
        {name: (v.dims, v.values) for name, v in ds.data_vars.items()},
        {name: ds[name].values for name in ("t", "y", "x")},
        ds.attrs,
    )
    called = []
    with pytest.raises(ValueError, match=rf"cube of .*{names[0]}.*no map, expected a new path"):
        regions.map_region(lambda s, d: called.append(1) or _half(s, d), bare, path)
    assert not called
    np.testing.assert_array_equal(_load(path)[names[0]], ds[names[0]])
    for _ in range(2):
        regions.map_region(_half, bare, tmp_path / f"map{suffix}")
    assert "S2ndvi_FUSED" in _load(tmp_path / f"map{suffix}")


def _rough(series, days):
    estimate = _half(series, days)
    mean = np.random.default_rng(0).random(estimate.mean.shape, np.float32)
    return estimate._replace(mean=mean)


def test_a_disk_that_fills_up_ends_the_map_and_keeps_what_was_there(ds, tmp_path):
    big = ds.isel(y=np.arange(60) % 6, x=np.arange(60) % 5)
    big = big.assign_coords(y=9e6 - 20.0 * np.arange(60), x=4e5 + 20.0 * np.arange(60))
    for suffix in ENGINES:
        path = tmp_path / f"map{suffix}"
        regions.map_region(_half, ds, path)
        message = rf"{path}: cannot be written .*choose a disk"
        message += r".*tiles that were written are in .*map.zarr.part" if suffix == ".zarr" else ""
        with files_up_to(60_000), pytest.raises(OSError, match=message):
            regions.map_region(_rough, big, path, tile=50)
        assert _load(path).sizes["y"] == 6
    assert {p.name for p in tmp_path.iterdir()} == {"map.nc", "map.zarr", "map.zarr.part"}
    # the next map takes the place of what was left
    regions.map_region(_half, big, tmp_path / "map.zarr", tile=50)
    assert {p.name for p in tmp_path.iterdir()} == {"map.nc", "map.zarr"}
    assert _load(tmp_path / "map.zarr").sizes["y"] == 60


@BOTH
def test_a_folder_that_cannot_be_written_costs_no_tile(ds, tmp_path, suffix):
    (tmp_path / "file").write_text("no folder")
    called = []
    with pytest.raises(OSError, match=r"cannot be written .*choose a path"):
        regions.map_region(
            lambda s, d: called.append(1) or _half(s, d), ds, tmp_path / "file" / f"map{suffix}"
        )
    assert not called


@pytest.mark.parametrize("chunks", [None, {}])
def test_a_damaged_chunk_costs_its_tile_and_is_named(ds, tmp_path, chunks):
    path = tmp_path / "cube.zarr"
    cube.write(ds, path, tile=3)
    damaged = path / "VH" / "0.1.0"
    damaged.write_bytes(b"\x02\x01\x21\x04" + b"\xff" * (damaged.stat().st_size - 4))
    lazy = xr.open_dataset(path, engine="zarr", decode_coords="all", cache=False, chunks=chunks)
    done = regions.map_region(_half, lazy, tmp_path / "map.nc", tile=3)
    (failed,) = done.failed
    assert (failed.rows, failed.columns) == (slice(3, 6), slice(0, 3))
    where = "VH: chunk 0.1.0 (t 0 to 6, y 3 to 5, x 0 to 2): cannot be read, expected whole"
    assert f"{path}: {where}" in failed.error
    made = _load(tmp_path / "map.nc")
    assert "s1jax_input_sha256" not in made.attrs
    assert int(made.S2ndvi_FUSED.isnull().sum()) == 7 * 9


@BOTH
def test_gdal_finds_the_map(ds, tmp_path, suffix):
    path = tmp_path / f"map{suffix}"
    regions.map_region(partial(_half, noise=0.1), ds, path, tile=3)
    for name in ("S2ndvi_FUSED", "S2ndvi_STD", "S2ndvi_SOURCE", "S2ndvi_NOISE"):
        of = f"netcdf:{path}:{name}" if suffix == ".nc" else f'ZARR:"{path}":/{name}'
        with rasterio.open(of) as file:
            assert file.crs.to_epsg() == 32749
            assert tuple(file.transform)[:6] == (20, 0, 460_000, 0, -20, 9_230_000)
