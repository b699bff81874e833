"""Output of a network on a date: a Gaussian of the latent NDVI, and labels that clouds lower."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from s1jax.networks.inputs import CENTRE, SPAN

_Array = Array | np.ndarray
OUTPUTS = 4
"""Numbers per date that `mixture_of` reads."""
MOST = 0.45
"""Largest share of contaminated labels."""
_LEAST = 1e-2
"""Standard deviations are not below this, of scaled NDVI."""
_LOG_2PI = 1.8378770664093453


class LabelMixture(NamedTuple):
    """Distribution of the scaled NDVI of every date.

    A label is N(mean, std^2 + noise^2) with probability 1 - share, and
    N(mean - depth, std^2 + noise^2 + depth^2) with probability share: residual cloud and shadow
    only ever lower it.
    """

    mean: Float[_Array, "time pixel"]
    std: Float[_Array, "time pixel"]
    """Of the latent NDVI."""
    share: Float[_Array, "time pixel"]
    depth: Float[_Array, "time pixel"]


def mixture_of(outputs: Float[Array, "time pixel 4"], *, mixture: bool) -> LabelMixture:
    """The mixture of the four numbers of each date; without `mixture` no label is contaminated."""
    mean, log_std, share, depth = (outputs[..., k] for k in range(OUTPUTS))
    # below a half: were it free to go to 1, log(1 - share) would be infinite
    share = MOST * jax.nn.sigmoid(share - 1.0) if mixture else jnp.zeros_like(share)
    std, depth = (jax.nn.softplus(x) + _LEAST for x in (log_std, depth))
    return LabelMixture(mean, std, share, depth)


def physical(mixture: LabelMixture) -> tuple[Float[_Array, "*n"], Float[_Array, "*n"]]:
    """Mean, clipped to [-1, 1], and standard deviation of the latent NDVI."""
    return jnp.clip(mixture.mean * SPAN + CENTRE, -1.0, 1.0), mixture.std * SPAN


def log_density(
    mixture: LabelMixture, noise: Float[Array, ""], label: Float[Array, "time pixel"]
) -> Float[Array, "time pixel"]:
    """log p(label) of scaled labels under the mixture."""
    variance = mixture.std**2 + noise**2
    clean = _gaussian(label - mixture.mean, variance)
    low = _gaussian(label - mixture.mean + mixture.depth, variance + mixture.depth**2)
    share = mixture.share
    return jnp.logaddexp(jnp.log1p(-share) + clean, jnp.log(jnp.maximum(share, 1e-30)) + low)


def log_truth(
    mixture: LabelMixture, truth: Float[Array, "time pixel"]
) -> Float[Array, "time pixel"]:
    """log N(truth; mean, std^2) of the scaled true NDVI."""
    return _gaussian(truth - mixture.mean, mixture.std**2)


def cumulative(
    mixture: LabelMixture,
    noise: Float[Array, "#time #pixel"] | Float[Array, ""],
    label: Float[Array, "time pixel"],
) -> Float[Array, "time pixel"]:
    """Probability that a label lies below this one, scaled."""
    return _below(mixture, *_spreads(mixture, noise), label)


def quantile(
    mixture: LabelMixture,
    noise: Float[Array, "#time #pixel"] | Float[Array, ""],
    level: float,
    *,
    steps: int = 40,
) -> Float[Array, "time pixel"]:
    """NDVI (not scaled) below which a label lies with probability `level`, by bisection."""
    wide, deep = _spreads(mixture, noise)

    def _step(_, ends):
        low, high = ends
        middle = 0.5 * (low + high)
        under = _below(mixture, wide, deep, middle) < level
        return jnp.where(under, middle, low), jnp.where(under, high, middle)

    reach = 8.0 * deep + mixture.depth
    ends = mixture.mean - reach, mixture.mean + reach
    low, high = jax.lax.fori_loop(0, steps, _step, ends)
    return 0.5 * (low + high) * SPAN + CENTRE


def _spreads(mixture, noise):
    """Standard deviations of a clean label and of a contaminated one."""
    wide = jnp.sqrt(mixture.std**2 + noise**2)
    return wide, jnp.sqrt(wide**2 + mixture.depth**2)


def _below(mixture, wide, deep, x):
    clean = jax.scipy.stats.norm.cdf((x - mixture.mean) / wide)
    low = jax.scipy.stats.norm.cdf((x - mixture.mean + mixture.depth) / deep)
    return (1.0 - mixture.share) * clean + mixture.share * low


def _gaussian(x, variance):
    return -0.5 * (x**2 / variance + jnp.log(variance) + _LOG_2PI)
