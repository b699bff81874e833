"""What scenes of one key share: the land, its weather, who passes when, and single images of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array, Bool, Float, Int

from s1jax.simulate.climate import Passes, Weather, passes, weather
from s1jax.simulate.config import DRY, RICE, SceneConfig
from s1jax.simulate.optics import s2_image, truth
from s1jax.simulate.radar import s1_image
from s1jax.simulate.terrain import Landscape, landscape, to_pixels
from s1jax.types import Key

_weather = jax.jit(weather, static_argnames="config")
_truth = jax.jit(truth)
_s1_image = jax.jit(s1_image, static_argnames="config")
_s2_image = jax.jit(s2_image, static_argnames="config")


class Country(NamedTuple):
    """All that images are taken of, and with."""

    landscape: Landscape
    weather: Weather
    passes: Passes
    key_s1: Key
    key_s2: Key
    kind: Int[np.ndarray, "y x"]
    """Class of the pixel, the commonest of its subpixels."""
    mask: Bool[np.ndarray, "y x"]
    """Paddy mask, with errors."""


def country(key: Key, config: SceneConfig) -> Country:
    """Land and weather depend on the key and on sizes and calendar, not on the mode.

    Args:
      key: consumed.
      config: sizes, constants and mode.
    """
    key_land, key_weather, key_pass, key_s1, key_s2, key_mask = random.split(key, 6)
    land = landscape(key_land, config)
    kind, paddy = _kinds(land)
    wrong = random.bernoulli(key_mask, config.mask_error, paddy.shape)
    return Country(
        landscape=land,
        weather=_weather(key_weather, config=config),
        passes=passes(key_pass, config),
        key_s1=key_s1,
        key_s2=key_s2,
        kind=np.asarray(kind),
        mask=np.asarray(paddy ^ wrong),
    )


def power_of(
    here: Country, period: int, orbit: int, config: SceneConfig
) -> tuple[Float[Array, "y x"], Float[Array, "y x"]]:
    """VV and VH, linear power, of the pass of an orbit (0 or 1) in a period that has it."""
    angle = jnp.asarray(config.incidence_deg[orbit], jnp.float32)
    day = jnp.asarray(here.passes.s1_day[period][orbit])
    once = random.fold_in(here.key_s1, 2 * period + orbit)
    return _s1_image(once, here.landscape, here.weather, day, angle, config=config)


def label_of(here: Country, number: int | np.integer, config: SceneConfig) -> Float[Array, "y x"]:
    """NDVI of a Sentinel-2 acquisition, by its number in `passes`."""
    plan, once = here.passes, random.fold_in(here.key_s2, number)
    day, cloud = jnp.asarray(plan.s2_day[number]), jnp.asarray(plan.s2_cloud[number])
    return _s2_image(once, here.landscape, here.weather, day, cloud, config=config)


def ndvi_of(here: Country, day: float | np.floating) -> Float[Array, "y x"]:
    """True NDVI of a day, days since 1970-01-01."""
    return _truth(here.landscape, here.weather, jnp.asarray([day], jnp.float32))[0]


@jax.jit
def _kinds(land: Landscape) -> tuple[Int[Array, "y x"], Bool[Array, "y x"]]:
    """Commonest class of each pixel, and whether at least half of it is paddy."""
    share = jnp.stack(
        [
            to_pixels((land.fields.kind == kind).astype(jnp.float32), land.field_of)
            for kind in range(RICE, DRY + 1)
        ]
    )
    return share.argmax(0), share[RICE] >= 0.5
