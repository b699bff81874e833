"""Every part of a split has labels, however unequal the blocks; what cannot be is told at once."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import run
from experiments.protocol import head_to_head, splits
from experiments.protocol.config import Config, complete
from experiments.protocol.data import Data, split_of
from tests.worlds.mogpr import series_of

DAYS = np.float32(19_000) + 12 * np.arange(62, dtype=np.float32)


def _data(labels, block=None, district=None, spacing=100.0):
    """Pixels on a line, each with so many labelled dates (from the first on)."""
    pixels = len(labels)
    valid = np.ones((pixels, DAYS.size, 3), bool)
    valid[..., 2] = np.arange(DAYS.size) < np.asarray(labels)[:, None]
    position = np.stack([np.arange(pixels) * spacing, np.zeros(pixels)], -1).astype(np.float32)
    value = np.zeros(valid.shape, np.float32)
    return Data(series_of(DAYS, value, valid, position=position), None, block, district)


def _labels(data, fold):
    valid = data.series.ndvi_valid
    times = (fold.training_time, fold.training_time, fold.test_time)
    return [int(valid[p][:, t].sum()) for p, t in zip(fold[:3], times, strict=True)]


CONFIG = complete(Config())


@pytest.mark.parametrize("seed", range(6))
def test_one_big_block_and_many_small_ones(seed):
    block = np.concatenate([np.zeros(400, int), np.repeat(np.arange(1, 31), 3)])
    data = _data(np.full(block.size, 5), block)
    split = split_of(CONFIG, data, seed)
    (fold,) = split.folds
    training, validation, test = _labels(data, fold)
    # the big one trains; test and validation share the small ones two to one
    assert set(block[fold.training]) == {0}
    assert training == 2000
    assert test + validation == 450
    assert test / validation == pytest.approx(2.0, rel=0.1)
    assert split.notes[-1] == "unequal blocks, dealt by their labels"
    assert set(block[fold.test]).isdisjoint(block[fold.validation])


def test_blocks_without_labels_do_not_decide():
    block = np.repeat(np.arange(16), 20)
    for seed in range(8):
        # five blocks of sixteen have labels
        labels = np.where(np.isin(block, [1, 4, 7, 9, 14]), 6, 0)
        data = _data(labels, block)
        (fold,) = split_of(CONFIG, data, seed).folds
        assert min(_labels(data, fold)) >= 120


def test_equal_blocks_are_dealt_as_ever():
    place = np.stack([np.arange(320.0), np.zeros(320)], -1)
    block = np.repeat(np.arange(16), 20)
    for seed in range(4):
        plain = splits.blocks(place, block, seed=seed)
        weighed = splits.blocks(place, block, seed=seed, labels=np.full(320, 3))
        for one, other in zip(plain.folds[0][:4], weighed.folds[0][:4], strict=True):
            np.testing.assert_array_equal(one, other)
        assert plain.notes == weighed.notes


@settings(max_examples=100, deadline=None)
@given(
    count=st.lists(st.integers(0, 1000), min_size=3, max_size=40).filter(
        lambda count: sum(n > 0 for n in count) >= 3
    ),
    seed=st.integers(0, 50),
)
def test_every_part_gets_labels_where_three_blocks_have_some(count, seed):
    block = np.repeat(np.arange(len(count)), 16)
    labels = np.where(np.arange(block.size) % 16 == 0, np.repeat(count, 16), 0)
    place = np.stack([np.arange(block.size), np.zeros(block.size)], -1).astype(float)
    (fold,) = splits.blocks(place, block, seed=seed, labels=labels).folds
    parts = [labels[pixels].sum() for pixels in fold[:3]]
    assert sum(parts) == sum(count)
    assert min(parts) > 0
    assert sorted(np.concatenate(fold[:3])) == list(range(block.size))


def test_two_blocks_with_labels_are_refused():
    block = np.repeat(np.arange(10), 10)
    data = _data(np.where(block < 2, 5, 0), block)
    with pytest.raises(ValueError, match=r"blocks: got 2 with labels of 10, expected at least 3"):
        split_of(CONFIG, data, 0)


def test_a_part_with_too_few_labels_is_named_with_its_number():
    block = np.repeat(np.arange(4), 10)
    data = _data(np.where(np.arange(40) % 10 == 0, 4, 0), block)
    words = r"training pixels: got 20 with 8 valid labels of 16 in the cube, expected 10"
    with pytest.raises(ValueError, match=words):
        split_of(CONFIG, data, 0)


def test_a_season_needs_labels_in_both_years():
    block = np.repeat(np.arange(16), 20)
    # half of the blocks end their labels within the first year
    data = _data(np.where(block % 2 == 0, 20, 50), block)
    config = dataclasses.replace(CONFIG, split="season")
    for seed in range(4):
        (fold,) = split_of(config, data, seed).folds
        assert min(_labels(data, fold)) > 100
        assert data.series.ndvi_valid[fold.test][:, fold.test_time].any()
    with pytest.raises(ValueError, match=r"with 0 valid labels of 6,400 in the cube|with labels"):
        split_of(config, _data(np.full(320, 20), block), 0)


def test_pixels_with_labels_are_drawn_first():
    block = np.repeat(np.arange(16), 100)
    data = _data(np.where(np.arange(1600) % 20 == 0, 5, 0), block)
    config = dataclasses.replace(CONFIG, training_pixels=40, validation_pixels=8, test_pixels=15)
    (fold,) = split_of(config, data, 0).folds
    assert _labels(data, fold) == [200, 40, 75]


@pytest.mark.parametrize(
    "names",
    [
        np.repeat(["north", "south", "", "west"], 40),
        np.repeat(np.array(["north", "south", None, "west"], object), 40),
        np.repeat([1.0, 2.0, np.nan, 3.0], 40),
    ],
    ids=["text", "object", "number"],
)
def test_districts_without_a_name_or_without_labels(names):
    labels = np.where(np.arange(160) < 120, 5, 0)  # none in the last
    data = _data(labels, district=names)
    config = dataclasses.replace(CONFIG, split="district")
    split = split_of(config, data, 0)
    first, second = map(str, names[[0, 40]])
    assert [fold.name for fold in split.folds] == [first, second]
    assert split.notes[1:] == (f"no label in {names[-1]}", "40 pixels of no district left out")
    nowhere = set(range(80, 120))
    for fold in split.folds:
        assert nowhere.isdisjoint(np.concatenate(fold[:3]))
        assert min(_labels(data, fold)) >= 10
    with pytest.raises(ValueError, match="district: got 1 with labels of 3, expected at least 2"):
        split_of(config, _data(np.where(labels.cumsum() <= 200, 5, 0), district=names), 0)


def test_cells_that_decide_hold_labels():
    """One 1 km cell of the other district has nearly all of its labels."""
    district = np.repeat(["a", "b"], 100)
    labels = np.where(np.arange(200) % 100 < 10, 40, np.where(np.arange(200) % 2 == 0, 1, 0))
    data = _data(labels, district=district)
    for seed in range(5):
        config = dataclasses.replace(CONFIG, split="district")
        for fold in split_of(config, data, seed).folds:
            training, validation, _ = _labels(data, fold)
            assert training >= 400
            assert validation >= 10


def test_a_cube_without_labels_is_told_what_needs_none():
    for split in ("blocks", "district", "season"):
        data = _data(np.zeros(64, int), np.repeat(np.arange(16), 4), np.repeat(["a", "b"], 32))
        config = dataclasses.replace(CONFIG, split=split)
        with pytest.raises(
            ValueError, match=r"S2ndvi: got no value in any pixel.*need none: s1jax"
        ):
            split_of(config, data, 0)


def test_tasks_that_cannot_be_scored_are_said(capsys):
    block = np.repeat(np.arange(16), 20)
    data = _data(np.ones(320, int), block)  # one label a pixel: hidden, none is kept
    split = split_of(CONFIG, data, 0)
    draw = head_to_head.draw_tasks(data, split, ("T1", "T2b", "T2e"), 0)
    usable = run._usable(data, split, draw)
    assert [*usable.masks] == [*usable.test_sets] == ["T1"]
    printed = capsys.readouterr().out
    assert "T2b is left out: got no hidden label to score in 80 test pixels" in printed
    with pytest.raises(ValueError, match="tasks: T2b: got no hidden label to score"):
        run._usable(data, split, draw._replace(masks={"T2b": draw.masks["T2b"]}))
