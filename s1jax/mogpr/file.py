"""Parameters of MOGPR in one file that needs nothing else to be read."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from s1jax import arrays, gp
from s1jax.files import refuse_remote
from s1jax.mogpr.config import Curve, MogprParams
from s1jax.types import VH, VV

_FORMAT, _FORMAT_1 = "s1jax mogpr 2", "s1jax mogpr 1"
_LARGEST = 16 * 2**20
"""Bytes of a file, and of all its arrays: more than any region's parameters take."""
_PARTS = {"hyper": gp.Hyper, "prior": gp.Prior, "curve": Curve}
_AXES = {
    "hyper.lengthscale": "q", "hyper.mixing": "qp", "hyper.kappa": "qp", "hyper.noise": "p",
    "prior.mean": "r", "prior.precision": "rr", "prior.root": "rr", "curve.day": "n",
    "curve.value": "np", "region_mean": "p", "region_std": "p", "std_factor": "", "inputs": "p",
    "scale_by_pixel": "", "solver": "", "inducing": "",
}  # fmt: skip
"""Fields, and axes of each: latents q, outputs p, parameters of a pixel r, nodes of the curve n."""
_KINDS = {
    "inputs": ("U", "texts"), "solver": ("U", "texts"), "inducing": ("iu", "an integer"),
    "scale_by_pixel": ("b", "a truth value"),
}  # fmt: skip
"""Kinds of the fields that are no real numbers."""
_OPTIONAL = ("prior", "curve", "inducing")
_POSITIVE = {"hyper.lengthscale", "hyper.kappa", "hyper.noise", "region_std", "std_factor"}
_POLARISATION = {"VV": VV, "VH": VH}
_INPUT = re.compile(r"(VV|VH)([1-9]|[12]\d|3[0-2]) look(\d)")
"""Polarisation, orbit from 1 on, and look."""


def save(params: MogprParams, path: str | Path) -> None:
    """Write parameters to a .npz file, fields by name (`hyper.lengthscale`, ...).

    Raises:
      ValueError: another suffix, a server, or parameters that `load` would refuse.
    """
    refuse_remote(path)
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"path: got {path}, expected a .npz file")
    stored = {}
    for name in (field.name for field in fields(MogprParams)):
        value = getattr(params, name)
        if name == "inputs":
            names = list(_POLARISATION)
            texts = [f"{names[c % 2]}{c // 2 + 1} look{look}" for look, c in value]
            stored[name] = np.array([*texts, "NDVI"])
        elif name in _PARTS and value is not None:
            stored |= {f"{name}.{part}": np.asarray(x) for part, x in value._asdict().items()}
        elif value is not None:
            # a real number of Python is one of JAX's default precision
            stored[name] = np.asarray(_real(value) if isinstance(value, float) else value)
    _check(path, stored)
    arrays.write(path, {"format": np.array(_FORMAT), **stored})


def load(path: str | Path) -> MogprParams:
    """Parameters of a file of `save`, or of a file of version 1, in JAX's default precision.

    Raises:
      ValueError: another file, or one with unsound fields; the message names file and field. A
        file that declares too large a size is refused before it is read.
    """
    stored = arrays.read(path, limit=_LARGEST)
    version = str(stored.pop("format", "none"))
    if version == _FORMAT_1:
        stored = _of_version_1(path, stored)
    elif version != _FORMAT:
        expected = f"{_FORMAT!r} or {_FORMAT_1!r}"
        raise ValueError(f"{path}: got format {version[:40]!r}, expected {expected}")
    inputs = _check(path, stored)
    values: dict[str, Any] = {"inputs": inputs}
    for name, kind in _PARTS.items():
        if f"{name}.{kind._fields[0]}" in stored:
            parts = (stored.pop(f"{name}.{part}") for part in kind._fields)
            # a curve is used on the host, in double precision
            values[name] = kind(*(part if name == "curve" else _real(part) for part in parts))
    del stored["inputs"]
    for name, value in stored.items():
        values[name] = value.item() if name in _KINDS else _real(value)
    return MogprParams(**values)


def _of_version_1(path: str | Path, stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The fields of version 1 by their names and kinds of today.

    Its `channel` held c for radar channel c, -2 - c for the same filtered (look 1), -1 for NDVI.
    """
    channel = stored.pop("channel", None)
    if channel is None or channel.dtype.kind not in "iu" or channel.ndim != 1:
        got = "no such field" if channel is None else f"{channel.dtype} {channel.shape}"
        raise ValueError(f"{path}: channel: got {got}, expected integers")
    names = []
    for code in channel.astype(np.int64).tolist():
        look, c = (0, code) if code >= 0 else (1, -2 - code)
        names.append("NDVI" if code == -1 else f"{'VH' if c % 2 else 'VV'}{c // 2 + 1} look{look}")
    renamed = {"widen": "std_factor", "own": "scale_by_pixel"}
    stored = {renamed.get(name, name): value for name, value in stored.items()}
    return {**stored, "inputs": np.array(names), "solver": np.array("kalman")}


def _check(path: str | Path, stored: dict[str, np.ndarray]) -> tuple[tuple[int, int], ...]:
    """Look and channel of the inputs; refuses unknown, missing and unsound fields."""
    for name in sorted(set(stored) - set(_AXES)):
        raise ValueError(f"{path}: {name[:40]}: got an unknown field, expected {sorted(_AXES)}")
    fields_of = {name: name.partition(".")[0] for name in _AXES}
    there = {fields_of[name] for name in stored}
    for name in sorted(set(_AXES) - set(stored)):
        if fields_of[name] not in _OPTIONAL or fields_of[name] in there:
            raise ValueError(f"{path}: {name}: got no such field, expected one")
    mixing = stored["hyper.mixing"].shape
    if len(mixing) != 2 or 0 in mixing:
        expected = "(latents, outputs), both above 0"
        raise ValueError(f"{path}: hyper.mixing: got shape {mixing}, expected {expected}")
    q, p = mixing
    nodes = max(stored["curve.day"].size, 1) if "curve" in there else 0
    size = {"q": q, "p": p, "r": q + 2 * q * p + p, "n": nodes}
    for name, array in stored.items():
        expected = tuple(size[axis] for axis in _AXES[name])
        if array.shape != expected:
            raise ValueError(f"{path}: {name}: got shape {array.shape}, expected {expected}")
    for name, array in stored.items():
        kind, expected = _KINDS.get(name, ("f", "real numbers"))
        if array.dtype.kind not in kind:
            raise ValueError(f"{path}: {name}: got {array.dtype}, expected {expected}")
        if kind == "f":
            _check_numbers(path, name, array)
    if "curve.day" in stored and not (np.diff(stored["curve.day"]) > 0).all():
        raise ValueError(f"{path}: curve.day: got days that do not ascend, expected ascending ones")
    if (solver := stored["solver"].item()) not in gp.SOLVERS:
        raise ValueError(f"{path}: solver: got {solver[:40]!r}, expected of {sorted(gp.SOLVERS)}")
    if "inducing" in stored and (count := stored["inducing"].item()) < 2:
        raise ValueError(f"{path}: inducing: got {count}, expected at least 2 days")
    return _inputs(path, stored["inputs"].tolist())


def _check_numbers(path, name: str, array: np.ndarray) -> None:
    # as they will be used: a finite or positive number may not be so in single precision
    with np.errstate(over="ignore", under="ignore"):
        used = array.astype(jax.dtypes.canonicalize_dtype(np.float64))
    if not np.isfinite(used).all():
        bad = array[~np.isfinite(used)].flat[0]
        raise ValueError(f"{path}: {name}: got {bad}, expected finite numbers")
    if name in _POSITIVE and not (used > 0).all():
        bad = array[~(used > 0)].flat[0]
        raise ValueError(f"{path}: {name}: got {bad}, expected numbers above 0")
    if name == "prior.precision" and not (np.diagonal(used) > 0).all():
        bad = np.diagonal(used).min()
        raise ValueError(f"{path}: {name}: got {bad} on its diagonal, expected numbers above 0")


def _inputs(path, names: list[str]) -> tuple[tuple[int, int], ...]:
    matches = [match for name in names[:-1] if (match := _INPUT.fullmatch(name))]
    if names[-1] != "NDVI" or len(matches) + 1 < len(names) or len(set(names)) != len(names):
        got = [name[:20] for name in names[:20]]
        expected = "different radar channels ('VV1 look0', 'VH2 look1', ...) and NDVI, last alone"
        raise ValueError(f"{path}: inputs: got {got}, expected {expected}")
    parts = [match.groups() for match in matches]
    return tuple((int(look), 2 * int(orbit) - 2 + _POLARISATION[p]) for p, orbit, look in parts)


def _real(value) -> jnp.ndarray:
    return jnp.asarray(value, jax.dtypes.canonicalize_dtype(np.float64))
