"""`python -m experiments.doctor`: the command `s1jax doctor`."""

import sys

from s1jax.commands.doctor import run

if __name__ == "__main__":
    sys.exit(run())
