"""Estimators made of Estimators: of stubs that NumPy can answer for, of a network and MOGPR."""

import dataclasses
import logging

import chex
import jax
import numpy as np
import pytest

from s1jax import masking, networks, quality
from s1jax.compositing import composite_series
from s1jax.estimators import (
    FLOOR,
    IDENTITY,
    NOISE,
    Calibration,
    apply,
    calibrate,
    calibrated,
    composited,
    ensemble,
    fitted,
    residual,
    switched,
)
from s1jax.extrapolation import LENGTH
from s1jax.mogpr import MogprConfig, mogpr
from s1jax.types import Estimate, Estimator
from tests.worlds import sequence
from tests.worlds.sequence import TCN_S1
from tests.worlds.series import stacked

KEY = jax.random.key(0)
DATES = 24
DAY = 19668.0 + 12 * np.arange(DATES)


def world(seed, pixels=80):
    """Series with half the NDVI missing, and the latent NDVI: a region's sine, on which radar
    stands, and a level of each pixel, of which radar knows nothing."""
    rng = np.random.default_rng(seed)
    wave = 0.5 + 0.25 * np.sin(DAY / 40 + rng.uniform(0, 6, (pixels, 1)))
    latent = wave + rng.normal(0, 0.1, (pixels, 1))
    ndvi = latent + rng.normal(0, 0.02, latent.shape)
    value = np.stack([-12 + 4 * wave, -20 + 8 * wave, ndvi], -1).astype(np.float32)
    valid = rng.random(value.shape) < np.array([1.0, 1.0, 0.5])
    position = rng.uniform(0, 5000, (pixels, 2)).astype(np.float32)
    return stacked(DAY.astype(np.float32), np.where(valid, value, 0), valid, position), latent


def constant(mean, std, noise=0.0):
    """A method that always gives the same."""

    def _predict(params, series, days):
        shape = (len(series.ndvi), len(days))
        return Estimate(
            *(np.full(shape, x, np.float32) for x in (mean, std)),
            np.full(len(series.ndvi), noise, np.float32),
        )

    return Estimator(lambda key, training, validation: None, _predict)


def line():
    """NDVI as a line in VH of the nearest date, and its RMS residual: no NDVI of the pixel."""

    def _fit(key, training, validation):
        valid = np.asarray(training.ndvi_valid)
        vh, ndvi = (np.asarray(x)[valid] for x in (training.radar[:, :, 0, 1], training.ndvi))
        slope, level = np.polyfit(vh, ndvi, 1)
        return slope, level, np.std(ndvi - slope * vh - level)

    def _predict(params, series, days):
        slope, level, std = params
        nearest = np.abs(np.asarray(series.day)[:, None] - np.asarray(days)).argmin(0)
        mean = (slope * series.radar[:, nearest, 0, 1] + level).astype(np.float32)
        return Estimate(mean, np.full_like(mean, std), np.zeros(len(mean), np.float32))

    return Estimator(_fit, _predict)


def process(length=100.0, noise=0.02):
    """An exact zero-mean Gaussian process of the pixel's own NDVI; its variance is fitted."""

    def _fit(key, training, validation):
        return np.asarray(training.ndvi)[np.asarray(training.ndvi_valid)].std()

    def _predict(std, series, days):
        def _covariance(a, b):
            away = np.asarray(a, float)[:, None] - np.asarray(b, float)
            return std**2 * np.exp(-np.abs(away) / length)

        means, stds = [], []
        for ndvi, valid in zip(np.asarray(series.ndvi), np.asarray(series.ndvi_valid), strict=True):
            day = np.asarray(series.day)[valid]
            inside = _covariance(day, day) + noise**2 * np.eye(len(day))
            weight = np.linalg.solve(inside, _covariance(day, days)).T
            means.append(weight @ ndvi[valid])
            variance = std**2 - (weight * _covariance(days, day)).sum(1)
            stds.append(np.sqrt(np.maximum(variance, 1e-6)))
        mean, std_of = (np.array(x, np.float32) for x in (means, stds))
        return Estimate(mean, std_of, np.full(len(mean), noise, np.float32))

    return Estimator(_fit, _predict)


def hybrid(**options):
    return calibrated(residual(line(), process()), **options)


def _rmse(mean, truth, where):
    return np.sqrt(((np.asarray(mean) - truth)[where] ** 2).mean())


def _every_ndvi_masked(series):
    return masking.with_ndvi_masked(series, np.ones(series.ndvi.shape, bool))


def recording(method, calls):
    """The method, which notes what its fit was given."""

    def _fit(*given):
        calls.append(given)
        return method.fit(*given)

    return Estimator(_fit, method.predict)


# fitted


def once(method):
    """The method, fitted once for all that share it."""
    params = []

    def _fit(*given):
        params.extend(() if params else [method.fit(*given)])
        return params[0]

    return Estimator(_fit, method.predict)


def test_fitted_needs_no_fit():
    series, _ = world(2, 6)
    calls = []
    method = fitted(recording(line(), calls), (0.1, 2.5, 0.07))
    assert method.fit(KEY, series, series) == (0.1, 2.5, 0.07)
    assert not calls
    chex.assert_trees_all_equal(
        method.predict((0.1, 2.5, 0.07), series, series.day),
        line().predict((0.1, 2.5, 0.07), series, series.day),
    )


# calibrated


@pytest.mark.parametrize("inflation", [1.0, 1.25])
def test_a_calibrated_band_is_that_of_the_method_made_wider(inflation):
    (training, _), (validation, _), (series, _) = world(0), world(1), world(2, 20)
    series = masking.with_ndvi_masked(series, np.arange(20)[:, None] < 5)
    method = calibrated(line(), inflation=inflation)
    params = method.fit(KEY, training, validation)
    raw = line().predict(params.params, series, series.day)
    estimate = method.predict(params, series, series.day)
    np.testing.assert_array_equal(estimate.mean, raw.mean)
    factor, floor, noise = params.calibration
    has = np.asarray(series.ndvi_valid).any(1).astype(int)
    assert 0 < has.sum() < 20
    wide = factor[has][:, None] * np.hypot(raw.std, floor[has][:, None])
    np.testing.assert_allclose(estimate.std, wide, rtol=1e-6)
    np.testing.assert_allclose(estimate.noise, noise[has], rtol=1e-6)
    np.testing.assert_allclose(noise, NOISE * factor)
    np.testing.assert_array_equal(floor, [FLOOR] * 2)
    # nine in ten labels of pixels that were not seen lie inside
    error = np.abs(raw.mean - series.ndvi)
    inside = error <= 1.645 * np.hypot(estimate.std, estimate.noise[:, None])
    assert inside[series.ndvi_valid].mean() > 0.85


def test_another_district_makes_the_same_fit_wider():
    training, validation = world(0)[0], world(1)[0]
    shared = once(line())
    near, far = (
        calibrated(shared, inflation=times).fit(KEY, training, validation) for times in (1.0, 1.25)
    )
    assert near.params is far.params
    np.testing.assert_allclose(far.calibration.factor, 1.25 * near.calibration.factor)
    np.testing.assert_allclose(far.calibration.noise, 1.25 * near.calibration.noise)
    np.testing.assert_array_equal(far.calibration.floor, near.calibration.floor)
    assert far.level == near.level


def test_few_labels_calibrate_nothing_and_the_widest_band_is_logged(caplog):
    series, _ = world(1, 40)
    few = masking.with_ndvi_masked(series, np.arange(40)[:, None] >= 1)
    made = calibrate(lambda s, days: constant(0.5, 0.01).predict(None, s, days), few)
    np.testing.assert_array_equal(made.factor, [1.0, 1.0])
    with caplog.at_level(logging.WARNING, logger="s1jax"):
        made = calibrate(lambda s, days: constant(-9.0, 0.01).predict(None, s, days), series)
    np.testing.assert_allclose(made.factor, 10.0)
    assert "does not hold 90 % of the labels" in caplog.text


def test_the_identity_changes_no_band():
    estimate = constant(0.4, 0.1).predict(None, world(2, 6)[0], DAY)
    for has in (np.zeros(6, bool), np.ones(6, bool)):
        chex.assert_trees_all_equal(apply(IDENTITY, estimate, has), estimate)
    wide = apply(Calibration(*np.array([[2.0, 3.0], [0.0, 0.0], [0.1, 0.2]])), estimate, has)
    np.testing.assert_allclose(wide.std, 0.3, rtol=1e-6)
    np.testing.assert_allclose(wide.noise, 0.2)


def test_implausible_values_reach_no_fit_and_flag_their_pixel():
    (training, _), (validation, _), (series, _) = world(0), world(1), world(2, 12)
    training.ndvi[3, :4], training.ndvi_valid[3, :4] = 7.0, True
    series.radar[4, 2, 0, 1] = 1e6
    calls = []
    method = calibrated(recording(line(), calls))
    params = method.fit(KEY, training, validation)
    ((_, seen, _),) = calls
    assert not seen.ndvi_valid[3, :4].any()
    estimate = method.predict(params, series, series.day)
    assert estimate.quality.dtype == np.uint8
    assert estimate.quality[4] & quality.IMPLAUSIBLE
    assert not (np.delete(estimate.quality, 4) & quality.IMPLAUSIBLE).any()
    with pytest.raises(ValueError, match=r"series\.day: got "):
        method.fit(KEY, training._replace(day=training.day[::-1]), validation)
    with pytest.raises(ValueError, match="days: got nan"):
        method.predict(params, series, np.float32([19700, np.nan]))


def test_far_from_all_dates_the_std_is_that_of_the_region():
    (training, _), (validation, _), (series, _) = world(0), world(1), world(2, 12)
    method = calibrated(line())
    params = method.fit(KEY, training, validation)
    away = np.float32([0.0, LENGTH, 4000.0])
    std = np.asarray(method.predict(params, series, series.day[-1] + away).std)
    level = params.level.std
    np.testing.assert_allclose(
        level, np.asarray(training.ndvi)[training.ndvi_valid].std(), rtol=1e-4
    )
    near, middle, far = std.T
    np.testing.assert_allclose(far, np.maximum(level, near), rtol=1e-5)
    more = np.maximum(level**2 - near**2, 0)
    np.testing.assert_allclose(middle**2, near**2 + (1 - np.exp(-2)) * more, rtol=1e-4)


# residual


def test_a_residual_is_the_process_about_the_mean():
    (training, _), (validation, _), (series, _) = world(0), world(1), world(2, 15)
    calls = []
    method = residual(line(), recording(process(), calls))
    params = method.fit(KEY, training, validation)
    mean = line().fit(KEY, training, validation)
    np.testing.assert_allclose(params.mean, mean)
    # the process is fitted to residuals of validation pixels alone
    ((key, left, deciding),) = calls
    assert left is deciding
    blind = line().predict(mean, validation, validation.day).mean
    np.testing.assert_allclose(left.ndvi, validation.ndvi - blind, atol=1e-6)
    assert (jax.random.key_data(key) != jax.random.key_data(KEY)).any()
    days = np.float32([19660, 19671.5, 19800, 20000])
    m, at = (line().predict(mean, series, d).mean for d in (series.day, days))
    rest = process().predict(params.process, series._replace(ndvi=series.ndvi - m), days)
    estimate = method.predict(params, series, days)
    np.testing.assert_allclose(estimate.mean, np.clip(rest.mean + at, -1, 1), atol=1e-6)
    np.testing.assert_array_equal(estimate.std, rest.std)
    np.testing.assert_array_equal(estimate.noise, rest.noise)


def test_the_mean_of_a_residual_sees_no_ndvi_of_its_pixel():
    def _refuses(params, series, days):
        assert not np.asarray(series.ndvi_valid).any()
        return constant(0.5, 0.1).predict(params, series, days)

    series, _ = world(2, 15)
    method = residual(Estimator(line().fit, _refuses), process())
    method.predict(method.fit(KEY, series, series), series, series.day)


def test_its_own_ndvi_corrects_the_mean():
    estimator = hybrid()
    params = estimator.fit(KEY, world(0)[0], world(1)[0])
    series, latent = world(2, 60)
    estimate = estimator.predict(params, series, series.day)
    alone = line().predict(params.params.mean, series, series.day)
    gap = ~np.asarray(series.ndvi_valid)
    assert _rmse(estimate.mean, latent, gap) < 0.7 * _rmse(alone.mean, latent, gap)
    # years from any NDVI it is the mean again
    bare = estimator.predict(params, _every_ndvi_masked(series), series.day)
    np.testing.assert_allclose(bare.mean, np.clip(alone.mean, -1, 1), atol=1e-5)
    factor = params.calibration.factor
    assert (bare.std / factor[0] > estimate.std / factor[1] - 1e-6).all()
    inside = np.abs(estimate.mean - latent)[gap] < 1.645 * np.asarray(estimate.std)[gap]
    assert inside.mean() > 0.8


# ensemble, switched


def test_an_ensemble_weighs_by_precision():
    series, _ = world(0, 40)
    method = calibrated(ensemble(constant(0.2, 0.1), constant(0.6, 0.2)))
    params = method.fit(KEY, series, series)
    estimate = method.predict(params, series, series.day)
    weight = np.array([100.0, 25.0]) / 125.0
    mean = weight @ [0.2, 0.6]
    variance = weight @ (np.array([0.1, 0.2]) ** 2 + (np.array([0.2, 0.6]) - mean) ** 2)
    np.testing.assert_allclose(estimate.mean, mean, rtol=1e-6)
    factor, floor, _ = params.calibration
    spread = np.sqrt(variance + floor**2)
    np.testing.assert_allclose(estimate.std, spread[1] * factor[1], rtol=1e-6)
    bare = method.predict(params, _every_ndvi_masked(series), series.day)
    np.testing.assert_allclose(bare.std, spread[0] * factor[0], rtol=1e-6)
    with pytest.raises(ValueError, match="members: got none"):
        ensemble()


def test_members_of_an_ensemble_have_keys_of_their_own():
    series, _ = world(0, 10)
    calls = []
    ensemble(*(recording(line(), calls) for _ in range(3))).fit(KEY, series, series)
    keys = {tuple(jax.random.key_data(key).tolist()) for key, *_ in calls}
    assert len(keys) == 3


def test_a_switch_is_one_method_or_the_other():
    training, validation, (series, _) = world(0)[0], world(1)[0], world(2, 30)
    method = switched(process(), line(), share=0.5)
    params = method.fit(KEY, training, validation)
    estimate = method.predict(params, series, series.day)
    chex.assert_tree_all_finite(estimate)
    few = np.asarray(series.ndvi_valid).mean(1) < 0.5
    assert 0 < few.sum() < 30
    dense = process().predict(params.dense, series, series.day)
    sparse = line().predict(params.sparse, series, series.day)
    assert estimate.noise.shape == (30,)
    for name in ("mean", "std", "noise"):
        for some, of in ((few, sparse), (~few, dense)):
            np.testing.assert_array_equal(getattr(estimate, name)[some], getattr(of, name)[some])
    assert (estimate.mean[~few] != sparse.mean[~few]).any(1).all()
    assert estimate.quality.dtype == np.uint8


# composited


def test_a_composited_method_sees_composites_alone():
    training, validation, (series, _) = world(0, 20)[0], world(1, 20)[0], world(2, 9)
    calls = []
    method = composited(recording(line(), calls), step=24.0, statistic="median")
    params = method.fit(KEY, training, validation)
    (given,) = calls
    for part, raw in zip(given[1:], (training, validation), strict=True):
        expected = composite_series(raw, 24.0, statistic="median")[0]
        jax.tree.map(np.testing.assert_array_equal, part, expected)
    days = np.float32([19670, 19700, 19900])
    expected = line().predict(params, composite_series(series, 24.0, statistic="median")[0], days)
    chex.assert_trees_all_equal(method.predict(params, series, days), expected)


def test_a_withheld_label_is_in_no_composite():
    series, _ = world(2, 9)
    hidden = np.random.default_rng(0).random(series.ndvi.shape) < 0.4
    blind = masking.with_ndvi_masked(series, hidden)
    other = blind._replace(ndvi=np.where(blind.ndvi_valid, blind.ndvi, np.float32(0.9)))
    method = composited(process(), step=36.0)
    params = method.fit(KEY, series, series)
    chex.assert_trees_all_equal(*(method.predict(params, s, s.day) for s in (blind, other)))


# laws of all of them

MADE = {
    "calibrated": calibrated(line()),
    "residual": residual(line(), process()),
    "hybrid": hybrid(),
    "ensemble": ensemble(line(), process(), constant(0.5, 0.2)),
    "switched": switched(process(), line(), share=0.5),
    "composited": composited(line(), step=24.0),
}


@pytest.mark.parametrize("name", MADE)
def test_some_pixels_predicted_are_the_predictions_of_some_pixels(name):
    method = MADE[name]
    params = method.fit(KEY, world(0)[0], world(1)[0])
    series, _ = world(2, 12)
    some = np.array([7, 0, 11])
    days = np.float32([19600, 19668, 19700.5, 20000])
    part = method.predict(params, series.take(some), days)
    whole = method.predict(params, series, days)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[some], rtol=1e-6), part, whole)


@pytest.mark.parametrize("name", MADE)
def test_masked_ndvi_is_not_looked_at(name):
    method = MADE[name]
    params = method.fit(KEY, world(0)[0], world(1)[0])
    series, _ = world(2, 12)
    blind = masking.with_ndvi_masked(
        series, np.random.default_rng(3).random(series.ndvi.shape) < 0.4
    )
    other = blind._replace(ndvi=np.where(blind.ndvi_valid, blind.ndvi, np.float32(0.77)))
    chex.assert_trees_all_equal(*(method.predict(params, s, s.day) for s in (blind, other)))


# a network and MOGPR

NETWORK = dataclasses.replace(TCN_S1, train=dataclasses.replace(TCN_S1.train, epochs=10))
PROCESS = MogprConfig(latents=1, inputs="none", mean="zero", hyper="region", sample=32, chunk=64)


@pytest.fixture(scope="module")
def trained():
    """The two parts, fitted once, and what they were fitted to."""
    network, process = once(networks.sequence(NETWORK)), mogpr(PROCESS)
    given = sequence.world(0)[0], sequence.world(1, 60)[0]
    inner = once(residual(network, process))
    return calibrated(inner), calibrated(inner, inflation=1.25), network, given


@pytest.mark.slow
def test_a_hybrid_is_the_network_corrected_by_its_own_ndvi(trained):
    estimator, _, network, given = trained
    params = estimator.fit(KEY, *given)
    series, latent = sequence.world(2, 60)
    estimate = estimator.predict(params, series, series.day)
    alone = network.predict(params.params.mean, series, series.day)
    gap = ~np.asarray(series.ndvi_valid)
    assert _rmse(estimate.mean, latent, gap) < 0.7 * _rmse(alone.mean, latent, gap)
    # years from any NDVI it is the network again
    bare = estimator.predict(params, _every_ndvi_masked(series), series.day)
    level = params.params.process.region_mean[-1]
    np.testing.assert_allclose(bare.mean, np.clip(alone.mean + level, -1, 1), atol=1e-5)
    factor = params.calibration.factor
    assert (bare.std / factor[0] > estimate.std / factor[1] - 1e-6).all()
    inside = np.abs(estimate.mean - latent)[gap] < 1.645 * np.asarray(estimate.std)[gap]
    assert inside.mean() > 0.8


@pytest.mark.slow
def test_a_hybrid_is_wider_in_another_district(trained):
    near, far = (method.fit(KEY, *trained[3]) for method in trained[:2])
    assert near.params is far.params
    np.testing.assert_allclose(
        far.calibration.factor, 1.25 * np.asarray(near.calibration.factor), rtol=1e-5
    )


@pytest.mark.slow
def test_network_or_mogpr_by_the_share_of_clear_dates():
    brief = dataclasses.replace(NETWORK, train=dataclasses.replace(NETWORK.train, epochs=2))
    parts = mogpr(dataclasses.replace(PROCESS, inputs="raw")), networks.sequence(brief)
    method = switched(*parts, share=0.5)
    params = method.fit(KEY, sequence.world(0, 60)[0], sequence.world(1, 40)[0])
    series, _ = sequence.world(2, 30)
    estimate = method.predict(params, series, series.day)
    chex.assert_tree_all_finite(estimate)
    few = np.asarray(series.ndvi_valid).mean(1) < 0.5
    assert 0 < few.sum() < 30
    assert estimate.noise.shape == (30,)
    for part, of, where in zip(parts, params, (~few, few), strict=True):
        expected = part.predict(of, series, series.day)
        for name in ("mean", "std", "noise"):
            leaf, other = (np.asarray(getattr(e, name)) for e in (estimate, expected))
            np.testing.assert_array_equal(leaf[where], other[where])
    network = parts[1].predict(params.sparse, series, series.day)
    assert (estimate.mean[~few] != np.asarray(network.mean)[~few]).any(1).all()
