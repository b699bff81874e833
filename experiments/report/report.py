"""Results of a run or a comparison: sections of a page, README's results, results/README.md."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.protocol import scoring
from experiments.protocol.data import SIMULATED
from experiments.protocol.scoring import Outcome, Outcomes
from experiments.report import tables
from experiments.report.files import Rows, write_metrics
from experiments.report.tables import Table, by_method, covered, interval, r2_cell, sides, speed
from s1jax import files, plots
from s1jax.commands.page import Section, picture
from s1jax.commands.page import Table as PageTable
from s1jax.networks.pretrained import FOLDER
from s1jax.plots import YARDSTICKS
from s1jax.plots.scores import distinct

CLAIMED = "ensemble"
"""The network that is held against the best of `OTHERS`; it was chosen after first tables were
there, and is the same on all data sets."""
PEER = "birnn"
"""The published kind of network."""
CLASSICAL = (*YARDSTICKS, "boosting", "mogpr", "mogpr_pixel")
OTHERS = (*CLASSICAL, PEER)
GAINS = ("cnp", "ensemble"), ("boosting", "mogpr", "mogpr_pixel", "birnn")
"""Networks whose gains in R2 are shown, and over which methods."""
FEWEST = 10
"""Independent places below which a verdict is only indicative."""
REGION = 671 * 893
"""Pixels of the region that times are for."""
_SHOWN = {"sim_blocks": "truth", "mekong_rice_points_2022": "labels"}
"""Data sets of README and the side that is shown there."""
_README = ("linear", "mlp10", "boosting", "mogpr", PEER, "shipped", "cnp", CLAIMED)
"""Methods of README."""
PROMISED = (
    ("Current network", ".27", "5 min", "mlp3", "T1"),
    ("Improved network", ".55–.70", "8–12 min", "mlp10", "T1"),
    ("Optimised MOGPR", ".70–.85", "20–40 min", "mogpr", "T2a"),
    ("Parallel MOGPR", ".70–.85", "5–10 min", "mogpr_pixel", "T2a"),
    ("CropSAR", ".65–.80", "10–15 min", "cropsar", "T2a"),
    ("openEO MOGPR", ".75–.90", "15–30 min", None, "T2a"),
    ("(not promised: `cnp`)", "", "", "cnp", "T2a"),
)
"""Approach, the R2 and the time that the founding document expects, our method and its task."""
PROMISES = """\
The document that this project began with, an analysis of a single-date baseline, expects the R2
and the times on the left, without a task or a split. Measured: R2 against labels of the task
named, on unseen blocks of the simulated scene and in the unseen Mekong district; minutes of the
fit and of 671 x 893 pixels at the speed measured on sim_blocks. All learn from masked labels of
1,500 pixels at most, `mlp3` and `mlp10` in 10 epochs and without the baseline's faults, which
docs/studies/why.md takes one by one; `cnp` starts from weights that were trained on the truth of
{pixels:,} simulated pixels before, which is not in its minutes.
"""
INTRODUCTION = """# Results

docs/concepts/protocol.md defines the tasks, docs/studies/results.md the methods. `python -m
experiments.studies.compare` wrote this page. The real data are not
part of this repository; each section names its source. R2 with the 95 % interval of a bootstrap
over clusters, mean over seeds {seeds}. Fewer than 10 independent places (a district is one,
whatever its cells), or blocks that are not independent: read as indicative. Sets of one small area
share one calendar, so that `climatology` and `knn_space` are strong there and a high score does
not prove a use of radar; the honest rice test is the unseen district of Mekong, and these are two
districts. `cnp`, `tcn_s1`, `hybrid`, `switch`, `ensemble` and `shipped` start from weights that
were trained on {pixels:,} pixels of {regions} simulated regions, their truth included, which
flatters them on simulated scenes; on the real sets it is no help. sim_blocks,
sim_blocks_800 and sim_year are one scene, Belgium at 10 and at 20 m one cube, and the Mekong cubes
are chips of the northern points: they are no independent data sets. Under "What is won" `ensemble`
is held against the best of yardsticks, boosting, both MOGPR and `birnn`, the published kind of
network, over gaps of weeks (T2b, T2c, T2e). The test pixels themselves choose the best other;
`ensemble` was chosen after first tables were there. No verdict is corrected for their number;
intervals draw places, not the dates that T2e hides, the scene or the training. Each data set
lists what it adds on every task. The unseen simulated region and year leave T2e out, which
would fit every method a second time. px/s is of two cores, at times with other jobs, the patch
models in a later call: compare it within a table.
"""
_STRATA = {
    "gap_days": "by length of the gap",
    "month": "by month",
    "ndvi": "by range of NDVI",
    "direction": "by district left out",
}


def plain(text: str) -> str:
    """A name or words of a file as one line of Markdown: no markup, no column of a table."""
    text = " ".join(text.split()).replace("|", "\\|")
    return text.replace("<", "&lt;").replace(">", "&gt;")


def update_readme(path: Path, text: str, *, marker: str = "results") -> None:
    """Replace what stands between `<!-- marker:begin -->` and `<!-- marker:end -->` in a file.

    Raises:
      ValueError: not exactly one of each, in this order.
    """
    begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
    old = Path(path).read_text(encoding="utf-8")
    count = old.count(begin), old.count(end)
    if count != (1, 1) or old.index(begin) > old.index(end):
        raise ValueError(f"{path}: got {begin} and {end} {count} times, expected once, in order")
    before, _, rest = old.partition(begin)
    files.write_text(path, f"{before}{begin}\n{text.strip()}\n{end}{rest.partition(end)[2]}")


def dataset_section(name: str, source: str, rows: Rows, notes: Sequence[str]) -> str:
    """Markdown section of one data set: its source, notes (split, counts, warnings) and tables."""
    notes = [f"- {plain(note)}" for note in notes]
    lines = [f"## {plain(name)}", "", f"Source: {plain(source)}", "", *notes, ""]
    for against in sides(rows):
        table = by_method(rows, against=against).markdown()
        lines += [f"R2 against {against} [95 % interval]", "", table, ""]
    return "\n".join(lines)


def summary_section(
    dataset: str,
    split: str,
    seeds: Sequence[int],
    facts: Mapping[str, object],
    warnings: Sequence[str],
) -> Section:
    """Warnings, a paragraph each, then data set, split, seeds and other facts as a table."""
    facts = {"data set": dataset, "split": split, "seeds": ", ".join(map(str, seeds)), **facts}
    body = [[key, str(value)] for key, value in facts.items()]
    return Section("Summary", [*(f"Mind: {text}" for text in warnings), PageTable(("", ""), body)])


def score_sections(rows: Rows) -> list[Section]:
    """Results, intervals, strata and coverage: the sections that metrics.json alone can make."""
    results = [
        "R2 with its 95 % interval (cluster bootstrap). A dash: the method cannot do the task.",
        tables.side_by_side(rows),
        picture("overview", plots.overview(rows), "R2 by task and method"),
        tables.all_scores(rows),
    ]
    intervals = [
        picture(f"intervals-{task}", plots.intervals(rows, task), plots.TASKS.get(task, task))
        for task in distinct(rows, "task")
    ]
    strata = []
    for name, words in _STRATA.items():
        scored = {row["against"] for row in rows if row["strata"].get(name)}
        for side in sorted(scored, reverse=True)[:1]:
            figure = plots.by_stratum(rows, name, against=side)
            what = f"MAE and bias {words}, against {side}"
            strata.append(picture(f"{name}-{side}", figure, what))
    covered = picture("coverage", plots.coverage(rows), "Share of values inside the 90 % band")
    return [
        Section("Results", results),
        Section("Intervals", intervals),
        Section("Strata", ["Hollow marks: fewer than 100 values in the bin.", *strata]),
        Section("Coverage", [covered]),
    ]


class Compared(NamedTuple):
    """All outcomes of a data set."""

    name: str
    words: str
    split: str
    seeds: tuple[int, ...]
    outcomes: Outcomes
    days: dict[str, list[dict]]
    """Method -> task -> errors of the seasons, one a seed."""


class Verdict(NamedTuple):
    """The claimed network beside the other method of least RMSE."""

    dataset: str
    task: str
    against: str
    network: str
    r2: float
    other: str
    other_r2: float
    gain: float
    """RMSE of the network less that of the other."""
    interval: tuple[float, float]
    """95 %, paired."""
    places: str
    """How many independent places were tested."""
    word: str
    """won, lost or open; indicative where places are few or not independent."""


def write_comparison(
    out: Path, compared: Sequence[Compared], *, readme: Path | None, results: Path | None
) -> None:
    """Write metrics.json of each data set and results.md to `out`; the tables to README too.

    Args:
      out: folder of the comparison.
      compared: data sets, in order; those with nothing scored are left out.
      readme: file between whose results markers the main tables go; docs/overview.png beside it.
      results: file that is written whole.
    """
    compared = [one for one in compared if one.outcomes]
    rows = {one.name: scoring.rows(one.outcomes) for one in compared}
    for one in compared:
        folder = out / one.name
        folder.mkdir(parents=True, exist_ok=True)
        write_metrics(folder / "metrics.json", one.name, one.split, one.seeds, rows[one.name])
        files.write_json(folder / "seasons.json", one.days)
    seeds = ", ".join(str(seed) for seed in (compared[0].seeds if compared else ()))
    won = verdicts(compared)
    counts = both_counted(won, verdicts(compared, CLASSICAL))
    text = [INTRODUCTION.format(seeds=seeds, **_pretraining()), "## What is won\n"]
    text += [claims(won).markdown() + "\n", counts, "## What was promised\n"]
    text += [PROMISES.format(**_pretraining()), promised(rows).markdown() + "\n"]
    for one in compared:
        notes = [f"Split: {_tested(one)}"]
        text.append(dataset_section(one.name, one.words, rows[one.name], notes))
        if (gained := gains(one.outcomes)).rows:
            text += [f"R2 gained on {plain(one.name)} [95 %, paired]\n", gained.markdown() + "\n"]
        if any(any(day.values()) for days in one.days.values() for day in days):
            title = f"Seasons of {plain(one.name)}: errors in days\n"
            text += [title, seasons(one).markdown() + "\n"]
    for path in filter(None, (out / "results.md", results)):
        files.write_text(path, "\n".join(text))
    if readme is not None:
        update_readme(readme, _readme_table(rows))
        first = next((name for name in _SHOWN if name in rows), compared[0].name)
        overview = plots.png(plots.overview(rows[first]), dpi=150)
        files.write_bytes(readme.parent / "docs" / "overview.png", overview)


def _pretraining() -> dict[str, int]:
    """How many simulated `pixels` of how many `regions` the shipped weights were trained on."""
    scores = json.loads((FOLDER / "cnp.json").read_text(encoding="utf-8"))["scores"]
    return {name: scores[name] for name in ("pixels", "regions")}


def _readme_table(rows: Mapping[str, Rows]) -> str:
    """README's table: R2 of a 60-day gap on two data sets, coverage on the second, speed."""
    scene, mekong = _SHOWN
    shown = {
        name: side if side in sides(rows.get(name, ())) else "labels"
        for name, side in _SHOWN.items()
    }
    scores = {
        (name, row["method"]): row
        for name, side in shown.items()
        for row in rows.get(name, ())
        if row["task"] == "T2b" and row["against"] == side
    }
    lines = []
    for method in _README:
        line = {"method": f"`{method}`"}
        for name, head in ((scene, "simulated scene"), (mekong, "Mekong rice")):
            if row := scores.get((name, method)):
                line[head] = r2_cell(row)
        of = [r for r in rows.get(mekong, ()) if (r["method"], r["against"]) == (method, "labels")]
        line |= {"band covers": covered(of)} if of else {}
        if of := [row for row in rows.get(scene, ()) if row["method"] == method]:
            line["px/s"] = speed(of)
        if len(line) > 1:
            lines.append(line)
    heads = dict.fromkeys(("simulated scene", "Mekong rice", "band covers"), ">")
    return Table({"method": ""} | heads | {"px/s": ",.0f"}, lines).markdown() + "\n"


def clusters(outcomes: Sequence[Outcome]) -> int:
    """Number of clusters that several seeds have tested together."""
    return np.unique(np.concatenate([outcome.cluster for outcome in outcomes])).size


def places(outcomes: Sequence[Outcome]) -> tuple[int, str]:
    """How many independent places were tested, and the same in words: districts where each was
    left out in turn, since the cells of one are no places of their own; else clusters."""
    count = clusters(outcomes)
    districts = {name for outcome in outcomes for name in outcome.strata.get("direction", {})}
    if districts:
        return len(districts), f"{len(districts)} districts ({count} cells)"
    return count, str(count)


def _indicative(one: Compared, count: int) -> bool:
    """Whether a data set is too small, or its blocks too near, to claim anything of it."""
    return count < FEWEST or "not independent" in one.split


def _tested(one: Compared) -> str:
    """Its split, and how many places the seeds have tested together."""
    count, words = max(places(outcomes) for outcomes in one.outcomes.values())
    few = ", indicative" if _indicative(one, count) else ""
    words = words if "district" in words else f"{words} test clusters"
    return f"{one.split}; {words} over the seeds{few}"


def _truth_first(keys: set[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted(keys, key=lambda key: (key[1] == "labels", key[0]))


def verdicts(compared: Sequence[Compared], others: Sequence[str] = OTHERS) -> list[Verdict]:
    """`CLAIMED` beside the best of the others of each data set, on T2b, T2c and T2e.

    The other is the best by the test pixels themselves; the interval of the difference is paired,
    and knows nothing of that choice. Won: it excludes 0, over ten independent places or more.
    """
    made = []
    for one in compared:
        keys = {key[1:] for key in one.outcomes if key[1] in ("T2b", "T2c", "T2e")}
        for task, against in _truth_first(keys):
            name = scoring.best(one.outcomes, others, task, against)
            if name is None or (CLAIMED, task, against) not in one.outcomes:
                continue
            mine, other = (one.outcomes[method, task, against] for method in (CLAIMED, name))
            gain, (low, high) = scoring.difference(mine, other, task)
            count, words = places(mine)
            word = "won" if high < 0 else "lost" if low > 0 else "open"
            word = f"{word}: indicative" if _indicative(one, count) else word
            r2, other_r2 = (scoring.scores_of(many, "r2") for many in (mine, other))
            names = (one.name, task, against, CLAIMED, r2, name, other_r2)
            made.append(Verdict(*names, gain, (low, high), words, word))
    return made


def claims(won: Sequence[Verdict]) -> Table:
    """The verdicts; those that are only indicative in brackets."""
    heads = ("data set", "task", "against", "network", "R2", "best other", "its R2")
    heads += ("RMSE difference [95 %]", "places", "verdict")
    lines = []
    for v in won:
        less = interval(v.gain, v.interval, "+.3f")
        pair = [f"`{v.network}`", f"{v.r2:.2f}", f"`{v.other}`", f"{v.other_r2:.2f}"]
        word = f"({v.word})" if "indicative" in v.word else v.word
        cells = [plain(v.dataset), v.task, v.against, *pair, less, v.places, word]
        lines.append(dict(zip(heads, cells, strict=True)))
    return Table({heads[0]: ""} | dict.fromkeys(heads[1:], ">"), lines)


def both_counted(won: Sequence[Verdict], apart: Sequence[Verdict]) -> str:
    """`counted` with the published kind of network among the others, and without it."""
    return f"With `{PEER}` among the others:\n\n{counted(won)}\nWithout it:\n\n{counted(apart)}"


def counted(won: Sequence[Verdict]) -> str:
    """How often which verdict was given, in a sentence for simulated and one for real data sets."""
    lines = []
    for kind, of in (("simulated", True), ("real", False)):
        some = [verdict for verdict in won if (verdict.dataset in SIMULATED) == of]
        sets = len({verdict.dataset for verdict in some})
        counts = []
        for word in ("won", "open", "lost"):
            given = [verdict.word for verdict in some if verdict.word.startswith(word)]
            few = sum("indicative" in each for each in given)
            counts.append(f"{len(given)} {word}" + (f" ({few} indicative)" if few else ""))
        if some:
            lines.append(
                f"{len(some)} comparisons on {sets} {kind} data sets: {', '.join(counts)}."
            )
    return "\n".join(lines) + "\n"


def gains(outcomes: Outcomes) -> Table:
    """R2 of each network less that of each other method of `GAINS`, and the 95 % interval of the
    clusters that both were tested on; a dash where either has no score."""
    methods = {method for method, _, _ in outcomes}
    pairs = [(a, b) for a in GAINS[0] for b in GAINS[1] if {a, b} <= methods]
    lines = []
    for task, against in _truth_first({key[1:] for key in outcomes} if pairs else set()):
        line = {"task": task, "against": against}
        for pair in pairs:
            sums = [outcomes.get((method, task, against)) for method in pair]
            if None not in sums:
                gain = interval(*scoring.difference(*sums, task, score="r2"), "+.2f")
                line["`{}` − `{}`".format(*pair)] = gain
        lines.append(line)
    heads = ["against", *("`{}` − `{}`".format(*pair) for pair in pairs)]
    return Table({"task": ""} | dict.fromkeys(heads, ">"), lines)


def promised(rows: Mapping[str, Rows]) -> Table:
    """The founding document's expected R2 and times, what was measured beside them, row by row."""
    names = [name for name in _SHOWN if name in rows]
    times = "minutes for 671 x 893"
    lines = []
    for approach, r2, minutes, method, task in PROMISED:
        line = {"approach": approach, "R2 promised": r2, "time promised": minutes}
        line["measured as"] = f"`{method}`, {task}" if method else "not run: a paid cloud service"
        for name in names:
            key = (method, task, "labels")
            for row in rows[name]:
                if (row["method"], row["task"], row["against"]) == key:
                    line[f"R2 {name}"] = row["r2"]
                    if name == names[0]:
                        line[times] = (row["fit_s"] + REGION / row["px_per_s"]) / 60
        lines.append(line)
    columns = {"approach": ""} | dict.fromkeys(("R2 promised", "time promised", "measured as"), ">")
    columns |= {f"R2 {name}": ".2f" for name in names} | {times: ".1f"}
    return Table(columns, lines)


def seasons(one: Compared) -> Table:
    """Mean absolute error of the peak and of the start, days; seasons that are missed."""
    forms = {
        "peak": ("peak_mae", ".1f"),
        "start": ("start_mae", ".1f"),
        "missed": ("missed", ".0%"),
    }
    tasks = sorted({task for days in one.days.values() for day in days for task in day})
    lines = []
    for method, days in one.days.items():
        line = {"method": f"`{method}`"}
        for task in tasks:
            for what, (name, _) in forms.items():
                values = [day[task][name] for day in days if task in day]
                if (values := np.array(values)[np.isfinite(values)]).size:
                    line[f"{task} {what}"] = values.mean()
        lines.append(line)
    columns = {f"{task} {what}": form for task in tasks for what, (_, form) in forms.items()}
    return Table({"method": ""} | columns, lines)
