"""A scene as the two satellites took it: every pass on its own day, nothing composited."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Bool, Float, Int

from s1jax.progress import bar
from s1jax.simulate import composite
from s1jax.simulate.config import SceneConfig
from s1jax.types import Key


class Acquisitions(NamedTuple):
    """A simulated cube of acquisitions with the truth of their days; arrays on the host."""

    day: Float[np.ndarray, "time"]
    """Days on which either satellite passed, days since 1970-01-01, ascending."""
    vv_db: Float[np.ndarray, "time y x"]
    """VV, dB; NaN on days without Sentinel-1."""
    vh_db: Float[np.ndarray, "time y x"]
    """VH, likewise, dB."""
    ndvi: Float[np.ndarray, "time y x"]
    """Observed NDVI; NaN under cloud that the mask found and on days without Sentinel-2."""
    truth: Float[np.ndarray, "time y x"]
    """True NDVI."""
    track: Int[np.ndarray, "time"]
    """1 or 2, the Sentinel-1 orbit of the day; 0 without Sentinel-1."""
    mask: Bool[np.ndarray, "y x"]
    """Paddy mask, with errors."""


def acquisitions(key: Key, config: SceneConfig) -> Acquisitions:
    """The images that `scene` of the same key and configuration is composited from.

    Optical scenes from `max_cloud` up are left out, as there. A day that both satellites pass on is
    two dates.

    Args:
      key: consumed.
      config: sizes, constants and mode.
    """
    key_land, key_weather, key_pass, key_s1, key_s2, key_mask = random.split(key, 6)
    land = composite.landscape(key_land, config)
    air = composite._weather(key_weather, config=config)
    plan = composite.passes(key_pass, config)
    radar = [
        (float(plan.s1_day[p, orbit]), orbit + 1, 2 * p + orbit)
        for p in range(config.periods)
        for orbit in range(2)
        if np.isfinite(plan.s1_day[p, orbit])
    ]
    clear = np.flatnonzero(plan.s2_cloud < config.max_cloud)
    taken = sorted(radar + [(float(plan.s2_day[i]), 0, int(i)) for i in clear])

    shape = (len(taken), config.height, config.width)
    vv_db, vh_db, ndvi = (np.full(shape, np.nan, np.float32) for _ in range(3))
    true = np.empty(shape, np.float32)
    for t, (day, track, number) in enumerate(bar(taken, "simulate", "image")):
        on = jnp.asarray(day, jnp.float32)
        if track:
            angle = jnp.asarray(config.incidence_deg[track - 1], jnp.float32)
            once = random.fold_in(key_s1, number)
            pair = composite._s1_image(once, land, air, on, angle, config=config)
            vv_db[t], vh_db[t] = (composite.to_db(power) for power in pair)
        else:
            cloud = jnp.asarray(plan.s2_cloud[number])
            once = random.fold_in(key_s2, number)
            ndvi[t] = composite._s2_image(once, land, air, on, cloud, config=config)
        true[t] = composite._truth(land, air, on[None])[0]
    _, paddy = composite._kinds(land)
    wrong = random.bernoulli(key_mask, config.mask_error, paddy.shape)
    days, tracks, _ = zip(*taken, strict=True)
    return Acquisitions(
        day=np.asarray(days, np.float32),
        vv_db=vv_db,
        vh_db=vh_db,
        ndvi=ndvi,
        truth=true,
        track=np.asarray(tracks, np.int32),
        mask=np.asarray(paddy ^ wrong),
    )
