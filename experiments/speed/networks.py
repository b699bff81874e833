"""Networks: seconds of an epoch beside PyTorch, and how close inference comes to the machine."""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import s1jax.commands
from experiments.report.files import ROOT
from experiments.report.tables import Table
from experiments.speed import bed as beds
from s1jax import networks, train
from s1jax.batching import titled
from s1jax.networks import CnpConfig, Mlp10Config, MlpConfig, SequenceConfig, SequenceParams
from s1jax.networks.inputs import CHANNELS, moments, network_input, standardise
from s1jax.networks.mlp import (
    init_mlp,
    labelled,
    mlp_loss,
    mlp_network,
    normalise,
    normaliser_of,
    row_features,
    squares,
    without_gaps,
)
from s1jax.networks.model import OUTPUTS, init, mixtures
from s1jax.networks.sequence import train as train_sequence
from s1jax.types import Key, Series

log = logging.getLogger("s1jax")

TASKS = ("T2a",)
SCENE = 671 * 893
"""Pixels of the whole region."""
PEERS = {
    "document": "DataLoader(TensorDataset(X, y), shuffle=True, num_workers=8, "
    "persistent_workers=True), the loss of each batch read; the document's autocast, GradScaler, "
    "pin_memory and .to(device) on a GPU alone; its scheduler, early stopping and torch.save come "
    "between epochs and are dropped",
    "document, no workers": "the same with num_workers=0",
    "resident": "one permutation, index_select of resident tensors, no DataLoader",
    "resident, compiled": "the same by torch.compile",
}
"""Loop of `peers.torch`, and what it does."""
EPOCHS = dict.fromkeys(("name", "dtype", "device"), "") | {"rows": ",d", "batch_rows": ",d"}
EPOCHS |= {"seconds": ".2f", "rows_per_s": ",.0f", "times_ours": ".2f", "loss": ".4f"}
INFERENCE = dict.fromkeys(("name", "dtype", "device"), "") | {"pixels": ",d", "seconds": ".2f"}
INFERENCE |= {"px_per_s": ",.0f", "share_of_matmul": ".2f", "scene_s": ",.1f", "kb_per_px": ",.1f"}


@dataclass(frozen=True)
class NetworksBench(beds.BedConfig):
    """Speed of training and inference of the networks, and of PyTorch on the same rows."""

    peers: bool = False
    """Also train the network of a date in PyTorch (extra `bench`)."""
    rows: int = 524_288
    """Labelled dates that the network of a date trains on (training pixels over and over)."""
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


class Epoch(NamedTuple):
    """One epoch."""

    seconds: float
    loss: float
    """Mean over its batches, each before its step."""


Trainer = Callable[[], Epoch]
"""Trains one more epoch."""


def bench(config: NetworksBench) -> Path:
    """The folder with metrics.json and table.md; both tables are printed.

    Raises:
      ValueError: fewer rows than a batch, nothing to time, or a sequence network whose products
        are not counted.
    """
    if config.epochs < 1 or config.repeats < 1:
        raise ValueError(
            f"epochs, repeats: got {config.epochs}, {config.repeats}, expected at least 1"
        )
    if config.rows < (config.batch_rows or 1):
        raise ValueError(f"rows: got {config.rows}, expected a batch of {config.batch_rows}")
    flop(config.cnp, 1)
    bed = beds.load(config, TASKS)
    part = bed.parts[0]
    names, missing = _peers(config)
    print(*missing, sep="\n", flush=True)
    trained = [*_epochs_of_dates(config, part, names), _epochs_of_series(config, part)]
    print(Table(EPOCHS, trained).markdown(), flush=True)
    whole = whole_training(config.cnp, part, seed=config.seed)
    params = networks.adapt(start_of(config.cnp), part.train)
    dtypes = [config.cnp.bfloat16]
    if not config.cnp.bfloat16 and (config.bfloat16 or jax.default_backend() != "cpu"):
        dtypes.append(True)
    inference = [
        _inference(config, replace(config.cnp, bfloat16=bfloat16), params, part)
        for bfloat16 in dtypes
    ]
    text = [Table(EPOCHS, trained).markdown(), Table(INFERENCE, inference).markdown()]
    text += [*missing, whole["words"]]
    return beds.write(bed, config, text, [*trained, whole, *inference], missing=missing)


def _peers(config: NetworksBench) -> tuple[list[str], list[str]]:
    """Loops of PyTorch that can run here, and a sentence for each that cannot."""
    if not config.peers:
        return [], []
    if find_spec("torch") is None:
        missing = ["torch is not installed: its rows are left out (extra `bench`)"]
        log.warning(missing[0])
        return [], missing
    names, missing = list(PEERS), []
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        names.remove("resident, compiled")
        missing.append("no C++ compiler: the row of torch.compile is left out")
    return names, missing


def _epochs_of_dates(config: NetworksBench, part: beds.Part, names: Sequence[str]) -> list[dict]:
    """Epochs of the network of a date: ours as it is trained, on stored features, and PyTorch."""
    options = replace(config.mlp10.train, epochs=1)
    if config.batch_rows is not None:
        options = replace(options, batch_rows=config.batch_rows, batches=1)
    batch = train.rows_per_batch(config.rows, options)
    mlp10 = replace(config.mlp10, train=options)
    count = config.rows - config.rows % batch
    labels = int(np.asarray(part.train.ndvi_valid).sum())
    # a quarter more: a label without VV and VH does not count
    pixels = -(-count * len(part.train.ndvi) * 5 // (4 * max(1, labels)))
    data = looked_up(mlp10, beds.filled(part.train, pixels), part.val, count)
    kept = [stored(mlp10, some) for some in data]
    key_start, key = jax.random.split(jax.random.key(config.seed))
    start = init_mlp(key_start, mlp10, data[0].rows.ndvi.dtype)
    works = {
        "s1jax mlp10": "as it is trained: features of each batch looked up and computed from the "
        f"resident series, the loss of {len(data[1].rows.ndvi):,} validation rows at the end; the "
        "optimiser anew in each epoch, so that losses differ a little",
        "s1jax mlp10, stored": "the same on features computed once",
    }

    def _fitting(loss, data):
        return lambda key, start: train.fit(key, loss, start, *data, config=options)

    pairs = zip(works, (mlp_loss(mlp10), loss_of_stored(mlp10)), (data, kept), strict=True)
    trainers = {name: trainer(_fitting(loss, of), key, start) for name, loss, of in pairs}
    with in_torch(names, mlp10, start, kept[0]) as others:
        for name in names:
            works[f"PyTorch {name}"] = f"{PEERS[name]} (release {version('torch')})"
            trainers[f"PyTorch {name}"] = others[name]
        epochs = in_turn(trainers, config.epochs)
    table = [_row(name, work, count, batch, epochs[name]) for name, work in works.items()]
    return [row | {"times_ours": row["seconds"] / table[0]["seconds"]} for row in table]


def _epochs_of_series(config: NetworksBench, part: beds.Part) -> dict:
    """Epochs of the sequence network over the training pixels."""
    seen, decide = network_input(part.train), network_input(part.val)
    by = moments(seen)
    parts = [standardise(some, by) for some in (seen, decide)]
    cnp = replace(config.cnp, train=replace(config.cnp.train, epochs=1))
    one = trainer(
        lambda key, start: train_sequence(key, cnp, *parts, start),
        jax.random.key(config.seed),
        start_of(cnp).variables,
    )
    with titled("cnp"):
        epochs = in_turn({"": one}, config.epochs)[""]
    pixels, decided = (int(np.asarray(some.label).any(1).sum()) for some in parts)
    work = (
        f"a row is a pixel of {seen.label.shape[1]} dates, its NDVI hidden anew in every step; and "
        f"the loss of {decided:,} validation pixels, hidden in several ways"
    )
    batch = train.rows_per_batch(pixels, cnp.train)
    return _row("s1jax cnp", work, pixels, batch, epochs, _dtype(cnp))


def _dtype(cnp: CnpConfig) -> str:
    return "bfloat16" if cnp.bfloat16 else "float32"


def _row(
    name: str, work: str, rows: int, batch: int, epochs: Sequence[Epoch], dtype: str = "float32"
) -> dict:
    """A row of the first table."""
    median = float(np.median([one.seconds for one in epochs]))
    cores = name.startswith("PyTorch") and jax.default_backend() == "cpu"
    device = f"{beds.cores()} core(s)" if cores else beds.device()
    row = {"name": name, "work": work, "dtype": dtype, "device": device, "rows": rows}
    row |= {"batch_rows": batch, "seconds": median, "rows_per_s": rows / median}
    return row | {"loss": epochs[-1].loss}


def looked_up(
    config: MlpConfig, training: Series, validation: Series, count: int
) -> tuple[train.Data, train.Data]:
    """What a network of a date trains on, as `networks.mlp` has it: the first `count` training
    rows and all validation rows, and the store and the moments they are looked up with.

    Raises:
      ValueError: fewer training rows, or no validation row.
    """
    filled = jax.jit(without_gaps, static_argnames="pad_mode")
    stores, rows = [], []
    for series in (training, validation):
        store, seen = filled(jax.tree.map(jnp.asarray, series), pad_mode=config.pad_mode)
        stores.append(store)
        rows.append(labelled(series, seen))
    sizes = [len(some.ndvi) for some in rows]
    if sizes[0] < count or sizes[1] == 0:
        raise ValueError(
            f"labels on dates with radar: got {sizes[0]:,} in training and {sizes[1]:,} in "
            f"validation pixels, expected {count:,} and some"
        )
    rows[0] = jax.tree.map(lambda x: x[:count], rows[0])
    normaliser = normaliser_of(config, stores[0], rows[0])
    pairs = zip(stores, rows, strict=True)
    first, second = (train.Data((store, normaliser), some) for store, some in pairs)
    return first, second


def stored(config: MlpConfig, data: train.Data) -> train.Data:
    """The same rows with their features and target computed once, z-scored; no store."""

    @jax.jit
    def _of(data):
        store, normaliser = data.store
        x = normalise(normaliser, row_features(config, store, data.rows))
        return x, (data.rows.ndvi - normaliser.ndvi_mean) / normaliser.ndvi_std

    return train.Data((), _of(data))


def loss_of_stored(config: MlpConfig) -> train.Loss:
    """The loss of `networks.mlp` on what `stored` returns."""
    net = mlp_network(config)
    return lambda key, variables, data: squares(net, key, variables, *data.rows)


def trainer(
    fit: Callable[[Key, train.Variables], train.State], key: Key, variables: train.Variables
) -> Trainer:
    """Fits of one epoch, each going on from the weights of the last, the optimiser anew."""

    def _epochs() -> Iterator[Epoch]:
        number, now = 0, variables
        while True:
            begun = time.perf_counter()
            state = jax.block_until_ready(fit(jax.random.fold_in(key, number), now))
            seconds = time.perf_counter() - begun
            number, now = number + 1, state.variables
            yield Epoch(seconds, float(state.history[0, 0]))

    return _epochs().__next__


@contextmanager
def in_torch(
    names: Sequence[str], config: MlpConfig, variables: train.Variables, data: train.Data
) -> Iterator[dict[str, Trainer]]:
    """Epochs of PyTorch on what `stored` returns, from the same weights, in another process.

    Raises:
      ValueError: residual connections, which the network there has not.
      RuntimeError: the other process failed.
    """
    if config.residual:
        raise ValueError("mlp10.residual: got True, expected False beside PyTorch")
    x, y = (np.asarray(leaf) for leaf in data.rows)
    setting = {
        "threads": s1jax.commands.available_cores(),
        "network": {
            name: getattr(config, name) for name in ("hidden", "dropout", "batch_norm", "tanh")
        },
        "training": {
            "batch_rows": train.rows_per_batch(len(x), config.train),
            "learning_rate": config.train.learning_rate,
            "weight_decay": config.train.weight_decay,
            "device": "cpu" if jax.default_backend() == "cpu" else "cuda",
        },
    }
    with tempfile.TemporaryDirectory() as folder, open(f"{folder}/errors", "w+") as errors:
        np.savez(f"{folder}/rows.npz", x=x, y=y)
        np.savez(f"{folder}/weights.npz", **arrays(variables))
        Path(folder, "setting.json").write_text(json.dumps(setting), encoding="utf-8")
        command = [sys.executable, "-m", "experiments.speed.peers.torch", folder]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
        with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:

            def _train(name: str) -> Epoch:
                process.stdin.write(f"{name}\n")
                process.stdin.flush()
                line = process.stdout.readline()
                if not line:
                    errors.seek(0)
                    raise RuntimeError(f"PyTorch, {name}: {errors.read().strip()[-500:]}")
                return Epoch(**json.loads(line))

            try:
                yield {name: lambda name=name: _train(name) for name in names}
            finally:
                process.stdin.close()


def arrays(variables: train.Variables) -> dict[str, np.ndarray]:
    """Weights and running statistics by layer and name, "Dense_0/kernel" say."""
    return {
        f"{layer}/{name}": np.array(leaf)
        for tree in variables
        for layer, leaves in tree.items()
        for name, leaf in leaves.items()
    }


def in_turn(trainers: Mapping[str, Trainer], count: int) -> dict[str, list[Epoch]]:
    """So many epochs of each, A B A B, after one of each that warms up."""
    rounds = [{name: one() for name, one in trainers.items()} for _ in range(count + 1)]
    return {name: [one[name] for one in rounds[1:]] for name in trainers}


def start_of(cnp: CnpConfig) -> SequenceParams:
    """The shipped weights, or random ones."""
    if cnp.pretrained:
        return networks.pretrained(cnp)
    return SequenceParams(cnp, init(jax.random.key(0), cnp))


def whole_training(cnp: CnpConfig, part: beds.Part, *, seed: int) -> dict:
    """Seconds of `networks.fine_tune` with all its steps: compiling, training, validation, band."""
    begun = time.perf_counter()
    params = networks.fine_tune(jax.random.key(seed), start_of(cnp), part.train, part.val)
    jax.block_until_ready(params)
    seconds = time.perf_counter() - begun
    pixels = int(np.asarray(part.train.ndvi_valid).any(1).sum())
    steps = int(np.prod(train.epochs_and_batches(pixels, cnp.train)))
    words = (
        f"cnp, all of its training from {'the shipped' if cnp.pretrained else 'random'} weights: "
        f"{steps:,} steps of {train.rows_per_batch(pixels, cnp.train)} of {pixels:,} pixels in "
        f"{seconds:,.0f} s, compiling included"
    )
    row = {"name": "s1jax cnp, whole", "dtype": _dtype(cnp), "device": beds.device()}
    return row | {"seconds": seconds, "words": words}


def _inference(
    config: NetworksBench, cnp: CnpConfig, params: SequenceParams, part: beds.Part
) -> dict:
    """A row of the second table: `networks.predict`, all of it, from and to NumPy."""
    cpu, test = jax.default_backend() == "cpu", part.test["T2a"]
    pixels = config.pixels or (16_384 if cpu else SCENE)
    params, series = replace(params, config=cnp), beds.filled(test, pixels)
    dtype, size = _dtype(cnp), 2048 if cpu else 8192
    networks.predict(params, beds.filled(test, cnp.chunk), series.day)
    rate = matmul_rate(size, dtype)
    seconds, _ = beds.best(
        lambda: networks.predict(params, series, series.day), config.repeats, warm=False
    )
    # before and after: what else the machine does changes from minute to minute
    rate, speed = max(rate, matmul_rate(size, dtype)), pixels / seconds
    row = {"name": "cnp predict", "dtype": dtype, "device": beds.device(), "pixels": pixels}
    row |= {"seconds": seconds, "px_per_s": speed, "scene_s": SCENE / speed}
    row["share_of_matmul"] = flop(cnp, len(series.day)) * speed / rate
    return row | {"kb_per_px": kb_per_px(params, series)}


def flop(config: SequenceConfig, dates: int) -> float:
    """Operations of the matrix products of one pixel; a product and a sum are two.

    2 (T C W + B (3 T W^2 + W^2 + T W^2) + T W O): T dates of C numbers into W channels; B blocks,
    each three dates wide, the mean of the series, and the product that closes it; O outputs.

    Raises:
      ValueError: another network.
    """
    if config.net != "tcn":
        raise ValueError(f"net: got {config.net!r}, expected 'tcn'")
    width, blocks = config.width, len(config.dilations)
    ends = dates * width * (CHANNELS + OUTPUTS)
    return 2.0 * (ends + blocks * (4 * dates + 1) * width**2)


def matmul_rate(size: int, dtype: str, *, repeats: int = 5) -> float:
    """FLOP/s of a square matrix product on the first device: the best of some."""
    a = jax.random.normal(jax.random.key(0), (size, size), jnp.float32).astype(dtype)
    product = jax.jit(jnp.matmul)
    seconds, _ = beds.best(lambda: product(a, a).block_until_ready(), repeats)
    return 2.0 * size**3 / seconds


def kb_per_px(params: SequenceParams, series: Series) -> float:
    """Working memory of a pixel, kB: XLA's temporary buffers of a chunk of `networks.predict`."""
    config = params.config

    def _chunk(leaf):
        return jax.ShapeDtypeStruct((config.chunk, *leaf.shape[1:]), leaf.dtype)

    arrays = jax.tree.map(_chunk, tuple(series[1:5]))
    weights, day = (params.variables, params.moments), jnp.asarray(series.day)
    program = mixtures.lower(*weights, day, arrays, config=config).compile()
    return program.memory_analysis().temp_size_in_bytes / config.chunk / 1e3
