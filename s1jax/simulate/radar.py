"""What the radar sees of the fields: water-cloud backscatter and Sentinel-1 images of it."""

import jax
import jax.numpy as jnp
from jax import random
from jaxtyping import Array, Float

from s1jax.indices import from_db
from s1jax.simulate.config import URBAN, SceneConfig
from s1jax.simulate.crops import Field, FieldState, field_state
from s1jax.simulate.land import Landscape, to_pixels
from s1jax.simulate.weather import Weather, on_day
from s1jax.types import Key

NOISE_FLOOR = 1e-3
"""Thermal noise of both polarisations (-30 dB), linear power."""
INCIDENCE_SLOPE_DB = -0.12
"""Change of backscatter with the incidence angle, dB / degree."""
SWATH_SLOPE = 3.0 / 45e3
"""Change of the incidence angle from west to east, degrees / m."""


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


def s1_image(
    key: Key,
    landscape: Landscape,
    weather: Weather,
    day: Float[Array, ""],
    incidence_deg: Float[Array, ""],
    config: SceneConfig,
) -> tuple[Float[Array, "y x"], Float[Array, "y x"]]:
    """VV and VH of one Sentinel-1 pass, linear power: fields, incidence, noise floor and speckle.

    Args:
      key: consumed.
      landscape: from `landscape`.
      weather: from `weather`.
      day: of the pass, days since 1970-01-01.
      incidence_deg: at the scene's centre column, degrees.
      config: of the scene.
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
