"""Files are whole or not there; one process writes into a folder."""

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from s1jax import files


def test_a_file_is_the_old_one_or_the_new_one(tmp_path):
    path = tmp_path / "card.json"
    files.write_json(path, {"a": 1})

    def _halfway():
        with files.replacing(path) as part:
            part.write_text("half")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        _halfway()
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["card.json"]
    files.write_text(path, "new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["card.json"]


def test_a_second_process_is_refused_and_told_by_whom(tmp_path):
    code = f"from s1jax import files\nwith files.locked({str(tmp_path)!r}): pass"
    with files.locked(tmp_path):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 1
        assert f"process {os.getpid()} on {socket.gethostname()}" in done.stderr
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not [*tmp_path.iterdir()]


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    code = (
        "import os\nfrom s1jax import files\n"
        f"with files.locked({str(tmp_path)!r}): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code])
    assert (tmp_path / files.LOCK).exists()
    with files.locked(tmp_path):
        assert json.loads((tmp_path / files.LOCK).read_text())["process"] == os.getpid()
    assert not (tmp_path / files.LOCK).exists()


def test_a_number_that_another_process_has_now_is_no_lock(tmp_path):
    held = {"host": socket.gethostname(), "process": os.getpid(), "started": "1"}
    (tmp_path / files.LOCK).write_text(json.dumps(held))
    with files.locked(tmp_path):
        pass


def test_a_lock_of_another_host_holds(tmp_path):
    content = '{"host": "node7", "process": 5, "started": "1"}'
    (tmp_path / files.LOCK).write_text(content)
    words = r"process 5 on node7 .*; if that process has ended, remove"
    with pytest.raises(ValueError, match=words), files.locked(tmp_path):
        pass
    assert (tmp_path / files.LOCK).read_text() == content


@pytest.mark.parametrize(
    "content",
    ["", "{", "[" * 20_000, '{"host": "HERE", "process": 1e999, "started": "1"}', "5", "\0" * 9],
)
def test_a_lock_that_names_nobody_and_that_nobody_holds_is_taken_over(tmp_path, content):
    """It was cut off as it was written: its process would still have the kernel's lock of it."""
    (tmp_path / files.LOCK).write_text(content.replace("HERE", socket.gethostname()))
    with files.locked(tmp_path):
        assert json.loads((tmp_path / files.LOCK).read_text())["process"] == os.getpid()
    assert not [*tmp_path.iterdir()]


def test_where_there_are_no_locks_of_the_kernel_the_file_decides(tmp_path, monkeypatch):
    def _flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", _flock)
    (tmp_path / files.LOCK).write_text("")
    with pytest.raises(ValueError, match="an unknown host"), files.locked(tmp_path):
        pass
    (tmp_path / files.LOCK).unlink()
    dead = {"host": socket.gethostname(), "process": 2**22 + 5, "started": "1"}
    (tmp_path / files.LOCK).write_text(json.dumps(dead))
    with files.locked(tmp_path):
        pass
    assert not [*tmp_path.iterdir()]


def test_two_that_find_one_dead_lock_are_not_both_let_in(tmp_path, monkeypatch):
    """The second has opened the dead lock when the first takes it over, or has even ended."""
    dead = {"host": socket.gethostname(), "process": 2**22 + 5, "started": "1"}
    lock = tmp_path / files.LOCK
    lock.write_text(json.dumps(dead))
    real, first = files.fcntl.flock, files.locked(tmp_path)
    again = []

    def _late(*arguments):
        if not again:
            again.append(1)
            first.__enter__()
        return real(*arguments)

    monkeypatch.setattr(files.fcntl, "flock", _late)
    with pytest.raises(ValueError, match=f"process {os.getpid()}"), files.locked(tmp_path):
        pass
    assert lock.exists()
    # ... and where the first has ended in between, the lock it removed is none

    def _ended(*arguments):
        monkeypatch.setattr(files.fcntl, "flock", real)
        first.__exit__(None, None, None)
        return real(*arguments)

    monkeypatch.setattr(files.fcntl, "flock", _ended)
    with files.locked(tmp_path):
        assert lock.exists()
    assert not [*tmp_path.iterdir()]


def test_the_lock_of_another_is_not_removed(tmp_path):
    with files.locked(tmp_path):
        (tmp_path / files.LOCK).unlink()
        (tmp_path / files.LOCK).write_text("of another")
    assert (tmp_path / files.LOCK).read_text() == "of another"


def test_a_link_beside_a_file_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "a.json.part").symlink_to(victim)
    files.write_text(tmp_path / "a.json", "new")
    assert victim.read_text() == "precious"
    assert (tmp_path / "a.json").read_text() == "new"
    assert not (tmp_path / "a.json").is_symlink()


def test_what_a_link_points_to_is_replaced(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.json").symlink_to(tmp_path / "deep" / "b.json")
    for text in ("new", "newer"):
        files.write_text(tmp_path / "a.json", text)
        assert (tmp_path / "a.json").is_symlink()
        assert (tmp_path / "deep" / "b.json").read_text() == text
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["b.json"]


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="got a device or pipe"):
        files.write_text(tmp_path / "pipe", "text")
    with pytest.raises(IsADirectoryError):
        files.write_text(tmp_path, "text")
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.parametrize(
    "path", ["s3://b/a.json", "http:/host/a.json", "zip::a.json", "/vsis3/b/a.json", "a::b/c.json"]
)
def test_a_server_is_no_path_to_write(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    for given in (path, Path(path)):
        with pytest.raises(ValueError, match="no folder of this machine, expected a path"):
            files.write_text(given, "text")
    assert not [*tmp_path.iterdir()]
    files.refuse_remote("a:b/c 12:30.json")
