"""Values that are none: infinite, declared fills, and the fills that many files do not declare."""

import numpy as np
import xarray as xr
from jaxtyping import Float, Int, Shaped

DECLARED = ("_FillValue", "missing_value", "nodata")
"""Attributes that tell a fill."""
SENTINELS = (-9999.0, -32768.0)
"""Fills taken for such though no attribute says so."""
LARGEST = 1e30
"""Sizes from here on are fills too (NetCDF's default is 9.97e36)."""


def fills(variable: xr.Variable) -> list[float]:
    """The fills that a variable's attributes, or its encoding where it was not scaled, declare."""
    sources = [variable.attrs]
    # decoding has applied the fill of a packed variable, and it is told in packed units
    if not {"scale_factor", "add_offset"} & set(variable.encoding):
        sources.append(variable.encoding)
    declared = [source[key] for source in sources for key in DECLARED if key in source]
    values = [value for one in declared for value in np.atleast_1d(one).astype(float).tolist()]
    return sorted({value for value in values if np.isfinite(value)})


def cleaned(
    value: Shaped[np.ndarray, "pixel time"], fill: list[float]
) -> tuple[Float[np.ndarray, "pixel time"], Int[np.ndarray, "pixel"]]:
    """Values in float64, NaN where missing, and how many that were not NaN became so, by pixel.

    Args:
      value: of any real dtype.
      fill: declared fills, compared in the dtype of `value`.
    """
    found = value.astype(np.float64)
    bad = np.isinf(found) | (np.abs(found) >= LARGEST)
    # a fill that is not exact in single precision was rounded when it was written
    kind = value.dtype if value.dtype.kind == "f" else np.dtype(float)
    for one in {*fill, *SENTINELS}:
        bad |= found == float(np.asarray(one, kind))
    found[bad] = np.nan
    return found, bad.sum(axis=1)
