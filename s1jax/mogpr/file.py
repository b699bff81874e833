"""What MOGPR learnt, in one file that needs nothing else to be read."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from s1jax import arrays, gp
from s1jax.files import refuse_remote, replacing
from s1jax.mogpr.config import Curve, MogprParams

_FORMAT = "s1jax mogpr 1"
_LARGEST = 16 * 2**20
"""Bytes of a file, and of all its arrays: more than any region's parameters take."""
_CHANNELS = 64
"""Radar channels that a file may tell of."""
_PARTS = {"hyper": gp.Hyper, "prior": gp.Prior, "curve": Curve}
_NEEDED = {f"hyper.{part}" for part in gp.Hyper._fields} | {
    "region_mean", "region_std", "channel", "widen", "own"
}  # fmt: skip
_KNOWN = _NEEDED | {f"{name}.{part}" for name, kind in _PARTS.items() for part in kind._fields}
_POSITIVE = {
    "hyper.lengthscale", "hyper.kappa", "hyper.noise", "region_std", "widen"
}  # fmt: skip


def save(params: MogprParams, path: str | Path) -> None:
    """Write parameters to a .npz file, fields by name (`hyper.lengthscale`, ...).

    Raises:
      ValueError: another suffix, a server, or parameters that `load` would refuse.
    """
    refuse_remote(path)
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"path: got {path}, expected a .npz file")
    arrays = {}
    for name, field in zip(MogprParams._fields, params, strict=True):
        if field is None:
            continue
        parts = field._asdict() if hasattr(field, "_asdict") else {None: field}
        for part, leaf in parts.items():
            arrays[name if part is None else f"{name}.{part}"] = np.asarray(leaf)
    _check(path, arrays)
    with replacing(path) as part, open(part, "wb") as file:
        np.savez(file, format=np.array(_FORMAT), **arrays)


def load(path: str | Path) -> MogprParams:
    """Parameters that `save` wrote, in JAX's default precision.

    Raises:
      ValueError: not such a file, or one whose fields cannot be; the message names file and field.
        What is declared too large is refused before it is read.
    """
    fields = arrays.read(path, limit=_LARGEST)
    version = str(fields.pop("format", "none"))
    if version != _FORMAT:
        raise ValueError(f"{path}: got format {version[:40]!r}, expected {_FORMAT!r}")
    return _params(path, fields)


def _params(path, arrays):
    _check(path, arrays)
    fields = {}
    for name, kind in _PARTS.items():
        parts = {p: arrays.pop(f"{name}.{p}") for p in kind._fields if f"{name}.{p}" in arrays}
        fields[name] = kind(**parts) if parts else None
    for name in ("hyper", "prior"):
        fields[name] = jax.tree.map(_real, fields[name])
    whole = {name: arrays.pop(name) for name in ("channel", "own")}
    return MogprParams(**fields, **whole, **{k: _real(v) for k, v in arrays.items()})


def _check(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Refuse fields that are unknown, missing, of another kind or shape, or that cannot be."""
    for name in sorted(set(arrays) - _KNOWN):
        raise ValueError(f"{path}: {name[:40]}: got an unknown field, expected {sorted(_KNOWN)}")
    whole = set(_NEEDED)
    for name, kind in _PARTS.items():
        parts = {f"{name}.{part}" for part in kind._fields}
        whole |= parts if parts & set(arrays) else set()
    for name in sorted(whole - set(arrays)):
        raise ValueError(f"{path}: {name}: got no such field, expected one")
    for name, expected in _shapes(path, arrays).items():
        got = arrays[name].shape
        if got != expected:
            raise ValueError(f"{path}: {name}: got shape {got}, expected {expected}")
    for name, array in arrays.items():
        kind = {"channel": "iu", "own": "b"}.get(name, "f")
        if array.dtype.kind not in kind:
            expected = {"iu": "integers", "b": "a truth value", "f": "real numbers"}[kind]
            raise ValueError(f"{path}: {name}: got {array.dtype}, expected {expected}")
        if kind == "f":
            _check_numbers(path, name, array)
    _check_channels(path, arrays["channel"])
    if "curve.day" in arrays and not (np.diff(arrays["curve.day"]) > 0).all():
        raise ValueError(f"{path}: curve.day: got days that do not ascend, expected ascending ones")


def _shapes(path, arrays: dict[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """The shape that each field must have beside the others."""
    mixing = arrays["hyper.mixing"].shape
    if len(mixing) != 2 or 0 in mixing:
        raise ValueError(
            f"{path}: hyper.mixing: got shape {mixing}, expected (latents, outputs), both above 0"
        )
    latents, outputs = mixing
    shapes = {
        "hyper.lengthscale": (latents,), "hyper.kappa": mixing, "hyper.noise": (outputs,),
        "region_mean": (outputs,), "region_std": (outputs,), "channel": (outputs,),
        "widen": (), "own": (),
    }  # fmt: skip
    if "prior.mean" in arrays:
        row = latents + 2 * latents * outputs + outputs
        shapes |= {"prior.mean": (row,), "prior.precision": (row, row), "prior.root": (row, row)}
    if "curve.day" in arrays:
        nodes = max(arrays["curve.day"].size, 1)
        shapes |= {"curve.day": (nodes,), "curve.value": (nodes, outputs)}
    return shapes


def _check_numbers(path, name: str, array: np.ndarray) -> None:
    # as they will be used: what is finite or positive in a file may not be in single precision
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


def _check_channels(path, channel: np.ndarray) -> None:
    code = channel.astype(np.int64)
    bad = (code < -1 - _CHANNELS) | (code >= _CHANNELS)
    # NDVI is the last output, and there once
    bad[:-1] |= code[:-1] == -1
    if bad.any() or np.unique(code).size != code.size:
        raise ValueError(
            f"{path}: channel: got {code.tolist()[:20]}, expected different codes of radar channels"
            f" (0 to {_CHANNELS - 1}; filtered -2 to {-1 - _CHANNELS}) and -1, NDVI, last alone"
        )


def _real(leaf: np.ndarray) -> jnp.ndarray:
    return jnp.asarray(leaf, jax.dtypes.canonicalize_dtype(np.float64))
