"""Training of a sequence network: NDVI is hidden anew in every step, and what is hidden is told."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax import train
from s1jax.chunks import shape
from s1jax.networks.config import SequenceConfig
from s1jax.networks.dates import Dates, scaled
from s1jax.networks.disturb import disturbed
from s1jax.networks.hide import hidden
from s1jax.networks.likelihood import Beliefs, log_density, log_truth
from s1jax.networks.model import noise, tell
from s1jax.types import Key

_CONTEXT = 0.1
"""Weight of a label that the network may see, beside 1 of a hidden one."""
WITHOUT = "without labels, networks.adapt and networks.fill serve the weights of s1jax.pretrained()"
"""What to do of a region that has none."""
_DRAWS = 4
"""Times the NDVI of a validation pixel is hidden."""


@cache
def _loss(config: SequenceConfig) -> train.Loss:
    """- log p of the hidden labels, a mean over those of a pixel; of the truth too where known."""

    def loss(key, variables, data):
        part = take(data.stack, data.rows)
        # without a key it is validation: always the same is hidden
        k_hide, k_disturb = jax.random.split(jax.random.key(0) if key is None else key)
        known = part.label & ~hidden(k_hide, *part.label.shape)
        if key is not None:
            part = disturbed(k_disturb, part, gain=config.gain, bias=config.bias)
        told = tell(config, variables, part, known)
        each, weight, _ = weighed(told, noise(variables), part, known & config.ndvi)
        total = each.sum(0) / jnp.maximum(weight.sum(0), 1.0)
        if part.truth is not None:
            true = jnp.isfinite(part.truth.T)
            log_p = log_truth(told, scaled(jnp.where(true, part.truth.T, 0.0)))
            total = total - jnp.where(true, log_p, 0.0).mean(0)
        return total, variables.batch_stats

    return loss


def weighed(
    told: Beliefs, clean: Float[Array, ""], part: Dates, known: Bool[Array, "pixel time"]
) -> tuple[Float[Array, "time pixel"], Float[Array, "time pixel"], Bool[Array, "time pixel"]]:
    """-log p of each label times its weight, the weights (1 hidden, 0.1 shown, 0 where there is no
    label), and which labels were hidden.

    Args:
      told: by the network.
      clean: noise of a clean label, scaled.
      part: the pixels.
      known: NDVI that the network saw.
    """
    label = part.label.T
    shown = label & known.T
    weight = jnp.where(label & ~shown, 1.0, 0.0) + jnp.where(shown, _CONTEXT, 0.0)
    weight = weight.astype(part.ndvi.dtype)
    density = log_density(told, clean, scaled(part.ndvi.T))
    return -jnp.where(label, density, 0.0) * weight, weight, label & ~shown


def take(stack: Dates, pixel) -> Dates:
    """Some of the pixels."""
    day = stack.day if len(stack.day) == 1 else stack.day[pixel]
    return Dates(day, *(None if leaf is None else leaf[pixel] for leaf in stack[1:]))


def _padded(part: Dates) -> Dates:
    """Pixels up to a rounded number, the last repeated: a program is compiled for few sizes."""
    n = len(part.ndvi)
    return take(part, np.minimum(np.arange(shape(n, most=1 << 40)), n - 1))


def learn(
    key: Key,
    config: SequenceConfig,
    training: Dates,
    validation: Dates,
    start: train.Variables,
    *,
    label: str = "network",
) -> train.State:
    """`train.fit` of a network to pixels whose NDVI is hidden anew in every step.

    Args:
      key: consumed.
      config: of the network and its training.
      training: pixels to learn from, their radar standardised.
      validation: pixels that decide learning rate, stopping and the best epoch, each with its NDVI
        hidden in four ways.
      start: weights to start from.
      label: what the progress bar says.

    Raises:
      ValueError: no label among the training or the validation pixels.
    """
    some = []
    for name, part in (("training", training), ("validation", validation)):
        found = np.asarray(part.label)
        if not found.any():
            raise ValueError(
                f"{name} NDVI: got no valid label in {len(found)} pixels, expected some; {WITHOUT}"
            )
        some.append(np.flatnonzero(found.any(1)).astype(np.int32))
    data = []
    for part, pixel, draws in zip((training, validation), some, (1, _DRAWS), strict=True):
        data.append(train.Data(_padded(part), jnp.asarray(np.repeat(pixel, draws))))
    return train.fit(key, _loss(config), start, *data, config=config.train, label=label)
