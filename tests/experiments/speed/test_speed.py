"""The bench measures what it says: every row a number, ratios of like and like."""

import json
import math
from dataclasses import replace
from importlib.util import find_spec

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from experiments.report.tables import Table
from experiments.speed import bed, peers
from experiments.speed import mogpr as bench
from experiments.speed.__main__ import main
from s1jax import gp, mogpr
from s1jax.gp import Observations
from s1jax.mogpr import MogprConfig
from s1jax.mogpr.inputs import channels_of

pytestmark = pytest.mark.slow

SMALL = {"training_pixels": 60, "validation_pixels": 40, "test_pixels": 24}
TINY = (
    "--training-pixels 60 --validation-pixels 40 --test-pixels 24 --mogpr.sample 6 "
    "--mogpr.iterations 2 --mogpr.latents 1 --mogpr.mean zero"
).split()
SCORES = {"r2_random", "r2_block", "r2_season", "coverage90"}
RAW = ("--mogpr.inputs", "raw")
ROW = {
    "name", "mode", "latents", "dtype", "device", "px_per_core_s", "kb_per_px", "px_per_s",
    "seconds", "pixels",
} | SCORES  # fmt: skip


def _bench(cube, out, *arguments):
    return main([arguments[0], *TINY, "--cube", str(cube), "--out", str(out), *arguments[1:]])


def _written(folder):
    assert "|" in (folder / "table.md").read_text()

    def _refuse(word):
        raise AssertionError(f"metrics.json holds {word}")

    content = json.loads((folder / "metrics.json").read_text(), parse_constant=_refuse)
    assert content["dataset"] == "field"
    assert "load average" in content["header"][1]
    assert "null" not in (folder / "metrics.json").read_text().split('"rows"')[1]
    return content


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """A cube whose radar tells some of the NDVI, in two districts."""
    rng = np.random.default_rng(0)
    t, y, x = 40, 16, 16
    phase = rng.uniform(0, 1, (1, y, x))
    ndvi = 0.5 + 0.3 * np.sin(2 * np.pi * (np.arange(t)[:, None, None] / 12 + phase))
    seen = ndvi + rng.normal(0, 0.05, ndvi.shape)
    seen[rng.random(seen.shape) < 0.4] = np.nan
    radar = {
        name: (("t", "y", "x"), level + 5 * ndvi + rng.normal(0, 1, ndvi.shape), {"units": "dB"})
        for name, level in (("VV", -12.0), ("VH", -20.0))
    }
    district = np.repeat(["north", "south"], y // 2)[:, None].repeat(x, axis=1)
    ds = xr.Dataset(
        {**radar, "S2ndvi": (("t", "y", "x"), seen), "district": (("y", "x"), district)},
        coords={
            "t": np.datetime64("2023-01-07", "ns") + np.arange(t) * np.timedelta64(12, "D"),
            "y": 9_230_000.0 - 400 * np.arange(y),
            "x": 460_000.0 + 400 * np.arange(x),
        },
        attrs={"crs": "EPSG:32749"},
    )
    path = tmp_path_factory.mktemp("cube") / "field.nc"
    ds.to_netcdf(path, engine="h5netcdf")
    return path


@pytest.fixture(scope="module")
def few(field):
    """The fold of the smallest bed."""
    return bed.load(bed.BedConfig(cube=str(field), **SMALL), ("T1", "T2a", "T2b"))


@pytest.fixture(scope="module")
def learnt(few):
    part = few.parts[0]
    options = MogprConfig(latents=1, sample=6, iterations=2, mean="regional", inputs="raw")
    return mogpr.fit_region(part.train, options)[0]


def test_mogpr_rows(field, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    options = ("--solvers", "kalman", "--latents", "1", "--pixels", "64", "--repeats", "1", *RAW)
    folder = _bench(field, tmp_path, "mogpr", *options, "--mogpr.hyper", "region", "--peers")
    content = _written(folder)
    assert [line.split()[0] for line in content["missing"]] == ["GPy", "gpytorch"]
    printed = capsys.readouterr().out
    assert "GPy is not installed" in printed
    rows = content["rows"]
    found = [(r["name"], r["mode"], r["latents"], r["dtype"]) for r in rows]
    assert found == [
        ("s1jax kalman", "region", 1, "float32"),
        ("s1jax kalman", "region", 1, "float64"),
        ("s1jax kalman", "pixel", 1, "float32"),
        ("mogpr default", "region", 1, "float32"),
        ("scikit-learn", "pixel", 1, "float64"),
    ]
    peer = rows.pop()
    assert peer["device"] == "1 x cpu"
    assert "release" in peer["work"]
    for row in rows:
        assert set(row) >= ROW
        assert row["px_per_s"] == pytest.approx(row["pixels"] / row["seconds"])
        assert row["px_per_core_s"] == pytest.approx(row["px_per_s"] / bed.cores())
        assert all(math.isfinite(row[k]) for k in SCORES)
        assert 0 <= row["coverage90"] <= 1
        assert row["kb_per_px"] > 1.0
    # one model: precision changes no score, and a program in single precision has room for double
    for score in SCORES:
        assert rows[0][score] == pytest.approx(rows[1][score], abs=1e-2)
    double, both = rows[1]["kb_per_px"], rows[0]["kb_per_px"]
    assert double < both < 1.5 * double
    assert rows[2]["kb_per_px"] > rows[0]["kb_per_px"]
    choice = {"inputs": "raw", "mean": "zero", "hyper": "region"}
    assert choice.items() <= rows[3].items()
    assert content["ratios"] == []


def test_variants_rows(field, tmp_path):
    # what compiles longest is left to the tests of mogpr itself
    ways = ("--ways", *(way for way in bench.WAYS if way not in ("stride", "pixel")))
    options = ("--pixels", "64", "--repeats", "1", *RAW, *ways)
    rows = _written(_bench(field, tmp_path, "variants", *options))["rows"]
    names = [row["name"] for row in rows]
    assert names[0] == "full model"
    assert len(set(names)) == len(names) == 5
    by = dict(zip(names, rows, strict=True))
    full = rows[0]
    assert full["ratio_to_full"] == 1.0
    for row in rows[1:]:
        assert row["ratio_to_full"] == pytest.approx(row["px_per_s"] / row["full_px_per_s"])
        assert row["fit_s"] >= 0
    for score in ("r2_random", "r2_block", "r2_season"):
        for name in ("per-pixel loop", "chunks of 100"):
            assert by[name][score] == pytest.approx(full[score], abs=1e-3)
    for name in ("20 inducing days", "fixed hyperparameters"):
        assert abs(by[name]["r2_random"] - full["r2_random"]) > 1e-6


def test_choices_rows_of_two_districts(field, tmp_path):
    options = ("--latents", "1", "--mogpr.hyper", "region", "--split", "district")
    folder = _bench(field, tmp_path, "choices", *options)
    written = _written(folder)
    assert {row["fold"] for row in written["rows"]} == {"north", "south"}
    for fold in ("north", "south"):
        rows = [row for row in written["rows"] if row["fold"] == fold]
        names = [(r["inputs"], r["mean"], r["hyper"], r["scale"]) for r in rows]
        assert names[:2] == [(k, "zero", "region", "region") for k in ("raw", "smooth")]
        assert names[2][3] == "pixel"
        (chosen,) = (row for row in rows if "chosen on validation" in row["verdict"])
        assert chosen["rmse_validation"] == min(row["rmse_validation"] for row in rows[:2])
        best = max(rows, key=lambda row: row["mean_r2"])
        assert "best on test" in best["verdict"]
        for row in rows:
            mean = np.mean([row[k] for k in ("r2_random", "r2_block", "r2_season")])
            assert row["mean_r2"] == pytest.approx(mean)
            assert "r2_none" in row


def _planted(name, mode, latents, speed, **more):
    row = {"name": name, "mode": mode, "latents": latents, "px_per_core_s": speed}
    return row | {"dtype": "float32", "device": "1 x cpu"} | more


def test_ratios_of_planted_timings():
    rows = [
        _planted("s1jax kalman", "region", 1, 5000.0),
        _planted("s1jax kalman", "region", 1, 2500.0, dtype="float64"),
        _planted("s1jax quasisep", "region", 1, 600.0),
        _planted("s1jax kalman", "region", 3, 900.0),
        _planted("s1jax kalman", "pixel", 1, 300.0),
        _planted("mogpr default", "region", 2, 1000.0),
        _planted("GPy", "shipped", 3, 0.5, dtype="float64"),
        _planted("GPy", "good-start", 1, 2.0, dtype="float64"),
        _planted("GPy", "good-start", 3, 1.0, dtype="float64"),
        _planted("GPy", "region", 1, 10.0, dtype="float64"),
        _planted("GPy rebuilt", "region", 1, 4.0, dtype="float64"),
        _planted("GPyTorch", "good-start", 1, 3.0),
        _planted("scikit-learn", "pixel", 1, 50.0),
    ]
    cells = [
        (r["of"].split(",")[1].strip(), r["over"].split(" (")[0], r["ratio"])
        for r in bench.ratios(rows)
    ]
    assert cells == [
        ("ICM", "GPy", 10_000),
        ("ICM", "GPy", 500),
        ("ICM", "GPy rebuilt", 1250),
        ("3 latents", "GPy", 1800),
        ("ICM", "GPy", 150),
        ("ICM", "GPyTorch", 100),
        ("2 latents", "GPy", 2000),
    ]
    first = bench.ratios(rows)[1]
    assert first["of"].startswith("s1jax kalman (region, ICM, float32")
    assert first["over"].startswith("GPy (region, ICM, float64")


def test_scores_are_those_of_the_hidden_labels(few):
    part = few.parts[0]
    seen = part.hidden["T2a"]
    assert seen.any()
    assert not part.test["T2a"].ndvi_valid[seen].any()
    std = np.full(part.label.shape, 0.1)
    told = bed.scores([part], [lambda series: (part.label, std)], ("T2a", "T2b"))
    assert told == {"r2_random": 1.0, "r2_block": 1.0, "coverage90": 1.0}
    level = np.full(part.label.shape, part.label[seen].mean())
    assert bed.scores([part], [lambda series: (level, std)], ("T2a",))[
        "r2_random"
    ] == pytest.approx(0)
    # a pixel without an answer is not scored, and what has no label at all is left out
    level[0] = np.nan
    assert "r2_random" in bed.scores([part], [lambda series: (level, std)], ("T2a",))
    none = part._replace(hidden={"T2a": np.zeros_like(seen)})
    assert bed.scores([none], [lambda series: (level, std)], ("T2a",)) == {}


def test_two_folds_pool_to_one(few):
    part = few.parts[0]
    half = len(part.label) // 2
    parts = [bed.some(part, np.arange(half)), bed.some(part, np.arange(half, len(part.label)))]

    def _tell(series):
        return np.tile(0.3 + 0.01 * np.arange(len(series.day)), (len(series.ndvi), 1)), 0.2 + (
            np.zeros(series.ndvi.shape)
        )

    one, two = (
        bed.scores(p, [_tell] * len(p), ("T2a", "T2b")) for p in ([part], parts)
    )  # fmt: skip
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert two[name] == pytest.approx(value)


def test_filled_repeats_the_pixels(few):
    series = few.parts[0].test["T2a"]
    n = len(series.ndvi)
    more = bed.filled(series, 2 * n + 1)
    np.testing.assert_array_equal(more.radar[n : 2 * n], series.radar)
    np.testing.assert_array_equal(more.ndvi[-1], series.ndvi[0])


def test_variant_of_what_was_learnt(few, learnt):
    train = few.parts[0].train
    want = {"inputs": "raw", "mean": "regional", "hyper": "region"}
    assert bed.variant(learnt, train) == want
    filtered = replace(learnt, inputs=channels_of(train, "smooth"), curve=None)
    assert bed.variant(filtered, train)["inputs"] == "smooth"
    assert bed.variant(filtered, train)["mean"] == "zero"


def test_the_loop_over_pixels_is_the_posterior(few, learnt):
    series = bed.filled(few.parts[0].test["T2b"], 5)
    mean, std = bench._loop(learnt)(series)
    want_mean, want_std = bed.predictor(mogpr.posterior, learnt)(series)
    np.testing.assert_allclose(mean, want_mean, atol=1e-4)
    np.testing.assert_allclose(std, want_std, rtol=1e-3)


def test_best_is_the_fastest_after_a_warm_up(monkeypatch):
    now, calls = [0.0], []
    monkeypatch.setattr(bed.time, "perf_counter", lambda: now[0])

    def _work():
        calls.append(len(calls))
        now[0] += (100.0, 3.0, 1.0, 2.0)[len(calls) - 1]
        return calls[-1]

    timed, last = bed.best(_work, 3)
    assert timed == 1.0
    assert last == 3
    assert len(calls) == 4
    del calls[:]
    assert bed.best(_work, 3, budget_s=50.0)[0] == 1.0
    del calls[:]
    assert bed.best(_work, 3, warm=False, budget_s=50.0)[0] == 100.0


def test_memory_is_of_a_pixel():
    hyper = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), gp.initial(1, 3))
    short, long = (bed.kb_per_px("kalman", hyper, dates) for dates in (16, 32))
    # what is kept of a date, in single and in double precision (`gp.precision`): mean and P h of
    # three outputs, 3 + 18 numbers; more than its fields
    assert (long - short) / 16 == pytest.approx((4 + 8) * 21 / 1e3, rel=0.2)


def test_markdown_by_hand():
    text = Table({"a": "", "b": ",.1f"}, [{"a": "x", "b": 1234.5}, {"a": "y"}]).markdown()
    assert text.splitlines() == ["| a | b |", "| :-- | --: |", "| x | 1,234.5 |", "| y | – |"]


def test_an_unknown_subcommand_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["nothing"])
    assert "mogpr" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("GPy") is None, reason="GPy is not installed (extra `bench`)")
def test_gpy_rebuilt_is_gpy_reused():
    hyper = gp.Hyper(*(np.asarray(x, np.float64) for x in gp.initial(1, 3)))
    found = {p.name: p for p in peers.available([hyper]).peers if p.mode == "region"}
    rng = np.random.default_rng(0)
    day = 12.0 * np.arange(20)
    series = Observations(day, rng.normal(size=(3, 20, 3)), rng.random((3, 20, 3)) < 0.7)
    anew, reused = (found[name].run(series, day) for name in ("GPy rebuilt", "GPy"))
    for a, b in zip(anew, reused, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)
    assert "built for every pixel" in found["GPy rebuilt"].work


def test_the_default_is_what_users_get():
    assert bed.BedConfig().mogpr == MogprConfig()
