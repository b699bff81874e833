"""Masks hide what their task says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import masks
from s1jax.types import Series

DAY = 19662.0 + 6.0 + 12.0 * np.arange(62)


def _series(pixels=400):
    rng = np.random.default_rng(0)
    valid = np.zeros((pixels, 62, 3), bool)
    valid[..., -1] = rng.random((pixels, 62)) < 0.5
    valid[:, [5, 6, 30], -1] = False
    value = np.zeros((pixels, 62, 3), np.float32)
    return Series(jnp.asarray(DAY, jnp.float32), value, valid)


def _gaps(task, *, simulated=True, key=0):
    return masks.gaps(jax.random.key(key), task, _series(), simulated=simulated)


def test_one_key_one_mask_another_key_another():
    for task in ("T2a", "T2b", "T2c", "T2e"):
        assert (_gaps(task) == _gaps(task)).all()
        assert (_gaps(task) != _gaps(task, key=1)).any()


def test_t1_hides_all_and_t2d_asks_for_what_is_missing():
    assert _gaps("T1").all()
    np.testing.assert_array_equal(_gaps("T2d"), ~_series().valid[..., -1])


def test_t2a_hides_a_fifth_of_labels_and_nothing_else():
    gap, valid = _gaps("T2a"), _series().valid[..., -1]
    assert not (gap & ~valid).any()
    assert gap.sum() / valid.sum() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(("task", "periods"), [("T2b", 5), ("T2c", 11)])
def test_windows_are_one_run_of_their_length_anywhere(task, periods):
    gap = _gaps(task, simulated=False)
    assert (gap.sum(1) == periods).all()
    assert (np.abs(np.diff(gap.astype(int), axis=1)).sum(1) <= 2).all()
    assert gap.any(0)[2:-2].all()


def test_t2c_of_a_simulation_lies_in_the_monsoon_of_either_year():
    gap = _gaps("T2c")
    date = np.datetime64("1970-01-01") + DAY.astype(int)
    month = date.astype("datetime64[M]").astype(int) % 12 + 1
    assert set(month[gap.any(0)]) <= {11, 12, 1, 2, 3, 4}
    assert (gap.sum(1) == 11).all()
    year_two = gap[:, 31:].any(1)
    assert 0.3 < year_two.mean() < 0.7


def test_t2e_hides_whole_dates_in_short_runs():
    gap, valid = _gaps("T2e"), _series().valid[..., -1]
    assert (gap == gap[:1]).all()
    hidden = gap[0]
    assert not hidden[[5, 6, 30]].any()
    assert hidden.sum() == round(0.2 * valid.any(0).sum())
    for key in range(40):
        labelled = valid.any(0)
        run = "".join(
            "x" if h else "." for h in masks.hidden_dates(jax.random.key(key), labelled)[labelled]
        )
        assert run.count("x") == round(0.2 * labelled.sum())
        assert "xxxx" not in run


def test_gap_days_count_what_is_missing():
    day = np.arange(8) * 12.0
    kept = np.array([[0, 1, 0, 0, 1, 0, 0, 0]], bool)
    found = masks.gap_days(day, kept)
    np.testing.assert_array_equal(found[0, [0, 2, 3, 5, 6, 7]], [12, 24, 24, 36, 36, 36])


def test_unknown_task_and_short_series_are_told():
    with pytest.raises(ValueError, match=r"task: got 'T3'"):
        _gaps("T3")
    with pytest.raises(ValueError, match=r"T2c: got no November to April"):
        masks.monsoon_window(jax.random.key(0), DAY[15:20], 3, 132.0)
