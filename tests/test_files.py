"""Files are whole or not there; one process writes into a folder."""

import json
import os
import socket
import subprocess
import sys

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


@pytest.mark.parametrize("content", ['{"host": "node7", "process": 5, "started": "1"}', "", "{"])
def test_a_lock_of_elsewhere_or_of_nobody_known_holds(tmp_path, content):
    (tmp_path / files.LOCK).write_text(content)
    words = r"process .* on .*; if that process has ended, remove"
    with pytest.raises(ValueError, match=words), files.locked(tmp_path):
        pass
    assert (tmp_path / files.LOCK).read_text() == content
