"""The smallest examination end to end: page, findings as JSON, what is printed, exit codes."""

import dataclasses
import json
import re
import runpy
import sys

import numpy as np
import pytest
import tyro

from s1jax import cube
from s1jax.commands import doctor as experiment
from s1jax.commands.doctor import Doctor
from tests.worlds.doctor import HEIGHT, TODAY, WIDTH, changed, offset_kept, plain

QUICK = {"today": TODAY, "rows": 500, "pixels": 300}


def _infinite(value):
    value[[3, 40]] = -np.inf
    return value


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    path = tmp_path_factory.mktemp("cubes") / "faulty.nc"
    ds = changed(plain(), S2ndvi=lambda v: _infinite(offset_kept(v)))
    cube.write(ds, path)
    return path


def test_page_json_and_lines(faulty, tmp_path, capsys):
    split = tmp_path / "split.npz"
    training = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.8
    np.savez(split, training=training, test=~training)
    found = experiment.main(Doctor((str(faulty),), split=split, out=tmp_path / "out", **QUICK))
    told = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert [f["name"] for f in told["findings"]] == [f.name for f in found.findings]
    assert told["cube"] == "faulty"
    assert {"noise", "r2_ceiling", "R2, one step", "R2, window of steps", "copied_r2"} < set(
        told["facts"]
    )
    assert {"water", "relation"} <= {reason["name"] for reason in told["conditions"]}

    printed = capsys.readouterr().out
    heads = re.findall(r"^(FAULT|WARNING|NOTE) ([\w-]+):", printed, flags=re.MULTILINE)
    assert [name for _, name in heads] == [f.name for f in found.findings]
    assert [name for level, name in heads if level == "FAULT"] == [
        "offset-kept",
        "split-leaks",
        "infinite",
    ]
    # what open_cube does for it is said of the one that it mends
    assert printed.count("open_cube(repair=True) repairs it") == sum(
        f.repaired for f in found.findings
    )

    page = (tmp_path / "out" / "report.html").read_text()
    assert "<title>Examination of faulty</title>" in page
    for heading in ("Verdict", "Faults", "Notes", "Figures"):
        assert f"<h2>{heading}</h2>" in page
    assert (
        "repair first offset-kept, then split-leaks; open_cube(repair=True) repairs infinite"
        in page
    )
    # what, where, evidence and remedy on lines of their own
    assert re.search(r"<p>FAULT infinite: .*<br> *where: .*<br> *evidence: .*<br> *remedy: ", page)
    pictures = sorted(path.stem for path in (tmp_path / "out" / "figures").iterdir())
    assert pictures == ["expectation", "label_levels", "record", "stage_bars"]
    assert page.count("data:image/png;base64") == 4
    assert "nan" not in json.dumps(told).lower()


def test_a_cube_that_cannot_be_read_has_a_page_too(tmp_path, capsys):
    path = tmp_path / "half.nc"
    plain().drop_vars("VH").to_netcdf(path, engine="h5netcdf")
    found = experiment.main(Doctor((str(path),), out=tmp_path / "out", **QUICK))
    assert [f.name for f in found.findings] == ["unreadable"]
    assert "FAULT unreadable" in capsys.readouterr().out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "variable VH" in page
    assert "<h2>Figures</h2>" not in page
    told = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert set(told) == {"cube", "findings"}


def test_a_file_for_each_sensor_on_the_command_line(tmp_path):
    files = [str(tmp_path / "s1.nc"), str(tmp_path / "s2.nc")]
    for file, some in zip(files, (["VV", "VH"], ["S2ndvi"]), strict=True):
        plain()[some].to_netcdf(file, engine="h5netcdf")
    config = tyro.cli(Doctor, args=[*files, "--out", str(tmp_path / "out"), "--today", TODAY])
    found = experiment.main(dataclasses.replace(config, rows=0, pixels=300))
    assert (found.name, found.facts is None) == ("s1", False)
    with pytest.raises(ValueError, match="cube: got no file"):
        experiment.main(tyro.cli(Doctor, args=[]))


def test_results_have_a_place_of_their_own(faulty, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment.main(Doctor((str(faulty),), **QUICK | {"rows": 0}))
    (folder,) = (tmp_path / "results").iterdir()
    assert re.fullmatch(r"doctor-faulty-\d{8}T\d{6}Z", folder.name)


def test_a_split_is_read_from_a_cube_or_as_places(tmp_path):
    ds = plain()[["VV"]].isel(t=0, drop=True)
    training = np.zeros((HEIGHT, WIDTH), bool)
    training[:, :9] = True
    ds = ds.assign(training=(("y", "x"), training), test=(("y", "x"), (~training).astype(float)))
    ds.to_netcdf(tmp_path / "split.nc", engine="h5netcdf")
    first, second = experiment.read_split(tmp_path / "split.nc")
    np.testing.assert_array_equal(first, training)
    np.testing.assert_array_equal(second, ~training)
    np.savez(tmp_path / "split.npz", training=np.array([3, 4]), test=np.array([9]))
    first, second = experiment.read_split(tmp_path / "split.npz")
    assert (first.tolist(), second.tolist()) == ([3, 4], [9])
    np.savez(tmp_path / "other.npz", training=np.array([3, 4]))
    with pytest.raises(ValueError, match="got \\['training'\\], expected"):
        experiment.read_split(tmp_path / "other.npz")
    with pytest.raises(ValueError, match="split: got no such file"):
        experiment.read_split(tmp_path / "none.npz")


@pytest.fixture
def command(monkeypatch, tmp_path):
    """The command as the terminal calls it: what it exits with."""

    def _run(*arguments):
        quick = ["--rows", "0", "--pixels", "200", "--out", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", ["experiments.doctor", *map(str, arguments), *quick])
        monkeypatch.delitem(sys.modules, "experiments.doctor", raising=False)
        with pytest.raises(SystemExit) as stopped:
            runpy.run_module("experiments.doctor", run_name="__main__")
        return stopped.value.code

    return _run


@pytest.mark.slow
def test_exit_codes(command, faulty, tmp_path, capsys):
    assert command(faulty) == 0
    span, first = capsys.readouterr().out.split("\n\n")[:2]
    assert re.fullmatch(
        r"faulty: \d{4}-\d\d-\d\d to \d{4}-\d\d-\d\d, \d+ dates, .* days apart", span
    )
    assert first.startswith("FAULT offset-kept:")
    assert command(faulty, "--strict") == 2
    cube.write(plain(), tmp_path / "clean.nc")
    assert command(tmp_path / "clean.nc", "--strict") == 0
    capsys.readouterr()
    for arguments, words in (
        ((tmp_path / "none.nc",), "got no such file"),
        ((faulty, "--step", "12"), "expected both or neither"),
    ):
        assert command(*arguments) == 1
        line = capsys.readouterr().err
        assert line.startswith("error: ")
        assert words in line
