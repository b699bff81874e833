"""How a network learnt."""

import matplotlib as mpl
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from s1jax.plots.style import QUIET, new_figure


@mpl.rc_context(QUIET)
def loss_curves(
    train: Float[np.ndarray | Array, "epoch"],
    validation: Float[np.ndarray | Array, "epoch"],
    *,
    title: str = "",
    unit: str = "mean squared error of z-scored NDVI",
) -> Figure:
    """Training and validation loss by epoch, on a linear and on a log axis, best epoch marked.

    The best epoch is the one of lowest validation loss, counted from 1. A loss that is not
    everywhere positive (a log-likelihood) gets a symmetric log axis, and its title says so.

    Args:
      train: mean loss over the training batches.
      validation: loss on the validation pixels.
      title: what stands above the curves, for instance the method.
      unit: what the loss is.

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
    scales = ("linear", "log" if positive else "symlog")

    figure = new_figure(10, 3.6)
    for axes, scale in zip(figure.subplots(1, 2), scales, strict=True):
        axes.plot(epoch, train, color="#808080", label="training")
        axes.plot(epoch, validation, color="#0072b2", label="validation")
        axes.axvline(best + 1, color="#d55e00", linewidth=1, linestyle=":")
        label = f"best: epoch {best + 1}, {validation[best]:.4g}"
        axes.plot(best + 1, validation[best], "o", color="#d55e00", label=label)
        axes.set(yscale=scale, xlabel="epoch")
        axes.set_title({"linear": "linear", "log": "log", "symlog": "symmetric log"}[scale])
    linear, other = figure.axes
    linear.set_ylabel(f"loss\n({unit})")
    linear.legend()
    if positive:
        one_decade = np.divide(*other.get_ylim()[::-1]) < 10
        other.yaxis.set_major_formatter("{x:g}")
        other.yaxis.set_minor_formatter("{x:g}" if one_decade else "")
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return figure
