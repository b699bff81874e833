"""Alignments: composites are the cube's, days are true, hidden labels are unseen."""

import json
from dataclasses import replace
from itertools import pairwise

import jax
import numpy as np
import pytest
import xarray as xr

from experiments.protocol import head_to_head
from experiments.protocol.config import Config
from experiments.protocol.data import Data, split_of
from experiments.studies import alignment
from experiments.studies.alignment import ALIGNMENTS, PERIODS, Alignments
from s1jax import cube, masking
from s1jax.baselines import BoostingConfig
from s1jax.compositing import composite_series
from s1jax.networks import Mlp3Config
from s1jax.simulate import SceneConfig
from s1jax.train import TrainConfig
from s1jax.types import Estimate, Estimator
from tests.worlds.mogpr import series_of

pytestmark = pytest.mark.slow

TASKS = ("T1", "T2a", "T2b")
SMALL = Config(
    methods=("mlp3", "boosting"),
    training_pixels=None,
    validation_pixels=None,
    test_pixels=None,
    boosting=BoostingConfig(iterations=20),
    mlp3=Mlp3Config(train=TrainConfig(epochs=1, batches=2)),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """24 dates of as many periods (programs are compiled once for both): track 7 every 48 days, 21
    a day later, NDVI on two uneven days of every fourth period."""
    rng = np.random.default_rng(0)
    first = 48 * np.arange(6)
    clear = (first + 36 + rng.integers(1, 7, 6) + np.array([[0], [5]])).ravel()
    day = np.concatenate([first, first + 1, clear])
    track = np.repeat([7, 21, 0], [first.size, first.size, clear.size])
    order = np.argsort(day)
    day, track = day[order], track[order]
    shape = (day.size, 8, 8)
    phase = np.repeat(np.repeat(rng.uniform(0, 6, (4, 4)), 2, 0), 2, 1)
    ndvi = 0.5 + 0.3 * np.sin(day[:, None, None] / 25 + phase)
    radar = -14.0 + 6.0 * (ndvi - 0.5) + 2.0 * (track == 21)[:, None, None]
    radar = {name: radar + rng.normal(0, 1, shape) - k for k, name in enumerate(("VV", "VH"))}
    seen = (track > 0)[:, None, None]
    label = np.where(seen | (rng.random(shape) < 0.2), np.nan, ndvi + rng.normal(0, 0.02, shape))
    leaves = {name: np.where(seen, leaf, np.nan) for name, leaf in radar.items()}
    ds = xr.Dataset(
        {name: (("t", "y", "x"), leaf) for name, leaf in (leaves | {"S2ndvi": label}).items()},
        coords={
            "t": np.datetime64("2022-01-01", "ns") + day * np.timedelta64(1, "D"),
            "y": 9_230_000.0 - 50.0 * np.arange(8),
            "x": 460_000.0 + 50.0 * np.arange(8),
            "s1_track": ("t", track),
        },
        attrs={"crs": "EPSG:32749"},
    )
    for name in leaves:
        ds[name].attrs["units"] = "dB"
    out = tmp_path_factory.mktemp("days") / "raw.nc"
    ds.to_netcdf(out, engine="h5netcdf")
    return str(out)


@pytest.fixture(scope="module")
def data(path):
    return alignment.load(Alignments(path))


def test_each_track_is_an_orbit_on_its_own_days(path, data):
    ds = cube.open_cube(path)
    series, track = data.series, ds["s1_track"].values
    assert series.radar.shape[-1] == 4
    value = np.concatenate([series.radar[..., 0, :], series.ndvi[..., None]], -1)
    valid = np.concatenate([series.radar_valid, series.ndvi_valid[..., None]], -1)
    assert value.shape == (64, track.size, 5)
    for channel, (name, number) in enumerate(
        [("VV", 7), ("VH", 7), ("VV", 21), ("VH", 21), ("S2ndvi", 0)]
    ):
        seen = valid[..., channel]
        assert (seen.any(0) == (track == number)).all()
        raw = ds[name].values.reshape(track.size, 64).T
        np.testing.assert_array_equal(value[..., channel][seen], raw[seen])
    # one orbit is left as it is, and so is a cube without tracks
    one = alignment.orbits_apart(ds.isel(t=track != 21))
    assert cube.channels(one) == ["VV", "VH", "S2ndvi"]
    bare = ds.drop_vars("s1_track")
    assert alignment.orbits_apart(bare) is bare


def _same_values(one, other):
    for name in ("radar_valid", "ndvi_valid"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("radar", "ndvi"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-5)


def test_periods_are_those_of_the_cube(path, data, monkeypatch):
    # as few pixels at once as there are: else it takes long
    monkeypatch.setattr("s1jax.cube.align._CHUNK", 64)
    ds = cube.despeckle(cube.align_cube(cube.open_cube(path)))
    wanted, _ = cube.to_series(ds)
    found, mean_day = composite_series(data.series, 12.0)
    np.testing.assert_array_equal(found.day, wanted.day)
    # means over pixels and over dates can be taken in either order
    assert found.radar.shape[-2] == 3
    _same_values(found, wanted)
    label, day = data.series.ndvi_valid, np.asarray(data.series.day, np.float64)
    edges = np.append(found.day - 6.0, found.day[-1] + 6.0)
    for p, (low, high) in enumerate(pairwise(edges)):
        of = (day >= low) & (day < high)
        inside, on = label[:, of], day[of]
        for pixel in range(64):
            expected = on[inside[pixel]].mean() if inside[pixel].any() else found.day[p]
            assert mean_day[pixel, p] == pytest.approx(expected, abs=0.01)


def test_what_is_hidden_is_in_no_composite(data):
    series = data.series
    day = np.asarray(series.day)
    inside = (day >= day[0] + 36.0) & (day < day[0] + 48.0)
    shown = np.flatnonzero(inside)[0]
    label = series.ndvi_valid | (np.arange(day.size) == shown)
    ndvi = np.full_like(series.ndvi, 0.8)
    ndvi[:, shown] = 0.2
    full = series._replace(ndvi=ndvi, ndvi_valid=label)
    hidden = np.broadcast_to(inside & (np.arange(day.size) != shown), label.shape)
    assert (hidden & label).any()
    found, mean_day = composite_series(masking.with_ndvi_masked(full, hidden), 12.0)
    np.testing.assert_array_equal(found.ndvi[:, 3], np.float32(0.2))
    np.testing.assert_allclose(mean_day[:, 3], day[shown], atol=0.01)


def _rising(pixels=6):
    """NDVI that rises by 0.004 a day, once in each of 12 periods, 2 to 8 days from its beginning;
    and the days."""
    day = 19_000.0 + np.append(0.0, 12.0 * np.arange(12) + np.tile([2.0, 8.0, 5.0], 4))
    value = np.full((pixels, day.size, 3), -12.0)
    value[..., -1] = 0.2 + 0.004 * (day - day[0])
    valid = np.ones(value.shape, bool)
    valid[:, 0, -1] = False
    return series_of(*(a.astype(np.float32) for a in (day, value)), valid)


def _joined(params, series, query):
    """Each pixel's NDVI joined by straight lines; 0 without any."""
    label, ndvi = np.asarray(series.ndvi_valid), np.asarray(series.ndvi)
    mean = [
        np.interp(query, series.day[k], v[k]) if k.any() else np.zeros(len(query))
        for v, k in zip(ndvi, label, strict=True)
    ]
    return Estimate(np.stack(mean), np.ones((len(ndvi), len(query))), np.ones(len(ndvi)))


def test_a_straight_rise_is_found_on_true_days_and_not_on_centres():
    series = _rising()
    hidden = np.arange(series.day.size) == 6
    seen = masking.with_ndvi_masked(series, np.broadcast_to(hidden, series.ndvi.shape))
    found = {}
    for true_days in (False, True):
        inner = Estimator(lambda key, training, validation: None, _joined)
        method = alignment.aligned("true days" if true_days else PERIODS, inner, Data(series), 12.0)
        params = method.fit(jax.random.key(0), series, series)
        found[true_days] = np.asarray(method.predict(params, seen, series.day).mean)[:, 1:]
    truth = series.ndvi[:, 1:]
    np.testing.assert_allclose(found[True], truth, atol=1e-5)
    # NDVI of day 2, 8, 5 of a period stands on day 6: early by 4, late by 2, early by 1 days
    centre = 6.0 + 12.0 * np.arange(12)
    kept = np.arange(12) != 5
    away = np.asarray(series.day[1:] - series.day[0], np.float64)
    wanted = np.interp(away, centre[kept], truth[0, kept])
    np.testing.assert_allclose(found[False], np.broadcast_to(wanted, truth.shape), atol=1e-5)
    assert np.abs(wanted - truth[0]).max() > 0.01


def test_true_days_are_those_of_training_pixels_alone():
    told = []

    def _predict(params, series, query):
        told.append(np.asarray(series.day))
        return Estimate(
            np.zeros((len(series.ndvi), len(query))), np.ones(1), np.ones(len(series.ndvi))
        )

    def _fit(key, *parts):
        told.extend(part.day for part in parts)

    series = _rising()
    # of period 0 no training pixel has NDVI: its day is the centre
    training = masking.with_ndvi_masked(series, np.broadcast_to(np.arange(13) == 1, (6, 13)))
    method = alignment.on_true_days(Estimator(_fit, _predict), 12.0)
    params = method.fit(jax.random.key(0), training, series)
    method.predict(params, masking.with_ndvi_masked(series, np.ones((6, 13), bool)), series.day)
    wanted = np.append(series.day[0] + 6.0, series.day[2:])
    for day in told:
        np.testing.assert_allclose(day, wanted, atol=0.01)
    assert len(told) == 3


def _observed(series):
    """The series with its first look alone, which is all that these cubes have."""
    return series._replace(radar=series.radar[..., :1, :])


def test_windows_are_those_of_the_cube(path, data):
    ds = cube.open_cube(path)
    paired = cube.pair_cube(ds, within=8)
    wanted, _ = cube.to_series(paired)
    optical = np.asarray(data.series.day)[data.series.ndvi_valid.any(0)]
    found = alignment.windows(data.series, optical, (8.0, 0.0))
    np.testing.assert_array_equal(found.day, wanted.day)
    _same_values(_observed(found), wanted)
    near = cube.align_cube(ds, window=12.0, within=8)
    wanted, _ = cube.to_series(near)
    centre, at = np.asarray(wanted.day), cube.to_days(near["s2_day"].fillna(near["t"]).values)
    found = alignment.windows(data.series, centre, (8.0, 6.0), near=at)
    _same_values(_observed(found), wanted)
    wide = cube.align_cube(ds, window=24.0)
    wanted, _ = cube.to_series(wide)
    found = alignment.windows(data.series, np.asarray(wanted.day), (12.0, 12.0))
    _same_values(_observed(found), wanted)


def test_near_is_around_the_mean_day_of_sentinel_2(data):
    told = []
    inner = Estimator(lambda key, training, validation: told.append(training), None)
    alignment.aligned("near", inner, data, 12.0).fit(None, data.series, data.series)
    day = np.asarray(data.series.day, np.float64)
    optical = day[np.asarray(data.series.ndvi_valid).any(0)]
    centre = np.floor(day.min()) + 6.0 + 12.0 * np.arange(told[0].day.size)
    np.testing.assert_array_equal(told[0].day, centre)
    at = []
    for c in centre:
        inside = optical[(optical >= c - 6) & (optical < c + 6)]
        at.append(inside.mean() if inside.size else c)
    assert (np.array(at) != centre).any()
    for name, channel in (("VV", 0), ("VV_2", 2)):
        some = np.asarray(data.series.radar_valid)[..., channel]
        expected = np.stack([some[:, np.abs(day - d) <= 3].any(1) for d in at], -1)
        np.testing.assert_array_equal(told[0].radar_valid[..., channel], expected, err_msg=name)


def test_hidden_labels_reach_no_variant(data):
    inner = Estimator(lambda key, training, validation: None, _joined)
    methods = [
        head_to_head.Method(name, alignment.aligned(name, inner, data, 12.0), TASKS)
        for name in ALIGNMENTS
    ]
    split = split_of(replace(SMALL, split="blocks"), data, 0)
    gaps = head_to_head.draw_masks(jax.random.key(1), TASKS, data)
    test = split.folds[0].test
    label = np.asarray(data.series.ndvi_valid)

    def _estimates(change):
        ndvi = data.series.ndvi + np.where(change, 0.3, 0.0).astype(data.series.ndvi.dtype)
        changed = data._replace(series=data.series._replace(ndvi=ndvi))
        found = head_to_head.head_to_head(jax.random.key(0), methods, changed, split, gaps)
        return {(name, task): estimate for name, task, estimate, _ in found}

    # of every other test pixel the labels change that T2a hides, of the rest those of T2b
    change = np.zeros(label.shape, bool)
    for part, task in ((test[::2], "T2a"), (test[1::2], "T2b")):
        change[part] = (label & gaps[task])[part]
    before, after = _estimates(np.zeros(label.shape, bool)), _estimates(change)
    assert {name for name, _ in before} == set(ALIGNMENTS)
    for (name, task), one in before.items():
        shown = (change & ~gaps[task])[test].any(1)
        assert change[test][~shown].any()
        assert shown.any() == (task != "T1")
        for leaf in ("mean", "std", "noise"):
            unseen = (getattr(found, leaf)[~shown] for found in (one, after[name, task]))
            np.testing.assert_array_equal(*unseen)
        # labels that are shown do reach every variant
        reached = (one.mean != after[name, task].mean)[shown].any(1)
        assert task == "T1" or reached.mean() > 0.5, (name, task)


def test_single_date_networks_need_a_day_of_both_sensors(data, path):
    config = Alignments(path, config=SMALL)
    names = {method.name for method in alignment.variants(config, data)}
    assert "mlp3, own days" not in names
    assert {"mlp3, pairs", "boosting, own days"} <= names
    with pytest.raises(ValueError, match="alignment: got 'weekly', expected one of"):
        alignment.variants(replace(config, alignments=("weekly",)), data)


def test_simulated_acquisitions_run_at_their_smallest(tmp_path):
    config = Alignments(
        scene=SceneConfig(height=24, width=24, periods=14),
        tasks=("T1", "T2a"),
        alignments=("pairs",),
        seeds=(0,),
        config=replace(SMALL, methods=("boosting",)),
        out=tmp_path / "out",
    )
    out = alignment.main(config)
    assert {file.name for file in out.iterdir()} == {"table.md", "alignment.json"}
    content = json.loads((out / "alignment.json").read_text())
    assert content["config"]["scene"]["height"] == 24
    rows = {(row["method"], row["task"]): row for row in content["rows"]}
    names = ("boosting, periods", "boosting, pairs")
    assert set(rows) == {(name, task) for name in names for task in ("T1", "T2a")}
    lines = (out / "table.md").read_text().splitlines()
    assert len(lines) == 4 + 2
    assert lines[2] == "| task | method | R2, periods | pairs |"
    # 16 blocks of the scene, a quarter of them is tested
    assert lines[0].endswith("seeds (0,), which test 4 clusters together")
    for (_, task), row in rows.items():
        base = rows[f"boosting, {PERIODS}", task]
        less, (low, high) = row["rmse_minus_periods"]
        assert less == pytest.approx(row["rmse"] - base["rmse"], abs=1e-9)
        assert low <= high
        # all are scored on the same labels
        assert row["n"] == base["n"] > 0
    assert rows["boosting, periods", "T1"]["rmse_minus_periods"] == [0.0, [0.0, 0.0]]
    assert rows["boosting, periods", "T1"]["n"] > rows["boosting, periods", "T2a"]["n"]
    (line,) = (line for line in lines if line.startswith("| T2a | `boosting` |"))
    less, (_, high) = rows["boosting, pairs", "T2a"]["rmse_minus_periods"]
    assert f"| {rows['boosting, periods', 'T2a']['r2']:.2f} [" in line
    assert (f"**{less:+.3f} [" if high < 0 else f"| {less:+.3f} [") in line


def test_doors(path, tmp_path):
    with xr.open_dataset(path, engine="h5netcdf") as ds:
        regular = ds["t"].values[0] + 12 * np.arange(ds.sizes["t"]) * np.timedelta64(1, "D")
        ds.assign_coords(t=regular).to_netcdf(tmp_path / "periods.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match="got regular dates, expected acquisitions"):
        alignment.load(Alignments(str(tmp_path / "periods.nc")))
