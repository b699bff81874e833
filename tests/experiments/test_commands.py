"""How commands end: one line for what the user can mend, a traceback for what only we can."""

import errno
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import s1jax.commands
from s1jax import files
from s1jax.commands import endings as commands

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STUDIES = ("compare", "why", "alignment", "explain", "pretrain")
COMMANDS = ("run", "doctor", "mogpr", "speed", *(f"studies.{name}" for name in STUDIES))


def _raising(error):
    def _command():
        raise error

    return _command


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("VV: got 3,\nexpected 4"), "error: VV: got 3, expected 4"),
        (ImportError("no gpytorch"), "error: no gpytorch"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/full/a.json"),
            "error: /full/a.json: no space left on device; free space there, or choose a path "
            "on another disk",
        ),
        (
            PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/secret"),
            "error: /secret: permission denied; change its permissions, or choose a folder "
            "that you may write to",
        ),
        (OSError("a chunk of VV is damaged"), "error: a chunk of VV is damaged"),
    ],
)
def test_what_a_user_can_mend_is_one_line(error, line, capsys):
    assert commands.status(_raising(error)) == 1
    assert capsys.readouterr().err == line + "\n"


def test_status_of_the_others(capsys):
    assert commands.status(lambda: None) == 0
    assert commands.status(lambda: Path("somewhere")) == 0
    assert commands.status(lambda: 2) == 2
    assert commands.status(_raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "error: interrupted\n"
    with pytest.raises(TypeError):  # a fault of ours shows where it is
        commands.status(_raising(TypeError("a fault")))


def _shell(code, **options):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, **options
    )


def test_a_reader_that_has_left_is_no_traceback():
    code = (
        "import sys\nfrom s1jax.commands import endings as commands\n"
        "sys.exit(commands.status(lambda: print('x' * 100_000)))"
    )
    shell = f'{sys.executable} -c "{code}" | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", shell], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_terminal_is_no_traceback():
    code = (
        "import sys\nfrom s1jax.commands import endings as commands\n"
        "sys.exit(commands.status(lambda: print('x')))"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: standard output: no space left on device")
    assert done.stderr.count("\n") == 1


def test_a_write_that_fails_names_the_place(tmp_path):
    def _fails(error):
        with commands.writing(tmp_path / "out"):
            raise error

    full = errno.ENOSPC
    in_words = RuntimeError(f"Can't decrement id (errno = {full}, error message = 'No space')")
    for error in (OSError(full, "No space left on device"), in_words):
        with pytest.raises(OSError, match="No space left") as caught:
            _fails(error)
        assert (caught.value.errno, caught.value.filename) == (full, str(tmp_path / "out"))
    # what names its file keeps it, and other errors are let through
    with pytest.raises(FileNotFoundError) as caught:
        _fails(FileNotFoundError(errno.ENOENT, "No such file", "input.nc"))
    assert caught.value.filename == "input.nc"
    with pytest.raises(RuntimeError, match="ours"):
        _fails(RuntimeError("ours"))
    assert not [*(tmp_path / "out").iterdir()]


def test_a_file_in_the_way_is_told_before_any_work(tmp_path):
    (tmp_path / "taken").write_text("a file")
    for out in (tmp_path / "taken", tmp_path / "taken" / "deeper"):
        with pytest.raises(OSError, match=r"exists|directory") as caught, commands.writing(out):
            pass
        assert str(tmp_path / "taken") in str(caught.value)
    with pytest.raises(IsADirectoryError):
        commands.writable(tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        commands.writable(tmp_path / "none" / "page.md")
    assert caught.value.filename == str(tmp_path / "none")
    commands.writable(None, tmp_path / "taken", tmp_path / "new")
    assert (tmp_path / "taken").read_text() == "a file"


def test_one_process_to_a_folder_and_to_a_file(tmp_path):
    with commands.writing(tmp_path / "out"):
        code = (
            f"from s1jax.commands.endings import writing\nwith writing({str(tmp_path / 'out')!r})"
        )
        done = _shell(code + ": pass")
        assert f"process {os.getpid()} on " in done.stderr
    with commands.writing_file(tmp_path / "a.zarr"):
        (lock,) = tmp_path.glob(".a*")
        with (
            pytest.raises(ValueError, match=r"process \d+"),
            commands.writing_file(tmp_path / "a.zarr"),
        ):
            pass
        # another store beside it may be written
        with commands.writing_file(tmp_path / "b.zarr"):
            pass
        assert json.loads(lock.read_text())["process"] == os.getpid()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_lock_that_could_not_be_written_is_not_left(tmp_path, monkeypatch):
    def _full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.json, "dump", _full)
    with pytest.raises(OSError, match="No space left"), files.locked(tmp_path):
        pass
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/cube.2023.nc", "cube"),
        ("*.tif", "cube"),
        ("..", "cube"),
        ("../../x y.nc", "x-y"),
        ("$(rm).zarr", "rm"),
        ("ä" * 300, "cube"),
        ("b" * 300, "b" * 80),
    ],
)
def test_a_stem_is_no_path(path, name):
    assert commands.stem(path) == name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_refuses_a_file_as_its_folder(name, tmp_path):
    """One line and status 1, before anything is computed."""
    taken = tmp_path / "taken"
    taken.write_text("a file")
    arguments = {
        "doctor": ["cube.nc", "--out", taken],
        "mogpr": ["cube.nc", taken / "fused.zarr"],
        "speed": ["mogpr", "--out", taken],
    }.get(name, ["--out", taken])
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", f"experiments.{name}", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert str(taken) in line
    assert time.perf_counter() - started < 60
    assert taken.read_text() == "a file"


def _programs(folder, sizes):
    folder.mkdir(parents=True, exist_ok=True)
    for age, size in enumerate(sizes):
        path = folder / f"p{age}-cache"
        path.write_bytes(bytes(size))
        os.utime(path, (1e9 - age, 1e9 - age))


def test_the_programs_used_longest_ago_go(tmp_path):
    _programs(tmp_path, (10, 20, 30, 40))
    (tmp_path / "p3-atime").write_bytes(bytes(8))
    s1jax.commands.prune_cache(tmp_path, 35)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p0-cache", "p1-cache"]
    s1jax.commands.prune_cache(tmp_path, 35)
    assert len([*tmp_path.iterdir()]) == 2


def test_compiled_programs_are_this_users_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(s1jax.commands, "LARGEST_CACHE", 15)
    folder = tmp_path / "s1jax" / "compiled"
    assert s1jax.commands.prepare_cache(folder) == ""
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    _programs(folder, (10, 10))
    assert s1jax.commands.prepare_cache(folder) == ""
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == ["p0-cache"]
    for mode in (0o777, 0o770, 0o1777):
        folder.chmod(mode)
        assert f"got mode {mode:o}, which others may write to" in s1jax.commands.prepare_cache(
            folder
        )
    folder.chmod(0o700)
    folder.parent.chmod(0o777)
    assert str(folder.parent) in s1jax.commands.prepare_cache(folder)
    folder.parent.chmod(0o755)
    monkeypatch.setattr(s1jax.commands.os, "getuid", lambda: os.stat(folder).st_uid + 7)
    if os.stat(folder).st_uid:
        assert "expected one of" in s1jax.commands.prepare_cache(folder)
    (tmp_path / "file").write_text("")
    assert "file" in s1jax.commands.prepare_cache(tmp_path / "file" / "s1jax" / "compiled")


def test_where_compiled_programs_lie(monkeypatch):
    assert s1jax.commands.cache_folder({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path(
        "/c/s1jax/compiled"
    )
    # the standard has relative ones ignored
    for cache in ("", "c"):
        folder = s1jax.commands.cache_folder({"XDG_CACHE_HOME": cache, "HOME": "/h"})
        assert folder == Path("/h/.cache/s1jax/compiled")

    def _homeless():
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", _homeless)
    assert s1jax.commands.cache_folder({}) is None
    assert "JAX_COMPILATION_CACHE_DIR" not in s1jax.commands.settings({}, 2)


@pytest.mark.parametrize("home", ["/proc/nowhere", "/dev/null"])
def test_a_command_without_a_home_goes_on(home):
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XDG_"))}
    code = "import s1jax.commands, os; print(os.environ.get('JAX_COMPILATION_CACHE_DIR'))"
    done = _shell(code, env={**keep, "HOME": home})
    assert (done.returncode, done.stdout) == (0, "None\n")
    assert done.stderr.startswith(f"compiled programs are not kept: {home}")
    assert done.stderr.count("\n") == 1


def test_a_pretrained_bank_is_whole_or_not_there(tmp_path, monkeypatch):
    def _half(file, **_):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", _half)
    path = tmp_path / "region.npz"
    with (
        pytest.raises(OSError, match=r"region\.npz"),
        files.replacing(path) as part,
        part.open("wb") as file,
    ):
        np.savez(file, a=1)
    assert not [*tmp_path.iterdir()]


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "a.zarr"
    (path / "VV").mkdir(parents=True)
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    (path / "VV" / ".zarray").write_text("{}")
    return path


def test_nothing_is_written_into_a_store(store, tmp_path):
    (tmp_path / "link").symlink_to(store / "VV")
    before = sorted(tmp_path.rglob("*"))
    for folder in (store, store / "VV", store / "new" / "deep", tmp_path / "link"):
        with pytest.raises(ValueError, match="got a path in the Zarr store"):
            commands.writing(folder).__enter__()
        with pytest.raises(ValueError, match="got a path in the Zarr store"):
            commands.writing_file(folder / "x.zarr").__enter__()
        with pytest.raises(ValueError, match="got a path in the Zarr store"):
            commands.writable(folder / "x.npz")
    assert sorted(tmp_path.rglob("*")) == before
    # the store itself may be replaced, and what lies beside it be written
    with commands.writing_file(store), commands.writing(tmp_path):
        pass


def test_nothing_is_written_beside_the_images_of_the_input(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    for folder in (tmp_path, tmp_path / "link"):
        with pytest.raises(ValueError, match="got the folder of the input"):
            commands.writing(folder, inputs=[None, tmp_path]).__enter__()
    with commands.writing(tmp_path / "results", inputs=[tmp_path]):
        pass


def test_a_server_is_no_place_to_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("s3://bucket/out.zarr", Path("http://host/out.npz")):
        for refuse in (commands.writing, commands.writing_file):
            with pytest.raises(ValueError, match="no folder of this machine"):
                refuse(path).__enter__()
        with pytest.raises(ValueError, match="no folder of this machine"):
            commands.writable(Path(path))
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["run", "doctor", "studies.explain", "studies.alignment", "mogpr"])
def test_a_command_leaves_the_store_it_reads_as_it_is(name, store):
    arguments = {
        "doctor": [store, "--out", store],
        "mogpr": [store, store / "x.zarr"],
    }.get(name, ["--cube", store, "--out", store])
    before = sorted(store.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-m", f"experiments.{name}", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert "got a path in the Zarr store" in done.stderr
    assert sorted(store.rglob("*")) == before
