"""A cube on one grid of days: its own where regular, else composites, orbit by orbit."""

import logging
import re
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Int

from s1jax.batching import map_chunks
from s1jax.compositing import composite, composite_windows, is_regular, period_edges
from s1jax.cube.dates import check_step, from_days, instant, mean_valid, to_days
from s1jax.cube.findings import Finding, repair, requested, with_findings
from s1jax.cube.names import channels, sentinel1

log = logging.getLogger("s1jax")
STEP = 12.0
"""Default length of a period, days: the repeat cycle of Sentinel-1."""
RADAR, NDVI = ("mean_db", "median"), ("median", "mean", "max")
"""Statistics of composites: a mean of VV or VH in dB would be none of powers."""
DIRECTIONS = ("ascending", "descending")
"""Directions of an orbit; "" where none is declared."""
_CHUNK = 16_384
_TABLE = 16_777_216
"""Entries of the (pixel, window, day) tables of a chunk, about."""
_NUMBERED = re.compile(r"(\d+(?:(?:[\s,;/&:=(-]|and)*\d+)*)\W{0,3}(asc|desc)(?:ending)?\b", re.I)
_KEYS = ("orbit_direction", "orbit_pass", "orbit_state", "sat:orbit_state", "direction", "orbit")
"""Attributes of VV_2, ... that may declare the direction of its orbit."""


class OrbitGroups(NamedTuple):
    """What becomes one pair of channels each: groups of tracks, or of pairs of variables."""

    tracks: tuple[tuple[int, ...], ...]
    """Numbers of `s1_track`, where they separate dates; else none."""
    pairs: tuple[tuple[str, ...], ...]
    """Suffixes of variables, "" of VV, VH, "2" of VV_2, VH_2, ...; of tracks only ("",)."""
    findings: tuple[Finding, ...]
    """About orbits that are put together."""


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
    first non-zero track, VV_2, VH_2 for the second), median NDVI, t the centre of the period. The
    coordinates `s1_day` and `s2_day` (t) are the days of the mean observation over all pixels. What
    was done is logged, and kept in attrs["s1jax_repairs"]. The whole cube is read into memory.

    Args:
      ds: cube of `open_cube`.
      start: beginning of the first period, YYYY-MM-DD; that of the cube's first day where None.
      step: length of a period, days; where None that of regular dates, else 12.
      window: days around the centre of a period, half of them to either side, that its composite is
        made of: longer than `step` and windows overlap. The period itself where None.
      within: most days between a Sentinel-1 pass and the mean day of the NDVI of the composite it
        goes into (its centre where that has none). Passes at any distance where None.
      radar: statistic of VV and VH: "mean_db", the mean of linear powers, or "median".
      ndvi: statistic of NDVI: "median", "mean" or "max".
      orbits: most pairs VV, VH that are kept, grouped by direction (`orbits_of`); all where None,
        which no shipped weights take beyond two.

    Raises:
      ValueError: `start` is no date, `step` or `window` is not positive or more than 100 years, the
        periods are more than 20,000, `within` is negative, there is no such statistic, or dates
        with radar are of no track beside those of one.
    """
    check_step(step)
    check_step(window, "window")
    for name, got, expected in (("radar", radar, RADAR), ("ndvi", ndvi, NDVI)):
        if got not in expected:
            raise ValueError(f"{name}: got {got!r}, expected one of {expected}")
    day = to_days(ds["t"].values)
    several = orbits_of(ds, orbits)
    ds = _mean_of_orbits(ds, several)
    one = len(several.tracks) < 2 and all(len(group) == 1 for group in several.tracks)
    as_it_is = (start, window, within) == (None, None, None) and one
    if as_it_is and _spaced(day, step) and is_regular(day) and _same_dates(ds):
        log.info("aligned: its own %d dates are regular and of one orbit", day.size)
        ds = _noted(ds, several.findings) if several.findings else ds
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
        near = _radar_near(ds, several, at, within, radar)
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
    what = f"aligned: {day.size - early} dates put into {periods}{before}"
    return _noted(out, [*several.findings, requested(what), *_left_behind(ds, out)])


def pair_cube(ds: xr.Dataset, *, within: float | int = 3.0, orbits: int | None = 2) -> xr.Dataset:
    """The cube on the days of Sentinel-2, with what Sentinel-1 saw within so many days of each.

    VV and VH are the mean in linear power for each orbit, as of `align_cube`, of the passes no more
    than `within` days away, NaN where there is none; S2ndvi is as it was. Sentinel-1 passes that
    are near no Sentinel-2 day are left behind, and counted in attrs["s1jax_repairs"]. `s1_day` and
    `s2_day` (t) are the mean days over all pixels. The whole cube is read into memory.

    Args:
      ds: cube of `open_cube`, of acquisitions.
      within: most days between the two sensors.
      orbits: most pairs VV, VH that are kept, as of `align_cube`.

    Raises:
      ValueError: `within` is negative, or no date has NDVI.
    """
    several = orbits_of(ds, orbits)
    day, seen = to_days(ds["t"].values), _any(ds, "S2ndvi")
    if not seen.any():
        raise ValueError("S2ndvi: got no date with a value, expected days to pair with")
    averaged = _mean_of_orbits(ds, several)
    out = _radar_near(averaged, several, day[seen], within, "mean_db")
    ndvi = ds["S2ndvi"].transpose("t", "y", "x")
    out["S2ndvi"] = (("t", "y", "x"), ndvi.values[seen], ndvi.attrs)
    out = out.assign_coords(s2_day=("t", out["t"].values))
    passes = day[np.logical_or.reduce([_any(ds, name) for name in sentinel1(ds)])]
    far = (np.abs(passes[:, None] - day[seen]).min(axis=1) > within).sum()
    what = (
        f"paired: {seen.sum()} days of Sentinel-2 with Sentinel-1 within {within:g} days; "
        f"{far} of {passes.size} radar days are near none"
    )
    return _noted(out, [*several.findings, requested(what), *_left_behind(ds, out)])


def _radar_near(ds, several, days, within, radar):
    """VV, VH and `s1_day` on the given days, of what Sentinel-1 saw within so many days of each."""
    if not within >= 0:
        raise ValueError(f"within: got {within} days, expected >= 0")
    between = partial(_windows, to_days(ds["t"].values), days, within)
    return _composites(ds, several, days, between, radar, None)


def orbits_of(ds: xr.Dataset, most: int | None) -> OrbitGroups:
    """The orbits of a cube; more than `most` are grouped by direction; None keeps all.

    An attribute `s1_track` of the cube or of that variable declares the direction of tracks ("15
    ascending, 37 descending"), or flag_values and flag_meanings of it; attributes of VV_2 that of
    VV_2, VH_2 (orbit_direction = "ascending"). Orbits without a direction are a group of their own;
    where that makes more groups than `most`, all orbits are one.

    Raises:
      ValueError: `most` is below 1, or `s1_track` holds no numbers, or none on dates with radar.
    """
    if most is not None and most < 1:
        raise ValueError(f"orbits: got {most}, expected 1 or more, or None for all")
    suffixes = [name.partition("_")[2] for name in sentinel1(ds)[::2]]
    tracks = _tracks(ds) if len(suffixes) == 1 else []
    orbits, findings = tracks or suffixes, ()
    groups: dict[int | str, list] = {orbit: [orbit] for orbit in orbits}
    if most is not None and len(orbits) > most:
        direction = _of_tracks(ds) if tracks else _of_variables(ds)
        groups = {}
        for orbit in orbits:
            groups.setdefault(direction.get(orbit, ""), []).append(orbit)
        groups = groups if len(groups) <= most else {"of any direction": orbits}
        names = {orbit: str(orbit) if tracks else f"VV_{orbit}".strip("_") for orbit in orbits}
        words = "; ".join(
            f"{', '.join(names[orbit] for orbit in group)} {word or '(directions not declared)'}"
            for word, group in groups.items()
        )
        joined = f"{len(orbits)} orbits put together by direction in linear power"
        findings = (repair(f"{joined}, {len(groups)} left: {words}"),)
    pairs = tuple(map(tuple, groups.values()))
    return OrbitGroups(pairs, (("",),), findings) if tracks else OrbitGroups((), pairs, findings)


def _mean_of_orbits(ds, orbits):
    """One pair VV, VH for each group of variables: the mean in linear power of what is there."""
    if all(len(group) == 1 for group in orbits.pairs):
        return ds
    out = ds.drop_vars(sentinel1(ds))
    for k, group in enumerate(orbits.pairs, start=1):
        for head in ("VV", "VH"):
            names = [f"{head}_{suffix}" if suffix else head for suffix in group]
            key = head if k == 1 else f"{head}_{k}"
            if len(names) == 1:
                out[key] = ds[names[0]]
                continue
            value = np.stack([ds[n].transpose("t", "y", "x").values for n in names], axis=-1)
            mean = mean_valid(value.astype(np.float32), power=True)
            out[key] = (("t", "y", "x"), mean, ds[names[0]].attrs)
    return out


def track_of(ds: xr.Dataset) -> Int[np.ndarray, "time"]:
    """Number of the track on each date; 0 without Sentinel-1.

    Raises:
      ValueError: `s1_track` holds no whole numbers.
    """
    track = ds["s1_track"].values
    if track.dtype.kind not in "iuf":
        raise ValueError(f"s1_track: got {track.dtype}, expected numbers, 0 where there is no S1")
    number = np.nan_to_num(track.astype(float), posinf=np.inf, neginf=-np.inf)
    odd = ~np.isfinite(number) | (number != np.round(number))
    if odd.any():
        raise ValueError(f"s1_track: got {number[odd][0]}, expected whole numbers")
    return number.astype(int)


def _composites(ds, several: OrbitGroups | None, centre, between, radar, ndvi):
    """The cube on the days `centre`, made by `between`; without radar where `several` is None, and
    without S2ndvi where `ndvi` is."""
    variables, days = {}, {"s1_day": [], "s2_day": []}
    every = np.ones(ds.sizes["t"], bool)
    groups = [] if several is None else several.tracks or [()]
    for orbit, group in enumerate(groups, start=1):
        rows = np.isin(track_of(ds), group) if group else every
        for name in sentinel1(ds):
            base, _, number = name.partition("_")
            suffix = number or ("" if orbit == 1 else str(orbit))
            key = f"{base}_{suffix}" if suffix else base
            variables[key], mean_day = _of_variable(ds[name], rows, between, radar)
            days["s1_day"].append(mean_day)
    if ndvi is not None:
        variables["S2ndvi"], mean_day = _of_variable(ds["S2ndvi"], every, between, ndvi)
        days["s2_day"].append(mean_day)
    out = ds.drop_dims("t").assign_coords(t=from_days(centre))
    for name, value in variables.items():
        attrs = ds[name if name in ds else name.partition("_")[0]].attrs
        out[name] = (("t", "y", "x"), value, attrs)
    return out.assign_coords({name: _mean_day(rows) for name, rows in days.items() if rows})


def _left_behind(ds, out):
    kept = (*channels(ds), "t")
    dropped = [n for n, v in ds.variables.items() if "t" in v.dims and n not in (*kept, *out)]
    what = f"left behind, of single dates: {', '.join(map(str, dropped))}"
    return [requested(what)] if dropped else []


def _noted(ds, findings):
    """The cube with findings, which are logged."""
    for finding in findings:
        log.info("%s", finding.text)
    return with_findings(ds, findings)


def _spaced(day, step):
    """Whether a step is that of the days themselves, or there is no step."""
    return step is None or bool((np.abs(np.diff(day) - step) < 1e-3).all())


def _any(ds, name):
    """Dates on which a variable has any value."""
    return np.isfinite(ds[name].transpose("t", "y", "x").values).any(axis=(1, 2))


def _same_dates(ds):
    """Whether most dates with NDVI, if any, have Sentinel-1 too, as composites do."""
    seen = [_any(ds, name) for name in ("VV", "S2ndvi")]
    return not seen[1].any() or (seen[0] & seen[1]).sum() > 0.5 * seen[1].sum()


@partial(jax.jit, static_argnames=("composite_of", "statistic"))
def _pixels(composite_of, day, value, valid, *windows, statistic):
    """`composite` or `composite_windows` of many pixels."""
    axes = (None, 0, 0, *[None] * len(windows))
    one = partial(composite_of, statistic=statistic)
    return jax.vmap(one, in_axes=axes)(day, value, valid, *windows)


def _periods(day, edges, arrays, statistic, label):
    # in float32 days are good to three minutes, which is enough for a period
    on, at = jnp.asarray(day, float), jnp.asarray(edges, float)
    return map_chunks(
        lambda part: _pixels(composite, on, *part, at, statistic=statistic),
        arrays, chunk=_CHUNK, label=label,
    )  # fmt: skip


def _windows(day, centre, within, arrays, statistic, label):
    # days of the centres' size, so that a pass just `within` away is inside in float32 too
    first = np.floor(day.min())
    on, at = jnp.asarray(day - first, float), jnp.asarray(centre - first, float)
    reach = jnp.asarray(within + 1e-4, on.dtype)
    value, some, mean_day = map_chunks(
        lambda part: _pixels(composite_windows, on, *part, at, reach, statistic=statistic),
        arrays, chunk=max(1, min(_CHUNK, _TABLE // (day.size * centre.size))), label=label,
    )  # fmt: skip
    return value, some, np.asarray(mean_day, np.float64) + first


def _of_variable(variable, rows, between, statistic):
    """(window, y, x) composites, NaN where none, and the mean day (window, pixel)."""
    value = variable.transpose("y", "x", "t").values
    shape = value.shape[:2]
    value = value.reshape(-1, value.shape[-1])
    arrays = (np.nan_to_num(value), np.isfinite(value) & rows)
    value, some, mean_day = between(arrays, statistic, f"{variable.name} composites")
    value = np.where(some, value, np.float32(np.nan)).T.reshape(-1, *shape)
    return value, np.where(some, mean_day.astype(np.float64), np.nan).T


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


def _tracks(ds) -> list:
    """The tracks, ascending; [] where none separate dates."""
    if "s1_track" not in ds.variables:
        return []
    track = track_of(ds)
    tracks = sorted(set(track.tolist()) - {0})
    rest = ds.isel(t=track == 0)
    lost = np.logical_or.reduce([_any(rest, name) for name in sentinel1(ds)])
    if tracks and lost.any():
        days = ", ".join(np.datetime_as_string(rest["t"].values[lost][:6], unit="D"))
        got = f"0 on {lost.sum()} dates with VV or VH ({days})"
        raise ValueError(f"s1_track: got {got}, expected the number of their track")
    return tracks


def _of_tracks(ds) -> dict:
    """Direction of each track that is declared."""
    attrs = ds["s1_track"].attrs
    texts = [ds.attrs.get("s1_track", ""), *attrs.values()]
    listed = [pair for text in texts for pair in _NUMBERED.findall(str(text))]
    declared = [(int(n), word) for numbers, word in listed for n in re.findall(r"\d+", numbers)]
    flags, words = (
        np.ravel(attrs.get("flag_values", [])),
        str(attrs.get("flag_meanings", "")).split(),
    )
    if flags.dtype.kind in "iu" and len(words) == flags.size:
        declared += zip(flags.tolist(), words, strict=True)
    return {track: _direction(word) for track, word in declared if _direction(word)}


def _of_variables(ds) -> dict:
    """Direction of each pair of variables that is declared."""
    directions = {}
    for name in sentinel1(ds)[::2]:
        attrs = {str(key).lower(): str(value) for key, value in ds[name].attrs.items()}
        words = [_direction(attrs[key]) for key in _KEYS if key in attrs]
        directions[name.partition("_")[2]] = next(filter(None, words), "")
    return directions


def _direction(word):
    """The direction that a word begins with, "" where it is none."""
    lower = word.strip().lower()
    return next((direction for direction in DIRECTIONS if lower.startswith(direction[:3])), "")
