"""A scene: acquisitions composited into 12-day periods, with truth beside them."""

import logging
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from s1jax.indices import to_db
from s1jax.progress import bar
from s1jax.simulate.climate import Passes, Weather
from s1jax.simulate.config import START, SceneConfig
from s1jax.simulate.country import country, label_of, ndvi_of, power_of
from s1jax.simulate.terrain import Landscape
from s1jax.types import Key

log = logging.getLogger("s1jax")


class Scene(NamedTuple):
    """A simulated cube with the truth; arrays on the host."""

    day: Float[np.ndarray, "period"]
    """Centres of the periods, days since 1970-01-01."""
    vv_db: Float[np.ndarray, "period y x"]
    """VV, mean over the passes in linear power, dB; NaN where there was no pass; of the first orbit
    alone where orbits are apart."""
    vh_db: Float[np.ndarray, "period y x"]
    """VH, likewise, dB."""
    ndvi: Float[np.ndarray, "period y x"]
    """Observed NDVI, median over the acquisitions; NaN (`as_exported`: -inf) without any."""
    truth: Float[np.ndarray, "period y x"]
    """True NDVI on the period's centre."""
    mask: Bool[np.ndarray, "y x"]
    """Paddy mask, with errors."""
    kind: Int[np.ndarray, "y x"]
    """Class of the pixel: RICE, POND, URBAN, TREE or DRY, the commonest of its subpixels."""
    block: Int[np.ndarray, "y x"]
    """Tertiary irrigation block."""
    passes: Passes
    """Days of all acquisitions, with cloud fractions."""
    landscape: Landscape
    """What `truth` needs to give the NDVI of any other day ..."""
    weather: Weather
    """... of the scene."""
    vv_2_db: Float[np.ndarray, "period y x"] | None = None
    """VV of the second orbit, dB; None where orbits are not apart."""
    vh_2_db: Float[np.ndarray, "period y x"] | None = None
    """VH, likewise, dB."""


_median = jax.jit(lambda images: jnp.nanmedian(images, axis=0))


def scene(key: Key, config: SceneConfig) -> Scene:
    """The cube of `config.periods` composites that the two satellites make of one landscape.

    The landscape and the weather depend on the key and on the sizes and calendar in `config`, not
    on its mode. One period is in memory at a time besides the result.

    Args:
      key: consumed.
      config: sizes, constants and mode.
    """
    here = country(key, config)
    plan = here.passes
    log.info("simulated %d fields, %d Sentinel-2 days", here.landscape.block.size, plan.s2_day.size)

    shape = (config.periods, config.height, config.width)
    ways = ((0,), (1,)) if config.orbits == "apart" else ((0, 1),)
    radar = np.empty((len(ways), 2, *shape), np.float32)
    ndvi, true = np.empty(shape, np.float32), np.empty(shape, np.float32)
    day = START + config.step * (np.arange(config.periods, dtype=np.float32) + 0.5)
    for p in bar(range(config.periods), "simulate", "period"):
        # all is dispatched before any of it is fetched, so that the images run side by side
        found = [_s1_period(here, p, way, config) for way in ways]
        optical = _s2_period(here, p, config)
        true[p] = ndvi_of(here, day[p])
        for way, pair in enumerate(found):
            radar[way, 0, p], radar[way, 1, p] = pair
        ndvi[p] = optical
    if config.mode == "as_exported":
        ndvi = np.where(np.isnan(ndvi), np.float32(-np.inf), ndvi)
        dead = [p - 1 for p in config.exported_dead if p <= config.periods]
        radar[:, :, dead] = ndvi[dead] = 0.0

    return Scene(
        day=day,
        vv_db=radar[0, 0],
        vh_db=radar[0, 1],
        ndvi=ndvi,
        truth=true,
        mask=here.mask,
        kind=here.kind,
        block=np.asarray(here.landscape.block[here.landscape.field_of[::2, ::2]]),
        passes=plan,
        landscape=here.landscape,
        weather=here.weather,
        vv_2_db=radar[1, 0] if len(ways) == 2 else None,
        vh_2_db=radar[1, 1] if len(ways) == 2 else None,
    )


def _s1_period(here, p, orbits, config):
    """VV and VH of a period, dB: the mean of its passes in linear power, NaN without a pass."""
    images = [
        power_of(here, p, orbit, config)
        for orbit in orbits
        if np.isfinite(here.passes.s1_day[p][orbit])
    ]
    if not images:
        return np.nan, np.nan
    return tuple(to_db(sum(pol) / len(images)) for pol in zip(*images, strict=True))


def _s2_period(here, p, config):
    """NDVI of a period: the median of its acquisitions under the cloud limit, NaN without one."""
    plan = here.passes
    usable = np.flatnonzero((plan.s2_period == p) & (plan.s2_cloud < config.max_cloud))
    if not usable.size:
        return np.nan
    images = [label_of(here, i, config) for i in usable]
    # one shape for every period, so one trace: what is not there is NaN
    most = config.step // config.revisit_days + 1
    images += [jnp.full_like(images[0], jnp.nan)] * (most - len(images))
    return _median(jnp.stack(images))
