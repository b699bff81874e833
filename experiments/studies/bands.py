"""What the 90 % bands of `cnp` hold on test pixels: as trained, by validation, and its quantiles.

Command: python -m experiments.studies.bands --data FOLDER          (the folder with the .nc files)
Cost: four minutes on 2 cores for the four sets of docs/networks.md.
With --page the table goes between the markers of a file, as docs/networks.md has them.
Expected: .87 to .93 of the labels inside the band, but on whole dates that no training pixel has
(T2e); more of the truth where another region or year is predicted. "needs" is the factor that the
band of validation pixels lacks, 1 where the test pixels are like them.
"""

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from experiments.protocol import data as datasets
from experiments.protocol.config import Config
from experiments.protocol.data import SIMULATED, Dataset, real
from experiments.protocol.head_to_head import (
    draw_tasks,
    head_to_head,
    inflation_of,
    masked_series,
    methods,
)
from experiments.protocol.tasks import TASKS
from experiments.report import tables
from experiments.report.report import update_readme
from experiments.report.tables import Table
from experiments.studies import command
from experiments.studies.compare import Compare
from s1jax import networks
from s1jax.commands import endings
from s1jax.estimators import IDENTITY
from s1jax.metrics import HALF_BAND

_LEVELS = (0.05, 0.95)


@dataclass(frozen=True)
class BandsConfig:
    """Coverage of the bands of `cnp`, by data set."""

    data: Path | None = None
    """Folder with real data sets (.nc, any); none: the simulated ones alone."""
    only: tuple[str, ...] = ()
    """Data sets; none: all."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of splits, hidden labels and the network."""
    page: Path | None = None
    """File with <!-- bands:begin --> and <!-- bands:end -->; none: printed alone."""
    config: Config = field(default_factory=lambda: Compare().config)
    """Scene, numbers of pixels, options of `cnp`: those of the comparison."""


class Coverage(NamedTuple):
    """Shares of the values of a task inside a band."""

    trained: float
    """As the network is trained: of the truth std alone, of labels the quantiles .05 and .95 of its
    mixture. NaN of T2e, which has a network of its own."""
    band: float
    """The band by validation pixels; wider where another district or year is predicted."""
    needs: float
    """Factor of the band of the validation pixels with which 0.9 lie inside."""
    quantiles: float
    """`networks.quantiles` of .05 and .95; NaN of the truth, of which they are not, and of T2e."""


def coverage(dataset: Dataset, config: Config, seed: int) -> dict[tuple[str, str], Coverage]:
    """(task, against) -> shares on the test pixels of a split."""
    options = replace(datasets.options_for(config, dataset), methods=("cnp",))
    split = dataset.split(seed)
    draw = draw_tasks(dataset.data, split, dataset.tasks, seed)
    masks = {task: mask for task, mask in draw.masks.items() if draw.test_sets[task].scored}
    params, shares = [], {}
    estimates = head_to_head(
        draw.key, methods(options), dataset.data, split, masks,
        on_fit=lambda name, fold, of_fold: params.append(of_fold),
    )  # fmt: skip
    for _, task, estimate, _ in estimates:
        # T2e has networks of its own, whose parameters are not kept
        limits = {}
        if task != "T2e":
            limits = _limits(dataset, split.folds, masks[task], params)
        for against, where in draw.test_sets[task].scored.items():
            target = draw.test_sets[task].target(against)
            noise = 0.0 if against == "truth" else estimate.noise[:, None]
            wide = HALF_BAND * np.hypot(estimate.std, noise)
            error = (np.abs(estimate.mean - target) / wide)[where]
            inside = {
                name: float(((low <= target) & (target <= high))[where].mean())
                for name, (low, high) in limits.items()
            }
            shares[task, against] = Coverage(
                trained=inside.get(against, np.nan),
                band=float((error <= 1.0).mean()),
                needs=inflation_of(options.split) * float(np.quantile(error, 0.9)),
                quantiles=inside.get("quantiles", np.nan) if against == "labels" else np.nan,
            )
    return shares


def _limits(dataset: Dataset, folds, mask, params) -> dict[str, tuple[np.ndarray, ...]]:
    """Between which nine in ten values should lie, pixels in the order of a TestSet: of the "truth"
    and of "labels" as trained, and by "quantiles" as they are."""
    parts = defaultdict(list)
    for fold, of_fold in zip(folds, params, strict=True):
        series = masked_series(dataset.data, fold, mask)
        bare = replace(of_fold, calibration=IDENTITY, mixture=np.ones(2, np.float32))
        estimate = networks.predict(bare, series, series.day)
        reach = HALF_BAND * estimate.std
        parts["truth"].append(np.stack([estimate.mean - reach, estimate.mean + reach], axis=-1))
        for name, of in (("labels", bare), ("quantiles", of_fold)):
            parts[name].append(networks.quantiles(of, series, series.day, _LEVELS))
    return {name: tuple(np.moveaxis(np.concatenate(of), -1, 0)) for name, of in parts.items()}


def table(shares: Mapping[str, Sequence[dict[tuple[str, str], Coverage]]]) -> Table:
    """Of each data set and side the band by task, and the others' range over the tasks; means over
    the seeds."""
    ranges = {"as trained": "trained", "quantiles": "quantiles", "needs": "needs"}
    lines = []
    for name, seeds in shares.items():
        for against in ("truth", "labels"):
            of = {
                task: Coverage(*np.mean([seed[task, against] for seed in seeds], axis=0))
                for task in TASKS
                if all((task, against) in seed for seed in seeds)
            }
            line = {"data set": name, "against": against}
            line |= {task: one.band for task, one in of.items()}
            for head, part in ranges.items():
                values = np.array([getattr(one, part) for one in of.values()])
                line[head] = tables.ends(values[~np.isnan(values)].tolist())
            lines += [line] if of else []
    columns = {"data set": ""} | {"against": ">"} | dict.fromkeys(TASKS, ".2f")
    return Table(columns | dict.fromkeys(ranges, ">"), lines)


def main(config: BandsConfig) -> str:
    """The table."""
    names = (*SIMULATED, *real(config.data))
    if unknown := set(config.only) - set(names):
        raise ValueError(f"only: got {sorted(unknown)}, expected some of {names}")
    endings.writable(config.page)
    shares = defaultdict(list)
    for name in config.only or names:
        dataset = datasets.dataset(name, config.config, folder=config.data)
        for seed in config.seeds:
            shares[name].append(coverage(dataset, config.config, seed))
        print(table({name: shares[name]}).markdown(), flush=True)
        jax.clear_caches()
    text = table(shares).markdown()
    if config.page is not None:
        update_readme(config.page, text, marker="bands")
    return text


if __name__ == "__main__":
    sys.exit(command(BandsConfig, main))
