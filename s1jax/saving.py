"""Parameters of a network in a folder: `arrays.npz` and `card.json`.

A card names the kind of the parameters, their static fields, versions and the SHA-256 of the
arrays. A folder that is damaged, forged or of an unknown version is refused, by name.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from s1jax import arrays, cards, files
from s1jax.extrapolation import PRIOR
from s1jax.networks.mlp import MlpParams, mlp_template
from s1jax.networks.model import SequenceParams, template
from s1jax.networks.patch import CropsarParams, cropsar_template
from s1jax.types import Params

CARD, ARRAYS = "card.json", "arrays.npz"
VERSION = 2
UNITS = {"vv": "dB", "vh": "dB", "ndvi": "1", "day": "days since 1970-01-01"}
_FIELDS = ("kind", "version", "static", "dtype", "units", "shapes", "s1jax", "sha256")
_FIELDS_1 = ("kind", "config", "dtype", "units", "s1jax")
_ARRAYS_1 = f"weights/{ARRAYS}"
_DEFAULT_1 = {f"level.{name}": leaf for name, leaf in PRIOR._asdict().items()}
"""Leaves that the earliest folders of version 1 lack."""
_MOST = 100_000_000
"""Numbers in a folder, at most."""
_LEAST = {
    "calibration.factor": 1e-9,
    "calibration.floor": 0.0,
    "calibration.noise": 0.0,
    "level.std": 1e-9,
    "moments.std": 0.0,
}


class Kind(NamedTuple):
    """Parameters of one registered dataclass, and what makes and checks them."""

    params: type
    """Registered dataclass; its static fields are options or plain values."""
    template: Callable[[dict[str, Any], Any, Mapping[str, tuple[int, ...]]], Params]
    """`template(static, dtype, shapes)` has the structure and shapes that these static fields
    demand; `shapes` of the stored arrays settle what the fields leave open."""
    least: Mapping[str, float]
    """Least value of some leaves, by name: divisors and standard deviations."""
    optional: tuple[str, ...] = ()
    """Fields that may be None."""


def _network(params, of_config, least):
    """Kind of a network, whose shapes its `config` alone determines."""

    def _of_static(static, dtype, shapes):
        made = of_config(static["config"], dtype)
        return made if "history" in shapes else dataclasses.replace(made, history=None)

    return Kind(params, _of_static, _LEAST | least, ("history",))


KINDS = {
    "sequence": _network(SequenceParams, template, {"mixture": 1e-9}),
    "mlp": _network(
        MlpParams,
        mlp_template,
        {"normaliser.feature_std": 1e-30, "normaliser.ndvi_std": 1e-9, "std": 0.0},
    ),
    "cropsar": _network(CropsarParams, cropsar_template, {"step": 1e-9}),
}
"""By name, as a card has it."""


def _refuse(where: object, got: object, expected: object) -> NoReturn:
    raise ValueError(f"{where}: got {str(got)[:200]}, expected {expected}")


def save(params: Params, folder: str | Path) -> None:
    """Write parameters to a folder, replacing what an earlier call wrote there.

    The earlier folder stays until the new one is whole and on the disk.

    Args:
      params: of one of `KINDS`.
      folder: made if missing.

    Raises:
      ValueError: parameters of no kind, with a part missing or values that `load` would refuse; a
        folder of another machine, or one that holds other files.
    """
    files.refuse_remote(folder)
    names = [name for name, kind in KINDS.items() if isinstance(params, kind.params)]
    if not names:
        _refuse("params", type(params).__name__, f"those of one of {(*KINDS,)}")
    kind = KINDS[names[0]]
    static = {field.name: getattr(params, field.name) for field in _static(kind.params)}
    for field in dataclasses.fields(params):
        optional = field.name in static or field.name in kind.optional
        if getattr(params, field.name) is None and not optional:
            _refuse(field.name, "none", "that of `fit` or `networks.adapt`")
    leaves = jax.tree_util.tree_leaves_with_path(params)
    values = {_name(path): np.asarray(leaf) for path, leaf in leaves}
    _check_values(folder, kind, values)
    folder = Path(os.path.realpath(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing_folder(folder, refuse_other=_refuse_other) as part:
        arrays.write(part / ARRAYS, values)
        card = {
            "kind": names[0],
            "version": VERSION,
            "static": {
                name: dataclasses.asdict(value) if hasattr(value, "__dataclass_fields__") else value
                for name, value in static.items()
            },
            "dtype": str(np.result_type(*values.values())),
            "units": UNITS,
            "shapes": {name: value.shape for name, value in values.items()},
            "s1jax": version("s1jax"),
            "sha256": arrays.digest(part / ARRAYS),
        }
        files.write_json(part / CARD, card)


def _refuse_other(folder: Path) -> None:
    """Refuse a folder that holds more than `save` writes, in this version or the first."""
    if folder.is_symlink() or not folder.exists():
        return
    if not folder.is_dir():
        _refuse(folder, "a file", "a folder of parameters, or a new path")
    ours = {name + end for name in (CARD, ARRAYS, _ARRAYS_1) for end in ("", ".part")}
    for at, _, names in os.walk(folder):
        for name in names:
            path = Path(at, name).relative_to(folder).as_posix()
            if path not in ours:
                expected = "parameters alone, which are replaced; move that file"
                _refuse(folder, f"a folder with {path}", f"{expected}, or choose another folder")


def load(folder: str | Path) -> Params:
    """The parameters in `folder`, as `save` wrote them, or an s1jax of version 1.

    Raises:
      ValueError: no card, an unknown version, or a card or arrays that are damaged or cannot be;
        the message names file and field.
    """
    folder = Path(folder)
    path = folder / CARD
    if not path.is_file():
        _refuse("parameters", f"no {path}", "the folder that `save` wrote")
    card = cards.read(path)
    number = card.get("version", 1)
    if number not in (1, VERSION) or isinstance(number, bool):
        _refuse(f"{path}: version", repr(number), f"1 or {VERSION} (a newer s1jax)")
    _check_card(path, card, _FIELDS if number == VERSION else _FIELDS_1)
    kind = KINDS[card["kind"]]
    dtype = jax.dtypes.canonicalize_dtype(card["dtype"])
    static = {"config": card["config"]} if number == 1 else card["static"]
    hints = {field.name: field.type for field in _static(kind.params)}
    if not isinstance(static, dict) or set(static) != set(hints):
        _refuse(f"{path}: static", static, f"the fields {sorted(hints)}")
    static = {name: cards.build(path, name, static[name], hint) for name, hint in hints.items()}
    # history, the one optional part, is in every folder of version 1
    declared = {"history": ()} if number == 1 else _shapes(path, card["shapes"])
    names, structure, leaves = _template(kind, static, dtype, declared)
    if (count := sum(leaf.size for leaf in leaves)) > _MOST:
        _refuse(f"{folder}: config", f"a network of {count:,} numbers", f"at most {_MOST:,}")
    shapes = {name: leaf.shape for name, leaf in zip(names, leaves, strict=True)}
    if number == 1:
        values = _values_1(folder, card.get("weights_sha256"), shapes)
    else:
        values = _read(folder / ARRAYS, card["sha256"], shapes)
    _check_values(folder, kind, values)
    made = [jnp.asarray(values[n], leaf.dtype) for n, leaf in zip(names, leaves, strict=True)]
    return jax.tree_util.tree_unflatten(structure, made)


def _template(kind: Kind, static, dtype, shapes):
    """Names, structure, and shapes and types of the leaves; nothing is allocated."""
    seen = []

    def _leaves():
        paths, structure = jax.tree_util.tree_flatten_with_path(
            kind.template(static, dtype, shapes)
        )
        seen[:] = [_name(path) for path, _ in paths], structure
        return [leaf for _, leaf in paths]

    leaves = jax.eval_shape(_leaves)
    return *seen, leaves


def _static(kind):
    return [field for field in dataclasses.fields(kind) if field.metadata.get("static")]


def _shapes(path, shapes):
    """Declared shapes of the arrays, by name."""
    wrong = not isinstance(shapes, dict) or len(shapes) > 1000
    for shape in () if wrong else shapes.values():
        sizes = shape if isinstance(shape, list) and len(shape) <= 8 else [None]
        wrong |= any(type(size) is not int or not 0 <= size <= _MOST for size in sizes)
    if wrong:
        _refuse(f"{path}: shapes", shapes, "lists of sizes by name")
    return {name: tuple(shape) for name, shape in shapes.items()}


def _check_card(path: Path, card: dict, fields: tuple[str, ...]) -> None:
    """Refuse a card with a field that is missing or cannot be."""
    for name in fields:
        if name not in card:
            _refuse(f"{path}: {name}", "none", f"the fields {', '.join(fields)}")
    for name, allowed in (
        ("kind", (*KINDS,)),
        ("dtype", ("float32", "float64")),
        ("units", (UNITS,)),
    ):
        if card[name] not in allowed:
            _refuse(f"{path}: {name}", repr(card[name]), f"one of {allowed}")


def _read(file: Path, digest: Any, shapes, default=None):
    """The arrays of a file with this SHA-256, of these shapes."""
    if not file.is_file() or arrays.digest(file) != digest:
        got = f"other weights than {CARD} was written with" if file.is_file() else "none"
        _refuse(file, got, "those of its SHA-256")
    return arrays.of_shapes(file, shapes, default or {})


def _values_1(folder, digest, shapes):
    """The arrays of a folder of version 1, by their names of today."""
    file = folder / _ARRAYS_1
    names = {name: name.replace("calibration.", "bands.") for name in shapes}
    default = {name: leaf for name, leaf in _DEFAULT_1.items() if name in names}
    # the earliest cards do not name their weights
    if digest is None and file.is_file():
        digest = arrays.digest(file)
    stored = _read(file, digest, {old: shapes[name] for name, old in names.items()}, default)
    return {name: stored[old] for name, old in names.items()}


def _check_values(folder, kind: Kind, values: Mapping[str, np.ndarray]) -> None:
    """Refuse numbers that are not finite, or less than they can be."""
    for name, value in values.items():
        count = int((~np.isfinite(value)).sum())
        if count and name != "history":
            got = f"{count} of {value.size} numbers that are not finite"
            _refuse(f"{folder}: {name}", got, "finite ones")
        if name in kind.least and (value < kind.least[name]).any():
            _refuse(f"{folder}: {name}", f"{value.min():.4g}", f"{kind.least[name]:g} or more")


def _name(path) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
