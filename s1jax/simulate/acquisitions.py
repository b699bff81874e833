"""A scene as the two satellites took it: every pass on its own day, nothing composited."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from s1jax.indices import to_db
from s1jax.progress import bar
from s1jax.simulate.config import SceneConfig
from s1jax.simulate.country import country, label_of, ndvi_of, power_of
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
    here = country(key, config)
    plan = here.passes
    radar = [
        (float(plan.s1_day[p, orbit]), orbit + 1, p)
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
        if track:
            vv_db[t], vh_db[t] = (to_db(pol) for pol in power_of(here, number, track - 1, config))
        else:
            ndvi[t] = label_of(here, number, config)
        true[t] = ndvi_of(here, day)
    days, tracks, _ = zip(*taken, strict=True)
    return Acquisitions(
        day=np.asarray(days, np.float32),
        vv_db=vv_db,
        vh_db=vh_db,
        ndvi=ndvi,
        truth=true,
        track=np.asarray(tracks, np.int32),
        mask=here.mask,
    )
