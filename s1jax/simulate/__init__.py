"""Simulated Demak: calendar -> leaf area -> NDVI and backscatter -> clouds, speckle, composites.

`scene(key, SceneConfig())` is a cube with its truth, `acquisitions` the images it is made of, and
`to_dataset` either as a labelled cube. The files below are pure functions of arrays:
`land.landscape` and `weather.weather` draw a region, `land.field_state` is a field on any day,
`images.truth` the NDVI of any day, `images.s1_image` and `images.s2_image` one acquisition each.
"""

import jax
import numpy as np
import xarray as xr

from s1jax.cube.dates import from_days
from s1jax.cube.grid import with_grid_mapping
from s1jax.simulate.config import SceneConfig
from s1jax.simulate.images import truth
from s1jax.simulate.scene import Region, Scene, acquisitions, scene

__all__ = ["Region", "Scene", "SceneConfig", "acquisitions", "cube", "scene", "to_dataset", "truth"]

_SMALL = SceneConfig(height=64, width=72)
_CUBE, _GRID = ("t", "y", "x"), ("y", "x")


def cube(config: SceneConfig = _SMALL, *, seed: int = 0) -> xr.Dataset:
    """Cube of a simulated region, which `open_cube` takes: something to try methods on."""
    return to_dataset(scene(jax.random.key(seed), config))


def to_dataset(simulated: Scene, *, pixel_m: float | int = 50.0) -> xr.Dataset:
    """Cube near Demak, EPSG:32749, y descending, as an export would give it: nothing is repaired.

    `truth` (t, y, x) is the true NDVI, `mask` the paddy mask. Of composites, `class` is the land
    cover and `tertiary` the irrigation block (not a split group); of single images, `s1_track` (t)
    is the orbit of each date, 0 without radar. A pixel is `pixel_m` metres wide.
    """
    region = simulated.region
    height, width = region.mask.shape
    data = {
        "VV": (_CUBE, simulated.vv_db, {"units": "dB"}),
        "VH": (_CUBE, simulated.vh_db, {"units": "dB"}),
        "VV_2": (_CUBE, simulated.vv_2_db, {"units": "dB"}),
        "VH_2": (_CUBE, simulated.vh_2_db, {"units": "dB"}),
        "S2ndvi": (_CUBE, simulated.ndvi, {"units": "1"}),
        "truth": (_CUBE, simulated.truth, {"units": "1", "long_name": "true NDVI"}),
        "mask": (_GRID, region.mask, {"long_name": "paddy"}),
    }
    coords = {
        "t": from_days(np.asarray(simulated.day)),
        "y": ("y", 9_230_000.0 - pixel_m * (np.arange(height) + 0.5), {"units": "m"}),
        "x": ("x", 460_000.0 + pixel_m * (np.arange(width) + 0.5), {"units": "m"}),
    }
    if simulated.track is None:
        data["class"] = (_GRID, region.kind)
        data["tertiary"] = (_GRID, region.block, {"long_name": "tertiary irrigation block"})
    else:
        coords["s1_track"] = ("t", simulated.track)
    data = {name: variable for name, variable in data.items() if variable[1] is not None}
    attrs = {"crs": "EPSG:32749", "source": "s1jax.simulate"}
    return with_grid_mapping(xr.Dataset(data, coords, attrs))
