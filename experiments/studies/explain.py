"""What does `cnp` look at? Inputs permuted between pixels, and parts of it left out.

Command: python -m experiments.studies.explain                  (a simulated scene)
         python -m experiments.studies.explain --cube FILE --split district   (a real one beside it)
Cost: four minutes on 2 cores for both.
Expected so, T1 / T2b, simulated scene, R2 against truth: full .87 / .89, no S1 .37 / .79, no
pre-training .84 / .87, single date .57 / .58.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

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
from experiments.studies import command
from s1jax import files, metrics, networks, plots
from s1jax.commands import endings
from s1jax.networks import CnpConfig
from s1jax.types import VH, VV, Key, Params, Series

Predictor = Callable[[Series], Float[np.ndarray, "pixel time"]]
"""Mean of the NDVI on the days of a series."""

LOOKS = {"look 1 x 1": 0, "look 3 x 3": 1, "look 7 x 7": 2}
"""Group of inputs, and the look of the radar that it is."""
RADAR, OWN, AROUND = "radar", "own NDVI", "days around"
"""All of Sentinel-1; NDVI of the pixel's other dates; days to the dates before and after."""
FURTHER = "further"
"""Radar beyond the furthest lag."""
UNCHANGED = ("own", "")
"""Of estimates from each pixel's own inputs."""


def groups(series: Series) -> dict[str, str | int]:
    """Name of each group of inputs that a series has, and what it is: a channel, or a look.

    VV and VH of each orbit are all looks of it; without speckle-filtered radar there is one look
    only, and without any NDVI none is the pixel's own.
    """
    *_, looks, channels = series.radar.shape
    of: dict[str, str | int] = {RADAR: RADAR}
    for orbit in range(channels // 2):
        for name, channel in (("VV", VV), ("VH", VH)):
            of[f"{name} {orbit + 1}" if channels > 2 else name] = 2 * orbit + channel
    if looks > 1:
        of |= {name: look for name, look in LOOKS.items() if look < looks}
    if np.asarray(series.ndvi_valid).any():
        of[OWN] = OWN
    return of | {AROUND: AROUND}


def permuted(key: Key, series: Series, group: str, mask: Bool[np.ndarray, "pixel time"]) -> Series:
    """The series with one group of inputs from other pixels, each drawn once.

    Radar and NDVI come with what of them is valid. Of a single look only values that both pixels
    have are exchanged. All pixels share their days: their steps are permuted in time instead, which
    changes nothing where they are regular.

    Raises:
      ValueError: a group that the series has not.
    """
    of = groups(series)
    if group not in of:
        raise ValueError(f"group: got {group!r}, expected one of {tuple(of)}")
    if group == AROUND:
        day = np.asarray(series.day)
        step = np.asarray(jax.random.permutation(key, np.diff(day)))
        return series._replace(day=np.concatenate([day[:1], day[0] + np.cumsum(step)]))
    other = _order(key, series)
    if group == OWN:
        return _exchanged(series, other, {"ndvi": ~mask, "ndvi_valid": ~mask})
    valid = np.asarray(series.radar_valid)
    if group in LOOKS:
        where = np.zeros(series.radar.shape, bool)
        where[..., of[group], :] = valid & valid[other]
        return _exchanged(series, other, {"radar": where})
    where = np.zeros(valid.shape, bool)
    where[..., slice(None) if group == RADAR else of[group]] = True
    return _radar_exchanged(series, other, where)


def of_groups(
    key: Key,
    predict: Predictor,
    series: Series,
    mask: Bool[np.ndarray, "pixel time"],
    *,
    repeats: int,
) -> dict[str, Float[np.ndarray, "repeat pixel time"]]:
    """Estimates with one group of inputs permuted, for each group of `groups`."""
    names = list(groups(series))
    keys = jax.random.split(key, (len(names), repeats))
    return {
        name: np.stack([predict(permuted(one, series, name, mask)) for one in row])
        for name, row in zip(names, keys, strict=True)
    }


def of_lags(
    key: Key, predict: Predictor, series: Series, *, repeats: int, most: int = 5, every: int = 11
) -> dict[str, Float[np.ndarray, "repeat pixel time"]]:
    """Estimates of each date t with the radar of date t + k alone from another pixel.

    A method predicts all dates at once, so one estimate serves many: its radar is permuted on every
    `every`-th date, and of each date there is one such date within `most`. Dates at k plus or minus
    `every`, twice that, ... are permuted with it; none is where `every` is the number of dates.
    `further` is radar of all dates beyond `most`, for one date t at a time.

    Returns:
      By lag "-5", ..., "0", "+1", ..., and "further"; NaN where the series has no date t + k.

    Raises:
      ValueError: `every` is below 2 most + 1, so that two lags would be one.
    """
    if every < 2 * most + 1:
        raise ValueError(f"every: got {every}, expected at least {2 * most + 1} for {most} lags")
    index = np.arange(len(series.day))
    every = min(every, index.size)
    lag = np.arange(-most, most + 1)
    at = index + lag[:, None]
    outside = (at < 0) | (at >= index.size)

    def _one(key):
        other = _order(key, series)

        def _from(dates):
            where = np.zeros(series.radar_valid.shape, bool)
            where[:, dates] = True
            return np.asarray(predict(_radar_exchanged(series, other, where)))

        # combs[r] has the dates r, r + every, ... permuted
        combs = np.stack([_from(index % every == r) for r in range(every)])
        near = combs[at % every, :, index].swapaxes(1, 2).astype(np.float64)
        near[np.broadcast_to(outside[:, None], near.shape)] = np.nan
        far = [_from(np.abs(index - t) > most)[:, t] for t in index]
        return np.concatenate([near, np.stack(far, 1)[None]])

    lags = np.stack([_one(k) for k in jax.random.split(key, repeats)], 1)
    return dict(zip([*(f"{k:+d}" if k else "0" for k in lag), FURTHER], lags, strict=True))


def estimates(
    key: Key,
    predict: Predictor,
    series: Series,
    mask: Bool[np.ndarray, "pixel time"],
    *,
    repeats: int,
    most: int,
    every: int,
) -> dict[tuple[str, str], Float[np.ndarray, "*repeat pixel time"]]:
    """Estimates by kind and name: `UNCHANGED`, ("group", ...) of `of_groups` and ("lag", ...) of
    `of_lags`, whose arguments these are."""
    key_groups, key_lags = jax.random.split(key)
    kinds = {
        "group": of_groups(key_groups, predict, series, mask, repeats=repeats),
        "lag": of_lags(key_lags, predict, series, repeats=repeats, most=most, every=every),
    }
    changed = {(kind, name): a for kind, of in kinds.items() for name, a in of.items()}
    return {UNCHANGED: np.asarray(predict(series))} | changed


def losses(
    before: Float[np.ndarray, "pixel time"],
    after: Float[np.ndarray, "repeat pixel time"],
    target: Float[np.ndarray, "pixel time"],
    where: Bool[np.ndarray, "pixel time"],
) -> dict[str, float]:
    """Rise of RMSE (`rmse_rise`, NDVI) and fall of R2 (`r2_fall`): means over the permutations,
    with their standard errors std / sqrt(repeats) (`rmse_se`, `r2_se`); `rmse` and `r2` of what was
    not permuted; all over the same `n` values.

    The standard error is of the scatter of the permutations, not of pixels.

    Raises:
      ValueError: fewer than two permutations, or no value to score.
    """
    where = where & np.isfinite(after).all(0)
    if len(after) < 2 or not where.any():
        raise ValueError(
            f"repeats, scored values: got {len(after)}, {where.sum()}, expected at least 2, some"
        )

    def _scores(mean):
        sums = metrics.statistics(mean, np.ones(mean.shape), target, where)
        return np.array([metrics.scores(sums)[name] for name in ("rmse", "r2")])

    unchanged = _scores(before)
    change = np.stack([_scores(one) for one in after]) - unchanged
    rise, fall = change.mean(0) * (1.0, -1.0)
    errors = change.std(0, ddof=1) / np.sqrt(len(after))
    values = {"rmse": unchanged[0], "rmse_rise": rise, "rmse_se": errors[0]}
    values |= {"r2": unchanged[1], "r2_fall": fall, "r2_se": errors[1]}
    return {name: float(value) for name, value in values.items()} | {"n": int(where.sum())}


def rows(
    folds: Sequence[Mapping[tuple[str, str], Float[np.ndarray, "*repeat pixel time"]]],
    target: Float[np.ndarray, "pixel time"],
    where: Bool[np.ndarray, "pixel time"],
) -> list[dict]:
    """`losses` of every kind and name that all folds have, over the pixels of all of them."""
    names = [name for name in folds[0] if all(name in fold for fold in folds)]
    joined = {name: np.concatenate([fold[name] for fold in folds], -2) for name in names}
    before = joined.pop(UNCHANGED)
    return [
        {"kind": kind, "name": name} | losses(before, after, target, where)
        for (kind, name), after in joined.items()
    ]


def _order(key: Key, series: Series) -> Int[np.ndarray, "pixel"]:
    return np.asarray(jax.random.permutation(key, len(series.ndvi)))


def _radar_exchanged(series, other, where):
    """The series with all looks of the other pixels' radar where (pixel, time, channel) is True."""
    return _exchanged(series, other, {"radar": where[..., None, :], "radar_valid": where})


def _exchanged(series, other, where):
    """The series with the other pixels' fields of `where`, where their masks are True."""
    mixed = {}
    for name, mask in where.items():
        before = np.asarray(getattr(series, name))
        mixed[name] = np.where(mask, before[other], before)
    return series._replace(**mixed)


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
    `losses`. Pixels are exchanged inside a fold; `params` is of `cnp`, by fold."""
    changes, folds, predict = [], setup.split.folds, networks.sequence(config.cnp).predict
    first = np.cumsum([0, *(fold.test.size for fold in folds)])
    for number, task in enumerate(config.permuted_tasks):
        of_folds, pixels = [], []
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

            of_folds.append(estimates(key_inputs, _mean, series, mask, **options))
            pixels.append(first[k] + some)
        test_set, index = setup.draw.test_sets[task], np.concatenate(pixels)
        for against, where in test_set.scored.items():
            target = test_set.target(against)[index]
            of_task = rows(of_folds, target, where[index])
            changes += [{"task": task, "against": against} | row for row in of_task]
        print(f"{task}: permuted", flush=True)
    return changes


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
        # faults of the cube are printed before anything is trained on the simulated scene
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
