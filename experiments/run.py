"""Head to head: what was the NDVI under the cloud, by deep learning and by MOGPR?

Command: python -m experiments.run            (a simulated Demak scene)
         python -m experiments.run --cube FILE --split district --out DIR
Cost: five minutes on 2 cores, 4 GB; `--preset quick` less.
Expected on the simulated scene, seed 0, unseen blocks, T2b, R2 against truth: climatology .3,
mlp10 .5, mogpr .7, boosting .8, cnp .9, whose weights have seen the truth of 120,000 simulated
pixels before.
"""

import dataclasses
import logging
import os
import platform
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr

from experiments import commands, pictures, protocol, scoring, splits
from experiments.config import Config, parse
from experiments.methods import methods
from experiments.metrics_file import write_metrics
from experiments.opening import Align, opened
from experiments.page import write_report
from experiments.report import console_table
from s1jax import cube, files, networks, simulate, tiles
from s1jax.cube.write import target
from s1jax.types import NDVI, Key

log = logging.getLogger("s1jax")

SAVED = ("mlp3", "mlp10", "mlp_window", "tcn_s1", "birnn", "cnp")
"""Networks whose weights a run keeps."""
FEWEST = 10
"""Independent places below which a result is only indicative."""
DRAWN_ONCE = 0
"""The simulated scene is one data set: its key does not change with the seeds of a run."""


def load(config: Config) -> tuple[xr.Dataset, str]:
    """The aligned cube of a configuration, speckle-filtered radar beside it, and its name; its
    dates are printed."""
    if config.cube is None:
        if config.align != Align():
            raise ValueError(f"align: got {config.align} without a cube, expected acquisitions")
        scene = simulate.scene(jax.random.key(DRAWN_ONCE), config.scene)
        ds = cube.from_scene(scene, pixel_m=config.scene.pixel_m)
        name, mask = f"demak_sim_{config.scene.mode}", config.mask
        ds = cube.align_cube(cube.open_cube(ds, mask=mask), step=config.step)
    else:
        name = Path(config.cube).name.split(".")[0] or Path(config.cube).parent.name
        ds = opened(
            config.cube,
            start=config.start,
            step=config.step,
            mask=config.mask,
            align=config.align,
        )
    print(f"{name}: {cube.span(ds)}", flush=True)
    return cube.despeckle(ds), name


def to_data(ds: xr.Dataset) -> tuple[protocol.Data, np.ndarray]:
    """Arrays of an aligned cube, and the places of their pixels in its flat grid."""
    series, pixel = cube.to_series(ds)

    def _optional(name):
        return cube.at_pixels(ds, name, pixel) if name in ds.variables else None

    names = ("truth", "block", "district")
    data = protocol.Data(series, *map(_optional, names), relative=cube.is_relative(ds))
    return data, pixel


def split_of(config: Config, data: protocol.Data, seed: int) -> splits.Split:
    """The split of a configuration, with at most as many pixels as it allows.

    Raises:
      ValueError: the cube has no places, no label, or no districts where they are to be left out;
        or a part of the split has too few labels.
    """
    place = data.series.place
    if place is None:
        raise ValueError(
            "place: got no coordinates in metres or degrees, expected x, y or lat, lon"
        )
    place = np.asarray(place, np.float64)
    labels = np.asarray(data.series.valid)[..., NDVI]
    if not labels.any():
        raise ValueError(protocol.UNLABELLED)
    count = labels.sum(1)
    metres = {"block_m": config.block_m, "buffer_m": config.buffer_m}
    if config.split == "district":
        if data.district is None:
            raise ValueError("district: got no such variable on (y,) or (y, x), expected one")
        split = splits.district(place, data.district, seed=seed, labels=count)
    elif config.split == "season":
        day = np.asarray(data.series.day, np.float64)
        split = splits.season(place, day, data.block, seed=seed, labels=labels, **metres)
    else:
        split = splits.blocks(place, data.block, seed=seed, labels=count, **metres)
    limits = (config.training_pixels, config.validation_pixels, config.test_pixels)
    split = protocol.subsample(split, limits, seed=seed, labels=labels)
    protocol.check(data, split)
    return split


def clusters(split: splits.Split) -> int:
    """Number of test clusters that the bootstrap draws from."""
    return sum(np.unique(fold.cluster).size for fold in split.folds)


def describe(split: splits.Split) -> str:
    """The split in words, with what a reader must mind."""
    count, districts = clusters(split), len(split.folds)
    if districts > 1:
        # its cells are no places of their own: they share weather, calendar and orbit
        words = [*split.notes, f"{districts} districts ({count} test clusters)"]
        few = f"fewer than {FEWEST} districts" if districts < FEWEST else ""
    else:
        words = [*split.notes, f"{count} test clusters"]
        few = f"fewer than {FEWEST} clusters" if count < FEWEST else ""
    return "; ".join([*words, f"indicative: {few}"] if few else words)


def environment() -> dict:
    """Where a run was made."""
    packages = ("s1jax", "jax", "jaxlib", "flax", "optax", "tinygp", "numpy", "scikit-learn")
    commit = ""
    if shutil.which("git"):
        folder = Path(__file__).parent
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True
        )
        commit = done.stdout.strip()
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "devices": [device.device_kind for device in jax.devices()],
        "commit": commit or "unknown",
        "packages": {name: version(name) for name in packages},
    }


def row_line(row: dict) -> str:
    """A row of metrics.json as a line of the terminal; without a reference its skill is nan."""
    low, high = row["ci95"]["r2"]
    skill = row.get("skill", float("nan"))
    return (
        f"{row['method']:<12}{row['task']:<5}{row['against']:<7}{row['r2']:7.3f} "
        f"[{low:6.3f}, {high:6.3f}]{row['mae']:7.3f}{row['bias']:+7.3f}"
        f"{row['coverage90']:6.2f}{skill:+7.2f}{row['n']:>10,}{row['px_per_s']:>11,.0f}"
    )


def row_name(row: dict) -> str:
    """Method, task and what it was scored against."""
    return f"{row['method']} {row['task']} {row['against']}"


HEAD = (
    f"{'method':<12}{'task':<5}{'against':<7}{'R2':>7} [95 % interval ]{'MAE':>7}{'bias':>7}"
    f"{'cover':>6}{'skill':>7}{'n':>10}{'px/s':>11}"
)


def run(config: Config) -> Path:
    """The folder with what the head to head of `config` wrote.

    metrics.json, config.json, environment.json, report.html, figures/, models/ and run.log.
    """
    started = time.perf_counter()
    utc = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    stem = "demak_sim" if config.cube is None else commands.stem(config.cube)
    out = config.out or Path("results") / f"{stem}-{utc}"
    with ExitStack() as stack:
        stack.enter_context(commands.writing(out, inputs=[config.cube]))
        if config.save_cube is not None:
            stack.enter_context(commands.writing_file(config.save_cube))
        stack.enter_context(_logging(out / "run.log"))
        _head_to_head(config, out)
    print(f"{out} written in {time.perf_counter() - started:.0f} s")
    return out


@contextmanager
def _logging(path: Path) -> Iterator[None]:
    """All that s1jax says goes to the file, and nowhere else, for as long as the run lasts."""
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


class Seed(NamedTuple):
    """One seed of the head to head: what is fitted, and on what."""

    number: int
    split: splits.Split
    key_fit: Key
    gaps: dict
    views: dict
    pixels: str
    """How many train, decide and test, in words."""


def _head_to_head(config: Config, out: Path) -> None:
    ds, name = load(config)
    if config.save_cube is not None:
        # what `tiles.fill` would refuse after hours of training
        target(ds, config.save_cube, product=True)
    print(*filter(None, (ds.attrs.get("s1jax_repairs"), ds.attrs.get("s1jax_funnel"))), sep="\n")
    data, pixel = to_data(ds)
    _refuse_without_truth(config, data)
    outcomes, fewest, first, kept, params = defaultdict(list), None, None, {}, {}
    for number in config.seeds:
        seed = _seed(config, data, number)
        fewest = min(seed.split, fewest or seed.split, key=clusters)
        chosen = _fitting(config, ds, out)
        estimates, params_here = _scored(config, data, seed, chosen, out, outcomes)
        if first is None:
            # the report and the map show the first seed alone
            first, kept, params = seed, estimates, params_here
    words = f"{config.split}: {describe(fewest)}"
    rows = _written(config, out, name, words, outcomes)
    print("\n" + console_table(rows))
    if config.report:
        print("drawing the report", flush=True)
        shown = pictures.Shown(data, pixel, first.split, first.views)
        sections = pictures.sections(
            name, words, config.seeds, _facts(data, first), ds, rows, shown, kept, params
        )
        write_report(out, f"Head to head on {name}", sections)
    if config.save_cube is not None:
        _save_cube(config, ds, chosen, params, first.split)


def _refuse_without_truth(config: Config, data: protocol.Data) -> None:
    """Say that T2d needs the truth.

    Raises:
      ValueError: it is the only task of data without truth.
    """
    if data.truth is None and "T2d" in config.tasks:
        print("T2d is left out: it is scored against the truth, which only a simulation has")
        if config.tasks == ("T2d",):
            raise ValueError("tasks: got T2d alone on data without truth, expected others")


def _seed(config: Config, data: protocol.Data, number: int) -> Seed:
    """The split of a seed and the tasks that can be scored on it; both are printed."""
    split = split_of(config, data, number)
    parts = zip(*(fold[:3] for fold in split.folds), strict=True)
    training, validation, test = (sum(part.size for part in of_folds) for of_folds in parts)
    pixels = f"{training:,} training, {validation:,} validation, {test:,} test pixels"
    print(f"seed {number}: {describe(split)}; {pixels}\n{HEAD}", flush=True)
    key_fit, gaps, views = protocol.asked(data, split, config.tasks, number)
    gaps, views = _usable(data, split, gaps, views)
    return Seed(number, split, key_fit, gaps, views, pixels)


def _facts(data: protocol.Data, seed: Seed) -> dict:
    """What the report says of the data."""
    left_out = {f"left out of {t}": v.left_out for t, v in seed.views.items() if v.left_out}
    return {"pixels": seed.pixels, "periods": len(data.series.day)} | left_out


def _fitting(config: Config, ds: xr.Dataset, out: Path) -> list[protocol.Method]:
    """The methods that a cube has what they need for; the others are printed."""
    chosen = methods(config, folder=out / "checkpoints")
    if min(ds.sizes["y"], ds.sizes["x"]) > 1:
        return chosen
    if spatial := [method.name for method in chosen if method.spatial]:
        print(f"{', '.join(spatial)} left out: pixels side by side are needed, not points")
    return [method for method in chosen if not method.spatial]


def _scored(config, data, seed: Seed, chosen, out: Path, outcomes) -> tuple[dict, dict]:
    """Estimates of each method and task, and parameters of each method and fold, of one seed.

    Outcomes are added to `outcomes` and printed; weights of networks are saved.
    """
    folder = out / "models" / f"seed-{seed.number}"
    # a name of the data is no path
    folders = {fold.name: f"fold-{k}" for k, fold in enumerate(seed.split.folds)}
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / "folds.json", {f: name for name, f in folders.items()})
    estimates_of, params_of = {}, {}

    def _keep(method, fold, params):
        params_of[method, fold.name] = params
        if method in SAVED:
            series = protocol.take(data.series, fold.training, fold.training_time)
            at = folder / method / folders[fold.name]
            networks.save(at, getattr(config, method), params, series)

    for method, task, estimates in protocol.head_to_head(
        seed.key_fit, chosen, data, seed.split, seed.gaps, learnt=_keep
    ):
        view = seed.views[task]
        for against in view.scored:
            outcome = scoring.score(view, estimates, against, seed=seed.number)
            outcomes[method, task, against].append(outcome)
            print(row_line(scoring.rows(outcomes, only=(method, task, against))[0]), flush=True)
        if seed.number == config.seeds[0]:
            estimates_of[method, task] = pictures.lighter(estimates)
    return estimates_of, params_of


def _written(config: Config, out: Path, name: str, words: str, outcomes) -> list[dict]:
    """Rows of the scores, which are written.

    Raises:
      ValueError: some are not finite; all others are written.
    """
    every = scoring.rows(outcomes)
    broken = {row_name(row): scoring.not_finite(row) for row in every if scoring.not_finite(row)}
    rows = [row for row in every if row_name(row) not in broken]
    _write(config, out, name, words, rows)
    if broken:
        lines = (f"{row} ({', '.join(scores)})" for row, scores in broken.items())
        raise ValueError(
            f"{out / 'metrics.json'}: got scores that are not finite, expected numbers; left out: "
            f"{'; '.join(lines)}; no report and no map was made"
        )
    return rows


def _usable(data, split, gaps, views):
    """Gaps and views of the tasks that can be learnt and scored; the others are printed.

    Raises:
      ValueError: none can.
    """
    reasons = {task: protocol.lacking(data, split, task, gap) for task, gap in gaps.items()}
    for task, reason in reasons.items():
        if reason:
            print(f"{task} is left out: {reason}", flush=True)
    tasks = [task for task, reason in reasons.items() if not reason]
    if not tasks:
        raise ValueError("tasks: " + "; ".join(f"{t}: {reason}" for t, reason in reasons.items()))
    return {task: gaps[task] for task in tasks}, {task: views[task] for task in tasks}


def _write(config: Config, out: Path, name: str, split: str, rows: list[dict]) -> None:
    write_metrics(out / "metrics.json", name, split, config.seeds, rows)
    files.write_json(out / "config.json", dataclasses.asdict(config))
    files.write_json(out / "environment.json", environment())


def _save_cube(config, ds, chosen, learnt, split) -> None:
    """Map every pixel with what the first fold's training taught the method."""
    found = [method for method in chosen if method.name == config.save_method]
    if not found:
        raise ValueError(f"save_method: got {config.save_method!r}, which these data left out")
    (method,) = found
    estimator = method.estimator
    params = learnt[config.save_method, split.folds[0].name]
    # a method that looks at neighbours would not see those beyond a tile
    tile = max(ds.sizes["y"], ds.sizes["x"]) if method.spatial else 256

    def _predict(series, days):
        return estimator.predict(params, series, days)

    trained_on = f"training pixels of {split.folds[0].name} of the cube itself"
    done = tiles.fill(
        _predict, ds, config.save_cube, tile=tile, method=config.save_method, trained_on=trained_on
    )
    if done.failed:
        lines = "; ".join(map(tiles.described, done.failed))
        raise ValueError(f"{config.save_cube}: got tiles that failed, all others written: {lines}")
    if done.not_finite:
        raise ValueError(
            f"{config.save_cube}: got {done.not_finite:,} of {done.pixels:,} pixels with an "
            "estimate that is not finite, expected none; the others are written"
        )
    taught = "" if len(split.folds) == 1 else f", taught without {split.folds[0].name}"
    print(f"{config.save_method} of every pixel{taught}: {config.save_cube}")


if __name__ == "__main__":
    sys.exit(commands.status(lambda: run(parse())))
