"""What the variables and dimensions of a cube are called, and what they came as."""

import re
from collections.abc import Collection

import numpy as np
import xarray as xr

from s1jax.cube.findings import Finding, named

VARIABLES = {
    "VV": ("vv", "sigma0_vv", "gamma0_vv", "vv_sigma0", "vv_gamma0", "s1_vv", "s1vv"),
    "VH": ("vh", "sigma0_vh", "gamma0_vh", "vh_sigma0", "vh_gamma0", "s1_vh", "s1vh"),
    "S2ndvi": ("s2ndvi", "ndvi", "s2_ndvi", "ndvi_s2"),
}
"""The three variables of a cube and their other names, in any case of letters.

A radar name may have _2 to _9 behind it, the number of an orbit, and _db, which declares its
unit, in either order."""

RADAR = ("VV", "VH")
"""What every cube has; without S2ndvi it is one of radar alone."""

DIMENSIONS = {
    "t": ("time", "date", "index"),
    "y": ("lat", "latitude", "northing"),
    "x": ("lon", "longitude", "easting"),
}
"""The three dimensions of a cube and their other names, in any case of letters."""

BANDS = ("bands", "band")
"""Dimension of named bands; without names and beside no other time it is the time."""

_RADAR = re.compile(
    r"(?P<name>.*?)(_(?P<orbit>[2-9]))?(?P<db>_db)?(_(?P<behind>[2-9]))?", re.DOTALL
)

RADAR_ALONE = "radar alone"
"""Begins the finding about a cube without NDVI: worth a warning though no value changes."""

LOOKS = ("smooth", "wide")
"""Suffixes of the speckle-filtered variables that stand beside a radar variable."""


def variable_of(name: str) -> str | None:
    """VV, VH, S2ndvi, or VV_2, ... of another orbit, that `name` is called; None where none."""
    lower = name.lower()
    if lower in VARIABLES["S2ndvi"]:
        return "S2ndvi"
    parts = _RADAR.fullmatch(lower)
    for variable in ("VV", "VH"):
        if parts and parts["name"] in VARIABLES[variable]:
            orbit = parts["orbit"] or parts["behind"]
            return f"{variable}_{orbit}" if orbit else variable
    return None


def unit_of(name: str) -> str | None:
    """dB where the name of a radar variable says so, as VV_dB does; else None."""
    parts = _RADAR.fullmatch(name.lower())
    declared = parts and parts["db"] and variable_of(name) not in (None, "S2ndvi")
    return "dB" if declared else None


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
    ds: xr.Dataset, *, needed: Collection[str] = RADAR
) -> tuple[xr.Dataset, list[Finding]]:
    """The cube with dims (t, y, x) and variables VV, VH, S2ndvi by those names, and findings.

    Args:
      ds: any Dataset.
      needed: variables that must be there; the others may.

    Raises:
      ValueError: a dimension or a variable is missing, twice there, or has other dimensions, or
        values are no numbers.
    """
    ds, findings = _split_bands(_variables_apart(ds))
    for name, names in _dimensions(ds).items():
        if name not in names and len(names) != 1:
            raise ValueError(f"dimension {name}: got {sorted(map(str, ds.dims))}, expected t, y, x")
        if name not in names:
            ds = _without_scalar(ds, name).rename({names[0]: name})
            system = ""
            if names[0].lower() in ("lat", "latitude") and "crs" not in ds.attrs:
                ds, system = ds.assign_attrs(crs="EPSG:4326"), ", CRS EPSG:4326 unless it has one"
            findings.append(named(f"dimension {names[0]} is taken as {name}{system}"))
    stray = [name for name in BANDS if name in ds.coords and ds[name].ndim == 0]
    if stray:
        ds = ds.drop_vars(stray)
        findings.append(named(f"coordinate {', '.join(stray)} of one value is left out"))
    variables = filter(None, map(variable_of, map(str, ds.data_vars)))
    for name in dict.fromkeys([*VARIABLES, *variables]):
        ds, renamed = _variable(ds, name, needed)
        findings += renamed
    if not present(ds):
        got = sorted(map(str, ds.data_vars))
        raise ValueError(f"variables: got {got}, expected one of {', '.join(VARIABLES)}")
    for name in map(str, ds.data_vars):
        pair = name.replace("VV_", "VH_") if name.startswith("VV_") else name.replace("VH_", "VV_")
        if name[:3] in ("VV_", "VH_") and pair not in ds.data_vars:
            raise ValueError(f"{name}: got no {pair}, expected both polarisations of an orbit")
    for name, dims in (("truth", {"t", "y", "x"}), ("s1_track", {"t"})):
        if name in ds.variables and set(ds[name].dims) != dims:
            raise ValueError(f"{name}: got dims {ds[name].dims}, expected {sorted(dims)}")
    for name in {*present(ds), "truth"} & {*ds.variables}:
        dtype = ds[name].dtype
        if dtype.kind not in "iuf":
            hint = " (power of complex values: abs(z)**2)" if dtype.kind == "c" else ""
            got = f"values of {dtype}"
            raise ValueError(f"{name}: got {got}, expected numbers, as float32{hint}")
    return ds.transpose("t", "y", "x", ...), findings


def first_orbit(ds: xr.Dataset) -> tuple[xr.Dataset, list[Finding]]:
    """The cube whose first orbit is VV, VH, whichever number it came with; and findings.

    Raises:
      ValueError: it has no radar.
    """
    radar = sentinel1(ds)
    if not radar:
        raise ValueError("VV, VH: got no value in any orbit, expected some")
    if "VV" in radar or "VH" in radar:
        return ds, []
    pair, looks = radar[:2], ["", *(f"_{look}" for look in LOOKS)]
    new = {f"{name}{look}": f"{name[:2]}{look}" for name in pair for look in looks}
    ds = ds.rename({old: name for old, name in new.items() if old in ds})
    return ds, [named(f"{', '.join(pair)} are taken as VV, VH, which have no value")]


def with_labels(ds: xr.Dataset) -> tuple[xr.Dataset, list[Finding]]:
    """The cube with an S2ndvi that is missing everywhere where it is of radar alone; findings.

    Raises:
      ValueError: VV or VH is not there, or NDVI seems to be, under an unknown name.
    """
    got = sorted(map(str, ds.data_vars))
    for name in RADAR:
        if name not in ds.data_vars:
            raise ValueError(f"variable {name}: got {got}, expected exactly one of that name")
    if "S2ndvi" in ds.data_vars:
        return ds, []
    if like := [name for name in got if "ndvi" in name.lower()]:
        expected = "S2ndvi or NDVI by that name, or none for a cube of radar alone"
        raise ValueError(f"variable S2ndvi: got {', '.join(like)}, expected {expected}")
    nothing = xr.full_like(ds["VV"], np.nan, dtype=np.float32)
    nothing.attrs, nothing.encoding = {"units": "1"}, {}
    others = ", ".join(name for name in got if name not in sentinel1(ds)) or "nothing else"
    what = f"{RADAR_ALONE}: no variable S2ndvi beside it, but {others}"
    return ds.assign(S2ndvi=nothing), [named(what, "radar-alone")]


def stored_chunks(ds: xr.Dataset, chunks: dict) -> dict:
    """Sizes of chunks of (t, y, x) by the names that the dimensions have in `ds`."""
    stored = {name: names[0] for name, names in _dimensions(ds).items() if len(names) == 1}
    return {stored.get(name, name): size for name, size in chunks.items()}


def _dimensions(ds):
    """Names in `ds` that each of t, y, x may have."""
    names = {
        name: [str(dim) for dim in ds.dims if dim == name or str(dim).lower() in aliases]
        for name, aliases in DIMENSIONS.items()
    }
    # planes piled up without a time: GDAL counts them as bands
    return names | {"t": names["t"] or [name for name in BANDS if name in ds.dims]}


def _variable(ds, name, needed):
    """The cube with `name` under that name, whichever of its aliases it came as; findings."""
    names = [str(key) for key in ds.data_vars if variable_of(str(key)) == name]
    findings = []
    if len(names) > 1 or (not names and name in needed):
        got = names or sorted(map(str, ds.data_vars))
        raise ValueError(f"variable {name}: got {got}, expected exactly one of that name")
    if not names:
        return ds, []
    if names[0] != name:
        ds, unit = ds.rename({names[0]: name}), unit_of(names[0])
        unit = None if ds[name].attrs.get("units") else unit
        if unit:
            ds = ds.assign({name: ds[name].assign_attrs(units=unit)})
        what = f"variable {names[0]} is taken as {name}"
        findings.append(named(f"{what}, in {unit}" if unit else what))
    single = [d for d in ds[name].dims if d not in ("t", "y", "x") and ds.sizes[d] == 1]
    if single:
        ds = ds.assign({name: ds[name].isel(dict.fromkeys(single, 0), drop=True)})
        dims = ", ".join(map(str, single))
        findings.append(named(f"{name}: dimension {dims} of length 1 is left out"))
    if set(ds[name].dims) != {"t", "y", "x"}:
        raise ValueError(f"{name}: got dims {ds[name].dims}, expected ('t', 'y', 'x')")
    return ds, findings


def _variables_apart(ds):
    """The cube with VV, VH, S2ndvi among its variables and not its coordinates, and repairs of
    earlier readers, if any, as text."""
    names = [name for name in ds.coords if variable_of(str(name)) and name not in ds.dims]
    lines = ds.attrs.get("s1jax_repairs")
    if lines is not None and not isinstance(lines, str):
        lines = map(str, lines if isinstance(lines, list | tuple) else [lines])
        ds = ds.assign_attrs(s1jax_repairs="\n".join(lines))
    return ds.reset_coords(names)


def _without_scalar(ds, name):
    """The cube without a variable of one value that has the name a dimension is to have."""
    if name not in ds.variables:
        return ds
    if ds[name].ndim:
        got = f"a variable of that name on {ds[name].dims}"
        raise ValueError(f"dimension {name}: got {got}, expected the dimension alone")
    return ds.drop_vars(name)


def _split_bands(ds):
    """Each named band of a variable on `bands` as a variable of its own; findings."""
    for name, variable in ds.data_vars.items():
        dim = next((d for d in BANDS if d in variable.dims), None)
        if dim is None or dim not in ds.coords or ds[dim].dtype.kind not in "USOT":
            continue
        labels = [str(label) for label in ds[dim].values]
        bands = {label: variable.isel({dim: k}, drop=True) for k, label in enumerate(labels)}
        for band in bands.values():
            # declared of all bands at once, units are wrong of radar or of NDVI
            band.attrs.pop("units", None)
        if len(bands) < len(labels):
            raise ValueError(f"{dim}: got {labels}, expected each name once")
        rest = ds.drop_vars([name, dim])
        if clash := sorted(set(bands) & set(map(str, rest.variables))):
            raise ValueError(f"{dim}: got {clash} as bands and as variables, expected one of each")
        return rest.assign(bands), [named(f"dimension {dim} is taken apart into {labels}")]
    return ds, []
