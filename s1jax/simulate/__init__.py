"""Simulated Demak: calendar -> leaf area -> NDVI and backscatter -> clouds, speckle, composites.

`scene(key, SceneConfig())` gives a cube with its truth, `acquisitions` the images it is made of.
Below them are pure functions that can be used alone: `landscape` and `weather` draw the country,
`field_state` says how a field stands on any day, `truth` gives the NDVI of any day, `s1_image` and
`s2_image` one acquisition each.
"""

from s1jax.simulate.acquisitions import Acquisitions, acquisitions
from s1jax.simulate.climate import Passes, Weather, passes, weather, wetness
from s1jax.simulate.clouds import Sky, power_law_field, sky
from s1jax.simulate.composite import Scene, scene
from s1jax.simulate.config import DRY, POND, RICE, START, TREE, URBAN, SceneConfig
from s1jax.simulate.crops import Crop, Field, FieldState, crop_state, field_state
from s1jax.simulate.optics import reflectance, s2_image, truth
from s1jax.simulate.radar import backscatter, s1_image, speckle
from s1jax.simulate.terrain import Landscape, landscape

__all__ = [
    "DRY",
    "POND",
    "RICE",
    "START",
    "TREE",
    "URBAN",
    "Acquisitions",
    "Crop",
    "Field",
    "FieldState",
    "Landscape",
    "Passes",
    "Scene",
    "SceneConfig",
    "Sky",
    "Weather",
    "acquisitions",
    "backscatter",
    "crop_state",
    "field_state",
    "landscape",
    "passes",
    "power_law_field",
    "reflectance",
    "s1_image",
    "s2_image",
    "scene",
    "sky",
    "speckle",
    "truth",
    "weather",
    "wetness",
]
