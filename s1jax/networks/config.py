"""Options of the networks."""

from dataclasses import dataclass, field, replace
from typing import Literal

from s1jax.features import SINGLE_DATE, WITH_PREVIOUS
from s1jax.train import TrainConfig


@dataclass(frozen=True)
class MlpConfig:
    """A fully connected network on the features of a single date."""

    features: tuple[str, ...] = SINGLE_DATE
    """Names of the input features, in order."""
    hidden: tuple[int, ...] = (64, 32)
    """Width of each hidden layer."""
    dropout: tuple[float, ...] = ()
    """Share of units dropped after each hidden layer."""
    batch_norm: bool = False
    """Normalise each hidden layer over the batch."""
    residual: bool = False
    """Add each hidden layer's input to its output."""
    indices_from_db: bool = False
    """Compute the indices from dB as if it were power, to reproduce a fault of published work."""
    tanh: bool = False
    """Squash the output by Tanh, which confines it to mean +- 1 std of NDVI: another such fault."""
    balanced: int = 0
    """Ranges of NDVI of equal width that rows are drawn from equally often; 0: every row once."""
    pad_mode: str = "edge"
    """What precedes the first and follows the last date, a mode of `jnp.pad`."""
    chunk: int = 1024
    """Pixels per call of a prediction."""
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True)
class Mlp3Config(MlpConfig):
    """The single-date baseline: VV, VH, RVI through 64-32."""


@dataclass(frozen=True)
class Mlp10Config(MlpConfig):
    """Ten features of a date and the one before, through 256-128-64-32-16."""

    features: tuple[str, ...] = WITH_PREVIOUS
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
    """A network that reads the whole series of a pixel and estimates NDVI on every date at once."""

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
    """Dates that a fully connected network sees to either side."""
    ndvi: bool = True
    """See the pixel's own valid NDVI of other dates."""
    radar: bool = True
    """See Sentinel-1."""
    spatial: bool = True
    """See the means over 3 x 3 and 7 x 7 pixels, where the series has them."""
    mixture: bool = True
    """Model residual cloud: with a predicted probability a label lies below the truth."""
    pretrained: bool = False
    """Start from the weights that s1jax ships, instead of from random ones."""
    inflation: float = 1.0
    """Factor of the bands where the network predicts another district or year than that of the
    validation pixels."""
    gain_jitter: float = 0.1
    """Spread of the factor of each radar channel of a pixel in training."""
    offset_jitter: float = 0.25
    """Spread of what training adds to it, standard deviations of the channel."""
    bfloat16: bool = False
    """Multiply in bfloat16, which GPUs do faster."""
    chunk: int = 512
    """Pixels per call of a prediction."""
    train: TrainConfig = _TRAIN
    """A row is a pixel."""


@dataclass(frozen=True)
class MlpWindowConfig(SequenceConfig):
    """What plain features can reach: radar of five dates to either side, fully connected."""

    net: Literal["tcn", "gru", "window"] = "window"
    ndvi: bool = False


@dataclass(frozen=True)
class BirnnConfig(SequenceConfig):
    """Bidirectional recurrent network in the manner of SenRVM and BRIOS, with the inputs and the
    withheld NDVI of `cnp`; from random weights, in three times the steps."""

    net: Literal["tcn", "gru", "window"] = "gru"


@dataclass(frozen=True)
class CnpConfig(SequenceConfig):
    """Conditional neural process: the network conditioned on the pixel's own sparse NDVI, which
    starts from the weights that s1jax ships."""

    pretrained: bool = True
    train: TrainConfig = replace(_TRAIN, steps=600)  # noqa: RUF009 (frozen)


@dataclass(frozen=True)
class TcnS1Config(CnpConfig):
    """`cnp` that sees Sentinel-1 alone, over the whole series."""

    ndvi: bool = False


@dataclass(frozen=True)
class CropsarConfig:
    """A patch model in the manner of CropSAR: an attention U-Net over the radar of a square of
    pixels, and for each pixel a head that also sees the pixel's own NDVI.

    `model="GAN"` trains the same network against a discriminator too.
    """

    model: Literal["AttentionUNet", "GAN"] = "AttentionUNet"
    """The U-Net by its likelihood alone, or against a discriminator beside it."""
    patch: int = 16
    """Side of a patch, pixels; a multiple of 4."""
    window: int | None = 5
    """Dates seen, the date itself in their middle; None: the whole series."""
    levels: int = 3
    """Of the U-Net, each at half the pixels a side of the one before."""
    width: int = 12
    """Channels of the U-Net's finest level."""
    hidden: tuple[int, ...] = (32, 32)
    """Width of each layer of the head, of a window."""
    channels: int = 16
    """Channels of the head, of the whole series."""
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Step of each convolution in time of the head, dates, of the whole series."""
    ndvi: bool = True
    """See the pixel's own valid NDVI of other dates."""
    mixture: bool = True
    """Model residual cloud, as of `SequenceConfig`."""
    inflation: float = 1.0
    """Factor of the bands, as of `SequenceConfig`."""
    adversarial: float = 0.05
    """Weight of the game with the discriminator, beside 1 of the likelihood."""
    patches: int = 128
    """Patches of an epoch, at least: a small map is cut again, elsewhere."""
    chunk: int = 16
    """Patches per call of a prediction."""
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            learning_rate=2e-3, schedule="cosine", clip=1.0, batch_rows=2, batches=8, epochs=20
        )
    )
    """A row is a patch."""

    def __post_init__(self):
        """Check what would otherwise fail far from its cause.

        Raises:
          ValueError: a model, patch or window that cannot be.
        """
        if self.model not in ("AttentionUNet", "GAN"):
            raise ValueError(f"model: got {self.model!r}, expected 'AttentionUNet' or 'GAN'")
        least = max(4, 2 ** (self.levels - 1))
        if self.levels < 1 or self.patch < least or self.patch % least:
            got = f"{self.levels}, {self.patch}"
            expected = f"1 level or more and a multiple of {least} pixels"
            raise ValueError(f"levels, patch: got {got}, expected {expected}")
        if self.window is not None and (self.window < 3 or self.window % 2 == 0):
            raise ValueError(f"window: got {self.window}, expected an odd number >= 3, or None")
        if self.patches < 1 or self.chunk < 1:
            got = f"{self.patches}, {self.chunk}"
            raise ValueError(f"patches, chunk: got {got}, expected 1 or more")
