"""Which method, where? Every method on every data set, three seeds: the tables of README.

Command: python -m experiments.studies.compare --data FOLDER       (the folder with the .nc files)
         ... --data FOLDER --only sim_blocks mekong_rice_points_2022/cnp
         ... --data FOLDER --only sim_blocks/cropsar
Cost: on 2 cores, three seeds, nine real data sets, without the patch models: 2 hours, of which
the tests ran beside it for 40 minutes; `cropsar` on sim_blocks 8 more, `cropsar_gan` 11.
What is there is not computed again, but for the parts of a method that is not: a method of a data
set and seed is one file under --out, and the tables are written from all that are there, of this
call or of earlier ones.
Expected, T2b, R2 of the three seeds: sim_blocks against truth boosting .79, mogpr .67, cnp .89;
mekong_rice_points_2022 (two districts) against labels boosting .69, mogpr .17, birnn .83,
ensemble .85.
"""

import json
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import jax

from experiments.protocol import data as datasets
from experiments.protocol import head_to_head, scoring, splits
from experiments.protocol.config import METHODS, Config, complete
from experiments.protocol.data import SIMULATED, Dataset, real
from experiments.protocol.head_to_head import methods
from experiments.protocol.scoring import season_errors
from experiments.report.files import Store, fingerprint
from experiments.report.report import Compared, write_comparison
from experiments.report.tables import HEAD, row_line
from experiments.studies import command
from s1jax import files
from s1jax.baselines import BoostingConfig
from s1jax.commands import endings
from s1jax.methods import HybridConfig, SwitchConfig
from s1jax.mogpr import MogprConfig
from s1jax.networks import BirnnConfig, CnpConfig, MlpWindowConfig, TcnS1Config
from s1jax.plots import YARDSTICKS

_SCRATCH = replace(BirnnConfig().train, steps=900)
"""Half of what random weights have by default, for time; the shipped ones go on for their 600."""
SLOW = ("cropsar", "cropsar_gan")
"""Methods that run where they are named in `methods`."""
ALWAYS = tuple(name for name in METHODS if name not in SLOW)
ABOUT = "about.json"
"""File of a data set: its words and split."""
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
            switch=SwitchConfig(process=MogprConfig(sample=96)),
        )
    )
    """Scene, numbers of pixels, options of the methods."""

    def store(self, name: str) -> Store:
        """Outcomes on a data set: results of other options or data are not mixed with these."""
        file = () if name in SIMULATED else (self.data / f"{name}.nc",)
        return Store(self.out / name, fingerprint(self.config, *file))


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
    chosen: dict[str, tuple[str, ...]] = {}
    for item in config.only:
        name, _, method = item.partition("/")
        if name not in names or (method and method not in METHODS):
            raise ValueError(
                f"only: got {item!r}, expected DATASET or DATASET/METHOD of {names} and {METHODS} "
                f"(--data: {config.data})"
            )
        # without a yardstick a method has no skill
        some = (*chosen.get(name, YARDSTICKS), method) if method else every
        chosen[name] = tuple(dict.fromkeys(some))
    return chosen


def path_in_store(seed: int, method: str) -> str:
    """Name of a method's outcomes in the store of a data set."""
    return f"seed-{seed}/{method}"


def compute(config: Compare, dataset: Dataset, names: tuple[str, ...], seed: int) -> None:
    """Score the methods that have no file yet.

    Raises:
      ValueError: a file of other options, data, or another s1jax.
    """
    store = config.store(dataset.name)
    stored = {m for m in names if store.path(path_in_store(seed, m)).is_file()}
    for method in stored:
        store.read(path_in_store(seed, method))
    missing = set(names) - stored
    if not missing:
        return
    options = complete(replace(datasets.options_for(config.config, dataset), methods=METHODS))
    every = {method.name: method for method in methods(options)}
    # what a method is made of is fitted again with it: results do not depend on what was there
    for name in reversed(METHODS):
        missing |= set(every[name].of) if name in missing else set()
    # a patch model needs pixels side by side, which one pixel a field has not
    for name in [n for n in missing if every[n].spatial and not dataset.side_by_side]:
        print(f"{name} is left out: {dataset.name} has no pixels side by side")
        missing.remove(name)
    split = dataset.split(seed)
    draw = head_to_head.draw_tasks(dataset.data, split, dataset.tasks, seed)
    masks = {task: mask for task, mask in draw.masks.items() if draw.test_sets[task].scored}
    print(f"\n{dataset.name}, seed {seed}: {splits.describe(split)}\n{HEAD}", flush=True)
    store.folder.mkdir(parents=True, exist_ok=True)
    about = {"words": dataset.words, "split": "; ".join(split.notes)}
    files.write_json(store.folder / ABOUT, about)
    scored, days = defaultdict(dict), defaultdict(dict)
    some = [method for name, method in every.items() if name in missing]
    for method, task, estimate, seconds in head_to_head.head_to_head(
        draw.key, some, dataset.data, split, masks
    ):
        test_set = draw.test_sets[task]
        for against in test_set.scored:
            outcome = scoring.score(test_set, estimate, seconds, against, seed=seed)
            scored[method][task, against] = outcome
            print(row_line(scoring.row(method, task, against, [outcome])), flush=True)
        if task in _SEASONS and test_set.truth is not None:
            days[method][task] = season_errors(test_set.day, test_set.truth, estimate.mean)
        if {name for name, _ in scored[method]} == set(every[method].tasks) & set(masks):
            store.write(path_in_store(seed, method), scored[method], days[method])


def gathered(config: Compare, name: str) -> Compared:
    """All outcomes of a data set; methods lacking a seed are left out.

    Raises:
      ValueError: scored with other options.
    """
    store, outcomes, days, lacking = config.store(name), {}, {}, []
    for method in METHODS:
        names = [path_in_store(seed, method) for seed in config.seeds]
        stored = [store.path(one).is_file() for one in names]
        if all(stored):
            scored, days[method] = store.gather(names)
            outcomes |= {(method, *key): many for key, many in scored.items()}
        elif any(stored):
            lacking.append(method)
    if lacking:
        print(f"{name}: {', '.join(lacking)} left out of the tables: not all seeds are there")
    about = json.loads((store.folder / ABOUT).read_text(encoding="utf-8"))
    return Compared(name, about["words"], about["split"], config.seeds, outcomes, days)


def stored_datasets(config: Compare) -> list[str]:
    """Data sets with some outcomes, the simulated ones first.

    Raises:
      ValueError: a real one that `data` has not, so that its results could not be checked.
    """
    stored = {path.parent.name for path in config.out.glob(f"*/{ABOUT}")}
    names = (*SIMULATED, *real(config.data))
    if strange := sorted(stored - set(names)):
        raise ValueError(
            f"--data: got {config.data}, expected the folder of {strange}, which {config.out} has "
            "results of"
        )
    return [name for name in names if name in stored]


def main(config: Compare) -> Path:
    """The folder with what was compared."""
    chosen = wanted(config)
    stored_datasets(config)
    figure = None if config.readme is None else config.readme.parent / "docs" / "overview.png"
    with endings.writing(config.out, inputs=[config.data]):
        endings.writable(config.readme, config.results, figure)
        for name, names in chosen.items():
            started = time.perf_counter()
            dataset = datasets.dataset(name, config.config, folder=config.data)
            for seed in config.seeds:
                compute(config, dataset, names, seed)
            print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
            jax.clear_caches()
        compared = [gathered(config, name) for name in stored_datasets(config)]
        write_comparison(config.out, compared, readme=config.readme, results=config.results)
    return config.out


if __name__ == "__main__":
    sys.exit(command(Compare, main))
