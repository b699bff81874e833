"""One region seen by two satellites: single images, and the scene composited from them."""

import logging
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array, Bool, Float, Int

from s1jax.batching import bar
from s1jax.features import to_db
from s1jax.simulate.config import DRY, RICE, START, SceneConfig
from s1jax.simulate.images import s1_image, s2_image, truth
from s1jax.simulate.land import Landscape, landscape, to_pixels
from s1jax.simulate.weather import (
    EXPORTED_DEAD,
    MAX_CLOUD,
    REVISIT_DAYS,
    AcquisitionPlan,
    Weather,
    acquisition_plan,
    weather,
)
from s1jax.types import Key

log = logging.getLogger("s1jax")
_truth = jax.jit(truth)
_median = jax.jit(lambda images: jnp.nanmedian(images, axis=0))


class Region(NamedTuple):
    """What all images of a key show: the same land and weather whatever the mode."""

    landscape: Landscape
    """With the weather, what `truth` needs for the NDVI of any other day."""
    weather: Weather
    plan: AcquisitionPlan
    """Days of all acquisitions, with cloud fractions."""
    kind: Int[np.ndarray, "y x"]
    """Class of the pixel: RICE, POND, URBAN, TREE or DRY, the commonest of its subpixels."""
    block: Int[np.ndarray, "y x"]
    """Tertiary irrigation block."""
    mask: Bool[np.ndarray, "y x"]
    """Paddy mask, wrong on 3 % of the pixels."""


class Scene(NamedTuple):
    """Composites or single images of a region, with the truth; arrays on the host."""

    day: Float[np.ndarray, "time"]
    """Centres of the periods, or days of the images, ascending, days since 1970-01-01."""
    vv_db: Float[np.ndarray, "time y x"]
    """VV, dB, mean over the passes of a period in linear power; NaN without a pass; of the first
    orbit alone where orbits are apart."""
    vh_db: Float[np.ndarray, "time y x"]
    """VH, likewise, dB."""
    ndvi: Float[np.ndarray, "time y x"]
    """Observed NDVI, median over the acquisitions of a period; NaN under cloud that the mask
    detects and without an acquisition (in a composite of `as_exported`: -inf)."""
    truth: Float[np.ndarray, "time y x"]
    """True NDVI on the day."""
    region: Region
    vv_2_db: Float[np.ndarray, "time y x"] | None = None
    """VV of the second orbit, dB; None where orbits are not apart."""
    vh_2_db: Float[np.ndarray, "time y x"] | None = None
    """VH, likewise, dB."""
    track: Int[np.ndarray, "time"] | None = None
    """Of single images: 1 or 2, the Sentinel-1 orbit; 0 of Sentinel-2. None of composites."""


def scene(key: Key, config: SceneConfig) -> Scene:
    """The cube of `config.periods` composites that the two satellites make of one region.

    One period is in memory at a time besides the result.
    """
    region, key_s1, key_s2 = _region(key, config)
    fields, days = region.landscape.block.size, region.plan.s2_day.size
    log.info("simulated %d fields, %d Sentinel-2 days", fields, days)

    shape = (config.periods, config.height, config.width)
    orbits = ((0,), (1,)) if config.orbits == "apart" else ((0, 1),)
    radar = np.empty((len(orbits), 2, *shape), np.float32)
    ndvi, true = np.empty(shape, np.float32), np.empty(shape, np.float32)
    day = START + config.step * (np.arange(config.periods, dtype=np.float32) + 0.5)
    for p in bar(range(config.periods), "simulate", "period"):
        # all is dispatched before any of it is fetched, so that the images run side by side
        pairs = [_s1_period(key_s1, region, p, some, config) for some in orbits]
        optical = _s2_period(key_s2, region, p, config)
        true[p] = _true_ndvi(region, day[p])
        for k, pair in enumerate(pairs):
            radar[k, 0, p], radar[k, 1, p] = pair
        ndvi[p] = optical
    if config.mode == "as_exported":
        ndvi = np.where(np.isnan(ndvi), np.float32(-np.inf), ndvi)
        dead = slice(EXPORTED_DEAD - 1, EXPORTED_DEAD)
        radar[:, :, dead] = ndvi[dead] = 0.0
    vv_2_db, vh_2_db = radar[1] if len(orbits) == 2 else (None, None)
    return Scene(day, radar[0, 0], radar[0, 1], ndvi, true, region, vv_2_db, vh_2_db)


def acquisitions(key: Key, config: SceneConfig) -> Scene:
    """The images that `scene` of the same key and configuration is composited from.

    Every image has its own day and its `track`. Optical scenes from `MAX_CLOUD` up are left
    out, as there. A day that both satellites pass on is two dates.
    """
    region, key_s1, key_s2 = _region(key, config)
    plan = region.plan
    radar = [
        (float(day), orbit + 1, period)
        for (period, orbit), day in np.ndenumerate(plan.s1_day)
        if np.isfinite(day)
    ]
    clear = np.flatnonzero(plan.s2_cloud < MAX_CLOUD)
    images = sorted(radar + [(float(plan.s2_day[i]), 0, int(i)) for i in clear])

    shape = (len(images), config.height, config.width)
    vv_db, vh_db, ndvi = (np.full(shape, np.nan, np.float32) for _ in range(3))
    true = np.empty(shape, np.float32)
    for t, (day, track, number) in enumerate(bar(images, "simulate", "image")):
        if track:
            power = _radar_image(key_s1, region, number, track - 1, config)
            vv_db[t], vh_db[t] = (to_db(pol) for pol in power)
        else:
            ndvi[t] = _ndvi_image(key_s2, region, number, config)
        true[t] = _true_ndvi(region, day)
    days, tracks, _ = zip(*images, strict=True)
    days, tracks = np.asarray(days, np.float32), np.asarray(tracks, np.int32)
    return Scene(days, vv_db, vh_db, ndvi, true, region, track=tracks)


def _region(key, config):
    """The region, and the keys of its radar and its optical images."""
    key_land, key_weather, key_pass, key_s1, key_s2, key_mask = random.split(key, 6)
    land = landscape(key_land, config)
    kind, paddy = _classes(land)
    region = Region(
        landscape=land,
        weather=weather(key_weather, config),
        plan=acquisition_plan(key_pass, config),
        kind=np.asarray(kind),
        block=np.asarray(land.block[land.field_of[::2, ::2]]),
        mask=np.asarray(paddy ^ random.bernoulli(key_mask, 0.03, paddy.shape)),
    )
    return region, key_s1, key_s2


def _s1_period(key, region, p, orbits, config):
    """VV and VH of a period, dB: the mean of its passes in linear power, NaN without a pass."""
    images = [
        _radar_image(key, region, p, orbit, config)
        for orbit in orbits
        if np.isfinite(region.plan.s1_day[p][orbit])
    ]
    if not images:
        return np.nan, np.nan
    return tuple(to_db(sum(pol) / len(images)) for pol in zip(*images, strict=True))


def _s2_period(key, region, p, config):
    """NDVI of a period: the median of its acquisitions under the cloud limit, NaN without one."""
    plan = region.plan
    usable = np.flatnonzero((plan.s2_period == p) & (plan.s2_cloud < MAX_CLOUD))
    if not usable.size:
        return np.nan
    images = [_ndvi_image(key, region, i, config) for i in usable]
    # one shape for every period, so one trace: what is not there is NaN
    most = config.step // REVISIT_DAYS + 1
    images += [jnp.full_like(images[0], jnp.nan)] * (most - len(images))
    return _median(jnp.stack(images))


def _radar_image(key, region, period, orbit, config):
    """VV and VH, linear power, of the pass of an orbit (0 or 1) in a period that has it."""
    angle = jnp.asarray(config.incidence_deg[orbit], jnp.float32)
    day = jnp.asarray(region.plan.s1_day[period][orbit])
    key = random.fold_in(key, 2 * period + orbit)
    return s1_image(key, region.landscape, region.weather, day, angle, config)


def _ndvi_image(key, region, number, config):
    """NDVI of a Sentinel-2 acquisition, by its number in the plan."""
    day, cloud = (jnp.asarray(x[number]) for x in (region.plan.s2_day, region.plan.s2_cloud))
    key = random.fold_in(key, number)
    return s2_image(key, region.landscape, region.weather, day, cloud, config)


def _true_ndvi(region, day):
    return _truth(region.landscape, region.weather, jnp.asarray([day], jnp.float32))[0]


@jax.jit
def _classes(land: Landscape) -> tuple[Int[Array, "y x"], Bool[Array, "y x"]]:
    """Commonest class of each pixel, and whether at least half of it is paddy."""
    kinds = range(RICE, DRY + 1)
    shares = [to_pixels((land.fields.kind == k).astype(jnp.float32), land.field_of) for k in kinds]
    share = jnp.stack(shares)
    return share.argmax(0), share[RICE] >= 0.5
