"""What a method may be given of acquisitions: periods, windows, pairs of the sensors, or all days.

Each is an Estimator around another: the Series it is given is put on other days first, from what is
`valid` in it alone, so that a hidden label is in no composite.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from s1jax.align import Statistic, around, composite, period_edges
from s1jax.chunks import map_pixels
from s1jax.types import NDVI, Estimator, Series


def periods(
    series: Series, step: float, *, radar: Statistic = "mean_db"
) -> tuple[Series, Float[np.ndarray, "pixel period"]]:
    """The composites of `cube.align_cube` on the centres of periods, of what is `valid`, and the
    mean day of the NDVI in each (the centre where there is none); filtered radar likewise.

    Args:
      series: acquisitions.
      step: length of a period, days.
      radar: statistic of VV and VH.
    """
    edges = period_edges(np.asarray(series.day), step=step)
    return _mapped(
        partial(_in_periods, radar=radar), series, (edges[:-1] + edges[1:]) / 2, jnp.asarray(edges)
    )


def windows(
    series: Series,
    centre: Float[np.ndarray, "window"],
    within: tuple[float, float],
    *,
    near: Float[np.ndarray, "window"] | None = None,
) -> Series:
    """A Series on the days `centre`: mean radar (in linear power) and NDVI of what is `valid` so
    many days around each, as of `cube.pair_cube` and of `cube.align_cube(window=, within=)`.

    Args:
      series: acquisitions.
      centre: days since 1970-01-01, ascending.
      within: most days from the centre to the radar, and to the NDVI.
      near: days that the radar is to be near, in place of the centres.
    """
    reach = jnp.asarray(within, series.day.dtype)
    at = jnp.stack([jnp.asarray(centre if near is None else near), jnp.asarray(centre)])
    return _mapped(_in_windows, series, centre, at, reach)[0]


def _mapped(function, series, centre, *where):
    of = partial(function, jnp.asarray(series.day), *where)
    arrays = (series.value, series.valid, series.smooth, series.wide)
    *made, mean_day = map_pixels(of, arrays, chunk=256, label="composites")
    day = np.asarray(centre).astype(np.asarray(series.day).dtype)
    return Series(day, *made[:2], series.place, *made[2:]), mean_day


@partial(jax.jit, static_argnames="radar")
def _in_periods(day, edges, part, *, radar):
    def _of(value, valid, statistic, _):
        each = jax.vmap(partial(composite, statistic=statistic), (None, -1, -1, None), -1)
        return jax.vmap(each, (None, 0, 0, None))(day, value, valid, edges)

    return _both(_of, part, radar)


@jax.jit
def _in_windows(day, centre, reach, part):
    def _of(value, valid, statistic, sensor):
        one = partial(around, statistic=statistic)
        each = jax.vmap(one, (None, -1, -1, None, None), -1)
        many = jax.vmap(each, (None, 0, 0, None, None))
        return many(day, value, valid, centre[sensor], reach[sensor])

    return _both(_of, part, "mean_db")


def _both(of, part, radar):
    """Values, flags, filtered radar, and the mean day of NDVI."""
    value, valid, *looks = part
    *seen, _ = of(value[..., :NDVI], valid[..., :NDVI], radar, 0)
    *label, mean_day = of(value[..., NDVI:], valid[..., NDVI:], "median", 1)
    looks = [None if x is None else of(x, valid[..., :NDVI], radar, 0)[0] for x in looks]
    both = (jnp.concatenate(pair, -1) for pair in zip(seen, label, strict=True))
    return *both, *looks, mean_day[..., 0]


def on_periods(
    estimator: Estimator,
    step: float,
    *,
    true_days: bool = False,
    radar: Statistic = "mean_db",
) -> Estimator:
    """`estimator` that reads `periods`. With `true_days` the day of a period is the mean over
    training pixels of the mean day of their NDVI, where any has some; else it is its centre."""
    made = partial(periods, step=step, radar=radar)

    def fit(key, training, validation):
        (seen, mean_day), (decide, _) = (made(part) for part in (training, validation))
        some = seen.valid[..., NDVI] & true_days
        away = np.where(some, mean_day - seen.day, 0.0).sum(0) / np.maximum(some.sum(0), 1)
        day = seen.day + away.astype(seen.day.dtype)
        return estimator.fit(key, *(part._replace(day=day) for part in (seen, decide))), day

    def predict(params, series, days):
        return estimator.predict(params[0], made(series)[0]._replace(day=params[1]), days)

    return Estimator(fit, predict)


def on_windows(
    estimator: Estimator,
    centre: Float[np.ndarray, "window"],
    within: tuple[float, float],
    *,
    near: Float[np.ndarray, "window"] | None = None,
) -> Estimator:
    """`estimator` that reads `windows` around the same days of every pixel."""
    made = partial(windows, centre=centre, within=within, near=near)

    def fit(key, training, validation):
        return estimator.fit(key, *(made(part) for part in (training, validation)))

    def predict(params, series, days):
        return estimator.predict(params, made(series), days)

    return Estimator(fit, predict)
