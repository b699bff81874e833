"""Figures of scores: by task, stratum and change, with their intervals; importance; losses."""

import re
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from s1jax.plots.estimates import NDVI_RANGES
from s1jax.plots.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    QUIET,
    RED,
    TASKS,
    YARDSTICKS,
    method_style,
    names_down,
    new_figure,
)

Rows = Sequence[Mapping]
"""Rows of metrics.json: one per method, task and what it was scored against."""

_LOWEST_R2 = -0.5  # a method below it is drawn at the edge with its value, else it hides the rest
_STRATA = {"gap_days": "gap, days", "month": "month", "ndvi": "NDVI", "direction": "direction"}
_KINDS = {"group": "input permuted between pixels", "lag": "radar permuted at one lag"}
_DOTTED = {"color": GREY, "linewidth": 1, "linestyle": ":"}


def distinct(rows: Rows, field: str) -> list[str]:
    """Values of a field over the rows: tasks in their order, others as they first appear."""
    values = list(dict.fromkeys(row[field] for row in rows))
    return sorted(values) if field == "task" else values


@mpl.rc_context(QUIET)
def overview(rows: Rows) -> Figure:
    """R2 with its 95 % interval, a column per task, a line per method; 9 inches wide.

    Scores against truth (where there are any) stand above those against labels. The dotted line is
    the best yardstick's R2; a value too low for the axis is written at its edge.

    Raises:
      ValueError: no rows.
    """
    low = _left_end([0.0, *(row["ci95"]["r2"][0] for row in rows)])

    def _draw(axes: Axes, task: str, against: str, methods: list[str]) -> None:
        for row in _select(rows, task, against):
            _r2(axes, methods.index(row["method"]), row, low, ms=4)
        yardstick = _best_yardstick(rows, task, against)
        if yardstick is not None:
            axes.axvline(max(yardstick["r2"], low), **_DOTTED)

    title = "R² against {} (bar: 95 % interval, dotted: best yardstick)"
    return _by_task(rows, _draw, (low, 1.0), title)


@mpl.rc_context(QUIET)
def coverage(rows: Rows) -> Figure:
    """Share of the test values inside the 90 % band, by task and method, against the .90 wanted.

    Raises:
      ValueError: no rows.
    """

    def _draw(axes: Axes, task: str, against: str, methods: list[str]) -> None:
        axes.axvline(0.9, **_DOTTED)
        for row in _select(rows, task, against):
            (colour, marker), share = method_style(row["method"]), row["coverage90"]
            y = methods.index(row["method"])
            axes.hlines(y, min(0.9, share), max(0.9, share), colour)
            axes.plot(share, y, marker, color=colour, ms=5)

    title = "share inside the 90 % band, against {} (dotted: 0.90)"
    return _by_task(rows, _draw, (0.0, 1.04), title)


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
        raise ValueError(f"task: got no row of {task!r}, expected at least one")
    methods, sides = distinct(rows, "method"), _sides(rows)
    height = len(sides) * (1.1 + 0.26 * len(methods))
    figure = new_figure(10, height, TASKS.get(task, task))
    panels = figure.subplots(len(sides), 2, squeeze=False, sharex="col", sharey=True)
    low = _left_end([row["ci95"]["r2"][0] for row in rows])
    high = max(max(row["ci95"]["r2"][1] for row in rows), low) + 0.02
    for (left, right), against in zip(panels, sides, strict=True):
        yardstick = _best_yardstick(rows, task, against)
        for row in _select(rows, task, against):
            (colour, marker), y = method_style(row["method"]), methods.index(row["method"])
            _r2(left, y, row, low, label=row["method"])
            if yardstick is not None:
                right.hlines(y, *row["ci95"]["rmse_minus_best_yardstick"], colour, linewidth=2)
                difference = row["rmse"] - yardstick["rmse"]
                right.plot(difference, y, marker, color=colour, label=row["method"])
        names_down(left, methods)
        left.set(title=f"against {against}", xlim=(low, high))
        right.axvline(0, **_DOTTED)
        if yardstick is not None:
            left.axvline(max(yardstick["r2"], low), **_DOTTED)
            right.set_title(f"best yardstick: {yardstick['method']} (dotted)", loc="right")
    panels[-1, 0].set_xlabel("R², 95 % interval")
    panels[-1, 1].set_xlabel("RMSE minus the best yardstick's, NDVI (left of 0: better)")
    return figure


@mpl.rc_context(QUIET)
def by_stratum(rows: Rows, name: str, *, against: str = "labels") -> Figure:
    """MAE above, bias below, a column per task; bins of fewer than 100 values have hollow marks.

    Strata are "gap_days", "month", "ndvi" (range of the true NDVI) or "direction" (district left
    out), `against` "truth" or "labels".

    Raises:
      ValueError: no row has this stratum.
    """
    rows = [row for row in rows if row["against"] == against and row["strata"].get(name)]
    if not rows:
        raise ValueError(f"strata: got no {name!r} against {against}, expected one in some row")
    tasks, methods, bins = distinct(rows, "task"), distinct(rows, "method"), _bins(rows, name)
    width = 1.2 + max(1.9 * len(tasks), 5)
    figure = new_figure(width, 6)
    panels = figure.subplots(2, len(tasks), squeeze=False, sharex=True, sharey="row")
    for row in rows:
        column, (colour, marker) = tasks.index(row["task"]), method_style(row["method"])
        cells = {k: row["strata"][name][b] for k, b in enumerate(bins) if b in row["strata"][name]}
        x, few = np.array(list(cells)), np.array([cell["n"] < 100 for cell in cells.values()])
        for axes, score in zip(panels[:, column], ("mae", "bias"), strict=True):
            y = np.array([cell[score] for cell in cells.values()])
            axes.plot(x, y, color=colour, marker=marker, ms=4, linewidth=1, label=row["method"])
            axes.plot(x[few], y[few], marker, color=colour, ms=4, mfc="white")
    months = name == "month"
    names = ["JFMAMJJASOND"[int(b) - 1] if months and b.isdigit() else b for b in bins]
    for task, (upper, lower) in zip(tasks, panels.T, strict=True):
        upper.set_title(TASKS.get(task, task))
        upper.set_ylim(bottom=0)
        lower.axhline(0, color=GREY, linewidth=1)
        lower.set_xticks(range(len(bins)), names, rotation=0 if months else 90)
        lower.set_xlabel(_STRATA[name])
    panels[0, 0].set_ylabel(f"MAE against {against}, NDVI")
    panels[1, 0].set_ylabel("bias: estimated - true, NDVI")
    lines = {line.get_label(): line for axes in panels[0] for line in axes.lines}
    handles, columns = [lines[method] for method in methods], min(len(methods), int(width / 1.5))
    figure.legend(handles, methods, loc="outside upper center", ncols=columns)
    return figure


def _bins(rows: Rows, name: str) -> list[str]:
    """Bins of a stratum: NDVI ranges in their order, else by the numbers in their names."""

    def _order(bin_name: str) -> tuple:
        level = [k for k, (*_, level) in enumerate(NDVI_RANGES) if level in bin_name]
        numbers = [float(number) for number in re.findall(r"\d+\.?\d*", bin_name)]
        return (level or numbers, ">" in bin_name)

    return sorted(dict.fromkeys(b for row in rows for b in row["strata"][name]), key=_order)


def _by_task(rows: Rows, draw, span: tuple[float, float], label: str) -> Figure:
    """A panel per task (columns) and thing scored against (lines), the methods downwards."""
    if not rows:
        raise ValueError("rows: got none, expected at least one")
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
            axes.xaxis.set_major_locator(MaxNLocator(3))
        names_down(line[0], methods)
    return figure


def _r2(axes: Axes, y: int, row: Mapping, low: float, **style) -> None:
    """R2 with its interval as a bar; one left of the axis as its number at the edge."""
    (colour, marker), (value, ci) = method_style(row["method"]), (row["r2"], row["ci95"]["r2"])
    if value >= low:
        axes.hlines(y, max(ci[0], low), ci[1], colour, linewidth=2)
        axes.plot(value, y, marker, color=colour, **style)
    else:
        axes.plot(low, y, "<", color=colour, ms=5, clip_on=False)
        offset = {"textcoords": "offset points", "va": "center", "size": 8}
        axes.annotate(f"{value:.1f}", (low, y), (6, 0), **offset)


def _left_end(r2: list[float]) -> float:
    return max(min(r2) - 0.05, _LOWEST_R2)


def _best_yardstick(rows: Rows, task: str, against: str) -> Mapping | None:
    """Row of the yardstick with the lowest RMSE in a task; None where no yardstick has a row."""
    rows = [row for row in _select(rows, task, against) if row["method"] in YARDSTICKS]
    return min(rows, key=lambda row: row["rmse"], default=None)


def _select(rows: Rows, task: str, against: str) -> list[Mapping]:
    return [row for row in rows if row["task"] == task and row["against"] == against]


def _sides(rows: Rows) -> list[str]:
    """Truth first, then labels; only those that have rows."""
    return sorted(distinct(rows, "against"), reverse=True)


@mpl.rc_context(QUIET)
def importance(rows: Rows, *, against: str = "labels") -> Figure:
    """Rise of RMSE where an input is another pixel's, with its standard error.

    A line of panels for each data set, inputs on the left, lags of radar on the right, a colour for
    each task. Rows have "dataset", "task", "against" ("truth" or "labels"), "kind" ("group" or
    "lag"), "name", "rmse_rise" and "rmse_se", NDVI; bars keep their order.

    Raises:
      ValueError: no row against this.
    """
    rows = [row for row in rows if row["against"] == against]
    if not rows:
        raise ValueError(f"against: got no row scored against {against!r}, expected at least one")
    sets, tasks = (distinct(rows, name) for name in ("dataset", "task"))
    palette = (BLUE, ORANGE, GREEN, "#cc79a7", "#56b4e9", RED)
    colours = {task: palette[k % len(palette)] for k, task in enumerate(tasks)}
    figure = new_figure(11, 0.6 + 3.2 * len(sets))
    panels = figure.subplots(len(sets), 2, squeeze=False)
    for line, name in zip(panels, sets, strict=True):
        for axes, kind in zip(line, _KINDS, strict=True):
            _bars(axes, [r for r in rows if (r["dataset"], r["kind"]) == (name, kind)], colours)
            axes.set_title(f"{name}: {_KINDS[kind]}")
        line[0].set_ylabel(f"rise of RMSE\nagainst {against}, NDVI")
        line[0].tick_params(axis="x", labelrotation=40)
        line[1].tick_params(axis="x", labelsize=8)
        line[1].set_xlabel("lag: date of the radar minus date estimated, periods")
    handles = [Patch(color=colour) for colour in colours.values()]
    names = [TASKS.get(task, task) for task in tasks]
    figure.legend(handles, names, loc="outside upper center", ncols=len(tasks))
    return figure


def _bars(axes: Axes, rows: Rows, colours: Mapping[str, str]) -> None:
    """A group of bars for each name, a bar for each task that has it."""
    of = {task: [row for row in rows if row["task"] == task] for task in colours}
    # a task without NDVI lacks one of the names
    longest = max(of.values(), key=len)
    names = list(dict.fromkeys(row["name"] for row in [*longest, *rows]))
    width = 0.8 / len(colours)
    for k, (task, colour) in enumerate(colours.items()):
        x = [names.index(row["name"]) + (k + 0.5) * width - 0.4 for row in of[task]]
        height, error = ([row[field] for row in of[task]] for field in ("rmse_rise", "rmse_se"))
        axes.bar(x, height, width, yerr=error, color=colour, ecolor="#404040", label=task)
    axes.axhline(0, color=GREY, linewidth=1)
    axes.set_xticks(range(len(names)), names)
    axes.grid(axis="x", visible=False)


@mpl.rc_context(QUIET)
def steps(ladder: Rows, alone: Rows) -> Figure:
    """Left, R2 after each step against the labels of its world and against the truth, with 95 %
    intervals; right, RMSE of each change alone less that of the baseline, against the truth.

    Rows of `ladder` have "name", and for "labels" and "truth" R2 and the ends of its interval, or
    None; rows of `alone` "name" and "difference", RMSE and the ends of its interval.

    Raises:
      ValueError: there is no step.
    """
    if not ladder:
        raise ValueError("ladder: got no step, expected at least one")
    figure = new_figure(12, 1.2 + 0.36 * max(len(ladder), len(alone)))
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for side, shift, style in (
        ("labels", 0.12, {"color": ORANGE, "fmt": "o"}),
        ("truth", -0.12, {"color": BLUE, "fmt": "s"}),
    ):
        values = [(k + shift, row[side]) for k, row in enumerate(ladder) if row[side] is not None]
        _marks(left, values, label=f"against {side}", **style)
    names_down(left, [row["name"] for row in ladder])
    # what is worse than the mean by far would leave no room for the rest
    left.set(title="changes added up", xlim=(-0.6, 1.0))
    left.set_xlabel("R2, without NDVI of the pixel (T1)")
    for k, row in enumerate(ladder):
        if row["truth"] and row["truth"][0] < -0.6:
            text = {"color": BLUE, "va": "center", "fontsize": 9}
            left.annotate(f"◄ {row['truth'][0]:.1f}", (-0.59, k - 0.12), **text)
    left.legend(loc="lower left")
    _marks(right, [*enumerate(row["difference"] for row in alone)], color=GREEN, fmt="D")
    right.axvline(0, color=GREY, linewidth=1)
    names_down(right, [row["name"] for row in alone])
    right.set(title="each change alone", xlabel="RMSE less the baseline's, against truth")
    return figure


def _marks(axes: Axes, values, **style) -> None:
    """A mark with its interval for each (line, (value, low, high))."""
    y, value, low, high = np.array([(k, *triple) for k, triple in values]).reshape(-1, 4).T
    axes.errorbar(value, y, xerr=(value - low, high - value), markersize=5, **style)


@mpl.rc_context(QUIET)
def loss_curves(
    train: Float[np.ndarray | Array, "epoch"],
    validation: Float[np.ndarray | Array, "epoch"],
    *,
    title: str = "",
) -> Figure:
    """Training and validation loss by epoch, on a linear and on a log axis, best epoch marked.

    The best epoch is the one of lowest validation loss, counted from 1. A loss that is not
    everywhere positive (a log-likelihood) gets a symmetric log axis, which its title names.

    Raises:
      ValueError: no epoch, or no finite validation loss.
    """
    train, validation = np.asarray(train), np.asarray(validation)
    finite = np.isfinite(validation)
    if not finite.any():
        raise ValueError(f"validation loss: {validation.size} epochs, none finite, expected one")
    best = int(np.argmin(np.where(finite, validation, np.inf)))
    epoch = np.arange(1, len(train) + 1)
    positive = min(np.nanmin(train), validation[best]) > 0
    scales = {"linear": "linear"} | ({"log": "log"} if positive else {"symlog": "symmetric log"})
    figure = new_figure(10, 3.6, title)
    for axes, (scale, name) in zip(figure.subplots(1, 2), scales.items(), strict=True):
        axes.plot(epoch, train, color=GREY, label="training")
        axes.plot(epoch, validation, color=BLUE, label="validation")
        axes.axvline(best + 1, **_DOTTED | {"color": RED})
        label = f"best: epoch {best + 1}, {validation[best]:.4g}"
        axes.plot(best + 1, validation[best], "o", color=RED, label=label)
        axes.set(yscale=scale, xlabel="epoch", title=name)
    linear, other = figure.axes
    linear.set_ylabel("loss\n(mean squared error of z-scored NDVI)")
    linear.legend()
    if positive:
        low, high = other.get_ylim()
        other.yaxis.set_major_formatter("{x:g}")
        other.yaxis.set_minor_formatter("{x:g}" if high / low < 10 else "")
    return figure
