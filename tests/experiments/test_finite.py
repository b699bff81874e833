"""What is not finite is said, left out, and ends with status 1; a relative axis has no months."""

import json

import numpy as np
import pytest

from experiments import run
from experiments.protocol import scoring
from experiments.protocol.config import parse
from experiments.protocol.scoring import Seconds
from s1jax import regions
from s1jax.commands import fill, region
from s1jax.types import Estimate


def _test_set(label, relative=False):
    pixels, dates = label.shape
    return scoring.TestSet(
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
    estimate = Estimate(np.full(shape, mean), np.full(shape, 0.1), np.zeros(shape[0]))
    test_set, seconds = _test_set(label, relative), Seconds(1.0, 1.0)
    outcome = scoring.score(test_set, estimate, seconds, "labels", seed=0)
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


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_run_keeps_what_is_finite_and_names_the_rest(tmp_path, monkeypatch):
    score = scoring.score

    def _score(test_set, estimate, seconds, against, *, seed):
        outcome = score(test_set, estimate, seconds, against, seed=seed)
        if estimate.mean.std() < 1e-6:  # a method that answers the same everywhere
            outcome = outcome._replace(fit_s=float("nan"))
        return outcome

    monkeypatch.setattr(scoring, "score", _score)
    calls = []
    monkeypatch.setattr(run, "row_line", lambda row: calls.append(row["method"]) or row["method"])
    heads = run.head_to_head

    def _heads(*arguments, **options):
        for method, task, estimate, seconds in heads(*arguments, **options):
            flat = estimate._replace(mean=np.full_like(estimate.mean, 0.5))
            yield method, task, flat if method == "linear" else estimate, seconds

    monkeypatch.setattr(run, "head_to_head", _heads)
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
    [(0, (), 0), (3, (), 1), (0, (regions.FailedTile(slice(0, 1), slice(0, 1), "x"),), 1)],
)
def test_status_of_a_region(not_finite, failed, status, monkeypatch):
    done = regions.Summary(10, not_finite, failed, 0.0, 0.0, 0.0)
    monkeypatch.setattr(region, "main", lambda job: done)
    assert fill.run(["cube.nc", "out.zarr"]) == status
