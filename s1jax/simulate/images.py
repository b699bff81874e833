"""What the two satellites see of the fields: true NDVI, reflectance and backscatter, and images."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import random
from jaxtyping import Array, Float

from s1jax.features import from_db, ndvi
from s1jax.simulate.config import POND, URBAN, SceneConfig
from s1jax.simulate.land import Field, FieldState, Landscape, field_state, to_pixels
from s1jax.simulate.weather import Sky, Weather, on_day, sky
from s1jax.types import Key

CLOUD_RED, CLOUD_NIR = 0.42, 0.49
"""Reflectance of an opaque cloud."""
HAZE_LEFT = 0.3
"""Share of the haze that atmospheric correction leaves in L2A."""
HAZE_OPACITY = 0.55
"""Opacity of a unit of haze."""
FLOOR = 1e-3
"""Smallest reflectance that a product holds."""
NOISE_FLOOR = 1e-3
"""Thermal noise of both polarisations (-30 dB), linear power."""
INCIDENCE_SLOPE_DB = -0.12
"""Change of backscatter with the incidence angle, dB / degree."""
SWATH_SLOPE = 3.0 / 45e3
"""Change of the incidence angle from west to east, degrees / m."""


def reflectance(
    field: Field, state: FieldState, moisture: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Red and near-infrared reflectance of one field.

    A mixture of green canopy (cover 1 - exp(-0.62 LAI), yellowing as it ripens), of dead canopy
    (cover of the structural LAI in excess of the green one) and of soil, darker when wet, 88 % of
    which water hides where the field is flooded; `moisture` is that of the region, m3 m-3.
    """
    wet = (jnp.clip(moisture + field.moisture_offset, 0.08, 0.45) - 0.08) / 0.37
    cover = 1.0 - jnp.exp(-0.62 * state.green_lai)
    excess = jnp.maximum(state.structural_lai - state.green_lai, 0.0)
    dead = (1.0 - jnp.exp(-0.62 * excess)) * (1.0 - cover)

    def _mix(leaf, straw, soil, water):
        ground = soil + 0.88 * state.flood * (water - soil)
        return cover * leaf + dead * straw + (1.0 - cover - dead) * ground

    red = _mix(0.032 + 0.07 * state.yellowing, 0.11, 0.155 - 0.075 * wet, 0.065)
    nir = _mix(0.46 - 0.10 * state.yellowing, 0.20, 0.215 - 0.095 * wet, 0.045)
    urban, pond = field.kind == URBAN, field.kind == POND
    pond_red = 0.06 + 0.005 * field.texture_vv_db
    pond_nir = 0.055 + 0.01 * jnp.abs(field.texture_vh_db)
    red = jnp.where(pond, pond_red, jnp.where(urban, 0.14 - 0.05 * cover, red))
    nir = jnp.where(pond, pond_nir, jnp.where(urban, 0.18 + 0.06 * cover, nir))
    return jnp.maximum(red, FLOOR), jnp.maximum(nir, FLOOR)


def ground(
    landscape: Landscape, weather: Weather, day: Float[Array, ""]
) -> tuple[Float[Array, "y x"], Float[Array, "y x"]]:
    """Red and near-infrared reflectance of every pixel under a clear sky."""

    def _field(field):
        return reflectance(field, field_state(field, day), on_day(weather.moisture, day))

    red, nir = jax.vmap(_field, in_axes=-1)(landscape.fields)
    return to_pixels(red, landscape.field_of), to_pixels(nir, landscape.field_of)


def truth(
    landscape: Landscape, weather: Weather, days: Float[Array, "day"]
) -> Float[Array, "day y x"]:
    """True NDVI of every pixel, by its mean reflectances, on days since 1970-01-01 of the scene."""
    return jax.lax.map(lambda day: ndvi(*ground(landscape, weather, day)), days)


@partial(jax.jit, static_argnames="config")
def s2_image(
    key: Key,
    landscape: Landscape,
    weather: Weather,
    day: Float[Array, ""],
    cloud_fraction: Float[Array, ""],
    config: SceneConfig,
) -> Float[Array, "y x"]:
    """NDVI of one Sentinel-2 acquisition, as the mode has it.

    `clean`: L2A, NaN where the cloud mask finds cloud or shadow. `as_exported`: L1C, unmasked.
    """
    clean = config.mode == "clean"
    k_sky, k_noise, k_air = random.split(key, 3)
    red, nir = ground(landscape, weather, day)
    haze = config.haze if clean else 0.12
    above = sky(k_sky, red.shape, cloud_fraction, haze)
    noise = random.normal(k_noise, (2, *red.shape), jnp.float32)
    red = (red + 0.004 * noise[0]) * (1.0 - above.shadow)
    nir = (nir + 0.006 * noise[1]) * (1.0 - above.shadow)
    # state of the air on the day
    air = random.normal(k_air, (2,), jnp.float32)
    return (_l2a if clean else _l1c)(red, nir, above, air, config)


def _l2a(red, nir, above, air, config):
    """NDVI after atmospheric correction, NaN where the cloud mask finds cloud or shadow.

    Correction removes all haze but `HAZE_LEFT` and errs by 0.004 (standard deviation) over the
    scene; cloud that the mask misses remains.
    """
    veil = _veil(above, HAZE_LEFT)
    red = red + veil * (CLOUD_RED - red) + 0.004 * air[0]
    nir = nir + veil * (CLOUD_NIR - nir) + 0.004 * air[1]
    seen = _veil(above, 1.0)
    thick, thin = seen > 0.35, (seen > 0.12) & (seen <= 0.35)
    masked = thick & (above.luck > config.missed_thick)
    masked |= thin & (above.luck > config.missed_thin)
    masked |= (above.shadow > 0.15) & (above.luck > config.missed_shadow)
    return jnp.where(masked, jnp.nan, ndvi(jnp.maximum(red, FLOOR), jnp.maximum(nir, FLOOR)))


def _l1c(red, nir, above, air, config):
    """NDVI at the top of the atmosphere, with the offset left in both bands and nothing masked.

    The air dims both bands (0.86, 0.88) and adds path radiance, 40 % of a hazy day's and three
    times as much in the red.
    """
    veil = _veil(above, 1.0)
    path = 0.4 * (0.05 + 0.02 * above.haze + 0.012 * jnp.abs(air[0]))
    red = 0.86 * (red + veil * (CLOUD_RED - red)) + path + 0.012
    nir = 0.88 * (nir + veil * (CLOUD_NIR - nir)) + 0.35 * path + 0.004
    red, nir = jnp.maximum(red, FLOOR), jnp.maximum(nir, FLOOR)
    return ndvi(red + config.exported_offset, nir + config.exported_offset)


def _veil(above: Sky, share: float) -> Float[Array, "y x"]:
    """Opacity of the cloud and of a share of the haze."""
    return 1.0 - (1.0 - above.opacity) * (1.0 - HAZE_OPACITY * share * above.haze)


def backscatter(
    field: Field,
    state: FieldState,
    incidence_deg: Float[Array, ""],
    moisture: Float[Array, ""],
    wind: Float[Array, ""],
    canopy_gain_db: Float[Array, ""],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """VV and VH of one field, linear power, by a water-cloud model with a double bounce.

    sigma = A cos(theta) (1 - t) + t ((1 - f) soil + f water) + D f stem exp(-2 B' V / cos(theta)),
    t = exp(-2 B V / cos(theta)), V = 0.75 structural + 0.25 green LAI, f = 0.9 flood,
    stem = min(structural LAI / 1.2, 1). Source: Attema & Ulaby (1978), Radio Science 13, for the
    first two terms; the constants are chosen for rice at C band.

    Args:
      field: one field.
      state: its state on the day.
      incidence_deg: theta, degrees.
      moisture: soil moisture of the region, m3 m-3.
      wind: strength of the wind over open water.
      canopy_gain_db: gain of the wet canopy, dB.
    """
    cos = jnp.cos(jnp.deg2rad(incidence_deg))
    volume = (0.75 * state.structural_lai + 0.25 * state.green_lai) / cos
    wet = jnp.clip(moisture + field.moisture_offset, 0.08, 0.45)
    rough = field.roughness_db + state.tillage_db
    tilt = INCIDENCE_SLOPE_DB * (incidence_deg - 40.0)
    flood = 0.9 * state.flood
    stem = jnp.clip(state.structural_lai / 1.2, 0.0, 1.0)
    gain = from_db(canopy_gain_db)

    def _cloud(a, b, bounce, b_bounce, soil_db, water_db):
        through = jnp.exp(-2.0 * b * volume)
        surface = (1.0 - flood) * from_db(soil_db) + flood * from_db(water_db)
        stems = bounce * flood * stem * jnp.exp(-2.0 * b_bounce * volume)
        return a * cos * (1.0 - through) * gain + through * surface + stems

    soil_vv = -13.9 + 16.0 * wet + rough + tilt
    soil_vh = -22.8 + 13.0 * wet + 0.7 * rough + tilt
    water_vv = -19.5 + 1.6 * wind + 0.3 * field.roughness_db
    vv = _cloud(0.132, 0.11, 0.10, 0.10, soil_vv, water_vv)
    vh = _cloud(0.040, 0.13, 0.0045, 0.12, soil_vh, -26.5 + 0.6 * wind)
    urban = field.kind == URBAN
    vv = jnp.where(urban, from_db(-5.5 + 2.0 * field.roughness_db), vv)
    vh = jnp.where(urban, from_db(-13.0 + 1.5 * field.roughness_db), vh)
    return vv * from_db(field.texture_vv_db), vh * from_db(field.texture_vh_db)


def speckle(key: Key, shape: tuple[int, ...], looks: float) -> Float[Array, "*shape"]:
    """Multiplicative speckle, gamma of mean 1 and variance 1 / looks, linear power.

    Drawn as the cube of a normal number, (1 - 1/(9 L) + z / (3 sqrt L))^3, which is close to the
    gamma's mean and variance (tested to 3 % at 4 and 18 looks). Source: Wilson & Hilferty (1931),
    PNAS 17.
    """
    z = random.normal(key, shape, jnp.float32)
    return jnp.maximum(1.0 - 1.0 / (9.0 * looks) + z / (3.0 * looks**0.5), 0.05) ** 3


@partial(jax.jit, static_argnames="config")
def s1_image(
    key: Key,
    landscape: Landscape,
    weather: Weather,
    day: Float[Array, ""],
    incidence_deg: Float[Array, ""],
    config: SceneConfig,
) -> tuple[Float[Array, "y x"], Float[Array, "y x"]]:
    """VV and VH of one Sentinel-1 pass, linear power: fields, incidence, noise floor and speckle.

    The incidence angle, degrees, is that of the scene's centre column.
    """
    wet_canopy = config.interception_db * jnp.minimum(on_day(weather.rain, day) / 10.0, 1.5)

    def _field(field):
        state = field_state(field, day)
        moisture, wind = on_day(weather.moisture, day), on_day(weather.wind, day)
        return backscatter(field, state, incidence_deg, moisture, wind, wet_canopy)

    east = (jnp.arange(config.width, dtype=jnp.float32) - 0.5 * config.width) * config.pixel_m
    tilt = from_db(INCIDENCE_SLOPE_DB * SWATH_SLOPE * east)[None]
    clear = jax.vmap(_field, in_axes=-1)(landscape.fields)
    images = [to_pixels(power, landscape.field_of) * tilt + NOISE_FLOOR for power in clear]
    vv, vh = (
        image * speckle(k, image.shape, config.looks)
        for k, image in zip(random.split(key), images, strict=True)
    )
    return vv, vh
