"""Figures of an examination hold the numbers they were given."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from s1jax import plots

RNG = np.random.default_rng(0)
DAY = 19662.0 + 12.0 * np.arange(20)


def _quantiles(middle):
    spread = np.array([-2, -1, 0, 1, 2]) * 0.1
    quantiles = np.asarray(middle)[:, None] + spread
    quantiles[4] = np.nan
    return quantiles


@pytest.fixture
def record():
    seen = np.ones((20, 2))
    seen[4] = 0.0
    seen[7, 1] = 0.02
    middle = RNG.uniform(0, 1, 20)
    return middle, plots.record(
        DAY, _quantiles(middle), _quantiles(middle - 10), _quantiles(middle - 17), seen
    )


def test_the_record_holds_medians_of_the_dates_that_are_seen(record):
    middle, figure = record
    labels, radar, there = figure.axes
    (line,) = labels.get_lines()
    # nothing was seen on the fifth date, two pixels in a hundred on the eighth
    np.testing.assert_allclose(line.get_ydata(), np.delete(middle, [4, 7]))
    names = [text.get_text() for text in radar.get_legend().get_texts()]
    assert names == ["VV", "VH"]
    for line, level in zip(radar.get_lines(), (-10, -17), strict=True):
        np.testing.assert_allclose(line.get_ydata(), np.delete(middle + level, 4))
    points = {line.get_label(): line.get_ydata() for line in there.get_lines()}
    np.testing.assert_allclose(points["radar"], np.full(19, 100.0))
    assert sorted(points["label"])[0] == pytest.approx(2.0)
    assert len(points["label"]) == 19
    assert len(plots.png(figure)) > 10_000


def test_bands_lie_about_the_median(record):
    middle, figure = record
    outer, inner = figure.axes[0].collections
    for band, half in ((outer, 0.2), (inner, 0.1)):
        y = band.get_paths()[0].vertices[:, 1]
        kept = np.delete(middle, [4, 7])
        assert y.max() == pytest.approx(kept.max() + half)
        assert y.min() == pytest.approx(kept.min() - half)


def test_label_levels_hold_pixels_months_and_limits():
    highest = RNG.uniform(0.3, 0.6, 500)
    count = RNG.integers(0, 50, (12, 12))
    edge = np.round(np.arange(-0.2, 1.05, 0.1), 1)
    limits = {"with the offset": 0.66, "in L1C": 0.76}
    figure = plots.label_levels(highest, count, edge, limits=limits)
    left, right, _ = figure.axes
    assert sum(bar.get_height() for bar in left.patches) == 500
    assert [line.get_xdata()[0] for line in left.get_lines()] == [0.66, 0.76]
    assert [t.get_text() for t in left.get_legend().get_texts()] == list(limits)
    (mesh,) = right.collections
    np.testing.assert_allclose(
        np.asarray(mesh.get_array()).reshape(12, 12), 100 * count.T / count.sum()
    )
    assert [t.get_text() for t in right.get_xticklabels()] == list("JFMAMJJASOND")
    empty = plots.label_levels(np.zeros(0), np.zeros((12, 12), int), edge)
    assert empty.axes[0].get_legend() is None


def test_stage_bars_hold_the_correlations():
    r = RNG.uniform(-1, 1, (5, 3))
    r[4] = np.nan
    stages, features = ("flooded", "bare", "growing", "full", "ripening"), ("VV", "VH", "VH - VV")
    figure = plots.stage_bars(r, np.array([5, 60, 7000, 80, 0]), stages, features)
    (axes,) = figure.axes
    for bars, feature in zip(axes.containers, r.T, strict=True):
        np.testing.assert_allclose([b.get_height() for b in bars], np.nan_to_num(feature))
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert ticks[2] == "growing\nn 7,000"
    assert len({to_hex(bars[0].get_facecolor()) for bars in axes.containers}) == 3


def test_expectation_holds_scores_intervals_and_offsets():
    scores = {"one date": (0.4, 0.3, 0.5), "window": (0.7, 0.6, 0.75)}
    offset = np.array([0.0, 1, 1, 2, 9, np.inf])
    figure = plots.expectation(scores, 0.9, offset)
    left, right = figure.axes
    assert [bar.get_height() for bar in left.patches] == [0.4, 0.7]
    spans = [line.get_ydata() for line in left.get_lines()]
    assert [list(s) for s in spans[:2]] == [[0.3, 0.5], [0.6, 0.75]]
    assert list(spans[2]) == [0.9, 0.9]
    assert "0.90" in left.get_legend().get_texts()[0].get_text()
    assert sum(bar.get_height() for bar in right.patches) == 5
    assert {line.get_xdata()[0] for line in right.get_lines()} == {3, 7}


def test_what_is_not_known_is_not_drawn():
    figure = plots.expectation({}, float("nan"), np.zeros(0))
    left, right = figure.axes
    assert left.get_legend() is None
    assert not left.patches
    assert right.texts[0].get_text() == "not in this cube"
    # a score below zero stays in the picture
    low = plots.expectation({"one date": (-0.4, -0.6, -0.1)}, 0.5, np.zeros(0)).axes[0]
    assert low.get_ylim()[0] == pytest.approx(-0.6)
