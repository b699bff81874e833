"""Labels and radar as arrays: ceiling, cloud, noise, balance; tracks, alternation, water."""

import numpy as np
import pytest

from s1jax.doctor import labels, radar
from s1jax.doctor.labels import noise_of_labels

DAY = 19662.0 + 12.0 * np.arange(60)
RNG = np.random.default_rng(1)


def _ndvi(pixels=80, noise=0.03, missing=0.3, low=0.15, high=0.88, day=DAY):
    phase = RNG.uniform(0, 40, (pixels, 1))
    curve = 0.5 - 0.5 * np.cos(2 * np.pi * (day - day[0] + phase) / 182)
    ndvi = low + (high - low) * curve + RNG.normal(0, noise, curve.shape)
    return np.where(RNG.random(curve.shape) < missing, np.nan, ndvi)


def test_level_of_a_clean_set():
    found = labels.label_ceiling(DAY, _ndvi())
    assert 0.85 < found.ceiling < 0.98
    assert 0.45 < found.mean < 0.6
    assert found.rise > 0.6
    assert found.roughness < 0.2
    assert found.width == 24.0
    assert labels.label_ceiling(DAY, _ndvi(pixels=9)) is None
    assert labels.label_ceiling(DAY, np.full((50, 60), np.nan)) is None


@pytest.mark.parametrize(
    ("high", "wanted"), [(0.95, None), (0.86, None), (0.66, "toa-labels"), (0.55, "offset-kept")]
)
def test_ceilings(high, wanted):
    found = labels.low_labels(DAY, _ndvi(high=high))
    assert (None if found is None else found.name) == wanted


def test_bare_land_is_not_accused_of_an_offset():
    found = labels.low_labels(DAY, _ndvi(low=0.12, high=0.2))
    assert (found.name, found.kind) == ("sparse-vegetation", "note")


def test_a_short_series_has_no_ceiling():
    assert labels.low_labels(DAY[:10], _ndvi(high=0.5)[:, :10]) is None


def test_an_offset_from_2022_on_is_told_from_the_years_before():
    day = 18600.0 + 12.0 * np.arange(70)
    ndvi = _ndvi(day=day)
    after = day >= 19017
    ndvi[:, after] *= 0.6
    found = labels.low_labels(day, ndvi)
    assert found.name == "offset-kept"
    assert found.where == "S2ndvi from 2022-01-25 on"
    assert labels.low_labels(day, _ndvi(day=day)) is None
    # as low before as after is something else; and before 2022 no product carried it
    low = _ndvi(day=day, high=0.55)
    assert labels.low_labels(day, low).name == "toa-labels"
    assert labels.low_labels(DAY - 2000, _ndvi(high=0.55)).name == "toa-labels"


def test_unmasked_cloud_is_rough_and_low():
    clean = _ndvi(missing=0.0)
    assert labels.cloudy(DAY, clean) is None
    cloud = np.where(RNG.random(clean.shape) < 0.35, 0.1, clean)
    found = labels.cloudy(DAY, cloud)
    assert found.name == "cloud-unmasked"
    assert "100 % of the dates have no gap" in found.evidence
    # whole dates under cloud are named
    some = clean.copy()
    some[:, [10, 22, 23, 31, 40, 41, 50]] = 0.05
    assert labels.deepest(DAY[:25], some[:, :25]).count("2024") >= 2
    assert labels.deepest(DAY, np.full((5, 60), np.nan)) == "no date"


def test_fallow_that_stays_low_is_no_cloud():
    curve = np.exp(-(((DAY - DAY[0] - 250) / 40) ** 2))
    fallow = 0.15 + 0.75 * curve + RNG.normal(0, 0.03, (60, 60))
    found = labels.label_ceiling(DAY, fallow)
    assert found.mean / found.ceiling < labels.CLOUD_LEVEL
    assert labels.cloudy(DAY, fallow) is None


def test_steps_of_twenty_days_need_low_labels_too():
    day = DAY[0] + 20.0 * np.arange(40)
    rice = 0.5 - 0.4 * np.cos(2 * np.pi * (day - day[0]) / 75) + RNG.normal(0, 0.03, (60, 40))
    found = labels.label_ceiling(day, rice)
    assert found.roughness > labels.ROUGHEST
    assert found.width > labels.WIDEST
    assert labels.cloudy(day, rice) is None
    # told as composites of 12 days the same labels are rough beyond any crop
    assert labels.cloudy(day[0] + 12.0 * np.arange(40), rice).name == "cloud-unmasked"
    cloud = np.where(RNG.random(rice.shape) < 0.6, 0.06, rice)
    assert labels.cloudy(day, cloud).name == "cloud-unmasked"


def test_few_dates_are_not_judged():
    ndvi = _ndvi(missing=0.0)
    ndvi = np.where(RNG.random(ndvi.shape) < 0.4, 0.05, ndvi)
    assert labels.cloudy(DAY, ndvi).name == "cloud-unmasked"
    assert labels.cloudy(DAY[:11], ndvi[:, :11]) is None


@pytest.mark.parametrize("std", [0.02, 0.05, 0.1])
def test_noise_of_labels_on_a_smooth_curve(std):
    day = np.cumsum(np.random.default_rng(0).uniform(3, 9, 200)) + 19000
    curve = 0.5 + 0.3 * np.sin(2 * np.pi * day / 365)
    ndvi = curve + np.random.default_rng(1).normal(0, std, (60, 200))
    ndvi[np.random.default_rng(2).random(ndvi.shape) < 0.2] = np.nan
    assert noise_of_labels(day, ndvi) == pytest.approx(std, rel=0.05)


def test_noise_of_a_line_is_zero_whatever_the_gaps():
    day = np.array([0.0, 3, 4, 11, 12, 20, 27, 28])
    line = np.tile(0.1 + 0.02 * day, (20, 1))
    assert noise_of_labels(day, line) == pytest.approx(0.0, abs=1e-12)
    assert noise_of_labels(day[:2], line[:, :2]) is None
    # neighbours 40 days apart tell curvature from noise no more
    months = 20.0 * np.arange(40)
    assert noise_of_labels(months, np.tile(0.5 + 0.3 * np.sin(months / 58), (20, 1))) is None
    # a date that is there twice divides by nothing
    again = np.sort(np.append(day, 11.0))
    assert np.isfinite(noise_of_labels(again, np.tile(0.1 + 0.02 * again, (20, 1))))


def test_balance_counts_every_label_once():
    ndvi = _ndvi()
    found = labels.balance(DAY, ndvi)
    assert found.count.sum() == np.isfinite(ndvi).sum()
    assert found.count.shape == (12, found.edge.size - 1)
    one = np.full((1, 2), np.nan)
    one[0] = [0.3, -0.9]
    found = labels.balance(np.array([19662.0, 19724.0]), one)
    # 1 November, level 0.3 to 0.4; 2 January, below -0.2 in the lowest
    assert found.count[10, 5] == 1
    assert found.count[0, 0] == 1
    words = labels.balance_finding(found)
    assert "2 labels" in words.evidence
    # months without a date of the series are none of its thin ones
    assert "thin months: none" in words.where
    one[0, 1] = np.nan
    words = labels.balance_finding(labels.balance(np.array([19662.0, 19724.0]), one))
    assert "thin months: Jan" in words.where


def _tracks(pixels=60, dates=40, step=2.0):
    day = np.sort(
        np.concatenate([19000.0 + 12 * np.arange(dates), 19007.0 + 12 * np.arange(dates)])
    )
    vv = RNG.normal(-11, 1, (pixels, 2 * dates))
    vv[:, (day - 19007) % 12 == 0] += step
    return day, vv


def test_acquisitions_of_two_tracks_are_told_by_their_days():
    day, vv = _tracks()
    track = radar.tracks_by_day(day, np.ones(day.size, bool))
    assert set(track) == {1, 2}
    assert np.unique(track[(day - 19000) % 12 == 0]).size == 1
    found = radar.orbits_of_acquisitions(day, vv)
    assert found.name == "orbits-mixed"
    assert "40, 40 dates" in found.evidence
    assert "1.0 dB (std)" in found.evidence
    alone = (day - 19000) % 12 == 0
    assert radar.orbits_of_acquisitions(day[alone], vv[:, alone]) is None
    # both satellites: every 6 days, one track
    six = 19000.0 + 6 * np.arange(80)
    assert radar.orbits_of_acquisitions(six, vv) is None
    # tracks that see other pixels are not mixed in any
    apart = vv.copy()
    apart[:30, alone] = apart[30:, ~alone] = np.nan
    assert radar.orbits_of_acquisitions(day, apart) is None
    # dates without radar are of no track
    vv[:, ~alone] = np.nan
    assert radar.orbits_of_acquisitions(day, vv) is None


def test_alternating_composites():
    vv = np.cumsum(RNG.normal(0, 0.1, (50, 60)), axis=1) + RNG.normal(0, 1, (1, 60)) * 0.3 - 11
    vh = vv - 6 + RNG.normal(0, 0.5, (50, 60))
    assert radar.orbits_of_composites(vv, vh, 12.0) is None
    level = np.where(np.arange(60) % 2, 1.6, 0.0)
    found = radar.orbits_of_composites(vv + level, vh + level, 12.0)
    assert found.name == "orbits-mixed"
    # one polarisation alone does not
    assert radar.orbits_of_composites(vv + level, vh, 12.0) is None
    # composites of a month follow the seasons of rice up and down
    assert radar.orbits_of_composites(vv + level, vh + level, 30.0) is None
    ratio, step = radar.alternation(vv * 0 + level)
    assert ratio > 1e6
    assert step == pytest.approx(1.6)
    assert radar.alternation(vv[:, :12]) is None


def test_open_water_and_outliers():
    vv, vh = np.full((10, 20), -11.0), np.full((10, 20), -18.0)
    vv[:3], vh[:3] = -19.0, -25.0
    vv[3, :9], vh[3, :9] = -19.0, -25.0
    ndvi = np.full(vv.shape, np.nan)
    assert radar.water(vv, vh, ndvi) == pytest.approx(0.3)
    vv[4], vh[4] = -12.5, -21.5  # a pond in the wind
    vv[5], vh[5] = -12.5, -19.5  # smooth soil
    assert radar.water(vv, vh, ndvi) == pytest.approx(0.4)
    ndvi[:2, 3:9] = [[0.1], [0.6]]  # no water is green
    assert radar.water(vv, vh, ndvi) == pytest.approx(0.3)
    nothing = np.full((3, 4), np.nan)
    assert radar.water(nothing, nothing, nothing) == 0.0
    assert radar.outliers("VV", vv) is None
    vv[0, 0] = 38.0
    assert radar.outliers("VV", vv).name == "radar-outliers"


def _names(findings):
    return [finding.name for finding in findings]


def test_ndvi_scale_and_range():
    ndvi = np.linspace(-0.1, 0.9, 200, dtype=np.float32)
    assert labels.ndvi_findings(ndvi) == []
    assert labels.ndvi_scale(ndvi) == 1.0
    assert labels.ndvi_scale(ndvi * 100) == 100.0
    (found,) = labels.ndvi_findings(ndvi * 10_000)
    assert found.name == "ndvi-scale"
    np.testing.assert_allclose(labels.in_range(ndvi * 10_000), ndvi, rtol=1e-4)
    out = np.append(ndvi, np.float32(1.4))
    assert _names(labels.ndvi_findings(out)) == ["ndvi-range"]
    assert np.isnan(labels.in_range(out)[-1])
    db = np.linspace(-25, -8, 100, dtype=np.float32)
    assert "backscatter" in labels.ndvi_findings(db)[0].what
    assert np.isnan(labels.in_range(db)).all()
    assert labels.ndvi_findings(np.full(5, np.nan, np.float32)) == []


def test_clamped_values_pile_up_at_an_end():
    rng = np.random.default_rng(0)
    ndvi = rng.normal(0.5, 0.3, 5000).clip(-0.9, 0.99).astype(np.float32)
    inside = ndvi[np.abs(ndvi - 0.045) < 0.94]
    assert labels.ndvi_findings(inside) == []
    for low, high in ((-1.0, 1.0), (0.0, 0.98), (-0.9, 0.8)):
        found = labels.ndvi_findings((1.6 * inside - 0.2).clip(low, high).astype(np.float32))
        assert _names(found) == ["ndvi-clamped"]
    # integers repeat values, also the highest, by chance
    assert labels.ndvi_findings(np.round(inside, 2)[np.abs(inside) < 0.9]) == []
