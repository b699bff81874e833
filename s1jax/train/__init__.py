"""Training: an epoch is one loop over on-device batches; validation loss decides everything."""

from s1jax.train.config import TrainConfig, batch_size, plan
from s1jax.train.epoch import Data, Loss, State, Variables, rows
from s1jax.train.fit import fit
from s1jax.train.keep import FILE, restore, save, saving

__all__ = [
    "FILE",
    "Data",
    "Loss",
    "State",
    "TrainConfig",
    "Variables",
    "batch_size",
    "fit",
    "plan",
    "restore",
    "rows",
    "save",
    "saving",
]
