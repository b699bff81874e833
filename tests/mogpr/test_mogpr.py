"""The posterior in physical units, whose answer depends on nothing else, and its flags."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s1jax import gp
from s1jax.mogpr import posterior
from s1jax.mogpr.config import Curve
from s1jax.quality import CLIPPED, IMPLAUSIBLE, NO_DATA, REGION_HYPER, REGION_SCALE
from tests.worlds import mogpr as worlds
from tests.worlds.mogpr import DAYS, HYPER, expected, outputs, region, series_of, with_look

ASKED = np.r_[
    DAYS[-1] + 1.5, DAYS[3], DAYS[0] - [30.0, 400.0], DAYS[:15] + 5.0, DAYS[7], 19800.0, DAYS[3]
]
"""Before, between, on and after the days of the series; unsorted, two of them twice."""
CURVE = Curve(DAYS, np.stack([np.sin(DAYS / 40), np.cos(DAYS / 40), 0.2 * np.sin(DAYS / 30)], -1))


def _same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def _case(name):
    """Parameters, series and the prior means of a case."""
    series, _ = region(curve=CURVE.value if name == "curve" else 0.0)
    if name == "own":
        return worlds.params(by_pixel=True), series, 0.0, 0.0
    if name == "curve":
        # a year away it is the curve of the season
        year = 365.25 * np.round((ASKED - DAYS.mean()) / 365.25)
        after = np.interp(ASKED - year, DAYS, CURVE.value[:, -1])
        return worlds.params(curve=CURVE), series, CURVE.value, after
    if name == "duplicates":
        day = DAYS.copy()
        day[[5, 11, 12]] = day[[4, 10, 10]]
        series = series._replace(day=day)
    return worlds.params(), series, 0.0, 0.0


@pytest.mark.parametrize("name", ["plain", "own", "duplicates", "curve"])
def test_is_the_posterior_in_ndvi_units(name):
    params, series, before, after = _case(name)
    found = posterior(params, series, ASKED)
    assert found.mean.shape == found.std.shape == (60, ASKED.size)
    for pixel in range(0, 60, 7):
        mean, std = expected(params, series, pixel, ASKED, before, after)
        np.testing.assert_allclose(found.mean[pixel], np.clip(mean, -1, 1), atol=2e-4)
        np.testing.assert_allclose(found.std[pixel], std, rtol=1e-3)
    np.testing.assert_array_equal(found.mean[:, 1], found.mean[:, -1])


def test_noise_is_in_ndvi_units():
    series, _ = region()
    series.ndvi_valid[::7, 3:] = False
    seen = [v[ok].astype(float) for v, ok in zip(
        series.ndvi, series.ndvi_valid, strict=True)]  # fmt: skip
    std = np.array([ndvi.std() if ndvi.size >= 5 else 0.15 for ndvi in seen])
    assert 0 < (std == 0.15).sum() < 20
    own, common = (posterior(worlds.params(by_pixel=own), series, DAYS) for own in (True, False))
    np.testing.assert_allclose(own.noise, np.sqrt(0.05) * std, rtol=1e-4)
    np.testing.assert_allclose(common.noise, np.sqrt(0.05) * 0.15, rtol=1e-6)


def test_std_scales_with_ndvi():
    # a variance times std, as FuseTS returns, would not
    series, _ = region()
    series = series.take(series.ndvi_valid.sum(1) >= 5)
    half = series._replace(ndvi=0.5 * series.ndvi)
    params = worlds.params(by_pixel=True)
    a, b = (posterior(params, s, DAYS) for s in (series, half))
    np.testing.assert_allclose(b.std, 0.5 * a.std, rtol=1e-4)
    np.testing.assert_allclose(b.noise, 0.5 * a.noise, rtol=1e-4)
    inside = np.abs(a.mean) < 1
    np.testing.assert_allclose(b.mean[inside], 0.5 * a.mean[inside], atol=1e-5)


def test_the_factor_scales_all_that_is_a_standard_deviation():
    series, _ = region()
    narrow, wide = worlds.params(), replace(worlds.params(), std_factor=jnp.float32(1.5))
    a, b = (posterior(p, series, DAYS) for p in (narrow, wide))
    np.testing.assert_array_equal(a.mean, b.mean)
    np.testing.assert_allclose(b.std, 1.5 * a.std, rtol=1e-6)
    np.testing.assert_allclose(b.noise, 1.5 * a.noise, rtol=1e-6)


def test_mean_is_an_ndvi():
    series, _ = region()
    series.ndvi[:] = 1.3 * np.sign(series.radar[..., 0, 1] + 17)
    params = worlds.params(HYPER._replace(mixing=np.full((1, 3), 3.0)))
    assert np.abs(posterior(params, series, DAYS).mean).max() == 1.0


@pytest.mark.parametrize("mode", ["region", "pixel"])
def test_hidden_values_never_matter(mode):
    series, _ = region()
    params = worlds.fitted() if mode == "pixel" else worlds.params()
    clean = posterior(params, series, DAYS)
    for junk in (np.nan, np.inf, -9999.0):
        value, valid = outputs(series)
        value = np.where(valid, value, np.float32(junk))
        _same(posterior(params, series_of(DAYS, value, valid), DAYS), clean)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["region", "pixel"])
def test_number_chunks_and_neighbours_change_no_bit(mode):
    series, _ = region(pixels=700)
    for leaf in series[1:5]:
        leaf[[41, 650]] = leaf[3]
    params = worlds.fitted()
    params = params if mode == "pixel" else replace(params, prior=None)
    whole = posterior(params, series, DAYS)
    _same(posterior(params, series, DAYS, chunk=7), whole)
    some = np.random.default_rng(0).permutation(700)[:11]
    _same(posterior(params, series.take(some), DAYS), jax.tree.map(lambda a: a[some], whole))
    one = jax.tree.map(lambda leaf: leaf[3], whole)
    for twin in (41, 650):
        _same(jax.tree.map(lambda leaf, twin=twin: leaf[twin], whole), one)
    assert np.ptp(whole.mean[:, 5]) > 0.1


@pytest.mark.slow
def test_several_latents():
    series, _ = region(pixels=8)
    twice = gp.Hyper(
        np.array([30.0, 90.0]), np.repeat(HYPER.mixing, 2, 0) * [[0.4], [0.9]],
        np.repeat(HYPER.kappa, 2, 0), HYPER.noise,
    )  # fmt: skip
    params = worlds.params(twice)
    found = posterior(params, series, DAYS)
    for pixel in range(8):
        mean, std = expected(params, series, pixel, DAYS)
        np.testing.assert_allclose(found.mean[pixel], np.clip(mean, -1, 1), atol=2e-4)
        np.testing.assert_allclose(found.std[pixel], std, rtol=1e-3)


def test_pixels_fit_their_own_hyperparameters():
    series, _ = region()
    params = worlds.fitted()
    full = series._replace(ndvi_valid=np.ones_like(series.ndvi_valid))
    value, valid = outputs(full)
    z = (value - np.asarray(params.region_mean)) / np.asarray(params.region_std)
    own, fine = gp.fit_pixels(gp.Observations(DAYS, z, valid), params.prior, params.hyper)
    assert fine.all()
    found = posterior(params, full, DAYS)
    for pixel in (0, 31):
        hyper = jax.tree.map(lambda leaf, pixel=pixel: leaf[pixel], own)
        mean, std = expected(replace(params, hyper=hyper), full, pixel, DAYS)
        np.testing.assert_allclose(found.mean[pixel], np.clip(mean, -1, 1), atol=5e-4)
        np.testing.assert_allclose(found.std[pixel], std, rtol=5e-3)
        noise = np.sqrt(hyper.noise[-1]) * float(params.region_std[-1])
        np.testing.assert_allclose(found.noise[pixel], noise, rtol=1e-3)


def test_failed_fit_falls_back_to_the_region_and_says_so(monkeypatch):
    series, _ = region()
    params = worlds.fitted()
    full, regional = (posterior(p, series, DAYS) for p in (params, replace(params, prior=None)))
    assert not (full.quality & REGION_HYPER).any()
    further = gp.pixels._further

    def _never_done(*args, **options):
        lanes = further(*args, **options)
        return lanes._replace(done=np.arange(len(lanes.done)) >= 20)

    monkeypatch.setattr(gp.pixels, "_further", _never_done)
    found = posterior(params, series, DAYS)
    failed = (found.quality & REGION_HYPER) > 0
    assert 0 < failed.sum() < 60
    for part in ("mean", "std", "noise"):
        now, own, common = (getattr(p, part) for p in (found, full, regional))
        np.testing.assert_array_equal(now[~failed], own[~failed])
        np.testing.assert_allclose(now[failed], common[failed], rtol=1e-5, atol=1e-6)
    assert np.abs(found.mean - full.mean)[failed].max() > 1e-3


def test_flags_say_what_a_pixel_lacks():
    series, _ = region(pixels=13)
    value, valid = outputs(series)
    valid[:, :6] = True
    valid[1, :, -1] = False
    valid[2] = False
    valid[3, :, -1] = np.arange(20) < 4
    value[4, :, -1] = 0.7
    valid[5, :, :2] = False  # no radar: the NDVI alone is enough
    value[6, 2, 0] = np.inf
    value[7, 3, -1] = -9999.0
    value[8, :, 1] = -79.0  # a fill that could be a number
    value[9, :, 1] = 1e6
    value[10, ~valid[10]] = np.nan  # what is not valid is not left out
    value[11, :, -1] = 1.2 - 1e-5 * np.arange(20)
    value[12, :, -1] = 1.4
    found = posterior(worlds.params(), series_of(DAYS, value, valid), DAYS)
    assert found.quality.dtype == np.uint8
    scale, bad = REGION_SCALE, IMPLAUSIBLE
    np.testing.assert_array_equal(
        found.quality,
        [
            0,
            scale,
            NO_DATA,
            scale,
            scale,
            0,
            bad,
            bad,
            bad,
            bad,
            0,
            scale | CLIPPED,
            scale | CLIPPED,
        ],
    )
    assert {REGION_SCALE, NO_DATA, REGION_HYPER, IMPLAUSIBLE, CLIPPED} == {1, 2, 4, 8, 32}
    np.testing.assert_allclose(found.mean[2], 0.4, rtol=1e-6)
    np.testing.assert_allclose(found.std[2], 0.15 * np.sqrt(0.8**2 + 0.1), rtol=1e-5)
    assert np.ptp(found.mean[1]) > 0.05  # Sentinel-1 alone tells something
    # what is left out is as if it had never been observed
    valid[6, 2, 0] = valid[7, 3, -1] = valid[8:10, :, 1] = False
    clean = posterior(worlds.params(), series_of(DAYS, value, valid), DAYS)
    np.testing.assert_array_equal(clean.quality & IMPLAUSIBLE, 0)
    np.testing.assert_array_equal(found.mean, clean.mean)
    np.testing.assert_array_equal(found.std, clean.std)


def test_a_flag_is_of_the_channels_that_are_used():
    series, _ = region(pixels=4)
    smooth = series.radar[..., 0, :] * np.float32(0.9)
    smooth[1, 3, 0] = np.nan
    series.radar[2, 3, 0, 0] = np.nan
    series = with_look(series, smooth)
    raw, filtered = (
        posterior(replace(worlds.params(), inputs=((look, 0), (look, 1))), series, DAYS)
        for look in (0, 1)
    )
    np.testing.assert_array_equal(raw.quality & IMPLAUSIBLE, [0, 0, 8, 0])
    np.testing.assert_array_equal(filtered.quality & IMPLAUSIBLE, [0, 8, 0, 0])
    assert np.isfinite(filtered.mean).all()


def test_solvers_agree():
    series, _ = region(pixels=20)
    a, b = (posterior(worlds.params(solver=s), series, DAYS) for s in gp.SOLVERS)
    np.testing.assert_allclose(a.mean, b.mean, atol=1e-4)
    np.testing.assert_allclose(a.std, b.std, rtol=2e-3)


@pytest.mark.slow
def test_inducing_days_are_of_the_series_whatever_is_asked():
    series, _ = region(pixels=20)
    params = worlds.params()
    exact = posterior(params, series, DAYS)
    # on every day of the series they are no approximation
    found = posterior(replace(params, inducing=20), series, DAYS)
    np.testing.assert_allclose(found.mean, exact.mean, atol=1e-3)
    np.testing.assert_allclose(found.std, exact.std, rtol=1e-2)
    more = posterior(replace(params, inducing=20), series, np.r_[DAYS, DAYS[-1] + 3000.0])
    np.testing.assert_allclose(more.mean[:, :20], found.mean, atol=1e-5)
    np.testing.assert_allclose(more.std[:, :20], found.std, rtol=1e-4)
    rough = posterior(replace(params, inducing=5), series, DAYS)
    assert 1e-3 < np.abs(rough.mean - exact.mean).max() < 0.5


@pytest.mark.slow
def test_any_precision_of_series_and_parameters(x64):
    series, _ = region(pixels=4)
    dtype = jnp.float64 if x64 else jnp.float32
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), worlds.params())
    for kind in (np.float32, np.float64):
        typed = series._replace(radar=series.radar.astype(kind), ndvi=series.ndvi.astype(kind))
        found = posterior(params, typed, DAYS)
        assert found.mean.dtype == dtype
        for pixel in range(4):
            mean, std = expected(params, series, pixel, DAYS)
            np.testing.assert_allclose(found.mean[pixel], mean, atol=1e-6 if x64 else 2e-4)
            np.testing.assert_allclose(found.std[pixel], std, rtol=1e-5 if x64 else 1e-3)


@pytest.mark.parametrize(
    ("change", "keywords", "message"),
    [
        ({"solver": "magic"}, {}, r"solver: got 'magic', expected one of \['dense', 'kalman'"),
        ({}, {"chunk": 0}, r"chunk: got 0 pixels, expected 1 or more"),
        ({}, {"days": np.array([19000.0, np.nan])}, r"days: got nan, expected finite"),
        ({"day": DAYS[::-1]}, {}, r"series\.day: got .* expected none earlier than the one before"),
        ({"day": np.where(DAYS > 19100, np.nan, DAYS)}, {}, r"series\.day: got nan at index 9"),
        ({"inputs": ((0, 0), (0, 3))}, {}, r"series\.radar: got 2 channels, expected 4"),
        ({"inputs": ((1, 0), (1, 1))}, {}, r"series\.radar: got no speckle-filtered look"),
    ],
)
def test_door(change, keywords, message):
    series, _ = region(pixels=2)
    params = worlds.params()
    if "day" in change:
        series = series._replace(**change)
    else:
        params = replace(params, **change)
    days = keywords.pop("days", DAYS)
    with pytest.raises(ValueError, match=message):
        posterior(params, series, days, **keywords)
