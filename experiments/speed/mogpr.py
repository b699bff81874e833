"""MOGPR: beside its peers on the same pixels, its variants, and what validation pixels choose."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.protocol.head_to_head import mogpr_options
from experiments.report.tables import Table
from experiments.speed import bed as beds
from experiments.speed import peers as others
from s1jax import gp, mogpr
from s1jax.mogpr import MogprParams, fit_region, posterior, select_variant
from s1jax.mogpr.config import SCALES
from s1jax.mogpr.estimator import FitSample
from s1jax.mogpr.inputs import NDVI, channels_of, on_days, outputs_of, standardise
from s1jax.types import Estimator, Series

TASKS = ("T2a", "T2b", "T2c")
CHOICE_TASKS = ("T1", *TASKS)
WAYS = ("loop", "chunk", "stride", "inducing", "fixed", "pixel")
"""Pixel by pixel, chunks of 100, every second date, 20 inducing days, nothing or all fitted."""
_TIMED = {"kalman": 1, "dense": 16, "fit": 4}
"""Timed pixels are `pixels` over this: each takes a second or so."""
_TOGETHER = {"GPyTorch": 128}
"""A peer that computes pixels together, and how many: timed on so many, not on fewer."""
_LIKE = {"region": ("region", "shipped"), "pixel": ("good-start",)}
"""Our mode, and those of peers it is compared with; `shipped` is what a user of FuseTS leaves."""
_R2 = dict.fromkeys(("r2_random", "r2_block", "r2_season"), ".3f")
COLUMNS = {"name": "", "mode": "", "latents": "d", "dtype": "", "device": ""}
COLUMNS |= dict.fromkeys(("px_per_s", "px_per_core_s", "kb_per_px"), ",.1f")
COLUMNS |= _R2 | {"coverage90": ".3f"}
RATIO_COLUMNS = {"of": "", "over": "", "ratio": ",.0f"}
VARIANT_COLUMNS = {"name": "", "px_per_s": ",.0f", "ratio_to_full": ".3f", "fit_s": ".1f"} | _R2
CHOICE_COLUMNS = dict.fromkeys(("fold", "inputs", "mean", "hyper", "scale"), "") | {"latents": "d"}
CHOICE_COLUMNS |= {"rmse_validation": ".4f", "r2_none": ".3f"} | _R2
CHOICE_COLUMNS |= {"coverage90": ".3f", "verdict": ""}


@dataclass(frozen=True)
class MogprBench(beds.BedConfig):
    """Speed, memory and scores of MOGPR, and of other libraries on the same pixels."""

    peers: bool = False
    """Also time and score GPy, GPyTorch and scikit-learn where they are installed."""
    peer_pixels: int = 40
    """Test pixels that the peers solve; ours are then scored on them too."""
    solvers: tuple[str, ...] = tuple(gp.SOLVERS)
    """Solvers of the posterior at given hyperparameters."""
    latents: tuple[int, ...] = (1, 2, 3)
    """Latent processes; 1 is the intrinsic model (ICM), 3 what FuseTS has for three outputs."""
    pixels: int = 16_384
    """Pixels timed by the Kalman filter (test pixels over and over); slower ones get fewer."""
    repeats: int = 5
    """Timed repeats, of which the best counts."""


@dataclass(frozen=True)
class Variants(beds.BedConfig):
    """The variants of the founding document against the full model, in speed and R2."""

    ways: tuple[str, ...] = WAYS
    """Which variants."""
    pixels: int = 8192
    """Pixels timed (test pixels over and over); the loop over pixels and the fit of every pixel
    get an eighth, the inducing days a sixteenth."""
    repeats: int = 5
    """Timed repeats, of which the best counts."""


@dataclass(frozen=True)
class Choices(beds.BedConfig):
    """Every variant that `mogpr.select_variant` weighs, on validation pixels and on test pixels."""

    latents: tuple[int, ...] = (1, 2, 3)
    """Latent processes; `mogpr.latents` is that of all variants, the others are tried with what
    was chosen; so is the other way to z-score."""


def bench(config: MogprBench) -> Path:
    """The folder with metrics.json and table.md; the table and the ratios are printed."""
    bed = beds.load(config, TASKS)
    fits = {latents: _fit(config, bed, latents) for latents in config.latents}
    missing, scored, peers = [], bed.parts, []
    if config.peers:
        given = [fits[n][0][0].hyper for n in config.latents if n in (1, 3)]
        peers, missing = others.available([gp.Hyper(*map(np.asarray, hyper)) for hyper in given])
        scored = (_few(bed.parts[0], config.peer_pixels),)
        print(*missing, f"scores of {len(scored[0].label)} pixels", sep="\n", flush=True)
    rows = []
    for row in _all(config, bed, fits, scored, peers):
        rows.append(row)
        print(f"{label(row)}: {row['px_per_s']:,.1f} px/s", flush=True)
    compared = ratios(rows)
    text = [*missing, Table(COLUMNS, rows).markdown(), Table(RATIO_COLUMNS, compared).markdown()]
    return beds.write(bed, config, text, rows, missing=missing, ratios=compared)


def _fit(config: MogprBench, bed: beds.Bed, latents: int) -> list[tuple[MogprParams, FitSample]]:
    """Of each fold: parameters of three outputs of one orbit, and the z-scored sample."""
    inputs = beds.one_orbit(bed.parts[0].train)
    options = replace(config.mogpr, latents=latents, inputs=inputs, mean="zero")
    return [fit_region(part.train, options) for part in bed.parts]


def _all(config, bed, fits, scored, peers) -> Iterator[dict]:
    """Every row, as soon as it is there."""
    for folds in fits.values():
        params = [params for params, _ in folds]
        for solver in config.solvers:
            for dtype in ("float32", "float64") if solver == "kalman" else ("float32",):
                yield _ours(config, bed, scored, params, solver, dtype)
        fitted = [replace(p, prior=gp.prior(*sample)) for p, sample in folds]
        yield _ours(config, bed, scored, fitted, "kalman", "float32")
    # what a user gets who chooses nothing: validation pixels choose, and widen the band
    options = mogpr_options(config.mogpr, config.split)
    params = [select_variant(part.key, part.train, part.val, options)[0] for part in bed.parts]
    row = _ours(config, bed, scored, params, options.solver, "float32")
    yield row | {"name": "mogpr default"} | beds.variant(params[0], bed.parts[0].train)
    for peer in peers:
        yield _peer(config, scored[0], peer)


def _ours(config, bed, scored, params: list[MogprParams], solver: str, dtype: str) -> dict:
    """One row of ours: `mogpr.posterior`, all of it, from and to NumPy; of each fold its
    parameters."""
    fitted = params[0].prior is not None
    # the arrays bring double precision, so only while they are made and used
    with jax.enable_x64(True) if dtype == "float64" else nullcontext():
        params = [_as(p, dtype) for p in params]
        predictors = [beds.predictor(posterior, replace(p, solver=solver)) for p in params]
        hyper = params[0].hyper
        latents = len(hyper.lengthscale)
        factor = _TIMED["fit"] * latents if fitted else _TIMED[solver]
        pixels = max(1, config.pixels // factor)
        series = beds.filled(bed.parts[0].test["T2a"], pixels)
        seconds, _ = beds.best(lambda: predictors[0](series), config.repeats)
        scores = beds.scores(scored, predictors[: len(scored)], TASKS)
        memory = beds.kb_per_px(solver, hyper, len(series.day))
        if fitted:
            memory = max(memory, beds.kb_per_px(solver, hyper, len(series.day), fit=True))
    row = {"name": f"s1jax {solver}", "mode": "pixel" if fitted else "region", "latents": latents}
    row |= {"dtype": dtype, "device": beds.device()} | _speed(pixels, seconds, beds.cores())
    return row | {"kb_per_px": memory} | scores


def _as(params: MogprParams, dtype: str) -> MogprParams:
    """The same numbers in another precision."""

    def _leaf(leaf):
        real = np.issubdtype(np.asarray(leaf).dtype, np.floating)
        return jnp.asarray(leaf, dtype) if real else leaf

    # a curve is NumPy, in double precision, and stays so
    return replace(jax.tree.map(_leaf, replace(params, curve=None)), curve=params.curve)


def _speed(pixels: int, seconds: float, cores: int) -> dict:
    rate = pixels / seconds
    return {"px_per_s": rate, "px_per_core_s": rate / cores, "seconds": seconds, "pixels": pixels}


def _few(part: beds.Part, count: int) -> beds.Part:
    """The first test pixels that a library can solve in every task, three outputs of one orbit."""
    inputs = channels_of(part.train, beds.one_orbit(part.train))
    tests = [outputs_of(series, inputs)[0] for series in part.test.values()]
    able = [others.solvable(test.value, test.valid) for test in tests]
    index = np.flatnonzero(np.all(able, axis=0))[:count]
    if not index.size:
        raise ValueError(f"peer pixels: got none of {len(part.label)} that a peer can solve")
    return beds.some(part, index)


def _peer(config: MogprBench, few: beds.Part, peer: others.Peer) -> dict:
    """One row of another library, on one core."""
    inputs = channels_of(few.train, beds.one_orbit(few.train))

    def _run(series: Series):
        return peer.run(outputs_of(series, inputs)[0], series.day)

    first = few.test["T2a"]
    pixels = max(len(few.label), _TOGETHER.get(peer.name, 1))
    series = beds.filled(first, pixels)
    _run(beds.filled(first, 1))
    repeats = config.repeats if peer.mode == "region" else 1
    seconds, _ = beds.best(lambda: _run(series), repeats, warm=False, budget_s=10.0)
    row = {"name": peer.name, "mode": peer.mode, "latents": peer.latents, "dtype": peer.dtype}
    row |= {"device": "1 x cpu", "work": f"{peer.work} (release {peer.version})"}
    return row | _speed(pixels, seconds, 1) | beds.scores([few], [_run], TASKS)


def ratios(rows: Sequence[Mapping]) -> list[dict]:
    """Pixels per core-second of the Kalman filter over those of GPy and GPyTorch: like against
    like, and hyperparameters of the region over FuseTS' model and start: {"of", "over", "ratio"}.
    """
    ours = [r for r in rows if r["name"] in ("s1jax kalman", "mogpr default")]
    return [
        {
            "of": label(mine),
            "over": label(other),
            "ratio": mine["px_per_core_s"] / other["px_per_core_s"],
        }
        for mine in ours
        if mine["dtype"] == "float32"
        for other in rows
        if other["name"].startswith("GPy") and other["mode"] in _LIKE[mine["mode"]]
        if other["mode"] == "shipped"
        or (mine["name"] == "s1jax kalman" and mine["latents"] == other["latents"])
    ]


def label(row: Mapping) -> str:
    """A row in a few words."""
    model = "ICM" if row["latents"] == 1 else f"{row['latents']} latents"
    return f"{row['name']} ({row['mode']}, {model}, {row['dtype']}, {row['device']})"


def bench_variants(config: Variants) -> Path:
    """The folder with metrics.json and table.md; the table is printed."""
    bed = beds.load(config, TASKS)
    rows, full = [], None
    for name, predictors, fit_s, share in _variants(config, bed):
        pixels = max(1, config.pixels // share)
        row = {"name": name, "fit_s": fit_s, "px_per_s": _rate(config, bed, predictors[0], pixels)}
        full = full or predictors[0]
        # timed anew beside each: what else the machine does changes from minute to minute
        beside = _rate(config, bed, full, config.pixels) if rows else row["px_per_s"]
        row |= {"full_px_per_s": beside, "ratio_to_full": row["px_per_s"] / beside}
        rows.append(row | beds.scores(bed.parts, predictors, TASKS))
        print(f"{name}: {row['px_per_s']:,.0f} px/s", flush=True)
    return beds.write(bed, config, [Table(VARIANT_COLUMNS, rows).markdown()], rows)


def _rate(config: Variants, bed: beds.Bed, predict: beds.Predictor, pixels: int) -> float:
    series = beds.filled(bed.parts[0].test["T2a"], pixels)
    return pixels / beds.best(lambda: predict(series), config.repeats)[0]


def _variants(
    config: Variants, bed: beds.Bed
) -> Iterator[tuple[str, list[beds.Predictor], float, int]]:
    """The full model, then what differs from it in one thing: name, what predicts in each fold,
    seconds of the first fold's fit, and over what share of the pixels it is timed."""
    plain = replace(mogpr_options(config.mogpr, config.split), hyper="region")
    first = bed.parts[0]
    fit = mogpr.mogpr(plain).fit(first.key, first.train, first.val)
    # of what validation left open nothing may differ but the thing itself
    pinned = replace(plain, **beds.variant(fit, first.train))
    full, params, fit_s = _fitted(bed, mogpr.mogpr(pinned))
    yield "full model", full, fit_s, 1
    if "loop" in config.ways:
        yield "per-pixel loop", [_loop(p) for p in params], fit_s, 8
    if "chunk" in config.ways:
        chunk = [beds.predictor(posterior, p, chunk=100) for p in params]
        yield "chunks of 100", chunk, fit_s, 1
    if "stride" in config.ways:
        half, _, seconds = _fitted(bed, every_second_date(mogpr.mogpr(pinned)))
        yield "every second date", half, seconds, 1
    if "inducing" in config.ways:
        sparse = [beds.predictor(posterior, replace(p, inducing=20)) for p in params]
        yield "20 inducing days", sparse, fit_s, 16
    if "fixed" in config.ways:
        given = gp.initial(config.mogpr.latents, params[0].hyper.noise.size)
        fixed, _, seconds = _fitted(bed, mogpr.mogpr(pinned, hyper=given))
        yield "fixed hyperparameters", fixed, seconds, 1
    if "pixel" in config.ways:
        each, _, seconds = _fitted(bed, mogpr.mogpr(replace(pinned, hyper="pixel")))
        yield "fit of every pixel", each, seconds, 8


def _fitted(
    bed: beds.Bed, method: Estimator
) -> tuple[list[beds.Predictor], list[MogprParams], float]:
    """Of each fold what predicts and its parameters; seconds of the fit of the first, compiled."""
    params = [method.fit(part.key, part.train, part.val) for part in bed.parts]
    one = bed.parts[0]
    seconds, _ = beds.best(lambda: method.fit(one.key, one.train, one.val), 1, warm=False)
    return [beds.predictor(method.predict, p) for p in params], params, seconds


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


def bench_choices(config: Choices) -> Path:
    """The folder with metrics.json and table.md; the table is printed."""
    bed = beds.load(config, CHOICE_TASKS)
    rows = [row for part in bed.parts for row in _choices(config, part)]
    return beds.write(bed, config, [Table(CHOICE_COLUMNS, rows).markdown()], rows)


def _choices(config: Choices, part: beds.Part) -> list[dict]:
    """A row for each variant, `verdict` with the one that validation chose (the default) and the
    one of the best mean R2 over the tasks with hidden labels."""
    default = mogpr_options(config.mogpr, config.split)
    params, candidates = select_variant(part.key, part.train, part.val, default)
    chosen = beds.variant(params, part.train)
    best = replace(default, **chosen)
    options = [replace(default, **{k: getattr(one, k) for k in chosen}) for one in candidates]
    options += [replace(best, latents=n) for n in config.latents if n != default.latents]
    if default.mean != config.mogpr.mean:
        # not offered across districts or years; what it would have cost
        options.append(replace(best, mean="regional"))
    options += [replace(best, scale=scale) for scale in SCALES if scale != default.scale]
    rows, hidden = [], [beds.SCORES[task] for task in TASKS]
    for one in options:
        params, (candidate,) = select_variant(part.key, part.train, part.val, one)
        row = {"fold": part.name} | {k: getattr(one, k) for k in (*chosen, "scale", "latents")}
        if np.isfinite(candidate.rmse):
            row["rmse_validation"] = candidate.rmse
        row |= beds.scores([part], [beds.predictor(posterior, params)], CHOICE_TASKS)
        row["mean_r2"] = float(np.mean([row[name] for name in hidden if name in row]))
        rows.append(row)
    top = max(row["mean_r2"] for row in rows)
    for row, one in zip(rows, options, strict=True):
        words = ["chosen on validation"] * (one == best)
        row["verdict"] = ", ".join(words + ["best on test"] * (row["mean_r2"] == top))
    return rows
