"""What an estimate stands on: bars of permutation importance, by input and by lag."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s1jax.plots.style import QUIET, TASKS, new_figure

_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_KINDS = {"group": "input permuted between pixels", "lag": "radar permuted at one lag"}


@mpl.rc_context(QUIET)
def importance(rows: Sequence[Mapping], *, against: str = "labels") -> Figure:
    """Rise of RMSE where an input is another pixel's, with its standard error; a line of panels for
    each data set, inputs on the left, lags of radar on the right, a colour for each task.

    Args:
      rows: "dataset", "task", "against", "kind" ("group" or "lag"), "name", "rmse_rise" and
        "rmse_se", NDVI. Bars stand in their order.
      against: "truth" or "labels".

    Raises:
      ValueError: no row against this.
    """
    rows = [row for row in rows if row["against"] == against]
    if not rows:
        raise ValueError(f"against: found no row scored against {against!r}, expected at least one")
    sets, tasks = (list(dict.fromkeys(row[name] for row in rows)) for name in ("dataset", "task"))
    figure = new_figure(11, 0.6 + 3.2 * len(sets))
    panels = figure.subplots(len(sets), 2, squeeze=False)
    for line, name in zip(panels, sets, strict=True):
        for axes, kind in zip(line, _KINDS, strict=True):
            _bars(axes, [r for r in rows if (r["dataset"], r["kind"]) == (name, kind)], tasks)
            axes.set_title(f"{name}: {_KINDS[kind]}")
        line[0].set_ylabel(f"rise of RMSE\nagainst {against}, NDVI")
        line[0].tick_params(axis="x", labelrotation=40)
        line[1].tick_params(axis="x", labelsize=8)
        line[1].set_xlabel("lag: date of the radar minus date told, periods")
    handles = [mpl.patches.Patch(color=_colour(place)) for place in range(len(tasks))]
    names = [TASKS.get(task, task) for task in tasks]
    figure.legend(handles, names, loc="outside upper center", ncols=len(tasks))
    return figure


def _bars(axes: Axes, rows: Sequence[Mapping], tasks: Sequence[str]) -> None:
    """A group of bars for each name, a bar for each task that has it."""
    of = {task: [row for row in rows if row["task"] == task] for task in tasks}
    # a task without NDVI lacks one of the names
    longest = max(of.values(), key=len)
    names = list(dict.fromkeys(row["name"] for row in [*longest, *rows]))
    width = 0.8 / len(tasks)
    for place, task in enumerate(tasks):
        x = [names.index(row["name"]) + (place + 0.5) * width - 0.4 for row in of[task]]
        height, error = ([row[field] for row in of[task]] for field in ("rmse_rise", "rmse_se"))
        axes.bar(x, height, width, yerr=error, color=_colour(place), ecolor="#404040", label=task)
    axes.axhline(0, color="#808080", linewidth=1)
    axes.set_xticks(range(len(names)), names)
    axes.grid(axis="x", visible=False)


def _colour(place: int) -> str:
    return _COLOURS[place % len(_COLOURS)]
