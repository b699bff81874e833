"""Which pixels train, decide and test: whole blocks, districts or years, never random pixels."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

SHARES = (10, 2, 4)
"""Training, validation and test blocks out of 16."""


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


def _deal(groups: np.ndarray, seed: int) -> np.ndarray:
    """0, 1 or 2 (training, validation, test) for each group, in the shares 10 : 2 : 4.

    Seeds in a row test other groups until all have been tested (0 to 3 in these shares), so that
    what they find together rests on as many clusters as there are.
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
    return role[groups]


def blocks(
    place: Float[np.ndarray, "pixel 2"],
    block: Int[np.ndarray, "pixel"] | None,
    *,
    seed: int,
    block_m: float | None = None,
    buffer_m: float | None = None,
) -> Split:
    """One fold of whole blocks, training and validation pixels a buffer away from what is tested.

    Args:
      place: metres east and north of each pixel.
      block: the data's own groups, where they come with some; then there is no grid.
      seed: which blocks are dealt where.
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
    role = _deal(block, seed)
    training, validation, test = (np.flatnonzero(role == r) for r in range(3))
    validation = _clear_of(place, validation, test, buffer)
    training = _clear_of(place, training, np.concatenate([test, validation]), buffer)
    return Split((Fold(training, validation, test, block[test]),), notes)


def district(
    place: Float[np.ndarray, "pixel 2"], district: Int[np.ndarray, "pixel"], *, seed: int
) -> Split:
    """Leave one district out, each in turn; 1 km cells of the others give 20 % for validation.

    Bootstrap clusters are the 1 km cells of the tested district.
    """
    names = np.unique(district)
    if names.size < 2:
        raise ValueError(f"district: got {names.size}, expected at least 2 to leave one out")
    cell = _cells(place, np.full(2, 1000.0))
    folds = []
    for k, name in enumerate(names):
        rest, test = np.flatnonzero(district != name), np.flatnonzero(district == name)
        rng = np.random.default_rng([seed, k])
        others = rng.permutation(np.unique(cell[rest]))
        if others.size < 2:
            raise ValueError(f"1 km cells outside district {name}: got {others.size}, expected 2")
        chosen = others[: max(1, round(0.2 * others.size))]
        deciding = np.isin(cell[rest], chosen)
        folds.append(
            Fold(rest[~deciding], rest[deciding], test, cell[test] * names.size + k, str(name))
        )
    note = f"{names.size} districts, each tested with the others; validation 20 % of 1 km cells"
    return Split(tuple(folds), (note,))


def season(
    place: Float[np.ndarray, "pixel 2"],
    day: Float[np.ndarray, "time"],
    block: Int[np.ndarray, "pixel"] | None,
    *,
    seed: int,
    block_m: float | None = None,
    buffer_m: float | None = None,
) -> Split:
    """The blocks of `blocks`; training and validation see year one, test pixels the rest."""
    year = 365.25
    if day[-1] - day[0] < 1.5 * year:
        raise ValueError(
            f"season: got {day[-1] - day[0]:.0f} days of series, expected at least {1.5 * year:.0f}"
        )
    cut = int(np.searchsorted(day, day[0] + year))
    split = blocks(place, block, seed=seed, block_m=block_m, buffer_m=buffer_m)
    folds = tuple(
        fold._replace(training_time=slice(0, cut), test_time=slice(cut, None))
        for fold in split.folds
    )
    return Split(folds, (*split.notes, f"trained on {cut} periods, tested on {len(day) - cut}"))
