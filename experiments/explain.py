"""What does `cnp` look at? Inputs permuted between pixels, and parts of it left out.

Command: python -m experiments.explain                  (a simulated scene)
         python -m experiments.explain --cube FILE --split district      (and a real one beside it)
Cost: four minutes on 2 cores for both.
Expected so, T1 / T2b, simulated scene, R2 against truth: full .87 / .89, no S1 .37 / .79, no
pre-training .84 / .87, single date .57 / .58.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import numpy as np
import tyro
from jaxtyping import Bool

from experiments import commands, importance, protocol, run, scoring
from experiments.bench import table
from experiments.config import Config
from experiments.methods import wider
from experiments.splits import Split
from s1jax import chunks, files, hiding, networks, plots
from s1jax.networks import CnpConfig
from s1jax.simulate import SceneConfig
from s1jax.types import Key, Params

FULL, ANEW = "full", "no pre-training"
"""What the others are held against."""
SEEN = {
    FULL: "`cnp` as it is",
    "no S1": "sees no radar",
    "no S2": "sees no NDVI of the pixel",
    "no spatial": "sees no 3 x 3 and 7 x 7 means; left out where a data set has none",
    ANEW: "random weights at the start",
    f"{ANEW}, no mixture": "the same, and labels are Gaussian about the latent NDVI",
    f"{ANEW}, recurrent": "the same budget for the network of `birnn`",
    f"{ANEW}, single date": "random weights, fully connected 128-128-64: radar of the date alone",
}
"""Variants of the table, in its order."""


@dataclass(frozen=True)
class Explain:
    """Permutation importance and ablation of the conditional network `cnp`."""

    cube: str | None = None
    """NetCDF or Zarr with VV, VH, S2ndvi, beside the simulated scene; none: that alone."""
    start: str | None = None
    """First day of the first period (ISO date); needed for files which carry no date."""
    step: float | None = None
    """Length of a period, days."""
    split: Literal["blocks", "district", "season"] = "blocks"
    """What of the cube is left out for testing: whole blocks, a district at a time, or the second
    year; of the simulated scene it is blocks."""
    scene: SceneConfig = field(default_factory=lambda: SceneConfig(height=96, width=112))
    """The simulated scene."""
    training_pixels: int = 1500
    """Training pixels, at most."""
    validation_pixels: int = 300
    """Validation pixels, at most."""
    test_pixels: int = 1000
    """Test pixels of a fold that are scored, at most."""
    tasks: tuple[str, ...] = ("T1", "T2a", "T2b", "T2c")
    """Tasks of the ablation."""
    permuted_tasks: tuple[str, ...] = ("T1", "T2b")
    """Tasks of the permutations, among `tasks`; not T2d, T2e."""
    permuted_pixels: int = 256
    """Test pixels of a fold whose inputs are permuted, at most."""
    repeats: int = 3
    """Permutations of each input."""
    most: int = 5
    """Furthest lag of radar, periods."""
    every: int = 62
    """Periods between two whose radar is permuted at once; that of a series or more: one alone."""
    variants: tuple[str, ...] = tuple(SEEN)
    """Which variants, beside `full` and what they are held against."""
    longer: int = 3
    """Epochs and steps of a variant without pre-training, in those of `cnp`."""
    cnp: CnpConfig = field(
        default_factory=lambda: CnpConfig(train=replace(CnpConfig().train, steps=200))
    )
    """The network and its training."""
    seed: int = 0
    """Seed of the split, of what is hidden, of training and permutations."""
    out: Path | None = None
    """Folder of the results; none: results/explain-<utc>."""


class Bed(NamedTuple):
    """A data set, its split, and what the tasks ask."""

    name: str
    split: Split
    words: str
    """The split in words."""
    data: protocol.Data
    gaps: dict[str, Bool[np.ndarray, "pixel time"]]
    views: dict[str, scoring.View]
    wider: float
    """Factor of the bands."""


def variants(cnp: CnpConfig, *, longer: int) -> dict[str, tuple[CnpConfig, str]]:
    """Configuration of each variant of `SEEN`, and the variant that it is held against.

    The shipped weights need their architecture: what differs in it starts from random weights, and
    is held against the network that does too. These get `longer` times the epochs and steps.
    """
    limits = {name: getattr(cnp.train, name) for name in ("epochs", "steps", "patience")}
    limits = {name: n if n is None else longer * n for name, n in limits.items()}
    anew = replace(cnp, pretrained=False, train=replace(cnp.train, **limits))
    found = (
        (cnp, FULL),
        (replace(cnp, radar=False), FULL),
        (replace(cnp, ndvi=False), FULL),
        (replace(cnp, spatial=False), FULL),
        (anew, FULL),
        (replace(anew, mixture=False), ANEW),
        (replace(anew, net="gru"), ANEW),
        (replace(anew, net="window", window=0, hidden=(128, 128, 64)), ANEW),
    )
    return dict(zip(SEEN, found, strict=True))


def main(config: Explain) -> Path:
    """The folder with table.md, explain.json and importance.png; the table is printed.

    Raises:
      ValueError: an unknown variant, a task of the permutations that is not among the tasks, or
        what `experiments.run` raises on such data.
    """
    _check(config)
    utc = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    out = config.out or Path("results") / f"explain-{utc}"
    with commands.writing(out, inputs=[config.cube]):
        _explain(config, out)
    return out


def _explain(config: Explain, out: Path) -> None:
    started, found = time.perf_counter(), []
    # what is wrong with the cube is said before anything is trained on the simulated scene
    beds = [load(config, cube) for cube in dict.fromkeys((config.cube, None))]
    for bed, key_fit, key_permute in reversed(beds):
        print(f"{bed.name}: {bed.words}", flush=True)
        ablation, learnt = ablate(key_fit, config, bed)
        permuted = permute(key_permute, config, bed, learnt)
        found.append({"dataset": bed.name, "split": bed.words, "ablation": ablation})
        found[-1]["importance"] = permuted
    text = markdown(config, found)
    print("", text, sep="\n")
    files.write_text(out / "table.md", text + "\n")
    bars = [row | {"dataset": one["dataset"]} for one in found for row in one["importance"]]
    files.write_bytes(out / "importance.png", plots.png(plots.importance(bars)))
    content = {"config": dataclasses.asdict(config), "environment": run.environment()}
    content |= {"seconds": round(time.perf_counter() - started), "datasets": found}
    words = json.dumps(content, indent=1, allow_nan=False, default=str)
    files.write_text(out / "explain.json", words + "\n")


def _check(config: Explain) -> None:
    """Refuse before anything is trained what could not be told after it."""
    # T2d has no labels, T2e a training of its own
    plain = tuple(task for task in config.tasks if task not in ("T2d", "T2e"))
    for name, expected in (("variants", tuple(SEEN)), ("permuted_tasks", plain)):
        unknown = [item for item in getattr(config, name) if item not in expected]
        if unknown:
            raise ValueError(f"{name}: got {unknown}, expected some of {expected}")
    for name, least in (("repeats", 2), ("every", 2 * config.most + 1)):
        if getattr(config, name) < least:
            raise ValueError(f"{name}: got {getattr(config, name)}, expected at least {least}")


def load(config: Explain, cube: str | None) -> tuple[Bed, Key, Key]:
    """The simulated scene or a cube, its labels hidden as the head to head of the same seed hides
    them, and a key for the training and one for the permutations."""
    same = ("scene", "training_pixels", "validation_pixels", "test_pixels")
    more = {} if cube is None else {k: getattr(config, k) for k in ("start", "step", "split")}
    whole = Config(cube=cube, **{name: getattr(config, name) for name in same}, **more)
    ds, name = run.load(whole)
    data, _ = run.to_data(ds)
    split = run.split_of(whole, data, config.seed)
    key, gaps, views = protocol.asked(data, split, config.tasks, config.seed)
    told = f"{whole.split}: {run.describe(split)}", data, gaps, views, wider(whole.split)
    return Bed(name, split, *told), *jax.random.split(key)


def ablate(key: Key, config: Explain, bed: Bed) -> tuple[list[dict], dict[str, Params]]:
    """A row of scores for each variant, task and what it is scored against, with intervals of a
    cluster bootstrap, paired with the variant in `reference`; and what `full` learnt in each fold.
    """
    known = variants(config.cnp, longer=config.longer)
    chosen = {FULL, *config.variants, *(known[name][1] for name in config.variants)}
    if bed.data.series.smooth is None:
        chosen -= {"no spatial"}
    methods, learnt, outcomes, rows = [], {}, {}, []
    for name in (name for name in SEEN if name in chosen):
        of = networks.sequence(replace(known[name][0], elsewhere=bed.wider), label=name)
        methods.append(protocol.Method(name, of, config.tasks))

    def _learnt(name, fold, params):
        if name == FULL:
            learnt[fold.name] = params

    for name, task, estimates in protocol.head_to_head(
        key, methods, bed.data, bed.split, bed.gaps, learnt=_learnt
    ):
        for against in bed.views[task].scored:
            one = scoring.score(bed.views[task], estimates, against, seed=config.seed)
            outcomes[name, task, against] = [one]
            reference = known[name][1]
            row = scoring.row(name, task, against, [one], outcomes[reference, task, against])
            rows.append(_row(row, reference))
            print(f"{name}, {task}, {against}: R2 {row['r2']:.3f}", flush=True)
    return rows, learnt


def _row(row: Mapping, reference: str) -> dict:
    """Of a row of metrics.json what an ablation tells; its yardstick is the reference."""
    kept = ("task", "against", "r2", "rmse", "mae", "bias", "crps", "coverage90", "n", "fit_s")
    ci95 = {name: row["ci95"][name] for name in ("r2", "rmse")}
    ci95["rmse_minus_reference"] = row["ci95"]["rmse_minus_best_yardstick"]
    names = {"variant": row["method"], "reference": reference}
    return names | {name: row[name] for name in kept} | {"ci95": ci95}


def permute(key: Key, config: Explain, bed: Bed, learnt: Mapping[str, Params]) -> list[dict]:
    """A row for each task, what it is scored against, and each input or lag permuted: see
    `importance.losses`. Pixels are exchanged inside a fold; `learnt` is of `cnp`, by fold."""
    rows, folds = [], bed.split.folds
    first = np.cumsum([0, *(fold.test.size for fold in folds)])
    for number, task in enumerate(config.permuted_tasks):
        told, asked = [], []
        for k, fold in enumerate(folds):
            one = jax.random.fold_in(jax.random.fold_in(key, number), k)
            key_pixels, key_told = jax.random.split(one)
            some = np.asarray(jax.random.permutation(key_pixels, fold.test.size))
            some = some[: config.permuted_pixels]
            gap = bed.gaps[task][fold.test[some]][:, fold.test_time]
            series = protocol.take(bed.data.series, fold.test[some], fold.test_time)
            series = jax.tree.map(np.asarray, hiding.without(series, gap))
            tell = _tell(config.cnp, learnt[fold.name], len(some))
            options = {name: getattr(config, name) for name in ("repeats", "most", "every")}
            told.append(importance.told(key_told, tell, series, gap, **options))
            asked.append(first[k] + some)
        view, index = bed.views[task], np.concatenate(asked)
        for against, where in view.scored.items():
            target = (view.truth if against == "truth" else view.label)[index]
            found = importance.rows(told, target, where[index])
            rows += [{"task": task, "against": against} | row for row in found]
        print(f"{task}: permuted", flush=True)
    return rows


def _tell(config: CnpConfig, params: Params, pixels: int) -> importance.Tell:
    """The network's mean, in one call where there are few pixels."""
    config = replace(config, chunk=chunks.shape(pixels, most=config.chunk))
    predict = networks.sequence(config, label="permuted").predict
    return lambda series: predict(params, series, series.day).mean


def markdown(config: Explain, found: Sequence[Mapping]) -> str:
    """What was run, and a table: a line for each data set, variant and what it is scored against.

    R2 with its 95 % interval by task, and the least and most coverage of the 90 % band over tasks.
    """
    lines = []
    for one in found:
        rows = one["ablation"]
        for against in sorted({row["against"] for row in rows}, reverse=True):
            for name in SEEN:
                of = [r for r in rows if (r["variant"], r["against"]) == (name, against)]
                if of:
                    names = {"data set": one["dataset"], "against": against, "variant": name}
                    lines.append(names | _cells(of))
    columns = dict.fromkeys(("data set", "against", "variant"), "")
    columns |= dict.fromkeys((*(f"{task} R2" for task in config.tasks), "90 % band covers"), ">")
    seen = "; ".join(f"{name}: {words}" for name, words in SEEN.items())
    text = [f"{one['dataset']}; {one['split']}." for one in found]
    text.append(
        f"R2 [95 % interval of a bootstrap over test clusters], one seed ({config.seed}). {seen}. "
        f"Without pre-training {config.longer} times the epochs and steps of `cnp`."
    )
    return "\n\n".join([*text, table.markdown(lines, columns)])


def _cells(rows: Sequence[Mapping]) -> dict[str, str]:
    form = "{:.2f} [{:.2f}, {:.2f}]".format
    cells = {f"{row['task']} R2": form(row["r2"], *row["ci95"]["r2"]) for row in rows}
    ends = (f"{end(row['coverage90'] for row in rows):.2f}" for end in (min, max))
    return cells | {"90 % band covers": "–".join(dict.fromkeys(ends))}


if __name__ == "__main__":
    sys.exit(
        commands.status(
            lambda: print(f"{main(tyro.cli(Explain, prog='experiments.explain'))} written")
        )
    )
