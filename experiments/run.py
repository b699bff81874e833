"""Head to head: what was the NDVI under the cloud, by deep learning and by MOGPR?

Command: python -m experiments.run            (a simulated Demak scene)
         python -m experiments.run --cube FILE --split district --out DIR
Cost: some four minutes on 2 cores, 4 GB; `--preset quick` less.
Expected on the simulated scene, seed 0, unseen blocks, T2b, R2 against truth: climatology .3,
mlp10 .5, mogpr .7, boosting .8, cnp .9, whose weights have seen the truth of 120,000 simulated
pixels before.
"""

import dataclasses
import logging
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import xarray as xr

from experiments.protocol import scoring, splits
from experiments.protocol.config import Config, parse
from experiments.protocol.data import Data, load, split_of, to_data
from experiments.protocol.head_to_head import (
    Draw,
    Method,
    draw_tasks,
    head_to_head,
    lacking,
    methods,
)
from experiments.protocol.splits import Split
from experiments.report import pictures
from experiments.report.files import environment, new_folder, write_metrics
from experiments.report.tables import HEAD, console_table, row_line
from s1jax import files, regions, saving
from s1jax.commands import endings
from s1jax.commands.page import write_report
from s1jax.cube.write import target
from s1jax.types import Estimate

log = logging.getLogger("s1jax")

SAVED = ("mlp3", "mlp10", "mlp_window", "tcn_s1", "birnn", "cnp")
"""Networks whose weights a run keeps."""


class Seed(NamedTuple):
    """One seed of the head to head: its split and draw, and what its methods gave."""

    number: int
    split: Split
    draw: Draw
    estimates: dict[tuple[str, str], Estimate]
    """(method, task) -> estimate, in single precision."""
    params: dict[tuple[str, str], object]
    """(method, fold) -> parameters."""

    @property
    def pixels(self) -> str:
        """How many pixels train, validate and test, in words."""
        parts = zip(*(fold[:3] for fold in self.split.folds), strict=True)
        counts = [sum(part.size for part in of_folds) for of_folds in parts]
        return "{:,} training, {:,} validation, {:,} test pixels".format(*counts)


def run(config: Config) -> Path:
    """The folder with what the head to head of `config` wrote.

    metrics.json, config.json, environment.json, report.html, figures/, models/ and run.log.
    """
    started = time.perf_counter()
    stem = "demak_sim" if config.cube is None else endings.stem(config.cube)
    out = config.out or new_folder(stem)
    with ExitStack() as stack:
        stack.enter_context(endings.writing(out, inputs=[config.cube]))
        if config.save_cube is not None:
            stack.enter_context(endings.writing_file(config.save_cube))
        stack.enter_context(_logging(out / "run.log"))
        _run(config, out)
    print(f"{out} written in {time.perf_counter() - started:.0f} s")
    return out


@contextmanager
def _logging(path: Path) -> Iterator[None]:
    """The log of s1jax goes to the file, and nowhere else, for as long as the run lasts."""
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    handler.handleError = _go_on  # else a full disk is a traceback on stderr and nothing more
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.setLevel(level)
        log.propagate = propagate
        log.removeHandler(handler)
        handler.close()


def _go_on(record: logging.LogRecord) -> None:
    """The error that is being handled goes on to the command."""
    raise


def _run(config: Config, out: Path) -> None:
    ds, name = load(config)
    if config.save_cube is not None:
        # what `regions.map_region` would refuse after hours of training
        target(ds, config.save_cube, product=True)
    print(*filter(None, (ds.attrs.get("s1jax_repairs"), ds.attrs.get("s1jax_funnel"))), sep="\n")
    data, pixel = to_data(ds)
    _refuse_without_truth(config, data)
    chosen = _able(methods(config, folder=out / "checkpoints"), ds)
    outcomes, first, fewest = defaultdict(list), None, None
    for number in config.seeds:
        seed = _scored(config, data, number, chosen, out, outcomes)
        # the report and the map show the first seed alone
        first = first or seed
        fewest = min(seed.split, fewest or seed.split, key=splits.clusters)
    words = f"{config.split}: {splits.describe(fewest)}"
    rows = _written(config, out, name, words, outcomes)
    print("\n" + console_table(rows))
    if config.report:
        print("drawing the report", flush=True)
        test_sets = first.draw.test_sets
        facts = {"pixels": first.pixels, "periods": len(data.series.day)}
        facts |= {f"left out of {t}": s.left_out for t, s in test_sets.items() if s.left_out}
        shown = pictures.FigureData(
            data, pixel, ds, first.split, test_sets, rows, first.estimates, first.params
        )
        sections = pictures.sections(name, words, config.seeds, facts, shown)
        write_report(out, f"Head to head on {name}", sections)
    if config.save_cube is not None:
        _save_cube(config, ds, chosen, first.params, first.split)


def _refuse_without_truth(config: Config, data: Data) -> None:
    """Say that T2d needs the truth.

    Raises:
      ValueError: it is the only task of data without truth.
    """
    if data.truth is None and "T2d" in config.tasks:
        print("T2d is left out: it is scored against the truth, which only a simulation has")
        if config.tasks == ("T2d",):
            raise ValueError("tasks: got T2d alone on data without truth, expected others")


def _able(chosen: list[Method], ds: xr.Dataset) -> list[Method]:
    """The methods that a cube has what they need for; the others are printed."""
    if min(ds.sizes["y"], ds.sizes["x"]) > 1:
        return chosen
    if spatial := [method.name for method in chosen if method.spatial]:
        print(f"{', '.join(spatial)} left out: pixels side by side are needed, not points")
    return [method for method in chosen if not method.spatial]


def _scored(
    config: Config, data: Data, number: int, chosen: list[Method], out: Path, outcomes
) -> Seed:
    """One seed; its outcomes are added to `outcomes` and printed, weights of networks are saved."""
    split = split_of(config, data, number)
    seed = Seed(number, split, draw_tasks(data, split, config.tasks, number), {}, {})
    print(f"seed {number}: {splits.describe(split)}; {seed.pixels}\n{HEAD}", flush=True)
    seed = seed._replace(draw=_usable(data, split, seed.draw))
    folder = out / "models" / f"seed-{number}"
    # a name of the data is no path
    folders = {fold.name: f"fold-{k}" for k, fold in enumerate(split.folds)}
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / "folds.json", {path: name for name, path in folders.items()})

    def _keep(method, fold, params):
        seed.params[method, fold.name] = params
        if method in SAVED:
            path = folder / method / folders[fold.name]
            saving.save(params, path)

    for method, task, estimate, seconds in head_to_head(
        seed.draw.key, chosen, data, split, seed.draw.masks, on_fit=_keep
    ):
        test_set = seed.draw.test_sets[task]
        for against in test_set.scored:
            outcome = scoring.score(test_set, estimate, seconds, against, seed=number)
            outcomes[method, task, against].append(outcome)
            print(row_line(scoring.rows(outcomes, only=(method, task, against))[0]), flush=True)
        seed.estimates[method, task] = pictures.in_single_precision(estimate)
    return seed


def _usable(data: Data, split: Split, draw: Draw) -> Draw:
    """The tasks that can be fitted and scored; the others are printed.

    Raises:
      ValueError: none can.
    """
    reasons = {task: lacking(data, split, task, mask) for task, mask in draw.masks.items()}
    for task, reason in reasons.items():
        if reason:
            print(f"{task} is left out: {reason}", flush=True)
    tasks = [task for task, reason in reasons.items() if not reason]
    if not tasks:
        raise ValueError("tasks: " + "; ".join(f"{t}: {reason}" for t, reason in reasons.items()))
    return Draw(draw.key, *({task: part[task] for task in tasks} for part in draw[1:]))


def _written(config: Config, out: Path, name: str, words: str, outcomes) -> list[dict]:
    """Rows of the scores, which are written.

    Raises:
      ValueError: some are not finite; all others are written.
    """
    rows, broken = [], []
    for row in scoring.rows(outcomes):
        if names := scoring.not_finite(row):
            broken.append("{method} {task} {against} ".format(**row) + f"({', '.join(names)})")
        else:
            rows.append(row)
    write_metrics(out / "metrics.json", name, words, config.seeds, rows)
    files.write_json(out / "config.json", dataclasses.asdict(config))
    files.write_json(out / "environment.json", environment())
    if broken:
        raise ValueError(
            f"{out / 'metrics.json'}: got scores that are not finite, expected numbers; left out: "
            f"{'; '.join(broken)}; no report and no map was made"
        )
    return rows


def _save_cube(config: Config, ds: xr.Dataset, chosen: list[Method], params, split: Split) -> None:
    """Map every pixel with the parameters of the first fold."""
    by_name = {method.name: method for method in chosen}
    if config.save_method not in by_name:
        raise ValueError(f"save_method: got {config.save_method!r}, which these data left out")
    method, fold = by_name[config.save_method], split.folds[0].name
    # a method that looks at neighbours would not see those beyond a tile
    tile = max(ds.sizes["y"], ds.sizes["x"]) if method.spatial else 256

    def _predict(series, days):
        return method.estimator.predict(params[method.name, fold], series, days)

    trained_on = f"training pixels of {fold} of the cube itself"
    done = regions.map_region(
        _predict, ds, config.save_cube, tile=tile, method=method.name, trained_on=trained_on
    )
    if done.failed:
        lines = "; ".join(map(str, done.failed))
        raise ValueError(f"{config.save_cube}: got tiles that failed, all others written: {lines}")
    if done.not_finite:
        raise ValueError(
            f"{config.save_cube}: got {done.not_finite:,} of {done.pixels:,} pixels with an "
            "estimate that is not finite, expected none; the others are written"
        )
    taught = "" if len(split.folds) == 1 else f", trained without {fold}"
    print(f"{method.name} of every pixel{taught}: {config.save_cube}")


if __name__ == "__main__":
    sys.exit(endings.status(lambda: run(parse())))
