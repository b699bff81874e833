"""Why is R2 low? What each change of a single-date baseline is worth, on simulated data.

Command: python -m experiments.studies.why
Cost: 27 minutes on 2 quiet cores. What is there is not computed again: a case of a seed is one file
under --out.
Expected, R2 against truth, T1: baseline on unmasked L1C labels below 0, masked and harmonised
labels .4, full series .8.

All of it is shown on a simulated scene alone: only there the same landscape is seen unmasked and
masked, and has its truth. `experiments.studies.compare` scores the methods on real series.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr

from experiments.protocol import data as datasets
from experiments.protocol import scoring
from experiments.protocol.config import Config
from experiments.protocol.data import Data
from experiments.protocol.head_to_head import Method, draw_tasks, head_to_head
from experiments.protocol.scoring import Outcome
from experiments.protocol.splits import Fold, Split
from experiments.report.files import Scored, Store, fingerprint, write_study
from experiments.report.report import clusters
from experiments.report.tables import Table, interval
from experiments.studies import command
from s1jax import cube, files, metrics, plots
from s1jax.commands import endings
from s1jax.features import WITH_NEIGHBOURS, WITH_PREVIOUS
from s1jax.networks import (
    CnpConfig,
    Mlp3Config,
    Mlp10Config,
    MlpWindowConfig,
    TcnS1Config,
    mlp,
    sequence,
)
from s1jax.simulate import SceneConfig
from s1jax.train import TrainConfig
from s1jax.types import Estimator, Series

WITHIN = 3.0
"""Most days between radar and label in an aligned observation."""


class Observation(NamedTuple):
    """How the one landscape was seen."""

    labels: Literal["exported", "harmonised", "clean"]
    """L1C without a mask, with and without the offset left in; L2A with cloud masked."""
    aligned: bool = False
    """Radar is of passes within 3 days of the labels' mean day, not of the whole period."""
    averaged: bool = False
    """Radar is its mean over 3 x 3 pixels, in linear power."""


class Experiment(NamedTuple):
    """A method, the observation it learns from, and how it is tested."""

    name: str
    observation: Observation
    estimator: Callable[[], Estimator]
    tested: Literal["blocks", "training rows"] = "blocks"
    """On unseen blocks, or on what it was trained on, as the founding document does."""
    seeds: int | None = None
    """Only the first so many seeds; None: all."""
    rows: int | None = None
    """Trains on every training pixel, which have to have so many labels; None: on some."""

    @property
    def words(self) -> str:
        """The observation in words."""
        labels, aligned, averaged = self.observation
        return labels + " aligned" * aligned + " 3 x 3" * averaged


_DATES = TrainConfig(batch_rows=65_536, batches=32, epochs=15)
_SERIES = replace(CnpConfig().train, steps=800)
_TUNED = replace(CnpConfig().train, steps=300, learning_rate=1e-3)
"""Half the rate that networks have by default: docs/why.md was measured with it."""


@dataclass(frozen=True)
class Options:
    """Networks of the cases."""

    baseline: Mlp3Config = field(
        default_factory=lambda: Mlp3Config(indices_from_db=True, tanh=True, train=_DATES)
    )
    """The single-date baseline, with its faults."""
    mlp10: Mlp10Config = field(
        default_factory=lambda: Mlp10Config(indices_from_db=True, tanh=True, train=_DATES)
    )
    """The founding document's improved network, with the same faults."""
    window: MlpWindowConfig = field(default_factory=lambda: MlpWindowConfig(train=_SERIES))
    """Radar of five dates to either side."""
    series: TcnS1Config = field(
        default_factory=lambda: TcnS1Config(pretrained=False, train=_SERIES)
    )
    """Radar of all dates."""
    cnp: CnpConfig = field(default_factory=lambda: CnpConfig(train=_TUNED))
    """The same and the pixel's own NDVI, from the weights that s1jax ships."""
    anew: CnpConfig = field(default_factory=lambda: CnpConfig(pretrained=False, train=_SERIES))
    """The same from random weights."""
    balanced: int = 10
    """Ranges of NDVI that rows are drawn from equally often."""
    batches: tuple[int, ...] = (65_536, 256_000)
    """Rows of a batch that are compared."""
    epochs: tuple[int, ...] = (50, 150)
    """Passes that are compared."""
    rates: tuple[float, ...] = (0.01, 0.001)
    """Learning rates that are compared."""


EXPORTED, CLEAN = Observation("exported"), Observation("clean")
NEAR = CLEAN._replace(aligned=True)
FAULTLESS = {"indices_from_db": False, "tanh": False}


def ladder(options: Options) -> tuple[Experiment, ...]:
    """Cases that keep what the ones before them have changed."""
    baseline, narrow = options.baseline, replace(options.window, spatial=False)
    powers, plain = replace(baseline, indices_from_db=False), replace(baseline, **FAULTLESS)
    ten, both = (replace(plain, features=of) for of in (WITH_PREVIOUS, WITH_NEIGHBOURS))
    first = Experiment("baseline, test = training", EXPORTED, partial(mlp, baseline))
    steps = (
        ("unseen blocks", EXPORTED, mlp, baseline),
        ("masked, harmonised labels", CLEAN, mlp, baseline),
        ("indices from linear power", CLEAN, mlp, powers),
        ("no Tanh", CLEAN, mlp, plain),
        ("radar within 3 days", NEAR, mlp, plain),
        ("ten features", NEAR, mlp, ten),
        ("both neighbours", NEAR, mlp, both),
        ("window of 11 dates", NEAR, sequence, narrow),
        ("3 x 3 and 7 x 7 means", NEAR, sequence, options.window),
        ("full series", NEAR, sequence, options.series),
        ("own NDVI", NEAR, sequence, options.anew),
        ("pre-training", NEAR, sequence, options.cnp),
    )
    return first._replace(tested="training rows"), *_experiments(steps)


def alone(options: Options) -> tuple[Experiment, ...]:
    """The baseline on unseen blocks with one change each."""
    baseline = options.baseline

    def _one(**change):
        return mlp, replace(baseline, **change)

    changes = (
        ("harmonised labels", Observation("harmonised"), mlp, baseline),
        ("masked, harmonised labels", CLEAN, mlp, baseline),
        ("indices from linear power", EXPORTED, *_one(indices_from_db=False)),
        ("no Tanh", EXPORTED, *_one(tanh=False)),
        ("radar within 3 days", EXPORTED._replace(aligned=True), mlp, baseline),
        ("ten features", EXPORTED, *_one(features=WITH_PREVIOUS)),
        ("both neighbours", EXPORTED, *_one(features=WITH_NEIGHBOURS)),
        ("balanced NDVI", EXPORTED, *_one(balanced=options.balanced)),
        ("3 x 3 means", EXPORTED._replace(averaged=True), mlp, baseline),
        ("window of 11 dates", EXPORTED, sequence, replace(options.window, spatial=False)),
        ("full series", EXPORTED, sequence, replace(options.series, spatial=False)),
        ("own NDVI", EXPORTED, sequence, replace(options.anew, spatial=False)),
        ("pre-training", EXPORTED, sequence, replace(options.cnp, ndvi=False)),
    )
    return _experiments(changes)


def solutions(options: Options) -> tuple[Experiment, ...]:
    """The founding document's solutions, added up in its own protocol and in ours."""
    slow = options.mlp10.train
    first = replace(options.baseline, train=replace(slow, learning_rate=0.01))
    trained = replace(options.mlp10, train=replace(slow, epochs=30, learning_rate=0.001))
    cases = {
        "as it was": first,
        "1: temporal features": replace(first, features=WITH_PREVIOUS),
        "1 + 2: architecture": replace(options.mlp10, train=first.train),
        "1 + 2 + 3: training": trained,
        "1 + 2 + 3, without dB indices and Tanh": replace(trained, **FAULTLESS),
        "1 + 2 + 3, balanced NDVI": replace(trained, balanced=options.balanced),
    }
    theirs, ours = (
        _experiments((name, observation, mlp, network) for name, network in cases.items())
        for observation in (EXPORTED, CLEAN)
    )
    return *(case._replace(tested="training rows") for case in theirs), *ours


def hyperparameters(options: Options) -> tuple[Experiment, ...]:
    """The baseline with the document's ten features and without the faults, on clean labels: its
    batches, passes and learning rates."""
    plain = replace(options.baseline, features=WITH_PREVIOUS, **FAULTLESS)
    cases = []
    for batch in options.batches:
        for epochs in options.epochs:
            for rate in options.rates:
                train = TrainConfig(batch_rows=batch, batches=1, epochs=epochs, learning_rate=rate)
                name = f"batch {batch:,}, {epochs} epochs, rate {rate:g}"
                network = partial(mlp, replace(plain, train=train))
                cases.append(Experiment(name, CLEAN, network, seeds=1, rows=batch))
    return tuple(cases)


def _experiments(cases) -> tuple[Experiment, ...]:
    """Of names, observations, methods and their configurations."""
    return tuple(Experiment(name, seen, partial(method, of)) for name, seen, method, of in cases)


def observed(scene: SceneConfig, observation: Observation) -> Data:
    """The landscape of the scene as it is observed; pixels, days and truth are always the same."""
    mode = "clean" if observation.labels == "clean" else "as_exported"
    offset = 0.0 if observation.labels == "harmonised" else scene.exported_offset
    config = replace(scene, mode=mode, exported_offset=offset)
    ds = datasets.simulated(config)
    if observation.aligned:
        ds = _near_labels(ds, config)
    data = datasets.in_blocks(datasets.to_data(cube.despeckle(ds))[0])
    if not observation.averaged:
        return data
    series = data.series
    return data._replace(series=series._replace(radar=series.radar[..., 1:2, :]))


def _near_labels(ds: xr.Dataset, config: SceneConfig) -> xr.Dataset:
    """The cube with the radar of passes within 3 days of its NDVI, as `cube.align_cube(within=)`
    composites it; missing where no pass is near."""
    # as in the composites of the scene both orbits are one mean
    acquired = datasets.simulated(config, single_passes=True).drop_vars("s1_track")
    first = ds["t"].values[0] - np.timedelta64(config.step * 12, "h")
    near = cube.align_cube(acquired, start=first, step=config.step, within=WITHIN)
    near = near.reindex(t=ds["t"])
    return ds.assign({name: ds[name].copy(data=near[name].values) for name in ("VV", "VH")})


def split_of(data: Data, case: Experiment, limits: tuple[int, int, int], *, seed: int) -> Split:
    """Unseen blocks, 150 m away; or, as the document has it, one set of pixels for everything.

    Raises:
      ValueError: a part without pixels or without any valid label, or too few labels for a batch.
    """
    training, validation, test = limits
    config = Config(
        buffer_m=150.0,
        training_pixels=None if case.rows else training,
        validation_pixels=validation,
        test_pixels=test,
    )
    split = datasets.split_of(config, data, seed)
    (fold,) = split.folds
    valid = np.asarray(data.series.radar_valid).all(-1) & np.asarray(data.series.ndvi_valid)
    rows = int(valid[fold.training].sum())
    if case.rows is not None and rows < case.rows:
        raise ValueError(
            f"scene: got {rows:,} labels of training pixels, expected the {case.rows:,} of a batch"
        )
    if case.tested == "blocks":
        return split
    same = fold.training
    return Split((Fold(same, same, same, data.block[same]),), ("test = training",))


def same_pixels(one: Series, other: Series) -> bool:
    """Whether two observations have the same pixels and days."""
    return np.array_equal(one.position, other.position) and np.array_equal(one.day, other.day)


TASKS = ("T1", "T2b")
TABLES = {
    "ladder": ladder,
    "alone": alone,
    "solutions": solutions,
    "hyperparameters": hyperparameters,
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
    split = split_of(data, case, config.pixels, seed=seed)
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
        data = observed(config.scene, observation)
        home = home or data
        if not same_pixels(home.series, data.series):
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
        base = gathered(config, ladder(config.options)[1])
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
        cases.append(ladder(config.options)[1])
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
