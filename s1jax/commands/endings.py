"""How a command ends, and the folders and files that it writes into."""

import errno
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from s1jax import files

_TRIAL = 65_536
"""Bytes that a place must take before any work is done."""


def status(command: Callable[[], object]) -> int:
    """Exit status of a command: the number it returns, 0 where it returns something else.

    An input that is refused, a package that is missing, or a file that cannot be read or written
    is one line on stderr and status 1; Ctrl-C is 130. Any other error is a fault of the program and
    goes on as it is.
    """
    try:
        result = command()
        code = result if isinstance(result, int) else 0
    except KeyboardInterrupt:
        code = _line("interrupted", 130)
    except BrokenPipeError:
        code = 1  # nobody reads the output any more
    except OSError as error:
        code = _line(_of_system(error))
    except (ValueError, ImportError) as error:
        code = _line(str(error))
    try:
        sys.stdout.flush()
    except OSError as error:
        # else Python tries again as it ends, and prints a traceback
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not code and not isinstance(error, BrokenPipeError):
            _line(_of_system(error))
        code = code or 1
    if code:
        # pending writes of Zarr would complain
        logging.getLogger("asyncio").disabled = True
    return code


@contextmanager
def writing(folder: str | Path, *, inputs: Iterable[str | Path | None] = ()) -> Iterator[Path]:
    """A folder to write into: made where it is missing, and this process' alone in the block.

    Args:
      folder: to write into.
      inputs: files and folders that are read; None: there is no such file.

    Raises:
      ValueError: another process writes into it, it is an input, is or lies in a Zarr store, or is
        on another machine.
      OSError: it cannot be made or written to; the error names it.
    """
    folder = Path(folder)
    _refuse_stores(folder, folder)
    for source in inputs:
        if source is not None and os.path.realpath(source) == os.path.realpath(folder):
            raise ValueError(f"{folder}: got the folder of the input, expected another one")
    with ExitStack() as stack:
        with _at(folder):
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(files.locked(folder))
            _try(folder)
        with _full(folder):
            yield folder


@contextmanager
def writing_file(path: str | Path) -> Iterator[Path]:
    """A file or store to write: its folder is made, and no other process writes it in the block.

    Raises:
      ValueError: another process writes it, it lies in a Zarr store, or is on another machine.
      OSError: its folder cannot be made or written to; the error names it.
    """
    path = Path(path)
    folder = path.absolute().parent
    _refuse_stores(path, folder)
    with ExitStack() as stack:
        with _at(folder):
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(files.locked(folder, name=f".{path.name}{files.LOCK}"))
            _try(folder)
        with _full(path):
            yield path


def writable(*paths: Path | None) -> None:
    """Refuse now what could not be written in the end; None: there is no such file.

    Raises:
      ValueError: a path lies in a Zarr store, or is on another machine.
      OSError: a path is a folder, or its folder cannot be written to.
    """
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        folder = path.absolute().parent
        _refuse_stores(path, folder)
        with _at(folder):
            _try(folder)


def stem(path: str | Path) -> str:
    """Name of a file or folder as a part of another name: letters, digits, - and _."""
    name = re.sub(r"[^\w-]+", "-", Path(path).name.split(".")[0], flags=re.ASCII)
    return name.strip("-")[:80] or "cube"


def _refuse_stores(path: Path, folder: Path) -> None:
    """Nothing, where a folder that is to be written into is neither a Zarr store nor in one."""
    # the room of cubes takes a second to open, which no --help should wait for
    from s1jax.cube.provenance import is_store

    files.refuse_remote(path)
    real = Path(os.path.realpath(folder))
    for above in (real, *real.parents):
        if is_store(above):
            raise ValueError(f"{path}: got a path in the Zarr store {above}, expected another one")


def _try(folder: Path) -> None:
    """Write a file that nobody sees."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(_TRIAL))
        file.flush()


@contextmanager
def _at(path: Path) -> Iterator[None]:
    """Errors of the system name the path."""
    try:
        yield
    except OSError as error:
        # a parent that is in the way is what the user has to see
        parent = error.filename if error.errno in (errno.EEXIST, errno.ENOTDIR) else None
        raise OSError(error.errno, error.strerror, parent or str(path)) from error


@contextmanager
def _full(path: Path) -> Iterator[None]:
    """Errors of writing that name no file name the path; HDF5 words some of them."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        words = re.search(r"errno = (\d+)", str(error))
        number = getattr(error, "errno", None) or (int(words[1]) if words else None)
        worded = isinstance(error, OSError) and error.errno is not None and error.strerror is None
        named = worded or getattr(error, "filename", None) is not None
        if number not in files.OF_WRITING or named:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _of_system(error: OSError) -> str:
    if error.errno is None or error.strerror is None:
        return str(error)
    # every file that is written is named where it is written
    path = "standard output" if error.errno in files.OF_WRITING else None
    path = path if error.filename is None else os.fsdecode(error.filename)
    where = "" if path is None else f"{path}: "
    remedy = files.remedy(error.errno)
    return f"{where}{error.strerror.lower()}" + (f"; {remedy}" if remedy else "")


def _line(text: str, code: int = 1) -> int:
    print("error:", " ".join(text.split()), file=sys.stderr)
    return code
