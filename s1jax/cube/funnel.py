"""What is left of a cube, and where the rest went."""

import numpy as np
import xarray as xr

from s1jax.cube.names import channels, sentinel1


def funnel(ds: xr.Dataset) -> str:
    """Counts of pixels, days and values: total, in mask, with S1, with NDVI, with both; and losses.

    A value is one pixel on one day; S1 means VV and VH of at least one orbit. Counts after the
    first are inside the mask.
    """
    wanted = np.ones((ds.sizes["y"], ds.sizes["x"]), bool)
    inside = ds["mask"].transpose("y", "x").values if "mask" in ds.variables else wanted
    bare = ds[channels(ds)]
    bare = bare.drop_vars([*bare.coords])
    radar = [bare[name].notnull() for name in sentinel1(ds)]
    s1 = radar[0] & radar[1]
    for vv, vh in zip(radar[2::2], radar[3::2], strict=True):
        s1 = s1 | (vv & vh)
    seen = {"s1": s1, "ndvi": bare["S2ndvi"].notnull()}
    seen = {name: there & xr.DataArray(inside, dims=("y", "x")) for name, there in seen.items()}
    seen["both"] = seen["s1"] & seen["ndvi"]
    counts = {}
    for name, there in seen.items():
        counts[f"{name} pixels"] = there.any("t").sum()
        counts[f"{name} days"] = there.any(("y", "x")).sum()
        counts[f"{name} values"] = there.sum()
    # of a cube in chunks, all in one pass
    found = {key: int(value) for key, value in xr.Dataset(counts).compute().items()}
    dates, pixels = ds.sizes["t"], int(inside.sum())
    lines = [
        _row("pixels", [inside.size, pixels], found),
        _row("days", [dates], found),
        _row("values", [inside.size * dates, pixels * dates], found),
    ]
    lines.append(f"gone: {inside.size - inside.sum():,} pixels outside the mask")
    for name, key in (("S1", "s1"), ("NDVI", "ndvi")):
        days, some = found[f"{key} days"], found[f"{key} pixels"]
        part = 0.0 if days * some == 0 else 1 - found[f"{key} values"] / (days * some)
        lines.append(
            f"gone: {name}: {dates - days} day(s) without any, {pixels - some:,} pixel(s) "
            f"without any, {part:.1%} of the rest (cloud, edge of a scene)"
        )
    return "\n".join(lines)


def _row(what, totals, found):
    """Line of counts; the shares are of the last total."""
    parts = [f"{n:,} {name}" for n, name in zip(totals, ("total", "in mask"), strict=False)]
    for name, key in (("S1", "s1"), ("NDVI", "ndvi"), ("both", "both")):
        count = found[f"{key} {what}"]
        parts.append(f"{count:,} with {name} ({count / max(totals[-1], 1):.1%})")
    return f"{what}: " + ", ".join(parts)
