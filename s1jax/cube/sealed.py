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
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from s1jax.cube.border import brief, bytes_of, reading

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:/|[^/]*::|/vsi", re.IGNORECASE | re.DOTALL)
"""A server, a chain of fsspec, or a virtual file of GDAL; a Path has lost one slash of ://."""

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


class Stored(NamedTuple):
    """An array of a file, as its header declares it."""

    name: str
    shape: tuple[int, ...]
    itemsize: int
    chunk: tuple[int, ...]
    """Shape of what is read at once; () where that is what is asked for."""
    blosc: bool = False
    """Whether the files of a Zarr array are compressed by Blosc ..."""
    key: tuple[str, str] = ("", ".")
    """... and what begins their names, and what parts the numbers in them."""

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
    if found := _SCHEME.match(text) or re.match("/vsi", os.path.abspath(text.replace("\0", ""))):
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
        groups = [file["/"]]
        while groups:
            group = groups.pop()
            for key in group:
                link = group.get(key, getlink=True)
                name = f"{group.name.rstrip('/')}/{key}"
                if isinstance(link, h5py.ExternalLink):
                    return f"{name}: got a link to {link.filename!r}"
                if not isinstance(link, h5py.HardLink):
                    continue  # a soft link names an object of this file
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
                    sources = node.virtual_sources() if node.is_virtual else []
                    others = [source.file_name for source in sources if source.file_name != "."]
                    if others:
                        return f"{name}: got values kept in {others[0]!r}"
                    shape, size = node.shape or (), node.dtype.itemsize
                    arrays.append(Stored(name.lstrip("/"), shape, size, node.chunks or ()))
    return ""


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
    outermost = content.get("compressor") or [None, *(content.get("codecs") or ())][-1]
    blosc = isinstance(outermost, dict) and "blosc" in (outermost.get("id"), outermost.get("name"))
    yield Stored(
        name, tuple(shape), size, tuple(chunk) if regular else (), blosc, _zarr_key(content)
    )


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


def whole_blosc(path: Path, array: Stored, number: tuple[int, ...]) -> None:
    """Nothing, where a chunk is as long as it says; Blosc reads on behind one that was cut.

    Args:
      path: the Zarr store.
      array: of it; one without Blosc is not looked at.
      number: of the chunk, along each dimension.

    Raises:
      ValueError: it is shorter or longer.
    """
    prefix, separator = array.key
    name = prefix + separator.join(map(str, number)) if number else prefix.strip("/.") or "0"
    file = path / array.name / name
    if not array.blosc or not file.exists():
        return  # by the format a chunk that is not there is a fill
    head, size = begins(file), file.stat().st_size
    kept = int.from_bytes(head[12:16], "little")
    if len(head) < 16 or kept != size:
        expected = f"{kept:,}, as it says" if len(head) == 16 else "a head of 16"
        got = f"{size:,} bytes"
        raise ValueError(f"{path}: {array.name}: chunk {name}: got {got}, expected {expected}")


def _itemsize(dtype):
    """Bytes of a value: of <f4 as of float32 4, and 8, a fair guess, of what is no number."""
    found = re.fullmatch(r"([<>|])?[a-z]+(\d+)", dtype) if isinstance(dtype, str) else None
    return 8 if found is None else max(int(found[2]) // (1 if found[1] else 8), 1)


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
        with reading(beside, "XML of GDAL"):
            text = beside.read_bytes().decode("utf-8", "replace")
        if "OVERVIEW_FILE" in text:
            raise ValueError(f"{beside}: got OVERVIEW_FILE, expected nothing about other files")


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
        kind = element.get("subClass", "VRTSourcedRasterBand")
        if element.tag not in _VRT or kind != "VRTSourcedRasterBand":
            got = element.tag if element.tag not in _VRT else kind
            raise ValueError(f"{path}: got {got}, expected a mosaic of GeoTIFFs beside it")
        if element.tag == "SourceFilename":
            name = element.text or ""
            beside = folder / name if element.get("relativeToVRT") == "1" else Path(name)
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
