"""What a compressed chunk unpacks to, bounded before a reader unpacks it.

A few kilobytes can stand for gigabytes. Each codec here either says in its first bytes how much it
unpacks to, and its reader keeps to that, or is unpacked in pieces that are thrown away.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator

_PIECE = 2**20
"""Bytes that are unpacked at once."""

_DICTIONARY = 2**28
"""Memory that LZMA may take for itself; its strongest preset takes 65 MiB."""

_SLACK = 2**20
"""Stored bytes that harm nobody, beside those of a chunk that could not be compressed."""

_HEADS = 2**16
"""Bytes that filters may add."""

_RESHAPE = {
    "", "bytes", "endian", "transpose", "crc32c", "crc32", "adler32", "fletcher32",
    "jenkins_lookup3", "crc32c at start", "delta", "fixedscaleoffset", "scale_offset", "astype",
    "cast_value", "bitround", "quantize", "shuffle", "packbits", "categorize",
}  # fmt: skip
"""Codecs of numbers whose two sides differ by the width of a number at most."""

TEXT = "text"
"""Stands among codecs where the width of a value is not declared."""

_TEXTS = {TEXT, "vlen-utf8", "vlen-bytes", "vlen-array", "json2", "base64", "msgpack2"}
"""Codecs of texts, whose length no header says."""

_WIDEST = 16
"""Times that the other side of `_RESHAPE` can be larger: complex128 of bytes."""

_LONGEST_TEXTS = 2**28
"""Bytes that the texts of one chunk may take."""


def _streams(make: Callable, content: bytes) -> Iterator[int]:
    """Sizes of the pieces that the streams in some bytes unpack to, one stream after the other."""
    while content:
        stream = make()
        while not stream.eof:
            piece = stream.decompress(content, _PIECE)
            content = b""
            yield len(piece)
            if not piece and stream.needs_input:
                return  # cut off, which the reader says
        content = stream.unused_data


def _deflated(bits: int, content: bytes) -> Iterator[int]:
    """As `_streams`, of zlib and gzip."""
    while content:
        stream = zlib.decompressobj(bits)
        while not stream.eof:
            piece = stream.decompress(content, _PIECE)
            content = stream.unconsumed_tail
            yield len(piece)
            if not piece and not content:
                return
        # gzip goes on with another member, behind zeros too
        content = stream.unused_data.lstrip(b"\0") if bits > zlib.MAX_WBITS else b""


def _lzma() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_AUTO, _DICTIONARY)


def _zstd_size(content: bytes) -> int | None:
    """The size in the head of a frame of Zstandard; None where it has none."""
    if content[:4] != b"\x28\xb5\x2f\xfd" or len(content) < 6:
        return 0  # no frame, which the reader says
    flags = content[4]
    width = (1 if flags & 0x20 else 0, 2, 4, 8)[flags >> 6]
    if not width:
        return None
    start = 5 + (0 if flags & 0x20 else 1) + (0, 1, 2, 4)[flags & 3]
    size = int.from_bytes(content[start : start + width], "little")
    return size + 256 if width == 2 else size


def _at(start: int) -> Callable[[bytes], Iterator[int]]:
    """Of a codec that says its size in four bytes of its head."""
    return lambda content: iter((int.from_bytes(content[start : start + 4], "little"),))


_SIZES: dict[str, Callable[[bytes], Iterable[int | None]]] = {
    "zlib": lambda content: _deflated(zlib.MAX_WBITS, content),
    "gzip": lambda content: _deflated(zlib.MAX_WBITS + 16, content),
    "bz2": lambda content: _streams(bz2.BZ2Decompressor, content),
    "lzma": lambda content: _streams(_lzma, content),
    "zstd": lambda content: (_zstd_size(content),),
    "lz4": _at(0),
    "blosc": _at(4),
}
"""Sizes that add up to what some bytes unpack to."""


def chain(codecs: object) -> tuple[str, ...]:
    """Names of the codecs of an array of Zarr, outermost last, as its metadata lists them."""
    names = []
    for codec in codecs if isinstance(codecs, list) else []:
        options = codec if isinstance(codec, dict) else {"id": codec}
        name = str(options.get("id", options.get("name"))).lower().removeprefix("numcodecs.")
        inside = options.get("configuration")
        options = options | inside if isinstance(inside, dict) else options
        if name == "lzma" and options.get("format") == lzma.FORMAT_RAW:
            name = "lzma without a head"
        if name == "crc32c" and options.get("location") == "start":
            name = "crc32c at start"
        names.append(name)
    return tuple(names)


def why_unbounded(names: tuple[str, ...]) -> str:
    """Why nobody can tell before what the chunks of these codecs unpack to; "" where one can."""
    packed = [name for name in names if name in _SIZES]
    other = [name for name in names if name not in _RESHAPE | _TEXTS | set(_SIZES)]
    if other:
        return f"the codec {other[0][:40]!r}"
    if len(packed) > 1:
        return f"{len(packed)} compressors, {' and '.join(packed)[:80]}"
    outside = names[names.index(packed[0]) + 1 :] if packed else ()
    return f"{packed[0]} inside of {outside[0]!r}" if set(outside) - {"crc32c"} else ""


def limit(names: tuple[str, ...], chunk_bytes: int) -> int:
    """Bytes that a chunk of so many may be once its compressor is undone."""
    if _TEXTS & set(names):
        return max(chunk_bytes, _LONGEST_TEXTS)
    plain = {name for name in names if name not in _SIZES} <= {"bytes", "endian", "transpose"}
    return chunk_bytes if plain else _WIDEST * chunk_bytes + _HEADS


def why_too_large(names: tuple[str, ...], chunk_bytes: int, size: int, content) -> str:
    """What is wrong with the size of a stored chunk, in words; "" where nothing is.

    Args:
      names: its codecs, of `chain`.
      chunk_bytes: of its values.
      size: bytes that are stored.
      content: a function that returns them; it is called where they are few enough.
    """
    most = limit(names, chunk_bytes)
    if size > 2 * most + _SLACK:
        return f"{size:,} stored bytes, expected at most {2 * most + _SLACK:,}"
    packed = next((name for name in names if name in _SIZES), None)
    if packed is None:
        return ""
    total = 0
    try:
        for piece in _SIZES[packed](content()):
            if piece is None:
                return f"{packed} without the size it unpacks to, expected one that says it"
            total += piece
            if total > most:
                return f"{packed} of more than {most:,} bytes, expected those of a chunk"
    except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError) as error:
        if isinstance(error, lzma.LZMAError) and "usage" in str(error):
            return f"lzma with a window above {_DICTIONARY:,} bytes, expected a smaller one"
        return ""  # damaged, which the reader says
    return ""
