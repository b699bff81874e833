"""MOGPR beside its peers: how fast, how small, how good, on the same pixels.

Each ratio of speeds names both sides: like against like, and what a user leaves.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from experiments.speed import timing
from s1jax import gp
from s1jax.mogpr import MogprParams, fit_region, posterior, select_variant
from s1jax.mogpr.inputs import channels_of, outputs_of
from s1jax.mogpr.region import FitSample
from s1jax.types import Series

log = logging.getLogger("s1jax")

TASKS = ("T2a", "T2b", "T2c")
_TIMED = {"kalman": 1, "dense": 16, "fit": 4}
"""Timed pixels are `pixels` over this: each takes a second or so."""
_TOGETHER = {"GPyTorch": 128}
"""A peer that computes pixels together, and how many: timed on so many, not on fewer."""
_SCORES = dict.fromkeys(("r2_random", "r2_block", "r2_season", "coverage90"), ".3f")
COLUMNS = {"name": "", "mode": "", "latents": "d", "dtype": "", "device": ""}
COLUMNS |= dict.fromkeys(("px_per_s", "px_per_core_s"), ",.1f") | {"cpu_over_wall": ".2f"}
COLUMNS |= dict.fromkeys(("ratio_to_gpy", "kb_per_px"), ",.1f") | _SCORES
KINDS = {
    "a": "region mode against FuseTS as shipped (what a user switches to, and from)",
    "b": "posterior at given hyperparameters against the same of another library",
    "c": "fit of every pixel and posterior, same model (ours: MAP around the optimum of a sample; "
    "theirs: maximum likelihood from a good start)",
}
"""Kinds of ratios."""
_R2 = {"r2_random": "20 % hidden", "r2_block": "60 days", "r2_season": "132 days"}


@dataclass(frozen=True)
class MogprBench(beds.BedConfig):
    """Speed, memory and scores of MOGPR, and of other libraries on the same pixels."""

    peers: bool = False
    """Also time and score GPy, GPyTorch and scikit-learn where they are installed."""
    peer_pixels: int = 40
    """Test pixels that the peers solve, and ours once more beside them."""
    solvers: tuple[str, ...] = tuple(gp.SOLVERS)
    """Solvers of the posterior at given hyperparameters."""
    modes: tuple[str, ...] = ("region", "pixel")
    """Hyperparameters given, or fitted per pixel; and the default besides."""
    latents: tuple[int, ...] = (1, 2, 3)
    """Latent processes; 1 is the intrinsic model (ICM), 3 what FuseTS has for three outputs."""
    pixels: int = 16_384
    """Pixels timed by the Kalman filter (test pixels over and over); slower ones get fewer."""
    repeats: int = 5
    """Timed repeats, of which the best counts."""


def bench(config: MogprBench) -> Path:
    """The folder with metrics.json and table.md; both tables and the ratios are printed."""
    bed = beds.load(config, TASKS)
    fits = {latents: _fit(config, bed, latents) for latents in config.latents}
    missing, few, peers = [], None, []
    if config.peers:
        given = [fits[n][0][0].hyper for n in config.latents if n in (1, 3)]
        peers, missing = others.available([gp.Hyper(*map(np.asarray, hyper)) for hyper in given])
        print(*missing, sep="\n", flush=True)
    if peers:
        few = _few(bed.parts[0], config.peer_pixels)
        print(f"peers on {len(few.label)} pixels", flush=True)
    rows = []
    for row in _all(config, bed, fits, few, peers):
        rows.append(row)
        r2 = "  ".join(f"{k} {row[k]:.3f}" for k in _R2 if k in row)
        print(f"{label(row)}: {row['px_per_s']:,.1f} px/s, {row['px_per_core_s']:,.1f} px/core-s "
              f"(cpu/wall {row['cpu_over_wall']:.2f})  {r2}", flush=True)  # fmt: skip
    rows = to_gpy(rows)
    ratios = between(rows)
    text = [Table(COLUMNS, rows).markdown()]
    if peers:
        cells = [{**row, **row["paired"]} for row in rows if "paired" in row]
        columns = {"name": "", "mode": "", "latents": "d"} | _SCORES
        table = Table(columns, cells).markdown()
        text.append(f"Scores on the same {len(few.label)} pixels:\n\n{table}")
    text += [sentence(ratio) for ratio in ratios] + verdict(rows)
    return beds.write(bed, config, text, rows, missing=missing, ratios=ratios)


def _fit(config: MogprBench, bed: beds.Bed, latents: int) -> list[tuple[MogprParams, FitSample]]:
    """Of each fold: parameters of three outputs of one orbit, and the z-scored sample."""
    fits = []
    for part in bed.parts:
        inputs = beds.one_orbit(part.train)
        options = replace(config.mogpr, latents=latents, inputs=inputs, mean="zero")
        fits.append(fit_region(part.train, options))
    return fits


def _all(config, bed, fits, few, peers) -> Iterator[dict]:
    """Every row, as soon as it is there."""
    for latents, folds in fits.items():
        params = [params for params, _ in folds]
        for solver in config.solvers if "region" in config.modes else ():
            for dtype in ("float32", "float64") if solver == "kalman" else ("float32",):
                yield _ours(config, bed, few, params, solver, dtype)
        if "pixel" in config.modes:
            fitted = [replace(p, prior=gp.prior(*sample)) for p, sample in folds]
            yield _ours(config, bed, few, fitted, "kalman", "float32")
        log.info("%d latents done", latents)
    yield _default(config, bed, few)
    for peer in peers:
        yield _peer(config, few, peer)


def _ours(config, bed, few, params: list[MogprParams], solver: str, dtype: str) -> dict:
    """One row of ours: of each fold its parameters."""
    fitted = params[0].prior is not None
    latents, outputs = params[0].hyper.mixing.shape
    work = (
        "channels picked, z-scored, posterior mean and std of NDVI on all dates at "
        "hyperparameters learnt once from training pixels, flags, back in physical units "
        "(mogpr.posterior, all of it, from and to NumPy)"
    )
    if fitted:
        work = f"hyperparameters of every pixel fitted (MAP around the region's); {work}"
        work = work.replace("hyperparameters learnt once from training pixels", "them")
    # double precision is asked for by the arrays, so only while they are made and used
    with jax.enable_x64(True) if dtype == "float64" else nullcontext():
        params = [_as(p, dtype) for p in params]
        predictors = [beds.predictor(posterior, replace(p, solver=solver)) for p in params]
        factor = _TIMED["fit"] * latents if fitted else _TIMED[solver]
        pixels = max(1, config.pixels // factor)
        series = beds.filled(bed.parts[0].test["T2a"], pixels)
        timed, _ = timing.best(lambda: predictors[0](series), config.repeats)
        scores = beds.scores(bed.parts, predictors, TASKS)
        paired = {} if few is None else {"paired": beds.scores([few], predictors[:1], TASKS)}
        hyper, dates = params[0].hyper, len(series.day)
        memory = timing.kb_per_px(solver, hyper, dates)
        if fitted:
            memory = max(memory, timing.kb_per_px(solver, hyper, dates, fit=True))
    row = {
        "name": f"s1jax {solver}",
        "mode": "pixel" if fitted else "region",
        "latents": latents,
        "dtype": dtype,
        "device": timing.device(),
        "work": f"{work}; {outputs} outputs, {dates} dates",
    }
    row |= _speed(pixels, timed, timing.cores()) | {"kb_per_px": memory}
    return row | scores | paired


def _default(config: MogprBench, bed: beds.Bed, few) -> dict:
    """What a user gets who chooses nothing: validation pixels choose, and widen the band."""
    options = mogpr_options(config.mogpr, config.split)

    def _choose():
        return [select_variant(part.key, part.train, part.val, options)[0] for part in bed.parts]

    timed, params = timing.best(_choose, 1, warm=False)
    names = ", ".join(f"{k} {v}" for k, v in beds.variant(params[0], bed.parts[0].train).items())
    row = _ours(config, bed, few, params, options.solver, "float32") | {"name": "mogpr default"}
    work = f"{row['work']}; chosen on validation pixels: {names} (the choice took "
    return row | {"work": f"{work}{timed.seconds:.0f} s, compiling included)"}


def _as(params: MogprParams, dtype: str) -> MogprParams:
    """The same numbers in another precision."""

    def _leaf(leaf):
        real = np.issubdtype(np.asarray(leaf).dtype, np.floating)
        return jnp.asarray(leaf, dtype) if real else leaf

    # a curve is NumPy, in double precision, and stays so
    return replace(jax.tree.map(_leaf, replace(params, curve=None)), curve=params.curve)


def _speed(pixels: int, timed: timing.Timing, cores: int) -> dict:
    return {
        "px_per_s": pixels / timed.seconds,
        "px_per_core_s": pixels / (timed.seconds * cores),
        "cores": cores,
        "seconds": timed.seconds,
        "cpu_over_wall": timed.cpu_s / timed.seconds,
        "pixels": pixels,
    }


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
    timed, (mean, std) = timing.best(lambda: _run(series), repeats, warm=False, budget_s=10.0)
    # of what was timed, the scored pixels come first
    curves = {id(first): (mean[: len(few.label)], std[: len(few.label)])}
    curves |= {id(s): _run(s) for s in few.test.values() if s is not first}
    score = beds.scores([few], [lambda series: curves[id(series)]], TASKS)
    silent = sum(int(np.isnan(mean).any(axis=1).sum()) for mean, _ in curves.values())
    work = f"{peer.work} (release {peer.version})"
    if silent:
        work += f"; {silent} of {len(curves) * len(few.label)} series without an answer, not scored"
    row = {"name": peer.name, "mode": peer.mode, "latents": peer.latents, "dtype": peer.dtype}
    row |= {"device": "1 x cpu", "work": work} | _speed(pixels, timed, 1)
    return row | score | {"paired": score}


def to_gpy(rows: Sequence[Mapping]) -> list[dict]:
    """The rows with `ratio_to_gpy`: per core, over FuseTS' model and start on GPy.

    Without that peer the rows stay as they are.
    """
    shipped = [row["px_per_core_s"] for row in rows if _is(row, "GPy", "shipped")]
    if not shipped:
        return [dict(row) for row in rows]
    return [{**row, "ratio_to_gpy": row["px_per_core_s"] / shipped[0]} for row in rows]


def between(rows: Sequence[Mapping]) -> list[dict]:
    """Ratios of pixels per core-second: {"kind", "of", "over", "ratio"}, kinds as in `KINDS`."""

    def _ours(mode: str) -> list[Mapping]:
        mine = [r for r in rows if _is(r, "s1jax kalman", mode) and r["dtype"] == "float32"]
        # the default is what a user switches to, but no more than its mode says
        return mine + [r for r in rows if mode == "region" and _is(r, "mogpr default", mode)]

    def _theirs(mode: str) -> list[Mapping]:
        return [r for r in rows if r["name"].startswith("GPy") and r["mode"] == mode]

    def _pairs(kind: str, mine: Sequence, theirs: Sequence, alike: Callable) -> list[dict]:
        return [
            {
                "kind": kind,
                "of": label(own),
                "over": label(other),
                "ratio": own["px_per_core_s"] / other["px_per_core_s"],
            }
            for own in mine
            for other in theirs
            if alike(own, other)
        ]

    def _same(own, other):
        return own["latents"] == other["latents"] and own["name"] != "mogpr default"

    return [
        *_pairs("a", _ours("region"), _theirs("shipped"), lambda own, other: True),
        *_pairs("b", _ours("region"), _theirs("region"), _same),
        *_pairs("c", _ours("pixel"), _theirs("good-start"), _same),
    ]


def label(row: Mapping) -> str:
    """A row in a few words."""
    model = "ICM" if row["latents"] == 1 else f"{row['latents']} latents"
    return f"{row['name']} ({row['mode']}, {model}, {row['dtype']}, {row['device']})"


def sentence(ratio: Mapping) -> str:
    """A ratio with both its sides."""
    return (
        f"({ratio['kind']}) {KINDS[ratio['kind']]}: {ratio['of']} over {ratio['over']}: "
        f"{ratio['ratio']:,.0f} per core"
    )


def verdict(rows: Sequence[Mapping]) -> list[str]:
    """R2 of the default less that of every peer from a good start, on the same pixels, in words."""
    default = [row["paired"] for row in rows if row["name"] == "mogpr default" and "paired" in row]
    out = []
    for row in rows if default else ():
        if row["mode"] != "good-start" or row["name"] != "GPy":
            continue
        both = [key for key in _R2 if key in default[0] and key in row["paired"]]
        gaps = ", ".join(f"{_R2[k]} {default[0][k] - row['paired'][k]:+.3f}" for k in both)
        out.append(f"R2 of mogpr default less {label(row)}, same pixels: {gaps}")
    return out


def _is(row: Mapping, name: str, mode: str) -> bool:
    return row["name"] == name and row["mode"] == mode
