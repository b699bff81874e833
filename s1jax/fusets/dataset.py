"""Between an xarray Dataset and arrays of pixels: what is fused, its dates, and the result."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from s1jax.cube.crs import grid_mapping
from s1jax.cube.dates import to_days
from s1jax.fusets import missing
from s1jax.fusets.learn import CANDIDATES
from s1jax.mogpr import evenly

Source = Any
"""An `xr.Dataset`; of anything else `opened` says how to make one, in a TypeError."""
AT = "s1jax_at"
"""Dimension of the dates of results, until they are put together."""
_BANDS = ("bands", "band", "variable")
"""What a DataArray's dimension of variables is called."""


class Cube(NamedTuple):
    """What of a Dataset is fused."""

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
        found = [self.source[name].variable for name in self.names]
        return [v if v.chunks is None else v.chunk({self.time: -1}) for v in found]

    def dates(self) -> np.ndarray:
        """Dates of the observations, in the order of the Dataset."""
        return self.source[self.time].values

    def days(self) -> Float[np.ndarray, "time"]:
        """Days since 1970-01-01, in the order of the Dataset."""
        return to_days(self.dates())


def opened(
    array: Source, variables: Iterable[Hashable] | Hashable | None, time_dimension: Hashable
) -> Cube:
    """What of a Dataset is fused: the named variables, or all numeric ones that have a time.

    The variables keep the order of the Dataset, as in FuseTS, in whatever order they are named.
    Without names, variables that have no time stay beside what is fused; with names, the grid
    mapping alone. The dimension of time is `time_dimension`, or, as in FuseTS, the only one of
    dates.

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
        single = isinstance(variables, str) or not isinstance(variables, Iterable)
        names = [variables] if single else list(variables)
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


def _instead(array) -> str:
    """What to pass instead of what is no Dataset."""
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
    place = np.unravel_index(some, sizes) if sizes else ()
    at = {d: xr.Variable("pixel", p) for d, p in zip(cube.others, place, strict=True)}
    picked = {}
    for name, variable in zip(cube.names, cube.variables(), strict=True):
        found = variable.isel({dim: index for dim, index in at.items() if dim in variable.dims})
        picked[name] = found.set_dims({"pixel": some.size, cube.time: order.size})
    loaded = xr.Dataset(picked).load()
    columns = [
        missing.cleaned(loaded[name].transpose("pixel", cube.time).values, missing.fills(v))[0]
        for name, v in zip(cube.names, cube.variables(), strict=True)
    ]
    value = np.stack(columns, axis=-1)[:, order]
    return cube.days()[order], value[np.isfinite(value).any(axis=(1, 2))]


def mapped(
    function: Callable[..., tuple[np.ndarray, ...]],
    cube: Cube,
    queries: int,
    results: Sequence[tuple[bool, np.dtype]],
) -> list[xr.Variable]:
    """`function` of the variables' arrays (*others, time), lazily where they are in chunks.

    Args:
      function: returns one array for each of `results`.
      cube: gives the variables.
      queries: number of dates of those results that have a time.
      results: whether each has a time, and its dtype.
    """
    alone = len(results) == 1
    found = xr.apply_ufunc(
        (lambda *arrays: function(*arrays)[0]) if alone else function,
        *cube.variables(),
        input_core_dims=[[cube.time]] * len(cube.names),
        output_core_dims=[[AT] if timed else [] for timed, _ in results],
        dask="parallelized",
        output_dtypes=[dtype for _, dtype in results],
        dask_gufunc_kwargs={"output_sizes": {AT: queries}},
    )
    return [found] if alone else list(found)


class Result(NamedTuple):
    """One variable of what is fused."""

    name: Hashable
    of: Hashable
    """The variable of the Dataset whose order of dimensions it has."""
    variable: xr.Variable
    """With dimension `AT` for the dates, where it has any."""


def assembled(cube: Cube, dates: np.ndarray | None, results: Sequence[Result]) -> xr.Dataset:
    """Dataset of the results with the coordinates, variables beside and attributes of the source.

    Args:
      cube: what was fused.
      dates: of the results; None: those of the source.
      results: in their order.

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
        own = source[of].dims
        order = own if {*own} == {time, *cube.others} else (time, *cube.others)
        kept = [dim for dim in order if dim in cube.others or AT in variable.dims]
        renamed = variable.transpose(*(AT if dim == time else dim for dim in kept))
        out[name] = xr.Variable(kept, renamed.data, variable.attrs, variable.encoding)
    kept = {name: source[name].variable for name in cube.beside}
    out = out.assign(kept).assign_attrs(source.attrs)
    out.encoding = {k: v for k, v in source.encoding.items() if k == "unlimited_dims"}
    return out
