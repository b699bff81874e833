"""Pictures of a scene: maps of a few dates, and the series of a few pixels."""

from collections.abc import Callable
from typing import SupportsFloat

import matplotlib as mpl
import numpy as np
from jaxtyping import Array, Bool, Float, Real
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from s1jax.metrics import HALF_BAND
from s1jax.plots.style import QUIET, new_figure

_ABSENT = "#d0d0d0"
_MOST = 400  # cells across a map panel; more are not seen at its size


@mpl.rc_context(QUIET)
def maps(
    truth: Float[np.ndarray | Array, "date y x"],
    estimate: Float[np.ndarray | Array, "date y x"],
    std: Float[np.ndarray | Array, "date y x"],
    x: Real[np.ndarray | Array, "x"],
    y: Real[np.ndarray | Array, "y"],
    day: Real[np.ndarray | Array, "date"],
    *,
    name: str = "true NDVI",
    unit: str = "m",
    title: str = "",
) -> Figure:
    """Truth, estimate, error and std of a grid, a line per date; NaN is grey.

    A grid of more than 400 cells across is thinned evenly to what the panel can show.

    Args:
      truth: true NDVI or label, 1; NaN where there is none.
      estimate: estimated NDVI, 1.
      std: standard deviation of the estimate, 1.
      x: centres of the columns, in `unit`, ascending or descending.
      y: centres of the lines, in `unit`, ascending or descending.
      day: days since 1970-01-01.
      name: what `truth` is, above its column.
      unit: "m" or "degree".
      title: what stands above the maps.

    Raises:
      ValueError: no finite estimate, or another unit.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    step_y, step_x = -(-len(y) // _MOST), -(-len(x) // _MOST)
    scale = _scale(unit)

    def _draw(axes: Axes, values: np.ndarray, **colours) -> None:
        axes.set_facecolor(_ABSENT)
        edges = _edges(x[::step_x] * scale), _edges(y[::step_y] * scale)
        axes.pcolormesh(*edges, values[::step_y, ::step_x], **colours)

    shape = (np.ptp(y) + 1e-9) / (np.ptp(x) + 1e-9)
    return _map_panels(truth, estimate, std, y, day, _draw, name, unit, title, shape)


@mpl.rc_context(QUIET)
def point_maps(
    truth: Float[np.ndarray | Array, "date pixel"],
    estimate: Float[np.ndarray | Array, "date pixel"],
    std: Float[np.ndarray | Array, "date pixel"],
    x: Real[np.ndarray | Array, "pixel"],
    y: Real[np.ndarray | Array, "pixel"],
    day: Real[np.ndarray | Array, "date"],
    *,
    name: str = "true NDVI",
    unit: str = "m",
    title: str = "",
) -> Figure:
    """The same as `maps` for one pixel per field: a dot at each place; arguments as there."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    scale = _scale(unit)
    size = float(np.clip(4000 / len(x), 4, 40))

    def _draw(axes: Axes, values: np.ndarray, **colours) -> None:
        known = np.isfinite(values)
        axes.scatter(x[~known] * scale, y[~known] * scale, size, _ABSENT)
        axes.margins(0.06)
        east, north = x[known] * scale, y[known] * scale
        axes.scatter(
            east, north, size, values[known], edgecolors="#606060", linewidths=0.3, **colours
        )

    shape = (np.ptp(y) + 1e-9) / (np.ptp(x) + 1e-9)
    return _map_panels(truth, estimate, std, y, day, _draw, name, unit, title, shape)


@mpl.rc_context(QUIET)
def pixel_series(
    day: Real[np.ndarray | Array, "time"],
    label: Float[np.ndarray | Array, "pixel time"],
    valid: Bool[np.ndarray | Array, "pixel time"],
    hidden: Bool[np.ndarray | Array, "pixel time"],
    truth: Float[np.ndarray | Array, "pixel time"] | None,
    mean: Float[np.ndarray | Array, "pixel time"],
    std: Float[np.ndarray | Array, "pixel time"],
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
      label: NDVI labels, 1; anything where not valid.
      valid: where there is a label.
      hidden: which labels the method did not see.
      truth: true NDVI, 1, where it is known.
      mean: estimated NDVI, 1.
      std: standard deviation of the latent NDVI, 1.
      noise: standard deviation of an observation about it, 1.
      names: what stands above each panel.
      title: what stands above all.

    Raises:
      ValueError: no pixel, or not one name a pixel.
    """
    label, valid, hidden = np.asarray(label), np.asarray(valid), np.asarray(hidden)
    mean, std, noise = np.asarray(mean, float), np.asarray(std, float), float(noise)
    names = tuple(f"pixel {i + 1}" for i in range(len(mean))) if names is None else names
    if len(mean) == 0 or len(names) != len(mean):
        raise ValueError(f"names: found {len(names)} for {len(mean)} pixels, expected one each")
    date = _dates(day)
    lines = -(-len(mean) // 2)
    figure = new_figure(12, 0.8 + 2.1 * lines)
    panels = figure.subplots(lines, 2, sharex=True, sharey=True, squeeze=False)
    for pixel, (axes, name) in enumerate(zip(panels.flat, names, strict=False)):
        m, s = mean[pixel], std[pixel]
        if noise > 0:
            wide = HALF_BAND * np.hypot(s, noise)
            _band(axes, date, m, wide, "#dcebf5", "90 % band of an observation")
        _band(axes, date, m, HALF_BAND * s, "#a9cfe8", "90 % band of NDVI")
        if truth is not None:
            axes.plot(date, np.asarray(truth)[pixel], color="black", linewidth=1, label="truth")
        axes.plot(date, m, color="#0072b2", label="estimate")
        kept, gone = valid[pixel] & ~hidden[pixel], valid[pixel] & hidden[pixel]
        axes.plot(date[kept], label[pixel][kept], "o", color="#404040", ms=3.5, label="label, seen")
        style = {"color": "#d55e00", "mfc": "white", "ms": 5, "label": "label, hidden"}
        axes.plot(date[gone], label[pixel][gone], "D", **style)
        axes.set_title(name)
    for axes in panels.flat[len(mean) :]:
        axes.set_visible(False)
    for axes in panels.flat[max(len(mean) - 2, 0) : len(mean)]:
        axes.tick_params(labelbottom=True)
    for axes in panels[:, 0]:
        axes.set_ylabel("NDVI")
    locator = AutoDateLocator(minticks=4, maxticks=9)
    panels[0, 0].xaxis.set_major_locator(locator)
    panels[0, 0].xaxis.set_major_formatter(ConciseDateFormatter(locator))
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return figure


def _band(axes: Axes, date: np.ndarray, mean: np.ndarray, half: np.ndarray, colour, label) -> None:
    axes.fill_between(date, mean - half, mean + half, color=colour, linewidth=0, label=label)


def _map_panels(
    truth, estimate, std, y, day, draw: Callable, name: str, unit: str, title: str, shape: float
) -> Figure:
    """Four columns, a line per date, one colour scale each for NDVI, error and std."""
    truth, estimate, std = (np.asarray(a, float) for a in (truth, estimate, std))
    if not np.isfinite(estimate).any():
        raise ValueError(f"estimate: found no finite value of {estimate.size}, expected one")
    error = estimate - truth
    low, high = np.nanpercentile(np.concatenate([truth.ravel(), estimate.ravel()]), (1, 99))
    wide = _top(np.abs(error))
    ndvi = {"cmap": "YlGn", "vmin": low, "vmax": high}
    scales = [ndvi, ndvi, {"cmap": "RdBu_r", "vmin": -wide, "vmax": wide}]
    scales.append({"cmap": "cividis", "vmin": 0.0, "vmax": _top(std)})
    heads = (name, "estimated NDVI", "error: estimated - true", "standard deviation")

    height = 2.7 * float(np.clip(shape, 0.35, 1.25)) + 0.25
    figure = new_figure(12, 1.3 + len(truth) * height)
    figure.set_layout_engine("compressed")
    panels = figure.subplots(len(truth), 4, squeeze=False, sharex=True, sharey=True)
    for line, *fields, date in zip(panels, truth, estimate, error, std, _dates(day), strict=True):
        for axes, values, colours in zip(line, fields, scales, strict=True):
            draw(axes, values, **colours)
            axes.grid(False)
            axes.set_aspect(1 / np.cos(np.deg2rad(y.mean())) if unit == "degree" else "equal")
            axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(3 if unit == "m" else 2))
            axes.yaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
        line[0].set_ylabel(f"{np.datetime_as_string(date, 'D')}\n{_axis('north', unit)}")
    return _finish(figure, panels, scales, heads, unit, title)


def _finish(figure, panels, scales, heads, unit, title) -> Figure:
    """Column heads, one colour bar a scale, axis names."""
    for axes, head in zip(panels[0], heads, strict=True):
        axes.set_title(head)
    for axes in panels[-1]:
        axes.set_xlabel(_axis("east", unit))
    for first, last, scale in ((0, 2, scales[0]), (2, 3, scales[2]), (3, 4, scales[3])):
        norm = mpl.colors.Normalize(scale["vmin"], scale["vmax"])
        mappable = mpl.cm.ScalarMappable(norm, scale["cmap"])
        place = {"ax": panels[:, first:last], "location": "bottom", "shrink": 0.8, "aspect": 30}
        figure.colorbar(mappable, **place, label="NDVI", extend="both" if scale["vmin"] else "max")
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return figure


def _axis(direction: str, unit: str) -> str:
    return f"{direction}, {'km' if unit == 'm' else '°'}"


def _scale(unit: str) -> float:
    """Factor from `unit` to what the axis shows (metres are shown in km)."""
    if unit not in ("m", "degree"):
        raise ValueError(f"unit: found {unit!r}, expected 'm' or 'degree'")
    return 1e-3 if unit == "m" else 1.0


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


def _dates(day) -> np.ndarray:
    """Days since 1970-01-01 as datetime64[s]."""
    seconds = np.round(np.asarray(day, float) * 86_400).astype("timedelta64[s]")
    return np.datetime64("1970-01-01", "s") + seconds
