"""Pictures of a scene: maps of a few dates, and the series of a few pixels."""

from typing import SupportsFloat

import matplotlib as mpl
import numpy as np
from jaxtyping import Array, Bool, Float, Real
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from s1jax.metrics import HALF_BAND
from s1jax.plots.style import BLUE, QUIET, RED, date_axis, new_figure, to_dates

_Array = np.ndarray | Array
_ABSENT = "#d0d0d0"
_MOST = 400  # cells across a map panel; more are not seen at its size


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
      title: stands above the maps.

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
    edges = _edges(x[::step_x]), _edges(y[::step_y])
    axes.pcolormesh(*edges, values[::step_y, ::step_x], **colours)


def _draw_points(axes: Axes, x, y, values, colours) -> None:
    size, finite = float(np.clip(4000 / len(x), 4, 40)), np.isfinite(values)
    axes.scatter(x[~finite], y[~finite], size, _ABSENT)
    axes.margins(0.06)
    style = {"edgecolors": "#606060", "linewidths": 0.3}
    axes.scatter(x[finite], y[finite], size, values[finite], **style, **colours)


def _edges(centre: np.ndarray) -> np.ndarray:
    """Edges of cells from their centres; one lone cell is a unit wide."""
    if len(centre) == 1:
        return centre[0] + np.array([-0.5, 0.5])
    between = (centre[1:] + centre[:-1]) / 2
    first, last = 2 * centre[0] - between[0], 2 * centre[-1] - between[-1]
    return np.concatenate([[first], between, [last]])


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
    names: tuple[str, ...] | None = None,
    title: str = "",
) -> Figure:
    """Estimate with its 90 % bands, labels kept and hidden, and truth, a panel per pixel.

    The inner band is of the latent NDVI, mean +- 1.645 std; the outer of an observation, with the
    noise in it; there is no outer band where the noise is 0.

    Args:
      day: days since 1970-01-01.
      label: NDVI labels; anything where not valid.
      valid: where there is a label.
      hidden: labels that the method did not see.
      truth: true NDVI, or None.
      mean: estimated NDVI.
      std: standard deviation of the latent NDVI.
      noise: standard deviation of an observation about it.
      names: of the panels.
      title: stands above all.

    Raises:
      ValueError: no pixel, or not one name a pixel.
    """
    label, valid, hidden = np.asarray(label), np.asarray(valid), np.asarray(hidden)
    mean, std, noise = np.asarray(mean, float), np.asarray(std, float), float(noise)
    names = tuple(f"pixel {i + 1}" for i in range(len(mean))) if names is None else names
    if len(mean) == 0 or len(names) != len(mean):
        raise ValueError(f"names: got {len(names)} for {len(mean)} pixels, expected one each")
    date = to_dates(day)
    lines = -(-len(mean) // 2)
    figure = new_figure(12, 0.8 + 2.1 * lines, title)
    panels = figure.subplots(lines, 2, sharex=True, sharey=True, squeeze=False)
    for pixel, (axes, name) in enumerate(zip(panels.flat, names, strict=False)):
        m, s = mean[pixel], std[pixel]
        if noise > 0:
            wide = HALF_BAND * np.hypot(s, noise)
            _band(axes, date, m, wide, "#dcebf5", "90 % band of an observation")
        _band(axes, date, m, HALF_BAND * s, "#a9cfe8", "90 % band of NDVI")
        if truth is not None:
            axes.plot(date, np.asarray(truth)[pixel], color="black", linewidth=1, label="truth")
        axes.plot(date, m, color=BLUE, label="estimate")
        kept, gone = valid[pixel] & ~hidden[pixel], valid[pixel] & hidden[pixel]
        axes.plot(date[kept], label[pixel][kept], "o", color="#404040", ms=3.5, label="label, seen")
        style = {"color": RED, "mfc": "white", "ms": 5, "label": "label, hidden"}
        axes.plot(date[gone], label[pixel][gone], "D", **style)
        axes.set_title(name)
    for axes in panels.flat[len(mean) :]:
        axes.set_visible(False)
    for axes in panels.flat[max(len(mean) - 2, 0) : len(mean)]:
        axes.tick_params(labelbottom=True)
    for axes in panels[:, 0]:
        axes.set_ylabel("NDVI")
    date_axis(panels[0, 0], 9)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _band(axes: Axes, date: np.ndarray, mean: np.ndarray, half: np.ndarray, colour, label) -> None:
    axes.fill_between(date, mean - half, mean + half, color=colour, linewidth=0, label=label)
