"""Figures hold the numbers they were given, in the right panel, and keep no global state."""

import io

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.dates import num2date
from sklearn.metrics import r2_score

from s1jax import plots

METHODS = ("climatology", "linear", "knn_space", "mlp10", "a_new_method")
LEVELS = [name for *_, name in plots.NDVI_RANGES]


def _cells(generator, names):
    return {
        name: {
            "mae": float(generator.uniform(0.05, 0.2)),
            "bias": float(generator.normal(0, 0.05)),
            "n": 40 if k == 0 else 4000,
        }
        for k, name in enumerate(names)
    }


def _row(generator, method, task, against, k):
    r2, rmse = 0.3 + 0.1 * k, 0.2 - 0.01 * k
    return {
        "method": method,
        "task": task,
        "against": against,
        "r2": r2,
        "rmse": rmse,
        "coverage90": 0.8 + 0.03 * k,
        "ci95": {
            "r2": [r2 - 0.05, r2 + 0.04],
            "rmse_minus_best_yardstick": [rmse - 0.19, rmse - 0.17],
        },
        "strata": {
            "gap_days": _cells(generator, ["> 60", "<= 60", "<= 12", "<= 24"]),
            "month": _cells(generator, [f"{m:02d}" for m in range(12, 0, -1)]),
            "ndvi": _cells(generator, LEVELS[::-1]),
        },
    }


@pytest.fixture
def rows():
    generator = np.random.default_rng(0)
    return [
        _row(generator, method, task, against, k)
        for k, method in enumerate(METHODS)
        for task in ("T2a", "T1")
        for against in ("labels", "truth")
        if (method, task) != ("linear", "T1") and (task, against) != ("T2a", "truth")
    ]


def _find(rows, method, task, against):
    (row,) = [r for r in rows if (r["method"], r["task"], r["against"]) == (method, task, against)]
    return row


def _lines(axes, label):
    return [line for line in axes.lines if line.get_label() == label]


def _ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


@pytest.mark.parametrize(
    ("name", "order", "ticks"),
    [
        ("gap_days", ["<= 12", "<= 24", "<= 60", "> 60"], None),
        ("month", [f"{m:02d}" for m in range(1, 13)], list("JFMAMJJASOND")),
        ("ndvi", LEVELS, None),
    ],
)
def test_strata_are_in_order_and_hold_the_rows_numbers(rows, name, order, ticks):
    figure = plots.by_stratum(rows, name, against="labels")
    panels = np.array(figure.axes).reshape(2, 2)
    assert [axes.get_title(loc="left")[:3].strip(":") for axes in panels[0]] == ["T1", "T2a"]
    assert _ticks(panels[1, 0].xaxis) == (ticks or order)
    for column, task in zip(panels.T, ("T1", "T2a"), strict=True):
        for axes, score in zip(column, ("mae", "bias"), strict=True):
            for method in METHODS:
                if (method, task) == ("linear", "T1"):
                    assert not _lines(axes, method)
                    continue
                (line,) = _lines(axes, method)
                cells = _find(rows, method, task, "labels")["strata"][name]
                np.testing.assert_array_equal(line.get_ydata(), [cells[b][score] for b in order])
                np.testing.assert_array_equal(line.get_xdata(), np.arange(len(order)))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(METHODS)


def test_bins_of_few_values_have_hollow_marks(rows):
    axes = plots.by_stratum(rows, "gap_days").axes[0]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert len(hollow) == len(METHODS) - 1
    assert all(line.get_xdata().tolist() == [3] for line in hollow)  # "> 60" was given n = 40


def test_a_stratum_nobody_has_is_refused(rows):
    with pytest.raises(ValueError, match="direction"):
        plots.by_stratum(rows, "direction")
    with pytest.raises(ValueError, match="T9"):
        plots.intervals(rows, "T9")
    with pytest.raises(ValueError, match="rows"):
        plots.overview([])


@pytest.mark.parametrize(
    ("draw", "score"), [(plots.overview, "r2"), (plots.coverage, "coverage90")]
)
def test_overview_and_coverage_place_each_row(rows, draw, score):
    figure = draw(rows)
    assert figure.get_figwidth() == 9
    panels = dict(
        zip(
            [("truth", "T1"), ("truth", "T2a"), ("labels", "T1"), ("labels", "T2a")],
            figure.axes,
            strict=True,
        )
    )
    assert [text.get_text() for text in panels["truth", "T2a"].texts] == ["no score"]
    assert _ticks(figure.axes[0].yaxis) == list(METHODS)
    for (against, task), axes in panels.items():
        marks = {
            (line.get_xdata()[0], line.get_ydata()[0])
            for line in axes.lines
            if len(line.get_xdata()) == 1
        }
        wanted = {
            (row[score], METHODS.index(row["method"]))
            for row in rows
            if (row["task"], row["against"]) == (task, against)
        }
        assert marks == wanted


def test_intervals_are_drawn_as_given_with_the_best_yardstick(rows):
    figure = plots.intervals(rows, "T1")
    left, right = figure.axes[:2]
    # linear has no row in T1, so the best yardstick of truth is knn_space
    assert "knn_space" in right.get_title(loc="right")
    dotted = [line for line in left.lines if line.get_linestyle() == ":"]
    best = _find(rows, "knn_space", "T1", "truth")
    assert dotted[0].get_xdata()[0] == best["r2"]
    spans = {tuple(part.get_segments()[0][:, 0]) for part in left.collections}
    assert spans == {
        tuple(r["ci95"]["r2"]) for r in rows if (r["task"], r["against"]) == ("T1", "truth")
    }
    (mark,) = _lines(right, "mlp10")
    row = _find(rows, "mlp10", "T1", "truth")
    assert mark.get_xdata()[0] == row["rmse"] - best["rmse"]
    assert left.get_xlim()[1] > max(r["ci95"]["r2"][1] for r in rows if r["task"] == "T1")


def test_a_hopeless_r2_is_written_at_the_edge_and_hides_nobody(rows):
    bad = rows[0] | {"r2": -7.3, "ci95": rows[0]["ci95"] | {"r2": [-9.0, -6.0]}}
    figure = plots.overview([bad, *rows[1:]])
    assert min(axes.get_xlim()[0] for axes in figure.axes) == -0.5
    assert "-7.3" in [text.get_text() for axes in figure.axes for text in axes.texts]


def test_styles_are_fixed_and_distinct():
    assert len(set(plots.METHODS.values())) == len(plots.METHODS)
    assert plots.method_style("mogpr") == plots.METHODS["mogpr"]
    spare = plots.method_style("a_new_method")
    assert spare == plots.method_style("a_new_method")
    assert spare not in plots.METHODS.values()


def test_best_epoch_is_marked_on_both_axes():
    validation = np.array([1.0, 0.6, np.nan, 0.5, 0.7])
    figure = plots.loss_curves(np.linspace(1, 0.2, 5), validation)
    assert [axes.get_yscale() for axes in figure.axes] == ["linear", "log"]
    for axes in figure.axes:
        (mark,) = [line for line in axes.lines if line.get_marker() == "o"]
        assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (4, 0.5)
        np.testing.assert_array_equal(_lines(axes, "validation")[0].get_ydata(), validation)
    assert plots.loss_curves(-validation, -validation).axes[1].get_yscale() == "symlog"
    with pytest.raises(ValueError, match="none finite"):
        plots.loss_curves(validation, np.full(5, np.nan))


@pytest.fixture
def samples():
    generator = np.random.default_rng(1)
    truth = np.clip(generator.normal(0.35, 0.25, (60, 40)), -1, 1)
    truth[:2] = 1.0  # the upper end belongs to the last range
    truth[truth < 0] = 0.1
    truth[3, :30] = np.linspace(-0.6, -0.4, 30)  # 30 values: too few to show
    estimate = np.clip(truth + generator.normal(0.02, 0.1, truth.shape), -1, 1)
    valid = generator.random(truth.shape) < 0.8
    return truth.astype(np.float32), np.where(valid, estimate, np.nan).astype(np.float32), valid


def test_ranges_equal_scikit_learn(samples):
    truth, estimate, valid = samples
    scores = plots.scores_by_range(truth, estimate, valid)
    assert set(scores) == set(LEVELS) - {"Water/Bare"}
    for low, high, name in plots.NDVI_RANGES[1:]:
        inside = valid & (truth >= low) & ((truth < high) | (high == 1.0))
        t, e = truth[inside].astype(float), estimate[inside].astype(float)
        assert scores[name]["n"] == inside.sum()
        np.testing.assert_allclose(scores[name]["r2"], r2_score(t, e), rtol=1e-9)
        np.testing.assert_allclose(scores[name]["mae"], np.abs(e - t).mean(), rtol=1e-9)
        np.testing.assert_allclose(scores[name]["bias"], (e - t).mean(), rtol=1e-7)


def test_classic_panels_show_every_valid_sample_once(samples):
    truth, estimate, valid = samples
    figure = plots.classic_panels(truth, estimate, valid)
    axes = {a.get_title(loc="left").split(" =")[0]: a for a in figure.axes}
    n = int(valid.sum())
    assert len(axes["R²"].collections[0].get_offsets()) == n
    assert f"n = {n:,}" in axes["R²"].get_title(loc="left")
    assert sum(bar.get_height() for bar in axes["MAE"].patches) == n
    low = axes["density"].get_xlim()[0]  # a thousandth of the samples may lie below the panel
    inside = (truth[valid] >= low) & (estimate[valid] >= low)
    assert inside.sum() >= 0.995 * n
    assert axes["density"].collections[0].get_array().sum() == inside.sum()
    residual = axes["residuals against truth"].collections[0].get_offsets()
    np.testing.assert_allclose(
        np.sort(residual[:, 1]), np.sort((estimate.astype(float) - truth)[valid])
    )
    overall = r2_score(truth[valid], estimate[valid])
    assert f"{overall:.3f}" in axes["R²"].get_title(loc="left")


def test_r2_by_range_is_marked_and_an_empty_range_is_absent(samples):
    figure = plots.classic_panels(*samples)
    scores = plots.scores_by_range(*samples)
    texts = [t.get_text() for t in figure.findobj(mpl.text.Text)]
    assert any("ill-posed: truth's variance is removed by the selection" in text for text in texts)
    for title, score in (("R² by range", "r2"), ("MAE by range", "mae")):
        (axes,) = [a for a in figure.axes if a.get_title(loc="left") == title]
        widths = [bar.get_width() for bar in axes.patches]
        np.testing.assert_allclose(widths, [scores[n][score] for n in LEVELS if n in scores])
        assert axes.texts[0].get_text() == " absent"
    with pytest.raises(ValueError, match="no valid sample"):
        plots.classic_panels(samples[0], samples[1], np.zeros_like(samples[2]))


def _scene(lines, columns):
    truth = np.random.default_rng(2).uniform(0, 0.9, (3, lines, columns))
    truth[0, 0, 0] = np.nan
    return truth, truth + 0.1, np.full_like(truth, 0.05)


def test_maps_share_scales_and_stand_at_their_coordinates():
    truth, estimate, std = _scene(5, 7)
    x, y = 450_000.0 + 20 * np.arange(7), 9_250_000.0 - 20 * np.arange(5)
    figure = plots.maps(truth, estimate, std, x, y, np.array([0.0, 365.0, 19_700.0]))
    panels = np.array(figure.axes[:12]).reshape(3, 4)
    meshes = [[a.findobj(QuadMesh)[0] for a in line] for line in panels]
    assert len({mesh.get_clim() for line in meshes for mesh in line[:2]}) == 1
    np.testing.assert_allclose([line[2].get_clim() for line in meshes], [(-0.1, 0.1)] * 3)
    np.testing.assert_allclose(np.ma.filled(meshes[1][2].get_array(), np.nan), 0.1)
    assert meshes[0][2].get_array().mask[0, 0]
    east, north = meshes[0][0].get_coordinates()[0, 0]
    np.testing.assert_allclose((east, north), (449.99, 9250.01))
    assert [a.get_ylabel()[:10] for a in panels[:, 0]] == ["1970-01-01", "1971-01-01", "2023-12-09"]
    assert all(a.get_aspect() == 1 for a in panels.flat)


def test_maps_thin_large_grids_and_know_degrees():
    truth, estimate, std = _scene(3, 900)
    x, y = 106 + 1e-4 * np.arange(900), -60 + 1e-4 * np.arange(3)
    figure = plots.maps(truth, estimate, std, x, y, np.arange(3), unit="degree")
    assert figure.axes[0].findobj(QuadMesh)[0].get_array().shape == (3, 300)
    np.testing.assert_allclose(figure.axes[0].get_aspect(), 2.0, rtol=1e-3)  # 1 / cos 60
    with pytest.raises(ValueError, match="unit"):
        plots.maps(truth, estimate, std, x, y, np.arange(3), unit="feet")
    with pytest.raises(ValueError, match="no finite"):
        plots.maps(truth, estimate * np.nan, std, x, y, np.arange(3))


def test_maps_of_points_draw_each_once_coloured_or_grey():
    truth, estimate, std = (a[:, 0] for a in _scene(1, 9))
    x, y = np.arange(9) * 1000.0, np.arange(9)[::-1] * 500.0
    figure = plots.maps(truth, estimate, std, x, y, np.arange(3))
    grey, coloured = figure.axes[0].findobj(PathCollection)
    np.testing.assert_array_equal(grey.get_offsets(), [[0, 4]])
    np.testing.assert_allclose(coloured.get_offsets()[:, 0], np.arange(1, 9))
    np.testing.assert_array_equal(coloured.get_array(), truth[0, 1:])


@pytest.mark.parametrize("noise", [0.0, np.float32(0.04)])
def test_series_bands_and_marks(noise):
    generator = np.random.default_rng(3)
    day = np.arange(19_000, 19_120, 12)
    label, mean = generator.random((6, 10)), generator.random((6, 10))
    std = np.full((6, 10), 0.03)
    valid, hidden = generator.random((2, 6, 10)) < 0.6
    figure = plots.pixel_series(day, label, valid, hidden, mean, mean, std, noise)
    for pixel, axes in enumerate(figure.axes):
        (seen,), (gone,) = _lines(axes, "label, seen"), _lines(axes, "label, hidden")
        np.testing.assert_array_equal(seen.get_ydata(), label[pixel][(valid & ~hidden)[pixel]])
        np.testing.assert_array_equal(gone.get_ydata(), label[pixel][(valid & hidden)[pixel]])
        bands = {b.get_label(): b.get_paths()[0].vertices for b in axes.collections}
        inner = bands["90 % band of NDVI"][:, 1]
        np.testing.assert_allclose(inner.max(), (mean[pixel] + 1.6448536 * 0.03).max(), rtol=1e-6)
        assert ("90 % band of an observation" in bands) == (noise > 0)
        if noise > 0:
            outer = bands["90 % band of an observation"][:, 1]
            top = (mean[pixel] + 1.6448536 * 0.05).max()  # hypot(.03, .04)
            np.testing.assert_allclose(outer.max(), top, rtol=1e-6)
    start = num2date(figure.axes[0].convert_xunits(_lines(axes, "estimate")[0].get_xdata()[0]))
    assert start.date().isoformat() == "2022-01-08"


def test_series_without_truth_has_no_truth_line_and_needs_a_pixel():
    one = np.zeros((1, 4))
    no = one.astype(bool)
    figure = plots.pixel_series(np.arange(4), one, no, no, None, one, one + 0.1, 0.0)
    assert not _lines(figure.axes[0], "truth")
    assert figure.axes[0].get_title(loc="left") == "pixel 1"
    with pytest.raises(ValueError, match="no pixel"):
        plots.pixel_series(np.arange(4), *(a[:0] for a in (one, no, no)), None, one[:0], one[:0], 0)


def test_png_is_deterministic_and_leaves_no_global_state(rows):
    before = dict(mpl.rcParams)
    first, second = (plots.png(plots.overview(rows)) for _ in range(2))
    assert first == second
    assert mpl.image.imread(io.BytesIO(first)).shape[1] == 990
    assert dict(mpl.rcParams) == before
