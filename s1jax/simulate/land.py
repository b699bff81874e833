"""The land: which field a subpixel lies in, what grows there, and the planting calendar."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array, Float, Int
from scipy.spatial import cKDTree

from s1jax.simulate.config import DRY, POND, RICE, SEASONS, START, TREE, URBAN, SceneConfig
from s1jax.simulate.crops import Crop, Field
from s1jax.simulate.weather import generator, power_law_field
from s1jax.types import Key


class Landscape(NamedTuple):
    """The fields of a region."""

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
    subpixel = np.moveaxis(np.mgrid[0:rows, 0:columns], 0, -1).reshape(-1, 2).astype(np.float32)
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


def draw_crops(
    key: Key,
    kind: Int[Array, "field"],
    block: Int[Array, "field"],
    group: Int[Array, "block"],
    third_share: Float[Array, "block 3"],
    config: SceneConfig,
) -> Crop:
    """The crops of every field, axes (season, field), in order of time.

    A season is planted on its calendar day + group lag + block, field and year effects, but never
    before the field is cleared of its last crop. The first two seasons are rice, the third is rice,
    a dry crop or fallow in shares that differ by block. Rain-fed fields carry two dry crops a year.

    Args:
      key: consumed.
      kind: class of each field.
      block: irrigation block of each field.
      group: irrigation group of each block.
      third_share: shares of rice, dry crop and fallow in the third season of each block.
      config: of the scene.
    """
    n, dtype = kind.size, jnp.float32
    years = range(-1, int(config.days // 365) + 2)
    season = [(y, k) for y in years for k in range(SEASONS)]
    season = [(y, k) for y, k in season if _overlaps(365.0 * y + config.planting_day[k], config)]
    rounds = np.array(season)
    third = jnp.asarray(rounds[:, 1] == SEASONS - 1)[:, None]
    second = jnp.asarray(rounds[:, 1] == 1)[:, None]
    calendar = START + 365.0 * rounds[:, 0] + np.array(config.planting_day)[rounds[:, 1]]
    m = len(season)

    # few large draws, kept from being fused into (and so repeated in) every use of them: each
    # copy of a sampler costs compile time
    k_z, k_u, k_block, k_once = random.split(key, 4)
    z, u = random.normal(k_z, (9, m, n), dtype), random.uniform(k_u, (9, m, n), dtype)
    z, u = map(iter, jax.lax.optimization_barrier((z, u)))
    once = random.normal(k_once, (n + m,), dtype)
    year, field = once[n:, None], once[None, :n]

    lag = config.group_lag_days * group.astype(dtype)
    lag = lag + config.block_std_days * random.normal(k_block, group.shape, dtype)
    planned = jnp.asarray(calendar, dtype)[:, None] + config.calendar_shift_days + lag[block][None]
    planned = planned + config.year_std_days * year + config.field_std_days * next(z)

    draw = next(u)
    rice_third = draw < third_share[block, 0][None]
    crop_third = draw < (1.0 - third_share[block, 2])[None]
    grown = jnp.where(third, crop_third, draw < jnp.where(second, 0.93, 0.985))
    rice = jnp.where(third, rice_third, True) & grown
    duration = config.duration_days + 5.0 * next(z) - jnp.where(grown & ~rice, 20.0, 0.0)

    lai = config.lai + jnp.where(second, 0.3, 0.0) + config.lai_std * (0.6 * field + 0.8 * next(z))
    lai = jnp.maximum(lai, 0.8) * jnp.where(next(u) < config.failure, 0.35, 1.0)
    lai = lai * jnp.where(rice, 1.0, 0.75)

    dry = (kind == DRY)[None]
    dry_day = START + 365.0 * rounds[:, 0] + np.array([20.0, 170.0, 262.0])[rounds[:, 1]]
    dry_start = jnp.asarray(dry_day, dtype)[:, None] + 25.0 * next(z)
    planned = jnp.where(dry, dry_start, planned)
    duration = jnp.where(dry, 0.9 * duration, duration)
    lai = jnp.where(dry, jnp.maximum(0.7 * lai, 0.5), lai)
    grown = jnp.where(dry, ~third, grown & (kind == RICE)[None])

    def _plant(cleared, season):
        planned, grown, duration, wait = season
        start = jnp.maximum(planned, cleared + wait)
        return jnp.where(grown, start + duration, cleared), start

    never = jnp.full((n,), -jnp.inf, dtype)
    wait = 12.0 + 4.0 * next(u)
    _, transplant = jax.lax.scan(_plant, never, (planned, grown, duration, wait))

    drained, after, days = (jnp.stack([next(u), next(u)]) for _ in range(3))
    return Crop(
        transplant=transplant,
        duration=duration,
        peak_lai=jnp.where(grown, lai, 0.0),
        greenup=0.33 * duration + 2.5 * next(z),
        greenup_rate=jnp.maximum(0.13 + 0.012 * next(z), 0.08),
        senescence_rate=jnp.maximum(0.16 + 0.02 * next(z), 0.1),
        flood_lead=14.0 + 3.0 * next(z),
        flooded=(grown & rice & ~dry).astype(dtype),
        drain_after=18.0 + 52.0 * after,
        drain_days=jnp.where(drained < 0.6, 3.0 + 6.0 * days, 0.0),
        tillage_db=0.6 * config.roughness_db * next(z),
    )


def _overlaps(planting: float, config: SceneConfig) -> bool:
    """Whether a season planted on that day can show in the scene, by a wide margin."""
    first = planting + config.calendar_shift_days - 80.0
    last = first + 160.0 + config.groups * config.group_lag_days + config.duration_days
    return last > 0.0 and first < config.days


_draw_kinds = jax.jit(_kinds, static_argnames="config")
_draw_fields = jax.jit(_fields, static_argnames="config")
_draw_crops = jax.jit(draw_crops, static_argnames="config")
