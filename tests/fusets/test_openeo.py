"""What openEO runs: its own local execution of the function, bands and metadata beside it."""

import inspect

import numpy as np
import pytest
import xarray as xr

from s1jax.fusets.mogpr import MOGPRTransformer, mogpr
from tests.worlds.fusets import NAMES, cube

pytest.importorskip("openeo", reason='openEO is not installed: pip install "s1jax[openeo]"')
from openeo import UDF
from openeo.internal.graph_building import PGNode
from openeo.metadata import (
    Band,
    BandDimension,
    CollectionMetadata,
    SpatialDimension,
    TemporalDimension,
)
from openeo.rest.datacube import DataCube
from openeo.udf import XarrayDataCube, execute_local_udf

from s1jax.fusets import openeo as room
from s1jax.fusets.openeo import mogpr_udf

FAST = {"optimize": False, "latents": 1}
ALL = {"include_uncertainties": True, "include_raw_inputs": True}


def _bands(names=("S2ndvi", "VH")):
    """An openEO array (t, bands, y, x), and the Dataset of it."""
    ds = cube(2, 3)[0][list(names)]
    return ds.to_array(dim="bands").transpose("t", "bands", "y", "x"), ds


def _metadata(names=("S2ndvi", "VH")):
    bands = BandDimension("bands", [Band(name, gsd=10) for name in names])
    time = TemporalDimension("t", ["2023-11-07", "2024-05-05"])
    space = [SpatialDimension(axis, [0, 1]) for axis in ("x", "y")]
    return CollectionMetadata({}, dimensions=[*space, time, bands])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("context", "suffixes", "dates"),
    [
        ({}, ["FUSED"], 37),
        ({"include_uncertainties": True}, ["FUSED", "STD"], 37),
        ({"prediction_period": "P10D"}, ["FUSED"], 19),
        ({**ALL, "prediction_period": None}, ["FUSED", "STD", "RAW"], 16),
        # every fifth day, and the twelve dates of the cube that are none of them
        (ALL, ["FUSED", "STD", "RAW"], 49),
    ],
)
def test_openeo_runs_the_function(context, suffixes, dates):
    array, ds = _bands()
    context = {**FAST, **context}
    udf = UDF(room.load_mogpr_udf(), runtime="Python", context=context)
    (result,) = execute_local_udf(udf, array).get_datacube_list()
    out = result.get_array()
    assert out.dims == array.dims
    assert out.dtype == np.float32
    labels = [f"{name}_{suffix}" for suffix in suffixes for name in ("S2ndvi", "VH")]
    assert out["bands"].values.tolist() == labels
    assert out.sizes["t"] == dates
    # the numbers are those of a call on the Dataset
    direct = mogpr(ds.astype(float), **{"prediction_period": "5D", **context})
    for label in labels:
        expected = direct[label].transpose("t", "y", "x")
        np.testing.assert_allclose(out.sel(bands=label), expected, rtol=1e-6)
    described = mogpr_udf.apply_metadata(_metadata(), context)
    assert [band.name for band in described.bands] == labels
    assert described.bands[0].gsd == 10
    assert described.temporal_dimension.extent == ["2023-11-07", "2024-05-05"]


@pytest.mark.slow
def test_a_file_on_disk_is_run_too(tmp_path):
    array, _ = _bands()
    xr.Dataset(
        {name: array.sel(bands=name, drop=True) for name in array["bands"].values}
    ).to_netcdf(tmp_path / "cube.nc", engine="h5netcdf")
    udf = UDF.from_file(inspect.getsourcefile(mogpr_udf), context=FAST)
    done = execute_local_udf(udf, tmp_path / "cube.nc", fmt="netcdf").get_datacube_list()[0]
    expected = mogpr_udf.apply_datacube(XarrayDataCube(array), FAST).get_array()
    np.testing.assert_allclose(done.get_array().values, expected.values, rtol=1e-5)


def test_chosen_bands_have_the_order_of_the_cube():
    array, _ = _bands(NAMES)
    context = {**FAST, "variables": ["S2ndvi", "VV"], "include_quality": True}
    out = mogpr_udf.apply_datacube(XarrayDataCube(array), context).array
    assert out["bands"].values.tolist() == ["VV_FUSED", "S2ndvi_FUSED", "QUALITY"]
    described = mogpr_udf.apply_metadata(_metadata(NAMES), context)
    assert [band.name for band in described.bands] == out["bands"].values.tolist()


@pytest.mark.parametrize("labels", [None, [1, 2]])
def test_bands_without_text_for_a_name(labels):
    array, _ = _bands()
    array = array.drop_vars("bands") if labels is None else array.assign_coords(bands=labels)
    out = mogpr_udf.apply_datacube(XarrayDataCube(array), FAST).array
    first = 0 if labels is None else 1
    assert out["bands"].values.tolist() == [f"{first}_FUSED", f"{first + 1}_FUSED"]


def test_what_cannot_be_run_is_named():
    array, _ = _bands()
    with pytest.raises(ValueError, match=r"context: got \['include_std'\], expected .*'include_r"):
        mogpr_udf.apply_datacube(XarrayDataCube(array), {"include_std": True})
    with pytest.raises(ValueError, match="context: got"):
        mogpr_udf.apply_metadata(_metadata(), {"period": "5D"})
    with pytest.raises(ValueError, match=r"variables: got \['NDVI'\], expected some of .*S2ndvi"):
        mogpr_udf.apply_metadata(_metadata(), {"variables": ["NDVI"]})
    with pytest.raises(ValueError, match=r"cube: got dimensions \('t', 'y', 'x'\)"):
        mogpr_udf.apply_datacube(XarrayDataCube(array.isel(bands=0)), {})
    with pytest.raises(TypeError, match=r"pass array\.get_array\(\)\.to_dataset\(dim='bands'\)"):
        mogpr(XarrayDataCube(array))


def _remote():
    node = PGNode("load_collection", id="S2", spatial_extent=None, temporal_extent=None)
    return DataCube(node, connection=None, metadata=_metadata())


def test_a_remote_cube_is_fused_where_it_is():
    with pytest.raises(TypeError, match=r"openeo.*DataCube, .* s1jax\.fusets\.openeo\.mogpr"):
        MOGPRTransformer().fit_transform(_remote())
    graph = room.mogpr(_remote(), prediction_period="P5D", **ALL).flat_graph()
    applied = graph["applyneighborhood1"]["arguments"]
    assert [(each["dimension"], each["value"]) for each in applied["size"]] == [
        ("x", 32), ("y", 32),
    ]  # fmt: skip
    (call,) = applied["process"]["process_graph"].values()
    assert call["process_id"] == "run_udf"
    assert call["arguments"]["context"] == {"prediction_period": "P5D", **ALL}
    # what is sent is what runs
    array, _ = _bands()
    done = execute_local_udf(UDF(call["arguments"]["udf"], context=FAST), array)
    assert done.get_datacube_list()[0].array.sizes["bands"] == 2
    with pytest.raises(TypeError, match=r"unknown keyword\(s\) period; valid are variables"):
        room.mogpr(_remote(), period="P5D")
    with pytest.raises(TypeError, match=r"datacube: got Dataset, expected openeo.*xarray.Dataset"):
        room.mogpr(cube()[0])
