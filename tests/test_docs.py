"""Docs: code runs, commands parse, links lead somewhere, README stays short, equations count."""

import re
import shlex
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import jax
import numpy as np
import pytest

from s1jax.types import Series

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]
GP = ROOT / "docs" / "concepts" / "gp.md"
_FENCE = re.compile(
    r"^(?P<indent> *)(?:<!-- not run: (?P<reason>.*?) -->\n(?P=indent))?"
    r"```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
_COMMAND = re.compile(r"(?:python -m [\w.]+|s1jax (?:fill|doctor))\b[^`\n&]*")


def name_of(page):
    return str(page.relative_to(ROOT))


def fences(page, language):
    """Line, text and reason not to run it, of each fenced block of a language."""
    content = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(content):
        if found["language"] == language:
            lines = found["text"].splitlines()
            text = "\n".join(line.removeprefix(found["indent"]) for line in lines)
            yield content[: found.start("text")].count("\n"), text, found["reason"]


def prose(page):
    """The page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def commands(page):
    """Commands of the project that the page names, in blocks or inline."""
    return [line.strip() for line in _COMMAND.findall(page.read_text(encoding="utf-8"))]


def module_of(command):
    """Module that runs the command, and its arguments."""
    words = shlex.split(command)
    return (words[2], words[3:]) if words[0] == "python" else ("s1jax.commands", words[1:])


WITH_SUBCOMMANDS = ("s1jax.commands", "experiments.speed")
WITH_CODE = [page for page in PAGES if any(fences(page, "python"))]
WITH_COMMANDS = [page for page in PAGES if commands(page)]


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_code_is_python(page):
    for line, text, _ in fences(page, "python"):
        if text.lstrip().startswith('"') and text.rstrip().endswith(","):
            text = "{" + text + "}"  # a line of a table
        compile("\n" * line + text, name_of(page), "exec")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_code_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for line, text, reason in fences(page, "python"):
        if reason is None:
            exec(compile("\n" * line + text, name_of(page), "exec"), names)


def test_the_method_of_the_page_is_an_estimator():
    page = ROOT / "docs" / "how-to" / "methods.md"
    _, text, _ = next(fences(page, "python"))
    module = ModuleType("mean")
    exec(compile(text, name_of(page), "exec"), module.__dict__)
    rng = np.random.default_rng(0)
    ndvi = rng.uniform(0.2, 0.8, (6, 5)).astype(np.float32)
    valid = rng.random(ndvi.shape) < 0.7
    radar, seen = np.zeros((6, 5, 1, 2), np.float32), np.ones((6, 5, 2), bool)
    series = Series(np.arange(5.0, dtype=np.float32), radar, seen, ndvi, valid)
    method = module.mean()
    params = method.fit(jax.random.key(0), series, series)
    estimate = method.predict(params, series, series.day[:3])
    assert estimate.mean.shape == estimate.std.shape == (6, 3)
    np.testing.assert_allclose(estimate.mean, ndvi[valid].mean(), rtol=1e-6)


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_commands_exist(page):
    for command in commands(page):
        module, _ = module_of(command)
        assert find_spec(module) is not None, command


@cache
def help_of(module, subcommand):
    done = subprocess.run(
        [sys.executable, "-m", module, *subcommand, "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return frozenset(re.findall(r"--[a-z][\w.-]*", done.stdout))


def options_of(command):
    """Options that a command has."""
    module, arguments = module_of(command)
    return help_of(module, tuple(arguments[:1]) if module in WITH_SUBCOMMANDS else ())


def options_in(text):
    return set(re.findall(r"(?<![\w-])--[a-z][\w.-]*", text))


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_options_exist(page):
    for command in commands(page):
        assert options_in(command) <= options_of(command), command
    # those that stand alone belong to a command of the page, or to the head to head
    alone = options_in(" ".join(re.findall(r"`(--[^`\n]+)`", prose(page))))
    known = [options_of(c) for c in (*commands(page), "python -m experiments.run")] if alone else []
    assert alone <= {"--help"}.union(*known)


def anchors(page):
    """Anchors of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for link in links:
        if re.match(r"\w+://", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_readme_is_short_and_has_one_table_of_results():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    between = text.split("<!-- results:begin -->\n")[1].split("<!-- results:end -->")[0]
    rows = [line for line in between.splitlines() if line.startswith("|")]
    assert 3 <= len(rows) <= 2 + 8
    assert all(line.count("|") <= 5 + 1 for line in rows)


def test_readme_has_two_commands_and_the_second_is_ci():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "pip install -e . -c constraints.txt && python -m experiments.run\n" in text
    line = 'pip install -e ".[test]" -c constraints.txt && pytest\n'
    assert line in text
    assert line in (ROOT / ".ci/run").read_text(encoding="utf-8")


def test_one_version():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE)[1]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_equations_count_from_one_and_code_cites_those_there_are():
    numbers = [int(n) for n in re.findall(r"^\$\$ \(gp-(\d+)\)$", GP.read_text(), re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    for path in (ROOT / "s1jax").rglob("*.py"):
        text = " ".join(path.read_text(encoding="utf-8").split())
        for found in re.finditer(r"equations? ([^.;`]*?) of docs/concepts/gp\.md", text):
            cited = [int(n) for n in re.findall(r"\((\d+)\)", found[1])]
            assert cited, f"{path}: {found[0]}"
            assert set(cited) <= set(numbers), f"{path}: {found[0]}"
