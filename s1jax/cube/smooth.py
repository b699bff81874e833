"""Radar variables beside themselves, speckle-filtered: a band of rows at a time."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from s1jax import speckle
from s1jax.cube.names import LOOKS, sentinel1
from s1jax.progress import bar

log = logging.getLogger("s1jax")
_VALUES = 2**22
"""Values of a band without its halo, at most: about 16 MB, and some times that while it is made."""

_filtered = jax.jit(speckle.mean, static_argnames="size")


def despeckle(ds: xr.Dataset, *, sizes: tuple[int, ...] = (3, 7)) -> xr.Dataset:
    """The cube with VV_smooth and VV_wide, VH_smooth, ...: dB, valid where VV, VH are.

    Each is the mean over neighbours (`speckle.mean`) of its variable inside `mask`, where there is
    one, and NaN outside; older ones are replaced. It is made of the whole cube, so do this
    before the cube is cut into tiles; one in chunks is read into memory. A single row or column has
    no neighbours that could be trusted to be near: such a cube, of points say, is returned as it
    is, and the log says so.

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
    wanted = np.ones((height, width), bool)
    if "mask" in ds.variables:
        wanted = ds["mask"].transpose("y", "x").values.astype(bool)
    inside = " inside mask" if "mask" in ds.variables else ""
    made = {}
    for name in sentinel1(ds):
        db = ds[name].transpose("t", "y", "x").values
        valid = np.isfinite(db) & wanted
        for look, size in zip(LOOKS, sizes, strict=False):
            value = _in_bands(db, valid, size, f"{name} speckle")
            how = f"{name}, {size} x {size} means in linear power{inside}"
            made[f"{name}_{look}"] = (("t", "y", "x"), value, {"units": "dB", "long_name": how})
    log.info("speckle of %s: means over %s pixels%s", ", ".join(sentinel1(ds)), sizes, inside)
    return ds.assign(made)


def _in_bands(db, valid, size, label):
    """The filter of all rows, float32; every band has one shape, with a halo of its neighbours."""
    dates, height, width = db.shape
    rows = min(height, max(1, _VALUES // (dates * width)))
    halo = size // 2
    made = np.empty(db.shape, np.float32)
    for start in bar(range(0, height, rows), label, "band"):
        low, high = max(start - halo, 0), min(start + rows + halo, height)
        inside = slice(low - start + halo, high - start + halo)
        value = np.zeros((dates, rows + 2 * halo, width), np.float32)
        known = np.zeros(value.shape, bool)
        value[:, inside], known[:, inside] = db[:, low:high], valid[:, low:high]
        band = _filtered(jnp.asarray(value), jnp.asarray(known), size=size)
        stop = min(start + rows, height)
        made[:, start:stop] = np.asarray(band)[:, halo : halo + stop - start]
    return made
