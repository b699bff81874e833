"""Periods and composites against pandas, NumPy and their laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from s1jax import cube
from s1jax.compositing import (
    composite,
    composite_series,
    composite_windows,
    interpolate_gaps,
    is_regular,
    period_edges,
)
from tests.worlds.series import stacked

TIME = 12
EDGES = np.array([0.0, 12.0, 24.0, 36.0])


def _planted(seed, dtype=np.float64):
    rng = np.random.default_rng(seed)
    day = rng.permutation(np.arange(40))[:TIME].astype(dtype)
    return day, rng.normal(-12, 4, TIME).astype(dtype), rng.random(TIME) < 0.7


def _expected(day, value, valid, statistic):
    frame = pd.DataFrame({"day": day, "value": value})[valid]
    frame["period"] = pd.cut(frame.day, EDGES, right=False, labels=False)
    group = frame.dropna().groupby("period")
    if statistic == "mean_db":
        power = 10 ** (frame.value / 10)
        made = 10 * np.log10(power.groupby(frame.period).mean())
    else:
        made = getattr(group.value, statistic)()
    periods = range(len(EDGES) - 1)
    return made.reindex(periods).to_numpy(), group.day.mean().reindex(periods).to_numpy()


@pytest.mark.parametrize("statistic", ["mean", "median", "max", "mean_db"])
@pytest.mark.parametrize("seed", range(6))
def test_composite_equals_pandas(statistic, seed, x64):
    dtype = np.float64 if x64 else np.float32
    day, value, valid = _planted(seed, dtype)
    made, some, mean_day = composite(
        jnp.asarray(day), jnp.asarray(value), jnp.asarray(valid), jnp.asarray(EDGES, dtype),
        statistic=statistic,
    )  # fmt: skip
    expected, expected_day = _expected(day, value, valid, statistic)
    assert made.dtype == mean_day.dtype == dtype
    np.testing.assert_array_equal(some, np.isfinite(expected))
    tolerance = 1e-10 if x64 else 1e-4
    np.testing.assert_allclose(made, np.nan_to_num(expected), atol=tolerance)
    centre = (EDGES[:-1] + EDGES[1:]) / 2
    np.testing.assert_allclose(
        mean_day, np.where(np.isnan(expected_day), centre, expected_day), atol=tolerance
    )


def test_vmap_equals_the_loop_over_pixels():
    day, value, valid = (np.stack(x) for x in zip(*map(_planted, range(5)), strict=True))
    day, edges = jnp.asarray(day[0], jnp.float32), jnp.asarray(EDGES, jnp.float32)
    value, valid = jnp.asarray(value, jnp.float32), jnp.asarray(valid)
    batch = jax.vmap(lambda v, ok: composite(day, v, ok, edges, statistic="median"))(value, valid)
    loop = [composite(day, v, ok, edges, statistic="median") for v, ok in zip(value, valid)]  # noqa: B905
    for together, apart in zip(batch, zip(*loop, strict=True), strict=True):
        np.testing.assert_array_equal(together, jnp.stack(apart))


def test_true_mean_day_survives_float32_today():
    # 20 000 days after 1970 the sum of many days would not be exact to a hundredth in float32
    day = jnp.asarray(20_000.0 + np.arange(12), jnp.float32)
    edges = jnp.asarray([20_000.0, 20_012.0], jnp.float32)
    _, _, mean_day = composite(day, jnp.zeros(12), jnp.ones(12, bool), edges)
    assert float(mean_day[0]) == 20_005.5


STATISTIC = st.sampled_from(["mean", "median", "max", "mean_db"])


def _composite(day, value, valid, statistic):
    as_arrays = (jnp.asarray(x, jnp.float32) for x in (day, value))
    return composite(
        *as_arrays, jnp.asarray(valid), jnp.asarray(EDGES, jnp.float32), statistic=statistic
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999), statistic=STATISTIC, level=st.floats(-30, 5))
def test_a_constant_stays_constant(seed, statistic, level):
    day, value, valid = _planted(seed)
    made, some, _ = _composite(day, np.full_like(value, level), valid, statistic)
    np.testing.assert_allclose(made[some], level, atol=2e-5, rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999), statistic=STATISTIC)
def test_within_the_range_and_the_order_of_days_is_nothing(seed, statistic):
    day, value, valid = _planted(seed)
    made, some, mean_day = _composite(day, value, valid, statistic)
    order = np.random.default_rng(seed).permutation(TIME)
    again = _composite(day[order], value[order], valid[order], statistic)
    np.testing.assert_allclose(again[0], made, atol=1e-5)
    np.testing.assert_allclose(again[2], mean_day, atol=1e-5)
    for p in np.flatnonzero(some):
        inside = valid & (day >= EDGES[p]) & (day < EDGES[p + 1])
        assert value[inside].min() - 1e-4 <= made[p] <= value[inside].max() + 1e-4


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999), statistic=STATISTIC, alone=st.integers(0, TIME - 1))
def test_one_observation_returns_itself_at_its_own_day(seed, statistic, alone):
    day, value, _ = _planted(seed)
    made, some, mean_day = _composite(day, value, np.arange(TIME) == alone, statistic)
    p = int(day[alone] // 12)
    assert int(some.sum()) == (p < 3)
    if p < 3:
        assert float(made[p]) == pytest.approx(value[alone], abs=1e-5)
        assert float(mean_day[p]) == pytest.approx(day[alone], abs=1e-5)


def test_masked_equals_dropped_and_invalid_values_never_count():
    day, value, valid = _planted(3)
    planted = np.where(valid, value, np.nan)
    masked = _composite(day, planted, valid, "median")
    dropped = _composite(day[valid], value[valid], np.ones(valid.sum(), bool), "median")
    for one, other in zip(masked, dropped, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("statistic", ["mean", "median", "max", "mean_db"])
@pytest.mark.parametrize("seed", range(4))
def test_around_is_the_loop_over_windows(statistic, seed, float64):
    day, value, valid = _planted(seed)
    centre, within = np.array([3.0, 5.0, 20.0, 90.0]), 6.0
    as_arrays = (jnp.asarray(x) for x in (day, np.where(valid, value, np.nan), valid, centre))
    made, some, mean_day = composite_windows(*as_arrays, jnp.asarray(within), statistic=statistic)
    for k, at in enumerate(centre):
        inside = valid & (np.abs(day - at) <= within)
        assert bool(some[k]) == inside.any()
        if not inside.any():
            assert float(made[k]) == 0.0
            assert float(mean_day[k]) == at
            continue
        x = value[inside]
        expected = {"mean": np.mean, "median": np.median, "max": np.max}.get(
            statistic, lambda x: 10 * np.log10(np.mean(10 ** (x / 10)))
        )(x)
        assert float(made[k]) == pytest.approx(expected, abs=1e-10)
        assert float(mean_day[k]) == pytest.approx(day[inside].mean(), abs=1e-10)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999), statistic=STATISTIC)
def test_windows_that_are_the_periods_make_their_composites(seed, statistic):
    day, value, valid = _planted(seed)
    day = day + 0.5  # no day is on an edge, which would be in two windows
    periods = _composite(day, value, valid, statistic)
    as_arrays = (jnp.asarray(x, jnp.float32) for x in (day, value))
    centre = jnp.asarray((EDGES[:-1] + EDGES[1:]) / 2, jnp.float32)
    windows = composite_windows(
        *as_arrays, jnp.asarray(valid), centre, jnp.float32(6.0), statistic=statistic
    )
    for one, other in zip(windows, periods, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), share=st.floats(0.0, 1.0))
def test_filling_equals_numpy_interpolation(seed, share):
    rng = np.random.default_rng(seed)
    day = np.cumsum(rng.uniform(1, 20, 12)).astype(np.float32)
    values = rng.normal(size=12).astype(np.float32)
    valid = rng.random(12) < share
    filled = interpolate_gaps(jnp.asarray(day), jnp.asarray(values), jnp.asarray(valid))
    expected = np.interp(day, day[valid], values[valid]) if valid.any() else np.zeros(12)
    np.testing.assert_allclose(filled, expected, atol=2e-5)


def test_values_where_invalid_do_not_matter():
    day, valid = jnp.arange(5.0), jnp.array([True, False, True, False, False])
    a = interpolate_gaps(day, jnp.array([1.0, 99.0, 3.0, 99.0, 99.0]), valid)
    b = interpolate_gaps(day, jnp.array([1.0, jnp.nan, 3.0, -5.0, jnp.inf]), valid)
    np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(a, [1, 2, 3, 3, 3])


def test_period_edges():
    day = np.array([100.25, 111.9, 112.0, 130.0])
    np.testing.assert_array_equal(period_edges(day), [100, 112, 124, 136])
    np.testing.assert_array_equal(period_edges(day, start=105, step=13), [105, 118, 131])
    # the last day is always inside, also where it is the first moment of a period
    np.testing.assert_array_equal(period_edges(np.array([0.0, 24.0])), [0, 12, 24, 36])
    with pytest.raises(ValueError, match="step: got 0"):
        period_edges(day, step=0)
    with pytest.raises(ValueError, match="none after start"):
        period_edges(day, start=131)
    with pytest.raises(ValueError, match="no day"):
        period_edges(np.zeros(0))


def test_is_regular():
    def _days(dates):
        return (pd.DatetimeIndex(dates) - pd.Timestamp("1970-01-01")) / pd.Timedelta("1D")

    months = pd.date_range("2020-08-01", periods=20, freq="MS")
    dekads = [m + pd.Timedelta(days=d) for m in months for d in (0, 10, 20)]
    assert is_regular(_days(months).to_numpy())
    assert is_regular(_days(dekads).to_numpy())
    assert is_regular(np.arange(62) * 12.0 + 6)
    assert not is_regular(np.cumsum([1.0, 4.0, 5.0, 1.0, 9.0]))
    assert not is_regular(np.array([0.0, 12.0, 36.0]))
    assert not is_regular(np.array([0.0, 0.0, 12.0]))
    assert is_regular(np.array([5.0]))


def _acquisitions(seed, pixels=5, looks=2):
    """Series of irregular days on which either satellite passes."""
    rng = np.random.default_rng(seed)
    day = np.sort(rng.choice(90, 30, replace=False)).astype(np.float32)
    value = np.concatenate([rng.normal(-14, 3, (pixels, 30, 2)), rng.random((pixels, 30, 1))], -1)
    valid = rng.random(value.shape) < 0.6
    radar = [rng.normal(-14, 1, (pixels, 30, 2)).astype(np.float32) for _ in range(looks - 1)]
    position = rng.uniform(0, 500, (pixels, 2)).astype(np.float32)
    return stacked(day, value.astype(np.float32), valid, position, looks=radar)


@pytest.mark.parametrize("statistic", ["mean_db", "median", "mean", "max"])
def test_composites_of_a_series_are_those_of_each_channel_and_look(statistic):
    series = _acquisitions(0)
    made, mean_day = composite_series(series, 10.0, statistic=statistic)
    edges = series.day.min() + 10.0 * np.arange(made.day.size + 1, dtype=np.float32)
    np.testing.assert_array_equal(made.day, (edges[:-1] + edges[1:]) / 2)
    np.testing.assert_array_equal(made.span, np.full(made.day.size, 10.0))
    np.testing.assert_array_equal(made.position, series.position)

    def _of(values, valid, kind):
        arrays = (jnp.asarray(x) for x in (series.day, values, valid, edges))
        return composite(*arrays, statistic=kind)

    for pixel in range(5):
        ndvi = _of(series.ndvi[pixel], series.ndvi_valid[pixel], "median")
        parts = zip(ndvi, (made.ndvi, made.ndvi_valid, mean_day), strict=True)
        for expected, part in parts:
            np.testing.assert_allclose(part[pixel], expected, atol=1e-6)
        for look in range(2):
            for channel in range(2):
                valid = series.radar_valid[pixel, :, channel]
                value, some, _ = _of(series.radar[pixel, :, look, channel], valid, statistic)
                np.testing.assert_allclose(made.radar[pixel, :, look, channel], value, atol=1e-5)
                np.testing.assert_array_equal(made.radar_valid[pixel, :, channel], some)


@pytest.mark.parametrize("statistic", ["mean_db", "median"])
def test_composites_of_a_series_are_those_of_the_cube(statistic):
    rng = np.random.default_rng(1)
    day = np.sort(rng.choice(90, 30, replace=False))
    dims, shape = ("t", "y", "x"), (30, 4, 5)
    values = {"VV": rng.normal(-11, 2, shape), "VH": rng.normal(-18, 2, shape)}
    values["S2ndvi"] = rng.random(shape)
    raw = xr.Dataset(
        {
            name: (dims, np.where(rng.random(shape) < 0.6, value, np.nan).astype(np.float32))
            for name, value in values.items()
        },
        {
            "t": np.datetime64("2024-01-01", "ns") + day * np.timedelta64(1, "D"),
            "y": 9_230_000.0 - 50 * np.arange(4),
            "x": 460_000.0 + 50 * np.arange(5),
        },
        {"crs": "EPSG:32749"},
    )
    ds = cube.open_cube(raw)
    expected, pixel = cube.to_series(cube.align_cube(ds, step=12, radar=statistic))
    assert pixel.size == 20
    made, _ = composite_series(cube.to_series(ds)[0], 12.0, statistic=statistic)
    np.testing.assert_array_equal(made.day, expected.day)
    for name in ("radar_valid", "ndvi_valid", "position"):
        np.testing.assert_array_equal(getattr(made, name), getattr(expected, name), name)
    for name in ("radar", "ndvi"):
        np.testing.assert_allclose(getattr(made, name), getattr(expected, name), atol=2e-5)


def test_composites_of_a_series_are_of_each_pixel_alone():
    series = _acquisitions(2)
    some = np.array([3, 0])
    part, whole = (composite_series(s, 12.0)[0] for s in (series.take(some), series))
    jax.tree.map(np.testing.assert_array_equal, part, whole.take(some))
