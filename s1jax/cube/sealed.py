"""Files that reach nothing but themselves: no network, no other file, no code of their own.

Readers of NetCDF, Zarr, GeoTIFF and vector files follow what a file points at: a file from
elsewhere could have them read other files or ask a server. Each function here looks at a file
before a reader opens it, and raises a ValueError where the file points outside.
"""

import json
import os
import re
import sqlite3
import stat
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from s1jax.cube.border import brief, bytes_of, reading
from s1jax.cube.inflate import TEXT, chain, why_too_large, why_unbounded
from s1jax.files import REMOTE

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of a TIFF and of a BigTIFF, of either order of bytes."""

_ZARR_JSON = (".zarray", ".zgroup", ".zattrs", ".zmetadata", "zarr.json")

_VRT = {
    "VRTDataset", "SRS", "GeoTransform", "Metadata", "MDI", "VRTRasterBand", "Description",
    "NoDataValue", "HideNoDataValue", "ColorInterp", "Offset", "Scale", "UnitType", "SimpleSource",
    "ComplexSource", "SourceFilename", "SourceBand", "SourceProperties", "SrcRect", "DstRect",
    "NODATA", "ScaleOffset", "ScaleRatio", "UseMaskBand", "MaskBand", "OverviewList",
    "BlockXSize", "BlockYSize",
}  # fmt: skip
"""Elements of a mosaic: no warping, no functions of pixels, no files for overviews."""


class Shard(NamedTuple):
    """A file of Zarr that holds many chunks."""

    chunks: int
    chunk_bytes: int
    head: int
    """Bytes of the table that says where they are ..."""
    first: bool
    """... and whether it is at the beginning, not at the end."""


class Stored(NamedTuple):
    """An array of a file, as its header declares it."""

    name: str
    shape: tuple[int, ...]
    itemsize: int
    chunk: tuple[int, ...]
    """Shape of what is read at once; () where that is what is asked for."""
    key: tuple[str, str] = ("", ".")
    """What begins the names of the files of a Zarr array, and what parts the numbers in them."""
    codecs: tuple[str, ...] = ()
    """Of a Zarr array, the outermost last; of HDF5 those that can unpack to any size."""
    shard: Shard | None = None
    """How each of its files is divided, where it is."""

    @property
    def bytes(self) -> int:
        """Of the whole array."""
        return bytes_of(self.shape, self.itemsize)

    @property
    def chunk_bytes(self) -> int:
        """Of what is read at once."""
        return bytes_of(self.chunk, self.itemsize) if self.chunk else 0


def local(source: str | Path) -> Path:
    """The path of a file or folder of this machine, as it is given; it need not be there.

    Raises:
      ValueError: a server, a chain of file systems, a virtual file system of GDAL, or a device.
    """
    text = str(source)
    if found := REMOTE.match(text) or re.match("/vsi", os.path.abspath(text.replace("\0", ""))):
        got = f"{found[0]!r}, which is no folder of this machine"
        raise ValueError(f"{brief(text)}: got {got}, expected a path; download the file first")
    with reading(text, "a path"):
        path = Path(source).expanduser()
        kind = path.stat().st_mode if "\0" not in text and path.exists() else None
    if kind is not None and not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise ValueError(f"{path}: got a device or pipe, expected a file or folder")
    return path


def begins(path: Path, count: int = 16) -> bytes:
    """The first bytes of a file.

    Raises:
      ValueError: it cannot be read.
    """
    with reading(path, "a file"), path.open("rb") as file:
        return file.read(count)


def sealed_hdf5(path: Path) -> list[Stored]:
    """The arrays of an HDF5 file (NetCDF-4) all of whose bytes lie in it.

    Raises:
      ValueError: a link to another file, values kept in another file, or a damaged file.
    """
    import h5py

    arrays, visited = [], set()
    with reading(path, "a NetCDF file"):
        outside = _hdf5_outside(h5py, path, arrays, visited)
    if outside:
        raise ValueError(f"{path}: {outside}, expected all of it in this file")
    return arrays


def _hdf5_outside(h5py, path, arrays, visited):
    """What the file keeps elsewhere, in words; "" where nothing. Its arrays go into `arrays`."""
    with h5py.File(path, "r") as file:
        groups, soft = [file["/"]], []
        while groups:
            group = groups.pop()
            for key in group:
                link = group.get(key, getlink=True)
                name = f"{group.name.rstrip('/')}/{key}"
                if isinstance(link, h5py.ExternalLink):
                    return f"{name}: got a link to {link.filename!r}"
                if not isinstance(link, h5py.HardLink):
                    # it names an object of this file, once no other link leaves it
                    soft.append((name, group, key, link.path))
                    continue
                node = group[key]
                address = h5py.h5o.get_info(node.id).addr
                if address in visited:
                    continue
                visited.add(address)
                if isinstance(node, h5py.Group):
                    groups.append(node)
                elif isinstance(node, h5py.Dataset):
                    layout = node.id.get_create_plist()
                    if layout.get_external_count():
                        kept = os.fsdecode(layout.get_external(0)[0])
                        return f"{name}: got values kept in {kept!r}"
                    if node.is_virtual:
                        # one of itself, at any remove, ends the process once it is read
                        kept = ", ".join(sorted({s.file_name for s in node.virtual_sources()}))
                        return f"{name}: got a virtual dataset of values kept in {brief(kept)!r}"
                    shape, size = node.shape or (), node.dtype.itemsize
                    codecs = _hdf5_codecs(h5py, layout)
                    if codecs.count("zlib") > 1:
                        return f"{name}: got values compressed {codecs.count('zlib')} times"
                    stored = Stored(name.lstrip("/"), shape, size, node.chunks or ())
                    arrays.append(stored._replace(codecs=codecs))
        for name, group, key, path in soft:
            try:
                group[key]
            except (KeyError, OSError, RuntimeError):
                return f"{name}: got a link to {brief(path)!r}, which leads to nothing"
    return ""


def _hdf5_codecs(h5py, layout):
    """Names of filters whose two sides are not of one size; HDF5 lets deflate grow freely."""
    numbers = (layout.get_filter(k)[0] for k in range(layout.get_nfilters()))
    return tuple("zlib" for number in numbers if number == h5py.h5z.FILTER_DEFLATE)


def sealed_zarr(path: Path) -> list[Stored]:
    """The arrays of a Zarr store that lies in its folder, with metadata that can be.

    Raises:
      ValueError: a link that leaves the folder, a pipe or device, metadata that is no JSON, chunks
        or shapes that cannot be, or values that would run code when they are decoded.
    """
    root, folders, arrays = path.resolve(), [path], {}
    while folders:
        folder = folders.pop()
        with reading(folder, "a folder of a Zarr store"), os.scandir(folder) as entries:
            inside = [*entries]
        for entry in inside:
            file = Path(entry.path)
            if entry.is_symlink():
                _stays(file, root)
            elif entry.is_dir():
                folders.append(file)
            elif not entry.is_file():
                raise ValueError(f"{file}: got a device or pipe, expected a file of a Zarr store")
            if entry.name in _ZARR_JSON:
                name = "" if folder == path else folder.relative_to(path).as_posix()
                for array in _zarr_arrays(file, name, _json(file)):
                    arrays[array.name] = array
    return [*arrays.values()]


def _stays(link, root):
    with reading(link, "a file of a Zarr store"):
        target = link.resolve()
    if not target.is_relative_to(root):
        raise ValueError(f"{link}: got a link to {target}, expected a file inside {root}")


def _json(file):
    with reading(file, "JSON"):
        content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        got = type(content).__name__
        raise ValueError(f"{file}: got {got}, expected the metadata of a Zarr store")
    return content


def _zarr_arrays(file, name, content) -> Iterator[Stored]:
    """Arrays that a file of metadata describes, those of consolidated metadata too."""
    if file.name == ".zattrs":
        return
    consolidated = content.get("consolidated_metadata") or content
    inside = consolidated.get("metadata") if isinstance(consolidated, dict) else None
    for key, item in inside.items() if isinstance(inside, dict) else ():
        if isinstance(item, dict) and not key.endswith(".zattrs"):
            within = key.removesuffix(".zarray").rstrip("/")
            yield from _zarr_array(file, "/".join(filter(None, (name, within))), item)
    yield from _zarr_array(file, name, content)


def _zarr_array(file, name, content) -> Iterator[Stored]:
    if "shape" not in content:
        return
    where = f"{file}: {name or 'array'}"
    codecs = [content.get(key) for key in ("compressor", "filters", "codecs")]
    if _runs_code(codecs):
        raise ValueError(f"{where}: got the codec 'pickle', which runs code, expected another")
    shape, grid = content["shape"], content.get("chunk_grid")
    chunk = content.get("chunks")
    if isinstance(grid, dict) and isinstance(grid.get("configuration"), dict):
        chunk = grid["configuration"].get("chunk_shape")
    if not _sizes(shape):
        raise ValueError(f"{where}: shape: got {brief(shape)}, expected whole numbers from 0")
    regular = not isinstance(grid, dict) or grid.get("name", "regular") == "regular"
    if regular:
        fits = _sizes(chunk) and len(chunk) == len(shape)
        if not fits or any(c < 1 < n + 1 for c, n in zip(chunk, shape, strict=True)):
            got, expected = brief(chunk), f"{len(shape)} whole numbers from 1"
            raise ValueError(f"{where}: chunks: got {got}, expected {expected}")
    size = _itemsize(content.get("dtype", content.get("data_type")))
    codecs, shard = _zarr_codecs(where, content, chunk if regular else [], size or 8)
    if size is None:
        size, codecs = 8, (TEXT, *codecs)  # a fair guess, which bounds nothing
    if why := why_unbounded(codecs):
        raise ValueError(f"{where}: codecs: got {why}, expected one compressor that is known")
    chunk = tuple(chunk) if regular else ()
    yield Stored(name, tuple(shape), size, chunk, _zarr_key(content), codecs, shard)


def _zarr_codecs(where, content, chunk, size):
    """Names of the codecs of an array, and how each file is divided, where it is."""
    if "codecs" not in content:
        filters, outer = content.get("filters") or [], content.get("compressor")
        return chain([*filters, *([outer] if outer else [])]), None
    codecs = content["codecs"]
    if chain(codecs) != ("sharding_indexed",):
        return chain(codecs), None
    options = codecs[0].get("configuration")
    options = options if isinstance(options, dict) else {}
    inner, table = options.get("chunk_shape"), chain(options.get("index_codecs"))
    fits = _sizes(inner) and len(inner) == len(chunk) and 0 not in inner
    if not fits or any(n % k for n, k in zip(chunk, inner, strict=True)):
        raise ValueError(f"{where}: chunk_shape: got {brief(inner)}, expected parts of {chunk}")
    if table not in (("bytes",), ("bytes", "crc32c")) or "big" in str(options["index_codecs"]):
        got = brief(options.get("index_codecs"))
        raise ValueError(f"{where}: index_codecs: got {got}, expected bytes and crc32c")
    count = bytes_of(chunk, 1) // bytes_of(inner, 1)
    head = 16 * count + 4 * (len(table) - 1)
    first = options.get("index_location") == "start"
    return chain(options.get("codecs")), Shard(count, bytes_of(inner, size), head, first)


def _zarr_key(content):
    """Beginning and separator of the names of chunks: 0.1.2, or c/0/1/2."""
    encoding = content.get("chunk_key_encoding")
    if not isinstance(encoding, dict):
        return "", str(content.get("dimension_separator") or ".")
    given = encoding.get("configuration")
    given = given.get("separator") if isinstance(given, dict) else None
    if encoding.get("name") == "v2":
        return "", str(given or ".")
    return "c" + str(given or "/"), str(given or "/")


def whole_chunk(path: Path, array: Stored, number: tuple[int, ...]) -> None:
    """Nothing, where a chunk of a Zarr store is as long as it says and unpacks to no more.

    Blosc reads on behind a chunk that was cut; other codecs unpack to whatever was packed.

    Args:
      path: the Zarr store.
      array: of it.
      number: of the chunk, along each dimension.

    Raises:
      ValueError: it is shorter or longer.
    """
    prefix, separator = array.key
    name = prefix + separator.join(map(str, number)) if number else prefix.strip("/.") or "0"
    file = path / array.name / name
    irregular = array.shape and not array.chunk
    if irregular or not file.exists():
        return  # by the format a chunk that is not there is a fill
    where, size = f"{path}: {array.name}: chunk {name}", file.stat().st_size
    if array.codecs[-1:] == ("blosc",) and array.shard is None:
        head = begins(file)
        kept = int.from_bytes(head[12:16], "little")
        if len(head) < 16 or kept != size:
            expected = f"{kept:,}, as it says" if len(head) == 16 else "a head of 16"
            raise ValueError(f"{where}: got {size:,} bytes, expected {expected}")
    parts = [(array.chunk_bytes or array.itemsize, size, file.read_bytes)]
    if array.shard is not None:
        parts = _sharded(array.shard, file)
    with reading(where, "a chunk"):
        why = (why_too_large(array.codecs, *part) for part in parts)
        wrong = next(filter(None, why), "")
    if wrong:
        raise ValueError(f"{where}: got {wrong}")


def _sharded(shard, file):
    """Size of the values, stored bytes and content of each chunk in a file of many."""
    with file.open("rb") as stream:
        stream.seek(0, os.SEEK_SET) if shard.first else stream.seek(-shard.head, os.SEEK_END)
        table = stream.read(shard.head)
        entries = struct.iter_unpack("<QQ", table[: 16 * shard.chunks])
        for start, size in entries:
            if start == size == 2**64 - 1:
                continue  # by the format a chunk that is not there is a fill

            def _content(start=start, size=size):
                stream.seek(start)
                return stream.read(size)

            yield shard.chunk_bytes, size, _content


def whole_hdf5(path: Path, array: Stored, numbers: Iterable[tuple[int, ...]]) -> None:
    """Nothing, where chunks of an array of an HDF5 file unpack to no more than their values.

    Raises:
      ValueError: one unpacks to more; the message names it.
    """
    import h5py

    if not array.codecs or not array.chunk:
        return
    with reading(path, "a NetCDF file"), h5py.File(path, "r") as file:
        stored = file[array.name].id
        for number in numbers:
            start = tuple(k * size for k, size in zip(number, array.chunk, strict=True))
            info = stored.get_chunk_info_by_coord(start)
            if info.byte_offset is None or info.filter_mask:
                continue  # not there, or not compressed
            packed = partial(_direct, stored, start)
            wrong = why_too_large(array.codecs, array.chunk_bytes, info.size, packed)
            if wrong:
                break
        else:
            return
    at = ".".join(map(str, number))
    raise ValueError(f"{path}: {array.name}: chunk {at}: got {wrong}")


def _direct(stored, start):
    return stored.read_direct_chunk(start)[1]


def _itemsize(dtype):
    """Bytes of a value: of <f4 as of float32 4; None of what is no number."""
    if dtype == "bool":
        return 1
    found = re.fullmatch(r"([<>|])?([a-zA-Z]+)(\d+)", dtype) if isinstance(dtype, str) else None
    if found is None:
        return None
    count = int(found[3]) * (4 if found[2] == "U" else 1)
    return max(count // (1 if found[1] else 8), 1)


def _sizes(found):
    """Whether it is a list of whole numbers from 0."""
    return isinstance(found, list) and all(type(n) is int and n >= 0 for n in found)


def _runs_code(codec):
    if isinstance(codec, dict):
        named = (str(codec.get(key, "")).lower() for key in ("id", "name"))
        return any("pickle" in name for name in named) or any(map(_runs_code, codec.values()))
    return isinstance(codec, list) and any(map(_runs_code, codec))


def sealed_tif(path: Path) -> None:
    """Nothing, where a file is a TIFF, and so are the mask and overviews that lie beside it.

    Raises:
      ValueError: it is not, or what lies beside it is not, or points at another file.
    """
    if (first := begins(path, 4)) not in _TIFF:
        got = f"a file that begins with {first!r}" if first else "an empty file"
        raise ValueError(f"{path}: cannot be read, expected GeoTIFF (got {got})")
    for suffix in (".msk", ".MSK", ".ovr", ".OVR"):
        beside = path.with_name(path.name + suffix)
        if beside.exists() and begins(beside, 4) not in _TIFF:
            raise ValueError(f"{beside}: got another format, expected GeoTIFF as {path.name}")
    beside = path.with_name(path.name + ".aux.xml")
    if beside.exists():
        _plain_aux(beside)


def _plain_aux(beside):
    """Nothing, where the XML that GDAL keeps beside a file names no other file."""
    with reading(beside, "XML of GDAL", ElementTree.ParseError):
        text = beside.read_text(encoding="utf-8-sig")
        declared = re.search("<!(DOCTYPE|ENTITY)", text, re.IGNORECASE)
        root = ElementTree.fromstring("<none/>" if declared else text)
    if declared:
        raise ValueError(f"{beside}: got {declared[0]}>, expected XML that declares nothing")
    for element in root.iter():
        words = (element.tag, *element.attrib.values(), element.text or "")
        for word in (word.strip() for word in words):
            upper = word.upper()
            named = "OVERVIEW_FILE" in upper or upper in ("FILENAME", "PROXYOVERVIEWREQUEST")
            if named or REMOTE.match(word):
                got = brief(word)
                raise ValueError(f"{beside}: got {got}, expected nothing about other files")


def sealed_vrt(path: Path) -> None:
    """Nothing, where a .vrt is a mosaic of GeoTIFFs in its folder or below.

    Raises:
      ValueError: other files, other formats, functions of pixels, or no VRT.
    """
    with reading(path, "a VRT", ElementTree.ParseError):
        text = path.read_text(encoding="utf-8")
        # with them a few letters stand for gigabytes, or for other files
        declared = re.search("<!(DOCTYPE|ENTITY)", text)
        root = ElementTree.fromstring("<none/>" if declared else text)
    if root.tag != "VRTDataset":
        got = declared[0] if declared else f"<{root.tag}"
        raise ValueError(f"{path}: got {got}>, expected <VRTDataset>")
    folder = path.resolve().parent
    for element in root.iter():
        # GDAL reads names of attributes in any case
        attributes = {name.lower(): value for name, value in element.attrib.items()}
        if len(attributes) < len(element.attrib):
            raise ValueError(f"{path}: <{element.tag}: got an attribute twice, expected it once")
        kind = attributes.get("subclass", "VRTSourcedRasterBand")
        if element.tag not in _VRT or kind != "VRTSourcedRasterBand":
            got = element.tag if element.tag not in _VRT else kind
            raise ValueError(f"{path}: got {got}, expected a mosaic of GeoTIFFs beside it")
        if element.tag == "SourceFilename":
            name, relative = element.text or "", attributes.get("relativetovrt", "0")
            if name != name.strip() or relative not in ("0", "1"):
                # GDAL leaves blanks out, and takes 01 for 1
                got = f"the source {brief(name)!r}, relative {brief(relative)!r}"
                raise ValueError(f"{path}: got {got}, expected no blanks around, and 0 or 1")
            beside = folder / name if relative == "1" else Path(name)
            with reading(path, "a mosaic of GeoTIFFs beside it"):
                inside = beside.is_absolute() and beside.resolve().is_relative_to(folder)
                there = inside and beside.is_file()
            if not there:
                got = f"the source {brief(name)!r}"
                raise ValueError(f"{path}: got {got}, expected GeoTIFFs in its folder")
            sealed_tif(beside)


VECTORS = {
    b"\0\0\x27\x0a": "shapefile",
    b"SQLite format 3\0": "GeoPackage",
    b"fgb\x03fgb": "FlatGeobuf",
}
"""Formats of polygons by their first bytes; GeoJSON begins with a bracket."""


def vector_format(path: Path) -> str:
    """Format of a file of polygons: one of `VECTORS`, or GeoJSON.

    Raises:
      ValueError: any other, or a GeoPackage with views or virtual tables.
    """
    first = begins(path)
    for magic, kind in VECTORS.items():
        if first.startswith(magic):
            if kind == "GeoPackage":
                _sealed_geopackage(path)
            return kind
    if first.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return "GeoJSON"
    expected = "a shapefile, GeoPackage, GeoJSON or FlatGeobuf"
    raise ValueError(f"{path}: cannot be read, expected {expected} (it begins with {first!r})")


def _sealed_geopackage(path):
    query = "SELECT name, type, sql FROM sqlite_master"
    with (
        reading(path, "a GeoPackage", sqlite3.Error),
        closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as db,
    ):
        tables = db.execute(query).fetchall()
    for name, kind, sql in tables:
        virtual = re.match(r"\s*CREATE\s+VIRTUAL\s+TABLE", sql or "", re.IGNORECASE)
        if kind == "view" or (virtual and not re.search(r"USING\s+[\"']?rtree", sql, re.I)):
            got = f"{name!r}, a {'virtual table' if virtual else 'view'}"
            raise ValueError(f"{path}: got {got}, expected tables of polygons alone")
