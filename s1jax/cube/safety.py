"""What is refused before a reader opens it: files that reach outside of themselves, run code,
unpack without end or need more than the memory; and which chunk of a file is damaged."""

import bz2
import json
import lzma
import math
import os
import re
import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple, TypeGuard

import xarray as xr

from s1jax.files import DAMAGED, FAULTS, brief, line_of, refuse_remote

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says how much memory a container may have."""


# errors and memory


@contextmanager
def reading(where: object, expected: str, *more: type[Exception]) -> Iterator[None]:
    """A block that only calls libraries: `FAULTS` and `more` become a ValueError of one line."""
    try:
        yield
    except (*FAULTS, *more) as error:
        raise unreadable(where, expected, error) from error


def unreadable(where: object, expected: str, error: BaseException) -> ValueError:
    """The one line about a file that cannot be read."""
    got = f"{type(error).__name__}: {line_of(error)}"
    return ValueError(f"{brief(where)}: cannot be read, expected {expected} ({got})")


def require_room(where: object, needed: int, remedy: str = "") -> None:
    """Refuse, as a ValueError, what does not fit into memory; `remedy` says what to do."""
    room = _memory()
    if needed > room:
        got, expected = f"{needed / 1e9:,.3g} GB to hold", f"at most {room / 1e9:,.3g} GB of memory"
        raise ValueError(f"{brief(where)}: got {got}, expected {expected}{remedy}")


def bytes_of(shape: Sequence[int], itemsize: int) -> int:
    """Bytes of an array, exact however large."""
    return math.prod(int(n) for n in shape) * int(itemsize)


def _memory() -> int:
    """Bytes this process may have."""
    room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in map(Path, _LIMITS):
        text = limit.read_text().strip() if limit.exists() else ""
        room = min(room, int(text)) if text.isdigit() else room
    return room


def local(source: str | Path) -> Path:
    """The path of a file or folder of this machine, as it is given; it need not exist.

    Raises:
      ValueError: a server, a chain of file systems, a virtual file system of GDAL, or a device.
    """
    refuse_remote(source, "download the file first")
    text = str(source)
    with reading(text, "a path"):
        path = Path(source).expanduser()
        kind = path.stat().st_mode if "\0" not in text and path.exists() else None
    if kind is not None and not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise ValueError(f"{path}: got a device or pipe, expected a file or folder")
    return path


def first_bytes(path: Path, count: int = 16) -> bytes:
    """The first bytes of a file; a ValueError where it cannot be read."""
    with reading(path, "a file"), path.open("rb") as file:
        return file.read(count)


# chunks


class Shard(NamedTuple):
    """A file of Zarr that holds many chunks."""

    chunks: int
    chunk_bytes: int
    head: int
    """Bytes of the table of their positions, which is `first` or at the end."""
    first: bool


class Stored(NamedTuple):
    """An array of a file, as its header declares it."""

    name: str
    shape: tuple[int, ...]
    itemsize: int
    chunk: tuple[int, ...]
    """Shape of what is read at once; () where any part can be read alone."""
    codecs: tuple[str, ...] = ()
    """Of a Zarr array, the outermost last; of HDF5 those that can unpack to any size."""
    key: tuple[str, str] | None = None
    """Beginning of the names of the files of a Zarr array, and the mark between their numbers."""
    shard: Shard | None = None

    @property
    def bytes(self) -> int:
        """Of the whole array."""
        return bytes_of(self.shape, self.itemsize)

    @property
    def chunk_bytes(self) -> int:
        """Of what is read at once."""
        return bytes_of(self.chunk, self.itemsize) if self.chunk else 0

    @property
    def counts(self) -> list[int]:
        """Numbers of its chunks along each dimension; [] of one that is not in chunks."""
        sizes = zip(self.shape, self.chunk, strict=True) if self.chunk else ()
        return [-(-n // max(size, 1)) for n, size in sizes]


_Window = Mapping[str, slice]


def chunks_in(
    sizes: Mapping, chunk: Mapping, window: _Window
) -> Iterator[tuple[tuple[int, ...], dict[str, slice]]]:
    """Numbers and windows of the chunks of an array that touch a window of it."""
    spans = []
    for dim, n in sizes.items():
        size = chunk.get(dim, n)
        size = max(int(size if isinstance(size, int) else n), 1)
        first, stop, _ = window.get(dim, slice(0, n)).indices(n)
        numbers = range(first // size, -(-stop // size))
        spans.append([(k, slice(k * size, min((k + 1) * size, n))) for k in numbers])
    for parts in product(*spans):
        windows = (part for _, part in parts)
        yield tuple(k for k, _ in parts), dict(zip(sizes, windows, strict=True))


def first_damaged(
    where: str,
    variable: xr.Variable,
    window: _Window,
    check: Callable[[_Window], None] = lambda part: None,
) -> ValueError | None:
    """The error about the first chunk in a window that `check` refuses or that cannot be read."""
    encoding = variable.encoding
    stored = encoding.get("chunks") or encoding.get("chunksizes")
    if not stored and variable.chunks is not None:
        stored = tuple(map(max, variable.chunks))
    chunk = dict(zip(variable.dims, stored or (), strict=bool(stored)))
    for number, part in chunks_in(
        variable.sizes, encoding.get("preferred_chunks") or chunk, window
    ):
        try:
            check(part)
            variable.isel(part).load()
        except DAMAGED as error:
            at = ".".join(map(str, number)) or "0"
            spans = ", ".join(f"{d} {s.start} to {s.stop - 1}" for d, s in part.items())
            words = f"{where}: chunk {at}{f' ({spans})' if spans else ''}"
            return unreadable(words, "whole values", error)
    return None


def require_whole(path: Path, array: Stored, numbers: Iterable[tuple[int, ...]]) -> None:
    """Refuse chunks of a Zarr store or HDF5 file that were cut, or unpack to more than they should.

    Blosc reads on behind a chunk that was cut; other codecs unpack to whatever was packed.

    Raises:
      ValueError: one of these numbers is shorter or longer; the message names it.
    """
    why = ""
    with reading(f"{path}: {array.name}", "whole chunks"):
        if array.key is not None:
            faults = (_zarr_fault(path, array, number) for number in numbers)
            why = next(filter(None, faults), "")
        elif array.codecs and array.chunk:
            import h5py

            with h5py.File(path, "r") as file:
                faults = (_hdf5_fault(file[array.name].id, array, number) for number in numbers)
                why = next(filter(None, faults), "")
    if why:
        raise ValueError(f"{path}: {array.name}: chunk {why}")


def _zarr_fault(path, array, number):
    """The name of a chunk and what is wrong with it; "" where nothing is."""
    prefix, separator = array.key
    name = prefix + separator.join(map(str, number)) if number else prefix.strip("/.") or "0"
    file = path / array.name / name
    if (array.shape and not array.chunk) or not file.exists():
        return ""  # by the format a chunk that is not there is a fill
    size = file.stat().st_size
    if array.codecs[-1:] == ("blosc",) and array.shard is None:
        head = first_bytes(file)
        stated = int.from_bytes(head[12:16], "little") if len(head) == 16 else 16
        if len(head) < 16 or stated != size:
            return f"{name}: got {size:,} bytes, expected {stated:,}, as its head says"
    parts = [(array.chunk_bytes or array.itemsize, size, file.read_bytes)]
    if array.shard is not None:
        parts = _sharded(array.shard, file)
    why = next(filter(None, (why_too_large(array.codecs, *part) for part in parts)), "")
    return f"{name}: got {why}" if why else ""


def _sharded(shard, file):
    """Size of the values, stored bytes and content of each chunk in a file of many."""
    with file.open("rb") as stream:
        stream.seek(0, os.SEEK_SET) if shard.first else stream.seek(-shard.head, os.SEEK_END)
        table = stream.read(shard.head)[: 16 * shard.chunks]
        for start, size in struct.iter_unpack("<QQ", table):
            if start == size == 2**64 - 1:
                continue  # by the format a chunk that is not there is a fill

            def _content(start=start, size=size):
                stream.seek(start)
                return stream.read(size)

            yield shard.chunk_bytes, size, _content


def _hdf5_fault(dataset, array, number):
    """As `_zarr_fault`, of a dataset of HDF5."""
    start = tuple(k * size for k, size in zip(number, array.chunk, strict=True))
    info = dataset.get_chunk_info_by_coord(start)
    if info.byte_offset is None or info.filter_mask:
        return ""  # not there, or not compressed
    why = why_too_large(
        array.codecs, array.chunk_bytes, info.size, lambda: dataset.read_direct_chunk(start)[1]
    )
    return f"{'.'.join(map(str, number))}: got {why}" if why else ""


# what a compressed chunk unpacks to

_PIECE = 2**20
"""Bytes that are unpacked at once, and then thrown away."""
_DICTIONARY = 2**28
"""Memory that LZMA may take for itself; its strongest preset takes 65 MiB."""
_SLACK = 2**20
"""Stored bytes that harm nobody, beside those of a chunk that could not be compressed."""
_HEADS = 2**16
"""Bytes that filters may add."""
_LONGEST_TEXTS = 2**28
"""Bytes that the texts of one chunk may take."""
_TEXT = "text"
"""Stands among codecs where the width of a value is not declared."""

_GROWTH = {"bytes": 1, "endian": 1, "transpose": 1} | dict.fromkeys(
    (
        "", "crc32c", "crc32", "adler32", "fletcher32", "jenkins_lookup3", "crc32c at start",
        "delta", "fixedscaleoffset", "scale_offset", "astype", "cast_value", "bitround",
        "quantize", "shuffle", "packbits", "categorize",
    ),
    16,
)  # fmt: skip
"""How many times larger one side of a codec of numbers may be: 16 of complex128 from bytes."""

_TEXTS = {_TEXT, "vlen-utf8", "vlen-bytes", "vlen-array", "json2", "base64", "msgpack2"}
"""Codecs of texts, whose length no header says."""


def _pieces(make: Callable, content: bytes) -> Iterator[int]:
    """Sizes of the pieces that the streams in some bytes unpack to, one stream after the other."""
    while content:
        stream = make()
        while not stream.eof:
            piece = stream.decompress(content, _PIECE)
            content = getattr(stream, "unconsumed_tail", b"")
            yield len(piece)
            if not piece and not content and getattr(stream, "needs_input", True):
                return  # cut off, which the reader says
        # gzip goes on with another member, behind zeros too
        content = stream.unused_data.lstrip(b"\0")


def _zstd_size(content: bytes) -> Iterator[int | None]:
    """The size in the head of a frame of Zstandard; None where it has none."""
    if content[:4] != b"\x28\xb5\x2f\xfd" or len(content) < 6:
        return  # no frame, which the reader says
    flags = content[4]
    width = (1 if flags & 0x20 else 0, 2, 4, 8)[flags >> 6]
    start = 5 + (0 if flags & 0x20 else 1) + (0, 1, 2, 4)[flags & 3]
    size = int.from_bytes(content[start : start + width], "little")
    yield (size + 256 if width == 2 else size) if width else None


def _stated(start: int, content: bytes) -> Iterator[int]:
    """The size that a codec says in four bytes of its head."""
    yield int.from_bytes(content[start : start + 4], "little")


_UNPACKED: dict[str, Callable[[bytes], Iterable[int | None]]] = {
    "zlib": partial(_pieces, zlib.decompressobj),
    "gzip": partial(_pieces, partial(zlib.decompressobj, zlib.MAX_WBITS + 16)),
    "bz2": partial(_pieces, bz2.BZ2Decompressor),
    "lzma": partial(_pieces, partial(lzma.LZMADecompressor, lzma.FORMAT_AUTO, _DICTIONARY)),
    "zstd": _zstd_size,
    "lz4": partial(_stated, 0),
    "blosc": partial(_stated, 4),
}
"""Of each compressor, the sizes that add up to what some bytes unpack to: it either says in its
head how much that is, and its reader keeps to it, or is unpacked in pieces."""


def _chain(codecs: object) -> tuple[str, ...]:
    """Names of the codecs of an array of Zarr, outermost last, as its metadata lists them."""
    names = []
    for codec in codecs if isinstance(codecs, list) else []:
        options = codec if isinstance(codec, dict) else {"id": codec}
        name = str(options.get("id", options.get("name"))).lower().removeprefix("numcodecs.")
        options = options | _part(options, "configuration")
        if name == "lzma" and options.get("format") == lzma.FORMAT_RAW:
            name = "lzma without a head"
        if name == "crc32c" and options.get("location") == "start":
            name = "crc32c at start"
        names.append(name)
    return tuple(names)


def _why_unbounded(names: tuple[str, ...]) -> str:
    """Why nothing bounds what the chunks of these codecs unpack to; "" where something does."""
    packed = [name for name in names if name in _UNPACKED]
    other = [name for name in names if name not in {*_GROWTH, *_TEXTS, *_UNPACKED}]
    if other:
        return f"the codec {other[0][:40]!r}"
    if len(packed) > 1:
        return f"{len(packed)} compressors, {' and '.join(packed)[:80]}"
    outside = list(names)[names.index(packed[0]) + 1 :] if packed else []
    return f"{packed[0]} inside of {outside[0]!r}" if set(outside) - {"crc32c"} else ""


def why_too_large(
    names: tuple[str, ...], chunk_bytes: int, size: int, content: Callable[[], bytes]
) -> str:
    """What is wrong with a stored chunk of `size` bytes, in words; "" where nothing is.

    `names` are its codecs, outermost last; its values take `chunk_bytes`.
    """
    growth = max((_GROWTH.get(name, 1) for name in names), default=1)
    most = growth * chunk_bytes + (_HEADS if growth > 1 else 0)
    if _TEXTS & set(names):
        most = max(chunk_bytes, _LONGEST_TEXTS)
    if size > 2 * most + _SLACK:
        return f"{size:,} stored bytes, expected at most {2 * most + _SLACK:,}"
    packed = next((name for name in names if name in _UNPACKED), None)
    total = 0
    try:
        for piece in _UNPACKED[packed](content()) if packed else ():
            if piece is None:
                return f"{packed} without the size it unpacks to, expected one that says it"
            total += piece
            if total > most:
                return f"{packed} of more than {most:,} bytes, expected those of a chunk"
    except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError) as error:
        if isinstance(error, lzma.LZMAError) and "usage" in str(error):
            return f"lzma with a window above {_DICTIONARY:,} bytes, expected a smaller one"
    return ""  # or damaged, which the reader says


# HDF5 and Zarr


def sealed_hdf5(path: Path) -> list[Stored]:
    """The arrays of an HDF5 file (NetCDF-4) all of whose bytes lie in it.

    Raises:
      ValueError: a link to another file, values kept in another file, or a damaged file.
    """
    import h5py

    links, arrays, outside = [], [], ""
    with reading(path, "a NetCDF file", SystemError), h5py.File(path, "r") as file:
        file.visititems_links(lambda name, link: links.append((name, link)))
        # soft links name objects of this file, once no other link leaves it
        for name, link in sorted(links, key=lambda item: isinstance(item[1], h5py.SoftLink)):
            why = _hdf5_outside(h5py, file, name, link)
            if why:
                outside = f"/{name}: got {why}"
                break
            node = file[name]
            if isinstance(node, h5py.Dataset) and isinstance(link, h5py.HardLink):
                codecs = _deflated(h5py, node)
                size = node.dtype.itemsize
                arrays.append(Stored(name, node.shape or (), size, node.chunks or (), codecs))
    if outside:
        raise ValueError(f"{path}: {outside}, expected all of it in this file")
    return arrays


def _hdf5_outside(h5py, file, name, link):
    """What a link of an HDF5 file keeps elsewhere, in words; "" where nothing."""
    if isinstance(link, h5py.ExternalLink):
        return f"a link to {link.filename!r}"
    try:
        node = file[name]
    except (KeyError, OSError, RuntimeError):
        if isinstance(link, h5py.HardLink):
            raise
        return f"a link to {brief(link.path)!r}, which leads to nothing"
    if not isinstance(node, h5py.Dataset):
        return ""
    layout = node.id.get_create_plist()
    if layout.get_external_count():
        return f"values kept in {os.fsdecode(layout.get_external(0)[0])!r}"
    if node.is_virtual:
        # one of itself, at any remove, ends the process once it is read
        kept = ", ".join(sorted({source.file_name for source in node.virtual_sources()}))
        return f"a virtual dataset of values kept in {brief(kept)!r}"
    times = len(_deflated(h5py, node))
    return f"values compressed {times} times" if times > 1 else ""


def _deflated(h5py, dataset):
    """The one codec that HDF5 lets grow freely, zlib, as often as it is applied."""
    layout = dataset.id.get_create_plist()
    filters = [layout.get_filter(k)[0] for k in range(layout.get_nfilters())]
    return ("zlib",) * filters.count(h5py.h5z.FILTER_DEFLATE)


_ZARR_JSON = (".zarray", ".zgroup", ".zattrs", ".zmetadata", "zarr.json")


def sealed_zarr(path: Path) -> list[Stored]:
    """The arrays of a Zarr store that lies in its folder, with metadata that can be.

    Raises:
      ValueError: a link that leaves the folder, a pipe or device, metadata that is no JSON, chunks
        or shapes that cannot be, or values that would run code when they are decoded.
    """
    faults: list[OSError] = []
    root, walk = path.resolve(), os.walk(path, onerror=faults.append)
    inside = [Path(folder, name) for folder, *of in walk for names in of for name in names]
    if faults:
        raise unreadable(path, "folders of a Zarr store", faults[0])
    arrays = []
    for file in inside:
        with reading(file, "a file of a Zarr store"):
            target = file.resolve() if file.is_symlink() else None
            plain = file.is_file() or file.is_dir()
        if target is not None and not target.is_relative_to(root):
            raise ValueError(f"{file}: got a link to {target}, expected a file inside {root}")
        if target is None and not plain:
            raise ValueError(f"{file}: got a device or pipe, expected a file of a Zarr store")
        if file.name in _ZARR_JSON:
            name = file.parent.relative_to(path).as_posix().removeprefix(".")
            with reading(file, "JSON"):
                content = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                got = type(content).__name__
                raise ValueError(f"{file}: got {got}, expected the metadata of a Zarr store")
            if "shape" in content and file.name in (".zarray", "zarr.json"):
                arrays.append(_zarr_array(f"{file}: {name or 'array'}", name, content))
    return arrays


def _part(content, key) -> dict:
    """The object under a key of JSON; an empty one where there is none."""
    part = content.get(key)
    return part if isinstance(part, dict) else {}


def _zarr_array(where, name, content) -> Stored:
    shape, grid = content["shape"], _part(content, "chunk_grid")
    chunk = _part(grid, "configuration").get("chunk_shape", content.get("chunks"))
    if not _sizes(shape):
        raise ValueError(f"{where}: shape: got {brief(shape)}, expected whole numbers from 0")
    regular = grid.get("name", "regular") == "regular"
    fits = _sizes(chunk) and len(chunk) == len(shape)
    if regular and (not fits or any(c < 1 <= n for c, n in zip(chunk, shape, strict=True))):
        got, expected = brief(chunk), f"{len(shape)} whole numbers from 1"
        raise ValueError(f"{where}: chunks: got {got}, expected {expected}")
    size = _itemsize(content.get("dtype", content.get("data_type")))
    codecs, shard = _zarr_codecs(where, content, chunk if regular else [], size or 8)
    if "pickle" in codecs:
        raise ValueError(f"{where}: got the codec 'pickle', which runs code, expected another")
    if size is None:
        size, codecs = 8, (_TEXT, *codecs)  # a fair guess, which bounds nothing
    if why := _why_unbounded(codecs):
        raise ValueError(f"{where}: codecs: got {why}, expected one compressor with a bound")
    encoding = _part(content, "chunk_key_encoding")
    separator = _part(encoding, "configuration").get("separator")
    key = "c" + str(separator or "/"), str(separator or "/")
    if not encoding or encoding.get("name") == "v2":
        key = "", str((separator if encoding else content.get("dimension_separator")) or ".")
    return Stored(name, tuple(shape), size, tuple(chunk) if regular else (), codecs, key, shard)


def _zarr_codecs(where, content, chunk, size):
    """Names of the codecs of an array, and how each file is divided, where it is."""
    # a reader of either format may take its keys and leave those of the other
    outer, codecs = content.get("compressor"), content.get("codecs")
    chain = (*_chain(content.get("filters")), *_chain([outer] if outer else []), *_chain(codecs))
    if chain != ("sharding_indexed",) or not isinstance(codecs, list):
        return chain, None
    options = _part(codecs[0], "configuration")
    shape, table = options.get("chunk_shape"), _chain(options.get("index_codecs"))
    inner = shape if _sizes(shape) else [0]
    fits = len(inner) == len(chunk) and 0 not in inner
    if not fits or any(n % k for n, k in zip(chunk, inner, strict=True)):
        raise ValueError(f"{where}: chunk_shape: got {brief(shape)}, expected parts of {chunk}")
    if table not in (("bytes",), ("bytes", "crc32c")) or "big" in str(options["index_codecs"]):
        got = brief(options.get("index_codecs"))
        raise ValueError(f"{where}: index_codecs: got {got}, expected bytes and crc32c")
    count = bytes_of(chunk, 1) // bytes_of(inner, 1)
    head = 16 * count + 4 * (len(table) - 1)
    first = options.get("index_location") == "start"
    return _chain(options.get("codecs")), Shard(count, bytes_of(inner, size), head, first)


def _itemsize(dtype):
    """Bytes of a value: 4 of <f4 as of float32; None of what is no number."""
    if dtype == "bool":
        return 1
    parts = re.fullmatch(r"([<>|])?([a-zA-Z]+)(\d+)", dtype) if isinstance(dtype, str) else None
    if parts is None:
        return None
    count = int(parts[3]) * (4 if parts[2] == "U" else 1)
    return max(count // (1 if parts[1] else 8), 1)


def _sizes(value) -> TypeGuard[list[int]]:
    """Whether it is a list of whole numbers from 0."""
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)
