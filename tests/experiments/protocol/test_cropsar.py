"""Patch models in the head to head: a withheld test label moves nothing."""

import dataclasses

import chex
import jax
import numpy as np
import pytest

from experiments.protocol import head_to_head
from experiments.protocol.config import PRESETS, complete
from experiments.protocol.data import Data
from experiments.protocol.head_to_head import methods
from experiments.protocol.splits import Fold, Split
from tests.worlds.patch import DATES, SIDE, SMALL, world

pytestmark = pytest.mark.slow

PIXELS = SIDE**2
ROW = np.arange(PIXELS) // SIDE
BLOCKS = tuple(np.flatnonzero(part) for part in (ROW < 12, (ROW >= 12) & (ROW < 16), ROW >= 16))
DRAWN = tuple(block[block % 4 != 1] for block in BLOCKS)
FOLD = Fold(*DRAWN, DRAWN[2] % 2, whole=BLOCKS)
CONFIG = complete(
    dataclasses.replace(
        PRESETS["quick"], methods=("cropsar",), tasks=("T1", "T2b"), cropsar=SMALL
    )
)  # fmt: skip
METHODS = [method for method in methods(CONFIG) if method.name == "cropsar"]


def _run(where=None, marker=0.987):
    """Learnt parameters, estimates by task and gaps of a head to head; labels marked somewhere."""
    series, truth = world()
    if where is not None:
        series.ndvi[where & series.ndvi_valid] = marker
    data = Data(series, truth)
    gaps = head_to_head.draw_masks(jax.random.key(3), CONFIG.tasks, data)
    learnt = {}
    found = head_to_head.head_to_head(
        jax.random.key(4), METHODS, data, Split((FOLD,), ()), gaps,
        on_fit=lambda name, fold, params: learnt.setdefault(name, params),
    )  # fmt: skip
    estimates = {task: estimate for _, task, estimate, _ in found}
    return learnt["cropsar"], estimates, gaps, truth


def test_hidden_test_labels_move_no_fit_and_no_estimate():
    params, estimates, gaps, _ = _run()
    where = np.zeros((PIXELS, DATES), bool)
    where[FOLD.test] = gaps["T2b"][FOLD.test]
    # labels of pixels that were not drawn are seen by nobody either
    where[np.setdiff1d(np.arange(PIXELS), np.concatenate(FOLD[:3]))] = True
    assert where.any()
    marked, told, _, _ = _run(where)
    chex.assert_trees_all_equal(params, marked)
    for task, estimate in told.items():
        for leaf, other in zip(estimate[:3], estimates[task][:3], strict=True):
            np.testing.assert_array_equal(leaf, other)
