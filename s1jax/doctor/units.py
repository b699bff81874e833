"""Units of backscatter, plane by plane: dB, linear power, both in one cube, or neither."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int

from s1jax.cube import clean, facts
from s1jax.doctor.finding import Finding, dates, fault, note, share

NONE, DB, POWER, BOTH, OTHER = range(5)
"""What a plane looks like: too few values to tell, dB, linear power, a part of each, neither."""
WORDS = ("too few values", "dB", "linear power", "dB and linear power", "neither dB nor power")
_DECLARED = {DB: clean.DB, POWER: clean.LINEAR}
_Cube = Float[np.ndarray, "time y x"]
_Gone = Bool[np.ndarray, "time y x"]


def kinds(value: _Cube, missing: _Gone) -> Int[np.ndarray, "time"]:
    """What each plane looks like, by the signs and sizes of its values: dB, power and both as
    `open_cube` has it (`cube.facts.decibels`, `of_both`); neither, where it is not dB and its
    median is from 10 up (digital numbers).
    """
    there = ~missing
    count, negative, deep, small, bright = (
        (there & what).sum(axis=(1, 2))
        for what in (True, value < 0, value < -1, (value >= 0) & (value < 1), value >= facts.BRIGHT)
    )
    decibels = facts.decibels(negative, deep, count)
    found = np.where(decibels, DB, np.where(2 * bright > count, OTHER, POWER))
    found[decibels & facts.of_both(negative, small, count)] = BOTH
    return np.where(count >= clean.LEAST, found, NONE)


def in_db(value: np.ndarray, kind: Int[np.ndarray, "time"]) -> np.ndarray:
    """Backscatter, (time, ...), in dB, by what each plane looks like; NaN where not told."""
    wide = kind.reshape(-1, *([1] * (value.ndim - 1)))
    power = (wide == POWER) | ((wide == BOTH) & (value >= 0) & (value < 1))
    positive = power & (value > 0)
    db = 10 * np.log10(np.where(positive, value, value.dtype.type(1)))
    nothing = value.dtype.type(np.nan)
    db = np.where(power, np.where(positive, db, nothing), value)
    return np.where(wide == OTHER, nothing, db)


def units(
    kind: Mapping[str, Int[np.ndarray, "time"]],
    declared: Mapping[str, str],
    day: Float[np.ndarray, "time"],
) -> list[Finding]:
    """Findings about the units of all radar variables: `kinds` of each, and its attribute `units`,
    "" where there is none."""
    usual = {name: _usual(k) for name, k in kind.items()}
    agree = all(declared[n].lower() in _DECLARED.get(u, ()) for n, u in usual.items())
    found = [_mixed(kind, usual, day, agree)]
    for name, k in kind.items():
        if usual[name] == OTHER:
            found.append(
                fault(
                    "units-unknown",
                    f"{name} is neither dB nor linear power: digital numbers, or another band.",
                    name,
                    f"{(k == OTHER).sum()} of {(k != NONE).sum()} planes, declared: "
                    f"{declared[name] or 'nothing'}",
                    "calibrate to sigma0 or gamma0, or export the right band",
                )
            )
        elif usual[name] in (DB, POWER) and declared[name]:
            found.append(_contradiction(name, usual[name], declared[name], k))
    bare = [name for name in kind if not declared[name] and usual[name] in (DB, POWER)]
    if bare:
        looks = ", ".join(f"{name} {WORDS[usual[name]]}" for name in bare)
        found.append(
            note(
                "units-undeclared",
                "No units are declared for the backscatter; they are told by its values.",
                ", ".join(bare),
                f"by sign and size: {looks}",
                f"declare them: ds['{bare[0]}'].attrs['units'] = 'dB' or '1'",
            )
        )
    return [finding for finding in found if finding is not None]


def _usual(kind):
    """The commonest kind of plane; NONE where no plane has enough values."""
    count = np.bincount(kind, minlength=len(WORDS))
    count[NONE] = 0
    return int(count.argmax()) if count.any() else NONE


def _mixed(kind, usual, day, agree):
    """dB and power in one cube: inside planes, between dates, or between variables."""
    where, evidence = [], []
    for name, k in kind.items():
        inside = k == BOTH
        if inside.any():
            where.append(f"{name} within {dates(day[inside])}")
            evidence.append(f"{name}: {inside.sum()} planes hold both dB and linear power")
        db, power = (k == DB).sum(), (k == POWER).sum()
        if db and power:
            odd = k == (DB if db < power else POWER)
            where.append(f"{name} on {dates(day[odd])}")
            evidence.append(f"{name}: {db} dates in dB, {power} in linear power")
    clear = {name: u for name, u in usual.items() if u in (DB, POWER)}
    if len(set(clear.values())) > 1:
        where.append("between variables")
        evidence.append(", ".join(f"{name} in {WORDS[u]}" for name, u in clear.items()))
    if not where:
        return None
    return fault(
        "units-mixed",
        "Backscatter is in dB in one part and in linear power in another.",
        "; ".join(where),
        "; ".join(evidence),
        "convert each source once, before they are put together: 10 log10(power)",
    )._replace(mended=agree and where == ["between variables"])


def _contradiction(name, usual, declared, kind):
    wanted = next((k for k, words in _DECLARED.items() if declared.lower() in words), None)
    if wanted is usual:
        return None
    got = "an unknown unit" if wanted is None else WORDS[wanted]
    return fault(
        "units-contradict",
        f"{name} is declared as {got}, its values are {WORDS[usual]}.",
        name,
        f"units: {declared!r}; {share((kind == usual).sum() / max((kind != NONE).sum(), 1))} of "
        f"the planes look like {WORDS[usual]}",
        "correct the attribute `units`; an index of such values is wrong",
    )
