"""Small cubes as users of FuseTS have them: VV, VH, S2ndvi on (t, y, x), drawn from the model."""

import numpy as np
import xarray as xr

from s1jax import gp
from tests.worlds.gp_oracle import draw

HYPER = gp.Hyper(
    np.array([50.0]),
    np.array([[0.5, 0.7, 0.8]]),
    np.array([[0.1, 0.1, 0.1]]),
    np.array([0.4, 0.3, 0.1]),
)
MEAN, STD = np.array([-11.0, -17.0, 0.4]), np.array([2.0, 2.0, 0.15])
NAMES = ["VV", "VH", "S2ndvi"]


def cube(height=3, width=4, dates=16, seed=0, dtype=np.float32):
    """Cube with clouds, and its true NDVI (t, y, x)."""
    rng = np.random.default_rng(seed)
    day = 12.0 * np.arange(dates)
    latent, value = draw(rng, HYPER, day, height * width)
    value[..., 2][rng.random(value.shape[:2]) < 0.5] = np.nan
    value, truth = (
        np.moveaxis((leaf * STD + MEAN).reshape(height, width, dates, 3), 2, 0)
        for leaf in (value, latent)
    )
    t = np.datetime64("2023-11-07", "ns") + day.astype(int) * np.timedelta64(1, "D")
    coords = {"t": t, "y": -7.0 - np.arange(height), "x": 110.0 + np.arange(width)}
    arrays = {
        n: (("t", "y", "x"), value[..., d].astype(dtype), {"units": u})
        for d, (n, u) in enumerate(zip(NAMES, ("dB", "dB", "1"), strict=True))
    }
    return xr.Dataset(arrays, coords), truth[..., 2]


def same(one, other):
    """Assert that two results are equal to the last bit, names, dims and coordinates too."""
    xr.testing.assert_identical(one.compute().drop_attrs(), other.compute().drop_attrs())
    for name in one.data_vars:
        assert one[name].dtype == other[name].dtype
