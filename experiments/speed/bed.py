"""What a bench stands on: data and folds, scores of hidden labels, wall clock, memory, files."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from experiments.protocol.config import DatasetConfig
from experiments.protocol.head_to_head import masked_series, set_up, test_set
from experiments.protocol.splits import Split
from experiments.report.files import environment, write_study
from s1jax import batching, gp, metrics
from s1jax.commands import available_cores
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
            f"{device()}, {cores()} core(s); load average {load}; commit "
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
    """R2 of each task by the names of `SCORES`, and the coverage of the 90 % band on T2a and T2b
    together. Sums go over all folds; what has no score (no hidden label, labels all alike, no
    answer) is left out.
    """
    sums = {}
    for task in tasks:
        for part, predict in zip(parts, predictors, strict=True):
            mean, std = predict(part.test[task])
            where = part.hidden[task] & np.isfinite(mean)
            more = metrics.statistics(mean, std, part.label, where)
            sums[task] = metrics.merge(sums[task], more) if task in sums else more
    values = {SCORES[task]: metrics.scores(of)["r2"] for task, of in sums.items()}
    both = [sums[task] for task in ("T2a", "T2b") if task in sums]
    if both:
        pooled = both[0] if len(both) == 1 else metrics.merge(*both)
        values["coverage90"] = metrics.scores(pooled)["coverage90"]
    return {name: float(value) for name, value in values.items() if np.isfinite(value)}


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
    """The folder, with the text below the header in table.md and the rows in metrics.json; the text
    is printed.

    Raises:
      ValueError: a number that is not finite.
    """
    print("", *text, sep="\n")
    config.out.mkdir(parents=True, exist_ok=True)
    content = {"dataset": bed.name, "split": bed.split, "header": bed.header, "rows": list(rows)}
    write_study(config.out, "metrics", "\n\n".join([*bed.header, *text]), config, **content, **more)
    return config.out


def best(
    function: Callable[[], object], repeats: int, *, warm: bool = True, budget_s: float = 30.0
):
    """Seconds of the fastest call of a function, and what it returned."""
    if warm:
        function()
    seconds: list[float] = []
    while len(seconds) < repeats and sum(seconds) <= budget_s:
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def device() -> str:
    """The devices that JAX computes on."""
    return f"{jax.local_device_count()} x {jax.local_devices()[0].device_kind}"


def cores() -> int:
    """Cores that a core-second counts: all that this process may use; 1 where a GPU computes."""
    return available_cores() if jax.default_backend() == "cpu" else 1


def kb_per_px(solver: str, hyper: gp.Hyper, dates: int, *, fit: bool = False) -> float:
    """Working memory of a pixel, kB: XLA's temporary buffers over the pixels in flight.

    The program is that of the posterior (or, for a fit, of likelihood and gradient) for one batch
    on every device, compiled with the options it runs with; `temp_size_in_bytes` is of one device,
    which has `batching.batch_size` pixels in flight. Observations and results, which a caller holds
    anyway, are not in it.
    """
    latents, outputs = hyper.mixing.shape
    lanes = batching.batch_size(solver, latents, outputs)
    pixels, dtype = lanes * jax.local_device_count(), hyper.noise.dtype

    def _posterior(hyper, day, value, valid):
        def _one(value, valid):
            observations = gp.Observations(day, value, valid)
            return gp.condition(hyper, observations, None, output=-1, solver=solver)

        return batching.vmap_pixels(_one, value, valid, lanes=lanes)

    def _slope(hyper, day, value, valid):
        def _one(hyper, value, valid):
            z = gp.Observations(day, value, valid)
            return jax.value_and_grad(lambda h: gp.log_likelihood(h, z, solver=solver))(hyper)

        return batching.vmap_pixels(_one, hyper, value, valid, lanes=lanes)

    if fit:
        hyper = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (pixels, *leaf.shape)), hyper)
    shapes = (
        jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), hyper),
        jax.ShapeDtypeStruct((dates,), dtype),
        jax.ShapeDtypeStruct((pixels, dates, outputs), dtype),
        jax.ShapeDtypeStruct((pixels, dates, outputs), bool),
    )
    program = jax.jit(_slope if fit else _posterior, compiler_options=batching.compiler_options())
    memory = program.lower(*shapes).compile().memory_analysis()
    return memory.temp_size_in_bytes / lanes / 1e3
