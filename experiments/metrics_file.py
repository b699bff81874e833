"""metrics.json: what a row holds, written so that the same rows make the same bytes."""

import json
import math
import numbers
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s1jax import files

Rows = Sequence[Mapping[str, Any]]
"""One row per method, task and what it was scored against; mean over seeds."""

FIELDS = ("method", "task", "against", "r2", "rmse", "mae", "bias", "crps", "coverage90", "skill")
FIELDS += ("n", "fit_s", "px_per_s", "ci95", "strata")
_WORDS = ("method", "task", "against")
_INTERVALS = ("r2", "rmse", "rmse_minus_best_yardstick")
_CELL = ("mae", "bias", "n")


def write_metrics(path: Path, dataset: str, split: str, seeds: Sequence[int], rows: Rows) -> None:
    """Writes metrics.json: {"dataset", "split", "seeds", "rows"}; the same bytes for the same rows.

    Args:
      path: the file.
      dataset: name of the data set.
      split: the split, with its warnings in words.
      seeds: the seeds the rows are means over.
      rows: their fields in any order; no number is rounded.

    Raises:
      ValueError: a field missing or unknown, or a number that is not one (NaN, infinite, None).
    """
    checked = [_row(row) for row in rows]
    seeds = [_number(seed, "seeds") for seed in seeds]
    content = {"dataset": dataset, "split": split, "seeds": seeds, "rows": checked}
    files.write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_metrics(path: Path) -> dict[str, Any]:
    """Content of a metrics.json, held to what `write_metrics` accepts.

    Raises:
      ValueError: a key missing or unknown, or a row that could not have been written.
    """
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    _same_keys(content, ("dataset", "split", "seeds", "rows"), str(path))
    return content | {"rows": [_row(row) for row in content["rows"]]}


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its fields in the order of `FIELDS` and its numbers as Python's own."""
    where = "/".join(str(row.get(word)) for word in _WORDS)
    _same_keys(row, FIELDS, where)
    if row["against"] not in ("truth", "labels"):
        raise ValueError(f"{where}: found against={row['against']!r}, expected 'truth' or 'labels'")
    _same_keys(row["ci95"], _INTERVALS, f"{where} ci95")
    out = {word: str(row[word]) for word in _WORDS}
    out |= {name: _number(row[name], f"{where} {name}") for name in FIELDS[3:-2]}
    out["ci95"] = {name: _pair(row["ci95"][name], f"{where} ci95 {name}") for name in _INTERVALS}
    out["strata"] = {
        stratum: {label: _cell(cell, f"{where} {stratum} {label}") for label, cell in bins.items()}
        for stratum, bins in row["strata"].items()
    }
    return out


def _cell(cell: Mapping[str, Any], where: str) -> dict[str, float]:
    _same_keys(cell, _CELL, where)
    return {name: _number(cell[name], f"{where} {name}") for name in _CELL}


def _pair(ends: Sequence[float], where: str) -> list[float]:
    low, high = (_number(end, where) for end in ends)
    if low > high:
        raise ValueError(f"{where}: found [{low}, {high}], expected the lower end first")
    return [low, high]


def _number(value: Any, where: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"{where}: found {value!r}, expected a finite number")
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def _same_keys(found: Mapping[str, Any], expected: Sequence[str], where: str) -> None:
    if set(found) != set(expected):
        lacks, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
        raise ValueError(f"{where}: {lacks} missing and {extra} unknown, expected {[*expected]}")
