"""Tables, README, metrics.json and the page say what the rows say, and refuse what is no number."""

import json
import math
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.report import files, pictures, report, tables
from s1jax import plots
from s1jax.commands import page

CELL = {"mae": 0.1, "bias": -0.01, "n": 500}


def _row(method="mogpr", task="T1", against="labels", r2=0.6123, top=-0.01, **other):
    row = {
        "method": method,
        "task": task,
        "against": against,
        "r2": r2,
        "rmse": 0.1,
        "mae": 0.07,
        "bias": 0.001,
        "crps": 0.05,
        "coverage90": 0.88,
        "skill": 0.2,
        "n": 1234,
        "fit_s": 2.5,
        "px_per_s": 12345.6,
        "ci95": {
            "r2": [r2 - 0.05, r2 + 0.04],
            "rmse": [0.09, 0.11],
            "rmse_minus_best_yardstick": [-0.03, top],
        },
        "strata": {"gap_days": {"<= 12": CELL, "> 60": CELL}, "month": {"01": CELL}},
    }
    return row | other


def _table(rows, **options):
    return tables.by_method(rows, **options).markdown()


@pytest.fixture(scope="module")
def rows():
    return [
        _row("climatology", r2=-0.1, top=0.0),
        _row("climatology", "T2a", r2=0.2, top=0.0),
        _row("mogpr", coverage90=0.91),
        _row("mogpr", "T2a", r2=0.71, px_per_s=999.0),
        _row("linear", "T2a", r2=0.44, top=0.0),
        _row("mogpr", "T1", "truth", r2=0.55),
    ]


def test_metrics_are_written_whole_or_not_at_all(tmp_path, rows):
    path = tmp_path / "metrics.json"
    files.write_metrics(path, "demak", "blocks", [0], rows)
    content = {"dataset": "demak", "split": "blocks", "seeds": [0], "rows": rows}
    assert json.loads(path.read_text()) == content
    before = path.read_bytes()
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="JSON"):
            files.write_metrics(path, "demak", "blocks", [0], [_row(r2=bad)])
    assert path.read_bytes() == before


def test_table_has_a_line_a_method_and_its_numbers(rows):
    lines = _table(rows, against="labels").splitlines()
    assert lines[0] == "| method | T1 R2 | T2a R2 | MAE | 90 % band covers | px/s |"
    assert lines[2:] == [
        "| `climatology` | -0.10 [-0.15, -0.06] | 0.20 [0.15, 0.24] | 0.070 | 0.88 | 12,346 |",
        "| `mogpr` | 0.61 [0.56, 0.65] | 0.71 [0.66, 0.75] | 0.070 | 0.88–0.91 | 6,672 |",
        "| `linear` | – | 0.44 [0.39, 0.48] | 0.070 | 0.88 | 12,346 |",
    ]
    assert "0.55" in _table(rows, against="truth")
    with pytest.raises(ValueError, match="truth"):
        _table([row for row in rows if row["against"] == "labels"], against="truth")


def test_console_table_grows_and_lines_up(rows):
    short, long = tables.console_table(rows[:2]), tables.console_table(rows)
    assert "mogpr" not in short
    truth, labels = long.strip().split("\n\n")
    assert truth.startswith("R2 against truth")
    assert len({len(line) for line in labels.splitlines()}) == 1
    words = labels.splitlines()[2].split()
    assert words == ["mogpr", "0.612", "0.710", "0.88-0.91", "2.5", "6,672"]


def test_readme_changes_between_its_markers_only(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("top\n<!-- results:begin -->\nold\n<!-- results:end -->\nbottom\n")
    report.update_readme(path, "new | table\n")
    once = path.read_text()
    assert once == "top\n<!-- results:begin -->\nnew | table\n<!-- results:end -->\nbottom\n"
    report.update_readme(path, "new | table\n")
    assert path.read_text() == once
    with pytest.raises(ValueError, match="figure:begin"):
        report.update_readme(path, "x", marker="figure")
    path.write_text("<!-- results:end --> <!-- results:begin -->")
    with pytest.raises(ValueError, match="in order"):
        report.update_readme(path, "x")


def test_dataset_section_names_its_source(rows):
    text = report.dataset_section(
        "mekong", "Copernicus, A & B", rows, ["split district", "n = 225"]
    )
    assert text.startswith(
        "## mekong\n\nSource: Copernicus, A & B\n\n- split district\n- n = 225\n"
    )
    assert text.index("against truth") < text.index("against labels")
    assert _table(rows, against="labels") in text


class _Reader(HTMLParser):
    """Open tags, text, images and addresses of a page; fails on a tag closed out of turn."""

    def __init__(self):
        super().__init__()
        self.open, self.images, self.links, self.ids, self.text = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs["href"]] if "href" in attrs else []
        if tag == "img":
            self.images.append(attrs["src"])
            assert attrs["alt"]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def sections(rows):
    return report.score_sections(rows)


def _read(page):
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_page_is_whole_escaped_and_needs_nothing_outside(sections):
    nasty = 'blocks <b>&"quoted"'
    warning = "blocks of 480 m: not independent"
    summary = report.summary_section("demak", nasty, [0, 1], {"test pixels": 999}, [warning])
    sections = [summary, *sections]
    html = page.html("s1jax <report>", sections)
    assert html.startswith('<!DOCTYPE html>\n<html lang="en">')
    reader = _read(html)
    said = "".join(reader.text)
    for words in (nasty, warning, "999", "s1jax <report>", "0, 1", "-0.15", "12,346"):
        assert words in said
    pictures = [p for s in sections for p in s.parts if isinstance(p, page.Picture)]
    names = {p.name for p in pictures}
    assert names >= {"overview", "coverage", "intervals-T1", "gap_days-truth", "month-truth"}
    assert len(names) == len(pictures) == len(reader.images)
    assert "ndvi-labels" not in names  # no row has this stratum
    assert all(source.startswith("data:image/png;base64,") for source in reader.images)
    assert reader.links == [f"#{name}" for name in reader.ids]
    assert len(set(reader.ids)) == len(sections)
    assert "http" not in html
    assert html == page.html("s1jax <report>", sections)


def test_truth_and_labels_stand_side_by_side(sections):
    table = next(part for part in sections[0].parts if isinstance(part, page.Table))
    assert table.header[1:4] == ["T1\ntruth", "T1\nlabels", "T2a\nlabels"]
    mogpr = next(line for line in table.body if line[0] == "mogpr")
    assert mogpr[1:4] == ["0.55\n[0.50, 0.59]", "0.61\n[0.56, 0.65]", "0.71\n[0.66, 0.75]"]
    assert all(len(line) == len(table.header) for line in table.body)


def test_report_and_figures_are_written(tmp_path, sections):
    page.write_report(tmp_path, "demak", sections)
    _read((tmp_path / "report.html").read_text())
    written = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert written == {p.name for s in sections for p in s.parts if isinstance(p, page.Picture)}


@pytest.mark.parametrize(
    ("r2", "name"),
    [
        (0.71, "EXCELLENT"),
        (0.7, "GOOD"),
        (0.501, "GOOD"),
        (0.5, "FAIR"),
        (0.3, "POOR"),
        (-1, "POOR"),
    ],
)
def test_grade_boundaries_are_the_documents(r2, name):
    assert pictures.grade(r2).split(":")[0] == name
    assert f"{r2:.4f}" in pictures.grade(r2)


def test_improvement_is_over_the_reported_figure():
    np.testing.assert_allclose(pictures.improvement(0.544), (0.272, 100.0))
    np.testing.assert_allclose(pictures.improvement(0.136), (-0.136, -50.0))


def test_classic_section_says_what_is_ill_posed():
    generator = np.random.default_rng(0)
    truth = generator.uniform(0.2, 0.6, (50, 40))
    valid = generator.random(truth.shape) < 0.9
    test_set = SimpleNamespace(target=lambda against: truth, scored={"truth": valid})
    row = {"method": "mlp3", "task": "T1", "against": "truth", "r2": 0.544, "rmse": 0.1}
    estimates = {("mlp3", "T1"): SimpleNamespace(mean=truth + 0.05)}
    shown = pictures.FigureData(None, None, None, None, {"T1": test_set}, [row], estimates, {})
    section = pictures._classic(shown)
    reader = _read(page.html("classic", [section]))
    said = "".join(reader.text)
    assert "GOOD: R2 = 0.5440" in said
    assert "+0.2720 (+100.0 %)" in said
    assert "training rows" in said
    assert len(reader.images) == 1
    table = next(part for part in section.parts if isinstance(part, page.Table))
    assert [line[0].split(" [")[0] for line in table.body] == [n for *_, n in plots.NDVI_RANGES]
    assert table.body[0][1:] == ["–"] * 4
    low = table.body[2]
    assert low[1:3] == ["0.050", "+0.050"]
    assert low[4] == f"{np.sum(valid & (truth < 0.4)):,}"
    assert "ill-posed" in table.header[3]
