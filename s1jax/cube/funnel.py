"""What is left of a cube, and where the rest went."""

import numpy as np
import xarray as xr

from s1jax.cube.names import sentinel1


def funnel(ds: xr.Dataset) -> str:
    """Counts of pixels, days and values: total, in mask, with S1, with NDVI, with both; and losses.

    A value is one pixel on one day; S1 means VV and VH of at least one orbit. Counts after the
    first are inside the mask.
    """
    shape = (ds.sizes["y"], ds.sizes["x"])
    inside = ds["mask"].values if "mask" in ds.variables else np.ones(shape, bool)
    radar = [np.isfinite(ds[name].values) for name in sentinel1(ds)]
    s1 = np.logical_or.reduce([vv & vh for vv, vh in zip(radar[::2], radar[1::2], strict=True)])
    ndvi = np.isfinite(ds["S2ndvi"].values)
    s1, ndvi = s1[:, inside], ndvi[:, inside]
    lines = [
        _row("pixels", [inside.size, inside.sum()], *_either(s1, ndvi, axis=0)),
        _row("days", [ds.sizes["t"]], *_either(s1, ndvi, axis=1)),
        _row("values", [inside.size * ds.sizes["t"], s1.size], s1, ndvi, s1 & ndvi),
    ]
    lines.append(f"gone: {inside.size - inside.sum():,} pixels outside the mask")
    for name, there in (("S1", s1), ("NDVI", ndvi)):
        days = there.any(axis=1)
        pixels = there.any(axis=0)
        seen = there[days][:, pixels]
        part = 0.0 if seen.size == 0 else 1 - seen.mean()
        lines.append(
            f"gone: {name}: {(~days).sum()} day(s) without any, {(~pixels).sum():,} pixel(s) "
            f"without any, {part:.1%} of the rest (cloud, edge of a scene)"
        )
    return "\n".join(lines)


def _either(s1, ndvi, axis):
    return [there.any(axis=axis) for there in (s1, ndvi, s1 & ndvi)]


def _row(what, totals, s1, ndvi, both):
    """Line of counts; the shares are of the last total."""
    parts = [f"{int(n):,} {name}" for n, name in zip(totals, ("total", "in mask"), strict=False)]
    for name, there in (("S1", s1), ("NDVI", ndvi), ("both", both)):
        count = int(there.sum())
        parts.append(f"{count:,} with {name} ({count / max(int(totals[-1]), 1):.1%})")
    return f"{what}: " + ", ".join(parts)
