"""Orbits of Sentinel-1 in a cube: which there are, which way they go, which are put together."""

import re
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Int

from s1jax.cube.names import sentinel1

WAYS = ("ascending", "descending")
"""The directions of a pass; "" where it is not told."""

_NUMBERED = re.compile(r"(\d+(?:(?:[\s,;/&:=(-]|and)*\d+)*)\W{0,3}(asc|desc)(?:ending)?\b", re.I)
_KEYS = ("orbit_direction", "orbit_pass", "orbit_state", "sat:orbit_state", "direction", "orbit")
"""Attributes of VV_2, ... that may say which way its orbit goes."""


class Orbits(NamedTuple):
    """What becomes one pair of channels each: groups of tracks, or of pairs of variables."""

    tracks: tuple[tuple[int, ...], ...]
    """Numbers of `s1_track`, where dates are to be told apart by them; else none."""
    pairs: tuple[tuple[str, ...], ...]
    """Suffixes of variables, "" of VV, VH, "2" of VV_2, VH_2, ...; of tracks only ("",)."""
    lines: tuple[str, ...]
    """About orbits that are put together."""


def orbits_of(ds: xr.Dataset, most: int | None) -> Orbits:
    """The orbits of a cube; more than `most` are grouped by direction, all if None is.

    The direction of a track stands in an attribute `s1_track` of the cube or of that variable ("15
    ascending, 37 descending"), or as flag_values and flag_meanings of it; that of VV_2, VH_2 among
    the attributes of VV_2 (orbit_direction = "ascending"). Orbits whose direction is not told are a
    group of their own, and where that makes more groups than `most`, all orbits are one.

    Raises:
      ValueError: `most` is below 1, or `s1_track` holds no numbers, or none on dates with radar.
    """
    if most is not None and most < 1:
        raise ValueError(f"orbits: got {most}, expected 1 or more, or None for all")
    suffixes = tuple(name.partition("_")[2] for name in sentinel1(ds)[::2])
    tracks = _tracks(ds) if len(suffixes) == 1 else []
    found = tracks or [*suffixes]
    groups = [(one,) for one in found]
    lines = ()
    if most is not None and len(found) > most:
        way = _of_tracks(ds) if tracks else _of_variables(ds)
        by_way = {}
        for one in found:
            by_way.setdefault(way.get(one, ""), []).append(one)
        by_way = by_way if len(by_way) <= most else {"of any direction": found}
        groups = [tuple(group) for group in by_way.values()]
        words = "; ".join(
            f"{_list(of, tracks)} {way or '(directions not declared)'}"
            for way, of in by_way.items()
        )
        joined = f"{len(found)} orbits put together by direction in linear power"
        lines = (f"{joined}, {len(groups)} left: {words}",)
    if tracks:
        return Orbits(tuple(groups), (("",),), lines)
    return Orbits((), tuple(groups), lines)


def together(ds: xr.Dataset, orbits: Orbits) -> xr.Dataset:
    """The cube with one pair VV, VH [, VV_2, VH_2] for each group of variables: the mean in linear
    power of what is there."""
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
            value = np.stack([ds[n].transpose("t", "y", "x").values for n in names])
            there = np.isfinite(value)
            power = np.where(there, 10 ** (np.where(there, value, 0) / np.float32(10)), 0)
            mean = power.sum(axis=0) / np.maximum(there.sum(axis=0), 1)
            made = np.where(mean > 0, 10 * np.log10(np.where(mean > 0, mean, 1)), np.nan)
            out[key] = (("t", "y", "x"), made.astype(np.float32), ds[names[0]].attrs)
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


def _tracks(ds):
    """The tracks, ascending; [] where no dates are to be told apart."""
    if "s1_track" not in ds.variables:
        return []
    track = track_of(ds)
    tracks = sorted(set(track.tolist()) - {0})
    rest = ds.isel(t=track == 0)
    lost = np.logical_or.reduce(
        [
            np.isfinite(rest[name].transpose("t", "y", "x").values).any(axis=(1, 2))
            for name in sentinel1(ds)
        ]
    )
    if tracks and lost.any():
        days = ", ".join(np.datetime_as_string(rest["t"].values[lost][:6], unit="D"))
        got = f"0 on {lost.sum()} dates with VV or VH ({days})"
        raise ValueError(f"s1_track: got {got}, expected the number of their track")
    return tracks


def _of_tracks(ds):
    """Direction of each track that is told."""
    own = ds["s1_track"].attrs
    texts = [ds.attrs.get("s1_track", ""), *own.values()]
    listed = [pair for text in texts for pair in _NUMBERED.findall(str(text))]
    way = {int(n): _way(word) for numbers, word in listed for n in re.findall(r"\d+", numbers)}
    numbers, words = np.ravel(own.get("flag_values", [])), str(own.get("flag_meanings", "")).split()
    if numbers.dtype.kind in "iu" and len(words) == numbers.size:
        way |= {int(n): _way(word) for n, word in zip(numbers, words, strict=True)}
    return {n: found for n, found in way.items() if found}


def _of_variables(ds):
    """Direction of each pair of variables that is told."""
    way = {}
    for name in sentinel1(ds)[::2]:
        attrs = {str(key).lower(): str(value) for key, value in ds[name].attrs.items()}
        words = [_way(attrs[key]) for key in _KEYS if key in attrs]
        way[name.partition("_")[2]] = next(filter(None, words), "")
    return way


def _way(word):
    """The direction that a word begins with, "" where it is none."""
    lower = word.strip().lower()
    return next((way for way in WAYS if lower.startswith(way[:3])), "")


def _list(group, tracks):
    names = group if tracks else [f"VV_{suffix}" if suffix else "VV" for suffix in group]
    return ", ".join(map(str, names))
