"""What all figures share: one colour and marker per method, short names of tasks, quiet axes."""

import io
import zlib

import matplotlib as mpl
from matplotlib.figure import Figure

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
"""Colour and marker of each method, the same in every figure; told apart by the marker too."""

TASKS = {
    "T1": "T1: no NDVI",
    "T2a": "T2a: 20 % hidden",
    "T2b": "T2b: 60 days",
    "T2c": "T2c: 132 days",
    "T2d": "T2d: real gaps",
    "T2e": "T2e: whole dates",
}
"""Short name of each task: what of the pixel's own NDVI is withheld."""

QUIET = {
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
    """Colour and marker of a method: its entry in `METHODS`, else one told by its name alone."""
    return METHODS.get(method) or _SPARE[zlib.crc32(method.encode()) % len(_SPARE)]


def new_figure(width: int | float, height: int | float) -> Figure:
    """An empty figure of `width` x `height` inches whose parts make room for each other."""
    return Figure(figsize=(width, height), layout="constrained")


@mpl.rc_context({"savefig.bbox": "standard"})
def png(figure: Figure, *, dpi: int | float = 110) -> bytes:
    """The figure as a PNG file; the same bytes for the same figure.

    Args:
      figure: any figure of this package.
      dpi: dots per inch of the picture.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
