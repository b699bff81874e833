"""Arrays in one .npz file: written whole or not at all, read in bounded memory."""

import hashlib
import math
import os
import re
import stat
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Array

from s1jax.files import DAMAGED, line_of, replacing

LIMIT = 2**28
"""Bytes that `read` takes by default."""
_MOST = 1000
"""Fields of a file, at most."""
_DIMENSIONS = 8
"""Of an array, at most."""
_HEADER = re.compile(
    rb"{'descr': '([<>|=]?[fiubU]\d{1,4})', 'fortran_order': (True|False), "
    rb"'shape': \(([\d, ]*)\), } *\n?"
)
"""What NumPy writes before the numbers or texts of an array; read by this alone, never evaluated.
It matches in one way only, so that no text makes it try many."""
_LENGTHS = re.compile(r"(\d{1,18}(, ?\d{1,18})*,?)?")
_LONGEST = 4096
"""Bytes of such a header, at most."""


def write(
    path: Path, arrays: Mapping[str, Array | np.ndarray], *, compressed: bool = False
) -> None:
    """Write or replace a .npz file of these arrays; the same arrays give the same bytes."""
    with replacing(path) as part, zipfile.ZipFile(part, "w") as file:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            member.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
            with file.open(member, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asarray(array), allow_pickle=False)


def read(
    path: str | Path, names: Sequence[str] | None = None, *, limit: int = LIMIT
) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name: numbers, truth values and texts.

    Nothing is allocated before the sizes that the file declares are compared, and nothing in it is
    run or evaluated.

    Args:
      path: the file.
      names: of the arrays that are read; all of them where None.
      limit: bytes of the file, and of the arrays that are read.

    Raises:
      ValueError: no such file, no archive of NumPy, a damaged or larger one, a name that is missing
        or there twice, or what is no such array; the message names file and array.
    """

    def _wanted(entries):
        wanted = list(entries) if names is None else list(names)
        if not set(wanted) <= set(entries):
            raise ValueError(f"got {sorted(entries)}, expected {tuple(wanted)} among them")
        sizes = {name: entries[name].file_size for name in wanted}
        total = sum(sizes.values())
        if total > limit:
            name = max(sizes, key=lambda name: sizes[name])
            got = f"{name[:40]}: got {sizes[name]:,} bytes"
            raise ValueError(f"{got}, expected at most {limit:,} in all (got {total:,})")
        return wanted

    if not require_file(path):
        raise ValueError(f"{path}: got no archive, expected a .npz file")
    if (size := os.path.getsize(path)) > limit:
        raise ValueError(f"{path}: got {size:,} bytes, expected at most {limit:,}")
    return _read(path, _wanted, {})


def of_shapes(
    path: Path, shapes: Mapping[str, tuple[int, ...]], optional: Mapping[str, np.ndarray] = {}
) -> dict[str, np.ndarray]:
    """The arrays of a .npz file, of just these names and shapes, which alone are allocated.

    Args:
      path: the file.
      shapes: of each array expected.
      optional: those that may be missing, and what stands for them.

    Raises:
      ValueError: as `read`, or other names or shapes, or arrays that are no numbers.
    """

    def _wanted(entries):
        names = set(entries)
        if others := sorted(names.symmetric_difference(shapes) - (optional.keys() - names)):
            got = "none" if others[0] in shapes else "one"
            raise ValueError(f"got {got} of {others[0]!r}, expected {', '.join(sorted(shapes))}")
        return [name for name in shapes if name in names]

    require_file(path)
    return {**optional, **_read(path, _wanted, shapes)}


def _read(path, wanted: Callable, shapes) -> dict[str, np.ndarray]:
    """The arrays of the names that `wanted` picks from the entries of an archive."""
    where, arrays = "", {}
    try:
        with zipfile.ZipFile(path) as file:
            entries = _entries(file)
            for name in wanted(entries):
                where = f"{name[:40]}: "
                kind = entries[name].compress_type
                if kind not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError(f"got compression {kind}, expected none or deflate")
                arrays[name] = _content(file, entries[name], shapes.get(name))
    except ValueError as error:
        raise ValueError(f"{path}: {where}{line_of(error)}") from None
    except DAMAGED as error:
        got = f"a damaged archive ({line_of(error)})"
        raise ValueError(f"{path}: {where or 'archive: '}got {got}, expected a .npz file") from None
    return arrays


def require_file(path: str | Path) -> bool:
    """Whether a file, which is one and no pipe, is an archive.

    Raises:
      ValueError: it is not there, or is a folder, a pipe or a device, which could be read for ever.
    """
    try:
        kind = os.stat(path).st_mode
    except (OSError, ValueError):  # a name that no file can have
        raise ValueError(f"{path}: got no such file, expected a file of this machine") from None
    if not stat.S_ISREG(kind):
        got = "a folder" if stat.S_ISDIR(kind) else "a device or pipe"
        raise ValueError(f"{path}: got {got}, expected a file")
    return zipfile.is_zipfile(path)


def _entries(file):
    """What an archive says of its arrays, by name."""
    inside = file.infolist()
    if len(inside) > _MOST:
        raise ValueError(f"got {len(inside):,} fields, expected at most {_MOST:,}")
    entries = {}
    for entry in inside:
        name = entry.filename.removesuffix(".npy")
        if name in entries:
            raise ValueError(f"{name[:40]}: got it more than once, expected once")
        entries[name] = entry
    return entries


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _content(file, entry, expected=None):
    """One array; its header is read before any memory is allocated."""
    with file.open(entry) as stream:
        start, shape, fortran, dtype = _header(stream)
        if expected is not None and shape != expected:
            raise ValueError(f"got shape {shape}, expected {expected}")
        if expected is not None and dtype.kind == "U":
            raise ValueError(f"got {dtype}, expected numbers")
        size, declared = math.prod((dtype.itemsize, *shape)), entry.file_size - start
        if size != declared:
            raise ValueError(f"got {declared:,} bytes, expected {size:,} ({shape}, {dtype})")
        content = bytearray(size)
        if stream.readinto(content) != size or stream.read(1):
            # the checksum is compared at the end of the member
            raise ValueError(f"got other than {size:,} bytes, expected those of shape {shape}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _header(stream):
    """Bytes before the values, and shape, order and dtype that an array says of itself."""
    magic = stream.read(8)
    wide = {b"\x93NUMPY\x01\x00": 2, b"\x93NUMPY\x02\x00": 4}.get(magic)
    if wide is None:
        raise ValueError(f"got no array of NumPy (it begins with {magic!r}), expected one")
    size = int.from_bytes(stream.read(wide), "little")
    text = stream.read(min(size, _LONGEST))
    parts = _HEADER.fullmatch(text)
    if parts is None or size > _LONGEST:
        got = text[:80].decode("latin-1").strip()
        raise ValueError(f"got the header {got!r}, expected one of numbers")
    kind, fortran, shape = (part.decode() for part in parts.groups())
    try:
        dtype = np.dtype(kind)
    except TypeError:
        raise ValueError(f"got type {kind}, expected numbers") from None
    if not dtype.itemsize or (dtype.kind != "U" and dtype.itemsize > 8):
        raise ValueError(f"got type {kind}, expected numbers of 1 to 8 bytes")
    lengths = [length for length in shape.replace(" ", "").split(",") if length]
    if not _LENGTHS.fullmatch(shape.strip()) or len(lengths) > _DIMENSIONS:
        got, most = f"the shape ({shape[:80]})", f"whole numbers, at most {_DIMENSIONS}"
        raise ValueError(f"got {got}, expected {most}")
    return 8 + wide + size, tuple(map(int, lengths)), fortran == "True", dtype
