"""Networks as Estimators: `mlp` of one date, `sequence` of a whole series, `cropsar` of patches."""

from s1jax.networks.config import (
    BirnnConfig,
    CnpConfig,
    CropsarConfig,
    Mlp3Config,
    Mlp10Config,
    MlpConfig,
    MlpWindowConfig,
    SequenceConfig,
    TcnS1Config,
)
from s1jax.networks.mlp import MlpParams, mlp
from s1jax.networks.model import SequenceParams, adapt
from s1jax.networks.patch import CropsarParams, cropsar
from s1jax.networks.pretrained import about_pretrained, pretrained
from s1jax.networks.sequence import (
    fine_tune,
    predict,
    pretrained_estimator,
    quantiles,
    sequence,
)

__all__ = [
    "BirnnConfig",
    "CnpConfig",
    "CropsarConfig",
    "CropsarParams",
    "Mlp3Config",
    "Mlp10Config",
    "MlpConfig",
    "MlpParams",
    "MlpWindowConfig",
    "SequenceConfig",
    "SequenceParams",
    "TcnS1Config",
    "about_pretrained",
    "adapt",
    "cropsar",
    "fine_tune",
    "mlp",
    "predict",
    "pretrained",
    "pretrained_estimator",
    "quantiles",
    "sequence",
]
