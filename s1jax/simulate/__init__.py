"""Simulated Demak: calendar -> leaf area -> NDVI and backscatter -> clouds, speckle, composites.

`scene(key, SceneConfig())` is a cube with its truth, `acquisitions` the images it is made of, and
`to_dataset` either as a labelled cube. The files below are pure functions: `land.landscape` and
`weather.weather` draw a region, `crops.field_state` is a field on any day, `optics.truth` the NDVI
of any day, `radar.s1_image` and `optics.s2_image` are one acquisition each.
"""

from s1jax.simulate.config import SceneConfig
from s1jax.simulate.export import cube, to_dataset
from s1jax.simulate.optics import truth
from s1jax.simulate.scene import Acquisitions, Scene, acquisitions, scene

__all__ = [
    "Acquisitions",
    "Scene",
    "SceneConfig",
    "acquisitions",
    "cube",
    "scene",
    "to_dataset",
    "truth",
]
