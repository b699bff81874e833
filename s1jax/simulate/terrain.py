"""The landscape: which field a subpixel lies in, what grows there, and when it is planted."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array, Float, Int
from scipy.spatial import cKDTree

from s1jax.simulate.climate import generator
from s1jax.simulate.clouds import power_law_field
from s1jax.simulate.config import DRY, POND, RICE, TREE, URBAN, SceneConfig
from s1jax.simulate.crops import Crop, Field
from s1jax.simulate.planting import draw_crops
from s1jax.types import Key


class Landscape(NamedTuple):
    """A country of fields."""

    field_of: Int[Array, "two_y two_x"]
    """Number of the field in which each subpixel (half a pixel) lies."""
    fields: Field
    """The fields, on the last axis of every leaf; crops have (season, field)."""
    block: Int[Array, "field"]
    """Tertiary irrigation block of each field."""
    group: Int[Array, "block"]
    """Irrigation group (golongan) of each block; each gets its water later than the one before."""


def to_pixels(value: Float[Array, "field"], field_of: Int[Array, "a b"]) -> Float[Array, "y x"]:
    """Mean over the 2 x 2 subpixels of each pixel of a value given by field."""
    rows, columns = field_of.shape
    return value[field_of].reshape(rows // 2, 2, columns // 2, 2).mean((1, 3))


def landscape(key: Key, config: SceneConfig) -> Landscape:
    """Elongated Voronoi fields in Voronoi blocks, their classes and all their crops.

    Ponds lie in the northern 28 %; towns, trees and rain-fed crops follow a smooth random field.
    """
    k_place, k_kind, k_crop, k_field = random.split(key, 4)
    rng = generator(k_place)
    rows, columns = 2 * config.height, 2 * config.width
    hectares = rows * columns * (config.pixel_m / 2.0) ** 2 / 1e4
    n_field = max(int(hectares / config.field_ha), 1)
    n_block = max(int(hectares / config.block_ha), 6)
    size = np.array([rows, columns])
    point, centre = rng.random((n_field, 2)) * size, rng.random((n_block, 2)) * size
    group = jnp.asarray(rng.integers(config.groups, size=n_block), jnp.int32)
    share = rng.dirichlet(2.5 * np.array(config.third_season), n_block)

    stretch = np.array([1.0, 0.7])
    subpixel = np.stack(np.mgrid[0:rows, 0:columns], -1).reshape(-1, 2).astype(np.float32)
    _, field_of = cKDTree(point * stretch).query(subpixel * stretch, workers=-1)
    _, block = cKDTree(centre).query(point)
    block = jnp.asarray(block, jnp.int32)

    kind = _draw_kinds(k_kind, jnp.asarray(point, jnp.float32), config=config)
    third = jnp.asarray(share, jnp.float32)
    crops = _draw_crops(k_crop, kind, block, group, third, config=config)
    return Landscape(
        jnp.asarray(field_of.reshape(rows, columns), jnp.int32),
        _draw_fields(k_field, kind, crops, config=config),
        block,
        group,
    )


def _kinds(key: Key, point: Float[Array, "field 2"], config: SceneConfig) -> Int[Array, "field"]:
    k_smooth, k_rough, k_pond = random.split(key, 3)
    n = len(point)
    rows, columns = 2 * config.height, 2 * config.width
    smooth = power_law_field(k_smooth, (rows, columns), 2.6)
    at = tuple(point.astype(jnp.int32).T)
    score = smooth[at] + 0.35 * random.normal(k_rough, (n,), jnp.float32)
    rank = jnp.argsort(jnp.argsort(score)).astype(jnp.float32) / n
    north = point[:, 0] < 0.28 * rows
    pond = north & (random.uniform(k_pond, (n,), jnp.float32) < config.pond_fraction / 0.28)
    town = 1.0 - config.urban_fraction
    kind = jnp.where(rank > town, URBAN, jnp.where(rank > town - config.tree_fraction, TREE, RICE))
    kind = jnp.where(rank < config.dry_fraction, DRY, kind)
    return jnp.where(pond, POND, kind).astype(jnp.int32)


def _fields(key: Key, kind: Int[Array, "field"], crops: Crop, config: SceneConfig) -> Field:
    k_normal, k_weed = random.split(key)
    z = jax.lax.optimization_barrier(random.normal(k_normal, (5, kind.size), jnp.float32))
    garden, grove = 0.65 + 0.06 * z[0], 4.2 + 0.5 * z[0]
    return Field(
        kind=kind,
        stand_lai=jnp.where(kind == TREE, grove, jnp.where(kind == URBAN, garden, 0.0)),
        weed_phase=random.uniform(k_weed, (3, kind.size), jnp.float32, 0.0, 2.0 * np.pi),
        moisture_offset=0.04 * z[1],
        roughness_db=config.roughness_db * z[2],
        texture_vv_db=config.texture_db * z[3],
        texture_vh_db=config.texture_db * z[4],
        crops=crops,
    )


_draw_kinds = jax.jit(_kinds, static_argnames="config")
_draw_fields = jax.jit(_fields, static_argnames="config")
_draw_crops = jax.jit(draw_crops, static_argnames="config")
