"""Errors of seasons in days: planted shifts, flat and noisy estimates, sums over chunks."""

import numpy as np
import pytest

from experiments.protocol.scoring import season_errors

PIXELS, DATES = 24, 62
DAY = 19668.0 + 12.0 * np.arange(DATES)


def _curves(late=0.0, pixels=PIXELS):
    """Three seasons of 0.6 in each pixel, at its own days, `late` days later."""
    rng = np.random.default_rng(0)
    centre = 19790.0 + 220.0 * np.arange(3) + rng.uniform(-30.0, 30.0, (pixels, 1))
    away = (DAY[None, None, :] - late - centre[..., None]) / 32.0
    return 0.2 + 0.6 * np.exp(-(away**2)).sum(axis=1)


@pytest.mark.parametrize("late", [-20.0, 0.0, 10.0])
def test_a_planted_shift_is_the_bias(late):
    errors = season_errors(DAY, _curves(), _curves(late))
    assert errors["n"] == 3 * PIXELS
    assert errors["missed"] == errors["extra"] == 0.0
    for name in ("peak", "start"):
        assert errors[f"{name}_bias"] == pytest.approx(late, abs=1.0)
        assert errors[f"{name}_mae"] == pytest.approx(abs(late), abs=1.5)


def test_lower_ndvi_of_the_same_shape_has_the_same_days():
    errors = season_errors(DAY, _curves(), 0.1 + 0.7 * _curves())
    assert errors["peak_mae"] == pytest.approx(0.0, abs=0.02)
    assert errors["start_mae"] == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("level", [0.4, np.nan])
def test_an_estimate_without_seasons_misses_all(level):
    errors = season_errors(DAY, _curves(), np.full((PIXELS, DATES), level))
    assert errors["missed"] == 1.0
    assert errors["n"] == 3 * PIXELS
    assert all(np.isnan(errors[name]) for name in ("peak_mae", "start_bias", "extra"))


def test_a_season_flattened_is_missed_and_one_invented_is_extra():
    flat = _curves()
    flat[:, DAY < 19900] = 0.2
    errors = season_errors(DAY, _curves(), flat)
    assert errors["missed"] == pytest.approx(1 / 3)
    assert errors["peak_mae"] == errors["extra"] == 0.0
    errors = season_errors(DAY, flat, _curves())
    assert errors["extra"] == pytest.approx(1 / 3)
    assert errors["n"] == 2 * PIXELS


def test_noise_is_paid_for_in_days_and_extra_seasons():
    truth = _curves()
    noise = np.random.default_rng(1).normal(size=truth.shape)
    little, much = (season_errors(DAY, truth, truth + std * noise) for std in (0.02, 0.15))
    for name in ("peak_mae", "start_mae", "extra"):
        assert little[name] < much[name]


def test_only_whole_true_seasons_of_finite_pixels_count():
    truth = _curves()
    holes = truth.copy()
    holes[5:, 3] = np.nan
    errors = season_errors(DAY, holes, truth)
    assert errors["n"] == 3 * 5
    assert errors["extra"] == 0.0
    # the series begins amid the rise of the first season, or later: no start to be right about
    cut = _curves(-95.0)
    late = np.where(DAY < 19805.0, _curves(-85.0), cut)
    errors = season_errors(DAY, cut, late)
    assert errors["n"] == 2 * PIXELS
    assert errors["missed"] == errors["peak_mae"] == 0.0
    assert errors["start_mae"] == pytest.approx(0.0, abs=0.001)
    assert season_errors(DAY, cut, 0.0 * cut)["missed"] == 1.0


def test_parts_add_up_over_chunks():
    truth = _curves(pixels=700)  # more than a chunk
    mean = truth + 0.08 * np.random.default_rng(2).normal(size=truth.shape)
    whole = season_errors(DAY, truth, mean)
    parts = [season_errors(DAY, truth[part], mean[part]) for part in (slice(300), slice(300, 700))]
    assert whole["n"] == sum(part["n"] for part in parts) == 2100
    n = [part["n"] for part in parts]
    assert whole["missed"] == pytest.approx(np.average([p["missed"] for p in parts], weights=n))
    matched = [part["n"] * (1.0 - part["missed"]) for part in parts]
    for name in ("peak_mae", "peak_bias", "start_mae", "start_bias"):
        want = np.average([part[name] for part in parts], weights=matched)
        assert whole[name] == pytest.approx(want, abs=1e-4), name


def test_no_finite_truth_is_refused():
    truth = _curves()
    with pytest.raises(ValueError, match="no pixel that is finite"):
        season_errors(DAY, np.full_like(truth, np.nan), truth)
