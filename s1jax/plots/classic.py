"""The six evaluation panels that people know; the panel itself says what is ill-posed in it."""

import matplotlib as mpl
import numpy as np
from jaxtyping import Array, Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s1jax import metrics
from s1jax.plots.style import BLUE, GREY, QUIET, RED, names_down, new_figure

NDVI_RANGES = (
    (-1.0, 0.0, "Water/Bare"),
    (0.0, 0.2, "Sparse Veg"),
    (0.2, 0.4, "Low Veg"),
    (0.4, 0.6, "Moderate Veg"),
    (0.6, 0.8, "Dense Veg"),
    (0.8, 1.0, "Very Dense"),
)
"""NDVI from (included), to (excluded, except 1), name."""

ILL_POSED = "ill-posed: truth's variance is removed by the selection"
"""Why R2 inside a range of the truth says nothing about the estimate."""


def scores_by_range(
    truth: Float[np.ndarray | Array, "*n"],
    estimate: Float[np.ndarray | Array, "*n"],
    valid: Bool[np.ndarray | Array, "*n"],
    *,
    least: int = 100,
) -> dict[str, dict[str, float]]:
    """R2, MAE, bias and count of each of `NDVI_RANGES`; a range of fewer than `least` is absent.

    R2 here is ill-posed (see `ILL_POSED`); MAE and bias are not. A range in which the truth is one
    value has no R2 and is absent as well.

    Args:
      truth: true NDVI or label.
      estimate: estimated NDVI.
      valid: which of them count.
      least: samples a range must hold.
    """
    truth, estimate = _samples(truth, estimate, valid)
    lows = [low for low, *_ in NDVI_RANGES]
    label = np.searchsorted(lows, truth, "right") - 1
    inside = (truth >= lows[0]) & (truth <= NDVI_RANGES[-1][1])
    scores = _scores(truth[inside], estimate[inside], label[inside], len(lows))
    rows = [dict(zip(scores, row, strict=True)) for row in zip(*scores.values(), strict=True)]
    return {
        name: row
        for (*_, name), row in zip(NDVI_RANGES, rows, strict=True)
        if row["n"] >= least and np.isfinite(row["r2"])
    }


@mpl.rc_context(QUIET)
def classic_panels(
    truth: Float[np.ndarray | Array, "*n"],
    estimate: Float[np.ndarray | Array, "*n"],
    valid: Bool[np.ndarray | Array, "*n"],
    *,
    title: str = "",
    name: str = "true NDVI",
    points: int = 20_000,
    least: int = 100,
) -> Figure:
    """Scatter, residuals, residuals against truth, skill by range, density, distributions.

    The fourth panel is two: R2 by range of the truth, marked ill-posed, and MAE by range.

    Args:
      truth: true NDVI or label.
      estimate: estimated NDVI.
      valid: which of them count.
      title: stands above the panels.
      name: what `truth` is, on the axes.
      points: most points of the two scatter plots; a fixed draw of them where there are more.
      least: samples a range must hold to be shown.

    Raises:
      ValueError: no valid sample.
    """
    ranges = scores_by_range(truth, estimate, valid, least=least)
    truth, estimate = _samples(truth, estimate, valid)
    residual = estimate - truth
    n = len(truth)
    (r2,), (mae,), (bias,), _ = _scores(truth, estimate, np.zeros(n, int), 1).values()
    shown = np.random.default_rng(0).choice(n, min(n, points), replace=False)
    low = min(-0.2, float(np.percentile(np.append(truth, estimate), 0.1)))
    span = (low, 1.0)

    figure = new_figure(13, 8, title)
    (top,), (bottom,) = figure.subfigures(2, 1, squeeze=False)
    scatter, histogram, against = top.subplots(1, 3)
    left, right = bottom.subfigures(1, 2, width_ratios=(1.15, 2))
    by_r2, by_mae = left.subplots(1, 2, sharey=True)
    density, distribution = right.subplots(1, 2)

    scatter.scatter(truth[shown], estimate[shown], s=2, alpha=0.25, color=BLUE, linewidths=0)
    scatter.set(xlabel=name, ylabel="estimated NDVI", title=f"R² = {r2:.3f}, n = {n:,}")
    hexbin = density.hexbin(
        truth, estimate, gridsize=50, cmap="Blues", mincnt=1, bins="log", extent=(*span, *span)
    )
    density.set(xlabel=name, ylabel="estimated NDVI", title="density")
    figure.colorbar(hexbin, ax=density, label="samples per cell")
    for axes in (scatter, density):
        axes.plot(span, span, color=RED, linewidth=1, linestyle="--", label="1 : 1")
        axes.set(xlim=span, ylim=span, aspect="equal")
        axes.legend(loc="upper left")

    # every residual is inside, and a constant one still gives bins of some width
    wide = max(float(np.abs(residual).max()), 0.01)
    histogram.hist(residual, np.linspace(-wide, wide, 81), color=BLUE)
    histogram.axvline(0, color=RED, linewidth=1, linestyle="--")
    histogram.set(xlabel="residual: estimated - true NDVI", ylabel="samples")
    histogram.set_title(f"MAE = {mae:.4f}, bias = {bias:+.4f}")
    against.scatter(truth[shown], residual[shown], s=2, alpha=0.25, color=BLUE, linewidths=0)
    against.axhline(0, color=RED, linewidth=1, linestyle="--")
    against.set(xlabel=name, ylabel="residual", title="residuals against truth", xlim=span)

    _range_bars(by_r2, ranges, "r2", GREY)
    by_r2.set(xlabel="R²", title="R² by range")
    _range_bars(by_mae, ranges, "mae", BLUE)
    by_mae.set(xlabel="MAE, NDVI", title="MAE by range")
    by_mae.tick_params(labelleft=False)
    left.suptitle(f"R² {ILL_POSED}", color=RED, fontsize=9)

    bins = np.linspace(*span, 81)
    for values, label, colour in ((truth, name, GREY), (estimate, "estimated NDVI", BLUE)):
        distribution.hist(
            np.clip(values, *span), bins, density=True, histtype="step", color=colour, label=label
        )
    distribution.set(xlabel="NDVI", ylabel="density", title="distributions")
    distribution.set_ylim(top=1.25 * distribution.get_ylim()[1])
    distribution.legend(loc="upper right")
    return figure


def _samples(truth, estimate, valid) -> tuple[np.ndarray, np.ndarray]:
    """Valid truth and estimate, flat, in double precision."""
    valid = np.asarray(valid)
    if not valid.any():
        raise ValueError(f"truth: got no valid sample of {valid.size}, expected at least one")
    return np.asarray(truth)[valid].astype(float), np.asarray(estimate)[valid].astype(float)


def _scores(truth, estimate, label, groups: int) -> dict:
    """Scores of each group that need no std."""
    every, ones = np.ones(truth.shape, bool), np.ones_like(estimate)
    scores = metrics.scores(
        metrics.statistics_by_group(label, groups, estimate, ones, truth, every)
    )
    return {name: scores[name].tolist() for name in ("r2", "mae", "bias", "n")}


def _range_bars(axes: Axes, ranges: dict, score: str, colour: str) -> None:
    """One horizontal bar a range with its value; a range that is absent says so."""
    names = [f"{name}\n{low:g} to {high:g}" for low, high, name in NDVI_RANGES]
    names_down(axes, names)
    axes.grid(axis="y", visible=False)
    values = [ranges[name][score] for *_, name in NDVI_RANGES if name in ranges]
    # one hopeless range must not flatten the others; its bar leaves the panel, its value is written
    low, high = max(min([*values, 0.0]), -3.0), max([*values, 0.01])
    axes.set_xlim(low * 1.1, high + 0.5 * (high - low))
    for y, (*_, name) in enumerate(NDVI_RANGES):
        text, at = " absent", 0.0
        if name in ranges:
            value = ranges[name][score]
            axes.barh(y, value, height=0.6, color=colour)
            text, at = f" {value:.2f}" if score == "r2" else f" {value:.3f}", max(value, 0.0)
        axes.text(at, y, text, va="center", fontsize=8)
