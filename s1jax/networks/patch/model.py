"""The network of a patch model: its output for the pixels of patches, and its loss."""

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from s1jax.batching import chunk_size
from s1jax.masking import sample_training_mask
from s1jax.networks.architectures import TCN, AttentionUNet, Discriminator, Window
from s1jax.networks.config import CropsarConfig
from s1jax.networks.inputs import ORBITS, NetworkInput, columns, scaled, take_pixels
from s1jax.networks.mixture import OUTPUTS, LabelMixture, mixture_of
from s1jax.networks.model import noise
from s1jax.networks.training import label_loss
from s1jax.train import Loss, Variables
from s1jax.types import Key

_OWN = slice(3 * ORBITS, 3 * ORBITS + 2)
"""Of the numbers of a date with one look: NDVI and is it visible, which no other pixel may see."""
_COLUMNS = 3 * ORBITS + 4


class PatchStore(NamedTuple):
    """Pixels that patches are cut from."""

    inputs: NetworkInput
    """Radar standardised, of one look; then pixels that are nowhere and have nothing."""
    labels: Float[Array, ""]
    """Mean number of labels of a patch."""


def one_look(inputs: NetworkInput) -> NetworkInput:
    """The pixels with radar as observed alone: a U-Net makes its means itself."""
    return inputs._replace(radar=inputs.radar[:, :, :1])


def with_nowhere(inputs: NetworkInput) -> NetworkInput:
    """The pixels up to a rounded number, for few programs to compile; at least the last one has
    nothing, and fills the empty cells of a grid."""
    more = chunk_size(len(inputs.ndvi) + 1, most=1 << 40) - len(inputs.ndvi)

    def _more(leaf):
        return jnp.pad(leaf, ((0, more),) + ((0, 0),) * (leaf.ndim - 1))

    return NetworkInput(inputs.day, *(None if leaf is None else _more(leaf) for leaf in inputs[1:]))


# compiled whole: run one operation after the other, the compiling of each would take seconds
@partial(jax.jit, static_argnames=("config", "dtype"))
def init_patch(key: Key, config: CropsarConfig, dtype=jnp.float32) -> Variables:
    """Weights drawn from the key: those of the generator and, of a GAN, of the discriminator."""
    keys = jax.random.split(key, 4)
    unet, ndvi_net, head = _networks(config)
    x = jnp.zeros((2, 1, config.patch, config.patch, _COLUMNS - 2), dtype)
    features = jnp.zeros((2, 1, config.width), dtype)
    ndvi = jnp.zeros((2, 1, 2), dtype)
    joined = ndvi if ndvi_net is None else jnp.zeros((2, 1, ndvi_net.outputs), dtype)
    generator: dict[str, Any] = {
        "unet": unet.init(keys[0], x)["params"],
        "head": head.init(keys[1], jnp.concatenate([features, joined], -1))["params"],
        "log_noise": jnp.asarray(-2.0, dtype),
    }
    if ndvi_net is not None:
        generator["own"] = ndvi_net.init(keys[2], ndvi)["params"]
    params: dict[str, Any] = {"generator": generator}
    if config.model == "GAN":
        params["discriminator"] = Discriminator().init(keys[3], x[..., :2])["params"]
    return Variables(params, {})


def _networks(config):
    """U-Net of radar, convolution of the pixel's NDVI (None: the head is one), and the head."""
    levels = range(config.levels)
    if config.window is None:
        steps = tuple(2**level for level in levels)
        head = TCN(OUTPUTS, config.channels, config.dilations)
        return AttentionUNet(config.width, steps), None, head
    reach = config.window // 2
    # what all levels see together is the window: the finest ones take what is left over
    steps = tuple((reach + config.levels - 1 - level) // config.levels for level in levels)
    ndvi_net = Window(2 * config.width, (), reach)
    return AttentionUNet(config.width, steps), ndvi_net, Window(OUTPUTS, config.hidden, 0)


def generator(variables: Variables) -> Variables:
    """The weights of the generator."""
    return Variables(variables.params["generator"], {})


def apply_patches(
    config: CropsarConfig,
    variables: Variables,
    inputs: NetworkInput,
    visible: Bool[Array, "pixel time"],
) -> LabelMixture:
    """Mixture of every date of the pixels of some patches.

    Pixels see each other through the U-Net, which reads radar and days alone; their visible NDVI
    joins in the head, which has no extent in space. They come patch by patch and row by row, with
    standardised radar of one look; `variables` are those of the generator.
    """
    unet, ndvi_net, head = _networks(config)
    if not config.ndvi:
        visible = jnp.zeros_like(visible)
    x = columns(inputs, visible)
    dates, pixels, _ = x.shape
    ndvi = x[..., _OWN]
    radar = jnp.concatenate([x[..., : _OWN.start], x[..., _OWN.stop :]], axis=-1)
    radar = radar.reshape(dates, -1, config.patch, config.patch, _COLUMNS - 2)
    features = _apply(unet, variables.params["unet"], radar)
    if ndvi_net is not None:
        ndvi = _apply(ndvi_net, variables.params["own"], ndvi)
    joined = jnp.concatenate([features.reshape(dates, pixels, -1), ndvi], axis=-1)
    outputs = _apply(head, variables.params["head"], joined)
    return mixture_of(outputs, mixture=config.mixture)


def _apply(net, params, x) -> Array:
    return net.apply({"params": params}, x)


@cache
def patch_loss(config: CropsarConfig) -> Loss:
    """-log p of the withheld labels of a patch and 0.1 of the visible ones, over the mean number of
    labels; of a GAN in training, the weighted squares of both players beside it.

    Each player's parameters are constants in the other's term, so one gradient serves both. A row
    of the data is a region from which a patch is cut.
    """

    def _loss(key, variables, data):
        store, (rows, *_) = data.store, data.rows.shape
        # without a key it is validation: patches and mask are always the same
        key_cut, key_mask = jax.random.split(jax.random.key(0) if key is None else key)
        index = cut(None if key is None else key_cut, data.rows, config.patch)
        inputs = take_pixels(store.inputs, index.reshape(-1))
        visible = inputs.label & ~sample_training_mask(key_mask, *inputs.label.shape)
        made = generator(variables)
        mixture = apply_patches(config, made, inputs, visible)
        each, _, hidden = label_loss(mixture, noise(made), inputs, visible & config.ndvi)
        total = each.reshape(len(each), rows, -1).sum((0, 2)) / store.labels
        if key is not None and config.model == "GAN":
            labels = scaled(inputs.ndvi.T)
            game = adversarial_loss(config, variables.params, mixture.mean, labels, hidden)
            total = total + config.adversarial * game
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
    index = patch(regions, corner)
    index = jnp.where(way[0], index[:, ::-1], index)
    index = jnp.where(way[1], index[:, :, ::-1], index)
    return jnp.where(way[2], index.swapaxes(1, 2), index)


def adversarial_loss(
    config: CropsarConfig,
    params: PyTree,
    made: Float[Array, "time pixel"],
    observed: Float[Array, "time pixel"],
    hidden: Bool[Array, "time pixel"],
) -> Float[Array, "row"]:
    """(D(made) - 1)^2 for the generator, D(made)^2 + (D(observed) - 1)^2 for the discriminator,
    means over the squares that hold any withheld label; both see NDVI there alone."""
    fixed = jax.lax.stop_gradient
    mask = hidden.astype(made.dtype)

    def _score(weights, *ndvi):
        x = [jnp.stack([jnp.where(hidden, y, 0.0), mask], axis=-1) for y in ndvi]
        x = jnp.concatenate(x, axis=1).reshape(len(mask), -1, config.patch, config.patch, 2)
        score = _apply(Discriminator(), weights, x)
        return jnp.split(score, len(ndvi), axis=1)

    weights = params["discriminator"]
    (fools,) = _score(fixed(weights), made)
    of_made, of_observed = _score(weights, fixed(made), observed)
    squares = (fools - 1.0) ** 2 + of_made**2 + (of_observed - 1.0) ** 2
    square = mask.reshape(len(mask), -1, config.patch // 4, 4, config.patch // 4, 4)
    there = jnp.where(square.sum((3, 5)) > 0.0, 1.0, 0.0).astype(made.dtype)
    total = (there * squares).sum((0, 2, 3))
    return total / jnp.maximum(there.sum((0, 2, 3)), 1.0)
