"""A cube on one grid of days: its own where regular, else composites of periods, orbit by orbit."""

import logging
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr

from s1jax.align import composite, is_regular, period_edges
from s1jax.chunks import map_pixels
from s1jax.cube.dates import from_days, to_days
from s1jax.cube.names import channels, sentinel1

log = logging.getLogger("s1jax")
_CHUNK = 16_384


def align_cube(
    ds: xr.Dataset, *, start: str | np.datetime64 | None = None, step: float | int = 12.0
) -> xr.Dataset:
    """The cube on one regular grid of days, with the true mean day of each sensor.

    A cube on regular dates with one Sentinel-1 orbit keeps them, unless `start` is given. Any other
    becomes composites of `step` days: mean VV and VH in linear power for each orbit (VV, VH for the
    first non-zero track, VV_2, VH_2 for the second, ...), median NDVI, t the centre of the period.
    Days of the mean observation over all pixels are in the coordinates `s1_day` and `s2_day` (t).

    Args:
      ds: cube of `open_cube`.
      start: beginning of the first period; that of the cube's first day where None.
      step: length of a period, days.
    """
    day = to_days(ds["t"].values)
    tracks = _tracks(ds)
    if start is None and len(tracks) == 1 and is_regular(day) and _same_dates(ds):
        log.info("aligned: its own %d dates are regular and of one orbit", day.size)
        return ds if "s1_day" in ds.coords else _with_own_days(ds)
    begin = None if start is None else float(to_days(pd.DatetimeIndex([start]).values)[0])
    edges = period_edges(day, start=begin, step=step)
    made, days = {}, {"s1_day": [], "s2_day": []}
    for orbit, track in enumerate(tracks, start=1):
        rows = np.ones(day.size, bool) if track is None else _track(ds) == track
        for name in sentinel1(ds):
            base, _, own = name.partition("_")
            suffix = own or ("" if orbit == 1 else str(orbit))
            key = f"{base}_{suffix}" if suffix else base
            value, mean_day = _composites(ds[name], day, rows, edges, "mean_db")
            made[key] = value
            days["s1_day"].append(mean_day)
    every = np.ones(day.size, bool)
    made["S2ndvi"], mean_day = _composites(ds["S2ndvi"], day, every, edges, "median")
    days["s2_day"].append(mean_day)
    centre = from_days((edges[:-1] + edges[1:]) / 2)
    kept = (*channels(ds), "t")
    dropped = [name for name, v in ds.variables.items() if "t" in v.dims and name not in kept]
    out = ds.drop_dims("t").assign_coords(t=centre)
    for name, value in made.items():
        attrs = ds[name if name in ds else name.partition("_")[0]].attrs
        out[name] = (("t", "y", "x"), value, attrs)
    out = out.assign_coords({name: _mean_day(rows) for name, rows in days.items()})
    log.info(
        "aligned: %d dates to %d periods of %g days from %s, %d orbit(s)%s", day.size, centre.size,
        step, np.datetime_as_string(from_days(edges[:1]))[0][:10], len(tracks),
        f"; left behind: {', '.join(map(str, dropped))}" if dropped else "",
    )  # fmt: skip
    return out


def _same_dates(ds):
    """Whether most dates with NDVI have Sentinel-1 too, as composites do."""
    seen = [np.isfinite(ds[name].values).any((1, 2)) for name in ("VV", "S2ndvi")]
    return (seen[0] & seen[1]).sum() > 0.5 * seen[1].sum()


def _track(ds):
    """Number of the track on each date; 0 without Sentinel-1."""
    track = ds["s1_track"].values
    if track.dtype.kind not in "iuf":
        raise ValueError(f"s1_track: got {track.dtype}, expected numbers, 0 where there is no S1")
    return np.nan_to_num(track.astype(float)).astype(int)


def _tracks(ds):
    """The Sentinel-1 tracks, ascending; [None] where no dates are to be told apart."""
    if "s1_track" not in ds.variables or len(sentinel1(ds)) > 2:
        return [None]
    return sorted(set(_track(ds).tolist()) - {0}) or [None]


@partial(jax.jit, static_argnames="statistic")
def _pixels(day, value, valid, edges, statistic):
    """`composite` of many pixels."""
    one = partial(composite, statistic=statistic)
    return jax.vmap(one, in_axes=(None, 0, 0, None))(day, value, valid, edges)


def _composites(variable, day, rows, edges, statistic):
    """(period, y, x) composites, NaN where none, and the mean day (period, pixel)."""
    value = variable.transpose("y", "x", "t").values
    shape = value.shape[:2]
    value = value.reshape(-1, value.shape[-1])
    # in float32 days are good to three minutes, which is enough for a period
    on, between = jnp.asarray(day, float), jnp.asarray(edges, float)

    def _of(arrays):
        return _pixels(on, *arrays, between, statistic)

    made, some, mean_day = map_pixels(
        _of,
        (np.nan_to_num(value), np.isfinite(value) & rows),
        chunk=_CHUNK,
        label=f"{variable.name} periods",
    )
    made = np.where(some, made, np.float32(np.nan)).T.reshape(-1, *shape)
    return made, np.where(some, mean_day.astype(np.float64), np.nan).T


def _mean_day(groups):
    """Mean over channels and pixels of the mean days of each period; NaT where there is none."""
    day = np.concatenate(groups, axis=1)
    there = np.isfinite(day)
    count = there.sum(axis=1)
    mean = np.where(there, day, 0.0).sum(axis=1) / np.maximum(count, 1)
    return ("t", np.where(count > 0, from_days(mean), np.datetime64("NaT", "ns")))


def _with_own_days(ds):
    """The cube with s1_day, s2_day equal to t where the sensor saw anything."""

    def _days(names):
        seen = np.logical_or.reduce([np.isfinite(ds[n].values).any(axis=(1, 2)) for n in names])
        return ("t", np.where(seen, ds["t"].values, np.datetime64("NaT", "ns")))

    return ds.assign_coords(s1_day=_days(sentinel1(ds)), s2_day=_days(["S2ndvi"]))
