"""README's picture: a simulated pixel with its band, and a map before and after.

Command: python docs/pixel_and_map.py
Expected: docs/pixel_and_map.png.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import s1jax
from s1jax.metrics import HALF_BAND
from s1jax.plots import png

PATH = Path(__file__).with_suffix(".png")
STYLE = {"cmap": "YlGn", "vmin": 0.0, "vmax": 0.9}


def main() -> None:
    """Fill a simulated cube by the shipped weights and draw it."""
    ds = s1jax.open_cube(s1jax.simulate.cube(seed=1))
    filled = s1jax.fill(ds)
    label = ds["S2ndvi"].transpose("t", "y", "x").values
    truth = ds["truth"].transpose("t", "y", "x").values
    mean, std = (filled[name].transpose("t", "y", "x").values for name in ("ndvi", "ndvi_std"))
    clear = np.isfinite(label)
    # a pixel of median cloud, and a date on which a fifth of the region is clear
    share = np.where(ds["mask"].values, clear.mean(axis=0), np.nan)
    row, column = np.unravel_index(np.nanargmin(np.abs(share - np.nanmedian(share))), share.shape)
    date = int(np.argmin(np.abs(clear[:, ds["mask"].values].mean(axis=1) - 0.2)))

    figure = plt.figure(figsize=(10, 5.6), layout="constrained")
    grid = figure.add_gridspec(2, 3)
    axes = figure.add_subplot(grid[0, :])
    pixel = (slice(None), row, column)
    t, half = ds["t"].values, HALF_BAND * std[pixel]
    axes.fill_between(t, mean[pixel] - half, mean[pixel] + half, color="#b8d8b8", label="90 % band")
    axes.plot(t, mean[pixel], color="#206020", label="estimate")
    axes.plot(t, truth[pixel], color="black", linewidth=0.8, linestyle=":", label="truth")
    axes.plot(t, label[pixel], "o", color="#c04000", markersize=4, label="Sentinel-2")
    axes.set_ylabel("NDVI")
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    titles = (f"Sentinel-2, {np.datetime_as_string(t[date], 'D')}", "estimate", "truth")
    for k, (title, values) in enumerate(zip(titles, (label, mean, truth), strict=True)):
        axes = figure.add_subplot(grid[1, k], aspect="equal", xticks=[], yticks=[], title=title)
        axes.set_facecolor("#e0e0e0")
        drawn = axes.imshow(np.where(ds["mask"].values, values[date], np.nan), **STYLE)
    figure.colorbar(drawn, ax=figure.axes[1:], label="NDVI")
    PATH.write_bytes(png(figure))


if __name__ == "__main__":
    main()
