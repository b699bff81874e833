"""Permutation importance: how much worse is an estimate told from another pixel's input?

What is permuted is permuted between pixels, the same way on all dates, so that it stays a plausible
series. Works for any method: it asks for nothing but estimates.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from s1jax import metrics
from s1jax.types import NDVI, VH, VV, Key, Series

Tell = Callable[[Series], Float[np.ndarray, "pixel time"]]
"""Mean of the NDVI on the days of a series."""

LOOKS = {"look 1 x 1": "value", "look 3 x 3": "smooth", "look 7 x 7": "wide"}
"""Group of inputs, and the field of a series that holds it."""
RADAR, OWN, AROUND = "radar", "own NDVI", "days around"
"""All of Sentinel-1; NDVI of the pixel's other dates; days to the dates before and after."""
FURTHER = "further"
"""Radar beyond the furthest lag."""
UNCHANGED = ("own", "")
"""Of estimates from each pixel's own inputs."""


def groups(series: Series) -> dict[str, str | int]:
    """Name of each group of inputs that a series has, and the field or the channel that it is.

    VV and VH of each orbit are all looks of it; without speckle-filtered radar there is one look
    only, and without any NDVI none is the pixel's own.
    """
    found = {RADAR: RADAR}
    orbits = (series.value.shape[-1] - 1) // 2
    for orbit in range(orbits):
        for name, channel in (("VV", VV), ("VH", VH)):
            found[f"{name} {orbit + 1}" if orbits > 1 else name] = 2 * orbit + channel
    if series.smooth is not None:
        found |= {name: field for name, field in LOOKS.items() if _has(series, field)}
    if np.asarray(series.valid)[..., NDVI].any():
        found[OWN] = NDVI
    return found | {AROUND: AROUND}


def permuted(key: Key, series: Series, group: str, gap: Bool[np.ndarray, "pixel time"]) -> Series:
    """The series with one group of inputs from other pixels, each drawn once.

    Radar and NDVI come with what of them is valid. Of a single look only values that both pixels
    have are exchanged. All pixels share their days: their steps are permuted in time instead, which
    changes nothing where they are regular.

    Args:
      key: consumed.
      series: many pixels.
      group: one of `groups(series)`.
      gap: periods whose NDVI is asked for: that of no other pixel is put there.

    Raises:
      ValueError: a group that the series has not.
    """
    known = groups(series)
    if group not in known:
        raise ValueError(f"group: got {group!r}, expected one of {tuple(known)}")
    if group == AROUND:
        day = np.asarray(series.day)
        step = np.asarray(jax.random.permutation(key, np.diff(day)))
        return series._replace(day=np.concatenate([day[:1], day[0] + np.cumsum(step)]))
    other = _order(key, series)
    valid = np.asarray(series.valid)
    where = np.zeros(valid.shape, bool)
    if group == OWN:
        where[..., NDVI] = ~gap
    elif group == RADAR:
        where[..., :NDVI] = True
    elif group in LOOKS:
        where[..., :NDVI] = (valid & valid[other])[..., :NDVI]
        return _exchanged(series, other, where, (known[group],))
    else:
        where[..., known[group]] = True
    return _exchanged(series, other, where)


def of_groups(
    key: Key, tell: Tell, series: Series, gap: Bool[np.ndarray, "pixel time"], *, repeats: int
) -> dict[str, Float[np.ndarray, "repeat pixel time"]]:
    """Estimates with one group of inputs permuted, for each group of `groups`.

    Args:
      key: consumed.
      tell: the method.
      series: test pixels without the labels that are hidden.
      gap: periods whose NDVI is asked for.
      repeats: permutations of each group.
    """
    names = list(groups(series))
    keys = jax.random.split(key, (len(names), repeats))
    return {
        name: np.stack([tell(permuted(one, series, name, gap)) for one in row])
        for name, row in zip(names, keys, strict=True)
    }


def of_lags(
    key: Key, tell: Tell, series: Series, *, repeats: int, most: int = 5, every: int = 11
) -> dict[str, Float[np.ndarray, "repeat pixel time"]]:
    """Estimates of each date t with the radar of date t + k alone from another pixel.

    A method tells all dates at once, so one estimate serves many: it is told from radar permuted on
    every `every`-th date, and of each date there is one such date within `most`. Dates at k plus or
    minus `every`, twice that, ... are permuted with it; none is where `every` is the number of
    dates. `further` is radar of all dates beyond `most`, told for one date t at a time.

    Args:
      key: consumed.
      tell: the method.
      series: test pixels without the labels that are hidden.
      repeats: permutations; each serves all lags.
      most: furthest lag, dates.
      every: dates from one that is permuted to the next.

    Returns:
      By lag "-5", ..., "0", "+1", ..., and "further"; NaN where the series has no date t + k.

    Raises:
      ValueError: `every` is below 2 most + 1, so that two lags would be told as one.
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
        # told[r] has the dates r, r + every, ... permuted
        told = np.stack([_radar_at(tell, series, other, index % every == r) for r in range(every)])
        near = told[at % every, :, index].swapaxes(1, 2).astype(np.float64)
        near[np.broadcast_to(outside[:, None], near.shape)] = np.nan
        far = [_radar_at(tell, series, other, np.abs(index - t) > most)[:, t] for t in index]
        return np.concatenate([near, np.stack(far, 1)[None]])

    told = np.stack([_one(k) for k in jax.random.split(key, repeats)], 1)
    return dict(zip([*(f"{k:+d}" if k else "0" for k in lag), FURTHER], told, strict=True))


def losses(
    before: Float[np.ndarray, "pixel time"],
    after: Float[np.ndarray, "repeat pixel time"],
    target: Float[np.ndarray, "pixel time"],
    where: Bool[np.ndarray, "pixel time"],
) -> dict[str, float]:
    """Rise of RMSE (`rmse_rise`, NDVI) and fall of R2 (`r2_fall`, 1): means over the permutations,
    with their standard errors std / sqrt(repeats) (`rmse_se`, `r2_se`); `rmse` and `r2` of what was
    not permuted; all over the same `n` values.

    The standard error tells the scatter of the permutations, not that of pixels.

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
        told = metrics.scores(metrics.statistics(mean, np.ones(mean.shape), target, where))
        return np.array([told["rmse"], told["r2"]])

    own = _scores(before)
    change = np.stack([_scores(one) for one in after]) - own
    rise, fall = change.mean(0) * (1.0, -1.0)
    errors = change.std(0, ddof=1) / np.sqrt(len(after))
    told = {"rmse": own[0], "rmse_rise": rise, "rmse_se": errors[0]}
    told |= {"r2": own[1], "r2_fall": fall, "r2_se": errors[1]}
    return {name: float(value) for name, value in told.items()} | {"n": int(where.sum())}


def told(
    key: Key,
    tell: Tell,
    series: Series,
    gap: Bool[np.ndarray, "pixel time"],
    *,
    repeats: int,
    most: int,
    every: int,
) -> dict[tuple[str, str], Float[np.ndarray, "*repeat pixel time"]]:
    """Estimates by kind and name: `UNCHANGED`, ("group", ...) of `of_groups` and ("lag", ...) of
    `of_lags`, whose arguments these are."""
    key_groups, key_lags = jax.random.split(key)
    kinds = {
        "group": of_groups(key_groups, tell, series, gap, repeats=repeats),
        "lag": of_lags(key_lags, tell, series, repeats=repeats, most=most, every=every),
    }
    changed = {(kind, name): a for kind, of in kinds.items() for name, a in of.items()}
    return {UNCHANGED: np.asarray(tell(series))} | changed


def rows(
    folds: Sequence[Mapping[tuple[str, str], Float[np.ndarray, "*repeat pixel time"]]],
    target: Float[np.ndarray, "pixel time"],
    where: Bool[np.ndarray, "pixel time"],
) -> list[dict]:
    """`losses` of every kind and name that all folds have, over the pixels of all of them.

    Args:
      folds: what `told` gives of each.
      target: labels or truth, one fold after the other.
      where: what is scored.
    """
    names = [name for name in folds[0] if all(name in fold for fold in folds)]
    one = {name: np.concatenate([fold[name] for fold in folds], -2) for name in names}
    own = one.pop(UNCHANGED)
    return [
        {"kind": kind, "name": name} | losses(own, after, target, where)
        for (kind, name), after in one.items()
    ]


def _has(series, field):
    return getattr(series, field) is not None


def _order(key: Key, series: Series) -> Int[np.ndarray, "pixel"]:
    return np.asarray(jax.random.permutation(key, len(series.valid)))


def _radar_at(tell, series, other, dates):
    """Estimates with the radar of some dates from the other pixels."""
    where = np.zeros(np.shape(series.valid), bool)
    where[:, dates, :NDVI] = True
    return np.asarray(tell(_exchanged(series, other, where)))


def _exchanged(series, other, where, fields=("value", "valid", "smooth", "wide")):
    """The series with the fields of the other pixels, where (pixel, time, channel) is True."""
    mixed = {}
    for field in filter(lambda name: _has(series, name), fields):
        own = np.asarray(getattr(series, field))
        mixed[field] = np.where(where[..., : own.shape[-1]], own[other], own)
    return series._replace(**mixed)
