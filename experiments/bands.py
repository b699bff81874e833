"""What the 90 % bands of `cnp` hold on test pixels: as learnt, by validation, and its quantiles.

Command: python -m experiments.bands --data FOLDER          (the folder with the .nc files)
Cost: on 2 cores, three seeds, nine real data sets: see BANDS_MINUTES minutes.
With --page the table goes between the markers of a file, as docs/networks.md has them.
Expected: 0.9 in every column but "as learnt"; "needs" is the factor that the band of validation
pixels lacks, 1 where the test pixels are like them.
"""

import logging
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import tyro

from experiments import datasets, protocol
from experiments.compare import Compare
from experiments.config import Config
from experiments.datasets import SIMULATED, Dataset, real
from experiments.methods import methods
from experiments.report import update_readme
from s1jax import hiding, networks
from s1jax.metrics import HALF_BAND

TASKS = ("T1", "T2a", "T2b", "T2c", "T2d")
"""Those that one fit answers."""
_ENDS = (0.05, 0.95)


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


class Held(NamedTuple):
    """Shares of the values of a task that lie inside, 1."""

    learnt: float
    """std as the network learnt it."""
    band: float
    """The band by validation pixels; wider where another district or year is predicted."""
    needs: float
    """Factor of the band of the validation pixels with which 0.9 lie inside."""
    quantiles: float
    """Between `networks.quantiles` of .05 and .95; NaN against the truth, of which they are not."""


def held(found: Dataset, config: Config, seed: int) -> dict[tuple[str, str], Held]:
    """(task, against) -> shares on the test pixels of a split."""
    chosen = replace(datasets.configured(config, found), methods=("cnp",))
    split = found.split(seed)
    protocol.check(found.data, split)
    key_gaps, key_fit = jax.random.split(jax.random.key(seed))
    tasks = tuple(task for task in found.tasks if task in TASKS)
    gaps = protocol.draw_gaps(key_gaps, tasks, found.data)
    views = {task: protocol.view(found.data, split, task, gap) for task, gap in gaps.items()}
    gaps = {task: gap for task, gap in gaps.items() if views[task].scored}
    learnt = []
    told = list(
        protocol.head_to_head(
            key_fit, methods(chosen), found.data, split, gaps,
            learnt=lambda name, fold, params: learnt.append(params),
        )
    )  # fmt: skip
    wider = networks.ELSEWHERE if found.elsewhere else 1.0
    out = {}
    for _, task, estimates in told:
        view = views[task]
        factor = np.asarray([params.bands.std for params in learnt], np.float64)
        factor = factor[view.direction, view.kept.any(1).astype(int)][:, None]
        low, high = _quantiles(found, split.folds, gaps[task], learnt, chosen.cnp)
        for against, where in view.scored.items():
            target = view.truth if against == "truth" else view.label
            scaled = (np.abs(estimates.mean - target) / (HALF_BAND * estimates.std))[where]
            plain = scaled * np.broadcast_to(factor, where.shape)[where]
            between = ((low <= target) & (target <= high))[where].mean()
            out[task, against] = Held(
                learnt=float((plain <= 1.0).mean()),
                band=float((scaled <= 1.0).mean()),
                needs=float(wider * np.quantile(scaled, 0.9)),
                quantiles=float(between) if against == "labels" else np.nan,
            )
    return out


def _quantiles(found: Dataset, folds, gap: np.ndarray, learnt, config) -> tuple[np.ndarray, ...]:
    """The ends between which nine in ten labels should lie, pixels in the order of a View."""
    ends = []
    for fold, params in zip(folds, learnt, strict=True):
        series = protocol.take(found.data.series, fold.test, fold.test_time)
        series = hiding.without(series, gap[fold.test][:, fold.test_time])
        ends.append(networks.quantiles(params, series, series.day, _ENDS, config=config))
    return tuple(np.moveaxis(np.concatenate(ends), -1, 0))


def table(many: dict[str, Sequence[dict[tuple[str, str], Held]]]) -> str:
    """Markdown: of each data set and side the band by task, and the others' range over the tasks;
    means over the seeds."""
    head = ["data set", "against", *TASKS, "as learnt", "quantiles", "needs"]
    lines = [head, [":--", *("--:" for _ in head[1:])]]
    for name, seeds in many.items():
        for against in ("truth", "labels"):
            of = {
                task: Held(*np.mean([seed[task, against] for seed in seeds], axis=0))
                for task in TASKS
                if all((task, against) in seed for seed in seeds)
            }
            if not of:
                continue
            cells = [f"{of[task].band:.2f}" if task in of else "–" for task in TASKS]
            ranges = ("learnt", "quantiles", "needs")
            cells += [_range([getattr(one, part) for one in of.values()]) for part in ranges]
            lines.append([name, against, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _range(values: Sequence[float]) -> str:
    if np.isnan(values).any():
        return "–"
    return "–".join(dict.fromkeys(f"{end:.2f}" for end in (min(values), max(values))))


def main(config: BandsConfig) -> str:
    """The table."""
    logging.getLogger("s1jax").setLevel(logging.WARNING)
    known = (*SIMULATED, *real(config.data))
    if unknown := set(config.only) - set(known):
        raise ValueError(f"only: got {sorted(unknown)}, expected some of {known}")
    many = defaultdict(list)
    for name in config.only or known:
        found = datasets.dataset(name, config.config, folder=config.data)
        for seed in config.seeds:
            many[name].append(held(found, config.config, seed))
        print(table({name: many[name]}), flush=True)
        jax.clear_caches()
    text = table(many)
    if config.page is not None:
        update_readme(config.page, text, marker="bands")
    return text


if __name__ == "__main__":
    try:
        print(main(tyro.cli(BandsConfig, prog="experiments.bands")))
    except ValueError as error:
        sys.exit(f"error: {error}")
