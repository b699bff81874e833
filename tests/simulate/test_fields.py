"""Crops, reflectance and backscatter of single fields, and the random fields of the sky."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s1jax.simulate import SceneConfig, truth
from s1jax.simulate.config import POND, RICE, START, URBAN
from s1jax.simulate.images import backscatter, reflectance, s1_image, s2_image, speckle
from s1jax.simulate.land import Crop, Field, FieldState, crop_state, field_state, landscape
from s1jax.simulate.weather import acquisition_plan, power_law_field, sky, weather, wetness

CONFIG = SceneConfig(height=64, width=72)
PLANTED = START + 40.0
DAYS = jnp.arange(START, START + 200.0, dtype=jnp.float32)


def rice_crop(**change):
    """One rice crop planted on PLANTED, without drainage."""
    values = {
        "transplant": PLANTED,
        "duration": 105.0,
        "peak_lai": 4.6,
        "greenup": 35.0,
        "greenup_rate": 0.13,
        "senescence_rate": 0.16,
        "flood_lead": 14.0,
        "flooded": 1.0,
        "drain_after": (30.0, 50.0),
        "drain_days": (0.0, 0.0),
        "tillage_db": 0.0,
    }
    return Crop(**{k: jnp.asarray(v, jnp.float32) for k, v in (values | change).items()})


def rice_field(kind=RICE, **change):
    """One field with that crop alone, and hardly any weeds."""
    zero = jnp.zeros((), jnp.float32)
    crops = jax.tree.map(lambda leaf: leaf[..., None], rice_crop(**change))
    phase = jnp.full((3,), np.pi, jnp.float32) - 2.0 * jnp.pi / jnp.array(
        [100.0, 240.0, 600.0], jnp.float32
    ) * jnp.float32(PLANTED - START)
    return Field(jnp.int32(kind), zero, phase, zero, zero, zero, zero, crops)


@jax.jit
def states(field):
    return jax.vmap(field_state, in_axes=(None, 0))(field, DAYS)


def ndvi_of(field):
    def _day(day):
        red, nir = reflectance(field, field_state(field, day), jnp.float32(0.25))
        return (nir - red) / (nir + red)

    return np.asarray(jax.jit(jax.vmap(_day))(DAYS))


@pytest.fixture(scope="module")
def region():
    return landscape(jax.random.key(1), CONFIG), weather(jax.random.key(2), CONFIG)


def test_planted_peak_is_recovered():
    # both logistics are saturated half-way between green-up (35 d) and senescence (94.5 d)
    peak = float(DAYS[ndvi_of(rice_field()).argmax()])
    assert abs(peak - (PLANTED + 0.5 * (35.0 + 94.5))) < 8.0
    later = float(DAYS[ndvi_of(rice_field(transplant=PLANTED + 24.0)).argmax()])
    assert abs(later - peak - 24.0) < 4.0


def test_harvest_drops_the_curve():
    curve = ndvi_of(rice_field())
    harvest = int(PLANTED + 105.0 - START)
    assert curve[harvest - 30] > 0.7
    assert curve[harvest + 5] < 0.35
    assert states(rice_field()).structural_lai[harvest + 5] < 0.05


def test_structure_lags_greenness():
    state = states(rice_field())
    rising = slice(0, int(PLANTED - START) + 65)
    half = [float(np.interp(2.0, np.asarray(lai)[rising], DAYS[rising])) for lai in state[:2]]
    assert half[1] - half[0] > 4.0
    end = int(PLANTED - START) + 100  # still standing, no longer green
    assert state.structural_lai[end] > 1.3 * state.green_lai[end]


def test_water_stands_before_planting_and_pauses_in_a_drainage():
    flood = states(rice_field()).flood
    assert flood[int(PLANTED - START) - 5] > 0.95
    assert flood[int(PLANTED - START) - 25] < 0.01
    assert flood[int(PLANTED - START) + 95] < 0.01
    drained = crop_state(rice_crop(drain_days=(6.0, 0.0)), jnp.float32(PLANTED + 30.0))
    assert drained.flood == 0.0
    kept = crop_state(rice_crop(drain_days=(6.0, 0.0)), jnp.float32(PLANTED + 36.0))
    assert kept.flood > 0.95


def test_flooding_lowers_vv_and_ndvi():
    field = rice_field()

    def _at(flood, lai):
        state = FieldState(*(jnp.float32(v) for v in (lai, lai, 0.0, flood, 0.0)))
        args = (jnp.float32(v) for v in (38.0, 0.25, 2.0, 0.0))
        return backscatter(field, state, *args), reflectance(field, state, jnp.float32(0.25))

    (dry_vv, dry_vh), (dry_red, dry_nir) = _at(0.0, 0.0)
    (wet_vv, wet_vh), (wet_red, wet_nir) = _at(1.0, 0.0)
    assert 10.0 * np.log10(wet_vv / dry_vv) < -3.0
    assert wet_vh < dry_vh
    assert wet_nir - wet_red < dry_nir - dry_red
    (stems_vv, _), _ = _at(1.0, 1.5)  # double bounce between stems and water
    assert stems_vv > 2.0 * wet_vv


@pytest.mark.parametrize("kind", [POND, URBAN])
def test_ponds_and_towns_are_flat(kind):
    curve = ndvi_of(rice_field(kind=kind))
    assert np.ptp(curve) < 0.02
    assert curve.max() < 0.3


@pytest.mark.slow
def test_fields_vary_by_season_group_and_shift(region):
    land, _ = region
    crops, rice = land.fields.crops, np.asarray(land.fields.kind == RICE)
    start, grown = np.asarray(crops.transplant)[:, rice], np.asarray(crops.peak_lai)[:, rice] > 0
    assert (np.diff(start, axis=0) > 0).all()
    cleared = start + np.asarray(crops.duration)[:, rice]
    assert (start[1:] - cleared[:-1])[grown[:-1]].min() > 11.9
    group = np.asarray(land.group)[np.asarray(land.block)[rice]]
    first = [np.median(start[:, group == g], axis=1) for g in (0, 2)]
    assert 14.0 < (first[1] - first[0]).mean() < 42.0
    late = landscape(jax.random.key(1), dataclasses.replace(CONFIG, calendar_shift_days=24.0))
    moved = np.asarray(late.fields.crops.transplant - crops.transplant)[:, rice]
    assert np.median(moved) == pytest.approx(24.0, abs=0.1)


def test_pixel_is_the_mean_of_its_subpixels(region):
    land, air = region
    day = jnp.float32(START + 100.0)

    def _one(i):
        field = jax.tree.map(lambda leaf: leaf[..., i], land.fields)
        return reflectance(field, field_state(field, day), air.moisture[100])

    y, x = 20, 30
    four = np.asarray(land.field_of)[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].ravel()
    red, nir = np.mean([[float(v) for v in _one(i)] for i in four], axis=0)
    got = truth(land, air, day[None])[0, y, x]
    assert got == pytest.approx((nir - red) / (nir + red), abs=1e-5)


def test_power_law_field_has_its_slope():
    field = np.asarray(power_law_field(jax.random.key(0), (128, 128), 2.7))
    assert field.mean() == pytest.approx(0.0, abs=1e-5)
    assert field.std() == pytest.approx(1.0, abs=1e-4)
    power = np.abs(np.fft.fft2(field)) ** 2
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128), indexing="ij"))
    use = (k > 0.02) & (k < 0.4)
    slope = np.polyfit(np.log(k[use]), np.log(power[use]), 1)[0]
    assert slope == pytest.approx(-2.7, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_cloud_covers_the_fraction_asked_for(fraction):
    above = sky(jax.random.key(2), (96, 112), jnp.float32(fraction), 0.1)
    assert (above.opacity > 0).mean() == pytest.approx(fraction, abs=0.01)
    assert not ((above.shadow > 0) & (above.opacity >= 0.1)).any()


@pytest.mark.parametrize("looks", [4.0, 18.0])
def test_speckle_has_its_looks(looks):
    draw = np.asarray(speckle(jax.random.key(0), (200_000,), looks), np.float64)
    assert draw.mean() == pytest.approx(1.0, abs=0.01)
    assert 1.0 / draw.var() == pytest.approx(looks, rel=0.03)


def test_image_of_a_homogeneous_area_has_the_speckle_of_s1_image(region):
    land, air = region
    one = land._replace(field_of=jnp.zeros_like(land.field_of))
    angle, day = jnp.float32(37.0), jnp.float32(START + 20.0)
    for image in s1_image(jax.random.key(0), one, air, day, angle, config=CONFIG):
        power = np.asarray(image, np.float64)
        assert power.mean() ** 2 / power.var() == pytest.approx(CONFIG.looks, rel=0.1)


@pytest.mark.slow
def test_clear_sky_shows_the_truth_and_cloud_is_masked(region):
    land, air = region
    day = jnp.float32(START + 100.0)
    cover = jnp.float32(0.4)
    true = np.asarray(truth(land, air, day[None])[0])
    config = dataclasses.replace(CONFIG, haze=0.0, missed_thin=0.0, missed_thick=0.0)
    seen = np.asarray(s2_image(jax.random.key(4), land, air, day, cover, config=config))
    clear = np.isfinite(seen)
    assert 0.4 < clear.mean() < 0.8
    assert np.median(np.abs(seen - true)[clear]) < 0.03
    exported = dataclasses.replace(CONFIG, mode="as_exported")
    raw = np.asarray(s2_image(jax.random.key(4), land, air, day, cover, config=exported))
    assert np.isfinite(raw).all()
    assert (raw - true)[true > 0.6].max() < -0.1  # the offset and the air pull it down


def test_weather_is_wet_in_january_and_dry_in_july(region):
    _, air = region
    day = START + np.arange(CONFIG.days, dtype=np.float32)
    wet = np.asarray(wetness(jnp.asarray(day)))
    assert str(day[wet[:365].argmax()].astype("datetime64[D]")) == "2024-01-21"
    for series in (air.rain, air.moisture):
        assert np.asarray(series)[wet > 0.8].mean() > 1.5 * np.asarray(series)[wet < 0.2].mean()
    assert air.moisture.min() > 0.08
    assert air.moisture.max() <= 0.45


def test_passes_follow_the_calendar():
    plan = acquisition_plan(
        jax.random.key(0), dataclasses.replace(CONFIG, periods=1000, pass_missing=0.12)
    )
    assert np.isnan(plan.s1_day).mean() == pytest.approx(0.12, abs=0.02)
    offset = plan.s1_day - START - 12.0 * np.arange(1000)[:, None]
    assert set(offset[np.isfinite(offset)]) == {1.0, 6.0}
    np.testing.assert_array_equal(np.diff(plan.s2_day), 5.0)
    wet = np.asarray(wetness(jnp.asarray(plan.s2_day)))
    means = [plan.s2_cloud[part].mean() for part in (wet < 0.1, wet > 0.9)]
    assert means[0] == pytest.approx(CONFIG.cloud_dry, abs=0.06)
    assert means[1] == pytest.approx(CONFIG.cloud_wet, abs=0.06)


@pytest.mark.slow
def test_scene_is_float32_whatever_the_precision(float64):
    air = weather(jax.random.key(1), CONFIG)
    above = sky(jax.random.key(1), (16, 16), jnp.float32(0.4), 0.1)
    assert {leaf.dtype for leaf in (*air, *above)} == {jnp.dtype("float32")}
