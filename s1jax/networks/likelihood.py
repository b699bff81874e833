"""What a network says about a date: a Gaussian of the latent NDVI, and labels that clouds lower."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from s1jax.networks.dates import CENTRE, SPAN

_Array = Array | np.ndarray
OUTPUTS = 4
"""Numbers per date that `beliefs` reads."""
MOST = 0.45
"""Largest share of contaminated labels, 1."""
_LEAST = 1e-2
"""Standard deviations are not below this, of scaled NDVI."""
_LOG_2PI = 1.8378770664093453


class Beliefs(NamedTuple):
    """Of the scaled NDVI of every date.

    A label is N(mean, std^2 + noise^2) with probability 1 - share, and
    N(mean - depth, std^2 + noise^2 + depth^2) with probability share: residual cloud and shadow
    only ever lower it.
    """

    mean: Float[_Array, "time pixel"]
    std: Float[_Array, "time pixel"]
    """Of the latent NDVI."""
    share: Float[_Array, "time pixel"]
    depth: Float[_Array, "time pixel"]


def beliefs(outputs: Float[Array, "time pixel 4"], *, mixture: bool) -> Beliefs:
    """Beliefs from the four numbers of each date; without `mixture` no label is contaminated."""
    mean, log_std, share, depth = (outputs[..., k] for k in range(OUTPUTS))
    # below a half: were it free to go to 1, log(1 - share) would be infinite
    share = MOST * jax.nn.sigmoid(share - 1.0) if mixture else jnp.zeros_like(share)
    return Beliefs(mean, jax.nn.softplus(log_std) + _LEAST, share, jax.nn.softplus(depth) + _LEAST)


def physical(told: Beliefs) -> tuple[Float[_Array, "*n"], Float[_Array, "*n"]]:
    """Mean, at most 1 from 0, and standard deviation of the latent NDVI, 1."""
    return jnp.clip(told.mean * SPAN + CENTRE, -1.0, 1.0), told.std * SPAN


def log_density(
    told: Beliefs, noise: Float[Array, ""], label: Float[Array, "time pixel"]
) -> Float[Array, "time pixel"]:
    """log p(label) of scaled labels under the mixture of `Beliefs`."""
    variance = told.std**2 + noise**2
    clean = _gaussian(label - told.mean, variance)
    low = _gaussian(label - told.mean + told.depth, variance + told.depth**2)
    share = told.share
    return jnp.logaddexp(jnp.log1p(-share) + clean, jnp.log(jnp.maximum(share, 1e-30)) + low)


def log_truth(told: Beliefs, truth: Float[Array, "time pixel"]) -> Float[Array, "time pixel"]:
    """log N(truth; mean, std^2) of the scaled true NDVI."""
    return _gaussian(truth - told.mean, told.std**2)


def cumulative(
    told: Beliefs,
    noise: Float[Array, "#time #pixel"] | Float[Array, ""],
    label: Float[Array, "time pixel"],
) -> Float[Array, "time pixel"]:
    """Probability that a label lies below this one, scaled: the distribution function of the
    mixture of `Beliefs`."""
    return _below(told, *_spreads(told, noise), label)


def quantile(
    told: Beliefs,
    noise: Float[Array, "#time #pixel"] | Float[Array, ""],
    level: float,
    *,
    steps: int = 40,
) -> Float[Array, "time pixel"]:
    """NDVI below which a label lies with probability `level`, by bisection of `cumulative`;
    physical, 1."""

    wide, deep = _spreads(told, noise)

    def _step(_, ends):
        low, high = ends
        middle = 0.5 * (low + high)
        under = _below(told, wide, deep, middle) < level
        return jnp.where(under, middle, low), jnp.where(under, high, middle)

    reach = 8.0 * deep + told.depth
    ends = told.mean - reach, told.mean + reach
    low, high = jax.lax.fori_loop(0, steps, _step, ends)
    return 0.5 * (low + high) * SPAN + CENTRE


def _spreads(told, noise):
    """Standard deviations of a clean label and of a contaminated one."""
    wide = jnp.sqrt(told.std**2 + noise**2)
    return wide, jnp.sqrt(wide**2 + told.depth**2)


def _below(told, wide, deep, x):
    clean = jax.scipy.stats.norm.cdf((x - told.mean) / wide)
    low = jax.scipy.stats.norm.cdf((x - told.mean + told.depth) / deep)
    return (1.0 - told.share) * clean + told.share * low


def _gaussian(x, variance):
    return -0.5 * (x**2 / variance + jnp.log(variance) + _LOG_2PI)
