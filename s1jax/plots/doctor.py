"""What an input looks like: its record by date, its labels, and radar against NDVI."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from s1jax.plots.style import QUIET, new_figure

_NDVI, _VV, _VH, _LIMIT = "#009e73", "#0072b2", "#e69f00", "#d55e00"
_MONTHS = "JFMAMJJASOND"
_ABSENT = "#808080"


@mpl.rc_context(QUIET)
def record(
    day: Float[np.ndarray, "time"],
    ndvi: Float[np.ndarray, "time quantile"],
    vv_db: Float[np.ndarray, "time quantile"],
    vh_db: Float[np.ndarray, "time quantile"],
    seen: Float[np.ndarray, "time 2"],
) -> Figure:
    """NDVI, backscatter, and the share of pixels seen, by date: medians, and bands over pixels.

    Medians and bands are left out on dates on which fewer than 5 % of the pixels are seen.

    Args:
      day: days since 1970-01-01.
      ndvi: 5, 25, 50, 75 and 95 % over pixels, NaN where there is no label.
      vv_db: likewise of VV, dB.
      vh_db: likewise of VH, dB.
      seen: share of pixels with radar and with a label, 1.
    """
    # a date of a few pixels is no date of the map
    some = seen >= 0.05
    date = np.asarray(day * 86_400).round().astype("int64").astype("datetime64[s]")
    figure = new_figure(12, 7.5)
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1.6))
    _bands(top, date, np.where(some[:, 1:], ndvi, np.nan), _NDVI, "NDVI")
    top.set_ylabel("NDVI")
    top.set_title("labels: median of each date, half and nine tenths of the pixels")
    for values, colour, name in ((vv_db, _VV, "VV"), (vh_db, _VH, "VH")):
        _bands(middle, date, np.where(some[:, :1], values, np.nan), colour, name)
    middle.set_ylabel("backscatter, dB")
    middle.set_title("radar: the same")
    middle.legend(loc="lower right", bbox_to_anchor=(1, 0.97), ncols=2)
    # a ring about the point where a date has both
    rings = {"markersize": 8, "fillstyle": "none"}, {"markersize": 4}
    for column, colour, name in ((0, _VV, "radar"), (1, _NDVI, "label")):
        there = seen[:, column] > 0
        share = 100 * seen[there, column]
        bottom.plot(date[there], share, "o", color=colour, label=name, **rings[column])
    bottom.set_ylabel("pixels, %")
    bottom.set_ylim(-8, 112)
    bottom.set_title("pixels that have it")
    # beside the title: points may lie anywhere in the panel
    bottom.legend(loc="lower right", bbox_to_anchor=(1, 0.97), ncols=2)
    locator = AutoDateLocator(minticks=4, maxticks=12)
    bottom.xaxis.set_major_locator(locator)
    bottom.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    return figure


@mpl.rc_context(QUIET)
def label_levels(
    highest: Float[np.ndarray, "pixel"],
    count: Int[np.ndarray, "month level"],
    edge: Float[np.ndarray, "edge"],
    *,
    limits: Mapping[str, float] | None = None,
) -> Figure:
    """Highest label of each pixel, with what ceilings faults give, and labels by month and level.

    Args:
      highest: of each pixel, NDVI.
      count: labels by month of the year and level.
      edge: edges of the levels, NDVI.
      limits: NDVI to mark, by what it is.
    """
    figure = new_figure(12, 4)
    left, right = figure.subplots(1, 2)
    left.hist(highest, bins=np.arange(-0.2, 1.01, 0.04), color=_NDVI)
    for place, (name, limit) in enumerate((limits or {}).items()):
        left.axvline(limit, color=_LIMIT, linestyle="--" if place else "-", label=name)
    left.set_xlabel("highest label of a pixel, NDVI")
    left.set_ylabel("pixels")
    left.set_title("how high labels get")
    if limits:
        left.legend(loc="upper left")
    total = max(int(count.sum()), 1)
    months = np.arange(13) - 0.5
    image = right.pcolormesh(months, edge, 100 * count.T / total, cmap="YlGn", vmin=0)
    right.set_xticks(range(12), list(_MONTHS))
    right.set_ylabel("NDVI")
    right.set_title("labels by month and level, % of all")
    right.grid(visible=False)
    figure.colorbar(image, ax=right)
    return figure


@mpl.rc_context(QUIET)
def stage_bars(
    r: Float[np.ndarray, "stage feature"],
    count: Int[np.ndarray, "stage"],
    stages: Sequence[str],
    features: Sequence[str],
) -> Figure:
    """Correlation of radar with NDVI: a group of bars for each stage, a bar for each feature.

    Args:
      r: Pearson's r; NaN leaves a bar out.
      count: labels of each stage.
      stages: names of the groups.
      features: names of the bars.
    """
    figure = new_figure(9, 3.6)
    axes = figure.subplots()
    width = 0.8 / len(features)
    colours = (_VV, _VH, _NDVI)
    for place, name in enumerate(features):
        x = np.arange(len(stages)) + (place + 0.5) * width - 0.4
        height = np.nan_to_num(r[:, place])
        axes.bar(x, height, width, color=colours[place % len(colours)], label=name)
    axes.axhline(0, color=_ABSENT, linewidth=1)
    names = [f"{name}\nn {n:,}" for name, n in zip(stages, count, strict=True)]
    axes.set_xticks(range(len(stages)), names)
    axes.set_ylim(-1, 1)
    axes.set_ylabel("Pearson's r with NDVI")
    axes.grid(axis="x", visible=False)
    axes.legend(ncols=len(features), loc="upper right")
    return figure


@mpl.rc_context(QUIET)
def expectation(
    scores: Mapping[str, tuple[float, float, float]],
    ceiling: float,
    offset: Float[np.ndarray, "label"],
) -> Figure:
    """R2 of quick regressions under the ceiling of the label noise, and days from label to radar.

    Args:
      scores: R2 with the ends of its interval, by name.
      ceiling: R2 that no method can pass, 1; NaN where unknown.
      offset: days, infinite where there is no radar; empty without estimate.
    """
    figure = new_figure(11, 3.6)
    left, right = figure.subplots(1, 2)
    for place, (r2, low, high) in enumerate(scores.values()):
        left.bar(place, r2, 0.6, color=_VV)
        left.plot([place, place], [low, high], color="#404040")
    if np.isfinite(ceiling):
        left.axhline(ceiling, color=_LIMIT, label=f"ceiling by label noise, {ceiling:.2f}")
        left.legend(loc="upper left")
    left.axhline(0, color=_ABSENT, linewidth=1)
    left.set_xticks(range(len(scores)), list(scores))
    left.set_xlim(-0.6, max(len(scores), 1) - 0.4)
    left.set_ylim(min(0.0, *(s[1] for s in scores.values())) if scores else 0.0, 1.25)
    left.set_ylabel("R2 against labels")
    left.set_title("radar alone, places left out")
    left.grid(axis="x", visible=False)
    _offsets(right, offset)
    return figure


def _offsets(axes: Axes, offset: np.ndarray) -> None:
    finite = offset[np.isfinite(offset)]
    axes.set_title("days from a label to the nearest radar")
    if finite.size == 0:
        axes.text(0.5, 0.5, "not in this cube", ha="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    top = max(8.0, float(np.quantile(finite, 0.99)) + 1)
    axes.hist(finite, bins=np.arange(-0.5, top + 1).tolist(), color=_VV)
    for limit in (3, 7):
        axes.axvline(limit, color=_LIMIT, linestyle="--")
    axes.set_xlabel("days; lines at 3 and 7")
    axes.set_ylabel("labels")


def _bands(axes: Axes, date: np.ndarray, values: np.ndarray, colour: str, name: str) -> None:
    """Two bands of quantiles and the median; dates without values are left out."""
    some = np.isfinite(values).all(axis=1)
    date, values = date[some], values[some]
    outer, inner = (values[:, 0], values[:, 4]), (values[:, 1], values[:, 3])
    axes.fill_between(date, *outer, color=colour, alpha=0.18, linewidth=0)
    axes.fill_between(date, *inner, color=colour, alpha=0.3, linewidth=0)
    axes.plot(date, values[:, 2], ".-", color=colour, linewidth=1, label=name)
