"""Benches: what is it worth, how fast is it, and beside whom?

Command: python -m experiments.bench mogpr [--peers] [--out DIR]
         python -m experiments.bench variants
         python -m experiments.bench choices [--cube FILE --split district]
         python -m experiments.bench train [--peers]
Cost: minutes each on 2 cores; see --help for what makes it less.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import tyro

from experiments import commands
from experiments.bench import choices, mogpr, table, train, variants

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
    ((name, run),) = ((n, run) for n, (options, run) in COMMANDS.items() if type(config) is options)
    out = table.folder(config, name)
    with commands.writing(out):
        return run(replace(config, out=out))


if __name__ == "__main__":
    sys.exit(commands.status(lambda: print(f"{main()} written")))
