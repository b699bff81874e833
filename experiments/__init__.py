"""What the numbers stand on: the head to head, the studies, the measurements of speed.

Importing `s1jax.commands` first sets what JAX reads at its start.
"""

import s1jax.commands  # noqa: F401
