"""Random fields with a power-law spectrum, and the clouds, shadows and haze made of them."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax, random
from jaxtyping import Array, Float

from s1jax.types import Key


class Sky(NamedTuple):
    """What lies between ground and sensor, and where a cloud mask would see it."""

    opacity: Float[Array, "y x"]
    """Opacity of cloud, 1."""
    haze: Float[Array, "y x"]
    """Optical amount of haze and thin cirrus, 1."""
    shadow: Float[Array, "y x"]
    """Share of sunlight that cloud shadow takes from the ground, 1."""
    luck: Float[Array, "y x"]
    """Patchy, in (0, 1): the cloud mask misses what it misses where this is low."""


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
    their clouds and take 55 % of the light. Haze is gamma(2) distributed from scene to scene.

    Args:
      key: consumed.
      shape: rows and columns.
      cloud_fraction: 1.
      haze: its mean amount in half-cloudy air, 1.
    """
    k_cloud, k_level, k_haze, k_luck = random.split(key, 4)
    field = power_law_field(k_cloud, shape, 2.7)
    field = field + 0.25 * jnp.linspace(-1.0, 1.0, shape[0], dtype=jnp.float32)[:, None]
    # a quarter of the pixels tells the threshold well enough, and sorting them is what costs
    threshold = jnp.quantile(field[::2, ::2], 1.0 - jnp.clip(cloud_fraction, 0.001, 0.999))
    opacity = jnp.clip((field - threshold) / 0.55, 0.0, 1.0) ** 0.7
    shadow = jnp.where(opacity < 0.1, 0.55 * jnp.roll(opacity, (6, -5), (0, 1)), 0.0)
    # gamma(2) is the sum of two exponentials
    level = 0.5 * haze * random.exponential(k_level, (2,), jnp.float32).sum()
    level = level * (0.6 + 0.8 * cloud_fraction)
    amount = jnp.clip(level + 0.05 * power_law_field(k_haze, shape, 3.5), 0.0, 0.6)
    luck = 1.0 / (1.0 + jnp.exp(-1.7 * power_law_field(k_luck, shape, 2.0)))
    return Sky(opacity, amount, shadow, luck)
