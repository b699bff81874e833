"""All findings of the doctor by name (findings.toml): how bad, in words, and what to do."""

import tomllib
from collections.abc import Iterable
from importlib import resources

from s1jax.cube.findings import Finding, Kind

LEVELS = ("fault", "warning", "note")
"""Worst first: makes results wrong; may do so, or costs accuracy; good to know."""
_ROWS = tomllib.loads(resources.files("s1jax.doctor").joinpath("findings.toml").read_text("utf-8"))
_COST = {name: number for number, name in enumerate(_ROWS)}


def finding(
    name: str,
    where: str,
    evidence: str,
    *,
    kind: Kind | None = None,
    remedy: str | None = None,
    **words: str,
) -> Finding:
    """The finding of that name; `words` fill the braces of its texts, and its kind and remedy are
    those of the catalogue where not given."""
    row = _ROWS[name]
    advice = row.get("remedy", "none needed").format(**words) if remedy is None else remedy
    what, repaired = row["what"].format(**words), row.get("repaired", False)
    return Finding(name, kind or row["kind"], what, where, evidence, advice, repaired)


def costliest(findings: Iterable[Finding]) -> list[Finding]:
    """The findings by what they cost (docs/why.md), in the order of the catalogue."""
    return sorted(findings, key=lambda one: _COST.get(one.name, len(_COST)))


def worst_first(findings: Iterable[Finding | None]) -> tuple[Finding, ...]:
    """The findings that are there by level; inside a level those that `open_cube` does not repair
    first, by what they cost. Notes keep their order."""
    there = [one for one in findings if one is not None]
    wrong = costliest(one for one in there if one.kind != "note")
    wrong.sort(key=lambda one: (LEVELS.index(one.kind), one.repaired))
    return (*wrong, *(one for one in there if one.kind == "note"))
