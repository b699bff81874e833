"""What MOGPR learnt, in one file that needs nothing else to be read."""

import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from s1jax import gp
from s1jax.mogpr.config import Curve, MogprParams

_FORMAT = "s1jax mogpr 1"


def save(params: MogprParams, path: str | Path) -> None:
    """Write parameters to a .npz file, fields by name (`hyper.lengthscale`, ...).

    Raises:
      ValueError: another suffix.
    """
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
    np.savez(path, format=np.array(_FORMAT), **arrays)


def load(path: str | Path) -> MogprParams:
    """Parameters that `save` wrote, in JAX's default precision.

    Raises:
      ValueError: not such a file.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: expected a .npz file that `save` wrote")
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    found = str(arrays.pop("format", "none"))
    if found != _FORMAT:
        raise ValueError(f"{path}: got format {found!r}, expected {_FORMAT!r}")
    fields = {}
    for name, kind in (("hyper", gp.Hyper), ("prior", gp.Prior), ("curve", Curve)):
        parts = {p: arrays.pop(f"{name}.{p}") for p in kind._fields if f"{name}.{p}" in arrays}
        fields[name] = kind(**parts) if parts else None
    for name in ("hyper", "prior"):
        fields[name] = jax.tree.map(_real, fields[name])
    whole = {name: arrays.pop(name) for name in ("channel", "own")}
    return MogprParams(**fields, **whole, **{k: _real(v) for k, v in arrays.items()})


def _real(leaf: np.ndarray) -> jnp.ndarray:
    return jnp.asarray(leaf, jax.dtypes.canonicalize_dtype(np.float64))
