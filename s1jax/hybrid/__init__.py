"""Deep learning and Gaussian process together: `hybrid` and `ensemble`."""

from s1jax.hybrid.config import HybridConfig
from s1jax.hybrid.ensemble import EnsembleParams, ensemble
from s1jax.hybrid.residual import HybridParams, SwitchParams, hybrid

__all__ = ["EnsembleParams", "HybridConfig", "HybridParams", "SwitchParams", "ensemble", "hybrid"]
