"""What a network looks at: planted dependence is found where it is, and nowhere else."""

import dataclasses
import json
import math
from functools import partial

import jax
import numpy as np
import pytest
import xarray as xr
from sklearn.metrics import r2_score, root_mean_squared_error

from experiments.protocol import head_to_head
from experiments.protocol.config import Config
from experiments.studies import explain
from experiments.studies.explain import ANEW, FULL, SEES, Explain, variants
from s1jax import networks
from s1jax.batching import title_or
from s1jax.estimators import TRANSFER_INFLATION
from s1jax.networks import CnpConfig
from s1jax.networks.model import template
from s1jax.types import Estimate, Estimator
from tests.worlds.mogpr import series_of
from tests.worlds.sequence import world

pytestmark = pytest.mark.slow

KEY = jax.random.key(0)
LAGS = ["-5", "-4", "-3", "-2", "-1", "0", "+1", "+2", "+3", "+4", "+5", "further"]


def _series(pixels=200, dates=30, orbits=1, *, looks=True):
    rng = np.random.default_rng(0)
    value = rng.normal(size=(pixels, dates, 2 * orbits + 1))
    valid = np.ones(value.shape, bool)
    valid[..., -1] = rng.random((pixels, dates)) < 0.5
    more = [rng.normal(size=value[..., :-1].shape) for _ in range(2 * looks)]
    return series_of(19000.0 + 12.0 * np.arange(dates), value, valid, looks=more)


def _lagged(lag, channel=0):
    """A method whose estimate of t is a channel of the radar of t + lag, and 0 past the ends."""

    def _tell(series):
        radar = np.asarray(series.radar)[..., 0, channel]
        at = np.arange(radar.shape[1]) + lag
        inside = (at >= 0) & (at < radar.shape[1])
        return np.where(inside, radar[:, np.clip(at, 0, radar.shape[1] - 1)], 0.0)

    return _tell


def _losses(found, tell, series):
    own = tell(series)
    everywhere = np.ones(own.shape, bool)
    return {name: explain.losses(own, a, own, everywhere) for name, a in found.items()}


@pytest.mark.parametrize("every", [11, 17, 1000])
def test_a_planted_lag_has_all_the_importance(every):
    series, tell = _series(), _lagged(-2)
    found = explain.of_lags(KEY, tell, series, repeats=3, every=every)
    assert list(found) == LAGS
    told = _losses(found, tell, series)
    # estimate and target are then independent draws: error sqrt(2) std, R2 from 1 to -1
    assert told["-2"]["rmse_rise"] == pytest.approx(math.sqrt(2), rel=0.03)
    assert told["-2"]["r2_fall"] == pytest.approx(2.0, rel=0.05)
    for name in set(LAGS) - {"-2"}:
        assert told[name]["rmse_rise"] == told[name]["r2_fall"] == 0.0


def test_what_lies_further_is_told_as_further():
    series, tell = _series(), _lagged(-13)
    exact = explain.of_lags(KEY, tell, series, repeats=2, every=30)
    told = _losses(exact, tell, series)
    assert {name for name in LAGS if told[name]["rmse_rise"] > 0} == {"further"}
    # every 11th date permuted at once, -13 cannot be told from -2: the documented price
    coarse = explain.of_lags(KEY, tell, series, repeats=2, every=11)
    told = _losses(coarse, tell, series)
    assert {name for name in LAGS if told[name]["rmse_rise"] > 0} == {"-2", "further"}


def test_a_lag_past_the_ends_has_no_answer():
    series, tell = _series(pixels=5, dates=8), _lagged(1)
    found = explain.of_lags(KEY, tell, series, repeats=2)
    for lag in range(-5, 6):
        at = np.arange(8) + lag
        outside = (at < 0) | (at >= 8)
        name = f"{lag:+d}" if lag else "0"
        assert (np.isnan(found[name]) == outside).all()
    assert np.isfinite(found["further"]).all()


def test_lags_that_would_be_told_as_one_are_refused():
    with pytest.raises(ValueError, match="every: got 10, expected at least 11 for 5 lags"):
        explain.of_lags(KEY, _lagged(0), _series(5), repeats=2, every=10)


def test_importance_is_of_the_group_that_counts():
    series, tell = _series(orbits=2), _lagged(-2, channel=3)
    mask = np.zeros(series.ndvi.shape, bool)
    found = explain.of_groups(KEY, tell, series, mask, repeats=2)
    looks = ["look 1 x 1", "look 3 x 3", "look 7 x 7"]
    channels = ["VV 1", "VH 1", "VV 2", "VH 2"]
    assert list(found) == ["radar", *channels, *looks, "own NDVI", "days around"]
    told = _losses(found, tell, series)
    hit = {name for name, loss in told.items() if loss["rmse_rise"] > 0}
    assert hit == {"radar", "VH 2", "look 1 x 1"}
    for name in hit:
        assert told[name]["r2_fall"] == pytest.approx(2.0, rel=0.1)

    def _own(part):
        return np.where(part.ndvi_valid, part.ndvi, 0.0)

    told = _losses(explain.of_groups(KEY, _own, series, mask, repeats=2), _own, series)
    assert {name for name, loss in told.items() if loss["rmse_rise"] > 0} == {"own NDVI"}


def test_groups_are_what_the_series_has():
    series = _series(5, looks=False)
    assert list(explain.groups(series)) == ["radar", "VV", "VH", "own NDVI", "days around"]
    series.ndvi_valid[:] = False
    assert list(explain.groups(series)) == ["radar", "VV", "VH", "days around"]
    with pytest.raises(ValueError, match="group: got 'own NDVI', expected one of"):
        explain.permuted(KEY, series, "own NDVI", np.zeros((5, 30), bool))


def test_whole_series_are_exchanged_with_what_is_valid():
    series = _series(40)
    series.radar_valid[:20, ::2] = False
    before = jax.tree.map(np.copy, series)
    mask = np.zeros((40, 30), bool)
    other = np.asarray(jax.random.permutation(KEY, 40))
    radar = explain.permuted(KEY, series, "radar", mask)
    for field in ("radar", "radar_valid"):
        np.testing.assert_array_equal(getattr(radar, field), getattr(series, field)[other])
    for field in ("ndvi", "ndvi_valid"):
        np.testing.assert_array_equal(getattr(radar, field), getattr(series, field))
    vh = explain.permuted(KEY, series, "VH", mask)
    np.testing.assert_array_equal(vh.radar[..., 1], series.radar[other][..., 1])
    np.testing.assert_array_equal(vh.radar[..., 0], series.radar[..., 0])
    np.testing.assert_array_equal(vh.radar_valid[..., 1], series.radar_valid[other][..., 1])
    look = explain.permuted(KEY, series, "look 3 x 3", mask)
    both = series.radar_valid & series.radar_valid[other]
    wanted = series.radar.copy()
    wanted[..., 1, :] = np.where(both, series.radar[other][..., 1, :], series.radar[..., 1, :])
    np.testing.assert_array_equal(look.radar, wanted)
    np.testing.assert_array_equal(look.radar_valid, series.radar_valid)
    # nothing was written into what was given
    jax.tree.map(np.testing.assert_array_equal, series, before)


def test_a_gap_stays_a_gap():
    series = _series(40)
    mask = np.random.default_rng(1).random((40, 30)) < 0.3
    series.ndvi_valid[:] &= ~mask
    found = explain.permuted(KEY, series, "own NDVI", mask)
    other = np.asarray(jax.random.permutation(KEY, 40))
    valid = found.ndvi_valid
    assert not valid[mask].any()
    np.testing.assert_array_equal(valid[~mask], series.ndvi_valid[other][~mask])
    theirs = series.ndvi[other]
    np.testing.assert_array_equal(found.ndvi[valid], theirs[valid])


def test_steps_are_permuted_in_time():
    series = _series(3, 8)
    mask = np.zeros((3, 8), bool)
    same = explain.permuted(KEY, series, "days around", mask)
    np.testing.assert_array_equal(same.day, series.day)
    day = np.array([0.0, 1, 3, 6, 10, 15, 21, 28])
    moved = explain.permuted(KEY, series._replace(day=day), "days around", mask).day
    assert sorted(np.diff(moved)) == sorted(np.diff(day))
    assert (moved != day).any()
    assert moved[0] == day[0]
    np.testing.assert_array_equal(same.radar, series.radar)


def test_losses_are_those_of_scikit_learn():
    rng = np.random.default_rng(3)
    target, own = rng.normal(size=(2, 30, 8))
    after = rng.normal(size=(4, 30, 8))
    where = rng.random((30, 8)) < 0.5
    after[1, :3] = np.nan
    scored = where.copy()
    scored[:3] = False
    found = explain.losses(own, after, np.where(where, target, np.nan), where)
    truth = target[scored]
    rmse = [root_mean_squared_error(truth, a[scored]) for a in (own, *after)]
    r2 = [r2_score(truth, a[scored]) for a in (own, *after)]
    assert found["n"] == scored.sum()
    assert found["rmse"] == pytest.approx(rmse[0])
    assert found["rmse_rise"] == pytest.approx(np.mean(rmse[1:]) - rmse[0])
    assert found["r2_fall"] == pytest.approx(r2[0] - np.mean(r2[1:]))
    assert found["rmse_se"] == pytest.approx(np.std(rmse[1:], ddof=1) / 2)
    assert found["r2_se"] == pytest.approx(np.std(r2[1:], ddof=1) / 2)
    with pytest.raises(ValueError, match="repeats, scored values: got 1, "):
        explain.losses(own, after[:1], target, where)
    with pytest.raises(ValueError, match="got 4, 0, expected"):
        explain.losses(own, after, target, np.zeros_like(where))


def _told(pixels, dates=30):
    mask = np.zeros((pixels, dates), bool)
    options = {"repeats": 2, "most": 1, "every": 3}
    return explain.estimates(KEY, _lagged(1), _series(pixels, dates), mask, **options)


def test_folds_are_scored_together():
    folds = [_told(20), _told(30)]
    target = np.concatenate([fold[explain.UNCHANGED] for fold in folds])
    assert target.shape == (50, 30)
    rows = explain.rows(folds, target, np.ones(target.shape, bool))
    assert [row["name"] for row in rows if row["kind"] == "lag"] == ["-1", "0", "+1", "further"]
    told = {row["name"]: row for row in rows}
    assert told["+1"]["n"] == 50 * 29
    assert told["-1"]["rmse_rise"] == told["VH"]["rmse_rise"] == 0.0 < told["+1"]["rmse_rise"]
    # what one fold has not is not told
    del folds[1]["group", "own NDVI"]
    names = [row["name"] for row in explain.rows(folds, target, np.ones(target.shape, bool))]
    assert "own NDVI" not in names


def test_variants_differ_in_one_thing():
    """But for the network of one date, which is of another kind."""
    cnp = CnpConfig()
    found = variants(cnp, longer=3)
    assert list(found) == list(SEES)
    assert found[FULL] == (cnp, FULL)
    anew = dataclasses.replace(cnp, pretrained=False)
    for name, (config, reference) in found.items():
        times = 1 if config.pretrained else 3
        assert config.train.epochs == times * cnp.train.epochs
        assert config.train.steps == times * cnp.train.steps
        if config.pretrained:
            # starts from the shipped weights
            networks.pretrained(config)
        base = anew if reference == ANEW else cnp
        same = dataclasses.replace(config, train=cnp.train)
        differs = [
            field.name
            for field in dataclasses.fields(cnp)
            if getattr(same, field.name) != getattr(base, field.name)
        ]
        if "single date" in name:
            assert differs == ["net", "hidden", "window"]
        else:
            assert len(differs) == (name != FULL)


def test_a_single_date_sees_no_other():
    """Even with weights that are not those of a new network, whose convolutions start at zero."""
    series = world(0, 8)[0]
    other = series._replace(radar=series.radar.copy())
    other.radar[:, 10] += 3.0
    single = variants(CnpConfig(width=8, dilations=(1,), chunk=8), longer=1)
    names, rng = {f"{ANEW}, single date": False, ANEW: True}, np.random.default_rng(0)
    for name, sees in names.items():
        config = single[name][0]
        shapes = jax.eval_shape(partial(template, config))
        drawn = jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype(x.dtype), shapes)
        params = networks.adapt(drawn, series)
        told = [networks.predict(params, s, s.day).mean for s in (series, other)]
        changed = (told[0] != told[1]).any(0)
        assert changed[10]
        assert np.delete(changed, 10).any() == sees


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"variants": ("no sense",)}, r"variants: got \['no sense'\], expected some of"),
        ({"tasks": ("T1",)}, r"permuted_tasks: got \['T2b'\], expected some of \('T1',\)"),
        ({"tasks": ("T1", "T2e"), "permuted_tasks": ("T2e",)}, "permuted_tasks: got"),
        ({"repeats": 1}, "repeats: got 1, expected at least 2"),
        ({"most": 6, "every": 11}, "every: got 11, expected at least 13"),
    ],
)
def test_what_cannot_be_told_is_refused_before_it_is_trained(options, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        explain.main(Explain(**options, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


POINTS = Explain(
    split="district",
    tasks=("T1", "T2a"),
    permuted_tasks=("T1", "T2a"),
    permuted_pixels=12,
    repeats=2,
    variants=("no spatial", f"{ANEW}, single date"),
)


def _cube(path, height, width, district, *, step_m):
    """A label is VV of two dates before, in other words, and a fifth of them are missing."""
    rng = np.random.default_rng(0)
    radar = rng.normal(-14.0, 2.0, (2, 26, height, width))
    truth = 0.5 + 0.05 * (np.roll(radar[0], 2, axis=0) + 14.0)
    label = np.where(rng.random(truth.shape) < 0.2, np.nan, truth)
    label[:2] = np.nan
    names = {"VV": radar[0], "VH": radar[1], "S2ndvi": label} | (
        {} if district is not None else {"truth": truth}
    )
    units = {name: {"units": "dB"} if name in ("VV", "VH") else {} for name in names}
    ds = xr.Dataset(
        {name: (("t", "y", "x"), leaf, units[name]) for name, leaf in names.items()},
        coords={
            "t": np.datetime64("2022-07-07", "ns") + np.arange(26) * np.timedelta64(12, "D"),
            "y": 9_230_000.0 - step_m * np.arange(height),
            "x": 460_000.0 + step_m * np.arange(width),
        },
        attrs={"crs": "EPSG:32749"},
    )
    if district is not None:
        ds["district"] = ("y", district)
    ds.to_netcdf(path, engine="h5netcdf")
    return str(path)


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """Single pixels in two districts."""
    path = tmp_path_factory.mktemp("points") / "points.nc"
    return _cube(path, 36, 1, np.repeat(["north", "south"], (20, 16)), step_m=700.0)


def _planted(config):
    """It tells the labels of `points` from the radar, unless it sees the date alone."""
    lag = 0 if config.net == "window" else -2

    def _predict(params, series, days):
        mean = 0.5 + 0.05 * (_lagged(lag)(series) + 14.0)
        return Estimate(mean, np.full(mean.shape, 0.01), np.full(len(mean), 0.01))

    return Estimator(lambda key, training, validation: title_or(""), _predict)


def test_a_real_set_is_scored_and_explained_over_its_districts(points, monkeypatch):
    inflation = []

    def _made(config):
        inflation.append(config.inflation)
        return _planted(config)

    monkeypatch.setattr(explain.networks, "sequence", _made)
    setup = explain.load(POINTS, points)
    key_fit, key_permute = jax.random.split(setup.draw.key)
    assert setup.words.startswith("district: 2 districts")
    rows, params = explain.ablate(key_fit, POINTS, setup)
    assert set(inflation) == {TRANSFER_INFLATION}
    assert params == {"north": FULL, "south": FULL}
    # points have no neighbours; what another variant is held against is there too
    assert list(dict.fromkeys(row["variant"] for row in rows)) == [FULL, ANEW, list(SEES)[-1]]
    told = {(row["variant"], row["task"]): row for row in rows}
    assert {row["against"] for row in rows} == {"labels"}
    for task in POINTS.tasks:
        assert told[FULL, task]["r2"] == pytest.approx(1.0, abs=1e-6)
        assert told[FULL, task]["coverage90"] == 1.0
        assert told[FULL, task]["ci95"]["rmse_minus_reference"] == [0.0, 0.0]
        single = told[f"{ANEW}, single date", task]
        assert single["reference"] == ANEW
        assert single["r2"] == pytest.approx(-1.0, abs=0.3)
        low, high = single["ci95"]["rmse_minus_reference"]
        assert 0 < low < single["rmse"] < high
    found = explain.permute(key_permute, POINTS, setup, params)
    for task in POINTS.tasks:
        rises = {r["name"]: r["rmse_rise"] for r in found if r["task"] == task}
        assert set(LAGS) <= set(rises)
        assert ("own NDVI" in rises) == (task == "T2a")
        hit = {name for name, rise in rises.items() if rise > 1e-4}
        assert hit == {"radar", "VV", "-2"}
        assert rises["-2"] == pytest.approx(math.sqrt(2) * 0.1, rel=0.3)


SMALL = Explain(
    training_pixels=40,
    validation_pixels=20,
    test_pixels=20,
    tasks=("T1", "T2b"),
    permuted_tasks=("T2b",),
    permuted_pixels=16,
    repeats=2,
    variants=(),
    cnp=CnpConfig(
        width=4,
        dilations=(1,),
        chunk=16,
        pretrained=False,
        train=dataclasses.replace(CnpConfig().train, epochs=1, batches=2),
    ),
)


def test_runs_at_its_smallest(tmp_path, monkeypatch):
    path = _cube(tmp_path / "scene.nc", 16, 16, None, step_m=50.0)
    opened = head_to_head.load(Config(cube=path))
    # instead of a simulated scene, which takes long
    monkeypatch.setattr(head_to_head, "load", lambda config: opened)
    out = explain.main(dataclasses.replace(SMALL, out=tmp_path / "out"))
    assert {path.name for path in out.iterdir()} == {"table.md", "explain.json", "importance.png"}
    content = json.loads((out / "explain.json").read_text())
    assert content["config"]["cnp"]["width"] == 4
    (one,) = content["datasets"]
    assert one["dataset"] == "scene"
    assert "not independent" in one["split"]
    told = {(row["variant"], row["task"], row["against"]): row for row in one["ablation"]}
    sides = [(task, side) for task in ("T1", "T2b") for side in ("truth", "labels")]
    assert set(told) == {(FULL, *side) for side in sides}
    found = {(row["task"], row["against"]) for row in one["importance"]}
    assert found == {("T2b", "truth"), ("T2b", "labels")}
    names = {row["name"] for row in one["importance"]}
    assert {*LAGS, "radar", "VV", "VH", "look 7 x 7", "own NDVI"} < names
    # periods are regular
    assert all(r["rmse_rise"] == 0.0 for r in one["importance"] if r["name"] == "days around")
    lines = [x for x in (out / "table.md").read_text().splitlines() if x.startswith("| scene")]
    for line, side in zip(lines, ("truth", "labels"), strict=True):
        row = told[FULL, "T1", side]
        wanted = "{:.2f} [{:.2f}, {:.2f}]".format(row["r2"], *row["ci95"]["r2"])
        assert line.startswith(f"| scene | {side} | full | {wanted} |")
    assert (out / "importance.png").read_bytes()[:4] == b"\x89PNG"
