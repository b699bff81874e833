"""Pytrees kept in a folder: what was learnt, in one file that needs nothing else to be read."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree

from s1jax import arrays

FILE = "arrays.npz"
"""The file in a folder of `save`."""


def save(folder: Path, tree: PyTree) -> None:
    """Write a pytree of arrays to `folder`, replacing what is there once it is written whole."""
    folder = Path(os.path.abspath(folder))
    part = folder.with_name(folder.name + ".part")
    if part.exists():
        shutil.rmtree(part)
    part.mkdir(parents=True)
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    arrays.write(part / FILE, {_name(path): np.asarray(leaf) for path, leaf in leaves})
    if folder.exists():
        shutil.rmtree(folder)
    os.rename(part, folder)


def restore(folder: Path, like: PyTree, optional: Mapping[str, np.ndarray] = {}) -> PyTree:
    """Pytree written by `save`, or by orbax, with the structure, shapes and types of `like`.

    Args:
      folder: what `save` wrote, or a folder of orbax that an earlier s1jax wrote.
      like: arrays, or their shapes and types alone.
      optional: leaves that may be missing, by name ("level.mean"), and what stands for them.

    Raises:
      ValueError: no such folder, or one that is damaged or holds other arrays; the message names
        the folder and the array.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    wanted = {_name(path): leaf for path, leaf in leaves}
    shapes = {name: tuple(leaf.shape) for name, leaf in wanted.items()}
    if (folder / FILE).is_file():
        found = arrays.of_shapes(folder / FILE, shapes, optional)
    elif (folder / "_METADATA").is_file():
        found = _of_orbax(folder, wanted, optional)
    else:
        raise ValueError(f"{folder}: got no {FILE}, expected the folder that `save` wrote")
    kept = [np.asarray(found[name], leaf.dtype) for name, leaf in wanted.items()]
    return jax.tree_util.tree_unflatten(structure, kept)


def _of_orbax(folder, wanted, optional):
    """Arrays of a folder of orbax, by name; shapes are compared before any memory is asked for."""
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            stored = checkpointer.metadata(folder.resolve()).item_metadata
            stored = stored if isinstance(stored, dict) else stored.tree
            declared, structure = jax.tree_util.tree_flatten_with_path(stored)
            shapes = {_name(path): tuple(leaf.shape) for path, leaf in declared}
            for name in sorted(set(shapes) ^ (set(wanted) - (set(optional) - set(shapes)))):
                got = "one" if name in shapes else "none"
                raise ValueError(f"got {got} of {name!r}, expected the arrays {sorted(wanted)}")
            for name, shape in shapes.items():
                if shape != tuple(wanted[name].shape):
                    expected = tuple(wanted[name].shape)
                    raise ValueError(f"{name}: got shape {shape}, expected {expected}")
            blank = [np.zeros(shape, wanted[name].dtype) for name, shape in shapes.items()]
            like = jax.tree_util.tree_unflatten(structure, blank)
            kept = checkpointer.restore(folder.resolve(), like)
    except arrays.DAMAGED as error:
        raise ValueError(f"{folder}: {arrays.line_of(error)}") from None
    leaves = jax.tree_util.tree_leaves_with_path(kept)
    return {**optional, **{_name(path): np.asarray(leaf) for path, leaf in leaves}}


def _name(path) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
