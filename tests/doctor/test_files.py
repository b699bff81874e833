"""Cubes as files: numbered GeoTIFFs, names that contradict dates, what cannot be read, splits."""

import numpy as np
import pytest
import xarray as xr
from affine import Affine

from s1jax import cube, doctor
from tests.worlds.doctor import HEIGHT, TODAY, WIDTH, changed, names, plain, power

rasterio = pytest.importorskip("rasterio")
TOLD = {"start": "2023-11-01", "step": 12}


def _examined(what, **options):
    return doctor.examine(what, **{"today": TODAY, "rows": 0} | options)


def _tifs(folder, ds, name="period_{:02d}.tif", skip=()):
    transform = Affine(0.000449, 0, 110.5, 0, -0.000449, -6.7)
    size = {"height": HEIGHT, "width": WIDTH, "count": 3, "dtype": "float32"}
    for p in range(1, ds.sizes["t"] + 1):
        if p in skip:
            continue
        path = folder / name.format(p)
        with rasterio.open(
            path, "w", driver="GTiff", crs="EPSG:4326", transform=transform, **size
        ) as file:
            for band, variable in enumerate(("VV", "VH", "S2ndvi"), start=1):
                file.write(ds[variable].values[p - 1], band)
    return folder


def test_numbered_geotiffs_want_a_start_and_are_examined_without_one(tmp_path):
    folder = _tifs(tmp_path, changed(plain(), S2ndvi=lambda v: np.where(np.isnan(v), -np.inf, v)))
    undated = _examined(folder)
    assert names(undated) == {"undated", "infinite"}
    # no date was invented: planes have numbers, and what needs a calendar is left out
    assert undated.facts is None
    assert not any("2000-" in " ".join(f[2:6]) for f in undated.findings)
    (infinite,) = [f for f in undated.findings if f.name == "infinite"]
    assert "planes 6, 22, 23" in infinite.where
    found = _examined(folder, **TOLD)
    assert names(found) == {"infinite"}
    assert "units-undeclared" in names(found, "note")
    assert str(cube.from_days(found.facts.day[:1])[0])[:10] == "2023-11-07"


def test_a_start_that_the_files_names_contradict(tmp_path):
    folder = _tifs(tmp_path, plain(), "S1_S2_Nov2023_Jul2025_Period_{:02d}.tif")
    assert names(_examined(folder, **TOLD)) == set()
    late = _examined(folder, **TOLD | {"start": "2024-11-01"})
    assert names(late) == {"year-off"}
    (finding,) = [f for f in late.findings if f.name == "year-off"]
    assert "1 year(s) too late" in finding.what
    assert names(_examined(folder, **TOLD | {"start": "2025-11-01"})) == {
        "year-off",
        "future-dates",
    }


def test_a_start_that_the_folder_contradicts(tmp_path):
    (tmp_path / "S1_S2_Nov2023_Jul2025").mkdir()
    folder = _tifs(tmp_path / "S1_S2_Nov2023_Jul2025", plain())
    assert names(_examined(folder, **TOLD)) == set()
    assert names(_examined(folder, **TOLD | {"start": "2024-11-01"})) == {"year-off"}


def test_a_period_without_a_file_keeps_its_date(tmp_path):
    found = _examined(_tifs(tmp_path, plain(), skip=(7, 8)), **TOLD)
    assert names(found) == set()
    assert "empty-dates" in names(found, "note")


def test_a_second_file_in_power_is_named_by_date(tmp_path):
    def _tile(value):
        value[11] = power(value[11])
        return value

    folder = _tifs(tmp_path, changed(plain(), VV=_tile, VH=_tile))
    found = _examined(folder, **TOLD)
    assert names(found) == {"units-mixed"}
    (finding,) = [f for f in found.findings if f.name == "units-mixed"]
    assert "2024-03-18" in finding.where


def test_a_dataset_with_numbers_for_dates_is_undated_or_told():
    ds = plain().assign_coords(t=np.arange(52))
    assert names(_examined(ds)) == {"undated"}
    assert names(_examined(ds, **TOLD)) == set()
    np.testing.assert_array_equal(_examined(ds, **TOLD).facts.day, _examined(plain()).facts.day)


def test_netcdf_and_dataset_are_examined_alike(tmp_path):
    ds = plain().rename(S2ndvi="ndvi", t="time")
    cube.write(plain(), tmp_path / "cube.nc")
    stored, held = _examined(tmp_path / "cube.nc"), _examined(ds)
    assert stored.name == "cube"
    assert stored.findings == held.findings
    np.testing.assert_array_equal(stored.facts.highest, held.facts.highest)


def test_a_file_for_each_sensor(tmp_path):
    ds = plain()
    radar, labels = tmp_path / "radar.nc", tmp_path / "labels.nc"
    ds[["VV", "VH"]].to_netcdf(radar, engine="h5netcdf")
    ds[["S2ndvi"]].to_netcdf(labels, engine="h5netcdf")
    found = _examined([radar, labels])
    assert (found.name, names(found)) == ("radar", set())
    np.testing.assert_array_equal(found.facts.ndvi, _examined(ds).facts.ndvi)
    alone = _examined([radar])
    assert (names(alone), alone.facts) == (set(), None)
    assert "radar-alone" in names(alone, "note")
    assert names(_examined([labels])) == {"unreadable"}
    ds[["S2ndvi"]].isel(x=slice(1, None)).to_netcdf(tmp_path / "less.nc", engine="h5netcdf")
    (two,) = [f for f in _examined([radar, tmp_path / "less.nc"]).findings if f.kind == "fault"]
    assert (two.name, "open_cube(..., match=)" in two.remedy) == ("unreadable", True)


def test_what_cannot_be_read_is_a_finding_and_no_file_an_error(tmp_path):
    found = _examined(plain().drop_vars("VH"))
    assert names(found) == {"unreadable"}
    assert "variable VH" in found.findings[0].evidence
    assert found.facts is None
    (tmp_path / "cube.nc").write_bytes(b"CDF no more")
    assert names(_examined(tmp_path / "cube.nc")) == {"unreadable"}
    with pytest.raises(ValueError, match=r"got no such file, expected NetCDF"):
        _examined(tmp_path / "other.nc")


def test_what_there_is_is_what_open_cube_counts():
    ds = changed(plain(), VV=lambda v: np.where(np.arange(WIDTH) < 2, np.nan, v))
    (told,) = [f for f in _examined(ds).findings if f.name == "pixels"]
    assert told.evidence == cube.open_cube(ds).attrs["s1jax_funnel"].replace("\n", "; ")


def test_a_mask_that_keeps_nothing_is_an_error_and_one_that_does_is_used():
    ds = plain()
    mask = xr.DataArray(np.zeros((HEIGHT, WIDTH), bool), dims=("y", "x"))
    with pytest.raises(ValueError, match="mask: got no pixel"):
        _examined(ds, mask=mask)
    mask[:5, :6] = True
    assert len(_examined(ds, mask=mask).facts.highest) == 30


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"start": "soon", "step": 12}, "start: got 'soon', expected a date"),
        ({"today": "now and then"}, "today: got 'now and then', expected a date"),
        ({"start": "2023-11-01", "step": 0}, "step: got 0, expected days > 0"),
        ({"pixels": 0}, "pixels, rows: got 0, 0, expected"),
        ({"start": "2023-11-01"}, "expected both or neither"),
    ],
)
def test_what_cannot_be_asked_is_named(options, named):
    with pytest.raises(ValueError, match=named):
        _examined(plain(), **options)


def test_very_small_cubes_do_not_fail():
    ds = plain()
    for part in (ds.isel(t=[0]), ds.isel(t=[0, 1]), ds.isel(y=[3], x=[4]), ds.isel(y=[2])):
        found = _examined(part, rows=500)
        assert "verdict" in names(found, "note")
        assert not names(found)


def test_a_split_is_examined_in_each_form():
    ds = plain()
    rng = np.random.default_rng(0)
    random = rng.random((HEIGHT, WIDTH)) < 0.8
    assert names(_examined(ds, split=(random, ~random))) == {"split-leaks"}
    by_date = rng.random((ds.sizes["t"], HEIGHT, WIDTH)) < 0.8
    found = _examined(ds, split=(by_date, ~by_date))
    assert names(found) == {"split-leaks"}
    leak = found.facts.leakage
    assert (leak.both, leak.shared) == (0, HEIGHT * WIDTH)
    assert np.median(leak.apart) == 12.0
    # the last third of the dates alone is tested: nothing of the same date or season is copied
    late = np.broadcast_to((np.arange(ds.sizes["t"]) > 36)[:, None, None], by_date.shape)
    early = np.broadcast_to((np.arange(ds.sizes["t"]) < 30)[:, None, None], by_date.shape)
    found = _examined(ds, split=(early, late))
    assert names(found) == set()
    leak = found.facts.leakage
    assert np.isnan(leak.copied_r2)
    assert (leak.distance.size, leak.shared) == (0, HEIGHT * WIDTH)
    west, east = np.zeros((2, HEIGHT, WIDTH), bool)
    west[:, :4], east[:, 22:] = True, True
    found = _examined(ds, split=(np.flatnonzero(west), np.flatnonzero(east)))
    assert found.facts.leakage.distance.min() == pytest.approx(950.0)
    assert names(found) == set()
    with pytest.raises(ValueError, match="split: training: got"):
        _examined(ds, split=(random.T, ~random))


def test_fills_are_no_labels_of_neighbours():
    ds = plain()
    west, east = np.zeros((2, HEIGHT, WIDTH), bool)
    west[:, :12], east[:, 12:] = True, True
    clean = _examined(ds, split=(west, east)).facts
    filled = changed(ds, S2ndvi=lambda v: np.nan_to_num(v, nan=-9999))
    found = _examined(filled, split=(west, east)).facts
    assert found.leakage.copied_r2 == pytest.approx(clean.leakage.copied_r2, abs=1e-6)
    reasons = {r.name: r.value for r in clean.limitations}
    assert reasons["heterogeneous cover"] == pytest.approx(
        dict(r[:2] for r in found.limitations)["heterogeneous cover"]
    )


def test_what_is_known_of_acquisition_days_is_used():
    ds = plain()
    late = ds.assign_coords(s1_day=("t", ds.t.values), s2_day=("t", ds.t.values))
    found = _examined(late)
    assert "acquisition-days-unknown" not in names(found, "note")
    assert found.facts.offset.max() == 0.0
    apart = late.assign_coords(s1_day=("t", ds.t.values + np.timedelta64(9, "D")))
    found = _examined(apart)
    assert names(found) == {"s1-s2-offset"}
    assert "repair first s1-s2-offset" in found.findings[-1].remedy


def test_tracks_in_words_are_used_and_named():
    ds = plain().assign_coords(t=plain().t + np.arange(52) % 2 * np.timedelta64(5, "D"))
    ds = ds.assign_coords(s1_track=("t", np.where(np.arange(52) % 2, "ascending", "descending")))
    assert names(_examined(ds.drop_vars("s1_track"))) == {"orbits-mixed"}
    assert names(_examined(ds)) == {"track-words"}


def test_findings_are_the_same_every_time():
    first, second = (_examined(plain(), rows=600, pixels=200) for _ in range(2))
    assert first.findings == second.findings
    assert first.facts.expected == second.facts.expected
