"""Pytrees kept in a folder: what was learnt, in one file that needs nothing else to be read."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree

from s1jax import arrays
from s1jax.files import refuse_remote, replacing_folder

FILE = "arrays.npz"
"""The file in a folder of `save`."""


_OF_ORBAX = re.compile(
    r"_METADATA|_CHECKPOINT_METADATA|_sharding|commit_success\.txt|manifest\.ocdbt"
    r"|(ocdbt\.process_\d+/)?(manifest\.ocdbt|d/[0-9a-f]{32})|array_metadatas/process_\d+"
)
"""Files of a folder of orbax, as an earlier s1jax wrote them."""


def save(folder: Path, tree: PyTree) -> None:
    """Write a pytree of arrays to `folder`, replacing what is there once it is written whole.

    Raises:
      ValueError: `folder` is a file, or holds anything that `save` or orbax did not write.
    """
    with saving(folder, tree):
        pass


@contextmanager
def saving(folder: Path, tree: PyTree) -> Iterator[Path]:
    """The folder of a pytree of arrays, which takes the place of `folder` once the block is over.

    Raises:
      ValueError: as `save`.
    """
    refuse_remote(folder)
    folder = Path(os.path.realpath(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    with replacing_folder(folder, refuse_other=_refuse_other) as part:
        arrays.write(part / FILE, {_name(path): np.asarray(leaf) for path, leaf in leaves})
        yield part


def _refuse_other(folder: Path) -> None:
    """Nothing, where a folder holds no more than what `save`, or orbax, wrote."""
    if folder.is_symlink() or not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder}: got a file, expected a folder of weights, or a new path")
    orbax = (folder / "_METADATA").is_file()
    for at, _, names in os.walk(folder):
        for name in names:
            path = Path(at, name).relative_to(folder).as_posix()
            # a save that was cut off leaves the part of its file
            own = path in (FILE, f"{FILE}.part") or (orbax and _OF_ORBAX.fullmatch(path))
            if not own:
                raise ValueError(
                    f"{folder}: got a folder with {path}, expected weights alone, which are "
                    "replaced; move that file, or choose another folder"
                )


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
