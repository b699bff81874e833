"""MOGPR as FuseTS offers it: its calls, its names, its signatures; our model, speed and bands.

`from s1jax.fusets.mogpr import mogpr, mogpr_1D, MOGPRTransformer` is what FuseTS' users write, with
one word more; `from s1jax.fusets import ...` gives the same three. `s1jax.fusets.mogpr` is thus the
function. `CropSARFusion`, a network over squares of the map, has the shape of these calls.
"""

from s1jax.fusets.cropsar import CropSARFusion
from s1jax.fusets.mogpr import MOGPRTransformer, mogpr, mogpr_1D

__all__ = ["CropSARFusion", "MOGPRTransformer", "mogpr", "mogpr_1D"]
