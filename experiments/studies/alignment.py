"""What is alignment worth? The same methods on the same acquisitions, aligned in eight ways.

Command: python -m experiments.studies.alignment                   (simulated acquisitions)
         python -m experiments.studies.alignment --cube FILE --split district --seeds 0 1 2
Cost and expected scores: docs/alignment.md.

Labels are Sentinel-2's acquisitions on their own days; what a task hides is taken out of them
before anything is composited, and every method predicts the days of the hidden labels, linear in
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

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from experiments.protocol import data as datasets
from experiments.protocol import scoring
from experiments.protocol.config import Config, complete
from experiments.protocol.data import Data, split_of, to_data
from experiments.protocol.head_to_head import Method, draw_tasks, head_to_head, methods
from experiments.protocol.splits import describe
from experiments.report.files import new_folder, write_study
from experiments.report.report import clusters
from experiments.report.tables import Table, interval, r2_cell
from experiments.studies import command
from s1jax import cube
from s1jax.batching import map_chunks
from s1jax.commands import endings
from s1jax.compositing import composite_series, composite_windows, is_regular, period_edges
from s1jax.networks import CnpConfig, Mlp3Config
from s1jax.simulate import SceneConfig
from s1jax.train import TrainConfig
from s1jax.types import Estimator, Series

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
    """Folder of the results; none: results/alignment-<utc>."""
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


def load(config: Alignments) -> Data:
    """The acquisitions, speckle-filtered radar beside them, on their own days.

    Raises:
      ValueError: the cube's dates are periods already.
    """
    if config.cube is None:
        ds = datasets.simulated(config.scene, single_passes=True)
    else:
        ds = cube.open_cube(config.cube)
    print(f"{config.cube or 'simulated'}: {cube.span(ds)}", flush=True)
    data, _ = to_data(cube.despeckle(orbits_apart(ds)))
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


def windows(
    series: Series,
    centre: Float[np.ndarray, "window"],
    within: tuple[float, float],
    *,
    near: Float[np.ndarray, "window"] | None = None,
) -> Series:
    """A Series on the days `centre`: mean radar (in linear power) and NDVI of what is `valid` so
    many days around each, as of `cube.pair_cube` and of `cube.align_cube(window=, within=)`.
    """
    day, reach = jnp.asarray(series.day), jnp.asarray(within, series.day.dtype)
    at = jnp.stack([jnp.asarray(centre if near is None else near), jnp.asarray(centre)])
    arrays = (series.radar, series.radar_valid, series.ndvi, series.ndvi_valid)
    blocks = map_chunks(
        lambda part: _in_windows(day, at, reach, *part), arrays, chunk=256, label="composites"
    )
    centre = np.asarray(centre).astype(np.asarray(series.day).dtype)
    return Series(centre, *blocks, position=series.position)


@jax.jit
def _in_windows(day, centre, reach, radar, radar_valid, ndvi, ndvi_valid):
    def _channel(values, valid, sensor, statistic):
        window = composite_windows(
            day, values, valid, centre[sensor], reach[sensor], statistic=statistic
        )
        return window[:2]

    def _pixel(radar, radar_valid, ndvi, ndvi_valid):
        of = partial(_channel, sensor=0, statistic="mean_db")
        channel = jax.vmap(of, (-1, -1), (-1, -1))
        made, valid = jax.vmap(channel, (1, None), (1, 1))(radar, radar_valid)
        return made, valid[:, 0], *_channel(ndvi, ndvi_valid, 1, "median")

    return jax.vmap(_pixel)(radar, radar_valid, ndvi, ndvi_valid)


def on_true_days(method: Estimator, step: float) -> Estimator:
    """The method on composites of periods, each on the mean over training pixels of the mean day of
    their NDVI in it, where any has some; else on its centre."""

    def fit(key, training, validation):
        (seen, mean_day), (decide, _) = (
            composite_series(part, step) for part in (training, validation)
        )
        some = seen.ndvi_valid
        away = np.where(some, mean_day - seen.day, 0.0).sum(0) / np.maximum(some.sum(0), 1)
        day = seen.day + away.astype(seen.day.dtype)
        return method.fit(key, *(part._replace(day=day) for part in (seen, decide))), day

    def predict(params, series, days):
        return method.predict(
            params[0], composite_series(series, step)[0]._replace(day=params[1]), days
        )

    return Estimator(fit, predict)


def aligned(name: str, method: Estimator, data: Data, step: float) -> Estimator:
    """The method on acquisitions aligned in the way of a name: the Series it reads is put on other
    days first, from what is `valid` in it alone, so that a hidden label is in no composite.

    The days of Sentinel-2 are those of the whole data set: a user has the list of images, also
    where labels are hidden.

    Raises:
      ValueError: an unknown name.
    """
    day = np.asarray(data.series.day)
    optical = day[np.asarray(data.series.ndvi_valid).any(0)]
    edges = period_edges(day, step=step)
    centre = (edges[:-1] + edges[1:]) / 2
    count, _ = np.histogram(optical, edges)
    total, _ = np.histogram(optical, edges, weights=optical.astype(np.float64))
    near = np.where(count > 0, total / np.maximum(count, 1), centre)
    ways = {
        PERIODS: lambda series: composite_series(series, step)[0],
        "median": lambda series: composite_series(series, step, statistic="median")[0],
        "6 days": lambda series: composite_series(series, step / 2)[0],
        "24 days": lambda series: windows(series, centre, (step, step)),
        "near": lambda series: windows(series, centre, (WITHIN, step / 2), near=near),
        "pairs": lambda series: windows(series, optical, (WITHIN, 0.0)),
        "own days": lambda series: series,
    }
    if name == "true days":
        return on_true_days(method, step)
    if name not in ways:
        raise ValueError(f"alignment: got {name!r}, expected one of {ALIGNMENTS}")
    way = ways[name]
    return Estimator(
        lambda key, training, validation: method.fit(key, way(training), way(validation)),
        lambda params, series, days: method.predict(params, way(series), days),
    )


def variants(config: Alignments, data: Data) -> list[Method]:
    """Every method in every alignment, named METHOD, ALIGNMENT."""
    names = dict.fromkeys((PERIODS, *config.alignments))
    options = complete(replace(config.config, split=config.split, tasks=config.tasks))
    chosen = [m for m in methods(options) if m.name in config.config.methods]
    radar = np.asarray(data.series.radar_valid)[..., :2].all(-1)
    same_day = (np.asarray(data.series.ndvi_valid) & radar).any()
    return [
        Method(
            f"{method.name}, {name}",
            aligned(name, method.estimator, data, config.step),
            tuple(task for task in method.tasks if task in config.tasks),
        )
        for method in chosen
        for name in names
        # where no day has both sensors, a single-date network has nothing to learn from
        if name != "own days" or same_day or not method.name.startswith(("mlp3", "mlp10"))
    ]


def compare(config: Alignments, data: Data, seed: int) -> tuple[str, Iterator[tuple]]:
    """The split in words; variant, task and its sums over hidden labels of test pixels in turn.

    Raises:
      ValueError: a task hides no label of a test pixel.
    """
    split = split_of(replace(config.config, split=config.split), data, seed)
    key, masks, test_sets = draw_tasks(data, split, config.tasks, seed)
    if empty := [task for task, one in test_sets.items() if "labels" not in one.scored]:
        raise ValueError(f"{empty}: got no hidden label of a test pixel, expected some")
    scored = (
        (name, task, scoring.score(test_sets[task], *estimate, "labels", seed=seed))
        for name, task, *estimate in head_to_head(key, variants(config, data), data, split, masks)
    )
    return f"{config.split}: {describe(split)}", scored


def table(rows: Sequence[Mapping]) -> Table:
    """A line for each task and method: R2 of `periods`, and of every other alignment RMSE less that
    of `periods`, bold where it is better beyond the interval of a bootstrap over clusters."""
    lines: dict[tuple[str, str], dict] = {}
    for row in sorted(rows, key=lambda row: row["task"]):
        method, _, alignment = row["method"].partition(", ")
        names = {"task": row["task"], "method": f"`{method}`"}
        line = lines.setdefault((row["task"], method), names)
        if alignment == PERIODS:
            line[f"R2, {PERIODS}"] = r2_cell(row)
            continue
        less, ends = row["rmse_minus_periods"]
        cell = interval(less, ends, "+.3f")
        line[alignment] = f"**{cell}**" if ends[1] < 0 else cell
    heads = dict.fromkeys(head for line in lines.values() for head in line)
    columns = {head: "" if head in ("task", "method") else ">" for head in heads}
    return Table(columns, list(lines.values()))


def main(config: Alignments) -> Path:
    """The folder with table.md and alignment.json (rows as in metrics.json)."""
    out = config.out or new_folder("alignment")
    with endings.writing(out, inputs=[config.cube]):
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
        text = f"{where}; {words}; {seeds}\n\n{table(rows).markdown()}"
        print("", text, sep="\n")
        write_study(out, "alignment", text, config, split=words, rows=rows)
    return out


if __name__ == "__main__":
    sys.exit(command(Alignments, main))
