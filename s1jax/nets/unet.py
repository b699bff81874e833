"""Networks over patches of a map: convolutions in space and in time, with attention gates.

The time axis is the first, as in `s1jax.nets.sequence`; beyond the edges of a patch and the ends of
a series is zero.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_OF_NINE = nn.initializers.variance_scaling(1.0 / 3.0, "fan_in", "truncated_normal")
"""Of products of which three are added."""


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
        v = sum(_beside(row, 2, 1)[place] for place, row in enumerate(rows))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.width,), dtype)
        return u + nn.relu(v + bias[None, None, None, None])


class Gate(nn.Module):
    """Attention gate, alpha x with alpha = sigmoid(psi(relu(W_x x + W_g g))) in (0, 1).

    Of Attention U-Net (Oktay et al. 2018): what the coarser level g knows decides which pixels of a
    skip connection x pass.
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
