"""Files that s1jax writes: never onto their source, whole or not there, and where they lie."""

import errno
import os

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine

from s1jax import cube
from s1jax.cube.provenance import lazy_sources, recorded_sources
from tests.worlds.cube import on_grid, scene
from tests.worlds.disk import files_up_to

ENGINES = {".nc": "h5netcdf", ".zarr": "zarr"}


def _load(path):
    with xr.open_dataset(path, engine=ENGINES[path.suffix], decode_coords="all") as stored:
        return stored.load()


def _bytes(path):
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {str(p): p.read_bytes() for p in files}


@pytest.fixture(params=[".nc", ".zarr"])
def stored(request, tmp_path):
    path = tmp_path / "data" / f"cube{request.param}"
    cube.write(scene(), path)
    return path


def _opened(path, how):
    if how == "dask":
        return cube.open_cube(path, chunks={"t": 7})
    if how == "xarray":
        return xr.open_dataset(path, engine=ENGINES[path.suffix], cache=False)
    if how == "computed on":
        lazy = xr.open_dataset(path, engine=ENGINES[path.suffix], chunks={"t": 7})
        joined = (
            xr.concat([lazy * 2, lazy + 1], "t", data_vars="all")
            .isel(y=slice(1, None))
            .drop_encoding()
        )
        joined["t"] = np.arange(joined.sizes["t"])
        return joined
    return cube.open_cube(path)


@pytest.mark.parametrize("how", ["dask", "xarray", "computed on", "memory"])
@pytest.mark.parametrize("name", ["same", "relative", "link", "folder link", "hard link"])
def test_the_source_is_never_written(stored, tmp_path, monkeypatch, how, name):
    ds, before = _opened(stored, how), _bytes(stored)
    target = stored
    if name == "relative":
        monkeypatch.chdir(tmp_path / "data")
        target = f"../data/./{stored.name}"
    elif name == "link":
        target = tmp_path / f"link{stored.suffix}"
        target.symlink_to(stored)
    elif name == "folder link":
        (tmp_path / "elsewhere").symlink_to(stored.parent)
        target = tmp_path / "elsewhere" / stored.name
    elif name == "hard link" and stored.suffix == ".nc":
        target = tmp_path / "hard.nc"
        os.link(stored, target)
    with pytest.raises(ValueError, match=r"got a path that is the source .*expected another path"):
        cube.write(ds, target)
    assert _bytes(stored) == before
    assert sorted(p.name for p in stored.parent.iterdir()) == [stored.name]


def test_neither_a_folder_of_the_source_nor_a_place_in_it_is_written(tmp_path):
    source = tmp_path / "region.zarr" / "north" / "cube.zarr"
    cube.write(scene(), source)
    cube.write(scene(), tmp_path / "region.zarr" / "file.nc")
    lazy = xr.open_dataset(source, engine="zarr", chunks={})
    before = _bytes(tmp_path)
    for path, relation in (
        (source / "map.zarr", "lies in"),
        (source / "deep" / "map.nc", "lies in"),
        (tmp_path / "region.zarr", "got a folder with|holds"),
    ):
        with pytest.raises(ValueError, match=relation):
            cube.write(lazy, path)
    assert _bytes(tmp_path) == before


def test_groups_of_the_store_of_the_source_are_not_written(tmp_path):
    store = tmp_path / "all.zarr"
    for group in ("a", "b"):
        scene().drop_attrs().to_zarr(store, group=group, zarr_format=2, consolidated=False)
    lazy = xr.open_dataset(store, group="a", engine="zarr", chunks={}, consolidated=False)
    beside = xr.open_dataset(store / "a", engine="zarr", chunks={}, consolidated=False)
    before = _bytes(store)
    for ds in (lazy, beside):
        for target in (store, store / "a.zarr", store / "b" / "x.zarr"):
            with pytest.raises(ValueError, match=r"source|groups"):
                cube.write(ds, target)
    # nor is a store of several cubes replaced by one of them
    with pytest.raises(
        ValueError, match=r"got a Zarr store of the groups .*expected a Zarr store of one cube"
    ):
        cube.write(scene(), store)
    assert _bytes(store) == before


def test_a_cube_in_memory_may_replace_its_source_where_that_is_asked_for(stored):
    ds = cube.align_cube(cube.open_cube(stored))
    assert recorded_sources(ds) == {stored.resolve()}
    with pytest.raises(ValueError, match="is the source"):
        cube.write(ds, stored)
    changed = ds.assign(VV=ds.VV + 1)
    cube.write(changed, stored, replace_source=True)
    np.testing.assert_array_equal(_load(stored).VV, changed.VV)
    with pytest.raises(ValueError, match="still to be read"):
        cube.write(cube.open_cube(stored, chunks={"t": 7}), stored, replace_source=True)
    # what is made of numbers alone has no source
    cube.write(scene(), stored)


@pytest.mark.parametrize("beside", [".part", ".old"])
def test_what_an_earlier_writing_left_may_be_the_source(tmp_path, beside):
    cube.write(scene(), tmp_path / "whole.zarr")
    left = (tmp_path / "whole.zarr").rename(tmp_path / f"map.zarr{beside}")
    lazy = xr.open_dataset(left, engine="zarr", chunks={})
    with pytest.raises(ValueError, match="is the source"):
        cube.write(lazy, tmp_path / "map.zarr")
    np.testing.assert_array_equal(xr.open_dataset(left, engine="zarr").VV, scene().VV)


def test_a_store_of_either_format_is_replaced(tmp_path):
    path = tmp_path / "map.zarr"
    ds = scene().drop_attrs().assign_attrs(comment='a "group" of fields')
    for version in (2, 3):
        # zarr's own wording about what its third format does not define yet is not looked at
        ds[["VV"]].to_zarr(path, mode="w", zarr_format=version, consolidated=False)
        # which s1jax did not write
        with pytest.raises(ValueError, match=r"cube of VV that s1jax did not write"):
            cube.write(scene(seed=version), path)
        cube.write(scene(seed=version), path, replace_source=True)
        np.testing.assert_array_equal(_load(path).VV, scene(seed=version).VV)


def test_sources_of_geotiffs_and_of_several_files(tmp_path):
    pytest.importorskip("dask")
    ds = scene()
    files = [tmp_path / "radar.nc", tmp_path / "labels.zarr"]
    cube.write(ds[["VV", "VH"]], files[0])
    cube.write(ds[["S2ndvi"]], files[1])
    for chunks in (None, {"t": 7}):
        both = cube.open_cube(files, chunks=chunks)
        assert recorded_sources(both) == {p.resolve() for p in files}
        assert lazy_sources(both) == (set() if chunks is None else {p.resolve() for p in files})
        for path in files:
            with pytest.raises(ValueError, match="source"):
                cube.write(both, path)
    images = tmp_path / "images.zarr"
    images.mkdir()
    for k in range(1, 4):
        options = {"count": 3, "dtype": "float32", "height": 6, "width": 5, "driver": "GTiff"}
        place = {"crs": "EPSG:32749", "transform": Affine(20, 0, 460_000, 0, -20, 9_230_000)}
        with rasterio.open(images / f"period_{k:02d}.tif", "w", **options, **place) as file:
            file.write(np.stack([ds[n].values[k] for n in ("VV", "VH", "S2ndvi")]))
            file.descriptions = ("VV", "VH", "NDVI")
    found = cube.open_cube([*images.glob("*.tif")], start="2023-11-01", step=12, chunks={"t": 1})
    assert lazy_sources(found) == {p.resolve() for p in images.glob("*.tif")}
    with pytest.raises(ValueError, match=r"got a folder with .*period_|holds the source"):
        cube.write(found, images)
    assert len([*images.iterdir()]) == 3


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_cube_without_a_record_of_its_source_does_not_replace_what_others_wrote(tmp_path, suffix):
    path, own = tmp_path / f"raw{suffix}", tmp_path / f"own{suffix}"
    raw = scene()
    raw.to_netcdf(path) if suffix == ".nc" else raw.to_zarr(path, zarr_format=2)
    cube.write(raw, own)
    before = _bytes(path)
    ds = cube.align_cube(cube.open_cube(path))
    coords = {name: ds[name].values for name in ("t", "y", "x")}
    bare = xr.Dataset({k: (v.dims, v.values) for k, v in ds.data_vars.items()}, coords, ds.attrs)
    assert not recorded_sources(bare)
    with pytest.raises(ValueError, match=r"cube of VH, VV that s1jax did not write"):
        cube.write(bare, path)
    assert _bytes(path) == before
    cube.write(bare, own)
    cube.write(bare, own)
    cube.write(bare, path, replace_source=True)
    np.testing.assert_array_equal(_load(path).VV, bare.VV)


def test_only_a_store_of_a_cube_is_replaced(tmp_path):
    home = tmp_path / "home.zarr"
    (home / "thesis").mkdir(parents=True)
    (home / "thesis" / "chapter.txt").write_text("years of work")
    for path, message in (
        (home, "chapter.txt, expected a Zarr store"),
        (tmp_path / "file.zarr", "got a file, expected a Zarr store"),
        (tmp_path / "folder.nc", "got a folder, expected a file"),
    ):
        if not path.exists():
            path.mkdir() if path.suffix == ".nc" else path.write_text("text")
        with pytest.raises(ValueError, match=message):
            cube.write(scene(), path)
    cube.write(scene(), tmp_path / "map.zarr")
    (tmp_path / "map.zarr" / "notes.md").write_text("mine")
    with pytest.raises(ValueError, match=r"notes\.md"):
        cube.write(scene(), tmp_path / "map.zarr")
    assert (home / "thesis" / "chapter.txt").read_text() == "years of work"
    (tmp_path / "empty.zarr").mkdir()
    cube.write(scene(), tmp_path / "empty.zarr")
    np.testing.assert_array_equal(_load(tmp_path / "empty.zarr").VV, scene().VV)


def test_a_link_is_followed(stored, tmp_path):
    link = tmp_path / f"latest{stored.suffix}"
    link.symlink_to(stored)
    cube.write(scene(seed=1), link)
    assert link.is_symlink()
    np.testing.assert_array_equal(_load(stored).VV, scene(seed=1).VV)


@pytest.mark.parametrize("chunks", [None, {"t": 3}])
def test_a_disk_that_is_full_loses_nothing(stored, chunks):
    large = scene(days=np.arange(400.0))
    large = large if chunks is None else large.chunk(chunks)
    before = _bytes(stored)
    with (
        files_up_to(3_000),
        pytest.raises(OSError, match=rf"{stored}: cannot be written .*: choose a disk") as told,
    ):
        cube.write(large, stored)
    assert told.value.errno == errno.EFBIG
    assert str(told.value).startswith(f"{stored}: cannot be written")
    assert _bytes(stored) == before
    assert [p.name for p in stored.parent.iterdir()] == [stored.name]


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_folder_that_cannot_be_made_is_named(tmp_path, suffix):
    (tmp_path / "file").write_text("no folder")
    path = tmp_path / "file" / "deep" / f"map{suffix}"
    with pytest.raises(OSError, match=rf"{path}: cannot be written .*: choose a path"):
        cube.write(scene(), path)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("start", ["s3://bucket/", "http://host/", "zip::http://host/", "/vsis3/"])
def test_a_server_is_no_folder_to_write(tmp_path, monkeypatch, start, suffix):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no folder of this machine"):
        cube.write(scene(), f"{start}a{suffix}")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_link_beside_the_path_is_not_followed(tmp_path, suffix):
    cube.write(scene(), tmp_path / f"victim{suffix}")
    (tmp_path / f"map{suffix}.part").symlink_to(tmp_path / f"victim{suffix}")
    before = _bytes(tmp_path / f"victim{suffix}")
    cube.write(scene(seed=1), tmp_path / f"map{suffix}")
    assert _bytes(tmp_path / f"victim{suffix}") == before
    np.testing.assert_array_equal(_load(tmp_path / f"map{suffix}").VV, scene(seed=1).VV)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"map{suffix}", f"victim{suffix}"]


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_name_that_is_too_long_for_the_disk_says_so(tmp_path, suffix):
    with pytest.raises(OSError, match=r"cannot be written .*: choose a shorter name"):
        cube.write(scene(), tmp_path / f"{'n' * 252}{suffix}")


def _gdal(path, name="S2ndvi"):
    """CRS and transform as GDAL reads them."""
    of = f"netcdf:{path}:{name}" if path.suffix == ".nc" else f'ZARR:"{path}":/{name}'
    with rasterio.open(of) as file:
        return file.crs, file.transform


def _drivers():
    with rasterio.Env() as env:
        return env.drivers()


GRIDS = {
    "metres": scene,
    "rows go up": lambda: on_grid(scene(), up=True),
    "degrees": lambda: on_grid(scene(), geographic=True),
    "degrees, rows go up": lambda: on_grid(scene(), geographic=True, up=True),
    "columns go west": lambda: scene().isel(x=slice(None, None, -1)),
    "polar": lambda: scene().assign_attrs(crs="EPSG:3031"),
    "north before east": lambda: scene().assign_attrs(crs="EPSG:2193"),
    "rotated pole": lambda: on_grid(scene(), geographic=True).assign_attrs(
        crs="+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +R=6371000 +no_defs"
    ),
}


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_gdal_finds_the_file_where_the_cube_is(tmp_path, grid, suffix):
    if {".nc": "netCDF", ".zarr": "Zarr"}[suffix] not in _drivers():
        pytest.skip("GDAL without this driver")
    ds = GRIDS[grid]()
    path = tmp_path / f"map{suffix}"
    cube.write(cube.open_cube(ds), path)
    system, transform = _gdal(path)
    dx, dy = (float(ds[n][1] - ds[n][0]) for n in ("x", "y"))
    y = ds.y.values
    if suffix == ".nc" and dy > 0:
        # GDAL turns such a file over as it reads it
        y, dy = y[::-1], -dy
    expected = Affine(dx, 0, float(ds.x[0]) - dx / 2, 0, dy, y[0] - dy / 2)
    np.testing.assert_allclose(transform, expected, rtol=1e-9, atol=1e-12)
    if grid != "rotated pole":  # which GDAL spells in another way
        assert system == rasterio.crs.CRS.from_user_input(ds.attrs["crs"])
    back = _load(path)
    assert back.attrs["Conventions"] == "CF-1.11"
    assert back.x.attrs["axis"] == "X"
    assert back.t.attrs["standard_name"] == "time"
    names = {back[n].attrs["standard_name"] for n in ("x", "y")}
    assert names in (
        {"projection_x_coordinate", "projection_y_coordinate"}, {"longitude", "latitude"},
        {"grid_longitude", "grid_latitude"},
    )  # fmt: skip


@pytest.mark.parametrize("cut", [{"y": [2]}, {"x": [3]}, {"y": [2], "x": [3]}])
def test_a_row_a_column_and_a_pixel_keep_the_grid_they_were_cut_from(tmp_path, cut):
    if "netCDF" not in _drivers():
        pytest.skip("GDAL without netCDF")
    ds = scene().assign_coords(y=9_230_000.0 - 30 * np.arange(6))
    cube.write(ds, tmp_path / "whole.nc")
    part = _load(tmp_path / "whole.nc").isel(cut)
    cube.write(part, tmp_path / "part.nc", replace_source=True)
    system, transform = _gdal(tmp_path / "part.nc")
    y, x = (float(part[n][0]) for n in ("y", "x"))
    assert system.to_epsg() == 32749
    np.testing.assert_allclose(transform, Affine(20, 0, x - 10, 0, -30, y + 15))


def test_places_are_no_grid(tmp_path):
    ds = scene().isel(x=[0]).drop_vars(["x", "y"]).drop_attrs()
    ds = ds.assign_coords(lat=("y", -7 - 0.1 * np.arange(6)), lon=("y", 110 + 0.2 * np.arange(6)))
    cube.write(ds.assign_coords(y=np.arange(6), x=[0]), tmp_path / "fields.nc")
    back = _load(tmp_path / "fields.nc")
    assert back.lat.attrs == {"standard_name": "latitude", "units": "degrees_north"}
    assert back.lon.attrs == {"standard_name": "longitude", "units": "degrees_east"}
    assert "standard_name" not in back.x.attrs
    np.testing.assert_array_equal(back.lat, ds.lat)


def test_what_is_written_is_what_was_given(tmp_path):
    ds = scene()
    before = ds.copy(deep=True)
    cube.write(ds, tmp_path / "a.nc")
    xr.testing.assert_identical(ds, before)
    assert ds.encoding == before.encoding
    once, twice = _load(tmp_path / "a.nc"), None
    cube.write(once, tmp_path / "b.nc")
    twice = _load(tmp_path / "b.nc")
    xr.testing.assert_identical(once, twice)
