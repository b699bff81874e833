"""JSON cards: one object in a file of bounded size, and dataclasses of options built from it."""

import dataclasses
import json
import math
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeGuard, get_args, get_origin

from s1jax.features import WITH_NEIGHBOURS

_SIZE = 1_000_000
"""Bytes of a card, at most."""
_ITEMS = 256
"""Entries of a list in it, at most."""
_RANGES = {
    "width": (1, 1 << 16),
    "dilations": (1, 1 << 16),
    "hidden": (1, 1 << 16),
    "channels": (1, 1 << 16),
    "layers": (1, 64),
    "levels": (1, 16),
    "patch": (1, 1 << 12),
    "window": (0, 1 << 12),
    "chunk": (1, 1 << 20),
    "epochs": (1, 1_000_000),
    "dropout": (0.0, 0.99),
}
"""Least and most of what sizes of arrays and lengths of loops depend on."""
_NUMBERS = (0, (1 << 31) - 1)
"""Of any other number."""
_TEXTS = {
    "features": WITH_NEIGHBOURS,
    "pad_mode": (
        "edge", "constant", "linear_ramp", "maximum", "mean", "median", "minimum", "reflect",
        "symmetric", "wrap",
    ),
}  # fmt: skip
"""Values of texts that are no Literal."""
_VERSION_1 = {
    "elsewhere": "inflation",
    "gain": "gain_jitter",
    "bias": "offset_jitter",
    "of_db": "indices_from_db",
}
"""Names of options in cards of version 1, and today's."""


def read(path: Path) -> dict:
    """The JSON object in a file.

    Raises:
      ValueError: no JSON object, or one of more than 1 MB; the message names the file.
    """
    if path.stat().st_size > _SIZE:
        raise ValueError(f"{path}: got more than {_SIZE:,} bytes, expected a card of a network")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        got = str(error) or type(error).__name__
        raise ValueError(f"{path}: got no JSON ({got[:200]}), expected a JSON object") from None
    if not isinstance(card, dict):
        raise ValueError(f"{path}: got a {type(card).__name__}, expected a JSON object")
    return card


def build(path: Path, name: str, value: Any, hint: Any) -> Any:
    """A value in a card as its type has it: a dataclass of options, a tuple, a number, a text.

    Args:
      path: of the card.
      name: of the value in it.
      value: as JSON has it.
      hint: its type; options may have the names of version 1.

    Raises:
      ValueError: a field that is missing, unknown or cannot be; the message names file and field.
    """
    return _value(f"{path}: {name}", name, value, hint)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value of JSON is a finite number."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) < 1e300 and math.isfinite(value)


def _options(where: str, fields: Any, kind: Any) -> Any:
    if not isinstance(fields, dict):
        raise ValueError(f"{where}: got {str(fields)[:100]!r}, expected a JSON object")
    fields = {_VERSION_1.get(str(name), str(name)): value for name, value in fields.items()}
    hints = {field.name: field.type for field in dataclasses.fields(kind)}
    if set(fields) != set(hints):
        got = sorted(fields)
        raise ValueError(f"{where}: got fields {got}, expected {sorted(hints)}")
    return kind(**{n: _value(f"{where}.{n}", n, fields[n], hints[n]) for n in fields})


def _value(where: str, name: str, value: Any, hint: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return _options(where, value, hint)
    if get_origin(hint) is tuple:
        item, more = get_args(hint)
        count = len(value) if isinstance(value, list) else -1
        if not (0 <= count <= _ITEMS if more is Ellipsis else count == 2):
            expected = f"at most {_ITEMS}" if more is Ellipsis else "two"
            raise ValueError(f"{where}: got {str(value)[:100]!r}, expected {expected} items")
        return tuple(_value(f"{where}[{k}]", name, one, item) for k, one in enumerate(value))
    if get_origin(hint) is UnionType:
        if value is None and NoneType in get_args(hint):
            return None
        (hint,) = (one for one in get_args(hint) if one is not NoneType)
    low, high = _RANGES.get(name, _NUMBERS)
    allowed = get_args(hint) if get_origin(hint) is Literal else _TEXTS.get(name)
    fits = isinstance(value, str) and (allowed is None or value in allowed)
    if hint is bool:
        fits = isinstance(value, bool)
    elif hint in (int, float):
        whole = isinstance(value, int) or hint is float
        fits = is_number(value) and whole and low <= value <= high
    if not fits:
        kind = f"one of {allowed}" if allowed else f"{hint.__name__} from {low} to {high}"
        kind = "true or false" if hint is bool else kind
        raise ValueError(f"{where}: got {str(value)[:100]!r}, expected {kind}")
    return float(value) if hint is float and is_number(value) else value
