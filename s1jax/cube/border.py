"""The border to other libraries: what they raise becomes one line, and sizes fit into memory."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What the libraries that decode files raise where a file is damaged."""

_LONGEST = 300
"""Letters of another library's message, or of a name, that are worth reading."""

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says how much memory a container may have."""


@contextmanager
def reading(where: object, expected: str, *more: type[Exception]) -> Iterator[None]:
    """A block that only calls other libraries; what they raise is a ValueError that names a file.

    Args:
      where: the file, and what of it.
      expected: what it should have been.
      more: exceptions beside `FAULTS`.

    Raises:
      ValueError: the block raised one of them.
    """
    try:
        yield
    except (*FAULTS, *more) as error:
        raise unreadable(where, expected, error) from error


def unreadable(where: object, expected: str, error: BaseException) -> ValueError:
    """The one line about a file that cannot be read."""
    why = " ".join(str(error).split()) or "no reason given"
    got = f"{type(error).__name__}: {brief(why)}"
    return ValueError(f"{brief(where)}: cannot be read, expected {expected} ({got})")


def brief(text: object) -> str:
    """The beginning of a long text; a shorter one as it is."""
    text = str(text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def require_room(where: object, needed: int, remedy: str = "") -> None:
    """Nothing, where so many bytes fit into the memory of this machine.

    Raises:
      ValueError: they do not; `remedy` says what to do.
    """
    room = _memory()
    if needed > room:
        got, expected = f"{needed / 1e9:,.3g} GB to hold", f"at most {room / 1e9:,.3g} GB of memory"
        raise ValueError(f"{brief(where)}: got {got}, expected {expected}{remedy}")


def bytes_of(shape: Sequence[int], itemsize: int) -> int:
    """Bytes of an array, exact however large."""
    return math.prod(int(n) for n in shape) * int(itemsize)


def _memory() -> int:
    """Bytes this process may have; so many that nothing is refused where nobody can tell."""
    room = 2**62
    if hasattr(os, "sysconf"):
        room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in map(Path, _LIMITS):
        text = limit.read_text().strip() if limit.exists() else ""
        room = min(room, int(text)) if text.isdigit() else room
    return room
