"""Progress bars of stages that take over two seconds; rare lines where the output is a log."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tqdm import tqdm

_TITLE: ContextVar[str] = ContextVar("title", default="")


@contextmanager
def titled(title: str) -> Iterator[None]:
    """Context in which progress bars and log lines of a method carry this text."""
    token = _TITLE.set(title)
    try:
        yield
    finally:
        _TITLE.reset(token)


def title_or(default: str) -> str:
    """The title of the context; `default` outside of any."""
    return _TITLE.get() or default


def bar(items: Iterable, label: str, unit: str) -> tqdm:
    """`items` with a bar that appears after two seconds and goes when the stage ends.

    Args:
      items: what to go through.
      label: name of the stage, shown where no context has a title.
      unit: what one item is.
    """
    pause = 0.2 if sys.stderr.isatty() else 15.0
    return tqdm(items, desc=title_or(label), unit=unit, delay=2, leave=False, mininterval=pause)
