"""The same posterior in a process of its own, which sees one device.

How many devices a CPU is taken for is fixed when JAX starts, so this cannot be timed in a process
that has several. Command: python -m experiments.bench.alone FOLDER REPEATS
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from experiments.bench import bed as beds
from experiments.bench import timing
from s1jax import mogpr
from s1jax.types import Series


def timed(params: mogpr.MogprParams, series: Series, *, repeats: int) -> timing.Timing:
    """Timing of `mogpr.posterior` on one CPU device.

    Raises:
      RuntimeError: the other process failed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mogpr.save(params, folder / "params.npz")
        leaves = {k: v for k, v in series._asdict().items() if v is not None}
        np.savez(folder / "series.npz", **leaves)
        flags = [
            flag
            for flag in os.environ.get("XLA_FLAGS", "").split()
            if "xla_force_host_platform_device_count" not in flag
        ]
        flags.append("--xla_force_host_platform_device_count=1")
        done = subprocess.run(
            [sys.executable, "-m", "experiments.bench.alone", name, str(repeats)],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "XLA_FLAGS": " ".join(flags), "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"one device: {done.stderr.strip()[-500:]}")
        found = json.loads(done.stdout.splitlines()[-1])
    if found.pop("devices") != 1:
        raise RuntimeError("one device: the other process had several")
    return timing.Timing(**found)


def main(folder: Path, repeats: int) -> None:
    """Print the timing of what lies in a folder, as JSON."""
    import jax

    params = mogpr.load(folder / "params.npz")
    with np.load(folder / "series.npz") as file:
        series = Series(**dict(file))
    tell = beds.tell(params)
    found, _ = timing.best(lambda: tell(series), repeats)
    print(json.dumps(found._asdict() | {"devices": jax.local_device_count()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
