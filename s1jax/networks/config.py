"""What can be chosen about a network."""

from dataclasses import dataclass, field

from s1jax.features import DOCUMENT_3, DOCUMENT_10
from s1jax.train import TrainConfig


@dataclass(frozen=True)
class MlpConfig:
    """A fully connected network on the features of a single date."""

    features: tuple[str, ...] = DOCUMENT_3
    """Names of the input features, in order."""
    hidden: tuple[int, ...] = (64, 32)
    """Width of each hidden layer."""
    dropout: tuple[float, ...] = ()
    """Share of units dropped after each hidden layer, 1."""
    batch_norm: bool = False
    """Normalise each hidden layer over the batch."""
    residual: bool = False
    """Add each hidden layer's input to its output."""
    classic: bool = False
    """Reproduce the faults of the published baseline: indices of dB values, Tanh on a z-score."""
    pad_mode: str = "edge"
    """What stands before the first and after the last date, a mode of `jnp.pad`."""
    chunk: int = 1024
    """Pixels per call of a prediction."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How it is trained."""


@dataclass(frozen=True)
class Mlp3Config(MlpConfig):
    """The single-date baseline: VV, VH, RVI through 64-32."""


@dataclass(frozen=True)
class Mlp10Config(MlpConfig):
    """Ten features of a date and the one before, through 256-128-64-32-16."""

    features: tuple[str, ...] = DOCUMENT_10
    hidden: tuple[int, ...] = (256, 128, 64, 32, 16)
    dropout: tuple[float, ...] = (0.2, 0.2, 0.2, 0.1)
    batch_norm: bool = True
