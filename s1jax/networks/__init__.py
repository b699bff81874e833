"""Networks as Estimators: `mlp` of a configuration; `save` and `load` what was learnt."""

from s1jax.networks.config import Mlp3Config, Mlp10Config, MlpConfig
from s1jax.networks.folder import check, load, save
from s1jax.networks.mlp import MlpParams, mlp

__all__ = ["Mlp3Config", "Mlp10Config", "MlpConfig", "MlpParams", "check", "load", "mlp", "save"]
