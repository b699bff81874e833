"""Values that are none: infinities, nodata declared and not, constant planes, dead periods, zeros.

All functions take one variable, (time, y, x), and tell from it what is to be taken as missing.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from s1jax.cube import facts
from s1jax.doctor.finding import Finding, dates, fault, share, warning

FILLS = (-9999, -32768, 32767, 65535, -999, 9999, -99, 1e20, 9.96921e36, -3.4028235e38)
"""Numbers that stand for "nothing" in common exports and formats."""
_Cube = Float[np.ndarray, "time y x"]


def fills(
    values: Mapping[str, _Cube],
    nodata: Mapping[str, tuple[float, ...]],
    day: Float[np.ndarray, "time"],
) -> tuple[list[Finding], dict[str, Bool[np.ndarray, "time y x"]]]:
    """Findings of all fills, and what is missing of each variable once they are taken out."""
    missing = {name: ~np.isfinite(value) for name, value in values.items()}
    found, constant, only = [], {}, {}
    for name, value in values.items():
        found.append(infinite(name, value, day))
        found.append(_filled(name, value, nodata[name], missing[name], declared=True))
        strange = undeclared(value, missing[name])
        found.append(_filled(name, value, strange, missing[name], declared=False))
        constant[name], only[name] = constant_planes(value, missing[name])
    zero = [constant[name] & (only[name] == 0) for name in values]
    empty = [missing[name].all(axis=(1, 2)) for name in values]
    dead = np.logical_and.reduce([z | e for z, e in zip(zero, empty, strict=True)])
    dead &= np.logical_or.reduce(zero)
    if dead.any():
        found.append(
            fault(
                "dead-period",
                "A whole period is exactly 0 in every band: nothing was seen, and nothing says so.",
                dates(day[dead]),
                f"{dead.sum()} of {dead.size} dates; an image masked everywhere is exported as 0",
                "take the planes as missing",
            )
        )
    for name in values:
        found.append(_constant(name, only[name], constant[name] & ~dead, day))
        missing[name][constant[name]] = True
    found += zeros(values, missing)
    return [finding for finding in found if finding is not None], missing


def in_valid_range(
    values: Mapping[str, _Cube],
    valid: Mapping[str, tuple[float, float]],
    nodata: Mapping[str, tuple[float, ...]],
    day: Float[np.ndarray, "time"],
) -> tuple[dict[str, _Cube], list[Finding]]:
    """The values, NaN outside of the valid range that their variable declares; fills and infinities
    stay. And the findings about what was outside."""
    kept, found = {}, []
    for name, value in values.items():
        low, high = valid[name]
        fill = np.isin(value, np.asarray(nodata[name], value.dtype))
        outside = np.isfinite(value) & ((value < low) | (value > high)) & ~fill
        kept[name] = np.where(outside, value.dtype.type(np.nan), value)
        if outside.any():
            planes = outside.any(axis=(1, 2))
            found.append(
                fault(
                    "outside-range",
                    "Values outside of the declared valid range stand for missing ones (CF 2.5.1).",
                    f"{name}, {dates(day[planes])}",
                    f"{outside.sum():,} values ({share(outside.mean())}) outside of "
                    f"[{low:.3g}, {high:.3g}]",
                    "take them as missing",
                )
            )
    return kept, found


def infinite(name: str, value: _Cube, day: Float[np.ndarray, "time"]) -> Finding | None:
    """+-inf among the values."""
    there = np.isinf(value)
    if not there.any():
        return None
    planes = there.all(axis=(1, 2))
    return fault(
        "infinite",
        "Infinite values stand for missing ones: means and maps of them are infinite or blank.",
        f"{name}, {there.any(axis=(1, 2)).sum()} of {len(value)} dates",
        f"{there.sum():,} values ({share(there.mean())}); whole planes: {planes.sum()}"
        + (f" ({dates(day[planes])})" if planes.any() else ""),
        "take them as missing; geedim and Earth Engine exports write -inf for masked floats",
    )


def undeclared(value: _Cube, missing: Bool[np.ndarray, "time y x"]) -> tuple[float, ...]:
    """Fills of `FILLS` that occur 3 times or more and stand alone: beyond what else is there.

    A known number counts only outside twice the span of the 1 and 99 % quantiles, so that NDVI
    stored times 10,000 keeps its values.
    """
    seen = value[~missing]
    if seen.size == 0:
        return ()
    known = [np.float32(fill) for fill in FILLS]
    counts = {float(fill): int((seen == fill).sum()) for fill in known}
    candidates = [fill for fill, count in counts.items() if count >= 3]
    rest = seen[~np.isin(seen, np.asarray(candidates, seen.dtype))]
    if not candidates or rest.size == 0:
        return ()
    low, high = np.quantile(rest[:: max(1, rest.size // 200_000)], (0.01, 0.99))
    wide = max(float(high - low), 1.0)
    return tuple(fill for fill in candidates if not low - wide < fill < high + wide)


def constant_planes(
    value: _Cube, missing: Bool[np.ndarray, "time y x"]
) -> tuple[Bool[np.ndarray, "time"], Float[np.ndarray, "time"]]:
    """Dates that `cube.facts.constant_planes` calls so, and the least value of each date."""
    low = np.where(missing, np.inf, value).min(axis=(1, 2))
    high = np.where(missing, -np.inf, value).max(axis=(1, 2))
    there = ~missing
    return facts.constant_planes(
        count=there.sum(axis=(1, 2)), low=low, high=high, seen=int(there.any(axis=0).sum())
    ), low


def zeros(
    values: Mapping[str, _Cube], missing: dict[str, Bool[np.ndarray, "time y x"]]
) -> list[Finding]:
    """Zeros that are no measurement; they become missing.

    Pixels exactly 0 in all bands at once (0 dB twice and NDVI 0 do not meet by chance) or in VV and
    VH of one orbit, and more than 1 % exact zeros in one variable.
    """
    found = []
    zero = {name: (value == 0) & ~missing[name] for name, value in values.items()}
    # where a band is missing the others tell
    both = np.logical_and.reduce([zero[name] | missing[name] for name in values])
    both &= np.add.reduce([zero[name].astype(int) for name in values]) >= 2
    pairs = {name: _pair(zero, name) for name in values}
    if both.any():
        # open_cube takes zeros in every band, and those in VV and VH of one orbit
        every = np.logical_and.reduce([*zero.values()])
        left = [zero[name] & both & ~(every | pairs[name]) for name in values]
        partly = int(np.logical_or.reduce(left).sum())
        found.append(
            fault(
                "zero-pixels",
                "Zeros in all bands at once stand for missing values.",
                f"{both.any(axis=(1, 2)).sum()} dates, {both.any(axis=0).sum():,} pixels",
                f"{both.sum():,} pixels x dates are exactly 0 in every band that is there; "
                f"{partly:,} lack a band that open_cube asks for",
                "take them as missing: 0 dB would be a city, NDVI 0 water",
            )._replace(mended=not partly)
        )
    for name in [name for name in values if name.startswith("VV")]:
        beside = pairs[name] & ~both
        if beside.any():
            pair = f"{name}, {name.replace('VV', 'VH')}"
            found.append(
                fault(
                    "zero-pair",
                    f"Zeros in {pair} at once stand for missing values: the edge of a swath.",
                    f"{beside.any(axis=(1, 2)).sum()} dates, {beside.any(axis=0).sum():,} pixels",
                    f"{beside.sum():,} pixels x dates are exactly 0 in both",
                    "take them as missing: 0 dB would be a city",
                )
            )
    for name in values:
        missing[name] |= both | pairs[name]
        alone = zero[name] & ~both & ~pairs[name]
        part = alone.sum() / max((~missing[name]).sum(), 1)
        if part > 0.01:
            found.append(
                warning(
                    "zeros",
                    f"Exact zeros of {name} look like missing values.",
                    f"{name}, {alone.any(axis=(1, 2)).sum()} dates",
                    f"{alone.sum():,} values ({share(part)}) are exactly 0",
                    "export with a nodata value, and declare it",
                )
            )
            missing[name] |= alone
    return found


def _pair(zero, name):
    """Where VV and VH of the orbit of a radar variable are 0 at once; nowhere of NDVI."""
    pair = {name, name.replace("VV", "VH"), name.replace("VH", "VV")}
    if len(pair) < 2 or not pair <= {*zero}:
        return np.zeros(zero[name].shape, bool)
    return np.logical_and.reduce([zero[other] for other in pair])


def _filled(name, value, numbers, missing, *, declared):
    """Finding of fills among the values; they become missing."""
    there = np.isin(value, np.asarray(numbers, value.dtype)) & ~missing
    if not numbers or not there.any():
        return None
    found = sorted({float(v) for v in np.unique(value[there])})
    missing |= there
    kind = "declared" if declared else "undeclared"
    return fault(
        f"fill-{kind}",
        f"Nodata ({kind}) stands among the values and would be computed with.",
        f"{name}, {there.any(axis=(1, 2)).sum()} dates",
        f"{there.sum():,} values ({share(there.mean())}) of {', '.join(f'{v:g}' for v in found)}",
        "open with the file's own nodata applied"
        if declared
        else f"declare it: ds['{name}'].attrs['nodata'] = {found[0]:g}",
    )


def _constant(name, only, planes, day):
    if not planes.any():
        return None
    numbers = ", ".join(f"{v:g}" for v in np.unique(only[planes])[:4])
    return fault(
        "constant-plane",
        f"{name} is one constant over the whole map on some dates.",
        f"{name}: {dates(day[planes])}",
        f"{planes.sum()} planes, all {numbers}",
        "take the planes as missing",
    )
