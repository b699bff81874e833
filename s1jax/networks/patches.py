"""The network of a patch model: what it says of the pixels of patches, and how it learns to."""

from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from s1jax import nets, train
from s1jax.chunks import shape
from s1jax.networks.cropsar_config import CropsarConfig
from s1jax.networks.dates import ORBITS, Dates, channels, scaled
from s1jax.networks.hide import hidden
from s1jax.networks.learning import take, weighed
from s1jax.networks.likelihood import OUTPUTS, Beliefs, beliefs
from s1jax.networks.model import noise
from s1jax.types import Key

_OWN = slice(3 * ORBITS, 3 * ORBITS + 2)
"""Of the numbers of a date with one look: NDVI and is it known, which no other pixel may see."""
_COLUMNS = 3 * ORBITS + 4


class Stack(NamedTuple):
    """What patches are cut from."""

    dates: Dates
    """Pixels, their radar standardised, of one look, and more that are nowhere and have nothing."""
    labels: Float[Array, ""]
    """Mean number of labels of a patch."""


def one_look(found: Dates) -> Dates:
    """The pixels with radar as observed alone: a U-Net makes its means itself."""
    return found._replace(radar=found.radar[:, :, :1])


def with_nowhere(found: Dates) -> Dates:
    """The pixels up to a rounded number, for few programs to compile; at least the last one has
    nothing, and stands where the grid is empty."""
    more = shape(len(found.ndvi) + 1, most=1 << 40) - len(found.ndvi)

    def _more(leaf):
        return jnp.pad(leaf, ((0, more),) + ((0, 0),) * (leaf.ndim - 1))

    return Dates(found.day, *(None if leaf is None else _more(leaf) for leaf in found[1:]))


# compiled whole: run one operation after the other, the compiling of each would take seconds
@partial(jax.jit, static_argnames=("config", "dtype"))
def initial(key: Key, config: CropsarConfig, dtype=jnp.float32) -> train.Variables:
    """Weights drawn from the key: those of the generator and, of a GAN, of the discriminator."""
    keys = jax.random.split(key, 4)
    unet, own, head = _modules(config)
    x = jnp.zeros((2, 1, config.patch, config.patch, _COLUMNS - 2), dtype)
    features = jnp.zeros((2, 1, config.width), dtype)
    ndvi = jnp.zeros((2, 1, 2), dtype)
    told = ndvi if own is None else jnp.zeros((2, 1, own.outputs), dtype)
    generator = {
        "unet": unet.init(keys[0], x)["params"],
        "head": head.init(keys[1], jnp.concatenate([features, told], -1))["params"],
        "log_noise": jnp.asarray(-2.0, dtype),
    }
    if own is not None:
        generator["own"] = own.init(keys[2], ndvi)["params"]
    params = {"generator": generator}
    if config.model == "GAN":
        params["discriminator"] = nets.Discriminator().init(keys[3], x[..., :2])["params"]
    return train.Variables(params, {})


def _modules(config):
    """U-Net of radar, convolution of the own NDVI (none: the head is one), and the head."""
    levels = range(config.levels)
    if config.window is None:
        steps = tuple(2**level for level in levels)
        head = nets.TCN(OUTPUTS, config.channels, config.dilations)
        return nets.AttentionUNet(config.width, steps), None, head
    reach = config.window // 2
    # what all levels see together is the window: the finest ones take what is left over
    steps = tuple((reach + config.levels - 1 - level) // config.levels for level in levels)
    own = nets.Window(2 * config.width, (), reach)
    return nets.AttentionUNet(config.width, steps), own, nets.Window(OUTPUTS, config.hidden, 0)


def generator(variables: train.Variables) -> train.Variables:
    """The part of what was learnt that tells NDVI."""
    return train.Variables(variables.params["generator"], {})


def tell(
    config: CropsarConfig,
    variables: train.Variables,
    part: Dates,
    known: Bool[Array, "pixel time"],
) -> Beliefs:
    """What the network says of every date of the pixels of some patches.

    Pixels see each other through the U-Net, which is called with radar and days alone; their NDVI
    joins in the head, which has no extent in space.

    Args:
      config: of the network.
      variables: of the generator.
      part: the pixels, patch by patch and row by row, their radar standardised, of one look.
      known: NDVI that it may see, each pixel its own.
    """
    unet, own, head = _modules(config)
    if not config.ndvi:
        known = jnp.zeros_like(known)
    x = channels(part, known)
    dates, pixels, _ = x.shape
    ndvi = x[..., _OWN]
    radar = jnp.concatenate([x[..., : _OWN.start], x[..., _OWN.stop :]], axis=-1)
    radar = radar.reshape(dates, -1, config.patch, config.patch, _COLUMNS - 2)
    features = unet.apply({"params": variables.params["unet"]}, radar)
    if own is not None:
        ndvi = own.apply({"params": variables.params["own"]}, ndvi)
    joined = jnp.concatenate([features.reshape(dates, pixels, -1), ndvi], axis=-1)
    return beliefs(head.apply({"params": variables.params["head"]}, joined), mixture=config.mixture)


@cache
def loss(config: CropsarConfig) -> train.Loss:
    """- log p of the hidden labels of a patch and 0.1 of the shown ones, over the mean number of
    labels; of a GAN in training, the weighted squares of both players beside it.

    Each player's parameters are constants in the other's term, so one gradient serves both. A row
    of the data is a region from which a patch is cut.
    """

    def _loss(key, variables, data):
        stack, (rows, *_) = data.stack, data.rows.shape
        # without a key it is validation: the same patches, and always the same is hidden
        k_cut, k_hide = jax.random.split(jax.random.key(0) if key is None else key)
        index = cut(None if key is None else k_cut, data.rows, config.patch)
        part = take(stack.dates, index.reshape(-1))
        known = part.label & ~hidden(k_hide, *part.label.shape)
        own = generator(variables)
        told = tell(config, own, part, known)
        each, _, asked = weighed(told, noise(own), part, known & config.ndvi)
        total = each.reshape(len(each), rows, -1).sum((0, 2)) / stack.labels
        if key is not None and config.model == "GAN":
            played = _played(config, variables.params, told.mean, scaled(part.ndvi.T), asked)
            total = total + config.adversarial * played
        return total, variables.batch_stats

    return _loss


def cut(
    key: Key | None, regions: Int[Array, "row region region"], side: int
) -> Int[Array, "row side side"]:
    """A patch of each region: the first one without a key, else anywhere, mirrored or not."""
    if key is None:
        return regions[:, :side, :side]
    room = regions.shape[1] - side + 1
    keys = jax.random.split(key)
    corner = jax.random.randint(keys[0], (len(regions), 2), 0, room)
    way = jax.random.bernoulli(keys[1], 0.5, (3, len(regions), 1, 1))
    patch = jax.vmap(lambda r, c: jax.lax.dynamic_slice(r, (c[0], c[1]), (side, side)))
    found = patch(regions, corner)
    found = jnp.where(way[0], found[:, ::-1], found)
    found = jnp.where(way[1], found[:, :, ::-1], found)
    return jnp.where(way[2], found.swapaxes(1, 2), found)


def _played(
    config: CropsarConfig,
    params: PyTree,
    made: Float[Array, "time pixel"],
    observed: Float[Array, "time pixel"],
    asked: Bool[Array, "time pixel"],
) -> Float[Array, "row"]:
    """(D(made) - 1)^2 for the generator, D(made)^2 + (D(observed) - 1)^2 for the discriminator,
    means over the squares that hold any label asked for; both see NDVI there alone."""
    fixed = jax.lax.stop_gradient
    mask = asked.astype(made.dtype)

    def _score(weights, *ndvi):
        x = [jnp.stack([jnp.where(asked, y, 0.0), mask], axis=-1) for y in ndvi]
        x = jnp.concatenate(x, axis=1).reshape(len(mask), -1, config.patch, config.patch, 2)
        score = nets.Discriminator().apply({"params": weights}, x)
        return jnp.split(score, len(ndvi), axis=1)

    own = params["discriminator"]
    (fools,) = _score(fixed(own), made)
    of_made, of_observed = _score(own, fixed(made), observed)
    squares = (fools - 1.0) ** 2 + of_made**2 + (of_observed - 1.0) ** 2
    square = mask.reshape(len(mask), -1, config.patch // 4, 4, config.patch // 4, 4)
    there = jnp.where(square.sum((3, 5)) > 0.0, 1.0, 0.0).astype(made.dtype)
    total = (there * squares).sum((0, 2, 3))
    return total / jnp.maximum(there.sum((0, 2, 3)), 1.0)
