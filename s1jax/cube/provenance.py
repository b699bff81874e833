"""What a product says of itself: how, when and of what it was made."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import xarray as xr

from s1jax.cube.georeference import CONVENTIONS
from s1jax.cube.names import channels

_PRIME, _GOLDEN = np.uint64(0x100000001B3), np.uint64(0x9E3779B97F4A7C15)
NOT_STATED = "not stated"


def provenance(
    attrs: Mapping, *, method: str, weights: str | None, trained_on: str | None
) -> dict[str, str]:
    """Attributes of a product of s1jax, beside those of its input.

    Args:
      attrs: of the input, whose title and history are kept within those of the product.
      method: what made the estimate.
      weights: what it learnt, or where that is kept; "not stated" where None.
      trained_on: what it learnt it from; "not stated" where None.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    title = "NDVI estimated from Sentinel-1 and Sentinel-2"
    of = str(attrs.get("title", "")).removeprefix(f"{title}: ")
    line = f"{now}: s1jax {own_version()}, NDVI estimated by {method}"
    return {
        "Conventions": CONVENTIONS,
        "title": f"{title}: {of}" if of and of != title else title,
        "date_created": now,
        "history": "\n".join(filter(None, [str(attrs.get("history", "")), line])),
        "s1jax_version": own_version(),
        "s1jax_method": method,
        "s1jax_weights": weights or NOT_STATED,
        "s1jax_trained_on": trained_on or NOT_STATED,
    }


def fingerprint(ds: xr.Dataset) -> str:
    """SHA-256 of an aligned cube, 64 hexadecimal digits: what `tiles.fill` says its map is of.

    It is of the names, types and sizes of VV, VH, ..., S2ndvi and `mask`, of the coordinates t, y
    and x, and of a checksum of all their values; not of attributes, nor of the file. The checksum
    is a sum over pixels of 64 bits, so that it does not depend on tiles. A cube in chunks is read.
    """
    part = ds[_members(ds)].compute()
    return digest(ds, checksum(part, range(ds.sizes["y"]), range(ds.sizes["x"]), ds.sizes["x"]))


def checksum(part: xr.Dataset, rows: range, columns: range, width: int) -> int:
    """Checksum of the values of a part in memory; those of all parts add up, modulo 2^64.

    Args:
      part: a rectangle of the cube.
      rows: of the cube that it holds.
      columns: as rows.
      width: columns of the cube.
    """
    place = np.asarray(rows, np.uint64)[:, None] * np.uint64(width)
    place = place + np.asarray(columns, np.uint64)
    total = np.full(place.shape, _GOLDEN)
    for name in _members(part):
        values = part[name].transpose(..., "y", "x").values
        for plane in values.reshape(-1, *place.shape):
            total = (total ^ _bits(plane)) * _PRIME
            total ^= total >> np.uint64(29)
    mixed = (total ^ (place * _GOLDEN)) * _PRIME
    mixed = (mixed ^ (mixed >> np.uint64(32))) * _GOLDEN
    return int(np.add.reduce(mixed, axis=None, dtype=np.uint64))


def digest(ds: xr.Dataset, total: int) -> str:
    """The fingerprint of a cube, of which only the coordinates are read, and its checksum."""
    made = hashlib.sha256()
    sizes = sorted((str(dim), size) for dim, size in ds.sizes.items() if dim in ("t", "y", "x"))
    made.update(repr(sizes).encode())
    for name in _members(ds):
        made.update(f"{name} {ds[name].dtype.str}".encode())
    for name in ("t", "y", "x"):
        if name in ds.coords:
            values = ds[name].values
            values = values.astype("M8[ns]") if values.dtype.kind == "M" else values
            made.update(f"{name} {values.dtype.str}".encode())
            made.update(values.tobytes())
    made.update(f"{total % 2**64:016x}".encode())
    return made.hexdigest()


def _members(ds):
    return [*channels(ds), *({"mask"} & set(ds.variables))]


def _bits(plane: np.ndarray) -> np.ndarray:
    """The bits of numbers; of those that are missing the same."""
    if plane.dtype.kind == "f":
        plane = np.where(np.isnan(plane), plane.dtype.type(np.nan), plane)
        return np.ascontiguousarray(plane).view(f"u{plane.dtype.itemsize}").astype(np.uint64)
    return plane.astype(np.int64).view(np.uint64)


def own_version() -> str:
    """Of s1jax."""
    try:
        return version("s1jax")
    except PackageNotFoundError:  # a tree that is not installed
        return "unknown"
