"""Cloud-free NDVI for every pixel from Sentinel-1 radar and sparse Sentinel-2, with error bar.

`open_cube` reads and repairs a file; `cube.align_cube` and `cube.to_series` make arrays of it, a
`Series`; an `Estimator` (of `mogpr`, `networks`, `baselines`) fits and predicts; `tiles.fill` maps
a region. Importing s1jax imports nothing heavy and changes no setting: rooms open when entered.
"""

from importlib import import_module

_ROOMS = (
    "align", "arrays", "baselines", "chunks", "cube", "doctor", "features", "files", "forked",
    "fusets", "gp", "hiding", "hybrid", "indices", "metrics", "mogpr", "nets", "networks",
    "phenology", "plots", "progress", "simulate", "speckle", "tiles", "train", "types",
)  # fmt: skip
_NAMES = {
    "open_cube": "cube",
    "Series": "types",
    "Estimate": "types",
    "Estimator": "types",
    "pretrained": "networks",
}

__all__ = ["Estimate", "Estimator", "Series", "open_cube", "pretrained"]


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
