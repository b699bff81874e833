"""Bars of importance hold the rows' numbers, in their order."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_hex

from s1jax import plots

NAMES = {"group": ("radar", "VV", "own NDVI", "days around"), "lag": ("-1", "0", "+1", "further")}


@pytest.fixture
def rows():
    generator = np.random.default_rng(0)
    return [
        {
            "dataset": dataset,
            "task": task,
            "against": against,
            "kind": kind,
            "name": name,
            "rmse_rise": float(generator.normal(0.05, 0.05)),
            "rmse_se": float(generator.uniform(0.001, 0.01)),
        }
        for dataset in ("scene", "points")
        for task in ("T1", "T2b")
        for against in ("labels", "truth")
        for kind, names in NAMES.items()
        for name in names
        if (task, name) != ("T1", "own NDVI") and (dataset, against) != ("points", "truth")
    ]


def _of(rows, **wanted):
    return [row for row in rows if wanted.items() <= row.items()]


def _ticks(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def test_bars_hold_the_numbers(rows):
    figure = plots.importance(rows)
    panels = np.array(figure.axes).reshape(2, 2)
    for line, dataset in zip(panels, ("scene", "points"), strict=True):
        for axes, (kind, names) in zip(line, NAMES.items(), strict=True):
            assert dataset in axes.get_title(loc="left")
            # of T1, which lacks one, too: where T2b has it
            assert _ticks(axes) == list(names)
            for bars, task in zip(axes.containers[1::2], ("T1", "T2b"), strict=True):
                wanted = _of(rows, dataset=dataset, kind=kind, task=task, against="labels")
                heights = [bar.get_height() for bar in bars]
                np.testing.assert_allclose(heights, [row["rmse_rise"] for row in wanted])
                centres = [bar.get_x() + bar.get_width() / 2 for bar in bars]
                index = [names.index(row["name"]) for row in wanted]
                assert np.rint(centres).astype(int).tolist() == index
                (lines,) = bars.errorbar.lines[2]
                reach = [np.ptp(path.vertices[:, 1]) / 2 for path in lines.get_paths()]
                np.testing.assert_allclose(reach, [row["rmse_se"] for row in wanted])
    assert len(plots.png(figure)) > 1000


def test_a_task_has_one_colour_and_bars_do_not_overlap(rows):
    figure = plots.importance(rows, against="truth")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["T1: no NDVI", "T2b: 60 days"]
    wanted = [to_hex(patch.get_facecolor()) for patch in legend.get_patches()]
    assert len(figure.axes) == 2
    for axes in figure.axes:
        bars = [bar for bar in axes.patches if bar.get_width()]
        assert {to_hex(bar.get_facecolor()) for bar in bars} == set(wanted)
        ends = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars)
        assert all(a[1] <= b[0] + 1e-9 for a, b in pairwise(ends))


def test_nothing_to_draw_is_refused(rows):
    with pytest.raises(ValueError, match="against: got no row scored against 'truth'"):
        plots.importance(_of(rows, against="labels"), against="truth")
