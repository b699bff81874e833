"""What does `cnp` look at? Inputs permuted between pixels, and parts of it left out.

Command: python -m experiments.studies.explain                  (a simulated scene)
         python -m experiments.studies.explain --cube FILE --split district   (a real one beside it)
Cost: four minutes on 2 cores for both.
Expected so, T1 / T2b, simulated scene, R2 against truth: full .87 / .89, no S1 .37 / .79, no
pre-training .84 / .87, single date .57 / .58.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import jax
import numpy as np

from experiments.protocol import scoring
from experiments.protocol.config import DatasetConfig
from experiments.protocol.head_to_head import (
    Method,
    Setup,
    head_to_head,
    inflation_of,
    masked_series,
    set_up,
)
from experiments.report.files import new_folder, write_study
from experiments.report.tables import Table, covered, r2_cell
from experiments.studies import command, importance
from s1jax import files, networks, plots
from s1jax.commands import endings
from s1jax.networks import CnpConfig
from s1jax.types import Key, Params

FULL, ANEW = "full", "no pre-training"
"""What the others are held against."""
SEES = {
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
class Explain(DatasetConfig):
    """Permutation importance and ablation of the conditional network `cnp`, on the simulated scene
    (split by blocks) and on a cube beside it."""

    training_pixels: int = 1500
    validation_pixels: int = 300
    test_pixels: int = 1000
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
    variants: tuple[str, ...] = tuple(SEES)
    """Which variants, beside `full` and what they are held against."""
    longer: int = 3
    """Epochs and steps of a variant without pre-training, in those of `cnp`."""
    cnp: CnpConfig = field(
        default_factory=lambda: CnpConfig(chunk=256, train=replace(CnpConfig().train, steps=200))
    )
    """The network and its training."""


def variants(cnp: CnpConfig, *, longer: int) -> dict[str, tuple[CnpConfig, str]]:
    """Configuration of each variant of `SEES`, and the variant that it is held against.

    The shipped weights need their architecture: what differs in it starts from random weights, and
    is held against the network that does too. These get `longer` times the epochs and steps.
    """
    limits = {name: getattr(cnp.train, name) for name in ("epochs", "steps", "patience")}
    limits = {name: n if n is None else longer * n for name, n in limits.items()}
    anew = replace(cnp, pretrained=False, train=replace(cnp.train, **limits))
    pairs = (
        (cnp, FULL),
        (replace(cnp, radar=False), FULL),
        (replace(cnp, ndvi=False), FULL),
        (replace(cnp, spatial=False), FULL),
        (anew, FULL),
        (replace(anew, mixture=False), ANEW),
        (replace(anew, net="gru"), ANEW),
        (replace(anew, net="window", window=0, hidden=(128, 128, 64)), ANEW),
    )
    return dict(zip(SEES, pairs, strict=True))


def load(config: Explain, cube: str | None) -> Setup:
    """The simulated scene or a cube."""
    scene = {"start": None, "step": None, "split": "blocks"} if cube is None else {}
    config = replace(config, cube=cube, **scene)
    return set_up(config.whole, config.tasks, config.seed)


def ablate(key: Key, config: Explain, setup: Setup) -> tuple[list[dict], dict[str, Params]]:
    """A row of scores for each variant, task and what it is scored against, with intervals of a
    cluster bootstrap, paired with the variant in `reference`; and the parameters of `full` in each
    fold."""
    every = variants(config.cnp, longer=config.longer)
    chosen = {FULL, *config.variants, *(every[name][1] for name in config.variants)}
    if setup.data.series.radar.shape[-2] == 1:
        chosen -= {"no spatial"}
    inflation = inflation_of(setup.words.partition(":")[0])
    methods = [
        Method(
            name,
            networks.sequence(replace(network, inflation=inflation)),
            config.tasks,
        )
        for name, (network, _) in every.items()
        if name in chosen
    ]
    full, outcomes, rows = {}, {}, []

    def _keep(name, fold, params):
        if name == FULL:
            full[fold.name] = params

    for name, task, *estimate in head_to_head(
        key, methods, setup.data, setup.split, setup.draw.masks, on_fit=_keep
    ):
        test_set, reference = setup.draw.test_sets[task], every[name][1]
        for against in test_set.scored:
            outcome = scoring.score(test_set, *estimate, against, seed=config.seed)
            outcomes[name, task, against] = [outcome]
            row = scoring.row(name, task, against, [outcome], outcomes[reference, task, against])
            rows.append(_row(row, reference))
            print(f"{name}, {task}, {against}: R2 {row['r2']:.3f}", flush=True)
    return rows, full


def _row(row: Mapping, reference: str) -> dict:
    """What an ablation shows of a row of metrics.json; its yardstick is the reference."""
    kept = ("task", "against", "r2", "rmse", "mae", "bias", "crps", "coverage90", "n", "fit_s")
    ci95 = {name: row["ci95"][name] for name in ("r2", "rmse")}
    ci95["rmse_minus_reference"] = row["ci95"]["rmse_minus_best_yardstick"]
    names = {"variant": row["method"], "reference": reference}
    return names | {name: row[name] for name in kept} | {"ci95": ci95}


def permute(key: Key, config: Explain, setup: Setup, params: Mapping[str, Params]) -> list[dict]:
    """A row for each task, what it is scored against, and each input or lag permuted: see
    `importance.losses`. Pixels are exchanged inside a fold; `params` is of `cnp`, by fold."""
    rows, folds, predict = [], setup.split.folds, networks.sequence(config.cnp).predict
    first = np.cumsum([0, *(fold.test.size for fold in folds)])
    for number, task in enumerate(config.permuted_tasks):
        estimates, pixels = [], []
        for k, fold in enumerate(folds):
            one = jax.random.fold_in(jax.random.fold_in(key, number), k)
            key_pixels, key_inputs = jax.random.split(one)
            some = np.asarray(jax.random.permutation(key_pixels, fold.test.size))
            some = some[: config.permuted_pixels]
            mask = setup.draw.masks[task]
            series = masked_series(setup.data, fold._replace(test=fold.test[some]), mask)
            mask = mask[fold.test[some]][:, fold.test_time]
            options = {name: getattr(config, name) for name in ("repeats", "most", "every")}

            def _mean(series, params=params[fold.name]):
                return predict(params, series, series.day).mean

            estimates.append(importance.estimates(key_inputs, _mean, series, mask, **options))
            pixels.append(first[k] + some)
        test_set, index = setup.draw.test_sets[task], np.concatenate(pixels)
        for against, where in test_set.scored.items():
            target = test_set.target(against)[index]
            losses = importance.rows(estimates, target, where[index])
            rows += [{"task": task, "against": against} | row for row in losses]
        print(f"{task}: permuted", flush=True)
    return rows


def markdown(config: Explain, datasets: Sequence[Mapping]) -> str:
    """What was run, and a table: a line for each data set, variant and what it is scored against.

    R2 with its 95 % interval by task, and the least and most coverage of the 90 % band over tasks.
    """
    lines = []
    for one in datasets:
        rows = one["ablation"]
        for against in sorted({row["against"] for row in rows}, reverse=True):
            for name in SEES:
                of = [r for r in rows if (r["variant"], r["against"]) == (name, against)]
                names = {"data set": one["dataset"], "against": against, "variant": name}
                cells = {f"{row['task']} R2": r2_cell(row) for row in of}
                lines += [names | cells | {"90 % band covers": covered(of)}] if of else []
    columns = dict.fromkeys(("data set", "against", "variant"), "")
    columns |= dict.fromkeys((*(f"{task} R2" for task in config.tasks), "90 % band covers"), ">")
    sees = "; ".join(f"{name}: {words}" for name, words in SEES.items())
    text = [f"{one['dataset']}; {one['split']}." for one in datasets]
    text.append(
        f"R2 [95 % interval of a bootstrap over test clusters], one seed ({config.seed}). {sees}. "
        f"Without pre-training {config.longer} times the epochs and steps of `cnp`."
    )
    return "\n\n".join([*text, Table(columns, lines).markdown()])


def main(config: Explain) -> Path:
    """The folder with table.md, explain.json and importance.png; the table is printed.

    Raises:
      ValueError: an unknown variant, a task of the permutations that is not among the tasks, or
        what `experiments.run` raises on such data.
    """
    _check(config)
    out = config.out or new_folder("explain")
    with endings.writing(out, inputs=[config.cube]):
        started, results = time.perf_counter(), []
        # what is wrong with the cube is said before anything is trained on the simulated scene
        setups = [load(config, cube) for cube in dict.fromkeys((config.cube, None))]
        for setup in reversed(setups):
            print(f"{setup.name}: {setup.words}", flush=True)
            key_fit, key_permute = jax.random.split(setup.draw.key)
            ablation, params = ablate(key_fit, config, setup)
            one = {"dataset": setup.name, "split": setup.words, "ablation": ablation}
            results.append(one | {"importance": permute(key_permute, config, setup, params)})
        text = markdown(config, results)
        print("", text, sep="\n")
        bars = [row | {"dataset": one["dataset"]} for one in results for row in one["importance"]]
        files.write_bytes(out / "importance.png", plots.png(plots.importance(bars)))
        seconds = round(time.perf_counter() - started)
        write_study(out, "explain", text, config, seconds=seconds, datasets=results)
    return out


def _check(config: Explain) -> None:
    """Refuse before anything is trained what could not be shown after it."""
    # T2d has no labels, T2e a training of its own
    plain = tuple(task for task in config.tasks if task not in ("T2d", "T2e"))
    for name, expected in (("variants", tuple(SEES)), ("permuted_tasks", plain)):
        unknown = [item for item in getattr(config, name) if item not in expected]
        if unknown:
            raise ValueError(f"{name}: got {unknown}, expected some of {expected}")
    for name, least in (("repeats", 2), ("every", 2 * config.most + 1)):
        if getattr(config, name) < least:
            raise ValueError(f"{name}: got {getattr(config, name)}, expected at least {least}")


if __name__ == "__main__":
    sys.exit(command(Explain, main))
