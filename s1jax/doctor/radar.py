"""Radar: units of planes, levels that no surface has, several orbits under one name, open water."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int

from s1jax.cube.findings import Finding, dates, share
from s1jax.cube.values import DB, LEAST, LINEAR, VariableFacts, both_units, decibels
from s1jax.doctor.catalogue import finding

REPEAT = 6
"""Days after which a track of Sentinel-1 can come again (12 with one satellite)."""
_Radar = Float[np.ndarray, "pixel time"]
NONE, DECIBEL, POWER, BOTH, OTHER = range(5)
"""What a plane looks like: too few values to tell, dB, linear power, a part of each, neither."""
WORDS = ("too few values", "dB", "linear power", "dB and linear power", "neither dB nor power")
_DECLARED = {DECIBEL: DB, POWER: LINEAR}
_Days = Float[np.ndarray, "time"]
_Values = Float[np.ndarray, "..."]


def tracks_by_day(
    day: Float[np.ndarray, "time"], seen: Bool[np.ndarray, "time"]
) -> Int[np.ndarray, "time"]:
    """Number of the track of each acquisition from 1 on, 0 where there was none.

    A track comes on days that are equal modulo 6. Residues with less than a tenth of the dates are
    taken as the next one (acquisitions about midnight).
    """
    residue = np.floor(day).astype(int) % REPEAT
    count = np.bincount(residue[seen], minlength=REPEAT)
    kept = np.flatnonzero(count >= max(2, 0.1 * seen.sum()))
    if kept.size == 0:
        return seen.astype(int)
    apart = np.abs(residue[:, None] - kept)
    nearest = np.minimum(apart, REPEAT - apart).argmin(axis=1)
    return np.where(seen, nearest + 1, 0)


def orbits_of_acquisitions(day: Float[np.ndarray, "time"], vv_db: _Radar) -> Finding | None:
    """Acquisitions of two tracks or more of the same pixels, and no variable separates them."""
    seen = np.any(np.isfinite(vv_db), axis=0)
    track = tracks_by_day(day, seen)
    names = np.unique(track[seen])
    if names.size < 2:
        return None
    there = np.isfinite(vv_db)[:, None] & (track == names[:, None])
    count = there.sum(axis=-1)
    both = (count > 0).all(axis=1)
    if not both.any():
        return None
    total = np.where(there, vv_db[:, None], 0.0).sum(axis=-1)
    between = float((total[both] / count[both]).std(axis=1).mean())
    counts = ", ".join(str(int((track == name).sum())) for name in names)
    return finding(
        "orbits-mixed",
        f"VV, VH: {names.size} tracks by their days (modulo {REPEAT})",
        f"{counts} dates; their means differ by {between:.1f} dB (std) in a pixel, by look angle",
        what="Acquisitions of several tracks are mixed and nothing separates them.",
        remedy="give the track of each date in s1_track (t): align_cube then keeps orbits apart",
    )


def orbits_of_composites(vv_db: _Radar, vh_db: _Radar, step: float) -> Finding | None:
    """Composites whose level alternates from one to the next, as two tracks in turn make it.

    The power of the mean level at a period of two dates, over its mean between two and three: 1 by
    chance, and of white noise above 8 with probability .005 (chi-squared of one degree of freedom);
    here VV and VH both are. With steps of more than 16 days two dates are near a season of rice,
    and this tells nothing.
    """
    if step > 16:
        return None
    both = [alternation(radar) for radar in (vv_db, vh_db)]
    if None in both:
        return None
    ratio, height = (min(pair) for pair in zip(*both, strict=True))
    if ratio < 8.0 or height < 0.3:
        return None
    return finding(
        "orbits-mixed",
        "VV, VH, every second date",
        f"{height:.1f} dB from one date to the next; {ratio:.0f} times the power of chance",
        what="Backscatter alternates between two levels: composites of two orbits in turn.",
        remedy="make composites of each orbit alone: VV, VH and VV_2, VH_2",
    )


def alternation(radar: _Radar) -> tuple[float, float] | None:
    """(power at a period of two dates over its mean at two to three, step in dB); None where fewer
    than 16 dates have half of the pixels."""
    seen = np.flatnonzero(np.isfinite(radar).mean(axis=0) > 0.5)
    if seen.size < 16:
        return None
    level = np.interp(np.arange(seen[0], seen[-1] + 1), seen, np.nanmean(radar[:, seen], axis=0))
    level = level[: level.size // 2 * 2]
    power = np.abs(np.fft.rfft(level - level.mean())) ** 2
    frequency = np.arange(power.size) / level.size
    beside = power[(frequency > 1 / 3) & (frequency < 0.5)].mean()
    sign = np.where(np.arange(level.size) % 2 == 0, 1.0, -1.0)
    # a component at the very end of the spectrum has half the freedom, and the same mean power
    return float(power[-1] / max(beside, 1e-12)), float(2 * abs((level * sign).mean()))


def orbit_unknown() -> Finding:
    """Composites that do not say which orbit they are of."""
    evidence = (
        "absent; ascending and descending passes differ by 1 to 3 dB over crops, and a composite "
        "does not show a mix that changes from date to date"
    )
    return finding("orbit-unknown", "s1_track (t), or VV_2, VH_2", evidence)


def water(vv_db: _Radar, vh_db: _Radar, ndvi: _Radar) -> float:
    """Share of the pixels that look like open water: medians of VV below -11 dB, of VH below -20.5
    dB and of NDVI, where there is any, below 0.3; dry sand is as dark, and is counted too.

    To radar so look 70 % of the simulator's ponds (wind roughens them), 1 % of its other pixels.
    """
    both = np.isfinite(vv_db) & np.isfinite(vh_db)
    seen = both.any(axis=1)
    if not seen.any():
        return 0.0
    vv, vh = (np.where(both, db, np.nan)[seen] for db in (vv_db, vh_db))
    # a pixel without labels is judged by its radar
    green = np.where(np.isfinite(ndvi).any(axis=1, keepdims=True), ndvi, 0.0)[seen]
    wet = (np.nanmedian(vv, axis=1) < -11.0) & (np.nanmedian(vh, axis=1) < -20.5)
    return float((wet & (np.nanmedian(green, axis=1) < 0.3)).mean())


def level(name: str, vv_db: _Radar, vh_db: _Radar) -> Finding | None:
    """Backscatter whose level and whose distance from VV to VH are those of amplitude taken for
    power, half as many dB, or of dB taken twice; in both polarisations or in one alone.

    Over land VH is near -18 dB and 6 to 9 dB below VV; over forest, where it is highest, near -12
    and 6 below. Of amplitude as power VH is above -12.5 dB and less than 5.5 dB below VV; of power
    squared VV is below -18 dB and VH 12 dB and more below that. Where one of them alone is changed,
    VV and VH are farther apart than on any land, or VH is above VV by less than where they are
    swapped (6 dB and more).
    """
    both = np.isfinite(vv_db) & np.isfinite(vh_db)
    if both.sum() < 30:
        return None
    vv, vh, apart = (float(np.median(db[both])) for db in (vv_db, vh_db, vv_db - vh_db))
    other = name.replace("VV", "VH")
    amplitude = {
        f"{name} and {other}": vh > -12.5 and 1.0 < apart < 5.5,
        f"{name} alone": vv > -8.5 and vh > -23.0 and apart > (10.0 if vv > -5.9 else 11.6),
        f"{other} alone": vh > -12.5 and -5.0 < apart <= 1.0,
    }
    squared = {
        f"{name} and {other}": vv < -18.0 and apart > 12.0,
        f"{name} alone": vv < -18.0 and vh < -13.5 and -12.0 < apart < 0.0,
        f"{other} alone": vv >= -18.0 and vh < -24.0 and apart > 15.0,
    }
    kinds = (
        (amplitude, "amplitude (the root of power)", "square the values before they are opened"),
        (squared, "the square of power", "take 10 log10 of power once"),
    )
    for odd, unit, remedy in kinds:
        for bands in (bands for bands, is_odd in odd.items() if is_odd):
            medians = f"medians {vv:.1f} and {vh:.1f} dB, {apart:.1f} dB apart"
            evidence = f"{medians}; crops lie near -11 and -18 dB, 6 to 9 dB apart"
            remedy += "; over a city or dense forest it may be true"
            where = f"{name}, {other}"
            return finding("radar-level", where, evidence, remedy=remedy, bands=bands, unit=unit)
    return None


def outliers(name: str, db: _Radar) -> Finding | None:
    """Backscatter beyond [-50, 30] dB in more than 1 of 1,000 values."""
    seen = db[np.isfinite(db)]
    part = ((seen < -50) | (seen > 30)).mean() if seen.size else 0.0
    if part <= 1e-3:
        return None
    evidence = f"{share(part, digits=2)} of the values are beyond [-50, 30] dB"
    return finding("radar-outliers", name, evidence, variable=name)


def units_of_planes(of: VariableFacts) -> Int[np.ndarray, "time"]:
    """What each plane looks like, by the signs and sizes of its values, as `open_cube` has it;
    OTHER where it is not dB and its median is from 10 up (digital numbers)."""
    signs = decibels(of)
    unit = np.where(signs, DECIBEL, np.where(2 * of.bright > of.count, OTHER, POWER))
    unit[signs & both_units(of)] = BOTH
    return np.where(of.count >= LEAST, unit, NONE)


def in_db(value: np.ndarray, unit: Int[np.ndarray, "time"]) -> np.ndarray:
    """Backscatter, (time, ...), in dB, by the unit of each plane; NaN where it is unknown."""
    unit = unit.reshape(-1, *([1] * (value.ndim - 1)))
    power = (unit == POWER) | ((unit == BOTH) & (value >= 0) & (value < 1))
    positive = power & (value > 0)
    db = 10 * np.log10(np.where(positive, value, value.dtype.type(1)))
    nothing = value.dtype.type(np.nan)
    db = np.where(power, np.where(positive, db, nothing), value)
    return np.where(unit == OTHER, nothing, db)


def unit_findings(
    unit: Mapping[str, Int[np.ndarray, "time"]], declared: Mapping[str, str], day: _Days
) -> list[Finding]:
    """Findings about the units of all radar variables: of each plane (`units_of_planes`), and as
    declared, "" where not."""
    usual = {name: _commonest(of) for name, of in unit.items()}
    agree = all(declared[n].lower() in _DECLARED.get(u, ()) for n, u in usual.items())
    findings = [_mixed(unit, usual, day, agree)]
    for name, of in unit.items():
        judged = max((of != NONE).sum(), 1)
        if usual[name] == OTHER:
            evidence = f"{(of == OTHER).sum()} of {judged} planes, declared: "
            evidence += declared[name] or "nothing"
            findings.append(finding("units-unknown", name, evidence, variable=name))
        elif usual[name] in _DECLARED and declared[name]:
            kinds = [k for k, words in _DECLARED.items() if declared[name].lower() in words]
            if usual[name] in kinds:
                continue
            looks = f"{share((of == usual[name]).sum() / judged)} of the planes look like"
            stated, word = WORDS[kinds[0]] if kinds else "an unknown unit", WORDS[usual[name]]
            evidence = f"units: {declared[name]!r}; {looks} {word}"
            words = {"declared": stated, "variable": name, "unit": word}
            findings.append(finding("units-contradict", name, evidence, kind=None, **words))
    bare = [name for name in unit if not declared[name] and usual[name] in _DECLARED]
    if bare:
        looks = ", ".join(f"{name} {WORDS[usual[name]]}" for name in bare)
        evidence = f"by sign and size: {looks}"
        findings.append(finding("units-undeclared", ", ".join(bare), evidence, variable=bare[0]))
    return [one for one in findings if one is not None]


def _commonest(unit):
    """The commonest unit of planes; NONE where no plane has enough values."""
    count = np.bincount(unit, minlength=len(WORDS))
    count[NONE] = 0
    return int(count.argmax()) if count.any() else NONE


def _mixed(unit, usual, day, agree):
    """dB and power in one cube: inside planes, between dates, or between variables."""
    where, evidence = [], []
    for name, of in unit.items():
        inside = of == BOTH
        if inside.any():
            where.append(f"{name} within {dates(day[inside])}")
            evidence.append(f"{name}: {inside.sum()} planes hold both dB and linear power")
        db, power = (of == DECIBEL).sum(), (of == POWER).sum()
        if db and power:
            odd = of == (DECIBEL if db < power else POWER)
            where.append(f"{name} on {dates(day[odd])}")
            evidence.append(f"{name}: {db} dates in dB, {power} in linear power")
    clear = {name: u for name, u in usual.items() if u in _DECLARED}
    if len(set(clear.values())) > 1:
        where.append("between variables")
        evidence.append(", ".join(f"{name} in {WORDS[u]}" for name, u in clear.items()))
    if not where:
        return None
    mixed = finding("units-mixed", "; ".join(where), "; ".join(evidence))
    return mixed._replace(repaired=agree and where == ["between variables"])


def swapped(vv_db: _Values, vh_db: _Values) -> Finding | None:
    """VH above VV on most pixels and days: no natural surface does that; the bands are swapped."""
    both = np.isfinite(vv_db) & np.isfinite(vh_db)
    above = (vh_db[both] > vv_db[both]).mean() if both.any() else 0.0
    if above <= 0.5:
        return None
    evidence = f"VH above VV in {share(above)} of {both.sum():,} values; no natural surface is so"
    return finding("polarisations-swapped", "VV, VH", evidence)
