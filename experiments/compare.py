"""Which method, where? Every method on every data set, three seeds: the tables of README.

Command: python -m experiments.compare --data FOLDER          (the folder with the .nc files)
         python -m experiments.compare --data FOLDER --only sim_blocks mekong_rice_points_2022/cnp
         python -m experiments.compare --data FOLDER --only sim_blocks/cropsar
Cost: on 2 cores, three seeds, nine real data sets, without the patch models: 2 hours, of which
the tests ran beside it for 40 minutes; `cropsar` on sim_blocks 8 more, `cropsar_gan` 11.
What is there is not computed again, but for the parts of a method that is not: a method of a data
set and seed is one file under --out, and the tables are written from all that are there, of this
call or of earlier ones.
Expected, T2b, R2 of the three seeds: sim_blocks against truth boosting .79, mogpr .67, cnp .89;
mekong_rice_points_2022 (two districts) against labels boosting .69, mogpr .17, birnn .83,
ensemble .85.
"""

import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import jax
import tyro

from experiments import commands, datasets, protocol, scoring
from experiments.config import METHODS, Config, complete
from experiments.datasets import SIMULATED, Dataset, real
from experiments.methods import methods
from experiments.outcome_files import (
    ABOUT,
    Scored,
    SeasonErrors,
    fingerprint,
    read_about,
    read_outcomes,
    write_about,
    write_outcomes,
)
from experiments.run import HEAD, describe, row_line
from experiments.seasons import season_errors
from experiments.tables import Compared, write_tables
from s1jax.baselines import BoostingConfig
from s1jax.hybrid import HybridConfig
from s1jax.mogpr import MogprConfig
from s1jax.networks import BirnnConfig, CnpConfig, MlpWindowConfig, TcnS1Config
from s1jax.plots import YARDSTICKS

_SCRATCH = replace(BirnnConfig().train, steps=900)
"""Half of what random weights have by default, for time; the shipped ones go on for their 600."""
SLOW = ("cropsar", "cropsar_gan")
"""Methods that run where they are named in `methods`."""
ALWAYS = tuple(name for name in METHODS if name not in SLOW)
_SEASONS = ("T1", "T2d")
"""Tasks whose estimates, which have every date, are read for seasons."""


@dataclass(frozen=True)
class Compare:
    """Every method on every data set, resumable."""

    data: Path | None = None
    """Folder with real data sets (.nc, any); none: the simulated ones alone."""
    out: Path = Path("results/compare")
    """Folder of what each method scored, DATASET/seed-N/METHOD.json, and of the tables."""
    only: tuple[str, ...] = ()
    """Data sets, or DATASET/METHOD; none: all."""
    methods: tuple[str, ...] = ALWAYS
    """Names of methods, or `all`, which has the patch models too."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of splits, hidden labels and methods."""
    readme: Path | None = None
    """README.md whose tables are written; none: none."""
    results: Path | None = None
    """results/README.md to write; none: none."""
    config: Config = field(
        default_factory=lambda: Config(
            training_pixels=1500,
            validation_pixels=300,
            test_pixels=2000,
            boosting=BoostingConfig(rows=50_000),
            mogpr=MogprConfig(sample=96),
            mogpr_pixel=MogprConfig(sample=96, hyper="pixel", inputs="smooth"),
            mlp_window=MlpWindowConfig(train=_SCRATCH),
            birnn=BirnnConfig(train=_SCRATCH),
            cnp=CnpConfig(),
            tcn_s1=TcnS1Config(),
            hybrid=HybridConfig(),
            switch=HybridConfig(threshold=0.5, switched=MogprConfig(sample=96)),
        )
    )
    """Scene, numbers of pixels, options of the methods."""


def wanted(config: Compare) -> dict[str, tuple[str, ...]]:
    """Data set -> methods to compare on it.

    Raises:
      ValueError: an unknown name in `only` or in `methods`.
    """
    every = METHODS if config.methods == ("all",) else config.methods
    if unknown := set(every) - set(METHODS):
        raise ValueError(f"methods: got {sorted(unknown)}, expected all or some of {METHODS}")
    names = (*SIMULATED, *real(config.data))
    every = tuple(dict.fromkeys((*YARDSTICKS, *every)))
    if not config.only:
        return dict.fromkeys(names, every)
    out: dict[str, tuple[str, ...]] = {}
    for item in config.only:
        name, _, method = item.partition("/")
        if name not in names or (method and method not in METHODS):
            raise ValueError(
                f"only: got {item!r}, expected DATASET or DATASET/METHOD of {names} and {METHODS} "
                f"(--data: {config.data})"
            )
        # without a yardstick nothing can be said of a method
        some = (*out.get(name, YARDSTICKS), method) if method else every
        out[name] = tuple(dict.fromkeys(some))
    return out


def path_of(config: Compare, name: str, seed: int, method: str) -> Path:
    """Where a method's sums lie."""
    return config.out / name / f"seed-{seed}" / f"{method}.json"


def compute(config: Compare, found: Dataset, names: tuple[str, ...], seed: int) -> None:
    """Score the methods that have no file yet.

    Raises:
      ValueError: a file of other options, data, or another s1jax.
    """
    options = _options(config, found.name)
    there = {m for m in names if path_of(config, found.name, seed, m).is_file()}
    for method in there:
        read_outcomes(path_of(config, found.name, seed, method), options=options)
    missing = set(names) - there
    if not missing:
        return
    chosen = replace(datasets.configured(config.config, found), methods=METHODS)
    known = {method.name: method for method in methods(complete(chosen))}
    # what a method is made of is learnt again with it: results do not depend on what was there
    for name in reversed(METHODS):
        missing |= set(known[name].of) if name in missing else set()
    split = found.split(seed)
    protocol.check(found.data, split)
    key_fit, gaps, views = protocol.asked(found.data, split, found.tasks, seed)
    views = {task: view for task, view in views.items() if view.scored}
    print(f"\n{found.name}, seed {seed}: {describe(split)}\n{HEAD}", flush=True)
    scored: dict[str, Scored] = defaultdict(dict)
    days: dict[str, SeasonErrors] = defaultdict(dict)
    some = [method for name, method in known.items() if name in missing]
    usable = {task: gap for task, gap in gaps.items() if task in views}
    # a patch model needs pixels side by side, which one pixel a field has not
    for method in some:
        if method.spatial and not found.side_by_side:
            print(f"{method.name} is left out: {found.name} has no pixels side by side")
    some = [m for m in some if found.side_by_side or not m.spatial]
    write_about(config.out / found.name, found.words, "; ".join(split.notes))
    for method, task, estimates in protocol.head_to_head(key_fit, some, found.data, split, usable):
        view = views[task]
        for against in view.scored:
            outcome = scoring.score(view, estimates, against, seed=seed)
            scored[method][task, against] = outcome
            row = scoring.row(method, task, against, [outcome])
            print(row_line(row), flush=True)
        if task in _SEASONS and view.truth is not None:
            days[method][task] = season_errors(view.day, view.truth, estimates.mean)
        if {name for name, _ in scored[method]} == set(known[method].tasks) & set(usable):
            path = path_of(config, found.name, seed, method)
            write_outcomes(path, scored[method], days[method], options=options)


def gathered(config: Compare, name: str) -> Compared:
    """All that is there of a data set, by method, task and side; methods lacking a seed are left
    out.

    Raises:
      ValueError: scored with other options.
    """
    outcomes, days, lacking = {}, {}, []
    for method in METHODS:
        paths = [path_of(config, name, seed, method) for seed in config.seeds]
        if not all(path.is_file() for path in paths):
            if any(path.is_file() for path in paths):
                lacking.append(method)
            continue
        every = [read_outcomes(path, options=_options(config, name)) for path in paths]
        for key in every[0][0]:
            if all(key in scored for scored, _ in every):
                outcomes[(method, *key)] = [scored[key] for scored, _ in every]
        days[method] = [d for _, d in every]
    if lacking:
        print(f"{name}: {', '.join(lacking)} left out of the tables: not all seeds are there")
    return Compared(name, *read_about(config.out / name), config.seeds, outcomes, days)


def known_to(config: Compare) -> list[str]:
    """Data sets of which something is there, the simulated ones first.

    Raises:
      ValueError: a real one that `data` has not, so that its results could not be checked.
    """
    there = {path.parent.name for path in config.out.glob(f"*/{ABOUT}")}
    names = (*SIMULATED, *real(config.data))
    if strange := sorted(there - set(names)):
        raise ValueError(f"--data: got {config.data}, expected the folder of {strange}, which "
                         f"{config.out} has results of")  # fmt: skip
    return [name for name in names if name in there]


def _options(config: Compare, name: str) -> str:
    """Name of what was chosen: results of other options or data are not mixed with these."""
    return fingerprint(config.config, *(() if name in SIMULATED else (config.data / f"{name}.nc",)))


def main(config: Compare) -> Path:
    """The folder with what was compared."""
    asked = wanted(config)
    known_to(config)
    figure = None if config.readme is None else config.readme.parent / "docs" / "overview.png"
    with commands.writing(config.out, inputs=[config.data]):
        commands.writable(config.readme, config.results, figure)
        _compare(config, asked)
    return config.out


def _compare(config: Compare, asked: dict[str, tuple[str, ...]]) -> None:
    for name, names in asked.items():
        started = time.perf_counter()
        found = datasets.dataset(name, config.config, folder=config.data)
        for seed in config.seeds:
            compute(config, found, names, seed)
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
        jax.clear_caches()
    compared = [gathered(config, name) for name in known_to(config)]
    write_tables(config.out, compared, readme=config.readme, results=config.results)


if __name__ == "__main__":
    sys.exit(
        commands.status(
            lambda: print(f"{main(tyro.cli(Compare, prog='experiments.compare'))} written")
        )
    )
