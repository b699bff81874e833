"""What validation pixels chose and what was best on test: inputs, mean, hyperparameters."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from experiments.bench import bed as beds
from experiments.bench import table
from experiments.methods import of_this_region
from s1jax import mogpr
from s1jax.mogpr.config import SCALES

TASKS = ("T1", "T2a", "T2b", "T2c")
COLUMNS = {
    "fold": "", "inputs": "", "mean": "", "hyper": "", "scale": "", "latents": "d",
    "rmse_validation": ".4f", "r2_none": ".3f", "r2_random": ".3f", "r2_block": ".3f",
    "r2_season": ".3f", "coverage90": ".3f", "verdict": "",
}  # fmt: skip


@dataclass(frozen=True)
class Choices(beds.BedConfig):
    """Every variant that `mogpr.choose` weighs, on validation pixels and on test pixels."""

    latents: tuple[int, ...] = (1, 2, 3)
    """Latent processes; `mogpr.latents` is that of all variants, the others are tried with what
    was chosen; so is the other way to z-score."""


def bench(config: Choices) -> Path:
    """The folder with metrics.json and table.md; the table is printed."""
    out = table.folder(config, "choices")
    bed = beds.load(config, TASKS)
    head = table.header(bed)
    print(*head, sep="\n", flush=True)
    rows = []
    for part in bed.parts:
        rows += marked(_of_fold(config, part))
    text = [table.markdown(rows, COLUMNS), *sentences(rows)]
    table.write(out, bed, config, head, text, rows)
    return out


def _of_fold(config: Choices, part: beds.Part) -> list[dict]:
    """A row for each variant; `chosen` is what the default is."""
    default = of_this_region(config.mogpr, config.split)
    params, tried = mogpr.choose(part.key, part.train, part.val, default)
    chosen = beds.variant(params, part.train)
    best = replace(default, **chosen)
    options = [replace(default, **{k: getattr(one, k) for k in chosen}) for one in tried]
    options += [replace(best, latents=n) for n in config.latents if n != default.latents]
    if default.mean != config.mogpr.mean:
        # not offered across districts or years; what it would have cost
        options.append(replace(best, mean="regional"))
    options += [replace(best, scale=scale) for scale in SCALES if scale != default.scale]
    rows = []
    for one in options:
        params, (known,) = mogpr.choose(part.key, part.train, part.val, one)
        names = {k: getattr(one, k) for k in (*chosen, "scale", "latents")}
        row = {"name": " ".join(map(str, names.values())), "fold": part.name} | names
        if np.isfinite(known.rmse):
            row["rmse_validation"] = known.rmse
        row |= beds.scores([part], [beds.tell(params)], TASKS) | {"chosen": one == best}
        rows.append(row)
        shown = ", ".join(f"{k} {row[k]:.3f}" for k in beds.SCORES.values() if k in row)
        print(f"{part.name}: {row['name']}: {shown}", flush=True)
    return rows


def marked(rows: list[dict]) -> list[dict]:
    """The rows of a fold with `mean_r2` over the tasks with hidden labels, `best` and `verdict`."""
    scored = [beds.SCORES[task] for task in TASKS if task != "T1"]
    rows = [row | {"mean_r2": float(np.mean([row[k] for k in scored if k in row]))} for row in rows]
    top = max(row["mean_r2"] for row in rows)
    for row in rows:
        row["best"] = row["mean_r2"] == top
        words = ["chosen on validation"] * row["chosen"] + ["best on test"] * row["best"]
        row["verdict"] = ", ".join(words)
    return rows


def sentences(rows: list[dict]) -> list[str]:
    """Of each fold, how much the choice lost against the best on test pixels."""
    out = []
    for fold in dict.fromkeys(row["fold"] for row in rows):
        (chosen,) = (r for r in rows if r["fold"] == fold and r["chosen"])
        best = next(r for r in rows if r["fold"] == fold and r["best"])
        gap = best["mean_r2"] - chosen["mean_r2"]
        out.append(
            f"fold {fold}: validation chose {chosen['name']}; best on test is {best['name']}, "
            f"{gap:.3f} more R2 (mean of 20 % hidden, 60 and 132 days)"
        )
    return out
