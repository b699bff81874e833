"""What the experiments write and read again: metrics.json, studies, stored outcomes."""

import dataclasses
import hashlib
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.protocol.scoring import Outcome
from s1jax import files
from s1jax.metrics import Statistics

Rows = Sequence[Mapping[str, Any]]
"""One row per method, task and what it was scored against; mean over seeds."""
Scored = dict[tuple[str, str], Outcome]
"""(task, against) -> sums."""
SeasonErrors = dict[str, dict[str, float]]
"""Task -> `season_errors`, where there is a truth."""

ROOT = Path(__file__).parents[2]
SCORING = ("s1jax", "experiments/protocol")
"""Folders of the code that scores depend on, weights included."""
SHOWING = tuple(f"s1jax/{room}" for room in ("doctor", "fusets", "plots", "commands"))
"""Parts of them on which no score depends."""


def new_folder(stem: str) -> Path:
    """results/STEM-UTC, the default folder of a command."""
    return Path("results") / f"{stem}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"


def environment() -> dict:
    """Where a run was made."""
    packages = ("s1jax", "jax", "jaxlib", "flax", "optax", "tinygp", "numpy", "scikit-learn")
    commit = ""
    if shutil.which("git"):
        command = ["git", "rev-parse", "HEAD"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        commit = done.stdout.strip()
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "devices": [device.device_kind for device in jax.devices()],
        "commit": commit or "unknown",
        "packages": {name: version(name) for name in packages},
    }


def write_study(out: Path, name: str, text: str, config: Any, **content: Any) -> None:
    """Write table.md with the text, and NAME.json with the configuration and the content."""
    files.write_text(out / "table.md", text + "\n")
    whole = {"config": dataclasses.asdict(config), "environment": environment()} | content
    files.write_text(
        out / f"{name}.json", json.dumps(whole, indent=1, allow_nan=False, default=str) + "\n"
    )


def write_metrics(path: Path, dataset: str, split: str, seeds: Sequence[int], rows: Rows) -> None:
    """Write metrics.json: {"dataset", "split", "seeds", "rows"}, rows of `scoring.row`.

    Raises:
      ValueError: a number that is not finite.
    """
    content = {"dataset": dataset, "split": split, "seeds": seeds, "rows": rows}
    files.write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def fingerprint(*what: object) -> str:
    """A name of what is computed: another one for other values, another file (of a Path), or other
    code that scores depend on."""
    parts = [one.read_bytes() if isinstance(one, Path) else repr(one).encode() for one in what]
    digests = [hashlib.sha256(part).digest() for part in parts]
    return hashlib.sha256(_code(ROOT) + b"".join(digests)).hexdigest()[:16]


@cache
def _code(root: Path) -> bytes:
    paths = (path for folder in SCORING for path in sorted((root / folder).rglob("*")))
    scoring = (
        path
        for path in paths
        if path.suffix in (".py", ".npz", ".json")
        and not path.relative_to(root).as_posix().startswith(SHOWING)
    )
    return hashlib.sha256(b"".join(path.read_bytes() for path in scoring)).digest()


class Store(NamedTuple):
    """Outcomes in files, so that a study goes on where it was cut."""

    folder: Path
    options: str
    """`fingerprint` of the options; files of others are refused."""

    def path(self, name: str) -> Path:
        """The file of a name."""
        return self.folder / f"{name}.json"

    def write(self, name: str, scored: Scored, seasons: SeasonErrors | None = None) -> None:
        """Write the outcomes of a name; the file appears whole or not at all."""
        rows = [{"task": t, "against": a} | _plain(one) for (t, a), one in scored.items()]
        content = {"options": self.options, "rows": rows, "seasons": seasons or {}}
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        files.write_text(self.path(name), json.dumps(content) + "\n")

    def read(self, name: str) -> tuple[Scored, SeasonErrors]:
        """What `write` wrote.

        Raises:
          ValueError: with other options.
        """
        content = json.loads(self.path(name).read_text(encoding="utf-8"))
        if content["options"] != self.options:
            raise ValueError(
                f"{self.path(name)}: got results of other options, data or another s1jax, "
                "expected another --out"
            )
        scored = {(row.pop("task"), row.pop("against")): _outcome(row) for row in content["rows"]}
        return scored, content["seasons"]

    def gather(
        self, names: Iterable[str]
    ) -> tuple[dict[tuple[str, str], list[Outcome]], list[SeasonErrors]]:
        """The outcomes that all names have by (task, against), and the errors of the seasons."""
        each = [self.read(name) for name in names]
        keys = [key for key in each[0][0] if all(key in scored for scored, _ in each)]
        return {key: [scored[key] for scored, _ in each] for key in keys}, [s for _, s in each]


def _plain(value: Any) -> Any:
    value = value._asdict() if hasattr(value, "_asdict") else value
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return np.asarray(value).tolist()


def _outcome(content: Mapping[str, Any]) -> Outcome:
    def _sums(leaves):
        return Statistics(**{name: np.asarray(leaf, np.float64) for name, leaf in leaves.items()})

    strata = {
        name: {label: _sums(leaves) for label, leaves in bins.items()}
        for name, bins in content["strata"].items()
    }
    cluster, clusters = np.asarray(content["cluster"], np.int64), _sums(content["clusters"])
    return Outcome(**content | {"cluster": cluster, "clusters": clusters, "strata": strata})
