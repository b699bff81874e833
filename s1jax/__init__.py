"""Cloud-free NDVI for every pixel from Sentinel-1 radar and sparse Sentinel-2, with error bar.

    ds = s1jax.open_cube("cube.nc")
    model = s1jax.fit(ds, "mogpr")
    filled = s1jax.fill(ds, model, to="ndvi.zarr")

Below that, `cube.align_cube` and `cube.to_series` make arrays of a cube, a `Series`; an `Estimator`
(of `mogpr`, `networks`, `baselines`) fits and predicts; `regions.map_region` maps a region.
Importing s1jax imports nothing heavy and changes no setting: rooms open when entered.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s1jax.cube import open_cube
    from s1jax.model import Model, fill, fit, load, save
    from s1jax.networks import pretrained
    from s1jax.types import Estimate, Estimator, Series

_ROOMS = (
    "accessor", "arrays", "baselines", "batching", "cards", "commands", "compositing", "cube",
    "doctor", "estimators", "extrapolation", "features", "files", "fusets", "gp",
    "masking", "methods", "metrics", "model", "mogpr", "networks", "phenology", "plots",
    "quality", "regions", "saving", "simulate", "train", "types",
)  # fmt: skip
_NAMES = {
    "open_cube": "cube",
    "fill": "model",
    "fit": "model",
    "load": "model",
    "save": "model",
    "Model": "model",
    "Series": "types",
    "Estimate": "types",
    "Estimator": "types",
    "pretrained": "networks",
}

__all__ = [
    "Estimate", "Estimator", "Model", "Series", "fill", "fit", "load", "open_cube", "pretrained",
    "save",
]  # fmt: skip


def __getattr__(name: str):
    """A room of the house, or a public name from its room, imported at first use."""
    if name in _NAMES:
        return getattr(import_module(f"s1jax.{_NAMES[name]}"), name)
    if name in _ROOMS:
        return import_module(f"s1jax.{name}")
    raise AttributeError(f"module 's1jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    """All rooms and public names."""
    return sorted([*globals(), *_ROOMS, *_NAMES])
