"""What an optical sensor sees of the fields: true NDVI on any day, and Sentinel-2 images of it."""

import jax
import jax.numpy as jnp
from jax import random
from jaxtyping import Array, Float

from s1jax.indices import ndvi
from s1jax.simulate.config import POND, URBAN, SceneConfig
from s1jax.simulate.crops import Field, FieldState, field_state
from s1jax.simulate.land import Landscape, to_pixels
from s1jax.simulate.weather import Sky, Weather, on_day, sky
from s1jax.types import Key

CLOUD_RED = 0.42
"""Reflectance of an opaque cloud in the red."""
HAZE_OPACITY = 0.55
"""Opacity of a unit of haze."""
FLOOR = 1e-3
"""Smallest reflectance that a product holds."""


def reflectance(
    field: Field, state: FieldState, moisture: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Red and near-infrared reflectance of one field.

    A mixture of green canopy (cover 1 - exp(-0.62 LAI), yellowing as it ripens), of dead canopy
    (cover of the structural LAI in excess of the green one) and of soil, darker when wet, 88 % of
    which water hides where the field is flooded.

    Args:
      field: one field.
      state: its state on the day.
      moisture: soil moisture of the region on the day, m3 m-3.
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
    """True NDVI of every pixel: of the reflectances averaged over the pixel.

    Args:
      landscape: from `landscape`.
      weather: from `weather`.
      days: any days of the scene, days since 1970-01-01.
    """
    return jax.lax.map(lambda day: ndvi(*ground(landscape, weather, day)), days)


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
    haze = config.haze if clean else config.exported_haze
    above = sky(k_sky, red.shape, cloud_fraction, haze)
    noise = random.normal(k_noise, (2, *red.shape), jnp.float32)
    red = (red + 0.004 * noise[0]) * (1.0 - above.shadow)
    nir = (nir + 0.006 * noise[1]) * (1.0 - above.shadow)
    # state of the air on the day
    air = random.normal(k_air, (2,), jnp.float32)
    return (_l2a if clean else _l1c)(red, nir, above, air, config)


def _l2a(red, nir, above, air, config):
    """NDVI after atmospheric correction, NaN where the cloud mask finds cloud or shadow.

    Correction removes all haze but `haze_left` and errs by 0.004 (standard deviation) over the
    scene; cloud that the mask misses stays in.
    """
    veil = _veil(above, config.haze_left)
    red = red + veil * (CLOUD_RED - red) + 0.004 * air[0]
    nir = nir + veil * (config.cloud_nir - nir) + 0.004 * air[1]
    seen = _veil(above, 1.0)
    thick, thin = seen > 0.35, (seen > 0.12) & (seen <= 0.35)
    masked = thick & (above.luck > config.missed_thick)
    masked |= thin & (above.luck > config.missed_thin)
    masked |= (above.shadow > 0.15) & (above.luck > config.missed_shadow)
    return jnp.where(masked, jnp.nan, ndvi(jnp.maximum(red, FLOOR), jnp.maximum(nir, FLOOR)))


def _l1c(red, nir, above, air, config):
    """NDVI at the top of the atmosphere, with the offset left in both bands and nothing masked.

    The air dims both bands (0.86, 0.88) and adds path radiance, three times as much in the red.
    """
    veil = _veil(above, 1.0)
    path = config.exported_path * (0.05 + 0.02 * above.haze + 0.012 * jnp.abs(air[0]))
    red = 0.86 * (red + veil * (CLOUD_RED - red)) + path + 0.012
    nir = 0.88 * (nir + veil * (config.cloud_nir - nir)) + 0.35 * path + 0.004
    red, nir = jnp.maximum(red, FLOOR), jnp.maximum(nir, FLOOR)
    return ndvi(red + config.exported_offset, nir + config.exported_offset)


def _veil(above: Sky, share: float) -> Float[Array, "y x"]:
    """Opacity of the cloud and of a share of the haze."""
    return 1.0 - (1.0 - above.opacity) * (1.0 - HAZE_OPACITY * share * above.haze)
