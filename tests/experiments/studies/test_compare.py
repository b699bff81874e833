"""The comparison: its files, what is computed again and what not, and what its tables claim."""

import dataclasses
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.protocol import data as datasets
from experiments.protocol import scoring
from experiments.protocol.config import METHODS, Config
from experiments.protocol.scoring import Outcome
from experiments.report import files as stored
from experiments.report import report
from experiments.report.files import Store, fingerprint
from experiments.report.report import Compared
from experiments.studies import compare
from experiments.studies.compare import Compare
from s1jax.metrics import statistics
from s1jax.plots import YARDSTICKS
from s1jax.simulate import SceneConfig

pytestmark = pytest.mark.slow

SMALL = Config(
    scene=SceneConfig(height=32, width=36), training_pixels=60, validation_pixels=30, test_pixels=40
)


def _outcome(error, *, clusters=12, seed=0, shift=0):
    """Errors of one size everywhere, in so many clusters."""
    rng = np.random.default_rng(1)
    sums = []
    for _ in range(clusters):
        truth = rng.uniform(0, 1, 50)
        sign = rng.choice([-1, 1], 50)
        spread = np.full(50, error)
        sums.append(statistics(truth + error * sign, spread, truth, np.ones(50, bool)))
    stacked = type(sums[0])(*(np.array(leaf) for leaf in zip(*sums, strict=True)))
    strata = {"month": {"01": sums[0]}}
    return Outcome(shift + np.arange(clusters), stacked, strata, 2.0, 1000.0, seed)


def _compared(errors, **options):
    outcomes = {
        (name, task, "labels"): [_outcome(error, seed=s, **options) for s in (0, 1)]
        for name, error in errors.items()
        for task in ("T1", "T2a", "T2b")
    }
    days = {
        name: [{"T1": {"peak_mae": 9.0, "start_mae": np.nan, "missed": 0.5}}] for name in errors
    }
    return Compared("sim_blocks", "words", "4 x 4; 12 test clusters", (0, 1), outcomes, days)


FLOOR = {"climatology": 0.3}
ERRORS = {"climatology": 0.3, "boosting": 0.2, "mogpr": 0.15, "cnp": 0.1, "ensemble": 0.08}


def test_outcomes_come_back_as_they_were(tmp_path):
    scored = {("T1", "truth"): _outcome(0.1, seed=3)}
    days = {"T1": {"peak_mae": 1.5}}
    store = Store(tmp_path / "a", "x")
    store.write("b/m", scored, days)
    assert store.path("b/m") == tmp_path / "a" / "b" / "m.json"
    back, again = store.read("b/m")
    assert again == days
    ((key, one),) = back.items()
    assert key == ("T1", "truth")
    assert one.seed == 3
    np.testing.assert_array_equal(one.cluster, np.arange(12))
    for a, b in zip(one.clusters, scored[key].clusters, strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.strata["month"]["01"].n == 50
    assert not list(tmp_path.rglob("*.part"))
    many, seasons = store.gather(["b/m", "b/m"])
    assert [outcome.seed for outcome in many["T1", "truth"]] == [3, 3]
    assert seasons == [days, days]
    with pytest.raises(ValueError, match="got results of other options"):
        store._replace(options="y").read("b/m")


def test_a_fingerprint_is_of_values_files_and_the_code_that_scores(tmp_path, monkeypatch):
    file = tmp_path / "a.nc"
    file.write_bytes(b"one")
    first = fingerprint(SMALL, file)
    assert fingerprint(SMALL, file) == first
    assert fingerprint(dataclasses.replace(SMALL, test_pixels=41), file) != first
    file.write_bytes(b"two")
    assert fingerprint(SMALL, file) != first
    assert (stored.ROOT / "s1jax" / "types.py").is_file()
    assert (stored.ROOT / "experiments" / "protocol" / "scoring.py").is_file()

    def _code():
        return stored._code.__wrapped__(tmp_path)

    for name in ("s1jax/gp/kalman.py", "s1jax/weights.npz", "experiments/protocol/scoring.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        before = _code()
        (tmp_path / name).write_text("1")
        one = _code()
        (tmp_path / name).write_text("2")
        assert len({before, one, _code()}) == 3
    # what shows results is no part of it
    before = _code()
    for name in ("s1jax/plots/a.py", "s1jax/doctor/a.py", "experiments/report/report.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
        assert _code() == before
    before = fingerprint(SMALL)
    monkeypatch.setattr(stored, "_code", lambda root: b"another")
    assert fingerprint(SMALL) != before


def test_results_of_other_data_are_refused_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(compare.head_to_head, "head_to_head", None)
    data = tmp_path / "paddy.nc"
    data.write_bytes(b"one")
    config = Compare(out=tmp_path / "out", data=tmp_path, config=SMALL)
    found = SimpleNamespace(name="paddy")
    for method in ("mlp3", "knn_space"):
        name = compare.path_in_store(0, method)
        config.store("paddy").write(name, {("T1", "labels"): _outcome(0.1)})
    compare.compute(config, found, ("mlp3", "knn_space"), 0)
    data.write_bytes(b"two")
    with pytest.raises(ValueError, match="got results of other options, data or another s1jax"):
        compare.compute(config, found, ("mlp3", "knn_space"), 0)


def _claims(one):
    return report.claims(report.verdicts([one])).markdown()


def test_a_claim_needs_clusters_and_an_interval():
    (line,) = [x for x in _claims(_compared(ERRORS)).splitlines() if "T2b" in x]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[3] == "`ensemble`"
    assert cells[5] == "`mogpr`"
    assert cells[7].startswith("-0.070 [")
    assert cells[8:] == ["12", "won"]
    # the claim is of one network: another that the test pixels like better is not claimed
    (line,) = [x for x in _claims(_compared(ERRORS | {"cnp": 0.01})).splitlines() if "T2b" in x]
    assert "| `ensemble` |" in line
    assert "-0.070 [" in line
    few = _claims(_compared(ERRORS, clusters=4))
    assert "(won: indicative)" in few
    worse = _claims(_compared(ERRORS | {"cnp": 0.4, "ensemble": 0.5}))
    assert "| lost |" in worse
    same = _claims(_compared(ERRORS | {"ensemble": 0.15, "cnp": 0.15}))
    assert "| open |" in same


def test_claims_are_counted():
    few = _compared(ERRORS, clusters=4)._replace(name="other")
    text = report.counted(report.verdicts([_compared(ERRORS), few]))
    assert text == (
        "1 comparisons on 1 simulated data sets: 1 won, 0 open, 0 lost.\n"
        "1 comparisons on 1 real data sets: 1 won (1 indicative), 0 open, 0 lost.\n"
    )


def test_the_published_kind_of_network_is_one_of_the_others():
    one = _compared(ERRORS | {"birnn": 0.05})
    (with_it,) = report.verdicts([one])
    (without,) = report.verdicts([one], report.CLASSICAL)
    assert (with_it.other, with_it.word) == ("birnn", "lost")
    assert (without.other, without.word) == ("mogpr", "won")
    assert report.both_counted([with_it], [without]) == (
        "With `birnn` among the others:\n\n"
        "1 comparisons on 1 simulated data sets: 0 won, 0 open, 1 lost.\n\n"
        "Without it:\n\n1 comparisons on 1 simulated data sets: 1 won, 0 open, 0 lost.\n"
    )


def test_two_districts_are_two_places_however_many_cells():
    one = _compared(ERRORS, clusters=36)
    many = {
        key: [o._replace(strata={"direction": dict.fromkeys(("north", "south"))}) for o in of]
        for key, of in one.outcomes.items()
    }
    (verdict,) = report.verdicts([one._replace(outcomes=many)])
    assert (verdict.places, verdict.word) == ("2 districts (36 cells)", "won: indicative")
    assert report.places(one.outcomes["cnp", "T2b", "labels"]) == (36, "36")
    words = report._tested(one._replace(outcomes=many))
    assert words.endswith("; 2 districts (36 cells) over the seeds, indicative")


def test_gains_are_paired_and_by_task():
    table = report.gains(_compared(ERRORS).outcomes)
    lines = table.cells()
    assert [*table.columns] == [
        *("task", "against", "`cnp` − `boosting`", "`cnp` − `mogpr`"),
        *("`ensemble` − `boosting`", "`ensemble` − `mogpr`"),
    ]
    assert [line[:2] for line in lines] == [[task, "labels"] for task in ("T1", "T2a", "T2b")]
    # errors of one size: R2 is 1 - error^2 / variance, of the same truth for every method
    cell = re.fullmatch(r"\+(\S+) \[\+(\S+), \+(\S+)\]", lines[0][2])
    gain, low, high = map(float, cell.groups())
    r2 = {
        name: np.mean([r["r2"] for r in scoring.rows(_compared({name: e} | FLOOR).outcomes)
                       if (r["method"], r["task"]) == (name, "T1")])
        for name, e in (("cnp", 0.1), ("boosting", 0.2))
    }  # fmt: skip
    assert abs(gain - (r2["cnp"] - r2["boosting"])) <= 0.005
    assert low < gain < high
    lacking = dict(_compared(ERRORS).outcomes)
    del lacking["boosting", "T2b", "labels"]
    assert report.gains(lacking).cells()[2][2] == "–"
    assert report.gains(_compared({"climatology": 0.3, "cnp": 0.1}).outcomes).rows == []


def test_promises_stand_beside_what_was_measured():
    one = _compared(ERRORS)
    rows = {"sim_blocks": scoring.rows(one.outcomes)}
    text = report.promised(rows).markdown()
    (line,) = [x for x in text.splitlines() if "`mogpr`" in x]
    (row,) = [r for r in rows["sim_blocks"] if r["method"] == "mogpr" and r["task"] == "T2a"]
    assert f"{row['r2']:.2f}" in line
    assert f"{(2.0 + 671 * 893 / 1000.0) / 60:.1f}" in line
    assert ".70–.85" in line
    assert "not run: a paid cloud service" in text
    assert "| `cropsar`, T2a | – | – |" in text


def test_tables_are_written(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- results:begin -->\nold\n<!-- results:end -->\nb\n", encoding="utf-8")
    (tmp_path / "docs").mkdir()
    results = tmp_path / "results.md"
    report.write_comparison(tmp_path / "out", [_compared(ERRORS)], readme=readme, results=results)
    text = readme.read_text(encoding="utf-8")
    head, _, *lines = text.split("<!-- results:begin -->\n")[1].split("\n<!--")[0].splitlines()
    assert head == "| method | simulated scene | Mekong rice | band covers | px/s |"
    assert [line.split("`")[1] for line in lines if line] == [
        name for name in report._README if name in ERRORS
    ]
    rows = scoring.rows(_compared(ERRORS).outcomes)
    (row,) = [r for r in rows if (r["method"], r["task"], r["against"]) == ("cnp", "T2b", "labels")]
    assert f"| {row['r2']:.2f} [" in next(line for line in lines if "`cnp`" in line)
    assert (tmp_path / "docs" / "overview.png").stat().st_size > 1000
    whole = results.read_text(encoding="utf-8")
    assert "| `cnp` | 9.0 | – | 50% |" in whole
    assert "With `birnn` among the others:" in whole
    assert "120,000" in whole
    assert "named beforehand" not in whole
    content = json.loads((tmp_path / "out" / "sim_blocks" / "metrics.json").read_text())
    assert content["seeds"] == [0, 1]
    assert {row["method"] for row in content["rows"]} == set(ERRORS)


def test_what_is_wanted():
    assert compare.wanted(Compare())["sim_year"] == compare.ALWAYS
    assert set(compare.wanted(Compare())) == set(datasets.SIMULATED)
    assert compare.wanted(Compare(methods=("all",)))["sim_year"] == METHODS
    some = compare.wanted(Compare(only=("sim_year/cnp", "sim_year/hybrid", "sim_region")))
    assert some == {"sim_year": (*YARDSTICKS, "cnp", "hybrid"), "sim_region": compare.ALWAYS}
    for wrong in ("sim_month", "sim_year/magic"):
        with pytest.raises(ValueError, match=f"only: got '{wrong}'"):
            compare.wanted(Compare(only=(wrong,)))
    with pytest.raises(ValueError, match=r"methods: got \['magic'\], expected all or some of"):
        compare.wanted(Compare(methods=("cnp", "magic")))
    assert compare.wanted(Compare(methods=("cnp",)))["sim_year"] == (*YARDSTICKS, "cnp")
    with pytest.raises(ValueError, match=r"data set: got 'mekong_rice_cube_a', expected one of"):
        datasets.dataset("mekong_rice_cube_a", SMALL, folder=None)


def test_a_folder_tells_its_data_sets(tmp_path):
    assert datasets.real(None) == ()
    with pytest.raises(ValueError, match=r"--data: got .*, expected a folder with data sets"):
        datasets.real(tmp_path)
    for name in ("paddy", "a_field"):
        (tmp_path / f"{name}.nc").touch()
    assert datasets.real(tmp_path) == ("a_field", "paddy")
    asked = compare.wanted(Compare(data=tmp_path, methods=("cnp",)))
    assert tuple(asked) == (*datasets.SIMULATED, "a_field", "paddy")
    (tmp_path / "sim_year.nc").touch()
    with pytest.raises(ValueError, match=r"got \['sim_year'\], expected other names"):
        datasets.real(tmp_path)


def test_other_region_is_tested_and_never_learnt_from():
    found = datasets.dataset("sim_region", SMALL, folder=None)
    (fold,) = found.split(0).folds
    place = np.asarray(found.data.series.position)
    home = place[:, 0] < place[:, 0].min() + 5e5
    assert home[fold.training].all()
    assert home[fold.validation].all()
    assert not home[fold.test].any()
    assert not set(fold.training) & set(fold.validation)
    assert found.transfer
    assert np.unique(fold.cluster).size > 10


@pytest.mark.timeout(600)
def test_goes_on_where_it_was_cut(tmp_path, capsys):
    config = Compare(
        out=tmp_path, only=("sim_blocks/mlp3",), seeds=(0, 1),
        config=dataclasses.replace(
            SMALL,
            mlp3=dataclasses.replace(
                SMALL.mlp3, train=dataclasses.replace(SMALL.mlp3.train, epochs=1)
            ),
        ),
    )  # fmt: skip
    compare.main(config)
    printed = capsys.readouterr().out
    assert len(re.findall(r"^mlp3 +T2b +truth", printed, re.M)) == 2
    first = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "`mlp3`" in first
    lost = tmp_path / "sim_blocks" / "seed-1" / "knn_space.json"
    before = lost.read_bytes()
    lost.unlink()
    compare.main(config)
    printed = capsys.readouterr().out
    assert "mlp3" not in printed.split("seed 1")[1].split("written")[0]
    assert "seed 0" not in printed

    def _sums(content):
        rows = json.loads(content)["rows"]
        return [{k: v for k, v in row.items() if k not in ("fit_s", "px_per_s")} for row in rows]

    assert _sums(lost.read_bytes()) == _sums(before)


def test_results_of_sets_that_are_not_at_hand_are_asked_for_before_anything_is_computed(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(datasets, "dataset", None)
    (tmp_path / "out" / "paddy").mkdir(parents=True)
    (tmp_path / "out" / "paddy" / compare.ABOUT).write_text("{}")
    config = Compare(out=tmp_path / "out", config=SMALL)
    with pytest.raises(ValueError, match=r"--data: got None, expected the folder of \['paddy'\]"):
        compare.main(config)
    (tmp_path / "paddy.nc").write_bytes(b"")
    assert compare.stored_datasets(dataclasses.replace(config, data=tmp_path)) == ["paddy"]
