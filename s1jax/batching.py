"""Functions of one pixel over many: batches on the devices, chunks on the host, progress bars."""

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import PyTree
from threadpoolctl import threadpool_limits
from tqdm import tqdm

_P = ParamSpec("_P")
_R = TypeVar("_R")
_OPTIONS = {
    # many small operations after one another: scheduling them for concurrency takes longer
    "xla_cpu_enable_concurrency_optimized_scheduler": False,
    # the loops of the newer emitters are not vectorised over lanes; the older ones are
    "xla_cpu_use_fusion_emitters": False,
}
"""What makes the recursion over the dates about twice as fast on CPUs."""

_LANES = {"kalman": 256, "dense": 16}
"""Pixels computed together on a CPU: what a pixel stores for all its dates stays in the cache."""
_LARGE_STATE = 4
"""Latents x outputs above which a Kalman state is large, and a quarter of the lanes fit."""
_GPU = 64
"""A GPU is filled by so many times the lanes of a CPU."""
_ONE_CALLER = threading.RLock()
_TITLE: ContextVar[str] = ContextVar("title", default="")
_forked_beside_jax = False
"""In a forked process JAX's threads stay behind in the parent, and programs never end."""


@contextmanager
def titled(title: str) -> Iterator[None]:
    """Context in which progress bars and log lines of a method carry this text."""
    token = _TITLE.set(title)
    try:
        yield
    finally:
        _TITLE.reset(token)


def title_or(default: str) -> str:
    """The title of the context; `default` outside of any."""
    return _TITLE.get() or default


def bar(items: Iterable, label: str, unit: str) -> tqdm:
    """`items` with a bar that appears after two seconds and goes when the stage ends.

    A bar bears the title of the context, else `label`; where the output is a log, its lines are
    rare. One item is a `unit`.
    """
    pause = 0.2 if sys.stderr.isatty() else 15.0
    return tqdm(items, desc=title_or(label), unit=unit, delay=2, leave=False, mininterval=pause)


def batch_size(solver: str, latents: int, outputs: int) -> int:
    """Pixels that `vmap_pixels` computes together: as many as are fast with that solver here."""
    count = _LANES[solver]
    if solver == "kalman" and latents * outputs > _LARGE_STATE:
        count //= 4
    return count if jax.default_backend() == "cpu" else count * _GPU


def vmap_pixels(function: Callable[..., PyTree], *arrays: PyTree, lanes: int) -> PyTree:
    """`function` vmapped over the first axis of `arrays`, `lanes` pixels at a time on each device.

    XLA orders its sums by the shape of a batch; as that is one shape whatever the number of pixels
    and devices, a pixel's result is the same to the last bit wherever it is computed. All local
    devices share the pixels: CPU devices (XLA_FLAGS=--xla_force_host_platform_device_count=CORES
    before JAX starts) and GPUs by the same code. A function that factorises matrices stays on one
    CPU device: LAPACK calls of two of them wait for each other's threads, for ever (jaxlib 0.10.2).
    What the function closes over is copied to every device.
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


def jit_recursion(
    function: Callable[_P, _R], *, static_argnames: tuple[str, ...] = ()
) -> Callable[_P, _R]:
    """`function` jitted with the compiler options that suit long chains of small operations."""

    @functools.cache
    def _jitted():
        options = compiler_options()
        return jax.jit(function, static_argnames=static_argnames, compiler_options=options)

    @functools.wraps(function)
    def _call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        refuse_forked()
        return _jitted()(*args, **kwargs)

    return _call


@functools.cache
def compiler_options() -> dict[str, bool]:
    """The options of `jit_recursion` that this XLA has; they come and go with its versions."""
    options = {}
    for name, value in _OPTIONS.items():
        try:
            jax.jit(lambda: jnp.zeros(()), compiler_options={name: value}).lower().compile()
        except jax.errors.JaxRuntimeError:
            continue
        options[name] = value
    return options


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


def chunk_size(n: int, *, most: int, step: int = 1) -> int:
    """Pixels of a call: the least step * 2^k that holds `n`, or whole steps up to `most`.

    As many shapes as powers of two, not as many as numbers of pixels: each is a program to compile.
    """
    size = step
    while size < min(n, most):
        size *= 2
    return min(size, max(most - most % step, step))


def map_chunks(
    function: Callable[[PyTree], PyTree], arrays: PyTree, *, chunk: int, label: str
) -> PyTree:
    """`function(arrays)`, computed `chunk` pixels at a time and gathered on the host.

    Leaves of `arrays` and of the result, NumPy arrays, have the pixels on their first axis. Each
    call has exactly `chunk` pixels (copies of the last pixel fill the last chunk), so a jitted
    function is traced once and memory does not grow with the scene.

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
    parts, waiting = [], []

    def _fetched(start, part):
        keep = min(chunk, n - start)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:keep], part)

    for start in bar(range(0, n, chunk), label, "chunk"):
        index = np.minimum(np.arange(start, start + chunk), n - 1)
        part = function(jax.tree.map(lambda leaf, i=index: jnp.asarray(leaf[i]), arrays))
        # the next chunk is computed while this one is fetched
        if waiting:
            parts.append(_fetched(*waiting))
        waiting = [start, part]
    parts.append(_fetched(*waiting))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def refuse_forked() -> None:
    """Refuse to compute in a process that was forked after its parent used JAX.

    A process that was spawned, or forked before JAX was first used, may compute.

    Raises:
      RuntimeError: at once, where the first program would wait for ever.
    """
    if _forked_beside_jax:
        raise RuntimeError(
            f"process {os.getpid()}: got one that was forked after its parent had used JAX, where "
            "programs never end, expected one that was spawned: "
            'multiprocessing.get_context("spawn").Pool(...), or '
            'multiprocessing.set_start_method("spawn")'
        )


def _in_child() -> None:
    global _forked_beside_jax
    # JAX has no public name for whether it was used; asking for its devices would use it
    bridge = sys.modules.get("jax._src.xla_bridge")
    if getattr(bridge, "_backends", None):
        _forked_beside_jax = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
