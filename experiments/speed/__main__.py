"""What is it worth, how fast is it, and beside whom?

Command: python -m experiments.speed mogpr [--peers] [--out DIR]
         python -m experiments.speed variants
         python -m experiments.speed choices [--cube FILE --split district]
         python -m experiments.speed networks [--peers]
Cost: minutes each on 2 cores; see --help for what makes it less.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import tyro

from experiments.report.files import new_folder
from experiments.speed import mogpr, networks
from s1jax.commands import endings

COMMANDS = {
    "mogpr": (mogpr.MogprBench, mogpr.bench),
    "variants": (mogpr.Variants, mogpr.bench_variants),
    "choices": (mogpr.Choices, mogpr.bench_choices),
    "networks": (networks.NetworksBench, networks.bench),
}
"""Subcommand, its options and what runs it."""


def main(arguments: Sequence[str] | None = None) -> Path:
    """The folder with what a bench wrote."""
    config = tyro.extras.subcommand_cli_from_dict(
        {name: options for name, (options, _) in COMMANDS.items()},
        args=arguments,
        prog="experiments.speed",
    )
    ((name, run),) = ((n, run) for n, (options, run) in COMMANDS.items() if type(config) is options)
    out = config.out or new_folder(f"speed-{name}")
    with endings.writing(out):
        return run(replace(config, out=out))


if __name__ == "__main__":
    sys.exit(endings.status(lambda: print(f"{main()} written")))
