"""The pictures of a report: maps, series, loss curves and the classic panels, of the first seed."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from experiments import classic, report
from experiments.config import METHODS
from experiments.masks import MEANING
from experiments.page import Section, picture
from experiments.protocol import Data
from experiments.scoring import Estimates, View
from experiments.splits import Split
from s1jax import plots
from s1jax.plots import YARDSTICKS

SERIES_TASK = ("T2c", "T2b", "T2a", "T2e", "T2d", "T1")
MAP_TASK = ("T2e", "T2d", "T1", "T2b", "T2a", "T2c")
"""The first of these that was run is shown."""


class Shown(NamedTuple):
    """What the pictures are of: the first seed's test pixels."""

    data: Data
    pixel: np.ndarray
    """Places of the data's pixels in the flat grid."""
    split: Split
    views: dict[str, View]


def lighter(estimates: Estimates) -> Estimates:
    """The same in single precision, to keep for the pictures."""
    return estimates._replace(
        mean=estimates.mean.astype(np.float32), std=estimates.std.astype(np.float32)
    )


def _side(rows: list[dict], task: str) -> str:
    sides = {row["against"] for row in rows if row["task"] == task}
    return "truth" if "truth" in sides else "labels"


def _best(rows: list[dict], task: str) -> str:
    """The method of least RMSE that is no yardstick, or the best yardstick where none was run."""
    rows = [row for row in rows if row["task"] == task and row["against"] == _side(rows, task)]
    chosen = [row for row in rows if row["method"] not in YARDSTICKS] or rows
    return min(chosen, key=lambda row: row["rmse"])["method"]


def _six(view: View, estimates: Estimates, against: str) -> np.ndarray:
    """Six pixels from the best to the worst estimated, at even ranks."""
    where = view.scored[against]
    target = view.truth if against == "truth" else view.label
    error = np.where(where, estimates.mean - target, 0.0)
    mse = (error**2).sum(1) / np.maximum(where.sum(1), 1)
    usable = np.flatnonzero(where.any(1))
    ranked = usable[np.argsort(mse[usable], kind="stable")]
    return ranked[(np.linspace(0.02, 0.98, 6) * (ranked.size - 1)).astype(int)]


def _series(shown: Shown, rows: list[dict], kept: dict) -> Section:
    task = next(task for task in SERIES_TASK if task in shown.views)
    view, method = shown.views[task], _best(rows, task)
    against, parts = _side(rows, task), []
    for name in dict.fromkeys((method, "mogpr")):
        if (name, task) not in kept:
            continue
        estimates = kept[name, task]
        six = _six(view, kept[method, task], against)
        hidden = view.scored.get("labels", np.zeros(view.kept.shape, bool))
        truth = None if view.truth is None else view.truth[six]
        figure = plots.pixel_series(
            view.day, view.label[six], view.kept[six] | hidden[six], hidden[six], truth,
            estimates.mean[six], estimates.std[six], float(estimates.noise[six].mean()),
            title=f"{name}, {MEANING[task]}",
        )  # fmt: skip
        words = f"{name}: six test pixels from the best to the worst estimated by {method}, {task}"
        parts.append(picture(f"series-{name}-{task}", figure, words))
    return Section("Series of six pixels", parts)


def _maps(shown: Shown, rows: list[dict], kept: dict, ds: xr.Dataset) -> Section:
    task = next(task for task in MAP_TASK if task in shown.views)
    view, best = shown.views[task], _best(rows, task)
    against = _side(rows, task)
    where = view.scored[against]
    dates = np.argsort(-where.sum(0), kind="stable")[: max(3, (where.any(0)).sum() // 2)]
    dates = np.sort(dates)[np.linspace(0, len(dates) - 1, 3).astype(int)]
    target = np.where(where, view.truth if against == "truth" else view.label, np.nan)
    test = np.concatenate([fold.test for fold in shown.split.folds])
    name = "true NDVI" if against == "truth" else "NDVI label"
    parts = []
    for method in dict.fromkeys((best, "mogpr")):
        if (method, task) not in kept:
            continue
        estimates = kept[method, task]
        values = [v[:, dates] for v in (target, estimates.mean, estimates.std)]
        options = {"name": name, "title": f"{method}, {MEANING[task]}"}
        if min(ds.sizes["y"], ds.sizes["x"]) == 1:
            place = np.asarray(shown.data.series.place)[test]
            columns = (v.T for v in values)
            figure = plots.point_maps(
                *columns, place[:, 0], place[:, 1], view.day[dates], **options
            )
        else:
            rows_, columns_, (y, x) = _extent(shown.pixel[test], ds)
            grids = (_raster(v, shown.pixel[test], ds)[:, rows_, columns_] for v in values)
            unit = "degree" if np.abs(ds["x"].values).max() <= 360.0 else "m"
            figure = plots.maps(*grids, x, y, view.day[dates], **options, unit=unit)
        words = f"{method} on test pixels, three dates, {task} ({MEANING[task]}), against {against}"
        parts.append(picture(f"maps-{method}-{task}", figure, words))
    return Section("Maps", parts)


def _extent(pixel: np.ndarray, ds: xr.Dataset):
    """Rows and columns that hold some of the flat places, and their coordinates."""
    row, column = np.divmod(pixel, ds.sizes["x"])
    rows, columns = (slice(int(i.min()), int(i.max()) + 1) for i in (row, column))
    return rows, columns, (ds["y"].values[rows], ds["x"].values[columns])


def _raster(values: np.ndarray, pixel: np.ndarray, ds: xr.Dataset) -> np.ndarray:
    """(date, y, x) of values at flat places, NaN elsewhere."""
    grid = np.full((ds.sizes["y"] * ds.sizes["x"], values.shape[1]), np.nan)
    grid[pixel] = values
    return grid.T.reshape(values.shape[1], ds.sizes["y"], ds.sizes["x"])


def _curves(learnt: dict, split: Split) -> list[Section]:
    numbers, parts = {fold.name: k for k, fold in enumerate(split.folds)}, []
    for (method, fold), params in learnt.items():
        if getattr(params, "history", None) is not None:
            history = np.asarray(params.history)
            history = history[np.isfinite(history[:, 1])]
            name = method if fold == "all" else f"{method}, {fold} tested"
            figure = plots.loss_curves(history[:, 0], history[:, 1], title=name)
            file = f"loss-{method}-fold-{numbers[fold]}"
            parts.append(picture(file, figure, f"{name}: loss by epoch"))
    return [Section("Loss curves", parts)] if parts else []


def _classic(shown: Shown, rows: list[dict], kept: dict) -> Section:
    task = "T1" if "T1" in shown.views else next(iter(shown.views))
    view, against = shown.views[task], _side(rows, task)
    of = {(r["method"], r["task"], r["against"]): r["r2"] for r in rows}
    names = [n for n in METHODS[len(YARDSTICKS) :] if (n, task) in kept]
    names = names or [_best(rows, task)]
    target = view.truth if against == "truth" else view.label
    cases = [
        classic.Case(n, task, against, target, kept[n, task].mean, view.scored[against])
        for n in names
    ]
    return classic.section(cases, [of[n, task, against] for n in names])


def sections(
    dataset: str,
    split: str,
    seeds: tuple[int, ...],
    facts: dict,
    ds: xr.Dataset,
    rows: list[dict],
    shown: Shown,
    kept: dict[tuple[str, str], Estimates],
    learnt: dict,
) -> list[Section]:
    """All sections of report.html, in order.

    Args:
      dataset: its name.
      split: the split in words, with its warnings.
      seeds: of the run.
      facts: more lines of the summary.
      ds: the aligned cube.
      rows: of metrics.json.
      shown: what the pictures are of.
      kept: (method, task) -> estimates of the first seed.
      learnt: (method, fold) -> parameters of the first seed.
    """
    warnings = [w for w in split.split("; ") if "indicative" in w or "not independent" in w]
    facts = facts | {"source": ds.attrs.get("source", "not told")}
    if shown.data.relative:
        facts["time axis"] = "relative: dates in the figures count from a beginning of each pixel"
    for name in ("s1jax_funnel", "s1jax_repairs"):
        if ds.attrs.get(name):
            facts[name.removeprefix("s1jax_")] = ds.attrs[name]
    return [
        report.summary_section(dataset, split, seeds, facts, warnings),
        *report.score_sections(rows),
        _maps(shown, rows, kept, ds),
        _series(shown, rows, kept),
        *_curves(learnt, shown.split),
        _classic(shown, rows, kept),
    ]
