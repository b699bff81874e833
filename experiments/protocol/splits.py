"""Which pixels train, validate and test: whole blocks, districts or years, never random pixels."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from s1jax.regions import UNLABELLED

SHARES = (10, 2, 4)
"""Training, validation and test blocks out of 16."""
FEWEST = 10
"""Labels that each part of a fold needs; independent clusters below which results are indicative.
"""
_VALIDATION = 0.2
"""Share of the cells outside a tested district for validation."""


class Fold(NamedTuple):
    """Pixels of one direction of a split, as indices on the pixel axis."""

    training: Int[np.ndarray, "training"]
    validation: Int[np.ndarray, "validation"]
    test: Int[np.ndarray, "test"]
    cluster: Int[np.ndarray, "test"]
    """Bootstrap cluster of each test pixel; unique over all folds of a split."""
    name: str = "all"
    """The direction: the district that is tested."""
    training_time: slice = slice(None)
    """Periods of training and validation series."""
    test_time: slice = slice(None)
    """Periods of test series."""
    whole: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    """Training, validation and test pixels before some of them were drawn; None: all were."""

    @property
    def times(self) -> tuple[slice, slice, slice]:
        """Periods of training, validation and test series."""
        return self.training_time, self.training_time, self.test_time


class Split(NamedTuple):
    """All folds, and what a reader must know about them."""

    folds: tuple[Fold, ...]
    notes: tuple[str, ...]


def clusters(split: Split) -> int:
    """Number of test clusters that the bootstrap draws from."""
    return sum(np.unique(fold.cluster).size for fold in split.folds)


def describe(split: Split) -> str:
    """The split in words, with what a reader must mind."""
    count, districts = clusters(split), len(split.folds)
    words, few = f"{count} test clusters", f"fewer than {FEWEST} clusters"
    if districts > 1:
        # the cells of a district share weather, calendar and orbit: the district is one place
        words, few = f"{districts} districts ({words})", f"fewer than {FEWEST} districts"
        count = districts
    return "; ".join([*split.notes, words, *([f"indicative: {few}"] if count < FEWEST else [])])


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
        drawn = []
        for pixels, limit, time in zip(fold[:3], limits, fold.times, strict=True):
            order = rng.permutation(pixels.size)
            if labels is not None:
                without = ~labels[pixels][:, time].any(1)
                order = order[np.argsort(without[order], kind="stable")]
            drawn.append(np.sort(order[:limit]))
        parts = (pixels[index] for pixels, index in zip(fold[:3], drawn, strict=True))
        return Fold(*parts, fold.cluster[drawn[2]], *fold[4:7], whole=fold[:3])

    return split._replace(folds=tuple(_fold(fold, k) for k, fold in enumerate(split.folds)))


def check(valid: Bool[np.ndarray, "pixel time"], split: Split) -> None:
    """Refuse a split that cannot be trained or scored with the `valid` labels.

    Raises:
      ValueError: no label anywhere, or a part with fewer than `FEWEST`.
    """
    if not valid.any():
        raise ValueError(UNLABELLED)
    for fold in split.folds:
        names = ("training", "validation", "test")
        for name, pixels, time in zip(names, fold[:3], fold.times, strict=True):
            labels = int(valid[pixels][:, time].sum())
            if labels < FEWEST:
                of = "" if fold.name == "all" else f" of fold {fold.name}"
                raise ValueError(
                    f"{name} pixels{of}: got {pixels.size} with {labels} valid labels of "
                    f"{int(valid.sum()):,} in the cube, expected {FEWEST} or more; use smaller "
                    "blocks (--block-m), a smaller buffer (--buffer-m) or another --split"
                )


def blocks(
    position: Float[np.ndarray, "pixel 2"],
    block: Int[np.ndarray, "pixel"] | None,
    *,
    seed: int,
    labels: Int[np.ndarray, "pixel"] | None = None,
    block_m: float | None = None,
    buffer_m: float | None = None,
) -> Split:
    """One fold of whole blocks, training and validation pixels a buffer away from what is tested.

    Args:
      position: metres east and north of each pixel.
      block: the data's own groups, where they come with some; then there is no grid.
      seed: of the deal.
      labels: how many each pixel has, so that every part gets some; None: all alike.
      block_m: side of a block, metres.
      buffer_m: least distance of training from validation and test, and of validation from test.
    """
    if block is not None and block_m is None:
        _, block = np.unique(block, return_inverse=True)
        buffer = 0.0 if buffer_m is None else buffer_m
        notes = (f"the data's own {block.max() + 1} blocks, buffer {buffer:g} m",)
    else:
        block, buffer, notes = _grid(position, block_m, buffer_m)
    if position.shape[0] < max(block.max() + 1, 16):
        raise ValueError(
            f"pixels: got {position.shape[0]} for {block.max() + 1} blocks, "
            "expected at least one in each and 16 in all"
        )
    role, note = _deal(block, seed, labels)
    training, validation, test = (np.flatnonzero(role == r) for r in range(3))
    validation = _clear_of(position, validation, test, buffer)
    training = _clear_of(position, training, np.concatenate([test, validation]), buffer)
    return Split((Fold(training, validation, test, block[test]),), (*notes, *note))


def season(
    position: Float[np.ndarray, "pixel 2"],
    day: Float[np.ndarray, "time"],
    block: Int[np.ndarray, "pixel"] | None,
    *,
    seed: int,
    labels: Bool[np.ndarray, "pixel time"] | None = None,
    block_m: float | None = None,
    buffer_m: float | None = None,
) -> Split:
    """The blocks of `blocks`; training and validation see year one, test pixels the rest.

    `labels` says when there are some: blocks count by those of the year that has fewer.
    """
    year = 365.25
    if day[-1] - day[0] < 1.5 * year:
        raise ValueError(
            f"season: got {day[-1] - day[0]:.0f} days of series, expected at least {1.5 * year:.0f}"
        )
    cut = int(np.searchsorted(day, day[0] + year))
    if labels is not None:
        labels = np.minimum(labels[:, :cut].sum(1), labels[:, cut:].sum(1))
    split = blocks(position, block, seed=seed, labels=labels, block_m=block_m, buffer_m=buffer_m)
    times = {"training_time": slice(0, cut), "test_time": slice(cut, None)}
    note = f"trained on {cut} periods, tested on {len(day) - cut}"
    return Split(tuple(fold._replace(**times) for fold in split.folds), (*split.notes, note))


def district(
    position: Float[np.ndarray, "pixel 2"],
    district: np.ndarray,
    *,
    seed: int,
    labels: Int[np.ndarray, "pixel"] | None = None,
) -> Split:
    """Leave one district out, each in turn; 1 km cells of the others give 20 % for validation.

    Bootstrap clusters are the 1 km cells of the tested district. Pixels without a district (NaN,
    None or an empty name) are in no part, and a district without a label is none: both are noted.

    Args:
      position: metres east and north of each pixel.
      district: name or number of each pixel's district.
      seed: of the cells for validation.
      labels: how many each pixel has; None: all alike.

    Raises:
      ValueError: fewer than two districts, or fewer than two cells outside one.
    """
    labels = np.ones(len(position), int) if labels is None else labels
    named = ~pd.isna(district)
    if district.dtype.kind in "OSU":
        district = np.where(named, district, "").astype(str)
        named = np.char.strip(district) != ""
    every, number = np.unique(district[named], return_inverse=True)
    index = np.full(len(position), -1)
    index[named] = number
    count = np.bincount(number, labels[named], every.size)
    names, empty = every[count > 0], every[count == 0]
    if names.size < 2:
        less = f" with labels of {every.size}" if empty.size else ""
        raise ValueError(f"district: got {names.size}{less}, expected at least 2 to leave one out")
    cell = _cells(position, np.full(2, 1000.0))
    folds = []
    for k, name in enumerate(names):
        inside = index == np.searchsorted(every, name)
        rest, test = np.flatnonzero(named & ~inside), np.flatnonzero(inside)
        others = np.random.default_rng([seed, k]).permutation(np.unique(cell[rest]))
        if others.size < 2:
            raise ValueError(f"1 km cells outside district {name}: got {others.size}, expected 2")
        validates = np.isin(cell[rest], _validation_cells(others, cell[rest], labels[rest]))
        cluster = cell[test] * names.size + k
        folds.append(Fold(rest[~validates], rest[validates], test, cluster, str(name)))
    notes = [f"{names.size} districts, each tested with the others; validation 20 % of 1 km cells"]
    if empty.size:
        notes.append(f"no label in {', '.join(map(str, empty))}")
    if without := int((~named).sum()):
        notes.append(f"{without:,} pixels of no district left out")
    return Split(tuple(folds), tuple(notes))


def _cells(position: Float[np.ndarray, "pixel 2"], size: Float[np.ndarray, "2"]) -> np.ndarray:
    """Number of the grid cell of each pixel, 0, 1, ... over the cells that hold pixels."""
    cell = np.floor((position - position.min(0)) / size).astype(np.int64)
    return np.unique(cell, axis=0, return_inverse=True)[1].reshape(-1)


def _grid(
    position: Float[np.ndarray, "pixel 2"], block_m: float | None, buffer_m: float | None
) -> tuple[Int[np.ndarray, "pixel"], float, tuple[str, ...]]:
    """Block of each pixel, the buffer in metres, and notes.

    2.5 km blocks with an 800 m buffer; where that gives fewer than 12 blocks, 4 x 4 blocks over
    the covered extent with a buffer of an eighth of the smaller side, and a note that they are not
    independent. `block_m` and `buffer_m` override.
    """
    side = 2500.0 if block_m is None else block_m
    block = _cells(position, np.full(2, side))
    if block_m is not None or block.max() + 1 >= 12:
        buffer = 800.0 if buffer_m is None else buffer_m
        return block, buffer, (f"blocks of {side:g} m, buffer {buffer:g} m",)
    size = np.maximum(np.ptp(position, axis=0) / 4.0 * (1.0 + 1e-9), 1e-9)
    buffer = size[size > 1e-6].min(initial=np.inf) / 8.0 if buffer_m is None else buffer_m
    buffer = buffer if np.isfinite(buffer) else 0.0
    note = f"blocks of {size[0]:.0f} x {size[1]:.0f} m: not independent (buffer {buffer:.0f} m)"
    return _cells(position, size), buffer, (note,)


def _clear_of(position: np.ndarray, pixels: np.ndarray, others: np.ndarray, metres: float):
    """The `pixels` that are at least `metres` from all `others`."""
    if metres <= 0.0 or not (pixels.size and others.size):
        return pixels
    distance, _ = cKDTree(position[others]).query(position[pixels])
    return pixels[distance >= metres]


def _deal(
    groups: np.ndarray, seed: int, labels: np.ndarray | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """0, 1 or 2 (training, validation, test) for each group, in the shares 10 : 2 : 4, and notes.

    Seeds in a row test other groups until all have been tested (0 to 3 in these shares), so that
    their results together rest on as many clusters as there are. Where that leaves a part less
    than half its share of the labels, the groups are dealt by their labels.

    Args:
      groups: number of each pixel's group, 0, 1, ...
      seed: of the deal.
      labels: number of each pixel; None: groups count alike.
    """
    names = np.unique(groups)
    if names.size < 3:
        raise ValueError(
            f"blocks: got {names.size} with pixels, expected at least 3 to train, decide, test"
        )
    test = max(1, round(names.size * SHARES[2] / 16))
    validation = max(1, round(names.size * SHARES[1] / 16))
    deal, turn = divmod(seed, names.size // test)
    names = np.roll(np.random.default_rng(deal).permutation(names), -turn * test)
    role = np.zeros(names.max() + 1, int)
    role[names[:test]], role[names[test : test + validation]] = 2, 1
    if labels is None:
        return role[groups], ()
    weight = np.bincount(groups, labels)
    least = np.array(SHARES) / sum(SHARES) * weight.sum() / 2.0
    if (np.bincount(role, weight, minlength=3) >= least).all():
        return role[groups], ()
    role = _by_labels(weight, np.random.default_rng([seed, 2]))
    return role[groups], ("unequal blocks, dealt by their labels",)


def _by_labels(weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The groups one by one, most labels first, to the part that lacks the largest part of its
    share; where several lack alike, to the one of the largest share.

    Raises:
      ValueError: fewer than three groups with labels.
    """
    order = rng.permutation(weight.size)
    order = order[np.argsort(-weight[order], kind="stable")]
    order = order[weight[order] > 0.0]
    if order.size < 3:
        raise ValueError(
            f"blocks: got {order.size} with labels of {weight.size}, expected at least 3 to train, "
            "decide, test; use smaller blocks"
        )
    share = np.array(SHARES) / sum(SHARES)
    lacking, empty = np.ones(3), np.ones(3, bool)
    role = np.zeros(weight.size, int)
    for k, group in enumerate(order):
        # the last ones go to the parts that still have none
        eligible = empty if order.size - k <= empty.sum() else np.ones(3, bool)
        part = int(np.argmax(np.where(eligible, lacking + 1e-9 * share, -np.inf)))
        role[group], empty[part] = part, False
        lacking[part] -= weight[group] / (share[part] * weight.sum())
    return role


def _validation_cells(others: np.ndarray, cell: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cells for validation, of all others in the order drawn: a fifth of them, or as many as hold a
    fifth of the labels where a fifth of the cells holds less than half or more than twice that.

    Raises:
      ValueError: fewer than two cells with labels.
    """
    weight = np.bincount(cell, labels, others.max() + 1)[others]
    first = max(1, round(_VALIDATION * others.size))
    goal = _VALIDATION * weight.sum()
    if goal / 2.0 <= weight[:first].sum() <= 2.0 * goal:
        return others[:first]
    labelled = np.flatnonzero(weight > 0.0)
    if labelled.size < 2:
        raise ValueError(
            f"1 km cells outside a district: got {labelled.size} with labels, expected at least 2 "
            "to train and to decide"
        )
    chosen, total = [], 0.0
    for k in labelled:
        if total + weight[k] <= goal:
            chosen.append(k)
            total += weight[k]
    return others[chosen or [labelled[np.argmin(weight[labelled])]]]
