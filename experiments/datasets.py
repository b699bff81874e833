"""The data sets of `experiments.compare`: how each is made or opened, and what is left out."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr

from experiments import run
from experiments.config import Config
from experiments.masks import TASKS
from experiments.protocol import Data, subsample
from experiments.splits import Fold, Split
from s1jax import cube, simulate
from s1jax.simulate import SceneConfig
from s1jax.types import Series

SIMULATED = {
    "sim_blocks": "unseen blocks of the simulated scene, 4 x 4, buffer 150 m",
    "sim_region": "another simulated region, with another calendar, crops and soil",
    "sim_year": "the second year of unseen blocks of the simulated scene, learnt from the first",
    "sim_blocks_800": "as sim_blocks, buffer 800 m",
}
"""Name and what is tested."""
_BLOCKS = 4
"""Blocks of a simulated scene in each direction."""
_OTHER = {
    "calendar_shift_days": 24.0,
    "lai": 4.0,
    "roughness_db": 2.6,
    "third_season": (0.25, 0.40, 0.35),
}
"""Constants of the other region, those of the scene aside."""


class Dataset(NamedTuple):
    """What a comparison needs of a data set."""

    name: str
    words: str
    """What is tested, or where it comes from."""
    data: Data
    split: Callable[[int], Split]
    """Of a seed."""
    elsewhere: bool
    """Another district, region or year is predicted than the training pixels'."""
    side_by_side: bool = True
    """It is a map; else one pixel stands for a field."""
    tasks: tuple[str, ...] = TASKS
    """What is asked: T2e, which costs every method a second fit, not of every simulated one."""


def real(folder: Path | None) -> tuple[str, ...]:
    """Names of the data sets (.nc) of a folder, in order; of no folder none. Hidden files are none.

    Raises:
      ValueError: there are none in the folder, or one is named as a simulated one.
    """
    if folder is None:
        return ()
    names = tuple(sorted(path.stem for path in folder.glob("*.nc") if path.name[0] != "."))
    if not names:
        raise ValueError(f"--data: got {folder}, expected a folder with data sets (.nc)")
    if taken := set(names) & set(SIMULATED):
        raise ValueError(f"--data: got {sorted(taken)}, expected other names than the simulated")
    return names


def dataset(name: str, config: Config, *, folder: Path | None) -> Dataset:
    """The data set of a name, its split limited to the pixels that `config` allows.

    Args:
      name: of `SIMULATED` or of `real(folder)`. A real one with two districts or more has each
        left out in turn, another is split by its blocks.
      config: scene and numbers of pixels.
      folder: of the real data sets.

    Raises:
      ValueError: unknown.
    """
    if name in SIMULATED:
        return _simulated(name, config)
    if name not in real(folder):
        raise ValueError(f"data set: got {name!r}, expected one of {(*SIMULATED, *real(folder))}")
    path = folder / f"{name}.nc"
    ds, _ = run.load(replace(config, cube=str(path)))
    data, _ = run.to_data(ds)
    elsewhere = data.district is not None and len(np.unique(data.district)) > 1
    chosen = replace(config, cube=str(path), split="district" if elsewhere else "blocks")
    with xr.open_dataset(path, engine="h5netcdf") as opened:
        words = str(opened.attrs.get("source", "source not told"))
        words += f" (licence: {opened.attrs.get('license', 'not told')})"
    side_by_side = min(ds.sizes["y"], ds.sizes["x"]) > 1

    def _split(seed: int) -> Split:
        return run.split_of(chosen, data, seed)

    return Dataset(name, words, data, _split, elsewhere, side_by_side)


def scene(config: SceneConfig, key: int) -> Data:
    """A simulated scene, its blocks numbered 4 x 4."""
    found = simulate.scene(jax.random.key(key), config)
    ds = cube.despeckle(cube.open_cube(cube.from_scene(found, pixel_m=config.pixel_m)))
    return in_blocks(run.to_data(ds)[0])


def in_blocks(data: Data) -> Data:
    """The data with its extent numbered in 4 x 4 blocks."""
    place = np.asarray(data.series.place, np.float64)
    size = np.ptp(place, axis=0) / _BLOCKS * (1.0 + 1e-9)
    row, column = np.floor((place - place.min(0)) / size).astype(int).T
    return data._replace(block=row * _BLOCKS + column)


def _simulated(name: str, config: Config) -> Dataset:
    data = scene(config.scene, run.DRAWN_ONCE)
    if name == "sim_region":
        return _region(data, config)
    season = name == "sim_year"
    buffer = 800.0 if name == "sim_blocks_800" else 150.0
    chosen = replace(config, split="season" if season else "blocks", buffer_m=buffer)

    def _split(seed: int) -> Split:
        return run.split_of(chosen, data, seed)

    tasks = TASKS if name == "sim_blocks" else TASKS[:-1]
    return Dataset(name, SIMULATED[name], data, _split, season, tasks=tasks)


def _region(home: Data, config: Config) -> Dataset:
    """Two regions side by side: the pixels of the other are tested, all of them unseen."""
    other = scene(replace(config.scene, **_OTHER), run.DRAWN_ONCE + 1)
    far = 1e6
    place = np.asarray(other.series.place) + np.asarray([far, 0.0], np.float32)
    pairs = zip(home.series, other.series._replace(place=place), strict=True)
    day, *leaves = (both for both in pairs)
    if not np.array_equal(*day):
        raise ValueError("days of the two regions: got different ones, expected the same")
    series = Series(day[0], *(None if a is None else np.concatenate([a, b]) for a, b in leaves))
    truth = np.concatenate([home.truth, other.truth])
    first = len(home.truth)
    data = Data(series, truth, None, None)

    def _split(seed: int) -> Split:
        rng = np.random.default_rng(seed)
        deciding = np.isin(home.block, rng.permutation(np.unique(home.block))[:3])
        parts = (np.flatnonzero(part) for part in (~deciding, deciding))
        test = first + np.arange(len(other.truth))
        fold = Fold(*parts, test, other.block, "other region")
        limits = (config.training_pixels, config.validation_pixels, config.test_pixels)
        whole = Split((fold,), ("learnt in one simulated region, tested in another",))
        return subsample(whole, limits, seed=seed)

    words = SIMULATED["sim_region"]
    return Dataset("sim_region", words, data, _split, True, tasks=TASKS[:-1])


def configured(config: Config, found: Dataset) -> Config:
    """The methods' options for a data set: another district or year may be predicted, and points
    have no filtered radar."""
    pixel = config.mogpr_pixel
    if found.data.series.smooth is None and pixel.inputs == "smooth":
        pixel = replace(pixel, inputs="raw")
    split = "district" if found.elsewhere else "blocks"
    return replace(config, split=split, mogpr_pixel=pixel)
