"""A Dataset fused: block by block, cleaned, with names and attributes of FuseTS."""

import logging
from collections.abc import Callable

import numpy as np
import xarray as xr
from jaxtyping import Float

from s1jax.cube.dates import to_days
from s1jax.fusets import missing
from s1jax.fusets.dataset import Cube, assembled, mapped
from s1jax.fusets.fuse import EMPTY, Fused
from s1jax.fusets.periods import dates as dates_between
from s1jax.mogpr import IMPLAUSIBLE, NO_DATA, REGION_HYPER, REGION_SCALE

log = logging.getLogger("s1jax")

_SLAB = 32_768
"""Pixels whose values are in double precision at a time."""
_FLAGS = {
    "region_scale": REGION_SCALE,
    "no_data": NO_DATA,
    "region_hyperparameters": REGION_HYPER,
    "implausible_values_dropped": IMPLAUSIBLE,
    "variable_without_observation": EMPTY,
}

Fuse = Callable[[np.ndarray, np.ndarray, np.ndarray | None], Fused]
"""Days, values (pixel, time, output) and days asked for, to what is fused."""


def fused(
    cube: Cube, fuse: Fuse, *, period: str | None, uncertainties: bool, raw: bool
) -> xr.Dataset:
    """Dataset of <v>_FUSED, and as asked <v>_STD, <v>_RAW of all variables, and QUALITY.

    Args:
      cube: what to fuse.
      fuse: days, values and days asked for (None: the same) of pixels to what is fused.
      period: between the dates of the result; None: those of the cube.
      uncertainties: with <v>_STD and QUALITY.
      raw: with <v>_RAW.
    """
    names, variables, day = cube.names, cube.variables(), cube.days()
    dates = at = None
    if period is not None:
        dates = dates_between(cube.dates().min(), cube.dates().max(), period)
        at = to_days(dates)
    queries = day.size if at is None else at.size
    suffixes = ["FUSED", *(["STD"] if uncertainties else []), *(["RAW"] if raw else [])]
    kinds = [v.dtype if v.dtype.kind == "f" else np.dtype(np.float32) for v in variables]
    fills = [missing.fills(v) for v in variables]
    dropped = np.zeros(len(names), int)

    def _block(*arrays):
        arrays = np.broadcast_arrays(*arrays)
        columns = [array.reshape(-1, day.size) for array in arrays]
        n = len(columns[0])
        made = {suffix: [np.empty((n, queries), kind) for kind in kinds] for suffix in suffixes}
        quality = np.empty(n, np.uint8)
        for start in range(0, n, _SLAB):
            slab = slice(start, start + _SLAB)
            pairs = [missing.cleaned(c[slab], f) for c, f in zip(columns, fills, strict=True)]
            value, lost = (np.stack(leaves, axis=-1) for leaves in zip(*pairs, strict=True))
            dropped[:] += lost.sum(axis=0)
            found = fuse(day, value, at)
            quality[slab] = found.quality | (IMPLAUSIBLE * lost.any(axis=1)).astype(np.uint8)
            leaves = {"FUSED": found.mean, "STD": found.std}
            if raw:
                leaves["RAW"] = value if at is None else _on_days(day, value, at)
            for suffix in suffixes:
                for output, array in enumerate(made[suffix]):
                    array[slab] = leaves[suffix][..., output]
        shape = arrays[0].shape[:-1]
        out = [array.reshape(*shape, queries) for suffix in suffixes for array in made[suffix]]
        return (*out, quality.reshape(shape)) if uncertainties else tuple(out)

    labels = [(name, suffix) for suffix in suffixes for name in names]
    results = [(True, kind) for _ in suffixes for kind in kinds]
    if uncertainties:
        results.append((False, np.dtype(np.uint8)))
    found = mapped(_block, cube, queries, results)
    out = {}
    for (name, suffix), variable in zip(labels, found, strict=False):
        variable.attrs, variable.encoding = _described(cube.source[name], suffix)
        out[f"{name}_{suffix}"] = variable
    if uncertainties:
        found[-1].attrs = _flags()
        out["QUALITY"] = found[-1]
    if all(v.chunks is None for v in variables):
        for name, count in zip(names, dropped.tolist(), strict=True):
            out[f"{name}_FUSED"].attrs["s1jax_dropped"] = count
            if count:
                log.warning("%s: %d infinite or fill values are taken as missing", name, count)
    return assembled(cube, dates, out)


def _on_days(
    day: Float[np.ndarray, "time"],
    value: Float[np.ndarray, "pixel time output"],
    at: Float[np.ndarray, "query"],
) -> Float[np.ndarray, "pixel query output"]:
    """Mean of what was observed on the same calendar day; NaN where nothing was."""
    same = np.floor(at)[:, None] == np.floor(day)[None]
    out = np.full((len(value), at.size, value.shape[-1]), np.nan)
    for query in np.flatnonzero(same.any(axis=1)):
        part = value[:, same[query]]
        there = np.isfinite(part)
        total = np.where(there, part, 0.0).sum(axis=1)
        count = there.sum(axis=1)
        out[:, query] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return out


def _described(source: xr.DataArray, suffix: str) -> tuple[dict, dict]:
    """Attributes and encoding of a result: those of the variable, without how it was packed."""
    packing = (
        *missing.DECLARED,
        "scale_factor",
        "add_offset",
        "valid_range",
        "valid_min",
        "valid_max",
    )
    attrs = {key: value for key, value in source.attrs.items() if key not in packing}
    name = attrs.get("long_name", source.name)
    if suffix == "FUSED":
        attrs["long_name"] = f"{name}, fused"
    if suffix == "STD":
        attrs = {k: v for k, v in attrs.items() if k in ("units", "grid_mapping")}
        attrs["long_name"] = f"standard deviation of an observation of {name}"
    encoding = {k: v for k, v in source.encoding.items() if k == "grid_mapping"}
    return attrs, encoding


def _flags() -> dict:
    return {
        "long_name": "quality of the fusion; 0 is good",
        "flag_masks": np.array(list(_FLAGS.values()), np.uint8),
        "flag_meanings": " ".join(_FLAGS),
    }
