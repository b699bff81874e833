"""Networks: seconds of an epoch beside PyTorch, and how close inference comes to the machine."""

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import jax
import numpy as np

from experiments.bench import bed as beds
from experiments.bench import epochs, flop, series, table, timing
from s1jax import networks, train
from s1jax.networks import CnpConfig, Mlp10Config, SequenceParams
from s1jax.networks.mlp import _loss, initial
from s1jax.types import NDVI

log = logging.getLogger("s1jax")

TASKS = ("T2a",)
SCENE = 671 * 893
"""Pixels of the whole region."""
MOST = 16_384
"""Pixels that the network alone is timed on, at most."""
NEEDED = {"document": 5.0, "document, no workers": 5.0, "resident": 1.0, "resident, compiled": 1.0}
"""How many times our epoch the one of a loop of PyTorch must take."""
NEEDED_SHARE, NEEDED_S = 0.3, 180.0
"""Of the rate of a large matrix product; seconds of the whole region on two cores."""
EPOCHS = {
    "name": "", "dtype": "", "device": "", "rows": ",d", "batch_rows": ",d", "seconds": ".2f",
    "rows_per_s": ",.0f", "times_ours": ".2f", "loss": ".4f",
}  # fmt: skip
INFERENCE = {
    "name": "", "dtype": "", "device": "", "pixels": ",d", "seconds": ".2f", "px_per_s": ",.0f",
    "cpu_over_wall": ".2f", "gflop_per_s": ",.1f", "matmul_gflop_per_s": ",.1f",
    "share_of_matmul": ".2f", "scene_s": ",.1f", "kb_per_px": ",.1f",
}  # fmt: skip


@dataclass(frozen=True)
class TrainBench(beds.BedConfig):
    """Speed of training and inference of the networks, and of PyTorch on the same rows."""

    peers: bool = False
    """Also train the network of a date in PyTorch (extra `bench`)."""
    rows: int = 524_288
    """Labelled dates that the network of a date learns from (training pixels over and over)."""
    batch_rows: int | None = 65_536
    """Rows of its batches; none: what `mlp10.train` has for so many rows."""
    epochs: int = 3
    """Timed epochs of each, of which the median counts, after one that compiles."""
    pixels: int | None = None
    """Pixels that the sequence network fills (test pixels over and over); none: 16,384, and the
    whole region of 671 x 893 where a GPU computes."""
    repeats: int = 3
    """Timed repeats of inference, of which the best counts."""
    bfloat16: bool = False
    """Time the sequence network in bfloat16 too, as is done on a GPU anyway."""
    mlp10: Mlp10Config = field(default_factory=Mlp10Config)
    """The network of a date."""
    cnp: CnpConfig = field(default_factory=CnpConfig)
    """The sequence network."""


def bench(config: TrainBench) -> Path:
    """The folder with metrics.json and table.md; both tables and the ratios are printed.

    Raises:
      ValueError: fewer rows than a batch, nothing to time, or a sequence network whose products
        are not counted.
    """
    _check(config)
    out = table.folder(config, "train")
    bed = beds.load(config, TASKS)
    head = table.header(bed)
    print(*head, sep="\n", flush=True)
    part = bed.parts[0]
    names, missing = _peers(config)
    print(*missing, sep="\n", flush=True)
    passes, facts = series.of_series(config.cnp, part, seed=config.seed, count=config.epochs)
    trained = [*_of_dates(config, part, names), _epoch("s1jax cnp", passes=passes, **facts)]
    print(table.markdown(trained, EPOCHS), flush=True)
    whole = series.whole(config.cnp, part, seed=config.seed)
    params = networks.adapt(series.start_of(config.cnp), part.train)
    dtypes = [config.cnp.bfloat16]
    if not config.cnp.bfloat16 and (config.bfloat16 or jax.default_backend() != "cpu"):
        dtypes.append(True)
    filled = []
    for bfloat16 in dtypes:
        filled += _inference(config, replace(config.cnp, bfloat16=bfloat16), params, part)
    text = [table.markdown(trained, EPOCHS), table.markdown(filled, INFERENCE)]
    text += missing + ratios(trained) + [whole["words"]] + limits(filled)
    table.write(out, bed, config, head, text, [*trained, whole, *filled], missing=missing)
    return out


def _check(config: TrainBench) -> None:
    if config.epochs < 1 or config.repeats < 1:
        raise ValueError(
            f"epochs, repeats: got {config.epochs}, {config.repeats}, expected at least 1"
        )
    if config.rows < (config.batch_rows or 1):
        raise ValueError(f"rows: got {config.rows}, expected a batch of {config.batch_rows}")
    flop.flop(config.cnp, 1)


def _peers(config: TrainBench) -> tuple[list[str], list[str]]:
    """Loops of PyTorch that can run here, and a sentence for each that cannot."""
    if not config.peers:
        return [], []
    if find_spec("torch") is None:
        missing = ["torch is not installed: its rows are left out (extra `bench`)"]
        log.warning(missing[0])
        return [], missing
    names, missing = list(epochs.PEERS), []
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        names.remove("resident, compiled")
        missing.append("no C++ compiler: the row of torch.compile is left out")
    return names, missing


def _of_dates(config: TrainBench, part: beds.Part, names: Sequence[str]) -> list[dict]:
    """Epochs of the network of a date: ours as it is trained, on stored features, and PyTorch."""
    options = replace(config.mlp10.train, epochs=1)
    if config.batch_rows is not None:
        options = replace(options, batch_rows=config.batch_rows, batches=1)
    batch = train.batch_size(config.rows, options)
    mlp10 = replace(config.mlp10, train=options)
    rows = config.rows - config.rows % batch
    labels = int(np.asarray(part.train.valid)[..., NDVI].sum())
    # a quarter more: a label without VV and VH does not count
    pixels = -(-rows * len(part.train.valid) * 5 // (4 * max(1, labels)))
    data = epochs.looked_up(mlp10, beds.filled(part.train, pixels), part.val, rows)
    stored = [epochs.stored(mlp10, some) for some in data]
    key_start, key = jax.random.split(jax.random.key(config.seed))
    start = initial(key_start, mlp10, data[0].rows.ndvi.dtype)
    works = {
        "s1jax mlp10": "as it is trained: features of each batch looked up and computed from the "
        f"resident series, the loss of {len(data[1].rows.ndvi):,} validation rows at the end; the "
        "optimiser anew in each epoch, so that losses differ a little",
        "s1jax mlp10, stored": "the same on features computed once",
    }
    losses = (_loss(mlp10), epochs.of_stored(mlp10))

    def _fitting(loss, data):
        return lambda key, start: train.fit(key, loss, start, *data, config=options, label="mlp10")

    trained = {
        name: epochs.ours(_fitting(*of), key, start)
        for name, of in zip(works, zip(losses, (data, stored), strict=True), strict=True)
    }
    with epochs.in_torch(names, mlp10, start, stored[0]) as others:
        for name in names:
            works[f"PyTorch {name}"] = f"{epochs.PEERS[name]} (release {version('torch')})"
            trained[f"PyTorch {name}"] = others[name]
        passes = epochs.in_turn(trained, config.epochs)
    found = [_epoch(name, work, rows, batch, passes[name]) for name, work in works.items()]
    for row in found:
        row["times_ours"] = row["seconds"] / found[0]["seconds"]
    return found


def _epoch(
    name: str,
    work: str,
    rows: int,
    batch: int,
    passes: Sequence[epochs.Pass],
    dtype: str = "float32",
) -> dict:
    """A row of the first table."""
    each = [one.seconds for one in passes]
    median = float(np.median(each))
    cores = name.startswith("PyTorch") and jax.default_backend() == "cpu"
    return {
        "name": name,
        "work": work,
        "dtype": dtype,
        "device": f"{timing.cores()} core(s)" if cores else timing.device(),
        "rows": rows,
        "batch_rows": batch,
        "seconds": median,
        "each": each,
        "rows_per_s": rows / median,
        "loss": passes[-1].loss,
    }


def _inference(
    config: TrainBench, cnp: CnpConfig, params: SequenceParams, part: beds.Part
) -> list[dict]:
    """Rows of the second table: `networks.fill`, all of it, and the network alone."""
    cpu = jax.default_backend() == "cpu"
    pixels = config.pixels or (MOST if cpu else SCENE)
    test = part.test["T2a"]
    every = beds.filled(test, pixels)
    some = beds.filled(test, max(1, min(pixels, MOST) // cnp.chunk) * cnp.chunk)
    standard = networks.standardise(networks.dates(some), params.moments)
    alone = flop.forward(cnp, params, standard)
    jobs = {
        "cnp fill": (lambda of: networks.fill(params, of, of.day, config=cnp), every),
        "cnp network": (lambda of: alone(), some),
    }
    dates = len(every.day)
    one = flop.flop(cnp, dates)
    dtype, size = ("bfloat16" if cnp.bfloat16 else "float32"), (2048 if cpu else 8192)
    works = {
        "cnp fill": "from and to NumPy: scaled, standardised, network, beliefs, days asked for",
        "cnp network": "standardised pixels on the device to beliefs on the device",
    }
    found = []
    for name, (run, of) in jobs.items():
        run(beds.filled(test, cnp.chunk))
        rate = flop.matmul_rate(size, dtype)
        timed, _ = timing.best(lambda run=run, of=of: run(of), config.repeats, warm=False)
        # before and after: what else the machine does changes from minute to minute
        rate = max(rate, flop.matmul_rate(size, dtype))
        speed = len(of.valid) / timed.seconds
        row = {"name": name, "work": f"{works[name]}; {dates} dates", "dtype": dtype}
        row |= {"device": timing.device(), "pixels": len(of.valid), "seconds": timed.seconds}
        row |= {"px_per_s": speed, "cpu_over_wall": timed.cpu_s / timed.seconds}
        row |= {"flop_per_px": one, "gflop_per_s": one * speed / 1e9}
        row |= {"matmul_gflop_per_s": rate / 1e9, "share_of_matmul": one * speed / rate}
        found.append(row | {"scene_s": SCENE / speed})
    found[0]["kb_per_px"] = flop.kb_per_px(cnp, params, every)
    return found


def ratios(rows: Sequence[Mapping]) -> list[str]:
    """Epochs of PyTorch over ours, in words."""
    ours = rows[0]
    return [
        f"{row['name']}: an epoch takes {row['times_ours']:.2f} times that of {ours['name']} "
        f"({row['seconds']:.2f} s of {ours['seconds']:.2f} s, {row['rows']:,} rows in batches of "
        f"{row['batch_rows']:,}); needed: {NEEDED[row['name'].removeprefix('PyTorch ')]:g}"
        for row in rows
        if row["name"].startswith("PyTorch")
    ]


def limits(rows: Sequence[Mapping]) -> list[str]:
    """How near inference comes to the machine, and what the whole region takes, in words."""
    out = []
    for row in rows:
        out.append(
            f"{row['name']} ({row['dtype']}): {row['gflop_per_s']:,.1f} of "
            f"{row['matmul_gflop_per_s']:,.1f} GFLOP/s of a large matrix product, "
            f"{100 * row['share_of_matmul']:.0f} % (needed: {100 * NEEDED_SHARE:.0f} %); {SCENE:,} "
            f"pixels in {row['scene_s']:,.0f} s at the speed of {row['pixels']:,} (needed: "
            f"{NEEDED_S:.0f} s on 2 cores)"
        )
    return out
