"""One region seen by two satellites: single images, and the scene composited from them."""

import logging
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array, Bool, Float, Int

from s1jax.indices import to_db
from s1jax.progress import bar
from s1jax.simulate.config import DRY, RICE, START, SceneConfig
from s1jax.simulate.land import Landscape, landscape, to_pixels
from s1jax.simulate.optics import s2_image, truth
from s1jax.simulate.radar import s1_image
from s1jax.simulate.weather import AcquisitionPlan, Weather, acquisition_plan, weather
from s1jax.types import Key

log = logging.getLogger("s1jax")
_weather = jax.jit(weather, static_argnames="config")
_truth = jax.jit(truth)
_s1_image = jax.jit(s1_image, static_argnames="config")
_s2_image = jax.jit(s2_image, static_argnames="config")
_median = jax.jit(lambda images: jnp.nanmedian(images, axis=0))


class Region(NamedTuple):
    """What all images of a key show, and what they are drawn with."""

    landscape: Landscape
    weather: Weather
    plan: AcquisitionPlan
    key_s1: Key
    key_s2: Key
    kind: Int[np.ndarray, "y x"]
    """Class of the pixel, the commonest of its subpixels."""
    mask: Bool[np.ndarray, "y x"]
    """Paddy mask, with errors."""


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
    plan: AcquisitionPlan
    """Days of all acquisitions, with cloud fractions."""
    landscape: Landscape
    """With the weather, what `truth` needs for the NDVI of any other day."""
    weather: Weather
    vv_2_db: Float[np.ndarray, "period y x"] | None = None
    """VV of the second orbit, dB; None where orbits are not apart."""
    vh_2_db: Float[np.ndarray, "period y x"] | None = None
    """VH, likewise, dB."""


class Acquisitions(NamedTuple):
    """Every image on its own day, nothing composited; arrays on the host."""

    day: Float[np.ndarray, "time"]
    """Days on which either satellite passed, days since 1970-01-01, ascending."""
    vv_db: Float[np.ndarray, "time y x"]
    """VV, dB; NaN on days without Sentinel-1."""
    vh_db: Float[np.ndarray, "time y x"]
    """VH, likewise, dB."""
    ndvi: Float[np.ndarray, "time y x"]
    """Observed NDVI; NaN under cloud that the mask detects and on days without Sentinel-2."""
    truth: Float[np.ndarray, "time y x"]
    """True NDVI."""
    track: Int[np.ndarray, "time"]
    """1 or 2, the Sentinel-1 orbit of the day; 0 without Sentinel-1."""
    mask: Bool[np.ndarray, "y x"]
    """Paddy mask, with errors."""


def region(key: Key, config: SceneConfig) -> Region:
    """Land and weather depend on the key and on sizes and calendar, not on the mode.

    Args:
      key: consumed.
      config: sizes, constants and mode.
    """
    key_land, key_weather, key_pass, key_s1, key_s2, key_mask = random.split(key, 6)
    land = landscape(key_land, config)
    kind, paddy = _classes(land)
    wrong = random.bernoulli(key_mask, config.mask_error, paddy.shape)
    return Region(
        landscape=land,
        weather=_weather(key_weather, config=config),
        plan=acquisition_plan(key_pass, config),
        key_s1=key_s1,
        key_s2=key_s2,
        kind=np.asarray(kind),
        mask=np.asarray(paddy ^ wrong),
    )


def scene(key: Key, config: SceneConfig) -> Scene:
    """The cube of `config.periods` composites that the two satellites make of one region.

    One period is in memory at a time besides the result.

    Args:
      key: consumed.
      config: sizes, constants and mode.
    """
    of = region(key, config)
    fields, days = of.landscape.block.size, of.plan.s2_day.size
    log.info("simulated %d fields, %d Sentinel-2 days", fields, days)

    shape = (config.periods, config.height, config.width)
    orbits = ((0,), (1,)) if config.orbits == "apart" else ((0, 1),)
    radar = np.empty((len(orbits), 2, *shape), np.float32)
    ndvi, true = np.empty(shape, np.float32), np.empty(shape, np.float32)
    day = START + config.step * (np.arange(config.periods, dtype=np.float32) + 0.5)
    for p in bar(range(config.periods), "simulate", "period"):
        # all is dispatched before any of it is fetched, so that the images run side by side
        pairs = [_s1_period(of, p, some, config) for some in orbits]
        optical = _s2_period(of, p, config)
        true[p] = _true_ndvi(of, day[p])
        for k, pair in enumerate(pairs):
            radar[k, 0, p], radar[k, 1, p] = pair
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
        mask=of.mask,
        kind=of.kind,
        block=np.asarray(of.landscape.block[of.landscape.field_of[::2, ::2]]),
        plan=of.plan,
        landscape=of.landscape,
        weather=of.weather,
        vv_2_db=radar[1, 0] if len(orbits) == 2 else None,
        vh_2_db=radar[1, 1] if len(orbits) == 2 else None,
    )


def acquisitions(key: Key, config: SceneConfig) -> Acquisitions:
    """The images that `scene` of the same key and configuration is composited from.

    Optical scenes from `max_cloud` up are left out, as there. A day that both satellites pass on is
    two dates.

    Args:
      key: consumed.
      config: sizes, constants and mode.
    """
    of = region(key, config)
    radar = [
        (float(day), orbit + 1, period)
        for (period, orbit), day in np.ndenumerate(of.plan.s1_day)
        if np.isfinite(day)
    ]
    clear = np.flatnonzero(of.plan.s2_cloud < config.max_cloud)
    images = sorted(radar + [(float(of.plan.s2_day[i]), 0, int(i)) for i in clear])

    shape = (len(images), config.height, config.width)
    vv_db, vh_db, ndvi = (np.full(shape, np.nan, np.float32) for _ in range(3))
    true = np.empty(shape, np.float32)
    for t, (day, track, number) in enumerate(bar(images, "simulate", "image")):
        if track:
            power = _radar_image(of, number, track - 1, config)
            vv_db[t], vh_db[t] = (to_db(pol) for pol in power)
        else:
            ndvi[t] = _ndvi_image(of, number, config)
        true[t] = _true_ndvi(of, day)
    days, tracks, _ = zip(*images, strict=True)
    days, tracks = np.asarray(days, np.float32), np.asarray(tracks, np.int32)
    return Acquisitions(days, vv_db, vh_db, ndvi, true, tracks, of.mask)


def _s1_period(of, p, orbits, config):
    """VV and VH of a period, dB: the mean of its passes in linear power, NaN without a pass."""
    images = [
        _radar_image(of, p, orbit, config)
        for orbit in orbits
        if np.isfinite(of.plan.s1_day[p][orbit])
    ]
    if not images:
        return np.nan, np.nan
    return tuple(to_db(sum(pol) / len(images)) for pol in zip(*images, strict=True))


def _s2_period(of, p, config):
    """NDVI of a period: the median of its acquisitions under the cloud limit, NaN without one."""
    plan = of.plan
    usable = np.flatnonzero((plan.s2_period == p) & (plan.s2_cloud < config.max_cloud))
    if not usable.size:
        return np.nan
    images = [_ndvi_image(of, i, config) for i in usable]
    # one shape for every period, so one trace: what is not there is NaN
    most = config.step // config.revisit_days + 1
    images += [jnp.full_like(images[0], jnp.nan)] * (most - len(images))
    return _median(jnp.stack(images))


def _radar_image(of, period, orbit, config):
    """VV and VH, linear power, of the pass of an orbit (0 or 1) in a period that has it."""
    angle = jnp.asarray(config.incidence_deg[orbit], jnp.float32)
    day = jnp.asarray(of.plan.s1_day[period][orbit])
    key = random.fold_in(of.key_s1, 2 * period + orbit)
    return _s1_image(key, of.landscape, of.weather, day, angle, config=config)


def _ndvi_image(of, number, config):
    """NDVI of a Sentinel-2 acquisition, by its number in the plan."""
    day, cloud = (jnp.asarray(x[number]) for x in (of.plan.s2_day, of.plan.s2_cloud))
    key = random.fold_in(of.key_s2, number)
    return _s2_image(key, of.landscape, of.weather, day, cloud, config=config)


def _true_ndvi(of, day):
    return _truth(of.landscape, of.weather, jnp.asarray([day], jnp.float32))[0]


@jax.jit
def _classes(land: Landscape) -> tuple[Int[Array, "y x"], Bool[Array, "y x"]]:
    """Commonest class of each pixel, and whether at least half of it is paddy."""
    share = jnp.stack(
        [
            to_pixels((land.fields.kind == kind).astype(jnp.float32), land.field_of)
            for kind in range(RICE, DRY + 1)
        ]
    )
    return share.argmax(0), share[RICE] >= 0.5
