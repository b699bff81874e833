"""What each change is worth: R2 step by step, and what each changes alone."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s1jax.plots.style import QUIET, new_figure

_SIDES = {"labels": ("#e69f00", "o"), "truth": ("#0072b2", "s")}


@mpl.rc_context(QUIET)
def steps(ladder: Sequence[Mapping], alone: Sequence[Mapping]) -> Figure:
    """Left, R2 after each step against the labels of its world and against the truth, with 95 %
    intervals; right, RMSE of each change alone less that of the baseline, against the truth.

    Args:
      ladder: "name", and for "labels" and "truth" R2 and the ends of its interval, or None.
      alone: "name" and "difference": RMSE and the ends of its interval.

    Raises:
      ValueError: there is no step.
    """
    if not ladder:
        raise ValueError("ladder: got no step, expected at least one")
    rows = max(len(ladder), len(alone))
    figure = new_figure(12, 1.2 + 0.36 * rows)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for side, (colour, marker) in _SIDES.items():
        known = [(k, row[side]) for k, row in enumerate(ladder) if row[side] is not None]
        shift = 0.12 if side == "labels" else -0.12
        _marks(left, known, shift, colour, marker, f"against {side}")
    _named(left, ladder, "R2, no NDVI of the pixel known (T1)")
    left.set_title("changes added up")
    # what is worse than the mean by far would leave no room for the rest
    left.set_xlim(-0.6, 1.0)
    below = [k for k, row in enumerate(ladder) if row["truth"] and row["truth"][0] < -0.6]
    for k in below:
        left.annotate(f"◄ {ladder[k]['truth'][0]:.1f}", (-0.59, k - 0.12), color="#0072b2",
                      va="center", fontsize=9)  # fmt: skip
    left.legend(loc="lower left")
    _marks(right, [*enumerate(row["difference"] for row in alone)], 0.0, "#009e73", "D", None)
    right.axvline(0, color="#808080", linewidth=1)
    _named(right, alone, "RMSE less the baseline's, against truth")
    right.set_title("each change alone")
    return figure


def _marks(axes: Axes, known, shift, colour, marker, label) -> None:
    """A mark with its interval for each (line, (value, low, high))."""
    y = [k + shift for k, _ in known]
    value = [v for _, (v, _, _) in known]
    error = [[v - low for _, (v, low, _) in known], [high - v for _, (v, _, high) in known]]
    axes.errorbar(value, y, xerr=error, fmt=marker, color=colour, markersize=5, label=label)


def _named(axes: Axes, rows: Sequence[Mapping], label: str) -> None:
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(label)
