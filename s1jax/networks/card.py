"""card.json of a learnt network: what it holds, and what is refused of it."""

import dataclasses
import json
import math
from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, get_args, get_origin, get_type_hints

from s1jax.features import BOTH_NEIGHBOURS
from s1jax.networks.config import MlpConfig, SequenceConfig
from s1jax.train import TrainConfig

UNITS = {"vv": "dB", "vh": "dB", "ndvi": "1", "day": "days since 1970-01-01"}
FIELDS = ("kind", "config", "dtype", "units", "cadence_days", "quantiles_01_50_99", "s1jax")
"""Of every card; `weights_sha256` is beside them since the weights are one file."""
_SIZE = 1_000_000
"""Bytes of a card, at most."""
_ITEMS = 256
"""Entries of a list in it, at most."""
_RANGES = {
    "width": (1, 1 << 16),
    "dilations": (1, 1 << 16),
    "hidden": (1, 1 << 16),
    "layers": (1, 64),
    "window": (0, 1 << 12),
    "chunk": (1, 1 << 20),
    "epochs": (1, 1_000_000),
    "dropout": (0.0, 0.99),
}
"""Least and most of what sizes of arrays and lengths of loops depend on."""
_NUMBERS = (0, (1 << 31) - 1)
"""Of any other number."""
_PAD_MODES = ("edge", "constant", "linear_ramp", "maximum", "mean", "median", "minimum", "reflect",
              "symmetric", "wrap")  # fmt: skip


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


def check_card(path: Path, card: dict, kinds: tuple[str, ...]) -> None:
    """Refuse a card of which `check` or `load` could not go on.

    Raises:
      ValueError: a field that is missing or cannot be; the message names file and field.
    """
    lost = [name for name in FIELDS if name not in card]
    if lost:
        raise ValueError(f"{path}: {lost[0]}: got none, expected the fields {', '.join(FIELDS)}")
    if card["kind"] not in kinds:
        raise ValueError(f"{path}: kind: got {card['kind']!r}, expected one of {kinds}")
    if card["dtype"] not in ("float32", "float64"):
        got = f"{card['dtype']!r}"[:100]
        raise ValueError(f"{path}: dtype: got {got}, expected 'float32' or 'float64'")
    if card["units"] != UNITS:
        raise ValueError(f"{path}: units: got {str(card['units'])[:200]}, expected {UNITS}")
    if not (_is_number(card["cadence_days"]) and card["cadence_days"] > 0.0):
        got = f"{card['cadence_days']!r}"[:100]
        raise ValueError(f"{path}: cadence_days: got {got}, expected days, more than 0")
    spans = card["quantiles_01_50_99"]
    if not isinstance(spans, dict) or set(spans) != {"vv", "vh"}:
        got = f"{spans!r}"[:100]
        raise ValueError(f"{path}: quantiles_01_50_99: got {got}, expected those of vv and vh")
    for name, span in spans.items():
        three = isinstance(span, list) and len(span) == 3 and all(map(_is_number, span))
        if span is not None and not (three and span == sorted(span)):
            got, expected = f"{span!r}"[:100], "three numbers in order, dB, or null"
            raise ValueError(f"{path}: quantiles_01_50_99.{name}: got {got}, expected {expected}")


def config_of(path: Path, fields, kind: type) -> MlpConfig | SequenceConfig:
    """The configuration in a card, each of its fields of the kind and in the range that it has.

    Raises:
      ValueError: a field that is missing, unknown or cannot be; the message names file and field.
    """
    return _built(f"{path}: config", fields, kind)


def _built(where, fields, kind):
    if not isinstance(fields, dict):
        raise ValueError(f"{where}: got {str(fields)[:100]!r}, expected a JSON object")
    names = {field.name for field in dataclasses.fields(kind)}
    if set(fields) != names:
        got = sorted(map(str, fields))
        raise ValueError(f"{where}: got fields {got}, expected {sorted(names)}")
    hints = get_type_hints(kind)
    return kind(**{n: _value(f"{where}.{n}", n, fields[n], hints[n]) for n in fields})


def _value(where, name, value, hint):
    """A value of a field as its type has it."""
    if hint is TrainConfig:
        return _built(where, value, TrainConfig)
    if get_origin(hint) is tuple:
        (item, _) = get_args(hint)
        if not isinstance(value, list) or len(value) > _ITEMS:
            raise ValueError(f"{where}: got {str(value)[:100]!r}, expected at most {_ITEMS} items")
        return tuple(_value(f"{where}[{k}]", name, one, item) for k, one in enumerate(value))
    if get_origin(hint) is UnionType:
        if value is None and NoneType in get_args(hint):
            return None
        (hint,) = (one for one in get_args(hint) if one is not NoneType)
    low, high = _RANGES.get(name, _NUMBERS)
    allowed = _choices(name, hint)
    fits = {
        bool: isinstance(value, bool),
        int: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
        float: _is_number(value) and low <= value <= high,
    }.get(hint, isinstance(value, str) and (allowed is None or value in allowed))
    if not fits:
        kind = f"one of {allowed}" if allowed else f"{hint.__name__} from {low} to {high}"
        kind = "true or false" if hint is bool else kind
        raise ValueError(f"{where}: got {str(value)[:100]!r}, expected {kind}")
    return float(value) if hint is float else value


def _choices(name, hint):
    """What a text may be; None: any."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    return {"features": BOTH_NEIGHBOURS, "pad_mode": _PAD_MODES}.get(name)


def _is_number(value) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) < 1e300 and math.isfinite(value)
