"""Periods and composites against pandas, NumPy and their laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1jax.align import around, composite, is_regular, period_edges

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
    made, some, mean_day = around(*as_arrays, jnp.asarray(within), statistic=statistic)
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
    windows = around(*as_arrays, jnp.asarray(valid), centre, jnp.float32(6.0), statistic=statistic)
    for one, other in zip(windows, periods, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


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
