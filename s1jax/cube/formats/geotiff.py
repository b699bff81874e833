"""GeoTIFF: what a file says of itself, its values, and planes of many files as one cube."""

import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from s1jax.batching import bar
from s1jax.cube.findings import Finding, declared, fill_finding
from s1jax.cube.formats import IMAGES, Chunks, lazy_array
from s1jax.cube.grid import distance_pixels, tolerance
from s1jax.cube.names import unit_of
from s1jax.cube.safety import brief, bytes_of, first_bytes, local, reading, require_room
from s1jax.files import REMOTE

_ALONE = {"GDAL_VRT_ENABLE_PYTHON": "NO", "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none"}
"""Settings of GDAL under which no file runs code or contacts a server."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of a TIFF and of a BigTIFF, of either order of bytes."""

_VRT = {
    "VRTDataset", "SRS", "GeoTransform", "Metadata", "MDI", "VRTRasterBand", "Description",
    "NoDataValue", "HideNoDataValue", "ColorInterp", "Offset", "Scale", "UnitType", "SimpleSource",
    "ComplexSource", "SourceFilename", "SourceBand", "SourceProperties", "SrcRect", "DstRect",
    "NODATA", "ScaleOffset", "ScaleRatio", "UseMaskBand", "MaskBand", "OverviewList",
    "BlockXSize", "BlockYSize",
}  # fmt: skip
"""Elements of a mosaic: no warping, no functions of pixels, no files for overviews."""

_ROWS = 256
"""Rows of a chunk of a file that holds many dates: reading one date reads them all."""


class Header(NamedTuple):
    """What a GeoTIFF says of itself; one entry a band where there are several."""

    descriptions: tuple[str | None, ...]
    units: tuple[str | None, ...]
    nodata: tuple[float | None, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    dtype: tuple[str, ...]
    shape: tuple[int, int]
    """Rows and columns."""
    crs: str
    """EPSG:NNNN or well-known text, "" where the file has none."""
    transform: tuple[float, float, float, float, float, float]
    """x = a column + b row + c and y = d column + e row + f of a pixel's first corner."""
    masked: tuple[bool, ...]
    """Whether a mask of the file, a .msk beside it or an alpha band says what is missing."""
    alpha: tuple[bool, ...]
    """Whether the band itself is such an alpha band."""

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Centres of the rows and of the columns, y and x."""
        a, _, c, _, e, f = self.transform
        rows, columns = self.shape
        return f + e * (np.arange(rows) + 0.5), c + a * (np.arange(columns) + 0.5)


@contextmanager
def _opened(path: Path) -> Iterator:
    """The file as rasterio opens it, by the one driver its name means; faults are ValueErrors."""
    import rasterio
    from rasterio._err import CPLE_BaseError

    path = local(path)
    mosaic = path.suffix.lower() == IMAGES[-1]
    (_require_mosaic if mosaic else _require_tiff)(path)
    # an absolute path is never taken for the name of a server or of another format
    name, driver = os.path.abspath(path), "VRT" if mosaic else "GTiff"
    more = (rasterio.errors.RasterioError, CPLE_BaseError)
    with (
        reading(path, "GeoTIFF", *more),
        rasterio.Env(**_ALONE),
        rasterio.open(name, driver=driver) as file,
    ):
        yield file


def read_header(path: Path) -> Header:
    """What the GeoTIFF at `path` says of itself; its values are not read.

    Raises:
      ValueError: it cannot be read, has no bands or complex ones, or its grid is rotated.
    """
    from rasterio.enums import MaskFlags

    plain = ({MaskFlags.all_valid}, {MaskFlags.nodata})
    with _opened(path) as file:
        alpha, points = _alpha(file), len(file.gcps[0])
        masked = (any(alpha) or set(flags) not in plain for flags in file.mask_flag_enums)
        head = Header(
            file.descriptions, file.units, file.nodatavals, file.scales, file.offsets,
            file.dtypes, file.shape, file.crs.to_string() if file.crs else "",
            tuple(file.transform)[:6],
            tuple(m and not a for m, a in zip(masked, alpha, strict=True)), alpha,
        )  # fmt: skip
    transform = head.transform
    if not head.dtype:
        raise ValueError(f"{path}: bands: got none, expected at least one")
    if odd := sorted({str(dtype) for dtype in head.dtype if np.dtype(dtype).kind not in "iuf"}):
        raise ValueError(f"{path}: bands: got {odd}, expected whole or real numbers")
    if points:
        got = f"{points} ground control points"
        raise ValueError(f"{path}: grid: got {got}, expected rows and columns: reproject it first")
    if transform[1] != 0 or transform[3] != 0:
        raise ValueError(f"{path}: grid: got a rotated one {transform}, expected north up")
    if not np.isfinite(transform).all() or 0 in (transform[0], transform[4]):
        raise ValueError(f"{path}: grid: got {transform}, expected pixels of some size")
    return head


def _alpha(file):
    from rasterio.enums import ColorInterp

    return tuple(band == ColorInterp.alpha for band in file.colorinterp)


def read_bands(
    path: Path, bands: Sequence[int], rows: slice = slice(None), columns: slice = slice(None)
) -> np.ndarray:
    """Values as stored, (band, y, x), of bands counted from 0, and of a window where given."""
    with _opened(path) as file:
        return file.read([band + 1 for band in bands], window=_window(file, rows, columns))


def read_masked(
    path: Path, bands: Sequence[int], rows: slice = slice(None), columns: slice = slice(None)
) -> np.ndarray:
    """Whether the file's own mask says that a value is missing, (band, y, x); as `read_bands`."""
    with _opened(path) as file:
        window = _window(file, rows, columns)
        missing = file.read_masks([band + 1 for band in bands], window=window) == 0
        # of its own accord GDAL heeds the alpha of one band or three only
        for band in np.flatnonzero(_alpha(file)):
            missing |= file.read(int(band) + 1, window=window) == 0
        return missing


def _window(file, rows, columns):
    high, wide = (s.indices(n) for s, n in zip((rows, columns), file.shape, strict=True))
    return high[:2], wide[:2]


# planes of many files


class Plane(NamedTuple):
    """Where the values of one variable on one date are: value = stored * scale + offset."""

    path: Path
    band: int
    """From 0."""
    scale: float = 1.0
    offset: float = 0.0
    nodata: tuple[float, ...] = ()
    """What the file declares as missing, of the values stored."""
    assumed: tuple[float, ...] = ()
    """What is missing though the file does not say so."""
    units: frozenset[str] = frozenset()
    """What the file, and the name of the band, say of them."""
    masked: bool = False
    """Whether a mask of the file says which values are missing."""

    @property
    def fills(self) -> tuple[float, ...]:
        """All that is missing but NaN, which is so anyway."""
        return tuple(fill for fill in (*self.nodata, *self.assumed) if not np.isnan(fill))


def plane_of(path: Path, band: int, head: Header, name: str = "") -> Plane:
    """The plane as its file declares it; `name`: as the band is called there."""
    fill = () if (value := head.nodata[band]) is None else (value,)
    units = frozenset(u for u in (head.units[band], unit_of(name) if name else None) if u)
    masked = head.masked[band]
    return Plane(path, band, head.scale[band], head.offset[band], fill, units=units, masked=masked)


def cube_of(
    planes: Mapping[str, Sequence[Plane | None]],
    heads: Mapping[Path, Header],
    chunks: Chunks = None,
) -> tuple[xr.Dataset, list[Finding]]:
    """Dataset (t, y, x) without dates, float32, NaN where missing; and findings of how much is.

    Args:
      planes: of each variable, one a date; None where there is none.
      heads: of every file.
      chunks: sizes along t, y, x, where nothing is to stay in memory; else a date each, or strips
        of a file that has all dates.

    Raises:
      ValueError: unreadable file, grids or units that differ, or more than fits into memory.
    """
    (path, first), *others = heads.items()
    for other, head in others:
        _require_same_grid(path, first, other, head)
    dtype = np.result_type(*(d for head in heads.values() for d in head.dtype))
    shape, size = first.shape, max(dtype.itemsize, 4)
    if chunks is None:
        needed = bytes_of((sum(map(len, planes.values())), *shape), size)
        require_room(path, needed, "; chunks= reads it in parts")
    require_room(path, bytes_of((sum(shape) + min(shape[0], _ROWS) * shape[1],), 8))

    variables, counts = {}, {}
    for name, of in bar([*planes.items()], "GeoTIFF", "variable"):
        covered, masked = [p if p and p.masked else None for p in of], None
        if any(covered):
            masked = _stored(covered, shape, np.dtype(bool), chunks, read_masked)
            counts[f"{name} masked"] = masked.sum()
        value, filled = _decoded(_stored(of, shape, dtype, chunks, read_bands), of, masked)
        there = [plane for plane in of if plane is not None]
        units = sorted(set().union(*(plane.units for plane in there)))
        if len({unit.lower() for unit in units}) > 1:
            raise ValueError(f"{name}: units: got {units}, expected one")
        value.attrs = {"units": units[0]} if units else {}
        whole = {plane.scale for plane in there} == {1.0} and dtype.kind in "iu"
        value.encoding = {"dtype": dtype} if whole else {}
        variables[name] = value
        counts |= {f"{name} {fill!r}": count for fill, count in filled.items()}
    counts = {key: int(count) for key, count in xr.Dataset(counts).compute().items()}
    findings = [
        finding for name, of in planes.items() for finding in _fill_findings(name, of, counts)
    ]
    coords = dict(zip(("y", "x"), first.axes, strict=True))
    return xr.Dataset(variables, coords, {"crs": first.crs} if first.crs else {}), findings


def _require_same_grid(first_path, first, path, head):
    got, expected = ((h.shape, h.crs, h.transform) for h in (head, first))
    pairs = [*zip(first.axes, head.axes, strict=True)]
    if got[1] != expected[1] or any(distance_pixels(*p) > tolerance(*p) for p in pairs):
        raise ValueError(f"{path}: grid: got {got}, expected {expected} as {first_path.name}")


def _stored(planes, shape, dtype, chunks, read):
    """Stored values of the planes of one variable; with `chunks`, read where they are needed."""
    sizes = dict(zip(("t", "y", "x"), (len(planes), *shape), strict=True))
    if chunks is None:
        whole = _block(planes, dtype, read, *map(np.arange, sizes.values()))
        return xr.DataArray(whole, dims=tuple(sizes))
    one_file = len({plane.path for plane in planes if plane is not None}) == 1
    given = dict.fromkeys(sizes, chunks) if isinstance(chunks, int) else chunks
    chunk = sizes | ({"y": _ROWS} if one_file else {"t": 1})
    chunk |= given if isinstance(given, dict) else {}
    return lazy_array(sizes, chunk, partial(_block, planes, dtype, read), dtype)


def _block(planes, dtype, read, t, y, x):
    """Stored values of these dates, rows and columns."""
    rows, columns = slice(y[0], y[-1] + 1), slice(x[0], x[-1] + 1)
    block = np.zeros((t.size, y.size, x.size), dtype)
    for path in dict.fromkeys(planes[k].path for k in t if planes[k] is not None):
        at = [i for i, k in enumerate(t) if planes[k] is not None and planes[k].path == path]
        block[at] = read(path, [planes[t[i]].band for i in at], rows, columns)
    return block


def _decoded(stored, planes, masked):
    """Values, float32, NaN where missing or `masked`; and how often each fill is stored."""
    there = xr.DataArray([plane is not None for plane in planes], dims="t")
    whole = [plane or Plane(Path(), 0) for plane in planes]
    exact = stored.dtype if stored.dtype.kind == "f" else np.dtype(np.float64)
    missing, counts = ~there if masked is None else ~there | masked, {}
    for fill in dict.fromkeys(fill for plane in whole for fill in plane.fills):
        has = xr.DataArray([fill in plane.fills for plane in whole], dims="t")
        with np.errstate(over="ignore"):  # a fill beyond float32 is stored as infinite
            hit = (stored == np.asarray(fill).astype(exact)) & has
        counts[fill] = hit.sum()
        missing = missing | hit
    scale, offset = (
        xr.DataArray(np.array([getattr(plane, key) for plane in whole]), dims="t")
        for key in ("scale", "offset")
    )
    value = stored
    if (scale != 1).any() or (offset != 0).any():
        value = stored * scale + offset
    # missing first: a fill may be too large for float32
    return value.where(~missing).astype(np.float32).transpose("t", "y", "x"), counts


def _fill_findings(name, planes, counts):
    if count := counts.get(f"{name} masked"):
        yield declared(f"{name}: {count:,} values that a mask of the files covers are missing")
    there = [plane for plane in planes if plane is not None]
    given = {fill for plane in there for fill in plane.nodata}
    for fill in dict.fromkeys(fill for plane in there for fill in plane.fills):
        if count := counts[f"{name} {fill!r}"]:
            yield fill_finding(name, count, fill, is_declared=fill in given)


# files that point at no other


def _require_tiff(path):
    """Refuse a file that is no TIFF, or whose mask or overviews beside it point at another file."""
    if (first := first_bytes(path, 4)) not in _TIFF:
        got = f"a file that begins with {first!r}" if first else "an empty file"
        raise ValueError(f"{path}: cannot be read, expected GeoTIFF (got {got})")
    for suffix in (".msk", ".MSK", ".ovr", ".OVR"):
        beside = path.with_name(path.name + suffix)
        if beside.exists() and first_bytes(beside, 4) not in _TIFF:
            raise ValueError(f"{beside}: got another format, expected GeoTIFF as {path.name}")
    beside = path.with_name(path.name + ".aux.xml")
    for element in _xml(beside, "XML of GDAL").iter() if beside.exists() else ():
        words = (element.tag, *element.attrib.values(), element.text or "")
        for word in (word.strip() for word in words):
            upper = word.upper()
            named = "OVERVIEW_FILE" in upper or upper in ("FILENAME", "PROXYOVERVIEWREQUEST")
            if named or REMOTE.match(word):
                got = brief(word)
                raise ValueError(f"{beside}: got {got}, expected nothing about other files")


def _require_mosaic(path):
    """Refuse a .vrt that is no mosaic of GeoTIFFs in its folder or below."""
    root, folder = _xml(path, "a VRT"), path.resolve().parent
    if root.tag != "VRTDataset":
        raise ValueError(f"{path}: got <{root.tag}>, expected <VRTDataset>")
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
            _require_tiff(beside)


def _xml(path, expected):
    """The root of XML that declares nothing: a few letters could stand for gigabytes or files."""
    with reading(path, expected, ElementTree.ParseError):
        text = path.read_text(encoding="utf-8-sig")
        doctype = re.search("<!(DOCTYPE|ENTITY)", text, re.IGNORECASE)
        root = ElementTree.fromstring("<none/>" if doctype else text)
    if doctype:
        raise ValueError(f"{path}: got {doctype[0]}>, expected {expected} that declares nothing")
    return root
