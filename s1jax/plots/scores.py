"""Figures of scores, from the rows of metrics.json: by task, by stratum, with their intervals."""

import re
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s1jax.plots.classic import NDVI_RANGES
from s1jax.plots.style import QUIET, TASKS, YARDSTICKS, method_style, new_figure

Rows = Sequence[Mapping]
"""Rows of metrics.json: one per method, task and what it was scored against."""

_LOWEST_R2 = -0.5  # a method below it is drawn at the edge with its value, else it hides the rest


def distinct(rows: Rows, field: str) -> list[str]:
    """Values of a field over the rows: tasks in their order, others as they first appear.

    Args:
      rows: rows of metrics.json.
      field: "method", "task" or "against".
    """
    found = list(dict.fromkeys(row[field] for row in rows))
    return sorted(found) if field == "task" else found


def best_yardstick(rows: Rows, task: str, against: str) -> Mapping | None:
    """Row of the yardstick with the lowest RMSE in a task; None where no yardstick has a row."""
    rows = [row for row in _select(rows, task, against) if row["method"] in YARDSTICKS]
    return min(rows, key=lambda row: row["rmse"], default=None)


@mpl.rc_context(QUIET)
def overview(rows: Rows) -> Figure:
    """R2 with its 95 % interval, a column per task, a line per method; 9 inches wide.

    Scores against truth (where there are any) stand above those against labels. The dotted line is
    the best yardstick's R2; a value too low for the axis is written at its edge.

    Raises:
      ValueError: no rows.
    """

    def _draw(axes: Axes, task: str, against: str, methods: list[str], low: float) -> None:
        for row in _select(rows, task, against):
            colour, marker = method_style(row["method"])
            _interval(axes, methods.index(row["method"]), row["r2"], row["ci95"]["r2"], low, colour)
            if row["r2"] >= low:
                axes.plot(row["r2"], methods.index(row["method"]), marker, color=colour, ms=4)
        yardstick = best_yardstick(rows, task, against)
        if yardstick is not None:
            axes.axvline(max(yardstick["r2"], low), color="#808080", linewidth=1, linestyle=":")

    lows = [row["ci95"]["r2"][0] for row in rows]
    low = max(min([*lows, 0.0]) - 0.05, _LOWEST_R2)
    return _by_task(
        rows,
        lambda *args: _draw(*args, low),
        (low, 1.0),
        "R² against {} (bar: 95 % interval, dotted: best yardstick)",
    )


@mpl.rc_context(QUIET)
def coverage(rows: Rows) -> Figure:
    """Share of the test values inside the 90 % band, by task and method, against the .90 wanted.

    Raises:
      ValueError: no rows.
    """

    def _draw(axes: Axes, task: str, against: str, methods: list[str]) -> None:
        axes.axvline(0.9, color="#808080", linewidth=1, linestyle=":")
        for row in _select(rows, task, against):
            colour, marker = method_style(row["method"])
            place = methods.index(row["method"])
            axes.hlines(place, min(0.9, row["coverage90"]), max(0.9, row["coverage90"]), colour)
            axes.plot(row["coverage90"], place, marker, color=colour, ms=5)

    return _by_task(
        rows, _draw, (0.0, 1.04), "share inside the 90 % band, against {} (dotted: 0.90)"
    )


@mpl.rc_context(QUIET)
def intervals(rows: Rows, task: str) -> Figure:
    """R2 and RMSE minus the best yardstick's, with 95 % intervals, of all methods in one task.

    The dotted line is the best yardstick, whose name it bears. A method is better than it only
    where its interval on the right does not reach 0.

    Raises:
      ValueError: no row of this task.
    """
    rows = [row for row in rows if row["task"] == task]
    if not rows:
        raise ValueError(f"task: found no row of {task!r}, expected at least one")
    methods, sides = distinct(rows, "method"), _sides(rows)
    figure = new_figure(10, len(sides) * (1.1 + 0.26 * len(methods)))
    panels = figure.subplots(len(sides), 2, squeeze=False, sharex="col", sharey=True)
    low = max(min(row["ci95"]["r2"][0] for row in rows) - 0.05, _LOWEST_R2)
    high = max(max(row["ci95"]["r2"][1] for row in rows), low) + 0.02
    for (left, right), against in zip(panels, sides, strict=True):
        yardstick = best_yardstick(rows, task, against)
        for row in _select(rows, task, against):
            (colour, marker), place = method_style(row["method"]), methods.index(row["method"])
            _interval(left, place, row["r2"], row["ci95"]["r2"], low, colour)
            if row["r2"] >= low:
                left.plot(row["r2"], place, marker, color=colour, label=row["method"])
            if yardstick is not None:
                right.hlines(place, *row["ci95"]["rmse_minus_best_yardstick"], colour, linewidth=2)
                difference = row["rmse"] - yardstick["rmse"]
                right.plot(difference, place, marker, color=colour, label=row["method"])
        _method_axis(left, methods)
        left.set(title=f"against {against}", xlim=(low, high))
        right.axvline(0, color="#808080", linewidth=1, linestyle=":")
        if yardstick is not None:
            left.axvline(max(yardstick["r2"], low), color="#808080", linewidth=1, linestyle=":")
            right.set_title(f"best yardstick: {yardstick['method']} (dotted)", loc="right")
    panels[-1, 0].set_xlabel("R², 95 % interval")
    panels[-1, 1].set_xlabel("RMSE minus the best yardstick's, NDVI (left of 0: better)")
    figure.suptitle(TASKS.get(task, task), x=0.01, ha="left")
    return figure


def by_gap_length(rows: Rows, *, against: str = "labels") -> Figure:
    """MAE and bias by length of the gap in days, all methods, a column per task.

    Args:
      rows: rows of metrics.json.
      against: "truth" or "labels".

    Raises:
      ValueError: no row has this stratum.
    """
    return _by_stratum(rows, "gap_days", against, "gap, days")


def by_month(rows: Rows, *, against: str = "labels") -> Figure:
    """MAE and bias by month of the year; arguments and errors as `by_gap_length`."""
    return _by_stratum(rows, "month", against, "month")


def by_level(rows: Rows, *, against: str = "labels") -> Figure:
    """MAE and bias by range of the true NDVI; arguments and errors as `by_gap_length`."""
    return _by_stratum(rows, "ndvi", against, "NDVI")


def by_direction(rows: Rows, *, against: str = "labels") -> Figure:
    """MAE and bias by district left out; arguments and errors as `by_gap_length`."""
    return _by_stratum(rows, "direction", against, "direction")


@mpl.rc_context(QUIET)
def _by_stratum(rows: Rows, name: str, against: str, label: str) -> Figure:
    """MAE above, bias below, a column per task; bins of fewer than 100 values have hollow marks."""
    rows = [row for row in rows if row["against"] == against and row["strata"].get(name)]
    if not rows:
        raise ValueError(f"strata: found no {name!r} against {against}, expected one in some row")
    tasks, methods = distinct(rows, "task"), distinct(rows, "method")
    bins = _bins(rows, name)
    width = 1.2 + max(1.9 * len(tasks), 5)
    figure = new_figure(width, 6)
    panels = figure.subplots(2, len(tasks), squeeze=False, sharex=True, sharey="row")
    for row in rows:
        column, (colour, marker) = tasks.index(row["task"]), method_style(row["method"])
        cells = row["strata"][name]
        x = np.array([place for place, b in enumerate(bins) if b in cells])
        few = np.array([cells[b]["n"] < 100 for b in bins if b in cells])
        for axes, score in zip(panels[:, column], ("mae", "bias"), strict=True):
            y = np.array([cells[b][score] for b in bins if b in cells])
            axes.plot(x, y, color=colour, marker=marker, ms=4, linewidth=1, label=row["method"])
            axes.plot(x[few], y[few], marker, color=colour, ms=4, mfc="white")
    for task, (upper, lower) in zip(tasks, panels.T, strict=True):
        upper.set_title(TASKS.get(task, task))
        upper.set_ylim(bottom=0)
        lower.axhline(0, color="#808080", linewidth=1)
        rotation = 0 if name == "month" else 90
        lower.set_xticks(range(len(bins)), [_bin_label(name, b) for b in bins], rotation=rotation)
        lower.set_xlabel(label)
    panels[0, 0].set_ylabel(f"MAE against {against}, NDVI")
    panels[1, 0].set_ylabel("bias: estimated - true, NDVI")
    lines = {line.get_label(): line for axes in panels[0] for line in axes.lines}
    columns = min(len(methods), int(width / 1.5))
    handles = [lines[method] for method in methods]
    figure.legend(handles, methods, loc="outside upper center", ncols=columns)
    return figure


def _bins(rows: Rows, name: str) -> list[str]:
    """Bins of a stratum: NDVI ranges in their order, else by the numbers in their names."""
    found = list(dict.fromkeys(b for row in rows for b in row["strata"][name]))
    known = [level for *_, level in NDVI_RANGES]

    def _order(bin_name: str) -> tuple:
        level = [place for place, level in enumerate(known) if level in bin_name]
        numbers = [float(number) for number in re.findall(r"\d+\.?\d*", bin_name)]
        return (level or numbers, ">" in bin_name)

    return sorted(found, key=_order)


def _bin_label(name: str, bin_name: str) -> str:
    """What stands at a tick: the first letter of a month, else the bin's own name."""
    if name == "month" and bin_name.isdigit():
        return "JFMAMJJASOND"[int(bin_name) - 1]
    return bin_name


def _by_task(rows: Rows, draw, span: tuple[float, float], label: str) -> Figure:
    """A panel per task (columns) and thing scored against (lines), the methods downwards."""
    if not rows:
        raise ValueError("rows: found none, expected at least one")
    tasks, methods, sides = distinct(rows, "task"), distinct(rows, "method"), _sides(rows)
    figure = new_figure(9, len(sides) * (1.0 + 0.21 * len(methods)))
    parts = figure.subfigures(len(sides), 1, squeeze=False)[:, 0]
    for part, against in zip(parts, sides, strict=True):
        part.suptitle(label.format(against), x=0.01, ha="left", size=10)
        line = part.subplots(1, len(tasks), squeeze=False, sharex=True, sharey=True)[0]
        for axes, task in zip(line, tasks, strict=True):
            draw(axes, task, against, methods)
            if not _select(rows, task, against):
                axes.text(0.5, 0.5, "no score", transform=axes.transAxes, ha="center", size=8)
            axes.set(xlim=span, xlabel=TASKS.get(task, task).replace(": ", "\n"))
            axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(3))
        _method_axis(line[0], methods)
    return figure


def _method_axis(axes: Axes, methods: list[str]) -> None:
    """Names of the methods, first on top."""
    axes.set_yticks(range(len(methods)), methods)
    axes.set_ylim(len(methods) - 0.4, -0.6)


def _interval(
    axes: Axes, place: int, value: float, ci: Sequence[float], low: float, colour
) -> None:
    """The interval as a bar; a value left of the axis as its number at the edge."""
    if value >= low:
        axes.hlines(place, max(ci[0], low), ci[1], colour, linewidth=2)
    else:
        axes.plot(low, place, "<", color=colour, ms=5, clip_on=False)
        text = f"{value:.1f}"
        axes.annotate(text, (low, place), (6, 0), textcoords="offset points", va="center", size=8)


def _select(rows: Rows, task: str, against: str) -> list[Mapping]:
    return [row for row in rows if row["task"] == task and row["against"] == against]


def _sides(rows: Rows) -> list[str]:
    """Truth first, then labels; only those that have rows."""
    return sorted(distinct(rows, "against"), reverse=True)
