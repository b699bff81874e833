"""The planting calendar: when each field is planted, with what, and how that crop will fare."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array, Float, Int

from s1jax.simulate.config import DRY, RICE, SEASONS, START, SceneConfig
from s1jax.simulate.crops import Crop
from s1jax.types import Key


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
      third_share: shares of rice, dry crop and fallow in the third season of each block, 1.
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
    year, own = once[n:, None], once[None, :n]

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

    lai = config.lai + jnp.where(second, 0.3, 0.0) + config.lai_std * (0.6 * own + 0.8 * next(z))
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
