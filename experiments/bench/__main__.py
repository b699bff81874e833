"""Benches: what is it worth, how fast is it, and beside whom?

Command: python -m experiments.bench mogpr [--peers] [--out DIR]
         python -m experiments.bench variants
         python -m experiments.bench choices [--cube FILE --split district]
         python -m experiments.bench train [--peers]
Cost: minutes each on 2 cores; see --help for what makes it less.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from experiments.bench import choices, mogpr, train, variants

COMMANDS = {
    "mogpr": (mogpr.MogprBench, mogpr.bench),
    "variants": (variants.Variants, variants.bench),
    "choices": (choices.Choices, choices.bench),
    "train": (train.TrainBench, train.bench),
}
"""Subcommand, its options and what runs it."""


def main(arguments: Sequence[str] | None = None) -> Path:
    """The folder with what a bench wrote."""
    config = tyro.extras.subcommand_cli_from_dict(
        {name: options for name, (options, _) in COMMANDS.items()},
        args=arguments,
        prog="experiments.bench",
    )
    (run,) = (run for options, run in COMMANDS.values() if type(config) is options)
    return run(config)


if __name__ == "__main__":
    try:
        print(f"{main()} written")
    except (ValueError, ImportError) as error:
        sys.exit(f"error: {error}")
