"""What is alignment worth? The same methods on the same acquisitions, aligned in eight ways.

Command: python -m experiments.align                              (simulated acquisitions)
         python -m experiments.align --cube FILE --split district --seeds 0 1 2
Cost and expected scores: docs/alignment.md.

Labels are Sentinel-2's acquisitions on their own days; what a task hides is taken out of them
before anything is composited, and every method is asked on the days of the hidden labels, linear in
time between the dates it reads:
- `periods`: composites of `cube.align_cube`, each on its centre;
- `true days`: each on the mean day of the NDVI that training pixels have in it;
- `median`: of the radar too, in place of its mean in linear power;
- `6 days`: periods half as long; `24 days`: windows twice as long, every period;
- `near`: periods on their centres, with the radar within 3 days of the mean day of Sentinel-2 in
  each (`cube.align_cube(within=3)`, where a date counts by its pixels; here all count alike);
- `pairs`: the days of Sentinel-2, with the radar within 3 days of each (`cube.pair_cube`);
- `own days`: the acquisitions, each Sentinel-1 track an orbit of its own; single-date networks
  learn there from days that have both.
A Series has one day for all pixels and channels: that of each pixel, or of the radar, is not tried.
Each variant draws its own numbers in training: differences of a seed are partly those of the draw.
"""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import jax
import numpy as np
import tyro
import xarray as xr

from experiments import alignments, commands, datasets, protocol, run, scoring
from experiments.bench import table
from experiments.config import Config, complete
from experiments.methods import methods
from experiments.tables import clusters
from s1jax import cube, files, simulate
from s1jax.align import is_regular, period_edges
from s1jax.networks import CnpConfig, Mlp3Config
from s1jax.simulate import SceneConfig
from s1jax.train import TrainConfig
from s1jax.types import NDVI, Estimator

PERIODS = "periods"
"""What the other alignments are held against."""
WITHIN = 3.0
"""Most days between the sensors in `near` and `pairs`."""
ALIGNMENTS = (PERIODS, "true days", "median", "6 days", "24 days", "near", "pairs", "own days")
"""In the order they run."""
_TUNED = replace(CnpConfig().train, steps=200, learning_rate=1e-3)
"""Half the rate that networks have by default: docs/alignment.md was measured with it."""


@dataclass(frozen=True)
class Alignments:
    """Methods on acquisitions aligned in several ways."""

    cube: str | None = None
    """NetCDF or Zarr of acquisitions, with VV, VH, S2ndvi and, of several orbits, s1_track; none:
    simulated ones."""
    split: Literal["blocks", "district"] = "blocks"
    """What is left out for testing: whole blocks, or a district at a time."""
    step: float = 12.0
    """Length of a period, days."""
    alignments: tuple[str, ...] = ALIGNMENTS
    """Which; `periods` always runs."""
    tasks: tuple[Literal["T1", "T2a", "T2b", "T2c", "T2e"], ...] = ("T1", "T2b")
    """What is hidden: all; 20 %; 60 days; 132 days; whole dates everywhere."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of splits, of what is hidden, and of training; scores are their mean."""
    scene: SceneConfig = field(default_factory=lambda: SceneConfig(height=96, width=112))
    """The simulated scene."""
    out: Path | None = None
    """Folder of the results; none: results/align-<utc>."""
    config: Config = field(
        default_factory=lambda: Config(
            methods=("mlp3", "boosting", "mogpr", "cnp"),
            training_pixels=1500,
            validation_pixels=300,
            test_pixels=1000,
            mlp3=Mlp3Config(train=TrainConfig(epochs=10)),
            cnp=CnpConfig(chunk=256, train=_TUNED),
        )
    )
    """Methods, their options, numbers of pixels."""


def load(config: Alignments) -> protocol.Data:
    """The acquisitions, speckle-filtered radar beside them, on their own days.

    Raises:
      ValueError: the cube's dates are periods already.
    """
    if config.cube is None:
        made = simulate.acquisitions(jax.random.key(run.DRAWN_ONCE), config.scene)
        ds = cube.open_cube(cube.from_acquisitions(made, pixel_m=config.scene.pixel_m))
    else:
        ds = cube.open_cube(config.cube)
    print(f"{config.cube or 'simulated'}: {cube.span(ds)}", flush=True)
    data, _ = run.to_data(cube.despeckle(orbits_apart(ds)))
    if is_regular(data.series.day):
        raise ValueError("cube: got regular dates, expected acquisitions on their own days")
    return data if config.cube else datasets.in_blocks(data)


def orbits_apart(ds: xr.Dataset) -> xr.Dataset:
    """The cube with VV, VH of its first `s1_track` that is not 0, VV_2, VH_2 of the second, ..."""
    if "s1_track" not in ds.variables or "VV_2" in ds:
        return ds
    tracks = sorted(set(np.nan_to_num(ds["s1_track"].values).astype(int).tolist()) - {0})
    for orbit, track in reversed([*enumerate(tracks, start=1)]):  # the first replaces VV, VH
        end, on = f"_{orbit}" if orbit > 1 else "", ds["s1_track"] == track
        ds = ds.assign({f"{name}{end}": ds[name].where(on) for name in ("VV", "VH")})
    return ds


def aligned(name: str, estimator: Estimator, data: protocol.Data, step: float) -> Estimator:
    """`estimator` that reads acquisitions aligned in the way of a name.

    The days of Sentinel-2 are those of the whole data set: that an image was taken is known, also
    where what it shows is hidden.

    Raises:
      ValueError: an unknown name.
    """
    day = np.asarray(data.series.day)
    optical = day[np.asarray(data.series.valid)[..., NDVI].any(0)]
    edges = period_edges(day, step=step)
    centre = (edges[:-1] + edges[1:]) / 2
    if name == "pairs":
        return alignments.on_windows(estimator, optical, (WITHIN, 0.0))
    if name == "near":
        of = np.searchsorted(edges, optical, side="right") - 1
        count = np.bincount(of, minlength=centre.size)
        mean = np.bincount(of, optical, centre.size) / np.maximum(count, 1)
        at = np.where(count > 0, mean, centre)
        return alignments.on_windows(estimator, centre, (WITHIN, step / 2), near=at)
    if name == "24 days":
        return alignments.on_windows(estimator, centre, (step, step))
    ways = {
        PERIODS: lambda: alignments.on_periods(estimator, step),
        "true days": lambda: alignments.on_periods(estimator, step, true_days=True),
        "median": lambda: alignments.on_periods(estimator, step, radar="median"),
        "6 days": lambda: alignments.on_periods(estimator, step / 2),
        "own days": lambda: estimator,
    }
    if name not in ways:
        raise ValueError(f"alignment: got {name!r}, expected one of {ALIGNMENTS}")
    return ways[name]()


def variants(config: Alignments, data: protocol.Data) -> list[protocol.Method]:
    """Every method in every alignment, named METHOD, ALIGNMENT."""
    names = dict.fromkeys((PERIODS, *config.alignments))
    options = complete(replace(config.config, split=config.split, tasks=config.tasks))
    chosen = [m for m in methods(options) if m.name in config.config.methods]
    both = np.asarray(data.series.valid)
    same_day = (both[..., NDVI] & both[..., :2].all(-1)).any()
    return [
        protocol.Method(
            f"{method.name}, {name}",
            aligned(name, method.estimator, data, config.step),
            tuple(task for task in method.tasks if task in config.tasks),
        )
        for method in chosen
        for name in names
        # where no day has both sensors, a single-date network has nothing to learn from
        if name != "own days" or same_day or not method.name.startswith(("mlp3", "mlp10"))
    ]


def compare(config: Alignments, data: protocol.Data, seed: int) -> tuple[str, Iterator[tuple]]:
    """The split in words; variant, task and its sums over hidden labels of test pixels in turn.

    Raises:
      ValueError: a task hides no label of a test pixel.
    """
    split = run.split_of(replace(config.config, split=config.split), data, seed)
    key_fit, gaps, views = protocol.asked(data, split, config.tasks, seed)
    if empty := [task for task, view in views.items() if "labels" not in view.scored]:
        raise ValueError(f"{empty}: got no hidden label of a test pixel, expected some")
    found = protocol.head_to_head(key_fit, variants(config, data), data, split, gaps)
    scored = ((n, t, scoring.score(views[t], e, "labels", seed=seed)) for n, t, e in found)
    return f"{config.split}: {run.describe(split)}", scored


def markdown(rows: Sequence[Mapping]) -> str:
    """A line for each task and method: R2 of `periods`, and of every other alignment RMSE less that
    of `periods`, bold where it is better beyond the interval of a bootstrap over clusters."""
    lines: dict[tuple[str, str], dict] = {}
    for one in sorted(rows, key=lambda one: one["task"]):
        method, _, alignment = one["method"].partition(", ")
        line = lines.setdefault(
            (one["task"], method), {"task": one["task"], "method": f"`{method}`"}
        )
        if alignment == PERIODS:
            line[f"R2, {PERIODS}"] = "{:.2f} [{:.2f}, {:.2f}]".format(one["r2"], *one["ci95"]["r2"])
            continue
        less, (low, high) = one["rmse_minus_periods"]
        cell = f"{less:+.3f} [{low:+.3f}, {high:+.3f}]"
        line[alignment] = f"**{cell}**" if high < 0 else cell
    heads = dict.fromkeys(head for line in lines.values() for head in line)
    columns = {head: "" if head in ("task", "method") else ">" for head in heads}
    return table.markdown(lines.values(), columns)


def main(config: Alignments) -> Path:
    """The folder with table.md and align.json (rows as in metrics.json); the table is printed."""
    out = config.out or Path("results") / time.strftime("align-%Y%m%dT%H%M%SZ", time.gmtime())
    with commands.writing(out, inputs=[config.cube]):
        _compare(config, out)
    return out


def _compare(config: Alignments, out: Path) -> None:
    data, outcomes = load(config), defaultdict(list)
    for seed in config.seeds:
        words, scored = compare(config, data, seed)
        for name, task, outcome in scored:
            outcomes[name, task].append(outcome)
            print(f"seed {seed}, {name}, {task}: fit {outcome.fit_s:.0f} s", flush=True)
    rows = []
    for (name, task), many in outcomes.items():
        base = outcomes[f"{name.partition(', ')[0]}, {PERIODS}", task]
        less = {"rmse_minus_periods": scoring.difference(many, base, task)}
        rows.append(scoring.row(name, task, "labels", many) | less)
    where = "simulated acquisitions" if config.cube is None else Path(config.cube).name
    count = clusters([outcome for many in outcomes.values() for outcome in many])
    seeds = f"seeds {config.seeds}, which test {count} clusters together"
    text = f"{where}; {words}; {seeds}\n\n{markdown(rows)}\n"
    print("", text, sep="\n")
    files.write_text(out / "table.md", text)
    content = {"config": asdict(config), "environment": run.environment()}
    content |= {"split": words, "rows": rows}
    written = json.dumps(content, indent=1, allow_nan=False, default=str)
    files.write_text(out / "align.json", written + "\n")


if __name__ == "__main__":
    sys.exit(
        commands.status(
            lambda: print(f"{main(tyro.cli(Alignments, prog='experiments.align'))} written")
        )
    )
