"""Speckle averaged away: radar variables with local means in linear power beside them.

The multi-temporal filter of Quegan and Yu (2001) is not here: in dB it is this mean plus one number
a pixel.
"""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Bool, Float

from s1jax.batching import bar
from s1jax.cube.names import LOOKS, sentinel1
from s1jax.features import from_db, to_db

log = logging.getLogger("s1jax")
_VALUES = 2**22
"""Values of a band of rows without its halo, at most: about 16 MB, and some times that at work."""


def despeckle(ds: xr.Dataset, *, sizes: tuple[int, ...] = (3, 7)) -> xr.Dataset:
    """The cube with VV_smooth and VV_wide, VH_smooth, ...: dB, valid where VV, VH are.

    Each is the mean over neighbours (`local_mean`) of its variable inside `mask`, where there is
    one, and NaN outside; older ones are replaced. It is made of the whole cube, so do this before
    the cube is cut into tiles; one in chunks is read into memory. A single row or column has no
    neighbours that could be trusted to be near: such a cube, of points say, is returned as it is,
    and the log says so.

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
            value = _in_bands(db, valid, size, f"{name} speckle")
            how = f"{name}, {size} x {size} means in linear power{inside}"
            attrs = {"units": "dB", "long_name": how}
            smooth[f"{name}_{look}"] = (("t", "y", "x"), value, attrs)
    log.info("speckle of %s: means over %s pixels%s", ", ".join(sentinel1(ds)), sizes, inside)
    return ds.assign(smooth)


def local_mean(
    db: Float[Array, "time y x"], valid: Bool[Array, "time y x"], *, size: int = 3
) -> Float[Array, "time y x"]:
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
    power = jnp.where(valid, from_db(jnp.where(valid, db, 0.0)), 0.0)
    count = _box(valid.astype(power.dtype), size)
    mean = jnp.where(count > 0, _box(power, size) / jnp.maximum(count, 1.0), 1.0)
    return jnp.where(valid, to_db(jnp.where(valid, mean, 1.0)), jnp.nan)


_local_mean = jax.jit(local_mean, static_argnames="size")


def _box(x, size):
    """Sum over size x size around each pixel, zero beyond the edge: along y, then along x."""
    half = size // 2
    _, height, width = x.shape
    padded = jnp.pad(x, ((0, 0), (half, half), (half, half)))
    rows = sum(padded[:, lag : lag + height] for lag in range(size))
    return sum(rows[:, :, lag : lag + width] for lag in range(size))


def _in_bands(db, valid, size, title):
    """The means of all rows, float32; bands of rows have one shape, with a halo of neighbours."""
    dates, height, width = db.shape
    rows = min(height, max(1, _VALUES // (dates * width)))
    halo = size // 2
    means = np.empty(db.shape, np.float32)
    for start in bar(range(0, height, rows), title, "band"):
        low, high = max(start - halo, 0), min(start + rows + halo, height)
        inside = slice(low - start + halo, high - start + halo)
        value = np.zeros((dates, rows + 2 * halo, width), np.float32)
        weight = np.zeros(value.shape, bool)
        value[:, inside], weight[:, inside] = db[:, low:high], valid[:, low:high]
        band = _local_mean(jnp.asarray(value), jnp.asarray(weight), size=size)
        stop = min(start + rows, height)
        means[:, start:stop] = np.asarray(band)[:, halo : halo + stop - start]
    return means
