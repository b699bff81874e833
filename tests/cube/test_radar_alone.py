"""Cubes without NDVI, and with more orbits than two: what a Series is made of."""

import warnings

import numpy as np
import pytest
import xarray as xr

from s1jax import cube, doctor
from s1jax.cube.align import orbits_of
from s1jax.cube.findings import is_repair
from tests.worlds import cube as worlds
from tests.worlds.cube import DIMS, own_days, scene


@pytest.mark.parametrize("how", ["absent", "nan", "file for each sensor"])
def test_radar_alone_goes_all_the_way(how):
    ds = scene()
    radar = ds.drop_vars("S2ndvi")
    nothing = ds.assign(S2ndvi=ds.S2ndvi * np.float32(np.nan))
    source = {"absent": radar, "nan": nothing, "file for each sensor": [radar, nothing[["S2ndvi"]]]}
    made = cube.open_cube(source[how], repair=False)
    notes = made.attrs["s1jax_repairs"]
    assert "radar alone" in notes
    assert not any(map(is_repair, notes.splitlines()))
    np.testing.assert_array_equal(made.VV, ds.VV)
    assert made.S2ndvi.dtype == np.float32
    assert made.S2ndvi.isnull().all()
    aligned = cube.despeckle(cube.align_cube(made))
    np.testing.assert_array_equal(aligned.t, ds.t)
    assert np.isnat(aligned.s2_day.values).all()
    series, pixel = cube.to_series(aligned)
    assert series.radar_valid.all()
    assert not series.ndvi_valid.any()
    assert pixel.size == ds.sizes["y"] * ds.sizes["x"]
    assert ", 0 with NDVI (0.0%)" in cube.count_valid(made)


def test_radar_alone_in_chunks_stays_in_chunks():
    made = cube.open_cube(scene().drop_vars("S2ndvi").chunk(t=2))
    assert made.S2ndvi.chunks is not None
    assert made.VV.chunks is not None


def test_acquisitions_of_radar_alone_become_composites():
    ds = own_days().drop_vars("S2ndvi")
    aligned = cube.align_cube(cube.open_cube(ds), step=24)
    assert aligned.VV.notnull().all()
    assert aligned.S2ndvi.isnull().all()


def test_ndvi_alone_and_ndvi_by_an_unknown_name_are_refused():
    with pytest.raises(ValueError, match=r"variable VV: got \['S2ndvi'\], expected exactly one"):
        cube.open_cube(scene()[["S2ndvi"]])
    with pytest.raises(ValueError, match="variable S2ndvi: got ndvi_10m, expected S2ndvi or NDVI"):
        cube.open_cube(scene().rename(S2ndvi="ndvi_10m"))


def test_the_doctor_takes_radar_alone_for_a_note():
    found = doctor.examine(scene().drop_vars("S2ndvi"), rows=0, today="2026-01-01")
    assert not [f for f in found.findings if f.kind != "note"]
    (alone,) = [f for f in found.findings if f.name == "radar-alone"]
    assert "simulated rice alone" in alone.remedy


def _tracks(tracks, seed=3):
    """One pass a day of tracks in turn, dB, and nothing of NDVI."""
    rng = np.random.default_rng(seed)
    ds = scene(np.arange(len(tracks)))
    for name in ("VV", "VH"):
        ds[name].values[:] = rng.normal(-14, 3, ds[name].shape)
    return ds.assign_coords(s1_track=("t", np.array(tracks)))


def _mean_db(db):
    return 10 * np.log10((10 ** (db.astype(float) / 10)).mean(axis=0))


TELLS = {
    "of the cube": lambda ds: ds.assign_attrs(
        s1_track="relative orbit: 7 asc, 9 desc, 30 ascending"
    ),
    "of the variable": lambda ds: ds.assign_coords(
        s1_track=ds.s1_track.assign_attrs(
            flag_values=np.array([7, 9, 30]), flag_meanings="ascending descending ascending"
        )
    ),
}


@pytest.mark.parametrize("how", TELLS)
def test_orbits_beyond_two_are_put_together_by_direction(how):
    track = np.tile([7, 9, 30], 8)
    ds = TELLS[how](_tracks(track))
    made = cube.align_cube(cube.open_cube(ds), step=24)
    assert cube.channels(made) == ["VV", "VH", "VV_2", "VH_2", "S2ndvi"]
    for name in ("VV", "VH"):
        up, down = ds[name].values[track != 9], ds[name].values[track == 9]
        np.testing.assert_allclose(made[name][0], _mean_db(up), rtol=1e-4)
        np.testing.assert_allclose(made[f"{name}_2"][0], _mean_db(down), rtol=1e-4)
    assert "3 orbits put together by direction" in made.attrs["s1jax_repairs"]
    assert "7, 30 ascending; 9 descending" in made.attrs["s1jax_repairs"]
    every = cube.align_cube(cube.open_cube(ds), step=24, orbits=None)
    assert len(cube.channels(every)) == 7
    np.testing.assert_allclose(every.VV_3[0], _mean_db(ds.VV.values[track == 30]), rtol=1e-4)


def test_orbits_of_no_told_direction_are_one():
    ds = _tracks(np.tile([7, 9, 30], 8))
    made = cube.align_cube(cube.open_cube(ds), step=24)
    assert cube.channels(made) == ["VV", "VH", "S2ndvi"]
    np.testing.assert_allclose(made.VV[0], _mean_db(ds.VV.values), rtol=1e-4)
    half = ds.assign_attrs(s1_track="7 ascending, 30 ascending")
    assert orbits_of(half, 2).tracks == ((7, 30), (9,))
    mixed = half.assign_attrs(s1_track="7 ascending, 30 descending")
    assert orbits_of(mixed, 2).tracks == ((7, 9, 30),)
    assert orbits_of(mixed, None).tracks == ((7,), (9,), (30,))
    with pytest.raises(ValueError, match="orbits: got 0, expected 1 or more"):
        orbits_of(mixed, 0)


def test_two_orbits_stay_as_they_are():
    ds = _tracks(np.tile([7, 9], 6)).assign_attrs(s1_track="7 ascending, 9 ascending")
    assert orbits_of(ds, 2).tracks == ((7,), (9,))
    assert orbits_of(ds, 2).findings == ()


def test_pairs_of_variables_are_put_together_too():
    ds = scene()
    rng = np.random.default_rng(1)
    for k, way in enumerate(("DESCENDING", "ascending", "descending"), start=1):
        for name in ("VV", "VH"):
            value = rng.normal(-13, 2, ds.VV.shape).astype(np.float32)
            value[rng.random(value.shape) < 0.2] = np.nan
            key = name if k == 1 else f"{name}_{k}"
            ds[key] = (DIMS, value, {"units": "dB", "orbit_direction": way})
    made = cube.align_cube(cube.open_cube(ds))
    assert cube.channels(made) == ["VV", "VH", "VV_2", "VH_2", "S2ndvi"]
    np.testing.assert_array_equal(made.t, ds.t)
    np.testing.assert_array_equal(made.VH_2, ds.VH_2)
    both = np.stack([ds.VV.values, ds.VV_3.values]).astype(float)
    there = np.isfinite(both)
    power = np.where(there, 10 ** (np.where(there, both, 0) / 10), 0).sum(axis=0)
    mean = np.where(there.any(axis=0), power / np.maximum(there.sum(axis=0), 1), np.nan)
    np.testing.assert_allclose(made.VV, 10 * np.log10(mean), rtol=1e-5)
    assert "VV, VV_3 descending; VV_2 ascending" in made.attrs["s1jax_repairs"]
    series, _ = cube.to_series(made)
    assert series.radar.shape[-1] == 4


def test_days_of_sentinel_2_are_paired_with_joined_orbits():
    ds = _tracks(np.tile([7, 9, 30], 8)).assign_attrs(s1_track="7 ascending, 9, 30 descending")
    made = cube.pair_cube(cube.open_cube(ds), within=2)
    assert "7 ascending; 9, 30 descending" in made.attrs["s1jax_repairs"]
    assert cube.channels(made) == ["VV", "VH", "VV_2", "VH_2", "S2ndvi"]


@pytest.mark.slow
def test_real_parcels_of_four_orbits(shared):
    path = shared / "data" / "nop_parcels_2023.nc"
    if not path.exists():
        pytest.skip(f"no {path}")
    ds = cube.open_cube(path)
    assert orbits_of(ds, 2).tracks == ((15, 88), (37, 110))
    series, _ = cube.to_series(cube.align_cube(ds))
    assert series.radar.shape[:2] == (428, 31)
    assert series.radar.shape[-1] == 4


def test_real_points_on_a_relative_axis(shared):
    path = shared / "data" / "worldcereal_points_world.nc"
    if not path.exists():
        pytest.skip(f"no {path}")
    ds = cube.open_cube(path)
    assert ds.attrs["time_axis"] == "relative"
    assert cube.span(ds) == "relative days 0 to 330, 12 dates, 30 days apart"
    xr.testing.assert_equal(cube.align_cube(ds).t.drop_vars(["s1_day", "s2_day"]), ds.t)


def _periods(folder, ds, described):
    for k in range(ds.sizes["t"]):
        bands = [ds[name].values[k] for name in ("VV", "VH")]
        texts = ("VV", "VH") if described else ()
        worlds.write_tif(folder / f"period_{k + 1:02d}.tif", bands, texts, **worlds.geometry(ds))
    return folder


@pytest.mark.parametrize("form", ["described", "bare", "stack", "sits", "csv"])
def test_radar_alone_comes_in_every_form(form, tmp_path):
    ds, dated = scene(), {}
    if form in ("described", "bare"):
        source = _periods(tmp_path / "periods", ds, form == "described")
        dated = {"start": worlds.START, "step": worlds.STEP}
    elif form == "stack":
        source = tmp_path / "stack.tif"
        names = ("VV", "VH")
        worlds.stack(source, ds, lambda name, k, date: f"{name}_{date.date()}", names=names)
    elif form == "sits":
        source = worlds.sits(tmp_path / "sits", ds, whole=False)
        for file in source.glob("*NDVI*"):
            file.unlink()
    else:
        source = worlds.tables(tmp_path / "csv", ds)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = cube.open_cube(source, **dated)
    assert "radar alone" in made.attrs["s1jax_repairs"]
    assert made.S2ndvi.isnull().all()
    shape = made.VV.shape
    expected = np.sort(ds.VV.values.reshape(shape[0], -1))
    np.testing.assert_allclose(np.sort(made.VV.values.reshape(shape[0], -1)), expected, atol=1e-5)


def test_a_file_without_ndvi_beside_others_is_missing_there_or_refused(tmp_path):
    ds = scene()
    worlds.periods(tmp_path, ds)
    plane = [ds[name].values[2] for name in ("VV", "VH")]
    file = tmp_path / "period_03.tif"
    worlds.write_tif(file, plane, ("VV", "VH"), **worlds.geometry(ds))
    made = cube.open_cube(tmp_path, start=worlds.START, step=worlds.STEP)
    assert "S2ndvi: no band in 1 files: missing there: period_03.tif" in made.attrs["s1jax_repairs"]
    assert made.S2ndvi[2].isnull().all()
    worlds.write_tif(file, plane, (), **worlds.geometry(ds))
    with pytest.raises(ValueError, match=r"period_03.tif: got 2 bands without description, expec"):
        cube.open_cube(tmp_path, start=worlds.START, step=worlds.STEP)
