"""Network architectures (linen): arrays in, arrays out; no units, no dates."""

from s1jax.nets.mlp import MLP
from s1jax.nets.sequence import GRU, TCN, Window
from s1jax.nets.unet import AttentionUNet, Discriminator

__all__ = ["GRU", "MLP", "TCN", "AttentionUNet", "Discriminator", "Window"]
