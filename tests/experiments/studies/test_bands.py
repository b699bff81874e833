"""What bands hold, told of planted errors: the shares and the factor that is needed are known."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import norm

from experiments.protocol import data as datasets
from experiments.protocol.config import Config
from experiments.protocol.head_to_head import Method
from experiments.studies import bands
from experiments.studies.bands import BandsConfig
from s1jax.estimators import TRANSFER_INFLATION, Calibration, apply
from s1jax.simulate import SceneConfig
from s1jax.types import Estimate, Estimator

pytestmark = pytest.mark.slow

SMALL = Config(
    scene=SceneConfig(height=32, width=36), training_pixels=60, validation_pixels=30, test_pixels=80
)
SPREAD, FACTOR, FLOOR = 0.05, (1.5, 2.0), 0.03


@dataclass
class _Params:
    calibration: Calibration
    mixture: np.ndarray


def _planted(found, claimed):
    """A method that errs from the truth by N(0, SPREAD) and tells `claimed` before its band."""
    place = np.asarray(found.data.series.position)
    of = {tuple(where): k for k, where in enumerate(place)}
    error = np.random.default_rng(0).normal(0.0, SPREAD, found.data.truth.shape)

    def _predict(params, series, days):
        pixel = [of[tuple(where)] for where in np.asarray(series.position)]
        known = np.asarray(series.ndvi_valid).any(1)
        std = np.full((len(pixel), len(days)), claimed)
        told = Estimate((found.data.truth + error)[pixel], std, np.zeros(len(pixel)))
        return apply(params.calibration, told, known)

    hold = Calibration(np.asarray(FACTOR), np.full(2, FLOOR), np.full(2, 0.02))
    params = _Params(hold, np.full(2, 2.0, np.float32))
    return Method("cnp", Estimator(lambda *_: params, _predict), bands.TASKS)


@pytest.mark.parametrize("transfer", [False, True])
def test_shares_of_planted_errors(transfer, monkeypatch):
    found = datasets.dataset("sim_blocks", SMALL, folder=None)._replace(transfer=transfer)
    monkeypatch.setattr(bands, "methods", lambda config: [_planted(found, 0.04)])

    def _quantiles(params, series, days, levels):
        # as learnt nothing lies inside, by validation everything
        ends = (-2.0, 2.0) if params.mixture[0] == 2.0 else (3.0, 4.0)
        return np.stack([np.full((len(series.ndvi), len(days)), end) for end in ends], axis=-1)

    def _predict(params, series, days):
        return _planted(found, 0.04).estimator.predict(params, series, days)

    monkeypatch.setattr(bands.networks, "quantiles", _quantiles)
    monkeypatch.setattr(bands.networks, "predict", _predict)
    told = bands.coverage(found, SMALL, 0)
    assert {task for task, _ in told} == set(bands.TASKS)
    # what the band of validation pixels lacks; the planted one has the wider factor in it
    wider = TRANSFER_INFLATION if transfer else 1.0
    for (task, against), one in told.items():
        std = np.hypot(0.04, FLOOR) * (FACTOR[0] if task == "T1" else FACTOR[1])
        if against == "truth":
            assert abs(one.band - _inside(std)) < 0.03
            if task != "T2e":
                assert abs(one.trained - _inside(0.04)) < 0.05
            np.testing.assert_allclose(one.needs, wider * SPREAD / std, rtol=0.1)
            assert np.isnan(one.quantiles)
        else:
            # labels err by residual cloud as well
            assert one.needs > wider * SPREAD / np.hypot(std, 0.02)
            assert task == "T2e" or (one.trained, one.quantiles) == (0.0, 1.0)
        assert np.isnan(one.trained) == (task == "T2e")


def _inside(std):
    return 2.0 * norm.cdf(1.645 * std / SPREAD) - 1.0


def test_table_has_means_over_the_seeds():
    one = {("T1", "truth"): bands.Coverage(0.5, 0.9, 1.0, np.nan)}
    two = {("T1", "truth"): bands.Coverage(0.7, 0.8, 1.2, np.nan)}
    labels = {
        ("T1", "labels"): bands.Coverage(0.5, 0.9, 1.0, 0.88),
        ("T2a", "labels"): bands.Coverage(0.6, 0.9, 1.3, 0.92),
    }
    lines = bands.table({"a": [one | labels, two | labels]}).markdown().splitlines()
    assert lines[2] == "| a | truth | 0.85 | – | – | – | – | – | 0.60 | – | 1.10 |"
    assert lines[3] == (
        "| a | labels | 0.90 | 0.90 | – | – | – | – | 0.50–0.60 | 0.88–0.92 | 1.00–1.30 |"
    )


def test_main_writes_between_its_markers(tmp_path, monkeypatch):
    monkeypatch.setattr(
        bands, "coverage", lambda *_: {("T1", "labels"): bands.Coverage(1, 1, 1, 1)}
    )
    monkeypatch.setattr(bands.datasets, "dataset", lambda *_, **__: None)
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- bands:begin -->\nold\n<!-- bands:end -->\nb\n", encoding="utf-8")
    text = bands.main(BandsConfig(page=page, only=("sim_year",), seeds=(0,), config=SMALL))
    assert text in page.read_text(encoding="utf-8")
    assert "old" not in page.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"only: got \['magic'\], expected some of"):
        bands.main(BandsConfig(only=("magic",)))
