"""`python -m s1jax.commands`: the command `s1jax`."""

import sys

from s1jax.commands import main

sys.exit(main())
