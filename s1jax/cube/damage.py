"""Which variable and chunk of a file are damaged, in one wording."""

import zlib
from collections.abc import Callable, Iterator, Mapping
from itertools import product

import xarray as xr

from s1jax.cube.border import FAULTS, unreadable

UNREADABLE = (*FAULTS, SystemError, zlib.error)
"""What a damaged file raises in HDF5, Zarr and their codecs."""

Part = Mapping[str, slice]


def first_damaged(
    where: str,
    variable: xr.Variable,
    window: Part,
    check: Callable[[Part], None] = lambda part: None,
) -> ValueError | None:
    """What says of the first chunk inside a window that it cannot be read; None where all can.

    Args:
      where: the file and the variable, in words.
      variable: of the file, not in memory.
      window: of it.
      check: what may refuse a chunk before it is read.
    """
    for number, part in _parts(variable, window):
        try:
            check(part)
            variable.isel(part).load()
        except UNREADABLE as error:
            at = ".".join(map(str, number)) or "0"
            spans = ", ".join(f"{d} {s.start} to {s.stop - 1}" for d, s in part.items())
            words = f"{where}: chunk {at}{f' ({spans})' if spans else ''}"
            return unreadable(words, "whole values", error)
    return None


def _parts(variable, window) -> Iterator[tuple[tuple[int, ...], dict[str, slice]]]:
    """Numbers and windows of the chunks that are kept of a variable, inside of a window."""
    encoding = variable.encoding
    stored = encoding.get("chunks") or encoding.get("chunksizes")
    if not stored and variable.chunks is not None:
        stored = tuple(map(max, variable.chunks))
    kept = encoding.get("preferred_chunks") or dict(
        zip(variable.dims, stored or (), strict=bool(stored))
    )
    spans = []
    for dim, n in variable.sizes.items():
        size = kept.get(dim, n)
        size = max(int(size if isinstance(size, int) else n), 1)
        first, stop, _ = window.get(dim, slice(0, n)).indices(n)
        numbers = range(first // size, -(-stop // size))
        spans.append([(k, slice(k * size, min((k + 1) * size, n))) for k in numbers])
    for parts in product(*spans):
        windows = (part for _, part in parts)
        yield tuple(k for k, _ in parts), dict(zip(variable.dims, windows, strict=True))
