"""What the bench stands on: a data set, its split, hidden labels, and scores against them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from experiments import protocol, run
from experiments.config import Config
from experiments.splits import Split
from s1jax import hiding, metrics, mogpr
from s1jax.mogpr import MogprConfig
from s1jax.simulate import SceneConfig
from s1jax.types import Key, Series

SCORES = {"T1": "r2_none", "T2a": "r2_random", "T2b": "r2_block", "T2c": "r2_season"}
"""Task and the name of its R2: no NDVI; 20 % hidden; one window of 60 days; one of 132."""

Tell = Callable[[Series], tuple[np.ndarray, np.ndarray]]
"""Mean and std of an observation of NDVI (pixel, time), on the days of a series; NaN: no answer."""


@dataclass(frozen=True)
class BedConfig:
    """Data set of a bench, and where its figures go."""

    cube: str | None = None
    """NetCDF or Zarr with VV, VH, S2ndvi; none: a simulated Demak scene."""
    start: str | None = None
    """First day of the first period (ISO date); needed for files which carry no date."""
    step: float | None = None
    """Length of a period, days."""
    split: Literal["blocks", "district", "season"] = "blocks"
    """What is left out for testing: whole blocks, a district at a time, or the second year."""
    scene: SceneConfig = field(default_factory=lambda: SceneConfig(height=96, width=112))
    """The simulated scene."""
    training_pixels: int = 4000
    """Training pixels, at most."""
    validation_pixels: int = 1000
    """Validation pixels, at most."""
    test_pixels: int = 2000
    """Test pixels of a fold that are scored, at most."""
    mogpr: MogprConfig = field(default_factory=MogprConfig)
    """The default that is held against the others."""
    seed: int = 0
    """Seed of the split and of what is hidden."""
    out: Path | None = None
    """Folder of the results; none: results/bench-<name>-<utc>."""


class Part(NamedTuple):
    """One fold: what may be learnt from, and its test pixels once for each task."""

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


def load(config: BedConfig, tasks: Sequence[str]) -> Bed:
    """The data set of a bench, its labels hidden as the head to head of the same seed hides them.

    Raises:
      ValueError: what `experiments.run` raises on such data.
    """
    limits = ("training_pixels", "validation_pixels", "test_pixels")
    same = ("cube", "start", "step", "split", "scene", *limits)
    whole = Config(**{name: getattr(config, name) for name in same})
    ds, name = run.load(whole)
    data, _ = run.to_data(ds)
    split = run.split_of(whole, data, config.seed)
    key_gaps, key_fit = jax.random.split(jax.random.key(config.seed))
    gaps = protocol.draw_gaps(key_gaps, tuple(tasks), data)

    def _part(k, fold):
        test, hidden = {}, {}
        pixels = protocol.take(data.series, fold.test, fold.test_time)
        for task, gap in gaps.items():
            view = protocol.view(data, Split((fold,), ()), task, gap)
            nowhere = np.zeros(view.label.shape, bool)
            hidden[task] = view.scored.get("labels", nowhere)
            shown = hiding.without(pixels, gap[fold.test][:, fold.test_time])
            test[task] = Series(*(None if leaf is None else np.asarray(leaf) for leaf in shown))
        learnt = (
            protocol.take(data.series, which, fold.training_time)
            for which in (fold.training, fold.validation)
        )
        return Part(
            fold.name, jax.random.fold_in(key_fit, k), *learnt, test, view.label, hidden
        )  # fmt: skip

    parts = tuple(_part(k, fold) for k, fold in enumerate(split.folds))
    return Bed(name, f"{config.split}: {run.describe(split)}", parts)


def scores(parts: Sequence[Part], tells: Sequence[Tell], tasks: Sequence[str]) -> dict[str, float]:
    """R2 of each task by the names of `SCORES`, the coverage of the 90 % band on T2a and T2b
    together, and that of each task.

    Sums go over all folds. What cannot be told (no hidden label, or labels all alike) is left out.

    Args:
      parts: folds.
      tells: one for each fold; where it has no answer it is not scored.
      tasks: names of tasks.
    """
    sums = {}
    for task in tasks:
        for part, tell in zip(parts, tells, strict=True):
            mean, std = tell(part.test[task])
            where = part.hidden[task] & np.isfinite(mean)
            more = metrics.statistics(mean, std, part.label, where)
            sums[task] = metrics.merge(sums[task], more) if task in sums else more
    found = {SCORES[task]: metrics.scores(sums[task])["r2"] for task in tasks}
    both = [sums[task] for task in ("T2a", "T2b") if task in sums]
    if both:
        pooled = both[0] if len(both) == 1 else metrics.merge(*both)
        found["coverage90"] = metrics.scores(pooled)["coverage90"]
    for task in tasks:
        found[f"coverage90_{task}"] = metrics.scores(sums[task])["coverage90"]
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def some(part: Part, index: np.ndarray) -> Part:
    """The fold with some of its test pixels."""
    return part._replace(
        test={task: protocol.take(series, index) for task, series in part.test.items()},
        label=part.label[index],
        hidden={task: where[index] for task, where in part.hidden.items()},
    )


def filled(series: Series, pixels: int) -> Series:
    """As many pixels as are asked for: those of the series over and over."""
    return protocol.take(series, np.arange(pixels) % len(series.valid))


def tell(params: mogpr.MogprParams, **options) -> Tell:
    """`mogpr.posterior` as the bench asks for it.

    Args:
      params: what it learnt.
      options: of `mogpr.posterior`.
    """

    def _tell(series: Series):
        found = mogpr.posterior(params, series, series.day, **options)
        return found.mean, np.hypot(found.std, found.noise[:, None])

    return _tell


def one_orbit(series: Series) -> str:
    """Inputs of the model of three outputs: VV, VH as observed, of the first orbit."""
    return "raw" if series.value.shape[-1] < 5 else "raw:1"


def variant(params: mogpr.MogprParams, series: Series) -> dict[str, str]:
    """Which inputs, prior mean and hyperparameters were learnt, as `MogprConfig` names them."""
    (kind,) = (
        kind
        for kind in (*mogpr.available(series), "none")
        if mogpr.channels(series, kind).tolist() == params.channel.tolist()
    )
    return {
        "inputs": kind,
        "mean": "zero" if params.curve is None else "regional",
        "hyper": "region" if params.prior is None else "pixel",
    }
