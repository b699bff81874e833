"""The document's variants of MOGPR: what each costs and gains against the full model."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench import alone, table, timing
from experiments.bench import bed as beds
from experiments.methods import of_this_region
from s1jax import gp, mogpr
from s1jax.mogpr import MogprConfig, MogprParams
from s1jax.mogpr.inputs import on_days
from s1jax.mogpr.region import score
from s1jax.types import NDVI, Estimator, Series

TASKS = ("T2a", "T2b", "T2c")
WAYS = ("loop", "chunk", "device", "stride", "inducing", "fixed", "pixel")
"""Pixel by pixel, chunks of 100, one device, 24 days, 20 inducing days, nothing or all fitted."""
WORTH = 0.01
"""Difference of R2 that counts."""
FASTER = 1.15
"""Ratio of speeds that counts; timings scatter by ten per cent."""
COLUMNS = {
    "name": "", "px_per_s": ",.0f", "ratio_to_full": ".3f", "fit_s": ".1f", "r2_random": ".3f",
    "r2_block": ".3f", "r2_season": ".3f", "minus_full_random": "+.3f", "minus_full_block": "+.3f",
    "minus_full_season": "+.3f", "when": "",
}  # fmt: skip


@dataclass(frozen=True)
class Variants(beds.BedConfig):
    """The variants of the founding document against the full model, in speed and R2."""

    ways: tuple[str, ...] = WAYS
    """Which variants."""
    pixels: int = 8192
    """Pixels timed (test pixels over and over); the loop over pixels gets an eighth, the inducing
    days a sixteenth."""
    repeats: int = 5
    """Timed repeats, of which the best counts."""


class Variant(NamedTuple):
    """One way to do it."""

    name: str
    work: str
    tells: list[beds.Tell]
    """One for each fold."""
    fit_s: float
    """Learning the region of the first fold, compiled."""
    share: int = 1
    """Timed pixels are all over this."""
    timed: Callable[[Series], timing.Timing] | None = None
    """Where this process cannot time it."""


def bench(config: Variants) -> Path:
    """The folder with metrics.json and table.md; the table is printed."""
    out = table.folder(config, "variants")
    bed = beds.load(config, TASKS)
    head = table.header(bed)
    print(*head, sep="\n", flush=True)
    rows, missing, full = [], [], None
    for variant in _variants(config, bed, missing):
        # timed anew beside each: what else the machine does changes from minute to minute
        beside = {} if full is None else {"full_px_per_s": _speed(config, bed, full)["px_per_s"]}
        row = _speed(config, bed, variant) | beside | {"fit_s": variant.fit_s}
        row |= beds.scores(bed.parts, variant.tells, TASKS)
        names = {"name": variant.name, "work": variant.work}
        rows.append(against(names | row, rows[0] if rows else None))
        full = full or variant
        print(f"{variant.name}: {rows[-1]['px_per_s']:,.0f} px/s; {rows[-1]['when']}", flush=True)
    text = [*missing, table.markdown(rows, COLUMNS)]
    table.write(out, bed, config, head, text, rows, missing=missing)
    return out


def _variants(config: Variants, bed: beds.Bed, missing: list[str]):
    """The full model, then what differs from it in one thing."""
    plain = replace(of_this_region(config.mogpr, config.split), hyper="region")
    first = bed.parts[0]
    learnt = mogpr.mogpr(plain).fit(first.key, first.train, first.val)
    # of what validation left open nothing may differ but the thing itself
    pinned = replace(plain, **beds.variant(learnt, first.train))
    full, params, fit_s = _fitted(bed, pinned)
    words = ", ".join(f"{k} {v}" for k, v in beds.variant(learnt, first.train).items())
    yield Variant("full model", f"kalman on all devices, {words}", full, fit_s)
    if "loop" in config.ways:
        loop = [_loop(p) for p in params]
        yield Variant("per-pixel loop", "Python loop over a compiled pixel", loop, fit_s, share=8)
    if "chunk" in config.ways:
        chunk = _predicting(replace(pinned, chunk=100), params)
        batch = gp.lanes("kalman", *params[0].hyper.mixing.shape) * jax.local_device_count()
        work = f"pixels a call: 100 asked for, {100 + -100 % batch} taken (whole batches)"
        yield Variant("chunks of 100", work, chunk, fit_s)
    devices = jax.local_device_count()
    if "device" in config.ways and (devices == 1 or jax.default_backend() != "cpu"):
        missing.append("one device: there is no second CPU device to compare with")
    elif "device" in config.ways:
        timed = partial(alone.timed, params[0], repeats=config.repeats)
        name = f"one device of {devices}"
        yield Variant(name, "the same in a process with one device", full, fit_s, timed=timed)
    if "stride" in config.ways:
        stride, _, seconds = _fitted(bed, replace(pinned, stride=2))
        yield Variant("every second date", "stride 2: 24 days of 12", stride, seconds)
    if "inducing" in config.ways:
        sparse = _predicting(replace(pinned, inducing=20), params)
        yield Variant("20 inducing days", "approximate posterior", sparse, fit_s, share=16)
    if "fixed" in config.ways:
        given = gp.initial(config.mogpr.latents, params[0].hyper.noise.size)
        fixed, _, seconds = _fitted(bed, pinned, hyper=given)
        yield Variant("fixed hyperparameters", "gp.initial, nothing fitted", fixed, seconds)
    if "pixel" in config.ways:
        own, _, seconds = _fitted(bed, replace(pinned, hyper="pixel"))
        work = "MAP around the region's, and posterior"
        yield Variant("fit of every pixel", work, own, seconds, share=8)


def _fitted(
    bed: beds.Bed, config: MogprConfig, hyper: gp.Hyper | None = None
) -> tuple[list[beds.Tell], list[MogprParams], float]:
    """Of each fold what predicts and what was learnt; seconds of learning the first."""
    method = mogpr.mogpr(config, hyper=hyper)
    params = [method.fit(part.key, part.train, part.val) for part in bed.parts]
    one = bed.parts[0]
    again, _ = timing.best(lambda: method.fit(one.key, one.train, one.val), 1, warm=False)
    return [_told(method, p) for p in params], params, again.seconds


def _predicting(config: MogprConfig, params: list[MogprParams]) -> list[beds.Tell]:
    method = mogpr.mogpr(config)
    return [_told(method, p) for p in params]


def _told(method: Estimator, params: MogprParams) -> beds.Tell:
    def _tell(series: Series):
        found = method.predict(params, series, series.day)
        return found.mean, np.hypot(found.std, found.noise[:, None])

    return _tell


def _loop(params: MogprParams) -> beds.Tell:
    """`mogpr.posterior` at the region's hyperparameters as one writes it first: pixel by pixel."""

    @jax.jit
    def _pixel(day, curve, value, valid):
        own = Series(day, value - curve, valid)
        scored = score(own, params.region_mean, params.region_std, own=bool(params.own))
        z = Series(day, scored.z, scored.valid)
        found = gp.condition(params.hyper, z, None, channel=NDVI)
        mean, std = scored.mean[NDVI], scored.std[NDVI]
        total = jnp.hypot(found.std, found.noise[None])
        ndvi = mean + std * found.mean + curve[:, NDVI]
        return jnp.clip(ndvi, -1.0, 1.0), params.widen * std * total

    def _tell(series: Series):
        picked = mogpr.pick(series, params.channel)
        day = picked.day - picked.day[0]
        curve = np.zeros(picked.value.shape[1:])
        if params.curve is not None:
            curve = on_days(params.curve, picked.day)
        day, curve = (jnp.asarray(x, params.region_std.dtype) for x in (day, curve))
        pixels = zip(picked.value, picked.valid, strict=True)
        found = [jax.device_get(_pixel(day, curve, *pixel)) for pixel in pixels]
        return tuple(np.stack(leaf) for leaf in zip(*found, strict=True))

    return _tell


def _speed(config: Variants, bed: beds.Bed, variant: Variant) -> dict:
    pixels = max(1, config.pixels // variant.share)
    series = beds.filled(bed.parts[0].test["T2a"], pixels)
    if variant.timed is None:
        timed, _ = timing.best(lambda: variant.tells[0](series), config.repeats)
    else:
        timed = variant.timed(series)
    return {
        "px_per_s": pixels / timed.seconds,
        "seconds": timed.seconds,
        "cpu_over_wall": timed.cpu_s / timed.seconds,
        "pixels": pixels,
    }


def against(row: dict, full: dict | None) -> dict:
    """The row with its ratio and differences to the full model's, and when it pays."""
    if full is None:
        return row | {"ratio_to_full": 1.0, "when": "default"}
    row = row | {"ratio_to_full": row["px_per_s"] / row["full_px_per_s"]}
    for task in TASKS:
        name = beds.SCORES[task]
        if name in row and name in full:
            row[name.replace("r2", "minus_full")] = row[name] - full[name]
    return row | {"when": when(row, full)}


def when(row: dict, full: dict) -> str:
    """A sentence on when the variant pays, from the figures of its row and of the full model's."""
    ratio = row["ratio_to_full"]
    change = {k.split("_")[-1]: v for k, v in row.items() if k.startswith("minus_full")}
    lost = max([-v for v in change.values()], default=0.0)
    won = max(change.values(), default=0.0)
    speed = f"{ratio:.1f} times as fast" if ratio > 1.0 else f"{1.0 / ratio:.1f} times slower"
    saved = full["fit_s"] - row["fit_s"]
    same = lost <= WORTH and won <= WORTH
    if ratio >= FASTER and lost <= WORTH:
        return f"pays: {speed} at the accuracy of the full model"
    if ratio >= FASTER:
        return f"pays where speed is worth {lost:.2f} of R2: {speed}"
    if won > WORTH and lost <= WORTH:
        cost = f", {speed}" if ratio * FASTER < 1.0 else ""
        return f"pays where R2 counts: up to {won:+.2f}{cost}"
    if won > WORTH:
        return f"depends on the gaps: R2 from {-lost:+.2f} to {won:+.2f}, {speed}"
    if saved > 1.0 and same:
        return f"pays where the {saved:.0f} s of the region's fit matter: as fast, as good"
    if same:
        slow = f"{speed}, no better" if ratio * FASTER < 1.0 else "no faster, no better"
        return f"never: {slow}"
    spared = f"; spares {saved:.0f} s of fit once per region" if saved > 1.0 else ""
    speed = speed if ratio * FASTER < 1.0 else "no faster"
    return f"never: {speed}, R2 up to {lost:.2f} lower{spared}"
