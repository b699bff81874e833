"""The time axis as it should be: ascending, each day once, periods at centres, none left out."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from s1jax.cube.names import sentinel1
from s1jax.cube.numbered import DAY, with_all
from s1jax.indices import from_db, to_db


def to_days(t: np.ndarray | xr.DataArray) -> Float[np.ndarray, "time"]:
    """Days since 1970-01-01 of datetimes, float64."""
    since = np.asarray(t).astype("datetime64[ns]") - np.datetime64(0, "ns")
    return since / DAY


def from_days(day: Float[np.ndarray, "time"]) -> np.ndarray:
    """datetime64[ns] of days since 1970-01-01, to the second."""
    second = np.round(np.asarray(day, np.float64) * 86_400).astype("int64")
    return second.astype("datetime64[s]").astype("datetime64[ns]")


def is_relative(ds: xr.Dataset) -> bool:
    """Whether `t` of the cube counts days from a beginning that differs from pixel to pixel.

    So it is where attrs["time_axis"] of the cube or of its `t` is "relative" (`open_cube` puts it
    there): gaps between the dates mean what they say, the calendar says nothing.
    """
    own = ds["t"].attrs if "t" in ds.coords else {}
    return "relative" in (str(of.get("time_axis", "")).lower() for of in (ds.attrs, own))


def span(ds: xr.Dataset) -> str:
    """First and last date of a cube, how many there are, and the days between them, in one line.

    "2023-01-03 to 2023-12-29, 31 dates, 12 days apart"; of dates that are not regular the least,
    the median and the greatest gap; of a relative axis days from its first date instead of dates.
    """
    t = np.sort(ds["t"].values.astype("datetime64[ns]"))
    t = t[~np.isnat(t)]
    if t.size == 0:
        return "no date"
    if is_relative(ds):
        ends = f"relative days 0 to {(t[-1] - t[0]) / DAY:g}"
    else:
        ends = " to ".join(np.datetime_as_string(t[[0, -1]], unit="D"))
    gap = np.round(np.diff(t) / DAY, 3)
    if gap.size == 0:
        return f"{ends}, 1 date"
    low, middle, high = gap.min(), np.median(gap), gap.max()
    apart = f"{low:g}" if low == high else f"{low:g} to {high:g} (median {middle:g})"
    return f"{ends}, {t.size} dates, {apart} days apart"


def tidy_dates(ds: xr.Dataset, *, complete: bool = True) -> tuple[xr.Dataset, list[str]]:
    """The cube on ascending dates, each once, with no period left out, and what was said.

    Planes of one date (and one Sentinel-1 track) are averaged, backscatter in linear power. Dates
    on the first of each month, or on days 1, 11, 21, are composites' first days: `t` is moved to
    their centres. Where most gaps are one step of at least 5 days and all are multiples of it, the
    dates left out are put in as missing, unless they are more than those there. A cube in chunks
    stays so.

    Args:
      ds: cube whose `t` is datetime64[ns].
      complete: whether such steps of days are completed; months and dekads always are.

    Raises:
      ValueError: a date is missing (NaT).
    """
    said = []
    if np.isnat(ds["t"].values).any():
        raise ValueError(f"t: got {int(np.isnat(ds['t'].values).sum())} NaT, expected dates")
    if (np.diff(ds["t"].values) < np.timedelta64(0)).any():
        ds = ds.sortby("t")
        said.append("dates were not ascending: sorted")
    ds, averaged = _average_duplicates(ds)
    expected, end, kind = periods(pd.DatetimeIndex(ds["t"].values))
    absent = expected.difference(ds.indexes["t"])
    if len(absent) and (complete or end is not None):
        days = ", ".join(absent.strftime("%Y-%m-%d"))
        said.append(f"{len(absent)} {kind} left out of the file are missing on their dates: {days}")
        ds = with_all(ds, expected)
    if end is not None:
        centre = expected + (end - expected) / 2
        ds = ds.assign_coords(t=centre.to_numpy().astype("datetime64[ns]"))
        said.append(f"t was the first day of {kind}: moved to their centres")
    return ds, said + averaged


def periods(t: pd.DatetimeIndex) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex | None, str]:
    """(dates expected, end of each where t is their first day, what they are called).

    They are called "months" or "dekads" (of first days), "periods" (of one step of 5 days or more,
    some of which may be left out), or "dates" (anything else, with none expected but themselves).
    """
    first_days = len(t) >= 3 and (t == t.normalize()).all() and t.is_unique
    if first_days and (t.day == 1).all():
        expected = pd.date_range(t[0], t[-1], freq="MS")
        if len(expected) <= 2 * len(t):
            return expected, expected + pd.offsets.MonthBegin(1), "months"
    if first_days and set(t.day) <= {1, 11, 21} and len(set(t.day)) > 1:
        month = pd.date_range(t[0].replace(day=1), t[-1], freq="MS")
        starts = month.append([month + pd.Timedelta(days=10), month + pd.Timedelta(days=20)])
        starts = starts.sort_values()
        end = starts[1:].append(pd.DatetimeIndex([month[-1] + pd.offsets.MonthBegin(1)]))
        inside = (starts >= t[0]) & (starts <= t[-1])
        if inside.sum() <= 2 * len(t):
            return starts[inside], end[inside], "dekads"
    if len(t) >= 3 and t.is_unique:
        gap = np.diff(t.to_numpy())
        step = gap.min()
        whole = (gap % step == np.timedelta64(0)).all()
        few = (t[-1] - t[0]) / step < 2 * len(t)
        if step >= 5 * DAY and whole and few and (gap == step).mean() >= 0.5:
            return pd.date_range(t[0], t[-1], freq=pd.Timedelta(step)), None, "periods"
    return t, None, "dates"


def _average_duplicates(ds):
    """One plane for each date and track; a plane of no track joins the first track of its date."""
    t = ds["t"].values
    if len(np.unique(t)) == len(t):
        return ds, []
    track = np.array(ds["s1_track"].values) if "s1_track" in ds.variables else np.zeros(len(t), int)
    for i in np.flatnonzero(track == 0):
        others = track[(t == t[i]) & (track != 0)]
        track[i] = others[0] if others.size else 0
    keys, group = np.unique(np.stack([t.astype("int64"), track]), axis=1, return_inverse=True)
    rows = [np.flatnonzero(group.ravel() == g) for g in range(keys.shape[1])]
    merged = ds.isel(t=[r[0] for r in rows])
    if "s1_track" in ds.variables:
        merged = merged.assign_coords(s1_track=("t", keys[1].astype(ds["s1_track"].dtype)))
    radar = sentinel1(ds)
    for name, variable in ds.data_vars.items():
        if variable.dims[:1] != ("t",) or variable.dtype.kind != "f":
            continue
        value = _one_each(variable.drop_vars([*variable.coords]), rows, power=name in radar)
        merged = merged.assign({name: merged[name].copy(data=value.data)})
    said = [f"{len(t) - len(rows)} duplicate dates averaged"] if len(rows) < len(t) else []
    both = len(rows) - len(np.unique(t))
    return merged, said + ([f"{both} dates have two Sentinel-1 tracks: kept apart"] if both else [])


def _one_each(variable, rows, *, power):
    """One plane for each group of rows; chunks stay chunks."""
    first, pieces, done = [r[0] for r in rows], [], 0
    for k, r in enumerate(rows):
        if len(r) > 1:
            several = variable.isel(t=r)
            mean = xr.apply_ufunc(
                _mean,
                several if several.chunks is None else several.chunk(t=-1),
                kwargs={"power": power},
                input_core_dims=[["t"]],
                dask="parallelized",
                output_dtypes=[variable.dtype],
            )
            pieces += [variable.isel(t=first[done:k]), mean.expand_dims("t")]
            done = k + 1
    pieces.append(variable.isel(t=first[done:]))
    return xr.concat([piece for piece in pieces if piece.sizes["t"]], "t")


def _mean(value, *, power):
    """Mean over the last axis of what is there, in linear power where `power`."""
    there = np.isfinite(value)
    count = there.sum(axis=-1)
    known = np.where(there, value, value.dtype.type(0))
    known = np.where(there, np.asarray(from_db(jnp.asarray(known))), 0) if power else known
    mean = known.sum(axis=-1) / np.maximum(count, 1)
    mean = np.asarray(to_db(jnp.asarray(np.where(count > 0, mean, 1)))) if power else mean
    return np.where(count > 0, mean, np.nan).astype(value.dtype)
