"""From estimates on test pixels to rows of metrics.json: scores, cluster intervals, strata, and
errors in days of the seasons."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from experiments.protocol.tasks import TASKS, gap_days
from s1jax import metrics, phenology
from s1jax.batching import map_chunks
from s1jax.metrics import Statistics
from s1jax.plots import NDVI_RANGES, YARDSTICKS
from s1jax.types import Estimate

DRAWS = 1000
"""Bootstrap draws of the clusters."""
GAP_BINS = ((12.5, "<= 12"), (24.5, "<= 24"), (60.5, "<= 60"), (np.inf, "> 60"))
"""Upper ends of the gap lengths, days, and their names."""
_CHUNK = 512
"""Pixels whose seasons are read at once."""
_RATIOS = {
    **dict.fromkeys(("peak_mae", "peak_bias", "start_mae", "start_bias"), "matched"),
    **{"missed": "n", "extra": "estimated"},
}
"""Each error and the count of seasons that it is a mean or a share of."""


class TestSet(NamedTuple):
    """What a task queries of the test pixels of all folds; the same for all methods."""

    day: Float[np.ndarray, "time"]
    label: Float[np.ndarray, "pixel time"]
    truth: Float[np.ndarray, "pixel time"] | None
    kept: Bool[np.ndarray, "pixel time"]
    """Labels the method may see."""
    scored: dict[str, Bool[np.ndarray, "pixel time"]]
    """Where to score against "labels" and, in a simulation, against "truth"."""
    cluster: Int[np.ndarray, "pixel"]
    direction: Int[np.ndarray, "pixel"]
    directions: tuple[str, ...]
    left_out: int
    """Pixels without a hidden or without a kept label."""
    relative: bool = False
    """Days are none of a calendar: there are no months."""

    def target(self, against: str) -> Float[np.ndarray, "pixel time"]:
        """The truth or the labels."""
        return self.truth if against == "truth" else self.label


class Seconds(NamedTuple):
    """Wall clock of a method."""

    fit: float
    predict: float


class Outcome(NamedTuple):
    """Sums of one method on one task of one seed."""

    cluster: Int[np.ndarray, "cluster"]
    """Number of each cluster; the same block or cell has the same one in every seed."""
    clusters: Statistics
    strata: dict[str, dict[str, Statistics]]
    fit_s: float
    px_per_s: float
    seed: int


Outcomes = dict[tuple[str, str, str], list[Outcome]]
"""(method, task, against) -> sums, one a seed."""


def score(
    test_set: TestSet, estimate: Estimate, seconds: Seconds, against: str, *, seed: int
) -> Outcome:
    """Sums against "labels" (std and noise together) or against the "truth" (std alone)."""
    where, target, std = test_set.scored[against], test_set.target(against), estimate.std
    if against == "labels":
        std = np.sqrt(std**2 + estimate.noise[:, None] ** 2)
    values = (estimate.mean, std, target, where)
    names, cluster = np.unique(test_set.cluster, return_inverse=True)
    cluster = np.broadcast_to(cluster[:, None], where.shape)
    clusters = metrics.statistics_by_group(cluster, names.size, *values)
    some = clusters.n > 0
    strata = {}
    for stratum, (bins, labels) in _strata(test_set, target).items():
        sums = metrics.statistics_by_group(bins, len(labels), *values)
        strata[stratum] = {
            label: Statistics(*(leaf[k] for leaf in sums))
            for k, label in enumerate(labels)
            if sums.n[k] > 0
        }
    speed = where.shape[0] / max(seconds.predict, 1e-9)
    clusters = Statistics(*(leaf[some] for leaf in clusters))
    return Outcome(names[some], clusters, strata, seconds.fit, speed, seed)


def _strata(test_set: TestSet, target: np.ndarray) -> dict[str, tuple[np.ndarray, Sequence[str]]]:
    """Name -> bin of each value and the bins' names."""
    gap = np.searchsorted([end for end, _ in GAP_BINS], gap_days(test_set.day, test_set.kept))
    level = np.digitize(target, [low for low, _, _ in NDVI_RANGES[1:]])
    strata = {
        "gap_days": (gap, tuple(name for _, name in GAP_BINS)),
        "ndvi": (level, tuple(name for _, _, name in NDVI_RANGES)),
    }
    if not test_set.relative:
        day = np.floor(np.asarray(test_set.day, np.float64))
        month = pd.to_datetime(day, unit="D").month.to_numpy() - 1
        names = tuple(f"{m:02d}" for m in range(1, 13))
        strata["month"] = (np.broadcast_to(month, target.shape), names)
    if len(test_set.directions) > 1:
        direction = np.broadcast_to(test_set.direction[:, None], target.shape)
        strata["direction"] = (direction, test_set.directions)
    return strata


def scores_of(outcomes: Iterable[Outcome], name: str) -> float:
    """A score of `metrics.scores` over all clusters, mean over the seeds."""
    return _mean(metrics.scores(metrics.aggregate(outcome.clusters))[name] for outcome in outcomes)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _draws(outcomes: Sequence[Outcome], task: str) -> dict[str, np.ndarray]:
    """Scores of each bootstrap draw, mean over the seeds; the draws are the same for all methods.

    Clusters are drawn from those of all seeds together: a cluster that several seeds tested is in
    a draw with all of them, or with none, since its errors are no more independent for that.
    """
    names = np.unique(np.concatenate([outcome.cluster for outcome in outcomes]))
    rng = np.random.default_rng([outcomes[0].seed, TASKS.index(task)])
    weight = rng.multinomial(names.size, np.full(names.size, 1.0 / names.size), DRAWS)
    weight = weight.astype(np.float64)
    each = []
    for outcome in outcomes:
        mine = weight[:, np.searchsorted(names, outcome.cluster)]
        each.append(metrics.scores(metrics.aggregate(outcome.clusters, mine)))
    # a draw may hold no cluster of a seed: pandas leaves its NaN out of the mean
    frames = {name: pd.DataFrame([scores[name] for scores in each]) for name in ("r2", "rmse")}
    return {name: frame[np.isfinite(frame)].mean().to_numpy() for name, frame in frames.items()}


def difference(
    outcomes: Sequence[Outcome], others: Sequence[Outcome], task: str, *, score: str = "rmse"
) -> tuple[float, list[float]]:
    """A score ("rmse" or "r2") of a method less that of another, mean over seeds, and its paired
    95 % interval."""
    draws = _draws(outcomes, task)[score] - _draws(others, task)[score]
    return scores_of(outcomes, score) - scores_of(others, score), _interval(draws)


def _interval(draws: np.ndarray) -> list[float]:
    # a draw whose labels are all alike has no R2
    draws = draws[~np.isnan(draws)]
    return [float(x) for x in np.quantile(draws, [0.025, 0.975])] if draws.size else [np.nan] * 2


def _stratum(outcomes: Sequence[Outcome], name: str) -> dict[str, dict[str, float]]:
    cells = {}
    for label in sorted({label for o in outcomes for label in o.strata[name]}):
        each = [metrics.scores(o.strata[name][label]) for o in outcomes if label in o.strata[name]]
        cells[label] = {s: _mean(scores[s] for scores in each) for s in ("mae", "bias")}
        cells[label]["n"] = int(sum(scores["n"] for scores in each))
    return cells


def row(
    method: str,
    task: str,
    against: str,
    outcomes: Sequence[Outcome],
    reference: Sequence[Outcome] | None = None,
) -> dict:
    """One row of metrics.json: mean over seeds, 95 % intervals of a paired cluster bootstrap;
    without a reference it has no skill and no difference.

    Args:
      method: its name.
      task: one of `TASKS`.
      against: "truth" or "labels".
      outcomes: of the method, one a seed.
      reference: of the best yardstick on the same task, one a seed.
    """
    draws = _draws(outcomes, task)
    ci95 = {"r2": _interval(draws["r2"]), "rmse": _interval(draws["rmse"])}
    skill = {}
    if reference is not None:
        ci95["rmse_minus_best_yardstick"] = difference(outcomes, reference, task)[1]
        each = (
            metrics.skill(metrics.aggregate(o.clusters), metrics.aggregate(r.clusters))
            for o, r in zip(outcomes, reference, strict=True)
        )
        skill = {"skill": _mean(each)}
    names = ("r2", "rmse", "mae", "bias", "crps", "coverage90")
    return {
        "method": method,
        "task": task,
        "against": against,
        **{name: scores_of(outcomes, name) for name in names},
        **skill,
        "n": round(scores_of(outcomes, "n")),
        "fit_s": _mean(o.fit_s for o in outcomes),
        "px_per_s": _mean(o.px_per_s for o in outcomes),
        "ci95": ci95,
        "strata": {name: _stratum(outcomes, name) for name in outcomes[0].strata},
    }


def not_finite(row: dict) -> list[str]:
    """Names of the numbers of a row that are none; labels that are all alike have no R2."""
    flat = pd.json_normalize(row, sep=" ").iloc[0]
    return [
        name
        for name, value in flat.items()
        if not isinstance(value, str) and not np.isfinite(value).all()
    ]


def best(outcomes: Outcomes, methods: Sequence[str], task: str, against: str) -> str | None:
    """The method of least RMSE among those that were scored."""

    def _rmse(name):
        rmse = scores_of(outcomes[name, task, against], "rmse")
        return rmse if np.isfinite(rmse) else np.inf

    scored = [name for name in methods if (name, task, against) in outcomes]
    return min(scored, key=_rmse) if scored else None


def rows(outcomes: Outcomes, *, only: tuple[str, str, str] | None = None) -> list[dict]:
    """All rows, in the order scored, or `only` one of (method, task, against).

    The reference is the yardstick of least RMSE among those that were scored.
    """
    made = []
    for method, task, against in outcomes if only is None else (only,):
        many = outcomes[method, task, against]
        complete = {k: v for k, v in outcomes.items() if len(v) >= len(many)}
        name = best(complete, YARDSTICKS, task, against)
        reference = outcomes[name, task, against][: len(many)]
        made.append(row(method, task, against, many, reference))
    return made


def season_errors(
    day: Float[np.ndarray, "time"],
    truth: Float[np.ndarray, "pixel time"],
    mean: Float[np.ndarray, "pixel time"],
) -> dict[str, float]:
    """Scores of the seasons of `mean` against those of `truth`, over all pixels together.

    `phenology.seasons` reads both curves and `phenology.mismatch` matches them, each with its
    defaults. A true season counts where it is whole: one cut off by an end of the series has no
    true start.

    Args:
      day: days since 1970-01-01, ascending.
      truth: true NDVI; a pixel where it is not finite on every day is left out.
      mean: estimated NDVI; where it is not finite the pixel's seasons are missed.

    Returns:
      peak_mae, peak_bias, start_mae, start_bias: days, bias estimate - truth; NaN where no season
      is matched. missed: share of true seasons without a match; NaN where there is none.
      extra: share of estimated seasons without a true one; NaN where there is none. n: true
      seasons.

    Raises:
      ValueError: no pixel with a finite truth.
    """
    day, truth, mean = (np.asarray(array, np.float32) for array in (day, truth, mean))
    finite = np.isfinite(truth).all(axis=1)
    if not finite.any():
        raise ValueError("truth: got no pixel that is finite on every day, expected one or more")
    sums = partial(_sums, jnp.asarray(day))
    sums = map_chunks(sums, (truth[finite], mean[finite]), chunk=_CHUNK, label="seasons")
    total = {name: np.float64(np.sum(values, dtype=np.float64)) for name, values in sums.items()}
    errors = {"n": float(total["n"])}
    for name, of in _RATIOS.items():
        errors[name] = float(total[name] / total[of]) if total[of] else float("nan")
    return errors


@jax.jit
def _sums(day, curves):
    """Sums over the seasons of each pixel."""

    def _one(truth, mean):
        most = (day.size - 1) // 2
        true, estimate = (phenology.seasons(day, curve, most=most) for curve in (truth, mean))
        error = phenology.mismatch(true, estimate)
        matched = error.matched & true.whole

        def _sum(value):
            return jnp.sum(jnp.where(matched, value, 0.0))

        return {
            "peak_bias": _sum(error.peak),
            "peak_mae": _sum(jnp.abs(error.peak)),
            "start_bias": _sum(error.start),
            "start_mae": _sum(jnp.abs(error.start)),
            "matched": jnp.sum(matched),
            "missed": jnp.sum(error.missed & true.whole),
            "n": jnp.sum(true.whole),
            "extra": jnp.sum(error.extra),
            "estimated": jnp.sum(estimate.valid),
        }

    return jax.vmap(_one)(*curves)
