"""Cells once, written as Markdown, plain text or a part of a page; the tables of metrics.json."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments.report.files import Rows
from s1jax.commands import page
from s1jax.plots.scores import distinct

HEAD = (
    f"{'method':<12}{'task':<5}{'against':<7}{'R2':>7} [95 % interval ]{'MAE':>7}{'bias':>7}"
    f"{'cover':>6}{'skill':>7}{'n':>10}{'px/s':>11}"
)
"""Head over lines of `row_line`."""


class Table(NamedTuple):
    """Cells by column; a dash where a row has no such key."""

    columns: Mapping[str, str]
    """Head and how its numbers are written, as `format` takes it; "" is text."""
    rows: Sequence[Mapping[str, Any]]

    def cells(self) -> list[list[str]]:
        """The cells of each row as text."""
        return [
            [format(row[head], form) if head in row else "–" for head, form in self.columns.items()]
            for row in self.rows
        ]

    def markdown(self) -> str:
        """A Markdown table without an end of line."""
        rule = [":--" if not form else "--:" for form in self.columns.values()]
        lines = ([*self.columns], rule, *self.cells())
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def text(self) -> str:
        """Aligned columns in ASCII, the first to the left."""
        lines = [[*self.columns], *self.cells()]
        width = [max(map(len, column)) for column in zip(*lines, strict=True)]
        aligned = (
            [line[0].ljust(width[0]), *map(str.rjust, line[1:], width[1:])] for line in lines
        )
        return "\n".join("  ".join(line) for line in aligned).replace("–", "-")

    def html(self, caption: str = "") -> page.Table:
        """The part of a page."""
        return page.Table([*self.columns], self.cells(), caption=caption)


def interval(value: float, ends: Sequence[float], form: str = ".2f") -> str:
    """A number with its interval."""
    low, high = (format(end, form) for end in ends)
    return f"{value:{form}} [{low}, {high}]"


def ends(values: Sequence[float], form: str = ".2f") -> str:
    """Least and greatest number; one where they print alike, a dash where there is none."""
    if not values:
        return "–"
    return "–".join(dict.fromkeys(format(end(values), form) for end in (min, max)))


def sides(rows: Rows) -> list[str]:
    """Truth first, then labels; only those that have rows."""
    return sorted(distinct(rows, "against"), reverse=True)


def row_line(row: Mapping[str, Any]) -> str:
    """A row of metrics.json as a line of the terminal; without a reference its skill is nan."""
    low, high = row["ci95"]["r2"]
    skill = row.get("skill", float("nan"))
    return (
        f"{row['method']:<12}{row['task']:<5}{row['against']:<7}{row['r2']:7.3f} "
        f"[{low:6.3f}, {high:6.3f}]{row['mae']:7.3f}{row['bias']:+7.3f}"
        f"{row['coverage90']:6.2f}{skill:+7.2f}{row['n']:>10,}{row['px_per_s']:>11,.0f}"
    )


def by_method(rows: Rows, *, against: str) -> Table:
    """A line per method: R2 and its 95 % interval by task, coverage and speed.

    Coverage of the 90 % band is its range over the tasks, pixels per second their median.

    Raises:
      ValueError: no row against this.
    """
    rows = [row for row in rows if row["against"] == against]
    if not rows:
        raise ValueError(f"against: got no row scored against {against!r}, expected at least one")
    heads = [f"{task} R2" for task in distinct(rows, "task")]
    lines = []
    for method, of in _of_methods(rows):
        line = {"method": f"`{method}`"} | {f"{r['task']} R2": r2_cell(r) for r in of}
        line |= {"MAE": ends([r["mae"] for r in of], ".3f"), "90 % band covers": covered(of)}
        lines.append(line | {"px/s": speed(of)})
    columns = {"method": ""} | dict.fromkeys([*heads, "MAE", "90 % band covers"], ">")
    return Table(columns | {"px/s": ",.0f"}, lines)


def console_table(rows: Rows) -> str:
    """Plain text of the rows there are so far: R2 by task, coverage, fit time and speed."""
    blocks = []
    for against in sides(rows):
        part = [row for row in rows if row["against"] == against]
        name, lines = f"R2 against {against}", []
        for method, of in _of_methods(part):
            line = {name: method, "90 % band": covered(of), "fit s": max(r["fit_s"] for r in of)}
            lines.append(line | {r["task"]: r["r2"] for r in of} | {"px/s": speed(of)})
        columns = {name: ""} | dict.fromkeys(distinct(part, "task"), ".3f")
        columns |= {"90 % band": ">", "fit s": ".1f", "px/s": ",.0f"}
        blocks.append(Table(columns, lines).text() + "\n")
    return "\n".join(blocks)


def side_by_side(rows: Rows) -> page.Table:
    """R2 with its interval: truth and labels next to each other in each task."""
    keys = [(t, s) for t in distinct(rows, "task") for s in ("truth", "labels")]
    scored = {(row["task"], row["against"]) for row in rows}
    lines = []
    for method, of in _of_methods(rows):
        cells = {f"{r['task']}\n{r['against']}": r2_cell(r).replace(" ", "\n", 1) for r in of}
        ends_ = {"90 % band\ncovers": covered(of), "px/s": speed(of)}
        lines.append({"method": method} | cells | ends_)
    heads = [f"{task}\n{side}" for task, side in keys if (task, side) in scored]
    columns = {"method": ""} | dict.fromkeys([*heads, "90 % band\ncovers"], ">")
    table = Table(columns | {"px/s": ",.0f"}, lines)
    return table.html("R2 [95 % interval]; coverage: range over tasks")


def all_scores(rows: Rows) -> page.Table:
    """Every number of every row but the strata."""
    numbers = dict.fromkeys(("r2", "rmse", "mae", "bias", "crps", "coverage90", "skill"), ".4f")
    columns = dict.fromkeys(("method", "task", "against"), "") | numbers
    less = "RMSE - best yardstick's"
    columns |= {less: ">", "n": ",", "fit_s": ".1f", "px_per_s": ",.0f"}
    cell = "[{:.4f}, {:.4f}]".format
    rows = [row | {less: cell(*row["ci95"]["rmse_minus_best_yardstick"])} for row in rows]
    return Table(columns, rows).html("All scores; RMSE, MAE, bias and CRPS in NDVI")


def r2_cell(row: Mapping[str, Any]) -> str:
    """R2 and its interval."""
    return interval(row["r2"], row["ci95"]["r2"])


def covered(rows: Rows) -> str:
    """Range over the tasks of the coverage of the 90 % band."""
    return ends([row["coverage90"] for row in rows])


def speed(rows: Rows) -> float:
    """Median over the tasks of pixels per second."""
    # the first task may hold the compiling
    return statistics.median(row["px_per_s"] for row in rows)


def _of_methods(rows: Rows) -> list[tuple[str, Rows]]:
    """Each method and its rows."""
    names = distinct(rows, "method")
    return [(name, [row for row in rows if row["method"] == name]) for name in names]
