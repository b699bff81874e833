"""One-pixel functions over many pixels: lanes, batches of one shape, all devices."""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import PyTree
from threadpoolctl import threadpool_limits

from s1jax.forked import refuse_forked

_OPTIONS = {
    # many small operations after one another: scheduling them for concurrency takes longer
    "xla_cpu_enable_concurrency_optimized_scheduler": False,
    # the loops of the newer emitters are not vectorised over lanes; the older ones are
    "xla_cpu_use_fusion_emitters": False,
}
"""What makes the recursion over the dates about twice as fast on CPUs."""

_LANES = {"kalman": 256, "quasisep": 32, "dense": 16}
"""Pixels computed together on a CPU: what a pixel stores for all its dates stays in the cache."""
_LARGE_STATE = 4
"""Latents x outputs above which a Kalman state is large, and a quarter of the lanes fit."""
_ONE_CALLER = threading.RLock()
_GPU = 64
"""A GPU is filled by so many times the lanes of a CPU."""


def lanes(solver: str, latents: int, outputs: int) -> int:
    """Pixels that `over_pixels` computes together: as many as are fast with that solver here."""
    count = _LANES[solver]
    if solver == "kalman" and latents * outputs > _LARGE_STATE:
        count //= 4
    return count if jax.default_backend() == "cpu" else count * _GPU


def over_pixels(function: Callable[..., PyTree], *arrays: PyTree, lanes: int) -> PyTree:
    """`function` vmapped over the first axis of `arrays`, `lanes` pixels at a time on each device.

    XLA orders its sums by the shape of a batch; as that is one shape whatever the number of pixels
    and devices, a pixel's result is the same to the last bit wherever it is computed. All local
    devices share the pixels: CPU devices (XLA_FLAGS=--xla_force_host_platform_device_count=CORES
    before JAX starts) and GPUs by the same code. A function that factorises matrices stays on one
    CPU device: LAPACK calls of two of them wait for each other's threads, for ever (jaxlib 0.10.2).

    Args:
      function: of one pixel; what it closes over is copied to every device.
      arrays: pytrees with the pixels on the first axis of every leaf.
      lanes: pixels of a batch.
    """
    refuse_forked()
    devices = 1 if _factorises(function, arrays) else jax.local_device_count()
    n = jax.tree.leaves(arrays)[0].shape[0]
    whole = n + -n % (lanes * devices)
    index = jnp.minimum(jnp.arange(whole), n - 1).reshape(-1, lanes)
    batches = jax.tree.map(lambda leaf: jnp.asarray(leaf)[index], arrays)

    def _share(batches):
        return jax.lax.map(lambda batch: jax.vmap(function)(*batch), batches)

    if devices > 1:
        mesh = jax.sharding.Mesh(np.array(jax.local_devices()), ("pixel",))
        pixel = PartitionSpec("pixel")
        _share = jax.shard_map(
            _share, mesh=mesh, in_specs=(pixel,), out_specs=pixel, check_vma=False
        )
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:n], _share(batches))


def _factorises(function: Callable[..., PyTree], arrays: PyTree) -> bool:
    """Whether LAPACK would be called on a CPU."""
    if jax.default_backend() != "cpu":
        return False
    pixel = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), arrays)
    steps = str(jax.make_jaxpr(function)(*pixel))
    return "cholesky" in steps or "triangular_solve" in steps


def compiled(function: Callable | None = None, *, static_argnames: tuple[str, ...] = ()):
    """`function` jitted with the compiler options that suit long chains of small operations."""
    if function is None:
        return functools.partial(compiled, static_argnames=static_argnames)

    @functools.cache
    def _jitted():
        return jax.jit(
            function, static_argnames=static_argnames, compiler_options=compiler_options()
        )

    @functools.wraps(function)
    def _call(*args, **kwargs):
        refuse_forked()
        return _jitted()(*args, **kwargs)

    return _call


@functools.cache
def compiler_options() -> dict[str, bool]:
    """The options of `compiled` that this XLA has; they come and go with its versions."""
    known = {}
    for name, value in _OPTIONS.items():
        try:
            jax.jit(lambda: jnp.zeros(()), compiler_options={name: value}).lower().compile()
        except jax.errors.JaxRuntimeError:
            continue
        known[name] = value
    return known


@contextmanager
def one_thread() -> Iterator[None]:
    """Context in which OpenBLAS uses one thread, for loops over many pixels; one caller at a time.

    XLA hands each small factorisation to OpenBLAS, whose threads spin against XLA's own, and the
    longer, the more other work the cores share. Of several threads of Python that enter, one goes
    on, as XLA takes all cores for each: factorisations of two programs wait for each other's
    threads, on two cores for ever (jaxlib 0.10.2), and the limit is one of the whole process. A
    thread may enter again where it is in; what it starts inside must have ended when it leaves.
    """
    with _ONE_CALLER, threadpool_limits(limits=1, user_api="blas"):
        yield
