"""Files that are whole or not there, and one process to a folder."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = ".s1jax.lock"
"""Name of the file that says which process writes into a folder."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path to write to, `path` + ".part"; it takes the place of `path` once the block is over.

    The bytes reach the disk before the name changes, so a reader finds the old file or the new one,
    whole. Where the block raises, the old file stays and nothing is left beside it.

    Args:
      path: the file to write or to replace; its folder exists.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        yield part
        _to_disk(part)
        os.replace(part, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk names no file
        part.unlink(missing_ok=True)
        raise
    _to_disk(path.parent)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write or replace a file by `replacing`."""
    with replacing(path) as part:
        part.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Write or replace a text file, UTF-8, by `replacing`."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content) -> None:
    """Write or replace a JSON file by `replacing`; what JSON does not know becomes its text."""
    write_text(path, json.dumps(content, indent=1, default=str) + "\n")


@contextmanager
def locked(folder: str | Path, *, name: str = LOCK) -> Iterator[None]:
    """Hold a folder for this process; the block is the only one that writes into it.

    A file in the folder names host, process and start of the process. The lock of a process of this
    host that has ended is taken over.

    Args:
      folder: it exists.
      name: of the lock, where one file of the folder is held and not the folder.

    Raises:
      ValueError: another process holds the folder; the message names its host and number.
    """
    path = Path(folder) / name
    ours = {"host": socket.gethostname(), "process": os.getpid(), "started": _started(os.getpid())}
    while True:
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            break
        except FileExistsError:
            _refuse_if_held(path)
            # two processes may find the same dead lock: only one of them removes this very file
            stale = path.with_name(f"{path.name}.{os.getpid()}")
            with suppress(FileNotFoundError):
                os.rename(path, stale)
                stale.unlink()
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(ours, file)
        yield
    finally:
        path.unlink(missing_ok=True)


def _refuse_if_held(path: Path) -> None:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        host, process, started = holder["host"], int(holder["process"]), holder["started"]
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        # cut off while it was written: nobody can tell whose it is
        host, process, started = "an unknown host", 0, None
    here = host == socket.gethostname()
    if here and (started is None or _started(process) != started):
        return
    raise ValueError(
        f"{path.parent}: got a folder that process {process} on {host} writes into, expected none;"
        f" if that process has ended, remove {path}"
    )


def _started(process: int) -> str | None:
    """When a process of this host started, clock ticks since boot; None where there is none."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "running"


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
