"""Pixels on a lattice by their places: rounded, bent, sparse, none; squares cut from it."""

import numpy as np
import pytest

from s1jax.networks.patch import holding, lattice, squares


def _grid(rows=12, columns=9, step=(50.0, 50.0), corner=(460_000.0, 9_230_000.0)):
    row, column = np.divmod(np.arange(rows * columns), columns)
    return np.stack([corner[0] + step[0] * column, corner[1] - step[1] * row], -1)


@pytest.mark.parametrize("step", [(50.0, 50.0), (10.0, 10.0), (12.5, 20.0), (49.77, 49.77)])
def test_cells_are_rows_from_the_north(step):
    place = _grid(step=step).astype(np.float32)
    found = lattice(place)
    np.testing.assert_array_equal(found.at, np.arange(108).reshape(12, 9))
    np.testing.assert_allclose(found.step, step, rtol=5e-3)
    order = np.random.default_rng(0).permutation(108)
    np.testing.assert_array_equal(order[lattice(place[order]).at], found.at)


def test_rounding_of_single_precision_does_not_add_up():
    place = _grid(600, 40, (49.77, 49.77)).astype(np.float32)
    # northings beyond 2^23 are whole metres
    assert (place[:, 1] % 1 == 0).all()
    np.testing.assert_array_equal(lattice(place).at, np.arange(24_000).reshape(600, 40))


def test_a_bent_grid_is_still_one():
    place = _grid(100, 120)
    place[:, 0] += 8.0 * ((place[:, 1] - place[:, 1].mean()) / np.ptp(place[:, 1]))
    np.testing.assert_array_equal(lattice(place).at, np.arange(12_000).reshape(100, 120))


def test_holes_are_told_and_a_single_row_is_a_lattice():
    place = np.delete(_grid(), [5, 17, 60], axis=0)
    at = lattice(place).at
    assert (at == 105).sum() == 3
    assert at[0, 5] == 105
    np.testing.assert_array_equal(np.sort(at[at < 105]), np.arange(105))
    line = lattice(_grid(1, 20))
    np.testing.assert_array_equal(line.at, np.arange(20)[None])
    np.testing.assert_allclose(line.step, 50.0)


def test_one_pixel_per_field_is_refused_and_the_reason_told():
    place = np.random.default_rng(0).uniform(0, 20_000, (300, 2))
    message = r"patches need neighbours: got 300 pixels of which only \d+ % have a neighbour"
    with pytest.raises(ValueError, match=message):
        lattice(place)
    with pytest.raises(ValueError, match="position: got none, expected metres east and north"):
        lattice(None)
    with pytest.raises(ValueError, match="got 1 pixels of which only 0 %"):
        lattice(place[:1])


def test_what_is_on_no_lattice_is_refused():
    turned = _grid() @ np.array([[0.8, -0.6], [0.6, 0.8]])
    with pytest.raises(ValueError, match=r"position: got 0\.\d+ steps off a lattice of"):
        lattice(turned)
    twice = np.concatenate([_grid(), _grid()[:1] + 1.0])
    with pytest.raises(ValueError, match="109 pixels in 108 cells of"):
        lattice(twice, np.array([50.0, 50.0]))


def test_a_known_step_serves_a_lone_pixel_and_refuses_another_lattice():
    known = np.array([50.0, 50.0])
    np.testing.assert_array_equal(lattice(_grid()[:1], known).at, [[0]])
    with pytest.raises(ValueError, match="108 pixels none of which has a neighbour 50 m off"):
        lattice(_grid(step=(100.0, 100.0)), known)
    with pytest.raises(ValueError, match=r"cells of|steps off"):
        lattice(_grid(step=(10.0, 10.0)), known)


@pytest.mark.parametrize("first", [(0, 0), (-4, 0), (0, -4), (-4, -4)])
def test_squares_of_a_round_hold_every_pixel_once(first):
    place = np.delete(_grid(13, 21), np.arange(50, 90), axis=0)
    grid = lattice(place)
    found = squares(grid, 8, stride=8, first=first)
    inside = found[found < grid.pixels]
    np.testing.assert_array_equal(np.sort(inside), np.arange(grid.pixels))
    assert (found < grid.pixels).any((1, 2)).all()
    for square in found:
        rows, columns = np.nonzero(square < grid.pixels)
        number = square[rows, columns]
        offset = (place[number] - place[number[0]]) / 50.0
        np.testing.assert_allclose(offset[:, 0], columns - columns[0], atol=1e-6)
        np.testing.assert_allclose(offset[:, 1], rows[0] - rows, atol=1e-6)


def test_regions_give_every_cell_in_every_place_of_a_patch():
    grid, side = lattice(_grid()), 4
    regions = squares(grid, 2 * side - 1, stride=side, first=(1 - side, 1 - side))
    count = np.zeros(grid.pixels + 1, int)
    for row in range(side):
        for column in range(side):
            np.add.at(count, regions[:, row : row + side, column : column + side].ravel(), 1)
    assert (count[:-1] == side**2).all()


def test_squares_that_hold_some():
    found = squares(lattice(_grid()), 4, stride=4, first=(0, 0))
    some = np.zeros(108, bool)
    some[[0, 107]] = True
    np.testing.assert_array_equal(np.flatnonzero(holding(found, some)), [0, len(found) - 1])
    assert not holding(found, ~some & some).any()
