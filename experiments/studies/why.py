"""Why is R2 low? What each change of a single-date baseline is worth, on simulated data.

Command: python -m experiments.studies.why
Cost: 27 minutes on 2 quiet cores. What is there is not computed again: a case of a seed is one file
under --out.
Expected, R2 against truth, T1: baseline on unmasked L1C labels below 0, masked and harmonised
labels .4, full series .8.

All of it is shown on a simulated scene alone: only there the same landscape is seen unmasked and
masked, and its truth is known. `experiments.studies.compare` scores the methods on real series.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from experiments.protocol import scoring
from experiments.protocol.data import Data
from experiments.protocol.head_to_head import Method, draw_tasks, head_to_head
from experiments.protocol.scoring import Outcome
from experiments.report.files import Scored, Store, fingerprint, write_study
from experiments.report.report import clusters
from experiments.report.tables import Table, interval
from experiments.studies import command, why_cases
from experiments.studies.why_cases import Experiment, Options
from s1jax import files, metrics, plots
from s1jax.commands import endings
from s1jax.simulate import SceneConfig

TASKS = ("T1", "T2b")
TABLES = {
    "ladder": why_cases.ladder,
    "alone": why_cases.alone,
    "solutions": why_cases.solutions,
    "hyperparameters": why_cases.hyperparameters,
}
HEADS = {
    "ladder": "Each step keeps what the ones before it changed, to which differences are relative. "
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

    def store(self, case: Experiment) -> Store:
        """Outcomes of a case: others of other options, the same of another title."""
        name, args = case.estimator.func.__name__, case.estimator.args
        what = (name, args, case.observation, case.tested, case.rows)
        return Store(self.out / "cases", fingerprint(what, self.scene, self.pixels))

    def names(self, case: Experiment) -> dict[int, str]:
        """Seeds of a case, and the names of its outcomes in the store."""
        options = self.store(case).options
        return {seed: f"{options}-{seed}" for seed in self.seeds[: case.seeds]}


def score(config: Why, case: Experiment, data: Data, seed: int) -> Scored:
    """Sums of a case on the test pixels of a seed, for each task and side."""
    split = why_cases.split_of(data, case, config.pixels, seed=seed)
    key, masks, test_sets = draw_tasks(data, split, TASKS, seed)
    method = Method(case.name, case.estimator(), TASKS)
    return {
        (task, against): scoring.score(test_sets[task], *estimate, against, seed=seed)
        for _, task, *estimate in head_to_head(key, [method], data, split, masks)
        for against in test_sets[task].scored
    }


def compute(config: Why, cases: Sequence[Experiment]) -> None:
    """Score the cases that have no file yet, observation by observation."""
    missing = {
        (config.store(case).options, seed): (case, seed, name)
        for case in cases
        for seed, name in config.names(case).items()
        if not config.store(case).path(name).is_file()
    }
    home = None
    for observation in dict.fromkeys(case.observation for case, *_ in missing.values()):
        data = why_cases.observed(config.scene, observation)
        home = home or data
        if not why_cases.same_pixels(home.series, data.series):
            raise ValueError(f"{observation}: got other pixels or days than of the one before")
        for case, seed, name in missing.values():
            if case.observation != observation:
                continue
            started = time.perf_counter()
            scored = score(config, case, data, seed)
            config.store(case).write(name, scored)
            r2 = " ".join(
                f"{'/'.join(key)} {scoring.scores_of([one], 'r2'):.3f}"
                for key, one in scored.items()
            )
            seconds = time.perf_counter() - started
            print(f"{case.name}, seed {seed}: {r2}, {seconds:.0f} s", flush=True)


def gathered(config: Why, case: Experiment) -> dict[tuple[str, str], list[Outcome]]:
    """Sums of a case by task and side, over its seeds."""
    return config.store(case).gather(config.names(case).values())[0]


def rows_of(name: str, config: Why) -> list[dict]:
    """Rows of a table: scores with intervals, and the difference to the case it is held against."""
    cases = TABLES[name](config.options)
    outcomes = [gathered(config, case) for case in cases]
    base = None
    if name == "alone":
        base = gathered(config, why_cases.ladder(config.options)[1])
    rows = []
    for k, (case, mine) in enumerate(zip(cases, outcomes, strict=True)):
        row: dict = {"name": case.name, "world": case.words, "tested": case.tested}
        other = base
        if name == "ladder" and k > 0 and cases[k - 1].tested == case.tested:
            other = outcomes[k - 1]
        for (task, against), many in mine.items():
            side, scored = f"{task} {against}", scoring.row(case.name, task, against, many)
            row[side] = (scored["r2"], *scored["ci95"]["r2"])
            row |= {f"{side} rmse": scored["rmse"], f"{side} bias": scored["bias"]}
            row[f"{side} without bias"] = without_bias(many)
            if other is not None:
                less, ends = scoring.difference(many, other[task, against], task)
                row[f"{side} difference"] = (less, *ends)
        row["fit_s"] = float(np.mean([one.fit_s for one in mine["T1", "labels"]]))
        rows.append(row | {"clusters": clusters(mine["T1", "truth"])})
    return rows


def without_bias(outcomes: Sequence[Outcome]) -> float:
    """R2 of the estimates less their bias, 1 - (MSE - bias^2) / variance; mean over seeds."""
    sums = [metrics.aggregate(outcome.clusters) for outcome in outcomes]
    return float(np.mean([1 - (s.square - s.error**2 / s.n) / s.spread for s in sums]))


def markdown(name: str, rows: Sequence[Mapping]) -> str:
    """The rows as a table: R2 of T1 against labels and truth, with the bias and R2 less that bias,
    and of T2b; differences of RMSE."""
    lines = []
    for row in rows:
        line = {"case": row["name"], "sees": row["world"], "tested on": row["tested"]}
        for key in ("T1 labels", "T1 truth", "T2b truth"):
            line[f"R2 {key}"] = interval(row[key][0], row[key][1:])
        line["bias T1 truth"] = f"{row['T1 truth bias']:+.3f}"
        line["R2 T1 truth, bias taken out"] = f"{row['T1 truth without bias']:.2f}"
        if name in ("ladder", "alone"):
            for task in TASKS:
                less = row.get(f"{task} truth difference")
                cell = "–" if less is None else interval(less[0], less[1:], "+.3f")
                line[f"RMSE difference {task} truth"] = cell
        lines.append(line | {"fit s": f"{row['fit_s']:.0f}"})
    columns = {key: ">" if key not in ("case", "sees", "tested on") else "" for key in lines[0]}
    words = f"{HEADS[name]} {rows[-1]['clusters']} test clusters. R2 [95 % interval]."
    return f"**{name}**: {words}\n\n{Table(columns, lines).markdown()}"


def main(config: Why) -> Path:
    """The folder with table.md, why.json and why.png; the tables are printed."""
    if unknown := set(config.only) - set(TABLES):
        raise ValueError(f"only: got {sorted(unknown)}, expected some of {tuple(TABLES)}")
    cases = [case for name in config.only for case in TABLES[name](config.options)]
    if "alone" in config.only:
        cases.append(why_cases.ladder(config.options)[1])
    started = time.perf_counter()
    with endings.writing(config.out):
        compute(config, cases)
        tables = {name: rows_of(name, config) for name in TABLES if name in config.only}
        text = "\n\n".join(markdown(name, rows) for name, rows in tables.items())
        print("", text, f"{time.perf_counter() - started:.0f} s", sep="\n")
        write_study(config.out, "why", text, config, tables=tables)
        if {"ladder", "alone"} <= set(tables):
            _write_figure(config.out / "why.png", tables["ladder"], tables["alone"])
    return config.out


def _write_figure(path: Path, ladder: Sequence[Mapping], alone: Sequence[Mapping]) -> None:
    steps = [
        {"name": row["name"], "labels": row["T1 labels"], "truth": row["T1 truth"]}
        for row in ladder
    ]
    changes = [{"name": row["name"], "difference": row["T1 truth difference"]} for row in alone]
    files.write_bytes(path, plots.png(plots.steps(steps, changes), dpi=150))


if __name__ == "__main__":
    sys.exit(command(Why, main))
