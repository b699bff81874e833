"""Epochs to time, one after another: of our networks, and of PyTorch beside them."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import experiments
from s1jax import train
from s1jax.networks import MlpConfig, rows
from s1jax.networks.mlp import module, squares
from s1jax.types import Key, Series

ROOT = Path(__file__).parents[2]
PEERS = {
    "document": "DataLoader(TensorDataset(X, y), shuffle=True, num_workers=8, "
    "persistent_workers=True), the loss of each batch read; the document's autocast, GradScaler, "
    "pin_memory and .to(device) on a GPU alone; its scheduler, early stopping and torch.save come "
    "between epochs and are dropped",
    "document, no workers": "the same with num_workers=0",
    "resident": "one permutation, index_select of resident tensors, no DataLoader",
    "resident, compiled": "the same by torch.compile",
}
"""Loop of `with_torch`, and what it does."""


class Pass(NamedTuple):
    """One epoch."""

    seconds: float
    loss: float
    """Mean over its batches, each before its step."""


Trained = Callable[[], Pass]
"""Trains one more epoch."""


def looked_up(
    config: MlpConfig, training: Series, validation: Series, count: int
) -> tuple[train.Data, train.Data]:
    """What a network of a date learns from, as `networks.mlp` has it: the first `count` training
    rows and all validation rows, and the stack and the moments they are looked up with.

    Raises:
      ValueError: fewer training rows, or no validation row.
    """
    stacked = jax.jit(rows.without_gaps, static_argnames="pad_mode")
    stacks, found = [], []
    for series in (training, validation):
        stack, seen = stacked(jax.tree.map(jnp.asarray, series), pad_mode=config.pad_mode)
        stacks.append(stack)
        found.append(rows.labelled(series, seen))
    sizes = [len(some.ndvi) for some in found]
    if sizes[0] < count or sizes[1] == 0:
        raise ValueError(
            f"labels on dates with radar: got {sizes[0]:,} in training and {sizes[1]:,} in "
            f"validation pixels, expected {count:,} and some"
        )
    found[0] = jax.tree.map(lambda x: x[:count], found[0])
    normaliser = rows.moments(config, stacks[0], found[0])
    first, second = (
        train.Data((stack, normaliser), some) for stack, some in zip(stacks, found, strict=True)
    )
    return first, second


def stored(config: MlpConfig, data: train.Data) -> train.Data:
    """The same rows with their features and target computed once, z-scored; no stack."""

    @jax.jit
    def _of(data):
        stack, normaliser = data.stack
        x = rows.standardise(normaliser, rows.inputs(config, stack, data.rows))
        return x, (data.rows.ndvi - normaliser.ndvi_mean) / normaliser.ndvi_std

    return train.Data((), _of(data))


def of_stored(config: MlpConfig) -> train.Loss:
    """The loss of `networks.mlp` on what `stored` returns."""
    net = module(config)

    def loss(key, variables, data):
        return squares(net, key, variables, *data.rows)

    return loss


def ours(
    fit: Callable[[Key, train.Variables], train.State], key: Key, variables: train.Variables
) -> Trained:
    """Fits of one epoch, each going on from the weights of the last, the optimiser anew.

    Args:
      fit: `train.fit` or `networks.learn` of one epoch, which is compiled once.
      key: consumed.
      variables: where to start.
    """
    left = iter(range(1 << 30))
    last = [variables]

    def _train() -> Pass:
        begun = time.perf_counter()
        state = jax.block_until_ready(fit(jax.random.fold_in(key, next(left)), last[0]))
        seconds = time.perf_counter() - begun
        last[0] = state.variables
        return Pass(seconds, float(state.history[0, 0]))

    return _train


@contextmanager
def in_torch(
    names: Sequence[str],
    config: MlpConfig,
    variables: train.Variables,
    data: train.Data,
) -> Iterator[dict[str, Trained]]:
    """Epochs of PyTorch on what `stored` returns, from the same weights, in another process.

    Args:
      names: loops of `PEERS`.
      config: of the network and its training.
      variables: where to start.
      data: features and target.

    Raises:
      ValueError: residual connections, which the network there has not.
      RuntimeError: the other process failed.
    """
    if config.residual:
        raise ValueError("mlp10.residual: got True, expected False beside PyTorch")
    x, y = (np.asarray(leaf) for leaf in data.rows)
    setting = {
        "threads": experiments.cores(),
        "network": {
            "hidden": config.hidden,
            "dropout": config.dropout,
            "batch_norm": config.batch_norm,
            "tanh": config.tanh,
        },
        "training": {
            "batch_rows": train.batch_size(len(x), config.train),
            "learning_rate": config.train.learning_rate,
            "weight_decay": config.train.weight_decay,
            "device": "cpu" if jax.default_backend() == "cpu" else "cuda",
        },
    }
    with tempfile.TemporaryDirectory() as folder, open(f"{folder}/errors", "w+") as errors:
        np.savez(f"{folder}/rows.npz", x=x, y=y)
        np.savez(f"{folder}/weights.npz", **arrays(variables))
        Path(folder, "setting.json").write_text(json.dumps(setting), encoding="utf-8")
        command = [sys.executable, "-m", "experiments.bench.with_torch", folder]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            text=True,
        ) as process:  # fmt: skip

            def _train(name: str) -> Pass:
                process.stdin.write(f"{name}\n")
                process.stdin.flush()
                line = process.stdout.readline()
                if not line:
                    errors.seek(0)
                    raise RuntimeError(f"PyTorch, {name}: {errors.read().strip()[-500:]}")
                return Pass(**json.loads(line))

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


def in_turn(trained: Mapping[str, Trained], epochs: int) -> dict[str, list[Pass]]:
    """So many epochs of each, A B A B, after one of each that warms up."""
    found = {name: [] for name in trained}
    for _ in range(epochs + 1):
        for name, one in trained.items():
            found[name].append(one())
    return {name: passes[1:] for name, passes in found.items()}
