"""Why is R2 low? What each change of a single-date baseline is worth, on simulated data.

Command: python -m experiments.why
Cost: 27 minutes on 2 quiet cores. What is there is not computed again: a case of a seed is one file
under --out.
Expected, R2 against truth, T1: baseline on unmasked L1C labels below 0, masked and harmonised
labels .4, full series .8.

All of it is shown on a simulated scene alone: only there the same landscape is seen unmasked and
masked, and its truth is known. `experiments.compare` scores the methods on real series.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import tyro

from experiments import commands, protocol, run, scoring, steps
from experiments.bench import table
from experiments.outcome_files import Scored, fingerprint, read_outcomes, write_outcomes
from experiments.steps import Case, Options
from s1jax import files, metrics, plots
from s1jax.simulate import SceneConfig

TASKS = ("T1", "T2b")
TABLES = {
    "ladder": steps.ladder,
    "alone": steps.alone,
    "solutions": steps.solutions,
    "hyperparameters": steps.hyperparameters,
}
HEADS = {
    "ladder": "Each step keeps what the ones before it changed, to which differences are told. "
    "From the window of 11 dates on it is a network over series, with its own loss and training.",
    "alone": "The baseline on unseen blocks with one change; differences are to that baseline. "
    "The last four rows are networks over series, with their own loss and training; the shipped "
    "one sees means over space, too.",
    "solutions": "The document's solutions (it expects .50-.65, .45-.60 and .40-.55) in "
    "its own protocol (unmasked labels, test = training) and on masked labels and unseen blocks. "
    "Of some pixels alone an epoch has 32 batches; its batches are compared in the next table. "
    "Its fourth solution is another evaluation and changes no model.",
    "hyperparameters": "Its ten features through the baseline's network on masked labels, without "
    "the faults, one seed; each label of all training pixels once a pass.",
}
Found = dict[tuple[str, str], list[scoring.Outcome]]
"""(task, against) -> sums, one a seed."""


@dataclass(frozen=True)
class Why:
    """Changes of a single-date baseline, added up and alone."""

    out: Path = Path("results/why")
    """Folder of what each case scored, of the tables and the figure."""
    only: tuple[str, ...] = tuple(TABLES)
    """Tables to make."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of splits, hidden labels and training; in a row they test other blocks."""
    scene: SceneConfig = field(default_factory=lambda: SceneConfig(height=144, width=160))
    """The simulated scene; its mode is that of each case."""
    pixels: tuple[int, int, int] = (2500, 500, 2000)
    """Training, validation and test pixels, at most."""
    options: Options = field(default_factory=Options)
    """Networks and their training."""


def name_of(config: Why, case: Case) -> str:
    """Name of what a case computes: another one for other options, not for another title."""
    what = (case.estimator.func.__name__, case.estimator.args, case.world, case.tested, case.rows)
    return fingerprint(what, config.scene, config.pixels)


def score(config: Why, case: Case, data: protocol.Data, seed: int) -> Scored:
    """Sums of a case on the test pixels of a seed, for each task and side."""
    split = steps.split_of(data, case, config.pixels, seed=seed)
    key_fit, gaps, views = protocol.asked(data, split, TASKS, seed)
    method = protocol.Method(case.name, case.estimator(), TASKS)
    scored = {}
    for _, task, estimates in protocol.head_to_head(key_fit, [method], data, split, gaps):
        for against in views[task].scored:
            scored[task, against] = scoring.score(views[task], estimates, against, seed=seed)
    return scored


def compute(config: Why, cases: Sequence[Case]) -> None:
    """Score the cases that have no file yet, world by world."""
    missing = [
        (case, seed)
        for case in cases
        for seed in config.seeds[: case.seeds]
        if not _path(config, case, seed).is_file()
    ]
    home = None
    for world in dict.fromkeys(case.world for case, _ in missing):
        data = steps.seen(config.scene, world)
        home = data if home is None else home
        if not steps.same_pixels(home.series, data.series):
            raise ValueError(f"{world}: got other pixels or days than of the world before")
        for case, seed in missing:
            path = _path(config, case, seed)
            if case.world != world or path.is_file():
                continue
            started = time.perf_counter()
            scored = score(config, case, data, seed)
            write_outcomes(path, scored, {}, options=name_of(config, case))
            r2 = " ".join(f"{'/'.join(key)} {_scores(o)['r2']:.3f}" for key, o in scored.items())
            seconds = time.perf_counter() - started
            print(f"{case.name}, seed {seed}: {r2}, {seconds:.0f} s", flush=True)


def gathered(config: Why, case: Case) -> Found:
    """Sums of a case, over its seeds."""
    found: Found = {}
    for seed in config.seeds[: case.seeds]:
        path = _path(config, case, seed)
        for key, outcome in read_outcomes(path, options=name_of(config, case))[0].items():
            found.setdefault(key, []).append(outcome)
    return found


def rows_of(name: str, config: Why) -> list[dict]:
    """Rows of a table: scores with intervals, and the difference to the case it is held against."""
    cases = TABLES[name](config.options)
    found = [gathered(config, case) for case in cases]
    base = None
    if name == "alone":
        base = gathered(config, steps.ladder(config.options)[1])
    rows = []
    for k, (case, mine) in enumerate(zip(cases, found, strict=True)):
        row: dict = {"name": case.name, "world": " ".join(_words(case)), "tested": case.tested}
        other = found[k - 1] if name == "ladder" and k > 0 else base
        if name == "ladder" and k > 0 and cases[k - 1].tested != case.tested:
            other = None
        for (task, against), many in mine.items():
            scored = scoring.row(case.name, task, against, many)
            row[f"{task} {against}"] = (scored["r2"], *scored["ci95"]["r2"])
            row[f"{task} {against} rmse"] = scored["rmse"]
            row[f"{task} {against} bias"] = scored["bias"]
            row[f"{task} {against} without bias"] = _without_bias(many)
            if other is not None:
                less, interval = scoring.difference(many, other[task, against], task)
                row[f"{task} {against} difference"] = (less, *interval)
        row["fit_s"] = float(np.mean([o.fit_s for o in mine["T1", "labels"]]))
        row["clusters"] = np.unique(np.concatenate([o.cluster for o in mine["T1", "truth"]])).size
        rows.append(row)
    return rows


def markdown(name: str, rows: Sequence[dict]) -> str:
    """The rows as a table: R2 of T1 against labels and truth, with the bias and R2 less that bias,
    and of T2b; differences of RMSE."""
    lines = []
    for row in rows:
        line = {"case": row["name"], "sees": row["world"], "tested on": row["tested"]}
        for key in ("T1 labels", "T1 truth", "T2b truth"):
            line[f"R2 {key}"] = "{:.2f} [{:.2f}, {:.2f}]".format(*row[key])
        line["bias T1 truth"] = f"{row['T1 truth bias']:+.3f}"
        line["R2 T1 truth, bias taken out"] = f"{row['T1 truth without bias']:.2f}"
        for task in TASKS:
            less = row.get(f"{task} truth difference")
            text = "–" if less is None else "{:+.3f} [{:+.3f}, {:+.3f}]".format(*less)
            line[f"RMSE difference {task} truth"] = text
        line["fit s"] = f"{row['fit_s']:.0f}"
        lines.append(line)
    if name in ("solutions", "hyperparameters"):
        lines = [{k: v for k, v in x.items() if not k.startswith("RMSE")} for x in lines]
    columns = {key: ">" if key not in ("case", "sees", "tested on") else "" for key in lines[0]}
    words = f"{HEADS[name]} {rows[-1]['clusters']} test clusters. R2 [95 % interval]."
    return f"**{name}**: {words}\n\n{table.markdown(lines, columns)}"


def main(config: Why) -> Path:
    """The folder with table.md, why.json and why.png; the tables are printed."""
    if unknown := set(config.only) - set(TABLES):
        raise ValueError(f"only: got {sorted(unknown)}, expected some of {tuple(TABLES)}")
    cases = [case for name in config.only for case in TABLES[name](config.options)]
    if "alone" in config.only:
        cases.append(steps.ladder(config.options)[1])
    with commands.writing(config.out):
        _write(config, cases)
    return config.out


def _write(config: Why, cases: Sequence[Case]) -> None:
    started = time.perf_counter()
    compute(config, cases)
    tables = {name: rows_of(name, config) for name in TABLES if name in config.only}
    text = "\n\n".join(markdown(name, rows) for name, rows in tables.items())
    print("", text, f"{time.perf_counter() - started:.0f} s", sep="\n")
    files.write_text(config.out / "table.md", text + "\n")
    content = {"config": asdict(config), "environment": run.environment(), "tables": tables}
    written = json.dumps(content, indent=1, allow_nan=False, default=str)
    files.write_text(config.out / "why.json", written + "\n")
    if {"ladder", "alone"} <= set(tables):
        figure = plots.steps(
            [
                {side: row[f"T1 {side}"] for side in ("labels", "truth")} | {"name": row["name"]}
                for row in tables["ladder"]
            ],
            [
                {"name": row["name"], "difference": row["T1 truth difference"]}
                for row in tables["alone"]
            ],
        )
        files.write_bytes(config.out / "why.png", plots.png(figure, dpi=150))


def _path(config: Why, case: Case, seed: int) -> Path:
    return config.out / "cases" / f"{name_of(config, case)}-{seed}.json"


def _words(case: Case) -> list[str]:
    labels, aligned, averaged = case.world
    return [labels, *(["aligned"] if aligned else []), *(["3 x 3"] if averaged else [])]


def _scores(outcome: scoring.Outcome) -> dict:
    return metrics.scores(metrics.pool(outcome.clusters))


def _without_bias(many: list[scoring.Outcome]) -> float:
    """R2 of the estimates less their bias, 1 - (MSE - bias^2) / variance; mean over seeds."""
    sums = [metrics.pool(outcome.clusters) for outcome in many]
    return float(np.mean([1 - (s.square - s.error**2 / s.n) / s.spread for s in sums]))


if __name__ == "__main__":
    sys.exit(
        commands.status(lambda: print(f"{main(tyro.cli(Why, prog='experiments.why'))} written"))
    )
