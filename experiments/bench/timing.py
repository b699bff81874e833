"""Wall clock, working memory and physical limits."""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

import experiments
from s1jax import gp
from s1jax.types import NDVI, Series

PEAKS = {
    "H200": (67e12, 4.8e12),
    "H100 PCIe": (51e12, 2.0e12),
    "H100": (67e12, 3.35e12),
    "A100 80GB": (19.5e12, 2.0e12),
    "A100": (19.5e12, 1.555e12),
    "V100": (15.7e12, 0.9e12),
    "L40S": (91.6e12, 0.864e12),
    "L4": (30.3e12, 0.3e12),
    "T4": (8.1e12, 0.32e12),
}
"""Part of a device's name, its float32 FLOP/s and bytes/s as its maker states them."""

FLOP, TRAFFIC = 76e3 / 62, 2.4e3 / 62
"""Of the ICM posterior of three outputs, per pixel and date: operations; bytes in and out."""


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
    found, spent = [], 0.0
    for _ in range(repeats):
        start, cpu = time.perf_counter(), time.process_time()
        result = function()
        found.append(Timing(time.perf_counter() - start, time.process_time() - cpu))
        spent += found[-1].seconds
        if spent > budget_s:
            break
    return min(found), result


def device() -> str:
    """The devices that JAX computes on."""
    return f"{jax.local_device_count()} x {jax.local_devices()[0].device_kind}"


def cores() -> int:
    """Cores that a core-second counts: all that this process may use; 1 where a GPU computes."""
    if jax.default_backend() != "cpu":
        return 1
    return experiments.cores()


def kb_per_px(solver: str, hyper: gp.Hyper, dates: int, *, fit: bool = False) -> float:
    """Working memory of a pixel, kB: XLA's temporary buffers over the pixels in flight.

    The program is that of the posterior (or, for a fit, of likelihood and gradient) for one batch
    on every device, compiled with the options it runs with; `temp_size_in_bytes` is of one device,
    which has `gp.lanes` pixels in flight. Observations and results, which a caller holds anyway,
    are not in it.

    Args:
      solver: a name of `gp.SOLVERS`.
      hyper: of the model; its dtype is that of the computation.
      dates: length of a series.
      fit: of likelihood and gradient, at hyperparameters of each pixel.
    """
    latents, outputs = hyper.mixing.shape
    lanes = gp.lanes(solver, latents, outputs)
    pixels, dtype = lanes * jax.local_device_count(), hyper.noise.dtype

    def _posterior(hyper, day, value, valid):
        def _one(value, valid):
            found = gp.condition(
                hyper, Series(day, value, valid), None, channel=NDVI, solver=solver
            )
            return found.mean, found.std

        return gp.over_pixels(_one, value, valid, lanes=lanes)

    def _slope(hyper, day, value, valid):
        def _one(hyper, value, valid):
            series = Series(day, value, valid)
            return jax.value_and_grad(lambda h: gp.log_likelihood(h, series, solver=solver))(hyper)

        return gp.over_pixels(_one, hyper, value, valid, lanes=lanes)

    if fit:
        hyper = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (pixels, *leaf.shape)), hyper)
    shapes = (
        jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), hyper),
        jax.ShapeDtypeStruct((dates,), dtype),
        jax.ShapeDtypeStruct((pixels, dates, outputs), dtype),
        jax.ShapeDtypeStruct((pixels, dates, outputs), bool),
    )
    program = jax.jit(_slope if fit else _posterior, compiler_options=gp.compiler_options())
    memory = program.lower(*shapes).compile().memory_analysis()
    return memory.temp_size_in_bytes / lanes / 1e3


def limits(kind: str, dates: int) -> list[str]:
    """What physics allows for the ICM posterior on a device, in words; nothing for an unknown one.

    Args:
      kind: the device's name.
      dates: length of a series.
    """
    for name, (flop, traffic) in PEAKS.items():
        if set(name.split()) <= set(kind.replace("-", " ").split()):
            return [
                f"limit of {kind} by arithmetic: {flop / (FLOP * dates):,.0f} px/s (ICM posterior, "
                f"{FLOP * dates / 1e3:.0f} kFLOP a pixel at {flop / 1e12:g} TFLOP/s)",
                f"limit of {kind} by memory: {traffic / (TRAFFIC * dates):,.0f} px/s "
                f"({TRAFFIC * dates / 1e3:.1f} kB a pixel at {traffic / 1e12:g} TB/s)",
            ]
    return []
