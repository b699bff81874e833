"""What an Estimator's `fit` returned, in a folder: `arrays.npz` and `card.json`.

A card names the kind of the parameters, their static fields, versions and the SHA-256 of the
arrays. A folder that is damaged, forged or of an unknown version is refused, by name.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from s1jax import arrays, cards, files
from s1jax.extrapolation import PRIOR
from s1jax.features import check_days, without_implausible
from s1jax.networks.inputs import Domain, check_domain
from s1jax.networks.mlp import MlpParams, mlp_template, predict_mlp
from s1jax.networks.model import SequenceParams, template
from s1jax.networks.patch import CropsarParams, cropsar_template, predict_patches
from s1jax.networks.sequence import predict
from s1jax.types import Days, Estimate, Params, Series

CARD, ARRAYS = "card.json", "arrays.npz"
VERSION = 2
UNITS = {"vv": "dB", "vh": "dB", "ndvi": "1", "day": "days since 1970-01-01"}
_FIELDS = ("kind", "version", "static", "dtype", "units", "shapes", "s1jax", "sha256")
_FIELDS_1 = ("kind", "config", "dtype", "units", "cadence_days", "quantiles_01_50_99", "s1jax")
_ARRAYS_1 = f"weights/{ARRAYS}"
_DEFAULT_1 = {f"level.{name}": leaf for name, leaf in PRIOR._asdict().items()}
"""Leaves that the earliest folders of version 1 lack."""
_MOST = 100_000_000
"""Numbers in a folder, at most."""
_NAN = ("history", "domain.quantiles")
"""Leaves that may hold NaN."""
_LEAST = {
    "calibration.factor": 1e-9,
    "calibration.floor": 0.0,
    "calibration.noise": 0.0,
    "domain.cadence": 1e-9,
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
    predict: Callable[[Params, Series, Days], Estimate]
    check: Callable[[Params, Series], None]
    """Raises ValueError for a series that the parameters do not fit."""
    least: Mapping[str, float]
    """Least value of some leaves, by name: divisors and standard deviations."""
    optional: tuple[str, ...] = ()
    """Fields that may be None."""


def _network(params, of_config, predict, least):
    """Kind of a network, whose shapes its `config` alone determines."""

    def _of_static(static, dtype, shapes):
        made = of_config(static["config"], dtype)
        return made if "history" in shapes else dataclasses.replace(made, history=None)

    def _check(params, series):
        check_domain(params.domain, without_implausible(series)[0])

    return Kind(params, _of_static, predict, _check, _LEAST | least, ("history",))


KINDS = {
    "sequence": _network(SequenceParams, template, predict, {"mixture": 1e-9}),
    "mlp": _network(
        MlpParams,
        mlp_template,
        predict_mlp,
        {"normaliser.feature_std": 1e-30, "normaliser.ndvi_std": 1e-9, "std": 0.0},
    ),
    "cropsar": _network(CropsarParams, cropsar_template, predict_patches, {"step": 1e-9}),
}
"""By name, as a card has it."""


def kind_of(params: Params) -> str:
    """Name of the kind of some parameters.

    Raises:
      ValueError: of none.
    """
    for name, kind in KINDS.items():
        if isinstance(params, kind.params):
            return name
    got = type(params).__name__
    raise ValueError(f"params: got {got}, expected those of one of {(*KINDS,)}")


def predict_checked(params: Params, series: Series, days: Days) -> Estimate:
    """Estimate of any parameters that can be saved, of a series that they fit.

    Raises:
      ValueError: parameters of no kind, or a series unlike the one that they were fitted to:
        another cadence, or backscatter far outside the range of training.
    """
    kind = KINDS[kind_of(params)]
    check_days(series, days)
    kind.check(params, series)
    return kind.predict(params, series, days)


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
    name = kind_of(params)
    kind = KINDS[name]
    static = {field.name: getattr(params, field.name) for field in _static(kind.params)}
    for field in dataclasses.fields(params):
        optional = field.name in static or field.name in kind.optional
        if getattr(params, field.name) is None and not optional:
            expected = "that of `fit` or `networks.adapt`"
            raise ValueError(f"{field.name}: got none, expected {expected}")
    leaves = jax.tree_util.tree_leaves_with_path(params)
    values = {_name(path): np.asarray(leaf) for path, leaf in leaves}
    _check_values(folder, kind, values)
    folder = Path(os.path.realpath(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing_folder(folder, refuse_other=_refuse_other) as part:
        arrays.write(part / ARRAYS, values)
        card = {
            "kind": name,
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
    """Nothing, where a folder holds no more than `save` wrote, of this version or the first."""
    if folder.is_symlink() or not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder}: got a file, expected a folder of parameters, or a new path")
    ours = {name + end for name in (CARD, ARRAYS, _ARRAYS_1) for end in ("", ".part")}
    for at, _, names in os.walk(folder):
        for name in names:
            path = Path(at, name).relative_to(folder).as_posix()
            if path not in ours:
                raise ValueError(
                    f"{folder}: got a folder with {path}, expected parameters alone, which are "
                    "replaced; move that file, or choose another folder"
                )


def load(folder: str | Path) -> Params:
    """The parameters in `folder`, as `save` wrote them, or an s1jax of version 1.

    Raises:
      ValueError: no card, an unknown version, or a card or arrays that are damaged or cannot be;
        the message names file and field.
    """
    folder = Path(folder)
    path = folder / CARD
    if not path.is_file():
        raise ValueError(f"parameters: got no {path}, expected the folder that `save` wrote")
    card = cards.read(path)
    number = card.get("version", 1)
    if number not in (1, VERSION) or isinstance(number, bool):
        got = f"{number!r}"[:100]
        raise ValueError(f"{path}: version: got {got}, expected 1 or {VERSION} (a newer s1jax)")
    _check_card(path, card, _FIELDS if number == VERSION else _FIELDS_1)
    kind = KINDS[card["kind"]]
    dtype = jax.dtypes.canonicalize_dtype(card["dtype"])
    stored = {"config": card["config"]} if number == 1 else card["static"]
    static = _static_values(path, stored, kind.params)
    # history, the one optional part, is in every folder of version 1
    declared = {"history": ()} if number == 1 else _shapes(path, card["shapes"])
    names, structure, leaves = _template(kind, static, dtype, declared)
    if (count := sum(leaf.size for leaf in leaves)) > _MOST:
        got = f"a network of {count:,} numbers"
        raise ValueError(f"{folder}: config: got {got}, expected at most {_MOST:,}")
    wanted = dict(zip(names, leaves, strict=True))
    shapes = {name: leaf.shape for name, leaf in wanted.items()}
    if number == 1:
        values = _values_1(folder, card, shapes)
    else:
        values = _read(folder / ARRAYS, card["sha256"], shapes)
    _check_values(folder, kind, values)
    values = [jnp.asarray(values[name], leaf.dtype) for name, leaf in wanted.items()]
    return jax.tree_util.tree_unflatten(structure, values)


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


def _static_values(path, stored, kind):
    """The static fields of parameters, each of its type and range."""
    fields = {field.name: field.type for field in _static(kind)}
    if not isinstance(stored, dict) or set(stored) != set(fields):
        got = f"{stored!r}"[:100]
        raise ValueError(f"{path}: static: got {got}, expected the fields {sorted(fields)}")
    return {name: cards.build(path, name, stored[name], hint) for name, hint in fields.items()}


def _shapes(path, shapes):
    """Declared shapes of the arrays, by name."""
    wrong = not isinstance(shapes, dict) or len(shapes) > 1000
    for shape in () if wrong else shapes.values():
        sizes = shape if isinstance(shape, list) and len(shape) <= 8 else [None]
        wrong |= any(type(size) is not int or not 0 <= size <= _MOST for size in sizes)
    if wrong:
        got = f"{shapes!r}"[:100]
        raise ValueError(f"{path}: shapes: got {got}, expected lists of sizes by name")
    return {name: tuple(shape) for name, shape in shapes.items()}


def _check_card(path: Path, card: dict, fields: tuple[str, ...]) -> None:
    """Refuse a card with a field that is missing or cannot be."""
    missing = [name for name in fields if name not in card]
    if missing:
        raise ValueError(f"{path}: {missing[0]}: got none, expected the fields {', '.join(fields)}")
    for name, allowed in (("kind", (*KINDS,)), ("dtype", ("float32", "float64"))):
        if card[name] not in allowed:
            got = f"{card[name]!r}"[:100]
            raise ValueError(f"{path}: {name}: got {got}, expected one of {allowed}")
    if card["units"] != UNITS:
        raise ValueError(f"{path}: units: got {str(card['units'])[:200]}, expected {UNITS}")


def _read(file: Path, digest: Any, shapes, default=None):
    """The arrays of a file with this SHA-256, of these shapes."""
    if not file.is_file() or arrays.digest(file) != digest:
        got = f"other weights than {CARD} was written with" if file.is_file() else "none"
        raise ValueError(f"{file}: got {got}, expected those of its SHA-256")
    return arrays.of_shapes(file, shapes, default or {})


def _values_1(folder, card, shapes):
    """The arrays of a folder of version 1, whose card has the domain."""
    file = folder / _ARRAYS_1
    names = {n: n.replace("calibration.", "bands.") for n in shapes if not n.startswith("domain.")}
    default = {name: leaf for name, leaf in _DEFAULT_1.items() if name in names}
    # the earliest cards do not name their weights
    digest = card.get("weights_sha256")
    if digest is None and file.is_file():
        digest = arrays.digest(file)
    stored = _read(file, digest, {name: shapes[n] for n, name in names.items()}, default)
    domain = _domain_1(folder / CARD, card)._asdict()
    return {n: stored[name] for n, name in names.items()} | {
        f"domain.{name}": leaf for name, leaf in domain.items()
    }


def _domain_1(path, card) -> Domain:
    """Cadence and quantiles in a card of version 1."""
    days, spans = card["cadence_days"], card["quantiles_01_50_99"]
    if not (cards.is_number(days) and days > 0.0):
        got = f"{days!r}"[:100]
        raise ValueError(f"{path}: cadence_days: got {got}, expected days, more than 0")
    if not isinstance(spans, dict) or set(spans) != {"vv", "vh"}:
        got = f"{spans!r}"[:100]
        raise ValueError(f"{path}: quantiles_01_50_99: got {got}, expected those of vv and vh")
    for name, span in spans.items():
        three = isinstance(span, list) and len(span) == 3 and all(map(cards.is_number, span))
        if span is not None and not (three and span == sorted(span)):
            got, expected = f"{span!r}"[:100], "three numbers in order, dB, or null"
            raise ValueError(f"{path}: quantiles_01_50_99.{name}: got {got}, expected {expected}")
    rows = [spans[name] or [np.nan] * 3 for name in ("vv", "vh")]
    return Domain(np.float64(days), np.array(rows, np.float64))


def _check_values(folder, kind: Kind, values: Mapping[str, np.ndarray]) -> None:
    """Refuse numbers that are not finite, or less than they can be."""
    for name, value in values.items():
        if name not in _NAN and not np.isfinite(value).all():
            count = int((~np.isfinite(value)).sum())
            got = f"{count} of {value.size} numbers that are not finite"
            raise ValueError(f"{folder}: {name}: got {got}, expected finite ones")
        if name in kind.least and (value < kind.least[name]).any():
            got, expected = f"{value.min():.4g}", f"{kind.least[name]:g} or more"
            raise ValueError(f"{folder}: {name}: got {got}, expected {expected}")


def _name(path) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
