"""A few kilobytes that stand for gigabytes are a line, and take no memory."""

import bz2
import gzip
import json
import lzma
import resource
import zlib

import h5py
import hypothesis.strategies as st
import numcodecs
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings

from s1jax import cube
from s1jax.cube import safety
from tests.worlds import cube as worlds

PACKED = 400 * 2**20
"""What a bomb here unpacks to, bytes."""
NAMES = ("VV", "VH", "S2ndvi")
PACK = {
    "zlib": lambda: zlib.compressobj(9),
    "gzip": lambda: zlib.compressobj(9, wbits=31),
    "bz2": bz2.BZ2Compressor,
    "lzma": lambda: lzma.LZMACompressor(preset=1),
}
CODECS = {
    "zlib": numcodecs.Zlib(5), "gzip": numcodecs.GZip(5), "bz2": numcodecs.BZ2(5),
    "lzma": numcodecs.LZMA(preset=1), "zstd": numcodecs.Zstd(3), "lz4": numcodecs.LZ4(),
    "blosc": numcodecs.Blosc("zstd"),
}  # fmt: skip


def _bomb(name):
    stream = PACK[name]()
    return b"".join([*(stream.compress(bytes(2**22)) for _ in range(PACKED >> 22)), stream.flush()])


def _store(path, codec, **options):
    encoding = {n: {"compressors": [codec], "chunks": (2, 3, 5)} for n in NAMES}
    worlds.scene().to_zarr(path, zarr_format=2, encoding=encoding, **options)
    return path


def _grown():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _refused(path, match, chunks):
    """The cube is refused by this message, and no bomb went off."""
    before = _grown()
    with pytest.raises(ValueError, match=match):
        cube.open_cube(path, chunks=chunks).load()
    assert _grown() - before < PACKED / 4


@pytest.mark.slow
@pytest.mark.parametrize("chunks", [None, {"t": 2}])
@pytest.mark.parametrize("name", sorted(PACK))
def test_a_chunk_that_unpacks_without_end_is_refused(name, chunks, tmp_path):
    path = _store(tmp_path / "a.zarr", CODECS[name])
    (path / "VV" / "1.1.0").write_bytes(_bomb(name))
    match = rf"a\.zarr: VV: chunk 1\.1\.0: got {name} of more than 120 bytes, expected those"
    _refused(path, match, chunks)


@pytest.mark.parametrize(
    ("name", "start"), [("lz4", 0), ("blosc", 4), ("zstd", 5)], ids=["lz4", "blosc", "zstd"]
)
def test_a_chunk_that_says_a_size_of_gigabytes_is_refused(name, start, tmp_path):
    path = _store(tmp_path / "a.zarr", CODECS[name])
    file = path / "VV" / "0.0.0"
    content = bytearray(file.read_bytes())
    if name == "zstd":
        content = bytearray(b"\x28\xb5\x2f\xfd\xa0" + bytes(4) + content[6:])
    content[start : start + 4] = (2 * 10**9).to_bytes(4, "little")
    file.write_bytes(content)
    _refused(path, rf"VV: chunk 0\.0\.0: got {name} of more than 120 bytes", None)


def test_a_member_of_gzip_behind_zeros_counts(tmp_path):
    path = _store(tmp_path / "a.zarr", CODECS["gzip"])
    (path / "VV" / "0.0.0").write_bytes(gzip.compress(bytes(120)) + bytes(9) + _bomb("gzip"))
    _refused(path, r"VV: chunk 0\.0\.0: got gzip of more than 120 bytes", None)


def test_a_chunk_far_longer_than_its_values_is_not_read(tmp_path):
    path = _store(tmp_path / "a.zarr", None)
    with (path / "VH" / "0.0.0").open("r+b") as file:
        file.truncate(10**12)  # no block of a disk is written
    _refused(path, r"VH: chunk 0\.0\.0: got 1,000,000,000,000 stored bytes, expected at most", None)


def test_an_axis_is_no_way_around(tmp_path):
    path = _store(tmp_path / "a.zarr", CODECS["zlib"])
    content = json.loads((path / "t" / ".zarray").read_text())
    content["compressor"] = {"id": "zlib", "level": 1}
    (path / "t" / ".zarray").write_text(json.dumps(content))
    (path / ".zmetadata").unlink()
    (path / "t" / "0").write_bytes(_bomb("zlib"))
    _refused(path, r"a\.zarr: t: chunk 0: got zlib of more than 56 bytes", {"t": 1})


@pytest.mark.parametrize(
    ("codecs", "why"),
    [
        ({"compressor": {"id": "zfpy"}}, "the codec 'zfpy'"),
        ({"filters": [{"id": "zlib"}], "compressor": {"id": "bz2"}}, "2 compressors, zlib and bz2"),
        ({"filters": [{"id": "zlib"}, {"id": "shuffle"}]}, "zlib inside of 'shuffle'"),
        ({"compressor": {"id": "lzma", "format": 3}}, "the codec 'lzma without a head'"),
    ],
)
def test_codecs_that_nobody_can_bound_are_refused(codecs, why, tmp_path):
    path = _store(tmp_path / "a.zarr", CODECS["zlib"], consolidated=False)
    file = path / "VV" / ".zarray"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"compressor": None} | codecs))
    with pytest.raises(ValueError, match=rf"VV.*: codecs: got {why}, expected one compressor"):
        cube.open_cube(path)


@pytest.mark.parametrize("name", sorted(CODECS))
@pytest.mark.parametrize("chunks", [None, {"t": 2}])
def test_whole_stores_of_each_codec_are_read(name, chunks, tmp_path):
    path = _store(tmp_path / "a.zarr", CODECS[name])
    worlds.same(cube.open_cube(path, chunks=chunks).compute(), worlds.scene())


def test_filters_and_texts_are_no_bombs(tmp_path):
    scene = worlds.scene()
    scene["field"] = ("y", "x"), np.full((6, 5), "a name of a field")
    filters = [numcodecs.Delta("<i8"), numcodecs.CRC32()]
    encoding = {
        "t": {"filters": filters, "dtype": "<i8"},
        "VV": {"filters": [numcodecs.Shuffle(4)]},
    }
    scene.to_zarr(tmp_path / "a.zarr", zarr_format=2, encoding=encoding)
    again = cube.open_cube(tmp_path / "a.zarr")
    worlds.same(again.drop_vars("field", errors="ignore"), worlds.scene())


def _sharded(path, codec):
    encoding = {
        n: {"compressors": [codec], "chunks": (2, 3, 5), "shards": (4, 6, 5)} for n in NAMES
    }
    worlds.scene().to_zarr(path, zarr_format=3, encoding=encoding, consolidated=False)
    return path


@pytest.mark.parametrize("codec", [zarr.codecs.GzipCodec(), zarr.codecs.ZstdCodec()], ids=str)
def test_chunks_of_a_shard_are_bounded_too(codec, tmp_path):
    path = _sharded(tmp_path / "a.zarr", codec)
    worlds.same(cube.open_cube(path), worlds.scene())
    file = path / "VV" / "c" / "1" / "0" / "0"
    content, table = file.read_bytes(), 16 * 4 + 4
    bomb = _bomb("gzip") if isinstance(codec, zarr.codecs.GzipCodec) else b"\x28\xb5\x2f\xfd\0\0\0"
    entries = np.frombuffer(content[-table:-4], "<u8").copy()
    entries[:2] = 0, len(bomb)
    table = numcodecs.CRC32C(location="end").encode(entries.tobytes())
    file.write_bytes(bomb + bytes(table))
    match = r"VV: chunk c/1/0/0: got (gzip of more than 120|zstd without the size)"
    _refused(path, match, None)


@pytest.mark.parametrize("chunks", [None, {"t": 2}])
def test_deflate_of_hdf5_is_bounded(chunks, tmp_path):
    path = tmp_path / "a.nc"
    encoding = {n: {"chunksizes": (2, 3, 5), "zlib": True, "shuffle": False} for n in NAMES}
    worlds.scene().to_netcdf(path, engine="h5netcdf", encoding=encoding)
    worlds.same(cube.open_cube(path, chunks=chunks).compute(), worlds.scene())
    with h5py.File(path, "a") as file:
        file["VV"].id.write_direct_chunk((2, 3, 0), _bomb("zlib"))
    _refused(path, r"a\.nc: VV: chunk 1\.1\.0: got zlib of more than 120 bytes", chunks)


@settings(max_examples=40, deadline=None)
@given(content=st.binary(max_size=3000), name=st.sampled_from(sorted(CODECS)), less=st.booleans())
def test_the_size_of_what_is_packed_is_the_limit(content, name, less):
    content = content or b"0"
    packed = bytes(CODECS[name].encode(content))
    size = len(content) - less
    wrong = safety.why_too_large((name,), size, len(packed), lambda: packed)
    assert bool(wrong) == less


def test_a_store_of_xarray_itself_is_read_whole(tmp_path):
    for version in (2, 3):
        path = tmp_path / f"{version}.zarr"
        worlds.scene().to_zarr(path, zarr_format=version, consolidated=False)
        worlds.same(cube.open_cube(path), xr.open_zarr(path, consolidated=False).load())
