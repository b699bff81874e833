"""The command `s1jax`: `s1jax fill` maps a region, `s1jax doctor` examines an input.

Importing this package sets what JAX reads at its start, once for all commands: as many host devices
as cores, and a folder that keeps compiled programs. What the user has set is left alone.
"""

import os
import stat
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

COMMANDS = {
    "fill": "cloud-free NDVI of a whole region, tile by tile",
    "doctor": "what is wrong with an input, where, how that shows, and what mends it",
}
"""Subcommands: modules of this package with `run(arguments)`."""
LARGEST_CACHE = 2 * 2**30
"""Bytes of compiled programs kept when a command starts: those used longest ago go."""
_DEVICES = "--xla_force_host_platform_device_count"
_CACHE = "JAX_COMPILATION_CACHE_DIR"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status of `s1jax NAME ...`; without a name the usage is printed."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        lines = [f"  {name:8} {text}" for name, text in COMMANDS.items()]
        print("usage: s1jax NAME ...; s1jax NAME --help explains its options\n", *lines, sep="\n")
        return 0
    if name == "--version":
        from importlib.metadata import version

        print(f"s1jax {version('s1jax')}")
        return 0
    if name not in COMMANDS:
        print(f"error: got {name!r}, expected one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    return import_module(f"s1jax.commands.{name}").run(arguments[1:])


def settings(environ: Mapping[str, str], cores: int) -> dict[str, str]:
    """Environment variables to set for JAX, beside those of `environ`, on so many cores."""
    flags = environ.get("XLA_FLAGS", "")
    chosen = {
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        # threads of XLA: on two, batched LAPACK calls of jaxlib 0.10.2 can wait for ever
        "NPROC": str(max(cores, 4)),
    }
    if (folder := cache_folder(environ)) is not None:
        chosen[_CACHE] = str(folder)
    chosen = {name: value for name, value in chosen.items() if name not in environ}
    if _DEVICES not in flags:
        chosen["XLA_FLAGS"] = f"{flags} {_DEVICES}={cores}".strip()
    return chosen


def available_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cache_folder(environ: Mapping[str, str]) -> Path | None:
    """s1jax/compiled in XDG_CACHE_HOME or in .cache of the home folder; None without a home."""
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


def prepare_cache(folder: Path) -> str:
    """Make the folder this user's alone (mode 700) and no larger than `LARGEST_CACHE`.

    JAX would run a program that another user put there: such a folder is not used.

    Returns:
      Why the folder cannot be used; empty where it can.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        # of a parent like /tmp nobody but its owner can rename a folder
        for one, sticky in ((folder.parent, True), (folder, False)):
            if reason := _open_to_others(one, sticky):
                return reason
        folder.chmod(0o700)
        if not os.access(folder, os.W_OK | os.X_OK):
            return f"{folder}: got a folder that cannot be written to"
        prune_cache(folder, LARGEST_CACHE)
    except OSError as error:
        return f"{folder}: {error.strerror or error}"
    return ""


def prune_cache(folder: Path, largest: int) -> None:
    """Remove the programs used longest ago until the rest takes at most `largest` bytes."""
    programs = []
    for path in folder.glob("*-cache"):
        with suppress(FileNotFoundError):  # another process removes some too
            state = path.stat()
            programs.append((max(state.st_atime, state.st_mtime), state.st_size, path))
    total = 0
    for _, size, path in sorted(programs, key=lambda program: program[0], reverse=True):
        total += size
        if total > largest:
            path.unlink(missing_ok=True)
            path.with_name(path.name.removesuffix("-cache") + "-atime").unlink(missing_ok=True)


def _open_to_others(folder: Path, sticky: bool) -> str:
    """Who else could put a program there; empty where nobody could."""
    if not hasattr(os, "getuid"):
        return ""
    state = folder.stat()
    if state.st_uid not in (os.getuid(), 0):
        return f"{folder}: got a folder of user {state.st_uid}, expected one of {os.getuid()}"
    if state.st_mode & 0o022 and not (sticky and state.st_mode & stat.S_ISVTX):
        mode = stat.S_IMODE(state.st_mode)
        return f"{folder}: got mode {mode:o}, which others may write to, expected 700"
    return ""


def _set_environment() -> None:
    chosen = settings(os.environ, available_cores())
    if _CACHE in chosen:
        reason = prepare_cache(Path(chosen[_CACHE]))
    else:
        reason = "" if _CACHE in os.environ else "there is no home folder"
    if reason:
        chosen.pop(_CACHE, None)
        print(f"compiled programs are not kept: {reason}; set {_CACHE}", file=sys.stderr)
    os.environ.update(chosen)


# a JAX that runs already has read its settings: they belong to whoever started it
if "jax" not in sys.modules:
    _set_environment()
