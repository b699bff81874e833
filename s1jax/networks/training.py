"""Training of a sequence network: each step withholds NDVI anew; the loss is its likelihood."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from s1jax.batching import chunk_size
from s1jax.masking import sample_training_mask
from s1jax.networks.config import SequenceConfig
from s1jax.networks.inputs import NetworkInput, scaled, take_pixels
from s1jax.networks.mixture import LabelMixture, log_density, log_truth
from s1jax.networks.model import apply_network, noise
from s1jax.train import Data, Loss, State, Variables, fit
from s1jax.types import Key

WITHOUT = (
    "without labels, networks.adapt and networks.predict serve the weights of s1jax.pretrained()"
)
"""Advice for a region that has none."""
SHARED_LOOK = 0.3
"""How often all looks of a pixel are made the same one, as in data of one pixel per field."""
DROP_ORBIT = (0.70, 0.14, 0.14, 0.02)
"""How often both orbits stay, the first or the second is lost, or both."""
SWAP = 0.5
"""How often the orbits change places."""
_CONTEXT = 0.1
"""Weight of a label that the network may see, beside 1 of a withheld one."""
_DRAWS = 4
"""Masks of a validation pixel."""


def train(
    key: Key,
    config: SequenceConfig,
    training: NetworkInput,
    validation: NetworkInput,
    start: Variables,
) -> State:
    """`train.fit` of a network, from `start`, to pixels whose NDVI every step withholds anew.

    Radar is standardised. Each validation pixel counts with four masks.

    Raises:
      ValueError: no label among the training or the validation pixels.
    """
    data = []
    for name, inputs, draws in (("training", training, 1), ("validation", validation, _DRAWS)):
        label = np.asarray(inputs.label)
        if not label.any():
            raise ValueError(
                f"{name} NDVI: got no valid label in {len(label)} pixels, expected some; {WITHOUT}"
            )
        pixel = np.flatnonzero(label.any(1)).astype(np.int32)
        data.append(Data(_padded(inputs), jnp.asarray(np.repeat(pixel, draws))))
    return fit(key, sequence_loss(config), start, *data, config=config.train)


def _padded(inputs):
    """Pixels up to a rounded number, the last repeated: a program is compiled for few sizes."""
    n = len(inputs.ndvi)
    return take_pixels(inputs, np.minimum(np.arange(chunk_size(n, most=1 << 40)), n - 1))


@cache
def sequence_loss(config: SequenceConfig) -> Loss:
    """-log p of the withheld labels and 0.1 of the visible ones, over the weights of a pixel; of
    the truth too where known."""

    def loss(key, variables, data):
        inputs = take_pixels(data.store, data.rows)
        # without a key it is validation: the mask is always the same
        key_mask, key_augment = jax.random.split(jax.random.key(0) if key is None else key)
        visible = inputs.label & ~sample_training_mask(key_mask, *inputs.label.shape)
        if key is not None:
            inputs = augment(
                key_augment, inputs, gain=config.gain_jitter, offset=config.offset_jitter
            )
        mixture = apply_network(config, variables, inputs, visible)
        each, weight, _ = label_loss(mixture, noise(variables), inputs, visible & config.ndvi)
        total = each.sum(0) / jnp.maximum(weight.sum(0), 1.0)
        if inputs.truth is not None:
            true = jnp.isfinite(inputs.truth.T)
            log_p = log_truth(mixture, scaled(jnp.where(true, inputs.truth.T, 0.0)))
            total = total - jnp.where(true, log_p, 0.0).mean(0)
        return total, variables.batch_stats

    return loss


def label_loss(
    mixture: LabelMixture,
    clean: Float[Array, ""],
    inputs: NetworkInput,
    visible: Bool[Array, "pixel time"],
) -> tuple[Float[Array, "time pixel"], Float[Array, "time pixel"], Bool[Array, "time pixel"]]:
    """-log p of each label times its weight, the weights (1 withheld, 0.1 visible, 0 where there is
    no label), and which labels were withheld; `clean` is the noise of a clean label, scaled."""
    label = inputs.label.T
    shown = label & visible.T
    weight = jnp.where(label & ~shown, 1.0, 0.0) + jnp.where(shown, _CONTEXT, 0.0)
    weight = weight.astype(inputs.ndvi.dtype)
    density = log_density(mixture, clean, scaled(inputs.ndvi.T))
    return -jnp.where(label, density, 0.0) * weight, weight, label & ~shown


def augment(key: Key, inputs: NetworkInput, *, gain: float, offset: float) -> NetworkInput:
    """Pixels with standardised radar times 1 + gain n1 plus offset n2, n1 and n2 normal for each
    pixel and channel (all looks alike); sometimes one look for all, an orbit lost, orbits swapped:
    so a network does not rely on one sensor's levels."""
    z, (n, dtype) = inputs.radar, (len(inputs.radar), inputs.radar.dtype)
    key_level, key_event = jax.random.split(key)
    # two draws for all: each is a program part of its own, and takes long to compile
    level = jax.random.normal(key_level, (2, n, 1, 1, 4), dtype)
    share, which, drop, change = jax.random.uniform(key_event, (4, n), dtype)
    z = z * (1.0 + gain * level[0]) + offset * level[1]
    looks = z.shape[2]
    chosen = jnp.minimum(jnp.floor(which * looks), looks - 1).astype(jnp.int32)
    alike = jnp.take_along_axis(z, chosen[:, None, None, None], axis=2)
    one_look = (share < SHARED_LOOK)[:, None, None, None]
    z = jnp.where(one_look, jnp.broadcast_to(alike, z.shape), z)
    lost = jnp.searchsorted(jnp.asarray(np.cumsum(DROP_ORBIT[:-1]), dtype), drop)
    both = inputs.seen.any(1).all(-1)
    # of a single orbit nothing is lost but all, seldom
    kept = jnp.stack([lost != 1, lost != 2], -1) | ~both[:, None]
    seen = inputs.seen & (kept & (lost != 3)[:, None])[:, None]
    swap = (change < SWAP) & both
    seen = jnp.where(swap[:, None, None], seen[..., ::-1], seen)
    z = jnp.where(swap[:, None, None, None], jnp.roll(z, 2, axis=-1), z)
    here = jnp.repeat(seen, 2, axis=-1)[:, :, None]
    return inputs._replace(radar=jnp.where(here, z, 0.0), seen=seen)
