"""What MOGPR looks at, and what it learns from a region: outputs, curve, moments, sample."""

import mogpr_worlds as worlds
import numpy as np
import pytest
from mogpr_worlds import DAYS, HYPER, MEAN, STD, region, take

from s1jax.mogpr import available, channels, learn, pick, posterior
from s1jax.mogpr.inputs import on_days, plausible, regional_curve, source
from s1jax.types import Series


def _series(radar=4, smooth=True, pixels=3, days=6):
    """Values that tell their channel: 10 c, filtered 10 c + 1, NDVI .5."""
    place = np.tile(10.0 * np.arange(radar), (pixels, days, 1))
    value = np.concatenate([place, np.full((pixels, days, 1), 0.5)], -1).astype(np.float32)
    filtered = (place + 1).astype(np.float32) if smooth else None
    return Series(np.arange(6.0) * 12, value, np.ones(value.shape, bool), None, filtered)


@pytest.mark.parametrize(
    ("inputs", "radar", "expected"),
    [
        ("raw", 2, [0, 10, 0.5]),
        ("raw", 4, [0, 10, 20, 30, 0.5]),
        ("raw:1", 4, [0, 10, 0.5]),
        ("raw:2", 4, [20, 30, 0.5]),
        ("smooth", 2, [1, 11, 0.5]),
        ("smooth", 4, [1, 11, 21, 31, 0.5]),
        ("smooth:1", 4, [1, 11, 0.5]),
        ("smooth:2", 4, [21, 31, 0.5]),
    ],
)
def test_inputs_name_their_channels(inputs, radar, expected):
    series = _series(radar)
    place = channels(series, inputs)
    found = pick(series, place)
    np.testing.assert_array_equal(found.value[1, 2], np.float32(expected))
    assert found.valid.all()
    assert found.place is None
    # each output is valid where its radar channel is, filtered or not
    valid = np.zeros((3, 6, radar + 1), bool)
    valid[..., source(place)[0]] = True
    np.testing.assert_array_equal(
        pick(series._replace(valid=valid), place).valid[0, 0], np.arange(place.size) == 0
    )


def test_places_hold_whatever_the_number_of_orbits():
    # learnt where there was one orbit, used where there are two
    for inputs in ("raw", "smooth"):
        place = channels(_series(2), inputs)
        np.testing.assert_array_equal(
            pick(_series(4), place).value[0, 0], pick(_series(2), place).value[0, 0]
        )


def test_available_names_what_there_is():
    assert available(_series(2, smooth=False)) == ("raw",)
    assert available(_series(2)) == ("raw", "smooth")
    assert available(_series(4, smooth=False)) == ("raw", "raw:1", "raw:2")
    two = ("raw", "raw:1", "raw:2", "smooth", "smooth:1", "smooth:2")
    assert available(_series(4)) == two
    for inputs in two:
        channels(_series(4), inputs)


@pytest.mark.parametrize(
    ("inputs", "smooth", "message"),
    [
        ("smooth", False, r"inputs: got 'smooth', but the series has no speckle-filtered"),
        ("raw:2", True, r"inputs: got 'raw:2', but the series has 1 orbit\(s\)"),
        ("smooth:2", True, r"inputs: got 'smooth:2', but the series has 1 orbit\(s\)"),
        ("rough", True, r"inputs: got 'rough', expected one of \('raw', 'raw:1'"),
    ],
)
def test_inputs_that_there_are_not(inputs, smooth, message):
    with pytest.raises(ValueError, match=message):
        channels(_series(2, smooth=smooth), inputs)


def test_what_cannot_be_is_not_valid_and_holds_zero():
    radar = np.array([-80.0, 40.0, -80.1, 40.1, np.nan, np.inf])
    ndvi = np.array([-1.5, 1.5, 1.51, -9999.0, -np.inf, np.nan])
    value = np.stack([radar, radar, ndvi], -1)[None].astype(np.float32)
    good = np.array([True, True, False, False, False, False])
    np.testing.assert_array_equal(plausible(value)[0], np.repeat(good[:, None], 3, 1))
    valid = np.ones(value.shape, bool)
    valid[0, 0] = False
    found = pick(Series(np.arange(6.0), value, valid), np.array([0, 1, -1]))
    np.testing.assert_array_equal(found.valid[0, :, 0], [False, True, *[False] * 4])
    np.testing.assert_array_equal(found.value[~found.valid], 0.0)
    assert np.isnan(value[0, 5, 2])  # what was given is not written to
    assert found.value.dtype == np.float32


def test_curve_is_the_mean_of_the_pixels_and_linear_where_none_has_a_label():
    series, _ = region()
    series.valid[:, [0, 6, 7, 19], -1] = False  # whole dates are hidden in task T2e
    curve = regional_curve(series)
    ndvi = np.where(series.valid[..., -1], series.value[..., -1], np.nan)
    dated = np.setdiff1d(np.arange(20), [0, 6, 7, 19])
    mean = np.nanmean(ndvi[:, dated], 0)
    np.testing.assert_allclose(curve.value[dated, -1], mean, rtol=1e-6)
    np.testing.assert_allclose(curve.value[[0, 19], -1], mean[[0, -1]], rtol=1e-6)
    step = np.diff(curve.value[5:9, -1])
    np.testing.assert_allclose(step, step[0], rtol=1e-6)
    np.testing.assert_allclose(curve.value[:, 0], series.value[..., 0].mean(0), rtol=1e-5)
    # of other days: linear; of other years: of their season; outside a short year: the nearer end
    at = np.array([DAYS[2] + 3.0, DAYS[4] + 365.25, DAYS[4] - 2 * 365.25, DAYS[-1] + 20.0])
    found = on_days(curve, at)
    np.testing.assert_allclose(found[0], 0.75 * curve.value[2] + 0.25 * curve.value[3])
    np.testing.assert_allclose(found[1:3], curve.value[[4, 4]])
    np.testing.assert_allclose(found[3], curve.value[-1])


def _learn(series, **options):
    """Without a fit: `given` stands in for it."""
    return learn(series, channels(series, "raw"), latents=1, given=HYPER, **options)


def test_planted_moments_and_curve():
    season = np.stack([np.sin(DAYS / 40), -np.sin(DAYS / 40), 0.2 * np.cos(DAYS / 40)], -1)
    series, _ = region(pixels=400, curve=season)
    zero, regional = (_learn(series, mean=mean)[0] for mean in ("zero", "regional"))
    spread = STD * np.sqrt(HYPER.mixing[0] ** 2 + HYPER.kappa[0] + HYPER.noise)
    np.testing.assert_allclose(zero.region_mean, MEAN + season.mean(0), atol=0.15)
    np.testing.assert_allclose(zero.region_std, np.hypot(spread, season.std(0)), rtol=0.05)
    np.testing.assert_allclose(regional.curve.value, MEAN + season, atol=4 * spread.max() / 20)
    np.testing.assert_allclose(regional.region_mean, 0.0, atol=1e-3)
    np.testing.assert_allclose(regional.region_std, spread, rtol=0.05)
    assert zero.curve is None
    assert zero.prior is None
    assert zero.hyper.noise.dtype == np.float32
    np.testing.assert_allclose(zero.hyper.mixing, HYPER.mixing, rtol=1e-6)
    found = posterior(regional, series, DAYS)
    assert np.isfinite(found.mean).all()


def _sampled(series, **options):
    """Pixels in the sample, told by where they are valid."""
    rows = {valid.tobytes(): pixel for pixel, valid in enumerate(np.asarray(series.valid))}
    assert len(rows) == len(series.valid)
    return np.array(
        [rows[np.asarray(v).tobytes()] for v in _learn(series, **options)[1].series.valid]
    )


def test_sample_is_spread_over_the_cells_and_nothing_is_drawn():
    side = 30
    east, north = (leaf.ravel() * 33.0 for leaf in np.mgrid[:side, :side])  # one full cell
    place = np.stack([east, north], -1)
    few = np.array([[5500.0, 200.0], [2500.0, 9400.0], [-300.0, -4000.0]])
    place = np.concatenate([place, np.repeat(few, 12, 0)])
    series, _ = region(pixels=len(place))
    series = series._replace(place=place.astype(np.float32))
    some = _sampled(series, sample=40)
    assert some.size == np.unique(some).size == 40
    cell = np.where(some < side**2, 0, 1 + (some - side**2) // 12)
    np.testing.assert_array_equal(np.bincount(cell), [10, 10, 10, 10])
    # and over the inside of a cell: neighbours are of one field
    inside = place[some[cell == 0]]
    assert (np.ptp(inside, axis=0) > 600).all()
    away = np.linalg.norm(inside[:, None] - inside[None], axis=-1) + 1e9 * np.eye(10)
    assert away.min() > 100
    np.testing.assert_array_equal(_sampled(series, sample=40), some)
    # cells that have fewer pixels give all of them
    assert np.bincount(np.minimum(_sampled(series, sample=100), 900) == 900)[1] == 36
    # without places: evenly over the pixels; without data: no part of it
    bare = take(series, slice(0, 90))._replace(place=None)
    bare.valid[10:80] = False
    bare.valid[10:80, 0, 0] = np.arange(70) == 35
    keep = take(bare, bare.valid.any((1, 2)))
    np.testing.assert_array_equal(_sampled(keep, sample=7), [0, 3, 7, 10, 13, 17, 20])


def test_sample_is_what_the_pixels_are_scored_by():
    series, _ = region(pixels=9)
    value = series.value.copy()
    value[4, :, 0] = -75.0  # a fill that could be a number
    for scale in ("region", "pixel"):
        params, sample = _learn(series._replace(value=value), sample=9, scale=scale)
        assert bool(params.own) == (scale == "pixel")
        mean, std = np.asarray(params.region_mean), np.asarray(params.region_std)
        if scale == "pixel":
            mean, std = value[2].mean(0), value[2].std(0)
            ndvi = value[2, series.valid[2, :, -1], -1]
            mean[-1], std[-1] = ndvi.mean(), ndvi.std()
        expected = np.where(series.valid[2], (value[2] - mean) / std, 0.0)
        np.testing.assert_allclose(sample.series.value[2], expected, atol=2e-4)
    far = np.abs((value[4, :, 0] - mean[0]) / std[0]) > 5
    assert far.all()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda s: s.valid[..., 1].fill(False), {}, r"output 1 \(of 3, NDVI last\): got 0 valid"),
        (lambda s: s.value[..., 2].fill(0.5), {}, r"output 2 .*valid values that do not vary"),
        (lambda s: s.value[..., 0].fill(-9999), {}, r"output 0 \(of 3, NDVI last\): got 0 valid"),
        (lambda s: s.valid[..., 2].fill(False), {"mean": "regional"}, r"no label .* ships .*none"),
        (lambda s: s.value[..., 2].fill(255), {}, r"S2ndvi: got no label in any of 4 training"),
        (None, {"mean": "median"}, r"mean: got 'median', expected one of \('zero', 'regional'\)"),
        (None, {"scale": "world"}, r"scale: got 'world', expected one of"),
    ],
)
def test_door(change, options, message):
    series, _ = region(pixels=4)
    if change:
        change(series)
    with pytest.raises(ValueError, match=message):
        _learn(series, **options)


def test_given_hyperparameters_are_of_the_outputs():
    with pytest.raises(ValueError, match=r"hyper: got 3 outputs, expected 5"):
        _learn(_series(4))


def test_radar_of_another_world_is_no_part_of_the_sample():
    series, _ = region(pixels=60)
    series.value[7, :, 0] = -79.0
    params, sample = _learn(series, sample=60)
    assert not np.asarray(sample.series.valid)[7, :, 0].any()
    assert np.abs(np.asarray(sample.series.value)[..., :2]).max() <= 5.0
    assert np.asarray(sample.series.valid)[6, :, 0].all()
    np.testing.assert_array_equal(params.channel, worlds.params().channel)


def test_radar_completes_the_curve_where_no_pixel_has_ndvi():
    # a wave that all outputs share; its crest has no label anywhere
    wave = 1.5 * np.sin(2 * np.pi * (DAYS - DAYS[0]) / 120.0)
    season = wave[:, None] * STD
    series, _ = region(80, curve=season)
    blank = np.isin(np.arange(20), [2, 3, 12, 13])
    series.valid[:, blank, -1] = False
    before = regional_curve(pick(series, channels(series, "raw")))
    found, _ = learn(
        series,
        channels(series, "raw"),
        latents=1,
        mean="regional",
        given=HYPER,
        level=worlds.params(),
    )
    truth = MEAN[-1] + season[:, -1]
    straight, told = (np.abs(c.value[blank, -1] - truth[blank]) for c in (before, found.curve))
    assert told.max() < 0.5 * straight.max()
    np.testing.assert_array_equal(found.curve.value[~blank], before.value[~blank])
    np.testing.assert_array_equal(found.curve.value[:, :2], before.value[:, :2])
