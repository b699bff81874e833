"""From estimates on test pixels to rows of metrics.json: scores, cluster intervals, strata."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from experiments.masks import TASKS, gap_days
from s1jax import metrics
from s1jax.metrics import Statistics
from s1jax.plots import NDVI_RANGES, YARDSTICKS

DRAWS = 1000
"""Bootstrap draws of the clusters."""

GAP_BINS = ((12.5, "<= 12"), (24.5, "<= 24"), (60.5, "<= 60"), (np.inf, "> 60"))
"""Upper ends of the gap lengths, days, and their names."""


class View(NamedTuple):
    """What a task asks of the test pixels of all folds; the same for all methods."""

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


class Estimates(NamedTuple):
    """A method's answer on the pixels of a View."""

    mean: Float[np.ndarray, "pixel time"]
    std: Float[np.ndarray, "pixel time"]
    noise: Float[np.ndarray, "pixel"]
    fit_s: float
    predict_s: float


class Outcome(NamedTuple):
    """Sums of one method on one task of one seed."""

    cluster: Int[np.ndarray, "cluster"]
    """Number of each cluster; the same block or cell has the same one in every seed."""
    clusters: Statistics
    strata: dict[str, dict[str, Statistics]]
    fit_s: float
    px_per_s: float
    seed: int


def _strata(view: View, target: np.ndarray) -> dict[str, tuple[np.ndarray, tuple[str, ...]]]:
    """Name -> bin of each value and the bins' names."""
    gap = np.searchsorted([end for end, _ in GAP_BINS], gap_days(view.day, view.kept))
    level = np.digitize(target, [low for low, _, _ in NDVI_RANGES[1:]])
    out = {
        "gap_days": (gap, tuple(name for _, name in GAP_BINS)),
        "ndvi": (level, tuple(name for _, _, name in NDVI_RANGES)),
    }
    if not view.relative:
        day = np.floor(np.asarray(view.day, np.float64)).astype(int)
        date = np.datetime64("1970-01-01", "D") + day
        month = np.broadcast_to(date.astype("datetime64[M]").astype(int) % 12, target.shape)
        out["month"] = (month, tuple(f"{m:02d}" for m in range(1, 13)))
    if len(view.directions) > 1:
        direction = np.broadcast_to(view.direction[:, None], target.shape)
        out["direction"] = (direction, view.directions)
    return out


def score(view: View, estimates: Estimates, against: str, *, seed: int) -> Outcome:
    """Sums against "labels" (std and noise together) or against the "truth" (std alone)."""
    where = view.scored[against]
    if against == "labels":
        target = view.label
        std = np.sqrt(estimates.std**2 + estimates.noise[:, None] ** 2)
    else:
        target, std = view.truth, estimates.std
    values = (estimates.mean, std, target, where)
    names, cluster = np.unique(view.cluster, return_inverse=True)
    cluster = np.broadcast_to(cluster[:, None], where.shape)
    clusters = metrics.grouped(cluster, names.size, *values)
    full = clusters.n > 0
    strata = {}
    for stratum, (bins, labels) in _strata(view, target).items():
        sums = metrics.grouped(bins, len(labels), *values)
        strata[stratum] = {
            label: Statistics(*(leaf[k] for leaf in sums))
            for k, label in enumerate(labels)
            if sums.n[k] > 0
        }
    return Outcome(
        cluster=names[full],
        clusters=Statistics(*(leaf[full] for leaf in clusters)),
        strata=strata,
        fit_s=estimates.fit_s,
        px_per_s=where.shape[0] / max(estimates.predict_s, 1e-9),
        seed=seed,
    )


def _draws(outcomes: list[Outcome], task: str) -> dict[str, np.ndarray]:
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
        each.append(metrics.scores(metrics.pool(outcome.clusters, mine)))
    # a draw may hold no cluster of a seed
    return {name: _nanmean([scores[name] for scores in each]) for name in ("r2", "rmse")}


def _nanmean(many: list[np.ndarray]) -> np.ndarray:
    stack = np.stack(many)
    count = np.isfinite(stack).sum(axis=0)
    total = np.where(np.isfinite(stack), stack, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def difference(
    outcomes: list[Outcome], others: list[Outcome], task: str, *, score: str = "rmse"
) -> tuple[float, list[float]]:
    """A score ("rmse" or "r2") of a method less that of another, mean over seeds, and its paired
    95 % interval."""
    mine, other = (
        _mean(metrics.scores(metrics.pool(o.clusters))[score] for o in many)
        for many in (outcomes, others)
    )
    draws = _draws(outcomes, task)[score] - _draws(others, task)[score]
    return mine - other, _interval(draws)


def _interval(draws: np.ndarray) -> list[float]:
    # a draw whose labels are all alike has no R2
    draws = draws[~np.isnan(draws)]
    return [float(x) for x in np.quantile(draws, [0.025, 0.975])] if draws.size else [np.nan] * 2


def _mean(values) -> float:
    return float(np.mean(list(values)))


def _stratum(outcomes: list[Outcome], name: str) -> dict[str, dict[str, float]]:
    out = {}
    for label in sorted({label for o in outcomes for label in o.strata[name]}):
        seen = [metrics.scores(o.strata[name][label]) for o in outcomes if label in o.strata[name]]
        out[label] = {s: _mean(x[s] for x in seen) for s in ("mae", "bias")}
        out[label]["n"] = int(sum(x["n"] for x in seen))
    return out


def row(
    method: str,
    task: str,
    against: str,
    outcomes: list[Outcome],
    reference: list[Outcome] | None = None,
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
    pooled = [metrics.scores(metrics.pool(o.clusters)) for o in outcomes]
    draws = _draws(outcomes, task)
    ci95 = {"r2": _interval(draws["r2"]), "rmse": _interval(draws["rmse"])}
    skill = {}
    if reference is not None:
        ci95["rmse_minus_best_yardstick"] = difference(outcomes, reference, task)[1]
        each = (
            metrics.skill(metrics.pool(o.clusters), metrics.pool(r.clusters))
            for o, r in zip(outcomes, reference, strict=True)
        )
        skill = {"skill": _mean(each)}
    names = ("r2", "rmse", "mae", "bias", "crps", "coverage90")
    return {
        "method": method,
        "task": task,
        "against": against,
        **{name: _mean(s[name] for s in pooled) for name in names},
        **skill,
        "n": round(_mean(s["n"] for s in pooled)),
        "fit_s": _mean(o.fit_s for o in outcomes),
        "px_per_s": _mean(o.px_per_s for o in outcomes),
        "ci95": ci95,
        "strata": {name: _stratum(outcomes, name) for name in outcomes[0].strata},
    }


def not_finite(row: dict) -> list[str]:
    """Names of the numbers of a row that are none; labels that are all alike have no R2."""

    def _names(content, name):
        parts = content.items() if isinstance(content, dict) else None
        if parts is None and isinstance(content, list | tuple):
            parts = ((None, one) for one in content)
        if parts is not None:
            for key, one in parts:
                yield from _names(one, name if key is None else f"{name} {key}".strip())
        elif isinstance(content, float) and not np.isfinite(content):
            yield name

    return list(dict.fromkeys(_names(row, "")))


def rows(
    outcomes: dict[tuple[str, str, str], list[Outcome]],
    *,
    only: tuple[str, str, str] | None = None,
) -> list[dict]:
    """All rows, in the order scored, or `only` one of (method, task, against).

    The best yardstick of a task is the one of least RMSE among those scored.
    """

    def _rmse(many):
        rmse = _mean(metrics.scores(metrics.pool(o.clusters))["rmse"] for o in many)
        return rmse if np.isfinite(rmse) else np.inf

    out = []
    for method, task, against in outcomes if only is None else (only,):
        many = outcomes[method, task, against]
        known = [
            outcomes[name, task, against]
            for name in YARDSTICKS
            if len(outcomes.get((name, task, against), [])) >= len(many)
        ]
        best = min(known, key=_rmse)[: len(many)]
        out.append(row(method, task, against, many, best))
    return out
