"""What MOGPR looks at, and what it learns from a region: outputs, curve, moments, sample."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s1jax.features import plausible_ndvi, plausible_radar
from s1jax.mogpr import MogprConfig, fit_region, posterior
from s1jax.mogpr.inputs import (
    available,
    channels_of,
    on_days,
    outputs_of,
    regional_curve,
    standardise,
)
from s1jax.types import Series
from tests.worlds import mogpr as worlds
from tests.worlds.mogpr import DAYS, HYPER, INPUTS, MEAN, STD, outputs, region, series_of


def _series(radar=4, smooth=True, pixels=3, days=6):
    """Values that name their channel: 10 c, filtered 10 c + 1, NDVI .5."""
    looks = np.arange(2.0 if smooth else 1.0)[:, None] + 10.0 * np.arange(radar)
    value = np.tile(looks, (pixels, days, 1, 1)).astype(np.float32)
    ndvi = np.full((pixels, days), 0.5, np.float32)
    valid = np.ones((pixels, days, radar), bool)
    return Series(np.arange(6.0) * 12, value, valid, ndvi, np.ones(ndvi.shape, bool))


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
    names = channels_of(series, inputs)
    found, implausible = outputs_of(series, names)
    np.testing.assert_array_equal(found.value[1, 2], np.float32(expected))
    assert found.valid.all()
    assert not implausible.any()
    # each output is valid where its radar channel is, filtered or not
    valid = np.zeros((3, 6, radar), bool)
    valid[..., names[0][1]] = True
    some = series._replace(radar_valid=valid, ndvi_valid=np.zeros((3, 6), bool))
    first = np.arange(len(names) + 1) == 0
    np.testing.assert_array_equal(outputs_of(some, names)[0].valid[0, 0], first)


def test_inputs_hold_whatever_the_number_of_orbits():
    # learnt where there was one orbit, used where there are two
    for inputs in ("raw", "smooth"):
        names = channels_of(_series(2), inputs)
        one, two = (outputs_of(_series(radar), names)[0] for radar in (2, 4))
        np.testing.assert_array_equal(two.value[0, 0], one.value[0, 0])


def test_available_names_what_there_is():
    assert available(_series(2, smooth=False)) == ("raw",)
    assert available(_series(2)) == ("raw", "smooth")
    assert available(_series(4, smooth=False)) == ("raw", "raw:1", "raw:2")
    two = ("raw", "raw:1", "raw:2", "smooth", "smooth:1", "smooth:2")
    assert available(_series(4)) == two
    for inputs in two:
        channels_of(_series(4), inputs)


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
        channels_of(_series(2, smooth=smooth), inputs)


def test_what_cannot_be_is_not_valid_and_holds_zero():
    radar = np.array([-80.0, 40.0, -80.1, 40.1, np.nan, np.inf])
    ndvi = np.array([-1.5, 1.5, 1.51, -9999.0, -np.inf, np.nan])
    value = np.stack([radar, radar, ndvi], -1)[None].astype(np.float32)
    good = np.array([True, True, False, False, False, False])
    np.testing.assert_array_equal(plausible_radar(value[0, :, 0]), good)
    np.testing.assert_array_equal(plausible_ndvi(value[0, :, 2]), good)
    valid = np.ones(value.shape, bool)
    valid[0, 0] = False
    found, implausible = outputs_of(series_of(np.arange(6.0), value, valid), INPUTS)
    assert implausible.all()
    np.testing.assert_array_equal(found.valid[0, :, 0], [False, True, *[False] * 4])
    np.testing.assert_array_equal(found.value[~found.valid], 0.0)
    assert np.isnan(value[0, 5, 2])  # what was given is not written to
    assert found.value.dtype == np.float32


def test_curve_is_the_mean_of_the_pixels_and_linear_where_none_has_a_label():
    series, _ = region()
    series.ndvi_valid[:, [0, 6, 7, 19]] = False  # whole dates are hidden in task T2e
    curve = regional_curve(outputs_of(series, INPUTS)[0])
    ndvi = np.where(series.ndvi_valid, series.ndvi, np.nan)
    dated = np.setdiff1d(np.arange(20), [0, 6, 7, 19])
    mean = np.nanmean(ndvi[:, dated], 0)
    np.testing.assert_allclose(curve.value[dated, -1], mean, rtol=1e-6)
    np.testing.assert_allclose(curve.value[[0, 19], -1], mean[[0, -1]], rtol=1e-6)
    step = np.diff(curve.value[5:9, -1])
    np.testing.assert_allclose(step, step[0], rtol=1e-6)
    np.testing.assert_allclose(curve.value[:, 0], series.radar[..., 0, 0].mean(0), rtol=1e-5)
    # of other days: linear; of other years: of their season; outside a short year: the nearer end
    at = np.array([DAYS[2] + 3.0, DAYS[4] + 365.25, DAYS[4] - 2 * 365.25, DAYS[-1] + 20.0])
    found = on_days(curve, at)
    np.testing.assert_allclose(found[0], 0.75 * curve.value[2] + 0.25 * curve.value[3])
    np.testing.assert_allclose(found[1:3], curve.value[[4, 4]])
    np.testing.assert_allclose(found[3], curve.value[-1])


def _fit(series, **options):
    """With given hyperparameters instead of a fit."""
    config = MogprConfig(latents=1, inputs="raw", mean="zero")
    for name, value in options.items():
        object.__setattr__(config, name, value)  # unchecked, as without the tests' import hook
    return fit_region(series, config, hyper=HYPER)


def test_planted_moments_and_curve():
    season = np.stack([np.sin(DAYS / 40), -np.sin(DAYS / 40), 0.2 * np.cos(DAYS / 40)], -1)
    series, _ = region(pixels=400, curve=season)
    zero, regional = (_fit(series, mean=mean)[0] for mean in ("zero", "regional"))
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
    """Pixels in the sample, recognised by where they are valid."""
    valid = outputs(series)[1]
    rows = {one.tobytes(): pixel for pixel, one in enumerate(valid)}
    assert len(rows) == len(valid)
    sample = _fit(series, **options)[1].observations
    return np.array([rows[np.asarray(one).tobytes()] for one in sample.valid])


def test_sample_is_spread_over_the_cells_and_nothing_is_drawn():
    side = 30
    east, north = (leaf.ravel() * 33.0 for leaf in np.mgrid[:side, :side])  # one full cell
    place = np.stack([east, north], -1)
    few = np.array([[5500.0, 200.0], [2500.0, 9400.0], [-300.0, -4000.0]])
    place = np.concatenate([place, np.repeat(few, 12, 0)])
    series, _ = region(pixels=len(place))
    series = series._replace(position=place.astype(np.float32))
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
    bare = series.take(slice(0, 90))._replace(position=None)
    bare.radar_valid[10:80] = False
    bare.ndvi_valid[10:80] = False
    bare.radar_valid[10:80, 0, 0] = np.arange(70) == 35
    keep = bare.take(outputs(bare)[1].any((1, 2)))
    np.testing.assert_array_equal(_sampled(keep, sample=7), [0, 3, 7, 10, 13, 17, 20])


def test_sample_is_what_the_pixels_are_scored_by():
    series, _ = region(pixels=9)
    value, valid = outputs(series)
    value[4, :, 0] = -75.0  # a fill that could be a number
    series = series_of(DAYS, value, valid)
    for scale in ("region", "pixel"):
        params, sample = _fit(series, sample=9, scale=scale)
        assert params.scale_by_pixel == (scale == "pixel")
        mean, std = np.asarray(params.region_mean), np.asarray(params.region_std)
        if scale == "pixel":
            mean, std = value[2].mean(0), value[2].std(0)
            ndvi = value[2, valid[2, :, -1], -1]
            mean[-1], std[-1] = ndvi.mean(), ndvi.std()
        expected = np.where(valid[2], (value[2] - mean) / std, 0.0)
        np.testing.assert_allclose(sample.observations.value[2], expected, atol=2e-4)
    far = np.abs((value[4, :, 0] - mean[0]) / std[0]) > 5
    assert far.all()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            lambda s: s.radar_valid[..., 1].fill(False),
            {},
            r"output 1 \(of 3, NDVI last\): got 0",
        ),
        (lambda s: s.ndvi.fill(0.5), {}, r"output 2 .*valid values that do not vary"),
        (lambda s: s.radar[..., 0].fill(-9999), {}, r"output 0 \(of 3, NDVI last\): got 0 valid"),
        (lambda s: s.ndvi_valid.fill(False), {"mean": "regional"}, r"no label .* ships .*none"),
        (lambda s: s.ndvi.fill(255), {}, r"S2ndvi: got no label in any of 4 training"),
        (None, {"mean": "median"}, r"mean: got 'median', expected one of \('zero', 'regional'\)"),
        (None, {"scale": "world"}, r"scale: got 'world', expected one of"),
    ],
)
def test_door(change, options, message):
    series, _ = region(pixels=4)
    if change:
        change(series)
    with pytest.raises(ValueError, match=message):
        _fit(series, **options)


def test_given_hyperparameters_are_of_the_outputs():
    with pytest.raises(ValueError, match=r"hyper: got 3 outputs, expected 5"):
        _fit(_series(4))


def test_radar_of_another_world_is_no_part_of_the_sample():
    series, _ = region(pixels=60)
    series.radar[7, :, 0, 0] = -79.0
    params, sample = _fit(series, sample=60)
    assert not np.asarray(sample.observations.valid)[7, :, 0].any()
    assert np.abs(np.asarray(sample.observations.value)[..., :2]).max() <= 5.0
    assert np.asarray(sample.observations.valid)[6, :, 0].all()
    assert params.inputs == INPUTS


@pytest.mark.slow
def test_radar_completes_the_curve_where_no_pixel_has_ndvi():
    # a wave that all outputs share; its crest has no label anywhere
    wave = 1.5 * np.sin(2 * np.pi * (DAYS - DAYS[0]) / 120.0)
    season = wave[:, None] * STD
    series, _ = region(80, curve=season)
    blank = np.isin(np.arange(20), [2, 3, 12, 13])
    series.ndvi_valid[:, blank] = False
    before = regional_curve(outputs_of(series, INPUTS)[0])
    config = MogprConfig(latents=1, inputs="raw", mean="regional")
    found, _ = fit_region(series, config, hyper=HYPER, zero_mean=worlds.params())
    truth = MEAN[-1] + season[:, -1]
    straight, told = (np.abs(c.value[blank, -1] - truth[blank]) for c in (before, found.curve))
    assert told.max() < 0.5 * straight.max()
    np.testing.assert_array_equal(found.curve.value[~blank], before.value[~blank])
    np.testing.assert_array_equal(found.curve.value[:, :2], before.value[:, :2])


def test_standardise(x64):
    rng = np.random.default_rng(1)
    value = rng.normal(3, 2, (30, 4))
    value[:, 2] = 0.5  # constant
    valid = rng.random(value.shape) < 0.6
    valid[:, 1] = np.arange(30) < 4  # too few
    dtype = np.float64 if x64 else np.float32
    own = np.where(valid, value, np.nan)
    value = np.where(valid, value, np.nan).astype(dtype)
    region = jnp.asarray([1.0, 2, 3, 4], dtype), jnp.asarray([5.0, 6, 7, 8], dtype)
    arrays = jnp.asarray(value), jnp.asarray(valid)
    z = standardise(*arrays, *region, by_pixel=True)
    np.testing.assert_array_equal(z.region_scale, [False, True, True, False])
    expected = np.nanmean(own, 0), np.nanstd(own, 0)
    for got, mine, theirs in zip((z.mean, z.std), expected, region, strict=True):
        np.testing.assert_allclose(got, np.where(z.region_scale, theirs, mine), rtol=1e-5)
    back = np.asarray(z.value) * np.asarray(z.std) + np.asarray(z.mean)
    np.testing.assert_allclose(back[valid], own[valid], rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(z.value)[~valid], 0)
    wide = standardise(*arrays, *region, by_pixel=False)
    expected = (*region, z.region_scale)
    jax.tree.map(np.testing.assert_array_equal, wide[2:5], expected)
    back = np.asarray(wide.value) * np.asarray(wide.std) + np.asarray(wide.mean)
    np.testing.assert_allclose(back[valid], own[valid], rtol=1e-5)


def test_five_observations_are_enough():
    value = jnp.asarray(np.linspace(0, 1, 6, dtype=np.float32)[:, None])
    region = jnp.zeros(1), jnp.ones(1)
    for seen, expected in ((4, True), (5, False)):
        valid = jnp.arange(6)[:, None] < seen
        z = standardise(value, valid, *region, by_pixel=True)
        assert bool(z.region_scale[0]) is expected


@pytest.mark.parametrize("by_pixel", [False, True])
def test_far_radar_is_left_out_where_it_is_in_the_regions_scale(by_pixel):
    value = np.zeros((8, 3), np.float32)
    value[:, 0] = 6.0  # constant: in the region's scale
    value[:, 1] = np.linspace(-6.0, 6.0, 8)
    value[:, 2] = np.linspace(-6.0, 6.0, 8)  # NDVI stays
    region = jnp.zeros(3), jnp.ones(3)
    arrays = jnp.asarray(value), jnp.ones(value.shape, bool)
    z = standardise(*arrays, *region, by_pixel=by_pixel)
    assert z.far
    expected = np.ones((8, 3), bool)
    expected[:, 0] = False
    expected[[0, -1], 1] = by_pixel
    np.testing.assert_array_equal(z.valid, expected)
    every = standardise(*arrays, *region, by_pixel=by_pixel, furthest=np.inf)
    assert not every.far
    assert every.valid.all()
