"""The region's weather by day, and when which satellite passes under how much cloud."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array, Float, Int

from s1jax.simulate.config import START, SceneConfig
from s1jax.types import Key


class Weather(NamedTuple):
    """Weather of the region, one value a day from the first day of the scene."""

    rain: Float[Array, "day"]
    """Rain, mm / day."""
    moisture: Float[Array, "day"]
    """Volumetric soil moisture of the region, m3 m-3."""
    wind: Float[Array, "day"]
    """Strength of the wind as it roughens open water, 1 (0 calm to 6)."""


class Passes(NamedTuple):
    """When the satellites pass; days since 1970-01-01."""

    s2_day: Float[np.ndarray, "s2"]
    """Days of the Sentinel-2 acquisitions."""
    s2_cloud: Float[np.ndarray, "s2"]
    """Their cloud fractions, 1."""
    s2_period: Int[np.ndarray, "s2"]
    """The periods in which they fall, counted from 0."""
    s1_day: Float[np.ndarray, "period 2"]
    """Days of the two Sentinel-1 passes of each period; NaN where the pass is missing."""


def wetness(day: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Season from dry (0) to wet (1), a yearly cosine with its peak on 21 January.

    Args:
      day: days since 1970-01-01.
    """
    peak = START + 81.0
    return 0.5 + 0.5 * jnp.cos(2.0 * jnp.pi * (day - peak) / 365.25)


def weather(key: Key, config: SceneConfig) -> Weather:
    """Weather of every day: on a share 0.12 + 0.55 wetness of days it rains, exponential.

    Soil moisture m dries towards 0.12 with a time constant of 5 to 10 days and rises by 0.0035 per
    mm of rain, up to 0.45.
    """
    k_wet, k_rain, k_wind = random.split(key, 3)
    shape, dtype = (config.days,), jnp.float32
    wet = wetness(START + jnp.arange(config.days, dtype=dtype))
    amount = 11.2 * random.exponential(k_rain, shape, dtype)
    rain = jnp.where(random.uniform(k_wet, shape, dtype) < 0.12 + 0.55 * wet, amount, 0.0)

    def _day(moisture, wet_rain):
        wet, rain = wet_rain
        dried = 0.12 + (moisture - 0.12) * jnp.exp(-1.0 / (5.0 + 5.0 * wet))
        moisture = jnp.minimum(dried + 0.0035 * rain, 0.45)
        return moisture, moisture

    _, moisture = jax.lax.scan(_day, jnp.asarray(0.3, dtype), (wet, rain))
    wind = 2.2 + 1.2 * random.normal(k_wind, shape, dtype) + 1.2 * (1.0 - wet)
    return Weather(rain, moisture, jnp.clip(wind, 0.0, 6.0))


def today(series: Float[Array, "day"], day: Float[Array, ""]) -> Float[Array, ""]:
    """Value of a daily series of `Weather` on a day given in days since 1970-01-01."""
    return series[jnp.floor(day - START).astype(jnp.int32)]


def generator(key: Key) -> np.random.Generator:
    """NumPy's generator seeded by the key, for small draws that the host needs.

    As pure as jax's samplers, but nothing to compile (its beta and gamma compile for seconds).
    """
    return np.random.default_rng(np.asarray(random.key_data(key)))


def passes(key: Key, config: SceneConfig) -> Passes:
    """Days of all acquisitions and the cloud fraction of each optical one.

    The cloud fraction of a scene is Beta(c mu, c (1 - mu)), c the concentration and mu between the
    dry and the wet season's mean, with an AR(1) term of spread 0.08. In `as_exported` the gaps of
    the printed series are part of the weather: in `exported_gaps` every scene has `max_cloud` or
    more, the others have `exported_cloud` on average and less than `max_cloud` at least once a
    period, and only the dead periods lack Sentinel-1.
    """
    rng = generator(key)
    day = np.arange(rng.integers(config.revisit_days), config.days, config.revisit_days)
    period = day // config.step

    spell, level = 0.0, []
    for shock in rng.standard_normal(day.size):
        spell = 0.75 * spell + 0.66 * shock
        level.append(spell)
    wet = np.asarray(wetness(START + jnp.asarray(day, jnp.float32)))
    mean = config.cloud_dry + (config.cloud_wet - config.cloud_dry) * wet + 0.08 * np.array(level)
    mean = np.clip(mean, 0.05, 0.97)
    c = config.cloud_concentration
    cloud = rng.beta(c * mean, c * (1.0 - mean)).astype(np.float32)

    missing = rng.random((config.periods, 2)) < config.pass_missing
    if config.mode == "as_exported":
        cloud = _exported_cloud(cloud, period, config)
        dead = np.isin(np.arange(config.periods) + 1, config.exported_dead)[:, None]
        missing = dead | (missing & ~missing.all(1, keepdims=True))
    s1_day = START + config.step * np.arange(config.periods)[:, None] + np.array(config.pass_day)
    return Passes(
        s2_day=(START + day).astype(np.float32),
        s2_cloud=cloud,
        s2_period=period,
        s1_day=np.where(missing, np.nan, s1_day).astype(np.float32),
    )


def _exported_cloud(
    cloud: Float[np.ndarray, "s2"], period: Int[np.ndarray, "s2"], config: SceneConfig
) -> Float[np.ndarray, "s2"]:
    """Cloud fractions that agree with the printed gaps."""
    gap = np.isin(period + 1, config.exported_gaps)
    rest = np.minimum(cloud * (config.exported_cloud / cloud[~gap].mean()), 1.0)
    cloud = np.where(gap, config.max_cloud + (1.0 - config.max_cloud) * cloud, rest)
    for p in set(period[~gap]):
        here = np.flatnonzero(period == p)
        clearest = here[cloud[here].argmin()]
        cloud[clearest] = min(cloud[clearest], 0.95 * config.max_cloud)
    return cloud.astype(np.float32)
