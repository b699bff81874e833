"""Processes that were forked: JAX's threads stay behind in the parent, and programs never end."""

import os
import sys

_forked_beside_jax = False


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
