"""Patch models in the manner of CropSAR: networks that see the neighbours of a pixel."""

from s1jax.networks.patch.estimator import CropsarParams, cropsar

__all__ = ["CropsarParams", "cropsar"]
