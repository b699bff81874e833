"""Networks over a whole series: every date's output sees every other date.

The time axis is the first, so that a shift in time is a slice of whole rows, and each layer is one
large matrix product over (time x pixel) rows.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_ZERO = nn.initializers.zeros_init()


class TCN(nn.Module):
    """Residual network of dilated convolutions in time, three dates wide each.

    A block adds W2 relu(sum_k V_k relu(h)[t + (k - 1) d] + U mean_t relu(h)) to h. The mean over
    the series tells every date what is common to all of them, the pixel's level say. W2 starts at
    zero, so that a new network is linear.
    """

    outputs: int
    """Numbers per date."""
    width: int = 64
    """Channels."""
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 1, 2, 4, 8, 16)
    """Step d of each block's convolution, dates."""
    dtype: str | None = None
    """Of the products, "bfloat16" say; None: that of the input."""

    @nn.compact
    def __call__(self, x: Float[Array, "time pixel channel"]) -> Float[Array, "time pixel output"]:
        """Outputs of every date and pixel, in the precision of the input."""

        def _dense(width, **more):
            return nn.Dense(width, dtype=self.dtype or x.dtype, param_dtype=x.dtype, **more)

        h = _dense(self.width)(x)
        for dilation in self.dilations:
            u = nn.relu(h)
            v = _dense(self.width)(_around(u, dilation))
            v = v + _dense(self.width, use_bias=False)(u.mean(0, keepdims=True))
            h = h + _dense(self.width, kernel_init=_ZERO)(nn.relu(v))
        return _dense(self.outputs)(nn.relu(h)).astype(x.dtype)


class Window(nn.Module):
    """Fully connected network on the dates around each date, zero beyond the ends."""

    outputs: int
    """Numbers per date."""
    hidden: tuple[int, ...] = (128, 64)
    """Width of each hidden layer."""
    window: int = 5
    """Dates seen to either side."""
    dtype: str | None = None
    """Of the products, "bfloat16" say; None: that of the input."""

    @nn.compact
    def __call__(self, x: Float[Array, "time pixel channel"]) -> Float[Array, "time pixel output"]:
        """Outputs of every date and pixel, in the precision of the input."""
        dates = x.shape[0]
        padded = jnp.pad(x, ((self.window, self.window), (0, 0), (0, 0)))
        lags = range(2 * self.window + 1)
        h = jnp.concatenate([padded[lag : lag + dates] for lag in lags], axis=-1)
        for width in self.hidden:
            h = nn.relu(nn.Dense(width, dtype=self.dtype or x.dtype, param_dtype=x.dtype)(h))
        h = nn.Dense(self.outputs, dtype=self.dtype or x.dtype, param_dtype=x.dtype)(h)
        return h.astype(x.dtype)


class GRU(nn.Module):
    """Bidirectional gated recurrent network, in layers."""

    outputs: int
    """Numbers per date."""
    width: int = 64
    """State of each direction."""
    layers: int = 2
    """Recurrent layers."""
    dtype: str | None = None
    """Of the products, "bfloat16" say; None: that of the input."""

    @nn.compact
    def __call__(self, x: Float[Array, "time pixel channel"]) -> Float[Array, "time pixel output"]:
        """Outputs of every date and pixel, in the precision of the input."""
        dtype = self.dtype or x.dtype
        h = x
        for _ in range(self.layers):
            ways = []
            for reverse in (False, True):
                cell = nn.GRUCell(self.width, dtype=dtype, param_dtype=x.dtype)
                ways.append(nn.RNN(cell, time_major=True, reverse=reverse, keep_order=True)(h))
            h = jnp.concatenate(ways, axis=-1)
        h = nn.relu(nn.Dense(self.width, dtype=dtype, param_dtype=x.dtype)(h))
        return nn.Dense(self.outputs, dtype=dtype, param_dtype=x.dtype)(h).astype(x.dtype)


def _around(h, dilation):
    """The date `dilation` before, the date and the one after, side by side; zero past the ends."""
    lag = min(dilation, h.shape[0])
    gap = jnp.zeros((lag, *h.shape[1:]), h.dtype)
    before = jnp.concatenate([gap, h])[: h.shape[0]]
    after = jax.lax.slice_in_dim(jnp.concatenate([h, gap]), lag, lag + h.shape[0])
    return jnp.concatenate([before, h, after], axis=-1)
