"""Progress bars of stages that take over two seconds; rare lines where the output is a log."""

import sys
from collections.abc import Iterable

from tqdm import tqdm


def bar(items: Iterable, label: str, unit: str) -> tqdm:
    """`items` with a bar that appears after two seconds and goes when the stage ends.

    Args:
      items: what to go through.
      label: name of the stage.
      unit: what one item is.
    """
    pause = 0.2 if sys.stderr.isatty() else 15.0
    return tqdm(items, desc=label, unit=unit, delay=2, leave=False, mininterval=pause)
