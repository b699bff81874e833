"""MOGPR beside its peers: how fast, how small, how good, on the same pixels."""

import logging
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench import bed as beds
from experiments.bench import peers as others
from experiments.bench import ratios, table, timing
from experiments.methods import of_this_region
from s1jax import gp, mogpr
from s1jax.mogpr import MogprParams
from s1jax.types import Series

log = logging.getLogger("s1jax")

TASKS = ("T2a", "T2b", "T2c")
_TIMED = {"kalman": 1, "quasisep": 8, "dense": 16, "fit": 4}
"""Timed pixels are `pixels` over this: each takes a second or so."""
_TOGETHER = {"GPyTorch": 128}
"""A peer that computes pixels together, and how many: timed on so many, not on fewer."""
COLUMNS = {
    "name": "", "mode": "", "latents": "d", "dtype": "", "device": "", "px_per_s": ",.1f",
    "px_per_core_s": ",.1f", "cpu_over_wall": ".2f", "ratio_to_gpy": ",.1f", "kb_per_px": ",.1f",
    "r2_random": ".3f", "r2_block": ".3f", "r2_season": ".3f", "coverage90": ".3f",
}  # fmt: skip


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
    out = table.folder(config, "mogpr")
    bed = beds.load(config, TASKS)
    head = table.header(bed)
    print(*head, sep="\n", flush=True)
    learnt = {latents: _learn(config, bed, latents) for latents in config.latents}
    missing, few, found = [], None, []
    if config.peers:
        given = [learnt[n][0][0].hyper for n in config.latents if n in (1, 3)]
        found, missing = others.available([gp.Hyper(*map(np.asarray, hyper)) for hyper in given])
        few = _few(bed.parts[0], config.peer_pixels)
        print(*missing, f"peers on {len(few.label)} pixels" * bool(found), sep="\n", flush=True)
    rows = []
    for row in _all(config, bed, learnt, few if found else None, found):
        rows.append(row)
        print(_line(row), flush=True)
    rows = ratios.to_gpy(rows)
    compared = ratios.between(rows)
    text = [table.markdown(rows, COLUMNS)]
    if found:
        text.append(f"Scores on the same {len(few.label)} pixels:\n\n{_paired(rows)}")
    text += [ratios.sentence(ratio) for ratio in compared] + ratios.verdict(rows)
    kind, dates = jax.local_devices()[0].device_kind, len(bed.parts[0].train.day)
    text += timing.limits(kind, dates)
    table.write(out, bed, config, head, text, rows, missing=missing, ratios=compared)
    return out


def _line(row: dict) -> str:
    r2 = "  ".join(f"{k} {row[k]:.3f}" for k in ("r2_random", "r2_block", "r2_season") if k in row)
    return (
        f"{row['name']:<15}{row['mode']:<11}{row['latents']} latent(s) {row['dtype']:<8} "
        f"{row['px_per_s']:>11,.1f} px/s {row['px_per_core_s']:>11,.1f} px/core-s "
        f"(cpu/wall {row['cpu_over_wall']:.2f})  {r2}"
    )


def _paired(rows: list[dict]) -> str:
    ends = ("r2_random", "r2_block", "r2_season", "coverage90")
    cells = [{**row, **row["paired"]} for row in rows if "paired" in row]
    return table.markdown(cells, {k: COLUMNS[k] for k in ("name", "mode", "latents", *ends)})


def _learn(
    config: MogprBench, bed: beds.Bed, latents: int
) -> list[tuple[MogprParams, mogpr.Sample]]:
    """Of each fold: what three outputs of one orbit tell, and the z-scored sample."""
    found = []
    for part in bed.parts:
        channel = mogpr.channels(part.train, beds.one_orbit(part.train))
        options = {"sample": config.mogpr.sample, "iterations": config.mogpr.iterations}
        found.append(mogpr.learn(part.train, channel, latents=latents, **options))
    return found


def _all(config, bed, learnt, few, peers) -> Iterator[dict]:
    """Every row, as soon as it is there."""
    for latents, folds in learnt.items():
        params = [params for params, _ in folds]
        for solver in config.solvers if "region" in config.modes else ():
            for dtype in ("float32", "float64") if solver == "kalman" else ("float32",):
                yield _ours(config, bed, few, params, solver, dtype)
        if "pixel" in config.modes:
            own = [p._replace(prior=gp.prior(*sample)) for p, sample in folds]
            yield _ours(config, bed, few, own, "kalman", "float32")
        log.info("%d latents done", latents)
    yield _default(config, bed, few)
    for peer in peers:
        yield _peer(config, few, peer)


def _ours(config, bed, few, params: list[MogprParams], solver: str, dtype: str, **known) -> dict:
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
        tells = [beds.tell(p, solver=solver) for p in params]
        factor = _TIMED["fit"] * latents if fitted else _TIMED[solver]
        pixels = max(1, config.pixels // factor)
        series = beds.filled(bed.parts[0].test["T2a"], pixels)
        timed, _ = timing.best(lambda: tells[0](series), config.repeats)
        told = beds.scores(bed.parts, tells, TASKS)
        paired = {} if few is None else {"paired": beds.scores([few], tells[:1], TASKS)}
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
    return row | told | paired | known


def _default(config: MogprBench, bed: beds.Bed, few) -> dict:
    """What a user gets who chooses nothing: validation pixels choose, and widen the band."""
    options = of_this_region(config.mogpr, config.split)

    def _choose():
        return [mogpr.choose(part.key, part.train, part.val, options)[0] for part in bed.parts]

    timed, params = timing.best(_choose, 1, warm=False)
    names = ", ".join(f"{k} {v}" for k, v in beds.variant(params[0], bed.parts[0].train).items())
    row = _ours(config, bed, few, params, options.solver, "float32", name="mogpr default")
    work = f"{row['work']}; chosen on validation pixels: {names} (the choice took "
    return row | {"work": f"{work}{timed.seconds:.0f} s, compiling included)"}


def _as(params: MogprParams, dtype: str) -> MogprParams:
    """The same numbers in another precision."""

    def _leaf(leaf):
        real = np.issubdtype(np.asarray(leaf).dtype, np.floating)
        return jnp.asarray(leaf, dtype) if real else leaf

    # a curve is NumPy, in double precision, and stays so
    return jax.tree.map(_leaf, params._replace(curve=None))._replace(curve=params.curve)


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
    channel = mogpr.channels(part.train, beds.one_orbit(part.train))
    picked = {task: mogpr.pick(series, channel) for task, series in part.test.items()}
    able = [others.solvable(series.value, series.valid) for series in picked.values()]
    index = np.flatnonzero(np.all(able, axis=0))[:count]
    if not index.size:
        raise ValueError(f"peer pixels: got none of {len(part.label)} that a peer can solve")
    return beds.some(part, index)


def _peer(config: MogprBench, few: beds.Part, peer: others.Peer) -> dict:
    """One row of another library, on one core."""
    channel = mogpr.channels(few.train, beds.one_orbit(few.train))

    def _run(series: Series):
        return peer.run(mogpr.pick(series, channel), series.day)

    first = few.test["T2a"]
    pixels = max(len(few.label), _TOGETHER.get(peer.name, 1))
    series = beds.filled(first, pixels)
    _run(beds.filled(first, 1))
    repeats = config.repeats if peer.mode == "region" else 1
    timed, (mean, std) = timing.best(lambda: _run(series), repeats, warm=False, budget_s=10.0)
    # of what was timed, the scored pixels come first
    known = {id(first): (mean[: len(few.label)], std[: len(few.label)])}
    told = {id(s): known.get(id(s)) or _run(s) for s in few.test.values()}
    score = beds.scores([few], [lambda series: told[id(series)]], TASKS)
    silent = sum(int(np.isnan(mean).any(axis=1).sum()) for mean, _ in told.values())
    work = f"{peer.work} (release {peer.version})"
    if silent:
        work += f"; {silent} of {len(told) * len(few.label)} series without an answer, not scored"
    row = {"name": peer.name, "mode": peer.mode, "latents": peer.latents, "dtype": peer.dtype}
    row |= {"device": "1 x cpu", "work": work} | _speed(pixels, timed, 1)
    return row | score | {"paired": score}
