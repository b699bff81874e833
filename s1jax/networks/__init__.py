"""Networks as Estimators: `mlp` of one date, `sequence` of a whole series; `save` and `load`."""

from s1jax.networks.bands import ELSEWHERE, PLAIN, Bands, applied, bands
from s1jax.networks.beyond import PRIOR, Level, level_of, widened
from s1jax.networks.config import (
    BirnnConfig,
    CnpConfig,
    Mlp3Config,
    Mlp10Config,
    MlpConfig,
    MlpWindowConfig,
    SequenceConfig,
    TcnS1Config,
)
from s1jax.networks.cropsar import CropsarParams, cropsar
from s1jax.networks.cropsar_config import CropsarConfig
from s1jax.networks.dates import Dates, Moments, dates, moments, standardise
from s1jax.networks.folder import check, load, save
from s1jax.networks.learning import learn
from s1jax.networks.levels import quantiles
from s1jax.networks.mlp import MlpParams, mlp
from s1jax.networks.model import SequenceParams, adapt, initial
from s1jax.networks.pretrained import about_pretrained, pretrained
from s1jax.networks.quality import CLIPPED, IMPLAUSIBLE, NO_DATA, flagged
from s1jax.networks.sequence import fill, fine_tune, sequence, shipped

__all__ = [
    "CLIPPED",
    "ELSEWHERE",
    "IMPLAUSIBLE",
    "NO_DATA",
    "PLAIN",
    "PRIOR",
    "Bands",
    "BirnnConfig",
    "CnpConfig",
    "CropsarConfig",
    "CropsarParams",
    "Dates",
    "Level",
    "Mlp3Config",
    "Mlp10Config",
    "MlpConfig",
    "MlpParams",
    "MlpWindowConfig",
    "Moments",
    "SequenceConfig",
    "SequenceParams",
    "TcnS1Config",
    "about_pretrained",
    "adapt",
    "applied",
    "bands",
    "check",
    "cropsar",
    "dates",
    "fill",
    "fine_tune",
    "flagged",
    "initial",
    "learn",
    "level_of",
    "load",
    "mlp",
    "moments",
    "pretrained",
    "quantiles",
    "save",
    "sequence",
    "shipped",
    "standardise",
    "widened",
]
