"""What each change is worth: worlds of one landscape, cases that differ as they say, resumption."""

import json
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import r2_score

from experiments.studies import why
from experiments.studies.why import CLEAN, EXPORTED, Experiment, Observation, Options, Why
from s1jax import metrics, plots
from s1jax.features import WITH_PREVIOUS
from s1jax.simulate import SceneConfig
from s1jax.train import TrainConfig

pytestmark = pytest.mark.slow

SCENE = SceneConfig(height=32, width=32)
SHORT = TrainConfig(epochs=1, batches=2)


@pytest.fixture(scope="module")
def options():
    given = Options()
    networks = ("baseline", "mlp10", "window", "series", "cnp", "anew")
    short = {name: replace(getattr(given, name), train=SHORT) for name in networks}
    return replace(given, **short, epochs=(1,), batches=(64,), rates=(0.01,))


@pytest.fixture(scope="module")
def worlds():
    names = (EXPORTED, Observation("harmonised"), CLEAN, CLEAN._replace(aligned=True))
    return {world: why.observed(SCENE, world) for world in names}


def _labels(data):
    return np.asarray(data.series.ndvi), np.asarray(data.series.ndvi_valid)


def test_worlds_are_one_landscape(worlds):
    first, *others = worlds.values()
    for other in others:
        assert why.same_pixels(first.series, other.series)
        np.testing.assert_array_equal(first.truth, other.truth)
        np.testing.assert_array_equal(first.block, other.block)
    assert len(np.unique(first.block)) == 16
    moved = first.series._replace(day=first.series.day + 1)
    assert not why.same_pixels(first.series, moved)


def test_labels_are_worse_the_more_is_left_in(worlds):
    error = {}
    for world, data in worlds.items():
        label, valid = _labels(data)
        error[world] = np.sqrt(np.mean((label - data.truth)[valid] ** 2))
    assert error[CLEAN] < 0.15 < error[Observation("harmonised")] < error[EXPORTED]
    # alignment changes the radar alone
    near, far = worlds[CLEAN._replace(aligned=True)], worlds[CLEAN]
    for one, other in zip(_labels(near), _labels(far), strict=True):
        np.testing.assert_array_equal(one, other)
    both = near.series.radar_valid[..., 0] & far.series.radar_valid[..., 0]
    assert (near.series.radar[..., 0, 0] != far.series.radar[..., 0, 0])[both].mean() > 0.3


def test_averaged_radar_is_the_filtered_one(worlds):
    plain = worlds[CLEAN].series
    mean = why.observed(SCENE, CLEAN._replace(averaged=True)).series
    np.testing.assert_array_equal(mean.radar, plain.radar[..., 1:2, :])
    np.testing.assert_array_equal(mean.ndvi, plain.ndvi)


def test_each_step_changes_one_thing(options):
    ladder = why.ladder(options)
    assert len({case.name for case in ladder}) == len(ladder) == 13

    def _network(case):
        return case.estimator.args[0]

    for before, case in pairwise(ladder[:8]):
        changes = [before.observation != case.observation, before.tested != case.tested]
        one, other = _network(before), _network(case)
        changes += [
            getattr(one, name) != getattr(other, name)
            for name in ("indices_from_db", "tanh", "features", "hidden", "train", "balanced")
        ]
        assert sum(changes) == 1, case.name
    base = ladder[1]
    for case in why.alone(options)[:8]:
        one, other = _network(base), _network(case)
        changes = [base.observation != case.observation]
        changes += [
            getattr(one, name) != getattr(other, name)
            for name in ("indices_from_db", "tanh", "features", "hidden", "train", "balanced")
        ]
        assert sum(changes) == 1, case.name
    assert _network(ladder[6]).features == WITH_PREVIOUS
    sees = [getattr(_network(case), "ndvi", False) for case in ladder]
    assert sees == [False] * 11 + [True] * 2


def test_the_document_tests_what_it_trained_on(worlds):
    data = worlds[CLEAN]
    case = Experiment("x", CLEAN, None)
    (fold,) = why.split_of(data, case, (60, 20, 40), seed=0).folds
    assert not set(fold.training) & set(fold.test)
    assert (fold.training.size, fold.test.size) == (60, 40)
    same = why.split_of(data, case._replace(tested="training rows"), (60, 20, 40), seed=0)
    np.testing.assert_array_equal(same.folds[0].training, same.folds[0].test)
    whole = why.split_of(data, case._replace(rows=64), (60, 20, 40), seed=0)
    assert whole.folds[0].training.size > 60
    with pytest.raises(ValueError, match="labels of training pixels, expected the 256,000 of"):
        why.split_of(data, case._replace(rows=256_000), (60, 20, 40), seed=0)


def test_a_name_stands_for_what_is_computed(options):
    config = Why(options=options, scene=SCENE)
    ladder = why.ladder(options)
    names = [config.store(case).options for case in ladder]
    assert len(set(names)) == len(names)
    assert config.store(ladder[1]._replace(name="other")).options == names[1]
    assert replace(config, pixels=(9, 9, 9)).store(ladder[1]).options != names[1]
    # the ladder's third case and the first change alone are one computation
    assert names[2] == config.store(why.alone(options)[1]).options


@pytest.mark.timeout(600)
def test_runs_at_its_smallest_and_goes_on(tmp_path, options, capsys, monkeypatch):
    monkeypatch.setitem(why.TABLES, "ladder", lambda o: why.ladder(o)[:4])
    monkeypatch.setitem(why.TABLES, "alone", lambda o: why.alone(o)[1:3])
    config = Why(
        out=tmp_path, only=("ladder", "alone"), seeds=(0, 1), scene=SCENE, pixels=(40, 20, 30),
        options=options,
    )  # fmt: skip
    why.main(config)
    first = capsys.readouterr().out
    assert first.count(", seed 0: ") == 5
    content = json.loads((tmp_path / "why.json").read_text())
    rows = content["tables"]["ladder"]
    assert [row["name"] for row in rows] == [case.name for case in why.ladder(options)[:4]]
    assert "T1 truth difference" not in rows[0]
    assert "T1 truth difference" not in rows[1]  # other pixels were tested before
    less, low, high = rows[2]["T1 truth difference"]
    assert less == pytest.approx(rows[2]["T1 truth rmse"] - rows[1]["T1 truth rmse"], abs=1e-9)
    assert low <= less <= high
    assert rows[2]["clusters"] == 8
    assert (tmp_path / "why.png").stat().st_size > 1000
    table = (tmp_path / "table.md").read_text()
    assert "| masked, harmonised labels | clean | blocks |" in table
    lost = sorted((tmp_path / "cases").iterdir())[0]

    def _sums(path):
        rows = json.loads(path.read_text())["rows"]
        return [{k: v for k, v in row.items() if k not in ("fit_s", "px_per_s")} for row in rows]

    before = _sums(lost)
    lost.unlink()
    why.main(config)
    assert capsys.readouterr().out.count("T1/truth") == 1
    assert _sums(lost) == before
    with pytest.raises(ValueError, match=r"only: got \['stairs'\]"):
        why.main(replace(config, only=("stairs",)))


def test_bias_can_be_taken_out():
    rng = np.random.default_rng(0)
    truth = rng.normal(0.5, 0.2, (2, 30))
    mean = 0.6 * truth + rng.normal(-0.3, 0.05, truth.shape)
    everywhere = np.ones(truth.shape, bool)
    cluster = np.broadcast_to([[0], [1]], truth.shape)
    sums = metrics.statistics_by_group(cluster, 2, mean, np.ones_like(mean), truth, everywhere)
    found = why.without_bias([SimpleNamespace(clusters=sums)])
    wanted = r2_score(truth.ravel(), (mean - (mean - truth).mean()).ravel())
    assert found == pytest.approx(wanted)
    assert r2_score(truth.ravel(), mean.ravel()) < 0 < wanted


def test_figure_of_the_steps():
    ladder = [
        {"name": "a", "labels": (0.2, 0.1, 0.3), "truth": (-2.0, -2.2, -1.8)},
        {"name": "b", "labels": None, "truth": (0.5, 0.4, 0.6)},
    ]
    alone = [{"name": "c", "difference": (-0.1, -0.2, 0.0)}]
    left, right = plots.steps(ladder, alone).axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["a", "b"]
    assert [t.get_text() for t in right.get_yticklabels()] == ["c"]
    assert any("-2.0" in text.get_text() for text in left.texts)
    with pytest.raises(ValueError, match="ladder: got no step"):
        plots.steps([], alone)
