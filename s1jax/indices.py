"""Spectral and radar indices: linear power in, one formula and its source each."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def to_db(power: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Decibels of a linear power, 10 log10(power)."""
    return 10.0 * jnp.log10(power)


def from_db(db: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Linear power of a value in decibels, 10^(db / 10)."""
    return 10.0 ** (db / 10.0)


def ndvi(red: Float[Array, "*n"], nir: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Normalised difference vegetation index, (nir - red) / (nir + red), in [-1, 1].

    Args:
      red: surface reflectance in the red (Sentinel-2 B4), 1.
      nir: surface reflectance in the near infrared (Sentinel-2 B8), 1.
    """
    return (nir - red) / (nir + red)


def rvi(vv: Float[Array, "*n"], vh: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Dual-polarisation radar vegetation index, 4 vh / (vv + vh), in [0, 4].

    Zero for a surface that does not depolarise, 2 where both polarisations are equal.

    Args:
      vv: VV backscatter, linear power (not dB).
      vh: VH backscatter, linear power (not dB).
    """
    return 4.0 * vh / (vv + vh)


def cross_ratio(vv: Float[Array, "*n"], vh: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Cross-polarisation ratio vh / vv, 1; both in linear power (not dB)."""
    return vh / vv


def dprvi(vv: Float[Array, "*n"], vh: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Dual-polarisation radar vegetation index of intensities (DpRVIc), q (q + 3) / (q + 1)^2.

    q = vh / vv is the ratio of the two intensities, taken as not above 1, so that the index lies in
    [0, 1]: 0 for a pure scatterer, 1 for full depolarisation.

    Args:
      vv: VV backscatter, linear power (not dB).
      vh: VH backscatter, linear power (not dB).
    """
    q = jnp.minimum(vh / vv, 1.0)
    return q * (q + 3.0) / (q + 1.0) ** 2
