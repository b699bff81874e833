"""Own days or a grid of periods: what should a sequence network read?

Command: python -m experiments.days --cube FILE --split district --seeds 0 1 2
Cost and expected scores: not measured yet. Each variant draws its own numbers in training, so that
differences of one seed are partly those of the draw.

Labels are Sentinel-2's acquisitions on their own days; what a task hides is taken out of them
before anything is composited. `cnp` is fine-tuned to the same pixels in three ways, and asked on
the days of the hidden labels, linear in time between the dates it reads:
- `grid`: the periods of `cube.align_cube`, each on its centre;
- `grid, true days`: each on the mean day of the NDVI that training pixels have in it;
- `own days`: the acquisitions, each Sentinel-1 track an orbit of its own.
A Series has one day for all pixels and channels: that of each pixel, or of the radar, is not tried.
Bands are of the labels read, medians for the grids; blocks hidden in training are so many dates.
"""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
import xarray as xr
from jaxtyping import Float

from experiments import protocol, run, scoring
from experiments.bench import table
from experiments.config import Config
from s1jax import cube, networks
from s1jax.align import composite, is_regular, period_edges
from s1jax.chunks import map_pixels
from s1jax.networks import CnpConfig
from s1jax.types import NDVI, Estimator, Series

GRID, TRUE, OWN = "grid", "grid, true days", "own days"
"""Variants, in the order they run; `grid` is what the others are held against."""


@dataclass(frozen=True)
class OwnDays:
    """The conditional network `cnp` on acquisitions and on periods."""

    cube: str
    """NetCDF or Zarr of acquisitions, with VV, VH, S2ndvi and, of several orbits, s1_track."""
    split: Literal["blocks", "district"] = "blocks"
    """What is left out for testing: whole blocks, or a district at a time."""
    step: float = 12.0
    """Length of a period, days."""
    tasks: tuple[Literal["T1", "T2a", "T2b", "T2c", "T2e"], ...] = ("T1", "T2a", "T2b")
    """What is hidden: all; 20 %; 60 days; 132 days; whole dates everywhere."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of splits, of what is hidden, and of training; scores are their mean."""
    pixels: tuple[int, int, int] = (1500, 300, 1000)
    """Training, validation and test pixels of a fold, at most."""
    cnp: CnpConfig = field(default_factory=lambda: CnpConfig(chunk=256))
    """The network and its training."""
    out: Path | None = None
    """Folder of the results; none: results/days-<utc>."""


def load(path: str) -> protocol.Data:
    """The acquisitions of a cube, speckle-filtered radar beside them, on their own days.

    Raises:
      ValueError: the cube's dates are periods already.
    """
    data, _ = run.to_data(cube.despeckle(orbits_apart(cube.open_cube(path))))
    if is_regular(data.series.day):
        raise ValueError("cube: got regular dates, expected acquisitions on their own days")
    return data


def orbits_apart(ds: xr.Dataset) -> xr.Dataset:
    """The cube with VV, VH of its first `s1_track` that is not 0, VV_2, VH_2 of the second, ..."""
    if "s1_track" not in ds.variables or "VV_2" in ds:
        return ds
    tracks = sorted(set(np.nan_to_num(ds["s1_track"].values).astype(int).tolist()) - {0})
    for orbit, track in reversed([*enumerate(tracks, start=1)]):  # the first replaces VV, VH
        end, on = f"_{orbit}" if orbit > 1 else "", ds["s1_track"] == track
        ds = ds.assign({f"{name}{end}": ds[name].where(on) for name in ("VV", "VH")})
    return ds


def periods(series: Series, step: float) -> tuple[Series, Float[np.ndarray, "pixel period"]]:
    """The composites of `cube.align_cube` on the centres of periods, of what is `valid`, and the
    mean day of the NDVI in each (the centre where there is none); filtered radar likewise."""
    edges = period_edges(np.asarray(series.day), step=step)
    of = partial(_composites, jnp.asarray(series.day), jnp.asarray(edges))
    arrays = (series.value, series.valid, series.smooth, series.wide)
    *made, mean_day = map_pixels(of, arrays, chunk=256, label="periods")
    return Series((edges[:-1] + edges[1:]) / 2, *made[:2], series.place, *made[2:]), mean_day


@jax.jit
def _composites(day, edges, part):
    def _of(value, valid, statistic):
        each = jax.vmap(partial(composite, statistic=statistic), (None, -1, -1, None), -1)
        return jax.vmap(each, (None, 0, 0, None))(day, value, valid, edges)

    value, valid, *looks = part
    *radar, _ = _of(value[..., :NDVI], valid[..., :NDVI], "mean_db")
    *ndvi, mean_day = _of(value[..., NDVI:], valid[..., NDVI:], "median")
    looks = [None if x is None else _of(x, valid[..., :NDVI], "mean_db")[0] for x in looks]
    both = (jnp.concatenate(pair, -1) for pair in zip(radar, ndvi, strict=True))
    return *both, *looks, mean_day[..., 0]


def on_periods(estimator: Estimator, step: float, *, true_days: bool) -> Estimator:
    """`estimator` that reads `periods`. With `true_days` the day of a period is the mean over
    training pixels of the mean day of their NDVI, where any has some; else it is its centre."""

    def fit(key, training, validation):
        (seen, mean_day), (decide, _) = (periods(part, step) for part in (training, validation))
        some = seen.valid[..., NDVI] & true_days
        away = np.where(some, mean_day - seen.day, 0.0).sum(0) / np.maximum(some.sum(0), 1)
        day = seen.day + away.astype(seen.day.dtype)
        return estimator.fit(key, *(part._replace(day=day) for part in (seen, decide))), day

    def predict(params, series, days):
        return estimator.predict(params[0], periods(series, step)[0]._replace(day=params[1]), days)

    return Estimator(fit, predict)


def variants(config: OwnDays) -> list[protocol.Method]:
    """A method for each variant; their networks differ in nothing but the dates they read."""
    factor = 1.0 if config.split == "blocks" else networks.ELSEWHERE
    own = networks.sequence(replace(config.cnp, elsewhere=factor), label="cnp")
    grids = (on_periods(own, config.step, true_days=true) for true in (False, True))
    named = zip((GRID, TRUE, OWN), (*grids, own), strict=True)
    return [protocol.Method(name, estimator, config.tasks) for name, estimator in named]


def compare(config: OwnDays, data: protocol.Data, seed: int) -> tuple[str, Iterator[tuple]]:
    """The split in words; variant, task and its sums over hidden labels of test pixels in turn.

    Raises:
      ValueError: a task hides no label of a test pixel.
    """
    training, validation, test = config.pixels
    limits = {"training_pixels": training, "validation_pixels": validation, "test_pixels": test}
    split = run.split_of(Config(split=config.split, **limits), data, seed)
    key_gaps, key_fit = jax.random.split(jax.random.key(seed))
    gaps = protocol.draw_gaps(key_gaps, config.tasks, data)
    views = {task: protocol.view(data, split, task, gap) for task, gap in gaps.items()}
    if empty := [task for task, view in views.items() if "labels" not in view.scored]:
        raise ValueError(f"{empty}: got no hidden label of a test pixel, expected some")
    found = protocol.head_to_head(key_fit, variants(config), data, split, gaps)
    scored = ((n, t, scoring.score(views[t], e, "labels", seed=seed)) for n, t, e in found)
    return f"{config.split}: {run.describe(split)}", scored


def markdown(rows: Sequence[Mapping]) -> str:
    """A line for each task and variant; intervals are of a bootstrap over test clusters."""
    lines = []
    for one in sorted(rows, key=lambda one: one["task"]):
        r2 = "{:.3f} [{:.3f}, {:.3f}]".format(one["r2"], *one["ci95"]["r2"])
        less = "{:+.4f} [{:+.4f}, {:+.4f}]".format(*np.hstack(one["rmse_minus_grid"]))
        lines.append(one | {"R2": r2, "RMSE less grid's": less})
    columns = {"task": "", "method": "", "R2": ">", "rmse": ".4f", "RMSE less grid's": ">"}
    return table.markdown(lines, columns | {"coverage90": ".2f", "n": ",", "fit_s": ".0f"})


def main(config: OwnDays) -> Path:
    """The folder with table.md and days.json (rows as in metrics.json); the table is printed."""
    out = config.out or Path("results") / time.strftime("days-%Y%m%dT%H%M%SZ", time.gmtime())
    out.mkdir(parents=True, exist_ok=True)
    data, outcomes = load(config.cube), defaultdict(list)
    for seed in config.seeds:
        words, scored = compare(config, data, seed)
        for name, task, outcome in scored:
            outcomes[name, task].append(outcome)
            print(f"seed {seed}, {name}, {task}: fit {outcome.fit_s:.0f} s", flush=True)
    rows = []
    for (name, task), many in outcomes.items():
        less = {"rmse_minus_grid": scoring.difference(many, outcomes[GRID, task], task)}
        rows.append(scoring.row(name, task, "labels", many, outcomes[GRID, task]) | less)
    text = f"{Path(config.cube).name}; {words}; seeds {config.seeds}\n\n{markdown(rows)}\n"
    print("", text, sep="\n")
    (out / "table.md").write_text(text, encoding="utf-8")
    content = {"config": asdict(config), "environment": run.environment()}
    content |= {"split": words, "rows": rows}
    written = json.dumps(content, indent=1, allow_nan=False, default=str)
    (out / "days.json").write_text(written + "\n", encoding="utf-8")
    return out


if __name__ == "__main__":
    try:
        print(f"{main(tyro.cli(OwnDays, prog='experiments.days'))} written")
    except ValueError as error:
        sys.exit(f"error: {error}")
