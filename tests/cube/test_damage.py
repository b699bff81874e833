"""A damaged file is a line that names the file and what of it; never another library's error."""

import shutil

import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.transform import from_gcps

from s1jax import cube
from tests.worlds import cube as worlds

STORED = {"VV": (2, 3, 5), "VH": (7, 6, 5), "S2ndvi": (1, 6, 2)}


def _netcdf(path):
    encoding = {n: {"chunksizes": c, "zlib": True} for n, c in STORED.items()}
    worlds.scene().to_netcdf(path / "a.nc", engine="h5netcdf", encoding=encoding)
    return path / "a.nc"


def _classic(path):
    worlds.scene().to_netcdf(path / "a.nc", engine="scipy")
    return path / "a.nc"


def _zarr(version, path):
    encoding = {n: {"chunks": c} for n, c in STORED.items()}
    options = {"zarr_format": version, "consolidated": version == 2, "encoding": encoding}
    worlds.scene().to_zarr(path / "a.zarr", **options)
    return path / "a.zarr"


def _stack(path):
    return worlds.stack(path / "a.tif", worlds.scene(), lambda n, k, date: f"{n}_{date:%Y%m%d}")


def _tables(path):
    worlds.tables(path / "tables", worlds.scene())
    return path / "tables"


FORMS = {
    "netcdf": _netcdf, "classic": _classic, "zarr2": lambda path: _zarr(2, path),
    "zarr3": lambda path: _zarr(3, path), "tif": _stack, "csv": _tables,
}  # fmt: skip


def _cut(rng, content):
    return content[: rng.integers(len(content))]


def _flip(rng, content):
    at = rng.integers(len(content), size=4)
    return bytes(b ^ (1 << int(rng.integers(8))) if k in at else b for k, b in enumerate(content))


def _noise(rng, content):
    at = rng.integers(len(content))
    return content[:at] + rng.bytes(40) + content[at + 40 :]


def _blank(rng, content):
    return b""


def _longer(rng, content):
    at = rng.integers(len(content))
    return content[:at] + rng.bytes(5) + content[at:]


HOW = [_cut, _flip, _noise, _longer, _blank]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # libraries warn of what they find on the way
@pytest.mark.parametrize("form", FORMS)
def test_changed_bytes_are_a_cube_or_a_line(form, tmp_path):
    (tmp_path / "whole").mkdir()
    made = FORMS[form](tmp_path / "whole")
    lines = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shutil.rmtree(tmp_path / "part", ignore_errors=True)
        shutil.copytree(tmp_path / "whole", tmp_path / "part")
        path = tmp_path / "part" / made.name
        inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        file = inside[rng.integers(len(inside))]
        file.write_bytes(HOW[seed % len(HOW)](rng, file.read_bytes()))
        try:
            found = cube.open_cube(path, chunks={"t": 3} if seed % 2 else None).load()
        except ValueError as error:
            lines.append(str(error))
            continue
        assert set(worlds.NAMES) <= set(found.data_vars), seed
    assert [line for line in lines if "expected" not in line] == []
    # an empty file at least is none
    assert len(lines) >= 4


def _broken(form, tmp_path, name, chunk):
    """A file in which one chunk of one variable cannot be decoded."""
    path = FORMS[form](tmp_path)
    if form == "netcdf":
        import h5py

        with h5py.File(path) as file:
            at = next(
                info
                for k in range(file[name].id.get_num_chunks())
                if (info := file[name].id.get_chunk_info(k)).chunk_offset
                == tuple(i * c for i, c in zip(chunk, file[name].chunks, strict=True))
            )
        with path.open("r+b") as file:
            file.seek(at.byte_offset)
            file.write(b"\xff" * at.size)
    else:
        inside = [".".join(map(str, chunk))] if form == "zarr2" else ["c", *map(str, chunk)]
        file = path.joinpath(name, *inside)
        file.write_bytes(file.read_bytes()[:20])
    return path


BROKEN = [("VV", (3, 1, 0), "t 6 to 6, y 3 to 5, x 0 to 4"), ("S2ndvi", (2, 0, 2), "t 2 to 2, y 0")]


@pytest.mark.filterwarnings("ignore:The specified chunks separate the stored chunks")
@pytest.mark.parametrize("form", ["netcdf", "zarr2", "zarr3"])
@pytest.mark.parametrize(("name", "chunk", "span"), BROKEN)
def test_a_broken_chunk_is_named(form, name, chunk, span, tmp_path):
    path = _broken(form, tmp_path, name, chunk)
    at = r"\.".join(map(str, chunk))
    message = rf"{path.name}: {name}: chunk {at} \({span}.*\): cannot be read, expected whole"
    with pytest.raises(ValueError, match=message):
        cube.open_cube(path)
    with pytest.raises(ValueError, match=message):
        cube.open_cube(path, chunks={"t": 2})


@pytest.mark.slow
@pytest.mark.parametrize("form", ["zarr2", "zarr3"])
def test_a_chunk_that_breaks_later_is_named_when_it_is_asked_for(form, tmp_path):
    path = FORMS[form](tmp_path)
    found = cube.open_cube(path, chunks={})
    expected = found.S2ndvi.isel(t=0).values
    file = path / "S2ndvi" / ("3.0.1" if form == "zarr2" else "c/3/0/1")
    file.write_bytes(file.read_bytes()[:20])
    np.testing.assert_array_equal(found.S2ndvi.isel(t=0).values, expected)
    with pytest.raises(ValueError, match=r"a\.zarr: S2ndvi: chunk 3\.0\.1 \(t 3 to 3"):
        found.S2ndvi.isel(t=3).compute()
    shutil.rmtree(path)
    gone = found.VV.isel(t=6).compute()
    # by the format a chunk that is not there is a fill
    assert gone.isnull().all()


@pytest.mark.parametrize("form", ["zarr2", "zarr3"])
def test_a_broken_axis_is_named(form, tmp_path):
    path = FORMS[form](tmp_path)
    file = path / "y" / ("0" if form == "zarr2" else "c/0")
    file.write_bytes(b"no numbers")
    with pytest.raises(ValueError, match=r"a\.zarr: y: chunk 0.*: (cannot be|got 10 bytes)"):
        cube.open_cube(path)


def test_what_lies_where_a_file_should_be(tmp_path):
    (tmp_path / "a.tif").mkdir()
    for name in ("empty.nc", "empty.tif", "empty.csv", "empty.vrt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "file.zarr").write_text("no store")
    (tmp_path / "bare.zarr").mkdir()
    wrong = {
        tmp_path / "a.tif": r"a\.tif: got a folder without",
        tmp_path / "empty.nc": r"empty\.nc: cannot be read, expected a NetCDF file \(it is empty\)",
        tmp_path / "empty.tif": r"empty\.tif: cannot be read, expected GeoTIFF \(got an empty",
        tmp_path / "empty.csv": r"empty\.csv: cannot be read, expected CSV \(got an empty file",
        tmp_path / "empty.vrt": r"empty\.vrt: cannot be read, expected a VRT",
        tmp_path / "file.zarr": r"file\.zarr: cannot be read, expected a NetCDF file \(it begins",
        tmp_path / "bare.zarr": r"bare\.zarr: cannot be read, expected a Zarr store",
        "x" * 5000: r"xxx\.\.\.: (cannot be read|got no such file).*expected",
        "a\0b.nc": "got no such file|cannot be read, expected a path",
        tmp_path / "file.zarr" / "inside.nc": "got no such file|cannot be read",
    }
    for path, message in wrong.items():
        with pytest.raises(ValueError, match=message) as raised:
            cube.open_cube(path)
        assert len(str(raised.value)) < 1000


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    def _refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.iterdir", _refuse)
    with pytest.raises(
        ValueError, match=r"cannot be read, expected a folder of files .*Permission"
    ):
        cube.open_cube(tmp_path)


def test_what_is_no_input_is_named():
    from s1jax.cube.open import sources_of

    for source in (None, 5, b"a.nc", {"VV": "a.nc"}, np.zeros(3)):
        with pytest.raises(ValueError, match=r"inputs: got \w+, expected a path, Dataset"):
            sources_of(source)
    with pytest.raises(ValueError, match="inputs: got NoneType, int among them, expected"):
        sources_of(["a.nc", 3, None])


IMAGES = {
    r"bands: got \['complex64'\], expected whole or real": {"dtype": "complex64"},
    r"grid: got a rotated one": {"transform": rasterio.Affine(20, 3, 46e4, 3, -20, 923e4)},
    r"grid: got 4 ground control points, expected rows": {"gcps": True},
}


@pytest.mark.parametrize("message", IMAGES)
def test_images_that_are_no_grid_of_numbers(message, tmp_path):
    options = {"count": 3, "height": 6, "width": 5, "dtype": "float32", "driver": "GTiff"}
    options |= IMAGES[message]
    gcps = options.pop("gcps", None)
    where = {"transform": rasterio.Affine(20, 0, 46e4, 0, -20, 923e4)} | options
    if gcps:
        from rasterio.control import GroundControlPoint as Point

        gcps = [Point(r, c, 110 + c / 1e4, -7 - r / 2e4) for r in (0, 6) for c in (0, 5)]
        assert from_gcps(gcps).a > 0
        where = options | {"gcps": gcps}
    with rasterio.open(tmp_path / "a_1.tif", "w", crs="EPSG:4326", **where) as file:
        file.write(np.ones((3, 6, 5), options["dtype"]))
    with pytest.raises(ValueError, match=message):
        cube.open_cube(tmp_path, start="2024-01-01", step=12)


TABLES = {
    r"got no rows, expected one": "Index,id,VV,VH,NDVI\n",
    r"got columns \['VV'\] twice": "Index,id,VV,VH,VV,NDVI\n2024-01-01,a,1,1,1,1\n",
    r"got 4 fields in line 3, expected 5": (
        "Index,id,VV,VH,NDVI\n2024-01-01,a,1,1,1\n2024-01-02,a,1,1"
    ),
    r"got 6 fields in line 2, expected 5": "Index,id,VV,VH,NDVI\n2024-01-01,a,1,1,1,9\n",
    r"got columns between ';', expected commas": "Index;id;VV;VH;NDVI\n2024-01-01;a;1;1;1\n",
    r"got columns between '\\t', expected": "Index\tid\tVV\tVH\tNDVI\n2024-01-01\ta\t1\t1\t1\n",
    r"cannot be read, expected CSV \(Unicode": b"Index,id,VV,VH,NDVI\n2024-01-01,\xff\xfe,1,1,1\n",
    r"lat: got 999 to 999, expected degrees": (
        "Index,id,latitude,longitude,VV,VH,NDVI\n2024-01-01,a,999,5,-9,-15,.5\n"
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", TABLES)
def test_tables_that_are_none(message, tmp_path):
    text = TABLES[message]
    (tmp_path / "a.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        cube.open_cube(tmp_path / "a.csv")


def test_an_empty_axis_is_named():
    for name in ("t", "y", "x"):
        with pytest.raises(ValueError, match=rf"{name}: got no place on it, expected at least one"):
            cube.open_cube(worlds.scene().isel({name: slice(0, 0)}))


def test_bounds_of_time_pass_every_door(tmp_path):
    ds = worlds.scene()
    bounds = np.stack([ds.t.values, ds.t.values + np.timedelta64(12, "D")], 1)
    ds = ds.assign_coords(time_bnds=(("t", "nv"), bounds))
    ds.t.attrs["bounds"] = "time_bnds"
    ds.t.encoding["units"] = "days since 2023-01-01"
    ds.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf", decode_coords="all") as stored:
        assert stored.time_bnds.shape == (7, 2)
    from s1jax.cube.formats.netcdf import read_dataset

    for chunks in (None, {"t": 2}):
        found, _ = read_dataset(tmp_path / "a.nc", chunks)
        np.testing.assert_array_equal(found.time_bnds, bounds)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("lazy", [None, {}], ids=["arrays", "dask"])
@pytest.mark.parametrize("junk", [b"junk", b""], ids=["junk", "empty"])
def test_writing_what_cannot_be_read_names_it(suffix, lazy, junk, tmp_path):
    path = _zarr(2, tmp_path)
    (path / "VV" / "1.1.0").write_bytes(junk)
    with xr.open_zarr(path, chunks=lazy) as ds:
        whole = r"a\.zarr: VV: chunk 1\.1\.0 \(t 2 to 3, y 3 to 5, x 0 to 4\): cannot be read, exp"
        with pytest.raises(ValueError, match=whole):
            cube.write(ds, tmp_path / f"out{suffix}")
    assert not (tmp_path / f"out{suffix}").exists()
