"""Masks hide what their task says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.protocol import tasks
from tests.worlds.mogpr import series_of

DAY = 19662.0 + 6.0 + 12.0 * np.arange(62)


def _series(pixels=400):
    rng = np.random.default_rng(0)
    valid = np.zeros((pixels, 62, 3), bool)
    valid[..., -1] = rng.random((pixels, 62)) < 0.5
    valid[:, [5, 6, 30], -1] = False
    value = np.zeros((pixels, 62, 3), np.float32)
    return series_of(jnp.asarray(DAY, jnp.float32), value, valid)


def _mask(task, *, simulated=True, key=0):
    return tasks.draw_mask(jax.random.key(key), task, _series(), simulated=simulated)


def test_one_key_one_mask_another_key_another():
    for task in ("T2a", "T2b", "T2c", "T2e"):
        assert (_mask(task) == _mask(task)).all()
        assert (_mask(task) != _mask(task, key=1)).any()


def test_t1_hides_all_and_t2d_asks_for_what_is_missing():
    assert _mask("T1").all()
    np.testing.assert_array_equal(_mask("T2d"), ~_series().ndvi_valid)


def test_t2a_hides_a_fifth_of_labels_and_nothing_else():
    mask, valid = _mask("T2a"), _series().ndvi_valid
    assert not (mask & ~valid).any()
    assert mask.sum() / valid.sum() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(("task", "periods"), [("T2b", 5), ("T2c", 11)])
def test_windows_are_one_run_of_their_length_anywhere(task, periods):
    mask = _mask(task, simulated=False)
    assert (mask.sum(1) == periods).all()
    assert (np.abs(np.diff(mask.astype(int), axis=1)).sum(1) <= 2).all()
    assert mask.any(0)[2:-2].all()


def test_t2c_of_a_simulation_lies_in_the_monsoon_of_either_year():
    mask = _mask("T2c")
    date = np.datetime64("1970-01-01") + DAY.astype(int)
    month = date.astype("datetime64[M]").astype(int) % 12 + 1
    assert set(month[mask.any(0)]) <= {11, 12, 1, 2, 3, 4}
    assert (mask.sum(1) == 11).all()
    year_two = mask[:, 31:].any(1)
    assert 0.3 < year_two.mean() < 0.7


def test_t2e_hides_whole_dates_in_short_runs():
    mask, valid = _mask("T2e"), _series().ndvi_valid
    assert (mask == mask[:1]).all()
    hidden = mask[0]
    assert not hidden[[5, 6, 30]].any()
    assert hidden.sum() == round(0.2 * valid.any(0).sum())
    for key in range(40):
        labelled = valid.any(0)
        run = "".join(
            "x" if h else "." for h in tasks.hidden_dates(jax.random.key(key), labelled)[labelled]
        )
        assert run.count("x") == round(0.2 * labelled.sum())
        assert "xxxx" not in run


def test_gap_days_count_what_is_missing():
    day = np.arange(8) * 12.0
    kept = np.array([[0, 1, 0, 0, 1, 0, 0, 0]], bool)
    found = tasks.gap_days(day, kept)
    np.testing.assert_array_equal(found[0, [0, 2, 3, 5, 6, 7]], [12, 24, 24, 36, 36, 36])


def test_unknown_task_and_short_series_are_told():
    with pytest.raises(ValueError, match=r"task: got 'T3'"):
        _mask("T3")
    with pytest.raises(ValueError, match=r"T2c: got no November to April"):
        tasks.monsoon_window(jax.random.key(0), DAY[15:20], 3, 132.0)
