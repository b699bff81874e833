"""What is it worth on real Sentinel series? The tables of results/README.md.

Command: python -m experiments.real --data FOLDER       (the folder with the .nc files)
Cost: 18 minutes on 2 cores shared with another job. Expected: rice, unseen district, T1: boosting
.72, mlp10 .53; Flanders fields, T2a: linear interpolation (.76) beats every method.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import tyro
import xarray as xr

from experiments.config import PRESETS, complete
from experiments.metrics_file import read_metrics
from experiments.report import dataset_section
from experiments.run import run

SETS = {
    "mekong_rice_points_2022": "district",
    "mekong_rice_cube_a": "blocks",
    "belgium_raw_cube_b_20m": "blocks",
    "belgium_monthly_cube": "blocks",
    "flanders_fields_dekad_2021": "blocks",
}
"""Data set -> split."""

HEAD = """# Results on real series

Written by `python -m experiments.real`. The data are not part of this repository; each section
names its source. R2 against held-out NDVI labels, with the 95 % interval of a bootstrap over
clusters; one seed. Fewer than 10 clusters, or blocks that are not independent: read as indicative.
The sets of one small area share one calendar, so that `climatology` and `knn_space` are strong
there and a high score says little about radar; the honest rice test is the unseen district of the
first table.
"""


@dataclass(frozen=True)
class Real:
    """Head to head on the real data sets."""

    data: Path
    """Folder with the data sets (.nc)."""
    out: Path = Path("results")
    """Folder of the runs, one folder each."""
    readme: Path = Path("results/README.md")
    """The file with all tables."""
    sets: tuple[str, ...] = tuple(SETS)
    """Names of the data sets."""


def main(config: Real) -> None:
    """Run each data set, then write all tables."""
    text = [HEAD]
    for name in config.sets:
        path = config.data / f"{name}.nc"
        chosen = dataclasses.replace(
            PRESETS["default"], cube=str(path), split=SETS[name], out=config.out / name
        )
        content = read_metrics(run(complete(chosen)) / "metrics.json")
        with xr.open_dataset(path, engine="h5netcdf") as ds:
            source, licence = ds.attrs["source"], ds.attrs.get("license", "not told")
        notes = (f"Licence: {licence}", f"Split: {content['split']}")
        text.append(dataset_section(name, source, content["rows"], notes))
    config.readme.write_text("\n".join(text), encoding="utf-8")
    print(f"{config.readme} written")


if __name__ == "__main__":
    main(tyro.cli(Real))
