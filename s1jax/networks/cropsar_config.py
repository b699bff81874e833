"""What can be chosen about a patch model."""

from dataclasses import dataclass, field
from typing import Literal

from s1jax.train import TrainConfig


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
    """Dates seen, the date itself in their middle; none: the whole series."""
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
    """See the pixel's own NDVI of other dates where it is known."""
    mixture: bool = True
    """Let labels be lower than the truth by residual cloud, with a probability told per date."""
    elsewhere: float = 1.0
    """Factor of the bands where another district or year is predicted than that of the validation
    pixels, 1."""
    adversarial: float = 0.05
    """Weight of what the discriminator says, beside 1 of the likelihood."""
    patches: int = 128
    """Patches of an epoch, at least: on a small map the same ones are cut again, elsewhere."""
    chunk: int = 16
    """Patches per call of a prediction."""
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            learning_rate=2e-3, schedule="cosine", clip=1.0, batch_rows=2, batches=8, epochs=20
        )
    )
    """How it is trained; a row is a patch."""

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
