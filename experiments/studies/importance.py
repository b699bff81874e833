"""Permutation importance: how much worse is an estimate from another pixel's input?

What is permuted is permuted between pixels, the same way on all dates, so that it stays a plausible
series. Works for any method: it needs nothing but estimates.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from s1jax import metrics
from s1jax.types import VH, VV, Key, Series

Predictor = Callable[[Series], Float[np.ndarray, "pixel time"]]
"""Mean of the NDVI on the days of a series."""

LOOKS = {"look 1 x 1": 0, "look 3 x 3": 1, "look 7 x 7": 2}
"""Group of inputs, and the look of the radar that it is."""
RADAR, OWN, AROUND = "radar", "own NDVI", "days around"
"""All of Sentinel-1; NDVI of the pixel's other dates; days to the dates before and after."""
FURTHER = "further"
"""Radar beyond the furthest lag."""
UNCHANGED = ("own", "")
"""Of estimates from each pixel's own inputs."""


def groups(series: Series) -> dict[str, str | int]:
    """Name of each group of inputs that a series has, and what it is: a channel, or a look.

    VV and VH of each orbit are all looks of it; without speckle-filtered radar there is one look
    only, and without any NDVI none is the pixel's own.
    """
    *_, looks, channels = series.radar.shape
    of: dict[str, str | int] = {RADAR: RADAR}
    for orbit in range(channels // 2):
        for name, channel in (("VV", VV), ("VH", VH)):
            of[f"{name} {orbit + 1}" if channels > 2 else name] = 2 * orbit + channel
    if looks > 1:
        of |= {name: look for name, look in LOOKS.items() if look < looks}
    if np.asarray(series.ndvi_valid).any():
        of[OWN] = OWN
    return of | {AROUND: AROUND}


def permuted(key: Key, series: Series, group: str, mask: Bool[np.ndarray, "pixel time"]) -> Series:
    """The series with one group of inputs from other pixels, each drawn once.

    Radar and NDVI come with what of them is valid. Of a single look only values that both pixels
    have are exchanged. All pixels share their days: their steps are permuted in time instead, which
    changes nothing where they are regular.

    Args:
      key: consumed.
      series: many pixels.
      group: one of `groups(series)`.
      mask: queried periods: NDVI of no other pixel is put there.

    Raises:
      ValueError: a group that the series has not.
    """
    of = groups(series)
    if group not in of:
        raise ValueError(f"group: got {group!r}, expected one of {tuple(of)}")
    if group == AROUND:
        day = np.asarray(series.day)
        step = np.asarray(jax.random.permutation(key, np.diff(day)))
        return series._replace(day=np.concatenate([day[:1], day[0] + np.cumsum(step)]))
    other = _order(key, series)
    if group == OWN:
        return _exchanged(series, other, {"ndvi": ~mask, "ndvi_valid": ~mask})
    valid = np.asarray(series.radar_valid)
    if group in LOOKS:
        where = np.zeros(series.radar.shape, bool)
        where[..., of[group], :] = valid & valid[other]
        return _exchanged(series, other, {"radar": where})
    where = np.zeros(valid.shape, bool)
    where[..., slice(None) if group == RADAR else of[group]] = True
    return _radar_exchanged(series, other, where)


def of_groups(
    key: Key,
    predict: Predictor,
    series: Series,
    mask: Bool[np.ndarray, "pixel time"],
    *,
    repeats: int,
) -> dict[str, Float[np.ndarray, "repeat pixel time"]]:
    """Estimates with one group of inputs permuted, for each group of `groups`.

    Args:
      key: consumed.
      predict: the method.
      series: test pixels without the labels that are hidden.
      mask: queried periods.
      repeats: permutations of each group.
    """
    names = list(groups(series))
    keys = jax.random.split(key, (len(names), repeats))
    return {
        name: np.stack([predict(permuted(one, series, name, mask)) for one in row])
        for name, row in zip(names, keys, strict=True)
    }


def of_lags(
    key: Key, predict: Predictor, series: Series, *, repeats: int, most: int = 5, every: int = 11
) -> dict[str, Float[np.ndarray, "repeat pixel time"]]:
    """Estimates of each date t with the radar of date t + k alone from another pixel.

    A method predicts all dates at once, so one estimate serves many: its radar is permuted on every
    `every`-th date, and of each date there is one such date within `most`. Dates at k plus or minus
    `every`, twice that, ... are permuted with it; none is where `every` is the number of dates.
    `further` is radar of all dates beyond `most`, for one date t at a time.

    Args:
      key: consumed.
      predict: the method.
      series: test pixels without the labels that are hidden.
      repeats: permutations; each serves all lags.
      most: furthest lag, dates.
      every: dates from one that is permuted to the next.

    Returns:
      By lag "-5", ..., "0", "+1", ..., and "further"; NaN where the series has no date t + k.

    Raises:
      ValueError: `every` is below 2 most + 1, so that two lags would be one.
    """
    if every < 2 * most + 1:
        raise ValueError(f"every: got {every}, expected at least {2 * most + 1} for {most} lags")
    index = np.arange(len(series.day))
    every = min(every, index.size)
    lag = np.arange(-most, most + 1)
    at = index + lag[:, None]
    outside = (at < 0) | (at >= index.size)

    def _one(key):
        other = _order(key, series)

        def _from(dates):
            where = np.zeros(series.radar_valid.shape, bool)
            where[:, dates] = True
            return np.asarray(predict(_radar_exchanged(series, other, where)))

        # combs[r] has the dates r, r + every, ... permuted
        combs = np.stack([_from(index % every == r) for r in range(every)])
        near = combs[at % every, :, index].swapaxes(1, 2).astype(np.float64)
        near[np.broadcast_to(outside[:, None], near.shape)] = np.nan
        far = [_from(np.abs(index - t) > most)[:, t] for t in index]
        return np.concatenate([near, np.stack(far, 1)[None]])

    lags = np.stack([_one(k) for k in jax.random.split(key, repeats)], 1)
    return dict(zip([*(f"{k:+d}" if k else "0" for k in lag), FURTHER], lags, strict=True))


def estimates(
    key: Key,
    predict: Predictor,
    series: Series,
    mask: Bool[np.ndarray, "pixel time"],
    *,
    repeats: int,
    most: int,
    every: int,
) -> dict[tuple[str, str], Float[np.ndarray, "*repeat pixel time"]]:
    """Estimates by kind and name: `UNCHANGED`, ("group", ...) of `of_groups` and ("lag", ...) of
    `of_lags`, whose arguments these are."""
    key_groups, key_lags = jax.random.split(key)
    kinds = {
        "group": of_groups(key_groups, predict, series, mask, repeats=repeats),
        "lag": of_lags(key_lags, predict, series, repeats=repeats, most=most, every=every),
    }
    changed = {(kind, name): a for kind, of in kinds.items() for name, a in of.items()}
    return {UNCHANGED: np.asarray(predict(series))} | changed


def losses(
    before: Float[np.ndarray, "pixel time"],
    after: Float[np.ndarray, "repeat pixel time"],
    target: Float[np.ndarray, "pixel time"],
    where: Bool[np.ndarray, "pixel time"],
) -> dict[str, float]:
    """Rise of RMSE (`rmse_rise`, NDVI) and fall of R2 (`r2_fall`): means over the permutations,
    with their standard errors std / sqrt(repeats) (`rmse_se`, `r2_se`); `rmse` and `r2` of what was
    not permuted; all over the same `n` values.

    The standard error is of the scatter of the permutations, not of pixels.

    Args:
      before: estimates from each pixel's own inputs.
      after: estimates from permuted ones; NaN: no answer, and not scored.
      target: labels or truth.
      where: what is scored.

    Raises:
      ValueError: fewer than two permutations, or no value to score.
    """
    where = where & np.isfinite(after).all(0)
    if len(after) < 2 or not where.any():
        raise ValueError(
            f"repeats, scored values: got {len(after)}, {where.sum()}, expected at least 2, some"
        )

    def _scores(mean):
        sums = metrics.statistics(mean, np.ones(mean.shape), target, where)
        return np.array([metrics.scores(sums)[name] for name in ("rmse", "r2")])

    unchanged = _scores(before)
    change = np.stack([_scores(one) for one in after]) - unchanged
    rise, fall = change.mean(0) * (1.0, -1.0)
    errors = change.std(0, ddof=1) / np.sqrt(len(after))
    values = {"rmse": unchanged[0], "rmse_rise": rise, "rmse_se": errors[0]}
    values |= {"r2": unchanged[1], "r2_fall": fall, "r2_se": errors[1]}
    return {name: float(value) for name, value in values.items()} | {"n": int(where.sum())}


def rows(
    folds: Sequence[Mapping[tuple[str, str], Float[np.ndarray, "*repeat pixel time"]]],
    target: Float[np.ndarray, "pixel time"],
    where: Bool[np.ndarray, "pixel time"],
) -> list[dict]:
    """`losses` of every kind and name that all folds have, over the pixels of all of them.

    Args:
      folds: `estimates` of each.
      target: labels or truth, one fold after the other.
      where: what is scored.
    """
    names = [name for name in folds[0] if all(name in fold for fold in folds)]
    joined = {name: np.concatenate([fold[name] for fold in folds], -2) for name in names}
    before = joined.pop(UNCHANGED)
    return [
        {"kind": kind, "name": name} | losses(before, after, target, where)
        for (kind, name), after in joined.items()
    ]


def _order(key: Key, series: Series) -> Int[np.ndarray, "pixel"]:
    return np.asarray(jax.random.permutation(key, len(series.ndvi)))


def _radar_exchanged(series, other, where):
    """The series with all looks of the other pixels' radar where (pixel, time, channel) is True."""
    return _exchanged(series, other, {"radar": where[..., None, :], "radar_valid": where})


def _exchanged(series, other, where):
    """The series with the other pixels' fields of `where`, where their masks are True."""
    mixed = {}
    for field, mask in where.items():
        before = np.asarray(getattr(series, field))
        mixed[field] = np.where(mask, before[other], before)
    return series._replace(**mixed)
