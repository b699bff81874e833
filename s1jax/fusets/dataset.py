"""Between a Dataset and arrays of pixels: variables, fills, dates, results with their names."""

import logging
import re
import warnings
from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Int, Shaped

from s1jax.cube.dates import to_days
from s1jax.cube.grid import grid_mapping
from s1jax.mogpr.estimator import evenly
from s1jax.quality import EMPTY, IMPLAUSIBLE, NO_DATA, REGION_HYPER, REGION_SCALE
from s1jax.types import Estimate

log = logging.getLogger("s1jax")

Source = Any
"""An `xr.Dataset`; of anything else `opened` says how to make one, in a TypeError."""
AT = "s1jax_at"
"""Dimension of the dates of results, until they are assembled."""
CANDIDATES = 4096
"""Pixels, spread evenly, among which `sample` looks for data."""
DECLARED = ("_FillValue", "missing_value", "nodata")
"""Attributes that declare a fill."""
SENTINELS = (-9999.0, -32768.0)
"""Fills though no attribute says so."""
LARGEST = 1e30
"""Sizes from here on are fills too (NetCDF's default is 9.97e36)."""
_SLAB = 32_768
"""Pixels whose values are in double precision at a time."""
_FLAGS = {
    "region_scale": REGION_SCALE,
    "no_data": NO_DATA,
    "region_hyperparameters": REGION_HYPER,
    "implausible_values_dropped": IMPLAUSIBLE,
    "variable_without_observation": EMPTY,
}
_BANDS = ("bands", "band", "variable")
"""What a DataArray's dimension of variables is called."""


class Cube(NamedTuple):
    """The part of a Dataset that is fused."""

    source: xr.Dataset
    names: tuple[Hashable, ...]
    """The variables, in the order of the outputs, which is that of the Dataset."""
    time: Hashable
    """The dimension of time."""
    others: tuple[Hashable, ...]
    """All other dimensions; none where there is one pixel only."""
    beside: tuple[Hashable, ...]
    """Variables without a time, which are not fused but stay."""

    def variables(self) -> list[xr.Variable]:
        """The variables themselves, in one chunk along time."""
        variables = [self.source[name].variable for name in self.names]
        return [v if v.chunks is None else v.chunk({self.time: -1}) for v in variables]

    def dates(self) -> np.ndarray:
        """Dates of the observations, in the order of the Dataset."""
        return self.source[self.time].values

    def days(self) -> Float[np.ndarray, "time"]:
        """Days since 1970-01-01, in the order of the Dataset."""
        return to_days(self.dates())


def opened(
    array: Source, variables: Iterable[Hashable] | Hashable | None, time_dimension: Hashable
) -> Cube:
    """The part of a Dataset that is fused: the named variables, or all numeric ones with a time.

    The variables keep the order of the Dataset, as in FuseTS, in whatever order they are named.
    Without names, variables without a time stay beside; with names, the grid mapping alone. The
    dimension of time is `time_dimension`, or, as in FuseTS, the only one of dates.

    Raises:
      TypeError: no Dataset; the message says what to pass.
      ValueError: no dates, or several dimensions of dates; a variable that is not there, has no
        time or no real numbers; or no variable at all.
    """
    if not isinstance(array, xr.Dataset):
        got = f"{type(array).__module__}.{type(array).__qualname__}"
        raise TypeError(f"array: got {got}, expected xarray.Dataset: {_instead(array)}")
    time = _time(array, time_dimension)
    if variables is None:
        names = [name for name, v in array.data_vars.items() if time in v.dims and _real(v)]
        beside = [name for name, v in array.data_vars.items() if time not in v.dims]
    else:
        names = listed(variables)
        beside = [name for name in array.data_vars if str(name) == grid_mapping(array)]
    if not names or any(names.count(name) != 1 for name in names):
        raise ValueError(f"variables: got {names}, expected one or more, each once")
    for name in names:
        if not isinstance(name, Hashable) or name not in array.data_vars:
            raise ValueError(f"variables: got {name!r}, expected some of {list(array.data_vars)}")
        if time not in array[name].dims or not _real(array[name]):
            got = f"{array[name].dtype} on {array[name].dims}"
            raise ValueError(f"{name}: got {got}, expected real numbers on dimension {time!r}")
    names = [name for name in array.data_vars if name in names]
    every = [dim for name in names for dim in array[name].dims if dim != time]
    beside = [name for name in beside if name not in names]
    return Cube(array, tuple(names), time, tuple(dict.fromkeys(every)), tuple(beside))


def listed(variables: Iterable[Hashable] | Hashable) -> list[Hashable]:
    """The names, of which there may be one alone."""
    if isinstance(variables, str) or not isinstance(variables, Iterable):
        return [variables]
    return list(variables)


def _instead(array) -> str:
    """Advice on what to pass instead of an object that is no Dataset."""
    if isinstance(array, xr.DataArray):
        bands = next((dim for dim in array.dims if str(dim).lower() in _BANDS), None)
        made = "name='NDVI'" if bands is None else f"dim={bands!r}"
        return f"pass array.to_dataset({made})"
    if type(array).__module__.partition(".")[0] == "openeo":
        if hasattr(array, "get_array"):
            return "pass array.get_array().to_dataset(dim='bands')"
        return "pass it to s1jax.fusets.openeo.mogpr, or download it and open the file"
    return "pass its variables on a dimension of dates, as xarray.open_dataset(path) has them"


def _real(variable) -> bool:
    return variable.dtype.kind in "iuf"


def _time(array, wanted):
    dated = [d for d in array.dims if d in array.coords and array[d].dtype.kind == "M"]
    if wanted in dated:
        time = wanted
    elif len(dated) == 1:
        (time,) = dated
    else:
        have = {str(dim): str(array[dim].dtype) for dim in array.dims}
        raise ValueError(
            f"time_dimension: got {wanted!r} with dimensions {have}, expected one of datetime64"
        )
    if array.sizes[time] == 0 or np.isnat(array[time].values).any():
        raise ValueError(f"{time}: got no date, or some that are NaT, expected dates")
    return time


def sample(cube: Cube) -> tuple[Float[np.ndarray, "time"], Float[np.ndarray, "pixel time output"]]:
    """Days, ascending, and values of pixels with data, from 4096 spread evenly over all.

    The same ones whether the Dataset is in memory or in chunks; no other pixel is kept.
    """
    order = np.argsort(cube.days(), kind="stable")
    sizes = [cube.source.sizes[dim] for dim in cube.others]
    some = evenly(int(np.prod(sizes)), CANDIDATES)
    if some.size == 0:
        return cube.days()[order], np.empty((0, order.size, len(cube.names)))
    index = np.unravel_index(some, sizes) if sizes else ()
    at = {d: xr.Variable("pixel", i) for d, i in zip(cube.others, index, strict=True)}
    loaded = cube.source[[*cube.names]].reset_coords(drop=True).isel(at).load()
    columns = []
    for name in cube.names:
        variable = loaded[name].variable.set_dims({"pixel": some.size, cube.time: order.size})
        fill = fills(cube.source[name].variable)
        columns.append(cleaned(variable.transpose("pixel", cube.time).values, fill)[0])
    value = np.stack(columns, axis=-1)[:, order]
    return cube.days()[order], value[np.isfinite(value).any(axis=(1, 2))]


def fills(variable: xr.Variable) -> list[float]:
    """The fills that a variable's attributes, or its encoding where it was not scaled, declare."""
    sources = [variable.attrs]
    # decoding has applied the fill of a packed variable, which is in packed units
    if not {"scale_factor", "add_offset"} & set(variable.encoding):
        sources.append(variable.encoding)
    declared = [source[key] for source in sources for key in DECLARED if key in source]
    values = [value for one in declared for value in np.atleast_1d(one).astype(float).tolist()]
    return sorted({value for value in values if np.isfinite(value)})


def cleaned(
    value: Shaped[np.ndarray, "pixel time"], fill: list[float]
) -> tuple[Float[np.ndarray, "pixel time"], Int[np.ndarray, "pixel"]]:
    """Values in float64, NaN where missing, and how many that were not NaN became so, by pixel.

    Declared fills are compared in the dtype of `value`.
    """
    real = value.astype(np.float64)
    bad = np.isinf(real) | (np.abs(real) >= LARGEST)
    # a fill that is not exact in single precision was rounded when it was written
    kind = value.dtype if value.dtype.kind == "f" else np.dtype(float)
    for one in {*fill, *SENTINELS}:
        bad |= real == float(np.asarray(one, kind))
    real[bad] = np.nan
    return real, bad.sum(axis=1)


class Result(NamedTuple):
    """One variable of what is fused."""

    name: Hashable
    of: Hashable
    """The variable of the Dataset whose order of dimensions it has."""
    variable: xr.Variable
    """With dimension `AT` for the dates, where it has any."""


def assembled(cube: Cube, dates: np.ndarray | None, results: Sequence[Result]) -> xr.Dataset:
    """Dataset of the results with the coordinates, variables beside and attributes of the source.

    `dates` are of the results; None: those of the source.

    Raises:
      ValueError: two variables or coordinates of one name.
    """
    time, source = cube.time, cube.source
    dims = {time, *cube.others, *(dim for name in cube.beside for dim in source[name].dims)}
    coords = source.coords.to_dataset()
    gone = [
        name
        for name, v in coords.variables.items()
        if not set(v.dims) <= dims or (dates is not None and time in v.dims)
    ]
    out = coords.drop_vars(gone)
    if dates is not None:
        out = out.assign_coords({time: xr.Variable(time, dates, source[time].attrs)})
    every = [*out.variables, *cube.beside, *(result.name for result in results)]
    twice = sorted({str(name) for name in every if every.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)}: got two variables of this name, expected one")
    for name, of, variable in results:
        dims = source[of].dims
        order = dims if {*dims} == {time, *cube.others} else (time, *cube.others)
        kept = [dim for dim in order if dim in cube.others or AT in variable.dims]
        renamed = variable.transpose(*(AT if dim == time else dim for dim in kept))
        out[name] = xr.Variable(kept, renamed.data, variable.attrs, variable.encoding)
    kept = {name: source[name].variable for name in cube.beside}
    out = out.assign(kept).assign_attrs(source.attrs)
    out.encoding = {k: v for k, v in source.encoding.items() if k == "unlimited_dims"}
    return out


_Places = tuple[Any, Any]
"""Indices among the dates of the result, and of what belongs there."""
Fuse = Callable[[np.ndarray, np.ndarray, np.ndarray | None], Estimate]
"""Days, values (pixel, time, output) and query days (None: the same) to (pixel, output, query)."""


def fused(
    cube: Cube,
    fuse: Fuse,
    dates: np.ndarray | None = None,
    *,
    uncertainties: bool = False,
    raw: bool = False,
    quality: bool = False,
    bare: bool = False,
) -> xr.Dataset:
    """Dataset of <v>_FUSED, and on request <v>_STD, <v>_RAW of all variables, and QUALITY.

    Args:
      cube: what to fuse.
      fuse: estimates the variables of pixels.
      dates: of the estimates, ascending; None: those of the cube.
      uncertainties: also <v>_STD.
      raw: also <v>_RAW; with `dates`, the result then has the dates of the cube too, where all but
        <v>_RAW is NaN.
      quality: also QUALITY.
      bare: the means have the names of the variables, as in FuseTS' `transform`.

    Raises:
      ValueError: two results, or a result and a variable beside, of one name.
    """
    names, variables, day = cube.names, cube.variables(), cube.days()
    at = None
    estimates = values = (slice(None), slice(None))
    if dates is not None:
        dates = dates.astype(cube.dates().dtype)
        at = to_days(dates)
        if raw:
            dates, estimates, values = _union(dates, cube.dates())
    queries = day.size if dates is None else dates.size
    suffixes = ["FUSED", *["STD"] * uncertainties, *["RAW"] * raw]
    kinds = [v.dtype if v.dtype.kind == "f" else np.result_type(v.dtype, "f4") for v in variables]
    declared = [fills(v) for v in variables]
    dropped = np.zeros(len(names), int)

    def _block(*arrays):
        arrays = np.broadcast_arrays(*arrays)
        shape = arrays[0].shape[:-1]
        n = int(np.prod(shape))
        columns = [array.reshape(n, day.size) for array in arrays]
        results = {suffix: [np.full((n, queries), np.nan, k) for k in kinds] for suffix in suffixes}
        flags = np.empty(n, np.uint8)
        for start in range(0, n, _SLAB):
            slab = slice(start, start + _SLAB)
            pairs = [cleaned(c[slab], f) for c, f in zip(columns, declared, strict=True)]
            value, lost = (np.stack(leaves, axis=-1) for leaves in zip(*pairs, strict=True))
            dropped[:] += lost.sum(axis=0)
            estimate = fuse(day, value, at)
            implausible = IMPLAUSIBLE * np.any(lost, axis=1)
            flags[slab] = np.asarray(estimate.quality) | implausible.astype(np.uint8)
            std = np.hypot(estimate.std, estimate.noise[..., None])
            leaves = {
                "FUSED": (estimate.mean, estimates),
                "STD": (std, estimates),
                "RAW": (value.swapaxes(1, 2), values),
            }
            for suffix in suffixes:
                leaf, (where, index) = leaves[suffix]
                for output, array in enumerate(results[suffix]):
                    array[slab, where] = leaf[:, output, index]
        out = [array.reshape(*shape, queries) for suffix in suffixes for array in results[suffix]]
        out += [flags.reshape(shape)] * quality
        return tuple(out) if len(out) > 1 else out[0]

    timed = len(suffixes) * kinds
    fields = xr.apply_ufunc(
        _block,
        *variables,
        input_core_dims=[[cube.time]] * len(names),
        output_core_dims=[[AT]] * len(timed) + [[]] * quality,
        dask="parallelized",
        output_dtypes=timed + [np.uint8] * quality,
        dask_gufunc_kwargs={"output_sizes": {AT: queries}},
    )
    fields = list(fields) if isinstance(fields, tuple) else [fields]
    labels = [(name, suffix) for suffix in suffixes for name in names]
    results = []
    for (name, suffix), variable in zip(labels, fields, strict=False):
        variable.attrs, variable.encoding = _described(cube.source[name], suffix)
        results.append(Result(name if bare else f"{name}_{suffix}", name, variable))
    if quality:
        fields[-1].attrs = {
            "long_name": "quality of the fusion; 0 is good",
            "flag_masks": np.array(list(_FLAGS.values()), np.uint8),
            "flag_meanings": " ".join(_FLAGS),
        }
        results.append(Result("QUALITY", names[0], fields[-1]))
    if all(v.chunks is None for v in variables):
        for result, count in zip(results, dropped.tolist(), strict=False):
            result.variable.attrs["s1jax_dropped"] = count
            if count:
                log.warning("%s: %d infinite or fill values are missing values", result.of, count)
    return assembled(cube, dates, results)


def _union(at: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, _Places, _Places]:
    """All observed dates, ascending, with `at` between them; where estimates and values belong."""
    every = np.concatenate([observed, np.setdiff1d(at, observed)])
    order = np.argsort(every, kind="stable")
    every, estimated = every[order], np.isin(every[order], at)
    estimates = np.flatnonzero(estimated), np.searchsorted(at, every[estimated])
    return every, estimates, (np.argsort(order)[: observed.size], slice(None))


def _described(source: xr.DataArray, suffix: str) -> tuple[dict, dict]:
    """Attributes and encoding of a result: those of the variable without its packing."""
    packing = (*DECLARED, "scale_factor", "add_offset", "valid_range", "valid_min", "valid_max")
    attrs = {key: value for key, value in source.attrs.items() if key not in packing}
    name = attrs.get("long_name", source.name)
    if suffix == "FUSED":
        attrs["long_name"] = f"{name}, fused"
    if suffix == "STD":
        attrs = {k: v for k, v in attrs.items() if k in ("units", "grid_mapping")}
        attrs["long_name"] = f"standard deviation of an observation of {name}"
    kept = ("grid_mapping", "zlib", "complevel", "shuffle", "compression", "compression_opts")
    encoding = {k: v for k, v in source.encoding.items() if k in kept}
    return attrs, encoding


Period = str | timedelta | np.timedelta64 | pd.DateOffset
"""What a period may be given as."""

_MOST = 20_000
"""Dates of a prediction: more is a slip of the period."""
_ISO = re.compile(
    r"P(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?",
    re.IGNORECASE,
)
_CALENDAR = re.compile(
    r"(?:(?P<years>\d+) ?(?:[Yy]|years?)|(?P<months>\d+) ?(?:M|mo|months?)|(?P<weeks>\d+) ?weeks?)"
)
"""What pandas does not read as a length: M is a month, m a minute."""
_ACCEPTED = (
    "a period of a day or more: ISO-8601 as P5D (days), P1W (weeks), P1M (calendar months), P1Y, "
    "PT36H (hours); short as 5D, 5d, 5 days, 120h, 1.5D, 1M, 1Y; a timedelta, numpy.timedelta64 or "
    "pandas.DateOffset"
)


def parse(period: Period) -> pd.DateOffset | pd.Timedelta:
    """The period as what is added to a date; months and years are calendar ones (P1M is no minute).

    Args:
      period: ISO-8601 (P5D, P1W, P1M, P1Y, PT36H, P1M15D); a text that pandas reads (5D, 5 days,
        120h, 1.5D); or an object of datetime, NumPy or pandas.

    Raises:
      ValueError: anything else, and periods below one day or beyond what a date can hold.
    """
    first = pd.Timestamp("2001-01-01")
    try:
        with warnings.catch_warnings(action="error", category=FutureWarning):
            offset = _offset(period)
    except (OverflowError, ValueError, FutureWarning):  # beyond what pandas holds, or reads
        offset = None
    second = None if offset is None or pd.isna(offset) else _later(first, 1, offset)
    if second is None or second < first + pd.Timedelta(days=1):
        raise ValueError(f"prediction_period: got {period!r}, expected {_ACCEPTED}")
    return offset


def _offset(period: Period) -> Any:
    """What is added to a date; None or NaT where the period writes nothing."""
    if isinstance(period, str):
        text = period.strip()
        if match := _ISO.fullmatch(text) or _CALENDAR.fullmatch(text):
            parts = {name: int(number) for name, number in match.groupdict().items() if number}
            return pd.DateOffset(**parts) if any(parts.values()) else None
        return None if text[:1] in ("P", "p") else pd.Timedelta(text)
    if isinstance(period, np.timedelta64):
        if np.datetime_data(period)[0] in ("Y", "M"):
            return pd.DateOffset(months=int(period.astype("timedelta64[M]").astype(int)))
        # pandas reads five of two days as five days
        return pd.Timedelta(period.astype("timedelta64[s]"))
    if isinstance(period, timedelta):
        return pd.Timedelta(period)
    return period if isinstance(period, pd.DateOffset) else None


def dates(start: np.datetime64, end: np.datetime64, period: Period) -> np.ndarray:
    """start, start + period, ... up to end, datetime64[ns].

    Each is counted from the start: months after 31 January are 28 February, 31 March, ...

    Raises:
      ValueError: a period that is none, or more than 20,000 dates.
    """
    offset, first, last = parse(period), pd.Timestamp(start), pd.Timestamp(end)
    series = [first]
    while (date := _later(first, len(series), offset)) is not None and date <= last:
        if len(series) == _MOST:
            got = f"{period!r} from {first.date()} to {last.date()}"
            raise ValueError(f"prediction_period: got {got}, expected {_MOST} dates or fewer")
        series.append(date)
    return np.array([date.to_datetime64() for date in series], "datetime64[ns]")


def _later(
    start: pd.Timestamp, count: int, offset: pd.DateOffset | pd.Timedelta
) -> pd.Timestamp | None:
    """start + count * offset; None beyond the last date there is."""
    try:
        return start + count * offset
    except (OverflowError, ValueError):  # as the parts of an offset put it, and pandas
        return None
