"""Files really written are opened: dates, repairs, funnel, units, masks, and every complaint."""

import logging

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
import xarray as xr
from affine import Affine

from s1jax import cube
from s1jax.cube.formats.geotiff_stacks import times_of

PERIODS, HEIGHT, WIDTH = 62, 8, 10
NO_S2 = [6, 11, 12, 33, 34, 36, 38, 40]
DEAD, ABSENT = 43, 20
DEGREE = 0.000449
START = "2023-11-01"


def _planted(seed=0):
    """VV, VH in dB and NDVI, (period, y, x), everywhere finite."""
    rng = np.random.default_rng(seed)
    shape = (PERIODS, HEIGHT, WIDTH)
    vv = rng.normal(-10, 2, shape)
    return [vv, vv - 6 + rng.normal(0, 1, shape), rng.uniform(-0.1, 0.9, shape)]


def _write_tif(path, bands, descriptions=None, *, transform=None, crs="EPSG:4326", nodata=None):
    transform = transform or Affine(DEGREE, 0, 110.5, 0, -DEGREE, -6.7)
    options = {"driver": "GTiff", "count": len(bands), "dtype": "float32", "nodata": nodata}
    height, width = bands[0].shape
    with rasterio.open(
        path, "w", height=height, width=width, crs=crs, transform=transform, **options
    ) as file:
        for i, band in enumerate(bands, start=1):
            file.write(band.astype(np.float32), i)
            if descriptions:
                file.set_band_description(i, descriptions[i - 1])


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder as the export leaves it, and the values that should come back."""
    folder = tmp_path_factory.mktemp("exported")
    values = [v.astype(np.float32) for v in _planted()]
    for p in range(1, PERIODS + 1):
        bands = [v[p - 1].copy() for v in values]
        if p in NO_S2:
            bands[2][:] = -np.inf
        if p == DEAD:
            bands = [np.zeros((HEIGHT, WIDTH))] * 3
        if p != ABSENT:
            _write_tif(folder / f"period_{p:02d}.tif", bands, nodata=-np.inf)
    for v in values:
        v[[DEAD - 1, ABSENT - 1]] = np.nan
    values[2][np.array(NO_S2) - 1] = np.nan
    return folder, values


def test_numbered_geotiffs_have_the_right_dates_repairs_and_funnel(exported, caplog):
    folder, values = exported
    with caplog.at_level(logging.INFO, "s1jax"):
        ds = cube.open_cube(folder, start=START, step=12)
    assert dict(ds.sizes) == {"t": PERIODS, "y": HEIGHT, "x": WIDTH}
    for name, value in zip(("VV", "VH", "S2ndvi"), values, strict=True):
        assert ds[name].dtype == np.float32
        np.testing.assert_array_equal(ds[name], value)
    centre = np.datetime64(START) + np.arange(PERIODS) * np.timedelta64(12, "D")
    np.testing.assert_array_equal(ds.t, (centre + np.timedelta64(6, "D")).astype("M8[ns]"))
    assert ds.y[0] > ds.y[-1]
    assert cube.crs(ds).to_epsg() == 4326
    repairs = ds.attrs["s1jax_repairs"]
    assert f"{len(NO_S2) * HEIGHT * WIDTH} values of nodata -inf are missing" in repairs
    assert f"no file for period {ABSENT}" in repairs
    assert "S2ndvi: 1 constant plane(s) are missing: 2025-03-25" in repairs
    assert "VV: 1 constant plane(s)" in repairs
    assert "taken as VV, VH, NDVI by position" in repairs
    assert "VV: no units declared; by its median it is dB" in repairs
    funnel = ds.attrs["s1jax_funnel"]
    assert "days: 62 total, 60 with S1 (96.8%), 52 with NDVI (83.9%), 52 with both" in funnel
    assert "values: 4,960 total, 4,960 in mask, 4,800 with S1 (96.8%), 4,160 with NDVI" in funnel
    assert "NDVI: 10 day(s) without any" in funnel
    for line in [*repairs.split("\n"), funnel]:
        assert line in caplog.messages


def test_bands_by_description_in_another_order_and_by_glob(exported, tmp_path):
    _, values = exported
    for p in (1, 2, 3):
        bands = [values[2][p - 1], values[0][p - 1], values[1][p - 1]]
        _write_tif(tmp_path / f"Nov2023_Period_{p:02d}.tif", bands, ("ndvi", "vv", "sigma0_VH"))
    ds = cube.open_cube(tmp_path / "*.tif", start=START, step=12)
    for name, value in zip(("VV", "VH", "S2ndvi"), values, strict=True):
        np.testing.assert_array_equal(ds[name], value[:3])


def _utm(values, *, linear, up):
    """The same planes as a Dataset in UTM."""
    vv, vh, ndvi = values
    rows = np.arange(HEIGHT) * 50.0 + 9_230_000.0
    ds = xr.Dataset(
        {
            "VV": (("t", "y", "x"), 10 ** (vv / 10) if linear else vv),
            "VH": (("t", "y", "x"), 10 ** (vh / 10) if linear else vh),
            "S2ndvi": (("t", "y", "x"), ndvi),
        },
        coords={
            "t": np.datetime64("2023-11-07", "ns") + np.arange(len(vv)) * np.timedelta64(12, "D"),
            "y": rows[::-1],
            "x": 460_000.0 + 50.0 * np.arange(WIDTH),
        },
        attrs={"crs": "EPSG:32749"},
    )
    return ds.isel(y=slice(None, None, -1)) if up else ds


@pytest.mark.parametrize("units", ["m2/m2", None])
def test_linear_utm_ascending_is_the_same_scene(exported, tmp_path, units):
    folder, values = exported
    ds = _utm(values, linear=True, up=True)
    if units:
        ds["VV"].attrs["units"] = ds["VH"].attrs["units"] = units
    # a failed period is not in the file at all, and the file is of any letter case
    ds = ds.isel(t=[p - 1 for p in range(1, PERIODS + 1) if p != ABSENT])
    ds.rename({"t": "time", "VV": "vv", "S2ndvi": "NDVI"}).to_netcdf(tmp_path / "linear.nc")
    made = cube.open_cube(tmp_path / "linear.nc")
    assert made.y[0] < made.y[-1]
    same = made.isel(y=slice(None, None, -1))
    expected = cube.open_cube(folder, start=START, step=12)
    np.testing.assert_array_equal(same.t, expected.t)
    for name in ("VV", "VH", "S2ndvi"):
        np.testing.assert_allclose(same[name], expected[name], atol=1e-4)
    assert "VV: linear power converted to dB" in made.attrs["s1jax_repairs"]
    assert "1 periods left out of the file are missing" in made.attrs["s1jax_repairs"]
    assert made.VV.attrs["units"] == "dB"


def test_crs_in_a_data_variable_is_kept(tmp_path):
    ds = _small()
    system = pyproj.CRS.from_epsg(32749)
    ds["spatial_ref"] = ((), 0, {"crs_wkt": system.to_wkt()})
    ds.attrs.pop("crs")
    ds.to_netcdf(tmp_path / "cube.nc")
    made = cube.open_cube(tmp_path / "cube.nc")
    assert cube.crs(made) == system
    assert "spatial_ref" in made.coords


def test_vector_mask_in_another_crs_and_raster_mask(exported, tmp_path):
    folder, _ = exported
    ds = cube.open_cube(folder, start=START, step=12)
    x, y = ds.x.values, ds.y.values
    # three columns and two rows of pixels, given in UTM
    half = DEGREE / 2
    box = shapely.box(x[2] - half, y[4] - half, x[4] + half, y[3] + half)
    polygons = geopandas.GeoDataFrame(geometry=[box], crs="EPSG:4326").to_crs("EPSG:32749")
    polygons.to_file(tmp_path / "paddy.shp")
    masked = cube.open_cube(folder, start=START, step=12, mask=tmp_path / "paddy.shp")
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[3:5, 2:5] = True
    np.testing.assert_array_equal(masked.mask, expected)
    assert "mask keeps 6 of 80 pixels (7.50%)" in masked.attrs["s1jax_repairs"]
    assert "pixels: 80 total, 6 in mask, 6 with S1" in masked.attrs["s1jax_funnel"]
    assert cube.to_series(masked)[1].tolist() == np.flatnonzero(expected).tolist()
    # the same flag as a raster, the same again for a cube with y ascending
    transform = Affine(DEGREE, 0, 110.5, 0, -DEGREE, -6.7)
    _write_tif(tmp_path / "mask.tif", [expected.astype(float)], transform=transform)
    raster = cube.open_cube(folder, start=START, step=12, mask=tmp_path / "mask.tif")
    np.testing.assert_array_equal(raster.mask, expected)
    up = ds.isel(y=slice(None, None, -1))
    np.testing.assert_array_equal(
        cube.open_cube(up, mask=tmp_path / "paddy.shp").mask, expected[::-1]
    )
    far = geopandas.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:4326")
    far.to_file(tmp_path / "far.gpkg")
    with pytest.raises(ValueError, match="mask: got no pixel of 80"):
        cube.open_cube(folder, start=START, step=12, mask=tmp_path / "far.gpkg")
    far.to_file(tmp_path / "lost.shp")
    (tmp_path / "lost.prj").unlink()
    with pytest.raises(ValueError, match="CRS: got none"):
        cube.open_cube(folder, start=START, step=12, mask=tmp_path / "lost.shp")


def test_mask_of_places(shared, tmp_path):
    path = shared / "data" / "mekong_rice_points_2022.nc"
    ds = cube.open_cube(path)
    north = ds.district.values == "north"
    middle = (ds.lat.values[north].min() + ds.lat.values[~north].max()) / 2
    box = geopandas.GeoDataFrame(geometry=[shapely.box(100, middle, 110, 20)], crs="EPSG:4326")
    box.to_crs("EPSG:32648").to_file(tmp_path / "north.shp")
    np.testing.assert_array_equal(
        cube.open_cube(path, mask=tmp_path / "north.shp").mask[:, 0], north
    )


def _small(**change):
    vv, vh, ndvi = (v[:5] for v in _planted(1))
    ds = _utm([vv, vh, ndvi], linear=False, up=False)
    ds["VV"].attrs["units"] = ds["VH"].attrs["units"] = "dB"
    for name, value in change.items():
        ds[name] = ds[name].copy(data=value)
    return ds


BAD = {
    r"variable VH: got \['S2ndvi', 'VV'\]": lambda: _small().drop_vars("VH"),
    r"dimension x: got \['t', 'y', 'z'\]": lambda: _small().rename(x="z"),
    r"VV: got dims \('t', 'y'\)": lambda: _small().assign(VV=_small().VV[:, :, 0]),
    "VH: got no value": lambda: _small(VH=np.full((5, HEIGHT, WIDTH), np.nan)),
    r"VV: got values in \[.*expected dB as declared": lambda: _small(
        VV=10 ** (_small().VV / 10)
    ).assign(),
    r"VV: got values in .*expected linear power": lambda: _small().assign(
        VV=_small().VV.assign_attrs(units="linear")
    ),
    "units: got 'DN'": lambda: _small().assign(VV=_small().VV.assign_attrs(units="DN")),
    r"S2ndvi: got \[.*scaled by 1e4": lambda: _small(S2ndvi=_small().S2ndvi * 1e4),
    r"S2ndvi: got \[-9999.*undeclared nodata": lambda: _small(
        S2ndvi=_small().S2ndvi.where(_small().S2ndvi > 0, -9999)
    ),
    r"S2ndvi: got \[-.*bands taken by position": lambda: _small(S2ndvi=_small().VV),
    "no date in the files": lambda: _small().drop_vars("t"),
}


@pytest.mark.parametrize("message", BAD)
def test_complaints_name_variable_found_and_expected(message, tmp_path):
    BAD[message]().to_netcdf(tmp_path / "bad.nc")
    with pytest.raises(ValueError, match=message):
        cube.open_cube(tmp_path / "bad.nc")


def test_complaints_about_files_and_options(exported, tmp_path):
    folder, _ = exported
    with pytest.raises(ValueError, match=r"nothing\.nc: got no such file"):
        cube.open_cube(tmp_path / "nothing.nc")
    (tmp_path / "text.nc").write_text("not a cube")
    with pytest.raises(ValueError, match=r"text\.nc: cannot be read, expected a NetCDF"):
        cube.open_cube(tmp_path / "text.nc")
    with pytest.raises(ValueError, match="no date in the files; got start=None"):
        cube.open_cube(folder)
    with pytest.raises(ValueError, match="expected both or neither"):
        cube.open_cube(folder, start=START)
    with pytest.raises(ValueError, match="start: got 'soon'"):
        cube.open_cube(folder, start="soon", step=12)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"folder without \.tif"):
        cube.open_cube(tmp_path / "empty")


def test_complaints_about_geotiffs(tmp_path):
    plane = np.random.default_rng(0).normal(-10, 1, (4, 5))
    _write_tif(tmp_path / "period_01.tif", [plane, plane - 5, plane / 100])
    shifted = Affine(DEGREE, 0, 110.6, 0, -DEGREE, -6.7)
    _write_tif(tmp_path / "period_02.tif", [plane, plane - 5, plane / 100], transform=shifted)
    with pytest.raises(ValueError, match=r"period_02\.tif: grid: got .*110\.6"):
        cube.open_cube(tmp_path, start=START, step=12)
    _write_tif(tmp_path / "period_02.tif", [plane, plane], ("VV", "NDVI"))
    with pytest.raises(ValueError, match=r"expected \['VH'\] among them"):
        cube.open_cube(tmp_path, start=START, step=12)
    _write_tif(tmp_path / "period_02.tif", [plane, plane])
    with pytest.raises(ValueError, match="2 bands without description, expected 3"):
        cube.open_cube(tmp_path, start=START, step=12)
    (tmp_path / "period_02.tif").write_text("no image")
    with pytest.raises(ValueError, match=r"period_02\.tif: cannot be read"):
        cube.open_cube(tmp_path, start=START, step=12)
    with pytest.raises(ValueError, match=r"got \['1'\] in more than one file"):
        times_of([tmp_path / "period_01.tif", tmp_path / "period_1.tif"])
    with pytest.raises(ValueError, match="no period number from 1"):
        times_of([tmp_path / "period.tif"])


def test_fills_of_netcdf_are_counted(tmp_path):
    ds = _small()
    ds["VV"].values[0, 0, :3] = np.nan
    ds["VH"].values[1, 2, 2] = np.inf
    ds["S2ndvi"].values[2, 1, 1] = -32768
    ds["S2ndvi"].attrs["nodata"] = -32768.0
    for name in ("VV", "VH", "S2ndvi"):
        ds[name].values[3, 5, 6] = 0.0
    ds.to_netcdf(tmp_path / "fill.nc", encoding={"VV": {"_FillValue": -9999.0}})
    made = cube.open_cube(tmp_path / "fill.nc")
    repairs = made.attrs["s1jax_repairs"]
    assert "VV: 3 values of nodata -9999 are missing" in repairs
    assert "VH: 1 values of +-inf are missing" in repairs
    assert "S2ndvi: 1 values of nodata -32768 are missing" in repairs
    assert "1 pixels x days are exactly 0 in all bands" in repairs
    assert [int(made[n].isnull().sum()) for n in ("VV", "VH", "S2ndvi")] == [4, 2, 2]
    assert "nodata" not in made.S2ndvi.attrs
