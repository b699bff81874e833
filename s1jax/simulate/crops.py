"""From a planting calendar to the state of a field on any day, in closed form.

Nothing here has a time axis: a crop is a dozen numbers, and its leaf area, flooding and yellowing
on a day are formulas of them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from s1jax.simulate.config import DRY, POND, RICE, START, TREE, URBAN
from s1jax.simulate.weather import wetness

TILLAGE_LEAD = 20.0
"""The soil is worked this long before transplanting, days."""


class Crop(NamedTuple):
    """One crop in one field; the crops of a landscape have axes (season, field) behind these."""

    transplant: Float[Array, "*n"]
    """Day of transplanting, days since 1970-01-01."""
    duration: Float[Array, "*n"]
    """From transplanting to harvest, days."""
    peak_lai: Float[Array, "*n"]
    """Leaf area index that the canopy would reach without senescence; 0 where fallow."""
    greenup: Float[Array, "*n"]
    """From transplanting to the inflection of green-up, days."""
    greenup_rate: Float[Array, "*n"]
    """Logistic rate of green-up, 1 / day."""
    senescence_rate: Float[Array, "*n"]
    """Logistic rate of senescence, 1 / day."""
    flood_lead: Float[Array, "*n"]
    """Flooding starts this long before transplanting, days."""
    flooded: Float[Array, "*n"]
    """1 for paddy rice, 0 for a dry crop or fallow."""
    drain_after: Float[Array, "2 *n"]
    """Middle of the two mid-season drainages, days after transplanting."""
    drain_days: Float[Array, "2 *n"]
    """Their lengths, days; 0 where there is none."""
    tillage_db: Float[Array, "*n"]
    """Roughness of the soil since it was worked for this season, dB about the field's own."""


class Field(NamedTuple):
    """One field; the fields of a landscape have one more axis, the last."""

    kind: Int[Array, "*n"]
    """Class: RICE, POND, URBAN, TREE or DRY."""
    stand_lai: Float[Array, "*n"]
    """Leaf area index of what always stands there (trees, gardens in town)."""
    weed_phase: Float[Array, "3 *n"]
    """Phases of the slow waves of weeds on fallow, rad."""
    moisture_offset: Float[Array, "*n"]
    """Soil moisture about the region's, m3 m-3."""
    roughness_db: Float[Array, "*n"]
    """Soil roughness as it shows in VV, dB."""
    texture_vv_db: Float[Array, "*n"]
    """What else distinguishes the field in VV, dB."""
    texture_vh_db: Float[Array, "*n"]
    """What else distinguishes the field in VH, dB."""
    crops: Crop
    """Its seasons, in order of time, on the axis before the fields'."""


class FieldState(NamedTuple):
    """A field on one day."""

    green_lai: Float[Array, "*n"]
    """Green leaf area index, which the optical sensor sees."""
    structural_lai: Float[Array, "*n"]
    """Area index of leaves and stems, green or not, which the radar sees."""
    yellowing: Float[Array, "*n"]
    """Share of the canopy that has turned yellow."""
    flood: Float[Array, "*n"]
    """Share of the field under standing water."""
    tillage_db: Float[Array, "*n"]
    """Roughness of the soil since it was last worked, dB about the field's own."""


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
    stands = jnp.where(age > -2.0, s((crop.duration - age) / 0.8), 0.0)
    green = s(crop.greenup_rate * (age - crop.greenup)) * s(crop.senescence_rate * (ripe - age))
    structure = s(0.1 * (age - crop.greenup - 8.0)) * (1.0 - 0.45 * s(0.12 * (age - ripe + 4.0)))
    ripens = (age > crop.greenup) & (crop.peak_lai > 0.0)
    yellow = jnp.where(ripens, s(0.16 * (age - ripe + 6.0)), 0.0)
    drained = (jnp.abs(age - crop.drain_after) < 0.5 * crop.drain_days).any()
    flood = s((age + crop.flood_lead) / 1.5) * s((0.72 * crop.duration - age) / 3.0)
    return FieldState(
        green_lai=crop.peak_lai * green * stands,
        structural_lai=crop.peak_lai * structure * stands,
        yellowing=yellow * stands,
        flood=jnp.where(drained, 0.0, crop.flooded * flood),
        tillage_db=jnp.where(age > -TILLAGE_LEAD, crop.tillage_db, 0.0),
    )


def weed_lai(phase: Float[Array, "3"], day: Float[Array, ""]) -> Float[Array, ""]:
    """Green LAI of weeds on fallow, 1: slow waves (100 to 600 days), most in the wet season."""
    rate = 2.0 * jnp.pi / jnp.array([100.0, 240.0, 600.0], phase.dtype)
    wave = jnp.sqrt(2.0 / 3.0) * jnp.cos(rate * (day - START) + phase).sum()
    return jnp.maximum(0.35 + 0.35 * wave, 0.0) * (0.35 + 0.65 * wetness(day))


def field_state(field: Field, day: Float[Array, ""]) -> FieldState:
    """State of one field on any day.

    A crop overrides what the one before it left: leaf area, yellowing and flood are the largest
    over the seasons, tillage that of the latest season whose soil work has begun.

    Args:
      field: one field, its crops on the last axis.
      day: days since 1970-01-01.
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
