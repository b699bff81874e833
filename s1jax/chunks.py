"""Many pixels through a function of few: chunks of one shape, so one trace and bounded memory."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from s1jax.forked import refuse_forked
from s1jax.progress import bar


def shape(n: int, *, most: int, step: int = 1) -> int:
    """Pixels of a call: the least step * 2^k that holds `n`, or whole steps up to `most`.

    As many shapes as powers of two, not as many as numbers of pixels: each is a program to compile.
    """
    size = step
    while size < min(n, most):
        size *= 2
    return min(size, max(most - most % step, step))


def map_pixels(
    function: Callable[[PyTree], PyTree], arrays: PyTree, *, chunk: int, label: str
) -> PyTree:
    """`function(arrays)`, computed `chunk` pixels at a time and gathered on the host.

    Args:
      function: takes and returns pytrees whose leaves have the pixels on their first axis; it is
        called with exactly `chunk` pixels each time (the last chunk is filled up with copies of its
        last pixel), so a jitted function is traced once and memory does not grow with the scene.
      arrays: pytree of arrays with the pixels on the first axis.
      chunk: pixels per call, also where there are fewer in all.
      label: what the progress bar says; it appears after two seconds.

    Returns:
      NumPy arrays with the pixels on the first axis, in the order given.

    Raises:
      ValueError: no pixel, or leaves that disagree in their number of pixels.
      RuntimeError: in a process that was forked after its parent used JAX.
    """
    refuse_forked()
    sizes = {leaf.shape[0] for leaf in jax.tree.leaves(arrays)}
    if sizes == {0}:
        raise ValueError("series: got no pixel, expected at least one")
    if len(sizes) != 1:
        raise ValueError(f"pixels on the first axis: got sizes {sorted(sizes)}, expected one size")
    (n,) = sizes
    parts, waiting = [], None

    def _fetched(start, part):
        keep = min(chunk, n - start)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:keep], part)

    for start in bar(range(0, n, chunk), label, "chunk"):
        index = np.minimum(np.arange(start, start + chunk), n - 1)
        part = function(jax.tree.map(lambda leaf, i=index: jnp.asarray(leaf[i]), arrays))
        # the next chunk is computed while this one is fetched
        if waiting is not None:
            parts.append(_fetched(*waiting))
        waiting = start, part
    parts.append(_fetched(*waiting))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
