"""The cube as the findings about its content see it: fills out, radar in dB, a sample of pixels."""

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from s1jax.cube.funnel import funnel
from s1jax.doctor import bounds, units, values
from s1jax.doctor.expect import SHIPPED
from s1jax.doctor.finding import Finding, fault, note
from s1jax.doctor.radar import level
from s1jax.doctor.sheet import Sheet


class View(NamedTuple):
    """Arrays of some pixels inside the mask, dates ascending, NaN where there is nothing."""

    day: Float[np.ndarray, "time"]
    radar_db: Float[np.ndarray, "pixel time channel"]
    """VV, VH of each orbit."""
    ndvi: Float[np.ndarray, "pixel time"]
    flat: Int[np.ndarray, "pixel"]
    """Places in the flat (y, x) grid."""
    order: Int[np.ndarray, "time"]
    """Planes of the sheet, in the order of their dates; those without a date left out."""
    unlabelled: Bool[np.ndarray, "plane y x"]
    """Where the sheet has no label, fills and dead planes included."""


def view(sheet: Sheet, *, pixels: int, seed: int = 0) -> tuple[View, list[Finding]]:
    """At most `pixels` pixels with what can be trusted of them, and the findings about the rest.

    What is wrong with values is found here and taken out, so that one fault is one finding.
    """
    alone = not np.isfinite(sheet.values["S2ndvi"]).any()
    inside, found = values.in_valid_range(sheet.values, sheet.valid, sheet.nodata, sheet.day)
    more, missing = values.fills(inside, sheet.nodata, sheet.day)
    found += more
    radar = [name for name in sheet.values if name != "S2ndvi"]
    kind = {name: units.kinds(sheet.values[name], missing[name]) for name in radar}
    found += units.units(kind, {name: sheet.units[name] for name in radar}, sheet.day)
    flat = _pixels(missing, sheet.wanted, pixels, seed)
    order = np.argsort(sheet.day, kind="stable")
    order = order[np.isfinite(sheet.day[order])]

    def _rows(name: str) -> np.ndarray:
        value = sheet.values[name].reshape(len(sheet.day), -1)[:, flat]
        gone = missing[name].reshape(len(sheet.day), -1)[:, flat]
        return np.where(gone, np.float32(np.nan), value)

    db = [units.in_db(_rows(name), kind[name]) for name in radar]
    stored = _rows("S2ndvi")
    found += bounds.ndvi_range(stored)
    found.append(bounds.polarisations(db[0], db[1]))
    found += [level(n, *db[2 * k : 2 * k + 2]) for k, n in enumerate(radar[::2])]
    found.append(_apart(missing, sheet.wanted))
    ndvi = bounds.in_range(stored)
    # where nothing is left because of its unit or band, that has been said
    if not any((k == units.OTHER).any() for k in kind.values()):
        found.append(_nothing("no-radar", "VV", db[0]) or _nothing("no-radar", "VH", db[1]))
    if alone:
        found.append(_radar_alone())
    elif not bounds.radar_like(stored):
        found.append(_nothing("no-labels", "S2ndvi", ndvi))
    arrays = np.stack(db, axis=-1)[order].transpose(1, 0, 2), ndvi[order].T
    found.append(_counted(missing, sheet.wanted))
    made = View(sheet.day[order], *arrays, flat, order, missing["S2ndvi"])
    return made, [finding for finding in found if finding is not None]


def labels_of(sheet: Sheet, made: View) -> Float[np.ndarray, "time y x"]:
    """NDVI of whole planes inside the mask, NaN where there is none: for neighbours and splits."""
    there = sheet.wanted & ~made.unlabelled[made.order]
    return bounds.in_range(np.where(there, sheet.values["S2ndvi"][made.order], np.float32(np.nan)))


def empty(sheet: Sheet) -> Finding | None:
    """Dates on which nothing at all was observed."""
    there = [np.isfinite(value).any(axis=(1, 2)) for value in sheet.values.values()]
    nothing = ~np.logical_or.reduce(there)
    if not nothing.any():
        return None
    return note(
        "empty-dates",
        "On some dates nothing was observed.",
        f"{nothing.sum()} of {nothing.size} dates",
        "all variables are missing; a missing period that keeps its date does no harm",
    )


def _counted(missing, wanted):
    """What `open_cube` counts, of the cube as it came without its fills."""
    dims, gone, there = ("t", "y", "x"), np.float16(np.nan), np.float16(0)
    left = {name: (dims, np.where(away, gone, there)) for name, away in missing.items()}
    counts = funnel(xr.Dataset(left | {"mask": (dims[1:], wanted)}))
    return note("pixels", "What there is.", "all pixels and dates", counts.replace("\n", "; "))


def _pixels(missing, wanted: Bool[np.ndarray, "y x"], pixels: int, seed: int):
    """Places of some pixels inside the mask that have anything, in order."""
    there = np.logical_or.reduce([(~gone).any(axis=0) for gone in missing.values()])
    places = np.flatnonzero((there & wanted).ravel())
    return np.sort(np.random.default_rng(seed).permutation(places)[:pixels])


def is_empty(made: View) -> bool:
    """Whether VV, VH or NDVI is nowhere: then there is nothing to relate."""
    parts = (made.radar_db[..., 0], made.radar_db[..., 1], made.ndvi)
    return not all(np.isfinite(part).any() for part in parts)


def _radar_alone():
    return note(
        "radar-alone",
        "There is no NDVI here: nothing to learn from, and nothing to score with.",
        "S2ndvi",
        "no value at all",
        f"networks.fill with the shipped weights needs no label; {SHIPPED}",
    )


def _apart(missing, wanted):
    """Radar and labels that are nowhere at one pixel."""
    radar, ndvi = ((~missing[name]).any(axis=0) & wanted for name in ("VV", "S2ndvi"))
    if not radar.any() or not ndvi.any() or (radar & ndvi).any():
        return None
    return fault(
        "never-together",
        "VV and S2ndvi never have a value at one pixel: nothing relates the two.",
        "VV, S2ndvi",
        f"VV at {radar.sum():,} pixels, S2ndvi at {ndvi.sum():,}, both at 0",
        "check that both sensors cover the area, and that neither was shifted or cut",
    )


def _nothing(name, variable, value):
    if np.isfinite(value).any():
        return None
    return fault(
        name,
        f"No value of {variable} is left inside the mask.",
        variable,
        f"0 of {value.size:,} values",
        "check mask, fills and bands",
    )
