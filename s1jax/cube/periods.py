"""A cube on one grid of days: its own where regular, else composites, orbit by orbit."""

import logging
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from s1jax.align import around, composite, is_regular, period_edges
from s1jax.chunks import map_pixels
from s1jax.cube.dates import from_days, to_days
from s1jax.cube.names import channels, sentinel1
from s1jax.cube.notes import ASKED, with_notes
from s1jax.cube.numbered import checked_step, instant
from s1jax.cube.orbits import Orbits, orbits_of, together, track_of

log = logging.getLogger("s1jax")
STEP = 12.0
"""Length of a period where nothing else is asked for, days: Sentinel-1 comes again."""
RADAR, NDVI = ("mean_db", "median"), ("median", "mean", "max")
"""Statistics of composites: a mean of VV or VH in dB would be none of powers."""
_CHUNK = 16_384
_TABLE = 16_777_216
"""Entries of the (pixel, window, day) tables of a chunk, about."""


def align_cube(
    ds: xr.Dataset,
    *,
    start: str | np.datetime64 | None = None,
    step: float | int | None = None,
    window: float | int | None = None,
    within: float | int | None = None,
    radar: str = "mean_db",
    ndvi: str = "median",
    orbits: int | None = 2,
) -> xr.Dataset:
    """The cube on one regular grid of days, with the true mean day of each sensor.

    A cube on regular dates with one Sentinel-1 orbit keeps them, and each of its values is its own
    statistic, unless `start`, `window`, `within` or another `step` than its own is given. Any other
    becomes composites of `step` days: mean VV and VH in linear power for each orbit (VV, VH for the
    first non-zero track, VV_2, VH_2 for the second), median NDVI, t the centre of the period. More
    orbits than `orbits` are put together by direction in linear power (`orbits.orbits_of`).
    Days of the mean observation over all pixels are in the coordinates `s1_day` and `s2_day` (t).
    What was done is logged, and kept in attrs["s1jax_repairs"]. The whole cube is read into memory.

    Args:
      ds: cube of `open_cube`.
      start: beginning of the first period, YYYY-MM-DD; that of the cube's first day where None.
      step: length of a period, days; where None that of regular dates, else 12.
      window: days around the centre of a period, half of them to either side, that its composite is
        made of: longer than `step` and windows overlap. The period itself where None.
      within: most days between a Sentinel-1 pass and the mean day of the NDVI of the composite it
        goes into (its centre where that has none): composites of sensors that saw the same days.
        Passes at any distance where None.
      radar: statistic of VV and VH: "mean_db", the mean of linear powers, or "median".
      ndvi: statistic of NDVI: "median", "mean" or "max".
      orbits: most pairs VV, VH that are left; all where None, which no shipped weights take beyond
        two.

    Raises:
      ValueError: `start` is no date, `step` or `window` is not positive or more than 100 years, the
        periods are more than 20,000, `within` is negative, there is no such statistic, or dates
        with radar are of no track beside those of one.
    """
    checked_step(step)
    checked_step(window, "window")
    for name, got, expected in (("radar", radar, RADAR), ("ndvi", ndvi, NDVI)):
        if got not in expected:
            raise ValueError(f"{name}: got {got!r}, expected one of {expected}")
    day = to_days(ds["t"].values)
    several = orbits_of(ds, orbits)
    ds = together(ds, several)
    one = len(several.tracks) < 2 and all(len(group) == 1 for group in several.tracks)
    own = (start, window, within) == (None, None, None) and one
    if own and _spaced(day, step) and is_regular(day) and _same_dates(ds):
        log.info("aligned: its own %d dates are regular and of one orbit", day.size)
        ds = _noted(ds, several.lines) if several.lines else ds
        return ds if "s1_day" in ds.coords else _with_own_days(ds)
    step = STEP if step is None else step
    begin = None if start is None else float(to_days(np.array([instant("start", start)]))[0])
    edges = period_edges(day, start=begin, step=step)
    centre = (edges[:-1] + edges[1:]) / 2
    if window is None:
        between = partial(_periods, day, edges)
    else:
        between = partial(_windows, day, centre, window / 2)
    if within is None:
        out = _composites(ds, several, centre, between, radar, ndvi)
    else:
        labels = _composites(ds, None, centre, between, radar, ndvi)
        at = to_days(labels["s2_day"].fillna(labels["t"]).values)
        near = radar_near(ds, at, within=within, radar=radar, orbits=orbits)
        near = near.assign_coords(t=labels["t"].values)
        out = near.assign(S2ndvi=labels["S2ndvi"]).assign_coords(s2_day=labels["s2_day"])
    begin = np.datetime_as_string(from_days(edges[:1]))[0][:10]
    wide = "" if window is None else f", each of {window:g} days around its centre"
    if within is not None:
        wide += f", Sentinel-1 within {within:g} days of its NDVI"
    count = len(several.tracks) or len(several.pairs)
    periods = f"{centre.size} periods of {step:g} days from {begin}{wide}, {count} orbit(s)"
    early = int((day < edges[0]).sum())
    before = f"; {early} before it left out" if early else ""
    said = f"{ASKED}aligned: {day.size - early} dates put into {periods}{before}"
    return _noted(out, [*several.lines, said, *_left_behind(ds, out)])


def pair_cube(ds: xr.Dataset, *, within: float | int = 3.0, orbits: int | None = 2) -> xr.Dataset:
    """The cube on the days of Sentinel-2, with what Sentinel-1 saw within so many days of each.

    VV and VH are the mean in linear power for each orbit, as of `align_cube`, of the passes no more
    than `within` days away, NaN where there is none; S2ndvi is as it was. Sentinel-1 passes that
    are near no Sentinel-2 day are left behind, and counted in attrs["s1jax_repairs"]. `s1_day` and
    `s2_day` (t) are the mean days over all pixels. The whole cube is read into memory.

    Args:
      ds: cube of `open_cube`, of acquisitions.
      within: most days between the two sensors.
      orbits: most pairs VV, VH that are left, as of `align_cube`.

    Raises:
      ValueError: `within` is negative, or no date has NDVI.
    """
    several = orbits_of(ds, orbits)
    day, seen = to_days(ds["t"].values), _any(ds, "S2ndvi")
    if not seen.any():
        raise ValueError("S2ndvi: got no date with a value, expected days to pair with")
    out = radar_near(ds, day[seen], within=within, orbits=orbits)
    own = ds["S2ndvi"].transpose("t", "y", "x")
    out["S2ndvi"] = (("t", "y", "x"), own.values[seen], own.attrs)
    out = out.assign_coords(s2_day=("t", out["t"].values))
    passes = day[np.logical_or.reduce([_any(ds, name) for name in sentinel1(ds)])]
    far = (np.abs(passes[:, None] - day[seen]).min(axis=1) > within).sum()
    said = [
        *several.lines,
        f"{ASKED}paired: {seen.sum()} days of Sentinel-2 with Sentinel-1 within {within:g} days; "
        f"{far} of {passes.size} radar days are near none",
        *_left_behind(ds, out),
    ]
    return _noted(out, said)


def radar_near(
    ds: xr.Dataset,
    days: Float[np.ndarray, "window"],
    *,
    within: float | int,
    radar: str = "mean_db",
    orbits: int | None = 2,
) -> xr.Dataset:
    """The cube on the given days, with what Sentinel-1 saw within so many days of each.

    VV and VH as of `pair_cube`, `s1_day` (t) their mean day; NDVI is left behind.

    Args:
      ds: cube of `open_cube`, of acquisitions.
      days: days since 1970-01-01, ascending.
      within: most days from each of them.
      radar: statistic of VV and VH, as of `align_cube`.
      orbits: most pairs VV, VH that are left, as of `align_cube`.

    Raises:
      ValueError: `within` is negative.
    """
    if not within >= 0:
        raise ValueError(f"within: got {within} days, expected >= 0")
    between = partial(_windows, to_days(ds["t"].values), days, within)
    several = orbits_of(ds, orbits)
    return _composites(together(ds, several), several, days, between, radar, None)


def _composites(ds, several: Orbits | None, centre, between, radar, ndvi):
    """The cube on the days `centre`, made by `between`; without radar where `several` is None, and
    without S2ndvi where `ndvi` is."""
    made, days = {}, {"s1_day": [], "s2_day": []}
    every = np.ones(ds.sizes["t"], bool)
    groups = [] if several is None else several.tracks or [()]
    for orbit, group in enumerate(groups, start=1):
        rows = np.isin(track_of(ds), group) if group else every
        for name in sentinel1(ds):
            base, _, own = name.partition("_")
            suffix = own or ("" if orbit == 1 else str(orbit))
            key = f"{base}_{suffix}" if suffix else base
            value, mean_day = _of_variable(ds[name], rows, between, radar)
            made[key] = value
            days["s1_day"].append(mean_day)
    if ndvi is not None:
        made["S2ndvi"], mean_day = _of_variable(ds["S2ndvi"], every, between, ndvi)
        days["s2_day"].append(mean_day)
    out = ds.drop_dims("t").assign_coords(t=from_days(centre))
    for name, value in made.items():
        attrs = ds[name if name in ds else name.partition("_")[0]].attrs
        out[name] = (("t", "y", "x"), value, attrs)
    return out.assign_coords({name: _mean_day(rows) for name, rows in days.items() if rows})


def _left_behind(ds, out):
    kept = (*channels(ds), "t")
    dropped = [n for n, v in ds.variables.items() if "t" in v.dims and n not in (*kept, *out)]
    return (
        [f"{ASKED}left behind, of single dates: {', '.join(map(str, dropped))}"] if dropped else []
    )


def _noted(ds, said):
    """The cube with lines in its attributes, which are logged."""
    for line in said:
        log.info("%s", line)
    return with_notes(ds, said)


def _spaced(day, step):
    """Whether a step is that of the days themselves, or none is asked for."""
    return step is None or bool((np.abs(np.diff(day) - step) < 1e-3).all())


def _any(ds, name):
    """Dates on which a variable has any value."""
    return np.isfinite(ds[name].transpose("t", "y", "x").values).any(axis=(1, 2))


def _same_dates(ds):
    """Whether most dates with NDVI, if any, have Sentinel-1 too, as composites do."""
    seen = [_any(ds, name) for name in ("VV", "S2ndvi")]
    return not seen[1].any() or (seen[0] & seen[1]).sum() > 0.5 * seen[1].sum()


@partial(jax.jit, static_argnames="statistic")
def _pixels(day, value, valid, edges, statistic):
    """`composite` of many pixels."""
    one = partial(composite, statistic=statistic)
    return jax.vmap(one, in_axes=(None, 0, 0, None))(day, value, valid, edges)


@partial(jax.jit, static_argnames="statistic")
def _pixels_around(day, value, valid, centre, within, statistic):
    """`around` of many pixels."""
    one = partial(around, statistic=statistic)
    return jax.vmap(one, in_axes=(None, 0, 0, None, None))(day, value, valid, centre, within)


def _periods(day, edges, arrays, statistic, label):
    # in float32 days are good to three minutes, which is enough for a period
    on, at = jnp.asarray(day, float), jnp.asarray(edges, float)
    return map_pixels(
        lambda part: _pixels(on, *part, at, statistic), arrays, chunk=_CHUNK, label=label
    )


def _windows(day, centre, within, arrays, statistic, label):
    # days of the centres' size, so that a pass just `within` away is inside in float32 too
    first = np.floor(day.min())
    on, at = jnp.asarray(day - first, float), jnp.asarray(centre - first, float)
    reach = jnp.asarray(within + 1e-4, on.dtype)
    chunk = max(1, min(_CHUNK, _TABLE // (day.size * centre.size)))
    made, some, mean_day = map_pixels(
        lambda part: _pixels_around(on, *part, at, reach, statistic),
        arrays, chunk=chunk, label=label,
    )  # fmt: skip
    return made, some, np.asarray(mean_day, np.float64) + first


def _of_variable(variable, rows, between, statistic):
    """(window, y, x) composites, NaN where none, and the mean day (window, pixel)."""
    value = variable.transpose("y", "x", "t").values
    shape = value.shape[:2]
    value = value.reshape(-1, value.shape[-1])
    arrays = (np.nan_to_num(value), np.isfinite(value) & rows)
    made, some, mean_day = between(arrays, statistic, f"{variable.name} composites")
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
        seen = np.logical_or.reduce([_any(ds, name) for name in names])
        return ("t", np.where(seen, ds["t"].values, np.datetime64("NaT", "ns")))

    return ds.assign_coords(s1_day=_days(sentinel1(ds)), s2_day=_days(["S2ndvi"]))
