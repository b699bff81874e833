"""A Dataset fused: block by block, cleaned, with names and attributes of FuseTS."""

import logging
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from s1jax.cube.dates import to_days
from s1jax.fusets import missing
from s1jax.fusets.dataset import Cube, Result, assembled, mapped
from s1jax.fusets.fuse import EMPTY, Fused
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


class Wanted(NamedTuple):
    """What of the fusion is returned, besides the means."""

    dates: np.ndarray | None = None
    """Of the estimates, ascending; None: those of the cube."""
    uncertainties: bool = False
    raw: bool = False
    """With `dates`, the result has the dates of the cube too, with nothing but what was seen."""
    quality: bool = False
    bare: bool = False
    """Whether the means have the names of the variables, as FuseTS' `transform` has them."""


def fused(cube: Cube, fuse: Fuse, wanted: Wanted) -> xr.Dataset:
    """Dataset of <v>_FUSED, and as wanted <v>_STD, <v>_RAW of all variables, and QUALITY.

    Args:
      cube: what to fuse.
      fuse: days, values and days asked for (None: the same) of pixels to what is fused.
      wanted: what of it is returned.

    Raises:
      ValueError: two results, or a result and a variable beside, of one name.
    """
    names, variables, day = cube.names, cube.variables(), cube.days()
    axis = _axis(cube, wanted)
    at = None if axis.at is None else to_days(axis.at)
    queries = day.size if axis.dates is None else axis.dates.size
    suffixes = ["FUSED", *(["STD"] if wanted.uncertainties else [])]
    suffixes += ["RAW"] if wanted.raw else []
    kinds = [v.dtype if v.dtype.kind == "f" else np.result_type(v.dtype, "f4") for v in variables]
    fills = [missing.fills(v) for v in variables]
    dropped = np.zeros(len(names), int)

    def _block(*arrays):
        arrays = np.broadcast_arrays(*arrays)
        shape = arrays[0].shape[:-1]
        n = int(np.prod(shape))
        columns = [array.reshape(n, day.size) for array in arrays]
        made = {suffix: [np.empty((n, queries), kind) for kind in kinds] for suffix in suffixes}
        quality = np.empty(n, np.uint8)
        for start in range(0, n, _SLAB):
            slab = slice(start, start + _SLAB)
            pairs = [missing.cleaned(c[slab], f) for c, f in zip(columns, fills, strict=True)]
            value, lost = (np.stack(leaves, axis=-1) for leaves in zip(*pairs, strict=True))
            dropped[:] += lost.sum(axis=0)
            found = fuse(day, value, at)
            quality[slab] = found.quality | (IMPLAUSIBLE * lost.any(axis=1)).astype(np.uint8)
            leaves = {
                "FUSED": _placed(found.mean, axis.estimate),
                "STD": _placed(found.std, axis.estimate),
                "RAW": _placed(value, axis.observation),
            }
            for suffix in suffixes:
                for output, array in enumerate(made[suffix]):
                    array[slab] = leaves[suffix][..., output]
        out = [array.reshape(*shape, queries) for suffix in suffixes for array in made[suffix]]
        return (*out, quality.reshape(shape)) if wanted.quality else tuple(out)

    labels = [(name, suffix) for suffix in suffixes for name in names]
    results = [(True, kind) for _ in suffixes for kind in kinds]
    if wanted.quality:
        results.append((False, np.dtype(np.uint8)))
    found = mapped(_block, cube, queries, results)
    out = []
    for (name, suffix), variable in zip(labels, found, strict=False):
        variable.attrs, variable.encoding = _described(cube.source[name], suffix)
        out.append(Result(name if wanted.bare else f"{name}_{suffix}", name, variable))
    if wanted.quality:
        found[-1].attrs = _flags()
        out.append(Result("QUALITY", names[0], found[-1]))
    if all(v.chunks is None for v in variables):
        for result, count in zip(out, dropped.tolist(), strict=False):
            result.variable.attrs["s1jax_dropped"] = count
            if count:
                log.warning("%s: %d infinite or fill values are taken as missing", result.of, count)
    return assembled(cube, axis.dates, out)


class _Axis(NamedTuple):
    """The dates of the result."""

    dates: np.ndarray | None
    """None: those of the cube."""
    at: np.ndarray | None
    """Dates to estimate on; None: those of the cube."""
    estimate: Int[np.ndarray, "query"] | None
    """Which of `at` each date is, -1 where none; None: in the same order."""
    observation: Int[np.ndarray, "query"] | None
    """Which date of the cube each is, so too."""


def _axis(cube: Cube, wanted: Wanted) -> _Axis:
    """All dates of the cube, ascending, and the wanted ones between them, where raw is wanted."""
    if wanted.dates is None:
        return _Axis(None, None, None, None)
    own = cube.dates()
    at = wanted.dates.astype(own.dtype)
    if not wanted.raw:
        return _Axis(at, at, None, None)
    between = np.setdiff1d(at, own)
    every = np.concatenate([own, between])
    order = np.argsort(every, kind="stable")
    place = np.minimum(np.searchsorted(at, every[order]), at.size - 1)
    estimate = np.where(at[place] == every[order], place, -1)
    return _Axis(every[order], at, estimate, np.where(order < own.size, order, -1))


def _placed(
    value: Float[np.ndarray, "pixel any output"], place: Int[np.ndarray, "query"] | None
) -> Float[np.ndarray, "pixel query output"]:
    """The dates of `place`, NaN where it is -1; None: as they are."""
    return value if place is None else np.where((place >= 0)[:, None], value[:, place], np.nan)


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
    kept = ("grid_mapping", "zlib", "complevel", "shuffle", "compression", "compression_opts")
    encoding = {k: v for k, v in source.encoding.items() if k in kept}
    return attrs, encoding


def _flags() -> dict:
    return {
        "long_name": "quality of the fusion; 0 is good",
        "flag_masks": np.array(list(_FLAGS.values()), np.uint8),
        "flag_meanings": " ".join(_FLAGS),
    }
