"""Speckle averaged away: radar variables with local means in linear power beside them.

The multi-temporal filter of Quegan and Yu (2001) is not here: in dB it is this mean plus one number
a pixel.
"""

import logging

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float
from scipy.ndimage import correlate1d

from s1jax.batching import bar
from s1jax.cube.names import LOOKS, sentinel1

log = logging.getLogger("s1jax")


def despeckle(ds: xr.Dataset, *, sizes: tuple[int, ...] = (3, 7)) -> xr.Dataset:
    """The cube with VV_smooth and VV_wide, VH_smooth, ...: dB, valid where VV, VH are.

    Each is the mean over neighbours (`local_mean`) of its variable inside `mask`, where there is
    one, and NaN outside; older ones are replaced. Do this before the cube is cut into tiles; one in
    chunks is read into memory. Pixels of a single row or column, of points say, may be no
    neighbours: such a cube is returned as it is, and the log says so.

    Args:
      ds: aligned cube (`align_cube`); its orbits are filtered apart.
      sizes: odd sides of the squares of the local means, pixels: of `smooth`, and of `wide`.

    Raises:
      ValueError: a size is even or below 1, or there are not one or two.
    """
    if not 1 <= len(sizes) <= len(LOOKS):
        raise ValueError(f"sizes: got {sizes}, expected one or two, of {LOOKS}")
    height, width = ds.sizes["y"], ds.sizes["x"]
    if min(height, width) == 1:
        log.info("speckle: not filtered, %d x %d pixels have no neighbours", height, width)
        return ds
    wanted, inside = True, ""
    if "mask" in ds.variables:
        wanted, inside = ds["mask"].transpose("y", "x").values.astype(bool), " inside mask"
    smooth = {}
    for name in sentinel1(ds):
        db = ds[name].transpose("t", "y", "x").values
        valid = np.isfinite(db) & wanted
        for look, size in zip(LOOKS, sizes, strict=False):
            value = np.empty(db.shape, np.float32)
            for k in bar(range(len(db)), f"{name} speckle", "date"):
                value[k] = local_mean(db[k], valid[k], size=size)
            how = f"{name}, {size} x {size} means in linear power{inside}"
            attrs = {"units": "dB", "long_name": how}
            smooth[f"{name}_{look}"] = (("t", "y", "x"), value, attrs)
    log.info("speckle of %s: means over %s pixels%s", ", ".join(sentinel1(ds)), sizes, inside)
    return ds.assign(smooth)


def local_mean(
    db: Float[np.ndarray, "*time y x"], valid: Bool[np.ndarray, "*time y x"], *, size: int = 3
) -> Float[np.ndarray, "*time y x"]:
    """Mean power of the valid pixels in size x size around each pixel, 10 log10 mean 10^(db / 10).

    NaN where the pixel itself is not valid; beyond the edge nothing is valid.

    Args:
      db: backscatter, dB; anything where not valid.
      valid: True where observed and wanted (inside the mask).
      size: odd side of the square, pixels; 1 changes nothing.

    Raises:
      ValueError: `size` is even or below 1.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size: got {size}, expected an odd number of pixels, 1 or more")
    power, count = 10 ** (np.where(valid, db, np.nan).astype(float) / 10), valid.astype(float)
    power[~valid] = 0
    for axis in (-2, -1):
        power, count = (
            correlate1d(x, np.ones(size), axis, mode="constant") for x in (power, count)
        )
    mean = np.divide(power, count, out=np.full(db.shape, np.nan), where=valid)
    return (10 * np.log10(mean)).astype(db.dtype)
