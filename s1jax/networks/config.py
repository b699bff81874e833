"""What can be chosen about a network."""

from dataclasses import dataclass, field, replace
from typing import Literal

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
    of_db: bool = False
    """Compute the indices from dB as if it were power, to reproduce a fault of published work."""
    tanh: bool = False
    """Squash the output by Tanh, which cannot leave mean +- 1 std of NDVI: the same."""
    balanced: int = 0
    """Ranges of NDVI of equal width that rows are drawn from equally often; 0: every row once."""
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


_TRAIN = TrainConfig(
    learning_rate=2e-3,
    schedule="cosine",
    clip=1.0,
    batch_rows=64,
    batches=8,
    epochs=90,
    steps=1800,
    patience=90,
)


@dataclass(frozen=True)
class SequenceConfig:
    """A network that reads the whole series of a pixel and tells every date at once."""

    net: Literal["tcn", "gru", "window"] = "tcn"
    """Dilated convolutions in time, a bidirectional recurrent network, or a fully connected one on
    the dates around."""
    width: int = 48
    """Channels of the convolutions, or state of each direction."""
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 1, 2, 4, 8, 16)
    """Step of each convolution, dates."""
    layers: int = 2
    """Recurrent layers."""
    hidden: tuple[int, ...] = (128, 64)
    """Width of each fully connected layer."""
    window: int = 5
    """Dates that these see to either side."""
    ndvi: bool = True
    """See the pixel's own NDVI of other dates where it is known."""
    radar: bool = True
    """See Sentinel-1."""
    spatial: bool = True
    """See the means over 3 x 3 and 7 x 7 pixels, where the series has them."""
    mixture: bool = True
    """Let labels be lower than the truth by residual cloud, with a probability told per date."""
    pretrained: bool = False
    """Go on from the weights that s1jax ships, instead of from random ones."""
    elsewhere: float = 1.0
    """Factor of the bands where another district or year is predicted than that of the validation
    pixels, 1."""
    gain: float = 0.1
    """Spread of the factor each radar channel of a pixel is multiplied by in training, 1."""
    bias: float = 0.25
    """Spread of what is added to it, standard deviations of the channel."""
    bfloat16: bool = False
    """Multiply in bfloat16, which GPUs do faster."""
    chunk: int = 512
    """Pixels per call of a prediction."""
    train: TrainConfig = _TRAIN
    """How it is trained; a row is a pixel."""


@dataclass(frozen=True)
class MlpWindowConfig(SequenceConfig):
    """What plain features can reach: radar of five dates to either side, fully connected."""

    net: Literal["tcn", "gru", "window"] = "window"
    ndvi: bool = False


@dataclass(frozen=True)
class BirnnConfig(SequenceConfig):
    """Bidirectional recurrent network in the manner of SenRVM and BRIOS, with the inputs and the
    hidden NDVI of `cnp`; from random weights, in three times the steps."""

    net: Literal["tcn", "gru", "window"] = "gru"


@dataclass(frozen=True)
class CnpConfig(SequenceConfig):
    """Conditional neural process: the network conditioned on the pixel's own sparse NDVI, which
    goes on from the weights that s1jax ships."""

    pretrained: bool = True
    train: TrainConfig = replace(_TRAIN, steps=600)  # noqa: RUF009 (frozen)


@dataclass(frozen=True)
class TcnS1Config(CnpConfig):
    """`cnp` that sees Sentinel-1 alone, over the whole series."""

    ndvi: bool = False
