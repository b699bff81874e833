"""The head to head: every method on the same splits, masks and labels; test labels seen by none."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.protocol.config import Config
from experiments.protocol.data import Data, load, split_of, to_data
from experiments.protocol.scoring import Seconds, TestSet
from experiments.protocol.splits import FEWEST, Fold, Split, describe
from experiments.protocol.tasks import TASKS, draw_mask
from s1jax import masking, networks
from s1jax.estimators import TRANSFER_INFLATION, calibrated, ensemble, fitted, residual, switched
from s1jax.methods import EnsembleConfig, inflated, method_of
from s1jax.mogpr import MogprConfig, mogpr
from s1jax.networks import CnpConfig, MlpConfig
from s1jax.progress import titled
from s1jax.types import Estimate, Estimator, Key, Params, Series

log = logging.getLogger("s1jax")


class Method(NamedTuple):
    """An Estimator with the tasks it can do."""

    name: str
    estimator: Estimator
    tasks: tuple[str, ...]
    spatial: bool = False
    """It sees the radar of all pixels of its blocks, and the labels of those that were drawn."""
    of: tuple[str, ...] = ()
    """Methods that it is made of."""
    made_of: Callable[..., Estimator] | None = None
    """The Estimator from those of `of`, in their order; where they were fitted to the same pixels
    they are not fitted again."""


class Draw(NamedTuple):
    """What one seed draws: the same for all methods."""

    key: Key
    """Of the methods."""
    masks: dict[str, np.ndarray]
    """Task and the periods it queries, of all pixels."""
    test_sets: dict[str, TestSet]


def draw_tasks(data: Data, split: Split, tasks: tuple[str, ...], seed: int) -> Draw:
    """A key for the methods, and the mask and test set of each task: one seed, one draw."""
    key_masks, key_fit = jax.random.split(jax.random.key(seed))
    masks = draw_masks(key_masks, tasks, data)
    return Draw(key_fit, masks, {t: test_set(data, split, t, mask) for t, mask in masks.items()})


class Setup(NamedTuple):
    """A data set, its split and what a seed draws on it."""

    name: str
    words: str
    """The split in words."""
    data: Data
    split: Split
    draw: Draw


def set_up(config: Config, tasks: tuple[str, ...], seed: int) -> Setup:
    """The data set of a configuration, as the head to head of the same seed splits and masks it.

    Raises:
      ValueError: what `experiments.run` raises on such data.
    """
    ds, name = load(config)
    data, _ = to_data(ds)
    split = split_of(config, data, seed)
    words = f"{config.split}: {describe(split)}"
    return Setup(name, words, data, split, draw_tasks(data, split, tasks, seed))


def draw_masks(key: Key, tasks: tuple[str, ...], data: Data) -> dict[str, np.ndarray]:
    """For each task the periods it queries, of all pixels; T2d only where the truth is known."""
    simulated = data.truth is not None
    return {
        task: draw_mask(
            jax.random.fold_in(key, TASKS.index(task)), task, data.series, simulated=simulated
        )
        for task in tasks
        if task != "T2d" or simulated
    }


def masked_series(data: Data, fold: Fold, mask: np.ndarray) -> Series:
    """The test pixels of a fold on its test periods, without the labels of a mask."""
    series = data.series.take(fold.test, fold.test_time)
    series = masking.with_ndvi_masked(series, mask[fold.test][:, fold.test_time])
    return jax.tree.map(np.asarray, series)


def test_set(data: Data, split: Split, task: str, mask: np.ndarray) -> TestSet:
    """What a task queries of the test pixels of all folds.

    Against labels: the hidden ones. Against the truth: every period of the mask. A pixel without a
    hidden or (in T2) without a kept label is left out and counted.
    """
    series = [data.series.take(fold.test, fold.test_time) for fold in split.folds]
    label = np.concatenate([s.ndvi for s in series]).astype(np.float64)
    valid = np.concatenate([s.ndvi_valid for s in series])
    mask = np.concatenate([mask[fold.test][:, fold.test_time] for fold in split.folds])
    hidden, kept = valid & mask, valid & ~mask
    # a mask of T2d holds no label by definition, and T1 keeps none
    usable = (kept.any(1) | (task == "T1")) & (hidden.any(1) | (task == "T2d"))
    scored, truth = {}, None
    if task != "T2d":
        scored["labels"] = hidden & usable[:, None]
    if data.truth is not None:
        truth = np.concatenate([data.truth[f.test][:, f.test_time] for f in split.folds])
        truth = truth.astype(np.float64)
        scored["truth"] = mask & np.isfinite(truth) & (usable | (task == "T1"))[:, None]
    return TestSet(
        day=series[0].day,
        label=label,
        truth=truth,
        kept=kept,
        scored={name: where for name, where in scored.items() if where.any()},
        cluster=np.concatenate([fold.cluster for fold in split.folds]),
        direction=np.repeat(np.arange(len(split.folds)), [f.test.size for f in split.folds]),
        directions=tuple(fold.name for fold in split.folds),
        left_out=int((~usable).sum()),
        relative=data.relative,
    )


def lacking(data: Data, split: Split, task: str, mask: np.ndarray) -> str:
    """Why a task can be neither fitted nor scored on a split; nothing where it can."""
    valid = np.asarray(data.series.ndvi_valid)
    for fold in split.folds:
        of = "" if fold.name == "all" else f" of fold {fold.name}"
        if not test_set(data, split._replace(folds=(fold,)), task, mask).scored:
            return f"got no hidden label to score in {fold.test.size} test pixels{of}"
        if task != "T2e":
            continue
        for name, pixels in (("training", fold.training), ("validation", fold.validation)):
            kept = int((valid & ~mask)[pixels][:, fold.training_time].sum())
            if kept < FEWEST:
                return f"got {kept} labels of {name} pixels{of} on other dates, expected {FEWEST}+"
    return ""


def head_to_head(
    key: Key,
    methods: list[Method],
    data: Data,
    split: Split,
    masks: dict[str, np.ndarray],
    *,
    on_fit: Callable[[str, Fold, Params], None] = lambda *_: None,
) -> Iterator[tuple[str, str, Estimate, Seconds]]:
    """Method, task, its estimate on the test pixels of all folds and the seconds it took, in turn.

    Each method is fitted once for T1 and T2a-d, and once more for T2e, on training and validation
    pixels that lack the hidden dates.

    Args:
      key: each method and fold folds in its own number.
      methods: in the order to run.
      data: the data set.
      split: its training, validation and test pixels.
      masks: for each task, the periods it queries; their labels are hidden from every method.
      on_fit: called with the method's name, the fold and the parameters (not for T2e).
    """
    fits: dict[tuple, dict] = defaultdict(dict)
    for method in methods:
        tasks = [task for task in masks if task in method.tasks]
        for fitted_for in (None, "T2e"):
            now = [task for task in tasks if (task == "T2e") == (fitted_for == "T2e")]
            if not now:
                continue
            parts = {task: [] for task in now}
            fit_s, predict_s = 0.0, dict.fromkeys(now, 0.0)
            for k, fold in enumerate(split.folds):
                # the same key for both fits: they differ by the hidden dates alone
                key_fit = jax.random.fold_in(jax.random.fold_in(key, k), sum(map(ord, method.name)))
                others = fits[fold.name, fitted_for]
                params, seconds = _fit(method, key_fit, data, fold, masks.get(fitted_for), others)
                others[method.name] = fitted(method.estimator, params), seconds
                fit_s += seconds
                if fitted_for is None:
                    on_fit(method.name, fold, params)
                if k == 0 and fitted_for is None:
                    # compiles what it can, so that px/s is the speed of a region
                    one = fold._replace(test=fold.test[:1], whole=None)
                    _predict(method, params, data, one, masks[now[0]])
                for task in now:
                    estimate, seconds = _predict(method, params, data, fold, masks[task])
                    predict_s[task] += seconds
                    parts[task].append(estimate)
            for task in now:
                seconds = Seconds(fit_s, predict_s[task])
                log.info("%s %s: fit %.1f s, predict %.1f s", method.name, task, *seconds)
                yield method.name, task, _joined(parts[task]), seconds


def _joined(parts: list[Estimate]) -> Estimate:
    """The estimates of all folds, one fold after the other, in double precision."""
    leaves = zip(*(part[:3] for part in parts), strict=True)
    return Estimate(*(np.concatenate([np.asarray(x, np.float64) for x in leaf]) for leaf in leaves))


def _visible(method: Method, data: Data, fold: Fold, part: int, mask: np.ndarray | None):
    """What a method may see of the training (0), validation (1) or test (2) pixels of a fold, and
    the indices of these among the pixels it is given."""
    chosen = pixels = fold[part]
    if method.spatial and fold.whole is not None:
        pixels = fold.whole[part]
    series = data.series.take(pixels, fold.times[part])
    hidden = ~np.isin(pixels, chosen)[:, None] & np.ones(series.day.shape, bool)
    if mask is not None:
        hidden |= mask[pixels][:, fold.times[part]]
    if hidden.any():
        series = masking.with_ndvi_masked(series, hidden)
    return series, np.searchsorted(pixels, chosen)


def _fit(
    method: Method,
    key: Key,
    data: Data,
    fold: Fold,
    mask: np.ndarray | None,
    others: Mapping[str, tuple[Estimator, float]],
) -> tuple[Params, float]:
    """Parameters from training and validation pixels, and the seconds of the fit.

    Args:
      method: to fit.
      key: consumed.
      data: the data set.
      fold: its training and validation pixels.
      mask: labels that are hidden from all pixels; None: none.
      others: other methods, fitted to the same pixels, and the seconds of their fits.
    """
    parts = [_visible(method, data, fold, part, mask)[0] for part in (0, 1)]
    estimator, spent = method.estimator, 0.0
    if method.of and all(name in others for name in method.of):
        parts_of, seconds = zip(*(others[name] for name in method.of), strict=True)
        estimator, spent = method.made_of(*parts_of), sum(seconds)
    start = time.perf_counter()
    with titled(method.name):
        params = jax.block_until_ready(estimator.fit(key, *parts))
    return params, spent + time.perf_counter() - start


def _predict(
    method: Method, params: Params, data: Data, fold: Fold, mask: np.ndarray
) -> tuple[Estimate, float]:
    series, index = _visible(method, data, fold, 2, mask)
    start = time.perf_counter()
    with titled(method.name):
        estimate = jax.block_until_ready(method.estimator.predict(params, series, series.day))
    seconds = time.perf_counter() - start
    if index.size < len(series.ndvi):
        # speed is that of a region, all of whose pixels are queried
        seconds *= index.size / len(series.ndvi)
        estimate = Estimate(*(None if leaf is None else leaf[index] for leaf in estimate))
    broken = int((~np.isfinite(np.asarray(estimate.mean) + np.asarray(estimate.std))).any(1).sum())
    if broken:
        got = f"{broken} of {len(index)} test pixels that are not finite"
        raise ValueError(f"{method.name}: got estimates of {got}, expected numbers")
    return estimate, seconds


def methods(config: Config, *, folder: Path | None = None) -> list[Method]:
    """The methods that a configuration names, in its order.

    Args:
      config: names and options.
      folder: where the networks keep checkpoints of their training.
    """
    inflation = inflation_of(config.split)

    def _options(name: str) -> Any:
        options = getattr(config, name, method_of(name).options)
        if name == "shipped":
            options = CnpConfig(chunk=config.cnp.chunk)
        elif name == "ensemble":
            options = EnsembleConfig(_options("cnp"), _options("hybrid"))
        elif name == "switch":
            process = mogpr_options(options.process, config.split)
            network = inflated(options.network, inflation)
            options = replace(options, network=network, process=process)
        elif isinstance(options, MogprConfig):
            options = mogpr_options(options, config.split)
        return inflated(options, inflation)

    def _estimator(name: str) -> Estimator:
        options = _options(name)
        if isinstance(options, MlpConfig) and folder is not None:
            return networks.mlp(options, folder=folder / name)
        return method_of(name).make(options)

    def _hybrid(mean: Estimator) -> Estimator:
        return calibrated(residual(mean, mogpr(config.hybrid.process)), inflation=inflation)

    def _switch(sparse: Estimator, dense: Estimator) -> Estimator:
        return switched(dense, sparse, share=config.switch.share)

    def _ensemble(*members: Estimator) -> Estimator:
        return calibrated(ensemble(*members), inflation=inflation)

    # methods made of others of the run that are set up alike
    parts = {"ensemble": (("cnp", "hybrid"), _ensemble)}
    if config.hybrid.network == config.tcn_s1:
        parts["hybrid"] = ("tcn_s1",), _hybrid
    if (config.switch.network, config.switch.process) == (config.tcn_s1, config.mogpr):
        parts["switch"] = ("tcn_s1", "mogpr"), _switch
    return [
        Method(
            name,
            _estimator(name),
            TASKS[1:] if method_of(name).needs_ndvi else TASKS,
            method_of(name).spatial,
            *parts.get(name, ()),
        )
        for name in config.methods
    ]


def inflation_of(split: str) -> float:
    """Factor of the bands: validation pixels know nothing of another district or year."""
    return 1.0 if split == "blocks" else TRANSFER_INFLATION


def mogpr_options(options: MogprConfig, split: str) -> MogprConfig:
    """MOGPR's options; no regional curve where another district or year is predicted.

    Validation pixels lie in the training districts and the training year: they cannot tell that the
    calendar of these is not that of the others.
    """
    if split == "blocks" or options.mean != "auto":
        return options
    return replace(options, mean="zero")
