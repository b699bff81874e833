"""What a bench writes: metrics.json, Markdown, and a header that tells the machine's state."""

import dataclasses
import json
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from experiments import run
from experiments.bench import timing
from experiments.bench.bed import Bed, BedConfig
from s1jax import files


def folder(config: BedConfig, name: str) -> Path:
    """Where the results go."""
    utc = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return config.out or Path("results") / f"bench-{name}-{utc}"


def header(bed: Bed) -> list[str]:
    """Data set, machine and how busy it is; printed before anything is timed."""
    part = bed.parts[0]
    load = " ".join(f"{x:.1f}" for x in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    where = run.environment()
    versions = ", ".join(f"{k} {where['packages'][k]}" for k in ("s1jax", "jax", "numpy"))
    return [
        f"{bed.name}; {bed.split}; {len(part.train.valid):,} training, {len(part.val.valid):,} "
        f"validation, {len(part.label):,} test pixels x {part.label.shape[1]} dates",
        f"{timing.device()}, {timing.cores()} core(s); load average {load}; commit "
        f"{where['commit'][:10]}; {versions}",
        "a core-second is the wall clock times the cores that may be used (1 on a GPU)",
    ]


def write(
    out: Path,
    bed: Bed,
    config: BedConfig,
    head: Sequence[str],
    text: Sequence[str],
    rows: Sequence[Mapping],
    **more,
) -> None:
    """Print the text, write it below the header to table.md, and the rows to metrics.json:
    {"dataset", "split", "header", "config", "rows", ...}.

    Raises:
      ValueError: a number that is not one.
    """
    print("", *text, sep="\n")
    out.mkdir(parents=True, exist_ok=True)
    files.write_text(out / "table.md", "\n\n".join([*head, *text]) + "\n")
    for row in rows:
        for name, value in row.items():
            for leaf in value.values() if isinstance(value, Mapping) else (value,):
                if leaf is None or (isinstance(leaf, float) and not math.isfinite(leaf)):
                    raise ValueError(f"{row.get('name')}: {name}: got {leaf}, expected a number")
    content = {"dataset": bed.name, "split": bed.split, "header": list(head)}
    content |= {"config": dataclasses.asdict(config), "rows": list(rows), **more}
    text = json.dumps(content, indent=1, allow_nan=False, default=str)
    files.write_text(out / "metrics.json", text + "\n")


def markdown(rows: Iterable[Mapping], columns: Mapping[str, str]) -> str:
    """Rows as a Markdown table; a dash where a row has no such key.

    Args:
      rows: cells by key.
      columns: key and how its numbers are written, as `format` takes it.
    """
    lines = [" | ".join(columns), " | ".join(":--" if not f else "--:" for f in columns.values())]
    for row in rows:
        cells = (format(row[key], f) if key in row else "–" for key, f in columns.items())
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)
