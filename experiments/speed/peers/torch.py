"""PyTorch: the network of a date on the same rows, trained in a process of its own.

Its threads and those of JAX would wait for each other, and a DataLoader forks its workers, which a
process with JAX in it does not survive.
Command: python -m experiments.speed.peers.torch FOLDER
It reads the name of a loop, trains one epoch by it and prints the seconds, until its input ends.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WORKERS = {"document": 8, "document, no workers": 0}
"""Loops over a DataLoader, and how many processes feed them."""
RESIDENT = {"resident": False, "resident, compiled": True}
"""Loops over resident tensors, and whether by `torch.compile`."""


def network(
    features: int, *, hidden: list[int], dropout: list[float], batch_norm: bool, tanh: bool
) -> nn.Sequential:
    """`s1jax.networks.architectures.MLP` without residuals: (row, feature) to (row, 1)."""
    layers: list[nn.Module] = []
    rates = (*dropout, *(0.0 for _ in hidden))
    for width, rate in zip(hidden, rates, strict=False):
        layers += [nn.Linear(features, width), *([nn.BatchNorm1d(width)] * batch_norm), nn.ReLU()]
        layers += [nn.Dropout(rate)] * (rate > 0)
        features = width
    return nn.Sequential(*layers, nn.Linear(features, 1), *([nn.Tanh()] * tanh))


def copied(net: nn.Sequential, arrays: Mapping[str, np.ndarray]) -> nn.Sequential:
    """The network with the weights and running statistics of the same network in flax."""
    names = {nn.Linear: "Dense", nn.BatchNorm1d: "BatchNorm"}
    count = dict.fromkeys(names, 0)
    with torch.no_grad():
        for layer in net:
            if type(layer) not in names:
                continue
            of = f"{names[type(layer)]}_{count[type(layer)]}"
            count[type(layer)] += 1
            layer.bias.copy_(torch.as_tensor(arrays[f"{of}/bias"]))
            if isinstance(layer, nn.Linear):
                layer.weight.copy_(torch.as_tensor(arrays[f"{of}/kernel"]).T)
                continue
            layer.weight.copy_(torch.as_tensor(arrays[f"{of}/scale"]))
            layer.running_mean.copy_(torch.as_tensor(arrays[f"{of}/mean"]))
            layer.running_var.copy_(torch.as_tensor(arrays[f"{of}/var"]))
    return net


def loop(
    name: str,
    net: nn.Sequential,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    batch_rows: int,
    learning_rate: float,
    weight_decay: float,
    device: str = "cpu",
) -> Callable[[], float]:
    """What trains one epoch each time it is called and returns the mean loss of its batches.

    On a GPU the loops over a DataLoader are the document's whole: autocast, GradScaler, pinned
    memory, batches sent over one by one.

    Raises:
      ValueError: another name.
    """
    if name not in WORKERS | RESIDENT:
        raise ValueError(f"loop: got {name!r}, expected one of {[*WORKERS, *RESIDENT]}")
    criterion, net = nn.MSELoss(), net.to(device)
    mixed = device != "cpu" and name in WORKERS
    scaler = torch.amp.GradScaler(device, enabled=mixed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=weight_decay)
    forward = torch.compile(net) if RESIDENT.get(name) else net

    def _step(batch_x, batch_y):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, enabled=mixed):
            loss = criterion(forward(batch_x), batch_y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    if name in WORKERS:
        workers = WORKERS[name]
        loader = DataLoader(
            TensorDataset(x, y),
            batch_size=batch_rows,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=mixed,
        )

        def _batches():
            for batch in loader:
                yield (leaf.to(device, non_blocking=True) for leaf in batch)
    else:
        x, y = x.to(device), y.to(device)

        def _batches():
            order = torch.randperm(len(x), device=device)
            for start in range(0, len(x), batch_rows):
                index = order[start : start + batch_rows]
                yield x.index_select(0, index), y.index_select(0, index)

    def _epoch() -> float:
        net.train()
        losses = []
        for batch_x, batch_y in _batches():
            loss = _step(batch_x, batch_y)
            # the document reads the loss of each batch; without that nothing waits for it
            losses.append(loss.item() if name in WORKERS else loss.detach())
        return float(sum(losses)) / len(losses)

    return _epoch


def main(folder: Path) -> None:
    """Train by the requested loops; a line of JSON for each epoch."""
    setting = json.loads((folder / "setting.json").read_text(encoding="utf-8"))
    torch.set_num_threads(setting["threads"])
    torch.manual_seed(0)
    with np.load(folder / "rows.npz") as file:
        x, y = torch.from_numpy(file["x"]), torch.from_numpy(file["y"])[:, None]
    with np.load(folder / "weights.npz") as file:
        arrays = dict(file)
    loops = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in loops:
            net = copied(network(x.shape[1], **setting["network"]), arrays)
            loops[name] = loop(name, net, x, y, **setting["training"])
        start = time.perf_counter()
        loss = loops[name]()
        print(json.dumps({"seconds": time.perf_counter() - start, "loss": loss}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
