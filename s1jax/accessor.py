"""`ds.s1jax.fill(...)` and `ds.s1jax.fit(...)`: the postcard as an accessor of xarray.

import s1jax.accessor
"""

from typing import Any

import xarray as xr

from s1jax.model import Model, fill, fit


@xr.register_dataset_accessor("s1jax")
class Accessor:
    """The calls of `s1jax` with this Dataset as the first argument."""

    def __init__(self, ds: xr.Dataset) -> None:
        """Keep the cube."""
        self._ds = ds

    def fit(self, *args: Any, **options: Any) -> Model:
        """`s1jax.fit` of this cube."""
        return fit(self._ds, *args, **options)

    def fill(self, *args: Any, **options: Any) -> xr.Dataset:
        """`s1jax.fill` of this cube."""
        return fill(self._ds, *args, **options)
