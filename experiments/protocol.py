"""The head to head: every method on the same splits, masks and labels; test labels seen by none."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from experiments import masks
from experiments.scoring import Estimates, View
from experiments.splits import Fold, Split
from s1jax import hiding
from s1jax.types import NDVI, Estimate, Estimator, Key, Params, Series

log = logging.getLogger("s1jax")

FEWEST = 10
"""Labels that training, validation and test pixels of a fold need, each."""
UNLABELLED = (
    "S2ndvi: got no value in any pixel, expected labels to learn from and to score; the weights "
    "that s1jax ships, which know simulated rice alone, need none: "
    "s1jax.networks.fill(s1jax.networks.adapt(s1jax.pretrained(), series), series, days)"
)
"""What to do with a cube without labels."""


class Data(NamedTuple):
    """A data set at the door of the protocol: arrays only."""

    series: Series
    truth: Float[np.ndarray, "pixel time"] | None
    block: Int[np.ndarray, "pixel"] | None
    district: np.ndarray | None
    """Name of each pixel's district."""
    relative: bool = False
    """Days count from a beginning that differs from pixel to pixel: there is no calendar."""


class Method(NamedTuple):
    """An Estimator with the tasks it can do."""

    name: str
    estimator: Estimator
    tasks: tuple[str, ...]
    spatial: bool = False
    """It sees the radar of all pixels of its blocks, and the labels of those that were drawn."""
    of: tuple[str, ...] = ()
    """Methods that it is made of."""
    knowing: Callable[..., Estimator] | None = None
    """The Estimator that need not learn again what the methods of `of`, its arguments in their
    order, have learnt on the same pixels."""


def take(series: Series, pixels: np.ndarray, time: slice = slice(None)) -> Series:
    """The given pixels and periods of a flat Series, as NumPy arrays."""

    def _look(look):
        return None if look is None else np.asarray(look)[pixels][:, time]

    return Series(
        day=np.asarray(series.day)[time],
        value=np.asarray(series.value)[pixels][:, time],
        valid=np.asarray(series.valid)[pixels][:, time],
        place=None if series.place is None else np.asarray(series.place)[pixels],
        smooth=_look(series.smooth),
        wide=_look(series.wide),
    )


def subsample(
    split: Split,
    limits: tuple[int | None, int | None, int | None],
    *,
    seed: int,
    labels: Bool[np.ndarray, "pixel time"] | None = None,
) -> Split:
    """The split with at most so many training, validation and test pixels, drawn at random.

    Where `labels` says which dates of a pixel have one, pixels without any are drawn last.
    """

    def _fold(fold: Fold, k: int) -> Fold:
        rng = np.random.default_rng([seed, 1, k])
        chosen = []
        times = (fold.training_time, fold.training_time, fold.test_time)
        for pixels, limit, time_ in zip(fold[:3], limits, times, strict=True):
            n = pixels.size if limit is None else min(limit, pixels.size)
            order = rng.permutation(pixels.size)
            if labels is not None:
                none = ~labels[pixels][:, time_].any(1)
                order = order[np.argsort(none[order], kind="stable")]
            chosen.append(np.sort(order[:n]))
        kept = [pixels[c] for pixels, c in zip(fold[:3], chosen, strict=True)]
        return fold._replace(
            training=kept[0],
            validation=kept[1],
            test=kept[2],
            cluster=fold.cluster[chosen[2]],
            whole=fold[:3],
        )

    return split._replace(folds=tuple(_fold(fold, k) for k, fold in enumerate(split.folds)))


def check(data: Data, split: Split) -> None:
    """Refuse a split that cannot be trained or scored.

    Raises:
      ValueError: no label anywhere, or a part with fewer than `FEWEST`.
    """
    valid = np.asarray(data.series.valid)[..., NDVI]
    if not valid.any():
        raise ValueError(UNLABELLED)
    for fold in split.folds:
        parts = (
            ("training", fold.training, fold.training_time),
            ("validation", fold.validation, fold.training_time),
            ("test", fold.test, fold.test_time),
        )
        for name, pixels, time_ in parts:
            labels = int(valid[pixels][:, time_].sum())
            if labels < FEWEST:
                of = "" if fold.name == "all" else f" of fold {fold.name}"
                raise ValueError(
                    f"{name} pixels{of}: got {pixels.size} with {labels} valid labels of "
                    f"{int(valid.sum()):,} in the cube, expected {FEWEST} or more; use smaller "
                    "blocks (--block-m), a smaller buffer (--buffer-m) or another --split"
                )


def lacking(data: Data, split: Split, task: str, gap: np.ndarray) -> str:
    """Why a task can be neither learnt nor scored on a split; nothing where it can.

    Args:
      data: the data set.
      split: which `check` takes.
      task: its name.
      gap: periods that it asks for.
    """
    valid = np.asarray(data.series.valid)[..., NDVI]
    for fold in split.folds:
        of = "" if fold.name == "all" else f" of fold {fold.name}"
        if not view(data, split._replace(folds=(fold,)), task, gap).scored:
            return f"got no hidden label to score in {fold.test.size} test pixels{of}"
        if task != "T2e":
            continue
        for name, pixels in (("training", fold.training), ("validation", fold.validation)):
            kept = int((valid & ~gap)[pixels][:, fold.training_time].sum())
            if kept < FEWEST:
                return f"got {kept} labels of {name} pixels{of} on other dates, expected {FEWEST}+"
    return ""


def view(data: Data, split: Split, task: str, gap: np.ndarray) -> View:
    """What a task asks of the test pixels of all folds.

    Against labels: the hidden ones. Against the truth: every period of the gap. A pixel without a
    hidden or (in T2) without a kept label is left out and counted.
    """
    parts = [
        (take(data.series, fold.test, fold.test_time), gap[fold.test][:, fold.test_time])
        for fold in split.folds
    ]
    value, valid = (
        np.concatenate([getattr(s, name) for s, _ in parts]) for name in ("value", "valid")
    )
    gap = np.concatenate([g for _, g in parts])
    label, valid = value[..., NDVI].astype(np.float64), valid[..., NDVI]
    hidden, kept = valid & gap, valid & ~gap
    # a gap of T2d holds no label by definition, and T1 keeps none
    usable = (kept.any(1) | (task == "T1")) & (hidden.any(1) | (task == "T2d"))
    scored, truth = {}, None
    if task != "T2d":
        scored["labels"] = hidden & usable[:, None]
    if data.truth is not None:
        truth = np.concatenate([data.truth[f.test][:, f.test_time] for f in split.folds])
        truth = truth.astype(np.float64)
        scored["truth"] = gap & np.isfinite(truth) & (usable | (task == "T1"))[:, None]
    return View(
        day=parts[0][0].day,
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


def _seen(method: Method, data: Data, fold: Fold, part: int, hidden: np.ndarray | None):
    """What a method may see of the training (0), validation (1) or test (2) pixels of a fold, and
    which of the pixels it is given are these."""
    chosen = pixels = fold[part]
    if method.spatial and fold.whole is not None:
        pixels = fold.whole[part]
    time_ = fold.test_time if part == 2 else fold.training_time
    series = take(data.series, pixels, time_)
    unseen = ~np.isin(pixels, chosen)[:, None] & np.ones(series.day.shape, bool)
    if hidden is not None:
        unseen |= hidden[pixels][:, time_]
    if unseen.any():
        series = hiding.without(series, unseen)
    return series, np.searchsorted(pixels, chosen)


def _fit(
    method: Method,
    key: Key,
    data: Data,
    fold: Fold,
    hidden: np.ndarray | None,
    before: Mapping[str, tuple[Params, float]],
):
    """Parameters learnt from training and validation pixels, and the seconds it took.

    Args:
      method: whose.
      key: consumed.
      data: the data set.
      fold: its training and validation pixels.
      hidden: labels that are hidden from all pixels; None: none.
      before: what other methods learnt from the same, and the seconds that took.
    """
    parts = [_seen(method, data, fold, part, hidden)[0] for part in (0, 1)]
    estimator, spent = method.estimator, 0.0
    if method.of and all(name in before for name in method.of):
        known, seconds = zip(*(before[name] for name in method.of), strict=True)
        estimator, spent = method.knowing(*known), sum(seconds)
    start = time.perf_counter()
    params = jax.block_until_ready(estimator.fit(key, *parts))
    return params, spent + time.perf_counter() - start


def _predict(method: Method, params: Params, data: Data, fold: Fold, hidden: np.ndarray):
    series, asked = _seen(method, data, fold, 2, hidden)
    start = time.perf_counter()
    estimate = jax.block_until_ready(method.estimator.predict(params, series, series.day))
    seconds = time.perf_counter() - start
    if asked.size < len(series.valid):
        # speed is that of a region, whose pixels are all asked for
        seconds *= asked.size / len(series.valid)
        estimate = Estimate(*(leaf if np.ndim(leaf) == 0 else leaf[asked] for leaf in estimate))
    broken = int((~np.isfinite(np.asarray(estimate.mean) + np.asarray(estimate.std))).any(1).sum())
    if broken:
        got = f"{broken} of {len(asked)} test pixels that are not finite"
        raise ValueError(f"{method.name}: got estimates of {got}, expected numbers")
    return estimate, seconds


def head_to_head(
    key: Key,
    methods: list[Method],
    data: Data,
    split: Split,
    gaps: dict[str, np.ndarray],
    *,
    learnt: Callable[[str, Fold, Params], None] = lambda *_: None,
) -> Iterator[tuple[str, str, Estimates]]:
    """Method, task and its estimates on the test pixels of all folds, one after the other.

    Each method is fitted once for T1 and T2a-d, and once more for T2e, on training and validation
    pixels that lack the hidden dates.

    Args:
      key: each method and fold folds in its own number.
      methods: in the order to run.
      data: the data set.
      split: which pixels train, decide and test.
      gaps: for each task, the periods it asks for; their labels are hidden from every method.
      learnt: called with the method's name, the fold and what was learnt (not for T2e).
    """
    before: dict[tuple, dict] = defaultdict(dict)
    for method in methods:
        tasks = [task for task in gaps if task in method.tasks]
        for fitted_for in (None, "T2e"):
            now = [task for task in tasks if (task == "T2e") == (fitted_for == "T2e")]
            if not now:
                continue
            parts = {task: [] for task in now}
            fit_s, predict_s = 0.0, dict.fromkeys(now, 0.0)
            for k, fold in enumerate(split.folds):
                # the same key for both fits: they differ by the hidden dates alone
                key_fit = jax.random.fold_in(jax.random.fold_in(key, k), sum(map(ord, method.name)))
                known = before[fold.name, fitted_for]
                params, seconds = _fit(method, key_fit, data, fold, gaps.get(fitted_for), known)
                known[method.name] = params, seconds
                fit_s += seconds
                if fitted_for is None:
                    learnt(method.name, fold, params)
                if k == 0 and fitted_for is None:
                    # compiles what it can, so that px/s is the speed of a region
                    one = fold._replace(test=fold.test[:1], whole=None)
                    _predict(method, params, data, one, gaps[now[0]])
                for task in now:
                    estimate, seconds = _predict(method, params, data, fold, gaps[task])
                    predict_s[task] += seconds
                    parts[task].append(estimate)
            for task in now:
                log.info(
                    "%s %s: fit %.1f s, predict %.1f s", method.name, task, fit_s, predict_s[task]
                )
                yield (
                    method.name,
                    task,
                    Estimates(
                        mean=np.concatenate([np.asarray(e.mean, np.float64) for e in parts[task]]),
                        std=np.concatenate([np.asarray(e.std, np.float64) for e in parts[task]]),
                        noise=np.concatenate(
                            [
                                np.broadcast_to(e.noise, len(e.mean)).astype(float)
                                for e in parts[task]
                            ]
                        ),
                        fit_s=fit_s,
                        predict_s=predict_s[task],
                    ),
                )


def asked(
    data: Data, split: Split, tasks: tuple[str, ...], seed: int
) -> tuple[Key, dict[str, np.ndarray], dict[str, View]]:
    """A key for the methods, the gaps of each task and what it asks of the test pixels: the same
    from the same seed, whoever asks."""
    key_gaps, key_fit = jax.random.split(jax.random.key(seed))
    gaps = draw_gaps(key_gaps, tasks, data)
    return key_fit, gaps, {task: view(data, split, task, gap) for task, gap in gaps.items()}


def draw_gaps(key: Key, tasks: tuple[str, ...], data: Data) -> dict[str, np.ndarray]:
    """For each task the periods it asks for, of all pixels; T2d only where the truth is known."""
    simulated = data.truth is not None
    return {
        task: masks.gaps(
            jax.random.fold_in(key, masks.TASKS.index(task)), task, data.series, simulated=simulated
        )
        for task in tasks
        if task != "T2d" or simulated
    }
