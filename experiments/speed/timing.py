"""Wall clock and working memory."""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

import s1jax.commands
from s1jax import batching, gp


class Timing(NamedTuple):
    """The best of some repeats."""

    seconds: float
    """Wall clock."""
    cpu_s: float
    """Processor time of all threads in that repeat."""


def best(
    function: Callable[[], object], repeats: int, *, warm: bool = True, budget_s: float = 30.0
):
    """Timing of the fastest call of a function, and what it returned.

    Args:
      function: ends when its result is there.
      repeats: calls, at most.
      warm: call once before, which compiles.
      budget_s: no further call is begun after so many seconds of timed ones.
    """
    if warm:
        function()
    timings, spent = [], 0.0
    for _ in range(repeats):
        start, cpu = time.perf_counter(), time.process_time()
        result = function()
        timings.append(Timing(time.perf_counter() - start, time.process_time() - cpu))
        spent += timings[-1].seconds
        if spent > budget_s:
            break
    return min(timings), result


def device() -> str:
    """The devices that JAX computes on."""
    return f"{jax.local_device_count()} x {jax.local_devices()[0].device_kind}"


def cores() -> int:
    """Cores that a core-second counts: all that this process may use; 1 where a GPU computes."""
    if jax.default_backend() != "cpu":
        return 1
    return s1jax.commands.available_cores()


def kb_per_px(solver: str, hyper: gp.Hyper, dates: int, *, fit: bool = False) -> float:
    """Working memory of a pixel, kB: XLA's temporary buffers over the pixels in flight.

    The program is that of the posterior (or, for a fit, of likelihood and gradient) for one batch
    on every device, compiled with the options it runs with; `temp_size_in_bytes` is of one device,
    which has `batching.batch_size` pixels in flight. Observations and results, which a caller holds
    anyway, are not in it.

    Args:
      solver: a name of `gp.SOLVERS`.
      hyper: of the model; its dtype is that of the computation.
      dates: length of a series.
      fit: of likelihood and gradient, at hyperparameters of each pixel.
    """
    latents, outputs = hyper.mixing.shape
    lanes = batching.batch_size(solver, latents, outputs)
    pixels, dtype = lanes * jax.local_device_count(), hyper.noise.dtype

    def _posterior(hyper, day, value, valid):
        def _one(value, valid):
            observations = gp.Observations(day, value, valid)
            return gp.condition(hyper, observations, None, output=-1, solver=solver)

        return batching.vmap_pixels(_one, value, valid, lanes=lanes)

    def _slope(hyper, day, value, valid):
        def _one(hyper, value, valid):
            z = gp.Observations(day, value, valid)
            return jax.value_and_grad(lambda h: gp.log_likelihood(h, z, solver=solver))(hyper)

        return batching.vmap_pixels(_one, hyper, value, valid, lanes=lanes)

    if fit:
        hyper = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (pixels, *leaf.shape)), hyper)
    shapes = (
        jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), hyper),
        jax.ShapeDtypeStruct((dates,), dtype),
        jax.ShapeDtypeStruct((pixels, dates, outputs), dtype),
        jax.ShapeDtypeStruct((pixels, dates, outputs), bool),
    )
    program = jax.jit(_slope if fit else _posterior, compiler_options=batching.compiler_options())
    memory = program.lower(*shapes).compile().memory_analysis()
    return memory.temp_size_in_bytes / lanes / 1e3
