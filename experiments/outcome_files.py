"""What a method scored on a data set with one seed, in a file: a comparison goes on from these."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

import s1jax
from experiments.scoring import Outcome
from s1jax import files
from s1jax.metrics import Statistics

Scored = dict[tuple[str, str], Outcome]
"""(task, against) -> sums."""
SeasonErrors = dict[str, dict[str, float]]
"""Task -> errors of the seasons, days."""
ABOUT = "about.json"
"""File of a data set: what it is."""


_SHOWING = (
    *("s1jax/doctor", "s1jax/fusets", "experiments/bench", "experiments/bands.py"),
    *("experiments/doctor.py", "experiments/gains.py", "experiments/tables.py"),
    *("experiments/explain.py", "experiments/importance.py", "experiments/pictures.py"),
    *("experiments/report.py", "experiments/page.py"),
)
"""Code that no score depends on: results stand whatever shows them."""


def fingerprint(*what: object) -> str:
    """A name of what is computed: another one for other values, another file (of a Path), or other
    code: s1jax, its weights included, and the experiments, what only shows results left aside."""
    parts = [one.read_bytes() if isinstance(one, Path) else repr(one).encode() for one in what]
    digests = [hashlib.sha256(part).digest() for part in parts]
    return hashlib.sha256(_package() + b"".join(digests)).hexdigest()[:16]


@cache
def _package() -> bytes:
    files = [
        path
        for folder in (Path(s1jax.__file__).parent, Path(__file__).parent)
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".py", ".npz", ".json")
        and not path.relative_to(folder.parent).as_posix().startswith(_SHOWING)
    ]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).digest()


def write_about(folder: Path, words: str, split: str) -> None:
    """Write what a data set is and how it is split."""
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / ABOUT, {"words": words, "split": split})


def read_about(folder: Path) -> tuple[str, str]:
    """What `write_about` wrote."""
    content = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    return content["words"], content["split"]


def write_outcomes(path: Path, scored: Scored, days: SeasonErrors, *, options: str) -> None:
    """Write one method's sums, and the name of the options they were made with; the file appears
    whole or not at all."""
    rows = [
        {
            "task": task,
            "against": against,
            "cluster": outcome.cluster.tolist(),
            "clusters": _plain(outcome.clusters),
            "strata": {
                name: {label: _plain(sums) for label, sums in bins.items()}
                for name, bins in outcome.strata.items()
            },
            "fit_s": outcome.fit_s,
            "px_per_s": outcome.px_per_s,
            "seed": outcome.seed,
        }
        for (task, against), outcome in scored.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, json.dumps({"options": options, "rows": rows, "seasons": days}) + "\n")


def read_outcomes(path: Path, *, options: str) -> tuple[Scored, SeasonErrors]:
    """What `write_outcomes` wrote.

    Raises:
      ValueError: with other options.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["options"] != options:
        raise ValueError(
            f"{path}: got results of other options, data or another s1jax, expected another --out"
        )
    scored = {
        (row["task"], row["against"]): Outcome(
            cluster=np.asarray(row["cluster"], np.int64),
            clusters=_sums(row["clusters"]),
            strata={
                name: {label: _sums(sums) for label, sums in bins.items()}
                for name, bins in row["strata"].items()
            },
            fit_s=row["fit_s"],
            px_per_s=row["px_per_s"],
            seed=row["seed"],
        )
        for row in content["rows"]
    }
    return scored, content["seasons"]


def _plain(sums: Statistics) -> dict:
    return {name: np.asarray(leaf).tolist() for name, leaf in sums._asdict().items()}


def _sums(content: Mapping) -> Statistics:
    return Statistics(**{name: np.asarray(leaf, np.float64) for name, leaf in content.items()})
