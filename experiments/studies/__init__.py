"""Studies behind the numbers of README and docs: `python -m experiments.studies.NAME`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro

from s1jax.commands import endings


def command(config: type, main: Callable[[Any], object]) -> int:
    """Exit status of a study: options from the command line; what `main` returns is printed."""
    name = sys.modules["__main__"].__spec__.name

    def _run() -> None:
        result = main(tyro.cli(config, prog=name))
        print(f"{result} written" if isinstance(result, Path) else result)

    return endings.status(_run)
