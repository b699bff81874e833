"""Estimates beside what they estimate: maps of a few dates, series of a few pixels, and the six
evaluation panels that people know, which name what is ill-posed in them."""

from typing import SupportsFloat

import matplotlib as mpl
import numpy as np
from jaxtyping import Array, Bool, Float, Real
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from s1jax import metrics
from s1jax.plots.style import BLUE, GREY, QUIET, RED, date_axis, names_down, new_figure, to_dates

_Array = np.ndarray | Array
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
"""Why R2 inside a range of the truth does not measure the estimate."""
_LEAST = 100
"""Samples that a range must hold to be scored."""
_POINTS = 20_000  # of a scatter plot, at most; a fixed draw of them where there are more
_ABSENT = "#d0d0d0"
_MOST = 400  # cells across a map panel; more are not visible at its size
_DASHED = {"color": RED, "linewidth": 1, "linestyle": "--"}


def scores_by_range(
    truth: Float[_Array, "*n"], estimate: Float[_Array, "*n"], valid: Bool[_Array, "*n"]
) -> dict[str, dict[str, float]]:
    """R2, MAE, bias and count of the `valid` samples in each of `NDVI_RANGES`.

    R2 here is ill-posed (see `ILL_POSED`); MAE and bias are not. A range of fewer than `_LEAST`
    samples, or in which the truth is one value, is absent.
    """
    truth, estimate = _samples(truth, estimate, valid)
    scores = {}
    for low, high, name in NDVI_RANGES:
        inside = (truth >= low) & (truth <= high if high == 1.0 else truth < high)
        row = _scores(truth[inside], estimate[inside])
        if row["n"] >= _LEAST and np.isfinite(row["r2"]):
            scores[name] = row
    return scores


@mpl.rc_context(QUIET)
def classic_panels(
    truth: Float[_Array, "*n"],
    estimate: Float[_Array, "*n"],
    valid: Bool[_Array, "*n"],
    *,
    title: str = "",
    name: str = "true NDVI",
) -> Figure:
    """Scatter, residuals, residuals against truth, skill by range, density, distributions.

    The fourth panel is two: R2 by range of the truth, marked ill-posed, and MAE by range. `name`
    is what `truth` is, on the axes.

    Raises:
      ValueError: no valid sample.
    """
    ranges = scores_by_range(truth, estimate, valid)
    truth, estimate = _samples(truth, estimate, valid)
    residual, n, overall = estimate - truth, len(truth), _scores(truth, estimate)
    shown = np.random.default_rng(0).choice(n, min(n, _POINTS), replace=False)
    low = min(-0.2, float(np.percentile(np.append(truth, estimate), 0.1)))
    span = (low, 1.0)

    figure = new_figure(13, 8, title)
    (top,), (bottom,) = figure.subfigures(2, 1, squeeze=False)
    scatter, histogram, against = top.subplots(1, 3)
    left, right = bottom.subfigures(1, 2, width_ratios=(1.15, 2))
    by_r2, by_mae = left.subplots(1, 2, sharey=True)
    density, distribution = right.subplots(1, 2)

    dots = {"s": 2, "alpha": 0.25, "color": BLUE, "linewidths": 0}
    scatter.scatter(truth[shown], estimate[shown], **dots)
    scatter.set_title(f"R² = {overall['r2']:.3f}, n = {n:,}")
    hexbin = density.hexbin(
        truth, estimate, gridsize=50, cmap="Blues", mincnt=1, bins="log", extent=(*span, *span)
    )
    density.set_title("density")
    figure.colorbar(hexbin, ax=density, label="samples per cell")
    for axes in (scatter, density):
        axes.plot(span, span, **_DASHED, label="1 : 1")
        axes.set(xlim=span, ylim=span, aspect="equal", xlabel=name, ylabel="estimated NDVI")
        axes.legend(loc="upper left")

    # every residual is inside, and a constant one still gives bins of some width
    wide = max(float(np.abs(residual).max()), 0.01)
    histogram.hist(residual, np.linspace(-wide, wide, 81), color=BLUE)
    histogram.axvline(0, **_DASHED)
    histogram.set(xlabel="residual: estimated - true NDVI", ylabel="samples")
    histogram.set_title(f"MAE = {overall['mae']:.4f}, bias = {overall['bias']:+.4f}")
    against.scatter(truth[shown], residual[shown], **dots)
    against.axhline(0, **_DASHED)
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


def _scores(truth, estimate) -> dict[str, float]:
    """Scores that need no std."""
    sums = metrics.statistics(estimate, np.ones_like(estimate), truth, np.ones(truth.shape, bool))
    scores = metrics.scores(sums)
    return {name: float(scores[name]) for name in ("r2", "mae", "bias", "n")}


def _range_bars(axes: Axes, ranges: dict, score: str, colour: str) -> None:
    """One horizontal bar a range with its value; an absent range is named."""
    names_down(axes, [f"{name}\n{low:g} to {high:g}" for low, high, name in NDVI_RANGES])
    axes.grid(axis="y", visible=False)
    values = [row[score] for row in ranges.values()]
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


@mpl.rc_context(QUIET)
def maps(
    truth: Float[_Array, "date *place"],
    estimate: Float[_Array, "date *place"],
    std: Float[_Array, "date *place"],
    x: Real[_Array, "x"],
    y: Real[_Array, "y"],
    day: Real[_Array, "date"],
    *,
    name: str = "true NDVI",
    unit: str = "m",
    title: str = "",
) -> Figure:
    """Truth, estimate, error and std, a line of maps per date; NaN is grey.

    Arrays (date, y, x) are a grid, which is thinned evenly to 400 cells across; arrays
    (date, pixel) are points, a dot each.

    Args:
      truth: true NDVI or label; NaN where there is none.
      estimate: estimated NDVI.
      std: standard deviation of the estimate.
      x: centres of the columns (ascending or descending), or of the pixels, in `unit`.
      y: centres of the lines, or of the pixels, in `unit`.
      day: days since 1970-01-01.
      name: what `truth` is, above its column.
      unit: "m" or "degree".
      title: above the maps.

    Raises:
      ValueError: no finite estimate, or another unit.
    """
    if unit not in ("m", "degree"):
        raise ValueError(f"unit: got {unit!r}, expected 'm' or 'degree'")
    truth, estimate, std = (np.asarray(a, float) for a in (truth, estimate, std))
    x, y = np.asarray(x, float), np.asarray(y, float)
    if not np.isfinite(estimate).any():
        raise ValueError(f"estimate: got no finite value of {estimate.size}, expected one")
    error = estimate - truth
    low, high = np.nanpercentile(np.concatenate([truth.ravel(), estimate.ravel()]), (1, 99))
    wide = _top(np.abs(error))
    ndvi = {"cmap": "YlGn", "vmin": low, "vmax": high}
    scales = [ndvi, ndvi, {"cmap": "RdBu_r", "vmin": -wide, "vmax": wide}]
    scales.append({"cmap": "cividis", "vmin": 0.0, "vmax": _top(std)})
    heads = (name, "estimated NDVI", "error: estimated - true", "standard deviation")

    shape = (np.ptp(y) + 1e-9) / (np.ptp(x) + 1e-9)
    height = 2.7 * float(np.clip(shape, 0.35, 1.25)) + 0.25
    figure = new_figure(12, 1.3 + len(truth) * height, title)
    figure.set_layout_engine("compressed")
    panels = figure.subplots(len(truth), 4, squeeze=False, sharex=True, sharey=True)
    # metres are shown in km
    scale, shown = (1e-3, "km") if unit == "m" else (1.0, "°")
    draw = _draw_points if truth.ndim == 2 else _draw_grid
    for line, *fields, date in zip(panels, truth, estimate, error, std, to_dates(day), strict=True):
        for axes, values, colours in zip(line, fields, scales, strict=True):
            draw(axes, x * scale, y * scale, values, colours)
            axes.grid(False)
            axes.set_aspect(1 / np.cos(np.deg2rad(y.mean())) if unit == "degree" else "equal")
            axes.xaxis.set_major_locator(MaxNLocator(3 if unit == "m" else 2))
            axes.yaxis.set_major_locator(MaxNLocator(4))
        line[0].set_ylabel(f"{np.datetime_as_string(date, 'D')}\nnorth, {shown}")
    for first, last, head in zip(panels[0], panels[-1], heads, strict=True):
        first.set_title(head)
        last.set_xlabel(f"east, {shown}")
    for first, last, colours in ((0, 2, scales[0]), (2, 3, scales[2]), (3, 4, scales[3])):
        norm = Normalize(colours["vmin"], colours["vmax"])
        mappable = ScalarMappable(norm, colours["cmap"])
        where = {"ax": panels[:, first:last], "location": "bottom", "shrink": 0.8, "aspect": 30}
        extend = "both" if colours["vmin"] else "max"
        figure.colorbar(mappable, **where, label="NDVI", extend=extend)
    return figure


def _draw_grid(axes: Axes, x, y, values, colours) -> None:
    step_y, step_x = -(-len(y) // _MOST), -(-len(x) // _MOST)
    axes.set_facecolor(_ABSENT)
    thinned = values[::step_y, ::step_x]
    axes.pcolormesh(x[::step_x], y[::step_y], thinned, shading="nearest", **colours)


def _draw_points(axes: Axes, x, y, values, colours) -> None:
    size, finite = float(np.clip(4000 / len(x), 4, 40)), np.isfinite(values)
    axes.scatter(x[~finite], y[~finite], size, _ABSENT)
    axes.margins(0.06)
    style = {"edgecolors": "#606060", "linewidths": 0.3}
    axes.scatter(x[finite], y[finite], size, values[finite], **style, **colours)


def _top(values: np.ndarray) -> float:
    """Upper end of a colour scale: the 98th percentile, 1 where nothing is finite."""
    finite = values[np.isfinite(values)]
    return max(float(np.percentile(finite, 98)), 1e-3) if finite.size else 1.0


@mpl.rc_context(QUIET)
def pixel_series(
    day: Real[_Array, "time"],
    label: Float[_Array, "pixel time"],
    valid: Bool[_Array, "pixel time"],
    hidden: Bool[_Array, "pixel time"],
    truth: Float[_Array, "pixel time"] | None,
    mean: Float[_Array, "pixel time"],
    std: Float[_Array, "pixel time"],
    noise: SupportsFloat,
    *,
    title: str = "",
) -> Figure:
    """Estimate with its 90 % bands, labels visible and withheld, and truth, a panel per pixel.

    The inner band is of the latent NDVI, mean +- 1.645 std; the outer of an observation, with the
    noise in it; there is no outer band where the noise is 0.

    `hidden` are labels that the method did not see; days are since 1970-01-01.

    Raises:
      ValueError: no pixel.
    """
    label, valid, hidden = np.asarray(label), np.asarray(valid), np.asarray(hidden)
    mean, std, noise = np.asarray(mean, float), np.asarray(std, float), float(noise)
    pixels = len(mean)
    if pixels == 0:
        raise ValueError("mean: got no pixel, expected at least one")
    date = to_dates(day)
    lines = -(-pixels // 2)
    figure = new_figure(12, 0.8 + 2.1 * lines, title)
    panels = figure.subplots(lines, 2, sharex=True, sharey=True, squeeze=False)
    for pixel, axes in enumerate(panels.flat[:pixels]):
        m, s = mean[pixel], std[pixel]
        if noise > 0:
            wide = metrics.HALF_BAND * np.hypot(s, noise)
            _band(axes, date, m, wide, "#dcebf5", "90 % band of an observation")
        _band(axes, date, m, metrics.HALF_BAND * s, "#a9cfe8", "90 % band of NDVI")
        if truth is not None:
            axes.plot(date, np.asarray(truth)[pixel], color="black", linewidth=1, label="truth")
        axes.plot(date, m, color=BLUE, label="estimate")
        kept, gone = valid[pixel] & ~hidden[pixel], valid[pixel] & hidden[pixel]
        axes.plot(date[kept], label[pixel][kept], "o", color="#404040", ms=3.5, label="label, seen")
        style = {"color": RED, "mfc": "white", "ms": 5, "label": "label, hidden"}
        axes.plot(date[gone], label[pixel][gone], "D", **style)
        axes.set_title(f"pixel {pixel + 1}")
    for axes in panels.flat[pixels:]:
        axes.set_visible(False)
    for axes in panels.flat[max(pixels - 2, 0) : pixels]:
        axes.tick_params(labelbottom=True)
    for axes in panels[:, 0]:
        axes.set_ylabel("NDVI")
    date_axis(panels[0, 0], 9)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _band(axes: Axes, date: np.ndarray, mean: np.ndarray, half: np.ndarray, colour, label) -> None:
    axes.fill_between(date, mean - half, mean + half, color=colour, linewidth=0, label=label)
