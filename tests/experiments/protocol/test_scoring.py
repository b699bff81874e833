"""Rows of metrics.json against scikit-learn and a bootstrap written as a loop."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from experiments.protocol import scoring
from experiments.protocol.scoring import Seconds
from experiments.protocol.tasks import TASKS
from s1jax import metrics
from s1jax.types import Estimate

PIXELS, DATES = 60, 20


def _test_set(seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 0.9, (PIXELS, DATES))
    label = truth + 0.05 * rng.normal(size=truth.shape)
    hidden = rng.random(truth.shape) < 0.3
    kept = ~hidden & (rng.random(truth.shape) < 0.5)
    return scoring.TestSet(
        day=19668 + 12.0 * np.arange(DATES), label=label, truth=truth, kept=kept,
        scored={"labels": hidden, "truth": hidden | (rng.random(truth.shape) < 0.1)},
        cluster=np.repeat([3, 8, 9, 17, 40], PIXELS // 5), direction=np.repeat([0, 1], PIXELS // 2),
        directions=("north", "south"), left_out=0,
    )  # fmt: skip


def _estimate(test_set, error, seed=1):
    noise = error * np.random.default_rng(seed).normal(size=test_set.truth.shape)
    std = np.full(test_set.truth.shape, error)
    return Estimate(test_set.truth + noise + 0.01, std, np.full(PIXELS, 0.05))


def _score(test_set, error, against, *, seed, draw=1):
    estimate = _estimate(test_set, error, draw)
    return scoring.score(test_set, estimate, Seconds(1.5, 0.5), against, seed=seed)


def _row(against="labels", error=0.1, reference=0.2):
    test_set = _test_set()
    of = [_score(test_set, error, against, seed=0)]
    best = [_score(test_set, reference, against, seed=0, draw=2)]
    return scoring.row("m", "T2a", against, of, best), test_set


@pytest.mark.parametrize("against", ["labels", "truth"])
def test_scores_are_scikit_learns(against):
    row, test_set = _row(against)
    where = test_set.scored[against]
    y = (test_set.label if against == "labels" else test_set.truth)[where]
    mean = _estimate(test_set, 0.1).mean[where]
    assert row["r2"] == pytest.approx(r2_score(y, mean), abs=1e-12)
    assert row["rmse"] == pytest.approx(root_mean_squared_error(y, mean), abs=1e-12)
    assert row["mae"] == pytest.approx(mean_absolute_error(y, mean), abs=1e-12)
    assert row["bias"] == pytest.approx((mean - y).mean(), abs=1e-12)
    other = _estimate(test_set, 0.2, seed=2).mean[where]
    assert row["skill"] == pytest.approx(
        1 - ((mean - y) ** 2).mean() / ((other - y) ** 2).mean(), abs=1e-12
    )
    assert row["n"] == where.sum()
    assert row["px_per_s"] == PIXELS / 0.5


def test_noise_counts_against_labels_only():
    labels, test_set = _row("labels")
    where = test_set.scored["labels"]
    z = (_estimate(test_set, 0.1).mean - test_set.label)[where] / np.hypot(0.1, 0.05)
    assert labels["coverage90"] == pytest.approx((np.abs(z) <= 1.6448536).mean())
    truth, _ = _row("truth")
    where = test_set.scored["truth"]
    z = (_estimate(test_set, 0.1).mean - test_set.truth)[where] / 0.1
    assert truth["coverage90"] == pytest.approx((np.abs(z) <= 1.6448536).mean())


def test_intervals_are_a_paired_bootstrap_of_whole_clusters():
    row, test_set = _row()
    where = test_set.scored["labels"]
    rng = np.random.default_rng([0, TASKS.index("T2a")])
    weight = rng.multinomial(5, np.full(5, 0.2), scoring.DRAWS)
    clusters = np.unique(test_set.cluster)
    means = [_estimate(test_set, 0.1).mean, _estimate(test_set, 0.2, seed=2).mean]
    r2, difference = [], []
    for draw in weight:
        pixels = np.concatenate(
            [
                np.flatnonzero(test_set.cluster == c)
                for c, n in zip(clusters, draw, strict=True)
                for _ in range(n)
            ]
        )
        y = test_set.label[pixels][where[pixels]]
        a, b = (m[pixels][where[pixels]] for m in means)
        r2.append(r2_score(y, a))
        difference.append(root_mean_squared_error(y, a) - root_mean_squared_error(y, b))
    np.testing.assert_allclose(row["ci95"]["r2"], np.quantile(r2, [0.025, 0.975]), atol=1e-10)
    np.testing.assert_allclose(
        row["ci95"]["rmse_minus_best_yardstick"],
        np.quantile(difference, [0.025, 0.975]), atol=1e-10,
    )  # fmt: skip
    assert row["ci95"]["rmse_minus_best_yardstick"][1] < 0


def test_strata_partition_the_values():
    row, test_set = _row()
    for name, bins in row["strata"].items():
        assert sum(cell["n"] for cell in bins.values()) == row["n"], name
        mae = sum(cell["mae"] * cell["n"] for cell in bins.values()) / row["n"]
        assert mae == pytest.approx(row["mae"])
    assert set(row["strata"]) == {"gap_days", "month", "ndvi", "direction"}
    where = test_set.scored["labels"][:30]
    error = (_estimate(test_set, 0.1).mean - test_set.label)[:30][where]
    north = row["strata"]["direction"]["north"]
    assert north["mae"] == pytest.approx(np.abs(error).mean())
    label = test_set.label
    dense = label[(label >= 0.6) & (label < 0.8) & test_set.scored["labels"]]
    assert row["strata"]["ndvi"]["Dense Veg"]["n"] == dense.size


def test_best_yardstick_is_chosen_per_task_and_has_no_skill_over_itself():
    test_set = _test_set()
    outcomes = {
        (name, "T2a", "truth"): [_score(test_set, error, "truth", seed=0)]
        for name, error in (("climatology", 0.3), ("linear", 0.1), ("mogpr", 0.05))
    }
    rows = {row["method"]: row for row in scoring.rows(outcomes)}
    assert rows["linear"]["skill"] == 0
    assert rows["linear"]["ci95"]["rmse_minus_best_yardstick"] == [0, 0]
    assert rows["climatology"]["skill"] < 0 < rows["mogpr"]["skill"]


def test_rows_are_means_over_seeds():
    test_set = _test_set()
    many = [_score(test_set, e, "labels", seed=s) for s, e in enumerate((0.1, 0.3))]
    one, two = (scoring.row("m", "T1", "labels", [o], [o]) for o in many)
    both = scoring.row("m", "T1", "labels", many, many)
    for name in ("r2", "mae", "crps", "coverage90"):
        assert both[name] == pytest.approx((one[name] + two[name]) / 2)
    assert both["n"] == one["n"] == two["n"]


def test_seeds_that_test_the_same_clusters_are_no_more_clusters():
    test_set = _test_set()
    one = _score(test_set, 0.1, "labels", seed=0)
    best = _score(test_set, 0.2, "labels", seed=0, draw=2)
    alone = scoring.row("m", "T1", "labels", [one], [best])["ci95"]
    again = scoring.row("m", "T1", "labels", [one] * 3, [best] * 3)["ci95"]
    for name in alone:
        np.testing.assert_allclose(again[name], alone[name], rtol=1e-12)
    # others are: the interval over twice as many clusters is narrower
    moved = one._replace(cluster=one.cluster + 100)
    twice = scoring.row("m", "T1", "labels", [one, moved], [best, best])["ci95"]["rmse"]
    assert np.diff(twice) < np.diff(alone["rmse"])


def test_a_draw_without_a_seed_s_clusters_is_told_by_the_others():
    test_set = _test_set()
    whole = _score(test_set, 0.1, "labels", seed=0)
    first = whole._replace(
        cluster=whole.cluster[:1], clusters=metrics.Statistics(*(x[:1] for x in whole.clusters))
    )
    low, high = scoring.row("m", "T1", "labels", [first, whole], [first, whole])["ci95"]["rmse"]
    assert np.isfinite([low, high]).all()
    assert low < high
    gain, (a, b) = scoring.difference([whole], [whole], "T1")
    assert gain == a == b == 0.0
