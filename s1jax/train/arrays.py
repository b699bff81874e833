"""Arrays in one .npz file: written whole or not at all, read in bounded memory."""

import hashlib
import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Array

from s1jax.files import replacing

DAMAGED = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, OSError, RuntimeError, EOFError,
    AssertionError, ArithmeticError, MemoryError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What libraries raise of files that are damaged or forged; all become a ValueError that names the
file."""
_KINDS = "fiub"
_HEADER = re.compile(
    rb"{'descr': '([<>|]?\w{1,4})', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\), } *\n"
)
"""What NumPy writes before the numbers of an array; read by this alone, never evaluated."""
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
    path: Path, shapes: Mapping[str, tuple[int, ...]], optional: Mapping[str, np.ndarray] = {}
) -> dict[str, np.ndarray]:
    """The arrays of a .npz file, of just these names and shapes.

    Nothing is allocated but what `shapes` says, whatever the file declares.

    Args:
      path: the file.
      shapes: of each array expected.
      optional: those that may be missing, and what stands for them.

    Raises:
      ValueError: not such a file, one cut off or changed since it was written, other names or
        shapes, or arrays that are no numbers; the message names file and array.
    """
    name = "archive"
    try:
        with zipfile.ZipFile(path) as file:
            names = {member.removesuffix(".npy") for member in file.namelist()}
            others = sorted(names.symmetric_difference(shapes) - (optional.keys() - names))
            if others:
                got = "none" if others[0] in shapes else "one"
                expected = ", ".join(sorted(shapes))
                raise ValueError(f"got {got} of {others[0]!r}, expected {expected}")
            arrays = {}
            for name, shape in shapes.items():
                if name in names:
                    arrays[name] = _member(file, f"{name}.npy", shape)
            return {**optional, **arrays}
    except DAMAGED as error:
        raise ValueError(f"{path}: {name}: {line_of(error)}") from None


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _member(file, member, shape):
    """One array; its header is read before any memory is asked for."""
    with file.open(member) as stream:
        declared, fortran, dtype = _header(stream)
        if declared != shape:
            raise ValueError(f"got shape {declared}, expected {shape}")
        if dtype.kind not in _KINDS or dtype.itemsize > 8:
            raise ValueError(f"got {dtype}, expected numbers")
        size = math.prod(shape) * dtype.itemsize
        content = stream.read(size)
        # the checksum is compared at the end of the member
        if len(content) != size or stream.read(1):
            raise ValueError(f"got other than {size} bytes, expected those of shape {shape}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _header(stream):
    """Shape, order and dtype that an array says of itself."""
    magic = stream.read(8)
    wide = {b"\x93NUMPY\x01\x00": 2, b"\x93NUMPY\x02\x00": 4}.get(magic)
    if wide is None:
        raise ValueError(f"got {magic!r} first, expected what NumPy writes")
    size = int.from_bytes(stream.read(wide), "little")
    text = stream.read(min(size, _LONGEST))
    parts = _HEADER.fullmatch(text)
    if parts is None:
        raise ValueError(f"got the header {text[:80]!r}, expected that of an array")
    dtype, fortran, shape = (part.decode() for part in parts.groups())
    sizes = tuple(int(number) for number in shape.replace(" ", "").split(",") if number)
    return sizes, fortran == "True", np.dtype(dtype)


def line_of(error: BaseException) -> str:
    """One line of what a library says of a damaged file."""
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:300]
