"""Which pixels train, decide and test: whole blocks, districts or years, never random pixels."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

SHARES = (10, 2, 4)
"""Training, validation and test blocks out of 16."""
_DECIDING = 0.2
"""Share of the cells outside a tested district that decide."""


class Fold(NamedTuple):
    """Pixels of one direction of a split, as positions on the pixel axis."""

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


class Split(NamedTuple):
    """All folds, and what a reader must know about them."""

    folds: tuple[Fold, ...]
    notes: tuple[str, ...]


def _cells(place: Float[np.ndarray, "pixel 2"], size: Float[np.ndarray, "2"]) -> np.ndarray:
    """Number of the grid cell of each pixel, 0, 1, ... over the cells that hold pixels."""
    cell = np.floor((place - place.min(0)) / size).astype(np.int64)
    _, number = np.unique(cell, axis=0, return_inverse=True)
    return number.reshape(-1)


def _extent_blocks(place: Float[np.ndarray, "pixel 2"]) -> tuple[np.ndarray, np.ndarray]:
    """Cells of a 4 x 4 grid over the covered extent, and the cell's size."""
    size = np.maximum(np.ptp(place, axis=0) / 4.0 * (1.0 + 1e-9), 1e-9)
    return _cells(place, size), size


def grid(
    place: Float[np.ndarray, "pixel 2"], block_m: float | None, buffer_m: float | None
) -> tuple[Int[np.ndarray, "pixel"], float, tuple[str, ...]]:
    """Block of each pixel, the buffer in metres, and notes.

    2.5 km blocks with an 800 m buffer; where that gives fewer than 12 blocks, 4 x 4 blocks over
    the covered extent with a buffer of an eighth of the smaller side, and a note that they are not
    independent. `block_m` and `buffer_m` override.
    """
    size = np.full(2, 2500.0 if block_m is None else block_m)
    block = _cells(place, size)
    if block_m is not None or block.max() + 1 >= 12:
        buffer = 800.0 if buffer_m is None else buffer_m
        return block, buffer, (f"blocks of {size[0]:g} m, buffer {buffer:g} m",)
    block, size = _extent_blocks(place)
    side = size[size > 1e-6].min() if (size > 1e-6).any() else 0.0
    buffer = side / 8.0 if buffer_m is None else buffer_m
    note = f"blocks of {size[0]:.0f} x {size[1]:.0f} m: not independent (buffer {buffer:.0f} m)"
    return block, buffer, (note,)


def _clear_of(place: np.ndarray, chosen: np.ndarray, others: np.ndarray, metres: float):
    """The `chosen` pixels that are at least `metres` from all `others`."""
    if metres <= 0.0 or not (chosen.size and others.size):
        return chosen
    distance, _ = cKDTree(place[others]).query(place[chosen])
    return chosen[distance >= metres]


def _deal(groups: np.ndarray, seed: int, labels: np.ndarray | None) -> tuple[np.ndarray, str]:
    """0, 1 or 2 (training, validation, test) for each group, in the shares 10 : 2 : 4, and a note.

    Seeds in a row test other groups until all have been tested (0 to 3 in these shares), so that
    what they find together rests on as many clusters as there are. Where that leaves a part less
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
        return role[groups], ""
    weight = np.bincount(groups, labels)
    if _fair(weight, role):
        return role[groups], ""
    role = _by_labels(weight, np.random.default_rng([seed, 2]))
    return role[groups], "unequal blocks, dealt by their labels"


def _fair(weight: np.ndarray, role: np.ndarray) -> bool:
    """Whether each part has half its share of the labels, or more; also where there are none."""
    least = np.array(SHARES) / sum(SHARES) * weight.sum() / 2.0
    return bool((np.bincount(role, weight, minlength=3) >= least).all())


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
    lacking = np.ones(3)
    empty = np.ones(3, bool)
    role = np.zeros(weight.size, int)
    for k, group in enumerate(order):
        # the last ones go to the parts that still have none
        open_to = empty if order.size - k <= empty.sum() else np.ones(3, bool)
        part = int(np.argmax(np.where(open_to, lacking + 1e-9 * share, -np.inf)))
        role[group], empty[part] = part, False
        lacking[part] -= weight[group] / (share[part] * weight.sum())
    return role


def blocks(
    place: Float[np.ndarray, "pixel 2"],
    block: Int[np.ndarray, "pixel"] | None,
    *,
    seed: int,
    labels: Int[np.ndarray, "pixel"] | None = None,
    block_m: float | None = None,
    buffer_m: float | None = None,
) -> Split:
    """One fold of whole blocks, training and validation pixels a buffer away from what is tested.

    Args:
      place: metres east and north of each pixel.
      block: the data's own groups, where they come with some; then there is no grid.
      seed: which blocks are dealt where.
      labels: how many each pixel has, so that every part gets some; None: all alike.
      block_m: side of a block, metres.
      buffer_m: least distance of training from validation and test, and of validation from test.
    """
    if block is not None and block_m is None:
        _, block = np.unique(block, return_inverse=True)
        buffer = 0.0 if buffer_m is None else buffer_m
        notes = (f"the data's own {block.max() + 1} blocks, buffer {buffer:g} m",)
    else:
        block, buffer, notes = grid(place, block_m, buffer_m)
    if place.shape[0] < block.max() + 1 or place.shape[0] < 16:
        raise ValueError(
            f"pixels: got {place.shape[0]} for {block.max() + 1} blocks, "
            "expected at least one in each and 16 in all"
        )
    role, note = _deal(block, seed, labels)
    notes = (*notes, note) if note else notes
    training, validation, test = (np.flatnonzero(role == r) for r in range(3))
    validation = _clear_of(place, validation, test, buffer)
    training = _clear_of(place, training, np.concatenate([test, validation]), buffer)
    return Split((Fold(training, validation, test, block[test]),), notes)


def district(
    place: Float[np.ndarray, "pixel 2"],
    district: np.ndarray,
    *,
    seed: int,
    labels: Int[np.ndarray, "pixel"] | None = None,
) -> Split:
    """Leave one district out, each in turn; 1 km cells of the others give 20 % for validation.

    Bootstrap clusters are the 1 km cells of the tested district. Pixels without a district (NaN,
    None or an empty name) are in no part, and a district without a label is none: both are noted.

    Args:
      place: metres east and north of each pixel.
      district: name or number of each pixel's district.
      seed: which cells decide.
      labels: how many each pixel has; None: all alike.

    Raises:
      ValueError: fewer than two districts, or fewer than two cells outside one.
    """
    labels = np.ones(len(place), int) if labels is None else labels
    there = ~pd.isna(district)
    if district.dtype.kind in "OSU":
        district = np.where(there, district, "").astype(str)
        there = np.char.strip(district) != ""
    every, number = np.unique(district[there], return_inverse=True)
    of = np.full(len(place), -1)
    of[there] = number
    count = np.bincount(number, labels[there], every.size)
    names, empty = every[count > 0], every[count == 0]
    if names.size < 2:
        less = f" with labels of {every.size}" if empty.size else ""
        raise ValueError(f"district: got {names.size}{less}, expected at least 2 to leave one out")
    cell = _cells(place, np.full(2, 1000.0))
    folds = []
    for k, name in enumerate(names):
        inside = of == np.searchsorted(every, name)
        rest, test = np.flatnonzero(there & ~inside), np.flatnonzero(inside)
        rng = np.random.default_rng([seed, k])
        others = rng.permutation(np.unique(cell[rest]))
        if others.size < 2:
            raise ValueError(f"1 km cells outside district {name}: got {others.size}, expected 2")
        deciding = np.isin(cell[rest], _cells_to_decide(others, cell[rest], labels[rest]))
        folds.append(
            Fold(rest[~deciding], rest[deciding], test, cell[test] * names.size + k, str(name))
        )
    notes = [f"{names.size} districts, each tested with the others; validation 20 % of 1 km cells"]
    if empty.size:
        notes.append(f"no label in {', '.join(map(str, empty))}")
    if without := int((~there).sum()):
        notes.append(f"{without:,} pixels of no district left out")
    return Split(tuple(folds), tuple(notes))


def _cells_to_decide(others: np.ndarray, cell: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cells for validation, of all others in the order drawn: a fifth of them, or as many as hold a
    fifth of the labels where a fifth of the cells holds less than half or more than twice that.

    Raises:
      ValueError: fewer than two cells with labels.
    """
    weight = np.bincount(cell, labels, others.max() + 1)[others]
    first = max(1, round(_DECIDING * others.size))
    goal = _DECIDING * weight.sum()
    if goal / 2.0 <= weight[:first].sum() <= 2.0 * goal:
        return others[:first]
    with_some = np.flatnonzero(weight > 0.0)
    if with_some.size < 2:
        raise ValueError(
            f"1 km cells outside a district: got {with_some.size} with labels, expected at least 2 "
            "to train and to decide"
        )
    chosen, total = [], 0.0
    for k in with_some:
        if total + weight[k] <= goal:
            chosen.append(k)
            total += weight[k]
    least = with_some[np.argmin(weight[with_some])]
    return others[chosen or [least]]


def season(
    place: Float[np.ndarray, "pixel 2"],
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
    split = blocks(place, block, seed=seed, labels=labels, block_m=block_m, buffer_m=buffer_m)
    folds = tuple(
        fold._replace(training_time=slice(0, cut), test_time=slice(cut, None))
        for fold in split.folds
    )
    return Split(folds, (*split.notes, f"trained on {cut} periods, tested on {len(day) - cut}"))
