"""What the numbers stand on. Each `python -m experiments.NAME` passes here before jax starts.

So this is where what jax reads at its start is set, once for all of them: as many host devices as
cores, and a place for compiled programs between runs. What the user has set is left alone.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from experiments import compiled

_DEVICES = "--xla_force_host_platform_device_count"
_CACHE = "JAX_COMPILATION_CACHE_DIR"


def settings(environ: Mapping[str, str], cores: int) -> dict[str, str]:
    """Environment variables to set for jax, beside those of `environ`, on so many cores."""
    flags = environ.get("XLA_FLAGS", "")
    chosen = {
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        # threads of XLA: on two, batched LAPACK calls of jaxlib 0.10.2 can wait for ever
        "NPROC": str(max(cores, 4)),
    }
    if (folder := compiled.place(environ)) is not None:
        chosen[_CACHE] = str(folder)
    chosen = {name: value for name, value in chosen.items() if name not in environ}
    if _DEVICES not in flags:
        chosen["XLA_FLAGS"] = f"{flags} {_DEVICES}={cores}".strip()
    return chosen


def cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start() -> None:
    """Set what jax reads; programs are kept where their folder is this user's alone."""
    chosen = settings(os.environ, cores())
    if _CACHE in chosen:
        reason = compiled.prepare(Path(chosen[_CACHE]))
    else:
        reason = "" if _CACHE in os.environ else "there is no home folder"
    if reason:
        chosen.pop(_CACHE, None)
        print(f"compiled programs are not kept: {reason}; set {_CACHE}", file=sys.stderr)
    os.environ.update(chosen)


# a jax that runs already has read them: it belongs to whoever started it
if "jax" not in sys.modules:
    _start()
