"""What the 90 % bands of `cnp` hold on test pixels: as learnt, by validation, and its quantiles.

Command: python -m experiments.bands --data FOLDER          (the folder with the .nc files)
Cost: four minutes on 2 cores for the four sets of docs/networks.md.
With --page the table goes between the markers of a file, as docs/networks.md has them.
Expected: .87 to .93 of the labels inside the band, but on whole dates that no training pixel has
(T2e); more of the truth where another region or year is predicted. "needs" is the factor that the
band of validation pixels lacks, 1 where the test pixels are like them.
"""

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import tyro

from experiments import commands, datasets, protocol
from experiments.compare import Compare
from experiments.config import Config
from experiments.datasets import SIMULATED, Dataset, real
from experiments.masks import TASKS
from experiments.methods import methods, wider
from experiments.report import update_readme
from s1jax import hiding, networks
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


class Held(NamedTuple):
    """Shares of the values of a task that lie inside, 1."""

    learnt: float
    """What the network learnt: of the truth std alone, of labels the quantiles .05 and .95 of its
    mixture. NaN of T2e, which has a network of its own."""
    band: float
    """The band by validation pixels; wider where another district or year is predicted."""
    needs: float
    """Factor of the band of the validation pixels with which 0.9 lie inside."""
    quantiles: float
    """`networks.quantiles` of .05 and .95; NaN of the truth, of which they are not, and of T2e."""


def held(found: Dataset, config: Config, seed: int) -> dict[tuple[str, str], Held]:
    """(task, against) -> shares on the test pixels of a split."""
    chosen = replace(datasets.configured(config, found), methods=("cnp",))
    split = found.split(seed)
    protocol.check(found.data, split)
    key_fit, gaps, views = protocol.asked(found.data, split, found.tasks, seed)
    gaps = {task: gap for task, gap in gaps.items() if views[task].scored}
    learnt = []
    told = list(
        protocol.head_to_head(
            key_fit, methods(chosen), found.data, split, gaps,
            learnt=lambda name, fold, params: learnt.append(params),
        )
    )  # fmt: skip
    out = {}
    for _, task, estimates in told:
        # T2e has networks of its own, which are not told
        ends = {} if task == "T2e" else _ends(found, split.folds, gaps[task], learnt, chosen.cnp)
        for against, where in views[task].scored.items():
            target = views[task].truth if against == "truth" else views[task].label
            noise = 0.0 if against == "truth" else estimates.noise[:, None]
            wide = HALF_BAND * np.hypot(estimates.std, noise)
            error = (np.abs(estimates.mean - target) / wide)[where]
            inside = {
                name: float(((low <= target) & (target <= high))[where].mean())
                for name, (low, high) in ends.items()
            }
            out[task, against] = Held(
                learnt=inside.get(against, np.nan),
                band=float((error <= 1.0).mean()),
                needs=wider(chosen.split) * float(np.quantile(error, 0.9)),
                quantiles=inside.get("quantiles", np.nan) if against == "labels" else np.nan,
            )
    return out


def _ends(found: Dataset, folds, gap, learnt, config) -> dict[str, tuple[np.ndarray, ...]]:
    """Between which nine in ten values should lie, pixels in the order of a View: of the "truth"
    and of "labels" as learnt, and by "quantiles" as they are."""
    parts = defaultdict(list)
    for fold, params in zip(folds, learnt, strict=True):
        series = protocol.take(found.data.series, fold.test, fold.test_time)
        series = hiding.without(series, gap[fold.test][:, fold.test_time])
        plain = params._replace(bands=networks.PLAIN, mixture=np.ones(2, np.float32))
        told = networks.fill(plain, series, series.day, config=config)
        reach = HALF_BAND * told.std
        parts["truth"].append(np.stack([told.mean - reach, told.mean + reach], axis=-1))
        for name, of in (("labels", plain), ("quantiles", params)):
            ends = networks.quantiles(of, series, series.day, _LEVELS, config=config)
            parts[name].append(ends)
    return {name: tuple(np.moveaxis(np.concatenate(of), -1, 0)) for name, of in parts.items()}


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
    values = [value for value in values if not np.isnan(value)]
    if not values:
        return "–"
    return "–".join(dict.fromkeys(f"{end:.2f}" for end in (min(values), max(values))))


def main(config: BandsConfig) -> str:
    """The table."""
    known = (*SIMULATED, *real(config.data))
    if unknown := set(config.only) - set(known):
        raise ValueError(f"only: got {sorted(unknown)}, expected some of {known}")
    commands.writable(config.page)
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
    sys.exit(commands.status(lambda: print(main(tyro.cli(BandsConfig, prog="experiments.bands")))))
