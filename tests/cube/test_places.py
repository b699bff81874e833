"""Where pixels are: axes, transforms, longitudes, fields and masks of files, against oracles."""

import dask
import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import geometry_mask

from s1jax import cube
from tests.worlds import cube as worlds

CRS = f"EPSG:{worlds.EPSG}"


def _field(path, *polygons, crs=CRS):
    geopandas.GeoDataFrame(geometry=[*polygons], crs=crs).to_file(path)
    return path


def _on(y, x, crs="EPSG:4326", seed=0):
    """A cube on other axes."""
    ds = worlds.scene(seed=seed)
    rows, columns = (np.arange(n) % m for n, m in zip((len(y), len(x)), worlds.SIZE, strict=True))
    ds = ds.isel(y=rows, x=columns).drop_vars(["y", "x"])
    ds["S2ndvi"] = ds.S2ndvi.fillna(0.3)
    return ds.assign_coords(y=np.asarray(y), x=np.asarray(x)).assign_attrs(crs=crs)


# masks of files


@pytest.mark.parametrize("kind", ["internal", "beside", "alpha", "bands"])
@pytest.mark.parametrize("chunks", [None, {"t": 2, "y": 4}])
@pytest.mark.parametrize("form", ["stack", "periods"])
def test_what_a_mask_of_the_file_covers_is_missing(kind, chunks, form, tmp_path):
    ds = worlds.scene()
    ds["S2ndvi"] = ds.S2ndvi.fillna(0.3)
    rng = np.random.default_rng(3)
    there = rng.random(worlds.SIZE) < 0.7
    files = [worlds.stack(tmp_path / "s.tif", ds, lambda n, k, date: f"{n}_{date:%Y%m%d}")]
    if form == "periods":
        files[0].unlink()
        worlds.periods(tmp_path, ds)
        files = sorted(tmp_path.glob("*.tif"))
    for file in files:
        with rasterio.open(file) as plain:
            values, texts, profile = plain.read(), plain.descriptions, plain.profile
        count = len(values) + (kind == "alpha")
        file.unlink()
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=kind == "internal"),
            rasterio.open(file, "w", **(profile | {"count": count})) as made,
        ):
            if kind == "alpha":
                undefined = [rasterio.enums.ColorInterp.undefined] * len(values)
                made.colorinterp = [*undefined, rasterio.enums.ColorInterp.alpha]
                made.write(there * np.float32(255), count)
            made.write(values, [*range(1, len(values) + 1)])
            made.descriptions = [*texts, *([None] if kind == "alpha" else [])]
            if kind in ("internal", "beside"):
                made.write_mask(there)
        if kind == "bands":
            # a mask of each band of its own, as GDAL marks it
            options = profile | {"count": count, "dtype": "uint8"}
            with rasterio.open(f"{file}.msk", "w", **options) as beside:
                beside.write(np.broadcast_to(there, values.shape).astype(np.uint8) * 255)
                beside.update_tags(**{f"INTERNAL_MASK_FLAGS_{k + 1}": 0 for k in range(count)})
    if kind != "alpha":  # which GDAL heeds beside one band or three only
        with rasterio.open(files[0]) as file:
            np.testing.assert_array_equal(file.read(1, masked=True).mask, ~there)
    dates = {} if form == "stack" else {"start": worlds.START, "step": worlds.STEP}
    source = files[0] if form == "stack" else tmp_path
    found = cube.open_cube(source, chunks=chunks, **dates)
    for name in worlds.NAMES:
        expected = ds[name].where(xr.DataArray(there, dims=("y", "x")))
        np.testing.assert_allclose(found[name], expected, atol=1e-5)
    count = f"{(~there).sum() * 7:,} values that a mask of the files covers are missing"
    assert found.attrs["s1jax_repairs"].count(count) == 3


def test_nodata_alone_is_no_mask(tmp_path):
    worlds.stack(tmp_path / "s.tif", worlds.scene(), lambda n, k, date: f"{n}_{date:%Y%m%d}")
    with rasterio.open(tmp_path / "s.tif", "r+") as file:
        file.nodata = -9999
    found = cube.open_cube(tmp_path / "s.tif")
    worlds.same(found, worlds.scene())
    assert "mask" not in found.attrs["s1jax_repairs"]


def test_pixels_declared_as_points_are_where_gdal_has_them(tmp_path):
    path = worlds.stack(tmp_path / "s.tif", worlds.scene(), lambda n, k, d: f"{n}_{d:%Y%m%d}")
    with rasterio.open(path, "r+") as file:
        file.update_tags(AREA_OR_POINT="Point")
    with rasterio.open(path) as file:
        x, y = file.xy(2, 3)
    found = cube.open_cube(path)
    np.testing.assert_allclose([found.x[3], found.y[2]], [x, y])


# masks of fields


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_irregular_rows_and_columns_are_masked_by_their_centres(tmp_path_factory, data):
    steps = st.floats(5, 40)
    y = 923e4 - np.cumsum([data.draw(steps) for _ in range(data.draw(st.integers(1, 5)))])
    x = 46e4 + np.cumsum([data.draw(steps) for _ in range(data.draw(st.integers(1, 5)))])
    places = st.tuples(st.floats(459_990, 460_200), st.floats(9_229_800, 9_230_010))
    ring = data.draw(st.lists(places, min_size=3, max_size=5))
    field = shapely.Polygon(ring).convex_hull.buffer(7)
    path = _field(tmp_path_factory.mktemp("field") / "f.gpkg", field)
    expected = shapely.contains_xy(field, *np.meshgrid(x, y))
    ds = _on(y, x, CRS)
    if not expected.any():
        with pytest.raises(ValueError, match="mask: got no pixel"):
            cube.open_cube(ds, mask=path)
        return
    found = cube.open_cube(ds, mask=path).mask.values
    np.testing.assert_array_equal(found, expected)


def test_one_pixel_is_inside_or_outside(tmp_path):
    centre = shapely.Point(460_010, 9_229_990)
    for distance, inside in ((0, True), (40, False)):
        field = shapely.affinity.translate(centre.buffer(15), distance)
        path = _field(tmp_path / f"f{distance}.gpkg", field)
        ds = worlds.scene().isel(y=[0], x=[0])
        ds["S2ndvi"] = ds.S2ndvi.fillna(0.4)
        if inside:
            assert cube.open_cube(ds, mask=path).mask.values.tolist() == [[True]]
        else:
            with pytest.raises(ValueError, match="mask: got no pixel of 1"):
                cube.open_cube(ds, mask=path)


def test_a_cube_without_coordinates_is_nowhere(tmp_path):
    path = _field(tmp_path / "f.gpkg", shapely.box(0, 0, 9, 9))
    with pytest.raises(ValueError, match="y, x: got no coordinates, expected them to place the"):
        cube.open_cube(worlds.scene().drop_vars(["y", "x"]), mask=path)


def test_swaths_are_masked_by_latitude_and_longitude(tmp_path):
    ds = worlds.scene()
    lon, lat = worlds.degrees(ds)
    field = shapely.box(460_015, 9_229_915, 460_075, 9_229_995)
    path = _field(tmp_path / "f.gpkg", field)
    swath = ds.drop_vars(["y", "x"]).drop_attrs()
    swath = swath.assign_coords(lat=(("y", "x"), lat), lon=(("y", "x"), lon))
    expected = shapely.contains_xy(field, *np.meshgrid(ds.x, ds.y))
    np.testing.assert_array_equal(cube.open_cube(swath, mask=path).mask, expected)


@pytest.mark.parametrize("up", [False, True])
def test_a_raster_mask_is_the_pixel_in_which_a_centre_lies(up, tmp_path):
    rng = np.random.default_rng(0)
    flags = rng.random((40, 50)) < 0.5
    own = rng.random((40, 50)) < 0.9
    transform = rasterio.Affine(13, 0, 459_700, 0, -9, 9_230_060)
    options = {"height": 40, "width": 50, "count": 1, "dtype": "uint8", "crs": CRS}
    with rasterio.open(tmp_path / "m.tif", "w", "GTiff", transform=transform, **options) as file:
        file.write(flags.astype(np.uint8), 1)
        file.write_mask(own)
    ds = worlds.on_grid(worlds.scene(), up=up)
    column, row = ~transform @ np.array([*np.meshgrid(ds.x, ds.y)]).reshape(2, -1)
    expected = (flags & own)[row.astype(int), column.astype(int)].reshape(worlds.SIZE)
    np.testing.assert_array_equal(cube.open_cube(ds, mask=tmp_path / "m.tif").mask, expected)


# transforms


def _declared(ds, how, transform):
    values = tuple(transform)[:6]
    gdal = " ".join(map(str, (values[2], values[0], values[1], values[5], values[3], values[4])))
    if how == "affine":
        return ds.assign_attrs(transform=transform)
    if how == "text":
        return ds.assign_attrs(transform=str(values))
    if how == "variable":
        return ds.assign(VV=ds.VV.assign_attrs(transform=[*values, 0.0, 0.0, 1.0]))
    wkt = pyproj.CRS(CRS).to_wkt()
    reference = xr.Variable((), 0, {"crs_wkt": wkt, "GeoTransform": gdal})
    return ds.drop_attrs().assign_coords(spatial_ref=reference)


@pytest.mark.parametrize("how", ["affine", "text", "variable", "gdal"])
@pytest.mark.parametrize("up", [False, True])
def test_corners_that_a_transform_declares_become_centres(how, up, tmp_path):
    ds = worlds.on_grid(worlds.scene(), up=up)
    for name in ("VV", "VH"):
        ds[name].attrs["units"] = "dB"
    transform = rasterio.Affine(20, 0, worlds.WEST, 0, -20, worlds.NORTH)
    corners = ds.assign_coords(x=ds.x - 10, y=ds.y + 10)
    opened = cube.open_cube(_declared(corners, how, transform))
    np.testing.assert_allclose(opened.x, ds.x)
    np.testing.assert_allclose(opened.y, ds.y)
    assert "y, x are corners of pixels by" in opened.attrs["s1jax_repairs"]
    # a part of it is where it was
    part = cube.open_cube(_declared(corners, how, transform).isel(y=slice(1, 4), x=slice(2, None)))
    np.testing.assert_allclose(part.x, ds.x[2:])
    np.testing.assert_allclose(part.y, ds.y[1:4])
    field = shapely.box(460_022, 9_229_912, 460_061, 9_229_978)
    path = _field(tmp_path / "f.gpkg", field)
    mask = cube.open_cube(_declared(corners, how, transform), mask=path).mask.values
    expected = geometry_mask([field], worlds.SIZE, transform, invert=True)
    np.testing.assert_array_equal(mask, expected[::-1] if up else expected)
    # centres stay centres, and so do those of another grid than declared
    for same in (ds, ds.isel(x=slice(None, None, 2), y=slice(None, None, 2))):
        kept = cube.open_cube(_declared(same, how, transform))
        np.testing.assert_array_equal(kept.x, same.x)
        assert "corners" not in kept.attrs["s1jax_repairs"]


def test_rotated_grids_are_refused():
    ds = worlds.scene().assign_attrs(transform=(20.0, 3.0, 46e4, 3.0, -20.0, 923e4))
    with pytest.raises(ValueError, match=r"attribute transform: got a rotated grid .*north up"):
        cube.open_cube(ds)


# longitudes


@settings(max_examples=25, deadline=None)
@given(west=st.floats(179.9, 179.9999), size=st.sampled_from([1e-4, 0.01]), turned=st.booleans())
def test_columns_of_either_way_across_180_are_at_one_place(west, size, turned):
    whole = west + size * np.arange(1 + int(np.ceil((180 - west) / size)) + 3)[-5:]
    lon = (whole + 180) % 360 - 180
    ds = _on(-17 - 0.01 * np.arange(4), lon[::-1] if turned else lon)
    found = cube.open_cube(ds)
    if lon[0] < 0:  # all of it is west of there; a rounded sum may say 179.99999999999997
        whole = lon
    np.testing.assert_allclose(found.x, whole[::-1] if turned else whole, rtol=0, atol=1e-9)
    if whole is lon:
        return
    line = next(li for li in found.attrs["s1jax_repairs"].splitlines() if "longitudes" in li)
    first, last = line.split("written as ")[1].split(" to ")
    np.testing.assert_allclose([float(first), float(last)], found.x[[0, -1]], rtol=0, atol=1e-6)


@pytest.mark.parametrize("at", [185.0, 355.0, -175.0, -180.1])
def test_longitudes_of_one_piece_begin_between_180_west_and_east(at):
    found = cube.open_cube(_on(-17 - 0.01 * np.arange(4), at + 0.05 * np.arange(5)))
    assert -180 <= float(found.x[0]) < 180
    assert (float(found.x[0]) - at) % 360 == pytest.approx(0, abs=1e-9)


def test_a_cube_across_180_degrees_is_one_piece(tmp_path):
    lon = np.array([179.975, 179.985, 179.995, -179.995, -179.985])
    ds = _on(-17 - 0.01 * np.arange(4), lon)
    found = cube.open_cube(ds)
    np.testing.assert_allclose(np.diff(found.x), 0.01, atol=1e-9)
    assert "longitudes from 179.975 to -179.985" in found.attrs["s1jax_repairs"]
    for name in worlds.NAMES:
        np.testing.assert_array_equal(found[name], ds[name])
    # pixels are a kilometre from their neighbours
    place = cube.position(found)
    assert np.abs(np.diff(place[..., 0], axis=1)).max() < 1100
    # the field is given in UTM, on both sides
    field = shapely.box(817_500, 8_115_200, 820_500, 8_117_500)
    path = _field(tmp_path / "f.gpkg", field, crs="EPSG:32760")
    onto = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32760", always_xy=True)
    expected = shapely.contains_xy(field, *onto.transform(*np.meshgrid(lon, ds.y)))
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(cube.open_cube(ds, mask=path).mask, expected)
    # as GeoJSON has it, cut at 180 degrees
    halves = [shapely.box(179.98, -17.025, 180, -16), shapely.box(-180, -17.025, -179.99, -16)]
    path = _field(tmp_path / "halves.gpkg", shapely.MultiPolygon(halves), crs="EPSG:4326")
    mask = cube.open_cube(ds, mask=path).mask.values
    expected = np.zeros((4, 5), bool)
    expected[:3, 1:4] = True
    np.testing.assert_array_equal(mask, expected)


def test_longitudes_of_both_conventions_are_one_grid():
    y, x = 10 - 0.01 * np.arange(4), -100 + 0.01 * np.arange(5)
    s1, s2 = _on(y, x)[["VV", "VH"]], _on(y, x + 360)[["S2ndvi"]]
    found = cube.open_cube([s1, s2])
    np.testing.assert_allclose(found.x, x)
    np.testing.assert_array_equal(found.S2ndvi, s2.S2ndvi)
    np.testing.assert_allclose(cube.open_cube([s2, s1]).x, x)


def test_places_on_both_sides_of_180_are_neighbours(tmp_path):
    rows = [f"2024-01-{d:02d},{k},-17,{lon},-{9 + k + d},-{15 + k},.{k + 3}"
            for d in (1, 7, 13) for k, lon in enumerate((179.99, -179.99, 180.02))]  # fmt: skip
    text = "\n".join(["Index,id,latitude,longitude,VV,VH,NDVI", *rows])
    (tmp_path / "a.csv").write_text(text)
    found = cube.open_cube(tmp_path / "a.csv")
    np.testing.assert_allclose(found.lon, [179.99, -179.99, -179.98])
    geod = pyproj.Geod(ellps="WGS84")
    _, _, away = geod.inv(179.99, -17, -179.99, -17)
    place = cube.position(found)[:, 0]
    assert np.hypot(*(place[1] - place[0])) == pytest.approx(away, rel=1e-3)


# axes and CRS


AXES = {
    r"x: got places that neither ascend": {"x": np.array([3e5, 3e5 + 40, 3e5 + 20, 3e5 + 60, 4e5])},
    r"x: got 4 places twice": {"x": np.full(5, 3e5)},
    r"y: got 1 of 6 that are NaN or infinite": {"y": np.array([6, 5, 4, np.inf, 2, 1.0])},
    r"x: got datetime64\[ns\], expected numbers": {
        "x": np.arange(5).astype("M8[D]").astype("M8[ns]")
    },
    r"y, x: got .* which are degrees, expected those of CRS EPSG:32749": {
        "y": 10 - 1e-4 * np.arange(6), "x": 105 + 1e-4 * np.arange(5),
    },
}  # fmt: skip


@pytest.mark.parametrize("message", AXES)
def test_axes_that_cannot_be(message):
    with pytest.raises(ValueError, match=message):
        cube.open_cube(worlds.scene().assign_coords(AXES[message]))


def test_places_that_a_projection_does_not_have_are_refused():
    ds = worlds.scene().assign_coords(x=9e9 + 20 * np.arange(5.0))
    with pytest.raises(ValueError, match=r"y, x: got .*, expected places of CRS EPSG:32749"):
        cube.open_cube(ds)


def test_numbers_and_names_of_places_are_no_axis():
    ds = worlds.scene().isel(x=[0]).drop_attrs()
    ds["S2ndvi"] = ds.S2ndvi.fillna(0.3) + xr.DataArray(np.arange(6) / 100, dims="y")
    ds = ds.assign(VV=ds.VV.assign_attrs(units="dB"), VH=ds.VH.assign_attrs(units="dB"))
    for y in ([17, 4, 9, 3, 2, 30], list("cabdef")):
        made = cube.open_cube(ds.assign_coords(y=y, x=[0]))
        assert made.y.values.tolist() == y


def test_degrees_beyond_the_poles_are_refused():
    ds = _on(999 + np.arange(4.0), 100 + np.arange(5.0))
    with pytest.raises(
        ValueError, match=r"y: got 999 to 1002, expected degrees as of CRS EPSG:4326"
    ):
        cube.open_cube(ds)


@pytest.mark.parametrize("declared", ["", "PROJCS[garbage", "EPSG:99999", 999999, "nowhere"])
def test_a_crs_that_is_none_is_named(declared):
    ds = worlds.scene()
    with pytest.raises(ValueError, match=r"attribute crs: got .*expected well-known text or EPSG"):
        cube.open_cube(ds.assign_attrs(crs=declared))
    if isinstance(declared, str):
        reference = xr.Variable((), 0, {"crs_wkt": declared})
        with pytest.raises(ValueError, match=r"spatial_ref: crs_wkt: got .*expected well-known"):
            cube.open_cube(ds.drop_attrs().assign_coords(spatial_ref=reference))


@pytest.mark.parametrize(
    "declared",
    [32749, np.int64(32749), 32749.0, "epsg:32749", "+init=epsg:32749", pyproj.CRS(32749),
     rasterio.CRS.from_epsg(32749)],
)  # fmt: skip
def test_a_crs_is_read_however_it_is_declared(declared):
    ds = worlds.scene()
    assert cube.crs(cube.open_cube(ds.assign_attrs(crs=declared))).to_epsg() == 32749


@pytest.mark.parametrize("first", ["s1", "s2"])
def test_axes_that_float32_rounded_are_one_grid(first):
    y, x = 10.5 - 1e-4 * np.arange(6), 106.2 + 1e-4 * np.arange(40)
    whole = _on(y, x)
    short = whole.assign_coords(y=y.astype(np.float32), x=x.astype(np.float32).astype(float))
    pair = [whole[["VV", "VH"]], short[["S2ndvi"]]]
    if first == "s2":
        pair = [short[["S2ndvi"]], whole[["VV", "VH"]]]
    found = cube.open_cube(pair)
    np.testing.assert_array_equal(found.x, x)
    np.testing.assert_array_equal(found.y, y)
    np.testing.assert_array_equal(found.S2ndvi, whole.S2ndvi)
    for moved in (0.3e-4, 1e-4):
        away = short.assign_coords(x=(x + moved).astype(np.float32))[["S2ndvi"]]
        with pytest.raises(ValueError, match="grid of S2ndvi"):
            cube.open_cube([pair[0] if first == "s1" else pair[1], away])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The specified chunks separate the stored chunks")
def test_variables_in_unequal_chunks_are_read_in_common_ones(tmp_path):
    ds = worlds.scene()
    chunks = {"VV": (7, 6, 5), "VH": (7, 6, 5), "S2ndvi": (1, 4, 2)}
    ds.to_zarr(tmp_path / "a.zarr", encoding={n: {"chunks": c} for n, c in chunks.items()},
               zarr_format=2)  # fmt: skip
    for asked in ({}, {"y": 3}):
        with dask.config.set(scheduler="synchronous"):
            found = cube.open_cube(tmp_path / "a.zarr", chunks=asked)
        assert found.VV.chunks == found.S2ndvi.chunks
        worlds.same(found.compute(), ds)
    pair = [ds[["VV", "VH"]].chunk(y=6, x=5), ds[["S2ndvi"]].chunk(y=4, x=2)]
    joined = cube.open_cube(pair)
    assert joined.VV.chunks[1:] == joined.S2ndvi.chunks[1:]
    worlds.same(joined.compute(), ds)
