"""What NDVI may be: its scale, its range, values clamped to an end; and VV above VH."""

import numpy as np
from jaxtyping import Float

from s1jax.doctor.finding import Finding, fault, share, warning

_PILE = 0.002
"""Share of all values on one end of the range that is called a pile."""
_NEGATIVE = 0.95
"""Share of values below 0 that no vegetation has."""
_Values = Float[np.ndarray, "..."]


def scale(ndvi: _Values) -> float:
    """What NDVI was multiplied by: 1, 100, 255 or 10,000; by its 99 % quantile of absolute values.

    255 stands for bytes, of which 0 and 255 may be any NDVI.
    """
    seen = np.abs(ndvi[np.isfinite(ndvi)])
    top = float(np.quantile(seen, 0.99)) if seen.size else 0.0
    if radar_like(ndvi) or top <= 2.0:
        return 1.0
    return 100.0 if top <= 120.0 else 255.0 if top <= 255.0 else 10_000.0


def radar_like(ndvi: _Values) -> bool:
    """Whether "NDVI" looks like backscatter in dB: median below -2, nothing beyond +-70."""
    seen = ndvi[np.isfinite(ndvi)]
    return seen.size > 0 and bool(np.median(seen) < -2.0 and np.abs(seen).max() < 70.0)


def in_range(ndvi: _Values) -> _Values:
    """NDVI unscaled, NaN where it is out of [-1, 1], exactly on an end, or no NDVI at all."""
    if radar_like(ndvi):
        return np.full_like(ndvi, np.nan)
    value = ndvi / ndvi.dtype.type(scale(ndvi))
    return np.where(np.abs(value) < 1.0, value, ndvi.dtype.type(np.nan))


def ndvi_range(ndvi: _Values) -> list[Finding]:
    """Findings about scale, range and clamped values; `ndvi` as stored, NaN where missing."""
    seen = ndvi[np.isfinite(ndvi)]
    if seen.size == 0:
        return []
    low, high, factor = float(seen.min()), float(seen.max()), scale(ndvi)
    if radar_like(ndvi):
        return [
            fault(
                "ndvi-range",
                "S2ndvi is no NDVI: it looks like backscatter in dB.",
                "S2ndvi",
                f"values in [{low:g}, {high:g}], median {np.median(seen):.1f}",
                "bands were taken by position in another order: name them VV, VH, NDVI",
            )
        ]
    found = []
    if factor != 1.0:
        found.append(
            fault(
                "ndvi-scale",
                f"NDVI is stored times {factor:,.0f} and its scale factor was not applied.",
                "S2ndvi",
                f"values in [{low:g}, {high:g}]",
                "set scale_factor, and add_offset, as the source of the bytes has them"
                if factor == 255.0
                else f"set scale_factor = {1 / factor:g}, or divide by {factor:,.0f}",
            )
        )
    value = seen / factor
    outside = np.abs(value) > 1.0 + 1e-5
    if outside.any():
        found.append(
            fault(
                "ndvi-range",
                "NDVI lies outside [-1, 1]: reflectances were negative, or a fill is undeclared.",
                "S2ndvi",
                f"{outside.sum():,} values ({share(outside.mean(), digits=3)}) in "
                f"[{value[outside].min():g}, {value[outside].max():g}]",
                "mask reflectances not above 0 before the ratio, never clamp after it",
            )
        )
    negative = float((value < 0).mean())
    if negative > _NEGATIVE:
        found.append(
            warning(
                "ndvi-negative",
                "NDVI is negative nearly everywhere: its sign or its bands are swapped.",
                "S2ndvi",
                f"{share(negative)} of {value.size:,} values are below 0",
                "take (nir - red) / (nir + red); over open water alone it may be true",
            )
        )
    return [*found, *_clamped(value[~outside])]


def _clamped(value: _Values) -> list[Finding]:
    """Exact +-1, or a pile of equal values at an end of the range."""
    if value.size == 0:
        return []
    ends = float(value.min()), float(value.max())
    count = [int((value == end).sum()) for end in ends]
    exact = [n for n, end in zip(count, ends, strict=True) if abs(end) > 1.0 - 1e-5 and n]
    # NDVI stored as integers repeats values by chance: an end must hold more than what lies there
    piled = [n > max(20.0, _PILE * value.size) for n in count]
    if sum(exact) < max(3.0, 1e-5 * value.size) and not any(piled):
        return []
    shown = [f"{n:,} values are exactly {end:g}" for n, end in zip(count, ends, strict=True)]
    return [
        warning(
            "ndvi-clamped",
            "NDVI was clamped: values that were rubbish now look like NDVI.",
            "S2ndvi",
            "; ".join(s for s, n in zip(shown, count, strict=True) if n > 1),
            "mask what was outside of [-1, 1] (negative reflectance, mostly shadow or water)",
        )
    ]


def polarisations(vv_db: _Values, vh_db: _Values) -> Finding | None:
    """VH above VV on most pixels and days: no natural surface does that; the bands are swapped."""
    both = np.isfinite(vv_db) & np.isfinite(vh_db)
    above = (vh_db[both] > vv_db[both]).mean() if both.any() else 0.0
    if above <= 0.5:
        return None
    return fault(
        "polarisations-swapped",
        "VH is stronger than VV: the two are swapped.",
        "VV, VH",
        f"VH above VV in {share(above)} of {both.sum():,} values; no natural surface does that",
        "take the bands by name, not by position",
    )
