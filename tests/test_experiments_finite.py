"""What is not finite is said, left out, and ends with status 1; a relative axis has no months."""

import json

import numpy as np
import pytest

from experiments import mogpr, run, scoring
from experiments.config import parse
from experiments.scoring import Estimates, View
from s1jax import tiles


def _view(label, relative=False):
    pixels, dates = label.shape
    return View(
        day=19_000 + 12.0 * np.arange(dates),
        label=label,
        truth=None,
        kept=np.zeros(label.shape, bool),
        scored={"labels": np.ones(label.shape, bool)},
        cluster=np.arange(pixels),
        direction=np.zeros(pixels, int),
        directions=("all",),
        left_out=0,
        relative=relative,
    )


def _row(label, mean=0.5, relative=False):
    shape = label.shape
    estimates = Estimates(np.full(shape, mean), np.full(shape, 0.1), np.zeros(shape[0]), 1.0, 1.0)
    outcome = scoring.score(_view(label, relative), estimates, "labels", seed=0)
    return scoring.row("m", "T1", "labels", [outcome], [outcome])


def test_numbers_that_are_none_are_named():
    label = np.random.default_rng(0).uniform(0, 1, (12, 8))
    assert scoring.not_finite(_row(label)) == []
    with np.errstate(all="ignore"):
        alike = scoring.not_finite(_row(np.full((12, 8), 0.25)))
        broken = scoring.not_finite(_row(label, mean=np.nan))
    assert "r2" in alike
    assert "mae" not in alike
    assert {"r2", "mae", "ci95 rmse"} <= set(broken)


def test_a_relative_axis_has_no_months():
    label = np.random.default_rng(0).uniform(0, 1, (12, 8))
    assert set(_row(label)["strata"]) == {"gap_days", "ndvi", "month"}
    assert set(_row(label, relative=True)["strata"]) == {"gap_days", "ndvi"}


@pytest.mark.filterwarnings("default")
def test_a_run_keeps_what_is_finite_and_names_the_rest(tmp_path, monkeypatch):
    score = scoring.score

    def _score(view, estimates, against, *, seed):
        outcome = score(view, estimates, against, seed=seed)
        if estimates.mean.std() < 1e-6:  # a method that answers the same everywhere
            outcome = outcome._replace(fit_s=float("nan"))
        return outcome

    monkeypatch.setattr(scoring, "score", _score)
    calls = []
    monkeypatch.setattr(run, "row_line", lambda row: calls.append(row["method"]) or row["method"])
    heads = run.protocol.head_to_head

    def _heads(*arguments, **options):
        for method, task, estimates in heads(*arguments, **options):
            flat = estimates._replace(mean=np.full_like(estimates.mean, 0.5))
            yield method, task, flat if method == "linear" else estimates

    monkeypatch.setattr(run.protocol, "head_to_head", _heads)
    small = "--preset quick --scene.height 32 --scene.width 36 --training-pixels 40"
    small += " --validation-pixels 30 --test-pixels 30 --tasks T2a --methods knn_space"
    with pytest.raises(
        ValueError, match=r"left out: linear T2a labels \(fit_s\); linear T2a truth"
    ):
        run.run(parse([*small.split(), "--out", str(tmp_path)]))
    rows = json.loads((tmp_path / "metrics.json").read_text())["rows"]
    assert {row["method"] for row in rows} == {"climatology", "whittaker", "knn_space"}
    assert "linear" in calls
    assert not (tmp_path / "report.html").exists()
    assert not [*tmp_path.glob(".s1jax*")]


@pytest.mark.parametrize(
    ("not_finite", "failed", "status"),
    [(0, (), 0), (3, (), 1), (0, (tiles.Failed(slice(0, 1), slice(0, 1), "x"),), 1)],
)
def test_status_of_a_region(not_finite, failed, status, monkeypatch):
    done = tiles.Filled(10, not_finite, failed, 0.0, 0.0, 0.0)
    monkeypatch.setattr(mogpr, "main", lambda job: done)
    assert mogpr.run(["cube.nc", "out.zarr"]) == status
