"""Values that cannot be, days out of order and days far from all dates, in every network."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from s1jax import cube, estimators, networks, quality, regions
from s1jax import extrapolation as far
from s1jax.extrapolation import PRIOR, Level, level_of
from s1jax.networks import patch as patches
from s1jax.networks.inputs import moments, network_input
from s1jax.networks.mlp import MlpParams, Normaliser, init_mlp
from s1jax.networks.model import init, map_mixtures
from s1jax.types import Estimate, Estimator
from tests.worlds.patch import SMALL as PATCHES
from tests.worlds.patch import world as patch_world
from tests.worlds.sequence import CNP, DATES, filtered, world

KEY = jax.random.key(0)
PIXELS = 5
WORSE = [np.nan, np.inf, -np.inf, 1e6, -9999.0, 255.0, 99.0]
MLP = networks.MlpConfig(hidden=(8,), chunk=16)


SERIES = filtered(world(4, PIXELS, 2)[0])
OBSERVED = SERIES._replace(radar=SERIES.radar[..., :1, :])
START = networks.SequenceParams(CNP, init(KEY, CNP), level=Level(*np.float32([0.4, 0.2])))


ONE = Normaliser(*np.float32([[-15] * 3, [3] * 3]), *np.float32([0.4, 0.2]))
DEV = np.float32(0.1)


def _sequence(series, days=None):
    params = networks.adapt(START, SERIES)
    return networks.predict(params, series, series.day if days is None else days)


def _mlp(series, days=None):
    params = MlpParams(MLP, init_mlp(KEY, MLP, jnp.float32), ONE, DEV)
    return networks.mlp(MLP).predict(params, series, series.day if days is None else days)


def _cropsar(series):
    series = series._replace(position=patch_world()[0].position[: len(series.ndvi)])
    variables = patches.generator(patches.init_patch(KEY, PATCHES))
    inputs = patches.one_look(network_input(OBSERVED))
    params = networks.CropsarParams(PATCHES, variables, moments(inputs), np.float32([50, 50]))
    return networks.cropsar(PATCHES).predict(params, series, series.day)


def _says(level):
    """A method of one estimate, that is sure of it."""

    def _predict(params, series, days):
        shape = (len(series.ndvi), len(days))
        return Estimate(np.full(shape, level), np.full(shape, 0.05), np.zeros(shape[0]))

    return Estimator(lambda key, training, validation: None, _predict)


METHODS = {"sequence": _sequence, "mlp": _mlp, "cropsar": _cropsar}


def _bitwise(one, other, where=slice(None)):
    for leaves in zip(one[:2], other[:2], strict=True):
        np.testing.assert_array_equal(*(np.asarray(leaf)[where] for leaf in leaves))


def _joined(series):
    """Copies of radar as observed and NDVI side by side, and where they are valid."""
    value = np.concatenate([series.radar[..., 0, :], series.ndvi[..., None]], -1)
    valid = np.concatenate([series.radar_valid, series.ndvi_valid[..., None]], -1)
    return value, valid


def _with(series, value, valid):
    """The series with what `_joined` returned, changed."""
    radar = np.array(series.radar)
    radar[..., 0, :] = value[..., :-1]
    return series._replace(
        radar=radar, ndvi=value[..., -1], radar_valid=valid[..., :-1], ndvi_valid=valid[..., -1]
    )


@st.composite
def _spoilt(draw):
    """The series with nonsense in one pixel, the same with that not valid, and the pixel."""
    at = draw(st.integers(0, PIXELS - 1))
    where = draw(
        st.lists(st.tuples(st.integers(0, DATES - 1), st.integers(0, 4)), min_size=1, max_size=30)
    )
    value, valid = _joined(SERIES)
    masked, looks = valid.copy(), np.array(SERIES.radar)
    for date, channel in where:
        worse = draw(st.sampled_from(WORSE))
        if channel < 4 and draw(st.booleans()):
            looks[at, date, 1, channel] = worse
        else:
            value[at, date, channel], valid[at, date, channel] = worse, True
        masked[at, date, channel] = False
    bad = _with(SERIES._replace(radar=looks), value, valid)
    return bad, _with(SERIES, _joined(SERIES)[0], masked), at, bool((valid & ~masked).any())


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(spoilt=_spoilt())
def test_nonsense_is_as_if_it_were_missing_and_moves_no_other_pixel(spoilt):
    bad, masked, at, some = spoilt
    others = np.arange(PIXELS) != at
    clean, found = _sequence(SERIES), _sequence(bad)
    _bitwise(found, _sequence(masked))
    _bitwise(found, clean, others)
    assert np.isfinite(found.std).all()
    flags = np.asarray(found.quality)
    assert ((flags & quality.IMPLAUSIBLE) > 0).tolist() == (some & ~others).tolist()
    # what a region is told by has no trace of it either
    one, other = (networks.adapt(START, series) for series in (bad, masked))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("channel", "worse"), [(0, 1e6), (3, np.nan), (4, 255.0)])
def test_every_network_leaves_out_what_cannot_be(name, channel, worse):
    value, valid = _joined(OBSERVED)
    masked = valid.copy()
    value[1, ::2, channel], valid[1, ::2, channel], masked[1, ::2, channel] = worse, True, False
    bad = _with(OBSERVED, value, valid)
    without = _with(OBSERVED, _joined(OBSERVED)[0], masked)
    found = METHODS[name](bad)
    _bitwise(found, METHODS[name](without))
    blind = quality.NO_DATA if name == "mlp" else 0
    assert found.quality.tolist() == [0, quality.IMPLAUSIBLE, 0, 0, blind]
    params = networks.adapt(START, bad)
    ends = [networks.quantiles(params, s, s.day, (0.1,)) for s in (bad, without)]
    np.testing.assert_array_equal(*ends)


@pytest.mark.slow
def test_what_is_learnt_has_no_trace_of_nonsense():
    short = dataclasses.replace(CNP, train=dataclasses.replace(CNP.train, epochs=1))
    training, validation = world(0, 40)[0], world(1, 30)[0]
    value, masked = _joined(training)
    valid = masked.copy()
    value[3, :, 1], value[4, ::3, -1], value[5, 2, 0] = np.nan, 2.0, -9999.0
    valid[3, :, 1] = valid[4, ::3, -1] = valid[5, 2, 0] = True
    masked[3, :, 1] = masked[4, ::3, -1] = masked[5, 2, 0] = False
    parts = [_with(training, value, valid), _with(training, _joined(training)[0], masked)]
    for method in (
        networks.sequence(short),
        networks.mlp(dataclasses.replace(MLP, train=short.train)),
    ):
        one, other = (method.fit(KEY, part, validation) for part in parts)
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            np.testing.assert_array_equal(a, b)
    # of labels that decide how wide a band is, too
    half = _says(0.5).predict
    one, other = (estimators.calibrate(lambda *asked: half(None, *asked), part) for part in parts)
    np.testing.assert_array_equal(one.factor, other.factor)
    held = estimators.calibrated(estimators.ensemble(_says(0.3), _says(0.6)))
    one, other = (held.fit(KEY, part, part) for part in parts)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)
    told = held.predict(one, parts[0], training.day)
    assert np.flatnonzero(told.quality & quality.IMPLAUSIBLE).tolist() == [3, 4, 5]


def test_flags_are_those_of_the_process_and_of_the_product():
    names = {"no_data": "NO_DATA", "implausible_values_left_out": "IMPLAUSIBLE"}
    names["clipped_to_range"] = "CLIPPED"
    for product, name in names.items():
        assert getattr(quality, name) == cube.series.QUALITY[product]
    there = (np.arange(PIXELS) != 2)[:, None]
    nothing = OBSERVED._replace(
        radar_valid=SERIES.radar_valid & there[..., None], ndvi_valid=SERIES.ndvi_valid & there
    )
    for name, method in METHODS.items():
        flags = method(nothing).quality
        assert (flags & quality.NO_DATA > 0)[2], name
    high = dataclasses.replace(START, variables=_high())
    sure = networks.predict(networks.adapt(high, SERIES), SERIES, SERIES.day)
    assert (sure.quality & quality.CLIPPED > 0).all()


def _high():
    """Weights whose estimate is far above 1."""
    params = jax.tree.map(np.array, START.variables.params)
    last = max(params["net"], key=lambda name: int(name.split("_")[1]))
    params["net"][last]["bias"][0] = 50.0
    return START.variables._replace(params=params)


FIFTH = 12.0 * (np.arange(DATES) > 4)
LATER = "expected each day later than the one before"
DAYS = {
    "a NaN": ("got nan at index 3", lambda day: np.where(np.arange(DATES) == 3, np.nan, day)),
    "infinite": ("got inf at index 23", lambda day: np.append(day[:-1], np.inf)),
    "descending": (f"got .* after .* at index 1, {LATER}", lambda day: day[::-1]),
    "one twice": (f"got .* at index 5, {LATER}", lambda day: day - FIFTH),
    "one too few": (r"got shape \(23,\), expected one day for each of 24", lambda day: day[1:]),
}


@pytest.mark.parametrize("case", DAYS)
def test_days_out_of_order_are_refused(case):
    message, change = DAYS[case]
    good = OBSERVED
    day = change(good.day).astype(np.float32)
    wrong = good._replace(day=day)
    params = networks.adapt(START, good)
    one = estimators.calibrated(estimators.ensemble(_says(0.5)))
    switch = estimators.switched(_says(0.5), _says(0.4), share=0.5)
    fitted = estimators.CalibratedParams((None,), estimators.IDENTITY)
    calls = [
        *(lambda method=method: method(wrong) for method in METHODS.values()),
        lambda: networks.adapt(START, wrong),
        lambda: networks.quantiles(params, wrong, good.day, (0.5,)),
        lambda: networks.sequence(CNP).fit(KEY, wrong, good),
        lambda: networks.fine_tune(KEY, params, good, wrong),
        lambda: networks.mlp(MLP).fit(KEY, good, wrong),
        lambda: networks.cropsar(PATCHES).fit(KEY, wrong, good),
        lambda: switch.fit(KEY, wrong, good),
        lambda: one.fit(KEY, good, wrong),
        lambda: one.predict(fitted, wrong, good.day),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(ValueError, match=f"series.day: {message}"):
            call()


def test_days_asked_for_are_numbers():
    params = networks.adapt(START, SERIES)
    for wrong in (np.nan, -np.inf):
        days = np.float32([19700.0, wrong])
        for asks in (
            lambda days=days: networks.predict(params, SERIES, days),
            lambda days=days: networks.quantiles(params, SERIES, days, (0.5,)),
        ):
            with pytest.raises(ValueError, match=f"days: got {wrong} at index 1, expected finite"):
                asks()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), share=st.floats(0.0, 1.0))
def test_how_far_a_day_is_from_the_dates(seed, share):
    rng = np.random.default_rng(seed)
    day = np.cumsum(rng.choice([6.0, 12.0, 90.0, 400.0], 9)).astype(np.float32)
    data = rng.random(9) < share
    days = rng.uniform(day[0] - 500, day[-1] + 500, 20).astype(np.float32)
    expected = []
    for one in days:
        nearest = min((abs(float(d) - float(one)) for d in day[data]), default=np.inf)
        outside = max(float(day[0]) - one, one - float(day[-1]))
        expected.append(max(nearest - 30.0, outside, 0.0))
    for asked in ((day, days, data), tuple(map(jnp.asarray, (day, days, data)))):
        np.testing.assert_allclose(far.days_beyond(*asked), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sequence", "mlp"])
def test_far_from_all_dates_it_knows_what_the_region_says(name):
    value, valid = _joined(OBSERVED)
    value = np.where(valid, value, np.float32([-12, -20, -12, -20, 0.5]))
    series = _with(OBSERVED, value, valid | True)
    # half a year without a date
    series = series._replace(day=series.day + np.where(np.arange(DATES) > 11, 180, 0).astype("f4"))
    first, last = float(series.day[0]), float(series.day[-1])
    on = METHODS[name](series)

    def _on(days):
        return METHODS[name](series, np.float32(days))

    away = np.array([0.0, 10.0, 60.0, 365.0, 3650.0])
    level = (0.4, 0.2) if name == "mlp" else _labels_of(SERIES)
    for end, place, sign in ((last, -1, 1), (first, 0, -1)):
        told = _on(end + sign * away)
        mu, s = (np.float64(leaf)[:, place, None] for leaf in (on.mean, on.std))
        rest = np.exp(-away / 40.0)
        np.testing.assert_allclose(told.mean, level[0] + rest * (mu - level[0]), atol=1e-4)
        variance = s**2 + (1 - rest**2) * np.maximum(level[1] ** 2 - s**2, 0.0)
        np.testing.assert_allclose(told.std, np.sqrt(variance), rtol=1e-3)
        assert (np.diff(told.std, axis=1) >= -1e-6).all()
        assert (np.asarray(told.std)[:, 3:] >= 0.9 * level[1]).all()
    gap = float(series.day[11]) + np.array([0.0, 29.0, 96.0])
    told = _on(gap)
    assert (np.asarray(told.std)[:, 2] >= 0.9 * np.minimum(level[1], 1.0)).all()
    # and what lies on and between dates is not touched by what else is asked
    inside = np.sort(np.append(series.day, series.day[:11] + 6))
    both = _on([*inside, last + 400])
    _bitwise(_on(inside), jax.tree.map(lambda leaf: leaf[:, :-1], both[:2]))


def _labels_of(series):
    ndvi = np.float64(series.ndvi)[series.ndvi_valid]
    return ndvi.mean(), ndvi.std()


@pytest.mark.slow
def test_quantiles_relax_as_the_estimate_does():
    series = OBSERVED
    params = dataclasses.replace(networks.adapt(START, series), mixture=np.float32([1.0, 2.0]))
    some = series.ndvi_valid.any(axis=1)
    told = map_mixtures(lambda mixture: mixture, params, series)
    mean, std, share, depth = (np.float64(leaf)[:, -1] for leaf in told)
    m, s = ((params.level.mean - 0.5) / 0.25, params.level.std / 0.25)
    rest = np.exp(-100.0 / 40.0)
    mean, std = m + rest * (mean - m), 2.0 * std
    std = np.sqrt(std**2 + (1 - rest**2) * np.maximum(s**2 - std**2, 0.0))
    wide = np.hypot(std, 2.0 * float(np.exp(params.variables.params["log_noise"])))
    deep = np.hypot(wide, depth)
    days = np.append(series.day[-3:], series.day[-1] + np.float32(100.0))
    for level in (0.05, 0.5):
        ends = networks.quantiles(params, series, days, (level,))[..., 0]
        x = (ends[:, -1] - 0.5) / 0.25 - mean
        below = (1 - share) * norm.cdf(x / wide) + share * norm.cdf((x + depth) / deep)
        np.testing.assert_allclose(below[some], level, atol=1e-3)
        alone = networks.quantiles(params, series, days[:-1], (level,))[..., 0]
        np.testing.assert_array_equal(ends[:, :-1], alone)


def test_parts_of_an_ensemble_that_stay_sure_do_not_make_it_so():
    series, _ = world(0, 40)
    method = estimators.calibrated(estimators.ensemble(_says(0.3), _says(0.4)))
    params = method.fit(KEY, series, series)._replace(calibration=estimators.IDENTITY)
    days = series.day[-1] + np.float32([0.0, 60.0, 365.0])
    told = method.predict(params, series, days)
    spread = _labels_of(series)[1]
    assert (np.diff(told.std, axis=1) > 0).all()
    assert (told.std[:, -1] >= 0.9 * spread).all()


def test_the_level_is_that_of_the_labels_and_the_prior_without():
    series, _ = world(0, 40)
    found = level_of(series)
    np.testing.assert_allclose(found, _labels_of(series), rtol=1e-5)
    bare = series._replace(ndvi_valid=series.ndvi_valid & False)
    assert level_of(bare) is PRIOR
    assert [float(x) for x in PRIOR] == [0.5, 0.25]
    own = dataclasses.replace(START, level=Level(*np.float32([0.3, 0.1])))
    assert networks.adapt(own, bare).level is own.level


def test_flags_reach_the_map(tmp_path):
    rng = np.random.default_rng(0)
    shape = (8, 4, 5)
    ds = xr.Dataset(
        {
            name: (("t", "y", "x"), rng.normal(*about, shape).astype(np.float32), {"units": unit})
            for name, about, unit in (
                ("VV", (-11, 1), "dB"), ("VH", (-18, 1), "dB"), ("S2ndvi", (0.5, 0.1), "1")
            )
        },
        coords={
            "t": np.datetime64("2024-01-07", "ns") + np.arange(8) * np.timedelta64(12, "D"),
            "y": 9_230_000.0 - 10 * np.arange(4),
            "x": 460_000.0 + 10 * np.arange(5),
        },
        attrs={"crs": "EPSG:32749"},
    )  # fmt: skip
    ds = cube.align_cube(cube.open_cube(ds))
    params = networks.adapt(START, cube.to_series(ds)[0])
    # as if a reader had let it through
    ds["S2ndvi"][{"y": 1, "x": 2, "t": 3}] = 9.0
    done = regions.map_region(
        lambda series, days: networks.predict(params, series, days),
        ds, tmp_path / "map.nc",
    )  # fmt: skip
    assert (done.pixels, done.not_finite, done.failed) == (20, 0, ())
    with xr.open_dataset(tmp_path / "map.nc", engine="h5netcdf") as out:
        flags = out["S2ndvi_QUALITY"].values
    assert (np.argwhere(flags & quality.IMPLAUSIBLE) == [[1, 2]]).all()


def test_what_the_shipped_weights_know_is_said():
    for name in ("pretrained", "adapt", "predict", "pretrained_estimator", "fine_tune"):
        text = " ".join(getattr(networks, name).__doc__.split())
        assert "simulated rice" in text, name
        if name != "fine_tune":
            assert "straight line" in text, name
            assert "R2" in text, name
