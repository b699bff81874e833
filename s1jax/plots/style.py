"""What all figures share: one colour and marker per method, short names of tasks, quiet axes."""

import io
import zlib
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Array, Real
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

BLUE, RED, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#e69f00", "#009e73", "#808080"

YARDSTICKS = ("climatology", "linear", "whittaker", "knn_space")
"""Methods that every other one is held against; drawn in grey."""

METHODS = {
    "climatology": ("#b0b0b0", "o"),
    "linear": ("#909090", "s"),
    "whittaker": ("#707070", "D"),
    "knn_space": ("#505050", "^"),
    "mlp3": ("#56b4e9", "o"),
    "mlp10": ("#0072b2", "s"),
    "mlp_window": ("#332288", "D"),
    "boosting": ("#e69f00", "^"),
    "mogpr": ("#d55e00", "o"),
    "mogpr_pixel": ("#d55e00", "x"),
    "tcn_s1": ("#44aa99", "s"),
    "birnn": ("#aa4499", "D"),
    "shipped": ("#88ccee", "P"),
    "cnp": ("#009e73", "^"),
    "hybrid": ("#cc79a7", "v"),
    "switch": ("#cc79a7", "x"),
    "cropsar": ("#999933", "P"),
    "cropsar_gan": ("#999933", "x"),
    "ensemble": ("#000000", "X"),
}
"""Colour and marker of each method, the same in every figure; no two pairs are equal."""

TASKS = {
    "T1": "T1: no NDVI",
    "T2a": "T2a: 20 % hidden",
    "T2b": "T2b: 60 days",
    "T2c": "T2c: 132 days",
    "T2d": "T2d: real gaps",
    "T2e": "T2e: whole dates",
}
"""Short name of each task: what of the pixel's own NDVI is withheld."""

QUIET: dict[Any, Any] = {
    "figure.dpi": 110,
    "figure.facecolor": "white",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#808080",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    # names come from data: a dollar sign in one is a dollar sign
    "text.parse_math": False,
    "grid.color": "#ececec",
    "xtick.color": "#404040",
    "ytick.color": "#404040",
    "legend.frameon": False,
    "lines.linewidth": 1.4,
}
"""Settings of matplotlib under which every figure is drawn: `@mpl.rc_context(QUIET)`."""

_SPARE = tuple((c, m) for c in ("#882255", "#6699cc", "#661100", "#117733") for m in "<>hd*p")


def method_style(method: str) -> tuple[str, str]:
    """Colour and marker of a method: its entry in `METHODS`, else one that its name alone gives."""
    return METHODS.get(method) or _SPARE[zlib.crc32(method.encode()) % len(_SPARE)]


def new_figure(width: int | float, height: int | float, title: str = "") -> Figure:
    """An empty figure of `width` x `height` inches whose parts make room for each other."""
    figure = Figure(figsize=(width, height), layout="constrained")
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return figure


def names_down(axes: Axes, names: Sequence[str]) -> None:
    """Names at 0, 1, ... of the vertical axis, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)


def to_dates(day: Real[np.ndarray | Array, "time"]) -> np.ndarray:
    """Days since 1970-01-01 as datetime64[s]."""
    seconds = np.round(np.asarray(day, float) * 86_400).astype("timedelta64[s]")
    return np.datetime64("1970-01-01", "s") + seconds


def date_axis(axes: Axes, most: int) -> None:
    """At least 4 and at most `most` dates on the horizontal axis, in short."""
    locator = AutoDateLocator(minticks=4, maxticks=most)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


@mpl.rc_context({"savefig.bbox": "standard"})
def png(figure: Figure, *, dpi: int | float = 110) -> bytes:
    """The figure as a PNG file; the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
