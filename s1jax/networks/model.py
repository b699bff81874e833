"""The network of a sequence configuration: what it has learnt, and what it says of every date."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax import nets, train
from s1jax.features import without_implausible
from s1jax.networks.bands import Bands
from s1jax.networks.beyond import PRIOR, Level, level_of
from s1jax.networks.config import SequenceConfig
from s1jax.networks.dates import (
    CHANNELS,
    LOOKS,
    ORBITS,
    Dates,
    Moments,
    channels,
    check_series,
    region_moments,
)
from s1jax.networks.likelihood import OUTPUTS, Beliefs, beliefs
from s1jax.types import Key, Series


class SequenceParams(NamedTuple):
    """All that a prediction needs."""

    variables: train.Variables
    moments: Moments | None
    """Of the radar of the region, what `adapt` tells; None: not yet told."""
    bands: Bands
    """By validation labels."""
    history: Float[Array, "epochs 2"] | None = None
    """Training and validation loss of each epoch; NaN where not reached."""
    mixture: Float[Array | np.ndarray, "2"] = np.ones(2, np.float32)
    """Factor of the std and the noise of the mixture, by validation labels: of a pixel without any
    NDVI of its own, and of one with some."""
    level: Level = PRIOR
    """Of the region's NDVI, what estimates relax to far from all dates."""


def like(config: SequenceConfig, dtype=jnp.float32) -> SequenceParams:
    """Parameters of the structure and shapes that `sequence(config)` learns, to restore into."""
    zeros = jnp.zeros((LOOKS, 2 * ORBITS), dtype)
    return SequenceParams(
        initial(jax.random.key(0), config, dtype),
        Moments(zeros, zeros),
        Bands(*(zeros[0, :2] for _ in Bands._fields)),
        jnp.zeros((config.train.epochs, 2), dtype),
        zeros[0, :2],
        Level(zeros[0, 0], zeros[0, 0]),
    )


def module(config: SequenceConfig) -> nets.TCN | nets.GRU | nets.Window:
    """The network of a configuration."""
    dtype = "bfloat16" if config.bfloat16 else None
    if config.net == "gru":
        return nets.GRU(OUTPUTS, config.width, config.layers, dtype)
    if config.net == "window":
        return nets.Window(OUTPUTS, config.hidden, config.window, dtype)
    return nets.TCN(OUTPUTS, config.width, config.dilations, dtype)


# compiled whole: run one operation after the other, the compiling of each would take seconds
@partial(jax.jit, static_argnames=("config", "dtype"))
def initial(key: Key, config: SequenceConfig, dtype=jnp.float32) -> train.Variables:
    """Weights drawn from the key."""
    tree = module(config).init(key, jnp.zeros((2, 1, CHANNELS), dtype))
    return train.Variables({"net": tree["params"], "log_noise": jnp.asarray(-2.0, dtype)}, {})


def noise(variables: train.Variables) -> Float[Array, ""]:
    """Standard deviation of a clean label about the latent NDVI, scaled."""
    return jnp.exp(variables.params["log_noise"])


def tell(
    config: SequenceConfig,
    variables: train.Variables,
    part: Dates,
    known: Bool[Array, "pixel time"],
) -> Beliefs:
    """What the network says of every date of some pixels.

    Args:
      config: of the network.
      variables: what it has learnt.
      part: the pixels, their radar standardised.
      known: NDVI that it may see.
    """
    if not config.radar:
        nothing = jnp.zeros_like(part.radar), jnp.zeros_like(part.seen)
        part = part._replace(radar=nothing[0], seen=nothing[1])
    if not config.spatial:
        part = part._replace(radar=jnp.broadcast_to(part.radar[:, :, :1], part.radar.shape))
    if not config.ndvi:
        known = jnp.zeros_like(known)
    outputs = module(config).apply({"params": variables.params["net"]}, channels(part, known))
    return beliefs(outputs, mixture=config.mixture)


def adapt(params: SequenceParams, series: Series) -> SequenceParams:
    """`params` for another region: its radar is standardised by the moments of `series`.

    Nothing is learnt, and no NDVI is needed: a series of radar alone will do. Where the series has
    20 values of NDVI or more, their mean and std are what estimates far from all dates relax to.
    Values that cannot be are left out. Store the result: every tile of the region must be told by
    the same.

    Weights stay what they are: those of `pretrained` have seen simulated rice alone, and standard
    levels of the radar make no other crop of it. Elsewhere (temperate Europe, say: R2 below 0) they
    are no better than a straight line between the clear dates, or worse.

    Raises:
      ValueError: days that are not finite or do not ascend, or channels other than VV and VH of one
        or two orbits and NDVI.
    """
    check_series(series)
    series, _ = without_implausible(series)
    return params._replace(moments=region_moments(series), level=level_of(series, params.level))
