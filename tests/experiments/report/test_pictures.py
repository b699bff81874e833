"""What a report shows is what was estimated."""

import numpy as np
import pytest
import xarray as xr

from experiments.protocol import scoring
from experiments.protocol.data import Data
from experiments.protocol.splits import Fold, Split
from experiments.report import pictures
from s1jax.types import Estimate
from tests.worlds.mogpr import series_of

Y, X, T = 6, 5, 10
DAY = 19668 + 12.0 * np.arange(T)


def _shown(errors):
    rng = np.random.default_rng(0)
    pixel = np.sort(rng.permutation(Y * X)[:20])
    test = np.arange(8, 20)
    truth = rng.uniform(0, 0.9, (12, T))
    mask = np.zeros((12, T), bool)
    mask[:, [2, 3, 7, 8]] = True
    test_set = scoring.TestSet(DAY, truth, truth, ~mask, {"labels": mask, "truth": mask},
                               np.zeros(12, int), np.zeros(12, int), ("all",), 0)  # fmt: skip
    fold = Fold(np.arange(4), np.arange(4, 8), test, np.zeros(12, int))
    value, position = np.zeros((20, T, 3)), rng.uniform(0, 9, (20, 2))
    series = series_of(DAY, value, np.ones((20, T, 3), bool), position=position)
    coords = {"y": 100.0 - 10 * np.arange(Y), "x": 1000.0 + 10 * np.arange(X)}
    ds = xr.Dataset({"S2ndvi": (("t", "y", "x"), np.zeros((T, Y, X)))}, coords)
    rows = [
        {"method": name, "task": "T2e", "against": side, "rmse": error, "r2": 1 - error}
        for name, error in errors.items()
        for side in ("truth", "labels")
    ]
    ramp = np.linspace(0.1, 1, 12)[:, None]
    estimates = {
        (name, "T2e"): Estimate(truth + error * ramp, np.full(truth.shape, 0.1), np.zeros(12))
        for name, error in errors.items()
    }
    split, test_sets = Split((fold,), ()), {"T2e": test_set}
    data = Data(series, truth)
    return pictures.FigureData(data, pixel, ds, split, test_sets, rows, estimates, {})


ERRORS = {"linear": 0.01, "mlp3": 0.3, "mogpr": 0.2, "boosting": 0.1}


@pytest.fixture
def shown():
    return _shown(ERRORS)


def test_best_is_no_yardstick_unless_there_is_nothing_else(shown):
    assert shown.best("T2e") == "boosting"
    assert _shown({"linear": 0.3, "climatology": 0.2}).best("T2e") == "climatology"


def test_six_pixels_run_from_the_best_to_the_worst(shown):
    six = pictures._six(shown.test_sets["T2e"], shown.estimates["mogpr", "T2e"], "truth")
    assert six.size == 6
    assert (np.diff(six) > 0).all()  # the error grows with the pixel's number
    assert six[0] <= 1
    assert six[-1] >= 10


def test_maps_are_of_the_best_and_of_mogpr_on_hidden_dates(shown):
    section = pictures._maps(shown)
    assert [p.name for p in section.parts] == ["maps-boosting-T2e", "maps-mogpr-T2e"]
    assert all(p.png.startswith(b"\x89PNG") for p in section.parts)


def test_raster_puts_each_value_at_its_place_and_extent_holds_them(shown):
    pixel = np.array([7, 8, 13])
    values = np.array([[1.0, 2], [3, 4], [5, 6]])
    grid = pictures._raster(values, pixel, shown.ds)
    assert grid.shape == (2, Y, X)
    assert grid[1, 1, 2] == 2
    assert grid[0, 2, 3] == 5
    assert np.isnan(grid).sum() == 2 * (Y * X - 3)
    rows, columns, (y, x) = pictures._extent(pixel, shown.ds)
    assert np.isfinite(grid[:, rows, columns]).sum() == 6
    np.testing.assert_array_equal(y, [90, 80])
    np.testing.assert_array_equal(x, [1020, 1030])


def test_classic_section_shows_each_network_with_its_own_score(shown):
    section = pictures._classic(shown)
    text = " ".join(part for part in section.parts if isinstance(part, str))
    assert "mlp3, T2e" in text
    assert "GOOD: R2 = 0.7000 (0.5 - 0.7)" in text
    assert "EXCELLENT: R2 = 0.8000" in text
    assert "linear" not in text


def test_single_precision_keeps_values(shown):
    full = shown.estimates["mogpr", "T2e"]
    light = pictures.in_single_precision(full)
    assert light.mean.dtype == np.float32
    np.testing.assert_allclose(light.mean, full.mean, rtol=1e-6)
