"""What a bench stands on: a data set and its folds, scores of hidden labels, its files."""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from experiments.protocol.config import DatasetConfig
from experiments.protocol.head_to_head import masked_series, set_up, test_set
from experiments.protocol.splits import Split
from experiments.report.files import environment
from experiments.speed import timing
from s1jax import files, metrics
from s1jax.mogpr import MogprConfig, MogprParams
from s1jax.mogpr.inputs import available, channels_of
from s1jax.types import Estimate, Key, Series

SCORES = {"T1": "r2_none", "T2a": "r2_random", "T2b": "r2_block", "T2c": "r2_season"}
"""Task and the name of its R2: no NDVI; 20 % hidden; one window of 60 days; one of 132."""

Predictor = Callable[[Series], tuple[np.ndarray, np.ndarray]]
"""Mean and std of an observation of NDVI (pixel, time), on the days of a series; NaN: no answer."""


@dataclass(frozen=True)
class BedConfig(DatasetConfig):
    """Data set of a bench, and where its figures go."""

    mogpr: MogprConfig = field(default_factory=MogprConfig)
    """The default that is held against the others."""


class Part(NamedTuple):
    """One fold: its training and validation pixels, and its test pixels once for each task."""

    name: str
    key: Key
    """Of the fit."""
    train: Series
    val: Series
    test: dict[str, Series]
    """Task and the test pixels without the labels it hides."""
    label: Float[np.ndarray, "pixel time"]
    hidden: dict[str, Bool[np.ndarray, "pixel time"]]
    """Task and where there is a hidden label to score against."""


class Bed(NamedTuple):
    """A data set and its folds."""

    name: str
    split: str
    """In words."""
    parts: tuple[Part, ...]

    @property
    def header(self) -> list[str]:
        """Data set, machine and how busy it is."""
        part, place = self.parts[0], environment()
        load = " ".join(f"{x:.1f}" for x in os.getloadavg())
        versions = ", ".join(f"{k} {place['packages'][k]}" for k in ("s1jax", "jax", "numpy"))
        return [
            f"{self.name}; {self.split}; {len(part.train.ndvi):,} training, "
            f"{len(part.val.ndvi):,} validation, {len(part.label):,} test pixels x "
            f"{part.label.shape[1]} dates",
            f"{timing.device()}, {timing.cores()} core(s); load average {load}; commit "
            f"{place['commit'][:10]}; {versions}",
            "a core-second is the wall clock times the cores that may be used (1 on a GPU)",
        ]


def load(config: BedConfig, tasks: Sequence[str]) -> Bed:
    """The data set of a bench, its labels hidden as the head to head of the same seed hides them;
    its header is printed.

    Raises:
      ValueError: what `experiments.run` raises on such data.
    """
    setup = set_up(config.whole, tuple(tasks), config.seed)
    data, masks, parts = setup.data, setup.draw.masks, []
    for k, fold in enumerate(setup.split.folds):
        tests = {task: test_set(data, Split((fold,), ()), task, m) for task, m in masks.items()}
        label = next(iter(tests.values())).label
        nowhere = np.zeros(label.shape, bool)
        pixels = (fold.training, fold.validation)
        part = Part(
            fold.name,
            jax.random.fold_in(setup.draw.key, k),
            *(data.series.take(which, fold.training_time) for which in pixels),
            {task: masked_series(data, fold, mask) for task, mask in masks.items()},
            label,
            {task: one.scored.get("labels", nowhere) for task, one in tests.items()},
        )
        parts.append(part)
    bed = Bed(setup.name, setup.words, tuple(parts))
    print(*bed.header, sep="\n", flush=True)
    return bed


def scores(
    parts: Sequence[Part], predictors: Sequence[Predictor], tasks: Sequence[str]
) -> dict[str, float]:
    """R2 of each task by the names of `SCORES`, the coverage of the 90 % band on T2a and T2b
    together, and that of each task.

    Sums go over all folds. What has no score (no hidden label, or labels all alike) is left out.

    Args:
      parts: folds.
      predictors: one for each fold; where it has no answer it is not scored.
      tasks: names of tasks.
    """
    sums = {}
    for task in tasks:
        for part, predict in zip(parts, predictors, strict=True):
            mean, std = predict(part.test[task])
            where = part.hidden[task] & np.isfinite(mean)
            more = metrics.statistics(mean, std, part.label, where)
            sums[task] = metrics.merge(sums[task], more) if task in sums else more
    each = {task: metrics.scores(of) for task, of in sums.items()}
    named = {SCORES[task]: of["r2"] for task, of in each.items()}
    both = [sums[task] for task in ("T2a", "T2b") if task in sums]
    if both:
        pooled = both[0] if len(both) == 1 else metrics.merge(*both)
        named["coverage90"] = metrics.scores(pooled)["coverage90"]
    named |= {f"coverage90_{task}": of["coverage90"] for task, of in each.items()}
    return {name: float(value) for name, value in named.items() if np.isfinite(value)}


def some(part: Part, index: np.ndarray) -> Part:
    """The fold with some of its test pixels."""
    return part._replace(
        test={task: series.take(index) for task, series in part.test.items()},
        label=part.label[index],
        hidden={task: where[index] for task, where in part.hidden.items()},
    )


def filled(series: Series, pixels: int) -> Series:
    """So many pixels: those of the series over and over."""
    return series.take(np.arange(pixels) % len(series.ndvi))


def predictor(predict: Callable[..., Estimate], params, **options) -> Predictor:
    """`predict(params, series, days)` on the days of a series; std and noise together."""

    def _predict(series: Series):
        estimate = predict(params, series, series.day, **options)
        return estimate.mean, np.hypot(estimate.std, estimate.noise[:, None])

    return _predict


def one_orbit(series: Series) -> str:
    """Inputs of the model of three outputs: VV, VH as observed, of the first orbit."""
    return "raw" if series.radar.shape[-1] < 3 else "raw:1"


def variant(params: MogprParams, series: Series) -> dict[str, str]:
    """Inputs, prior mean and hyperparameters of the fit, as `MogprConfig` names them."""
    kinds = (*available(series), "none")
    (kind,) = (kind for kind in kinds if channels_of(series, kind) == params.inputs)
    return {
        "inputs": kind,
        "mean": "zero" if params.curve is None else "regional",
        "hyper": "region" if params.prior is None else "pixel",
    }


def write(
    bed: Bed, config: BedConfig, text: Sequence[str], rows: Sequence[Mapping], **more
) -> Path:
    """The folder, with the text below the header in table.md and the rows in metrics.json:
    {"dataset", "split", "header", "config", "rows", ...}; the text is printed.

    Raises:
      ValueError: a number that is not one.
    """
    for row in rows:
        for name, value in row.items():
            for leaf in value.values() if isinstance(value, Mapping) else (value,):
                if leaf is None or (isinstance(leaf, float) and not math.isfinite(leaf)):
                    raise ValueError(f"{row.get('name')}: {name}: got {leaf}, expected a number")
    print("", *text, sep="\n")
    config.out.mkdir(parents=True, exist_ok=True)
    files.write_text(config.out / "table.md", "\n\n".join([*bed.header, *text]) + "\n")
    content = {"dataset": bed.name, "split": bed.split, "header": bed.header}
    content |= {"config": dataclasses.asdict(config), "rows": list(rows), **more}
    words = json.dumps(content, indent=1, allow_nan=False, default=str)
    files.write_text(config.out / "metrics.json", words + "\n")
    return config.out
