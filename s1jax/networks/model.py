"""The network of a sequence configuration: its parameters, its distribution of each label, and its
output for many pixels."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from s1jax.batching import map_chunks, vmap_pixels
from s1jax.estimators import IDENTITY, Calibration
from s1jax.extrapolation import PRIOR, Level, level_of
from s1jax.features import without_implausible
from s1jax.networks.architectures import GRU, TCN, Window
from s1jax.networks.config import SequenceConfig
from s1jax.networks.inputs import (
    CENTRE,
    CHANNELS,
    LOOKS,
    ORBITS,
    SPAN,
    Moments,
    NetworkInput,
    check_series,
    columns,
    network_input,
    orbits,
    region_moments,
    standardise,
)
from s1jax.train import Variables
from s1jax.types import Key, Series

LANES = 32
"""Pixels computed together on a CPU: what a layer makes of all their dates stays in the cache."""
_Array = Array | np.ndarray
OUTPUTS = 4
"""Numbers per date that `mixture_of` reads."""
_MOST = 0.45
"""Largest share of contaminated labels."""
_LEAST = 1e-2
"""Standard deviations are not below this, of scaled NDVI."""
_LOG_2PI = 1.8378770664093453
_HALVINGS = 40


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
    """The mixture of the numbers of each date; without `mixture` no label is contaminated."""
    mean, log_std, share, depth = (outputs[..., k] for k in range(OUTPUTS))
    # below a half: were it free to go to 1, log(1 - share) would be infinite
    share = _MOST * jax.nn.sigmoid(share - 1.0) if mixture else jnp.zeros_like(share)
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
    low, high = jax.lax.fori_loop(0, _HALVINGS, _step, ends)
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


@no_type_check  # under jax.eval_shape the leaves are no arrays
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SequenceParams:
    """All that a prediction needs."""

    config: SequenceConfig = field(metadata={"static": True})
    variables: Variables
    moments: Moments | None = None
    """Of the radar of the region, by `adapt` or `fine_tune`; None: not yet set."""
    calibration: Calibration = IDENTITY
    """By validation labels."""
    history: Float[Array, "epochs 2"] | None = None
    """Training and validation loss of each epoch; NaN where not reached."""
    mixture: Float[Array | np.ndarray, "2"] = field(default_factory=lambda: np.ones(2, np.float32))
    """Factor of the std and the noise of the mixture, by validation labels: of a pixel without any
    NDVI of its own, and of one with some."""
    level: Level = PRIOR
    """Of the region's NDVI, to which estimates relax far from all dates."""


def template(config: SequenceConfig, dtype=jnp.float32) -> SequenceParams:
    """Parameters of the structure and shapes that `sequence(config)` fits, to read files into."""
    zeros = partial(jnp.zeros, dtype=dtype)
    return SequenceParams(
        config,
        init(jax.random.key(0), config, dtype),
        Moments(*2 * [zeros((LOOKS, 2 * ORBITS))]),
        Calibration(*3 * [zeros(2)]),
        zeros((config.train.epochs, 2)),
        zeros(2),
        Level(zeros(()), zeros(())),
    )


def network(config: SequenceConfig) -> TCN | GRU | Window:
    """The architecture of a configuration."""
    dtype = "bfloat16" if config.bfloat16 else None
    if config.net == "gru":
        return GRU(OUTPUTS, config.width, config.layers, dtype)
    if config.net == "window":
        return Window(OUTPUTS, config.hidden, config.window, dtype)
    return TCN(OUTPUTS, config.width, config.dilations, dtype)


# compiled whole: run one operation after the other, the compiling of each would take seconds
@partial(jax.jit, static_argnames=("config", "dtype"))
def init(key: Key, config: SequenceConfig, dtype=jnp.float32) -> Variables:
    """Weights drawn from the key."""
    tree = network(config).init(key, jnp.zeros((2, 1, CHANNELS), dtype))
    return Variables({"net": tree["params"], "log_noise": jnp.asarray(-2.0, dtype)}, {})


def noise(variables: Variables) -> Float[Array, ""]:
    """Standard deviation of a clean label about the latent NDVI, scaled."""
    return jnp.exp(variables.params["log_noise"])


def apply_network(
    config: SequenceConfig,
    variables: Variables,
    inputs: NetworkInput,
    visible: Bool[Array, "pixel time"],
) -> LabelMixture:
    """Mixture of every date of pixels with standardised radar and this visible NDVI."""
    if not config.radar:
        nothing = jnp.zeros_like(inputs.radar), jnp.zeros_like(inputs.seen)
        inputs = inputs._replace(radar=nothing[0], seen=nothing[1])
    if not config.spatial:
        inputs = inputs._replace(radar=jnp.broadcast_to(inputs.radar[:, :, :1], inputs.radar.shape))
    if not config.ndvi:
        visible = jnp.zeros_like(visible)
    outputs = network(config).apply({"params": variables.params["net"]}, columns(inputs, visible))
    return mixture_of(outputs, mixture=config.mixture)


def adapt(params: SequenceParams, series: Series) -> SequenceParams:
    """`params` for another region: its radar is standardised by the moments of `series`.

    Nothing is trained, and no NDVI is needed: a series of radar alone will do. Where the series has
    20 values of NDVI or more, estimates far from all dates relax to their mean and std. Implausible
    values are left out. Every tile of the region needs the same moments.

    Weights stay what they are: those of `pretrained` have seen simulated rice alone, and standard
    levels of the radar make no other crop of it. Elsewhere (temperate Europe, say: R2 below 0) they
    are no better than a straight line between the clear dates, or worse.

    Raises:
      ValueError: days that are not finite or do not ascend, or channels other than VV and VH of one
        or two orbits.
    """
    check_series(series)
    series, _ = without_implausible(series)
    return replace(
        params,
        moments=region_moments(series),
        level=level_of(series, params.level),
    )


def map_mixtures(
    function: Callable[..., PyTree], params: SequenceParams, series: Series, *more: PyTree
) -> PyTree:
    """`function(mixture, *more)`, chunk by chunk, gathered on the host.

    The mixture is that of the dates, (pixel, time); parameters and series have the same looks
    (`match_looks`), and `more` the pixels on the first axis.
    """
    weights, day = (params.variables, params.moments), jnp.asarray(series.day)
    return map_chunks(
        lambda part: function(mixtures(*weights, day, part[0], config=params.config), *part[1:]),
        ((series.radar, series.radar_valid, series.ndvi, series.ndvi_valid), *more),
        chunk=params.config.chunk,
        label="network",
    )


@partial(jax.jit, static_argnames="config")
def mixtures(variables, moments, day, arrays, *, config: SequenceConfig) -> LabelMixture:
    """Mixture of the pixels of a chunk, (pixel, time)."""

    def _one(pixel):
        series = Series(day, *(leaf[None] for leaf in pixel))
        inputs = standardise(network_input(series), moments)
        mixture = apply_network(config, variables, inputs, inputs.label)
        return LabelMixture(*(leaf[:, 0] for leaf in mixture))

    return vmap_pixels(_one, arrays, lanes=lanes_of(len(arrays[0])))


def lanes_of(chunk: int) -> int:
    """Pixels of a batch of `vmap_pixels`; a GPU takes the whole chunk at once."""
    return min(LANES, chunk) if jax.default_backend() == "cpu" else chunk


def has_radar(series: Series, by: Moments) -> Bool[np.ndarray, "pixel"]:
    """Pixels with VV and VH of an orbit with moments."""
    valid = np.asarray(series.radar_valid)
    both = np.all(valid.reshape(*valid.shape[:2], -1, 2), axis=-1)
    return np.any(both & np.asarray(orbits(by.std[0]))[: both.shape[-1]], axis=(1, 2))


def has_ndvi(series: Series, config: SequenceConfig) -> Bool[np.ndarray, "pixel"]:
    """Pixels of which the network sees some NDVI."""
    return np.any(np.asarray(series.ndvi_valid), axis=1) & config.ndvi
