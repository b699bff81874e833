"""Network architectures (linen): arrays in, arrays out; no units, no dates.

The time axis is the first, so that a shift in time is a slice of whole rows, and each layer is one
large matrix product over (time x pixel) rows; beyond the ends of a series and the edges of a patch
is zero. `outputs` are the numbers per date, `width` the channels, `dtype` that of the products
("bfloat16", say; None: that of the input).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from s1jax.types import Key

_ZERO = nn.initializers.zeros_init()
_OF_NINE = nn.initializers.variance_scaling(1.0 / 3.0, "fan_in", "truncated_normal")
"""Of products of which three are added."""
_STEPS = 256
"""Values of a byte."""


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


def kept(rate: float) -> int:
    """How many of 256 equally likely bytes keep a unit.

    Raises:
      ValueError: a rate that is not in [0, 1) once rounded to 1/256.
    """
    steps = _STEPS - round(rate * _STEPS)
    if not 0 < steps <= _STEPS:
        raise ValueError(
            f"dropout: got {rate}, expected a share of at least 0 and below 255.5 / 256"
        )
    return steps


def dropout(key: Key, rate: float, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`x` with units at zero with probability `rate`, the others over the share that is kept.

    The rate is rounded to 1/256 and the scale with it, so that the mean stays that of `x`. Four
    units share a random word: random numbers are what dropout costs (Srivastava et al. 2014,
    section 4, with the scale at training time).

    Raises:
      ValueError: what `kept` raises.
    """
    steps = kept(rate)
    words = jax.random.bits(key, (-(-x.size // 4),), jnp.uint32)
    bytes_ = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)[: x.size]
    keep = bytes_.reshape(x.shape) <= jnp.uint8(steps - 1)
    return jnp.where(keep, x * (_STEPS / steps), jnp.zeros((), x.dtype))


class TCN(nn.Module):
    """Residual network of dilated convolutions in time, three dates wide each.

    A block adds W2 relu(sum_k V_k relu(h)[t + (k - 1) d] + U mean_t relu(h)) to h. The mean over
    the series shows every date what all have in common, the pixel's level say. W2 starts at
    zero, so that a new network is linear.
    """

    outputs: int
    width: int = 64
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 1, 2, 4, 8, 16)
    """Step d of each block's convolution, dates."""
    dtype: str | None = None

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
    hidden: tuple[int, ...] = (128, 64)
    """Width of each hidden layer."""
    window: int = 5
    """Dates seen to either side."""
    dtype: str | None = None

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
    width: int = 64
    """State of each direction."""
    layers: int = 2
    """Recurrent layers."""
    dtype: str | None = None

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


class Block(nn.Module):
    """u + relu(conv(u)), conv 3 x 3 pixels wide, where u = relu(conv of three dates).

    Both convolutions are products of whole rows: inside a loop, as of an epoch, those of XLA take
    ten times as long on a CPU.
    """

    width: int
    """Channels."""
    dilation: int = 0
    """Step of the convolution in time, dates; 0: u sees its own date alone."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "time patch y x channel"]
    ) -> Float[Array, "time patch y x width"]:
        """Features of every date and pixel."""
        dtype = x.dtype
        if self.dilation:
            x = jnp.concatenate(_beside(x, 0, self.dilation), axis=-1)
        u = nn.relu(nn.Dense(self.width, param_dtype=dtype, name="in_time")(x))
        # pixels of a row side by side give what each row of the three adds to the one it is near
        in_space = nn.Dense(
            3 * self.width, use_bias=False, kernel_init=_OF_NINE, param_dtype=dtype, name="in_space"
        )
        rows = jnp.split(in_space(jnp.concatenate(_beside(u, 3, 1), axis=-1)), 3, axis=-1)
        v = sum(_beside(row, 2, 1)[k] for k, row in enumerate(rows))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.width,), dtype)
        return u + nn.relu(v + bias[None, None, None, None])


class Gate(nn.Module):
    """Attention gate, alpha x with alpha = sigmoid(psi(relu(W_x x + W_g g))) in (0, 1).

    Of Attention U-Net (Oktay et al. 2018): the coarser level g decides which pixels of a skip
    connection x pass.
    """

    width: int
    """Numbers in which x and g are compared."""

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "time patch y x channel"],
        g: Float[Array, "time patch coarse_y coarse_x coarse_channel"],
    ) -> Float[Array, "time patch y x channel"]:
        """The skip connection, weighted; g has half the pixels a side."""
        dtype = x.dtype
        of_x = nn.Dense(self.width, use_bias=False, param_dtype=dtype, name="of_x")(x)
        of_g = nn.Dense(self.width, param_dtype=dtype, name="of_g")(g)
        psi = nn.Dense(1, param_dtype=dtype, name="psi")(nn.relu(of_x + doubled(of_g)))
        return nn.sigmoid(psi) * x


class AttentionUNet(nn.Module):
    """U-Net over patches of every date, with attention gates on its skip connections.

    Each level of the contracting path mixes dates, then pixels (`Block`), at half the pixels a side
    and twice the channels of the one before; the expanding path mixes pixels alone. A date sees
    sum(dilations) dates to either side.
    """

    width: int = 12
    """Channels of the finest level."""
    dilations: tuple[int, ...] = (1, 1, 0)
    """Step in time of each level, the finest first, dates; 0: none there. As many levels."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "time patch y x channel"]
    ) -> Float[Array, "time patch y x width"]:
        """Features of every date and pixel.

        Raises:
          ValueError: sides that cannot be halved once for each level but the finest.
        """
        least = 2 ** (len(self.dilations) - 1)
        if x.shape[2] % least or x.shape[3] % least:
            got = f"{x.shape[2]} x {x.shape[3]} pixels"
            raise ValueError(f"patch: got {got}, expected multiples of {least}")
        skips, h = [], x
        for level, dilation in enumerate(self.dilations):
            h = Block(self.width * 2**level, dilation)(halved(h) if level else h)
            skips.append(h)
        for level in reversed(range(len(skips) - 1)):
            width = self.width * 2**level
            passed = Gate(width)(skips[level], h)
            up = doubled(nn.Dense(width, param_dtype=x.dtype)(h))
            h = Block(width)(jnp.concatenate([passed, up], axis=-1))
        return h


class Discriminator(nn.Module):
    """Patch discriminator: is each square of 4 x 4 pixels and its surroundings observed, or made?

    Scores without bound, for least squares (LSGAN): 1 stands for observed, 0 for made.
    """

    width: int = 8
    """Channels of the finest level."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "time patch y x channel"]
    ) -> Float[Array, "time patch quarter_y quarter_x"]:
        """Score of every date and square."""
        h = halved(Block(self.width, 1)(x))
        h = halved(Block(2 * self.width, 1)(h))
        return nn.Dense(1, param_dtype=x.dtype)(h)[..., 0]


def halved(
    x: Float[Array, "time patch y x channel"],
) -> Float[Array, "time patch half_y half_x channel"]:
    """Means over 2 x 2 pixels."""
    time, patch, height, width, channels = x.shape
    return x.reshape(time, patch, height // 2, 2, width // 2, 2, channels).mean((3, 5))


def doubled(
    x: Float[Array, "time patch y x channel"],
) -> Float[Array, "time patch double_y double_x channel"]:
    """Every pixel as 2 x 2."""
    return jnp.repeat(jnp.repeat(x, 2, axis=2), 2, axis=3)


def _beside(x, axis, step):
    """What lies `step` before along an axis, x itself, and what lies after; zero past the ends."""
    size = x.shape[axis]
    pad = [(step, step) if k == axis else (0, 0) for k in range(x.ndim)]
    padded = jnp.pad(x, pad)
    return [jax.lax.slice_in_dim(padded, k * step, k * step + size, axis=axis) for k in range(3)]
