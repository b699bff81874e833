"""Files and folders that are whole or not there; one process to a folder; what a disk refuses, and
what libraries raise of a damaged file."""

import errno
import fcntl
import json
import os
import re
import shutil
import socket
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FAULTS = (
    ArithmeticError, AssertionError, AttributeError, EOFError, ImportError, LookupError,
    MemoryError, NameError, NotImplementedError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""What the libraries that decode files raise where a file is damaged or forged."""
DAMAGED = (*FAULTS, SystemError, zipfile.BadZipFile, zlib.error)
"""What HDF5, Zarr, archives and their codecs raise there."""
_LONGEST = 300
"""Letters of another library's message, or of a name, that are worth reading."""

LOCK = ".s1jax.lock"
"""Name of the file that says which process writes into a folder."""
OF_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
"""Errors that name no file where they come from a write."""
_REMEDIES = {
    errno.ENOSPC: "free space there, or choose a path on another disk",
    errno.EDQUOT: "free space there, or choose a path on another disk",
    errno.EFBIG: "choose a disk that holds files of this size",
    errno.EROFS: "choose a folder that you may write to",
    errno.EACCES: "change its permissions, or choose a folder that you may write to",
    errno.EPERM: "change its permissions, or choose a folder that you may write to",
    errno.EEXIST: "choose a path whose folders are no files",
    errno.ENOTDIR: "choose a path whose folders are no files",
    errno.EISDIR: "choose the name of a file",
    errno.ENOENT: "check the path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "remove that link, or choose another path",
    errno.EIO: "check the disk",
}
_NO_FLOCK = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}
"""What a file system says that has no locks."""
REMOTE = re.compile(r"[a-z][a-z0-9+.-]+:/|[^/]*::|/vsi", re.IGNORECASE | re.DOTALL)
"""A server, a chain of fsspec, or a virtual file of GDAL; a Path has lost one slash of ://."""


def remedy(number: int | None) -> str:
    """What a user can do about an error of the system; empty where there is no advice."""
    return "" if number is None else _REMEDIES.get(number, "")


def brief(text: object) -> str:
    """The beginning of a long text; a shorter one as it is."""
    text = str(text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def line_of(error: BaseException) -> str:
    """One line of what a library says of a damaged file."""
    return brief(" ".join(str(error).split()) or type(error).__name__)


def refuse_remote(path: str | Path, remedy: str = "upload the file afterwards") -> None:
    """Nothing, where a path is one of this machine.

    Raises:
      ValueError: a server, a chain of file systems, or a virtual file system of GDAL: as a path it
        would be a folder named "s3:", say.
    """
    for text in (str(path), os.path.abspath(str(path).replace("\0", ""))):
        if match := REMOTE.match(text):
            got = f"{match[0]!r}, which is no folder of this machine"
            raise ValueError(f"{brief(path)}: got {got}, expected a path; {remedy}")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path to write to, `path` + ".part"; it takes the place of `path` once the block is over.

    The bytes reach the disk before the name changes, so a reader finds the old file or the new one,
    whole. Where the block raises, the old file stays and nothing is left beside it. A link at
    `path` is followed; what stands at ".part" is removed, and a link there is not followed.

    Raises:
      ValueError: `path` is a device, a pipe, or of another machine.
      IsADirectoryError: it is a folder.
    """
    refuse_remote(path)
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: got a device or pipe, expected a file, or a new path")
    part = part_of(path)
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o666))
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


@contextmanager
def replacing_folder(
    path: Path,
    *,
    refuse_other: Callable[[Path], None],
    keep_unfinished: Callable[[], bool] = lambda: False,
) -> Iterator[Path]:
    """A new folder to write into, `path` + ".part"; it takes the place of `path` after the block.

    The old folder stays until the new one is whole and on the disk, or for good where the block
    raises. `refuse_other` raises where a folder that is to be removed holds anything else;
    `keep_unfinished` says whether the new folder is left where the block raises.
    """
    part, old = part_of(path), old_of(path)
    for folder in (path, part, old):
        refuse_other(folder)
    _remove(part)
    part.mkdir()
    try:
        yield part
        for folder, _, names in os.walk(part):
            for name in names:
                _to_disk(Path(folder, name))
        _swap(part, path, refuse_other)
    except BaseException:
        if not keep_unfinished():
            shutil.rmtree(part, ignore_errors=True)
        raise
    _to_disk(path.parent)


def part_of(path: Path) -> Path:
    """Where a file or folder is written before it takes its place."""
    return path.with_name(path.name + ".part")


def old_of(path: Path) -> Path:
    """Where an older folder stands while the new one takes its place."""
    return path.with_name(path.name + ".old")


def _swap(part: Path, path: Path, refuse_other: Callable[[Path], None]) -> None:
    """Put a finished folder in the place of an older one, which stays until then."""
    if not path.exists():
        os.rename(part, path)
        return
    old = old_of(path)
    # the block may have taken hours
    refuse_other(path)
    refuse_other(old)
    _remove(old)
    os.rename(path, old)
    try:
        os.rename(part, path)
    except BaseException:
        os.rename(old, path)
        raise
    shutil.rmtree(old)


def _remove(folder: Path) -> None:
    """Remove a folder with all in it, where there is one; of a link nothing but the link."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


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

    A file in the folder names host, process and start of the process, and the kernel locks it for
    as long as the process lives (flock). A file that nobody locks is taken over, unless it names a
    process that lives, or another host, whose locks may not be visible from here. Where the file
    system has no locks, the content of the file alone decides, and one that names nobody holds.

    Args:
      folder: it exists.
      name: of the lock, where one file of the folder is held and not the folder.

    Raises:
      ValueError: another process holds the folder; the message names its host and number.
    """
    path = Path(folder) / name
    ours = {"host": socket.gethostname(), "process": os.getpid(), "started": _started(os.getpid())}
    handle = _held(path)
    try:
        with open(os.dup(handle), "r+", encoding="utf-8") as file:
            file.truncate()
            json.dump(ours, file)
        yield
    finally:
        # a user may have removed the lock, and another process made its own
        if _is_at(handle, path):
            path.unlink()
        os.close(handle)


def _held(path: Path) -> int:
    """An open lock that is this process' alone; its content is still that of the last holder."""
    while True:
        handle, new = _opened(path)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise ValueError(f"{path}: got a device or pipe, expected a file, or none")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locks = True
            except BlockingIOError:
                raise _refusal(path, _holder(handle)) from None
            except OSError as error:
                if error.errno not in _NO_FLOCK:
                    raise
                locks = False
            if _is_at(handle, path):
                holder = _holder(handle)
                if not new and (_lives(holder) or (holder is None and not locks)):
                    raise _refusal(path, holder)
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # whoever held it has removed it since it was opened


def _opened(path: Path) -> tuple[int, bool]:
    """A lock that is open, and whether it is new."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
    while True:
        with suppress(FileExistsError):
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644), True
        with suppress(FileNotFoundError):
            return os.open(path, flags), False


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False


def _holder(handle: int) -> tuple[str, int, str | None] | None:
    """Host, process and start of the process that a lock names; None where it names none."""
    try:
        content = json.loads(os.pread(handle, 10_000, 0))
        host, process, started = content["host"], content["process"], content["started"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(host, str) or type(process) is not int or not 0 < process < 2**31:
        return None
    return host, process, started if isinstance(started, str) else None


def _lives(holder: tuple[str, int, str | None] | None) -> bool:
    """Whether a process may still hold a lock that the kernel has not locked for it."""
    if holder is None:
        return False
    host, process, started = holder
    if host != socket.gethostname():
        return True
    return process != os.getpid() and started is not None and _started(process) == started


def _refusal(path: Path, holder: tuple[str, int, str | None] | None) -> ValueError:
    host, process = ("an unknown host", 0) if holder is None else holder[:2]
    return ValueError(
        f"{path.parent}: got a folder that process {process} on {host} writes into, expected none;"
        f" if that process has ended, remove {path}"
    )


def _started(process: int) -> str | None:
    """When a process of this host started, clock ticks since boot; None where there is none."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    return None


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
