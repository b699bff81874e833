"""The document's variants of MOGPR against the full model, and what validation pixels choose."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.protocol.head_to_head import mogpr_options
from experiments.report.files import ROOT
from experiments.report.tables import Table
from experiments.speed import bed as beds
from experiments.speed import timing
from s1jax import gp, mogpr
from s1jax.batching import batch_size
from s1jax.mogpr import MogprParams
from s1jax.mogpr.config import SCALES
from s1jax.mogpr.inputs import NDVI, on_days, outputs_of, standardise
from s1jax.types import Estimator, Series

TASKS = ("T2a", "T2b", "T2c")
CHOICE_TASKS = ("T1", *TASKS)
WAYS = ("loop", "chunk", "device", "stride", "inducing", "fixed", "pixel")
"""Pixel by pixel, chunks of 100, one device, 24 days, 20 inducing days, nothing or all fitted."""
WORTH = 0.01
"""Difference of R2 that counts."""
FASTER = 1.15
"""Ratio of speeds that counts; timings scatter by ten per cent."""
_R2 = dict.fromkeys(("r2_random", "r2_block", "r2_season"), ".3f")
COLUMNS = {"name": "", "px_per_s": ",.0f", "ratio_to_full": ".3f", "fit_s": ".1f"} | _R2
COLUMNS |= {name.replace("r2", "minus_full"): "+.3f" for name in _R2} | {"when": ""}
CHOICE_COLUMNS = dict.fromkeys(("fold", "inputs", "mean", "hyper", "scale"), "") | {"latents": "d"}
CHOICE_COLUMNS |= {"rmse_validation": ".4f", "r2_none": ".3f"} | _R2
CHOICE_COLUMNS |= {"coverage90": ".3f", "verdict": ""}


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


@dataclass(frozen=True)
class Choices(beds.BedConfig):
    """Every variant that `mogpr.choose` weighs, on validation pixels and on test pixels."""

    latents: tuple[int, ...] = (1, 2, 3)
    """Latent processes; `mogpr.latents` is that of all variants, the others are tried with what
    was chosen; so is the other way to z-score."""


class Variant(NamedTuple):
    """One way to do it."""

    name: str
    work: str
    predictors: list[beds.Predictor]
    """One for each fold."""
    fit_s: float
    """Fit of the region of the first fold, compiled."""
    share: int = 1
    """Timed pixels are all over this."""
    timed: Callable[[Series], timing.Timing] | None = None
    """Where this process cannot time it."""


def bench(config: Variants) -> Path:
    """The folder with metrics.json and table.md; the table is printed."""
    bed = beds.load(config, TASKS)
    rows, missing, full = [], [], None
    for one in _variants(config, bed, missing):
        # timed anew beside each: what else the machine does changes from minute to minute
        beside = {} if full is None else {"full_px_per_s": _speed(config, bed, full)["px_per_s"]}
        row = {"name": one.name, "work": one.work, "fit_s": one.fit_s}
        row |= _speed(config, bed, one) | beside
        row |= beds.scores(bed.parts, one.predictors, TASKS)
        rows.append(against(row, rows[0] if rows else None))
        full = full or one
        print(f"{one.name}: {rows[-1]['px_per_s']:,.0f} px/s; {rows[-1]['when']}", flush=True)
    text = [*missing, Table(COLUMNS, rows).markdown()]
    return beds.write(bed, config, text, rows, missing=missing)


def _variants(config: Variants, bed: beds.Bed, missing: list[str]) -> Iterator[Variant]:
    """The full model, then what differs from it in one thing."""
    plain = replace(mogpr_options(config.mogpr, config.split), hyper="region")
    first = bed.parts[0]
    fit = mogpr.mogpr(plain).fit(first.key, first.train, first.val)
    # of what validation left open nothing may differ but the thing itself
    options = beds.variant(fit, first.train)
    pinned = replace(plain, **options)
    full, params, fit_s = _fitted(bed, mogpr.mogpr(pinned))
    words = ", ".join(f"{k} {v}" for k, v in options.items())
    yield Variant("full model", f"kalman on all devices, {words}", full, fit_s)
    devices, ways = jax.local_device_count(), config.ways
    if "loop" in ways:
        loop = [_loop(p) for p in params]
        yield Variant("per-pixel loop", "Python loop over a compiled pixel", loop, fit_s, share=8)
    if "chunk" in ways:
        chunk = [beds.predictor(mogpr.posterior, p, chunk=100) for p in params]
        batch = batch_size("kalman", *params[0].hyper.mixing.shape) * devices
        work = f"pixels a call: 100 asked for, {100 + -100 % batch} taken (whole batches)"
        yield Variant("chunks of 100", work, chunk, fit_s)
    if "device" in ways and (devices == 1 or jax.default_backend() != "cpu"):
        missing.append("one device: there is no second CPU device to compare with")
    elif "device" in ways:
        timed = partial(timed_alone, params[0], repeats=config.repeats)
        work = "the same in a process with one device"
        yield Variant(f"one device of {devices}", work, full, fit_s, timed=timed)
    if "stride" in ways:
        half, _, seconds = _fitted(bed, every_second_date(mogpr.mogpr(pinned)))
        yield Variant("every second date", "24 days of 12", half, seconds)
    if "inducing" in ways:
        few = [replace(p, inducing=20) for p in params]
        sparse = [beds.predictor(mogpr.posterior, p) for p in few]
        yield Variant("20 inducing days", "approximate posterior", sparse, fit_s, share=16)
    if "fixed" in ways:
        given = gp.initial(config.mogpr.latents, params[0].hyper.noise.size)
        fixed, _, seconds = _fitted(bed, mogpr.mogpr(pinned, hyper=given))
        yield Variant("fixed hyperparameters", "gp.initial, nothing fitted", fixed, seconds)
    if "pixel" in ways:
        each, _, seconds = _fitted(bed, mogpr.mogpr(replace(pinned, hyper="pixel")))
        work = "MAP around the region's, and posterior"
        yield Variant("fit of every pixel", work, each, seconds, share=8)


def _fitted(
    bed: beds.Bed, method: Estimator
) -> tuple[list[beds.Predictor], list[MogprParams], float]:
    """Of each fold what predicts and its parameters; seconds of the fit of the first."""
    params = [method.fit(part.key, part.train, part.val) for part in bed.parts]
    one = bed.parts[0]
    again, _ = timing.best(lambda: method.fit(one.key, one.train, one.val), 1, warm=False)
    return [beds.predictor(method.predict, p) for p in params], params, again.seconds


def every_second_date(method: Estimator) -> Estimator:
    """The method that reads every second date of its series."""

    def _half(series: Series) -> Series:
        return series.take(slice(None), slice(None, None, 2))

    return Estimator(
        lambda key, training, validation: method.fit(key, _half(training), _half(validation)),
        lambda params, series, days: method.predict(params, _half(series), days),
    )


def _loop(params: MogprParams) -> beds.Predictor:
    """`mogpr.posterior` at the region's hyperparameters as one writes it first: pixel by pixel."""

    @jax.jit
    def _pixel(day, curve, value, valid):
        scored = standardise(
            value - curve,
            valid,
            params.region_mean,
            params.region_std,
            by_pixel=params.scale_by_pixel,
        )
        z = gp.Observations(day, scored.value, scored.valid)
        z_mean, z_std = gp.condition(params.hyper, z, None, output=NDVI)
        mean, std = scored.mean[NDVI], scored.std[NDVI]
        ndvi = mean + std * z_mean + curve[:, NDVI]
        total = jnp.sqrt(z_std**2 + params.hyper.noise[NDVI])
        return jnp.clip(ndvi, -1.0, 1.0), params.std_factor * std * total

    def _predict(series: Series):
        outputs, _ = outputs_of(series, params.inputs)
        day, curve = outputs.day - outputs.day[0], np.zeros(outputs.value.shape[1:])
        if params.curve is not None:
            curve = on_days(params.curve, outputs.day)
        day, curve = (jnp.asarray(x, params.region_std.dtype) for x in (day, curve))
        pixels = zip(outputs.value, outputs.valid, strict=True)
        each = [jax.device_get(_pixel(day, curve, *pixel)) for pixel in pixels]
        return tuple(np.stack(leaf) for leaf in zip(*each, strict=True))

    return _predict


def _speed(config: Variants, bed: beds.Bed, variant: Variant) -> dict:
    pixels = max(1, config.pixels // variant.share)
    series = beds.filled(bed.parts[0].test["T2a"], pixels)
    if variant.timed is None:
        timed, _ = timing.best(lambda: variant.predictors[0](series), config.repeats)
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


def timed_alone(params: MogprParams, series: Series, *, repeats: int) -> timing.Timing:
    """Timing of `mogpr.posterior` on one CPU device, in a process of its own: how many devices a
    CPU is taken for is fixed when JAX starts.

    Raises:
      RuntimeError: the other process failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        mogpr.save(params, Path(folder) / "params.npz")
        np.savez(Path(folder) / "series.npz", **dict(zip(Series._fields, series[:5], strict=False)))
        several = "xla_force_host_platform_device_count"
        flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if several not in flag]
        done = subprocess.run(
            [sys.executable, "-m", "experiments.speed.variants", folder, str(repeats)],
            cwd=ROOT,
            env={
                **os.environ,
                "XLA_FLAGS": " ".join([*flags, f"--{several}=1"]),
                "JAX_PLATFORMS": "cpu",
            },
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"one device: {done.stderr.strip()[-500:]}")
        return timing.Timing(**json.loads(done.stdout.splitlines()[-1]))


def _alone(folder: Path, repeats: int) -> None:
    """Print the timing of what lies in a folder, as JSON."""
    params = mogpr.load(folder / "params.npz")
    with np.load(folder / "series.npz") as file:
        series = Series(**dict(file))
    predict = beds.predictor(mogpr.posterior, params)
    if jax.local_device_count() != 1:
        raise RuntimeError("this process has several devices")
    print(json.dumps(timing.best(lambda: predict(series), repeats)[0]._asdict()))


def bench_choices(config: Choices) -> Path:
    """The folder with metrics.json and table.md; the table is printed."""
    bed = beds.load(config, CHOICE_TASKS)
    rows = [row for part in bed.parts for row in marked(_choices(config, part))]
    return beds.write(bed, config, [Table(CHOICE_COLUMNS, rows).markdown(), *sentences(rows)], rows)


def _choices(config: Choices, part: beds.Part) -> list[dict]:
    """A row for each variant; `chosen` is what the default is."""
    default = mogpr_options(config.mogpr, config.split)
    params, candidates = mogpr.select_variant(part.key, part.train, part.val, default)
    chosen = beds.variant(params, part.train)
    best = replace(default, **chosen)
    options = [replace(default, **{k: getattr(one, k) for k in chosen}) for one in candidates]
    options += [replace(best, latents=n) for n in config.latents if n != default.latents]
    if default.mean != config.mogpr.mean:
        # not offered across districts or years; what it would have cost
        options.append(replace(best, mean="regional"))
    options += [replace(best, scale=scale) for scale in SCALES if scale != default.scale]
    rows = []
    for one in options:
        params, (candidate,) = mogpr.select_variant(part.key, part.train, part.val, one)
        names = {k: getattr(one, k) for k in (*chosen, "scale", "latents")}
        row = {"name": " ".join(map(str, names.values())), "fold": part.name} | names
        if np.isfinite(candidate.rmse):
            row["rmse_validation"] = candidate.rmse
        predict = beds.predictor(mogpr.posterior, params)
        row |= beds.scores([part], [predict], CHOICE_TASKS) | {"chosen": one == best}
        rows.append(row)
        shown = ", ".join(f"{k} {row[k]:.3f}" for k in beds.SCORES.values() if k in row)
        print(f"{part.name}: {row['name']}: {shown}", flush=True)
    return rows


def marked(rows: list[dict]) -> list[dict]:
    """The rows of a fold with `mean_r2` over the tasks with hidden labels, `best` and `verdict`."""
    scored = [beds.SCORES[task] for task in CHOICE_TASKS if task != "T1"]
    rows = [row | {"mean_r2": float(np.mean([row[k] for k in scored if k in row]))} for row in rows]
    top = max(row["mean_r2"] for row in rows)
    for row in rows:
        row["best"] = row["mean_r2"] == top
        words = ["chosen on validation"] * row["chosen"] + ["best on test"] * row["best"]
        row["verdict"] = ", ".join(words)
    return rows


def sentences(rows: list[dict]) -> list[str]:
    """Of each fold, how much the choice lost against the best on test pixels."""
    out = []
    for fold in dict.fromkeys(row["fold"] for row in rows):
        (chosen,) = (r for r in rows if r["fold"] == fold and r["chosen"])
        best = next(r for r in rows if r["fold"] == fold and r["best"])
        gap = best["mean_r2"] - chosen["mean_r2"]
        out.append(
            f"fold {fold}: validation chose {chosen['name']}; best on test is {best['name']}, "
            f"{gap:.3f} more R2 (mean of 20 % hidden, 60 and 132 days)"
        )
    return out


if __name__ == "__main__":
    _alone(Path(sys.argv[1]), int(sys.argv[2]))
