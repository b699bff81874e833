"""What can be chosen about a training."""

from dataclasses import dataclass
from typing import Literal

_CHOICES = 10
"""Passes among which validation can choose, at least, where `steps` bounds them."""


@dataclass(frozen=True)
class TrainConfig:
    """AdamW, a learning rate that falls, and early stopping by the validation loss."""

    learning_rate: float = 1e-3
    """Initial learning rate of AdamW, 1."""
    schedule: Literal["plateau", "cosine"] = "plateau"
    """How the learning rate falls: after epochs without a better validation loss, or along a cosine
    to zero over all epochs, after a rise over the first twentieth."""
    clip: float | None = None
    """Longest gradient, by its norm; none: any."""
    weight_decay: float = 1e-5
    """Decoupled weight decay of AdamW, 1."""
    batch_rows: int = 256_000
    """Rows of a batch, at most; a power of two below it where the data give less than `batches` of
    them."""
    batches: int = 64
    """Batches of an epoch, at least."""
    epochs: int = 150
    """Passes over the training rows, at most."""
    steps: int | None = None
    """Batches learnt from in all, at most; none: any. Passes are fewer, and where less than ten
    would be left cut short, each through other rows, so that validation can choose."""
    plateau_factor: float = 0.5
    """Learning rate factor after a plateau, 1."""
    plateau_patience: int = 10
    """Epochs without a better validation loss before the learning rate falls."""
    patience: int = 20
    """Epochs without a better validation loss before training stops."""
    save_every: int = 10
    """Epochs between two checkpoints, where a folder is given; the last epoch is always kept."""


def batch_size(rows: int, config: TrainConfig) -> int:
    """Rows of a batch: `batch_rows`, or the largest power of two that gives `batches` batches."""
    most = rows // config.batches
    return config.batch_rows if most >= config.batch_rows else 1 << max(most.bit_length() - 1, 0)


def plan(rows: int, config: TrainConfig) -> tuple[int, int]:
    """Passes over so many rows, and batches of each."""
    batches = rows // batch_size(rows, config)
    if config.steps is None:
        return config.epochs, batches
    batches = min(batches, max(1, config.steps // _CHOICES))
    return max(1, min(config.epochs, config.steps // batches)), batches
