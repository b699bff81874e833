"""What a sequence network multiplies, how fast it does, and how fast this machine can."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from experiments.bench import timing
from s1jax.gp import over_pixels
from s1jax.networks import Dates, SequenceConfig, SequenceParams
from s1jax.networks.dates import CHANNELS
from s1jax.networks.likelihood import OUTPUTS
from s1jax.networks.model import tell
from s1jax.networks.pixel import beliefs, lanes_of
from s1jax.types import Series


def flop(config: SequenceConfig, dates: int) -> float:
    """Operations of the matrix products of one pixel; a product and a sum are two.

    2 (T C W + B (3 T W^2 + W^2 + T W^2) + T W O): T dates of C numbers into W channels; B blocks,
    each three dates wide, the mean of the series, and the product that closes it; O outputs.

    Args:
      config: of dilated convolutions.
      dates: T.

    Raises:
      ValueError: another network.
    """
    if config.net != "tcn":
        raise ValueError(f"net: got {config.net!r}, expected 'tcn'")
    width, blocks = config.width, len(config.dilations)
    ends = dates * width * (CHANNELS + OUTPUTS)
    return 2.0 * (ends + blocks * (4 * dates + 1) * width**2)


def matmul_rate(size: int, dtype: str, *, repeats: int = 5) -> float:
    """FLOP/s of a square matrix product on the first device: the best of some.

    Args:
      size: rows and columns.
      dtype: of both sides and of the result.
      repeats: calls, at most.
    """
    a = jax.random.normal(jax.random.key(0), (size, size), jnp.float32).astype(dtype)
    product = jax.jit(jnp.matmul)
    timed, _ = timing.best(lambda: product(a, a).block_until_ready(), repeats)
    return 2.0 * size**3 / timed.seconds


def forward(
    config: SequenceConfig, params: SequenceParams, part: Dates
) -> Callable[[], list[jax.Array]]:
    """What runs the network alone over resident pixels, `config.chunk` a call, all its NDVI seen.

    Args:
      config: of the network.
      params: what it has learnt.
      part: pixels, their radar standardised; a whole number of chunks.
    """

    @jax.jit
    def _chunk(variables, pixels):
        def _one(pixel):
            some = Dates(part.day, *jax.tree.map(lambda leaf: leaf[None], pixel))
            return jax.tree.map(lambda leaf: leaf[:, 0], tell(config, variables, some, some.label))

        return over_pixels(_one, pixels, lanes=lanes_of(pixels))

    chunks = [
        jax.tree.map(lambda leaf, k=k: leaf[k : k + config.chunk], part[1:])
        for k in range(0, len(part.label), config.chunk)
    ]

    def _run():
        return jax.block_until_ready([_chunk(params.variables, chunk) for chunk in chunks])

    return _run


def kb_per_px(config: SequenceConfig, params: SequenceParams, series: Series) -> float:
    """Working memory of a pixel, kB: XLA's temporary buffers of a chunk of `networks.fill`.

    Args:
      config: of the network.
      params: what it has learnt.
      series: any pixels; shapes alone matter.
    """

    def _chunk(leaf):
        return (
            None
            if leaf is None
            else jax.ShapeDtypeStruct((config.chunk, *leaf.shape[1:]), leaf.dtype)
        )

    day = jnp.asarray(series.day)
    part = tuple(_chunk(leaf) for leaf in (*series[1:3], series.smooth, series.wide))
    learnt = params.variables, params.moments
    program = beliefs.lower(*learnt, day, part, config=config).compile()
    return program.memory_analysis().temp_size_in_bytes / config.chunk / 1e3
