"""What a run wrote, as tables, figures and one page.

`python -m experiments.report RESULTS_DIR [--readme README.md]` prints the tables of a metrics.json;
with --readme it writes README's results table and docs/overview.png beside it. A second of work.
"""

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from experiments import commands
from experiments.metrics_file import Rows, read_metrics, write_metrics
from experiments.page import Picture, Section, Table, html, picture, write_report
from s1jax import files, plots
from s1jax.plots.scores import distinct

__all__ = [
    "Picture",
    "Section",
    "Table",
    "console_table",
    "dataset_section",
    "html",
    "picture",
    "plain",
    "read_metrics",
    "score_sections",
    "summary_section",
    "table",
    "update_readme",
    "write_metrics",
    "write_report",
]


def table(rows: Rows, *, against: str, claim: bool = False) -> str:
    """Markdown table, a line per method: R2 and its 95 % interval by task, coverage and speed.

    Coverage of the 90 % band is its range over the tasks, pixels per second their median.

    Args:
      rows: rows of metrics.json.
      against: "truth" or "labels".
      claim: bold where the RMSE is below the best yardstick's with an interval that excludes 0;
        only for several seeds and at least ten independent clusters.

    Raises:
      ValueError: no row against this.
    """
    rows = [row for row in rows if row["against"] == against]
    if not rows:
        raise ValueError(f"against: found no row scored against {against!r}, expected at least one")
    tasks = distinct(rows, "task")
    lines = [["method", *(f"{task} R2" for task in tasks), "MAE", "90 % band covers", "px/s"]]
    lines.append([":--", *("--:" for _ in lines[0][1:])])
    for method in distinct(rows, "method"):
        of = {row["task"]: row for row in rows if row["method"] == method}
        cells = [_r2_cell(of[task], claim) if task in of else "–" for task in tasks]
        mine = [*of.values()]
        cells += [_ends(mine, "mae", ".3f"), _ends(mine, "coverage90"), _speed(mine)]
        lines.append([f"`{method}`", *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def console_table(rows: Rows) -> str:
    """Plain text of the rows there are so far: R2 by task, coverage, fit time and speed."""
    blocks = []
    for against in _sides(rows):
        part = [row for row in rows if row["against"] == against]
        tasks = distinct(part, "task")
        head = [f"R2 against {against}", *tasks, "90 % band", "fit s", "px/s"]
        lines = [head]
        for method in distinct(part, "method"):
            of = {row["task"]: row for row in part if row["method"] == method}
            cells = [f"{of[task]['r2']:.3f}" if task in of else "-" for task in tasks]
            fit = max(row["fit_s"] for row in of.values())
            covered = _ends([*of.values()], "coverage90").replace("–", "-")
            lines.append([method, *cells, covered, f"{fit:.1f}", _speed([*of.values()])])
        width = [max(len(line[i]) for line in lines) for i in range(len(head))]
        for line in lines:
            first, *rest = (cell.rjust(w) for cell, w in zip(line, width, strict=True))
            blocks.append("  ".join([line[0].ljust(len(first)), *rest]))
        blocks.append("")
    return "\n".join(blocks)


def update_readme(path: Path, text: str, *, marker: str = "results") -> None:
    """Replaces what stands between `<!-- marker:begin -->` and `<!-- marker:end -->` in a file.

    Raises:
      ValueError: not exactly one of each, in this order.
    """
    begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
    old = Path(path).read_text(encoding="utf-8")
    found = old.count(begin), old.count(end)
    if found != (1, 1) or old.index(begin) > old.index(end):
        raise ValueError(f"{path}: found {begin} and {end} {found} times, expected once, in order")
    before, _, rest = old.partition(begin)
    after = rest.partition(end)[2]
    text = f"{before}{begin}\n{text.strip()}\n{end}{after}"
    files.write_text(path, text)


def dataset_section(name: str, source: str, rows: Rows, notes: Sequence[str]) -> str:
    """Markdown section of one data set: its source, notes (split, counts, warnings) and tables."""
    notes = [f"- {plain(note)}" for note in notes]
    lines = [f"## {plain(name)}", "", f"Source: {plain(source)}", "", *notes, ""]
    for against in _sides(rows):
        lines += [f"R2 against {against} [95 % interval]", "", table(rows, against=against)]
    return "\n".join(lines)


def plain(text: str) -> str:
    """A name or words of a file as one line of Markdown: no markup, no column of a table."""
    text = " ".join(text.split()).replace("|", "\\|")
    return text.replace("<", "&lt;").replace(">", "&gt;")


def summary_section(
    dataset: str,
    split: str,
    seeds: Sequence[int],
    facts: Mapping[str, object],
    warnings: Sequence[str],
) -> Section:
    """Warnings, a paragraph each, then data set, split, seeds and other facts as a table."""
    known = {"data set": dataset, "split": split, "seeds": ", ".join(map(str, seeds))}
    body = [[key, str(value)] for key, value in (known | dict(facts)).items()]
    return Section("Summary", [*(f"Mind: {text}" for text in warnings), Table(("", ""), body)])


def score_sections(rows: Rows) -> list[Section]:
    """Results, intervals, strata and coverage: the sections that metrics.json alone can make."""
    tasks, sides = distinct(rows, "task"), _sides(rows)
    results = [
        "R2 with its 95 % interval (cluster bootstrap). A dash: the method cannot do the task.",
        _side_by_side(rows),
        picture("overview", plots.overview(rows), "R2 by task and method"),
        _all_scores(rows),
    ]
    intervals = [
        picture(f"intervals-{task}", plots.intervals(rows, task), plots.TASKS.get(task, task))
        for task in tasks
    ]
    strata = []
    for name, (draw, words) in _STRATA.items():
        known = [s for s in sides if any(r["strata"].get(name) for r in rows if r["against"] == s)]
        for side in known[:1]:
            figure, what = draw(rows, against=side), f"MAE and bias {words}, against {side}"
            strata.append(picture(f"{name}-{side}", figure, what))
    covered = picture("coverage", plots.coverage(rows), "Share of values inside the 90 % band")
    return [
        Section("Results", results),
        Section("Intervals", intervals),
        Section("Strata", ["Hollow marks: fewer than 100 values in the bin.", *strata]),
        Section("Coverage", [covered]),
    ]


@dataclass(frozen=True)
class Config:
    """Prints the tables of a run; with --readme it writes them, and the figure, into a README."""

    results: tyro.conf.Positional[Path]
    """Folder of a run; it holds metrics.json."""
    readme: Path | None = None
    """File with <!-- results:begin --> and <!-- results:end -->; docs/overview.png is beside it."""


def main(argv: Sequence[str] | None = None) -> None:
    """Tables of a metrics.json on the terminal, and into a README where one is given."""
    config = tyro.cli(Config, args=argv)
    content = read_metrics(config.results / "metrics.json")
    rows = content["rows"]
    text = _readme_text(content)
    if config.readme is None:
        print(text)
        return
    figure = config.readme.parent / "docs" / "overview.png"
    update_readme(config.readme, text)
    figure.parent.mkdir(exist_ok=True)
    files.write_bytes(figure, plots.png(plots.overview(rows), dpi=150))
    print(console_table(rows))
    print(f"wrote {config.readme} and {figure}")


def _readme_text(content: Mapping) -> str:
    """The results part of a README: what was run, a table a side, the figure."""
    rows, seeds, split = content["rows"], content["seeds"], content["split"]
    claim = len(seeds) >= 3 and "indicative" not in split and "not independent" not in split
    lines = [
        f"Data set {content['dataset']}; split {split}; {_seeds(seeds)}. "
        "Tasks: " + "; ".join(plots.TASKS.get(t, t) for t in distinct(rows, "task")) + ".",
        "**Bold**: RMSE below the best yardstick's, 95 % interval excludes 0."
        if claim
        else "No winner is claimed from this run.",
    ]
    for side in _sides(rows):
        lines.append(f"R2 against {side} [95 % interval]:")
        lines.append(table(rows, against=side, claim=claim).strip())
    alt = "R2 by task and method with 95 % intervals"
    lines.append(f'<img src="docs/overview.png" width="900" alt="{alt}">')
    return "\n\n".join(lines) + "\n"


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _side_by_side(rows: Rows) -> Table:
    """R2 with its interval: truth and labels next to each other in each task."""
    pairs = {
        task: _sides([r for r in rows if r["task"] == task]) for task in distinct(rows, "task")
    }
    of = {(row["method"], row["task"], row["against"]): row for row in rows}
    columns = [(task, side) for task, sides in pairs.items() for side in sides]
    body = []
    for method in distinct(rows, "method"):
        found = [of.get((method, *column)) for column in columns]
        mine = [row for row in found if row is not None]
        cells = [
            "–" if row is None else _r2_cell(row, False).replace(" ", "\n", 1) for row in found
        ]
        body.append([method, *cells, _ends(mine, "coverage90"), _speed(mine)])
    groups = [("", 1), *((task, len(sides)) for task, sides in pairs.items()), ("", 2)]
    header = ["method", *(side for _, side in columns), "90 % band\ncovers", "px/s"]
    return Table(header, body, groups, "R2 [95 % interval]; coverage: range over tasks")


def _all_scores(rows: Rows) -> Table:
    """Every number of every row but the strata."""
    scores = ("r2", "rmse", "mae", "bias", "crps", "coverage90", "skill")
    header = ["method", "task", "against", *scores, "RMSE - best yardstick's", "n", "fit s", "px/s"]
    body = []
    for row in rows:
        low, high = row["ci95"]["rmse_minus_best_yardstick"]
        line = [row["method"], row["task"], row["against"]]
        line += [f"{row[name]:.4f}" for name in scores]
        line += [f"[{low:.4f}, {high:.4f}]", f"{row['n']:,}"]
        body.append([*line, f"{row['fit_s']:.1f}", f"{row['px_per_s']:,.0f}"])
    return Table(header, body, caption="All scores; RMSE, MAE, bias and CRPS in NDVI")


def _r2_cell(row: Mapping, claim: bool) -> str:
    """R2 and its interval; bold where a claim may be made and the interval allows it."""
    better = claim and row["ci95"]["rmse_minus_best_yardstick"][1] < 0
    r2 = f"**{row['r2']:.2f}**" if better else f"{row['r2']:.2f}"
    return "{} [{:.2f}, {:.2f}]".format(r2, *row["ci95"]["r2"])


def _ends(rows: Sequence[Mapping], score: str, form: str = ".2f") -> str:
    """Least and most of a score over the tasks; one number where they print alike."""
    ends = [format(end([row[score] for row in rows]), form) for end in (min, max)]
    return "–".join(dict.fromkeys(ends))


def _speed(rows: Sequence[Mapping]) -> str:
    # the first task may hold the compiling
    return f"{statistics.median(row['px_per_s'] for row in rows):,.0f}"


def _sides(rows: Rows) -> list[str]:
    """Truth first, then labels; only those that have rows."""
    return sorted(distinct(rows, "against"), reverse=True)


_STRATA = {
    "gap_days": (plots.by_gap_length, "by length of the gap"),
    "month": (plots.by_month, "by month"),
    "ndvi": (plots.by_level, "by range of NDVI"),
    "direction": (plots.by_direction, "by district left out"),
}

if __name__ == "__main__":
    sys.exit(commands.status(main))
