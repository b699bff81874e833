"""Fully connected network: one row in, one number out."""

import flax.linen as nn
from jaxtyping import Array, Float

from s1jax.nets.dropout import dropout


class MLP(nn.Module):
    """Fully connected network with one output per row.

    Each hidden layer is dense, batch normalisation (optional), ReLU, dropout (optional); `residual`
    adds each layer's input to its output, through a dense projection where the widths differ.
    """

    hidden: tuple[int, ...]
    """Width of each hidden layer."""
    dropout: tuple[float, ...] = ()
    """Share of units dropped after each hidden layer; layers beyond its length drop none."""
    batch_norm: bool = False
    """Normalise each hidden layer over the batch."""
    residual: bool = False
    """Add a layer's input to its output."""
    tanh: bool = False
    """Squash the output to (-1, 1); only right for a target in that range."""

    @nn.compact
    def __call__(self, x: Float[Array, "*row feature"], *, training: bool) -> Float[Array, "*row"]:
        """Output of each row; `training` switches dropout and batch statistics on."""
        dtype = x.dtype
        rates = (*self.dropout, *(0.0 for _ in self.hidden))
        for width, rate in zip(self.hidden, rates, strict=False):
            h = nn.Dense(width, param_dtype=dtype)(x)
            if self.batch_norm:
                h = nn.BatchNorm(use_running_average=not training, momentum=0.9, param_dtype=dtype)(
                    h
                )
            h = nn.relu(h)
            if rate > 0 and training:
                h = dropout(self.make_rng("dropout"), rate, h)
            if self.residual:
                h = h + (x if x.shape[-1] == width else nn.Dense(width, param_dtype=dtype)(x))
            x = h
        y = nn.Dense(1, param_dtype=dtype)(x)[..., 0]
        return nn.tanh(y) if self.tanh else y
