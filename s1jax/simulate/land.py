"""The land: fields, their planting calendar, and the state of a field on any day.

Nothing here has a time axis: a crop is a dozen numbers, and its leaf area, flooding and yellowing
on a day are formulas of them.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array, Float, Int
from scipy.spatial import cKDTree

from s1jax.simulate.config import DRY, POND, RICE, START, TREE, URBAN, SceneConfig
from s1jax.simulate.weather import generator, power_law_field, wetness
from s1jax.types import Key

SEASONS = 3
"""Plantings a year in the irrigation calendar: wet season, second rice, third season."""
TILLAGE_LEAD = 20.0
"""The soil is worked this long before transplanting, days."""


class Crop(NamedTuple):
    """One crop in one field; the crops of a landscape have axes (season, field) behind these."""

    transplant: Float[Array, "*n"]  # day of transplanting, days since 1970-01-01
    duration: Float[Array, "*n"]  # from transplanting to harvest, days
    peak_lai: Float[Array, "*n"]  # leaf area index without senescence; 0 where fallow
    greenup: Float[Array, "*n"]  # from transplanting to the inflection of green-up, days
    greenup_rate: Float[Array, "*n"]  # logistic rate of green-up, 1 / day
    senescence_rate: Float[Array, "*n"]  # logistic rate of senescence, 1 / day
    flood_lead: Float[Array, "*n"]  # flooding starts this long before transplanting, days
    flooded: Float[Array, "*n"]  # 1 for paddy rice, 0 for a dry crop or fallow
    drain_after: Float[Array, "2 *n"]  # middles of two drainages, days after transplanting
    drain_days: Float[Array, "2 *n"]  # their lengths, days; 0 where there is none
    tillage_db: Float[Array, "*n"]  # roughness of the worked soil, dB about the field's own


class Field(NamedTuple):
    """One field; the fields of a landscape are the last axis."""

    kind: Int[Array, "*n"]  # class: RICE, POND, URBAN, TREE or DRY
    stand_lai: Float[Array, "*n"]  # leaf area index of trees, or of gardens in town
    weed_phase: Float[Array, "3 *n"]  # phases of the slow waves of weeds on fallow, rad
    moisture_offset: Float[Array, "*n"]  # soil moisture about the region's, m3 m-3
    roughness_db: Float[Array, "*n"]  # soil roughness as it shows in VV, dB
    texture_vv_db: Float[Array, "*n"]  # texture of the field in VV, dB
    texture_vh_db: Float[Array, "*n"]  # texture of the field in VH, dB
    crops: Crop  # its seasons, in order of time, on the axis before the fields'


class FieldState(NamedTuple):
    """A field on one day."""

    green_lai: Float[Array, "*n"]  # green leaf area index, which the optical sensor sees
    structural_lai: Float[Array, "*n"]  # leaves and stems, green or not, which the radar sees
    yellowing: Float[Array, "*n"]  # share of the canopy that has turned yellow
    flood: Float[Array, "*n"]  # share of the field under standing water
    tillage_db: Float[Array, "*n"]  # roughness of the worked soil, dB about the field's own


def crop_state(crop: Crop, day: Float[Array, ""]) -> FieldState:
    """State that one crop gives its field: products of logistic curves s(x) of the day.

    green LAI = L s(k1 (d - a)) s(-k2 (d - b)) s((h - d) / 0.8), with a the inflection of green-up,
    b at 90 % of the duration and h the harvest; the structural LAI follows 8 days after a and loses
    45 % after b, so that radar lags greenness. Flooding begins two weeks before transplanting, ends
    at 72 % of the duration and pauses in the drainages.
    """
    s = jax.nn.sigmoid
    age = day - crop.transplant
    ripe = 0.9 * crop.duration
    standing = jnp.where(age > -2.0, s((crop.duration - age) / 0.8), 0.0)
    green = s(crop.greenup_rate * (age - crop.greenup)) * s(crop.senescence_rate * (ripe - age))
    structure = s(0.1 * (age - crop.greenup - 8.0)) * (1.0 - 0.45 * s(0.12 * (age - ripe + 4.0)))
    ripens = (age > crop.greenup) & (crop.peak_lai > 0.0)
    yellow = jnp.where(ripens, s(0.16 * (age - ripe + 6.0)), 0.0)
    drained = (jnp.abs(age - crop.drain_after) < 0.5 * crop.drain_days).any()
    flood = s((age + crop.flood_lead) / 1.5) * s((0.72 * crop.duration - age) / 3.0)
    return FieldState(
        green_lai=crop.peak_lai * green * standing,
        structural_lai=crop.peak_lai * structure * standing,
        yellowing=yellow * standing,
        flood=jnp.where(drained, 0.0, crop.flooded * flood),
        tillage_db=jnp.where(age > -TILLAGE_LEAD, crop.tillage_db, 0.0),
    )


def weed_lai(phase: Float[Array, "3"], day: Float[Array, ""]) -> Float[Array, ""]:
    """Green LAI of weeds on fallow, 1: slow waves (100 to 600 days), most in the wet season."""
    rate = 2.0 * jnp.pi / jnp.array([100.0, 240.0, 600.0], phase.dtype)
    wave = jnp.sqrt(2.0 / 3.0) * jnp.cos(rate * (day - START) + phase).sum()
    return jnp.maximum(0.35 + 0.35 * wave, 0.0) * (0.35 + 0.65 * wetness(day))


def field_state(field: Field, day: Float[Array, ""]) -> FieldState:
    """State of one field on any day, days since 1970-01-01.

    A crop overrides what the one before it left: leaf area, yellowing and flood are the largest
    over the seasons, tillage that of the latest season whose soil work has begun.
    """
    crops = jax.vmap(crop_state, in_axes=(-1, None))(field.crops, day)
    green, structure, yellow, flood = (leaf.max() for leaf in crops[:4])
    begun = (field.crops.transplant - TILLAGE_LEAD < day).sum()
    tillage = jnp.where(jnp.arange(crops.tillage_db.size) == begun - 1, crops.tillage_db, 0.0).sum()

    weeds = jnp.where(green < 0.5, weed_lai(field.weed_phase, day) * (1.0 - flood), 0.0)
    tree, urban, pond = (field.kind == kind for kind in (TREE, URBAN, POND))
    open_land = (field.kind == RICE) | (field.kind == DRY)
    green = jnp.where(open_land, jnp.maximum(green, weeds), field.stand_lai)
    green = jnp.where(tree, green * (0.9 + 0.1 * wetness(day)), green)
    structure = jnp.where(tree, 5.5, jnp.where(urban, 0.5, structure))
    return FieldState(green, structure, yellow, jnp.where(pond, 1.0, flood), tillage)


class Landscape(NamedTuple):
    """The fields of a region."""

    field_of: Int[Array, "two_y two_x"]  # field of each subpixel (half a pixel)
    fields: Field  # on the last axis of every leaf; crops have (season, field)
    block: Int[Array, "field"]  # tertiary irrigation block of each field
    group: Int[Array, "block"]  # irrigation group (golongan) of each block, in order of water


def to_pixels(value: Float[Array, "field"], field_of: Int[Array, "a b"]) -> Float[Array, "y x"]:
    """Mean over the 2 x 2 subpixels of each pixel of a value given by field."""
    rows, columns = field_of.shape
    return value[field_of].reshape(rows // 2, 2, columns // 2, 2).mean((1, 3))


def landscape(key: Key, config: SceneConfig) -> Landscape:
    """Elongated Voronoi fields of .31 hectares in blocks of 80, their classes and all their crops.

    Ponds lie in the northern 28 %; towns (10 %), trees (9 %) and rain-fed crops (6 %) follow a
    smooth random field.
    """
    k_point, k_kind, k_crop, k_field = random.split(key, 4)
    rng = generator(k_point)
    rows, columns = 2 * config.height, 2 * config.width
    hectares = rows * columns * (config.pixel_m / 2.0) ** 2 / 1e4
    n_field = max(int(hectares / 0.31), 1)
    n_block = max(int(hectares / 80.0), 6)
    size = np.array([rows, columns])
    point, centre = rng.random((n_field, 2)) * size, rng.random((n_block, 2)) * size
    group = jnp.asarray(rng.integers(config.groups, size=n_block), jnp.int32)
    share = rng.dirichlet(2.5 * np.array(config.third_season), n_block)

    stretch = np.array([1.0, 0.7])
    subpixel = np.moveaxis(np.mgrid[0:rows, 0:columns], 0, -1).reshape(-1, 2).astype(np.float32)
    _, field_of = cKDTree(point * stretch).query(subpixel * stretch, workers=-1)
    _, block = cKDTree(centre).query(point)
    block = jnp.asarray(block, jnp.int32)

    kind = _draw_kinds(k_kind, jnp.asarray(point, jnp.float32), config)
    crops = _draw_crops(k_crop, kind, block, group, jnp.asarray(share, jnp.float32), config)
    fields = _draw_fields(k_field, kind, crops, config)
    return Landscape(jnp.asarray(field_of.reshape(rows, columns), jnp.int32), fields, block, group)


@partial(jax.jit, static_argnames="config")
def _draw_kinds(
    key: Key, point: Float[Array, "field 2"], config: SceneConfig
) -> Int[Array, "field"]:
    """Class of each field; `point` is its centre in subpixels."""
    k_smooth, k_rough, k_pond = random.split(key, 3)
    n = len(point)
    rows, columns = 2 * config.height, 2 * config.width
    smooth = power_law_field(k_smooth, (rows, columns), 2.6)
    at = tuple(point.astype(jnp.int32).T)
    score = smooth[at] + 0.35 * random.normal(k_rough, (n,), jnp.float32)
    rank = jnp.argsort(jnp.argsort(score)).astype(jnp.float32) / n
    north = point[:, 0] < 0.28 * rows
    pond = north & (random.uniform(k_pond, (n,), jnp.float32) < config.pond_fraction / 0.28)
    town = 1.0 - 0.10
    kind = jnp.where(rank > town, URBAN, jnp.where(rank > town - 0.09, TREE, RICE))
    kind = jnp.where(rank < 0.06, DRY, kind)
    return jnp.where(pond, POND, kind).astype(jnp.int32)


@partial(jax.jit, static_argnames="config")
def _draw_fields(key: Key, kind: Int[Array, "field"], crops: Crop, config: SceneConfig) -> Field:
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


@partial(jax.jit, static_argnames="config")
def _draw_crops(
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
