"""What the variables and dimensions of a cube are called, and what they came as."""

import re

import xarray as xr

VARIABLES = {
    "VV": ("vv", "sigma0_vv", "gamma0_vv"),
    "VH": ("vh", "sigma0_vh", "gamma0_vh"),
    "S2ndvi": ("s2ndvi", "ndvi", "s2_ndvi"),
}
"""The three variables of a cube and the names they are also known by, in any case of letters."""

DIMENSIONS = {
    "t": ("time", "date", "index"),
    "y": ("lat", "latitude", "northing"),
    "x": ("lon", "longitude", "easting"),
}
"""The three dimensions of a cube and the names they are also known by, in any case of letters."""


def variable_of(name: str) -> str | None:
    """VV, VH or S2ndvi, whichever `name` is an alias of; None where it is none."""
    for variable, aliases in VARIABLES.items():
        if name == variable or name.lower() in aliases:
            return variable
    return None


def sentinel1(ds: xr.Dataset) -> list[str]:
    """Names of the radar variables, VV, VH [, VV_2, VH_2, ...]: one pair for each orbit."""
    names = [name for name in ds.data_vars if re.fullmatch(r"V[VH](_\d+)?", str(name))]

    def _order(name: str) -> tuple[int, bool]:
        head, _, orbit = name.partition("_")
        return int(orbit or 1), head == "VH"

    return sorted(names, key=_order)


def channels(ds: xr.Dataset) -> list[str]:
    """Names of the variables in the order of the channels of a Series: radar, then S2ndvi."""
    return [*sentinel1(ds), "S2ndvi"]


LOOKS = ("smooth", "wide")
"""Suffixes of the speckle-filtered variables that stand beside a radar variable."""


def standard_names(ds: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
    """The cube with dims (t, y, x) and variables VV, VH, S2ndvi by those names, and what was said.

    Raises:
      ValueError: a dimension or a variable is missing, twice there, or has other dimensions.
    """
    said = []
    for name, aliases in DIMENSIONS.items():
        found = [str(dim) for dim in ds.dims if dim == name or str(dim).lower() in aliases]
        if name not in found and len(found) == 1:
            ds = ds.rename({found[0]: name})
            said.append(f"dimension {found[0]} is taken as {name}")
            if found[0].lower() in ("lat", "latitude") and "crs" not in ds.attrs:
                ds = ds.assign_attrs(crs="EPSG:4326")
        elif name not in found:
            raise ValueError(f"dimension {name}: got {sorted(map(str, ds.dims))}, expected t, y, x")
    for name in VARIABLES:
        found = [str(key) for key in ds.data_vars if variable_of(str(key)) == name]
        if name not in found and len(found) == 1:
            ds = ds.rename({found[0]: name})
            said.append(f"variable {found[0]} is taken as {name}")
        elif name not in found:
            got = found or sorted(map(str, ds.data_vars))
            raise ValueError(f"variable {name}: got {got}, expected exactly one of that name")
        if set(ds[name].dims) != {"t", "y", "x"}:
            raise ValueError(f"{name}: got dims {ds[name].dims}, expected ('t', 'y', 'x')")
    for name in map(str, ds.data_vars):
        pair = name.replace("VV_", "VH_") if name.startswith("VV_") else name.replace("VH_", "VV_")
        if name[:3] in ("VV_", "VH_") and pair not in ds.data_vars:
            raise ValueError(f"{name}: got no {pair}, expected both polarisations of an orbit")
    return ds.transpose("t", "y", "x", ...), said
