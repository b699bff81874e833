"""Splits keep what is tested away from what is learnt."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from experiments.protocol import splits


def _grid(ny, nx, metres):
    y, x = np.mgrid[:ny, :nx] * metres
    return np.stack([x.ravel(), y.ravel()], -1).astype(float)


def _apart(position, a, b):
    return cdist(position[a], position[b]).min()


@pytest.mark.parametrize("seed", range(3))
def test_blocks_are_a_buffer_apart(seed):
    position = _grid(40, 44, 250.0)
    split = splits.blocks(position, None, seed=seed)
    (fold,) = split.folds
    assert "2500 m, buffer 800 m" in split.notes[0]
    assert not set(fold.training) & set(fold.validation) | set(fold.training) & set(fold.test)
    assert _apart(position, fold.training, fold.test) >= 800
    assert _apart(position, fold.training, fold.validation) >= 800
    assert _apart(position, fold.validation, fold.test) >= 800
    cells = np.floor(position / 2500).astype(int)
    for cluster in np.unique(fold.cluster):
        pixels = fold.test[fold.cluster == cluster]
        assert len(np.unique(cells[pixels], axis=0)) == 1
    assert len(np.unique(fold.cluster)) == round(len(np.unique(cells, axis=0)) * 4 / 16)


def test_small_extent_falls_to_sixteen_blocks_and_says_so():
    position = _grid(32, 32, 20.0)
    split = splits.blocks(position, None, seed=0)
    (fold,) = split.folds
    assert "not independent" in split.notes[0]
    assert len(np.unique(fold.cluster)) == 4
    assert _apart(position, fold.training, fold.test) >= 155 / 8


def test_own_blocks_stay_whole_and_one_pixel_may_be_a_block():
    block = np.repeat(np.arange(20) * 7, 3)
    position = np.random.default_rng(0).uniform(0, 1e5, (60, 2))
    (fold,) = splits.blocks(position, block, seed=1).folds
    parts = [set(block[pixels]) for pixels in fold[:3]]
    assert not parts[0] & (parts[1] | parts[2])
    assert not parts[1] & parts[2]
    assert [len(p) for p in parts] == [13, 2, 5]


def test_points_on_a_line_have_blocks_too():
    position = np.stack([np.arange(40.0), np.zeros(40)], -1)
    (fold,) = splits.blocks(position, None, seed=0).folds
    assert min(len(pixels) for pixels in fold[:3]) > 0


def test_seeds_in_a_row_test_every_block():
    position = _grid(32, 32, 20.0)
    tested = [set(splits.blocks(position, None, seed=s).folds[0].cluster) for s in range(8)]
    for deal in (tested[:4], tested[4:]):
        assert len(set.union(*deal)) == sum(map(len, deal)) == 16
    assert tested[0] != tested[4]


def test_district_leaves_each_out_and_shares_no_cell():
    rng = np.random.default_rng(0)
    position = np.concatenate([rng.uniform(0, 5e3, (80, 2)), rng.uniform(4e4, 4.5e4, (40, 2))])
    district = np.repeat(["north", "south"], [80, 40])
    split = splits.district(position, district, seed=0)
    assert [fold.name for fold in split.folds] == ["north", "south"]
    cell = np.floor((position - position.min(0)) / 1000).astype(int)
    clusters = []
    for fold in split.folds:
        assert set(district[fold.test]) == {fold.name}
        assert fold.name not in set(district[fold.training]) | set(district[fold.validation])
        cells = [set(map(tuple, cell[p])) for p in (fold.training, fold.validation)]
        assert not cells[0] & cells[1]
        assert fold.test.size == (district == fold.name).sum()
        clusters.append(set(fold.cluster))
    assert not clusters[0] & clusters[1]


def test_season_trains_on_year_one_and_tests_the_rest_elsewhere():
    position, day = _grid(40, 44, 250.0), 19668 + 12.0 * np.arange(62)
    (fold,) = splits.season(position, day, None, seed=0).folds
    assert day[fold.training_time].max() < day[0] + 365.25 <= day[fold.test_time].min()
    assert _apart(position, fold.training, fold.test) >= 800


def test_bad_input_is_told():
    position = _grid(8, 8, 100.0)
    with pytest.raises(ValueError, match=r"district: got 1, expected at least 2"):
        splits.district(position, np.zeros(64, int), seed=0)
    with pytest.raises(ValueError, match=r"season: got 360 days"):
        splits.season(position, np.arange(0.0, 361.0, 12.0), None, seed=0)
    with pytest.raises(ValueError, match=r"pixels: got 4"):
        splits.blocks(position[:4], None, seed=0)
    with pytest.raises(ValueError, match=r"blocks: got 2 with pixels"):
        splits.blocks(position, np.repeat([0, 1], 32), seed=0)
