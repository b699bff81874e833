"""Radar against NDVI, the quick regression, a split, and the verdict."""

import numpy as np
import pytest

from s1jax.cube.findings import Finding, dates
from s1jax.doctor import relation
from s1jax.doctor.catalogue import LEVELS, finding, worst_first
from s1jax.doctor.examine import limitations, mosaic, overall, supply
from s1jax.doctor.relation import STAGES, Labels, trees

RNG = np.random.default_rng(2)


def test_nearest_radar_of_each_label_by_brute_force():
    day = np.sort(RNG.choice(400, 60, replace=False)).astype(float)
    seen = RNG.random((15, 60)) < 0.2
    seen[3] = False
    ndvi = np.where(RNG.random((15, 60)) < 0.3, 0.5, np.nan)
    labels = relation.sample(ndvi, 10_000)
    found = relation.nearest(day, seen, labels)
    for pixel, time, index in zip(*labels, found, strict=True):
        dates_seen = np.flatnonzero(seen[pixel])
        if dates_seen.size == 0:
            assert index == -1
        else:
            wanted = np.abs(day[dates_seen] - day[time]).min()
            assert seen[pixel, index]
            assert abs(day[index] - day[time]) == wanted


def test_sample_is_drawn_without_replacement():
    ndvi = np.where(RNG.random((20, 30)) < 0.5, 0.5, np.nan)
    all_of_them = relation.sample(ndvi, 10_000)
    assert all_of_them.pixel.size == np.isfinite(ndvi).sum()
    some = relation.sample(ndvi, 50)
    assert np.unique(np.ravel_multi_index(some, ndvi.shape)).size == 50
    assert np.isfinite(ndvi[some]).all()


def test_offset_is_a_note_or_a_warning():
    near = relation.offset_finding(np.array([0.0, 1, 2, 5, 8]), composites=False)
    assert (near.name, near.kind) == ("s1-s2-offset", "note")
    assert "median 2.0 days; 40.0 % over 3 days, 20.0 % over 7 days" in near.evidence
    far = relation.offset_finding(np.array([9.0, 10, 2, 12, np.inf]), composites=False)
    assert far.kind == "warning"
    assert relation.offset_finding(np.array([np.inf]), composites=False).kind == "warning"
    made = relation.offset_finding(np.zeros(3), composites=True)
    assert "mean day" in made.what


def test_stages_follow_the_curve():
    day = 12.0 * np.arange(31)
    curve = 0.5 - 0.4 * np.cos(2 * np.pi * day / 360)
    ndvi = np.stack([curve, np.full(31, 0.1)])
    labels = relation.sample(ndvi, 100)
    vh = np.where(labels.time < 4, -24.0, -16.0)
    stage = relation.stages(day, ndvi, vh, labels)
    of = stage[labels.pixel == 0]
    named = [STAGES[s] for s in of]
    assert named[0] == "flooded"
    assert named[8] == "growing"
    assert named[15] == "full"
    assert named[22] == "ripening"
    assert named[30] == "bare"
    # nothing grows there
    assert (stage[labels.pixel == 1] == -1).all()


def test_neighbours_too_far_apart_tell_no_direction():
    day = np.array([0.0, 100, 200, 300, 400, 500])
    ndvi = np.array([[0.1, 0.5, 0.9, 0.5, 0.1, 0.1]])
    labels = Labels(np.zeros(6, int), np.arange(6))
    stage = relation.stages(day, ndvi, np.full(6, -15.0), labels)
    assert stage.tolist() == [1, -1, 3, -1, 1, 1]


def test_correlations_are_those_that_were_planted():
    n = 4000
    stage, pixel = RNG.integers(0, len(STAGES), n), RNG.integers(0, 50, n)
    ndvi = RNG.normal(size=n)
    follows = np.where(stage == 2, ndvi, RNG.normal(size=n))
    radar = np.stack([follows, -ndvi, np.full(n, 3.0)], axis=1)
    found = relation.correlations(radar, ndvi, stage, pixel)
    assert found.r[2, 0] == pytest.approx(1.0)
    assert np.abs(found.r[[0, 1, 3, 4], 0]).max() < 0.15
    np.testing.assert_allclose(found.r[:, 1], -1.0)
    assert np.isnan(found.r[:, 2]).all()
    assert found.count.sum() == n
    assert found.within[1] == pytest.approx(-1.0)
    own = [np.corrcoef(follows[pixel == p], ndvi[pixel == p])[0, 1] for p in range(50)]
    assert found.within[0] == pytest.approx(np.median(own))
    assert np.isnan(found.within[2])
    assert "growing" not in relation.correlation_finding(found).evidence
    whole = np.corrcoef(follows, ndvi)[0, 1]
    assert found.whole[0] == pytest.approx(whole)
    few = relation.correlations(radar[:20], ndvi[:20], stage[:20], pixel[:20])
    assert np.isnan(few.r).all()


def test_ceiling_is_one_minus_the_share_of_noise():
    ndvi = RNG.normal(0.5, 0.2, (100, 50))
    assert relation.noise_ceiling(0.1, ndvi) == pytest.approx(1 - 0.01 / ndvi.var())
    assert relation.noise_ceiling(5.0, ndvi) == 0.0
    assert np.isnan(relation.noise_ceiling(None, ndvi))
    assert np.isnan(relation.noise_ceiling(0.1, np.full((3, 3), np.nan)))


def test_rows_are_means_of_the_windows():
    day = np.array([0.0, 1, 12, 13, 24, 36])
    radar = np.arange(12.0).reshape(1, 6, 2)
    radar[0, 1] = np.nan
    labels = Labels(np.array([0]), np.array([2]))
    (row,) = relation.windows(day, radar, labels, 12.0, 1)
    # lag -1: day 0 alone; lag 0: days 12 and 13; lag 1: day 24; VV, VH, VH - VV each
    np.testing.assert_allclose(row, [0, 1, 1, 5, 6, 1, 8, 9, 1])
    (row,) = relation.windows(day, radar, Labels(np.array([0]), np.array([5])), 12.0, 1)
    assert np.isnan(row[-3:]).all()


def test_groups_are_the_cubes_own_or_a_grid():
    place = np.stack(np.meshgrid(np.arange(40.0), np.arange(40.0)), -1).reshape(-1, 2) * 50
    number, words = relation.groups(place, None, "", 1600)
    assert np.bincount(number).tolist() == [100] * 16
    assert "488 x 488 m" in words
    given = np.repeat([4, 9, 11], [600, 500, 500])
    number, words = relation.groups(place, given, "block", 1600)
    assert (np.unique(number).tolist(), words) == ([0, 1, 2], "blocks of the cube")
    # two blocks are too few, two districts are not
    assert relation.groups(place, given // 9, "block", 1600)[1] != "blocks of the cube"
    assert relation.groups(place, given // 9, "district", 1600)[1] == "districts of the cube"
    number, words = relation.groups(None, None, "", 100)
    assert np.unique(number).size == 8
    assert "no position" in words


def _world(pixels=400, dates=40, noise=0.05):
    day = 12.0 * np.arange(dates)
    place = RNG.uniform(0, 4000, (pixels, 2))
    state = np.cumsum(RNG.normal(0, 0.1, (pixels, dates)), axis=1)
    ndvi = np.clip(0.5 + 0.3 * np.sin(state * 6), 0, 1) + RNG.normal(0, noise, state.shape)
    vv = -10 + 5 * ndvi + RNG.normal(0, 0.3, state.shape)
    # the window holds what one date lacks: VH shows the date before
    vh = -18 + 5 * np.roll(ndvi, 1, axis=1) + RNG.normal(0, 0.3, state.shape)
    return day, np.stack([vv, vh], axis=-1), ndvi, place


@pytest.mark.slow
def test_r2_is_high_where_radar_tells_and_zero_where_it_does_not():
    day, radar, ndvi, place = _world()
    found = relation.expected(day, radar, ndvi, place, step=12.0, most=4000)
    assert found.single.r2 > 0.8
    assert found.window.r2 > found.single.r2 - 0.02
    assert found.single.low <= found.single.r2 <= found.single.high
    assert (found.labels, found.groups) == (4000, 16)
    noise = RNG.normal(size=radar.shape)
    found = relation.expected(day, noise, ndvi, place, step=12.0, most=4000)
    assert found.single.r2 < 0.05
    assert found.window.r2 < 0.1


def test_too_little_is_not_scored():
    day, radar, ndvi, place = _world(pixels=20, dates=6)
    found = relation.expected(day, radar, ndvi, place, step=12.0)
    assert found.single is None
    assert found.window is None
    words = [f.evidence for f in relation.expected_findings(found, None, float("nan"))]
    assert "no estimate" in words[0]
    assert "not measured" in words[1]


def test_score_is_r2():
    target, told = RNG.normal(size=500), RNG.normal(size=500)
    found = relation.score(target, told, np.arange(500) % 10)
    wanted = 1 - np.mean((target - told) ** 2) / target.var()
    assert found.r2 == pytest.approx(wanted)
    assert found.low < wanted < found.high
    assert relation.score(target, target, np.zeros(500, int)) == (1.0, 1.0, 1.0)
    assert relation.score(np.ones(9), np.ones(9), np.arange(9)) is None


def test_trees_learn_and_refuse_nothing():
    x = np.random.default_rng(0).uniform(-1, 1, (800, 3))
    x[:, 2] = np.nan
    y = np.sign(x[:, 0]) + 0.1 * x[:, 1]
    mean = trees(x[:600], y[:600], x[600:])
    assert np.corrcoef(mean, y[600:])[0, 1] > 0.98
    np.testing.assert_array_equal(mean, trees(x[:600], y[:600], x[600:]))
    with pytest.raises(ValueError, match="features: got no row"):
        trees(x[:0], y[:0], x)


def _map(kind):
    """Labels on a grid of 50 m: `smooth`, a curve shared by neighbours, or `noise`."""
    y, x = np.mgrid[:24, :30] * 50.0
    place = np.stack([x, y], axis=-1)
    wave = np.sin(x / 400) + np.cos(y / 300)
    time = np.arange(20)[:, None, None] / 3
    smooth = 0.5 + 0.3 * np.sin(wave + time)
    ndvi = smooth if kind == "smooth" else RNG.uniform(0, 1, smooth.shape)
    return np.where(RNG.random(ndvi.shape) < 0.2, np.nan, ndvi), place


def _leakage(ndvi, place, *parts):
    every = (relation.part_of_split(part, ndvi.shape, "part") for part in parts)
    return relation.leakage(12.0 * np.arange(20), ndvi, place, *every)


def test_a_random_split_leaks_and_blocks_do_not():
    ndvi, place = _map("smooth")
    random = RNG.random((24, 30)) < 0.7
    found = _leakage(ndvi, place, random, ~random)
    assert found.both == 0
    assert np.median(found.distance) == 50.0
    assert found.copied_r2 > 0.9
    assert relation.split_finding(found).name == "split-leaks"
    west = np.zeros((24, 30), bool)
    west[:, :4] = True
    east = np.zeros((24, 30), bool)
    east[:, 22:] = True
    found = _leakage(ndvi, place, west, east)
    assert found.distance.min() == 950.0
    assert relation.split_finding(found).name == "split"


def test_neighbours_that_share_their_calendar_are_a_warning():
    ndvi, place = _map("smooth")
    west = np.zeros((24, 30), bool)
    west[:, :15] = True
    east = np.zeros((24, 30), bool)
    east[:, 16:24] = True
    found = _leakage(ndvi, place, west, east)
    assert found.copied_r2 > 0.4
    near = relation.split_finding(found, best=0.4)
    assert (near.name, near.kind) == ("split-near", "warning")
    # radar that tells much more than the copy: no warning
    assert relation.split_finding(found._replace(copied_r2=0.2), best=0.9).name == "split"
    noise, _ = _map("noise")
    assert _leakage(noise, place, west, east).copied_r2 < 0.1


def test_pixels_in_both_parts_are_counted_and_never_their_own_neighbour():
    ndvi, place = _map("noise")
    everywhere = np.ones((24, 30), bool)
    found = _leakage(ndvi, place, everywhere, everywhere)
    assert found.both == 720
    assert (found.distance == 50.0).all()
    # a copy of noise tells nothing; the pixel's own label would tell all
    assert found.copied_r2 < 0.1
    assert relation.split_finding(found).kind == "fault"


def test_copying_is_of_the_labels_that_train_on_the_date():
    ndvi, place = _map("noise")
    ndvi = RNG.uniform(0, 1, ndvi.shape)
    training, test = RNG.random((2, *ndvi.shape)) < 0.5
    ndvi[RNG.random(ndvi.shape) < 0.9] = np.nan
    found = _leakage(ndvi, place, training, test)
    truth, told = [], []
    at = place.reshape(-1, 2)
    for date in range(20):
        known = np.flatnonzero((training & np.isfinite(ndvi))[date])
        for pixel in np.flatnonzero((test & np.isfinite(ndvi))[date]):
            away = np.linalg.norm(at[known] - at[pixel], axis=1)
            order = np.argsort(np.where(known == pixel, np.inf, away + known * 1e-9))[:5]
            truth.append(ndvi[date].ravel()[pixel])
            told.append(ndvi[date].ravel()[known[order]].mean())
    wanted = 1 - np.mean((np.array(truth) - told) ** 2) / np.var(truth)
    # of places as far one or the other is taken
    assert found.copied_r2 == pytest.approx(wanted, abs=0.1)
    assert found.both == (training & test).any(axis=0).sum()


def test_parts_of_a_split_come_in_three_forms():
    shape = (5, 3, 4)
    wanted = np.zeros((3, 4), bool)
    wanted[1, 2] = wanted[2, 0] = True
    times = np.zeros(shape, bool)
    times[:] = wanted
    np.testing.assert_array_equal(relation.part_of_split(wanted, shape, "test"), times)
    np.testing.assert_array_equal(relation.part_of_split(np.array([6, 8]), shape, "test"), times)
    times[2:] = False
    np.testing.assert_array_equal(relation.part_of_split(times, shape, "test"), times)
    for wrong in (np.ones((4, 3), bool), np.array([12]), np.array([-1])):
        with pytest.raises(ValueError, match="split: test: got"):
            relation.part_of_split(wrong, shape, "test")


def test_without_places_only_the_overlap_is_told():
    ndvi, _ = _map("noise")
    half = np.zeros((24, 30), bool)
    half[:12] = True
    found = _leakage(ndvi, None, half, ~half)
    assert (found.both, found.distance.size) == (0, 0)
    assert np.isnan(found.copied_r2)


_NOTHING = relation.Expected(None, None, 0, 0, "", 12.0)
_USUAL = {
    "water": 0.0, "per_year": 15.0, "gap": 60.0, "mosaic": 0.2, "late": 0.0,
    "expected": _NOTHING._replace(window=relation.Score(0.7, 0.6, 0.8)), "top": 0.9,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change", "instead"),
    [
        ("water", {"water": 0.7}, "mask="),
        ("clear labels", {"per_year": 3.0}, "phenology"),
        ("longest gap", {"gap": 200.0}, "phenology"),
        ("heterogeneous cover", {"mosaic": 0.9}, "baselines.whittaker"),
        ("S1-S2 offset", {"late": 0.8}, "baselines.whittaker"),
        (
            "relation",
            {"expected": _NOTHING._replace(window=relation.Score(0.1, 0.0, 0.2))},
            "features.dprvi",
        ),
    ],
)
def test_each_reason_to_give_up_and_what_is_left_then(name, change, instead):
    assert not any(reason.met for reason in limitations(**_USUAL))
    reasons = limitations(**(_USUAL | change))
    assert [reason.name for reason in reasons if reason.met] == [name]
    words = overall([], reasons)
    assert f"give up on NDVI from radar here: {name}." in words.what
    assert instead in words.remedy
    assert "limit" in words.evidence
    # what is measured with a fault says nothing of radar
    wrong = [finding("units-mixed", *"bc"), finding("toa-labels", *"bc")]
    words = overall(wrong, reasons)
    assert words.what.startswith("Faults first")
    assert words.remedy == "repair first toa-labels, then units-mixed"
    repaired = overall([finding("infinite", *"bc")], reasons)
    assert "give up" in repaired.what
    assert "nothing has to be repaired first; open_cube(repair=True) repairs inf" in repaired.remedy


def test_labels_that_are_noise_do_not_condemn_the_radar():
    weak = {"expected": _NOTHING._replace(window=relation.Score(0.1, 0.0, 0.2)), "top": 0.3}
    assert not any(reason.met for reason in limitations(**(_USUAL | weak)))
    unknown = {"mosaic": float("nan"), "late": float("nan"), "expected": _NOTHING}
    assert not any(reason.met for reason in limitations(**(_USUAL | unknown)))


def test_mosaic_is_zero_for_smooth_and_one_for_independent_neighbours():
    smooth, _ = _map("smooth")
    noise, _ = _map("noise")
    assert mosaic(smooth) < 0.05
    assert mosaic(noise) == pytest.approx(1.0, abs=0.05)
    # one field, all of it green on the same days: what varies is noise
    level = np.random.default_rng(0).normal(0.5, 0.03, smooth.shape)
    assert mosaic(level, 0.03) < 0.1
    assert mosaic(level) < 0.5
    assert mosaic(noise, 0.03) == pytest.approx(1.0, abs=0.05)
    assert np.isnan(mosaic(noise[:, :, :1]))
    assert np.isnan(mosaic(np.full((4, 9, 9), np.nan)))


def test_supply_of_labels():
    day = np.arange(0.0, 730.5, 10)
    ndvi = np.full((5, day.size), np.nan)
    ndvi[:4, ::5] = 0.5
    per_year, gap = supply(day, ndvi)
    assert per_year == pytest.approx(7.5, abs=0.1)
    assert gap == 50.0
    assert supply(day, ndvi * np.nan) == (0.0, 730.0)


def test_findings_are_sorted_and_dates_are_short():
    a, b = Finding("a", "note", "what"), Finding("b", "warning", "what")
    c, d = finding("infinite", "where", "evidence"), Finding("d", "fault", "what")
    # what open_cube repairs comes after what it does not
    assert worst_first([a, None, b, c, d]) == (d, c, b, a)
    assert [f.repaired for f in (a, b, c, d)] == [False, False, True, False]
    assert {f.kind for f in (a, b, c)} == set(LEVELS)
    assert dates(np.array([0.0, 365.0])) == "1970-01-01, 1971-01-01"
    assert dates(np.arange(9.0), most=2) == "1970-01-01, 1970-01-02 and 7 more"
