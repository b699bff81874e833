"""The region's weather by day, when which satellite passes, and the clouds of an image."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random
from jaxtyping import Array, Float, Int

from s1jax.simulate.config import PASS_DAY, START, SceneConfig
from s1jax.types import Key

REVISIT_DAYS = 5
"""Time between Sentinel-2 acquisitions, days."""
MAX_CLOUD = 0.80
"""Sentinel-2 scenes from this cloud fraction up are not used."""
EXPORTED_CLOUD = 0.41
"""Mean cloud fraction of `as_exported` outside the gaps, which hold the cloudiest scenes."""
EXPORTED_GAPS = (6, 11, 12, 33, 34, 36, 38, 40, 43)
"""Periods of `as_exported` without a usable Sentinel-2 scene, counted from 1."""
EXPORTED_DEAD = 43
"""Of those, the one exported as exact zeros in all bands (no Sentinel-1 either)."""


class Weather(NamedTuple):
    """Weather of the region, one value a day from the first day of the scene."""

    rain: Float[Array, "day"]  # rain, mm / day
    moisture: Float[Array, "day"]  # volumetric soil moisture of the region, m3 m-3
    wind: Float[Array, "day"]  # strength of the wind as it roughens open water, 0 (calm) to 6


class AcquisitionPlan(NamedTuple):
    """When the satellites pass; days since 1970-01-01."""

    s2_day: Float[np.ndarray, "s2"]  # days of the Sentinel-2 acquisitions
    s2_cloud: Float[np.ndarray, "s2"]  # their cloud fractions
    s2_period: Int[np.ndarray, "s2"]  # the periods in which they fall, counted from 0
    s1_day: Float[np.ndarray, "period 2"]  # of the two passes of each period; NaN where missing


def wetness(day: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Season from dry (0) to wet (1), a yearly cosine with its peak on 21 January."""
    peak = START + 81.0
    return 0.5 + 0.5 * jnp.cos(2.0 * jnp.pi * (day - peak) / 365.25)


@partial(jax.jit, static_argnames="config")
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

    _, moisture = lax.scan(_day, jnp.asarray(0.3, dtype), (wet, rain))
    wind = 2.2 + 1.2 * random.normal(k_wind, shape, dtype) + 1.2 * (1.0 - wet)
    return Weather(rain, moisture, jnp.clip(wind, 0.0, 6.0))


def on_day(series: Float[Array, "day"], day: Float[Array, ""]) -> Float[Array, ""]:
    """Value of a daily series of `Weather` on a day given in days since 1970-01-01."""
    return series[jnp.floor(day - START).astype(jnp.int32)]


def generator(key: Key) -> np.random.Generator:
    """NumPy's generator seeded by the key, for small draws that the host needs.

    As pure as jax's samplers, but nothing to compile (its beta and gamma compile for seconds).
    """
    return np.random.default_rng(np.asarray(random.key_data(key)))


def acquisition_plan(key: Key, config: SceneConfig) -> AcquisitionPlan:
    """Days of all acquisitions and the cloud fraction of each optical one.

    The cloud fraction of a scene is Beta(3 mu, 3 (1 - mu)), mu between the dry and the wet season's
    mean, with an AR(1) term of spread 0.08. In `as_exported` the gaps of the printed series are a
    part of the weather: in `EXPORTED_GAPS` every scene has `MAX_CLOUD` or more, the others have
    `EXPORTED_CLOUD` on average and less than `MAX_CLOUD` at least once a period, and only the dead
    period lacks Sentinel-1.
    """
    rng = generator(key)
    day = np.arange(rng.integers(REVISIT_DAYS), config.days, REVISIT_DAYS)
    period = day // config.step

    spell, level = 0.0, []
    for shock in rng.standard_normal(day.size):
        spell = 0.75 * spell + 0.66 * shock
        level.append(spell)
    wet = np.asarray(wetness(START + jnp.asarray(day, jnp.float32)))
    mean = config.cloud_dry + (config.cloud_wet - config.cloud_dry) * wet + 0.08 * np.array(level)
    mean = np.clip(mean, 0.05, 0.97)
    cloud = rng.beta(3.0 * mean, 3.0 * (1.0 - mean)).astype(np.float32)

    missing = rng.random((config.periods, 2)) < config.pass_missing
    if config.mode == "as_exported":
        cloud = _exported_cloud(cloud, period)
        dead = (np.arange(config.periods) + 1 == EXPORTED_DEAD)[:, None]
        missing = dead | (missing & ~missing.all(1, keepdims=True))
    s1_day = START + config.step * np.arange(config.periods)[:, None] + np.array(PASS_DAY)
    return AcquisitionPlan(
        s2_day=(START + day).astype(np.float32),
        s2_cloud=cloud,
        s2_period=period,
        s1_day=np.where(missing, np.nan, s1_day).astype(np.float32),
    )


def _exported_cloud(cloud, period):
    """Cloud fractions that agree with the printed gaps."""
    gap = np.isin(period + 1, EXPORTED_GAPS)
    rest = np.minimum(cloud * (EXPORTED_CLOUD / cloud[~gap].mean()), 1.0)
    cloud = np.where(gap, MAX_CLOUD + (1.0 - MAX_CLOUD) * cloud, rest)
    for p in set(period[~gap]):
        here = np.flatnonzero(period == p)
        clearest = here[cloud[here].argmin()]
        cloud[clearest] = min(cloud[clearest], 0.95 * MAX_CLOUD)
    return cloud.astype(np.float32)


class Sky(NamedTuple):
    """Cloud, haze and shadow between ground and sensor, and where a cloud mask detects them."""

    opacity: Float[Array, "y x"]  # opacity of cloud
    haze: Float[Array, "y x"]  # optical amount of haze and thin cirrus
    shadow: Float[Array, "y x"]  # share of sunlight that cloud shadow takes from the ground
    luck: Float[Array, "y x"]  # patchy, in (0, 1): the cloud mask misses cloud where this is low


def power_law_field(key: Key, shape: tuple[int, int], slope: float) -> Float[Array, "y x"]:
    """Gaussian field of mean 0 and standard deviation 1 with spectral density k^-slope.

    The field is periodic, since it is the inverse Fourier transform of scaled white noise.
    """
    rows, columns = shape
    k = jnp.hypot(
        jnp.fft.fftfreq(rows, dtype=jnp.float32)[:, None],
        jnp.fft.rfftfreq(columns, dtype=jnp.float32)[None],
    )
    amplitude = jnp.where(k > 0.0, jnp.where(k > 0.0, k, 1.0) ** (-0.5 * slope), 0.0)
    white = random.normal(key, (2, *k.shape), jnp.float32)
    field = jnp.fft.irfft2(lax.complex(*(white * amplitude[None])), s=shape)
    return (field - field.mean()) / field.std()


def sky(key: Key, shape: tuple[int, int], cloud_fraction: Float[Array, ""], haze: float) -> Sky:
    """Clouds over the given fraction of the scene, their shadows, and haze.

    Cloud is where a field (slope 2.7, a little more to the south) exceeds the threshold that leaves
    the wanted fraction; it thickens with the excess. Shadows fall 6 pixels south and 5 west of
    their clouds and take 55 % of the light. Haze is gamma(2) distributed from scene to scene, with
    mean `haze` in half-cloudy air.
    """
    k_cloud, k_level, k_haze, k_luck = random.split(key, 4)
    field = power_law_field(k_cloud, shape, 2.7)
    field = field + 0.25 * jnp.linspace(-1.0, 1.0, shape[0], dtype=jnp.float32)[:, None]
    # a quarter of the pixels fixes the threshold well enough, and sorting them is what costs
    threshold = jnp.quantile(field[::2, ::2], 1.0 - jnp.clip(cloud_fraction, 0.001, 0.999))
    opacity = jnp.clip((field - threshold) / 0.55, 0.0, 1.0) ** 0.7
    shadow = jnp.where(opacity < 0.1, 0.55 * jnp.roll(opacity, (6, -5), (0, 1)), 0.0)
    # gamma(2) is the sum of two exponentials
    level = 0.5 * haze * random.exponential(k_level, (2,), jnp.float32).sum()
    level = level * (0.6 + 0.8 * cloud_fraction)
    amount = jnp.clip(level + 0.05 * power_law_field(k_haze, shape, 3.5), 0.0, 0.6)
    luck = 1.0 / (1.0 + jnp.exp(-1.7 * power_law_field(k_luck, shape, 2.0)))
    return Sky(opacity, amount, shadow, luck)
