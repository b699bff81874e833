"""MOGPR where openEO runs it: beside the data, as a user-defined function (`mogpr_udf`).

`pip install "s1jax[openeo]"` brings openEO's client. The back end that runs the function needs
s1jax too: it is no part of openEO.
"""

import inspect
from typing import Any

import openeo
from openeo.rest.datacube import DataCube

from s1jax.fusets.mogpr import refuse
from s1jax.fusets.openeo import mogpr_udf
from s1jax.fusets.openeo.mogpr_udf import OPTIONS

SIDE = 32
"""Pixels a side of what the back end fuses at a time, as in the service that FuseTS published."""


def load_mogpr_udf() -> str:
    """The text of `mogpr_udf`, for `openeo.UDF` and `execute_local_udf`."""
    return inspect.getsource(mogpr_udf)


def mogpr(datacube: Any, side: int = SIDE, **context: Any) -> DataCube:
    """The openEO cube of <v>_FUSED, and on request <v>_STD, <v>_RAW and QUALITY, not yet computed.

    The back end runs `mogpr_udf` on squares of `side` pixels, each fitted on its own.
    `hyper="region.npz"`, a file that the back end can read, gives all of them one model.

    Args:
      datacube: an `openeo.rest.datacube.DataCube` of the bands to fuse, on t, x and y.
      side: pixels a side of a square.
      context: keywords of `s1jax.fusets.mogpr.mogpr` that JSON can hold; prediction_period is 5D
        where it is not given, as in FuseTS, and None for the dates of the cube.

    Raises:
      TypeError: an unknown keyword, or no openEO cube.
    """
    if not isinstance(datacube, DataCube):
        expected = "openeo.rest.datacube.DataCube; s1jax.fusets.mogpr takes an xarray.Dataset"
        raise TypeError(f"datacube: got {type(datacube).__name__}, expected {expected}")
    refuse("mogpr", context, list(OPTIONS))
    return datacube.apply_neighborhood(
        openeo.UDF(  # pyright: ignore[reportPrivateImportUsage] (its public name)
            load_mogpr_udf(), runtime="Python", context=context
        ),
        size=[{"dimension": dim, "value": side, "unit": "px"} for dim in ("x", "y")],
        overlap=[],
    )
