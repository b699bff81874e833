"""What the variables and dimensions of a cube are called, and what they came as."""

import re
from collections.abc import Collection

import xarray as xr

from s1jax.cube.notes import NAMED

VARIABLES = {
    "VV": ("vv", "sigma0_vv", "gamma0_vv", "vv_sigma0", "vv_gamma0", "s1_vv", "s1vv"),
    "VH": ("vh", "sigma0_vh", "gamma0_vh", "vh_sigma0", "vh_gamma0", "s1_vh", "s1vh"),
    "S2ndvi": ("s2ndvi", "ndvi", "s2_ndvi", "ndvi_s2"),
}
"""The three variables of a cube and the names they are also known by, in any case of letters.

A radar name may have _2 to _9 behind it, the number of an orbit, and _db, which declares its
unit, in either order."""

DIMENSIONS = {
    "t": ("time", "date", "index"),
    "y": ("lat", "latitude", "northing"),
    "x": ("lon", "longitude", "easting"),
}
"""The three dimensions of a cube and the names they are also known by, in any case of letters."""

BANDS = ("bands", "band")
"""Dimension of named bands; without names and beside no other time it is the time."""

_RADAR = re.compile(
    r"(?P<name>.*?)(_(?P<orbit>[2-9]))?(?P<db>_db)?(_(?P<behind>[2-9]))?", re.DOTALL
)

LOOKS = ("smooth", "wide")
"""Suffixes of the speckle-filtered variables that stand beside a radar variable."""


def variable_of(name: str) -> str | None:
    """VV, VH, S2ndvi, or VV_2, ... of another orbit, that `name` is called; None where none."""
    lower = name.lower()
    if lower in VARIABLES["S2ndvi"]:
        return "S2ndvi"
    parts = _RADAR.fullmatch(lower)
    for variable in ("VV", "VH"):
        if parts["name"] in VARIABLES[variable]:
            orbit = parts["orbit"] or parts["behind"]
            return f"{variable}_{orbit}" if orbit else variable
    return None


def unit_of(name: str) -> str | None:
    """dB where the name of a radar variable says so, as VV_dB does; else None."""
    parts = _RADAR.fullmatch(name.lower())
    return "dB" if parts["db"] and variable_of(name) not in (None, "S2ndvi") else None


def in_order(names: Collection) -> list[str]:
    """VV, VH [, VV_2, VH_2, ...], then S2ndvi: those that are among `names`."""

    def _order(name: str) -> tuple[int, bool]:
        head, _, orbit = name.partition("_")
        return int(orbit or 1), head == "VH"

    radar = {str(name) for name in names if re.fullmatch(r"V[VH](_\d+)?", str(name))}
    return [*sorted(radar, key=_order), *(["S2ndvi"] if "S2ndvi" in names else [])]


def sentinel1(ds: xr.Dataset) -> list[str]:
    """Names of the radar variables, VV, VH [, VV_2, VH_2, ...]: one pair for each orbit."""
    return [name for name in in_order(ds.data_vars) if name != "S2ndvi"]


def channels(ds: xr.Dataset) -> list[str]:
    """Names of the variables in the order of the channels of a Series: radar, then S2ndvi."""
    return [*sentinel1(ds), "S2ndvi"]


def present(ds: xr.Dataset) -> list[str]:
    """Those of `channels` that the cube has: one sensor's file lacks the other's."""
    return [name for name in channels(ds) if name in ds.data_vars]


def standard_names(
    ds: xr.Dataset, *, needed: Collection[str] = tuple(VARIABLES)
) -> tuple[xr.Dataset, list[str]]:
    """The cube with dims (t, y, x) and variables VV, VH, S2ndvi by those names, and what was said.

    Args:
      ds: any Dataset.
      needed: variables that must be there; the others may.

    Raises:
      ValueError: a dimension or a variable is missing, twice there, or has other dimensions.
    """
    ds, said = _bands_apart(ds)
    for name, found in _dimensions(ds).items():
        if name not in found and len(found) == 1:
            ds = ds.rename({found[0]: name})
            system = ""
            if found[0].lower() in ("lat", "latitude") and "crs" not in ds.attrs:
                ds, system = ds.assign_attrs(crs="EPSG:4326"), ", CRS EPSG:4326 unless it has one"
            said.append(f"{NAMED}dimension {found[0]} is taken as {name}{system}")
        elif name not in found:
            raise ValueError(f"dimension {name}: got {sorted(map(str, ds.dims))}, expected t, y, x")
    stray = [name for name in BANDS if name in ds.coords and ds[name].ndim == 0]
    if stray:
        ds = ds.drop_vars(stray)
        said.append(f"{NAMED}coordinate {', '.join(stray)} of one value is left out")
    for name in dict.fromkeys(
        [*VARIABLES, *filter(None, map(variable_of, map(str, ds.data_vars)))]
    ):
        ds, renamed = _variable(ds, name, needed)
        said += renamed
    if not present(ds):
        got = sorted(map(str, ds.data_vars))
        raise ValueError(f"variables: got {got}, expected one of {', '.join(VARIABLES)}")
    for name in map(str, ds.data_vars):
        pair = name.replace("VV_", "VH_") if name.startswith("VV_") else name.replace("VH_", "VV_")
        if name[:3] in ("VV_", "VH_") and pair not in ds.data_vars:
            raise ValueError(f"{name}: got no {pair}, expected both polarisations of an orbit")
    return ds.transpose("t", "y", "x", ...), said


def stored_chunks(ds: xr.Dataset, chunks: dict) -> dict:
    """Sizes of chunks of (t, y, x) by the names that the dimensions have in `ds`."""
    stored = {name: found[0] for name, found in _dimensions(ds).items() if len(found) == 1}
    return {stored.get(name, name): size for name, size in chunks.items()}


def _dimensions(ds):
    """Names in `ds` that each of t, y, x may have."""
    found = {
        name: [str(dim) for dim in ds.dims if dim == name or str(dim).lower() in aliases]
        for name, aliases in DIMENSIONS.items()
    }
    # planes piled up without a time: GDAL counts them as bands
    return found | {"t": found["t"] or [name for name in BANDS if name in ds.dims]}


def _variable(ds, name, needed):
    """`name` under that name, whichever of its aliases it came as."""
    found = [str(key) for key in ds.data_vars if variable_of(str(key)) == name]
    said = []
    if name not in found and len(found) == 1:
        ds = ds.rename({found[0]: name})
        said.append(f"{NAMED}variable {found[0]} is taken as {name}")
        if unit_of(found[0]) and not ds[name].attrs.get("units"):
            ds = ds.assign({name: ds[name].assign_attrs(units=unit_of(found[0]))})
            said[-1] += ", in dB"
    elif name not in found and (found or name in needed):
        got = found or sorted(map(str, ds.data_vars))
        raise ValueError(f"variable {name}: got {got}, expected exactly one of that name")
    if name in ds.data_vars and set(ds[name].dims) != {"t", "y", "x"}:
        raise ValueError(f"{name}: got dims {ds[name].dims}, expected ('t', 'y', 'x')")
    return ds, said


def _bands_apart(ds):
    """Each named band of a variable on `bands` as a variable of its own."""
    for name, variable in ds.data_vars.items():
        dim = next((d for d in BANDS if d in variable.dims), None)
        if dim is None or dim not in ds.coords or ds[dim].dtype.kind not in "USOT":
            continue
        labels = [str(label) for label in ds[dim].values]
        apart = {label: variable.isel({dim: k}, drop=True) for k, label in enumerate(labels)}
        for band in apart.values():
            # declared of all bands at once, units are wrong of radar or of NDVI
            band.attrs.pop("units", None)
        if len(apart) < len(labels):
            raise ValueError(f"{dim}: got {labels}, expected each name once")
        rest = ds.drop_vars([name, dim])
        clash = sorted(set(apart) & set(map(str, rest.variables)))
        if clash:
            raise ValueError(f"{dim}: got {clash} as bands and as variables, expected one of each")
        return rest.assign(apart), [f"{NAMED}dimension {dim} is taken apart into {labels}"]
    return ds, []
