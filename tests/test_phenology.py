"""Seasons against SciPy's peaks and planted curves; what must not change them; matching."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from scipy.signal import find_peaks

from s1jax import phenology
from s1jax.phenology import Seasons

DATES, MOST = 62, 8
NEW_YEAR = 19723.0
"""2024-01-01, days since 1970-01-01."""

_one = jax.jit(partial(phenology.seasons, most=MOST))
_two = jax.jit(partial(phenology.seasons, most=2))
_many = jax.jit(jax.vmap(partial(phenology.seasons, most=MOST), (None, 0)))
_mismatch = jax.jit(phenology.mismatch)


def _valid(day, ndvi, read=_one):
    """Valid seasons as NumPy arrays, in the precision of the test."""
    dtype = jnp.result_type(float)
    slots = read(jnp.asarray(day, dtype), jnp.asarray(ndvi, dtype))
    return jax.tree.map(lambda leaf: np.asarray(leaf)[np.asarray(slots.valid)], slots)


def _days(seed, step=12.0):
    """Irregular ascending days from November 2023."""
    rng = np.random.default_rng(seed)
    return 19662.0 + step * (np.arange(DATES) + rng.uniform(-0.2, 0.2, DATES))


def _curve(seed):
    """A rough curve in [0, 1] with a peak every hundred days or so."""
    rng = np.random.default_rng(seed)
    smooth = np.convolve(rng.normal(size=DATES + 6), np.hanning(7), "valid")
    return 0.5 + 0.35 * smooth / np.abs(smooth).max() + 0.06 * rng.normal(size=DATES)


def _logistic(t, planted, base=0.15):
    """Double logistic seasons (rise day, fall day, amplitude, scale in days) above a base."""
    t = np.asarray(t, np.float64)
    total = np.full(t.shape, base)
    for rise, fall, amplitude, scale in planted:
        up, down = (1.0 / (1.0 + np.exp(-(t - x) / scale)) for x in (rise, fall))
        total += amplitude * (up - down)
    return total


def _oracle(day, ndvi):
    """start, peak, end, amplitude of each season: SciPy's peaks, then a walk down both sides."""
    peaks, _ = find_peaks(ndvi, prominence=0.2)
    edges = [0, *peaks, len(ndvi) - 1]
    out = []
    for before, i, after in zip(edges, edges[1:], edges[2:], strict=False):
        low = ndvi[before:i].min(), ndvi[i + 1 : after + 1].min()
        crossed = []
        for level, way in zip((lo + 0.2 * (ndvi[i] - lo) for lo in low), (-1, 1), strict=True):
            k = i
            while ndvi[k] > level:
                k += way
            pair = sorted((k, k - way), key=lambda j: ndvi[j])
            crossed.append(np.interp(level, ndvi[pair], day[pair]))
        a, b, _ = np.polyfit(day[i - 1 : i + 2] - day[i], ndvi[i - 1 : i + 2], 2)
        out.append((crossed[0], day[i] - b / (2 * a), crossed[1], ndvi[i] - np.mean(low)))
    return np.asarray(out).reshape(-1, 4)


def test_seasons_are_scipys_peaks_and_a_walk_down_both_sides(float64):
    count = 0
    for seed in range(60):
        day, ndvi = _days(seed), _curve(seed)
        want = _oracle(day, ndvi)[:MOST]
        got = _valid(day, ndvi)
        np.testing.assert_allclose(
            np.stack([got.start, got.peak, got.end, got.amplitude], axis=-1), want, atol=1e-7
        )
        np.testing.assert_allclose(got.length, want[:, 2] - want[:, 0], atol=1e-7)
        count += len(want)
    assert count > 150


def _years(per_year, scale=8.0):
    """Seasons of 0.6 over two years, the first across New Year."""
    apart = 365.0 / per_year
    half = (0.2 if per_year == 1 else 0.27) * apart
    centres = NEW_YEAR + (55.0 if per_year == 1 else 20.0) + apart * np.arange(2 * per_year)
    return [(c - half, c + half, 0.6, scale) for c in centres if c + half < 19662 + 12 * 60]


@pytest.mark.parametrize(("per_year", "top_days"), [(1, 16.0), (2, 4.0), (3, 3.0)])
def test_planted_double_logistics(x64, per_year, top_days):
    planted = _years(per_year, 8.0 if per_year < 3 else 6.0)
    curve = partial(_logistic, planted=planted)
    day = _days(per_year)
    got = _valid(day, curve(day))
    assert got.start.dtype == got.amplitude.dtype == (np.float64 if x64 else np.float32)
    assert got.peak.size == len(planted)
    assert got.start[0] < NEW_YEAR < got.end[0]
    assert got.whole.all()
    for k, (rise, fall, _, _) in enumerate(planted):
        peak = minimize_scalar(lambda t: -curve(t), bounds=(rise, fall), method="bounded").x
        gap = 365.0 / per_year - (fall - rise)
        for low_at, got_day in ((rise - gap / 2, got.start[k]), (fall + gap / 2, got.end[k])):
            low = curve(low_at)
            level = low + 0.2 * (curve(peak) - low)
            crossing = brentq(lambda t, level=level: curve(t) - level, low_at, peak)
            # chords of 12 days and a lower top shift it by a few days at most
            assert got_day == pytest.approx(crossing, abs=4)
        # the longer the season, the flatter its top
        assert got.peak[k] == pytest.approx(peak, abs=top_days)
        assert got.amplitude[k] == pytest.approx(curve(peak) - low, abs=0.05)


def test_dates_every_second_day_tell_the_start_to_a_fraction_of_a_day(float64):
    rise, fall, scale = NEW_YEAR - 25.0, NEW_YEAR + 25.0, 5.0
    day = NEW_YEAR + 2.0 * (np.arange(DATES) - 31.3)
    got = _valid(day, _logistic(day, [(rise, fall, 0.7, scale)]))
    # the inverse of a logistic at a share p of its top is -scale log(1 / p - 1)
    np.testing.assert_allclose(got.start, [rise - scale * np.log(4.0)], atol=0.25)
    np.testing.assert_allclose(got.end, [fall + scale * np.log(4.0)], atol=0.25)
    np.testing.assert_allclose(got.peak, [NEW_YEAR], atol=0.1)
    np.testing.assert_allclose(got.amplitude, [0.7 * np.tanh(2.5)], atol=0.005)
    assert got.whole.all()


def test_the_peak_of_a_parabola_is_its_vertex(float64):
    day = _days(3)
    got = _valid(day, 0.8 - 4e-6 * (day - 20001.7) ** 2)
    np.testing.assert_allclose(got.peak, [20001.7], atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([-3.0, 0.4]),
    st.sampled_from([-7000.5, 36.25]),
)
def test_offset_of_ndvi_and_shift_of_days(seed, offset, shift):
    with jax.enable_x64(True):
        day, ndvi = _days(seed), _curve(seed)
        before, after = _valid(day, ndvi), _valid(day + shift, ndvi + offset)
        for name in ("start", "peak", "end"):
            moved = getattr(after, name) - shift
            np.testing.assert_allclose(moved, getattr(before, name), atol=1e-6)
        np.testing.assert_allclose(after.amplitude, before.amplitude, atol=1e-9)
        np.testing.assert_array_equal(after.whole, before.whole)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_read_backwards_starts_are_ends(seed):
    with jax.enable_x64(True):
        day, ndvi = _days(seed), _curve(seed)
        there, back = _valid(day, ndvi), _valid(-day[::-1], ndvi[::-1])
        if there.peak.size < MOST:
            np.testing.assert_allclose(-back.start[::-1], there.end, atol=1e-7)
            np.testing.assert_allclose(-back.peak[::-1], there.peak, atol=1e-7)
            np.testing.assert_array_equal(back.whole[::-1], there.whole)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_seasons_are_apart_and_rise_enough(seed):
    day, ndvi = _days(seed), _curve(seed)
    got = _valid(day, ndvi)
    assert np.all((got.start < got.peak) & (got.peak < got.end))
    assert np.all(got.end[:-1] <= got.start[1:] + 0.01)
    assert np.all(got.amplitude >= 0.2 - 1e-6)


def test_of_more_seasons_than_slots_the_first_are_kept(float64):
    for seed in range(20):
        day, ndvi = _days(seed), 1.5 * _curve(seed)
        want = _oracle(day, ndvi)[:2]
        got = _valid(day, ndvi, _two)
        np.testing.assert_allclose(np.stack([got.start, got.peak, got.end], 1), want[:, :3])


def test_no_season_in_what_does_not_rise_and_fall():
    day, step = _days(5), np.linspace(0.0, 1.0, DATES)
    wiggle = 0.3 + 0.09 * np.random.default_rng(0).uniform(-1.0, 1.0, DATES)
    broken = _logistic(day, _years(2))
    broken[7] = np.nan
    for ndvi in (0.3 + 0.0 * step, step, 1.0 - step, np.abs(step - 0.5), wiggle, broken):
        slots = _one(jnp.asarray(day, jnp.float32), jnp.asarray(ndvi, jnp.float32))
        for leaf in slots:
            np.testing.assert_array_equal(leaf, np.zeros(MOST))


@pytest.mark.parametrize("seed", range(4))
def test_noise_below_the_least_amplitude_adds_no_season(seed):
    planted = _years(2)
    day = _days(seed)
    noise = 0.045 * np.random.default_rng(seed).uniform(-1.0, 1.0, DATES)
    got = _valid(day, _logistic(day, planted) + noise)
    assert got.peak.size == len(planted)
    np.testing.assert_allclose(got.start, _valid(day, _logistic(day, planted)).start, atol=8.0)


def test_twin_peaks_and_plateaus_are_one_season(float64):
    day = 12.0 * np.arange(DATES)
    tent = np.interp(np.arange(DATES), [0, 5, 20, 30, 45, 61], [0.3, 0.2, 0.8, 0.8, 0.2, 0.3])
    got = _valid(day, tent)
    np.testing.assert_allclose(got.peak, [12.0 * 25])
    assert got.whole.all()
    tent[22:29] = 0.75
    got = _valid(day, tent)
    np.testing.assert_allclose(got.peak, [12.0 * 20.5])  # the earlier of two of one height
    np.testing.assert_allclose([got.start, got.end], [[12.0 * 8], [12.0 * 42]])


def test_seasons_cut_off_are_not_whole():
    day = _days(6)
    planted = [(19640.0, 19700.0, 0.6, 6.0), (19900.0, 19980.0, 0.6, 8.0)]
    planted += [(20300.0, 20390.0, 0.6, 6.0)]
    got = _valid(day, _logistic(day, planted))
    # the first is past its rise when the series begins, the last has half fallen at its end
    assert got.peak.size == 2
    np.testing.assert_array_equal(got.whole, [True, False])
    # of which too little was seen is none
    short = _logistic(day, [(19640.0, 19690.0, 0.6, 6.0), planted[1], (20385.0, 20500.0, 0.6, 6)])
    np.testing.assert_array_equal(_valid(day, short).whole, [True])


def test_vmap_is_a_loop():
    day = jnp.asarray(_days(8), jnp.float32)
    curves = jnp.asarray(np.stack([_curve(seed) for seed in range(6)]), jnp.float32)
    together = _many(day, curves)
    for k, curve in enumerate(curves):
        for got, want in zip(together, _one(day, curve), strict=True):
            np.testing.assert_allclose(got[k], want, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["vmap", "jit", "jit of vmap", "scan"])
def test_numpy_days_are_jax_days_under_every_transformation(how, x64):
    day = _days(11)
    curves = np.stack([_curve(seed) for seed in range(3)])
    one = partial(phenology.seasons, day)
    if how == "vmap":
        got = jax.vmap(one)(curves)
    elif how == "jit":
        got = jax.tree.map(lambda *leaf: np.stack(leaf), *map(jax.jit(one), curves))
    elif how == "scan":
        got = jax.lax.scan(lambda carry, curve: (carry, one(curve)), 0, jnp.asarray(curves))[1]
    else:
        got = jax.jit(jax.vmap(phenology.seasons, (None, 0)))(day, curves)
    dtype = np.float64 if x64 else np.float32
    assert got.peak.dtype == got.amplitude.dtype == dtype
    for k, curve in enumerate(curves):
        want = _oracle(day, curve.astype(dtype))[:MOST]
        valid = np.asarray(got.valid[k])
        assert valid.sum() == len(want) > 0
        days = np.stack([got.start[k], got.peak[k], got.end[k]], axis=-1)[valid]
        np.testing.assert_allclose(days, want[:, :3], atol=1e-7 if x64 else 0.02)


@pytest.mark.slow
def test_whole_numbers_of_days_and_half_precision_curves():
    day = np.arange(19_700, 19_700 + 12 * DATES, 12)
    curve = _curve(4)
    got = phenology.seasons(day, jnp.asarray(curve, jnp.bfloat16))
    want = phenology.seasons(day.astype(float), np.asarray(jnp.asarray(curve, jnp.bfloat16), float))
    np.testing.assert_allclose(got.peak, want.peak)
    assert got.valid.any()


@pytest.mark.parametrize(
    ("day", "message"),
    [
        (np.zeros(0), "day: got 0 dates"),
        (np.ones(1), "day: got 1 dates"),
        (np.array([1.0, np.nan, 3.0, 4.0]), "day: got nan at index 1, expected finite"),
        (np.array([1.0, 2.0, np.inf, 4.0]), "day: got inf at index 2, expected finite"),
        (np.array([4.0, 3.0, 2.0, 1.0]), "day: got 3 after 4 at index 1, expected each day later"),
        (np.array([1.0, 2.0, 2.0, 3.0]), "day: got 2 after 2 at index 2, expected each day later"),
    ],
)
def test_days_that_no_curve_has_are_refused_as_it_is_traced(day, message):
    curve = np.linspace(0.0, 1.0, len(day))
    with pytest.raises(ValueError, match=message):
        phenology.seasons(day, curve)
    with pytest.raises(ValueError, match=message):
        jax.jit(partial(phenology.seasons, day))(curve)
    with pytest.raises(ValueError, match=message):
        jax.vmap(partial(phenology.seasons, day))(curve[None])


def test_days_known_only_when_the_program_runs_give_no_season():
    day, curve = _days(2), _curve(2)
    read = jax.jit(phenology.seasons)
    assert read(day, curve).valid.any()
    broken = day.copy()
    broken[3] = np.nan
    for days in (day[::-1].copy(), broken, np.zeros(DATES)):
        for leaf in read(days, curve):
            np.testing.assert_array_equal(leaf, np.zeros(MOST))


def _seasons(peaks, slots=4):
    """Seasons of 100 days with these peaks, starting 40 days earlier."""
    valid = jnp.arange(slots) < len(peaks)
    peak = jnp.zeros(slots).at[: len(peaks)].set(jnp.asarray(peaks, jnp.float32))
    start, end = (jnp.where(valid, peak + by, 0.0) for by in (-40.0, 60.0))
    length, amplitude = jnp.where(valid, 100.0, 0.0), jnp.where(valid, 0.5, 0.0)
    return Seasons(start, peak, end, amplitude, length, valid, valid)


@pytest.mark.parametrize(
    ("estimate", "error", "matched", "extra"),
    [
        ([107.0, 290.0, 500.0], [7.0, -10.0, 0.0], [True, True, True], [False, False, False]),
        ([100.0, 346.0], [0.0, 0.0, 0.0], [True, False, False], [False, True]),
        # two for one: the nearer matches it, the other is extra
        ([90.0, 104.0, 300.0], [4.0, 0.0, 0.0], [True, True, False], [True, False, False]),
        ([], [0.0, 0.0, 0.0], [False, False, False], []),
    ],
)
def test_mismatch(estimate, error, matched, extra):
    got = _mismatch(_seasons([100.0, 300.0, 500.0]), _seasons(estimate))
    np.testing.assert_allclose(got.peak, [*error, 0.0])
    np.testing.assert_allclose(got.start, [*error, 0.0])
    np.testing.assert_array_equal(got.matched, [*matched, False])
    np.testing.assert_array_equal(got.missed, [*(not m for m in matched), False])
    np.testing.assert_array_equal(got.extra, extra + [False] * (4 - len(extra)))


def test_one_estimated_season_stands_for_one_true_season():
    got = _mismatch(_seasons([100.0, 160.0]), _seasons([126.0]))
    np.testing.assert_array_equal(got.matched, [True, False, False, False])
    np.testing.assert_array_equal(got.missed, [False, True, False, False])
    far = phenology.mismatch(_seasons([100.0]), _seasons([146.0]))
    assert not far.matched.any()


def test_doors():
    day, ndvi = jnp.arange(9.0), jnp.zeros(9)
    with pytest.raises(ValueError, match=r"most: got .*, expected"):
        phenology.seasons(day, ndvi, most=0)
    with pytest.raises(ValueError, match="day: got 2 dates"):
        phenology.seasons(day[:2], ndvi[:2])
