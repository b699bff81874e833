"""`python -m experiments.mogpr`: the command `s1jax fill`."""

import sys

from s1jax.commands.fill import run

if __name__ == "__main__":
    sys.exit(run())
