"""Simulated scenes and acquisitions as cubes: the one file here that knows xarray."""

import jax
import numpy as np
import xarray as xr

from s1jax.cube.dates import from_days
from s1jax.cube.grid import with_grid_mapping
from s1jax.simulate.config import SceneConfig
from s1jax.simulate.scene import Acquisitions, Scene, scene

_SMALL = SceneConfig(height=64, width=72)
_CUBE, _GRID = ("t", "y", "x"), ("y", "x")


def cube(config: SceneConfig = _SMALL, *, seed: int = 0) -> xr.Dataset:
    """Cube of a simulated region, which `open_cube` takes: something to try methods on."""
    return to_dataset(scene(jax.random.key(seed), config))


def to_dataset(simulated: Scene | Acquisitions, *, pixel_m: float | int = 50.0) -> xr.Dataset:
    """Cube near Demak, EPSG:32749, y descending, as an export would give it: nothing is repaired.

    `truth` (t, y, x) is the true NDVI, `mask` the paddy mask. Of a scene, `class` is the land cover
    and `tertiary` the irrigation block (not a split group); of acquisitions, `s1_track` (t) is the
    orbit of each date, 0 without radar.

    Args:
      simulated: of `simulate.scene` or `simulate.acquisitions`.
      pixel_m: size of a pixel, metres.
    """
    bands = {"VV": simulated.vv_db, "VH": simulated.vh_db}
    coords, of_scene = {}, {}
    if isinstance(simulated, Acquisitions):
        coords = {"s1_track": ("t", simulated.track)}
    else:
        if simulated.vv_2_db is not None:
            bands |= {"VV_2": simulated.vv_2_db, "VH_2": simulated.vh_2_db}
        block = {"long_name": "tertiary irrigation block"}
        of_scene = {
            "class": (_GRID, np.asarray(simulated.kind)),
            "tertiary": (_GRID, np.asarray(simulated.block), block),
        }
    truth = {"units": "1", "long_name": "true NDVI"}
    height, width = simulated.mask.shape
    ds = xr.Dataset(
        {
            **{name: (_CUBE, np.asarray(db), {"units": "dB"}) for name, db in bands.items()},
            "S2ndvi": (_CUBE, np.asarray(simulated.ndvi), {"units": "1"}),
            "truth": (_CUBE, np.asarray(simulated.truth), truth),
            "mask": (_GRID, np.asarray(simulated.mask, bool), {"long_name": "paddy"}),
            **of_scene,
        },
        coords={
            "t": from_days(np.asarray(simulated.day)),
            **coords,
            "y": ("y", 9_230_000.0 - pixel_m * (np.arange(height) + 0.5), {"units": "m"}),
            "x": ("x", 460_000.0 + pixel_m * (np.arange(width) + 0.5), {"units": "m"}),
        },
        attrs={"crs": "EPSG:32749", "source": "s1jax.simulate"},
    )
    return with_grid_mapping(ds)
