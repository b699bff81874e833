"""A file reaches nothing but itself: no server, no other file, no code, no absurd memory."""

import json
import os
import shutil
import socket
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import geopandas
import h5py
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import shapely
import xarray as xr

from s1jax import cube, doctor
from s1jax.cube.formats.netcdf import unread_dataset
from tests.worlds import cube as worlds


@pytest.fixture
def server():
    """Address of a server on this machine, and what was asked of it."""
    asked = []
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        listening.settimeout(0.1)
        over = threading.Event()

        def _serve():
            while not over.is_set():
                try:
                    client, _ = listening.accept()
                except TimeoutError:
                    continue
                with client:
                    asked.append(client.recv(80))
                    client.sendall(b"HTTP/1.0 404 Not Found\r\n\r\n")

        thread = threading.Thread(target=_serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
        over.set()
        thread.join()


def _described(n, k, date):
    return f"{n}_{date:%Y%m%d}"


def _stack(path):
    return worlds.stack(path, worlds.scene(), _described)


def _vrt(source, *, relative=1, more="", kind=""):
    """A mosaic of one band, of that source."""
    inside = f"<SimpleSource><SourceFilename relativeToVRT='{relative}'>{source}</SourceFilename>"
    inside += "<SourceBand>1</SourceBand></SimpleSource>"
    return (
        "<VRTDataset rasterXSize='5' rasterYSize='6'><SRS>EPSG:32749</SRS>"
        "<GeoTransform>460000, 20, 0, 9230000, 0, -20</GeoTransform>"
        f"<VRTRasterBand dataType='Float32' band='1'{kind}>{inside}{more}</VRTRasterBand>"
        "</VRTDataset>"
    )


def test_names_of_servers_are_refused_wherever_a_path_may_stand(server):
    address, asked = server
    names = [
        f"{address}/a.nc", f"/vsicurl/{address}/a.tif", f"simplecache::{address}/a.zarr",
        Path(f"{address}/a.nc"), "s3://bucket/a.zarr", "gs://b/a.nc", "az://b/a.nc",
        "ftp://h/a.csv", f"zip://a.nc::{address}/a.zip", "/vsizip/a.zip/a.tif", "file:///etc/a.nc",
        "/tmp/../vsis3/b/a.tif", f"filecache::{address}/*.tif", "reference://a.json",
    ]  # fmt: skip
    ds = worlds.scene()
    for name in names:
        for use in (
            lambda n: cube.open_cube(n),
            lambda n: cube.open_cube([n, n]),
            lambda n: cube.open_cube((ds[["VV", "VH"]], n)),
            lambda n: cube.open_cube(ds, mask=n),
            lambda n: doctor.examine(n),
        ):
            with pytest.raises(ValueError, match="no folder of this machine, expected a path"):
                use(name)
    assert not asked


def test_an_image_that_is_a_mosaic_of_a_server_is_no_geotiff(server, tmp_path):
    address, asked = server
    text = _vrt(f"/vsicurl/{address}/b.tif", relative=0)
    for name in ("stack.tif", "period_01.tif", "SENTINEL-2_MSI_49MCN_NDVI_2023-11-07.tif"):
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=rf"{name}: cannot be read, expected GeoTIFF"):
            cube.open_cube(tmp_path / name, start="2023-11-01", step=12)
        with pytest.raises(ValueError, match=r"expected GeoTIFF"):
            cube.open_cube(worlds.scene(), mask=tmp_path / name)
    (tmp_path / "named.vrt").write_text(text)
    with pytest.raises(ValueError, match=r"named\.vrt: got the source .*in its folder"):
        cube.open_cube(tmp_path / "named.vrt")
    # what lies beside a GeoTIFF is opened by GDAL too
    path = _stack(tmp_path / "whole.tif")
    for suffix in (".msk", ".ovr"):
        beside = tmp_path / f"whole.tif{suffix}"
        beside.write_text(text)
        with pytest.raises(ValueError, match=r"whole\.tif\.\w+: got another format"):
            cube.open_cube(path)
        beside.unlink()
    aux = "<PAMDataset><Metadata domain='OVERVIEWS'><MDI key='OVERVIEW_FILE'>/vsicurl/"
    (tmp_path / "whole.tif.aux.xml").write_text(
        f"{aux}{address}/o.tif</MDI></Metadata></PAMDataset>"
    )
    with pytest.raises(ValueError, match=r"aux\.xml: got OVERVIEW_FILE"):
        cube.open_cube(path)
    assert not asked


def test_a_mosaic_is_one_of_geotiffs_in_its_folder(tmp_path):
    (tmp_path / "sub").mkdir()
    inside, outside = tmp_path / "sub", tmp_path / "b.tif"
    _stack(inside / "a.tif")
    _stack(outside)
    (inside / "other.vrt").write_text(_vrt("a.tif"))
    (inside / "text.tif").write_text(_vrt("a.tif"))
    (inside / "out.tif").symlink_to(outside)
    python = (
        "<PixelFunctionLanguage>Python</PixelFunctionLanguage><PixelFunctionCode>import os"
        "</PixelFunctionCode>"
    )
    texts = {
        "the source": [_vrt("../b.tif"), _vrt(outside, relative=0), _vrt("out.tif"), _vrt("no.tif"),
                       _vrt("GTIFF_DIR:1:a.tif"), _vrt("sub")],
        "expected GeoTIFF": [_vrt("other.vrt"), _vrt("text.tif")],
        "VRTDerivedRasterBand": [_vrt("a.tif", kind=" subClass='VRTDerivedRasterBand'")],
        "PixelFunctionLanguage": [_vrt("a.tif", more=python)],
        "got Overview": [_vrt("a.tif", more="<Overview/>")],
        "got <!ENTITY>": ["<!ENTITY a 'aaaa'>" + _vrt("a.tif")],
        "got <a>": ["<a/>"],
        "cannot be read, expected a VRT": ["<VRTDataset>", ""],
    }  # fmt: skip
    for message, of in texts.items():
        for text in of:
            (inside / "mosaic.vrt").write_text(text)
            with pytest.raises(ValueError, match=message):
                cube.open_cube(inside / "mosaic.vrt")
    rasterio.shutil.copy(inside / "a.tif", inside / "good.vrt", driver="VRT")
    worlds.same(cube.open_cube(inside / "good.vrt"), worlds.scene())


def _hdf5(path):
    worlds.scene().to_netcdf(path, engine="h5netcdf")
    return path


def _external_values(file, other):
    old = file["VV"]
    values = np.asarray(old)
    (other.parent / "kept.bin").write_bytes(values.tobytes())
    del file["VV"]
    kept = [(str(other.parent / "kept.bin"), 0, values.nbytes)]
    file.create_dataset("VV", values.shape, values.dtype, external=kept)


def _virtual(file, other):
    layout = h5py.VirtualLayout((7, 6, 5), "f4")
    layout[:] = h5py.VirtualSource(str(other), "VV", (7, 6, 5))
    del file["VV"]
    file.create_virtual_dataset("VV", layout)


def _linked(file, other):
    del file["VV"]
    file["VV"] = h5py.ExternalLink(str(other), "/VV")


def _linked_deep(file, other):
    file.create_group("a/b")["c"] = h5py.ExternalLink(str(other), "/VV")


def _virtual_of_itself(file, other):
    _virtual(file, ".")


def _virtual_of_each_other(file, other):
    _virtual(file, ".")
    layout = h5py.VirtualLayout((7, 6, 5), "f4")
    layout[:] = h5py.VirtualSource(file.filename, "VV", (7, 6, 5))
    del file["VH"]
    file.create_virtual_dataset("VH", layout)


@pytest.mark.parametrize(
    "how",
    [_external_values, _virtual, _linked, _linked_deep, _virtual_of_itself, _virtual_of_each_other],
)
@pytest.mark.parametrize("chunks", [None, {"t": 2}])
def test_hdf5_keeps_its_values_itself(how, chunks, tmp_path):
    other, path = _hdf5(tmp_path / "other.nc"), _hdf5(tmp_path / "a.nc")
    with h5py.File(path, "a") as file:
        how(file, other)
    with pytest.raises(ValueError, match=r"a\.nc: /\S+: got .*expected all of it in this file"):
        cube.open_cube(path, chunks=chunks)
    with pytest.raises(ValueError, match=r"a\.nc: .*expected all of it in this file"):
        cube.open_cube(worlds.scene(), mask=path)
    with pytest.raises(ValueError, match=r"a\.nc: .*expected all of it in this file"):
        unread_dataset(path)


def test_links_inside_of_an_hdf5_file_are_its_own(tmp_path):
    path = _hdf5(tmp_path / "a.nc")
    with h5py.File(path, "a") as file:
        file["loop"] = file["/"]
        file["soft"] = h5py.SoftLink("/VV")
        file.create_group("more")["hard"] = file["VH"]
    with h5py.File(path) as file:
        assert file["loop/loop/VV"].shape == (7, 6, 5)
    del_soft = tmp_path / "b.nc"
    _hdf5(del_soft)
    with h5py.File(del_soft, "a") as file:
        file.create_group("more")["loop"] = file["/"]
    worlds.same(cube.open_cube(del_soft), worlds.scene())


@pytest.mark.parametrize("target", ["/around", "/nowhere"])
def test_a_link_that_leads_nowhere_is_named(target, tmp_path):
    path = _hdf5(tmp_path / "a.nc")
    with h5py.File(path, "a") as file:
        file["around"] = h5py.SoftLink(target)
    with pytest.raises(ValueError, match=rf"a\.nc: /around: got a link to '{target}', which leads"):
        cube.open_cube(path)


def _store(path, **options):
    worlds.scene().to_zarr(path, zarr_format=2, consolidated=True, **options)
    return path


def test_a_zarr_store_stays_in_its_folder(tmp_path):
    path, other = _store(tmp_path / "a.zarr"), _store(tmp_path / "b.zarr")
    chunk = path / "VV" / "0.0.0"
    chunk.unlink()
    chunk.symlink_to(other / "VV" / "0.0.0")
    with pytest.raises(
        ValueError, match=r"VV/0\.0\.0: got a link to .*b\.zarr.*expected a file in"
    ):
        cube.open_cube(path)
    chunk.unlink()
    os.mkfifo(chunk)
    with pytest.raises(ValueError, match=r"0\.0\.0: got a device or pipe"):
        cube.open_cube(path)
    chunk.unlink()
    (path / "VV").rename(path / "kept")
    (path / "VV").symlink_to(other / "VV")
    with pytest.raises(ValueError, match=r"VV: got a link to"):
        cube.open_cube(path)
    # one that stays inside is part of the store
    (path / "VV").unlink()
    (path / "kept").rename(path / "VV")
    (other / "VV" / "0.0.0").rename(path / "VV" / "first")
    chunk.symlink_to(path / "VV" / "first")
    worlds.same(cube.open_cube(path), worlds.scene())


def test_pipes_and_devices_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "a.nc")
    for path in (tmp_path / "a.nc", tmp_path / "*.nc", "/dev/zero"):
        with pytest.raises(ValueError, match="got a device or pipe, expected a file or folder"):
            cube.open_cube(path)


def _change(path, change):
    """The metadata of VV of a store, changed where it is and where it is consolidated."""
    for file in (path / "VV" / ".zarray", path / ".zmetadata"):
        content = json.loads(file.read_text())
        change(content["metadata"]["VV/.zarray"] if file.name == ".zmetadata" else content)
        file.write_text(json.dumps(content))


def test_values_that_would_run_code_are_refused(tmp_path):
    path = _store(tmp_path / "a.zarr")
    _change(path, lambda array: array.update(filters=[{"id": "pickle", "protocol": 5}]))
    with pytest.raises(ValueError, match=r"VV: got the codec 'pickle', which runs code"):
        cube.open_cube(path)


@pytest.mark.parametrize("chunks", [None, {"t": 1}])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunks": [0, 0, 0]}, r"VV: chunks: got \[0, 0, 0\], expected 3 whole numbers from 1"),
        ({"chunks": [7, 6]}, r"VV: chunks: got \[7, 6\], expected 3"),
        ({"chunks": [7, 6, 10**13]}, r"VV: got .* GB to hold, expected at most"),
        ({"shape": [7, -6, 5]}, r"VV: shape: got \[7, -6, 5\]"),
        ({"shape": [7, 6, "5"]}, r"VV: shape: got \[7, 6, '5'\]"),
        ({"shape": [10**9, 10**6, 10**6]}, r"got .* (GB to hold|chunks of)"),
    ],
)
def test_absurd_sizes_of_zarr_are_refused_before_memory_is_asked_for(
    change, message, chunks, tmp_path
):
    path = _store(tmp_path / "a.zarr")
    _change(path, lambda array: array.update(change))
    with pytest.raises(ValueError, match=message):
        cube.open_cube(path, chunks=chunks)


@pytest.mark.parametrize("chunks", [None, {"t": 1}])
def test_absurd_sizes_of_hdf5_are_refused(chunks, tmp_path):
    path = _hdf5(tmp_path / "a.nc")
    with h5py.File(path, "a") as file:
        file.create_dataset("far", (10**9, 10**6, 10**5), "f4", chunks=(1, 1000, 1000))
    with pytest.raises(ValueError, match=r"got .* (GB to hold|chunks of)"):
        cube.open_cube(path, chunks=chunks)


def test_absurd_sizes_of_an_image_are_refused(tmp_path):
    wide = {"width": 2_000_000, "height": 2_000_000, "count": 3, "dtype": "float32"}
    options = {"driver": "GTiff", "SPARSE_OK": True, "BIGTIFF": "YES", "tiled": True,
               "blockxsize": 16384, "blockysize": 16384, "crs": "EPSG:32749"}  # fmt: skip
    transform = rasterio.Affine(1, 0, 0, 0, -1, 9e6)
    with rasterio.open(tmp_path / "a.tif", "w", transform=transform, **wide, **options) as file:
        for k in (1, 2, 3):
            file.set_band_description(k, f"{('VV', 'VH', 'NDVI')[k - 1]}_20240101")
    with pytest.raises(ValueError, match=r"a\.tif: got .* GB to hold, expected .*chunks="):
        cube.open_cube(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif: got .* GB to hold"):
        cube.open_cube(worlds.scene(), mask=tmp_path / "a.tif")


FIELD = shapely.box(460_015, 9_229_915, 460_075, 9_229_995)


@pytest.mark.parametrize("name", ["f.shp", "f.gpkg", "f.geojson", "f.fgb", "folder"])
def test_fields_in_each_format_are_the_same_mask(name, tmp_path):
    field = geopandas.GeoDataFrame(geometry=[FIELD], crs="EPSG:32749")
    field = field.to_crs("EPSG:4326") if name.endswith("json") else field
    if name == "folder":
        (tmp_path / name).mkdir()
        field.to_file(tmp_path / name / "only.shp")
    else:
        field.to_file(tmp_path / name)
    ds = worlds.scene()
    x, y = np.meshgrid(ds.x.values, ds.y.values)
    expected = shapely.contains_xy(FIELD, x, y)
    np.testing.assert_array_equal(cube.open_cube(ds, mask=tmp_path / name).mask, expected)


def test_other_vector_formats_are_refused(server, tmp_path):
    address, asked = server
    ds = worlds.scene()
    texts = {
        "a.vrt.xml": f"<OGRVRTDataSource><OGRVRTLayer name='a'><SrcDataSource>/vsicurl/{address}/a"
        "</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>",
        "a.kml": "<kml/>", "a.zip": "PK\3\4", "a.txt": f"{address}/a.geojson", "a.shp": "",
    }  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match="expected a shapefile, GeoPackage, GeoJSON or Flat"):
            cube.open_cube(ds, mask=tmp_path / name)
    polygon = {"type": "Polygon", "coordinates": [[[110, -8], [111, -8], [111, -6], [110, -8]]]}
    link = {"type": "link", "properties": {"href": f"{address}/crs", "type": "proj4"}}
    named = {"type": "name", "properties": {"name": f"{address}/crs"}}
    for system in (link, named):
        feature = {"type": "Feature", "properties": {}, "geometry": polygon}
        content = {"type": "FeatureCollection", "crs": system, "features": [feature]}
        (tmp_path / "a.geojson").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=r"a\.geojson: cannot be read"):
            cube.open_cube(ds, mask=tmp_path / "a.geojson")
    assert not asked


def test_a_geopackage_holds_tables_alone(tmp_path):
    path = tmp_path / "f.gpkg"
    geopandas.GeoDataFrame(geometry=[FIELD], crs="EPSG:32749").to_file(path)
    with closing(sqlite3.connect(path)) as base:
        base.execute("CREATE VIEW aside AS SELECT * FROM f")
        base.commit()
    with pytest.raises(ValueError, match=r"f\.gpkg: got 'aside', a view, expected tables"):
        cube.open_cube(worlds.scene(), mask=path)


def test_what_is_no_polygon_is_no_mask(tmp_path):
    ds = worlds.scene()
    middle = geopandas.GeoDataFrame(geometry=[FIELD.centroid], crs="EPSG:32749")
    middle.to_file(tmp_path / "p.gpkg")
    with pytest.raises(ValueError, match=r"p\.gpkg: got Point, expected polygons"):
        cube.open_cube(ds, mask=tmp_path / "p.gpkg")
    dated = xr.zeros_like(ds.VV) > -1
    with pytest.raises(ValueError, match=r"mask: got dims \('t', 'y', 'x'\), expected"):
        cube.open_cube(ds.assign(mask=dated))
    with pytest.raises(ValueError, match=r"mask: got .*'t': 7.*expected"):
        cube.open_cube(ds, mask=dated)
    words = xr.DataArray(np.full(worlds.SIZE, "rice"), dims=("y", "x"))
    with pytest.raises(ValueError, match="mask: got <U4, expected True where pixels are wanted"):
        cube.open_cube(ds, mask=words)


def test_what_does_not_fit_into_memory_is_refused_by_every_reader(tmp_path, monkeypatch):
    ds = worlds.scene()
    _hdf5(tmp_path / "a.nc")
    _store(tmp_path / "a.zarr")
    _stack(tmp_path / "a.tif")
    worlds.tables(tmp_path / "tables", ds)
    monkeypatch.setattr("s1jax.cube.safety._memory", lambda: 2000)
    for name in ("a.nc", "a.zarr", "a.tif", "tables"):
        with pytest.raises(ValueError, match=r"got .* GB to hold, expected at most .* of memory"):
            cube.open_cube(tmp_path / name)
    # a part at a time they do
    monkeypatch.setattr("s1jax.cube.safety._memory", lambda: 2600)
    for name in ("a.nc", "a.zarr", "a.tif"):
        worlds.same(cube.open_cube(tmp_path / name, chunks={}).compute(), ds)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"features": 5}, "features: got int, expected a list"),
        ([{"type": "Polygon"}], "begins with"),
        ({"a": 1}, r"features\[0\].geometry: got {'a': 1}, expected an object with a type"),
        ({"features": [5]}, r"features\[0\]: got int, expected an object with geometry"),
        ({"features": [], "crs": {"properties": 5}}, "crs: got .*expected properties with"),
        ({"features": [], "crs": [1]}, "crs: got"),
        (
            {"features": [{"geometry": {"type": "Polygon", "coordinates": [[1, 2]]}}]},
            r"features\[0\].geometry: cannot be read, expected rings of x and y",
        ),
        ({"features": [{"geometry": {"type": ["x"]}}]}, r"features\[0\].geometry: got"),
    ],
)
def test_a_forged_geojson_is_named_by_its_field(content, message, tmp_path):
    (tmp_path / "a.geojson").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"a\.geojson: .*{message}"):
        cube.open_cube(worlds.scene(), mask=tmp_path / "a.geojson")


@pytest.mark.parametrize("name", [" a.tif", "a.tif ", "\n../a.tif", " ../out.tif", "\t/etc/a.tif"])
def test_blanks_around_the_name_of_a_source_are_no_way_out(name, tmp_path):
    folder = tmp_path / "in"
    (folder / " ..").mkdir(parents=True)
    for path in (tmp_path / "out.tif", folder / "a.tif", folder / " .." / "out.tif"):
        _stack(path)
    (folder / "x.vrt").write_text(_vrt(name))
    with pytest.raises(ValueError, match=r"x\.vrt: got the source .*, expected no blanks around"):
        cube.open_cube(folder / "x.vrt")


def test_attributes_of_a_mosaic_mean_the_same_in_any_case(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    _stack(folder / "a.tif")
    rasterio.shutil.copy(folder / "a.tif", folder / "x.vrt", driver="VRT")
    text = (folder / "x.vrt").read_text().replace("relativeToVRT", "RELATIVETOVRT")
    (folder / "x.vrt").write_text(text)
    assert cube.open_cube(folder / "x.vrt").sizes == cube.open_cube(folder / "a.tif").sizes
    assert 'RELATIVETOVRT="1"' in text
    bad = text.replace('RELATIVETOVRT="1"', 'RELATIVETOVRT="1" relativeToVRT="0"')
    (folder / "x.vrt").write_text(bad)
    with pytest.raises(ValueError, match=r"x\.vrt: <SourceFilename: got an attribute twice"):
        cube.open_cube(folder / "x.vrt")


@pytest.mark.parametrize(
    "key", ["OVERVIEW_FILE", "OVERVIEW&#95;FILE", "overview_file", " &#79;VERVIEW_FILE"]
)
def test_other_files_beside_an_image_are_seen_however_they_are_written(key, tmp_path):
    _stack(tmp_path / "a.tif")
    beside = tmp_path / "a.tif.aux.xml"
    domain = '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="{}">o.ovr</MDI></Metadata>'
    beside.write_text(domain.format(key) + "</PAMDataset>")
    with pytest.raises(ValueError, match=r"a\.tif\.aux\.xml: got .*expected nothing about other"):
        cube.open_cube(tmp_path / "a.tif")
    beside.write_text("<PAMDataset><Metadata><MDI key='AREA'>x</MDI></Metadata></PAMDataset>")
    assert cube.open_cube(tmp_path / "a.tif").sizes["t"]


@pytest.mark.parametrize("empty", [h5py.Empty("f4"), h5py.Empty("S1")], ids=["number", "text"])
def test_an_attribute_without_a_value_says_nothing(empty, tmp_path):
    bare = worlds.scene()
    bare["VV"].attrs.pop("units", None)
    bare.to_netcdf(tmp_path / "bare.nc", engine="h5netcdf")
    shutil.copy(tmp_path / "bare.nc", tmp_path / "a.nc")
    with h5py.File(tmp_path / "a.nc", "a") as file:
        file["VV"].attrs["units"] = empty
        file.attrs["title"] = empty
    for chunks in (None, {"t": 2}):
        again = cube.open_cube(tmp_path / "a.nc", chunks=chunks)
        expected = cube.open_cube(tmp_path / "bare.nc", chunks=chunks)
        assert again["VV"].attrs == expected["VV"].attrs
        worlds.same(again.compute(), expected.compute())
