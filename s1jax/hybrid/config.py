"""What can be chosen about a hybrid."""

from dataclasses import dataclass, field

from s1jax.mogpr import MogprConfig
from s1jax.networks import SequenceConfig, TcnS1Config


@dataclass(frozen=True)
class HybridConfig:
    """A network's mean, and a Gaussian process over what it leaves of the pixel's own NDVI."""

    network: SequenceConfig = field(default_factory=TcnS1Config)
    """The mean: Sentinel-1 alone."""
    process: MogprConfig = field(
        default_factory=lambda: MogprConfig(latents=1, inputs="none", mean="zero", hyper="region")
    )
    """The process over the residual."""
    threshold: float | None = None
    """Share of dates with NDVI from which on a pixel is MOGPR's alone and below which it is the
    network's, instead of both together; none: both together."""
    elsewhere: float = 1.0
    """Factor of the band where another district or year is predicted than that of the validation
    pixels, 1; a switch has none but those of its parts."""
    switched: MogprConfig = field(default_factory=MogprConfig)
    """The MOGPR of a switch; without a threshold it is not used."""
