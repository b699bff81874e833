"""The folder that keeps compiled programs between runs: whose it is, and how large it may grow."""

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

MOST = 2 * 2**30
"""Bytes that the folder holds once a command has started: the programs used longest ago go."""


def place(environ: Mapping[str, str]) -> Path | None:
    """s1jax/compiled in XDG_CACHE_HOME, or in .cache of the home folder; None where there is no
    home."""
    cache = Path(environ.get("XDG_CACHE_HOME", ""))
    if cache.is_absolute():
        return cache / "s1jax" / "compiled"
    home = Path(environ.get("HOME", ""))
    if not home.is_absolute():
        try:
            home = Path.home()
        except RuntimeError:
            return None
    return home / ".cache" / "s1jax" / "compiled" if home.is_absolute() else None


def prepare(folder: Path) -> str:
    """Make the folder this user's alone (mode 700) and no larger than `MOST`.

    A program that another user put there would be run: such a folder is not taken.

    Returns:
      Why the folder cannot be used; nothing where it can.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        # of a parent like /tmp nobody but its owner can rename a folder
        for one, sticky in ((folder.parent, True), (folder, False)):
            if strange := _strange(one, sticky):
                return strange
        folder.chmod(0o700)
        if not os.access(folder, os.W_OK | os.X_OK):
            return f"{folder}: got a folder that cannot be written to"
        prune(folder, MOST)
    except OSError as error:
        return f"{folder}: {error.strerror or error}"
    return ""


def prune(folder: Path, most: int) -> None:
    """Remove the programs used longest ago until those that stay take at most so many bytes."""
    programs = []
    for path in folder.glob("*-cache"):
        with suppress(FileNotFoundError):  # another process removes some too
            state = path.stat()
            programs.append((max(state.st_atime, state.st_mtime), state.st_size, path))
    taken = 0
    for _, size, path in sorted(programs, key=lambda program: program[0], reverse=True):
        taken += size
        if taken > most:
            path.unlink(missing_ok=True)
            path.with_name(path.name.removesuffix("-cache") + "-atime").unlink(missing_ok=True)


def _strange(folder: Path, sticky: bool) -> str:
    """Who else could put something there."""
    if not hasattr(os, "getuid"):
        return ""
    state = folder.stat()
    if state.st_uid not in (os.getuid(), 0):
        return f"{folder}: got a folder of user {state.st_uid}, expected one of {os.getuid()}"
    if state.st_mode & 0o022 and not (sticky and state.st_mode & stat.S_ISVTX):
        mode = stat.S_IMODE(state.st_mode)
        return f"{folder}: got mode {mode:o}, which others may write to, expected 700"
    return ""
