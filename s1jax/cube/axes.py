"""Rows and columns that can be places on a map: numbers, each once, one way, and in their CRS."""

import numpy as np
import xarray as xr

from s1jax.cube.crs import crs, is_points

_SMALL = 0.5
"""A pixel that is smaller is none of a radar in metres: it is in degrees."""


def checked_axes(ds: xr.Dataset) -> None:
    """Nothing, where the coordinates of a cube, (t, y, x), can be what they say.

    Of a grid y and x are finite numbers that ascend or descend (longitudes may pass 180 degrees);
    of a geographic CRS they are degrees, of a projected one they are none. Of places `lat` and
    `lon` are degrees, missing where not known.

    Raises:
      ValueError: they are not; it names axis, values and what they should be.
    """
    for name, limit in (("lat", 90.0), ("lon", 360.0)):
        if name in ds.variables:
            _degrees(name, _numbers(ds, name), limit)
    if not {"y", "x"} <= set(ds.coords) or is_points(ds):
        return
    axis = {name: _numbers(ds, name) for name in ("y", "x")}
    system = crs(ds)
    for name, centre in axis.items():
        if not np.isfinite(centre).all():
            got = f"{(~np.isfinite(centre)).sum()} of {centre.size} coordinates not finite"
            raise ValueError(f"{name}: got {got}, expected the centre of each pixel")
        geographic = system is not None and system.is_geographic
        if geographic:
            _degrees(name, centre, 90.0 if name == "y" else 360.0)
        if geographic and name == "x":
            centre = np.unwrap(centre, period=360.0)
        step = np.diff(centre)
        if step.size and not ((step > 0).all() or (step < 0).all()):
            turns = int((np.sign(step) != np.sign(np.median(step) or 1.0)).sum())
            got = f"{turns} of {step.size} steps of 0 or the other way ({_ends(centre)})"
            raise ValueError(f"{name}: got {got}, expected it to ascend or to descend")
    if system is not None and system.is_projected and _like_degrees(axis):
        got = "; ".join(f"{name} {_ends(centre)}" for name, centre in axis.items())
        raise ValueError(
            f"y, x: got {got}, which look like degrees, expected metres of {system.name}"
        )


def _numbers(ds, name):
    """Values of a variable, float64."""
    values = ds[name].values
    if values.dtype.kind not in "iuf":
        raise ValueError(f"{name}: got {values.dtype}, expected numbers, metres or degrees")
    return values.astype(float)


def _degrees(name, values, limit):
    beyond = np.abs(values) > limit
    if beyond.any():
        got = f"{beyond.sum()} values beyond ({values[beyond].flat[0]:g})"
        raise ValueError(f"{name}: got {got}, expected degrees within +-{limit:g}")


def _like_degrees(axis):
    """Whether metres are so few, and so close, that they are degrees."""
    if any(np.abs(axis[n]).max() > limit for n, limit in (("y", 90.0), ("x", 180.0))):
        return False
    steps = [np.abs(np.diff(centre)) for centre in axis.values() if centre.size > 1]
    return bool(steps) and all(step.max() < _SMALL for step in steps)


def _ends(centre):
    return f"from {centre[0]:.9g} to {centre[-1]:.9g}"
